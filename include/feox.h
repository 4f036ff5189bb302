/* feox.h - the whole public interface of libfeox, an embeddable key-value store.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A store maps byte-string keys to byte-string values. It lives in memory, and, when it was opened
 * with a path, in one file that survives crashes. This header is also its manual.
 *
 * THREADS    Every function may be called from any thread at any time; threads never register.
 *            The exceptions: feox_close comes last on its store, and one cursor or one view is used
 *            by one thread at a time. No call is safe inside a signal handler. After fork() the
 *            child gets FEOX_ERR_FORKED from every call on an inherited store and touches nothing.
 * RESULTS    0 is done, above 0 is an expected outcome (nothing went wrong), below 0 is a failure.
 *            A call that does not return FEOX_OK has changed nothing, unless its comment says so.
 * BYTES      Keys and values are (pointer, length) pairs and may hold any bytes. NULL is a legal
 *            pointer for length 0. Keys are ordered by memcmp, a prefix before what it begins.
 * OWNERSHIP  What a call allocates for the caller is released with feox_free (or the function
 *            named there). Out-parameters are set to zero or NULL (a descriptor to -1) before
 *            anything else happens.
 *            Out-parameters called "may be NULL" may be NULL; the others must not be.
 * STRUCTS    Those that begin with struct_size are filled by their _init function first. Zero in
 *            any member means "the default"; a struct_size of 0 that of version 1.0. A shorter
 *            one is that of a struct with fewer members; a struct from a later version is accepted
 *            if what this version does not know of it is zero, else it is FEOX_ERR_ARGUMENT.
 * UNITS      In the name: _ms milliseconds, _ns nanoseconds, _len and _size bytes. Timestamps are
 *            nanoseconds since 1970.
 */
#ifndef FEOX_H
#define FEOX_H

#include <stddef.h>
#include <stdint.h>

#define FEOX_VERSION_MAJOR 1
#define FEOX_VERSION_MINOR 0
#define FEOX_VERSION_PATCH 0

/* Longest key, in bytes. The shortest is 1 byte. */
#define FEOX_KEY_SIZE_MAX 65535u
/* Longest value that feox_options.value_size_limit can allow: 1 GiB. */
#define FEOX_VALUE_SIZE_MAX 1073741824u

#if defined(__GNUC__)
#define FEOX_API __attribute__((visibility("default")))
#else
#define FEOX_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Results -------------------------------------------------------------------------------- */

/* X(name, number, text): the one list of results. The numbers never change. */
#define FEOX_STATUS_LIST(X)                                                                        \
    X(FEOX_OK, 0, "done")                                                                          \
    X(FEOX_NOT_FOUND, 1, "no such key")                                                            \
    X(FEOX_MISMATCH, 2, "the current value or version is not the expected one")                    \
    X(FEOX_EXISTS, 3, "the key exists already")                                                    \
    X(FEOX_STALE, 4, "the timestamp is not newer than the stored one")                             \
    X(FEOX_END, 5, "no more pairs")                                                                \
    X(FEOX_TRUNCATED, 6, "the buffer is too small for the whole value")                            \
    X(FEOX_PENDING, 7, "not on stable storage yet")                                                \
    X(FEOX_ERR_ARGUMENT, -1, "an argument is not valid")                                           \
    X(FEOX_ERR_MEMORY, -2, "out of memory, or over the store's memory limit")                      \
    X(FEOX_ERR_SPACE, -3, "no space left on the device, or file size limit reached")               \
    X(FEOX_ERR_IO, -4, "the device failed")                                                        \
    X(FEOX_ERR_CORRUPT, -5, "stored data is damaged")                                              \
    X(FEOX_ERR_NOT_FEOX, -6, "the file is not a libfeox store")                                    \
    X(FEOX_ERR_NEWER, -7, "the file has the format of a later version")                            \
    X(FEOX_ERR_BUSY, -8, "the file is open in another process or handle")                          \
    X(FEOX_ERR_READ_ONLY, -9, "the store is read-only")                                            \
    X(FEOX_ERR_TOO_LARGE, -10, "the key or value is too large")                                    \
    X(FEOX_ERR_NOT_COUNTER, -11, "the value is not an 8-byte counter")                             \
    X(FEOX_ERR_OVERFLOW, -12, "the counter would overflow")                                        \
    X(FEOX_ERR_JSON, -13, "not valid JSON")                                                        \
    X(FEOX_ERR_PATCH, -14, "the JSON patch is malformed or cannot be applied")                     \
    X(FEOX_ERR_FORKED, -15, "the store was opened by the parent process")                          \
    X(FEOX_ERR_UNSUPPORTED, -16, "not supported here")                                             \
    X(FEOX_ERR_CLOSED, -17, "the store is closed") /* reserved: no call returns it */

