/* scenarios: what tests/sim/lockfree_test.c explores. Each has at most three threads of about three
 * calls, and an oracle that fails the schedule.
 *
 * Who saw what is compared only where C11 orders it: within a thread, and behind a flag that was
 * released and acquired (sim_done, sim_is_done).
 */
#ifndef TESTS_SIM_SCENARIOS_H
#define TESTS_SIM_SCENARIOS_H

#include "base/atomic.h"
#include "index/record.h"
#include "sim/explore.h"

extern const explore_scenario sim_base_scenarios[];
extern const size_t sim_base_count;
extern const explore_scenario sim_table_scenarios[];
extern const size_t sim_table_count;
extern const explore_scenario sim_order_scenarios[];
extern const size_t sim_order_count;
extern const explore_scenario sim_disk_scenarios[];
extern const size_t sim_disk_count;

static inline void sim_done(uint64_t *flag) {
    fx_store_release(flag, (uint64_t)1);
}

static inline bool sim_is_done(const uint64_t *flag) {
    return fx_load_acquire(flag) != 0;
}

/* Values that say their version in each word; lengths differ from version to version. */
#define SIM_VALUE_MAX 16u

static inline size_t sim_value(uint64_t version, uint64_t words[2]) {
    words[0] = version * 0x0101010101010101u;
    words[1] = version * 0x0101010101010101u;
    return version % 2 == 1 ? 16 : 8;
}

static inline fx_record_fields sim_fields(uint64_t version, uint64_t words[2]) {
    return (fx_record_fields){.version = version,
                              .timestamp = version * 10,
                              .value_len = sim_value(version, words),
                              .value = (const uint8_t *)words};
}

/* A slot of 64 bytes that has room for a location in front. `setup` only. */
static inline fx_record *sim_slot(void) {
    return (fx_record *)(void *)((uint8_t *)explore_alloc(128) + 8);
}

/* Keys have four bytes, so that values start at a word. */
static inline void sim_fill(fx_record *record, const char *key, uint64_t version) {
    uint64_t words[2];
    fx_record_fields fields = sim_fields(version, words);
    fx_record_fill(record, key, 4, &fields);
}

static inline fx_record *sim_record(const char *key, uint64_t version) {
    fx_record *record = sim_slot();
    sim_fill(record, key, version);
    fx_record_publish(record, version);
    return record;
}

/* What the short way gave, as the long one would: the value says of which version it is. */
static inline fx_record_view sim_plain_view(const uint64_t *buffer, size_t size) {
    uint64_t version = buffer[0] & 0xff;
    return (fx_record_view){.version = version, .timestamp = version * 10, .value_len = size};
}

/* What a reader was given is one version as a whole. */
static inline void sim_require_whole(const fx_record_view *view, const void *buffer) {
    uint64_t words[2];
    size_t size = sim_value(view->version, words);
    const uint64_t *got = buffer;
    explore_require(view->timestamp == view->version * 10);
    explore_require(view->value_len == size);
    explore_require(got[0] == words[0]);
    explore_require(size < 16 || got[1] == words[1]);
}

#endif
