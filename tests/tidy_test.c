/* tidy: the rules of the house, held by reading the sources: a rule that nothing checks is
 * forgotten within a month. The first tests plant violations and see them found (a check must be
 * able to fail); the last ones run the same matchers over the tree.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/tidy.h"

/* ---- The matchers find what is planted ---- */

typedef void (*matcher)(const char *path, const char *code);

static unsigned found_by(matcher match, const char *path, const char *text) {
    char *code = tidy_strip(text);
    unsigned before = tidy_problems;
    tidy_quiet = true;
    match(path, code);
    tidy_quiet = false;
    unsigned found = tidy_problems - before;
    tidy_problems = before;
    free(code);
    return found;
}

static unsigned includes_found(const char *path, const char *text) {
    char *code = tidy_strip(text);
    unsigned before = tidy_problems;
    tidy_quiet = true;
    tidy_check_includes(path, text, code);
    tidy_quiet = false;
    unsigned found = tidy_problems - before;
    tidy_problems = before;
    free(code);
    return found;
}

static void test_strip(void **state) {
    (void)state;
    char *code = tidy_strip("a /* malloc( */ \"free(\\\"\" '\"' b // read(\nc");
    assert_string_equal(code, "a               \"       \" ' ' b         \nc");
    free(code);
}

static void test_layers_found(void **state) {
    (void)state;
    assert_int_equal(includes_found("src/index/a.c", "#include \"base/mem.h\"\n"), 0);
    assert_int_equal(includes_found("src/index/a.c", "#include \"disk/dev.h\"\n"), 1);
    assert_int_equal(includes_found("src/disk/a.c", "#  include \"index/record.h\"\n"), 1);
    assert_int_equal(includes_found("src/base/a.h", "#include \"index/record.h\"\n"), 1);
    assert_int_equal(includes_found("src/engine/a.c", "#include \"store/json.h\"\n"), 1);
    assert_int_equal(includes_found("src/engine/a.c", "#include \"disk/dev.h\"\n"), 0);
    assert_int_equal(includes_found("src/engine/a.c", "/* #include \"store/json.h\" */\n"), 0);
    assert_int_equal(includes_found("src/store/a.c", "#include \"json.h\"\n"), 1);
    assert_int_equal(includes_found("src/store/a.c", "#include \"../cli/main.h\"\n"), 1);
    assert_int_equal(includes_found("src/store/a.c", "#include \"engine/a.c\"\n"), 1);
    assert_int_equal(includes_found("src/store/a.c", "#include <stdatomic.h>\n"), 1);
    assert_int_equal(includes_found("src/store/a.c", "#include <cjson/cJSON.h>\n"), 1);
    assert_int_equal(includes_found("src/disk/dev_uring.c", "#include <liburing.h>\n"), 0);
    assert_int_equal(includes_found("src/disk/journal.c", "#include <liburing.h>\n"), 1);
    assert_int_equal(includes_found("src/cli/main.c", "#include \"base/mem.h\"\n"), 1);
    assert_int_equal(includes_found("src/cli/main.c", "#include \"cli/import.h\"\n"), 0);
    assert_int_equal(includes_found("src/cli/main.c", "#include \"feox.h\"\n"), 0);
    assert_int_equal(includes_found("examples/01_hello.c", "#include \"store/store.h\"\n"), 1);
    assert_int_equal(includes_found("tests/api/a_test.c", "#include \"index/table.h\"\n"), 1);
    assert_int_equal(includes_found("tests/index/a_test.c", "#include \"index/table.h\"\n"), 0);
}

