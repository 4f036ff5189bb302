/* feox_get_many of values that are on disk only: what it says of each is what feox_get_into says,
 * over io_uring and over threads, while others write, read the same and fork. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEYS = 600, ASKED = 400, ROOM = 6000 };

static uint64_t disk_reads(kit *k) {
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k->store, &stats));
    return stats.disk_reads;
}

static size_t size_of(uint32_t key) {
    return key % 50 == 7 ? 70000 + key : key % 3 == 0 ? 100 + key * 9 : 40 + key % 200;
}

static void put(kit *k, uint32_t key, uint32_t seed) {
    static unsigned char value[80000];
    kit_fill(value, size_of(key), seed);
    assert_ok(feox_insert(k->store, &key, sizeof key, value, size_of(key)));
}

static void fill(kit *k) {
    for (uint32_t key = 0; key < KEYS; key++) {
        put(k, key, key);
    }
}

/* Opened again with no value in memory. */
static void go_cold(kit *k, bool read_only) {
    kit_close(k);
    k->options.memory_limit = 1;
    k->options.read_only = read_only ? FEOX_YES : FEOX_NO;
    kit_open(k);
}

typedef struct asked {
    feox_lookup lookups[ASKED];
    uint32_t keys[ASKED];
    unsigned char room[ASKED][ROOM];
} asked;

/* Any keys, some twice, some that are not there, some with little room or none. */
static asked *ask(uint64_t *random) {
    asked *a = kit_alloc(sizeof *a);
    for (size_t i = 0; i < ASKED; i++) {
        a->keys[i] = (uint32_t)kit_below(random, KEYS + 50);
        if (i > 0 && kit_below(random, 10) == 0) {
            a->keys[i] = a->keys[i - 1];
        }
        size_t capacity = kit_below(random, 5) == 0 ? (size_t)kit_below(random, 300) : ROOM;
        a->lookups[i] = (feox_lookup){&a->keys[i], 4, capacity > 0 ? a->room[i] : NULL, capacity,
                                      77, FEOX_ERR_IO};
    }
    return a;
}

/* How many reads of the device they take. */
static uint64_t judge(const asked *a) {
    uint64_t reads = 0;
    for (size_t i = 0; i < ASKED; i++) {
        const feox_lookup *l = &a->lookups[i];
        uint32_t key = a->keys[i];
        if (key >= KEYS) {
            assert_status(l->status, FEOX_NOT_FOUND);
            assert_int_equal(l->value_len, 0);
            continue;
        }
        size_t size = size_of(key);
        assert_status(l->status, size <= l->capacity ? FEOX_OK : FEOX_TRUNCATED);
        assert_int_equal(l->value_len, size);
        unsigned char value[80000];
        kit_fill(value, size, key);
        assert_true(l->capacity == 0 ||
                    memcmp(l->buffer, value, size < l->capacity ? size : l->capacity) == 0);
        reads += size < 65536 ? 1 : 2;
    }
    return reads;
}

static void ask_and_judge(kit *k, uint64_t *random) {
    asked *a = ask(random);
    uint64_t before = disk_reads(k);
    assert_ok(feox_get_many(k->store, a->lookups, ASKED));
    uint64_t reads = disk_reads(k) - before;
    assert_int_equal(reads, judge(a));
    free(a);
}

static void over(kit *k, int backend) {
    uint64_t random = kit_seed("cold_many");
    k->options.io_backend = backend;
    kit_restart(k);
    fill(k);
    for (unsigned round = 0; round < 6; round++) {
        if (round % 3 == 0) {
            go_cold(k, round == 3);
        }
        ask_and_judge(k, &random);
    }
    k->options.read_only = FEOX_NO;
}

static void answers_over_uring(void **state) {
    if (!kit_has_uring()) {
        skip();
    }
    over(*state, FEOX_IO_URING);
}

static void answers_over_threads(void **state) {
    over(*state, FEOX_IO_THREADS);
}

/* One key that cannot be asked for does the others no harm. */
static void bad_keys_between(void **state) {
    kit *k = *state;
    char room[4][ROOM];
    uint32_t keys[] = {9, 18, 21};
    fill(k);
    go_cold(k, false);
    feox_lookup lookups[] = {{&keys[0], 4, room[0], ROOM, 9, FEOX_ERR_IO},
                             {NULL, 4, room[3], ROOM, 9, FEOX_ERR_IO},
                             {&keys[1], 4, room[1], ROOM, 9, FEOX_ERR_IO},
                             {&keys[1], 4, NULL, ROOM, 9, FEOX_ERR_IO},
                             {&keys[2], 4, room[2], ROOM, 9, FEOX_ERR_IO}};
    assert_status(feox_get_many(k->store, lookups, 5), FEOX_ERR_ARGUMENT);
    for (unsigned i = 0; i < 5; i++) {
        assert_status(lookups[i].status, i % 2 == 0 ? FEOX_OK : FEOX_ERR_ARGUMENT);
        assert_true(i % 2 != 0 || kit_filled(room[i / 2], size_of(keys[i / 2]), keys[i / 2]));
    }
}

