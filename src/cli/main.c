/* main: finds the command, prints help, and sees that standard output reached its reader. */
#include <string.h>

#include "cli/commands.h"
#include "cli/out.h"

#define BOUNDS (FX_CLI_BIT(PREFIX) | FX_CLI_BIT(FROM) | FX_CLI_BIT(TO))
#define KEY_FORMS (FX_CLI_BIT(HELP) | FX_CLI_BIT(HEX_KEY) | FX_CLI_BIT(ESCAPED_KEY))
#define WRITES (KEY_FORMS | FX_CLI_BIT(DURABLE) | FX_CLI_BIT(TIMESTAMP) | FX_CLI_BIT(JSON))
#define CHANGES (WRITES | FX_CLI_BIT(CLEAR_TTL) | FX_CLI_BIT(TTL_MS) | FX_CLI_BIT(IF_VERSION))

static const char help_import[] =
    "INPUT is a file, or - for standard input. Formats:\n"
    "  export     the lines that feox FILE export prints (the default)\n"
    "  delimited  a record is a line (it ends with LF or CR LF); --delimiter separates fields;\n"
    "             no quoting\n"
    "  csv        RFC 4180: a field in double quotes may hold delimiters, doubled quotes and line\n"
    "             ends\n"
    "  jsonl      a JSON document on each line\n"
    "  json       one JSON text; --path leads to an array or object of documents in it. Without\n"
    "             --key, the members of an object are stored under their names\n"
    "The value is the record or document byte for byte as it stands in the input, without the "
    "line\n"
    "end, or the field that --value names. Empty lines are skipped. --key: in delimited and csv "
    "the\n"
    "field's number (default 1), or with --header its name; in jsonl and json the name of a "
    "member,\n"
    "or a JSON Pointer into the document, that is a string or a number. A key that comes twice\n"
    "keeps the later value.\n"
    "All but json are read as a stream in constant memory. A bad record ends the import with its\n"
    "line number; what came before stays stored.\n";

static const char help_export[] = "One JSON object a line, in the order of the keys:\n"
                                  "  {\"key\":\"...\",\"value\":\"...\",\"ttl_ms\":N}\n"
                                  "Bytes that are not UTF-8 come as \"key_base64\" or "
                                  "\"value_base64\" (RFC 4648). ttl_ms is what\n"
                                  "remains, and is there only if the key expires. feox FILE import "
                                  "restores every byte; versions\n"
                                  "and timestamps are new.\n";

static const char help_scan[] =
    "Prints key, tab, value, and a line end. Printable ASCII and UTF-8 stand for themselves;\n"
    "backslash, tab, LF and CR are \\\\ \\t \\n \\r; every other byte is \\xHH with two digits. A "
    "key\n"
    "printed so is understood by --escaped-key. --json prints the lines of export without "
    "ttl_ms.\n";

static const char help_check[] =
    "Compares superblocks, table, journal and the headers of all segments with each other, and "
    "what\n"
    "opening the file found in its records; --full reads and verifies every byte that the file\n"
    "holds for a live record, too. Prints a line for each problem: what it is, its place in the\n"
    "file (offset and length in bytes), and the key that it costs, if that is known, as scan "
    "prints\n"
    "it; then a summary. Needs memory for the keys, and writes nothing. Exit status 0 if the file\n"
    "is clean, 3 if there are problems.\n";

static const char help_salvage[] =
    "Writes every sound key of FILE to OUT, a store that must not exist yet: values, remaining\n"
    "times to live and timestamps are kept, versions are new. FILE is only read, and may be "
    "damaged\n"
    "anywhere. If its superblocks or its table are lost, it is searched for records, and the "
    "newest\n"
    "of each key is copied; a key that was deleted may then come back. Prints a line for "
    "everything\n"
    "that is lost, as check does, and a summary. Exit status 0 if nothing was, 3 if something "
    "was,\n"
    "or if OUT could not be written.\n";

