/* memory, in loops: each scenario is run again and again, its first allocation failing, then its
 * second, and so on until none fails any more; the one alone, and all from it on. In memory, in a
 * file, in a durable file, and in one whose values are on disk.
 *
 * A scenario says FEOX_ERR_MEMORY or succeeds. If it failed, every key has the value, version and
 * time to live that it had; if it succeeded, those that a run without failures gives; and the next
 * operation works either way. Nothing leaks (under Asan). Cases and failures are counted.
 */
#define _GNU_SOURCE
#include "base/mem.h"
#include "engine/compactor.h"
#include "engine/volume.h"
#include "store/store.h"
#include "support/campaign.h"
#include "support/kit.h"

#include <unistd.h>

#define LARGE (80u << 10)
#define MIDDLE 3000u
#define MANY 12u
/* More allocations than any scenario makes. */
#define TRIES 3000u

enum {
    PARTLY = 1, /* a failure may have done a part of it */
    FILE_ONLY = 2,
    READS = 4 /* makes nothing durable: a durable store does it like any other */
};

typedef struct scenario {
    const char *name;
    feox_status (*run)(kit *k);
    unsigned flags;
    void (*prepare)(kit *k); /* before anything fails; may be NULL */
} scenario;

static unsigned char large[LARGE];
static unsigned char other[LARGE];
static unsigned char room[LARGE];
static campaign loops;
static uint64_t refused;

/* A failure, or success, and nothing else. */
static feox_status one_of(feox_status status, feox_status good) {
    return status == good ? FEOX_OK : status;
}

/* ---- Scenarios ---- */

static feox_status run_insert_new(kit *k) {
    return feox_insert(k->store, "new", 3, "value", 5);
}

static feox_status run_insert_new_middle(kit *k) {
    return feox_insert(k->store, "new", 3, large, MIDDLE);
}

static feox_status run_insert_new_large(kit *k) {
    return feox_insert(k->store, "new", 3, large, LARGE);
}

static feox_status run_insert_longer(kit *k) {
    return feox_insert(k->store, "text", 4, other, 900);
}

static feox_status run_insert_shorter(kit *k) {
    return feox_insert(k->store, "large", 5, "now short", 9);
}

static feox_status run_insert_with(kit *k) {
    feox_write write;
    feox_write_init(&write);
    write.ttl_ms = 3600000;
    write.flags = FEOX_IF_PRESENT;
    return feox_insert_with(k->store, "text", 4, large, 100, &write, NULL);
}

static feox_status run_insert_durable(kit *k) {
    feox_write write;
    feox_write_init(&write);
    write.flags = FEOX_DURABLE;
    return feox_insert_with(k->store, "large", 5, other, LARGE, &write, NULL);
}

static feox_status run_delete_durable(kit *k) {
    feox_write write;
    feox_write_init(&write);
    write.flags = FEOX_DURABLE;
    return feox_delete_with(k->store, "large", 5, &write, NULL);
}

static feox_status run_insert_many(kit *k) {
    char keys[MANY][8];
    feox_pair pairs[MANY];
    feox_status statuses[MANY];
    feox_status first = FEOX_OK;
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "many%02u", i);
        size_t size = i % 4 == 0 ? LARGE : i * 40;
        pairs[i] = (feox_pair){{keys[i], 6}, {large, size}};
    }
    feox_status status = feox_insert_many(k->store, pairs, MANY, statuses);
    for (unsigned i = 0; i < MANY; i++) {
        assert_true(statuses[i] == FEOX_OK || statuses[i] == FEOX_ERR_MEMORY);
        assert_status(feox_contains(k->store, keys[i], 6),
                      statuses[i] == FEOX_OK ? FEOX_OK : FEOX_NOT_FOUND);
        first = first == FEOX_OK ? statuses[i] : first;
    }
    assert_status(status, first);
    return status;
}

static feox_status run_delete(kit *k) {
    return feox_delete(k->store, "large", 5);
}

