# Every bench/PART_bench.c and bench/ROOM/PART_bench.c is one program, called bench_PART or
# bench_ROOM_PART. They are built with the tests, so that they do not rot, and run by hand: each
# says at its top what it measures.
file(GLOB FEOX_BENCHES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/*/*_bench.c)
foreach(source ${FEOX_BENCHES})
  file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR}/bench ${source})
  string(REGEX REPLACE "_bench\\.c$" "" name ${name})
  string(REPLACE "/" "_" target "bench_${name}")
  add_executable(${target} ${source} $<TARGET_OBJECTS:feox_objects>)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include
    ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} PRIVATE feox_flags ${URING_ARCHIVE} Threads::Threads)
endforeach()

# bench_store sees of the library what users see. Its peers are optional: cmake/bench.sh installs
# their packages. Its figures mean something in release builds only.
if(NOT CMAKE_BUILD_TYPE STREQUAL "Release")
  return()
endif()
file(GLOB FEOX_STORE_BENCH CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/store/*.c)
add_executable(bench_store ${PROJECT_SOURCE_DIR}/bench/store_bench.c ${FEOX_STORE_BENCH}
  ${PROJECT_SOURCE_DIR}/bench/engines/feox.c ${PROJECT_SOURCE_DIR}/bench/engines/bare.c
  ${PROJECT_SOURCE_DIR}/bench/engines/feoxdb.c)
target_include_directories(bench_store PRIVATE ${PROJECT_SOURCE_DIR}/bench)
target_compile_definitions(bench_store PRIVATE _GNU_SOURCE)
target_link_libraries(bench_store PRIVATE feox_flags feox_static m)
if(JEMALLOC_LIBRARY AND NOT FEOX_SANITIZED)
  target_sources(bench_store PRIVATE ${PROJECT_SOURCE_DIR}/cmake/jemalloc.c)
  target_link_libraries(bench_store PRIVATE ${JEMALLOC_LIBRARY})
endif()
find_library(LMDB_LIBRARY NAMES lmdb)
find_path(LMDB_INCLUDE_DIR lmdb.h)
if(LMDB_LIBRARY AND LMDB_INCLUDE_DIR)
  target_sources(bench_store PRIVATE ${PROJECT_SOURCE_DIR}/bench/engines/lmdb.c)
  target_compile_definitions(bench_store PRIVATE BENCH_LMDB)
  target_link_libraries(bench_store PRIVATE ${LMDB_LIBRARY})
endif()
find_library(ROCKSDB_LIBRARY NAMES rocksdb)
find_path(ROCKSDB_INCLUDE_DIR rocksdb/c.h)
if(ROCKSDB_LIBRARY AND ROCKSDB_INCLUDE_DIR)
  target_sources(bench_store PRIVATE ${PROJECT_SOURCE_DIR}/bench/engines/rocksdb.c)
  target_compile_definitions(bench_store PRIVATE BENCH_ROCKSDB)
  target_link_libraries(bench_store PRIVATE ${ROCKSDB_LIBRARY})
endif()
