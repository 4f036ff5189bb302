/* explore: the scheduler and the search.
 *
 * A schedule is the sequence of answers to three kinds of questions: before an atomic operation,
 * may another thread preempt this one (Musuvathi and Qadeer, "Iterative context bounding", PLDI
 * 2007: few preemptions find most faults); at a load, how old a message it gets; when a thread ends
 * or waits, who goes on. The answer 0 is the plain one: go on, the newest. Depth first search runs
 * every sequence with at most so many preemptions and stale loads; random walks draw answers with
 * rates that are drawn themselves, once per schedule.
 *
 * A thread that yields, as spin loops do, waits until another has stored something: whatever it
 * could look at is the same before. If nobody else can store any more, it looks again without stale
 * loads, for real stores become visible some day; if that does not help, the schedule is a
 * deadlock.
 */
#define _GNU_SOURCE
#include "sim/explore_parts.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#define STEPS_MAX 20000u
#define CHOICES_MAX 20000u
#define PATIENCE 8u /* looks without stale loads before a schedule is a deadlock */
#define MUTEXES_MAX 8u
#define WALK_PREEMPTIONS 24u
#define WALK_STALE 64u

typedef enum thread_state { READY, WAITING, LOCKED_OUT, ENDED } thread_state;

typedef struct thread {
    ucontext_t context; /* where it starts; made once */
    jmp_buf place;      /* where it goes on */
    bool started;
    thread_state state;
    const void *mutex; /* that it waits for */
} thread;

typedef struct mutex_state {
    const void *mutex;
    bool held;
    memory_clock released;
} mutex_state;

typedef struct choice {
    uint16_t answer, count;
} choice;

/* How the questions of a schedule are answered. */
typedef enum search_mode { DEPTH_FIRST, WALK } search_mode;

bool explore_running;
unsigned explore_self;
bool explore_only_newest;
bool explore_trace;

static const explore_scenario *scenario;
static void *scenario_state;
static thread threads[EXPLORE_THREADS];
static unsigned thread_count;
static mutex_state mutexes[MUTEXES_MAX];
static unsigned mutex_count;
static jmp_buf schedule_ended, check_failed;
static bool checking;
static uint32_t steps, patience;
static unsigned preemptions_left, stale_left;
static uint64_t switches;
static bool failed;
static char failure[256];

static search_mode mode;
static choice choices[CHOICES_MAX];
static uint32_t choice_count; /* answered so far in this schedule */
static uint32_t choice_known; /* answers that are given, from the schedule before */
static uint64_t chance;
static uint32_t preempt_rate, stale_rate; /* of 65536 */
static bool oldest;                       /* a stale load gets the oldest message it may */

/* ---- Chance ---- */

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint32_t draw(void) {
    chance += 0x9e3779b97f4a7c15u;
    return (uint32_t)(mix(chance) >> 40);
}

