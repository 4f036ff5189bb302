/* temp: one directory for the files of a test program, and helpers for whole files.
 *
 * The directory is made at the first call, under $TMPDIR or /tmp, and removed with everything in it
 * when the process that made it exits; a forked child that exits removes nothing. FEOX_KEEP_TEMP=1
 * in the environment keeps it. Any thread. Every helper prints the reason and aborts the test
 * program if the system refuses: a test has nothing left to test then.
 */
#ifndef FX_SUPPORT_TEMP_H
#define FX_SUPPORT_TEMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Puts the directory into memory (/dev/shm), where that can be and TMPDIR says nothing else: for
 * tests that are not about the disk. Before any other call, and before there are threads. */
void fx_temp_in_memory(void);
/* The directory, without a slash at the end. Lives until exit. */
const char *fx_temp_dir(void);
/* DIRECTORY/name; whether it exists is the caller's business. Lives until exit. */
const char *fx_temp_path(const char *name);
/* DIRECTORY/prefix-N, with a number that no call of this process had before. Lives until exit. */
const char *fx_temp_fresh(const char *prefix);

/* The whole file, with a 0 byte behind it; release with free(). size_out may be NULL. */
void *fx_file_slurp(const char *path, size_t *size_out);
/* Makes or replaces the file. */
void fx_file_write(const char *path, const void *data, size_t size);
/* Overwrites bytes inside the file; it grows if they reach beyond its end. */
void fx_file_patch(const char *path, uint64_t offset, const void *data, size_t size);
void fx_file_copy(const char *from, const char *to);
void fx_file_truncate(const char *path, uint64_t size);
uint64_t fx_file_size(const char *path);
bool fx_file_exists(const char *path);
/* A missing file is fine. */
void fx_file_remove(const char *path);
bool fx_file_equals(const char *path, const void *data, size_t size);

#endif
