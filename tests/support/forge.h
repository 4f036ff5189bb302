/* forge: a store over a device in memory whose file is made to say other things than were written.
 * Each part of it can be found, changed, and given the right checksums again; what opening the file
 * says of it is listened to. Single-threaded; asserts with CMocka.
 */
#ifndef FX_TESTS_SUPPORT_FORGE_H
#define FX_TESTS_SUPPORT_FORGE_H

#include "engine/check.h"
#include "support/hostile.h"

/* The usual key: so many bytes, and a put of a value of FORGE_SMALL has a record as long as a large
 * value's, padding included. */
#define FORGE_KEY_LEN 5u
#define FORGE_SMALL 16u
#define FORGE_LARGE (80u << 10)

typedef enum forge_mode { FORGE_READ, FORGE_WRITE, FORGE_RESCUE } forge_mode;

typedef struct forge_store {
    mem_dev *dev;
    fx_engine engine;
    uint64_t now;
    fx_check_sink sink;
    char heard[4096];   /* what opening found, a line each */
    uint64_t fail_next; /* the n-th allocation of opening fails, and all that follow; 0: none */
    bool fail_once;     /* those that follow do not */
} forge_store;

/* A new store with a ring of so many blocks; FEOX_OK or the test fails. */
void forge_create(forge_store *s, uint64_t ring_blocks);
/* Opens what is on s->dev. */
feox_status forge_open(forge_store *s, forge_mode mode);
/* Closes it, well or badly, and keeps the device. */
feox_status forge_close(forge_store *s);
/* Puts keys [from, to) with values of `size` bytes; one group, durable. */
feox_status forge_put(forge_store *s, uint32_t from, uint32_t to, uint32_t size);
void forge_checkpoint(forge_store *s);
/* What reading the key says; its value is the one that was put, or the test fails. */
feox_status forge_get(forge_store *s, uint32_t key);
/* Of keys [from, to), how many are there and right. */
unsigned forge_count(forge_store *s, uint32_t from, uint32_t to);
/* What the full check of memory and file finds. */
unsigned forge_problems(forge_store *s);

/* Ends the store suddenly and notes the layout; the file's free tail is cut off. The device is
 * gone. */
hostile *forge_end(forge_store *s);
/* Opens a file of these bytes, which nobody changes. */
feox_status forge_open_bytes(forge_store *s, uint8_t *bytes, size_t size, forge_mode mode);
/* Closes it and drops the device. */
void forge_drop(forge_store *s);
/* The bytes of the i-th entry of the journal, from the oldest; NULL: there are fewer. */
uint8_t *forge_entry(const hostile *h, uint8_t *bytes, unsigned i);
/* The bytes of the key's record, the last one that any segment has; *size_out may be NULL. */
uint8_t *forge_record(const hostile *h, uint8_t *bytes, uint32_t key, size_t *size_out);
uint8_t *forge_copy(const hostile *h);

#endif
