/* under: starts a program in an environment that refuses something, for cmake/environments.sh.
 *
 * `test_under WHAT COMMAND...`, where WHAT is
 *   eperm, enosys   io_uring is refused with this error, as container runtimes and old kernels do
 *   memlock         no memory may be locked, also not by root
 * It says so and ends with status 125 if it cannot. What it sets up is inherited by all that the
 * command starts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support/child.h"

static bool without_io_uring(int error) {
    return fx_child_forbid(SYS_io_uring_setup, error) &&
           fx_child_forbid(SYS_io_uring_enter, error) &&
           fx_child_forbid(SYS_io_uring_register, error);
}

/* Who has CAP_IPC_LOCK is above the limit; what is dropped here is gone after exec. */
static bool without_locked_memory(void) {
    const struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_MEMLOCK, &none) == 0 &&
           (geteuid() != 0 || prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0) == 0);
}

int main(int count, char **words) {
    const char *what = count > 2 ? words[1] : "";
    bool done = false;
    errno = EINVAL;
    if (strcmp(what, "eperm") == 0) {
        done = without_io_uring(EPERM);
    } else if (strcmp(what, "enosys") == 0) {
        done = without_io_uring(ENOSYS);
    } else if (strcmp(what, "memlock") == 0) {
        done = without_locked_memory();
    }
    if (done) {
        (void)execvp(words[2], words + 2);
    }
    (void)fprintf(stderr, "under %s: %s\n", what, strerror(errno));
    return 125;
}
