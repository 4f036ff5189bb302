/* The loops whose time is taken, and single latencies. See work.h.
 *
 * A loop is nothing but calls and the check of what they gave: the processor may work on several
 * calls at once, as in a program that uses the store. A latency is taken between two reads of the
 * time-stamp counter that let nothing overlap.
 */
#include "store/work.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

typedef struct scan_state {
    uint64_t sum; /* every byte of a value goes into it */
    uint64_t pairs, bad;
    size_t value_size;
} scan_state;

/* What a scan's caller does with a pair: reads all of it, and checks that it belongs together. */
static void scan_sink(void *context, const void *key, const void *value, size_t size) {
    scan_state *state = context;
    const uint8_t *bytes = value;
    uint64_t id, generation, seal, word, sum = 0;
    (void)key;
    if (size != state->value_size) {
        state->bad++;
        return;
    }
    for (size_t i = 0; i + 8 <= size; i += 8) {
        memcpy(&word, bytes + i, 8);
        sum += word;
    }
    memcpy(&id, bytes, 8);
    memcpy(&generation, bytes + 8, 8);
    memcpy(&seal, bytes + size - 8, 8);
    state->sum += sum;
    state->pairs++;
    state->bad += seal != work_seal(id, generation);
}

static inline bool value_good(const uint8_t *value, size_t size, uint64_t wanted) {
    uint64_t id, generation, seal;
    memcpy(&id, value, 8);
    memcpy(&generation, value + 8, 8);
    memcpy(&seal, value + size - 8, 8);
    return id == wanted && seal == work_seal(id, generation);
}

/* One operation; false if it went wrong. */
static inline bool run_one(const subject *s, const op *item, uint8_t *value, uint8_t *buffer) {
    const engine *e = s->engine;
    switch (item->kind) {
    case OP_GET:
        return e->get(s->store, item->key, buffer, VALUE_MAX) == s->value_size &&
               value_good(buffer, s->value_size, item->id);
    case OP_MISS:
        return e->get(s->store, item->key, buffer, VALUE_MAX) == 0;
    case OP_PUT:
        work_value(item->id, s->generation, value, s->value_size);
        return e->put(s->store, item->key, value, s->value_size);
    case OP_REMOVE:
        return e->remove(s->store, item->key);
    case OP_MODIFY:
        if (e->get(s->store, item->key, buffer, VALUE_MAX) != s->value_size ||
            !value_good(buffer, s->value_size, item->id)) {
            return false;
        }
        work_value(item->id, s->generation, buffer, s->value_size);
        return e->put(s->store, item->key, buffer, s->value_size);
    case OP_SCAN: {
        scan_state state = {.value_size = s->value_size};
        size_t seen = e->scan(s->store, item->key, item->length, scan_sink, &state);
        return seen == state.pairs && state.bad == 0;
    }
    default:
        return false;
    }
}

static void must_all(const subject *s, const char *what, uint64_t bad) {
    if (bad != 0) {
        char text[64];
        snprintf(text, sizeof text, "%s: %llu wrong answers", what, (unsigned long long)bad);
        fail(s->engine->name, text);
    }
}

static void fill(uint8_t *value) {
    for (size_t i = 0; i < VALUE_MAX; i++) {
        value[i] = (uint8_t)(i * 131 + (i >> 5));
    }
}

static void leave(const subject *s) {
    if (s->engine->leave != NULL) {
        s->engine->leave(s->store);
    }
}

/* The kind that all operations of the list have, or -1. */
static int kind_of(const ops *list) {
    for (size_t i = 1; i < list->count; i++) {
        if (list->list[i].kind != list->list[0].kind) {
            return -1;
        }
    }
    return list->count > 0 ? (int)list->list[0].kind : -1;
}

