/* lock: sched_yield instead of a futex in the spinlock, because the holder is in the middle of a
 * few hundred instructions: either it runs and is done before a futex call would return, or it was
 * preempted, and yielding is what lets it run.
 */
#define _GNU_SOURCE
#include "base/lock.h"

#include <sched.h>
#include <time.h>

void fx_spinlock_wait(fx_spinlock *lock) {
    for (;;) {
        for (unsigned i = 0; i < 64; i++) {
            if (fx_spinlock_try(lock)) {
                return;
            }
            fx_pause();
        }
        (void)sched_yield();
    }
}

bool fx_mutex_init(fx_mutex *mutex) {
    return pthread_mutex_init(&mutex->mutex, NULL) == 0;
}

void fx_mutex_deinit(fx_mutex *mutex) {
    (void)pthread_mutex_destroy(&mutex->mutex);
}

void fx_mutex_lock(fx_mutex *mutex) {
    (void)pthread_mutex_lock(&mutex->mutex);
}

bool fx_mutex_try(fx_mutex *mutex) {
    return pthread_mutex_trylock(&mutex->mutex) == 0;
}

void fx_mutex_unlock(fx_mutex *mutex) {
    (void)pthread_mutex_unlock(&mutex->mutex);
}

bool fx_cond_init(fx_cond *cond) {
    pthread_condattr_t attributes;
    /* mcdc: cannot be true: glibc's only sets a number */
    if (pthread_condattr_init(&attributes) != 0) {
        return false;
    }
    /* mcdc: cannot be false: glibc knows this clock */
    bool ok = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&cond->cond, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    return ok;
}

void fx_cond_deinit(fx_cond *cond) {
    (void)pthread_cond_destroy(&cond->cond);
}

void fx_cond_wake_one(fx_cond *cond) {
    (void)pthread_cond_signal(&cond->cond);
}

void fx_cond_wake_all(fx_cond *cond) {
    (void)pthread_cond_broadcast(&cond->cond);
}

void fx_cond_wait(fx_cond *cond, fx_mutex *mutex) {
    (void)pthread_cond_wait(&cond->cond, &mutex->mutex);
}

void fx_cond_wait_for(fx_cond *cond, fx_mutex *mutex, uint64_t timeout_ms) {
    struct timespec until = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(timeout_ms / 1000u);
    until.tv_nsec += (long)(timeout_ms % 1000u) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    (void)pthread_cond_timedwait(&cond->cond, &mutex->mutex, &until);
}
