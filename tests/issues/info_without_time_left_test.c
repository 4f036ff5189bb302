/* Was: feox_info could say of a key that it is there and has 0 ms left, because it looked at the
 * clock once more after it had found the key alive.
 *
 * The call is stopped behind each of its instructions in turn while two hours pass. */
#define _GNU_SOURCE
#include "support/kit.h"
#include "support/nudge.h"
#include "support/shifted.h"

typedef struct scene {
    uint64_t hold_at, steps;
} scene;

static bool hold(void *context) {
    scene *s = context;
    if (++s->steps < s->hold_at) {
        return false;
    }
    atomic_fetch_add(&fx_shifted_seconds, 7200);
    return true;
}

static void what_is_there_has_time_left(void **state) {
    kit *k = *state;
    scene s = {0};
    uint64_t found = 0;
    uint64_t steps = 0;
    bool more = true;
    for (uint64_t n = 1; more; n += 3) {
        feox_key_info info;
        int64_t ttl_ms = -2;
        feox_write write;
        feox_write_init(&write);
        write.ttl_ms = 3600000;
        assert_ok(feox_insert_with(k->store, "key", 3, "value", 5, &write, NULL));
        s = (scene){.hold_at = n};
        more = fx_nudge_visit(hold, &s);
        feox_status status = n % 2 == 0 ? feox_info(k->store, "key", 3, &info)
                                        : feox_ttl(k->store, "key", 3, &ttl_ms);
        fx_nudge_step_end();
        more = more && s.steps >= n;
        ttl_ms = n % 2 == 0 ? info.ttl_ms : ttl_ms;
        assert_true(status == FEOX_OK ? ttl_ms >= 1 && ttl_ms <= 3600000
                                      : status == FEOX_NOT_FOUND);
        steps = s.steps;
        found += status == FEOX_OK;
    }
    printf("%llu instructions, found %llu times\n", (unsigned long long)steps,
           (unsigned long long)found);
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_TEST(what_is_there_has_time_left)};
    return cmocka_run_group_tests_name("issues/info_without_time_left", tests, NULL, NULL);
}
