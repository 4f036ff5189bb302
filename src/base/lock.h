/* lock: the two locks of the library.
 *
 * fx_spinlock  for a shard: held for well below a microsecond, taken by writers only. 4 bytes.
 *              Spins a little, then yields the processor; unlock is one plain release store.
 * fx_mutex     for everything that may wait for the device, with a condition that can time out.
 */
#ifndef FX_BASE_LOCK_H
#define FX_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/atomic.h"

typedef struct fx_spinlock {
    uint32_t held;
} fx_spinlock;

void fx_spinlock_wait(fx_spinlock *lock);

static inline bool fx_spinlock_try(fx_spinlock *lock) {
    /* The acquire pairs with the release in unlock. */
    return fx_load_relaxed(&lock->held) == 0 && fx_exchange_acquire(&lock->held, 1u) == 0;
}

static inline void fx_spinlock_lock(fx_spinlock *lock) {
    if (FX_UNLIKELY(!fx_spinlock_try(lock))) {
        fx_spinlock_wait(lock);
    }
}

static inline void fx_spinlock_unlock(fx_spinlock *lock) {
    fx_store_release(&lock->held, 0u);
}

typedef struct fx_mutex {
    pthread_mutex_t mutex;
} fx_mutex;

typedef struct fx_cond {
    pthread_cond_t cond;
} fx_cond;

bool fx_mutex_init(fx_mutex *mutex);
void fx_mutex_deinit(fx_mutex *mutex);
void fx_mutex_lock(fx_mutex *mutex);
bool fx_mutex_try(fx_mutex *mutex);
void fx_mutex_unlock(fx_mutex *mutex);

bool fx_cond_init(fx_cond *cond);
void fx_cond_deinit(fx_cond *cond);
void fx_cond_wake_one(fx_cond *cond);
void fx_cond_wake_all(fx_cond *cond);
void fx_cond_wait(fx_cond *cond, fx_mutex *mutex);
/* Waits at most timeout_ms; wakes up early for no reason, as conditions do. */
void fx_cond_wait_for(fx_cond *cond, fx_mutex *mutex, uint64_t timeout_ms);

#endif
