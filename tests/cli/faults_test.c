/* The command when something fails beneath it: each allocation of the library and of the command,
 * each read of its input and write of its output, each call that reaches the file. Whatever fails,
 * the command is done, with the output and the file of a run without faults, or it ends with status
 * 3 and one line that says why, and the file is as before or as after.
 *
 * The command runs in a child of this program, linked with its objects: so faults reach it by the
 * memory door, by support/tap, and by the linker's --wrap of realloc, read and write. Wrapped are
 * also two calls of the library, for what comes between them and those before.
 */
#define _GNU_SOURCE
#include "support/tap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/mem.h"
#include "feox.h"
#include "support/campaign.h"
#include "support/child.h"
#include "support/temp.h"

int feox_command_main(int argc, char **argv); /* main of src/cli */
void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
ssize_t __real_read(int fd, void *buffer, size_t size);
ssize_t __wrap_read(int fd, void *buffer, size_t size);
ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);
feox_status __real_feox_ttl(feox_store *store, const void *key, size_t key_len, int64_t *ttl_out);
feox_status __wrap_feox_ttl(feox_store *store, const void *key, size_t key_len, int64_t *ttl_out);
feox_status __real_feox_check_with(feox_store *store, uint32_t flags, feox_check_report *report,
                                   feox_found found, void *context);
feox_status __wrap_feox_check_with(feox_store *store, uint32_t flags, feox_check_report *report,
                                   feox_found found, void *context);

enum { OK = 0, OUTCOME = 1, USAGE = 2, FAILED = 3, WORDS = 12, CALLS = 5000, BLOCK = 4096 };

typedef enum fault {
    NO_FAULT,
    LIBRARY_MEMORY,
    COMMAND_MEMORY,
    INTERRUPTED_READ,
    SHORT_READ,
    FAILED_READ,
    INTERRUPTED_WRITE,
    SHORT_WRITE,
    FAILED_WRITE,
    DEVICE_READ, /* of the file */
    DEVICE_WRITE,
    LOOK, /* open, stat and their kin */
    LOCKED, /* by another process, for a moment */
    FAULTS
} fault;

typedef struct fault_row {
    const char *name;
    const char *says; /* what the line says; NULL: nobody may see the fault */
    uint32_t calls;   /* bits of tap_call */
    long result;
} fault_row;

/* clang-format off */
#define BIT(call) (1u << (call))
static const fault_row fault_rows[FAULTS] = {
    [NO_FAULT] = {"nothing", NULL, 0, 0},
    [LIBRARY_MEMORY] = {"the library's memory", "memory", 0, 0},
    [COMMAND_MEMORY] = {"the command's memory", "memory", 0, 0},
    [INTERRUPTED_READ] = {"an interrupted read", NULL, 0, 0},
    [SHORT_READ] = {"a short read", NULL, 0, 0},
    [FAILED_READ] = {"a failed read", "Input/output error", 0, 0},
    [INTERRUPTED_WRITE] = {"an interrupted write", NULL, 0, 0},
    [SHORT_WRITE] = {"a short write", NULL, 0, 0},
    [FAILED_WRITE] = {"a failed write", "standard output: No space left", 0, 0},
    [DEVICE_READ] = {"a read of the file", "Input/output error",
                     BIT(TAP_READ) | BIT(TAP_RING_READ), -EIO},
    [DEVICE_WRITE] = {"a write of the file", "Input/output error",
                      BIT(TAP_WRITE) | BIT(TAP_WRITE_SYNC) | BIT(TAP_RING_WRITE) |
                      BIT(TAP_DATA_SYNC) | BIT(TAP_FULL_SYNC) | BIT(TAP_NAME_SYNC) |
                      BIT(TAP_RESERVE) | BIT(TAP_RESIZE), -EIO},
    [LOOK] = {"a look at the file", "Input/output error", BIT(TAP_OPEN) | BIT(TAP_LOOK), -EIO},
    [LOCKED] = {"a lock", NULL, BIT(TAP_LOCK), -EWOULDBLOCK},
};
/* clang-format on */

