/* tidy: see tidy.h. Comments and the insides of literals are blanked before code is matched, at the
 * same offsets, so that a word in a sentence is no violation and line numbers stay right. The
 * matchers know what clang-format leaves of C, not C: enough for our own sources.
 */
#define _GNU_SOURCE
#include "support/tidy.h"

#include <ctype.h>
#include <dirent.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Longer than the rule allows, for now. A number here may fall and a line may go; neither may rise
 * or come: what is shorter than its number fails as well. */
typedef struct exception {
    const char *path;
    const char *function; /* NULL: the whole file */
    unsigned lines;
} exception;

/* Ends with an empty one. At the moment there are none. */
static const exception exceptions[] = {
    {NULL, NULL, 0},
};

/* ---- Reports and files ---- */

/* What only lack of memory or a tree of unforeseen size can break. */
static void must(bool condition) {
    if (!condition) {
        fputs("tidy: out of memory or bounds\n", stderr);
        exit(2);
    }
}

unsigned tidy_problems;
bool tidy_quiet;

void tidy_problem(const char *path, size_t line, const char *format, ...) {
    tidy_problems++;
    if (tidy_quiet) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%zu: ", path, line);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

tidy_file tidy_files[TIDY_FILES_MAX];
size_t tidy_file_count;

char *tidy_read_text(const char *path) {
    char full[1024];
    snprintf(full, sizeof full, "%s%s%s", path[0] == '/' ? "" : FEOX_SOURCE_DIR,
             path[0] == '/' ? "" : "/", path);
    FILE *stream = fopen(full, "rb");
    if (stream == NULL) {
        return NULL;
    }
    size_t size = 0;
    size_t used = 0;
    char *text = NULL;
    do {
        size = size * 2 + 65536;
        text = realloc(text, size + 1);
        must(NULL != text);
        used += fread(text + used, 1, size - used, stream);
    } while (used == size);
    fclose(stream);
    text[used] = '\0';
    return text;
}

static size_t line_of(const char *text, size_t offset) {
    size_t line = 1;
    for (size_t i = 0; i < offset; i++) {
        line += text[i] == '\n';
    }
    return line;
}

/* End of a comment or literal that begins at text[i]; i itself if none does. */
static size_t skip_quiet(const char *text, size_t i) {
    size_t at = i;
    if (text[i] == '/' && text[i + 1] == '*') {
        const char *end = strstr(text + i + 2, "*/");
        return end != NULL ? (size_t)(end - text) + 2 : strlen(text);
    }
    if (text[i] == '/' && text[i + 1] == '/') {
        return i + strcspn(text + i, "\n");
    }
    if (text[i] == '"' || text[i] == '\'') {
        for (at++; text[at] != '\0' && text[at] != '\n' && text[at] != text[i]; at++) {
            at += text[at] == '\\' && text[at + 1] != '\0';
        }
        return text[at] == text[i] ? at + 1 : at;
    }
    return i;
}

char *tidy_strip(const char *text) {
    char *code = strdup(text);
    must(NULL != code);
    for (size_t i = 0; text[i] != '\0';) {
        size_t end = skip_quiet(text, i);
        bool literal = text[i] == '"' || text[i] == '\'';
        for (size_t j = i; j < end; j++) {
            bool edge = literal && (j == i || j + 1 == end);
            code[j] = edge || text[j] == '\n' ? text[j] : ' ';
        }
        i = end > i ? end : i + 1;
    }
    return code;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text);
    size_t m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

bool tidy_begins_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

bool tidy_is_c(const char *path) {
    return ends_with(path, ".c") || ends_with(path, ".h");
}

void tidy_load(const char *path) {
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", FEOX_SOURCE_DIR, path);
    DIR *directory = opendir(full);
    if (directory == NULL) {
        return; /* a room that does not exist yet */
    }
    for (struct dirent *item; (item = readdir(directory)) != NULL;) {
        char name[512];
        struct stat info;
        snprintf(name, sizeof name, "%s/%s", path, item->d_name);
        snprintf(full, sizeof full, "%s/%s", FEOX_SOURCE_DIR, name);
        if (item->d_name[0] == '.' || stat(full, &info) != 0) {
            continue;
        }
        if (S_ISDIR(info.st_mode)) {
            tidy_load(name);
        } else if (tidy_is_c(name) || ends_with(name, ".sh") || ends_with(name, ".cmake")) {
            must(tidy_file_count < sizeof tidy_files / sizeof tidy_files[0]);
            must(strlen(name) < sizeof tidy_files[0].path);
            tidy_file *f = &tidy_files[tidy_file_count++];
            memcpy(f->path, name, strlen(name) + 1);
            f->text = tidy_read_text(name);
            must(NULL != f->text);
            f->code = tidy_is_c(name) ? tidy_strip(f->text) : strdup(f->text);
        }
    }
    closedir(directory);
}

const tidy_file *tidy_find_file(const char *path) {
    for (size_t i = 0; i < tidy_file_count; i++) {
        if (strcmp(tidy_files[i].path, path) == 0) {
            return &tidy_files[i];
        }
    }
    return NULL;
}

/* ---- Layers ---- */

/* Who may include whom, lowest first. Siblings of one height have never met. */
typedef struct room {
    const char *name;
    const char *may; /* rooms, each between spaces */
} room;

static const room library_rooms[] = {
    {"base", " base "},
    {"index", " base index "},
    {"disk", " base disk "},
    {"engine", " base index disk engine "},
    {"store", " base index disk engine store "},
};

/* The library room of a path such as src/base/mem.c; NULL: not of the library. */
static const room *library_room(const char *path) {
    for (size_t i = 0; i < sizeof library_rooms / sizeof library_rooms[0]; i++) {
        char start[64];
        snprintf(start, sizeof start, "src/%s/", library_rooms[i].name);
        if (tidy_begins_with(path, start)) {
            return &library_rooms[i];
        }
    }
    return NULL;
}

/* Those who must get by with the public header. */
static bool is_outsider(const char *path) {
    return tidy_begins_with(path, "src/cli/") || tidy_begins_with(path, "src/server/") ||
           tidy_begins_with(path, "examples/") || tidy_begins_with(path, "tests/api/");
}

/* Third-party headers and the one file that each belongs to. */
static const char *const foreign_headers[][2] = {
    {"liburing.h", "src/disk/dev_*.c"},
    {"liburing/*", "src/disk/dev_*.c"},
    {"linux/*", "src/disk/dev_*.c"},
    {"xxhash.h", "src/base/checksum.c"},
    {"stdatomic.h", ""},
    {"assert.h", ""},
    {"cjson/*", ""},
    {"cJSON.h", ""},
    {"jemalloc/*", ""},
    {"malloc.h", "src/base/mem.c"},
};

static void check_library_include(const char *path, size_t line, const char *name, bool quoted) {
    const room *of = library_room(path);
    if (!quoted) {
        for (size_t i = 0; i < sizeof foreign_headers / sizeof foreign_headers[0]; i++) {
            if (fnmatch(foreign_headers[i][0], name, 0) == 0 &&
                fnmatch(foreign_headers[i][1], path, 0) != 0) {
                tidy_problem(path, line, "<%s> belongs behind another door", name);
            }
        }
        return;
    }
    if (strcmp(name, "feox.h") == 0) {
        return;
    }
    char target[64];
    snprintf(target, sizeof target, " %.*s ", (int)strcspn(name, "/"), name);
    if (strchr(name, '/') == NULL || strstr(name, "..") != NULL) {
        tidy_problem(path, line, "\"%s\": includes are written ROOM/PART.h", name);
    } else if (strstr(of->may, target) == NULL) {
        tidy_problem(path, line, "%s may not include \"%s\": includes go downward only", of->name,
                     name);
    }
}

/* An outsider may include its own room, and test support that is an outsider itself. */
static void check_outsider_include(const char *path, size_t line, const char *name) {
    char beside[512];
    snprintf(beside, sizeof beside, "%.*s%s", (int)(strrchr(path, '/') + 1 - path), path, name);
    const char *own = tidy_begins_with(path, "src/cli/")      ? "cli/"
                      : tidy_begins_with(path, "src/server/") ? "server/"
                                                              : "\n";
    if (strcmp(name, "feox.h") == 0 || tidy_begins_with(name, own) ||
        (strchr(name, '/') == NULL && tidy_find_file(beside) != NULL)) {
        return;
    }
    if (tidy_begins_with(path, "tests/api/") && tidy_begins_with(name, "support/")) {
        snprintf(beside, sizeof beside, "tests/%s", name);
        const tidy_file *support = tidy_find_file(beside);
        if (support != NULL) {
            /* Under the name of an outsider: what it includes is included here too. */
            snprintf(beside, sizeof beside, "tests/api/(%s)", name + strlen("support/"));
            tidy_check_includes(beside, support->text, support->code);
            return;
        }
    }
    tidy_problem(path, line, "\"%s\": sees feox.h and nothing else of the library", name);
}

void tidy_check_includes(const char *path, const char *text, const char *code) {
    for (size_t i = 0; code[i] != '\0'; i += strcspn(code + i, "\n"), i += code[i] == '\n') {
        size_t at = i + strspn(code + i, " \t");
        if (code[at] != '#') {
            continue;
        }
        at += 1 + strspn(code + at + 1, " \t");
        if (!tidy_begins_with(code + at, "include")) {
            continue;
        }
        at += strlen("include");
        at += strspn(text + at, " \t");
        bool quoted = text[at] == '"';
        char name[256] = "";
        snprintf(name, sizeof name, "%.*s", (int)strcspn(text + at + 1, quoted ? "\"\n" : ">\n"),
                 text + at + 1);
        size_t line = line_of(text, at);
        if (ends_with(name, ".c")) {
            tidy_problem(path, line, "a source includes a source");
        }
        if (library_room(path) != NULL) {
            check_library_include(path, line, name, quoted);
        } else if (is_outsider(path) && quoted) {
            check_outsider_include(path, line, name);
        }
    }
}

/* ---- The doors: words that belong to one room ---- */

typedef struct ban {
    const char *words;   /* patterns, separated by spaces */
    const char *allowed; /* path patterns, separated by spaces */
    bool everywhere;     /* also the command and the examples, not the library alone */
    bool call;           /* only as a call: word( */
    const char *instead;
} ban;

static const ban bans[] = {
    {"malloc calloc realloc free reallocarray posix_memalign aligned_alloc memalign valloc strdup "
     "strndup asprintf vasprintf mmap munmap mremap madvise mallocx rallocx dallocx sdallocx",
     "src/base/mem.c", false, true, "base/mem.h is the memory door"},
    {"pread pwrite pread64 pwrite64 preadv pwritev preadv2 pwritev2 read write readv writev fsync "
     "fdatasync sync_file_range syncfs open openat creat fopen fdopen ftruncate truncate fallocate "
     "posix_fallocate unlink rename flock lockf fcntl io_uring_*",
     "src/disk/dev_*.c src/disk/dev_*.h", false, true, "disk/dev.h is the storage door"},
    {"clock_gettime gettimeofday time clock timespec_get ftime", "src/base/clock.c src/base/lock.c",
     false, true, "time is passed in; base/clock.h in store/"},
    {"rand srand random srandom drand48 lrand48 arc4random getrandom getentropy", "src/base/rng.c",
     false, true, "base/rng.h is the only chance"},
    {"pthread_create thrd_create fork vfork clone system popen",
     "src/store/workers.c src/disk/dev_*.c", false, true, "only store/workers.c starts threads"},
    {"atomic_*_explicit atomic_load atomic_store atomic_exchange atomic_compare_exchange_* "
     "atomic_fetch_* atomic_init atomic_flag_* _Atomic __atomic_* __sync_* __ATOMIC_*",
     "src/base/atomic.h", false, false, "base/atomic.h names the orders"},
    {"*thread_fence* *signal_fence*", "", true, false, "ThreadSanitizer cannot see fences"},
    {"_Thread_local __thread thread_local", "", false, false, "a dlopen()ed library has no TLS"},
    {"assert", "", true, true, "FX_ASSERT, or an assertion of CMocka"},
    {"strcpy strcat sprintf vsprintf gets stpcpy strtok", "", true, true, "bound the length"},
    {"printf fprintf vprintf vfprintf dprintf puts fputs putchar fputc putc perror syslog", "",
     false, true, "the library never prints"},
    {"abort exit _exit _Exit quick_exit atexit on_exit signal sigaction raise kill setenv putenv "
     "longjmp siglongjmp",
     "", false, true, "the library leaves its host alone"},
};

/* True if a pattern of the space-separated list matches. */
bool tidy_in_list(const char *list, const char *name, int flags) {
    while (*list != '\0') {
        char pattern[128];
        size_t size = strcspn(list, " ");
        snprintf(pattern, sizeof pattern, "%.*s", (int)size, list);
        if (fnmatch(pattern, name, flags) == 0) {
            return true;
        }
        list += size + strspn(list + size, " ");
    }
    return false;
}

static bool word_char(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* What users run or copy from. Tests and benchmarks may build their texts as they like. */
static bool is_for_users(const char *path) {
    return tidy_begins_with(path, "src/") || tidy_begins_with(path, "include/") ||
           tidy_begins_with(path, "examples/");
}

static void check_word(const char *path, const char *code, size_t start, size_t end) {
    char word[128];
    snprintf(word, sizeof word, "%.*s", (int)(end - start), code + start);
    size_t before = start;
    while (before > 0 && isspace((unsigned char)code[before - 1])) {
        before--;
    }
    bool member =
        before > 0 && (code[before - 1] == '.' ||
                       (before > 1 && code[before - 1] == '>' && code[before - 2] == '-'));
    size_t after = end + strspn(code + end, " \t\n");
    for (size_t i = 0; i < sizeof bans / sizeof bans[0]; i++) {
        const ban *b = &bans[i];
        if (!(library_room(path) != NULL || (b->everywhere && is_for_users(path))) || member ||
            (b->call && code[after] != '(') || tidy_in_list(b->allowed, path, FNM_PATHNAME) ||
            !tidy_in_list(b->words, word, 0)) {
            continue;
        }
        tidy_problem(path, line_of(code, start), "%s: %s", word, b->instead);
    }
}

void tidy_check_bans(const char *path, const char *code) {
    for (size_t i = 0; code[i] != '\0';) {
        size_t end = i;
        while (word_char(code[end])) {
            end++;
        }
        if (end > i && !isdigit((unsigned char)code[i])) {
            check_word(path, code, i, end);
        }
        i = end > i ? end : i + 1;
    }
}

/* ---- Sizes ---- */

static unsigned lines_allowed(const char *path, const char *function, unsigned rule) {
    for (size_t i = 0; exceptions[i].path != NULL; i++) {
        const exception *e = &exceptions[i];
        bool same = (e->function == NULL) == (function == NULL) && strcmp(e->path, path) == 0;
        if (same && (function == NULL || strcmp(e->function, function) == 0)) {
            return e->lines;
        }
    }
    return rule;
}

static void check_size(const char *path, const char *function, size_t line, size_t lines,
                       unsigned rule) {
    unsigned allowed = lines_allowed(path, function, rule);
    const char *what = function != NULL ? function : "the file";
    if (lines > allowed) {
        tidy_problem(path, line, "%s has %zu lines; %u are allowed", what, lines, allowed);
    } else if (allowed != rule && lines < allowed) {
        tidy_problem(path, line, "%s is down to %zu lines: lower its exception (%u)", what, lines,
                     allowed);
    }
}

void tidy_check_lines(const char *path, const char *text) {
    size_t line = 1;
    for (const char *at = text; *at != '\0'; line++) {
        size_t size = strcspn(at, "\n");
        size_t columns = 0;
        for (size_t i = 0; i < size; i++) {
            columns += ((unsigned char)at[i] & 0xc0) != 0x80; /* characters, not bytes, of UTF-8 */
        }
        if (columns > TIDY_COLUMNS_MAX) {
            tidy_problem(path, line, "%zu columns; %d are allowed", columns, TIDY_COLUMNS_MAX);
        }
        if (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t' || at[size - 1] == '\r')) {
            tidy_problem(path, line, "white space at the end of the line");
        }
        if (memchr(at, '\t', size) != NULL) {
            tidy_problem(path, line, "a tab");
        }
        if (at[size] == '\0') {
            tidy_problem(path, line, "no newline at the end of the file");
            break;
        }
        at += size + 1;
    }
    if (tidy_is_c(path)) {
        check_size(path, NULL, 1, line - 1, TIDY_FILE_LINES_MAX);
    }
}

/* Blanks preprocessor lines with their continuations: their braces need not balance. */
static char *without_directives(const char *code) {
    char *plain = strdup(code);
    must(NULL != plain);
    bool inside = false;
    for (char *at = plain; *at != '\0';) {
        size_t size = strcspn(at, "\n");
        bool continues = size > 0 && at[size - 1] == '\\';
        if (inside || at[strspn(at, " \t")] == '#') {
            inside = continues;
            memset(at, ' ', size);
        }
        at += size + (at[size] == '\n');
    }
    return plain;
}

/* The word before the first parenthesis of a function's head. */
static void function_name(const char *head, size_t size, char name[128]) {
    size_t end = 0;
    while (end < size && head[end] != '(') {
        end++;
    }
    while (end > 0 && isspace((unsigned char)head[end - 1])) {
        end--;
    }
    size_t start = end;
    while (start > 0 && word_char(head[start - 1])) {
        start--;
    }
    snprintf(name, 128, "%.*s", (int)(end - start), head + start);
}

/* A function is a block at the outermost level whose brace follows a parenthesis. */
void tidy_check_functions(const char *path, const char *code) {
    char *plain = without_directives(code);
    size_t head = 0; /* where the current outermost declaration begins */
    size_t depth = 0;
    bool body = false;
    for (size_t i = 0; plain[i] != '\0'; i++) {
        if (plain[i] == '{') {
            size_t before = i;
            while (before > head && isspace((unsigned char)plain[before - 1])) {
                before--;
            }
            char last = before > head ? plain[before - 1] : '\0';
            if (depth == 0 && last == '"') {
                head = i + 1; /* extern "C" { is no level */
                continue;
            }
            body = depth == 0 ? last == ')' : body;
            depth++;
        } else if (plain[i] == '}') {
            depth -= depth > 0;
            if (depth == 0 && body) {
                char name[128];
                head += strspn(plain + head, " \t\n");
                function_name(plain + head, i - head, name);
                size_t line = line_of(plain, head);
                check_size(path, name, line, line_of(plain, i) - line + 1, TIDY_FUNCTION_LINES_MAX);
                body = false;
            }
            head = depth == 0 ? i + 1 : head;
        } else if (plain[i] == ';' && depth == 0) {
            head = i + 1;
        }
    }
    if (depth != 0) {
        tidy_problem(path, line_of(plain, strlen(plain)), "braces do not balance");
    }
    free(plain);
}

/* ---- Words, maps, registers ---- */

/* Spelled in halves, or this file would find itself. */
const char *const tidy_unfinished[TIDY_UNFINISHED] = {"TO"
                                                      "DO",
                                                      "FIX"
                                                      "ME",
                                                      "XX"
                                                      "X",
                                                      "HA"
                                                      "CK"};

void tidy_check_unfinished(const char *path, const char *text) {
    for (size_t i = 0; i < sizeof tidy_unfinished / sizeof tidy_unfinished[0]; i++) {
        for (const char *at = text; (at = strstr(at, tidy_unfinished[i])) != NULL;) {
            const char *end = at + strlen(tidy_unfinished[i]);
            if ((at == text || !word_char(at[-1])) && !word_char(*end)) {
                tidy_problem(path, line_of(text, (size_t)(at - text)), "%s", tidy_unfinished[i]);
            }
            at = end;
        }
    }
}

/* The map names a file as ROOM/PART.c, or a pair as ROOM/PART.{h,c}. */
bool tidy_map_names(const char *map, const char *path) {
    const char *dot = strrchr(path, '.');
    size_t stem = (size_t)(dot + 1 - path);
    for (const char *at = map; (at = strstr(at, path)) != NULL; at++) {
        if ((at == map || !(word_char(at[-1]) || at[-1] == '/')) && !word_char(at[strlen(path)])) {
            return true;
        }
    }
    for (const char *at = map; *at != '\0'; at++) {
        if (strncmp(at, path, stem) == 0 && at[stem] == '{' &&
            (at == map || !(word_char(at[-1]) || at[-1] == '/'))) {
            char list[64];
            snprintf(list, sizeof list, "%.*s", (int)strcspn(at + stem + 1, "}\n"), at + stem + 1);
            for (char *c = list; *c != '\0'; c++) {
                *c = *c == ',' ? ' ' : *c;
            }
            if (tidy_in_list(list, dot + 1, 0)) {
                return true;
            }
        }
    }
    return false;
}

static void check_mapped(size_t line, const char *stem, size_t stem_size, const char *end,
                         size_t end_size) {
    char path[300];
    snprintf(path, sizeof path, "src/%.*s%.*s", (int)stem_size, stem, (int)end_size, end);
    if (tidy_find_file(path) == NULL) {
        tidy_problem("src/README.md", line, "%s does not exist", path);
    }
}

void tidy_check_map(const char *map) {
    for (const char *at = map; (at = strstr(at, "| `")) != NULL;) {
        at += strlen("| `");
        size_t line = line_of(map, (size_t)(at - map));
        size_t stem = strcspn(at, "{`\n");
        if (at[stem] == '`') {
            check_mapped(line, at, stem, "", 0);
        }
        for (const char *end = at + stem; *end == '{' || *end == ',';) {
            size_t size = strcspn(end + 1, ",}`\n");
            check_mapped(line, at, stem, end + 1, size);
            end += 1 + size;
        }
    }
}

/* One CMocka program for each tests/ROOM/PART_test.c, which ctest knows as ROOM/PART. */
void tidy_check_registered(const char *path, const char *code, const char *registered) {
    if (!tidy_begins_with(path, "tests/") || !ends_with(path, ".c")) {
        return;
    }
    if (!ends_with(path, "_test.c")) {
        if (strstr(code, "cmocka_run_group_tests") != NULL) {
            tidy_problem(path, 1, "a test program is called PART_test.c, or nobody runs it");
        }
        return;
    }
    char name[256];
    char wanted[300];
    snprintf(name, sizeof name, "%.*s", (int)(strlen(path) - strlen("tests/") - strlen("_test.c")),
             path + strlen("tests/"));
    snprintf(wanted, sizeof wanted, "add_test([=[%s]=] ", name);
    char plain[300];
    snprintf(plain, sizeof plain, "add_test(%s ", name);
    if (strstr(registered, wanted) == NULL && strstr(registered, plain) == NULL) {
        tidy_problem(path, 1, "ctest does not know %s", name);
    }
}

/* ---- Exceptions that no longer are ---- */

void tidy_check_exceptions(void) {
    for (size_t i = 0; exceptions[i].path != NULL; i++) {
        if (tidy_find_file(exceptions[i].path) == NULL) {
            tidy_problem(exceptions[i].path, 1, "an exception for a file that is gone");
        }
    }
}
