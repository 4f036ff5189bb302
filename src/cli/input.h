/* input: a file or standard input, read in order through one growing window. Memory is a constant
 * plus the longest record. Single-threaded.
 */
#ifndef FX_CLI_INPUT_H
#define FX_CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/buffer.h"
#include "feox.h"

typedef struct fx_cli_input {
    const char *name; /* for messages */
    int fd;
    bool ended;        /* the last byte is in the window */
    fx_cli_buffer all; /* what was read and not dropped yet */
    size_t at;         /* where in `all` the next record begins */
    uint64_t line;     /* number of the line that the next record begins in, from 1 */
    uint64_t taken;    /* bytes taken so far */
    uint64_t total;    /* size of a regular file; 0: not known */
} fx_cli_input;

/* "-" is standard input. These return 0 or an exit status with its line printed. */
int fx_cli_input_open(fx_cli_input *input, const char *path);
void fx_cli_input_close(fx_cli_input *input);
/* Reads more behind what is there; at the end sets `ended`. Slices of `all` become invalid. */
int fx_cli_input_fill(fx_cli_input *input);
/* Drops a mark of byte order (EF BB BF) at the very beginning. */
int fx_cli_input_skip_mark(fx_cli_input *input);
/* The next line without its LF. *found_out is false at the end. Valid until the next call. */
int fx_cli_input_line(fx_cli_input *input, feox_slice *line_out, bool *found_out);
/* Takes `size` bytes: the record there is done. Counts its lines. */
void fx_cli_input_take(fx_cli_input *input, size_t size);
/* Reads a whole file, which may have `limit` bytes at most. */
int fx_cli_input_read_all(const char *path, size_t limit, fx_cli_buffer *out);

#endif