#define FEOX_STATUS_ENUM_(name, number, text) name = number,
typedef enum feox_status {
    FEOX_STATUS_LIST(FEOX_STATUS_ENUM_) FEOX_STATUS_MIN_ = -2147483647 - 1
} feox_status;
#undef FEOX_STATUS_ENUM_

/* The name of a status, "FEOX_NOT_FOUND"; "FEOX_UNKNOWN" for another number. Static. */
FEOX_API const char *feox_status_name(feox_status status);
/* One line of English for a status. Static. */
FEOX_API const char *feox_status_text(feox_status status);
/* What the calling thread's last failing call (status < 0) had to say: path, offset, system error,
 * which option; or no more than the text of its status. "" if none has failed yet. It stays when
 * later calls succeed or return what is above 0, so look at it only behind a failure. The string is
 * valid until the thread's next libfeox call. */
FEOX_API const char *feox_last_error(void);

/* ---- Plain types ---------------------------------------------------------------------------- */

typedef struct feox_store feox_store;
typedef struct feox_cursor feox_cursor;

typedef struct feox_slice {
    const void *data;
    size_t size;
} feox_slice;

typedef struct feox_pair {
    feox_slice key;
    feox_slice value;
} feox_pair;

/* A yes/no option whose default is not the same everywhere. */
typedef enum feox_choice { FEOX_DEFAULT = 0, FEOX_YES = 1, FEOX_NO = 2 } feox_choice;

/* Releases memory that a call allocated for the caller. NULL is legal. Any thread. */
FEOX_API void feox_free(void *memory);

/* ---- Opening and closing -------------------------------------------------------------------- */

typedef enum feox_durability {
    FEOX_DURABILITY_RELAXED = 0, /* writes return from memory; written every flush_interval_ms */
    FEOX_DURABILITY_DURABLE = 1  /* writes return when they are on stable storage */
} feox_durability;

typedef enum feox_io_backend {
    FEOX_IO_AUTO = 0, /* io_uring where the system allows it, else threads */
    FEOX_IO_URING = 1,
    FEOX_IO_THREADS = 2 /* pwrite and fdatasync from a small pool */
} feox_io_backend;

typedef struct feox_options {
    size_t struct_size;
    int32_t durability;        /* feox_durability; a memory-only store ignores it */
    int32_t io_backend;        /* feox_io_backend; FEOX_ERR_UNSUPPORTED if it cannot run */
    int32_t create;            /* feox_choice, default yes: make the file if there is none;
                                  otherwise a missing file is FEOX_NOT_FOUND */
    int32_t read_only;         /* feox_choice, default no: nothing is written, not even repairs,
                                  and a damaged file opens as far as any of it is sound */
    int32_t ordered;           /* feox_choice, default yes: keep keys in order. Without order, range
                                  queries and cursors are FEOX_ERR_UNSUPPORTED */
    uint32_t flush_interval_ms; /* relaxed mode: age at which a write is sent out; default 100 */
    uint32_t sweep_interval_ms; /* how often expired keys are collected; default 1000 */
    uint32_t reserved;
    uint64_t memory_limit;     /* bytes of memory for keys, values, indexes, what waits to be
                                  written and the tables of the file; default: no limit. Counted
                                  is what the process takes: a value of more than 2,048 bytes is
                                  whole pages. Besides, a file store takes some buffers (up to 6
                                  MiB, and what reads and writes under way need). A file store
                                  drops values that are on disk and reads them back; a write for
                                  which that makes no room, and one in a memory-only store, is
                                  refused with FEOX_ERR_MEMORY */
    uint64_t file_size_initial; /* bytes to reserve for a new file; default some 5 MiB. Files grow
                                  */
    uint64_t file_size_limit;  /* bytes the file may grow to; default: no limit. A new file of less
                                  than some 2 MiB is FEOX_ERR_SPACE; one that is longer already
                                  opens, and does not grow */
    uint64_t value_size_limit; /* longest value accepted, bytes; default 64 MiB, at most 1 GiB */
    uint64_t expected_keys;    /* a hint that sizes the index up front, within memory_limit;
                                  default 0 */
} feox_options;

