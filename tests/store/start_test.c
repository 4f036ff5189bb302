/* start: what a store asks of the system when it is opened is refused, each lock, condition, thread
 * and random byte in turn. The open says so, leaves nothing behind, and works afterwards. And the
 * number of shards follows from the processors that the system says there are.
 *
 * The calls are put between by the linker's --wrap (cmake/tests.cmake).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <unistd.h>

#include "base/atomic.h"
#include "store/store.h"
#include "support/kit.h"

typedef void *thread_main(void *context);
int __real_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int __real_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attributes);
int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attributes);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, thread_main *run,
                          void *context);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, thread_main *run,
                          void *context);
ssize_t __real_getrandom(void *out, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags);
long __real_sysconf(int name);
long __wrap_sysconf(int name);

int __real_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *probe,
                                   unsigned count);
int __wrap_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *probe,
                                   unsigned count);
int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);
int __real_io_uring_ring_dontfork(struct io_uring *ring);
int __wrap_io_uring_ring_dontfork(struct io_uring *ring);

typedef enum asked { LOCKS, CONDITIONS, THREADS, RANDOM, DESCRIPTORS, NOTHING } asked;

static asked refused;
static uint64_t refused_left; /* 1: the next; 0: none any more */
static uint64_t met;
static long processors;
static int probe_answer = 1; /* -errno; 0: the ring knows no reads, 2: nor writes; 1: the truth */
static int fork_answer;

static bool refuses(asked what) {
    if (refused != what || refused_left == 0 || --refused_left > 0) {
        return false;
    }
    met++;
    return true;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes) {
    return refuses(LOCKS) ? ENOMEM : __real_pthread_mutex_init(mutex, attributes);
}

int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attributes) {
    return refuses(CONDITIONS) ? ENOMEM : __real_pthread_cond_init(cond, attributes);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, thread_main *run,
                          void *context) {
    return refuses(THREADS) ? EAGAIN : __real_pthread_create(thread, attributes, run, context);
}

ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags) {
    if (refuses(RANDOM)) {
        errno = ENOSYS;
        return -1;
    }
    return __real_getrandom(out, size, flags);
}

int __wrap_eventfd(unsigned count, int flags) {
    if (refuses(DESCRIPTORS)) {
        errno = EMFILE;
        return -1;
    }
    return __real_eventfd(count, flags);
}

int __wrap_io_uring_register_probe(struct io_uring *ring, struct io_uring_probe *probe,
                                   unsigned count) {
    int result = probe_answer < 0 ? probe_answer
                                  : __real_io_uring_register_probe(ring, probe, count);
    if (probe_answer == 0 || probe_answer == 2) {
        probe->ops[probe_answer == 0 ? IORING_OP_READ : IORING_OP_WRITE].flags = 0;
    }
    return result;
}

int __wrap_io_uring_ring_dontfork(struct io_uring *ring) {
    return fork_answer != 0 ? fork_answer : __real_io_uring_ring_dontfork(ring);
}

long __wrap_sysconf(int name) {
    return name == _SC_NPROCESSORS_ONLN && processors != 0 ? processors : __real_sysconf(name);
}

/* Opens with each thing refused until there are no more. How many refusals the open has told of. */
static unsigned open_refused(kit *k, asked what, feox_status wanted) {
    unsigned told = 0;
    bool new_file = k->file && !fx_file_exists(k->path);
    for (uint64_t n = 1;; n++) {
        feox_store *store = (feox_store *)(void *)k;
        met = 0;
        refused = what;
        refused_left = n;
        feox_status status = feox_open(k->path, &k->options, &store);
        refused = NOTHING;
        if (status != FEOX_OK) {
            assert_status(status, wanted);
            assert_true(met > 0);
            assert_null(store);
            assert_true(!new_file || !fx_file_exists(k->path));
            told++;
            continue;
        }
        k->store = store;
        if (what == LOCKS && !new_file && k->file) {
            kit_expect(k, "key", "value");
        }
        assert_ok(kit_put(k, "key", "value"));
        kit_close(k);
        if (met == 0) {
            return told;
        }
        if (new_file) {
            fx_file_remove(k->path);
        }
    }
}

