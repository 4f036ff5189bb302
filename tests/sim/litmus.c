/* litmus: the explorer's own examination. Small programs whose outcomes under C11 are known, with
 * the names of the literature; each fails the schedule in which the outcome in question is seen.
 */
#include "sim/litmus.h"

#include "base/lock.h"

typedef struct cells {
    uint64_t x;
    uint8_t apart[56];
    uint64_t y;
    uint8_t apart_too[56];
    uint64_t data;
    uint64_t got[4];
    fx_spinlock lock;
    uint32_t first, second;
    fx_mutex mutexes[2];
} cells;

static void *cells_setup(void) {
    return explore_alloc(sizeof(cells));
}

/* MP: message passing. */

static void mp_release(void *state) {
    cells *c = state;
    fx_store_relaxed(&c->x, (uint64_t)1);
    fx_store_release(&c->y, (uint64_t)1);
}

static void mp_relaxed(void *state) {
    cells *c = state;
    fx_store_relaxed(&c->x, (uint64_t)1);
    fx_store_relaxed(&c->y, (uint64_t)1);
}

static void mp_acquirer(void *state) {
    cells *c = state;
    uint64_t y = fx_load_acquire(&c->y);
    explore_require(y == 0 || fx_load_relaxed(&c->x) == 1);
}

static void mp_relaxed_reader(void *state) {
    cells *c = state;
    uint64_t y = fx_load_relaxed(&c->y);
    explore_require(y == 0 || fx_load_relaxed(&c->x) == 1);
}

/* MP over a third thread's read-modify-write, which carries the release on. */
static void mp_adder(void *state) {
    cells *c = state;
    (void)fx_add_relaxed(&c->y, (uint64_t)2);
}

static void mp_third(void *state) {
    cells *c = state;
    uint64_t y = fx_load_acquire(&c->y);
    explore_require(y != 3 || fx_load_relaxed(&c->x) == 1);
}

/* SB: store buffering. */

static void sb_check(void *state) {
    cells *c = state;
    explore_require(c->got[0] == 1 || c->got[1] == 1);
}

static void sb_first(void *state) {
    cells *c = state;
    fx_store_seq_cst(&c->x, (uint64_t)1);
    c->got[0] = fx_load_seq_cst(&c->y);
}

static void sb_second(void *state) {
    cells *c = state;
    fx_store_seq_cst(&c->y, (uint64_t)1);
    c->got[1] = fx_load_seq_cst(&c->x);
}

static void sb_first_weak(void *state) {
    cells *c = state;
    fx_store_release(&c->x, (uint64_t)1);
    c->got[0] = fx_load_acquire(&c->y);
}

/* CoRR: two loads of one place never go back; across threads neither. */

static void coherence_writer(void *state) {
    cells *c = state;
    fx_store_relaxed(&c->x, (uint64_t)1);
    fx_store_relaxed(&c->x, (uint64_t)2);
}

static void coherence_reader(void *state) {
    cells *c = state;
    uint64_t one = fx_load_relaxed(&c->x);
    fx_store_release(&c->y, one);
    explore_require(fx_load_relaxed(&c->x) >= one);
}

static void coherence_third(void *state) {
    cells *c = state;
    uint64_t one = fx_load_acquire(&c->y);
    explore_require(fx_load_relaxed(&c->x) >= one);
}

/* IRIW: two readers disagree about the order of two writers. */

static void iriw_writer(void *state) {
    cells *c = state;
    fx_store_release(&c->x, (uint64_t)1);
    c->got[0] = fx_load_acquire(&c->y);
}

static void iriw_reader(void *state) {
    cells *c = state;
    c->got[1] = fx_load_acquire(&c->x);
    c->got[2] = fx_load_acquire(&c->y);
}

static void iriw_other(void *state) {
    cells *c = state;
    fx_store_release(&c->y, (uint64_t)1);
    c->got[3] = fx_load_acquire(&c->x);
}

/* Both writers miss the other's store while the reader has seen x and not y. */
static void iriw_check(void *state) {
    cells *c = state;
    explore_require(!(c->got[0] == 0 && c->got[3] == 0 && c->got[1] == 1 && c->got[2] == 0));
}

