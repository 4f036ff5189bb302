/* input: read(2) directly, so that a pipe's bytes are imported as they arrive. */
#define _POSIX_C_SOURCE 200809L
#include "cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/out.h"

enum { INPUT_STEP = 1 << 18 };
/* No record that could be stored is longer: a value of 1 GiB, every byte of it as \u0000. */
static const size_t input_record_max = (size_t)7 << 30;

int fx_cli_input_open(fx_cli_input *input, const char *path) {
    struct stat info;
    *input = (fx_cli_input){.name = path, .fd = STDIN_FILENO, .line = 1};
    if (strcmp(path, "-") == 0) {
        input->name = "standard input";
    } else {
        input->fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (input->fd < 0 || fstat(input->fd, &info) != 0) {
        return fx_cli_fail("%s: %s", input->name, strerror(errno));
    }
    if (S_ISREG(info.st_mode)) {
        input->total = (uint64_t)info.st_size;
    }
    return 0;
}

void fx_cli_input_close(fx_cli_input *input) {
    if (input->fd > STDIN_FILENO) {
        (void)close(input->fd);
    }
    input->fd = -1;
    fx_cli_buffer_free(&input->all);
}

int fx_cli_input_fill(fx_cli_input *input) {
    fx_cli_buffer *all = &input->all;
    if (input->at > 0) {
        memmove(all->data, all->data + input->at, all->size - input->at);
        all->size -= input->at;
        input->at = 0;
    }
    if (all->size > input_record_max) {
        return fx_cli_fail("%s:%llu: the record is too long", input->name,
                           (unsigned long long)input->line);
    }
    if (!fx_cli_buffer_reserve(all, INPUT_STEP)) {
        return fx_cli_no_memory();
    }
    ssize_t got = -1;
    do {
        got = read(input->fd, all->data + all->size, INPUT_STEP);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return fx_cli_fail("%s: %s", input->name, strerror(errno));
    }
    input->ended = got == 0;
    all->size += (size_t)got;
    return 0;
}

int fx_cli_input_skip_mark(fx_cli_input *input) {
    int status = 0;
    while (status == 0 && !input->ended && input->all.size - input->at < 3) {
        status = fx_cli_input_fill(input);
    }
    if (status == 0 && input->all.size - input->at >= 3 &&
        memcmp(input->all.data + input->at, "\xef\xbb\xbf", 3) == 0) {
        fx_cli_input_take(input, 3);
    }
    return status;
}

int fx_cli_input_line(fx_cli_input *input, feox_slice *line_out, bool *found_out) {
    size_t searched = 0;
    *found_out = false;
    for (;;) {
        size_t there = input->all.size - input->at;
        const char *start = there == 0 ? "" : input->all.data + input->at;
        const char *end =
            searched == there ? NULL : memchr(start + searched, '\n', there - searched);
        if (end != NULL || (input->ended && there > 0)) {
            size_t size = end != NULL ? (size_t)(end - start) : there;
            line_out->data = start;
            line_out->size = size;
            *found_out = true;
            return 0;
        }
        if (input->ended) {
            return 0;
        }
        searched = there;
        int status = fx_cli_input_fill(input);
        if (status != 0) {
            return status;
        }
    }
}

void fx_cli_input_take(fx_cli_input *input, size_t size) {
    const char *from = input->all.data + input->at;
    const char *end = from + size;
    input->at += size;
    input->taken += size;
    while (from < end && (from = memchr(from, '\n', (size_t)(end - from))) != NULL) {
        input->line++;
        from++;
    }
}

int fx_cli_input_read_all(const char *path, size_t limit, fx_cli_buffer *out) {
    fx_cli_input input;
    int status = fx_cli_input_open(&input, path);
    bool longer = status == 0 && input.total > limit;
    if (status == 0 && !longer && !fx_cli_buffer_reserve(&input.all, input.total + 1)) {
        status = fx_cli_no_memory();
    }
    while (status == 0 && !longer && !input.ended) {
        status = fx_cli_input_fill(&input);
        longer = input.all.size > limit;
    }
    if (longer) {
        status = fx_cli_fail("%s: more than %zu bytes", input.name, limit);
    }
    if (status == 0) {
        /* The window itself becomes the result: a large value is not copied. */
        fx_cli_buffer_free(out);
        *out = input.all;
        input.all = (fx_cli_buffer){NULL, 0, 0};
    }
    fx_cli_input_close(&input);
    return status;
}