static feox_status run_clear(kit *k) {
    return feox_clear(k->store);
}

static feox_status run_swap(kit *k) {
    return feox_compare_and_swap(k->store, "large", 5, large, LARGE, other, LARGE);
}

static feox_status run_increment(kit *k) {
    return feox_increment(k->store, "counter", 7, 5, NULL);
}

static feox_status run_increment_new(kit *k) {
    return feox_increment(k->store, "new", 3, 5, NULL);
}

static feox_status run_patch(kit *k) {
    static const char patch[] = "[{\"op\":\"add\",\"path\":\"/b\",\"value\":[1,2,{\"c\":3}]},"
                                "{\"op\":\"copy\",\"from\":\"/b\",\"path\":\"/b/2/c\"},"
                                "{\"op\":\"test\",\"path\":\"/b/2/c/0\",\"value\":1.0},"
                                "{\"op\":\"move\",\"from\":\"/b/2\",\"path\":\"/a\"}]";
    return feox_json_patch(k->store, "json", 4, patch, sizeof patch - 1);
}

static feox_status run_merge(kit *k) {
    static const char merge[] = "{\"a\":null,\"x\":{\"y\":[1],\"z\":null}}";
    return feox_json_merge(k->store, "json", 4, merge, sizeof merge - 1);
}

static feox_status run_expire(kit *k) {
    return feox_expire(k->store, "large", 5, 3600000);
}

static feox_status run_persist(kit *k) {
    return feox_persist(k->store, "mortal", 6);
}

static feox_status run_get(kit *k) {
    void *value = k;
    size_t size = 7;
    feox_status status = feox_get(k->store, "large", 5, &value, &size);
    if (status == FEOX_OK) {
        assert_int_equal(size, LARGE);
        assert_memory_equal(value, large, LARGE);
    } else {
        assert_null(value);
        assert_int_equal(size, 0);
    }
    feox_free(value);
    return status;
}

static feox_status run_get_into(kit *k) {
    size_t size = 7;
    feox_status status = feox_get_into(k->store, "middle", 6, room, sizeof room, &size);
    if (status == FEOX_OK) {
        assert_int_equal(size, MIDDLE);
        assert_memory_equal(room, large, MIDDLE);
    }
    return status;
}

static feox_status run_get_view(kit *k) {
    feox_view view = {k, 7, NULL};
    feox_status status = feox_get_view(k->store, "large", 5, &view);
    if (status == FEOX_OK) {
        assert_int_equal(view.size, LARGE);
        assert_memory_equal(view.data, large, LARGE);
    } else {
        assert_null(view.data);
    }
    feox_view_release(&view);
    return status;
}

static feox_status run_get_many(kit *k) {
    static const char *const names[] = {"large", "none", "middle", "text", "large"};
    static unsigned char buffers[5][LARGE];
    feox_lookup lookups[5];
    feox_status first = FEOX_OK;
    for (size_t i = 0; i < 5; i++) {
        lookups[i] = (feox_lookup){
            .key = names[i], .key_len = strlen(names[i]), .buffer = buffers[i], .capacity = LARGE};
    }
    feox_status status = feox_get_many(k->store, lookups, 5);
    for (size_t i = 0; i < 5; i++) {
        feox_status one = one_of(lookups[i].status, i == 1 ? FEOX_NOT_FOUND : FEOX_OK);
        first = first == FEOX_OK ? one : first;
    }
    assert_status(status, first);
    return status;
}

static feox_status run_info(kit *k) {
    feox_key_info info;
    int64_t ttl;
    uint64_t count;
    assert_ok(feox_info(k->store, "large", 5, &info));
    assert_ok(feox_ttl(k->store, "large", 5, &ttl));
    assert_ok(feox_contains(k->store, "large", 5));
    assert_ok(feox_count(k->store, &count));
    feox_statistics stats;
    feox_statistics_init(&stats);
    return feox_stats(k->store, &stats);
}

