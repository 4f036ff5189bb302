/* Openers that race for one file: exactly one gets it, whether it is there or is to be made, and
 * the others are told FEOX_ERR_BUSY; what the winner writes is there afterwards. Threads of one
 * process, and processes. Pairs race in many places at once, because the losers wait a quarter of a
 * second for a process that may just be ending. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/campaign.h"
#include "support/kit.h"

enum { RACERS_MAX = 6, PLACES_MAX = 50, ROUNDS_EACH = 5 };

typedef struct race {
    pthread_barrier_t start;
    pthread_barrier_t answered; /* nobody closes before all have tried */
    char path[200];
    _Atomic int winners;
    _Atomic int others; /* anything but a winner and FEOX_ERR_BUSY */
} race;

static void race_once(race *r) {
    feox_store *store = NULL;
    const uint64_t key = 1;
    (void)pthread_barrier_wait(&r->start);
    feox_options options;
    feox_options_init(&options);
    options.file_size_limit = 4 << 20; /* a short file is made quickly */
    feox_status status = feox_open(r->path, &options, &store);
    if (status == FEOX_OK) {
        bool fine = feox_insert(store, &key, sizeof key, "x", 1) == FEOX_OK;
        atomic_fetch_add(fine ? &r->winners : &r->others, 1);
    } else if (status != FEOX_ERR_BUSY || store != NULL) {
        (void)fprintf(stderr, "racer: %s %s\n", feox_status_name(status), feox_last_error());
        atomic_fetch_add(&r->others, 1);
    }
    (void)pthread_barrier_wait(&r->answered);
    if (feox_close(store) != FEOX_OK) {
        atomic_fetch_add(&r->others, 1);
    }
}

static void *race_thread(void *argument) {
    race_once(argument);
    return NULL;
}

static void run_threads(race *races, unsigned places, unsigned racers) {
    pthread_t threads[PLACES_MAX * 2 + RACERS_MAX];
    for (unsigned i = 0; i < places * racers; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race_thread, &races[i / racers]), 0);
    }
    for (unsigned i = 0; i < places * racers; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

static void run_processes(race *races, unsigned places, unsigned racers) {
    pid_t children[PLACES_MAX * 2 + RACERS_MAX];
    (void)fflush(NULL);
    for (unsigned i = 0; i < places * racers; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            (void)alarm(60);
            race_once(&races[i / racers]);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < places * racers; i++) {
        int status = -1;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
}

static void expect_one_winner(const race *r, bool last) {
    assert_int_equal(atomic_load(&r->winners), 1);
    assert_int_equal(atomic_load(&r->others), 0);
    if (!last) {
        return;
    }
    feox_store *store = NULL;
    uint64_t count = 0;
    assert_ok(feox_open(r->path, NULL, &store));
    assert_ok(feox_count(store, &count));
    assert_int_equal(count, 1);
    assert_ok(kit_check(store));
    assert_ok(feox_close(store));
    assert_int_equal(unlink(r->path), 0);
}

/* `rounds` times in each of `places`: for a file that is to be made, and then for that file. */
static void race_all(const char *name, void (*run)(race *, unsigned, unsigned), unsigned places,
                     unsigned racers, unsigned rounds) {
    campaign c;
    campaign_begin(&c, name);
    pthread_barrierattr_t shared;
    race *races = mmap(NULL, places * sizeof *races, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(races != MAP_FAILED);
    assert_int_equal(pthread_barrierattr_init(&shared), 0);
    assert_int_equal(pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED), 0);
    for (unsigned i = 0; i < places; i++) {
        assert_int_equal(pthread_barrier_init(&races[i].start, &shared, racers), 0);
        assert_int_equal(pthread_barrier_init(&races[i].answered, &shared, racers), 0);
    }
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < places; i++) {
            race *r = &races[i];
            if (round % ROUNDS_EACH == 0) {
                int length = snprintf(r->path, sizeof r->path, "%s", fx_temp_fresh("race"));
                assert_true(length > 0 && (size_t)length < sizeof r->path);
            }
            atomic_store(&r->winners, 0);
        }
        run(races, places, racers);
        for (unsigned i = 0; i < places; i++) {
            expect_one_winner(&races[i], round % ROUNDS_EACH == ROUNDS_EACH - 1);
            c.cases++;
        }
    }
    campaign_end(&c);
    assert_int_equal(munmap(races, places * sizeof *races), 0);
}

static unsigned places(void) {
    return KIT_SLOW ? PLACES_MAX / 5 : PLACES_MAX;
}

static unsigned rounds(void) {
    return kit_env_number("FEOX_LONG", 0) != 0 ? 100 : KIT_SLOW ? ROUNDS_EACH : 2 * ROUNDS_EACH;
}

static void one_of_two_threads_wins(void **state) {
    (void)state;
    race_all("C18 two openers, threads", run_threads, places(), 2, rounds());
}

static void one_of_two_processes_wins(void **state) {
    (void)state;
    race_all("C18 two openers, processes", run_processes, places(), 2, rounds());
}

static void one_of_many_threads_wins(void **state) {
    (void)state;
    race_all("C18 six openers, threads", run_threads, 4, RACERS_MAX, ROUNDS_EACH);
}

static void one_of_many_processes_wins(void **state) {
    (void)state;
    race_all("C18 six openers, processes", run_processes, 4, RACERS_MAX, ROUNDS_EACH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_two_threads_wins),
        cmocka_unit_test(one_of_two_processes_wins),
        cmocka_unit_test(one_of_many_threads_wins),
        cmocka_unit_test(one_of_many_processes_wins),
    };
    return cmocka_run_group_tests_name("fault/openers", tests, NULL, NULL);
}
