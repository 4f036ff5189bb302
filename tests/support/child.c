/* child: _exit in the child, because the lists of atexit belong to the parent. Refused system calls
 * come from a seccomp filter of four instructions, as container runtimes install it.
 */
#define _GNU_SOURCE
#include "support/child.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/rng.h"

bool fx_child_run(fx_child_function *run, const char *path, int number) {
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(60);
        run(path, number);
        _exit(0);
    }
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (child < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        (void)printf("child ended with status 0x%x\n", (unsigned)status);
        return false;
    }
    return true;
}

bool fx_child_forbid(int call, int error) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

uint64_t fx_test_seed(void) {
    const char *text = getenv("FEOX_SEED");
    uint64_t value = 0;
    if (text != NULL) {
        value = strtoull(text, NULL, 0);
    } else if (!fx_random_bytes(&value, sizeof value)) {
        value = (uint64_t)getpid();
    }
    (void)printf("FEOX_SEED=%llu\n", (unsigned long long)value);
    return value;
}