static fault fault_kind;
static unsigned reads;
static uint64_t fault_left; /* 1: the next call is the one; 0: none any more */
static char out_text[1 << 16];
static char err_text[4096];
static int out_fd;
static int err_fd;
/* Shared with the child. */
static struct {
    uint64_t faults;
    uint64_t calls[FAULTS];
} *met;
static campaign faults;
static const char *directory;

/* ---- Faults, in the child ---- */

/* Whether this call is to fail. In a run without faults all are counted. */
static bool meets(fault kind) {
    met->calls[kind] += fault_kind == NO_FAULT;
    if (fault_kind != kind || fault_left == 0 || --fault_left > 0) {
        return false;
    }
    met->faults++;
    return true;
}

void *__wrap_realloc(void *memory, size_t size) {
    if (meets(COMMAND_MEMORY)) {
        return NULL;
    }
    return __real_realloc(memory, size);
}

ssize_t __wrap_read(int fd, void *buffer, size_t size) {
    if (meets(INTERRUPTED_READ) || meets(FAILED_READ)) {
        errno = fault_kind == FAILED_READ ? EIO : EINTR;
        return -1;
    }
    /* A failure may also come when some bytes are there already. */
    bool is_short = fault_kind == FAILED_READ ? reads++ == 0 : meets(SHORT_READ);
    return __real_read(fd, buffer, is_short && size > 1 ? 1 : size);
}

ssize_t __wrap_write(int fd, const void *data, size_t size) {
    if (fd != STDOUT_FILENO) {
        return __real_write(fd, data, size);
    }
    if (meets(INTERRUPTED_WRITE) || meets(FAILED_WRITE)) {
        errno = fault_kind == FAILED_WRITE ? ENOSPC : EINTR;
        return -1;
    }
    return __real_write(fd, data, size > 1 && meets(SHORT_WRITE) ? 1 : size);
}

static bool tapped(const tap_event *event, long *result) {
    bool fails = false;
    for (fault kind = DEVICE_READ; kind < FAULTS; kind++) {
        fails = ((fault_rows[kind].calls & BIT(event->call)) != 0 && meets(kind)) || fails;
    }
    *result = fails ? fault_rows[fault_kind].result : 0;
    return fails;
}

/* ---- Running the command ---- */

static size_t take_text(int fd, char *text, size_t capacity) {
    ssize_t size = pread(fd, text, capacity - 1, 0);
    assert_true(size >= 0);
    text[size] = '\0';
    assert_int_equal(ftruncate(fd, 0), 0);
    return (size_t)size;
}

static void become_command(const char *const *words, fault kind, uint64_t n) {
    char *copies[WORDS + 1] = {(char *)(uintptr_t) "feox"};
    int count = 1;
    for (; words[count - 1] != NULL; count++) {
        copies[count] = (char *)(uintptr_t)words[count - 1];
    }
    int in = open("in", O_RDONLY | O_CLOEXEC);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0 ||
        dup2(err_fd, STDERR_FILENO) < 0) {
        _exit(127);
    }
    (void)close(in);
    (void)alarm(60);
    memset(met, 0, sizeof *met);
    fault_kind = kind;
    fault_left = kind == LIBRARY_MEMORY ? 0 : n;
    tap_set(tapped);
    fx_mem_fail_after(kind == LIBRARY_MEMORY ? n : 0, false);
    int status = feox_command_main(count, copies);
    if (kind == LIBRARY_MEMORY) {
        met->faults = fx_mem_failed();
    }
    tap_set(NULL);
    fault_kind = NO_FAULT; /* what is left is the child's own */
    _exit(status);
}