/* Lists of one kind have a loop of their own, so that no branch of ours is between the calls. */
static uint64_t loop(const subject *s, const ops *list, int kind) {
    uint8_t value[VALUE_MAX], buffer[VALUE_MAX];
    const op *items = list->list;
    const subject local = *s;
    uint64_t bad = 0;
    fill(value);
    if (kind == OP_GET) {
        for (size_t i = 0; i < list->count; i++) {
            bad += local.engine->get(local.store, items[i].key, buffer, VALUE_MAX) !=
                   local.value_size;
            bad += !value_good(buffer, local.value_size, items[i].id);
        }
    } else if (kind == OP_PUT) {
        for (size_t i = 0; i < list->count; i++) {
            work_value(items[i].id, local.generation, value, local.value_size);
            bad += !local.engine->put(local.store, items[i].key, value, local.value_size);
        }
    } else {
        for (size_t i = 0; i < list->count; i++) {
            bad += !run_one(&local, &items[i], value, buffer);
        }
    }
    return bad;
}

double run_loop(const subject *s, const ops *list) {
    int kind = kind_of(list);
    double start = now_seconds();
    uint64_t bad = loop(s, list, kind);
    double took = now_seconds() - start;
    leave(s);
    must_all(s, "loop", bad);
    return took;
}

double run_many(const subject *s, const ops *list, size_t batch) {
    uint8_t *buffers = malloc(batch * VALUE_MAX);
    engine_lookup *lookups = calloc(batch, sizeof *lookups);
    uint64_t bad = 0;
    memset(buffers, 1, batch * VALUE_MAX);
    size_t stride = (s->value_size + 63) / 64 * 64;
    double start = now_seconds();
    for (size_t at = 0; at + batch <= list->count; at += batch) {
        const op *items = &list->list[at];
        for (size_t i = 0; i < batch; i++) {
            lookups[i].key = items[i].key;
            lookups[i].buffer = buffers + i * stride;
            lookups[i].capacity = stride;
        }
        s->engine->get_many(s->store, lookups, batch);
        for (size_t i = 0; i < batch; i++) {
            bad += lookups[i].size != s->value_size ||
                   !value_good(lookups[i].buffer, s->value_size, items[i].id);
        }
    }
    double took = now_seconds() - start;
    must_all(s, "many", bad);
    free(lookups);
    free(buffers);
    return took;
}

uint64_t run_count(const subject *s) {
    static const uint8_t first[KEY_SIZE] = "user";
    scan_state state = {.value_size = s->value_size};
    s->engine->scan(s->store, first, SIZE_MAX / 2, scan_sink, &state);
    leave(s);
    must_all(s, "scan", state.bad);
    return state.pairs;
}

/* ---- Latencies ---- */

static double tick_ns;

static inline uint64_t ticks(void) {
#if defined(__x86_64__)
    unsigned core;
    _mm_lfence();
    uint64_t t = __rdtscp(&core);
    _mm_lfence();
    return t;
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
#endif
}

static void ticks_init(void) {
    if (tick_ns > 0) {
        return;
    }
    double start = now_seconds();
    uint64_t before = ticks();
    while (now_seconds() - start < 0.02) {
    }
    uint64_t after = ticks();
    tick_ns = (now_seconds() - start) * 1e9 / (double)(after - before);
}