static void test_bans_found(void **state) {
    (void)state;
    assert_int_equal(found_by(tidy_check_bans, "src/store/a.c", "x = malloc(3);"), 1);
    assert_int_equal(found_by(tidy_check_bans, "src/store/a.c", "x = fx_mem_alloc(3);"), 0);
    assert_int_equal(found_by(tidy_check_bans, "src/store/a.c", "/* free( */ y(\"free(\");"), 0);
    assert_int_equal(found_by(tidy_check_bans, "src/store/a.c", "dev->read(x); v.free(x);"), 0);
    assert_int_equal(found_by(tidy_check_bans, "src/store/a.c", "int free = 0;"), 0);
    assert_int_equal(found_by(tidy_check_bans, "src/base/mem.c", "x = malloc(3);"), 0);
    assert_int_equal(found_by(tidy_check_bans, "src/cli/main.c", "x = malloc(3); printf(x);"), 0);
    assert_int_equal(found_by(tidy_check_bans, "src/engine/a.c", "(void)pwrite (f, b, 1, 0);"), 1);
    assert_int_equal(found_by(tidy_check_bans, "src/disk/dev_posix.c", "pwrite(f, b, 1, 0);"), 0);
    assert_int_equal(found_by(tidy_check_bans, "src/disk/journal.c", "fdatasync(f);open(p, 0);"),
                     2);
    assert_int_equal(found_by(tidy_check_bans, "src/store/ops.c", "clock_gettime(c, &t);"), 1);
    assert_int_equal(found_by(tidy_check_bans, "src/base/clock.c", "clock_gettime(c, &t);"), 0);
    assert_int_equal(found_by(tidy_check_bans, "src/engine/a.c", "pthread_create(&t, 0, f, 0);"),
                     1);
    assert_int_equal(found_by(tidy_check_bans, "src/store/workers.c", "pthread_create(a);"), 0);
    assert_int_equal(found_by(tidy_check_bans, "src/index/a.h", "__atomic_load_n(p, 0);"), 1);
    assert_int_equal(found_by(tidy_check_bans, "src/index/a.h", "atomic_load_explicit(p, o);"), 1);
    assert_int_equal(found_by(tidy_check_bans, "src/index/a.h", "__sync_synchronize();"), 1);
    assert_int_equal(found_by(tidy_check_bans, "src/store/a.c", "assert(x);"), 1);
    assert_int_equal(found_by(tidy_check_bans, "src/store/a.c", "_Static_assert(1, \"\");"), 0);
    assert_int_equal(found_by(tidy_check_bans, "src/cli/a.c", "strcpy(a, b); sprintf(a, b);"), 2);
    assert_int_equal(found_by(tidy_check_bans, "src/store/a.c", "printf(a); abort(); exit(1);"), 3);
    assert_int_equal(found_by(tidy_check_bans, "src/store/a.c", "snprintf(a, 3, b);"), 0);
    assert_int_equal(found_by(tidy_check_bans, "src/base/atomic.h", "__atomic_thread_fence(5);"),
                     1);
}

/* A function whose closing brace stands on line `lines`. */
static unsigned function_of(unsigned lines) {
    char text[1024] = "#define M(x) { \\\n    {\nextern \"C\" {\nstatic int a[] = {1};\nint b;\n\n"
                      "int f(\n    int y) {\n";
    for (unsigned i = 3; i < lines; i++) {
        strncat(text, "x;\n", sizeof text - strlen(text) - 1);
    }
    strncat(text, "}\n}\n", sizeof text - strlen(text) - 1);
    return found_by(tidy_check_functions, "src/store/a.c", text);
}

