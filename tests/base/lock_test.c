/* lock: both locks keep threads out, and what was written inside is seen inside; the counter is
 * plain memory, so that the thread sanitizer sees a lock that orders nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <sched.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lock.h"

#define THREADS 4
#define TURNS 20000u

typedef struct shared {
    fx_spinlock spin;
    fx_mutex mutex;
    fx_cond cond;
    uint64_t counter; /* plain */
    uint32_t inside;  /* atomic: how many threads are */
    uint32_t errors;
    bool use_mutex;
    bool go;
    uint32_t woken;
} shared;

static void enter(shared *s, uint64_t turn) {
    bool tries = turn % 3 == 0;
    if (s->use_mutex) {
        if (!tries || !fx_mutex_try(&s->mutex)) {
            fx_mutex_lock(&s->mutex);
        }
    } else if (!tries || !fx_spinlock_try(&s->spin)) {
        fx_spinlock_lock(&s->spin);
    }
}

static void leave(shared *s) {
    if (s->use_mutex) {
        fx_mutex_unlock(&s->mutex);
    } else {
        fx_spinlock_unlock(&s->spin);
    }
}

static void *count(void *argument) {
    shared *s = argument;
    for (uint64_t i = 0; i < TURNS; i++) {
        enter(s, i);
        if (fx_add_relaxed(&s->inside, 1u) != 0) {
            fx_add_relaxed(&s->errors, 1u);
        }
        s->counter++;
        if (i % 512 == 0) {
            (void)sched_yield(); /* lets the others find it locked */
        }
        (void)fx_sub_relaxed(&s->inside, 1u);
        leave(s);
    }
    return NULL;
}

static void run_threads(void *(*body)(void *), shared *s) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, body, s), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

static void test_exclusion(void **state) {
    (void)state;
    for (int use_mutex = 0; use_mutex < 2; use_mutex++) {
        shared s;
        memset(&s, 0, sizeof s);
        s.use_mutex = use_mutex != 0;
        assert_true(fx_mutex_init(&s.mutex));
        run_threads(count, &s);
        assert_int_equal(s.errors, 0);
        assert_int_equal(s.counter, (uint64_t)THREADS * TURNS);
        fx_mutex_deinit(&s.mutex);
    }
}

static void test_try(void **state) {
    (void)state;
    fx_spinlock spin = {0};
    assert_true(fx_spinlock_try(&spin));
    assert_false(fx_spinlock_try(&spin));
    fx_spinlock_unlock(&spin);
    assert_true(fx_spinlock_try(&spin));
    fx_spinlock_unlock(&spin);
    fx_mutex mutex;
    assert_true(fx_mutex_init(&mutex));
    fx_mutex_lock(&mutex);
    assert_false(fx_mutex_try(&mutex));
    fx_mutex_unlock(&mutex);
    assert_true(fx_mutex_try(&mutex));
    fx_mutex_unlock(&mutex);
    fx_mutex_deinit(&mutex);
}

static void *wait_for_go(void *argument) {
    shared *s = argument;
    fx_mutex_lock(&s->mutex);
    while (!s->go) {
        if (s->use_mutex) {
            fx_cond_wait_for(&s->cond, &s->mutex, 60000);
        } else {
            fx_cond_wait(&s->cond, &s->mutex);
        }
    }
    s->woken++;
    fx_mutex_unlock(&s->mutex);
    return NULL;
}

static void *give_go(void *argument) {
    shared *s = argument;
    fx_mutex_lock(&s->mutex);
    s->go = true;
    fx_cond_wake_all(&s->cond);
    fx_mutex_unlock(&s->mutex);
    return NULL;
}

static void test_wake_all(void **state) {
    (void)state;
    for (int timed = 0; timed < 2; timed++) {
        shared s;
        memset(&s, 0, sizeof s);
        s.use_mutex = timed != 0;
        assert_true(fx_mutex_init(&s.mutex));
        assert_true(fx_cond_init(&s.cond));
        pthread_t waiters[THREADS];
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&waiters[i], NULL, wait_for_go, &s), 0);
        }
        (void)give_go(&s);
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(waiters[i], NULL), 0);
        }
        assert_int_equal(s.woken, THREADS);
        fx_cond_deinit(&s.cond);
        fx_mutex_deinit(&s.mutex);
    }
}

static void test_wait_times_out(void **state) {
    (void)state;
    fx_mutex mutex;
    fx_cond cond;
    assert_true(fx_mutex_init(&mutex));
    assert_true(fx_cond_init(&cond));
    const uint64_t waits_ms[] = {0, 1, 30, 1001};
    fx_mutex_lock(&mutex);
    for (size_t i = 0; i < sizeof waits_ms / sizeof waits_ms[0]; i++) {
        uint64_t start = fx_clock_monotonic_ns();
        uint64_t elapsed_ms = 0;
        for (int early = 0; early < 3; early++) { /* a wake-up for no reason is legal */
            fx_cond_wait_for(&cond, &mutex, waits_ms[i]);
            elapsed_ms = (fx_clock_monotonic_ns() - start) / 1000000u;
            if (elapsed_ms >= waits_ms[i]) {
                break;
            }
        }
        assert_true(elapsed_ms >= waits_ms[i]);
        assert_true(elapsed_ms < waits_ms[i] + 20000);
    }
    assert_false(fx_mutex_try(&mutex)); /* it holds the mutex again */
    fx_mutex_unlock(&mutex);
    fx_cond_deinit(&cond);
    fx_mutex_deinit(&mutex);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exclusion),
        cmocka_unit_test(test_try),
        cmocka_unit_test(test_wake_all),
        cmocka_unit_test(test_wait_times_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
