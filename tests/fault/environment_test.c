/* Places and systems that refuse something: the store works with what is left, or says what is
 * missing and leaves everything as it was.
 *
 * One behaviour at a time; cmake/environments.sh runs the whole suite in such places. What harms
 * the process happens in a forked child. What can only be had as root is skipped with the reason.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/campaign.h"
#include "support/child.h"
#include "support/kit.h"
#include "support/mount.h"

#define MIB ((uint64_t)1 << 20)

static campaign behaviours; /* a failure until it has passed or is skipped */

static void passed(void) {
    behaviours.cases++;
    behaviours.failures--;
}

static void skipped(void) {
    behaviours.failures--;
    skip();
}

#if KIT_TSAN || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static feox_status open_with(const char *path, int backend, feox_store **store_out) {
    feox_options options;
    feox_options_init(&options);
    options.io_backend = backend;
    return feox_open(path, &options, store_out);
}

/* Writes, flushes, closes and finds everything again; for a child. */
static void use(const char *path, int backend) {
    feox_store *store = NULL;
    feox_write durable;
    feox_write_init(&durable);
    durable.flags = FEOX_DURABLE;
    static char large[300000];
    for (int round = 0; round < 3; round++) {
        FX_CHILD_CHECK(open_with(path, backend, &store) == FEOX_OK);
        for (uint32_t i = 0; i < 200; i++) {
            FX_CHILD_CHECK(feox_insert(store, &i, sizeof i, "value", 5) == FEOX_OK);
        }
        FX_CHILD_CHECK(feox_insert(store, "large", 5, large, sizeof large) == FEOX_OK);
        FX_CHILD_CHECK(feox_flush(store) == FEOX_OK);
        int64_t value = 0;
        FX_CHILD_CHECK(feox_increment_with(store, "n", 1, 1, &durable, &value, NULL) == FEOX_OK);
        FX_CHILD_CHECK(value == round + 1);
        FX_CHILD_CHECK(kit_check(store) == FEOX_OK);
        FX_CHILD_CHECK(feox_close(store) == FEOX_OK);
    }
}

/* ---- What the system refuses ---------------------------------------------------------------- */

static void child_without_io_uring(const char *path, int error) {
    feox_store *store = NULL;
    FX_CHILD_CHECK(fx_child_forbid(SYS_io_uring_setup, error));
    FX_CHILD_CHECK(open_with(path, FEOX_IO_URING, &store) == FEOX_ERR_UNSUPPORTED);
    FX_CHILD_CHECK(strstr(feox_last_error(), "io_uring") != NULL);
    FX_CHILD_CHECK(strstr(feox_last_error(), strerror(error)) != NULL);
    FX_CHILD_CHECK(store == NULL && !fx_file_exists(path));
    use(path, FEOX_IO_AUTO);
    FX_CHILD_CHECK(open_with(path, FEOX_IO_URING, &store) == FEOX_ERR_UNSUPPORTED);
    use(fx_temp_fresh("threads"), FEOX_IO_THREADS);
}

static void io_uring_refused(void **state) {
    (void)state;
    assert_true(fx_child_run(child_without_io_uring, fx_temp_fresh("eperm"), EPERM));
    assert_true(fx_child_run(child_without_io_uring, fx_temp_fresh("enosys"), ENOSYS));
    passed();
}

static void child_without_locked_memory(const char *path, int number) {
    (void)number;
    const struct rlimit none = {0, 0};
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[2];
    FX_CHILD_CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
    FX_CHILD_CHECK(syscall(SYS_capget, &header, caps) == 0); /* root is above the limit */
    caps[0].effective &= ~(1u << CAP_IPC_LOCK);
    FX_CHILD_CHECK(syscall(SYS_capset, &header, caps) == 0);
    use(path, FEOX_IO_AUTO);
}

static void no_locked_memory(void **state) {
    (void)state;
    assert_true(fx_child_run(child_without_locked_memory, fx_temp_fresh("memlock"), 0));
    passed();
}

