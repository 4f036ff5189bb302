/* The command is killed with SIGKILL at a random moment of an import, again and again in one file.
 * Afterwards the file must verify and hold a prefix: the state before, with the first n of the
 * import's records over it, for one n. FEOX_SEED repeats a run; FEOX_LONG makes it 200 kills. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/campaign.h"
#include "support/command.h"

enum { KEYS = 100000 };

/* The import that wrote each key last; 0: it is not there. */
static unsigned round_of[KEYS];
static uint64_t random_state;

static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* A process that writes the records and then waits for its end, so that no import is over early. */
static pid_t feed(int pipe_read, int pipe_write, unsigned round) {
    pid_t child = fork();
    if (child != 0) {
        return child;
    }
    (void)close(pipe_read);
    for (unsigned i = 0; i < KEYS; i++) {
        char line[32];
        int size = snprintf(line, sizeof line, "%06u\t%u\n", i, round);
        if (write(pipe_write, line, (size_t)size) != size) {
            _exit(0);
        }
    }
    for (;;) {
        (void)pause();
    }
}

static void import_and_kill(unsigned round) {
    static const char *const words[] = {"s.feox",    "import",  "-", "--format",
                                        "delimited", "--value", "2", NULL};
    struct timespec nap = {0, (long)(random_next() % 250) * 1000000};
    int ends[2];
    int status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t feeder = feed(ends[0], ends[1], round);
    assert_true(feeder > 0);
    (void)close(ends[1]);
    int importer = command_start(ends[0], words);
    (void)close(ends[0]);
    (void)nanosleep(&nap, NULL);
    assert_int_equal(kill(importer, SIGKILL), 0);
    assert_int_equal(waitpid(importer, &status, 0), importer);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    (void)kill(feeder, SIGKILL);
    (void)waitpid(feeder, &status, 0);
}

/* Reads the file's state, and proves that it is round_of with a prefix of this round over it. */
static void verify(unsigned round) {
    const command_result *result = command_output(0, "scan", NULL);
    const char *at = result->out;
    unsigned survived = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        /* strtoul and not sscanf, which measures the whole text at every call. */
        char *end = NULL;
        unsigned value = 0;
        if (strtoul(at, &end, 10) == i && *end == '\t') {
            value = (unsigned)strtoul(end + 1, &end, 10);
            at = end + 1;
        }
        if (value == round && survived == i) {
            survived++;
        } else if (value != round_of[i]) {
            fail_msg("round %u: key %u has the value of round %u instead of %u; %u survived", round,
                     i, value, round_of[i], survived);
        }
        round_of[i] = value;
    }
    assert_string_equal(at, "");
}

static void kill_imports(void **state) {
    unsigned rounds = getenv("FEOX_LONG") != NULL ? 200 : 12;
    (void)state;
    campaign c;
    campaign_begin(&c, "C2 kills, import");
    for (unsigned round = 1; round <= rounds; round++) {
        import_and_kill(round);
        c.faults++;
        if (access("s.feox", F_OK) != 0) {
            assert_int_equal(round_of[0], 0);
        } else {
            const command_result *result = command_output(0, "check", NULL);
            assert_non_null(strstr(result->out, ", 0 problems\n"));
            verify(round);
        }
        c.cases++;
    }
    /* And it takes writes. */
    command_expect(0, "", "set", "000000", "0", NULL);
    command_expect(0, "0", "get", "000000", NULL);
    campaign_end(&c);
}

int main(void) {
    const char *seed = getenv("FEOX_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
    random_state |= 1;
    printf("FEOX_SEED=%llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {cmocka_unit_test(kill_imports)};
    return cmocka_run_group_tests(tests, command_setup, command_teardown);
}