static void test_sizes_found(void **state) {
    (void)state;
    assert_int_equal(function_of(TIDY_FUNCTION_LINES_MAX), 0);
    assert_int_equal(function_of(TIDY_FUNCTION_LINES_MAX + 1), 1);
    assert_int_equal(found_by(tidy_check_functions, "src/store/a.c", "int f(void) {\n{\n}\n"), 1);

    char line[TIDY_COLUMNS_MAX + 3];
    memset(line, 'x', sizeof line);
    line[TIDY_COLUMNS_MAX] = '\n';
    line[TIDY_COLUMNS_MAX + 1] = '\0';
    assert_int_equal(found_by(tidy_check_lines, "src/store/a.c", line), 0);
    line[TIDY_COLUMNS_MAX] = 'x';
    line[TIDY_COLUMNS_MAX + 1] = '\n';
    line[TIDY_COLUMNS_MAX + 2] = '\0';
    assert_int_equal(found_by(tidy_check_lines, "src/store/a.c", line), 1);
    assert_int_equal(found_by(tidy_check_lines, "src/store/a.c", "x \n"), 1);
    assert_int_equal(found_by(tidy_check_lines, "src/store/a.c", "\tx\n"), 1);
    assert_int_equal(found_by(tidy_check_lines, "src/store/a.c", "x"), 1);

    char many[TIDY_FILE_LINES_MAX + 2];
    memset(many, '\n', sizeof many);
    many[TIDY_FILE_LINES_MAX] = '\0';
    assert_int_equal(found_by(tidy_check_lines, "src/store/a.c", many), 0);
    many[TIDY_FILE_LINES_MAX] = '\n';
    many[TIDY_FILE_LINES_MAX + 1] = '\0';
    assert_int_equal(found_by(tidy_check_lines, "src/store/a.c", many), 1);
}

static unsigned registered_found(const char *path, const char *code, const char *registered) {
    unsigned before = tidy_problems;
    tidy_quiet = true;
    tidy_check_registered(path, code, registered);
    tidy_quiet = false;
    unsigned found = tidy_problems - before;
    tidy_problems = before;
    return found;
}

static unsigned stale_found(const char *map) {
    unsigned before = tidy_problems;
    tidy_quiet = true;
    tidy_check_map(map);
    tidy_quiet = false;
    unsigned found = tidy_problems - before;
    tidy_problems = before;
    return found;
}

static void test_words_found(void **state) {
    (void)state;
    char text[64];
    for (size_t i = 0; i < sizeof tidy_unfinished / sizeof tidy_unfinished[0]; i++) {
        snprintf(text, sizeof text, "int x; %s: later\n", tidy_unfinished[i]);
        unsigned before = tidy_problems;
        tidy_quiet = true;
        tidy_check_unfinished("src/store/a.c", text);
        tidy_quiet = false;
        assert_int_equal(tidy_problems - before, 1);
        tidy_problems = before;
    }
    const char *map = "* `base/mem.{h,c}` memory\n* `base/config.h` limits\n";
    assert_true(tidy_map_names(map, "base/mem.h"));
    assert_true(tidy_map_names(map, "base/mem.c"));
    assert_true(tidy_map_names(map, "base/config.h"));
    assert_false(tidy_map_names(map, "base/config.c"));
    assert_false(tidy_map_names(map, "ase/config.h"));
    assert_false(tidy_map_names(map, "base/me.h"));

    assert_int_equal(stale_found("* `tests/../src` and `src/x` and base/nothing\n"), 0);
    assert_int_equal(stale_found("| `base/nothing.c` |\n| `base/no.{h,c}` |\n"), 3);

    const char *known = "add_test([=[base/mem]=] \"x\")\n";
    assert_int_equal(registered_found("tests/base/mem_test.c", "", known), 0);
    assert_int_equal(registered_found("tests/base/me_test.c", "", known), 1);
    assert_int_equal(registered_found("tests/base/deep/mem_test.c", "", known), 1);
    assert_int_equal(registered_found("tests/base/x.c", "cmocka_run_group_tests", known), 1);
    assert_int_equal(registered_found("tests/support/kit.c", "", known), 0);
}

/* ---- The tree ---- */

static int load(void **state) {
    (void)state;
    const char *const rooms[] = {"include", "src", "tests", "bench", "examples", "cmake"};
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
        tidy_load(rooms[i]);
    }
    return tidy_file_count > 20 ? 0 : -1;
}

static int unload(void **state) {
    (void)state;
    for (size_t i = 0; i < tidy_file_count; i++) {
        free(tidy_files[i].text);
        free(tidy_files[i].code);
    }
    return 0;
}

