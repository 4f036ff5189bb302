/* The bar, to the byte, on a clock of the test's own: what it says when nothing is known of the
 * total, when there is more than the total, and when the rest would take days.
 *
 * The linker's --wrap gives the command the clock and the answer to isatty.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/progress.h"

int __wrap_isatty(int fd);
int __wrap_timespec_get(struct timespec *time, int base);

static int64_t now_ms;
static bool terminal;
static int err_fd; /* what stands in for standard error */
static int kept_fd;

int __wrap_isatty(int fd) {
    return terminal && fd == STDERR_FILENO;
}

int __wrap_timespec_get(struct timespec *time, int base) {
    *time = (struct timespec){now_ms / 1000, now_ms % 1000 * 1000000};
    return base;
}

static void begin(fx_cli_progress *progress, uint64_t total, bool bytes) {
    assert_int_equal(ftruncate(err_fd, 0), 0);
    assert_int_equal(lseek(err_fd, 0, SEEK_SET), 0);
    now_ms = 5000;
    fx_cli_progress_begin(progress, "import", total, bytes);
}

/* What is drawn `ms` later. */
static const char *drawn(fx_cli_progress *progress, int64_t ms, uint64_t done, uint64_t records) {
    static char text[256];
    now_ms += ms;
    assert_int_equal(ftruncate(err_fd, 0), 0);
    assert_int_equal(lseek(err_fd, 0, SEEK_SET), 0);
    (void)fflush(stderr);
    assert_true(dup2(err_fd, STDERR_FILENO) >= 0);
    fx_cli_progress_update(progress, done, records);
    (void)fflush(stderr);
    assert_true(dup2(kept_fd, STDERR_FILENO) >= 0);
    ssize_t size = pread(err_fd, text, sizeof text - 1, 0);
    assert_true(size >= 0);
    text[size] = '\0';
    return text;
}

#define EMPTY "[-------------------------]"
#define BEGUN "[#------------------------]"
#define CLEAR "\x1b[K"

static void bytes_of_a_file(void **state) {
    (void)state;
    fx_cli_progress p;
    begin(&p, 1000000, true);
    assert_string_equal(drawn(&p, 99, 100000, 10), ""); /* ten times a second at most */
    assert_string_equal(drawn(&p, 1901, 250000, 60),
                        "\rimport [#######------------------]  25 %  0.2 MB  0.1 MB/s"
                        "  60 records  30/s  0:06 left" CLEAR);
    assert_string_equal(drawn(&p, 99, 500000, 70), "");
    /* Nothing is done yet: nobody can say how long it takes. */
    begin(&p, 1000000, true);
    assert_string_equal(drawn(&p, 1000, 0, 0),
                        "\rimport " EMPTY "   0 %  0.0 MB  0.0 MB/s  0 records  0/s" CLEAR);
    assert_string_equal(drawn(&p, 1000, 1000000, 8),
                        "\rimport [#########################] 100 %  1.0 MB  0.5 MB/s"
                        "  8 records  4/s  0:00 left" CLEAR);
    /* The file grows while it is read. */
    assert_string_equal(drawn(&p, 2000, 2000000, 16),
                        "\rimport  2.0 MB  0.5 MB/s  16 records  4/s" CLEAR);
}

static void a_hundred_hours(void **state) {
    (void)state;
    fx_cli_progress p;
    begin(&p, 360000, false);
    assert_string_equal(drawn(&p, 1000, 1, 1),
                        "\rimport " BEGUN "   0 %  1 records  1/s  5999:59 left" CLEAR);
    begin(&p, 360001, false);
    assert_string_equal(drawn(&p, 1000, 1, 1), "\rimport " BEGUN "   0 %  1 records  1/s" CLEAR);
}

static void unknown_total(void **state) {
    (void)state;
    fx_cli_progress p;
    begin(&p, 0, false);
    assert_string_equal(drawn(&p, 500, 20, 20), "\rimport  20 records  40/s" CLEAR);
}

static void no_terminal(void **state) {
    (void)state;
    fx_cli_progress p;
    terminal = false;
    begin(&p, 100, true);
    assert_string_equal(drawn(&p, 5000, 50, 1), "");
    terminal = true;
    begin(&p, 100, true);
    fx_cli_progress_end(&p); /* nothing is drawn behind it */
    assert_string_equal(drawn(&p, 5000, 50, 1), "");
}

static int setup(void **state) {
    (void)state;
    terminal = true;
    err_fd = memfd_create("err", MFD_CLOEXEC);
    kept_fd = dup(STDERR_FILENO);
    return err_fd < 0 || kept_fd < 0 ? -1 : 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_a_file),
        cmocka_unit_test(a_hundred_hours),
        cmocka_unit_test(unknown_total),
        cmocka_unit_test(no_terminal),
    };
    return cmocka_run_group_tests_name("cli/progress", tests, setup, NULL);
}