/* SIGXFSZ would end the process. */
static void child_with_short_files(const char *path, int number) {
    (void)number;
    feox_store *store = NULL;
    static char value[100000];
    struct rlimit limit = {64 << 10, RLIM_INFINITY};
    FX_CHILD_CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    FX_CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    FX_CHILD_CHECK(feox_open(path, NULL, &store) == FEOX_ERR_SPACE);
    FX_CHILD_CHECK(store == NULL && !fx_file_exists(path));
    limit.rlim_cur = 12 * MIB;
    FX_CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    FX_CHILD_CHECK(feox_open(path, NULL, &store) == FEOX_OK);
    uint32_t count = 0;
    feox_status status = FEOX_OK;
    while (status == FEOX_OK && count < 1000) {
        status = feox_insert(store, &count, sizeof count, value, sizeof value);
        count += status == FEOX_OK;
    }
    FX_CHILD_CHECK(status == FEOX_ERR_SPACE && count > 10);
    FX_CHILD_CHECK(feox_flush(store) == FEOX_OK);
    for (uint32_t i = 0; i < count; i++) {
        FX_CHILD_CHECK(feox_contains(store, &i, sizeof i) == FEOX_OK);
        FX_CHILD_CHECK(i % 2 == 0 || feox_delete(store, &i, sizeof i) == FEOX_OK);
    }
    FX_CHILD_CHECK(feox_insert(store, "again", 5, value, sizeof value) == FEOX_OK);
    FX_CHILD_CHECK(feox_close(store) == FEOX_OK);
    FX_CHILD_CHECK(fx_file_size(path) <= 12 * MIB);
    FX_CHILD_CHECK(feox_open(path, NULL, &store) == FEOX_OK && kit_check(store) == FEOX_OK);
    FX_CHILD_CHECK(feox_contains(store, "again", 5) == FEOX_OK);
    FX_CHILD_CHECK(feox_close(store) == FEOX_OK);
}

static void file_size_limited(void **state) {
    (void)state;
    assert_true(fx_child_run(child_with_short_files, fx_temp_fresh("fsize"), 0));
    passed();
}

/* With every number of descriptors: a store that works, or an error and no file. */
static void child_with_few_descriptors(const char *path, int number) {
    (void)number;
    struct rlimit limit;
    FX_CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    int lowest = dup(0);
    (void)close(lowest);
    bool refused = false;
    bool worked = false;
    for (int room = 0; room < 8; room++) {
        feox_store *store = NULL;
        limit.rlim_cur = (rlim_t)(lowest + room);
        FX_CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        feox_status status = feox_open(path, NULL, &store);
        if (status != FEOX_OK) {
            FX_CHILD_CHECK(!worked && strlen(feox_last_error()) > 0 && access(path, F_OK) != 0);
            refused = true;
            continue;
        }
        worked = true;
        FX_CHILD_CHECK(feox_insert(store, "k", 1, "v", 1) == FEOX_OK);
        FX_CHILD_CHECK(feox_close(store) == FEOX_OK);
        FX_CHILD_CHECK(feox_open(path, NULL, &store) == FEOX_OK);
        FX_CHILD_CHECK(feox_contains(store, "k", 1) == FEOX_OK);
        FX_CHILD_CHECK(feox_close(store) == FEOX_OK);
        FX_CHILD_CHECK(unlink(path) == 0);
    }
    FX_CHILD_CHECK(refused && worked);
}

static void descriptors_exhausted(void **state) {
    (void)state;
    assert_true(fx_child_run(child_with_few_descriptors, fx_temp_fresh("nofile"), 0));
    passed();
}

/* A process whose standard streams are closed prints, and puts others in their place. */
static void child_without_streams(const char *path, int backend) {
    feox_store *store = NULL;
    for (int fd = 0; fd < 3; fd++) {
        (void)close(fd);
    }
    FX_CHILD_CHECK(open_with(path, backend, &store) == FEOX_OK);
    for (int i = 0; i < 100; i++) {
        (void)dprintf(1, "a message to standard output");
        (void)dprintf(2, "a message to standard error");
        FX_CHILD_CHECK(feox_insert(store, &i, sizeof i, "v", 1) == FEOX_OK);
        if (i % 20 == 0) {
            FX_CHILD_CHECK(feox_flush(store) == FEOX_OK);
        }
        if (i == 50) { /* as daemons do */
            for (int fd = 0; fd < 3; fd++) {
                FX_CHILD_CHECK(fcntl(fd, F_GETFD) < 0); /* nothing of ours is there */
                FX_CHILD_CHECK(open("/dev/null", O_RDWR) == fd);
            }
        }
    }
    FX_CHILD_CHECK(kit_check(store) == FEOX_OK && feox_close(store) == FEOX_OK);
    for (int fd = 0; fd < 3; fd++) {
        FX_CHILD_CHECK(fcntl(fd, F_GETFD) >= 0); /* the end of the store did not take them along */
    }
    FX_CHILD_CHECK(feox_open(path, NULL, &store) == FEOX_OK && kit_check(store) == FEOX_OK);
    uint64_t count = 0;
    FX_CHILD_CHECK(feox_count(store, &count) == FEOX_OK && count == 100);
    FX_CHILD_CHECK(feox_close(store) == FEOX_OK);
}