FEOX_API void feox_options_init(feox_options *options);

/* Opens the store in the file `path`, or a memory-only one if path is NULL. `options` may be NULL.
 * A new file is on stable storage with its directory entry before this returns. A file that
 * crashed is brought back to the state after one of its commit groups. A file that is not ours is
 * never written: FEOX_ERR_NOT_FEOX, FEOX_ERR_NEWER and FEOX_ERR_CORRUPT say which. An empty file
 * counts as new. One handle per file: the second open anywhere is FEOX_ERR_BUSY.
 * A damaged file opens all the same as long as what is left is a state it really had, less the
 * records that are damaged: their keys answer FEOX_ERR_CORRUPT, or are missing if the key itself is
 * damaged, and corrupt_records in the statistics is above 0. It stays so until they are written
 * again, or for good where the key is not known: see feox_salvage.
 * FEOX_ERR_CORRUPT, for whoever may write: both superblocks (if nothing of them can be recognised,
 * FEOX_ERR_NOT_FEOX), the same place of both copies of the
 * table, or a group written since the last checkpoint (in a file that was not closed) of which not
 * every key can be told. With read_only the last two open, too: what the lost part of the table
 * named is missing; a key that the lost group may have changed answers FEOX_ERR_CORRUPT. The last
 * group before a crash, if it is damaged, can look like one that the crash cut short.
 * Cost: memory-only, microseconds; a file, one pass over its live records. The order of the keys is
 * made afterwards, beside what the program does; a scan waits for it. */
FEOX_API feox_status feox_open(const char *path, const feox_options *options,
                               feox_store **store_out);

/* Returns FEOX_OK when everything acknowledged before the call is on stable storage. In a
 * memory-only store there is nothing to do: FEOX_OK. Cost: one write and one device flush. */
FEOX_API feox_status feox_flush(feox_store *store);

/* Flushes, releases the store and its file, and reports a failed flush; the store is gone whatever
 * the status. No other call on the store may run or follow; open cursors and views are closed by
 * their own functions before. NULL is legal. */
FEOX_API feox_status feox_close(feox_store *store);

/* ---- Writing -------------------------------------------------------------------------------- */

/* Flags of feox_write. At most one of the three IF flags, and of KEEP and CLEAR. A flag that a call
 * does not take is FEOX_ERR_ARGUMENT:
 *
 *                             IF_ABSENT  IF_PRESENT, IF_VERSION  KEEP, CLEAR  DURABLE, NO_WAIT
 *   insert, CAS, increment    yes        yes                     yes          yes
 *   JSON patch, merge         -          yes                     yes          yes
 *   delete, expire, persist   -          yes                     -            yes
 *
 * The conditions are looked at in this order: the IF flag, the timestamp, what the call itself
 * compares. `version` without FEOX_IF_VERSION means nothing. */
#define FEOX_IF_ABSENT 0x01u  /* write only if the key does not exist; else FEOX_EXISTS */
#define FEOX_IF_PRESENT 0x02u /* write only if the key exists; else FEOX_NOT_FOUND */
#define FEOX_IF_VERSION 0x04u /* write only if the key's version is `version`; else FEOX_MISMATCH,
                                 or FEOX_NOT_FOUND if there is no key */
#define FEOX_KEEP_TTL 0x08u   /* an insert leaves the remaining time to live as it is */
#define FEOX_CLEAR_TTL 0x10u  /* a CAS, increment, patch or merge removes the time to live */
#define FEOX_DURABLE 0x20u    /* return when this write is on stable storage, whatever the mode;
                                 nobody sees it before. After FEOX_ERR_IO it is not seen, and may
                                 be there or not when the file is opened again */
#define FEOX_NO_WAIT 0x40u    /* a durable write returns at once, with its sequence: see "Knowing
                                 what is durable". Where nothing would wait it means nothing */

