/* The checker of histories must be able to fail: known histories, good ones and bad ones, and
 * random ones, which are good as long as nobody tampers with an answer.
 */
#define _GNU_SOURCE
#include "support/kit.h"
#include "support/wgl.h"

static fx_wgl *wgl;

/* Stamps are also the time: one stamp is a millisecond. */
static fx_op call(fx_op_kind kind, uint64_t called, uint64_t returned, feox_status status) {
    return (fx_op){.kind = kind,
                   .called = called,
                   .returned = returned,
                   .called_ns = called * 1000000u,
                   .returned_ns = returned * 1000000u,
                   .status = status,
                   .out_ttl_ms = -1};
}

static fx_op set(uint64_t called, uint64_t returned, int64_t number) {
    fx_op op = call(FX_OP_SET, called, returned, FEOX_OK);
    op.to = number;
    return op;
}

static fx_op read_of(uint64_t called, uint64_t returned, int64_t number) {
    fx_op op = call(FX_OP_READ, called, returned, FEOX_OK);
    op.out = number;
    return op;
}

static fx_op missed(uint64_t called, uint64_t returned) {
    return call(FX_OP_READ, called, returned, FEOX_NOT_FOUND);
}

static fx_op swap(uint64_t called, uint64_t returned, int64_t from, int64_t to,
                  feox_status status) {
    fx_op op = call(FX_OP_SWAP, called, returned, status);
    op.from = from;
    op.to = to;
    return op;
}

static fx_op add(uint64_t called, uint64_t returned, int64_t sum) {
    fx_op op = call(FX_OP_ADD, called, returned, FEOX_OK);
    op.to = 1;
    op.out = sum;
    return op;
}

static fx_op expire(uint64_t called, uint64_t returned, uint64_t ttl_ms, feox_status status) {
    fx_op op = call(FX_OP_EXPIRE, called, returned, status);
    op.ttl_ms = ttl_ms;
    return op;
}

static fx_op with_flags(fx_op op, uint32_t flags) {
    op.flags |= flags;
    return op;
}

static fx_op with_version(fx_op op, uint64_t version, bool created) {
    op.versioned = true;
    op.out_version = version;
    op.created = created;
    return op;
}

static fx_op if_version(fx_op op, uint64_t expected) {
    op.flags |= FEOX_IF_VERSION;
    op.expected = expected;
    return op;
}

static fx_op never_returned(fx_op op) {
    op.pending = true;
    return op;
}

#define GOOD(...)                                                                                  \
    do {                                                                                           \
        const fx_op ops[] = {__VA_ARGS__};                                                         \
        assert_int_equal(fx_wgl_check(wgl, ops, sizeof ops / sizeof *ops), FX_LINEARIZABLE);       \
    } while (0)
#define BAD(...)                                                                                   \
    do {                                                                                           \
        const fx_op ops[] = {__VA_ARGS__};                                                         \
        assert_int_equal(fx_wgl_check(wgl, ops, sizeof ops / sizeof *ops), FX_NOT_LINEARIZABLE);   \
    } while (0)

static void reads(void **state) {
    (void)state;
    GOOD(missed(1, 2));
    BAD(read_of(1, 2, 0));
    GOOD(set(1, 2, 7), read_of(3, 4, 7));
    BAD(set(1, 2, 7), missed(3, 4));
    BAD(set(1, 2, 7), read_of(3, 4, FX_WGL_GARBAGE));
    /* Stale: the new value was there before the read began. */
    BAD(set(1, 2, 7), set(3, 4, 8), read_of(5, 6, 7));
    GOOD(set(1, 2, 7), set(3, 6, 8), read_of(4, 5, 7));
    GOOD(set(1, 2, 7), set(3, 6, 8), read_of(4, 5, 8));
    /* Back in time: two reads during one write, the later one sees the older value. */
    BAD(set(1, 2, 7), set(3, 10, 8), read_of(4, 5, 8), read_of(6, 7, 7));
    GOOD(set(1, 2, 7), set(3, 10, 8), read_of(4, 7, 8), read_of(5, 6, 7));
    /* Two readers do not agree on the order of two writes. */
    BAD(set(1, 10, 7), set(2, 11, 8), read_of(12, 13, 7), read_of(14, 15, 8));
    BAD(set(1, 20, 7), set(2, 21, 8), read_of(3, 4, 7), read_of(5, 6, 8), read_of(7, 8, 7));
}