/* The n-th call of its kind fails; the exit status. */
static int run(const char *const *words, fault kind, uint64_t n) {
    int status = 0;
    assert_int_equal(lseek(out_fd, 0, SEEK_SET), 0);
    assert_int_equal(lseek(err_fd, 0, SEEK_SET), 0);
    pid_t child = fork();
    if (child == 0) {
        become_command(words, kind, n);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    (void)take_text(out_fd, out_text, sizeof out_text);
    (void)take_text(err_fd, err_text, sizeof err_text);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool one_line(const char *text) {
    const char *end = strchr(text, '\n');
    return strncmp(text, "feox: ", 6) == 0 && end != NULL && end[1] == '\0';
}

/* ---- Cases ---- */

enum {
    ANY_OUTPUT = 1, /* it differs from run to run */
    PARTLY = 2,     /* of what it changes, a part may be done */
    NEW_FILE = 4,   /* begins without the file */
    READS = 8,      /* leaves the file alone, to the byte */
    OPENS = 16      /* faults while it opens the file count, too; elsewhere it is the same code */
};

typedef struct command_case {
    const char *words[WORDS];
    const char *input; /* NULL: large */
    unsigned flags;
} command_case;

/* clang-format off */
#define PATCH "[{\"op\":\"add\",\"path\":\"/b\",\"value\":[1,\"\\u00e9\"]}]"
static const command_case cases[] = {
    {{"s", "get", "a"}, "", READS},
    {{"s", "get", "a", "--json"}, "", READS | ANY_OUTPUT | OPENS},
    {{"s", "get", "--hex-key", "61", "--hex"}, "", READS},
    {{"s", "get", "n", "--counter"}, "", READS},
    {{"s", "get", "none"}, "", READS},
    {{"s", "set", "new", "value"}, "", NEW_FILE | OPENS},
    {{"s", "set", "a", "value", "--json", "--if-present"}, "", ANY_OUTPUT | OPENS},
    {{"s", "set", "a", "--hex-value", "00ff"}, "", 0},
    {{"s", "set", "big", "-"}, NULL, 0},
    {{"s", "del", "a", "--escaped-key", "\\x6e"}, "", PARTLY},
    {{"s", "cas", "a", "1", "-"}, "two", 0},
    {{"s", "incr", "n", "5", "--json"}, "", ANY_OUTPUT},
    {{"s", "patch", "d", PATCH}, "", 0},
    {{"s", "merge", "d", "-", "--durable"}, "{\"a\":null,\"c\":{\"d\":1}}", 0},
    {{"s", "ttl", "a"}, "", READS},
    {{"s", "expire", "a", "1000000"}, "", 0},
    {{"s", "persist", "t"}, "", 0},
    {{"s", "scan"}, "", READS},
    {{"s", "scan", "--json", "--prefix", "b", "--reverse"}, "", READS},
    {{"s", "scan", "--keys", "--from", "a", "--to", "d", "--limit", "9"}, "", READS},
    {{"s", "count"}, "", READS},
    {{"s", "count", "--prefix", "b"}, "", READS},
    {{"s", "stat"}, "", READS | ANY_OUTPUT},
    {{"s", "check", "--full"}, "", READS | OPENS},
    {{"s", "export", "--prefix", "b"}, "", READS},
    {{"s", "export", "--from", "d"}, "", READS | ANY_OUTPUT},
    {{"s", "salvage", "copy"}, "", READS},
    {{"s", "compact"}, "", ANY_OUTPUT},
    {{"s", "import", "-", "--key-prefix", "p"},
     "{\"key\":\"x\",\"value\":\"\\u00e9\",\"ttl_ms\":5000000}\n"
     "{\"key_base64\":\"/w==\",\"value_base64\":\"AAEC\"}\n", PARTLY},
    {{"s", "import", "-", "--format", "delimited", "--header", "--key", "id", "--value", "v"},
     "\xef\xbb\xbfid\tv\r\nx\ty\nz\tw", PARTLY},
    {{"s", "import", "-", "--format", "csv", "--header", "--key", "i\"d", "--if-absent"},
     "\"i\"\"d\",v\r\n\"x\"\"y\",\"a,\n\"\r\na,2\n", PARTLY},
    {{"s", "import", "-", "--format", "jsonl", "--key", "id", "--durable"},
     "{\"id\":\"\\u00e9\\\"\",\"v\":1}\n\n{\"v\":2,\"\\u0069d\":17}\n", PARTLY},
    {{"s", "import", "-", "--format", "json", "--path", "/r/0"},
     "{\"r\":[{\"k\":{\"v\":[1,2]},\n\"l\\n\":2}]}", PARTLY},
    {{"s", "import", "-", "--format", "json", "--key", "/id/0"},
     "[{\"id\":[\"x\"]},{\"id\":[\"y\"]}]", PARTLY},
};
/* clang-format on */
#define CASES (sizeof cases / sizeof cases[0])

static const char *const scan_words[] = {"s", "scan", NULL};
static char large[400000];
static char *base; /* the file that most cases begin with; its size is a multiple of BLOCK */
static size_t base_size;

static void make_base(void) {
    static const char *const lines[][WORDS] = {
        {"s", "set", "a", "1"},
        {"s", "incr", "n", "7"},
        {"s", "set", "b\"", "-"},
        {"s", "set", "bb", "\x1f\\\t\""},
        {"s", "set", "d", "{\"a\":1}"},
        {"s", "set", "t", "mortal", "--ttl-ms", "100000000"},
    };
    fx_file_write("in", "\xff\xfe\x1b", 3);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (run(lines[i], NO_FAULT, 0) != OK) {
            fail_msg("%s %s: %s", lines[i][1], lines[i][2], err_text);
        }
    }
    base = fx_file_slurp("s", &base_size);
}

/* Writes what is not zero. */
static void restore_base(void) {
    static const char zeros[BLOCK];
    int fd = open("s", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)base_size), 0);
    for (size_t at = 0; at < base_size; at += BLOCK) {
        if (memcmp(base + at, zeros, BLOCK) != 0) {
            assert_int_equal(pwrite(fd, base + at, BLOCK, (off_t)at), BLOCK);
        }
    }
    (void)close(fd);
}