typedef struct feox_write {
    size_t struct_size;
    uint32_t flags;
    uint32_t reserved;
    uint64_t timestamp; /* 0: the store's own clock, never stale; above the stored one in any case,
                           so that a stored stamp of the future grows by 1. Otherwise the caller's
                           last-writer-wins stamp: FEOX_STALE unless it is above the stored one. A
                           deleted key has no stamp: deletes must be remembered elsewhere */
    uint64_t ttl_ms;    /* time to live from now; 0: none given. Not together with KEEP or CLEAR,
                           nor for delete and expire. More than about 500 years is shortened to
                           that */
    uint64_t version;   /* for FEOX_IF_VERSION */
} feox_write;

/* What a write did. Versions are unique in the store and rise for each key, also over deletes. */
typedef struct feox_written {
    uint64_t version;
    uint64_t timestamp;
    uint64_t created;  /* 1 if the key did not exist before, else 0 */
    uint64_t sequence; /* durable when feox_durable_sequence has reached it; 0: memory-only store */
} feox_written;

FEOX_API void feox_write_init(feox_write *write);

/* Sets key to value, and removes a time to live. Fails with FEOX_ERR_TOO_LARGE beyond the limits,
 * FEOX_ERR_ARGUMENT for an empty key. Cost: below a microsecond for small values; copies. */
FEOX_API feox_status feox_insert(feox_store *store, const void *key, size_t key_len,
                                 const void *value, size_t value_len);
/* The same with conditions; `write` and `written_out` may be NULL. */
FEOX_API feox_status feox_insert_with(feox_store *store, const void *key, size_t key_len,
                                      const void *value, size_t value_len, const feox_write *write,
                                      feox_written *written_out);
/* Inserts `count` pairs in order, each by itself. statuses_out (may be NULL) receives `count`
 * results. Returns FEOX_OK if every pair was stored, else the first status that was not; the other
 * pairs are stored all the same. */
FEOX_API feox_status feox_insert_many(feox_store *store, const feox_pair *pairs, size_t count,
                                      feox_status *statuses_out);

/* Removes key; FEOX_NOT_FOUND if there is none. */
FEOX_API feox_status feox_delete(feox_store *store, const void *key, size_t key_len);
/* The same with timestamp, IF_VERSION, IF_PRESENT, DURABLE, NO_WAIT; both pointers may be NULL. */
FEOX_API feox_status feox_delete_with(feox_store *store, const void *key, size_t key_len,
                                      const feox_write *write, feox_written *written_out);

/* Removes every key that exists when the call begins, what this thread wrote with FEOX_NO_WAIT
 * before included; not atomic against concurrent writers. A failure may leave a part of the keys
 * removed. */
FEOX_API feox_status feox_clear(feox_store *store);

/* ---- Knowing what is durable ----------------------------------------------------------------- */

/* Every write has a sequence (feox_written): its place in the order in which writes become durable.
 * It never falls; writes that share a flush have the same one. What has a sequence at or below
 * feox_durable_sequence is on stable storage, and seen by everyone.
 *
 * With FEOX_NO_WAIT a durable write returns at once, and one thread can keep hundreds in flight.
 * They are flushed in the background without delay, all that came meanwhile together: behind the
 * flush, or the step of a feox_compact, that is at work, behind the cleaning for a write that found
 * a file at its limit full (32 MiB or so), or behind a whole feox_check. Until its sequence is
 * durable nobody sees the write. Writes with FEOX_NO_WAIT to one key build on each
 * other though none of them is seen yet: a thousand increments count to a thousand, and the
 * sequence that comes with a value vouches for all it is built on. Any other write to such a key
 * waits for them first; so does one with FEOX_NO_WAIT that is a JSON patch, or that would be
 * refused (FEOX_EXISTS and so on) because of what nobody sees yet. Writes also wait while too much
 * is in flight. If the device fails, what was in flight is never seen, and may be there or not when
 * the file is opened again; the calls below report it. feox_flush and feox_close make everything in
 * flight durable.
 *
 * In a memory-only store nothing is ever pending: every sequence is 0. */

/* The sequence up to which everything is on stable storage; also takes the signal of
 * feox_durable_fd back. Fills sequence_out whatever the status: FEOX_OK, the failure that made the
 * store read-only (nothing more will become durable), or FEOX_ERR_SPACE or FEOX_ERR_MEMORY if the
 * last flush failed for want of that (it is tried again by itself). Cost: a few nanoseconds, with a
 * descriptor a system call. */