static bool happens(uint32_t rate) {
    return (draw() & 0xffffu) < rate;
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- Questions ---- */

/* Depth first: the answer that this schedule is to give. */
static unsigned next_answer(unsigned count) {
    if (choice_count == CHOICES_MAX) {
        explore_fail("a schedule of more than %u choices", CHOICES_MAX);
    }
    choice *c = &choices[choice_count];
    if (choice_count++ >= choice_known) {
        *c = (choice){.answer = 0, .count = (uint16_t)count};
    } else if (c->count != count) {
        c->count = (uint16_t)count;
        c->answer = c->answer < count ? c->answer : 0;
    }
    return c->answer;
}

static unsigned ask(unsigned count, uint32_t rate) {
    if (count <= 1) {
        return 0;
    }
    if (mode == DEPTH_FIRST) {
        return next_answer(count);
    }
    return happens(rate) ? 1 + draw() % (count - 1) : 0;
}

unsigned explore_choose_stale(unsigned count) {
    if (explore_only_newest || stale_left == 0) {
        return 0;
    }
    unsigned answer = ask(count, stale_rate);
    stale_left -= answer > 0;
    return answer > 0 && mode == WALK && oldest ? count - 1 : answer;
}

/* ---- Threads ---- */

/* The first time by a context, then by a jump, which needs no system call. */
static void resume(unsigned next) {
    explore_self = next;
    if (threads[next].started) {
        _longjmp(threads[next].place, 1);
    }
    threads[next].started = true;
    (void)setcontext(&threads[next].context);
}

static void switch_to(unsigned next) {
    if (next != explore_self) {
        switches++;
        if (_setjmp(threads[explore_self].place) == 0) {
            resume(next);
        }
    }
}

static unsigned others_ready(unsigned *list) {
    unsigned count = 0;
    for (unsigned t = 0; t < thread_count; t++) {
        if (t != explore_self && threads[t].state == READY) {
            list[count++] = t;
        }
    }
    return count;
}

void explore_point(void) {
    unsigned others[EXPLORE_THREADS];
    if (++steps > STEPS_MAX) {
        explore_fail("no end after %u steps", STEPS_MAX);
    }
    unsigned count = preemptions_left > 0 ? others_ready(others) : 0;
    unsigned answer = ask(count + 1, preempt_rate);
    if (answer > 0) {
        preemptions_left--;
        switch_to(others[answer - 1]);
    }
}

void explore_stored(void) {
    patience = 0;
    explore_only_newest = false;
    for (unsigned t = 0; t < thread_count; t++) {
        if (t != explore_self && threads[t].state == WAITING) {
            threads[t].state = READY;
        }
    }
}

/* The running thread cannot go on. */
static void give_way(void) {
    unsigned others[EXPLORE_THREADS];
    unsigned count = others_ready(others);
    if (count == 0) {
        bool any = false;
        for (unsigned t = 0; t < thread_count; t++) {
            if (threads[t].state == WAITING) {
                threads[t].state = READY;
                any = true;
            }
        }
        if (!any || ++patience > PATIENCE) {
            explore_fail(any ? "nobody can move: threads wait for each other's stores"
                             : "nobody can move: a deadlock");
        }
        explore_only_newest = true;
        count = others_ready(others);
        if (count == 0) {
            return; /* alone: look again */
        }
    }
    switch_to(others[ask(count, 32768)]);
}

void explore_yield(void) {
    if (explore_running) {
        if (++steps > STEPS_MAX) {
            explore_fail("no end after %u steps", STEPS_MAX);
        }
        threads[explore_self].state = WAITING;
        give_way();
        threads[explore_self].state = READY;
    }
}

static void thread_main(int index) {
    scenario->threads[index](scenario_state);
    threads[index].state = ENDED;
    explore_stored();
    bool all = true;
    for (unsigned t = 0; t < thread_count; t++) {
        all = all && threads[t].state == ENDED;
    }
    if (!all) {
        give_way();
    }
    _longjmp(schedule_ended, 1);
}

/* ---- Mutexes, yielding and plain copies of the code under test: by -D, see cmake/model.cmake ----
 */

int explore_mutex_lock(pthread_mutex_t *mutex);
int explore_mutex_trylock(pthread_mutex_t *mutex);
int explore_mutex_unlock(pthread_mutex_t *mutex);
int explore_sched_yield(void);
void *explore_memcpy(void *to, const void *from, size_t size);
void *explore_memmove(void *to, const void *from, size_t size);
void *explore_memset(void *to, int value, size_t size);
int explore_memcmp(const void *a, const void *b, size_t size);

static mutex_state *mutex_of(const void *mutex) {
    for (unsigned i = 0; i < mutex_count; i++) {
        if (mutexes[i].mutex == mutex) {
            return &mutexes[i];
        }
    }
    if (mutex_count == MUTEXES_MAX) {
        explore_fail("more than %u mutexes", MUTEXES_MAX);
    }
    mutexes[mutex_count] = (mutex_state){.mutex = mutex};
    return &mutexes[mutex_count++];
}

int explore_mutex_trylock(pthread_mutex_t *mutex) {
    if (explore_running) {
        explore_point();
        mutex_state *m = mutex_of(mutex);
        if (m->held) {
            return 16;
        }
        m->held = true;
        memory_acquire(&m->released);
    }
    return 0;
}

int explore_mutex_lock(pthread_mutex_t *mutex) {
    while (explore_mutex_trylock(mutex) != 0) {
        threads[explore_self].state = LOCKED_OUT;
        threads[explore_self].mutex = mutex;
        give_way();
    }
    return 0;
}

int explore_mutex_unlock(pthread_mutex_t *mutex) {
    if (explore_running) {
        mutex_state *m = mutex_of(mutex);
        m->held = false;
        memory_release(&m->released);
        explore_stored();
        for (unsigned t = 0; t < thread_count; t++) {
            if (threads[t].state == LOCKED_OUT && threads[t].mutex == mutex) {
                threads[t].state = READY;
            }
        }
    }
    return 0;
}

int explore_sched_yield(void) {
    explore_yield();
    return 0;
}

void *explore_memcpy(void *to, const void *from, size_t size) {
    explore_plain_read(from, size);
    explore_plain_write(to, size);
    return memcpy(to, from, size);
}

void *explore_memmove(void *to, const void *from, size_t size) {
    explore_plain_read(from, size);
    explore_plain_write(to, size);
    return memmove(to, from, size);
}

void *explore_memset(void *to, int value, size_t size) {
    explore_plain_write(to, size);
    return memset(to, value, size);
}

int explore_memcmp(const void *a, const void *b, size_t size) {
    explore_plain_read(a, size);
    explore_plain_read(b, size);
    return memcmp(a, b, size);
}

/* ---- One schedule ---- */

void explore_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(failure, sizeof failure, format, arguments);
    va_end(arguments);
    failed = true;
    if (explore_running) {
        _longjmp(schedule_ended, 1);
    }
    if (checking) {
        _longjmp(check_failed, 1);
    }
    fprintf(stderr, "explore: %s: while it was set up: %s\n", scenario->name, failure);
    exit(2);
}

