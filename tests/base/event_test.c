/* event: readable from the beginning and from each raise until it is cleared; and none to be had.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "base/event.h"
#include "support/child.h"

static bool readable(int fd) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN) != 0;
}

static void test_raise_and_clear(void **state) {
    (void)state;
    int fd = fx_event_open();
    assert_true(fd >= 0);
    assert_true(readable(fd));
    fx_event_clear(fd);
    assert_false(readable(fd));
    fx_event_clear(fd); /* does not wait */
    fx_event_raise(fd);
    fx_event_raise(fd);
    assert_true(readable(fd));
    fx_event_clear(fd);
    assert_false(readable(fd));
    fx_event_close(fd);
}

static void without_descriptors(const char *path, int number) {
    struct rlimit limit;
    (void)path;
    (void)number;
    FX_CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    const struct rlimit none = {0, limit.rlim_max};
    FX_CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    FX_CHILD_CHECK(fx_event_open() == -EMFILE);
    FX_CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void test_no_descriptor_left(void **state) {
    (void)state;
    assert_true(fx_child_run(without_descriptors, "", 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raise_and_clear),
        cmocka_unit_test(test_no_descriptor_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
