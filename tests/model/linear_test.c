/* Each key is linearizable: many short histories of many threads on one to four keys, each checked.
 *
 * A history is eight calls each of 8 or 16 threads, every call at random and with pauses at random,
 * and nudges (support/nudge.h) that take the processor away inside calls. Before it the main thread
 * deletes the keys and sometimes writes them; after it the main thread reads them: all of that is
 * history too. A store serves all histories of a test, so the keys have pasts.
 *
 * FEOX_SEED repeats the calls, but not the moments at which threads meet. FEOX_LONG=1 takes eight
 * times as many histories, FEOX_HISTORIES=n times n.
 */
#define _GNU_SOURCE
#include "support/campaign.h"
#include "support/history.h"
#include "support/hot.h"
#include "support/kit.h"
#include "support/nudge.h"

#include <pthread.h>

enum { CALLS = 8, FILLERS = 300, FILLER_SIZE = 20000, MAIN_THREAD = FX_HISTORY_THREADS - 1 };

typedef struct team team;

typedef struct worker {
    team *team;
    pthread_t thread;
    fx_nudge nudge;
    uint64_t random;
    fx_hot hot;
} worker;

struct team {
    fx_hot_plan plan;
    pthread_barrier_t start, end;
    uint32_t count;
    bool stop;
    bool fillers; /* values of others that push those of the keys out of memory */
    unsigned char filler[FILLER_SIZE];
    worker workers[FX_HISTORY_THREADS];
    fx_wgl *wgl;
    uint64_t histories, undecided, visited;
};

static void write_filler(team *t, uint64_t *random) {
    char key[32];
    int key_len = snprintf(key, sizeof key, "filler-%u", (unsigned)kit_below(random, FILLERS));
    (void)feox_insert(t->plan.store, key, (size_t)key_len, t->filler, sizeof t->filler);
}

static void *work(void *argument) {
    worker *w = argument;
    team *t = w->team;
    fx_nudge_init(&w->nudge);
    for (;;) {
        pthread_barrier_wait(&t->start);
        if (t->stop) {
            break;
        }
        for (uint32_t i = 0; i < CALLS; i++) {
            if (kit_below(&w->random, 16) == 0) {
                fx_nudge_arm(&w->nudge, 500 + kit_below(&w->random, 20000));
            }
            if (t->fillers && kit_below(&w->random, 8) == 0) {
                write_filler(t, &w->random);
            }
            fx_hot_call(&w->hot);
        }
        pthread_barrier_wait(&t->end);
    }
    fx_nudge_deinit(&w->nudge);
    return NULL;
}

static team *team_create(feox_store *store, uint32_t count, uint64_t seed) {
    team *t = kit_alloc(sizeof *t);
    memset(t, 0, sizeof *t);
    t->plan.store = store;
    t->plan.history = fx_history_create();
    t->count = count;
    t->wgl = fx_wgl_create();
    assert_non_null(t->wgl);
    assert_int_equal(pthread_barrier_init(&t->start, NULL, count + 1), 0);
    assert_int_equal(pthread_barrier_init(&t->end, NULL, count + 1), 0);
    for (uint32_t i = 0; i < FX_HISTORY_THREADS; i++) {
        t->workers[i].team = t;
        t->workers[i].random = kit_mix(seed + i);
        t->workers[i].hot = (fx_hot){.plan = &t->plan, .thread = i, .random = kit_mix(seed - i)};
    }
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(pthread_create(&t->workers[i].thread, NULL, work, &t->workers[i]), 0);
    }
    return t;
}

static void team_destroy(team *t) {
    t->stop = true;
    pthread_barrier_wait(&t->start);
    for (uint32_t i = 0; i < t->count; i++) {
        pthread_join(t->workers[i].thread, NULL);
    }
    pthread_barrier_destroy(&t->start);
    pthread_barrier_destroy(&t->end);
    fx_wgl_destroy(t->wgl);
    fx_history_free(t->plan.history);
    free(t);
}