static feox_status run_check(kit *k) {
    feox_check_report report;
    feox_check_report_init(&report);
    feox_status status = feox_check(k->store, &report, kit_print_line, NULL);
    assert_int_equal(report.problems, 0);
    return status;
}

static feox_status run_range(kit *k) {
    feox_pairs *pairs = (feox_pairs *)(void *)k;
    feox_status status = feox_range_query(k->store, NULL, 0, NULL, 0, 0, &pairs);
    if (status == FEOX_OK) {
        assert_true(pairs->count >= 6);
    } else {
        assert_null(pairs);
    }
    feox_pairs_free(pairs);
    return status;
}

/* A step that fails can be repeated: the first failure is what is returned, the rest of the walk
 * has all memory. */
static feox_status run_cursor(kit *k) {
    feox_range range;
    feox_cursor *cursor = NULL;
    feox_slice key;
    feox_slice value;
    feox_range_init(&range);
    range.flags = FEOX_REVERSE;
    range.start = "b";
    range.start_len = 1;
    feox_status first = feox_cursor_open(k->store, &range, &cursor);
    if (first != FEOX_OK) {
        assert_null(cursor);
        return first;
    }
    first = feox_cursor_seek(cursor, "text", 4);
    unsigned count = 0;
    for (feox_status status = first; status != FEOX_END; count += status == FEOX_OK) {
        if (status != FEOX_OK) {
            fx_mem_fail_after(0, false);
            first = status;
        }
        status = feox_cursor_next(cursor, &key, &value);
    }
    assert_true(count >= 6);
    feox_cursor_close(cursor);
    return first;
}

/* Something that is not on disk yet: small values, and one with an extent of its own. */
static void prepare_dirty(kit *k) {
    static unsigned round;
    round++;
    assert_ok(feox_insert(k->store, "dirty", 5, round % 2 == 0 ? large : other, LARGE));
    assert_ok(feox_insert(k->store, "dirty too", 9, &round, sizeof round));
}

static feox_status run_flush(kit *k) {
    return feox_flush(k->store);
}

/* And something to compact. */
static void prepare_checkpoint(kit *k) {
    for (unsigned i = 0; i < 3; i++) {
        prepare_dirty(k);
        assert_ok(feox_insert(k->store, "dirty", 5, large, MIDDLE));
        assert_ok(feox_flush(k->store));
    }
}

static feox_status run_checkpoint(kit *k) {
    fx_flusher *flusher = k->store->engine.flusher;
    fx_flusher_enter(flusher);
    feox_status status = fx_compactor_checkpoint(flusher, true);
    fx_flusher_leave(flusher);
    return status;
}

static feox_status run_close(kit *k) {
    feox_store *store = k->store;
    k->store = NULL;
    return feox_close(store);
}

static feox_status run_open(kit *k) {
    return feox_open(k->path, &k->options, &k->store);
}

static feox_status run_open_read_only(kit *k) {
    feox_options options = k->options;
    feox_store *store = NULL;
    options.read_only = FEOX_YES;
    feox_status status = feox_open(k->path, &options, &store);
    fx_mem_fail_after(0, false);
    assert_int_equal(store != NULL, status == FEOX_OK);
    assert_ok(feox_close(store));
    return status;
}

/* A file that was not closed: its groups are in the journal. */
static const char *crashed(void) {
    return fx_temp_path("crashed");
}

static void prepare_crash(kit *k) {
    prepare_dirty(k);
    assert_ok(feox_flush(k->store));
    fx_file_copy(k->path, crashed());
}

static feox_status run_open_crashed(kit *k) {
    feox_store *store = NULL;
    uint64_t count = 0;
    feox_status status = feox_open(crashed(), &k->options, &store);
    fx_mem_fail_after(0, false);
    assert_int_equal(store != NULL, status == FEOX_OK);
    if (store != NULL) {
        assert_ok(kit_check(store));
        assert_ok(feox_count(store, &count));
        assert_true(count >= 8);
    }
    assert_ok(feox_close(store));
    return status;
}

