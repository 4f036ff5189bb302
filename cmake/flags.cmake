# Compiler flags shared by every target of ours: link feox_flags privately.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
add_library(feox_flags INTERFACE)
target_compile_options(feox_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  -Wstrict-prototypes -Wmissing-prototypes -fno-strict-aliasing)
# Not as GCC likes to copy what it knows to be short: a string instruction waits until its length is
# known, and holds back everything behind it. In a get that was as long as the rest of it.
include(CheckCCompilerFlag)
set(copies "vector_loop:512:noalign,libcall:-1:noalign")
check_c_compiler_flag("-mmemcpy-strategy=${copies}" FEOX_HAS_MEMCPY_STRATEGY)
if(FEOX_HAS_MEMCPY_STRATEGY)
  target_compile_options(feox_flags INTERFACE -mmemcpy-strategy=${copies}
    -mmemset-strategy=${copies})
endif()
if(FEOX_WERROR)
  target_compile_options(feox_flags INTERFACE -Werror)
endif()
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g -DFX_DEBUG -DFX_SLOW_ASSERTS")
set(CMAKE_C_FLAGS_ASAN "-O1 -g -DFX_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=all")
set(CMAKE_C_FLAGS_TSAN "-O1 -g -DFX_DEBUG -fsanitize=thread")
# See cmake/coverage.sh. A hint for the optimizer would hide the decision inside it.
set(CMAKE_C_FLAGS_COVERAGE "-O1 -g -fprofile-instr-generate -fcoverage-mapping -fcoverage-mcdc \
-fprofile-update=atomic \"-D__builtin_expect(x,y)=(x)\"")
if(CMAKE_BUILD_TYPE STREQUAL "Coverage" AND NOT CMAKE_C_COMPILER MATCHES "clang-19$")
  message(FATAL_ERROR "Coverage needs clang-19")
endif()
