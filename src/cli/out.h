/* out: everything the command prints. Results go to standard output through one buffer; the one
 * line of a failure goes to standard error. Single-threaded; the state is the process's own.
 */
#ifndef FX_CLI_OUT_H
#define FX_CLI_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feox.h"

/* Exit statuses. */
enum { FX_CLI_DONE = 0, FX_CLI_OUTCOME = 1, FX_CLI_USAGE = 2, FX_CLI_FAILED = 3 };

/* Standard output. After a failed write, further output is dropped, and fx_cli_out_finish reports
 * it; long-running commands ask fx_cli_out_failed to stop early. */
void fx_cli_out(const void *data, size_t size);
void fx_cli_out_text(const char *text);
void fx_cli_out_number(uint64_t number);
void fx_cli_out_signed(int64_t number);
/* Two lower-case digits a byte. */
void fx_cli_out_hex(const void *data, size_t size);
/* Printable ASCII and printable UTF-8 as they are; \\ \t \n \r; every other byte as \xHH. */
void fx_cli_out_escaped(const void *data, size_t size);
/* One member of a JSON object: "name":"text" for UTF-8, "name_base64":"..." for other bytes. */
void fx_cli_out_json_member(const char *name, const void *data, size_t size);
bool fx_cli_out_failed(void);
/* True if standard output or standard error is a terminal. */
bool fx_cli_out_is_terminal(void);
bool fx_cli_err_is_terminal(void);
/* Writes out what is buffered. FX_CLI_DONE, or FX_CLI_FAILED with the line on standard error; if
 * the reader of a pipe went away, the process ends by SIGPIPE as other tools do. Call it last. */
int fx_cli_out_finish(void);

/* Prints "feox: ..." on standard error, control characters replaced so that it is one line; only
 * the first call prints. Each returns the exit status of its name. */
int fx_cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fx_cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fx_cli_outcome(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fx_cli_no_memory(void);
/* The same for what a library call on `subject` (a key or a file) returned; 0 for FEOX_OK. */
int fx_cli_status(feox_status status, const void *subject, size_t subject_len);

/* Call it first. Ignores SIGPIPE, so that a vanished reader cannot end the process before the store
 * is closed, and sees to it that no file is opened in the place of a closed standard stream. */
void fx_cli_out_init(void);

#endif