/* The first write to a page, an assertion of the code under test, or a wild access. */
static void on_signal(int number, siginfo_t *info, void *context) {
    (void)context;
    if (number == SIGSEGV && arena_fault(info->si_addr)) {
        return;
    }
    if (!explore_running && !checking) {
        (void)signal(number, SIG_DFL);
        return;
    }
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, number);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    if (number == SIGSEGV) {
        explore_fail("an access of the address %p", info->si_addr);
    }
    explore_fail("an assertion of the code does not hold");
}

static void make_threads(void) {
    for (unsigned t = 0; t < thread_count; t++) {
        ucontext_t *context = &threads[t].context;
        (void)getcontext(context);
        context->uc_stack.ss_sp = arena_stack(t, &context->uc_stack.ss_size);
        context->uc_link = NULL;
    }
}

static void run_threads(void) {
    for (unsigned t = 0; t < thread_count; t++) {
        threads[t].state = READY;
        threads[t].started = false;
        makecontext(&threads[t].context, (void (*)(void))(uintptr_t)thread_main, 1, (int)t);
    }
    if (_setjmp(schedule_ended) == 0) {
        explore_running = true;
        resume(ask(thread_count, 32768));
    }
    explore_running = false;
}

/* False: it showed a fault. */
static bool run_schedule(unsigned preemptions, unsigned stale) {
    arena_restore();
    memory_begin();
    failed = false;
    choice_count = 0;
    steps = 0;
    patience = 0;
    mutex_count = 0;
    explore_only_newest = false;
    preemptions_left = preemptions;
    stale_left = stale;
    run_threads();
    if (!failed && scenario->check != NULL) {
        checking = true;
        if (_setjmp(check_failed) == 0) {
            scenario->check(scenario_state);
        }
        checking = false;
    }
    return !failed;
}

static void install(void) {
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};
    (void)sigaction(SIGSEGV, &action, NULL);
    (void)sigaction(SIGILL, &action, NULL);
    (void)sigaction(SIGTRAP, &action, NULL);
}

static void begin(const explore_scenario *which) {
    install();
    scenario = which;
    thread_count = 0;
    while (thread_count < EXPLORE_THREADS && which->threads[thread_count] != NULL) {
        thread_count++;
    }
    arena_begin();
    memory_begin();
    scenario_state = which->setup();
    arena_seal();
    make_threads();
    memory_totals = (memory_figures){0};
    switches = 0;
}

/* ---- Search ---- */

/* The next sequence of answers; false: that was the last. */
static bool next_sequence(void) {
    while (choice_count > 0) {
        choice *c = &choices[choice_count - 1];
        if (c->answer + 1u < c->count) {
            c->answer++;
            choice_known = choice_count;
            return true;
        }
        choice_count--;
    }
    return false;
}

