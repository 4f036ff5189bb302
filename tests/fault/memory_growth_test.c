/* memory that fails now and then while a store grows and shrinks: tables double, segments and the
 * order split, lists and trees of the file side need room, and any of it may be refused, alone or
 * with all that follow. A call is done or says FEOX_ERR_MEMORY and has changed nothing; asked again
 * with memory, it works. In the end everything is there, clean, and also behind a reopening.
 *
 * fault/memory_loop takes each allocation of each call once, in a small store.
 */
#define _GNU_SOURCE
#include "base/mem.h"
#include "store/store.h"
#include "support/campaign.h"
#include "support/kit.h"

#include <unistd.h>

#define KEYS 12000u
#define OPERATIONS 60000u
#define LARGE (70u << 10)

typedef struct growth {
    kit *k;
    campaign campaign;
    uint64_t random;
    uint64_t ids[KEYS]; /* of the key's value; 0: it is not there */
    uint64_t next_id;
    uint64_t count;
    uint64_t refused;
    uint64_t large_left;
} growth;

static unsigned char value[LARGE];
static unsigned char room[LARGE];

static size_t key_of(uint32_t i, char *key) {
    return (size_t)snprintf(key, 48, "%05u of some length%.*s", i * 7919u % KEYS, (int)(i % 20),
                            "                    ");
}

/* The value that has this number. */
static size_t size_of(uint64_t id) {
    return id % 256 == 0 ? LARGE - id % 4096 : id % 16 == 0 ? 2049 + id % 2000 : id % 120;
}

static void arm(growth *g) {
    uint64_t n = kit_below(&g->random, 2) == 0 ? 1 : 1 + kit_below(&g->random, 8);
    fx_mem_fail_after(n, kit_below(&g->random, 4) == 0);
}

/* Whether the call was refused; it must have been for want of memory. */
static bool is_refused(growth *g, feox_status status) {
    uint64_t failed = fx_mem_failed();
    fx_mem_fail_after(0, false);
    g->campaign.cases++;
    g->campaign.faults += failed > 0;
    if (status == FEOX_OK) {
        return false;
    }
    assert_status(status, FEOX_ERR_MEMORY);
    assert_true(failed > 0);
    g->refused++;
    return true;
}

static void expect(growth *g, uint32_t i) {
    char key[48];
    size_t key_len = key_of(i, key);
    size_t size = 0;
    if (g->ids[i] == 0) {
        assert_status(feox_contains(g->k->store, key, key_len), FEOX_NOT_FOUND);
        return;
    }
    assert_ok(feox_get_into(g->k->store, key, key_len, room, sizeof room, &size));
    assert_int_equal(size, size_of(g->ids[i]));
    assert_true(kit_filled(room, size, g->ids[i]));
}

static void put(growth *g, uint32_t i) {
    char key[48];
    size_t key_len = key_of(i, key);
    uint64_t id = ++g->next_id;
    feox_write write;
    feox_write_init(&write);
    write.ttl_ms = id % 3 == 0 ? 3600000 + id : 0;
    if (id % 256 == 0 && g->large_left-- == 0) {
        g->large_left = 0;
        return;
    }
    kit_fill(value, size_of(id), id);
    arm(g);
    feox_status status =
        feox_insert_with(g->k->store, key, key_len, value, size_of(id), &write, NULL);
    if (is_refused(g, status)) {
        expect(g, i);
        assert_ok(feox_insert_with(g->k->store, key, key_len, value, size_of(id), &write, NULL));
    }
    g->count += g->ids[i] == 0;
    g->ids[i] = id;
}

static void drop(growth *g, uint32_t i) {
    char key[48];
    size_t key_len = key_of(i, key);
    arm(g);
    feox_status status = feox_delete(g->k->store, key, key_len);
    if (status == FEOX_NOT_FOUND) {
        assert_int_equal(g->ids[i], 0);
        fx_mem_fail_after(0, false);
        return;
    }
    if (is_refused(g, status)) {
        expect(g, i);
        assert_ok(feox_delete(g->k->store, key, key_len));
    }
    g->count--;
    g->ids[i] = 0;
}

