/* dev_pool: the queue without io_uring: pread, pwrite and fdatasync from two threads, helped by
 * whoever reaps.
 *
 * Why this way: handing one operation to a thread and back costs more than a small write does. So a
 * lone operation waits for reap, which does it in the caller's thread; only when a second one is
 * there do the threads join in. They are started at that moment, and if the system has none to
 * give, reap does everything. (Outside store/workers.c this is the only pthread_create.)
 *
 * Invariants, under the lock:
 * 1. An operation is in `todo`, in the hands of one thread (counted by under_way), or in `done`.
 * 2. Nothing waits for ever: reap sleeps only while todo is empty and under_way is above 0.
 * Ordering: a SYNC runs after it was submitted, so it covers what was reaped before; the lock
 * carries the order from the thread that did a write to the one that does the SYNC.
 */
#define _GNU_SOURCE
#include "disk/dev_file.h"

#include <errno.h>
#include <signal.h>

#include "base/assert.h"
#include "base/lock.h"
#include "base/mem.h"

#define POOL_THREADS 2u

typedef struct pool_queue {
    fx_dev_file_queue base;
    fx_mutex lock;
    fx_cond work;     /* todo grew, or stopping */
    fx_cond finished; /* done grew */
    /* Guarded by lock. */
    fx_dev_list todo;
    fx_dev_list done;
    unsigned under_way; /* operations that pool threads are doing */
    unsigned idle;      /* pool threads that sleep */
    bool reaping;       /* the caller sleeps in reap */
    bool stopping;
    /* The user of the queue only. */
    bool started;
    unsigned thread_count;
    pthread_t threads[POOL_THREADS];
} pool_queue;

static pool_queue *pool_of(fx_dev_queue *queue) {
    return (pool_queue *)(void *)queue;
}

static fx_dev_file *file_of(const pool_queue *pool) {
    return fx_dev_file_of(pool->base.base.dev);
}

static void *pool_main(void *argument) {
    pool_queue *pool = argument;
    fx_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        fx_dev_op *op = fx_dev_list_pop(&pool->todo);
        if (op == NULL) {
            pool->idle++;
            fx_cond_wait(&pool->work, &pool->lock);
            pool->idle--;
            continue;
        }
        pool->under_way++;
        fx_mutex_unlock(&pool->lock);
        fx_dev_file_run(file_of(pool), op, 0);
        fx_mutex_lock(&pool->lock);
        pool->under_way--;
        fx_dev_list_push(&pool->done, op);
        if (pool->reaping) {
            fx_cond_wake_all(&pool->finished);
        }
    }
    fx_mutex_unlock(&pool->lock);
    return NULL;
}

/* The host's signals are not for our threads. */
static void start(pool_queue *pool) {
    sigset_t all;
    sigset_t before;
    pool->started = true;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->thread_count < POOL_THREADS &&
           pthread_create(&pool->threads[pool->thread_count], NULL, pool_main, pool) == 0) {
        pool->thread_count++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void pool_submit(fx_dev_queue *queue, fx_dev_op *op) {
    pool_queue *pool = pool_of(queue);
    fx_mutex_lock(&pool->lock);
    fx_dev_list_push(&pool->todo, op);
    bool several = pool->todo.first != op || pool->under_way > 0;
    if (several && pool->idle > 0) {
        fx_cond_wake_all(&pool->work);
    }
    fx_mutex_unlock(&pool->lock);
    if (several && !pool->started) {
        start(pool);
    }
}

static fx_dev_op *pool_reap(fx_dev_queue *queue) {
    pool_queue *pool = pool_of(queue);
    fx_mutex_lock(&pool->lock);
    fx_dev_op *op = fx_dev_list_pop(&pool->done);
    while (op == NULL) {
        fx_dev_op *mine = fx_dev_list_pop(&pool->todo);
        if (mine != NULL) {
            fx_mutex_unlock(&pool->lock);
            fx_dev_file_run(file_of(pool), mine, 0);
            return mine;
        }
        if (pool->under_way == 0) {
            break;
        }
        pool->reaping = true;
        fx_cond_wait(&pool->finished, &pool->lock);
        pool->reaping = false;
        op = fx_dev_list_pop(&pool->done);
    }
    fx_mutex_unlock(&pool->lock);
    return op;
}

static void deinit(pool_queue *pool, unsigned parts) {
    if (parts > 2) {
        fx_cond_deinit(&pool->finished);
    }
    if (parts > 1) {
        fx_cond_deinit(&pool->work);
    }
    if (parts > 0) {
        fx_mutex_deinit(&pool->lock);
    }
    fx_mem_free(pool);
}

static void pool_close(fx_dev_queue *queue) {
    pool_queue *pool = pool_of(queue);
    if (fx_dev_file_is_foreign(file_of(pool))) {
        return; /* the threads are the parent's, and its lock may be held for ever here */
    }
    fx_mutex_lock(&pool->lock);
    FX_ASSERT(pool->todo.first == NULL && pool->done.first == NULL && pool->under_way == 0);
    pool->stopping = true;
    fx_cond_wake_all(&pool->work);
    fx_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++) {
        (void)pthread_join(pool->threads[i], NULL);
    }
    deinit(pool, 3);
}

static const fx_dev_file_queue_ops pool_ops = {pool_submit, pool_reap, pool_close};

int fx_dev_pool_queue_open(fx_dev_file *file, fx_dev_queue **queue_out) {
    pool_queue *pool = fx_mem_zalloc(sizeof *pool);
    if (pool == NULL) {
        return -ENOMEM;
    }
    pool->base.base.dev = &file->base;
    pool->base.ops = &pool_ops;
    unsigned parts = 0;
    if (fx_mutex_init(&pool->lock)) {
        parts = 1;
        if (fx_cond_init(&pool->work)) {
            parts = 2;
            if (fx_cond_init(&pool->finished)) {
                parts = 3;
            }
        }
    }
    if (parts < 3) {
        deinit(pool, parts);
        return -ENOMEM;
    }
    *queue_out = &pool->base.base;
    return 0;
}
