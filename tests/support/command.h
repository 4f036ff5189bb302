/* command: runs the built feox command and keeps what it printed. For the main thread of a test. */
#ifndef FX_TESTS_SUPPORT_COMMAND_H
#define FX_TESTS_SUPPORT_COMMAND_H

#include <stddef.h>

typedef struct command_result {
    int status; /* exit status; -N if signal N ended it */
    char out[1 << 22];
    size_t out_size;
    char err[4096];
    size_t err_size;
} command_result;

/* Makes an empty directory for the test's files and goes there; 0, or -1. */
int command_setup(void **state);
/* Removes the directory with all that is in it. */
int command_teardown(void **state);

/* Runs `feox words...` (NULL-terminated) with `input` as its standard input. The result stays until
 * the next run. The command is $FEOX_COMMAND, or `feox` beside the test program. */
const command_result *command_run(const void *input, size_t input_size, const char *const *words);

/* The same for the store "s.feox" and words up to NULL, without input. Asserts the exit status,
 * what standard output holds, and that standard error holds nothing after 0, else one line "feox:
 * ...".
 */
void command_expect(int status, const char *out, ...);
void command_expect_input(const void *input, size_t input_size, int status, const char *out, ...);
/* Nothing on standard output, and `part` on standard error. */
void command_expect_error(int status, const char *part, ...);
/* Looks at the exit status and standard error only, and returns the result. */
const command_result *command_output(int status, ...);

/* Runs a line of the shell, in which "$FEOX" is the command; its exit status. */
int command_shell(const char *line);
/* Starts `feox words...` reading from the descriptor; its process id, for waitpid. */
int command_start(int input, const char *const *words);

/* Writes a file in the test's directory. */
void command_write_file(const char *name, const void *data, size_t size);

#endif
