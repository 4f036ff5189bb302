/* out: one buffer written with write(2), because stdio hides which byte failed and why, and because
 * nothing may reach standard output before the store has been closed successfully: the results of
 * writing commands are small, stay in this buffer, and are printed at the end. */
#define _POSIX_C_SOURCE 200809L
#include "cli/out.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/buffer.h"

static char out_bytes[1 << 16];
static size_t out_size;
static int out_errno;
static bool line_printed;

/* A stream that was closed by whoever started the command is filled with one that fails, so that
 * no descriptor opened later gets its number and what was meant for it. */
static void fill_closed_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}

void fx_cli_out_init(void) {
    fill_closed_streams();
    (void)signal(SIGPIPE, SIG_IGN);
}

static void write_all(const char *data, size_t size) {
    while (size > 0 && out_errno == 0) {
        ssize_t done = write(STDOUT_FILENO, data, size);
        if (done < 0) {
            if (errno != EINTR) {
                out_errno = errno;
            }
            continue;
        }
        data += done;
        size -= (size_t)done;
    }
}

void fx_cli_out(const void *data, size_t size) {
    if (size > sizeof out_bytes - out_size) {
        write_all(out_bytes, out_size);
        out_size = 0;
    }
    if (size > sizeof out_bytes) {
        write_all(data, size);
        return;
    }
    if (size != 0) {
        memcpy(out_bytes + out_size, data, size);
        out_size += size;
    }
}

void fx_cli_out_text(const char *text) {
    fx_cli_out(text, strlen(text));
}

void fx_cli_out_number(uint64_t number) {
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, number);
    fx_cli_out_text(text);
}

void fx_cli_out_signed(int64_t number) {
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, number);
    fx_cli_out_text(text);
}

static void out_hex_byte(unsigned char byte) {
    static const char digits[] = "0123456789abcdef";
    char text[2] = {digits[byte >> 4], digits[byte & 15]};
    fx_cli_out(text, 2);
}

void fx_cli_out_hex(const void *data, size_t size) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        out_hex_byte(bytes[i]);
    }
}

/* The two-character escape of a byte, or NULL. */
static const char *short_escape(char c) {
    switch (c) {
    case '\\':
        return "\\\\";
    case '\t':
        return "\\t";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    default:
        return NULL;
    }
}

void fx_cli_out_escaped(const void *data, size_t size) {
    const char *text = data;
    for (size_t i = 0; i < size;) {
        const char *escape = short_escape(text[i]);
        unsigned char byte = (unsigned char)text[i];
        size_t length = fx_cli_utf8_length(text + i, size - i);
        /* U+0080 to U+009F are control characters that some terminals obey. */
        bool control = length == 1
                           ? byte < 0x20 || byte == 0x7f
                           : length == 2 && byte == 0xc2 && (unsigned char)text[i + 1] < 0xa0;
        if (escape != NULL) {
            fx_cli_out(escape, 2);
            i++;
        } else if (length == 0 || control) {
            fx_cli_out("\\x", 2);
            out_hex_byte(byte);
            i++;
        } else {
            fx_cli_out(text + i, length);
            i += length;
        }
    }
}

static void out_base64(const unsigned char *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        uint32_t bits = (uint32_t)data[i] << 16;
        bits |= i + 1 < size ? (uint32_t)data[i + 1] << 8 : 0;
        bits |= i + 2 < size ? (uint32_t)data[i + 2] : 0;
        char text[4] = {digits[bits >> 18], digits[(bits >> 12) & 63], '=', '='};
        if (i + 1 < size) {
            text[2] = digits[(bits >> 6) & 63];
        }
        if (i + 2 < size) {
            text[3] = digits[bits & 63];
        }
        fx_cli_out(text, 4);
    }
}

