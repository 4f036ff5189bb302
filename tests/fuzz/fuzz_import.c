/* fuzz_import: any bytes as the input of `feox import`, in every format. They are read once at one
 * go and once in small pieces, as a pipe gives them: what is stored, how much of it, and whether it
 * fails must be the same, or the growing window is wrong. Values of JSON formats are JSON.
 *
 * The linker's --wrap puts what is here in the place of read and feox_insert_with.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/config.h"
#include "cli/import.h"
#include "cli/out.h"
#include "fuzz/fuzz.h"
#include "store/json_scan.h"

/* No file has this number. */
#define INPUT_FD 1000000

typedef struct told {
    uint64_t sum; /* of every key, value and time to live, in order */
    uint64_t count;
    uint64_t line;
    int status;
} told;

static const uint8_t *input;
static size_t input_left;
static size_t piece_max;
static bool json_values;
static told now;

ssize_t __real_read(int fd, void *buffer, size_t size);
ssize_t __wrap_read(int fd, void *buffer, size_t size);
feox_status __wrap_feox_insert_with(feox_store *store, const void *key, size_t key_len,
                                    const void *value, size_t value_len, const feox_write *write,
                                    feox_written *written_out);

ssize_t __wrap_read(int fd, void *buffer, size_t size) {
    if (fd != INPUT_FD) {
        return __real_read(fd, buffer, size);
    }
    size = size < piece_max ? size : piece_max;
    size = size < input_left ? size : input_left;
    if (size > 0) {
        memcpy(buffer, input, size);
    }
    input += size;
    input_left -= size;
    return (ssize_t)size;
}

static void add(const void *data, size_t size) {
    now.sum = fx_checksum(data, size, now.sum + size);
}

/* The command takes deeper documents than the library patches: those are not compared. */
static void expect_json(const char *text, size_t size) {
    size_t opened = 0;
    for (size_t i = 0; i < size; i++) {
        opened += text[i] == '[' || text[i] == '{';
    }
    if (opened <= FX_JSON_DEPTH_MAX) {
        assert_int_equal(fx_json_validate("value", text, size, 0), FEOX_OK);
    }
}

feox_status __wrap_feox_insert_with(feox_store *store, const void *key, size_t key_len,
                                    const void *value, size_t value_len, const feox_write *write,
                                    feox_written *written_out) {
    (void)store;
    (void)written_out;
    assert_true(key_len > 0);
    add(key, key_len);
    add(value, value_len);
    add(&write->ttl_ms, sizeof write->ttl_ms);
    now.count++;
    if (json_values) {
        expect_json(value, value_len);
    }
    return now.count % 7 == 3 ? FEOX_EXISTS : FEOX_OK;
}

typedef int (*format_reader)(fx_cli_import *import);

static const struct {
    format_reader read;
    char delimiter;
    bool json;
} formats[] = {{fx_cli_import_delimited, '\t', false},
               {fx_cli_import_csv, ',', false},
               {fx_cli_import_jsonl, 0, true},
               {fx_cli_import_json, 0, true},
               {fx_cli_import_export, 0, false}};
#define FORMATS (sizeof formats / sizeof formats[0])

/* Options that the first byte chooses. */
static void choose(uint8_t choice, size_t format, fx_cli_args *args, fx_cli_import *import) {
    static const char *const paths[] = {"", "/a", "/a/0", "/a~1b"};
    import->key_field = 1;
    import->value_field = UINT64_MAX;
    if (formats[format].delimiter == 0) {
        if (format == 2 || (choice & 1) != 0) {
            args->given |= FX_CLI_BIT(KEY);
            args->text[FX_CLI_KEY] = (choice & 2) != 0 ? "id" : "";
        }
        args->given |= FX_CLI_BIT(PATH);
        args->text[FX_CLI_PATH] = paths[choice >> 2 & 3];
        return;
    }
    import->delimiter = (choice & 1) != 0 ? formats[format].delimiter : ' ';
    import->value_field = (choice & 2) != 0 ? 2 : import->value_field;
    if ((choice & 4) != 0) {
        args->given |= FX_CLI_BIT(HEADER);
        if ((choice & 8) != 0) {
            args->given |= FX_CLI_BIT(KEY) | FX_CLI_BIT(VALUE);
            args->text[FX_CLI_KEY] = "id";
            args->text[FX_CLI_VALUE] = "v";
            import->key_field = 0;
            import->value_field = 0;
        }
    }
}

static told run(const uint8_t *data, size_t size, size_t format, uint8_t choice, size_t pieces) {
    fx_cli_args args = {.file = "store"};
    fx_cli_import import = {.args = &args};
    choose(choice, format, &args, &import);
    feox_write_init(&import.write);
    import.input = (fx_cli_input){.name = "input", .fd = INPUT_FD, .line = 1};
    input = data;
    input_left = size;
    piece_max = pieces;
    json_values = formats[format].json;
    memset(&now, 0, sizeof now);
    if ((choice & 16) != 0) {
        assert_true(fx_cli_buffer_append(&import.key, "prefix", 6));
        import.key_prefix_size = import.key.size;
    }
    now.status = fx_cli_input_skip_mark(&import.input);
    if (now.status == 0) {
        now.status = formats[format].read(&import);
    }
    assert_true(import.stored + import.skipped == now.count);
    now.line = import.line;
    assert_true(now.status == 0 || now.status == FX_CLI_FAILED);
    import.input.fd = -1;
    fx_cli_input_close(&import.input);
    fx_cli_buffer_free(&import.key);
    fx_cli_buffer_free(&import.value);
    return now;
}

/* The command prints its first failure; here there are millions. */
int LLVMFuzzerInitialize(int *count, char ***words) {
    (void)count;
    (void)words;
    fuzz_begin();
    int kept = dup(STDERR_FILENO);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_true(kept >= 0 && nowhere >= 0 && dup2(nowhere, STDERR_FILENO) >= 0);
    (void)fx_cli_fail("the first failure");
    (void)fflush(stderr);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    (void)close(kept);
    (void)close(nowhere);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes bytes = {data, data + size};
    size_t format = fuzz_u8(&bytes) % FORMATS;
    uint8_t choice = fuzz_u8(&bytes);
    size_t left = (size_t)(bytes.end - bytes.at);
    told whole = run(bytes.at, left, format, choice, SIZE_MAX);
    told pieces = run(bytes.at, left, format, choice, 1u + (choice >> 5));
    assert_int_equal(whole.status, pieces.status);
    assert_int_equal(whole.count, pieces.count);
    assert_int_equal(whole.line, pieces.line);
    assert_true(whole.sum == pieces.sum);
    return 0;
}
