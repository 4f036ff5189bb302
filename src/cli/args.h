/* args: what the command line says, and the bytes that keys and values on it stand for. */
#ifndef FX_CLI_ARGS_H
#define FX_CLI_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/buffer.h"
#include "feox.h"

/* X(name, option, what it takes: '-' nothing, '#' a number, 'T' text, operand, help) */
#define FX_CLI_OPTION_LIST(X)                                                                      \
    X(HELP, "help", '-', "", "print this help")                                                    \
    X(HEX, "hex", '-', "", "print bytes in hexadecimal")                                           \
    X(JSON, "json", '-', "", "print JSON")                                                         \
    X(COUNTER, "counter", '-', "", "print the value as the number an incr counter holds")          \
    X(FULL, "full", '-', "", "read and verify every record, too")                                 \
    X(KEYS, "keys", '-', "", "print keys only")                                                    \
    X(HEX_KEY, "hex-key", '-', "", "key arguments are hexadecimal")               \
    X(ESCAPED_KEY, "escaped-key", '-', "", "key arguments are escaped as scan prints them") \
    X(HEX_VALUE, "hex-value", '-', "", "value arguments are hexadecimal")         \
    X(PREFIX, "prefix", 'T', "KEY", "keys that begin with KEY")                                    \
    X(FROM, "from", 'T', "KEY", "keys from KEY on, KEY included")                                  \
    X(TO, "to", 'T', "KEY", "keys up to KEY, KEY included")                                        \
    X(REVERSE, "reverse", '-', "", "from the last key to the first")                               \
    X(LIMIT, "limit", '#', "N", "at most N pairs (0: all)")                                        \
    X(TTL_MS, "ttl-ms", '#', "MS", "let it expire after MS milliseconds")                          \
    X(KEEP_TTL, "keep-ttl", '-', "", "leave the time to live as it is")                            \
    X(CLEAR_TTL, "clear-ttl", '-', "", "remove the time to live")                                  \
    X(IF_ABSENT, "if-absent", '-', "", "only if the key does not exist")                           \
    X(IF_PRESENT, "if-present", '-', "", "only if the key exists")                                 \
    X(IF_VERSION, "if-version", '#', "V", "only if the key's version is V (see get --json)")       \
    X(TIMESTAMP, "timestamp", '#', "T", "last writer wins: only if T is above the stored one")     \
    X(DURABLE, "durable", '-', "", "each write is on stable storage before the next begins")       \
    X(FORMAT, "format", 'T', "NAME", "export, delimited, csv, jsonl or json (default: export)")    \
    X(DELIMITER, "delimiter", 'T', "C", "one byte (default: tab; csv: comma)")                     \
    X(KEY, "key", 'T', "FIELD", "the key: a field's number or name, or a member's name")  \
    X(VALUE, "value", 'T', "FIELD", "store this field only (default: the whole record)")           \
    X(HEADER, "header", '-', "", "the first record holds the names of the fields")                 \
    X(PATH, "path", 'T', "POINTER", "JSON Pointer to the documents (default: the whole text)")     \
    X(KEY_PREFIX, "key-prefix", 'T', "KEY", "put KEY before every imported key")

#define FX_CLI_OPTION_ENUM_(name, option, takes, operand, help) FX_CLI_##name,
typedef enum fx_cli_option {
    FX_CLI_OPTION_LIST(FX_CLI_OPTION_ENUM_) FX_CLI_OPTION_COUNT
} fx_cli_option;
#undef FX_CLI_OPTION_ENUM_

#define FX_CLI_BIT(name) ((uint64_t)1 << FX_CLI_##name)

struct fx_cli_args;

typedef struct fx_cli_command {
    const char *name;
    const char *operands; /* for the usage line */
    int operands_min;
    int operands_max; /* -1: any number */
    uint64_t options; /* those it knows, as FX_CLI_BIT */
    int (*run)(const struct fx_cli_args *args);
    const char *summary; /* one line */
    const char *help;    /* paragraphs, each line ended; may be empty */
} fx_cli_command;

typedef struct fx_cli_args {
    const char *file;
    const fx_cli_command *command;
    uint64_t given; /* FX_CLI_BIT of each option that is there */
    const char *text[FX_CLI_OPTION_COUNT];
    uint64_t number[FX_CLI_OPTION_COUNT];
    char **operands;
    int operand_count;
} fx_cli_args;

/* Reads the words behind the command's name; reorders them so that operands come together. 0 or an
 * exit status, with its line printed. With --help among them, the rest is not checked. */
int fx_cli_args_parse(fx_cli_args *args, int count, char **words);
/* True if the option is there. */
#define FX_CLI_HAS(args, name) (((args)->given & FX_CLI_BIT(name)) != 0)
/* Prints the help lines of the options in the mask. */
void fx_cli_args_print_options(uint64_t options);
/* The name in `names` (NULL-terminated) that `word` may have been meant to be, or NULL. */
const char *fx_cli_args_nearest(const char *word, const char *const *names);

/* The bytes of a key on the command line, by --hex-key and --escaped-key; 0 or an exit status. A
 * bound of a scan may be empty and of any length, a key may not. */
int fx_cli_args_key(const fx_cli_args *args, const char *word, fx_cli_buffer *key);
int fx_cli_args_bound(const fx_cli_args *args, const char *word, fx_cli_buffer *bound);
/* The bytes of a value or a patch: "-" is standard input to its end. 0 or an exit status. */
int fx_cli_args_value(const fx_cli_args *args, const char *word, fx_cli_buffer *value);
/* --prefix --from --to --reverse --limit --keys; the buffers keep what the range points to. */
typedef struct fx_cli_bounds {
    fx_cli_buffer prefix;
    fx_cli_buffer from;
    fx_cli_buffer to;
} fx_cli_bounds;
int fx_cli_args_range(const fx_cli_args *args, fx_cli_bounds *bounds, feox_range *range);
void fx_cli_bounds_free(fx_cli_bounds *bounds);
/* --ttl-ms --keep-ttl --clear-ttl --if-* --timestamp; 0 or an exit status. */
int fx_cli_args_write(const fx_cli_args *args, feox_write *write);

/* How a command needs its file. */
typedef enum fx_cli_mode { FX_CLI_READ, FX_CLI_LOOK, FX_CLI_CHANGE, FX_CLI_CREATE } fx_cli_mode;
/* Opens args->file; 0 or an exit status. READ opens read-only, LOOK
 * also keeps no value in memory; only CREATE makes a missing file. */
int fx_cli_store_open(const fx_cli_args *args, fx_cli_mode mode, feox_store **store_out);
/* Closes the store; `status` unless that fails and `status` is not already a failure. */
int fx_cli_store_close(const fx_cli_args *args, feox_store *store, int status);

#endif
