/* victim: a process that works on a store until it is killed, or until its device fails.
 *
 * For the crash tests: the parent decides when it ends and looks at what is left. Main thread only,
 * except where it says otherwise.
 */
#ifndef FX_SUPPORT_VICTIM_H
#define FX_SUPPORT_VICTIM_H

#include <stdbool.h>
#include <sys/types.h>

#include "feox.h"

/* Works for ever, or until a call on the store fails: then all its threads return that failure to
 * it, and it returns the first. */
typedef feox_status victim_work(feox_store *store, void *context);

typedef struct victim_job {
    const char *path;
    feox_options options;
    victim_work *work;
    void *context;
    bool device_fails; /* a failure is what we wait for; otherwise it is a failure of the test */
} victim_job;

/* Forks a child that opens the store and works. It ends after a minute at the latest. */
pid_t victim_start(const victim_job *job);
/* It has not ended, neither by itself nor by its alarm. */
bool victim_lives(pid_t pid);
/* Kills it at once; fails the test if it had ended by itself. */
void victim_kill(pid_t pid);
/* Waits for a child whose device has failed. It must have seen the failure, found that the store
 * stays read-only and can still be closed, and ended; a child that hangs fails the test. */
void victim_expect_failed(pid_t pid);
/* Opens what is left. The kernel ends what a dead process had under way in io_uring after the
 * process is gone and keeps the file busy until then, so BUSY is asked again for ten seconds. */
feox_store *victim_open(const char *path, const feox_options *options);

#endif