FEOX_API feox_status feox_durable_sequence(feox_store *store, uint64_t *sequence_out);
/* Waits until `sequence` is durable, and makes the flush happen now whatever the mode. timeout_ms 0
 * does not wait, below 0 waits for ever. FEOX_PENDING: the time is over; the caller is back near
 * its time even if the device hangs. FEOX_ERR_ARGUMENT: no write has this sequence. Failures as
 * above; the writes stay in flight. */
FEOX_API feox_status feox_wait_durable(feox_store *store, uint64_t sequence, int64_t timeout_ms);
/* A descriptor for poll() and its kin. It is readable from the moment it is made, and whenever more
 * has become durable or a flush has failed, until feox_durable_sequence is called. So: poll, call
 * feox_durable_sequence, finish every write up to that; nothing is missed in this order, at worst a
 * call finds nothing new. One loop per store: a call takes the signal from all who poll. The
 * descriptor is the store's, the same for every call: poll it, do not read or close it; feox_close
 * closes it. FEOX_ERR_MEMORY: the system has none. */
FEOX_API feox_status feox_durable_fd(feox_store *store, int *fd_out);

/* ---- Reading -------------------------------------------------------------------------------- */

/* A copy of the value; release it with feox_free. A value of 0 bytes gives a pointer too. */
FEOX_API feox_status feox_get(feox_store *store, const void *key, size_t key_len, void **value_out,
                              size_t *value_len_out);
/* Copies the value to `buffer`. value_len_out (may be NULL) receives its full length. If `capacity`
 * is smaller: FEOX_TRUNCATED, and the first `capacity` bytes are there. With any other status the
 * buffer's bytes mean nothing. Takes no lock, unless it finds the key expired. */
FEOX_API feox_status feox_get_into(feox_store *store, const void *key, size_t key_len, void *buffer,
                                   size_t capacity, size_t *value_len_out);

/* A value as the store holds it. `data` stays as it is, whatever happens to the key, until release;
 * large values are not copied, small ones are. */
typedef struct feox_view {
    const void *data;
    size_t size;
    void *internal;
} feox_view;

FEOX_API feox_status feox_get_view(feox_store *store, const void *key, size_t key_len,
                                   feox_view *view_out);
/* Ends a view and zeroes it; before feox_close. A zeroed view and NULL are legal. */
FEOX_API void feox_view_release(feox_view *view);

/* One question of feox_get_many. In: key, key_len, buffer, capacity. Out: value_len, status, with
 * the meaning of feox_get_into. */
typedef struct feox_lookup {
    const void *key;
    size_t key_len;
    void *buffer;
    size_t capacity;
    size_t value_len;
    feox_status status;
} feox_lookup;

/* Looks up `count` keys with their cache misses overlapped; faster than a loop from a few keys on.
 * Values that are on disk only are read from the device together, up to 32 at a time; those of
 * 64 KiB and more one after the other, and all if another thread's call is doing the same at that
 * moment. FEOX_OK unless one lookup failed (< 0): then the first such status. */
FEOX_API feox_status feox_get_many(feox_store *store, feox_lookup *lookups, size_t count);

typedef struct feox_key_info {
    uint64_t value_size;
    uint64_t version;
    uint64_t timestamp;
    int64_t ttl_ms; /* what remains; -1: never expires */
    uint64_t reserved[4];
} feox_key_info;

/* What is known of a key, without reading its value: so also of one whose value is damaged. */
FEOX_API feox_status feox_info(feox_store *store, const void *key, size_t key_len,
                               feox_key_info *info_out);
/* FEOX_OK if the key exists, else FEOX_NOT_FOUND. */
FEOX_API feox_status feox_contains(feox_store *store, const void *key, size_t key_len);
/* The number of keys; one that expired counts until the next sweep. Some microseconds. */
FEOX_API feox_status feox_count(feox_store *store, uint64_t *count_out);

/* ---- In order ------------------------------------------------------------------------------- */

/* Owned copies of pairs; release with feox_pairs_free. */
typedef struct feox_pairs {
    size_t count;
    feox_pair *pairs;
} feox_pairs;

/* The pairs from start to end, both inclusive, ascending, at most `limit` (0: all). An empty start
 * is the first key, an empty end (end_len 0) the last. Each pair was current at some moment during
 * the call; keys that were there throughout are present once. */