static void standard_streams_closed(void **state) {
    (void)state;
    assert_true(fx_child_run(child_without_streams, fx_temp_fresh("streams"), FEOX_IO_AUTO));
    assert_true(fx_child_run(child_without_streams, fx_temp_fresh("streams"), FEOX_IO_THREADS));
    passed();
}

/* ---- File systems --------------------------------------------------------------------------- */

static fx_mount *mounted_or_skip(const fx_mount_how *how) {
    const char *why = "";
    fx_mount *m = fx_mount_begin(how, &why);
    if (m == NULL) {
        printf("skipped: %s\n", why);
        skipped();
    }
    return m;
}

static void use_everyhow(const char *path, int number) {
    (void)number;
    use(path, FEOX_IO_AUTO);
    FX_CHILD_CHECK(unlink(path) == 0);
    use(path, FEOX_IO_THREADS);
}

static void sectors_of_4096_bytes(void **state) {
    (void)state;
    fx_mount *m =
        mounted_or_skip(&(fx_mount_how){.type = "ext4", .size = 64 * MIB, .sector_size = 4096});
    assert_true(fx_child_run(use_everyhow, fx_mount_file(m, "store"), 0));
    fx_mount_end(m);
    passed();
}

/* ramfs knows no O_DIRECT and no fallocate, and does not say how much room it has. */
static void direct_io_refused(void **state) {
    (void)state;
    fx_mount *m = mounted_or_skip(&(fx_mount_how){.type = "ramfs", .size = 64 * MIB});
    const char *path = fx_mount_file(m, "store");
    assert_int_equal(open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600), -1);
    assert_int_equal(errno, EINVAL);
    fx_file_remove(path);
    assert_true(fx_child_run(use_everyhow, path, 0));
    fx_mount_end(m);
    passed();
}

/* A node for the device below a mount. */
static const char *device_node(const fx_mount *m) {
    struct stat status;
    const char *path = fx_temp_fresh("block");
    assert_int_equal(stat(fx_mount_path(m), &status), 0);
    assert_int_equal(mknod(path, S_IFBLK | 0600, status.st_dev), 0);
    return path;
}

static feox_status open_for(const char *path, int read_only) {
    feox_options options;
    kit_options_init(&options);
    options.read_only = read_only;
    feox_store *store = (feox_store *)&options;
    feox_status status = feox_open(path, &options, &store);
    assert_true((status == FEOX_OK) == (store != NULL));
    assert_ok(feox_close(store));
    return status;
}

static void read_only_file_system(void **state) {
    (void)state;
    const char *why = "";
    fx_mount *m = mounted_or_skip(&(fx_mount_how){.type = "ext4", .size = 64 * MIB});
    const char *path = fx_mount_file(m, "store");
    assert_true(fx_child_run(use_everyhow, path, 0));
    assert_true(fx_mount_again(m, "ro", &why));
    size_t size = 0;
    void *before = fx_file_slurp(path, &size);
    assert_status(open_for(path, FEOX_NO), FEOX_ERR_READ_ONLY);
    assert_non_null(strstr(feox_last_error(), path));
    assert_status(open_for(fx_mount_file(m, "new"), FEOX_NO), FEOX_ERR_READ_ONLY);
    assert_ok(open_for(path, FEOX_YES));
    assert_true(fx_file_equals(path, before, size));
    free(before);

    /* The device itself: nothing but our own refusal stands between it and a write. */
    const char *node = device_node(m);
    char *device = kit_alloc(4 * MIB);
    char *after = kit_alloc(4 * MIB);
    int fd = open(node, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, device, 4 * MIB, 0), 4 * MIB);
    assert_status(open_for(node, FEOX_NO), FEOX_ERR_NOT_FEOX);
    assert_status(open_for(node, FEOX_YES), FEOX_ERR_NOT_FEOX);
    assert_int_equal(pread(fd, after, 4 * MIB, 0), 4 * MIB);
    assert_memory_equal(device, after, 4 * MIB);
    (void)close(fd);
    free(device);
    free(after);
    fx_mount_end(m);
    passed();
}

