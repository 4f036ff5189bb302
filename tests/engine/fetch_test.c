/* fetch: what becomes of a key while somebody reads it. The device and the clock are the test's, so
 * that something happens just when a value has been read from disk, or a moment after the key was
 * found: it is deleted, replaced, moved, expires. A read gives what the key was or is, and nothing
 * else; an error only if that is the truth in the end.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/evict.h"
#include "engine/fetch.h"
#include "engine/volume.h"
#include "support/mem_dev.h"
#include "support/stage.h"

#define SMALL 100u
#define MIDDLE 3000u
#define LARGE 80000u

typedef struct world world;
struct world {
    fx_dev door; /* in front of the device */
    fx_dev *behind;
    stage s;
    mem_dev *dev;
    void (*read)(world *w);  /* happens when bytes have been read, once; NULL: nothing */
    void (*clock)(world *w); /* happens when the clock is looked at ... */
    unsigned clock_left;     /* ... for the n-th time */
    bool spoilt;             /* what is read is noise, at the first place that is read ... */
    bool failing;            /* ... or an error */
    uint64_t bad_place;      /* ... which is that; UINT64_MAX: nothing was read yet */
    unsigned reads;
};

static int door_read(fx_dev *dev, uint64_t offset, void *buffer, size_t size) {
    world *w = (world *)(void *)dev;
    void (*happens)(world *) = w->read;
    int result = fx_dev_read(w->behind, offset, buffer, size);
    w->reads++;
    w->read = NULL;
    if (w->bad_place == UINT64_MAX && (w->spoilt || w->failing)) {
        w->bad_place = offset;
    }
    if (w->spoilt && offset == w->bad_place) {
        memset(buffer, 0xa5, size);
    }
    if (w->failing && offset == w->bad_place) {
        result = -EIO;
    }
    if (happens != NULL) {
        happens(w);
    }
    return result;
}

static uint64_t door_size(fx_dev *dev) {
    return fx_dev_size(((world *)(void *)dev)->behind);
}

static int door_grow(fx_dev *dev, uint64_t size) {
    return fx_dev_grow(((world *)(void *)dev)->behind, size);
}

static int door_shrink(fx_dev *dev, uint64_t size) {
    return fx_dev_shrink(((world *)(void *)dev)->behind, size);
}

static int door_queue_open(fx_dev *dev, fx_dev_queue **queue_out) {
    return fx_dev_queue_open(((world *)(void *)dev)->behind, queue_out);
}

static const fx_dev_vtable door_vtable = {.name = "door",
                                          .read = door_read,
                                          .size = door_size,
                                          .grow = door_grow,
                                          .shrink = door_shrink,
                                          .queue_open = door_queue_open};

static uint64_t look_at_clock(void *context) {
    world *w = context;
    if (w->clock != NULL && --w->clock_left == 0) {
        void (*happens)(world *) = w->clock;
        w->clock = NULL;
        happens(w);
    }
    return ++w->s.now;
}

static feox_status put_until(world *w, const char *key, uint8_t byte, size_t size,
                             uint64_t expiry_ns, bool hidden) {
    static uint8_t value[LARGE];
    fx_committed committed;
    fx_change change = {.key = (const uint8_t *)key,
                        .key_len = (uint32_t)strlen(key),
                        .value = value,
                        .value_len = size,
                        .expiry_ns = expiry_ns,
                        .hidden = hidden};
    memset(value, byte, size);
    change.hash = fx_engine_hash(&w->s.engine, key, change.key_len);
    if (size > FX_INLINE_VALUE_MAX) {
        change.block = fx_block_create(&w->s.engine.blocks, value, size);
        assert_non_null(change.block);
    }
    return stage_write(&w->s, &change, &committed);
}

/* Reads the key: its status, and that the value is so many of that byte. */
static feox_status get(world *w, const char *key, uint8_t byte, size_t size) {
    static uint8_t room[LARGE];
    fx_fetched found;
    size_t key_len = strlen(key);
    uint64_t hash = fx_engine_hash(&w->s.engine, key, key_len);
    feox_status status = fx_fetch(&w->s.engine, hash, key, key_len, room, sizeof room, &found);
    if (status != FEOX_OK) {
        return status;
    }
    const uint8_t *value = found.in_block ? found.block->data : room;
    assert_int_equal(found.value_len, size);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(value[i], byte);
    }
    if (found.in_block) {
        fx_block_release(found.block);
    }
    return FEOX_OK;
}

static void sync_all(world *w) {
    assert_int_equal(stage_sync(&w->s), FEOX_OK);
}

