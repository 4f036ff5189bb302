/* lockfree: the lock-free parts through many schedules and the stale loads that C11 allows
 * (explore.h): first the explorer itself, by litmus tests; then every scenario; then mutants: an
 * order weakened, a second look or a store left out, each of which a scenario must catch.
 *
 * FEOX_SEED=n          the seed of all random walks
 * FEOX_MODEL_ONLY=text only scenarios whose name has it, and their mutants
 * FEOX_MODEL_REPLAY    one schedule step by step, as printed by a failure
 * FEOX_MODEL_SWEEP=n   no test: weakens every order there is, one after the other, n schedules per
 *                      scenario, and says who noticed
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/litmus.h"
#include "sim/mutants.h"
#include "sim/scenarios.h"
#include "support/campaign.h"
#include "support/kit.h"

#define ALL_MAX 64u

static const explore_scenario *all[ALL_MAX];
static size_t all_count;
static uint64_t seed;

static void all_add(const explore_scenario *list, size_t count) {
    for (size_t i = 0; i < count && all_count < ALL_MAX; i++) {
        all[all_count++] = &list[i];
    }
}

static bool is_wanted(const explore_scenario *scenario) {
    const char *only = getenv("FEOX_MODEL_ONLY");
    return only == NULL || strstr(scenario->name, only) != NULL;
}

/* ---- The explorer ---- */

static void test_litmus(void **state) {
    (void)state;
    for (size_t i = 0; i < litmus_count; i++) {
        const litmus_test *test = &litmus_tests[i];
        const explore_limits limits = {20000, 2.0, seed, true};
        explore_result result = explore_run(&test->scenario, &limits);
        if (result.failed != test->seen || (!test->seen && !result.whole)) {
            print_error("%s: %s\n", test->scenario.name,
                        result.failed ? result.failure : "not seen");
            fail();
        }
        if (result.failed) { /* and what failed fails again */
            explore_result again = explore_replay(&test->scenario, result.replay, true);
            assert_true(again.failed);
            assert_string_equal(again.failure, result.failure);
        }
    }
}

/* ---- The code ---- */

static void test_schedules(void **state) {
    (void)state;
    bool is_long = getenv("FEOX_LONG") != NULL;
    uint64_t schedules = is_long ? 50000000 : 1100000;
    double seconds = is_long ? 600 : 30;
    size_t wanted = 0;
    campaign c;
    campaign_begin(&c, "C8 schedules");
    for (size_t i = 0; i < all_count; i++) {
        wanted += is_wanted(all[i]);
    }
    explore_result sum = {0};
    for (size_t i = 0; i < all_count; i++) {
        if (!is_wanted(all[i])) {
            continue;
        }
        /* What one does not use, those behind it may. */
        const explore_limits limits = {(schedules - sum.schedules) / wanted,
                                       (seconds - sum.seconds) / (double)wanted, seed, false};
        wanted--;
        explore_result r = explore_run(all[i], &limits);
        printf("%-26s %8llu schedules %9llu stale loads %d failures %6.1f s  ", all[i]->name,
               (unsigned long long)r.schedules, (unsigned long long)r.stale_loads, r.failed,
               r.seconds);
        printf("all with %u preemptions, %u stale\n", r.preemptions, r.stale);
        (void)fflush(stdout);
        sum.schedules += r.schedules;
        sum.stale_loads += r.stale_loads;
        sum.seconds += r.seconds;
        c.failures += r.failed;
    }
    printf("all with %llu stale loads, FEOX_SEED=%llu\n", (unsigned long long)sum.stale_loads,
           (unsigned long long)seed);
    c.cases = sum.schedules;
    campaign_end(&c);
    assert_int_equal(c.failures, 0);
}

/* ---- Mutants ---- */

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool is_alike(const explore_site *site, const mutant *m) {
    return ends_with(site->file, m->file) && strcmp(site->function, m->function) == 0 &&
           strcmp(site->operation, m->operation) == 0 &&
           strncmp(site->place, m->place, strlen(m->place)) == 0;
}