/* ---- Paths ---------------------------------------------------------------------------------- */

static void refused_both_ways(const char *path, feox_status wanted) {
    alarm(30); /* a FIFO must not make it wait */
    assert_status(open_for(path, FEOX_NO), wanted);
    assert_true(strlen(feox_last_error()) > 0);
    assert_status(open_for(path, FEOX_YES), wanted);
    alarm(0);
}

static void things_that_are_no_files(void **state) {
    (void)state;
    refused_both_ways("/dev/null", FEOX_ERR_NOT_FEOX);
    refused_both_ways("/dev/zero", FEOX_ERR_NOT_FEOX);
    refused_both_ways("/dev/full", FEOX_ERR_NOT_FEOX);
    refused_both_ways(fx_temp_dir(), FEOX_ERR_NOT_FEOX);
    refused_both_ways("/", FEOX_ERR_NOT_FEOX);
    refused_both_ways("", FEOX_ERR_ARGUMENT);

    const char *path = fx_temp_fresh("fifo");
    char byte = 0;
    assert_int_equal(mkfifo(path, 0600), 0);
    refused_both_ways(path, FEOX_ERR_NOT_FEOX);
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC); /* somebody at both ends */
    assert_true(fd >= 0);
    refused_both_ways(path, FEOX_ERR_NOT_FEOX);
    assert_int_equal(read(fd, &byte, 1), -1);
    assert_int_equal(errno, EAGAIN); /* and nothing was put in */
    (void)close(fd);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    path = fx_temp_fresh("socket");
    if (strlen(path) < sizeof address.sun_path) {
        (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
        refused_both_ways(path, FEOX_ERR_NOT_FEOX);
        (void)close(fd);
    }
    passed();
}

/* Files of the kernel say that they are empty, and are not; some of them may be written. */
static void files_of_the_kernel(void **state) {
    (void)state;
    char name[64] = {0};
    char after[64] = {0};
    int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && read(fd, name, sizeof name - 1) > 0);
    (void)close(fd);
    assert_status(open_for("/proc/self/comm", FEOX_NO), FEOX_ERR_NOT_FEOX);
    assert_failure(open_for("/proc/self/comm", FEOX_YES));
    assert_status(open_for("/proc/self/oom_score_adj", FEOX_NO), FEOX_ERR_NOT_FEOX);
    assert_failure(open_for("/proc/version", FEOX_NO));
    fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && read(fd, after, sizeof after - 1) > 0);
    (void)close(fd);
    assert_string_equal(name, after);
    passed();
}

static void paths_too_long(void **state) {
    (void)state;
    char *path = kit_alloc(100000);
    memset(path, 'a', 100000);
    static const size_t sizes[] = {256, 4095, 4096, 5000, 99999};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        path[sizes[i]] = 0;
        refused_both_ways(path, FEOX_ERR_IO);
        path[sizes[i]] = 'a';
    }
    for (size_t i = 1; i < 5000; i += 2) {
        path[i] = '/'; /* many short names */
    }
    path[5000] = 0;
    refused_both_ways(path, FEOX_ERR_IO);
    free(path);
    passed();
}