/* The values of these keys are on disk only. */
static void evict_all(world *w) {
    sync_all(w);
    for (unsigned round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < w->s.engine.shard_count; i++) {
            (void)fx_evict_shard(&w->s.engine.shards[i], UINT32_MAX);
        }
    }
    const fx_record *record = stage_record(&w->s, "k");
    assert_true(record == NULL || fx_record_value_len(record) != LARGE ||
                fx_record_block(record) == NULL);
}

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    w->dev = mem_dev_create(7);
    w->behind = mem_dev_door(w->dev);
    w->door.vtable = &door_vtable;
    w->s.door = &w->door;
    w->s.memory_limit = (uint64_t)64 << 20;
    assert_int_equal(stage_open(&w->s, false), FEOX_OK);
    w->s.engine.clock = look_at_clock;
    w->s.engine.clock_context = w;
    assert_int_equal(put_until(w, "k", 1, LARGE, 0, false), FEOX_OK);
    assert_int_equal(put_until(w, "m", 2, MIDDLE, 0, false), FEOX_OK);
    evict_all(w);
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    w->read = NULL;
    w->clock = NULL;
    w->spoilt = w->failing = false;
    if (fx_flusher_status(w->s.engine.flusher) == FEOX_OK) {
        stage_expect_sound(&w->s);
    }
    int result = stage_close(&w->s) == FEOX_OK ? 0 : 1;
    mem_dev_destroy(w->dev);
    free(w);
    return result;
}

/* ---- What happens ---- */

static void delete_it(world *w) {
    assert_int_equal(stage_put(&w->s, "k", 0, 0), FEOX_OK);
}

static void replace_it(world *w) {
    assert_int_equal(stage_put(&w->s, "k", 3, LARGE), FEOX_OK);
}

static void make_it_short(world *w) {
    assert_int_equal(stage_put(&w->s, "k", 4, SMALL), FEOX_OK);
}

static void replace_and_evict(world *w) {
    replace_it(w);
    evict_all(w);
}

/* Somebody else has read it meanwhile. */
static void read_it(world *w) {
    w->spoilt = w->failing = false;
    assert_int_equal(get(w, "k", 1, LARGE), FEOX_OK);
    assert_non_null(fx_record_block(stage_record(&w->s, "k")));
}

/* ---- While its value is read from disk ---- */

static void read_as_it_was(void **state) {
    world *w = *state;
    assert_int_equal(get(w, "k", 1, LARGE), FEOX_OK);
    assert_int_equal(get(w, "m", 2, MIDDLE), FEOX_OK);
    unsigned reads = w->reads;
    assert_true(reads >= 2);
    assert_int_equal(get(w, "k", 1, LARGE), FEOX_OK);
    assert_int_equal(w->reads, reads); /* it has been kept */
    evict_all(w);
    w->read = delete_it;
    assert_int_equal(get(w, "k", 1, LARGE), FEOX_OK);
    assert_int_equal(get(w, "k", 1, LARGE), FEOX_NOT_FOUND);
    replace_it(w);
    evict_all(w);
    w->read = make_it_short;
    assert_int_equal(get(w, "k", 3, LARGE), FEOX_OK);
    assert_int_equal(get(w, "k", 4, SMALL), FEOX_OK);
}

/* What is read is no value of the key, and the reason is what happened to it. */
static void look_again(void **state) {
    static void (*const happens[])(world *) = {replace_it, make_it_short, replace_and_evict,
                                               read_it, delete_it};
    static const uint8_t bytes[] = {3, 4, 3, 1, 0};
    world *w = *state;
    for (size_t i = 0; i < sizeof happens / sizeof happens[0]; i++) {
        for (unsigned failing = 0; failing < 2; failing++) {
            assert_int_equal(stage_put(&w->s, "k", 1, LARGE), FEOX_OK);
            evict_all(w);
            w->spoilt = failing == 0;
            w->failing = failing != 0;
            w->bad_place = UINT64_MAX;
            w->read = happens[i];
            feox_status status = get(w, "k", bytes[i], bytes[i] == 4 ? SMALL : LARGE);
            assert_int_equal(status, bytes[i] == 0 ? FEOX_NOT_FOUND : FEOX_OK);
            w->spoilt = w->failing = false;
        }
    }
}

/* And if nothing happened to it, it is damaged, or cannot be read. */
static void really_damaged(void **state) {
    world *w = *state;
    uint64_t before = w->s.engine.corrupt_reads;
    w->spoilt = true;
    w->bad_place = UINT64_MAX;
    assert_int_equal(get(w, "k", 1, LARGE), FEOX_ERR_CORRUPT);
    assert_int_equal(w->s.engine.corrupt_reads, before + 1);
    w->spoilt = false;
    w->failing = true;
    assert_int_equal(get(w, "k", 1, LARGE), FEOX_ERR_IO);
    w->failing = false;
    fx_mem_fail_after(1, true);
    assert_int_equal(get(w, "k", 1, LARGE), FEOX_ERR_MEMORY);
    fx_mem_fail_after(0, false);
    assert_int_equal(get(w, "k", 1, LARGE), FEOX_OK);
}