static feox_status run_open_new(kit *k) {
    feox_store *store = NULL;
    const char *path = k->file ? fx_temp_path("made") : NULL;
    feox_status status = feox_open(path, &k->options, &store);
    fx_mem_fail_after(0, false);
    assert_int_equal(store != NULL, status == FEOX_OK);
    assert_ok(feox_close(store));
    if (path != NULL) {
        assert_int_equal(fx_file_exists(path), status == FEOX_OK);
        fx_file_remove(path);
    }
    return status;
}

/* ---- A store whose values do not fit its memory ---- */

enum { EVICTED = 40 };

static size_t evicted_key(unsigned i, char *key) {
    return (size_t)snprintf(key, 8, "e%03u", i);
}

static feox_status run_get_evicted(kit *k) {
    for (unsigned i = 0; i < EVICTED; i++) {
        char key[8];
        size_t key_len = evicted_key(i, key);
        size_t size = 0;
        feox_status status = feox_get_into(k->store, key, key_len, room, sizeof room, &size);
        if (status != FEOX_OK) {
            return status;
        }
        assert_int_equal(size, LARGE);
        assert_true(room[0] == (unsigned char)i && room[LARGE - 1] == 'l');
    }
    return FEOX_OK;
}

static feox_status run_view_evicted(kit *k) {
    for (unsigned i = 0; i < EVICTED; i++) {
        char key[8];
        feox_view view;
        feox_status status = feox_get_view(k->store, key, evicted_key(i, key), &view);
        if (status != FEOX_OK) {
            return status;
        }
        assert_int_equal(view.size, LARGE);
        assert_true(((const unsigned char *)view.data)[0] == (unsigned char)i);
        feox_view_release(&view);
    }
    return FEOX_OK;
}

static void fill_evicted(kit *k) {
    unsigned char *value = kit_alloc(LARGE);
    memset(value, 'l', LARGE);
    for (unsigned i = 0; i < EVICTED; i++) {
        char key[8];
        size_t key_len = evicted_key(i, key);
        value[0] = (unsigned char)i;
        assert_ok(feox_insert(k->store, key, key_len, value, LARGE));
        if (i % 10 == 9) {
            assert_ok(feox_flush(k->store));
        }
    }
    free(value);
}

/* ---- What the keys are ---- */

static const char *const keys[] = {"text",   "large", "middle", "counter", "json",
                                   "mortal", "new",   "many00", "many05",  "many11"};
#define KEYS (sizeof keys / sizeof keys[0])

static void fill(kit *k) {
    feox_write write;
    memset(large, 'l', sizeof large);
    memset(other, 'o', sizeof other);
    assert_ok(kit_put(k, "text", "value"));
    assert_ok(feox_insert(k->store, "large", 5, large, LARGE));
    assert_ok(feox_insert(k->store, "middle", 6, large, MIDDLE));
    assert_ok(feox_increment(k->store, "counter", 7, 7, NULL));
    assert_ok(kit_put(k, "json", "{\"a\":1}"));
    feox_write_init(&write);
    write.ttl_ms = 3600000;
    assert_ok(feox_insert_with(k->store, "mortal", 6, "m", 1, &write, NULL));
    if (k->options.memory_limit != 0) {
        fill_evicted(k);
    }
    assert_ok(feox_flush(k->store));
}

typedef struct picture {
    struct {
        feox_status status;
        bool mortal;
        uint64_t size;
        uint64_t sum;
        uint64_t version;
        uint64_t timestamp;
    } keys[KEYS];
} picture;

