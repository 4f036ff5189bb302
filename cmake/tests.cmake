# Every tests/ROOM/PART_test.c is one CMocka program and one test, ROOM/PART; tests/tidy_test.c
# is the test called tidy. What they share is tests/support. All link the library's objects, so that
# they reach what the library hides. tests/tidy_test.c checks that none is missing here.
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
# Tests that compare with cJSON are built where it is; the library itself never uses it.
pkg_check_modules(CJSON IMPORTED_TARGET libcjson)
file(GLOB FEOX_SUPPORT CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/support/*.c)
list(FILTER FEOX_SUPPORT EXCLUDE REGEX "/under\\.c$")
if(NOT CMAKE_BUILD_TYPE STREQUAL "Coverage")
  list(FILTER FEOX_SUPPORT EXCLUDE REGEX "/cover\\.c$")
endif()
file(GLOB FEOX_TESTS_FOUND CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/*/*_test.c
  ${PROJECT_SOURCE_DIR}/tests/*_test.c)

add_library(feox_test_flags INTERFACE)
target_include_directories(feox_test_flags INTERFACE ${PROJECT_SOURCE_DIR}/include
  ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
target_compile_definitions(feox_test_flags INTERFACE FEOX_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
  FEOX_BINARY_DIR="${PROJECT_BINARY_DIR}")
target_link_libraries(feox_test_flags INTERFACE feox_flags PkgConfig::CMOCKA)
if(CMAKE_BUILD_TYPE STREQUAL "Coverage")
  target_link_options(feox_test_flags INTERFACE LINKER:--wrap=_exit)
endif()

add_library(feox_test_support OBJECT ${FEOX_SUPPORT})
target_link_libraries(feox_test_support PRIVATE feox_test_flags)

# Starts other tests in poorer environments; see cmake/environments.sh.
add_executable(test_under ${PROJECT_SOURCE_DIR}/tests/support/under.c
  $<TARGET_OBJECTS:feox_test_support> $<TARGET_OBJECTS:feox_objects>)
target_link_libraries(test_under PRIVATE feox_test_flags ${URING_ARCHIVE} Threads::Threads)

# These take longest: started first, they leave no processor idle at the end.
set(FEOX_TESTS_LONG sim/exhaustive fault/device model/linear fault/hostile fault/memory
  fault/memory_loop sim/crash model/spin fault/kill_points fault/kill fault/openers)

# A test that hangs is a failure: two minutes is far above what any takes under a sanitizer.
set(FEOX_TEST_TIMEOUT 120 CACHE STRING "Seconds that one test program may take")
foreach(source ${FEOX_TESTS_FOUND})
  file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR}/tests ${source})
  string(REGEX REPLACE "_test\\.c$" "" name ${name})
  string(REPLACE "/" "_" target "test_${name}")
  if(name STREQUAL "sim/lockfree")
    continue() # below
  endif()
  if(name STREQUAL "store/json_conformance" AND NOT CJSON_FOUND)
    message(STATUS "store/json_conformance is left out: no libcjson")
    continue()
  endif()
  add_executable(${target} ${source} $<TARGET_OBJECTS:feox_test_support>
    $<TARGET_OBJECTS:feox_objects>)
  target_link_libraries(${target} PRIVATE feox_test_flags ${URING_ARCHIVE} Threads::Threads)
  if(name STREQUAL "store/json_conformance")
    target_link_libraries(${target} PRIVATE PkgConfig::CJSON)
  endif()
  if(name STREQUAL "store/start") # refuses what a store asks of the system
    target_link_options(${target} PRIVATE LINKER:--wrap=pthread_mutex_init
      LINKER:--wrap=pthread_cond_init LINKER:--wrap=pthread_create LINKER:--wrap=getrandom
      LINKER:--wrap=sysconf LINKER:--wrap=io_uring_register_probe
      LINKER:--wrap=io_uring_ring_dontfork LINKER:--wrap=eventfd)
  endif()
  if(name STREQUAL "store/between") # does what others would do between two steps of a call
    target_link_options(${target} PRIVATE LINKER:--wrap=fx_fetch LINKER:--wrap=fx_reader_read
      LINKER:--wrap=fx_table_read LINKER:--wrap=fx_json_merge LINKER:--wrap=feox_info)
  endif()
  if(name STREQUAL "engine/check")
    target_link_options(${target} PRIVATE LINKER:--wrap=fx_order_merge_locked)
  endif()
  if(name STREQUAL "base/mem")
    target_link_options(${target} PRIVATE LINKER:--wrap=madvise)
  endif()
  add_test(NAME ${name} COMMAND ${target})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${FEOX_TEST_TIMEOUT} SKIP_RETURN_CODE 77)
  if(name IN_LIST FEOX_TESTS_LONG)
    set_tests_properties(${name} PROPERTIES COST 500)
  endif()
  # ThreadSanitizer looks at what runs threads; pure functions it would only slow down.
  if(name MATCHES "^(index|disk|engine|store|api|model|stress|fault)/" AND
     NOT name MATCHES "^(store/json|disk/(extents|format|superblock|journal))")
    set_tests_properties(${name} PROPERTIES LABELS threads)
  endif()
endforeach()

include(cmake/fuzz.cmake)
if(NOT CMAKE_BUILD_TYPE STREQUAL "Coverage")
  include(cmake/model.cmake)
endif()

# Every example is built the way a user would, from feox.h and the library, and must run through.
file(GLOB FEOX_EXAMPLES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/*.c)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/examples)
foreach(source ${FEOX_EXAMPLES})
  get_filename_component(name ${source} NAME_WE)
  add_executable(example_${name} ${source})
  target_link_libraries(example_${name} PRIVATE feox_flags feox_static)
  set_target_properties(example_${name} PROPERTIES OUTPUT_NAME ${name}
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/examples)
  add_test(NAME examples/${name} COMMAND example_${name}
    WORKING_DIRECTORY ${PROJECT_BINARY_DIR}/examples)
  set_tests_properties(examples/${name} PROPERTIES TIMEOUT ${FEOX_TEST_TIMEOUT} LABELS threads)
endforeach()

# The finished libraries, looked at from outside.
if(NOT FEOX_SANITIZED)
  foreach(part differential suite)
    set(options $<$<STREQUAL:${part},suite>:--suite>)
    add_test(NAME store/json_${part} COMMAND_EXPAND_LISTS COMMAND python3
      ${PROJECT_SOURCE_DIR}/tests/store/json_differential.py $<TARGET_FILE:feox_shared> ${options})
    set_tests_properties(store/json_${part} PROPERTIES TIMEOUT ${FEOX_TEST_TIMEOUT}
      SKIP_RETURN_CODE 77)
  endforeach()
  add_test(NAME package
    COMMAND ${PROJECT_SOURCE_DIR}/cmake/check_package.sh ${PROJECT_BINARY_DIR})
  set_tests_properties(package PROPERTIES TIMEOUT ${FEOX_TEST_TIMEOUT})
endif()

# The tests, tested: a copy of the sources with one bug at a time, which has its own build.
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_test(NAME mutants COMMAND ${PROJECT_SOURCE_DIR}/tests/mutants/run.sh)
  set_tests_properties(mutants PROPERTIES TIMEOUT 7200 PROCESSORS 2 COST 1000
    SKIP_RETURN_CODE 77)
endif()