static void writes(void **state) {
    (void)state;
    const fx_op gone = call(FX_OP_DELETE, 3, 4, FEOX_OK);
    GOOD(set(1, 2, 7), gone, missed(5, 6));
    BAD(set(1, 2, 7), gone, read_of(5, 6, 7)); /* resurrected */
    BAD(set(1, 2, 7), gone, call(FX_OP_DELETE, 5, 6, FEOX_OK));
    GOOD(set(1, 2, 7), gone, call(FX_OP_DELETE, 5, 6, FEOX_NOT_FOUND));
    /* Lost update: two increments, one sum. */
    BAD(add(1, 4, 1), add(2, 3, 1));
    GOOD(add(1, 4, 2), add(2, 3, 1), read_of(5, 6, 2));
    BAD(add(1, 4, 2), add(2, 3, 1), read_of(5, 6, 1));
    /* A swap has one winner. */
    BAD(set(1, 2, 7), swap(3, 6, 7, 8, FEOX_OK), swap(4, 5, 7, 9, FEOX_OK));
    GOOD(set(1, 2, 7), swap(3, 6, 7, 8, FEOX_OK), swap(4, 5, 7, 9, FEOX_MISMATCH));
    GOOD(set(1, 2, 7), swap(3, 6, 7, 8, FEOX_OK), swap(4, 5, 8, 7, FEOX_OK), read_of(7, 8, 7));
    BAD(set(1, 2, 7), swap(3, 4, 7, 8, FEOX_MISMATCH)); /* refused without a reason */
    BAD(swap(1, 2, 7, 8, FEOX_MISMATCH));
    /* So has "if absent". */
    BAD(with_flags(set(1, 4, 7), FEOX_IF_ABSENT), with_flags(set(2, 3, 8), FEOX_IF_ABSENT));
    GOOD(with_flags(set(1, 2, 7), FEOX_IF_ABSENT),
         with_flags(call(FX_OP_SET, 3, 4, FEOX_EXISTS), FEOX_IF_ABSENT));
    BAD(with_flags(set(1, 2, 7), FEOX_IF_PRESENT));
    /* A refusal changes nothing, and is always allowed. */
    GOOD(call(FX_OP_SET, 1, 2, FEOX_ERR_MEMORY), missed(3, 4));
    BAD(call(FX_OP_SET, 1, 2, FEOX_ERR_MEMORY), read_of(3, 4, 0));
    BAD(call(FX_OP_SET, 1, 2, FEOX_ERR_IO));
}

static void versions(void **state) {
    (void)state;
    const fx_op info = call(FX_OP_INFO, 5, 6, FEOX_OK);
    GOOD(with_version(set(1, 2, 7), 5, true), with_version(set(3, 4, 8), 6, false));
    BAD(with_version(set(1, 2, 7), 5, true), with_version(set(3, 4, 8), 5, false));
    BAD(with_version(set(1, 2, 7), 5, true), with_version(set(3, 4, 8), 6, true));
    BAD(with_version(set(1, 2, 7), 5, false));
    GOOD(with_version(set(1, 2, 7), 5, true), with_version(info, 5, false));
    BAD(with_version(set(1, 2, 7), 5, true), with_version(info, 4, false));
    /* They rise over a delete. */
    BAD(with_version(set(1, 2, 7), 5, true),
        with_version(call(FX_OP_DELETE, 3, 4, FEOX_OK), 6, false),
        with_version(set(5, 6, 7), 6, true));
    GOOD(with_version(set(1, 2, 7), 5, true), if_version(set(3, 4, 8), 5), read_of(5, 6, 8));
    BAD(with_version(set(1, 2, 7), 5, true), if_version(set(3, 4, 8), 4));
    BAD(with_version(set(1, 2, 7), 5, true), if_version(call(FX_OP_SET, 3, 4, FEOX_MISMATCH), 5));
    /* Two writes on condition of the same version. */
    BAD(with_version(set(1, 2, 7), 5, true), if_version(set(3, 6, 8), 5),
        if_version(set(4, 5, 9), 5));
}