FEOX_API feox_status feox_range_query(feox_store *store, const void *start, size_t start_len,
                                      const void *end, size_t end_len, size_t limit,
                                      feox_pairs **pairs_out);
FEOX_API void feox_pairs_free(feox_pairs *pairs);

#define FEOX_REVERSE 0x01u         /* from the end to the start, which stays the lower bound */
#define FEOX_KEYS_ONLY 0x02u       /* values are not read; value_out is empty */
#define FEOX_START_EXCLUSIVE 0x04u /* without the key equal to start */
#define FEOX_END_EXCLUSIVE 0x08u   /* without the key equal to end */

/* What a cursor walks over: keys between start and end (either may be empty: no bound) that begin
 * with prefix. */
typedef struct feox_range {
    size_t struct_size;
    const void *start;
    size_t start_len;
    const void *end;
    size_t end_len;
    const void *prefix;
    size_t prefix_len;
    size_t limit; /* pairs after open, or after each seek; 0: no limit */
    uint32_t flags;
    uint32_t reserved;
} feox_range;

FEOX_API void feox_range_init(feox_range *range);

/* Opens a cursor before the first pair; `range` may be NULL (everything). The bounds are copied. A
 * cursor holds no lock and keeps no memory from being reclaimed between calls. */
FEOX_API feox_status feox_cursor_open(feox_store *store, const feox_range *range,
                                      feox_cursor **cursor_out);
/* The next pair, or FEOX_END. The slices are valid until the next call on this cursor. value_out
 * may be NULL, and then is not read. A pair whose value is damaged is FEOX_ERR_CORRUPT with its key
 * in key_out, and the cursor goes on behind it. */
FEOX_API feox_status feox_cursor_next(feox_cursor *cursor, feox_slice *key_out,
                                      feox_slice *value_out);
/* Goes to the first pair of the range at or after key (at or before it with FEOX_REVERSE); with an
 * empty key to where the walk began. Keys of any length are compared, here and as bounds. */
FEOX_API feox_status feox_cursor_seek(feox_cursor *cursor, const void *key, size_t key_len);
/* NULL is legal. */
FEOX_API void feox_cursor_close(feox_cursor *cursor);

/* ---- Read, decide and write in one step ----------------------------------------------------- */

/* Replaces the value by `desired` if it equals `expected`, else FEOX_MISMATCH; FEOX_NOT_FOUND if
 * there is no key. The time to live stays. */
FEOX_API feox_status feox_compare_and_swap(feox_store *store, const void *key, size_t key_len,
                                           const void *expected, size_t expected_len,
                                           const void *desired, size_t desired_len);
FEOX_API feox_status feox_compare_and_swap_with(feox_store *store, const void *key, size_t key_len,
                                                const void *expected, size_t expected_len,
                                                const void *desired, size_t desired_len,
                                                const feox_write *write, feox_written *written_out);

/* Adds delta to a counter: 8 bytes, little-endian, two's complement. A missing key becomes delta.
 * value_out (may be NULL) receives the new value. FEOX_ERR_NOT_COUNTER, FEOX_ERR_OVERFLOW. The time
 * to live stays. */
FEOX_API feox_status feox_increment(feox_store *store, const void *key, size_t key_len,
                                    int64_t delta, int64_t *value_out);
FEOX_API feox_status feox_increment_with(feox_store *store, const void *key, size_t key_len,
                                         int64_t delta, const feox_write *write, int64_t *value_out,
                                         feox_written *written_out);

/* Applies a JSON Patch (RFC 6902) to a JSON value, all of it or nothing. Bytes that the patch does
 * not touch stay as they are: spelling of numbers, order of members, spacing. `test` compares
 * numbers by exact value. Documents nest at most 128 deep, a patch has at most 10,000 operations;
 * an object with two members of one name cannot be addressed. FEOX_NOT_FOUND: no key;
 * FEOX_ERR_JSON: the value or the patch is not JSON; FEOX_ERR_PATCH: the patch is malformed, does
 * not fit, makes a document that nests too deep, or a test failed; FEOX_ERR_TOO_LARGE: the result
 * is. */
FEOX_API feox_status feox_json_patch(feox_store *store, const void *key, size_t key_len,
                                     const char *patch, size_t patch_len);