static void a_link_is_followed_and_stays(void **state) {
    (void)state;
    const char *target = fx_temp_fresh("target");
    const char *link = fx_temp_fresh("link");
    const char *chain = fx_temp_fresh("chain");
    struct stat status;
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(symlink(link, chain), 0);
    assert_failure(open_for(chain, FEOX_NO)); /* nothing is made through a link to nothing */
    assert_false(fx_file_exists(target));
    assert_ok(open_for(target, FEOX_NO));
    feox_store *store = NULL;
    feox_store *second = NULL;
    assert_ok(feox_open(chain, NULL, &store));
    assert_ok(feox_insert(store, "k", 1, "v", 1));
    assert_status(feox_open(target, NULL, &second), FEOX_ERR_BUSY);
    assert_ok(feox_close(store));
    assert_int_equal(lstat(chain, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_ok(feox_open(target, NULL, &store));
    assert_ok(feox_contains(store, "k", 1));
    assert_ok(feox_close(store));
    passed();
}

/* The name is gone, the file is not: the store goes on, and the name is free for another. */
static void removed_while_open(void **state) {
    kit *k = *state;
    feox_store *other = NULL;
    assert_ok(kit_put(k, "k", "v"));
    assert_ok(feox_flush(k->store));
    fx_file_remove(k->path);
    assert_ok(kit_put(k, "l", "w"));
    assert_ok(feox_flush(k->store));
    assert_ok(feox_open(k->path, NULL, &other));
    assert_status(feox_contains(other, "k", 1), FEOX_NOT_FOUND);
    assert_ok(feox_insert(other, "other", 5, "x", 1));
    kit_expect(k, "k", "v");
    kit_expect(k, "l", "w");
    assert_ok(kit_check(k->store));
    kit_close(k);
    assert_ok(feox_close(other));
    kit_open(k);
    kit_expect(k, "other", "x");
    assert_int_equal(kit_count(k), 1);
    passed();
}

static void renamed_while_open(void **state) {
    kit *k = *state;
    const char *elsewhere = fx_temp_fresh("renamed");
    feox_store *second = NULL;
    assert_ok(kit_put(k, "k", "v"));
    assert_int_equal(rename(k->path, elsewhere), 0);
    assert_ok(kit_put(k, "l", "w"));
    assert_ok(feox_flush(k->store));
    assert_status(feox_open(elsewhere, NULL, &second), FEOX_ERR_BUSY);
    kit_close(k);
    assert_false(fx_file_exists(k->path));
    k->path = elsewhere;
    kit_open(k);
    kit_expect(k, "k", "v");
    kit_expect(k, "l", "w");
    passed();
}

/* ---- Fork and unloading under load ---------------------------------------------------------- */

enum { WRITERS = 4 };

typedef struct load {
    feox_store *store;
    uint64_t id;
    uint64_t count; /* writes that were taken */
    feox_status status;
    _Atomic int *stop;
} load;

static void *write_on(void *argument) {
    load *l = argument;
    static const char value[3000];
    while (l->status == FEOX_OK && atomic_load(l->stop) == 0) {
        const uint64_t key[2] = {l->id, l->count};
        l->status = feox_insert(l->store, key, sizeof key, value, l->count % sizeof value);
        l->count += l->status == FEOX_OK;
        if (l->status == FEOX_OK && l->count % 100 == 0) {
            l->status = feox_flush(l->store);
        }
    }
    return NULL;
}

static void child_of_fork(feox_store *store, int round) {
    (void)alarm(30);
    bool fine = feox_insert(store, "child", 5, "x", 1) == FEOX_ERR_FORKED &&
                feox_contains(store, "child", 5) == FEOX_ERR_FORKED &&
                feox_flush(store) == FEOX_ERR_FORKED;
    if (round % 2 == 0) {
        fine = feox_close(store) == FEOX_ERR_FORKED && fine;
    }
    if (round % 3 == 0 && !SANITIZED) { /* LeakSanitizer misses the stacks of our threads */
        exit(fine ? 0 : 1);
    }
    _exit(fine ? 0 : 1);
}

static void forks_under_load(void **state) {
    kit *k = *state;
    load loads[WRITERS];
    pthread_t threads[WRITERS];
    _Atomic int stop = 0;
    uint64_t written = 0;
    for (uint64_t i = 0; i < WRITERS; i++) {
        loads[i] = (load){k->store, i, 0, FEOX_OK, &stop};
        assert_int_equal(pthread_create(&threads[i], NULL, write_on, &loads[i]), 0);
    }
    int forks = kit_env_number("FEOX_LONG", 0) != 0 ? 500 : KIT_SLOW ? 12 : k->file ? 160 : 40;
    campaign c;
    campaign_begin(&c, k->file ? "C13 forks, flushes, file" : "C13 forks, flushes, memory");
    for (int round = 0; round < forks; round++) {
        (void)fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            child_of_fork(k->store, round);
        }
        int status = -1;
        c.failures += pid < 0 || waitpid(pid, &status, 0) != pid || status != 0;
        c.cases++;
    }
    campaign_end(&c);
    atomic_store(&stop, 1);
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_ok(loads[i].status);
        written += loads[i].count;
    }
    assert_int_equal(c.failures, 0);
    do {
        assert_int_equal(kit_count(k), written);
        kit_expect_absent(k, "child");
        assert_ok(kit_check(k->store));
    } while (kit_again(k));
    passed();
}