/* Read-modify-writes lose nothing. */

static void add_two(void *state) {
    cells *c = state;
    (void)fx_add_relaxed(&c->x, (uint64_t)1);
    uint64_t expected = 0;
    while (!fx_cas_acquire(&c->y, &expected, expected + 1)) {
    }
}

static void add_check(void *state) {
    cells *c = state;
    explore_require(c->x == 3 && c->y == 3);
}

/* Plain data behind a release, and behind nothing. */

static void plain_writer(void *state) {
    cells *c = state;
    explore_plain_write(&c->data, sizeof c->data);
    fx_store_release(&c->y, (uint64_t)1);
}

static void plain_reader(void *state) {
    cells *c = state;
    if (fx_load_acquire(&c->y) == 1) {
        explore_plain_read(&c->data, sizeof c->data);
    }
}

static void plain_careless(void *state) {
    cells *c = state;
    if (fx_load_relaxed(&c->y) == 1) {
        explore_plain_read(&c->data, sizeof c->data);
    }
}

/* Two bytes of one word, stored by two threads, keep each other and their release. */

static void bytes_first(void *state) {
    cells *c = state;
    fx_store_relaxed(&c->x, (uint64_t)1);
    fx_store_release(&c->first, 1u);
}

static void bytes_second(void *state) {
    cells *c = state;
    fx_store_relaxed(&c->second, 1u);
}

static void bytes_reader(void *state) {
    cells *c = state;
    uint32_t first = fx_load_acquire(&c->first);
    explore_require(first == 0 || fx_load_relaxed(&c->x) == 1);
}

/* Waiting ends, and a deadlock is one. */

static void wait_for_it(void *state) {
    cells *c = state;
    while (fx_load_acquire(&c->x) == 0) {
        fx_pause();
    }
}

static void lock_one_two(void *state) {
    cells *c = state;
    fx_mutex_lock(&c->mutexes[0]);
    fx_mutex_lock(&c->mutexes[1]);
    fx_mutex_unlock(&c->mutexes[1]);
    fx_mutex_unlock(&c->mutexes[0]);
}

static void lock_two_one(void *state) {
    cells *c = state;
    fx_mutex_lock(&c->mutexes[1]);
    fx_mutex_lock(&c->mutexes[0]);
    fx_mutex_unlock(&c->mutexes[0]);
    fx_mutex_unlock(&c->mutexes[1]);
}

const litmus_test litmus_tests[] = {
    {false, {"MP, release and acquire", cells_setup, {mp_release, mp_acquirer, NULL}, NULL}},
    {true, {"MP, relaxed store", cells_setup, {mp_relaxed, mp_acquirer, NULL}, NULL}},
    {true, {"MP, relaxed load", cells_setup, {mp_release, mp_relaxed_reader, NULL}, NULL}},
    {false, {"MP, over an update", cells_setup, {mp_release, mp_adder, mp_third}, NULL}},
    {false, {"SB, seq_cst", cells_setup, {sb_first, sb_second, NULL}, sb_check}},
    {true, {"SB, one side weaker", cells_setup, {sb_first_weak, sb_second, NULL}, sb_check}},
    {false, {"CoRR", cells_setup, {coherence_writer, coherence_reader, coherence_third}, NULL}},
    {true, {"IRIW", cells_setup, {iriw_writer, iriw_reader, iriw_other}, iriw_check}},
    {false, {"updates", cells_setup, {add_two, add_two, add_two}, add_check}},
    {false, {"plain, ordered", cells_setup, {plain_writer, plain_reader, NULL}, NULL}},
    {true, {"plain, not ordered", cells_setup, {plain_writer, plain_careless, NULL}, NULL}},
    {false, {"bytes of a word", cells_setup, {bytes_first, bytes_second, bytes_reader}, NULL}},
    {false, {"waiting", cells_setup, {wait_for_it, coherence_writer, wait_for_it}, NULL}},
    {true, {"waiting for ever", cells_setup, {wait_for_it, bytes_second, NULL}, NULL}},
    {true, {"deadlock", cells_setup, {lock_one_two, lock_two_one, NULL}, NULL}},
};
const size_t litmus_count = sizeof litmus_tests / sizeof litmus_tests[0];
