# Every tests/ROOM/PART_test.c is one CMocka program and one test called ROOM/PART.
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
# Tests that compare with cJSON are built where it is; the library itself never uses it.
pkg_check_modules(CJSON IMPORTED_TARGET libcjson)
file(GLOB FEOX_SUPPORT CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/support/*.c)
file(GLOB FEOX_TESTS_FOUND CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/*/*_test.c
  ${PROJECT_SOURCE_DIR}/tests/*_test.c)
foreach(source ${FEOX_TESTS_FOUND})
  file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR}/tests ${source})
  string(REGEX REPLACE "_test\\.c$" "" name ${name})
  string(REPLACE "/" "_" target "test_${name}")
  if(name STREQUAL "store/json_conformance" AND NOT CJSON_FOUND)
    message(STATUS "store/json_conformance is left out: no libcjson")
    continue()
  endif()
  add_executable(${target} ${source} ${FEOX_SUPPORT} $<TARGET_OBJECTS:feox_objects>)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include
    ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${target} PRIVATE feox_flags PkgConfig::CMOCKA ${URING_ARCHIVE}
    Threads::Threads)
  if(name STREQUAL "store/json_conformance")
    target_link_libraries(${target} PRIVATE PkgConfig::CJSON)
  endif()
  target_compile_definitions(${target} PRIVATE FEOX_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${target})
endforeach()
