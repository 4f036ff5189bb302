/* feox.h compiles in every language that it promises, with every compiler that is here. */
#define _GNU_SOURCE
#include "support/kit.h"

#include <sys/wait.h>

static int run(const char *command) {
    int status = system(command); /* every word of it is ours */
    return status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char program[] = "#include \"feox.h\"\n"
                              "int main(void);\n"
                              "int main(void) {\n"
                              "    feox_store *store = 0;\n"
                              "    return feox_open(0, 0, &store) == FEOX_OK ? 0 : 1;\n"
                              "}\n";

static void compile_all(const char *const compilers[2], const char *const standards[3],
                        const char *suffix) {
    char source[600];
    char command[2000];
    int tried = 0;
    snprintf(source, sizeof source, "%s.%s", fx_temp_fresh("header"), suffix);
    fx_file_write(source, program, sizeof program - 1);
    for (int c = 0; c < 2; c++) {
        snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", compilers[c]);
        if (run(command) != 0) {
            printf("no %s here\n", compilers[c]);
            continue;
        }
        for (int s = 0; s < 3; s++) {
            snprintf(command, sizeof command,
                     "%s -std=%s -pedantic-errors -Wall -Wextra -Werror -I%s/include -fsyntax-only "
                     "%s",
                     compilers[c], standards[s], FEOX_SOURCE_DIR, source);
            if (run(command) != 0) {
                print_error("%s\n", command);
                fail();
            }
            tried++;
        }
    }
    if (tried == 0) {
        printf("skipped: neither %s nor %s is installed\n", compilers[0], compilers[1]);
        skip();
    }
}

static void compiles_as_c(void **state) {
    (void)state;
    static const char *const compilers[] = {"gcc", "clang"};
    static const char *const standards[] = {"c99", "c11", "c17"};
    compile_all(compilers, standards, "c");
}

static void compiles_as_cpp(void **state) {
    (void)state;
    static const char *const compilers[] = {"g++", "clang++"};
    static const char *const standards[] = {"c++98", "c++11", "c++20"};
    compile_all(compilers, standards, "cpp");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiles_as_c),
        cmocka_unit_test(compiles_as_cpp),
    };
    return cmocka_run_group_tests_name("api/header", tests, NULL, NULL);
}