static void look(kit *k, picture *p) {
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < KEYS; i++) {
        feox_key_info info;
        size_t size = 0;
        p->keys[i].status = feox_info(k->store, keys[i], strlen(keys[i]), &info);
        if (p->keys[i].status == FEOX_OK) {
            assert_ok(feox_get_into(k->store, keys[i], strlen(keys[i]), room, sizeof room, &size));
            assert_int_equal(size, info.value_size);
            p->keys[i].mortal = info.ttl_ms > 0;
            p->keys[i].size = size;
            for (size_t at = 0; at < size; at++) {
                p->keys[i].sum = p->keys[i].sum * 31 + room[at];
            }
            p->keys[i].version = info.version;
            p->keys[i].timestamp = info.timestamp;
        } else {
            assert_status(p->keys[i].status, FEOX_NOT_FOUND);
        }
    }
}

/* Without what differs from run to run. */
static picture values_of(const picture *p) {
    picture values = *p;
    for (size_t i = 0; i < KEYS; i++) {
        values.keys[i].version = 0;
        values.keys[i].timestamp = 0;
    }
    return values;
}

/* ---- The loop ---- */

/* A new store with the keys of fill. */
static void begin(kit *k, picture *before) {
    kit_restart(k);
    fill(k);
    look(k, before);
}

/* What follows a scenario works. */
static void go_on(kit *k, uint64_t n) {
    char value[32];
    (void)snprintf(value, sizeof value, "%llu", (unsigned long long)n);
    assert_ok(kit_put(k, "next", value));
    kit_expect(k, "next", value);
    if (n % 4 == 1) {
        assert_ok(feox_flush(k->store));
    }
    if (n % 16 == 1) {
        assert_ok(kit_check(k->store));
    }
}

static feox_status run_once(kit *k, const scenario *s, uint64_t n, bool sticky, uint64_t *failed) {
    if (s->prepare != NULL) {
        s->prepare(k);
    }
    if (s->run == run_open || s->run == run_open_read_only) {
        kit_close(k);
    }
    fx_mem_fail_after(n, sticky);
    feox_status status = s->run(k);
    fx_mem_fail_after(0, false);
    *failed = n > 0 ? fx_mem_failed() : 0;
    if (k->store == NULL) {
        kit_open(k);
    }
    return status;
}

static void loop(kit *k, const scenario *s, bool sticky) {
    picture before;
    picture after;
    uint64_t failed;
    begin(k, &before);
    assert_ok(run_once(k, s, 0, false, &failed));
    look(k, &after);
    const picture wanted = values_of(&after);
    bool fresh = false;
    for (uint64_t n = 1;; n++) {
        assert_true(n < TRIES);
        if (!fresh) {
            begin(k, &before);
        }
        feox_status status = run_once(k, s, n, sticky, &failed);
        loops.cases++;
        loops.faults += failed;
        refused += status != FEOX_OK;
        look(k, &after);
        bool same = memcmp(&before, &after, sizeof before) == 0;
        const picture values = values_of(&after);
        bool good = status == FEOX_OK ? memcmp(&values, &wanted, sizeof wanted) == 0
                                      : status == FEOX_ERR_MEMORY && failed > 0 &&
                                            (same || (s->flags & PARTLY) != 0);
        if (!good) {
            print_error("%s, allocation %llu%s: %s, %s\n", s->name, (unsigned long long)n,
                        sticky ? " and all that follow" : "", feox_status_name(status),
                        feox_last_error());
        }
        assert_true(good);
        go_on(k, n);
        /* What was done in part may be in keys that are not in the picture. */
        fresh = same && (s->flags & PARTLY) == 0;
        if (failed == 0) {
            assert_ok(status);
            break;
        }
    }
}

