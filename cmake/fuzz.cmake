# The harnesses of tests/fuzz: each tests/fuzz/fuzz_NAME.c is the test fuzz/NAME, which replays its
# corpus and some thousand mutations of it (driver.c), with any compiler. -DFEOX_FUZZ=ON, clang and
# its runtime give the same harness as the libFuzzer program fuzz_NAME, and instrument the library
# for it; cmake/fuzz.sh runs these.
option(FEOX_FUZZ "Build the fuzzers for libFuzzer (clang)" OFF)
if(FEOX_FUZZ AND NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "FEOX_FUZZ needs clang")
endif()
if(FEOX_FUZZ)
  target_compile_options(feox_objects PRIVATE -fsanitize=fuzzer-no-link)
endif()

# The command without its main, for the input that it reads.
set(FEOX_CLI_PARTS ${FEOX_COMMAND_SOURCES})
list(FILTER FEOX_CLI_PARTS EXCLUDE REGEX "/main\\.c$")

# How many mutations the short run makes: about a second's in a release build.
set(FEOX_FUZZ_RUNS_import 5000)
set(FEOX_FUZZ_RUNS_json_patch 60000)
set(FEOX_FUZZ_RUNS_json_scan 200000)
set(FEOX_FUZZ_RUNS_open 500)
set(FEOX_FUZZ_RUNS_ops 150)

file(GLOB FEOX_FUZZERS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
foreach(source ${FEOX_FUZZERS})
  get_filename_component(target ${source} NAME_WE)
  string(REGEX REPLACE "^fuzz_" "" name ${target})
  set(parts ${source} $<TARGET_OBJECTS:feox_test_support> $<TARGET_OBJECTS:feox_objects>)
  set(options feox_test_flags ${URING_ARCHIVE} Threads::Threads)
  if(name STREQUAL "import")
    list(APPEND parts ${FEOX_CLI_PARTS})
    list(APPEND options -Wl,--wrap=read,--wrap=feox_insert_with)
  endif()
  if(name STREQUAL "json_patch" AND CJSON_FOUND)
    list(APPEND options PkgConfig::CJSON)
    set_source_files_properties(${source} PROPERTIES COMPILE_DEFINITIONS FEOX_FUZZ_CJSON)
  endif()

  add_executable(${target}_replay ${PROJECT_SOURCE_DIR}/tests/fuzz/driver.c ${parts})
  target_include_directories(${target}_replay PRIVATE ${XXHASH_INCLUDE_DIRS})
  target_link_libraries(${target}_replay PRIVATE ${options})
  add_test(NAME fuzz/${name} COMMAND ${target}_replay --runs ${FEOX_FUZZ_RUNS_${name}}
    ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(fuzz/${name} PROPERTIES TIMEOUT ${FEOX_TEST_TIMEOUT})

  if(FEOX_FUZZ)
    add_executable(${target} ${parts})
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${target} PRIVATE ${options} -fsanitize=fuzzer)
  endif()
endforeach()
