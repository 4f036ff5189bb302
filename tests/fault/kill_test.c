/* SIGKILL at any moment: the file opens by itself, holds a prefix of what was done, and everything
 * that was acknowledged as durable.
 *
 * A child writes until it is killed; the parent opens the file and compares it with what the child
 * had been promised (support/prefix.h, support/ledger.h); then the next child goes on, on the same
 * file, from that state. FEOX_KILLS is the number of rounds (default 15, with FEOX_LONG=1 300),
 * FEOX_SEED the seed.
 * What this cannot show: a killed process leaves the system's caches as they are, so a write that
 * was not flushed is there all the same. fault/shutdown is for that.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/campaign.h"
#include "support/kit.h"
#include "support/ledger.h"
#include "support/prefix.h"
#include "support/victim.h"

static uint64_t kills(void) {
    return kit_env_number("FEOX_KILLS", getenv("FEOX_LONG") != NULL ? 300 : KIT_SLOW ? 8 : 15);
}

/* Some die while opening, most while writing. */
static void run_and_kill(const victim_job *job, uint64_t round, uint64_t *random) {
    pid_t pid = victim_start(job);
    kit_sleep_ms((unsigned)kit_below(random, round % 5 == 4 ? 5 : KIT_SLOW ? 200 : 60));
    victim_kill(pid);
}

static void kill_writers(uint64_t writers, const char *name, const char *campaign_name) {
    campaign c;
    campaign_begin(&c, campaign_name);
    uint64_t random = kit_seed(name);
    prefix_run *run = prefix_new(random, writers);
    victim_job job = {.path = fx_temp_fresh("killed"), .work = prefix_work, .context = run};
    for (uint64_t round = 0; round < kills(); round++) {
        kit_options_init(&job.options);
        job.options.flush_interval_ms = round % 3 == 0 ? 1 : 0;
        job.options.memory_limit = round % 4 == 3 ? 8 << 20 : 0;
        prefix_set_rhythm(
            run, (prefix_rhythm){1 + kit_below(&random, round % 5 == 0 ? 3 : 500), round % 2 == 1});
        run_and_kill(&job, round, &random);
        feox_store *store = victim_open(job.path, &job.options);
        prefix_verify(run, store);
        assert_ok(kit_check(store));
        assert_ok(feox_close(store));
        c.cases++;
        c.faults++;
    }
    printf("%llu operations\n", (unsigned long long)prefix_total(run));
    campaign_end(&c);
    prefix_free(run);
    fx_file_remove(job.path);
}

static void one_writer_leaves_a_prefix(void **state) {
    (void)state;
    kill_writers(1, "one_writer_leaves_a_prefix", "C2 kills, one writer");
}

static void four_writers_leave_a_prefix_each(void **state) {
    (void)state;
    kill_writers(PREFIX_WRITERS_MAX, "four_writers_leave_a_prefix_each", "C2 kills, four writers");
}

/* Sixteen threads that each wait for their own increment to be durable, before they try the next.
 */
static void acknowledged_increments_are_there(void **state) {
    (void)state;
    campaign c;
    campaign_begin(&c, "C2 kills, increments");
    uint64_t random = kit_seed("acknowledged_increments_are_there");
    ledger *l = ledger_new();
    victim_job job = {.path = fx_temp_fresh("counted"), .work = ledger_work, .context = l};
    for (uint64_t round = 0; round < kills(); round++) {
        bool flagged = round % 2 == 0;
        kit_options_init(&job.options);
        job.options.durability = flagged ? FEOX_DURABILITY_RELAXED : FEOX_DURABILITY_DURABLE;
        if (job.options.io_backend == FEOX_IO_AUTO && round % 4 >= 2) {
            job.options.io_backend = FEOX_IO_THREADS;
        }
        ledger_flag(l, flagged);
        run_and_kill(&job, round, &random);
        feox_store *store = victim_open(job.path, &job.options);
        assert_ok(kit_check(store));
        ledger_verify(l, store);
        assert_ok(feox_close(store));
        c.cases++;
        c.faults++;
    }
    printf("%llu increments acknowledged\n", (unsigned long long)ledger_total(l));
    campaign_end(&c);
    ledger_free(l);
    fx_file_remove(job.path);
}

/* Killed before and while the file is made: nothing, or an empty store; never a refusal. */
static void killed_while_creating(void **state) {
    (void)state;
    campaign c;
    campaign_begin(&c, "C2 kills, creating");
    uint64_t random = kit_seed("killed_while_creating");
    for (uint64_t round = 0; round < kills(); round++) {
        const char *path = fx_temp_fresh("created");
        fflush(stdout);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            feox_store *store = NULL;
            feox_open(path, NULL, &store);
            pause();
            _exit(0);
        }
        struct timespec time = {0, (long)kit_below(&random, 3000000)};
        nanosleep(&time, NULL);
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        feox_store *store = victim_open(path, NULL);
        uint64_t count = 1;
        assert_ok(feox_count(store, &count));
        assert_int_equal(count, 0);
        assert_ok(kit_check(store));
        assert_ok(feox_close(store));
        fx_file_remove(path);
        c.cases++;
        c.faults++;
    }
    campaign_end(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_writer_leaves_a_prefix),
        cmocka_unit_test(four_writers_leave_a_prefix_each),
        cmocka_unit_test(acknowledged_increments_are_there),
        cmocka_unit_test(killed_while_creating),
    };
    return cmocka_run_group_tests_name("fault/kill", tests, NULL, NULL);
}