/* Which of those alike in its function a site is, from 1 on. */
static int number_of(const explore_site *site, const mutant *m) {
    int number = 1;
    for (const explore_site *s = __start_explore_sites; s < __stop_explore_sites; s++) {
        bool counted = false;
        for (const explore_site *t = __start_explore_sites; t < s; t++) {
            counted = counted || (is_alike(t, m) && t->line == s->line);
        }
        number += is_alike(s, m) && s->line < site->line && !counted;
    }
    return number;
}

static void sites_reset(void) {
    for (explore_site *s = __start_explore_sites; s < __stop_explore_sites; s++) {
        s->order = s->written;
        s->mutation = EXPLORE_AS_WRITTEN;
    }
}

/* How many places it changed. */
static int mutant_apply(const mutant *m) {
    int changed = 0;
    for (explore_site *s = __start_explore_sites; s < __stop_explore_sites; s++) {
        if (is_alike(s, m) && (m->number == 0 || number_of(s, m) == m->number)) {
            s->mutation = m->mutation;
            s->order = m->mutation == EXPLORE_AS_WRITTEN ? m->order : s->written;
            changed += s->mutation != EXPLORE_AS_WRITTEN || s->order != s->written;
        }
    }
    return changed;
}

static const char *mutation_name(explore_mutation mutation, explore_order order) {
    static const char *const orders[] = {"relaxed", "acquire", "release", "acq_rel", "seq_cst"};
    return mutation == EXPLORE_STUCK     ? "looks once"
           : mutation == EXPLORE_OMITTED ? "left out"
                                         : orders[order];
}

static void test_mutants(void **state) {
    (void)state;
    campaign c;
    campaign_begin(&c, "C8 mutants of orders");
    for (size_t i = 0; i < mutant_count; i++) {
        const mutant *m = &mutants[i];
        const explore_scenario *scenario = NULL;
        for (size_t k = 0; k < all_count; k++) {
            scenario = strcmp(all[k]->name, m->scenario) == 0 ? all[k] : scenario;
        }
        assert_non_null(scenario);
        if (!is_wanted(scenario)) {
            continue;
        }
        int changed = mutant_apply(m);
        explore_result r = {0};
        if (changed > 0) {
            const explore_limits limits = {100000, 600.0, 1, true};
            r = explore_run(scenario, &limits);
        }
        sites_reset();
        printf("%-22s %-8s %-30.30s %-10s %s by %s: %llu schedules, %s\n", m->function,
               m->operation, m->place, mutation_name(m->mutation, m->order),
               changed == 0 ? "NOT FOUND"
               : r.failed   ? "caught"
                            : "MISSED",
               m->scenario, (unsigned long long)r.schedules, r.failed ? r.failure : "");
        (void)fflush(stdout);
        c.cases++;
        c.faults += changed > 0;
        c.failures += !r.failed;
    }
    campaign_end(&c);
    assert_int_equal(c.failures, 0);
}

/* ---- By hand ---- */

/* A weaker order, as far as there is one; `from` the first time. */
static bool weaken(explore_site *site, int step) {
    static const explore_order below[5][2] = {
        [EXPLORE_ACQUIRE] = {EXPLORE_RELAXED, EXPLORE_SEQ_CST},
        [EXPLORE_RELEASE] = {EXPLORE_RELAXED, EXPLORE_SEQ_CST},
        [EXPLORE_ACQ_REL] = {EXPLORE_RELEASE, EXPLORE_ACQUIRE},
        [EXPLORE_SEQ_CST] = {EXPLORE_ACQ_REL, EXPLORE_SEQ_CST},
        [EXPLORE_RELAXED] = {EXPLORE_SEQ_CST, EXPLORE_SEQ_CST},
    };
    explore_order order = below[site->written][step];
    if (order == EXPLORE_SEQ_CST) {
        return false;
    }
    for (explore_site *s = __start_explore_sites; s < __stop_explore_sites; s++) {
        if (s->line == site->line && strcmp(s->file, site->file) == 0 &&
            strcmp(s->place, site->place) == 0) {
            s->order = order;
        }
    }
    return true;
}

