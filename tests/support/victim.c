/* victim: the child says by its exit status how far it came, so that nothing can be mistaken for a
 * death by the parent's hand.
 */
#define _GNU_SOURCE
#include "support/victim.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/kit.h"

/* CMocka's assertions cannot be used in a child. */
enum { FAILED_AS_WANTED = 10, COULD_NOT_OPEN = 2, WORK_FAILED = 3, NOT_STICKY = 4 };

#define SECONDS_MAX 60u

static bool refused(feox_status status, const char *what) {
    bool fine = status == FEOX_ERR_IO || status == FEOX_ERR_READ_ONLY;
    if (!fine) {
        (void)fprintf(stderr, "after a failure of the device, %s gave %s (%s)\n", what,
                      feox_status_name(status), feox_last_error());
    }
    return fine;
}

/* What the contract says of a store whose device failed: no write is taken, no flush succeeds,
 * statistics have the cause, reads of memory go on, and it can be closed. A failed read alone does
 * not make it so: the first insert may be taken, and its flush finds the device out. */
static int dead_store(feox_store *store, feox_status first) {
    bool fine = refused(first, "the call that failed");
    feox_statistics stats;
    feox_statistics_init(&stats);
    bool taken = feox_insert(store, "after", 5, "x", 1) == FEOX_OK;
    fine = refused(feox_flush(store), "a flush") && fine;
    for (int i = 0; i < 2; i++) {
        fine = refused(feox_insert(store, "after", 5, "y", 1), "an insert") && fine;
        fine = refused(feox_delete(store, "after", 5), "a delete") && fine;
        fine = refused(feox_flush(store), "a flush") && fine;
    }
    if (feox_contains(store, "after", 5) != (taken ? FEOX_OK : FEOX_NOT_FOUND) ||
        feox_stats(store, &stats) != FEOX_OK || stats.io_error != FEOX_ERR_IO) {
        (void)fprintf(stderr, "after a failure of the device: io_error %lld, %s\n",
                      (long long)stats.io_error,
                      feox_status_name(feox_contains(store, "after", 5)));
        fine = false;
    }
    fine = refused(feox_close(store), "the close") && fine;
    return fine ? FAILED_AS_WANTED : NOT_STICKY;
}

static int live(const victim_job *job) {
    feox_store *store = NULL;
    feox_status status = feox_open(job->path, &job->options, &store);
    if (status != FEOX_OK) {
        /* The device may have gone before the first look at it. */
        if (job->device_fails && refused(status, "open")) {
            return FAILED_AS_WANTED;
        }
        (void)fprintf(stderr, "victim: open: %s: %s\n", feox_status_name(status),
                      feox_last_error());
        return COULD_NOT_OPEN;
    }
    status = job->work(store, job->context);
    if (job->device_fails) {
        return dead_store(store, status);
    }
    (void)fprintf(stderr, "victim: %s: %s\n", feox_status_name(status), feox_last_error());
    return WORK_FAILED;
}

pid_t victim_start(const victim_job *job) {
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(SECONDS_MAX);
        /* CMocka's handlers know nothing of the threads here: a crash is to be seen as one. */
        (void)signal(SIGSEGV, SIG_DFL);
        (void)signal(SIGBUS, SIG_DFL);
        (void)signal(SIGFPE, SIG_DFL);
        (void)signal(SIGILL, SIG_DFL);
        _exit(live(job));
    }
    return pid;
}

static int status_of(pid_t pid) {
    int status = -1;
    while (waitpid(pid, &status, 0) < 0) {
        assert_int_equal(errno, EINTR);
    }
    return status;
}

bool victim_lives(pid_t pid) {
    siginfo_t info = {0};
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    return info.si_pid == 0;
}

void victim_kill(pid_t pid) {
    (void)kill(pid, SIGKILL);
    int status = status_of(pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        print_error("the child ended by itself: status 0x%x\n", (unsigned)status);
        fail();
    }
}

void victim_expect_failed(pid_t pid) {
    int status = status_of(pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != FAILED_AS_WANTED) {
        print_error("the child did not end as it should when its device fails: status 0x%x%s\n",
                    (unsigned)status,
                    WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hung" : "");
        fail();
    }
}

feox_store *victim_open(const char *path, const feox_options *options) {
    feox_store *store = NULL;
    feox_status status = FEOX_ERR_BUSY;
    uint64_t deadline = kit_now_ms() + 10000;
    while ((status = feox_open(path, options, &store)) == FEOX_ERR_BUSY &&
           kit_now_ms() < deadline) {
        kit_sleep_ms(1);
    }
    assert_ok(status);
    return store;
}