static void out_json_string(const char *text, size_t size) {
    size_t plain = 0; /* start of the bytes that need no escape */
    fx_cli_out("\"", 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        fx_cli_out(text + plain, i - plain);
        plain = i + 1;
        const char *escape = short_escape((char)c);
        if (escape != NULL) {
            fx_cli_out(escape, 2);
        } else if (c == '"') {
            fx_cli_out("\\\"", 2);
        } else {
            fx_cli_out("\\u00", 4);
            out_hex_byte(c);
        }
    }
    fx_cli_out(text + plain, size - plain);
    fx_cli_out("\"", 1);
}

void fx_cli_out_json_member(const char *name, const void *data, size_t size) {
    const char *text = size == 0 ? "" : data;
    fx_cli_out("\"", 1);
    fx_cli_out_text(name);
    if (fx_cli_utf8_valid(text, size)) {
        fx_cli_out("\":", 2);
        out_json_string(text, size);
    } else {
        fx_cli_out_text("_base64\":\"");
        out_base64((const unsigned char *)data, size);
        fx_cli_out("\"", 1);
    }
}

bool fx_cli_out_failed(void) {
    return out_errno != 0;
}

bool fx_cli_out_is_terminal(void) {
    return isatty(STDOUT_FILENO) == 1;
}

bool fx_cli_err_is_terminal(void) {
    return isatty(STDERR_FILENO) == 1;
}

int fx_cli_out_finish(void) {
    write_all(out_bytes, out_size);
    out_size = 0;
    if (out_errno == 0) {
        return FX_CLI_DONE;
    }
    if (out_errno == EPIPE) {
        (void)signal(SIGPIPE, SIG_DFL);
        (void)raise(SIGPIPE);
    }
    return fx_cli_fail("standard output: %s", strerror(out_errno));
}

static void print_line(const char *format, va_list list) __attribute__((format(printf, 1, 0)));
static void print_line(const char *format, va_list list) {
    char line[1024] = "feox: ";
    size_t start = strlen(line);
    if (line_printed) {
        return;
    }
    line_printed = true;
    (void)vsnprintf(line + start, sizeof line - start, format, list);
    for (size_t i = 0; line[i] != '\0'; i++) {
        unsigned char next = (unsigned char)line[i + 1];
        bool c1_control = (unsigned char)line[i] == 0xc2 && next >= 0x80 && next < 0xa0;
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f || c1_control) {
            line[i] = '?';
            line[i + 1] = c1_control ? '?' : line[i + 1]; /* half of it would be no character */
        }
    }
    (void)fprintf(stderr, "%s\n", line);
}

int fx_cli_fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    print_line(format, list);
    va_end(list);
    return FX_CLI_FAILED;
}

int fx_cli_usage(const char *format, ...) {
    va_list list;
    va_start(list, format);
    print_line(format, list);
    va_end(list);
    return FX_CLI_USAGE;
}

int fx_cli_outcome(const char *format, ...) {
    va_list list;
    va_start(list, format);
    print_line(format, list);
    va_end(list);
    return FX_CLI_OUTCOME;
}

int fx_cli_no_memory(void) {
    return fx_cli_fail("out of memory");
}

int fx_cli_status(feox_status status, const void *subject, size_t subject_len) {
    /* The detail is read first: any other library call may replace it. */
    const char *detail = feox_last_error();
    char name[96];
    size_t shown = subject_len < 80 ? subject_len : 80;
    if (status == FEOX_OK) {
        return FX_CLI_DONE;
    }
    for (size_t i = 0; i < shown; i++) {
        char c = ((const char *)subject)[i];
        name[i] = c == '\0' ? '?' : c;
    }
    (void)snprintf(name + shown, sizeof name - shown, "%s", shown < subject_len ? "..." : "");
    if (status > 0) {
        return fx_cli_outcome("%s: %s", name, feox_status_text(status));
    }
    /* For some failures the detail is what the line says already: the path, or the status. */
    if (*detail == '\0' || strcmp(detail, feox_status_text(status)) == 0 ||
        (strlen(detail) == subject_len && memcmp(detail, subject, subject_len) == 0)) {
        return fx_cli_fail("%s: %s", name, feox_status_text(status));
    }
    return fx_cli_fail("%s: %s (%s)", name, feox_status_text(status), detail);
}
