/* Was: a key that had expired, and that the sweeper had not come to before the store was closed,
 * was there again if the wall clock was behind when the file was opened the next time.
 */
#define _GNU_SOURCE
#include "support/kit.h"

#include <sys/syscall.h>
#include <unistd.h>

/* More keys than a close removes: those that are left stay dead, too. */
enum { HOUR = 3600, DAY = 24 * HOUR, KEYS = 20000 };

static int64_t passed_seconds;   /* since the machine was started, beyond the real time */
static int64_t set_back_seconds; /* of the wall clock */

int clock_gettime(clockid_t id, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, id, time);
    time->tv_sec += id == CLOCK_BOOTTIME ? (time_t)passed_seconds : 0;
    time->tv_sec -= id == CLOCK_REALTIME ? (time_t)set_back_seconds : 0;
    return result;
}

static void expect_gone(kit *k) {
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_status(feox_contains(k->store, &i, sizeof i), FEOX_NOT_FOUND);
    }
}

static void an_expired_key_stays_dead(void **state) {
    kit *k = *state;
    feox_write write;
    k->options.sweep_interval_ms = HOUR * 1000; /* none but the one that is due when it closes */
    kit_restart(k);
    feox_write_init(&write);
    write.ttl_ms = HOUR * 1000;
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_ok(feox_insert_with(k->store, &i, sizeof i, "value", 5, &write, NULL));
    }
    write.ttl_ms = 2 * DAY * 1000ull;
    assert_ok(feox_insert_with(k->store, "long", 4, "value", 5, &write, NULL));
    kit_reopen(k); /* nothing is left to be written */
    passed_seconds += HOUR + 1;
    expect_gone(k);
    kit_close(k);
    set_back_seconds += DAY;
    kit_open(k);
    expect_gone(k);
    assert_ok(feox_contains(k->store, "long", 4));
}

int main(void) {
    const struct CMUnitTest tests[] = {KIT_FILE(an_expired_key_stays_dead)};
    return cmocka_run_group_tests_name("issues/expired_before_close", tests, NULL, NULL);
}