#define SCENARIO(name, flags, prepare)                                                             \
    { #name, run_##name, flags, prepare }

static const scenario scenarios[] = {
    SCENARIO(insert_new, 0, NULL),
    SCENARIO(insert_new_middle, 0, NULL),
    SCENARIO(insert_new_large, 0, NULL),
    SCENARIO(insert_longer, 0, NULL),
    SCENARIO(insert_shorter, 0, NULL),
    SCENARIO(insert_with, 0, NULL),
    SCENARIO(insert_durable, 0, NULL),
    SCENARIO(delete_durable, 0, NULL),
    SCENARIO(insert_many, PARTLY, NULL),
    SCENARIO(delete, 0, NULL),
    SCENARIO(clear, PARTLY, NULL),
    SCENARIO(swap, 0, NULL),
    SCENARIO(increment, 0, NULL),
    SCENARIO(increment_new, 0, NULL),
    SCENARIO(patch, 0, NULL),
    SCENARIO(merge, 0, NULL),
    SCENARIO(expire, 0, NULL),
    SCENARIO(persist, 0, NULL),
    SCENARIO(get, READS, NULL),
    SCENARIO(get_into, READS, NULL),
    SCENARIO(get_view, READS, NULL),
    SCENARIO(get_many, READS, NULL),
    SCENARIO(info, READS, NULL),
    SCENARIO(check, READS, prepare_dirty),
    SCENARIO(range, READS, NULL),
    SCENARIO(cursor, READS, NULL),
    SCENARIO(flush, 0, prepare_dirty),
    SCENARIO(open_new, READS, NULL),
    SCENARIO(checkpoint, FILE_ONLY, prepare_checkpoint),
    SCENARIO(close, FILE_ONLY, prepare_dirty),
    SCENARIO(open, FILE_ONLY | READS, prepare_dirty),
    SCENARIO(open_read_only, FILE_ONLY | READS, prepare_dirty),
    SCENARIO(open_crashed, FILE_ONLY | READS, prepare_crash),
};
#define SCENARIOS (sizeof scenarios / sizeof scenarios[0])

static const scenario evicted_scenarios[] = {
    SCENARIO(get_evicted, 0, NULL),
    SCENARIO(view_evicted, 0, NULL),
    SCENARIO(range, READS, NULL),
    SCENARIO(check, 0, NULL),
};

static void run_scenarios(kit *k, const char *what, const scenario *which, size_t count) {
    /* The background threads sleep: they would take the failures. */
    k->options.flush_interval_ms = 3600000;
    k->options.sweep_interval_ms = 3600000;
    refused = 0;
    campaign_begin(&loops, what);
    size_t done = 0;
    unsigned without = (k->file ? 0u : (unsigned)FILE_ONLY) |
                       (k->options.durability == FEOX_DURABILITY_DURABLE ? (unsigned)READS : 0u);
    for (size_t i = 0; i < count; i++) {
        if ((which[i].flags & without) == 0) {
            loop(k, &which[i], false);
            loop(k, &which[i], true);
            done++;
        }
    }
    printf("%zu scenarios, %llu calls refused\n", done, (unsigned long long)refused);
    campaign_end(&loops);
}

static void every_call(void **state) {
    kit *k = *state;
    run_scenarios(k, k->file ? "C5 loops, file" : "C5 loops, memory", scenarios, SCENARIOS);
}

static void every_call_durable(void **state) {
    kit *k = *state;
    k->options.durability = FEOX_DURABILITY_DURABLE;
    run_scenarios(k, "C5 loops, durable file", scenarios, SCENARIOS);
}

static void values_on_disk(void **state) {
    kit *k = *state;
    k->options.memory_limit = 3u << 20;
    run_scenarios(k, "C5 loops, values on disk", evicted_scenarios,
                  sizeof evicted_scenarios / sizeof evicted_scenarios[0]);
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k->store, &stats));
    assert_true(stats.disk_reads > 0 && stats.evictions > 0);
}

/* Thousands of files are made; what is tested is not the disk. */
int main(void) {
    fx_temp_in_memory();
    const struct CMUnitTest tests[] = {
        KIT_TEST(every_call),
        KIT_FILE(every_call_durable),
        KIT_FILE(values_on_disk),
    };
    return cmocka_run_group_tests_name("fault/memory_loop", tests, NULL, NULL);
}
