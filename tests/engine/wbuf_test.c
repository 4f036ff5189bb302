/* wbuf against a model: random puts, deletes, cuts, recycles and uncuts over a few keys. After
 * every flush the model applies what the half in flight would write, and must then hold what the
 * commits left when it was cut; nothing may be deleted on disk without a tombstone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "disk/format.h"
#include "engine/wbuf.h"

#define KEYS 40

typedef struct slot {
    uint64_t location; /* before the record: record.h */
    fx_record record;
    uint8_t rest[64];
} slot;

typedef struct model {
    fx_wbuf wbuf;
    uint64_t now;
    slot slots[KEYS][2];     /* a key's record moves between two places */
    fx_record *record[KEYS]; /* NULL: no such key */
    uint64_t version[KEYS];
    uint64_t cut_version[KEYS];  /* 0: absent; when the half in flight was cut */
    uint64_t disk_version[KEYS]; /* 0: absent */
    uint64_t disk_location[KEYS];
    uint64_t next_version;
    uint64_t next_location;
    bool flying;
    uint64_t live; /* locations that are live on disk */
    uint64_t *dead_next;
    size_t dead_count;
} model;

static fx_slab_pool pool; /* only what it is charged counts */
static fx_slab_pool block_memory;
static fx_block_pool blocks = {.charged = &block_memory};

static uint64_t seed(void) {
    const char *text = getenv("FEOX_SEED");
    uint64_t value = text != NULL ? strtoull(text, NULL, 0) : 20240607;
    print_message("FEOX_SEED=%llu\n", (unsigned long long)value);
    return value;
}

static fx_entry entry_of(uint8_t *key, unsigned k, uint64_t version, uint32_t value_len) {
    static uint8_t value[FX_LARGE_VALUE_MIN];
    key[0] = (uint8_t)k;
    return (fx_entry){.key = key,
                      .key_len = 1 + k % 7,
                      .value = value,
                      .value_len = value_len,
                      .version = version,
                      .kind = value_len >= FX_LARGE_VALUE_MIN ? FX_ENTRY_LARGE : FX_ENTRY_PUT};
}

static void do_put(model *m, fx_rng *rng, unsigned k) {
    uint8_t key[8] = {0};
    uint32_t value_len = (uint32_t)fx_rng_below(rng, 90);
    fx_block *block = NULL;
    if (fx_rng_below(rng, 20) == 0) {
        value_len = FX_LARGE_VALUE_MIN;
        block = fx_block_create(&blocks, NULL, value_len);
    }
    fx_entry entry = entry_of(key, k, ++m->next_version, value_len);
    fx_record *old = m->record[k];
    uint64_t location = old != NULL ? fx_record_location(old) : 0;
    fx_record *record = &m->slots[k][fx_rng_below(rng, 2)].record;
    assert_true(fx_wbuf_reserve(&m->wbuf, entry.key_len, value_len));
    fx_mem_fail_after(1, true);
    fx_wbuf_put(&m->wbuf, &entry, record, block, location, ++m->now);
    fx_mem_fail_after(0, false);
    fx_block_release(block);
    m->record[k] = record;
    m->version[k] = entry.version;
}

static void do_delete(model *m, unsigned k) {
    uint8_t key[8] = {0};
    if (m->record[k] == NULL) {
        return;
    }
    fx_entry entry = entry_of(key, k, ++m->next_version, 0);
    assert_true(fx_wbuf_reserve(&m->wbuf, entry.key_len, 0));
    fx_mem_fail_after(1, true);
    fx_wbuf_delete(&m->wbuf, &entry, fx_record_location(m->record[k]), ++m->now);
    fx_mem_fail_after(0, false);
    m->record[k] = NULL;
    m->version[k] = 0;
}

static void do_cut(model *m) {
    fx_wbuf_cut(&m->wbuf);
    memcpy(m->cut_version, m->version, sizeof m->version);
    m->flying = true;
}

/* What a flush does with the half in flight, and what recovery would then see. */
static void do_finish(model *m) {
    fx_wbuf_half *half = fx_wbuf_flight(&m->wbuf);
    uint64_t last_version[KEYS] = {0};
    m->live -= m->dead_count; /* those of the group before are dead now */
    m->dead_count = 0;
    m->dead_next = realloc(m->dead_next, (half->count + 1) * sizeof *m->dead_next);
    for (uint32_t i = 0; i < half->count; i++) {
        fx_wbuf_entry *slot_entry = &half->entries[i];
        m->live -= slot_entry->old_location != 0 ? 1 : 0;
        if (slot_entry->size == 0) {
            assert_null(slot_entry->record);
            continue;
        }
        fx_entry entry;
        size_t size = 0;
        assert_true(fx_format_record_decode(half->bytes + slot_entry->offset, slot_entry->size,
                                            &entry, &size));
        assert_int_equal(size, slot_entry->size);
        unsigned k = entry.key[0];
        assert_true(entry.version > last_version[k]); /* W1 */
        last_version[k] = entry.version;
        assert_true(entry.version > m->disk_version[k]);
        if (entry.kind == FX_ENTRY_TOMBSTONE) {
            assert_null(slot_entry->record);
            m->disk_version[k] = 0;
            continue;
        }
        assert_true((entry.kind == FX_ENTRY_LARGE) == (slot_entry->block != NULL));
        m->live++;
        m->disk_version[k] = entry.version;
        m->disk_location[k] = ++m->next_location;
        if (slot_entry->record != NULL) {
            assert_ptr_equal(slot_entry->record, m->record[k]);
            assert_int_equal(entry.version, m->version[k]);
            fx_record_set_location(slot_entry->record, m->disk_location[k]);
        } else {
            m->dead_next[m->dead_count++] = m->disk_location[k];
        }
    }
    assert_memory_equal(m->disk_version, m->cut_version, sizeof m->cut_version);
    fx_wbuf_recycle(&m->wbuf);
    m->flying = false;
}