static void begin(const command_case *c) {
    fx_file_remove("s");
    fx_file_remove("copy");
    if ((c->flags & NEW_FILE) == 0) {
        restore_base();
    }
}

/* All that is in the file, as the command prints it; nothing if it is not there. */
static char *look(void) {
    if (!fx_file_exists("s")) {
        return strdup("");
    }
    if (run(scan_words, NO_FAULT, 0) != OK) {
        fail_msg("scan: %s", err_text);
    }
    return strdup(out_text);
}

typedef struct expected {
    uint64_t calls[FAULTS];
    int status;
    char *out;
    char *before;
    char *after;
} expected;

static void wrong(const command_case *c, fault kind, uint64_t n, const char *what) {
    print_error("%s %s, %s %llu: %s; standard error: %s\n", c->words[1],
                c->words[2] != NULL ? c->words[2] : "", fault_rows[kind].name,
                (unsigned long long)n, what, err_text);
    faults.failures++;
}

/* What cannot be read is damaged for those who look for damage. */
static bool is_told(const char *says) {
    return strstr(err_text, says) != NULL ||
           (fault_rows[DEVICE_READ].says == says && (strstr(err_text, "problems\n") != NULL ||
                                                     strstr(err_text, "damaged; ") != NULL));
}

/* What the command said and how it ended. */
static const char *wrong_words(const command_case *c, const expected *e, fault kind, int status,
                               bool is_met) {
    const char *says = fault_rows[kind].says;
    bool any_output = (c->flags & ANY_OUTPUT) != 0;
    if (status != FAILED && status != e->status) {
        return "the exit status";
    }
    if (status != FAILED) {
        bool same = any_output || strcmp(out_text, e->out) == 0;
        return !same || (status == OK && err_text[0] != '\0') ? "its output" : NULL;
    }
    if (!is_met || says == NULL) {
        return "it failed";
    }
    if (!one_line(err_text) || !is_told(says)) {
        return "its line";
    }
    /* What could not be read is left out of the output. */
    bool begun = any_output || kind == DEVICE_READ ||
                 strncmp(out_text, e->out, strlen(out_text)) == 0;
    return begun ? NULL : "its output before it failed";
}