FEOX_API feox_status feox_json_patch_with(feox_store *store, const void *key, size_t key_len,
                                          const char *patch, size_t patch_len,
                                          const feox_write *write, feox_written *written_out);

/* Applies a JSON Merge Patch (RFC 7396); otherwise like feox_json_patch. */
FEOX_API feox_status feox_json_merge(feox_store *store, const void *key, size_t key_len,
                                     const char *merge, size_t merge_len);
FEOX_API feox_status feox_json_merge_with(feox_store *store, const void *key, size_t key_len,
                                          const char *merge, size_t merge_len,
                                          const feox_write *write, feox_written *written_out);

/* ---- Time to live --------------------------------------------------------------------------- */

/* Milliseconds until key expires, rounded up; -1: never. An expired key is FEOX_NOT_FOUND in every
 * call. Time is measured by a clock that neither jumps nor goes back. */
FEOX_API feox_status feox_ttl(feox_store *store, const void *key, size_t key_len,
                              int64_t *ttl_ms_out);
/* Gives key a new time to live, counted from now; 0 removes it, as feox_persist does. A write: it
 * makes a new version. */
FEOX_API feox_status feox_expire(feox_store *store, const void *key, size_t key_len,
                                 uint64_t ttl_ms);
FEOX_API feox_status feox_expire_with(feox_store *store, const void *key, size_t key_len,
                                      uint64_t ttl_ms, const feox_write *write,
                                      feox_written *written_out);
/* Removes the time to live: the key never expires. A write, also if there was none. */
FEOX_API feox_status feox_persist(feox_store *store, const void *key, size_t key_len);
FEOX_API feox_status feox_persist_with(feox_store *store, const void *key, size_t key_len,
                                       const feox_write *write, feox_written *written_out);

/* ---- Statistics, version, check ------------------------------------------------------------- */

/* Two ways of making one small write durable; the quicker one on a device is found out on the first
 * sixteen small groups. */
typedef enum feox_sync_method {
    FEOX_SYNC_UNKNOWN = 0, /* too few groups so far, or no file */
    FEOX_SYNC_FLUSH = 1,   /* a write, then a flush of the device */
    FEOX_SYNC_WRITE = 2    /* one write that is safe when it returns (O_DSYNC) */
} feox_sync_method;

/* Counts are since open. Reads in memory are not counted: counting would cost more than they do. */
typedef struct feox_statistics {
    size_t struct_size;
    uint64_t keys;
    uint64_t inserts;     /* keys created */
    uint64_t updates;     /* keys overwritten, by any call */
    uint64_t deletes;     /* keys removed by callers */
    uint64_t expirations; /* keys removed by the sweeper */
    uint64_t memory_used; /* bytes of real memory the store accounts for */
    uint64_t memory_limit; /* 0: none */
    uint64_t evictions;    /* values dropped from memory because they are on disk */
    uint64_t disk_reads;   /* values read back */
    uint64_t disk_read_bytes;
    uint64_t disk_write_bytes;
    uint64_t file_size;
    uint64_t file_free;   /* bytes inside the file that are free for new data */
    uint64_t file_live;   /* bytes of records that are current */
    uint64_t groups_written; /* commit groups made durable */
    uint64_t checkpoints;
    uint64_t window_bytes;  /* acknowledged and not yet on stable storage ... */
    uint64_t window_age_ms; /* ... and the age of the oldest of it */
    uint64_t corrupt_records; /* records that recovery or a read found damaged */
    int64_t io_error;         /* 0, or the status that made the store read-only */
    uint64_t sync_method;     /* feox_sync_method: how small groups are made durable */
    uint64_t file_free_extents; /* runs of free blocks in the file: many and short, fragmented */
    uint64_t file_free_longest; /* the longest of them, bytes */
    uint64_t file_waiting;      /* bytes of what is dead, and free after the next checkpoint */
    uint64_t compacted_bytes;   /* moved by compaction */
} feox_statistics;

FEOX_API void feox_statistics_init(feox_statistics *stats);
/* Fills `stats` (initialised by feox_statistics_init). Cost: microseconds; touches every shard. */
FEOX_API feox_status feox_stats(feox_store *store, feox_statistics *stats);