static void times_to_live(void **state) {
    (void)state;
    const fx_op mortal = expire(3, 4, 10, FEOX_OK); /* ends between 13 and 14 */
    GOOD(set(1, 2, 7), mortal, read_of(5, 6, 7), missed(20, 21));
    BAD(set(1, 2, 7), mortal, missed(5, 6));       /* too early */
    BAD(set(1, 2, 7), mortal, read_of(20, 21, 7)); /* too late */
    GOOD(set(1, 2, 7), mortal, missed(12, 13));
    GOOD(set(1, 2, 7), mortal, read_of(12, 15, 7));
    /* Expired, and then there again. */
    BAD(set(1, 2, 7), mortal, missed(11, 13), read_of(14, 15, 7));
    BAD(set(1, 2, 7), mortal, expire(11, 16, 0, FEOX_OK), missed(12, 14), read_of(17, 18, 7));
    GOOD(set(1, 2, 7), mortal, expire(11, 16, 0, FEOX_OK), read_of(17, 18, 7));
    GOOD(set(1, 2, 7), mortal, expire(11, 16, 0, FEOX_NOT_FOUND), missed(12, 14));
    /* An insert takes the time to live away, a swap keeps it. */
    GOOD(set(1, 2, 7), mortal, set(5, 6, 8), read_of(20, 21, 8));
    GOOD(set(1, 2, 7), mortal, swap(5, 6, 7, 8, FEOX_OK), missed(20, 21));
    BAD(set(1, 2, 7), mortal, swap(5, 6, 7, 8, FEOX_OK), read_of(20, 21, 8));
    GOOD(set(1, 2, 7), mortal, with_flags(swap(5, 6, 7, 8, FEOX_OK), FEOX_CLEAR_TTL),
         read_of(20, 21, 8));
    BAD(set(1, 2, 7), mortal, with_flags(set(5, 6, 8), FEOX_KEEP_TTL), read_of(20, 21, 8));
    fx_op left = call(FX_OP_TTL, 5, 6, FEOX_OK);
    BAD(set(1, 2, 7), mortal, left); /* "never" */
    left.out_ttl_ms = 9;
    GOOD(set(1, 2, 7), mortal, left);
    left.out_ttl_ms = 0;
    BAD(set(1, 2, 7), mortal, left);
    left.out_ttl_ms = 11;
    BAD(set(1, 2, 7), mortal, left);
}

static void crashes(void **state) {
    (void)state;
    const fx_op crash = call(FX_OP_CRASH, 10, 11, FEOX_OK);
    const fx_op flush = call(FX_OP_FLUSH, 5, 6, FEOX_OK);
    fx_op durable = with_flags(set(3, 4, 8), FEOX_DURABLE);
    /* What is not durable may be lost, or not. */
    GOOD(set(1, 2, 7), crash, missed(12, 13));
    GOOD(set(1, 2, 7), crash, read_of(12, 13, 7));
    GOOD(set(1, 2, 7), set(3, 4, 8), crash, read_of(12, 13, 7));
    BAD(set(1, 2, 7), crash, read_of(12, 13, 8));
    BAD(set(1, 2, 7), crash, read_of(12, 13, 7), missed(14, 15));
    BAD(set(1, 2, 7), durable, crash, read_of(12, 13, 7));
    BAD(durable, crash, missed(12, 13));
    GOOD(set(1, 2, 7), durable, crash, read_of(12, 13, 8));
    BAD(set(1, 2, 7), flush, crash, missed(12, 13));
    GOOD(flush, set(7, 8, 7), crash, missed(12, 13));
    /* Under way at the crash: it happened or not, but not later, and not if it was seen. */
    durable = never_returned(with_flags(set(3, 10, 8), FEOX_DURABLE));
    GOOD(set(1, 2, 7), flush, durable, crash, read_of(12, 13, 7));
    GOOD(set(1, 2, 7), flush, durable, crash, read_of(12, 13, 8));
    BAD(set(1, 2, 7), flush, durable, crash, read_of(12, 13, 7), read_of(14, 15, 8));
    BAD(set(1, 2, 7), flush, durable, read_of(5, 7, 8), crash, read_of(12, 13, 7));
    GOOD(set(1, 2, 7), flush, durable, read_of(5, 7, 8), crash, read_of(12, 13, 8));
    /* An increment under way is counted once at most. */
    fx_op more = never_returned(with_flags(add(3, 10, 0), FEOX_DURABLE));
    GOOD(set(1, 2, 7), flush, more, crash, read_of(12, 13, 8));
    BAD(set(1, 2, 7), flush, more, crash, read_of(12, 13, 9));
}

