# The model checker of the lock-free parts: tests/sim/lockfree_test.c, one more test. The code under
# test is compiled apart:
#   - tests/sim/atomic is in front of src, so base/atomic.h is the explorer's;
#   - copies of a few files have small constants, so that a handful of keys splits and doubles, and
#     set fields of four bytes apart that would share a word, which to the explorer is one place;
#   - plain accesses call the explorer, by the instrumentation of ThreadSanitizer without its
#     runtime; waiting and copying call it by name.
# It decides itself what runs when, so sanitizers have nothing to find in it and are left out.
set(FEOX_SMALL ${PROJECT_BINARY_DIR}/model)

# feox_small(FILE FROM TO...): a copy of src/FILE in which each text FROM, which must be there, is
# TO.
function(feox_small file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${file})
  file(READ ${PROJECT_SOURCE_DIR}/src/${file} text)
  set(arguments ${ARGN})
  while(arguments)
    list(POP_FRONT arguments from to)
    string(FIND "${text}" "${from}" found)
    if(found EQUAL -1)
      message(FATAL_ERROR "cmake/model.cmake: src/${file} has no: ${from}")
    endif()
    string(REPLACE "${from}" "${to}" text "${text}")
  endwhile()
  file(CONFIGURE OUTPUT ${FEOX_SMALL}/${file} CONTENT "${text}" @ONLY)
endfunction()

feox_small(index/epoch.h "FX_EPOCH_SLOTS 128u" "FX_EPOCH_SLOTS 2u")
feox_small(index/table.h "FX_BUCKET_SLOTS 7u" "FX_BUCKET_SLOTS 2u")
feox_small(index/table_read.h "FX_TABLE_BUCKETS 512u" "FX_TABLE_BUCKETS 2u"
  "FX_TABLE_OVERFLOW 63u" "FX_TABLE_OVERFLOW 2u" "uint32_t mask;" "_Alignas(8) uint32_t mask;")
feox_small(index/table.c "BUCKETS_FIRST 8u" "BUCKETS_FIRST 1u" "OVERFLOW_SHARE 8u"
  "OVERFLOW_SHARE 1u"
  "sizeof(fx_bucket) == FX_CACHE_LINE" "1" "sizeof(fx_segment) == 9 * PAGE" "1"
  "offsetof(fx_segment, buckets) == PAGE" "1")
feox_small(index/slab.c "ARENA_SIZE ((size_t)2 << 20)" "ARENA_SIZE ((size_t)64 << 10)"
  "CHUNKS_MAPPED 16u" "CHUNKS_MAPPED 1u")
feox_small(index/skiplist_node.h "FX_SKIP_FANOUT 48u" "FX_SKIP_FANOUT 8u" "uint32_t heads"
  "_Alignas(8) uint32_t heads")
feox_small(index/skiplist.c "FILL_BUILD 43u" "FILL_BUILD 7u")
feox_small(index/skiplist_pool.c "UNIT_SIZE ((size_t)2 << 20)" "UNIT_SIZE ((size_t)4 << 10)"
  "sizeof(fx_skip_node) == 616" "1")

feox_small(engine/engine.h "uint32_t merging_count" "_Alignas(8) uint32_t merging_count")
feox_small(engine/reader.c "READER_SIZE ((size_t)512 << 10)" "READER_SIZE ((size_t)8 << 10)"
  "READER_SIZE >= FX_LARGE_VALUE_MIN + FEOX_KEY_SIZE_MAX + 2u * FX_BLOCK_SIZE" "1")

set(code)
foreach(file index/table.c index/slab.c index/skiplist.c index/skiplist_pool.c engine/reader.c)
  list(APPEND code ${FEOX_SMALL}/${file})
endforeach()
foreach(file base/lock.c base/checksum.c base/error.c base/hash.c base/rng.c
    index/block.c index/record.c index/epoch.c
    index/skiplist_read.c index/skiplist_sort.c index/skiplist_check.c index/record_sort.c
    engine/limbo.c engine/order.c engine/wbuf.c disk/format.c)
  list(APPEND code ${PROJECT_SOURCE_DIR}/src/${file})
endforeach()

add_library(feox_model_flags INTERFACE)
target_include_directories(feox_model_flags INTERFACE ${PROJECT_SOURCE_DIR}/tests/sim/atomic
  ${FEOX_SMALL} ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src
  ${PROJECT_SOURCE_DIR}/tests ${XXHASH_INCLUDE_DIRS})
# The stand-in's casts are wider than the values, and keep a const that a result cannot have.
set(options $<TARGET_PROPERTY:feox_flags,INTERFACE_COMPILE_OPTIONS> -O2 -fno-sanitize=all
  -Wno-conversion -Wno-sign-conversion -Wno-pedantic -Wno-ignored-qualifiers -Wno-shadow)

add_library(feox_model_code OBJECT ${code})
target_link_libraries(feox_model_code PRIVATE feox_model_flags)
target_compile_options(feox_model_code PRIVATE ${options} -fsanitize=thread)
target_compile_definitions(feox_model_code PRIVATE FX_DEBUG sched_yield=explore_sched_yield
  pthread_mutex_lock=explore_mutex_lock pthread_mutex_trylock=explore_mutex_trylock
  pthread_mutex_unlock=explore_mutex_unlock memcpy=explore_memcpy memmove=explore_memmove
  memset=explore_memset memcmp=explore_memcmp)

add_executable(test_sim_lockfree ${PROJECT_SOURCE_DIR}/tests/sim/lockfree_test.c
  ${PROJECT_SOURCE_DIR}/tests/sim/explore.c ${PROJECT_SOURCE_DIR}/tests/sim/explore_memory.c
  ${PROJECT_SOURCE_DIR}/tests/sim/explore_arena.c ${PROJECT_SOURCE_DIR}/tests/sim/scenarios_base.c
  ${PROJECT_SOURCE_DIR}/tests/sim/litmus.c ${PROJECT_SOURCE_DIR}/tests/sim/mutants.c
  ${PROJECT_SOURCE_DIR}/tests/sim/scenarios_table.c
  ${PROJECT_SOURCE_DIR}/tests/sim/scenarios_order.c
  ${PROJECT_SOURCE_DIR}/tests/sim/scenarios_disk.c ${PROJECT_SOURCE_DIR}/tests/support/campaign.c
  $<TARGET_OBJECTS:feox_model_code>)
target_link_libraries(test_sim_lockfree PRIVATE feox_model_flags PkgConfig::CMOCKA
  Threads::Threads)
target_compile_options(test_sim_lockfree PRIVATE ${options})
target_compile_definitions(test_sim_lockfree PRIVATE FX_DEBUG)
target_link_options(test_sim_lockfree PRIVATE -fno-sanitize=all)
add_test(NAME sim/lockfree COMMAND test_sim_lockfree)
set_tests_properties(sim/lockfree PROPERTIES TIMEOUT ${FEOX_TEST_TIMEOUT} SKIP_RETURN_CODE 77)

# Spin's exhaustive view of two protocols, and of their mutants.
add_test(NAME model/spin COMMAND ${PROJECT_SOURCE_DIR}/tests/model/spin/check.sh
  ${PROJECT_BINARY_DIR}/spin)
set_tests_properties(model/spin PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77)