typedef struct loaded {
    feox_status (*open)(const char *, const feox_options *, feox_store **);
    feox_status (*insert)(feox_store *, const void *, size_t, const void *, size_t);
    feox_status (*close)(feox_store *);
} loaded;

/* POSIX gives functions as pointers to objects. */
static void find(void *library, const char *name, void *function_out) {
    void *address = dlsym(library, name);
    FX_CHILD_CHECK(address != NULL);
    memcpy(function_out, &address, sizeof address);
}

/* Python and Lua unload what they loaded; our threads are still in there. */
static void child_unloads(const char *path, int number) {
    (void)number;
    loaded l;
    feox_store *store = NULL;
    void *library = dlopen(FEOX_BINARY_DIR "/libfeox.so", RTLD_NOW | RTLD_LOCAL);
    FX_CHILD_CHECK(library != NULL);
    find(library, "feox_open", &l.open);
    find(library, "feox_insert", &l.insert);
    find(library, "feox_close", &l.close);
    FX_CHILD_CHECK(l.open(path, NULL, &store) == FEOX_OK);
    FX_CHILD_CHECK(dlclose(library) == 0);
    for (uint32_t i = 0; i < 1000; i++) {
        FX_CHILD_CHECK(l.insert(store, &i, sizeof i, "v", 1) == FEOX_OK);
        if (i % 100 == 0) {
            kit_sleep_ms(5); /* the threads inside flush meanwhile */
        }
    }
    FX_CHILD_CHECK(l.close(store) == FEOX_OK);
    for (int i = 0; i < 3; i++) {
        library = dlopen(FEOX_BINARY_DIR "/libfeox.so", RTLD_NOW | RTLD_LOCAL);
        FX_CHILD_CHECK(library != NULL && dlclose(library) == 0);
        FX_CHILD_CHECK(l.open(path, NULL, &store) == FEOX_OK);
        FX_CHILD_CHECK(l.close(store) == FEOX_OK);
    }
}

static void unloaded_while_open(void **state) {
    (void)state;
    if (SANITIZED) {
        printf("skipped: a sanitizer has its own idea of libraries that are loaded later\n");
        skipped();
    }
    assert_true(fx_child_run(child_unloads, fx_temp_fresh("unloaded"), 0));
    passed();
}

static int end(void **state) {
    (void)state;
    behaviours.cases += behaviours.failures;
    campaign_end(&behaviours);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(io_uring_refused),
        cmocka_unit_test(no_locked_memory),
        cmocka_unit_test(file_size_limited),
        cmocka_unit_test(descriptors_exhausted),
        cmocka_unit_test(standard_streams_closed),
        cmocka_unit_test(sectors_of_4096_bytes),
        cmocka_unit_test(direct_io_refused),
        cmocka_unit_test(read_only_file_system),
        cmocka_unit_test(things_that_are_no_files),
        cmocka_unit_test(files_of_the_kernel),
        cmocka_unit_test(paths_too_long),
        cmocka_unit_test(a_link_is_followed_and_stays),
        KIT_FILE(removed_while_open),
        KIT_FILE(renamed_while_open),
        KIT_TEST(forks_under_load),
        cmocka_unit_test(unloaded_while_open),
    };
    campaign_begin(&behaviours, "C12 behaviours");
    behaviours.failures = sizeof tests / sizeof tests[0];
    return cmocka_run_group_tests_name("fault/environment", tests, NULL, end);
}