static void refuse_each(kit *k) {
    unsigned told = 0;
    kit_close(k);
    for (unsigned round = 0; round < 2; round++) { /* a new file, and one that is there */
        if (k->file && round == 0) {
            fx_file_remove(k->path);
        }
        assert_true(open_refused(k, LOCKS, FEOX_ERR_MEMORY) >= 2);
        assert_true(open_refused(k, CONDITIONS, FEOX_ERR_MEMORY) >= 1);
        told += open_refused(k, THREADS, FEOX_ERR_MEMORY);
        assert_true(open_refused(k, RANDOM, FEOX_ERR_UNSUPPORTED) >= 1);
    }
    assert_true(told >= 2);
    kit_open(k);
}

static void in_memory(void **state) {
    refuse_each(*state);
}

static void with_threads(void **state) {
    kit *k = *state;
    k->options.io_backend = FEOX_IO_THREADS;
    refuse_each(k);
}

static void with_ring(void **state) {
    kit *k = *state;
    if (!kit_has_uring()) {
        skip();
    }
    k->options.io_backend = FEOX_IO_URING;
    refuse_each(k);
}

static void shards(void **state) {
    static const long counts[] = {-1, 1, 3, 8, 64, 1000000};
    kit *k = *state;
    uint32_t before = 0;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        processors = counts[i];
        kit_restart(k);
        processors = 0;
        uint32_t count = k->store->engine.shard_count;
        assert_true(count >= before && count >= FX_SHARDS_MIN && count <= FX_SHARDS_MAX);
        assert_true((count & (count - 1)) == 0);
        assert_true(counts[i] < 2 || count == FX_SHARDS_MAX || count >= (uint32_t)counts[i] * 8);
        before = count;
        assert_ok(kit_put(k, "key", "value"));
        kit_expect(k, "key", "value");
    }
    assert_int_equal(before, FX_SHARDS_MAX);
}

/* A ring that cannot read or write, or that a child would have too, is none. */
static void poor_rings(void **state) {
    static const int answers[][2] = {{-EINVAL, 0}, {0, 0}, {2, 0}, {1, -ENOMEM}};
    kit *k = *state;
    if (!kit_has_uring()) {
        skip();
    }
    assert_ok(kit_put(k, "key", "value"));
    kit_close(k);
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        probe_answer = answers[i][0];
        fork_answer = answers[i][1];
        k->options.io_backend = FEOX_IO_URING;
        assert_status(feox_open(k->path, &k->options, &k->store), FEOX_ERR_UNSUPPORTED);
        k->options.io_backend = FEOX_IO_AUTO;
        kit_open(k);
        kit_expect(k, "key", "value");
        kit_close(k);
        probe_answer = 1;
        fork_answer = 0;
    }
    kit_open(k);
}

/* Whoever wants to poll is told that there is nothing to poll. */
static void no_descriptor(void **state) {
    kit *k = *state;
    int fd = 77;
    int again = 77;
    refused = DESCRIPTORS;
    refused_left = 1;
    assert_status(feox_durable_fd(k->store, &fd), FEOX_ERR_MEMORY);
    refused = NOTHING;
    assert_int_equal(fd, -1);
    assert_ok(feox_durable_fd(k->store, &fd));
    assert_ok(feox_durable_fd(k->store, &again));
    assert_true(fd > 2 && fd == again);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_MEMORY(in_memory), KIT_FILE(with_threads),
                                       KIT_FILE(with_ring), KIT_TEST(shards),
                                       KIT_FILE(poor_rings), KIT_FILE(no_descriptor)};
    return cmocka_run_group_tests_name("store/start", tests, NULL, NULL);
}