static void describe_path(explore_result *result, unsigned preemptions, unsigned stale) {
    size_t at =
        (size_t)snprintf(result->replay, sizeof result->replay, "path:%u:%u", preemptions, stale);
    for (uint32_t i = 0; i < choice_count && at < sizeof result->replay - 16; i++) {
        if (choices[i].answer > 0) {
            at += (size_t)snprintf(result->replay + at, sizeof result->replay - at, ",%u=%u", i,
                                   choices[i].answer);
        }
    }
}

static const unsigned bounds[][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {2, 0}, {2, 1},
                                     {1, 2}, {2, 2}, {3, 1}, {3, 2}, {2, 3}, {3, 3}};

static void depth_first(explore_result *result, const explore_limits *limits, double started) {
    mode = DEPTH_FIRST;
    for (size_t b = 0; b < sizeof bounds / sizeof bounds[0]; b++) {
        choice_known = 0;
        do {
            result->schedules++;
            if (!run_schedule(bounds[b][0], bounds[b][1])) {
                describe_path(result, bounds[b][0], bounds[b][1]);
                result->failed = true;
                return;
            }
            if (result->schedules >= limits->schedules ||
                ((result->schedules & 255) == 0 && seconds_now() - started > limits->seconds)) {
                return;
            }
        } while (next_sequence());
        result->preemptions = bounds[b][0];
        result->stale = bounds[b][1];
        result->whole = true;
    }
}

static bool walk(uint64_t seed) {
    static const uint32_t preempt_rates[] = {512, 2048, 8192, 24576};
    static const uint32_t stale_rates[] = {0, 1024, 8192, 24576, 50000, 60000};
    mode = WALK;
    chance = seed;
    preempt_rate = preempt_rates[draw() % 4];
    stale_rate = stale_rates[draw() % 6];
    oldest = draw() % 2 == 0;
    return run_schedule(WALK_PREEMPTIONS, WALK_STALE);
}

static void walks(explore_result *result, const explore_limits *limits, double started) {
    for (uint64_t n = 0; n < limits->schedules / 2; n++) {
        uint64_t seed = mix(limits->seed + n);
        result->schedules++;
        if (!walk(seed)) {
            (void)snprintf(result->replay, sizeof result->replay, "seed:%llu",
                           (unsigned long long)seed);
            result->failed = true;
            return;
        }
        if ((n & 255) == 0 && seconds_now() - started > limits->seconds / 2) {
            return;
        }
    }
}

explore_result explore_run(const explore_scenario *which, const explore_limits *limits) {
    explore_result result = {0};
    double started = seconds_now();
    begin(which);
    walks(&result, limits, started);
    if (!result.failed) {
        depth_first(&result, limits, started);
    }
    result.seconds = seconds_now() - started;
    result.stale_loads = memory_totals.stale_loads;
    result.switches = switches;
    memcpy(result.failure, failure, sizeof failure);
    if (result.failed && !limits->quiet) {
        printf("%s: %s\n  again with its steps: FEOX_MODEL_REPLAY='%s/%s'\n", which->name, failure,
               which->name, result.replay);
    }
    return result;
}

explore_result explore_replay(const explore_scenario *which, const char *replay, bool quiet) {
    explore_result result = {.schedules = 1};
    begin(which);
    explore_trace = !quiet;
    if (strncmp(replay, "seed:", 5) == 0) {
        result.failed = !walk(strtoull(replay + 5, NULL, 0));
    } else {
        unsigned limits[2] = {0, 0};
        int at = 0;
        (void)sscanf(replay, "path:%u:%u%n", &limits[0], &limits[1], &at);
        memset(choices, 0, sizeof choices);
        unsigned index, answer;
        for (int more; sscanf(replay + at, ",%u=%u%n", &index, &answer, &more) == 2; at += more) {
            choices[index % CHOICES_MAX] = (choice){.answer = (uint16_t)answer, .count = 0};
            choices[index % CHOICES_MAX].count = (uint16_t)(answer + 1);
        }
        mode = DEPTH_FIRST;
        choice_known = CHOICES_MAX;
        result.failed = !run_schedule(limits[0], limits[1]);
    }
    explore_trace = false;
    memcpy(result.failure, failure, sizeof failure);
    return result;
}
