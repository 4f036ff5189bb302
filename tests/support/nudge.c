#define _GNU_SOURCE
#include "support/nudge.h"

#include "support/kit.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define NUDGE_SIGNAL SIGUSR2

static _Atomic uint64_t nudges;

static void lose_the_processor(void) {
    uint64_t count = atomic_fetch_add_explicit(&nudges, 1, memory_order_relaxed);
    if (count % 2 == 0) {
        sched_yield();
    } else {
        struct timespec time = {0, (long)(count % 7 * 20000)};
        nanosleep(&time, NULL);
    }
}

static void on_timer(int number) {
    int saved = errno;
    (void)number;
    lose_the_processor();
    errno = saved;
}

/* ---- Step by step ---- */

#if defined(__x86_64__) && !KIT_TSAN

#define TRAP_FLAG 0x100

static _Thread_local volatile uint32_t steps_left;
static _Thread_local bool (*volatile visitor)(void *context);
static _Thread_local void *visitor_context;

/* The flag is off inside the handler, and behind it what the interrupted context says. */
static void on_trap(int number, siginfo_t *info, void *context) {
    int saved = errno;
    ucontext_t *where = context;
    (void)number;
    (void)info;
    if (visitor != NULL && visitor(visitor_context)) {
        where->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
        visitor = NULL;
    } else if (steps_left > 0 && --steps_left == 0) {
        where->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
        lose_the_processor();
    }
    errno = saved;
}

static void init_steps(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_trap;
    action.sa_flags = SA_RESTART | SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTRAP, &action, NULL);
}

/* Below the red zone of whoever they are inlined into. */
static inline void trap_flag_on(void) {
    __asm__ __volatile__("lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"
                         "lea 128(%%rsp), %%rsp" ::
                             : "memory", "cc");
}

static inline void trap_flag_off(void) {
    __asm__ __volatile__("lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\t"
                         "lea 128(%%rsp), %%rsp" ::
                             : "memory", "cc");
}

void fx_nudge_step(uint32_t instructions) {
    steps_left = instructions;
    trap_flag_on();
}

bool fx_nudge_visit(bool (*visit)(void *context), void *context) {
    init_steps();
    visitor_context = context;
    visitor = visit;
    trap_flag_on();
    return true;
}

void fx_nudge_step_end(void) {
    trap_flag_off();
    steps_left = 0;
    visitor = NULL;
}

#else

static void init_steps(void) {
}
void fx_nudge_step(uint32_t instructions) {
    (void)instructions;
}
bool fx_nudge_visit(bool (*visit)(void *context), void *context) {
    (void)visit;
    (void)context;
    return false;
}
void fx_nudge_step_end(void) {
}

#endif

/* ---- Timers ---- */

void fx_nudge_init(fx_nudge *nudge) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    init_steps();
    action.sa_handler = on_timer;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(NUDGE_SIGNAL, &action, NULL);
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = NUDGE_SIGNAL;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    nudge->there = timer_create(CLOCK_MONOTONIC, &event, &nudge->timer) == 0;
}

void fx_nudge_deinit(fx_nudge *nudge) {
    if (nudge->there) {
        timer_delete(nudge->timer);
    }
}

void fx_nudge_arm(fx_nudge *nudge, uint64_t ns) {
    const struct itimerspec time = {{0, 0}, {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)}};
    if (nudge->there) {
        timer_settime(nudge->timer, 0, &time, NULL);
    }
}

uint64_t fx_nudge_count(void) {
    return atomic_load_explicit(&nudges, memory_order_relaxed);
}