static void test_layers(void **state) {
    (void)state;
    tidy_problems = 0;
    for (size_t i = 0; i < tidy_file_count; i++) {
        if (tidy_is_c(tidy_files[i].path)) {
            tidy_check_includes(tidy_files[i].path, tidy_files[i].text, tidy_files[i].code);
        }
    }
    assert_int_equal(tidy_problems, 0);
}

static void test_bans(void **state) {
    (void)state;
    tidy_problems = 0;
    for (size_t i = 0; i < tidy_file_count; i++) {
        if (tidy_is_c(tidy_files[i].path)) {
            tidy_check_bans(tidy_files[i].path, tidy_files[i].code);
        }
    }
    assert_int_equal(tidy_problems, 0);
}

static void test_sizes(void **state) {
    (void)state;
    tidy_problems = 0;
    for (size_t i = 0; i < tidy_file_count; i++) {
        tidy_check_lines(tidy_files[i].path, tidy_files[i].text);
        if (tidy_is_c(tidy_files[i].path)) {
            tidy_check_functions(tidy_files[i].path, tidy_files[i].code);
        }
    }
    tidy_check_exceptions();
    assert_int_equal(tidy_problems, 0);
}

static void test_unfinished(void **state) {
    (void)state;
    tidy_problems = 0;
    for (size_t i = 0; i < tidy_file_count; i++) {
        tidy_check_unfinished(tidy_files[i].path, tidy_files[i].text);
    }
    assert_int_equal(tidy_problems, 0);
}

static void test_tests_registered(void **state) {
    (void)state;
    tidy_problems = 0;
    char *registered = tidy_read_text(FEOX_BINARY_DIR "/CTestTestfile.cmake");
    assert_non_null(registered);
    for (size_t i = 0; i < tidy_file_count; i++) {
        tidy_check_registered(tidy_files[i].path, tidy_files[i].code, registered);
    }
    free(registered);
    assert_int_equal(tidy_problems, 0);
}

/* Every source begins with what it is, and the map has a line for it, and for nothing else. */
static void test_map(void **state) {
    (void)state;
    tidy_problems = 0;
    char *map = tidy_read_text("src/README.md");
    assert_non_null(map);
    for (size_t i = 0; i < tidy_file_count; i++) {
        const char *path = tidy_files[i].path;
        if (!tidy_begins_with(path, "src/") || !tidy_is_c(path)) {
            continue;
        }
        if (!tidy_map_names(map, path + strlen("src/"))) {
            tidy_problem(path, 1, "is not in src/README.md");
        }
        if (!tidy_begins_with(tidy_files[i].text, "/* ")) {
            tidy_problem(path, 1, "does not begin with what it is");
        }
    }
    tidy_check_map(map);
    free(map);
    assert_int_equal(tidy_problems, 0);
}

static void test_top_level(void **state) {
    (void)state;
    tidy_problems = 0;
    DIR *top = opendir(FEOX_SOURCE_DIR);
    assert_non_null(top);
    for (struct dirent *item; (item = readdir(top)) != NULL;) {
        const char *closed = "include src tests bench examples cmake CMakeLists.txt README.md "
                             "LICENSE .* build*";
        if (!tidy_in_list(closed, item->d_name, 0)) {
            tidy_problem(item->d_name, 1, "the top level is closed");
        }
    }
    closedir(top);
    assert_int_equal(tidy_problems, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strip),       cmocka_unit_test(test_layers_found),
        cmocka_unit_test(test_bans_found),  cmocka_unit_test(test_sizes_found),
        cmocka_unit_test(test_words_found), cmocka_unit_test(test_layers),
        cmocka_unit_test(test_bans),        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_unfinished),  cmocka_unit_test(test_tests_registered),
        cmocka_unit_test(test_map),         cmocka_unit_test(test_top_level),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
