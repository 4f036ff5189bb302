/* args: only words that begin with "--" are options, so that "-" is standard input and "-5" a
 * number; "--" ends the options. Everything is checked before a store is opened: a wrong command
 * line never makes or changes a file. */
#include "cli/args.h"

#include <string.h>

#include "cli/input.h"
#include "cli/out.h"

typedef struct option_row {
    const char *name;
    char takes;
    const char *operand;
    const char *help;
} option_row;

#define OPTION_ROW(name, option, takes, operand, help) {option, takes, operand, help},
static const option_row option_rows[] = {FX_CLI_OPTION_LIST(OPTION_ROW)};

/* Optimal string alignment distance, bounded to names of up to 31 bytes. */
static size_t name_distance(const char *a, const char *b) {
    size_t rows[3][32];
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    if (a_len > 31 || b_len > 31) {
        return 32;
    }
    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = rows[i % 3];
        const size_t *before = rows[(i + 2) % 3];
        const size_t *two_before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = before[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            best = before[j] + 1 < best ? before[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                two_before[j - 2] + 1 < best) {
                best = two_before[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return rows[a_len % 3][b_len];
}

const char *fx_cli_args_nearest(const char *word, const char *const *names) {
    const char *nearest = NULL;
    size_t nearest_distance = 3; /* more than two slips is another word */
    for (; *names != NULL; names++) {
        size_t distance = name_distance(word, *names);
        if (distance < nearest_distance && distance < strlen(*names)) {
            nearest = *names;
            nearest_distance = distance;
        }
    }
    return nearest;
}

void fx_cli_args_print_options(uint64_t options) {
    for (int i = 0; i < FX_CLI_OPTION_COUNT; i++) {
        const option_row *row = &option_rows[i];
        size_t width = strlen(row->name) + strlen(row->operand) + 1;
        if ((options & ((uint64_t)1 << i)) == 0) {
            continue;
        }
        fx_cli_out_text("  --");
        fx_cli_out_text(row->name);
        fx_cli_out_text(" ");
        fx_cli_out_text(row->operand);
        for (; width < 18; width++) {
            fx_cli_out_text(" ");
        }
        fx_cli_out_text("  ");
        fx_cli_out_text(row->help);
        fx_cli_out_text("\n");
    }
}

static int unknown_option(const fx_cli_args *args, const char *word) {
    const char *names[FX_CLI_OPTION_COUNT + 1];
    int count = 0;
    for (int i = 0; i < FX_CLI_OPTION_COUNT; i++) {
        if ((args->command->options & ((uint64_t)1 << i)) != 0) {
            names[count++] = option_rows[i].name;
        }
    }
    names[count] = NULL;
    const char *nearest = fx_cli_args_nearest(word + 2, names);
    if (nearest != NULL) {
        return fx_cli_usage("%s: unknown option %.200s; did you mean --%s?", args->command->name,
                            word, nearest);
    }
    return fx_cli_usage(
        "%s: unknown option %.200s; a word that begins with -- can follow \"--\"; see "
        "feox help %s",
        args->command->name, word, args->command->name);
}

/* Takes the option in words[*at], and its operand in the same word or in the next one. */
static int parse_option(fx_cli_args *args, int count, char **words, int *at) {
    const char *word = words[*at];
    const char *equals = strchr(word, '=');
    size_t length = equals != NULL ? (size_t)(equals - word) - 2 : strlen(word) - 2;
    int found = -1;
    for (int i = 0; i < FX_CLI_OPTION_COUNT; i++) {
        if (strlen(option_rows[i].name) == length &&
            memcmp(option_rows[i].name, word + 2, length) == 0) {
            found = i;
        }
    }
    if (found < 0 || (args->command->options & ((uint64_t)1 << found)) == 0) {
        return unknown_option(args, word);
    }
    const option_row *row = &option_rows[found];
    args->given |= (uint64_t)1 << found;
    if (row->takes == '-') {
        return equals == NULL ? 0 : fx_cli_usage("--%s takes nothing", row->name);
    }
    if (equals == NULL && *at + 1 >= count) {
        return fx_cli_usage("--%s needs %s", row->name, row->operand);
    }
    args->text[found] = equals != NULL ? equals + 1 : words[++*at];
    if (row->takes == '#' && !fx_cli_parse_number(args->text[found], &args->number[found])) {
        return fx_cli_usage("--%s: %.200s is not a number from 0 to 18446744073709551615",
                            row->name, args->text[found]);
    }
    return 0;
}

int fx_cli_args_parse(fx_cli_args *args, int count, char **words) {
    const fx_cli_command *command = args->command;
    bool options_over = false;
    args->operands = words;
    for (int i = 0; i < count; i++) {
        if (!options_over && strcmp(words[i], "--") == 0) {
            options_over = true;
        } else if (!options_over && strncmp(words[i], "--", 2) == 0) {
            int status = parse_option(args, count, words, &i);
            if (status != 0) {
                return status;
            }
        } else if (!options_over && strcmp(words[i], "-h") == 0) {
            args->given |= FX_CLI_BIT(HELP);
        } else {
            words[args->operand_count++] = words[i];
        }
    }
    if (FX_CLI_HAS(args, HELP)) {
        return 0;
    }
    if (args->operand_count < command->operands_min ||
        (command->operands_max >= 0 && args->operand_count > command->operands_max)) {
        bool none = command->operands_max == 0;
        bool more = args->operand_count > command->operands_min;
        return fx_cli_usage("%s takes %s%s; see feox help %s", command->name,
                            none ? "no arguments" : command->operands,
                            more && !none ? ", nothing more" : "", command->name);
    }
    if (FX_CLI_HAS(args, HEX_KEY) && FX_CLI_HAS(args, ESCAPED_KEY)) {
        return fx_cli_usage("--hex-key and --escaped-key exclude each other");
    }
    if (FX_CLI_HAS(args, HEX) && FX_CLI_HAS(args, JSON)) {
        return fx_cli_usage("--hex and --json exclude each other");
    }
    return 0;
}

int fx_cli_args_bound(const fx_cli_args *args, const char *word, fx_cli_buffer *bound) {
    fx_cli_decoded decoded = FX_CLI_DECODED;
    if (FX_CLI_HAS(args, HEX_KEY)) {
        decoded = fx_cli_decode_hex(word, strlen(word), bound);
    } else if (FX_CLI_HAS(args, ESCAPED_KEY)) {
        decoded = fx_cli_decode_escaped(word, strlen(word), bound);
    } else if (!fx_cli_buffer_append(bound, word, strlen(word))) {
        decoded = FX_CLI_DECODE_MEMORY;
    }
    if (decoded == FX_CLI_DECODE_MEMORY) {
        return fx_cli_no_memory();
    }
    if (decoded == FX_CLI_DECODE_BAD) {
        return fx_cli_usage("%.200s is not %s", word,
                            FX_CLI_HAS(args, HEX_KEY) ? "hexadecimal" : "escaped as scan does");
    }
    return 0;
}

int fx_cli_args_key(const fx_cli_args *args, const char *word, fx_cli_buffer *key) {
    int status = fx_cli_args_bound(args, word, key);
    if (status == 0 && key->size == 0) {
        return fx_cli_usage("a key has at least 1 byte");
    }
    if (status == 0 && key->size > FEOX_KEY_SIZE_MAX) {
        return fx_cli_fail("the key has %zu bytes; the longest allowed has %u", key->size,
                           FEOX_KEY_SIZE_MAX);
    }
    return status;
}

int fx_cli_args_value(const fx_cli_args *args, const char *word, fx_cli_buffer *value) {
    if (strcmp(word, "-") == 0) {
        return fx_cli_input_read_all("-", FEOX_VALUE_SIZE_MAX, value);
    }
    if (!FX_CLI_HAS(args, HEX_VALUE)) {
        return fx_cli_buffer_append(value, word, strlen(word)) ? 0 : fx_cli_no_memory();
    }
    switch (fx_cli_decode_hex(word, strlen(word), value)) {
    case FX_CLI_DECODED:
        return 0;
    case FX_CLI_DECODE_MEMORY:
        return fx_cli_no_memory();
    case FX_CLI_DECODE_BAD:
    default:
        return fx_cli_usage("%.200s is not hexadecimal", word);
    }
}

int fx_cli_args_range(const fx_cli_args *args, fx_cli_bounds *bounds, feox_range *range) {
    int status = 0;
    feox_range_init(range);
    if (FX_CLI_HAS(args, PREFIX)) {
        status = fx_cli_args_bound(args, args->text[FX_CLI_PREFIX], &bounds->prefix);
    }
    if (status == 0 && FX_CLI_HAS(args, FROM)) {
        status = fx_cli_args_bound(args, args->text[FX_CLI_FROM], &bounds->from);
    }
    if (status == 0 && FX_CLI_HAS(args, TO)) {
        status = fx_cli_args_bound(args, args->text[FX_CLI_TO], &bounds->to);
    }
    range->prefix = bounds->prefix.data;
    range->prefix_len = bounds->prefix.size;
    range->start = bounds->from.data;
    range->start_len = bounds->from.size;
    range->end = bounds->to.data;
    range->end_len = bounds->to.size;
    range->limit = (size_t)args->number[FX_CLI_LIMIT];
    range->flags |= FX_CLI_HAS(args, REVERSE) ? FEOX_REVERSE : 0;
    range->flags |= FX_CLI_HAS(args, KEYS) ? FEOX_KEYS_ONLY : 0;
    return status;
}

void fx_cli_bounds_free(fx_cli_bounds *bounds) {
    fx_cli_buffer_free(&bounds->prefix);
    fx_cli_buffer_free(&bounds->from);
    fx_cli_buffer_free(&bounds->to);
}

int fx_cli_args_write(const fx_cli_args *args, feox_write *write) {
    int conditions =
        FX_CLI_HAS(args, IF_ABSENT) + FX_CLI_HAS(args, IF_PRESENT) + FX_CLI_HAS(args, IF_VERSION);
    int ttls = FX_CLI_HAS(args, TTL_MS) + FX_CLI_HAS(args, KEEP_TTL) + FX_CLI_HAS(args, CLEAR_TTL);
    if (conditions > 1 || ttls > 1) {
        return fx_cli_usage("%s exclude each other",
                            conditions > 1 ? "--if-absent, --if-present and --if-version"
                                           : "--ttl-ms, --keep-ttl and --clear-ttl");
    }
    if (FX_CLI_HAS(args, TTL_MS) && args->number[FX_CLI_TTL_MS] == 0) {
        return fx_cli_usage("--ttl-ms is at least 1; without it there is no time to live");
    }
    feox_write_init(write);
    write->flags |= FX_CLI_HAS(args, IF_ABSENT) ? FEOX_IF_ABSENT : 0;
    write->flags |= FX_CLI_HAS(args, IF_PRESENT) ? FEOX_IF_PRESENT : 0;
    write->flags |= FX_CLI_HAS(args, IF_VERSION) ? FEOX_IF_VERSION : 0;
    write->flags |= FX_CLI_HAS(args, KEEP_TTL) ? FEOX_KEEP_TTL : 0;
    write->flags |= FX_CLI_HAS(args, CLEAR_TTL) ? FEOX_CLEAR_TTL : 0;
    write->flags |= FX_CLI_HAS(args, DURABLE) ? FEOX_DURABLE : 0;
    write->ttl_ms = args->number[FX_CLI_TTL_MS];
    write->version = args->number[FX_CLI_IF_VERSION];
    write->timestamp = args->number[FX_CLI_TIMESTAMP];
    return 0;
}

int fx_cli_store_open(const fx_cli_args *args, fx_cli_mode mode, feox_store **store_out) {
    feox_options options;
    feox_options_init(&options);
    options.create = mode == FX_CLI_CREATE ? FEOX_YES : FEOX_NO;
    options.read_only = mode <= FX_CLI_LOOK ? FEOX_YES : FEOX_NO;
    options.memory_limit = mode == FX_CLI_LOOK ? 1 : 0;
    options.value_size_limit = FEOX_VALUE_SIZE_MAX;
    feox_status status = feox_open(args->file, &options, store_out);
    /* Another command may be about to end. Each open waits for that itself, a quarter of a second.
     */
    for (int tries = 0; status == FEOX_ERR_BUSY && tries < 3; tries++) {
        status = feox_open(args->file, &options, store_out);
    }
    if (status == FEOX_NOT_FOUND) {
        return fx_cli_fail("%.800s: there is no such file; %s", args->file,
                           "set, incr and import make one");
    }
    return fx_cli_status(status, args->file, strlen(args->file));
}

int fx_cli_store_close(const fx_cli_args *args, feox_store *store, int status) {
    feox_status closed = feox_close(store);
    if (closed != FEOX_OK && status != FX_CLI_FAILED) {
        return fx_cli_status(closed, args->file, strlen(args->file));
    }
    return status;
}
