/* cover: a child that leaves by _exit keeps its profile too, whatever limits it lived under. Builds
 * for coverage link with --wrap=_exit; see cmake/coverage.sh. What is killed leaves none. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdnoreturn.h>
#include <sys/resource.h>

int __llvm_profile_write_file(void);
noreturn void __real__exit(int status);
noreturn void __wrap__exit(int status);

static void lift(__rlimit_resource_t resource) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(resource, &limit);
    }
}

void __wrap__exit(int status) {
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit that cannot be lifted is an error of write */
    lift(RLIMIT_FSIZE);
    lift(RLIMIT_NOFILE);
    (void)__llvm_profile_write_file();
    __real__exit(status);
}