static void test_model(void **state) {
    (void)state;
    fx_rng rng;
    fx_rng_init(&rng, seed());
    for (unsigned round = 0; round < 30; round++) {
        model *m = calloc(1, sizeof *m);
        fx_wbuf_init(&m->wbuf, &pool, FX_WBUF_SIZE_MAX);
        for (unsigned step = 0; step < 3000; step++) {
            unsigned k = (unsigned)fx_rng_below(&rng, KEYS);
            switch (fx_rng_below(&rng, 40)) {
            case 0:
                if (!m->flying) {
                    do_cut(m);
                }
                break;
            case 1:
                if (m->flying) {
                    do_finish(m);
                }
                break;
            case 2:
                if (m->flying) {
                    uint64_t since = fx_wbuf_flight(&m->wbuf)->first_ns;
                    assert_true(fx_wbuf_uncut(&m->wbuf));
                    /* As old as what was cut. */
                    assert_true(since == 0 || m->wbuf.halves[m->wbuf.open].first_ns == since);
                    m->flying = false;
                }
                break;
            default:
                if (fx_rng_below(&rng, 3) == 0) {
                    do_delete(m, k);
                } else {
                    do_put(m, &rng, k);
                }
            }
            if (step % 16 == 0) {
                const char *wrong = fx_wbuf_check(&m->wbuf);
                if (wrong != NULL) {
                    fail_msg("%s", wrong);
                }
            }
        }
        if (m->flying) {
            do_finish(m);
        }
        /* Two empty flushes later exactly the keys' newest records are live (I3). */
        for (unsigned i = 0; i < 2; i++) {
            do_cut(m);
            do_finish(m);
        }
        uint64_t keys = 0;
        for (unsigned k = 0; k < KEYS; k++) {
            keys += m->record[k] != NULL ? 1 : 0;
            if (m->record[k] != NULL) {
                assert_int_equal(fx_record_location(m->record[k]), m->disk_location[k]);
            }
        }
        assert_int_equal(m->live, keys);
        assert_int_equal(fx_wbuf_waiting(&m->wbuf), 0);
        fx_wbuf_deinit(&m->wbuf);
        free(m->dead_next);
        free(m);
    }
    fx_block_pool_trim(&blocks, true);
    assert_int_equal(fx_slab_pool_used(&block_memory), 0); /* no reference was forgotten */
}

static void test_bounds(void **state) {
    (void)state;
    static slot place[200];
    uint8_t key[8] = {0};
    fx_wbuf wbuf;
    fx_wbuf_init(&wbuf, &pool, FX_WBUF_SIZE_MAX);
    assert_false(fx_wbuf_full(&wbuf));
    for (unsigned i = 0; !fx_wbuf_full(&wbuf); i++) {
        assert_true(i < 200);
        fx_entry entry = entry_of(key, i, i + 1, FX_LARGE_VALUE_MIN - 1);
        assert_true(fx_wbuf_reserve(&wbuf, entry.key_len, entry.value_len));
        fx_wbuf_put(&wbuf, &entry, &place[i].record, NULL, 0, i);
    }
    assert_true(fx_wbuf_waiting(&wbuf) >= FX_WBUF_SIZE_MAX);
    fx_wbuf_cut(&wbuf);
    assert_false(fx_wbuf_full(&wbuf));
    assert_true(fx_wbuf_waiting(&wbuf) >= FX_WBUF_SIZE_MAX);
    /* Without memory nothing changes. */
    fx_mem_fail_after(1, true);
    assert_false(fx_wbuf_reserve(&wbuf, 10, 10));
    fx_mem_fail_after(0, false);
    fx_wbuf_recycle(&wbuf);
    assert_int_equal(fx_wbuf_waiting(&wbuf), 0);
    /* What is not used any more is given back, and the pool knows. */
    assert_true(fx_wbuf_reserve(&wbuf, 10, 10));
    assert_true(fx_slab_pool_used(&pool) >= 10);
    fx_wbuf_trim(&wbuf);
    assert_true(fx_slab_pool_used(&pool) >= 10);
    fx_wbuf_trim(&wbuf);
    assert_int_equal(fx_slab_pool_used(&pool), 0);
    fx_wbuf_deinit(&wbuf);
}

/* A key that came and went within one group leaves nothing; one that may be on disk a tombstone. */
static void test_tombstones(void **state) {
    (void)state;
    static slot place;
    uint8_t key[8] = {0};
    fx_wbuf wbuf;
    fx_wbuf_init(&wbuf, &pool, FX_WBUF_SIZE_MAX);
    fx_entry entry = entry_of(key, 3, 1, 10);
    assert_true(fx_wbuf_reserve(&wbuf, 10, 10));
    fx_wbuf_put(&wbuf, &entry, &place.record, NULL, 0, 1);
    fx_wbuf_delete(&wbuf, &entry, place.location, 1);
    assert_int_equal(wbuf.halves[wbuf.open].entries[0].size, 0);
    assert_true(fx_wbuf_reserve(&wbuf, 10, 10));
    fx_wbuf_put(&wbuf, &entry, &place.record, NULL, 77, 1);
    fx_wbuf_delete(&wbuf, &entry, place.location, 1);
    assert_int_equal(wbuf.halves[wbuf.open].entries[1].kind, FX_ENTRY_TOMBSTONE);
    assert_int_equal(wbuf.halves[wbuf.open].entries[1].old_location, 77);
    fx_wbuf_deinit(&wbuf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_tombstones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