/* Makes the file about as short as it can be: moves live records and large values to its beginning,
 * and cuts the end off. Holes shorter than the last large value may stay. The file shortens itself,
 * too, when more than half of it has been free for some seconds; this does not wait, and goes
 * further. Other threads read and write meanwhile; who must wait for the file waits for one step,
 * in which some 4 MiB are copied, or one longer value, and the table of what is where. What they
 * write may make the file longer again. A crash loses nothing. Needs a few MiB of free space,
 * in the file or on the device: FEOX_ERR_SPACE, and the file is as short as could be without.
 * FEOX_ERR_READ_ONLY, FEOX_ERR_IO, FEOX_ERR_MEMORY. Nothing to do in a memory-only store. Cost:
 * what is moved is read and written once. */
FEOX_API feox_status feox_compact(feox_store *store);

/* One thing that a check or a salvage found. Valid during the call that brings it. */
typedef struct feox_finding {
    const char *text;        /* what is wrong, a few words of English */
    const void *key;         /* the key that it costs, if it is known; else NULL and 0 */
    size_t key_len;
    uint64_t offset, length; /* the bytes of the file; 0, 0: it has no place */
} feox_finding;

/* Called in the calling thread, once for each finding. It must not call into the same store. */
typedef void (*feox_found)(void *context, const feox_finding *finding);

/* What a check found. */
typedef struct feox_check_report {
    size_t struct_size;
    uint64_t keys_checked;
    uint64_t records_damaged;
    uint64_t blocks_damaged; /* 4096-byte blocks of metadata or segments that do not verify */
    uint64_t problems;       /* everything found, structure included; 0: clean */
} feox_check_report;

FEOX_API void feox_check_report_init(feox_check_report *report);
/* Verifies the whole store: every structure in memory against its neighbours and every byte that
 * the file holds for a live record. `line`, if not NULL, is called in the calling thread with one
 * text line for each problem. FEOX_OK: clean; FEOX_ERR_CORRUPT: problems found. Writers wait
 * meanwhile. Cost: reads everything; a few MiB of memory. */
FEOX_API feox_status feox_check(feox_store *store, feox_check_report *report,
                                void (*line)(void *context, const char *text), void *context);

#define FEOX_CHECK_QUICK 0x01u /* structure only: reads no record of the file, unless opening it
                                  found some damaged */
/* The same, with flags, and with each problem's key and place for `found` (may be NULL). */
FEOX_API feox_status feox_check_with(feox_store *store, uint32_t flags, feox_check_report *report,
                                     feox_found found, void *context);

/* What a salvage did. */
typedef struct feox_salvage_report {
    size_t struct_size;
    uint64_t keys_copied;
    uint64_t bytes_copied;   /* of keys and values */
    uint64_t keys_lost;      /* known keys whose newest value is damaged: not copied */
    uint64_t problems;       /* everything found damaged, keys_lost included; 0: all is there */
    uint64_t scanned;        /* 1: superblocks or table were lost, so the file was searched */
    uint64_t reserved[2];
} feox_salvage_report;

FEOX_API void feox_salvage_report_init(feox_salvage_report *report);
/* Copies what is sound of the store in the file `path` to a new store in `out_path`, which must not
 * exist (FEOX_EXISTS). `path` is only read, and must not be open elsewhere. Values, remaining times
 * to live and timestamps are kept; versions are new. `found`, if not NULL, hears of all that is
 * damaged. `report` may be NULL, or is initialised by feox_salvage_report_init.
 * If superblocks or the table are lost, the file is searched for records, and the newest one of
 * each key counts. Then a key may come back whose deletion is no longer in the file, and one that
 * was being written when the store crashed. A key whose newest record is known to be damaged is
 * lost, and not replaced by an older value.
 * FEOX_OK: nothing is damaged. FEOX_ERR_CORRUPT: something is, and the rest was copied.
 * FEOX_ERR_NOT_FEOX: the file holds nothing of a store, and nothing was made. Other failures may
 * leave an incomplete `out_path`. Cost: reads the file about twice and writes what is in it; memory
 * for the keys, and for one value at a time. */
FEOX_API feox_status feox_salvage(const char *path, const char *out_path,
                                  feox_salvage_report *report, feox_found found, void *context);

/* "1.0.0" */
FEOX_API const char *feox_version(void);
/* "libfeox 1.0.0; allocator jemalloc; io uring, threads; ..." Static. */
FEOX_API const char *feox_build_info(void);

#ifdef __cplusplus
}
#endif

#endif /* FEOX_H */