static void judge(const command_case *c, const expected *e, fault kind, uint64_t n, int status) {
    const char *words = wrong_words(c, e, kind, status, met->faults > 0);
    if (words != NULL) {
        wrong(c, kind, n, words);
    }
    bool failed = status == FAILED;
    fx_file_remove("copy");
    if ((c->flags & READS) != 0) {
        return;
    }
    char *now = look();
    bool is_after = strcmp(now, e->after) == 0;
    bool known = is_after || strcmp(now, e->before) == 0 || (c->flags & PARTLY) != 0;
    if (failed ? !known : !is_after) {
        wrong(c, kind, n, "what is in the file");
    }
    begin(c);
    free(now);
}

/* Whether the short run takes the n-th call: what opening makes of them is the same everywhere, and
 * of many others some will do. */
static bool is_taken(const command_case *c, fault kind, uint64_t n) {
    static const uint64_t opening[FAULTS] = {
        [LIBRARY_MEMORY] = 54, [DEVICE_READ] = 10, [LOOK] = 21, [LOCKED] = 3};
    bool opens = (c->flags & OPENS) != 0;
    uint64_t begin_at = opening[kind];
    if (getenv("FEOX_LONG") != NULL) {
        return true;
    }
    if (n <= begin_at) {
        bool of_input = kind == LOOK && n <= 5 && c->words[2] != NULL && c->words[2][0] == '-';
        return of_input || (opens && n % 8 == 1);
    }
    switch (kind) {
        case LIBRARY_MEMORY:
            return n < begin_at + 14 && ((c->flags & READS) != 0 || n % 3 == 1);
        case DEVICE_READ:
        case LOOK:
            return n < begin_at + 6 || n % 397 == 0;
        case DEVICE_WRITE:
            return n % (opens ? 2 : 6) == 1;
        default:
            return true;
    }
}

/* Each call fails once, until the command has no more of them. */
static void run_case(const command_case *c, fault kind, const expected *e) {
    uint64_t most = kind == LIBRARY_MEMORY ? CALLS : e->calls[kind];
    most += kind == FAILED_READ && most > 0; /* it comes behind one more, which is short */
    for (uint64_t n = 1; n <= most; n++) {
        if (!is_taken(c, kind, n)) {
            continue;
        }
        int status = run(c->words, kind, n);
        uint64_t faults_met = met->faults;
        judge(c, e, kind, n, status);
        faults.cases++;
        faults.faults += faults_met;
        if (faults_met == 0) {
            break;
        }
    }
}

static void every_fault(void **state) {
    (void)state;
    campaign_begin(&faults, "C4 C5 the command");
    make_base();
    for (size_t i = 0; i < CASES; i++) {
        const command_case *c = &cases[i];
        const char *input = c->input != NULL ? c->input : large;
        fx_file_write("in", input, c->input != NULL ? strlen(input) : sizeof large);
        expected e;
        begin(c);
        e.before = look();
        e.status = run(c->words, NO_FAULT, 0);
        e.out = strdup(out_text);
        memcpy(e.calls, met->calls, sizeof e.calls);
        if (e.status > OUTCOME) {
            fail_msg("%s: %s", c->words[1], err_text);
        }
        e.after = look();
        begin(c);
        for (fault kind = NO_FAULT + 1; kind < FAULTS; kind++) {
            run_case(c, kind, &e);
        }
        if ((c->flags & READS) != 0 && !fx_file_equals("s", base, base_size)) {
            wrong(c, NO_FAULT, 0, "it has written to the file");
        }
        free(e.before);
        free(e.after);
        free(e.out);
    }
    campaign_end(&faults);
    assert_int_equal(faults.failures, 0);
}