static const fx_cli_command commands[] = {
    {"get", "KEY", 1, 1, KEY_FORMS | FX_CLI_BIT(HEX) | FX_CLI_BIT(JSON) | FX_CLI_BIT(COUNTER),
     fx_cli_run_get, "print a value",
     "Prints the bytes of the value, and a line end only on a terminal. --json adds version,\n"
     "timestamp and, if it expires, what remains of the time to live.\n"},
    {"set", "KEY VALUE", 2, 2,
     WRITES | FX_CLI_BIT(HEX_VALUE) | FX_CLI_BIT(TTL_MS) | FX_CLI_BIT(KEEP_TTL) |
         FX_CLI_BIT(IF_ABSENT) | FX_CLI_BIT(IF_PRESENT) | FX_CLI_BIT(IF_VERSION),
     fx_cli_run_set, "store a value",
     "VALUE - is standard input, byte for byte. A time to live that was there is removed.\n"
     "--json prints the version that was written.\n"},
    {"del", "KEY...", 1, -1, WRITES | FX_CLI_BIT(IF_VERSION), fx_cli_run_del, "remove keys",
     "Exit status 1 if one of them was not there; the others are removed all the same.\n"},
    {"cas", "KEY EXPECTED NEW", 3, 3, CHANGES | FX_CLI_BIT(HEX_VALUE), fx_cli_run_cas,
     "store NEW if the value is EXPECTED",
     "One of the two values can be -, standard input. Exit status 1 if the value is another one "
     "or\n"
     "there is none. The time to live stays.\n"},
    {"incr", "KEY [DELTA]", 1, 2, CHANGES, fx_cli_run_incr, "add to a counter",
     "DELTA is 1 unless given, and may be negative. Prints the new value. A counter is 8 bytes,\n"
     "little-endian; a missing key becomes DELTA; get --counter reads it.\n"},
    {"patch", "KEY PATCH", 2, 2, CHANGES, fx_cli_run_patch, "apply a JSON Patch (RFC 6902)",
     "PATCH - is standard input. All of it is applied, or nothing.\n"},
    {"merge", "KEY PATCH", 2, 2, CHANGES, fx_cli_run_merge, "apply a JSON Merge Patch (RFC 7396)",
     "PATCH - is standard input.\n"},
    {"ttl", "KEY", 1, 1, KEY_FORMS, fx_cli_run_ttl, "print the milliseconds until a key expires",
     "-1: it never expires.\n"},
    {"expire", "KEY MS", 2, 2, WRITES | FX_CLI_BIT(IF_VERSION), fx_cli_run_expire,
     "let a key expire after MS milliseconds", "0 removes the time to live, as persist does.\n"},
    {"persist", "KEY", 1, 1, WRITES | FX_CLI_BIT(IF_VERSION), fx_cli_run_persist,
     "let a key never expire", ""},
    {"scan", "", 0, 0,
     KEY_FORMS | BOUNDS | FX_CLI_BIT(REVERSE) | FX_CLI_BIT(LIMIT) | FX_CLI_BIT(KEYS) |
         FX_CLI_BIT(JSON) | FX_CLI_BIT(HEX),
     fx_cli_run_scan, "print pairs in the order of the keys", help_scan},
    {"count", "", 0, 0, KEY_FORMS | BOUNDS, fx_cli_run_count, "print the number of keys", ""},
    {"stat", "", 0, 0, FX_CLI_BIT(HELP) | FX_CLI_BIT(JSON), fx_cli_run_stat, "print statistics",
     ""},
    {"import", "INPUT", 1, 1,
     KEY_FORMS | FX_CLI_BIT(FORMAT) | FX_CLI_BIT(DELIMITER) | FX_CLI_BIT(KEY) | FX_CLI_BIT(VALUE) |
         FX_CLI_BIT(HEADER) | FX_CLI_BIT(PATH) | FX_CLI_BIT(KEY_PREFIX) | FX_CLI_BIT(TTL_MS) |
         FX_CLI_BIT(IF_ABSENT) | FX_CLI_BIT(DURABLE),
     fx_cli_run_import, "store the records of a file", help_import},
    {"export", "", 0, 0, KEY_FORMS | BOUNDS, fx_cli_run_export,
     "print everything, for import to read", help_export},
    {"check", "", 0, 0, FX_CLI_BIT(HELP) | FX_CLI_BIT(FULL), fx_cli_run_check, "verify the file",
     help_check},
    {"salvage", "OUT", 1, 1, FX_CLI_BIT(HELP), fx_cli_run_salvage,
     "copy what is sound to a new store", help_salvage},
    {"compact", "", 0, 0, FX_CLI_BIT(HELP), fx_cli_run_compact,
     "make the file as short as it can be",
     "Moves live records to the beginning of the file and cuts off its end. Prints the sizes "
     "before\n"
     "and after. Nothing is lost if it is interrupted. Needs a few MiB of free space.\n"},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static const fx_cli_command *find_command(const char *name) {
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *name) {
    const char *names[COMMANDS + 1];
    for (int i = 0; i < COMMANDS; i++) {
        names[i] = commands[i].name;
    }
    names[COMMANDS] = NULL;
    const char *nearest = fx_cli_args_nearest(name, names);
    if (nearest != NULL) {
        return fx_cli_usage("unknown command %.200s; did you mean %s?", name, nearest);
    }
    return fx_cli_usage("unknown command %.200s; see feox --help", name);
}

static void print_overview(void) {
    fx_cli_out_text("Usage: feox FILE COMMAND [OPTIONS] [ARGUMENTS]\n"
                    "       feox help COMMAND\n"
                    "       feox --version\n\n"
                    "Works on the libfeox key-value store in FILE.\n\nCommands:\n");
    for (int i = 0; i < COMMANDS; i++) {
        size_t width = strlen(commands[i].name) + strlen(commands[i].operands) + 1;
        fx_cli_out_text("  ");
        fx_cli_out_text(commands[i].name);
        fx_cli_out_text(" ");
        fx_cli_out_text(commands[i].operands);
        for (; width < 20; width++) {
            fx_cli_out_text(" ");
        }
        fx_cli_out_text("  ");
        fx_cli_out_text(commands[i].summary);
        fx_cli_out_text("\n");
    }
    fx_cli_out_text(
        "\nset, incr and import make FILE if it is not there. get, ttl, scan, count, stat,\n"
        "export, check and salvage open it read-only. A word that begins with -- is an option, "
        "unless\n"
        "it follows a word that is just --. Everything is on stable storage when a command\n"
        "that writes has ended with status 0.\n\n"
        "Exit status: 0 done; 1 an expected outcome (no such key, mismatch, exists already,\n"
        "stale); 2 wrong usage; 3 failure. All but 0 come with one line on standard error.\n");
}

static void print_help(const fx_cli_command *command) {
    fx_cli_out_text("Usage: feox FILE ");
    fx_cli_out_text(command->name);
    fx_cli_out_text(command->operands[0] != '\0' ? " [OPTIONS] " : " [OPTIONS]");
    fx_cli_out_text(command->operands);
    fx_cli_out_text("\n\n");
    fx_cli_out_text(command->summary);
    fx_cli_out_text("\n\n");
    fx_cli_out_text(command->help);
    fx_cli_out_text(command->help[0] != '\0' ? "\nOptions:\n" : "Options:\n");
    fx_cli_args_print_options(command->options);
}

static int help_of(const char *name) {
    const fx_cli_command *command = find_command(name);
    if (command == NULL) {
        return unknown_command(name);
    }
    print_help(command);
    return FX_CLI_DONE;
}

static bool is_help(const char *word) {
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int run(int count, char **words) {
    fx_cli_args args = {.file = NULL};
    if (count < 2) {
        return fx_cli_usage("a file and a command are needed; see feox --help");
    }
    if (is_help(words[1]) || (count == 2 && strcmp(words[1], "help") == 0)) {
        print_overview();
        return FX_CLI_DONE;
    }
    if (strcmp(words[1], "--version") == 0) {
        fx_cli_out_text("feox ");
        fx_cli_out_text(feox_version());
        fx_cli_out_text("\n");
        fx_cli_out_text(feox_build_info());
        fx_cli_out_text("\n");
        return FX_CLI_DONE;
    }
    if (count == 2) {
        return fx_cli_usage("a command is needed behind the file %.200s; see feox --help",
                            words[1]);
    }
    /* "feox help set" asks for help; a file of that name is reached as ./help. */
    if (strcmp(words[1], "help") == 0) {
        return help_of(words[2]);
    }
    if (is_help(words[2])) {
        return find_command(words[1]) != NULL ? help_of(words[1]) : (print_overview(), 0);
    }
    args.file = words[1];
    args.command = find_command(words[2]);
    if (args.command == NULL) {
        return unknown_command(words[2]);
    }
    if (args.file[0] == '\0') {
        return fx_cli_usage("the name of the file is empty");
    }
    int status = fx_cli_args_parse(&args, count - 3, words + 3);
    if (status != 0) {
        return status;
    }
    if (FX_CLI_HAS(&args, HELP)) {
        print_help(args.command);
        return FX_CLI_DONE;
    }
    return args.command->run(&args);
}

int main(int argc, char **argv) {
    fx_cli_out_init();
    int status = run(argc, argv);
    int printed = fx_cli_out_finish();
    return printed != 0 ? printed : status;
}