/* ---- A moment after it was found ---- */

static void on_look(world *w, unsigned n, void (*happens)(world *)) {
    w->clock_left = n;
    w->clock = happens;
}

/* Its time to live is looked at when it was found, and once more behind that. */
static void gone_meanwhile(void **state) {
    world *w = *state;
    const uint64_t later = (uint64_t)1 << 40;
    assert_int_equal(put_until(w, "k", 1, LARGE, later, false), FEOX_OK);
    on_look(w, 1, delete_it);
    assert_int_equal(get(w, "k", 1, LARGE), FEOX_NOT_FOUND);
    assert_int_equal(put_until(w, "k", 1, LARGE, later, false), FEOX_OK);
    on_look(w, 1, make_it_short);
    assert_int_equal(get(w, "k", 4, SMALL), FEOX_OK);
    /* It expires between the two looks. */
    assert_int_equal(put_until(w, "k", 1, LARGE, w->s.now + 1000, false), FEOX_OK);
    w->s.now = fx_record_expiry(stage_record(&w->s, "k")) - 2;
    assert_int_equal(get(w, "k", 1, LARGE), FEOX_NOT_FOUND);
}

/* It comes to another place, with the same version; what is read at the old one is anything. */
static void move_it(world *w) {
    fx_record *record = stage_record(&w->s, "k");
    uint64_t location = fx_record_location(record);
    assert_int_equal(stage_checkpoint(&w->s, true), FEOX_OK);
    assert_true(fx_record_location(record) != location);
    w->spoilt = true;
    w->bad_place = UINT64_MAX;
}

static void cut_off_its_place(world *w) {
    move_it(w);
    w->failing = true;
}

static void moved_meanwhile(void **state) {
    static void (*const happens[])(world *) = {move_it, cut_off_its_place};
    world *w = *state;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(put_until(w, "k", 6, LARGE, (uint64_t)1 << 40, false), FEOX_OK);
        evict_all(w);
        on_look(w, 2, happens[i]);
        unsigned reads = w->reads;
        assert_int_equal(get(w, "k", 6, LARGE), FEOX_OK);
        assert_true(w->reads >= reads + 2);
        w->spoilt = w->failing = false;
    }
}

static void show_it(world *w) {
    sync_all(w);
}

/* Who finds it expired asks once more under the lock, where what is hidden is known. */
static void expired_and_hidden(void **state) {
    world *w = *state;
    fx_fetched found;
    uint64_t hash = fx_engine_hash(&w->s.engine, "k", 1);
    for (unsigned round = 0; round < 4; round++) {
        assert_int_equal(put_until(w, "k", 1, LARGE, w->s.now + 1000, false), FEOX_OK);
        sync_all(w);
        assert_int_equal(put_until(w, "k", 5, SMALL, 0, true), FEOX_OK);
        w->s.now += 2000;
        if (round % 2 == 1) {
            on_look(w, 1, show_it); /* it shows before the lock is there */
        }
        if (round < 2) {
            assert_int_equal(get(w, "k", 5, SMALL), FEOX_OK);
        } else {
            assert_int_equal(fx_fetch_info(&w->s.engine, hash, "k", 1, &found), FEOX_OK);
            assert_int_equal(found.value_len, SMALL);
        }
    }
    /* What is hidden cannot be shown any more: it is gone. */
    assert_int_equal(put_until(w, "k", 1, LARGE, w->s.now + 1000, false), FEOX_OK);
    sync_all(w);
    assert_int_equal(put_until(w, "k", 5, SMALL, 0, true), FEOX_OK);
    w->s.now += 2000;
    mem_dev_fail_after(w->dev, 1, EIO);
    assert_int_equal(get(w, "k", 5, SMALL), FEOX_NOT_FOUND);
    assert_int_equal(fx_fetch_info(&w->s.engine, hash, "k", 1, &found), FEOX_NOT_FOUND);
    assert_int_equal(get(w, "m", 2, MIDDLE), FEOX_OK);
    assert_int_equal(stage_close(&w->s), FEOX_ERR_IO);
    mem_dev_destroy(w->dev);
    free(w);
}

#define FETCH_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        FETCH_TEST(read_as_it_was), FETCH_TEST(look_again), FETCH_TEST(really_damaged),
        FETCH_TEST(gone_meanwhile), FETCH_TEST(moved_meanwhile),
        cmocka_unit_test_setup(expired_and_hidden, setup)};
    return cmocka_run_group_tests_name("engine/fetch", tests, NULL, NULL);
}