/* ---- Between two calls ---- */

static feox_status ttl_answer; /* for the second key that is asked about; FEOX_OK: as it is */
static unsigned ttl_calls;
static bool check_misses; /* all that is damaged */

feox_status __wrap_feox_ttl(feox_store *store, const void *key, size_t key_len, int64_t *ttl_out) {
    feox_status status = __real_feox_ttl(store, key, key_len, ttl_out);
    return ++ttl_calls == 2 && ttl_answer != FEOX_OK ? ttl_answer : status;
}

feox_status __wrap_feox_check_with(feox_store *store, uint32_t flags, feox_check_report *report,
                                   feox_found found, void *context) {
    return check_misses ? FEOX_OK : __real_feox_check_with(store, flags, report, found, context);
}

/* A pair that expires when it has just been read is left out; a time that cannot be told ends the
 * export. */
static void export_of_a_moment(void **state) {
    (void)state;
    static const char *const words[] = {"s", "export", "--to", "n", NULL};
    fx_file_remove("s");
    make_base();
    assert_int_equal(run(words, NO_FAULT, 0), OK);
    char *whole = strdup(out_text);
    const char *second = strchr(whole, '\n') + 1;
    const char *third = strchr(second, '\n') + 1;
    ttl_answer = FEOX_NOT_FOUND;
    assert_int_equal(run(words, NO_FAULT, 0), OK);
    assert_string_equal(err_text, "");
    assert_int_equal(strncmp(out_text, whole, (size_t)(second - whole)), 0);
    assert_string_equal(out_text + (second - whole), third);
    ttl_answer = FEOX_ERR_IO;
    assert_int_equal(run(words, NO_FAULT, 0), FAILED);
    assert_true(one_line(err_text));
    assert_non_null(strstr(err_text, feox_status_text(FEOX_ERR_IO)));
    assert_int_equal(strncmp(out_text, whole, (size_t)(second - whole)), 0);
    assert_int_equal(strlen(out_text), second - whole);
    ttl_answer = FEOX_OK;
    free(whole);
    free(base);
}

/* What opening left out as damaged is told even if the check should not come upon it. */
static void damaged_when_opened(void **state) {
    (void)state;
    static const char *const words[] = {"s", "check", NULL};
    fx_file_remove("s");
    make_base();
    check_misses = true;
    assert_int_equal(run(words, NO_FAULT, 0), OK);
    assert_string_equal(out_text,
                        "0 keys checked, 0 records damaged, 0 blocks damaged, 0 problems\n");
    char *end = base + base_size;
    for (char *at = base; (at = memmem(at, (size_t)(end - at), "mortal", 6)) != NULL;) {
        *at ^= 1; /* old copies, too */
    }
    restore_base();
    assert_int_equal(run(words, NO_FAULT, 0), FAILED);
    assert_string_equal(out_text,
                        "1 records were found damaged when the file was opened\n"
                        "0 keys checked, 1 records damaged, 0 blocks damaged, 1 problems\n");
    assert_true(one_line(err_text));
    assert_non_null(strstr(err_text, "the check found 1 problems"));
    check_misses = false;
    fx_file_remove("s");
    free(base);
}

static int setup(void **state) {
    (void)state;
    memset(large, 'l', sizeof large);
    directory = fx_temp_dir();
    out_fd = memfd_create("out", MFD_CLOEXEC);
    err_fd = memfd_create("err", MFD_CLOEXEC);
    met = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return out_fd < 0 || err_fd < 0 || met == MAP_FAILED ? -1 : chdir(directory);
}

/* Thousands of files are made; what is tested is not the disk. */
int main(void) {
    fx_temp_in_memory();
    const struct CMUnitTest tests[] = {cmocka_unit_test(export_of_a_moment),
                                       cmocka_unit_test(damaged_when_opened),
                                       cmocka_unit_test(every_fault)};
    return cmocka_run_group_tests_name("cli/faults", tests, setup, NULL);
}
