# Every bench/PART_bench.c and bench/ROOM/PART_bench.c is one program, called bench_PART or
# bench_ROOM_PART. They are built with the tests, so that they do not rot, and run by hand: each
# says at its top what it measures.
file(GLOB FEOX_BENCHES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/*_bench.c
  ${PROJECT_SOURCE_DIR}/bench/*/*_bench.c)
foreach(source ${FEOX_BENCHES})
  file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR}/bench ${source})
  string(REGEX REPLACE "_bench\\.c$" "" name ${name})
  string(REPLACE "/" "_" target "bench_${name}")
  add_executable(${target} ${source} $<TARGET_OBJECTS:feox_objects>)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include
    ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} PRIVATE feox_flags ${URING_ARCHIVE} Threads::Threads)
endforeach()