static size_t bucket_of(uint64_t ns) {
    if (ns < 64) {
        return ns;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - 6;
    size_t bucket = (size_t)(shift + 1) * 64 + (size_t)((ns >> shift) & 63);
    return bucket < HISTOGRAM_SIZE ? bucket : HISTOGRAM_SIZE - 1;
}

static double bucket_value(size_t bucket) {
    if (bucket < 64) {
        return (double)bucket;
    }
    size_t shift = bucket / 64 - 1;
    return (double)((64 + bucket % 64) << shift) + (double)(UINT64_C(1) << shift) / 2;
}

void histogram_add(histogram *h, uint64_t ns) {
    h->counts[bucket_of(ns)]++;
    h->total++;
    h->max = ns > h->max ? ns : h->max;
    h->over_2ms += ns > 2000000;
}

void histogram_merge(histogram *into, const histogram *from) {
    for (size_t i = 0; i < HISTOGRAM_SIZE; i++) {
        into->counts[i] += from->counts[i];
    }
    into->total += from->total;
    into->over_2ms += from->over_2ms;
    into->max = from->max > into->max ? from->max : into->max;
}

double histogram_at(const histogram *h, double share) {
    uint64_t wanted = (uint64_t)((double)h->total * share), seen = 0;
    for (size_t i = 0; i < HISTOGRAM_SIZE; i++) {
        seen += h->counts[i];
        if (seen > wanted) {
            return bucket_value(i);
        }
    }
    return (double)h->max;
}

void histogram_report(const char *name, const histogram *h) {
    static const struct {
        const char *name;
        double share;
    } points[] = {{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}};
    char text[96];
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        snprintf(text, sizeof text, "%s_%s", name, points[i].name);
        report(text, histogram_at(h, points[i].share));
    }
    snprintf(text, sizeof text, "%s_max", name);
    report(text, (double)h->max);
    snprintf(text, sizeof text, "%s_over_2ms", name);
    report(text, (double)h->over_2ms);
}

void run_latency(const subject *s, const ops *list, histogram *h) {
    uint8_t value[VALUE_MAX], buffer[VALUE_MAX];
    uint64_t bad = 0;
    ticks_init();
    fill(value);
    for (size_t i = 0; i < list->count; i++) {
        uint64_t start = ticks();
        bad += !run_one(s, &list->list[i], value, buffer);
        histogram_add(h, (uint64_t)((double)(ticks() - start) * tick_ns));
    }
    leave(s);
    must_all(s, "latency", bad);
}

/* ---- Threads ---- */

typedef struct work_thread {
    const subject *subject;
    const ops *list;
    histogram *latencies; /* NULL: the plain loop */
    pthread_barrier_t *start;
    double begin, end;
    pthread_t thread;
} work_thread;

static void *thread_main(void *argument) {
    work_thread *self = argument;
    int kind = kind_of(self->list);
    pthread_barrier_wait(self->start);
    /* Until each has a processor of its own: the system may take some milliseconds to see to it. */
    double ready = now_seconds() + 0.02;
    do {
        self->begin = now_seconds();
    } while (self->begin < ready);
    if (self->latencies != NULL) {
        run_latency(self->subject, self->list, self->latencies);
    } else {
        must_all(self->subject, "threads", loop(self->subject, self->list, kind));
    }
    self->end = now_seconds();
    leave(self->subject);
    return NULL;
}

static double threads_run(const subject *s, const ops *lists, size_t count, histogram *latencies) {
    work_thread threads[64];
    pthread_barrier_t start;
    double begin = 1e300, end = 0;
    ticks_init();
    pthread_barrier_init(&start, NULL, (unsigned)count);
    for (size_t i = 0; i < count; i++) {
        threads[i] = (work_thread){.subject = s, .list = &lists[i], .start = &start,
                                   .latencies = latencies != NULL ? &latencies[i] : NULL};
        if (pthread_create(&threads[i].thread, NULL, thread_main, &threads[i]) != 0) {
            fail("threads", "cannot be started");
        }
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(threads[i].thread, NULL);
        begin = threads[i].begin < begin ? threads[i].begin : begin;
        end = threads[i].end > end ? threads[i].end : end;
    }
    pthread_barrier_destroy(&start);
    return end - begin;
}

double run_threads(const subject *s, const ops *lists, size_t threads) {
    return threads_run(s, lists, threads, NULL);
}

void run_latency_threads(const subject *s, const ops *lists, size_t threads, histogram *h,
                         double *seconds) {
    histogram *each = calloc(threads, sizeof *each);
    *seconds = threads_run(s, lists, threads, each);
    for (size_t i = 0; i < threads; i++) {
        histogram_merge(h, &each[i]);
    }
    free(each);
}