/* One history. */
static void play(team *t, uint64_t *random, uint64_t seed) {
    fx_hot_plan *plan = &t->plan;
    fx_hot *self = &t->workers[MAIN_THREAD].hot;
    uint32_t keys = 1 + (uint32_t)(kit_below(random, 8) * kit_below(random, 8) / 16);
    plan->versions = kit_below(random, 2) == 0;
    plan->mortal = kit_below(random, 16) == 0;
    plan->scans = kit_below(random, 4) == 0;
    plan->steps = kit_below(random, 4) == 0 ? 50 : 0;
    plan->name = kit_below(random, 3);
    assert_ok(fx_hot_clear(plan));
    fx_hot_plan_shapes(plan, random);
    fx_history_clear(plan->history, keys, kit_below(random, 2) == 0);
    snprintf(plan->history->title, sizeof plan->history->title, "FEOX_SEED=%llu, history %llu",
             (unsigned long long)seed, (unsigned long long)t->histories);
    if (kit_below(random, 2) == 0) {
        fx_hot_write_all(self);
    }
    if (t->fillers && kit_below(random, 2) == 0) {
        assert_ok(feox_flush(plan->store));
        for (int i = 0; i < 30; i++) {
            write_filler(t, random);
        }
    }
    pthread_barrier_wait(&t->start);
    pthread_barrier_wait(&t->end);
    fx_hot_read_all(self);
    t->histories++;
    bool sound = fx_history_check(plan->history, t->wgl, &t->undecided, &t->visited);
    for (uint32_t i = 0; i < FX_HISTORY_THREADS; i++) {
        int status = t->workers[i].hot.unmodelled;
        if (status != 0) {
            print_error("a call gave %s\n", feox_status_name((feox_status)status));
            sound = false;
        }
    }
    assert_true(sound);
}

static uint64_t how_many(uint64_t histories) {
    histories = KIT_SLOW ? histories / 12 : histories;
    histories *= getenv("FEOX_LONG") != NULL ? 8 : 1;
    return histories * kit_env_number("FEOX_HISTORIES", 1);
}

/* `change` has set the plan and the fillers as the test wants them. */
static void play_many(team *t, const char *name, uint64_t histories, uint64_t seed) {
    uint64_t random = seed;
    campaign c;
    campaign_begin(&c, name);
    uint64_t nudges = fx_nudge_count();
    for (uint64_t i = 0; i < histories; i++) {
        play(t, &random, seed);
    }
    printf("%u threads, %llu states, %llu undecided, %llu nudges\n", t->count,
           (unsigned long long)t->visited, (unsigned long long)t->undecided,
           (unsigned long long)(fx_nudge_count() - nudges));
    c.cases = t->histories;
    c.failures = t->undecided;
    campaign_end(&c);
    assert_int_equal(t->undecided, 0);
}

static void in_memory(void **state) {
    kit *k = *state;
    uint64_t seed = kit_seed("in_memory");
    team *t = team_create(k->store, 8, seed);
    play_many(t, "C7 histories, memory", how_many(12000), seed);
    team_destroy(t);
}

static void sixteen_threads(void **state) {
    kit *k = *state;
    uint64_t seed = kit_seed("sixteen_threads");
    team *t = team_create(k->store, 16, seed);
    play_many(t, "C7 histories, sixteen threads", how_many(2000), seed);
    team_destroy(t);
}

static void relaxed_file(void **state) {
    kit *k = *state;
    uint64_t seed = kit_seed("relaxed_file");
    k->options.flush_interval_ms = 1;
    kit_restart(k);
    team *t = team_create(k->store, 8, seed);
    play_many(t, "C7 histories, file", how_many(4500), seed);
    team_destroy(t);
}

static void durable_file(void **state) {
    kit *k = *state;
    uint64_t seed = kit_seed("durable_file");
    k->options.durability = FEOX_DURABILITY_DURABLE;
    kit_restart(k);
    team *t = team_create(k->store, 8, seed);
    play_many(t, "C7 histories, durable file", how_many(400), seed);
    team_destroy(t);
}

static void some_writes_durable(void **state) {
    kit *k = *state;
    uint64_t seed = kit_seed("some_writes_durable");
    team *t = team_create(k->store, 8, seed);
    t->plan.durable = 20;
    play_many(t, "C7 histories, some durable", how_many(600), seed);
    team_destroy(t);
}

/* Values that are on disk only, and that leave memory while calls are at them. */
static void values_evicted(void **state) {
    kit *k = *state;
    uint64_t seed = kit_seed("values_evicted");
    uint64_t random = seed;
    k->options.memory_limit = 3 << 20;
    k->options.flush_interval_ms = 1;
    kit_restart(k);
    team *t = team_create(k->store, 8, seed);
    t->fillers = true;
    kit_fill(t->filler, sizeof t->filler, seed);
    for (int i = 0; i < FILLERS; i++) {
        write_filler(t, &random);
    }
    play_many(t, "C7 histories, values evicted", how_many(500), seed);
    team_destroy(t);
    feox_statistics stats;
    feox_statistics_init(&stats);
    assert_ok(feox_stats(k->store, &stats));
    printf("%llu values evicted, %llu read back\n", (unsigned long long)stats.evictions,
           (unsigned long long)stats.disk_reads);
    assert_true(stats.evictions > 0 && stats.disk_reads > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KIT_MEMORY(in_memory),  KIT_MEMORY(sixteen_threads),   KIT_FILE(relaxed_file),
        KIT_FILE(durable_file), KIT_FILE(some_writes_durable), KIT_FILE(values_evicted),
    };
    return cmocka_run_group_tests_name("model/linear", tests, NULL, NULL);
}
