/* The bound: what a machine needs to find 16 bytes in a table and to copy a value, and nothing
 * else.
 *
 * Open addressing, one pointer a slot with 16 bits of the hash in its upper end, sized for all
 * keys in advance and at most five eighths full; records at multiples of 64 bytes one after the
 * other on huge pages, taken from the system as they are filled, so that an insert's memory is as
 * cold as anyone's. No lock, no order, no versions, no lengths, no growth: no store could be used
 * like this. A removed key leaves a mark, and its record is not reused.
 */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK (32u << 20)
#define POINTER ((UINT64_C(1) << 48) - 1)
#define GONE UINT64_C(1)

typedef struct bare {
    uint64_t *slots;
    uint64_t mask;
    uint8_t *next; /* where the next record goes */
    uint8_t *end;
    size_t record_size;
    size_t value_size;
} bare;

/* Aligned to huge pages; what is not touched takes no memory. */
static void *bare_map(size_t size) {
    size_t huge = 2u << 20;
    uint8_t *memory = mmap(NULL, size + huge, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("bare: mmap");
        exit(1);
    }
    memory += (huge - (uintptr_t)memory % huge) % huge;
    madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

static void *bare_open(const engine_config *config) {
    bare *store = calloc(1, sizeof *store);
    uint64_t count = 1024;
    while (count * 5 < config->keys * 8) {
        count *= 2;
    }
    store->slots = bare_map(count * sizeof *store->slots);
    store->mask = count - 1;
    store->record_size = (KEY_SIZE + config->value_size + 63) / 64 * 64;
    store->value_size = config->value_size;
    return store;
}

/* The process ends after it: nothing is given back one by one. */
static void bare_close(void *store) {
    free(store);
}

static uint64_t bare_hash(const uint64_t key[2]) {
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)(key[0] ^ UINT64_C(0x9e3779b97f4a7c15)) *
                   (key[1] ^ UINT64_C(0xd6e8feb86659fd93));
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The slot of the key, or the free one where it would go. */
static inline uint64_t *bare_find(bare *store, const void *key) {
    uint64_t wanted[2], found[2];
    memcpy(wanted, key, KEY_SIZE);
    uint64_t hash = bare_hash(wanted);
    uint64_t tag = hash & ~POINTER;
    for (uint64_t at = hash & store->mask;; at = (at + 1) & store->mask) {
        uint64_t slot = store->slots[at];
        if (slot == 0) {
            return &store->slots[at];
        }
        if ((slot & ~POINTER) == tag && slot != GONE) {
            memcpy(found, (const void *)(uintptr_t)(slot & POINTER), KEY_SIZE);
            if (((found[0] ^ wanted[0]) | (found[1] ^ wanted[1])) == 0) {
                return &store->slots[at];
            }
        }
    }
}

static bool bare_put(void *handle, const void *key, const void *value, size_t size) {
    bare *store = handle;
    uint64_t *slot = bare_find(store, key);
    if (*slot == 0) {
        if (store->next + store->record_size > store->end) {
            store->next = bare_map(CHUNK);
            store->end = store->next + CHUNK;
        }
        uint64_t words[2];
        memcpy(words, key, KEY_SIZE);
        memcpy(store->next, key, KEY_SIZE);
        *slot = (uint64_t)(uintptr_t)store->next | (bare_hash(words) & ~POINTER);
        store->next += store->record_size;
    }
    memcpy((uint8_t *)(uintptr_t)(*slot & POINTER) + KEY_SIZE, value, size);
    return true;
}

static size_t bare_get(void *handle, const void *key, void *buffer, size_t capacity) {
    bare *store = handle;
    uint64_t slot = *bare_find(store, key);
    if (slot == 0) {
        return 0;
    }
    (void)capacity;
    memcpy(buffer, (const uint8_t *)(uintptr_t)(slot & POINTER) + KEY_SIZE, store->value_size);
    return store->value_size;
}

static bool bare_remove(void *handle, const void *key) {
    uint64_t *slot = bare_find(handle, key);
    if (*slot == 0) {
        return false;
    }
    *slot = GONE;
    return true;
}

const engine engine_bare = {
    .name = "bare",
    .note = "a bound, not a store: no locks, order, versions or growth",
    .open = bare_open,
    .close = bare_close,
    .put = bare_put,
    .get = bare_get,
    .remove = bare_remove,
};