static void sweep_one(explore_site *site, uint64_t schedules, const bool *reached) {
    for (int step = 0; step < 2 && weaken(site, step); step++) {
        const char *noticed = NULL;
        explore_order order = site->order;
        uint64_t spent = 0;
        for (size_t i = 0; i < all_count && noticed == NULL; i++) {
            if (reached[i] && is_wanted(all[i])) {
                const explore_limits limits = {schedules, 60, seed, true};
                explore_result r = explore_run(all[i], &limits);
                spent += r.schedules;
                noticed = r.failed ? all[i]->name : NULL;
            }
        }
        sites_reset();
        printf("%s:%d %s %s(%.40s) %s: %s after %llu\n", strrchr(site->file, '/') + 1, site->line,
               site->function, site->operation, site->place,
               mutation_name(EXPLORE_AS_WRITTEN, order), noticed != NULL ? noticed : "NOBODY",
               (unsigned long long)spent);
        (void)fflush(stdout);
    }
}

static int sweep(uint64_t schedules) {
    size_t sites = (size_t)(__stop_explore_sites - __start_explore_sites);
    bool *reached = calloc(sites * ALL_MAX, sizeof *reached);
    for (size_t i = 0; i < all_count && reached != NULL; i++) {
        for (size_t s = 0; s < sites; s++) {
            __start_explore_sites[s].reached = 0;
        }
        const explore_limits limits = {2000, 60, seed, true};
        (void)explore_run(all[i], &limits);
        for (size_t s = 0; s < sites; s++) {
            for (size_t t = 0; t < sites; t++) {
                reached[s * ALL_MAX + i] |=
                    __start_explore_sites[t].reached > 0 &&
                    __start_explore_sites[t].line == __start_explore_sites[s].line &&
                    strcmp(__start_explore_sites[t].file, __start_explore_sites[s].file) == 0;
            }
        }
    }
    for (size_t s = 0; s < sites && reached != NULL; s++) {
        explore_site *site = &__start_explore_sites[s];
        bool first = strstr(site->file, "/tests/") == NULL;
        for (size_t t = 0; t < s; t++) {
            const explore_site *other = &__start_explore_sites[t];
            first = first && !(other->line == site->line && strcmp(other->file, site->file) == 0 &&
                               strcmp(other->place, site->place) == 0);
        }
        if (first) {
            sweep_one(site, schedules, reached + s * ALL_MAX);
        }
    }
    free(reached);
    return 0;
}

static int replay(const char *what) {
    for (size_t i = 0; i < all_count; i++) {
        size_t size = strlen(all[i]->name);
        if (strncmp(what, all[i]->name, size) == 0 && what[size] == '/') {
            explore_result result = explore_replay(all[i], what + size + 1, false);
            printf("%s: %s\n", all[i]->name, result.failed ? result.failure : "passes");
            return result.failed;
        }
    }
    fprintf(stderr, "no such scenario: %s\n", what);
    return 2;
}

int main(void) {
    seed = kit_seed("lockfree");
    all_add(sim_base_scenarios, sim_base_count);
    all_add(sim_table_scenarios, sim_table_count);
    all_add(sim_order_scenarios, sim_order_count);
    all_add(sim_disk_scenarios, sim_disk_count);
    if (getenv("FEOX_MODEL_REPLAY") != NULL) {
        return replay(getenv("FEOX_MODEL_REPLAY"));
    }
    if (getenv("FEOX_MODEL_SWEEP") != NULL) {
        return sweep(strtoull(getenv("FEOX_MODEL_SWEEP"), NULL, 0));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_litmus),
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_mutants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