static void read_one(growth *g, uint32_t i) {
    char key[48];
    size_t key_len = key_of(i, key);
    size_t size = 0;
    arm(g);
    feox_status status = feox_get_into(g->k->store, key, key_len, room, sizeof room, &size);
    if (status == FEOX_NOT_FOUND) {
        assert_int_equal(g->ids[i], 0);
        fx_mem_fail_after(0, false);
    } else if (!is_refused(g, status)) {
        assert_int_equal(size, size_of(g->ids[i]));
        assert_true(kit_filled(room, size, g->ids[i]));
    }
}

/* What goes over the whole store. */
static void whole(growth *g) {
    feox_check_report report;
    feox_store *store = g->k->store;
    arm(g);
    if (is_refused(g, feox_flush(store))) {
        assert_ok(feox_flush(store));
    }
    feox_check_report_init(&report);
    arm(g);
    (void)is_refused(g, feox_check(store, &report, kit_print_line, NULL));
    assert_int_equal(report.problems, 0);
    if (g->k->file && kit_below(&g->random, 4) == 0) {
        arm(g);
        if (is_refused(g, feox_compact(store))) {
            assert_ok(feox_compact(store));
        }
    }
    assert_int_equal(kit_count(g->k), g->count);
}

static void clear(growth *g) {
    arm(g);
    if (is_refused(g, feox_clear(g->k->store))) {
        assert_ok(feox_clear(g->k->store));
    }
    memset(g->ids, 0, sizeof g->ids);
    g->count = 0;
    g->large_left = 40;
    assert_int_equal(kit_count(g->k), 0);
}

/* First more and more keys, then any, then none. */
static void grow(growth *g) {
    for (unsigned n = 0; n < OPERATIONS; n++) {
        uint64_t what = kit_below(&g->random, 16);
        uint32_t most = n < OPERATIONS / 2 ? 1 + n * 2 * (KEYS / 1000) / (OPERATIONS / 1000) : KEYS;
        uint32_t i = (uint32_t)kit_below(&g->random, most < KEYS ? most : KEYS);
        if (what == 0 || (n > OPERATIONS / 2 && what < 5)) {
            drop(g, i);
        } else if (what < 4) {
            read_one(g, i);
        } else {
            put(g, i);
        }
        if (n % (OPERATIONS / 40) == 0) {
            whole(g);
        }
        if (n == OPERATIONS / 5 || n == OPERATIONS - 1) {
            clear(g);
        }
        if (n == OPERATIONS - 2) {
            for (uint32_t k = 0; k < KEYS; k++) {
                expect(g, k);
            }
            assert_int_equal(kit_scan_count(g->k), g->count);
        }
    }
}

static void run(kit *k, const char *name) {
    growth *g = kit_alloc(sizeof *g);
    memset(g, 0, sizeof *g);
    g->k = k;
    g->random = kit_seed(name);
    g->large_left = 60;
    /* The background threads sleep: they would take the failures. */
    k->options.flush_interval_ms = 3600000;
    k->options.sweep_interval_ms = 3600000;
    kit_restart(k);
    campaign_begin(&g->campaign, name);
    grow(g);
    whole(g);
    for (uint32_t i = 0; i < KEYS; i += 3) {
        put(g, i);
    }
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k->store, &stats));
    assert_int_equal(stats.evictions > 0, k->options.memory_limit != 0);
    do {
        for (uint32_t i = 0; i < KEYS; i++) {
            expect(g, i);
        }
        assert_int_equal(kit_scan_count(k), g->count);
        assert_ok(kit_check(k->store));
    } while (kit_again(k));
    printf("%llu calls refused\n", (unsigned long long)g->refused);
    campaign_end(&g->campaign);
    assert_true(g->refused > 40);
    free(g);
}

static void while_it_grows(void **state) {
    kit *k = *state;
    run(k, k->file ? "C5 growth, file" : "C5 growth, memory");
}

static void with_values_on_disk(void **state) {
    kit *k = *state;
    k->options.memory_limit = 6u << 20;
    run(k, "C5 growth, values on disk");
}

/* What is tested is not the disk. */
int main(void) {
    fx_temp_in_memory();
    const struct CMUnitTest tests[] = {KIT_TEST(while_it_grows), KIT_FILE(with_values_on_disk)};
    return cmocka_run_group_tests_name("fault/memory_growth", tests, NULL, NULL);
}