/* ---- Others ---- */

typedef struct crowd {
    kit *k;
    uint64_t seed;
    atomic_uint readers;
    atomic_uint wrong;
    atomic_bool stop;
} crowd;

/* Keys below KEYS / 2 stay as they are; the others hold one of many values, or are not there. */
static void *read_many(void *argument) {
    crowd *c = argument;
    uint64_t random = c->seed + ++c->readers;
    for (unsigned round = 0; round < (KIT_SLOW ? 40u : 200u); round++) {
        feox_lookup lookups[50];
        uint32_t keys[50];
        unsigned char *room = kit_alloc(50 * (size_t)ROOM);
        for (size_t i = 0; i < 50; i++) {
            keys[i] = (uint32_t)kit_below(&random, KEYS);
            lookups[i] = (feox_lookup){&keys[i], 4, room + i * ROOM, ROOM, 0, FEOX_ERR_IO};
        }
        c->wrong += feox_get_many(c->k->store, lookups, 50) != FEOX_OK;
        for (size_t i = 0; i < 50; i++) {
            const feox_lookup *l = &lookups[i];
            bool steady = keys[i] < KEYS / 2;
            if (l->status == FEOX_OK) {
                c->wrong += l->value_len != size_of(keys[i]);
                c->wrong += steady && !kit_filled(l->buffer, l->value_len, keys[i]);
            } else if (l->status == FEOX_TRUNCATED) {
                c->wrong += size_of(keys[i]) <= ROOM;
            } else {
                c->wrong += steady || l->status != FEOX_NOT_FOUND;
            }
        }
        free(room);
    }
    return NULL;
}

static void *write_some(void *argument) {
    crowd *c = argument;
    uint64_t random = c->seed;
    static unsigned char value[80000];
    while (!c->stop) {
        uint32_t key = KEYS / 2 + (uint32_t)kit_below(&random, KEYS / 2);
        kit_fill(value, size_of(key), kit_random(&random));
        feox_status status = kit_below(&random, 4) == 0
                                 ? feox_delete(c->k->store, &key, sizeof key)
                                 : feox_insert(c->k->store, &key, sizeof key, value, size_of(key));
        c->wrong += status < 0 && status != FEOX_ERR_MEMORY;
        if (kit_below(&random, 50) == 0) {
            c->wrong += feox_flush(c->k->store) != FEOX_OK;
            (void)feox_compact(c->k->store);
        }
    }
    return NULL;
}

static void beside_others(void **state) {
    kit *k = *state;
    pthread_t readers[3], writer;
    crowd c = {.k = k, .seed = kit_seed("crowd")};
    fill(k);
    kit_close(k);
    k->options.memory_limit = (uint64_t)3 << 20; /* a part of it fits */
    kit_open(k);
    assert_int_equal(pthread_create(&writer, NULL, write_some, &c), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_many, &c), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    }
    c.stop = true;
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_int_equal(c.wrong, 0);
    assert_true(disk_reads(k) > 100);
}

/* The queue is the parent's: its child may not use it, and does it no harm. */
static void child_leaves_the_queue_alone(void **state) {
    kit *k = *state;
    uint64_t random = kit_seed("child");
    fill(k);
    go_cold(k, false);
    for (unsigned round = 0; round < 4; round++) {
        ask_and_judge(k, &random);
        asked *a = ask(&random);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            alarm(20);
            bool refused = feox_get_many(k->store, a->lookups, ASKED) == FEOX_ERR_FORKED &&
                           feox_close(k->store) == FEOX_ERR_FORKED;
            _exit(refused ? 0 : 1);
        }
        ask_and_judge(k, &random); /* while the child lives */
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        free(a);
    }
    ask_and_judge(k, &random);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_FILE(answers_over_uring), KIT_FILE(answers_over_threads),
        KIT_FILE(bad_keys_between),   KIT_FILE(beside_others),
        KIT_FILE(child_leaves_the_queue_alone),
    };
    return cmocka_run_group_tests_name("api/cold_many", tests, NULL, NULL);
}
