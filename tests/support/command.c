/* command: input and output go through files in the test's directory, so that neither side of a
 * pipe can wait for the other. */
#define _GNU_SOURCE
#include "support/command.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { COMMAND_WORDS = 32 };

static char command_path[4096];
static char command_directory[4096];
static command_result command_last;

int command_setup(void **state) {
    const char *place = getenv("TMPDIR");
    const char *command = getenv("FEOX_COMMAND");
    (void)state;
    if (command != NULL) {
        (void)snprintf(command_path, sizeof command_path, "%s", command);
    } else {
        ssize_t size = readlink("/proc/self/exe", command_path, sizeof command_path - 8);
        if (size <= 0) {
            return -1;
        }
        command_path[size] = '\0';
        char *slash = strrchr(command_path, '/');
        (void)snprintf(slash, 8, "/feox");
    }
    if (access(command_path, X_OK) != 0) {
        (void)fprintf(stderr, "%s is not there: build feox_command\n", command_path);
        return -1;
    }
    (void)snprintf(command_directory, sizeof command_directory, "%s/feox-cli-XXXXXX",
                   place != NULL ? place : "/tmp");
    return mkdtemp(command_directory) == NULL || chdir(command_directory) != 0 ? -1 : 0;
}

int command_teardown(void **state) {
    DIR *directory = opendir(".");
    struct dirent *entry = NULL;
    (void)state;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.') {
            (void)remove(entry->d_name);
        }
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    return chdir("/") != 0 || rmdir(command_directory) != 0 ? -1 : 0;
}

void command_write_file(const char *name, const void *data, size_t size) {
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static size_t read_file(const char *name, char *to, size_t capacity) {
    FILE *file = fopen(name, "rb");
    assert_non_null(file);
    size_t size = fread(to, 1, capacity - 1, file);
    assert_true(size < capacity - 1);
    to[size] = '\0';
    (void)fclose(file);
    return size;
}

/* In the child: the command with its three streams, or exit status 127. */
static void become_command(int in, char **words) {
    int out = open("_out", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int err = open("_err", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (in >= 0 && out >= 0 && err >= 0 && dup2(in, 0) == 0 && dup2(out, 1) == 1 &&
        dup2(err, 2) == 2) {
        (void)execv(command_path, words);
    }
    _exit(127);
}

int command_start(int input, const char *const *words) {
    char *copies[COMMAND_WORDS + 2] = {command_path};
    int count = 0;
    for (; words[count] != NULL; count++) {
        assert_true(count < COMMAND_WORDS);
        copies[count + 1] = strdup(words[count]);
        assert_non_null(copies[count + 1]);
    }
    pid_t child = fork();
    if (child == 0) {
        become_command(input, copies);
    }
    assert_true(child > 0);
    for (int i = 1; i <= count; i++) {
        free(copies[i]);
    }
    return (int)child;
}

int command_shell(const char *line) {
    (void)setenv("FEOX", command_path, 1);
    int status = system(line);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

const command_result *command_run(const void *input, size_t input_size, const char *const *words) {
    int status = 0;
    command_write_file("_in", input_size == 0 ? "" : input, input_size);
    int in = open("_in", O_RDONLY | O_CLOEXEC);
    int child = command_start(in, words);
    assert_int_equal(waitpid(child, &status, 0), child);
    (void)close(in);
    command_last.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    command_last.out_size = read_file("_out", command_last.out, sizeof command_last.out);
    command_last.err_size = read_file("_err", command_last.err, sizeof command_last.err);
    return &command_last;
}

static void run_list(const void *input, size_t input_size, va_list list) {
    const char *words[COMMAND_WORDS] = {"s.feox"};
    int count = 1;
    while ((words[count] = va_arg(list, const char *)) != NULL) {
        assert_true(++count < COMMAND_WORDS);
    }
    (void)command_run(input, input_size, words);
}

static void assert_status(int status) {
    const char *err = command_last.err;
    if (command_last.status != status) {
        fail_msg("exit status %d instead of %d; standard error: %s", command_last.status, status,
                 err);
    }
    if (status == 0) {
        assert_string_equal(err, "");
        return;
    }
    const char *end = strchr(err, '\n');
    if (strncmp(err, "feox: ", 6) != 0 || end == NULL || end[1] != '\0') {
        fail_msg("not exactly one line on standard error: %s", err);
    }
}

void command_expect(int status, const char *out, ...) {
    va_list list;
    va_start(list, out);
    run_list(NULL, 0, list);
    va_end(list);
    assert_status(status);
    assert_string_equal(command_last.out, out);
}

void command_expect_input(const void *input, size_t input_size, int status, const char *out, ...) {
    va_list list;
    va_start(list, out);
    run_list(input, input_size, list);
    va_end(list);
    assert_status(status);
    assert_string_equal(command_last.out, out);
}

void command_expect_error(int status, const char *part, ...) {
    va_list list;
    va_start(list, part);
    run_list(NULL, 0, list);
    va_end(list);
    assert_status(status);
    assert_string_equal(command_last.out, "");
    if (strstr(command_last.err, part) == NULL) {
        fail_msg("\"%s\" is not in: %s", part, command_last.err);
    }
}

const command_result *command_output(int status, ...) {
    va_list list;
    va_start(list, status);
    run_list(NULL, 0, list);
    va_end(list);
    assert_status(status);
    return &command_last;
}
