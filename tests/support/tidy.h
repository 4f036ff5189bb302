/* tidy: matchers for the rules of the house, used by tests/tidy_test.c alone. One thread.
 *
 * Each works on a text in memory and reports through tidy_problem, so that a test can plant a
 * violation and see it found. Paths are from the top of the tree; `code` is the text after
 * tidy_strip. All are linear in the text, but for line numbers in reports.
 */
#ifndef TESTS_SUPPORT_TIDY_H
#define TESTS_SUPPORT_TIDY_H

#include <stdbool.h>
#include <stddef.h>

#define TIDY_COLUMNS_MAX 100
#define TIDY_FUNCTION_LINES_MAX 70
#define TIDY_FILE_LINES_MAX 800
#define TIDY_FILES_MAX 2048
#define TIDY_UNFINISHED 4

typedef struct tidy_file {
    char path[256]; /* from the top of the tree */
    char *text;
    char *code; /* the same length, comments and literals blanked */
} tidy_file;

/* What tidy_load found so far: C sources and headers, shell and CMake scripts. */
extern tidy_file tidy_files[TIDY_FILES_MAX];
extern size_t tidy_file_count;
/* The words of unfinished work. */
extern const char *const tidy_unfinished[TIDY_UNFINISHED];

extern unsigned tidy_problems; /* reported so far */
extern bool tidy_quiet;        /* count, do not print: while violations are planted */

void tidy_problem(const char *path, size_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Reads a folder and what is below it; one that does not exist is empty. */
void tidy_load(const char *path);
const tidy_file *tidy_find_file(const char *path);
/* NULL: no such file. Released with free, as is what tidy_strip returns. */
char *tidy_read_text(const char *path);
char *tidy_strip(const char *text);

bool tidy_begins_with(const char *text, const char *start);
bool tidy_is_c(const char *path);
/* True if a pattern of the space-separated list matches (fnmatch). */
bool tidy_in_list(const char *list, const char *name, int flags);

/* Layers: includes go downward, siblings never meet, outsiders see feox.h alone. */
void tidy_check_includes(const char *path, const char *text, const char *code);
/* Doors: words that belong to one room. */
void tidy_check_bans(const char *path, const char *code);
/* Columns, white space, lines of the file. */
void tidy_check_lines(const char *path, const char *text);
/* Lines of each function. */
void tidy_check_functions(const char *path, const char *code);
/* Every exception is still for a file that exists. */
void tidy_check_exceptions(void);
void tidy_check_unfinished(const char *path, const char *text);
/* The map names a file as ROOM/PART.c, or a pair as ROOM/PART.{h,c}. */
bool tidy_map_names(const char *map, const char *path);
/* The table lines of the map, which begin with | `ROOM/, name files that exist. */
void tidy_check_map(const char *map);
/* One CMocka program for each tests/ROOM/PART_test.c, which ctest knows as ROOM/PART; `registered`
 * is the text of CTestTestfile.cmake. */
void tidy_check_registered(const char *path, const char *code, const char *registered);

#endif