/* Threads that call at random on a real key of the model, each call taking effect at a random stamp
 * inside its interval: linearizable by construction. Then one answer is changed. */
static size_t make_history(uint64_t *random, fx_op *ops, size_t threads, size_t calls) {
    uint64_t at[16] = {0};
    size_t count = 0;
    int64_t number = 0;
    bool present = false;
    uint64_t clock = 0;
    for (size_t i = 0; i < threads * calls; i++) {
        size_t t = (size_t)kit_below(random, threads);
        clock += 10; /* the moment of effect; intervals reach up to 40 to both sides */
        uint64_t called = clock - kit_below(random, clock < 40 ? clock : 40);
        called = called > at[t] ? called : at[t] + 1;
        if (called >= clock) {
            continue; /* the thread is still in its call before */
        }
        fx_op op = call(FX_OP_READ, called * 100 + t, 0, FEOX_OK);
        uint64_t what = kit_below(random, 4);
        at[t] = clock + kit_below(random, 40);
        op.returned = at[t] * 100 + 50 + t;
        op.kind = what == 0   ? FX_OP_SET
                  : what == 1 ? FX_OP_DELETE
                  : what == 2 ? FX_OP_SWAP
                              : FX_OP_READ;
        op.from = (int64_t)kit_below(random, 3);
        op.to = (int64_t)kit_below(random, 3);
        op.out = number;
        bool needs = op.kind != FX_OP_SET;
        op.status = needs && !present                            ? FEOX_NOT_FOUND
                    : op.kind == FX_OP_SWAP && number != op.from ? FEOX_MISMATCH
                                                                 : FEOX_OK;
        if (op.status == FEOX_OK && op.kind != FX_OP_READ) {
            present = op.kind != FX_OP_DELETE;
            number = op.to;
        }
        ops[count++] = op;
    }
    return count;
}

static void random_histories(void **state) {
    (void)state;
    uint64_t random = kit_seed("random_histories");
    uint64_t visited = 0;
    uint64_t caught = 0;
    uint64_t rounds = KIT_SLOW ? 300 : 3000;
    for (uint64_t round = 0; round < rounds; round++) {
        fx_op ops[128];
        size_t count = make_history(&random, ops, 8, 16);
        assert_int_equal(fx_wgl_check(wgl, ops, count), FX_LINEARIZABLE);
        visited += fx_wgl_visited(wgl);
        /* A number that was never written is always caught, another one often. */
        fx_op *victim = &ops[kit_below(&random, count)];
        if (victim->kind == FX_OP_READ && victim->status == FEOX_OK) {
            int64_t was = victim->out;
            victim->out = (was + 1) % 3;
            caught += fx_wgl_check(wgl, ops, count) == FX_NOT_LINEARIZABLE;
            victim->out = 77;
            assert_int_equal(fx_wgl_check(wgl, ops, count), FX_NOT_LINEARIZABLE);
        }
    }
    printf("%llu histories, %llu states, %llu small changes caught\n", (unsigned long long)rounds,
           (unsigned long long)visited, (unsigned long long)caught);
    assert_true(caught > 0);
}

static int setup(void **state) {
    (void)state;
    wgl = fx_wgl_create();
    return wgl != NULL ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    fx_wgl_destroy(wgl);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),    cmocka_unit_test(writes),
        cmocka_unit_test(versions), cmocka_unit_test(times_to_live),
        cmocka_unit_test(crashes),  cmocka_unit_test(random_histories),
    };
    return cmocka_run_group_tests_name("model/wgl", tests, setup, teardown);
}
