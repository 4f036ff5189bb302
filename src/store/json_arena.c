/* json_arena: chunks of doubling size, released together, because nothing in a patch lives longer
 * or shorter than the patch. The first chunk is small: most patches are.
 *
 * Invariant: chunk->size - used bytes of the newest chunk are free; the older ones are full.
 */
#include "store/json_tree.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/json_scan.h"

#define CHUNK_SIZE_MIN ((size_t)4096)
#define CHUNK_SIZE_MAX ((size_t)1 << 20)

typedef struct fx_json_chunk {
    struct fx_json_chunk *older;
    size_t size; /* of the data behind this header */
} fx_json_chunk;

bool fx_json_reserve(fx_json_arena *arena, size_t size) {
    if (arena->chunk != NULL && arena->chunk->size - arena->used >= size) {
        return true;
    }
    size_t wanted = arena->chunk != NULL ? 2 * arena->chunk->size : CHUNK_SIZE_MIN;
    wanted = wanted > CHUNK_SIZE_MAX ? CHUNK_SIZE_MAX : wanted;
    wanted = wanted < size ? (size_t)fx_round_up(size, CHUNK_SIZE_MIN) : wanted;
    if (wanted > arena->total_max - arena->total) {
        return false;
    }
    fx_json_chunk *chunk = fx_mem_alloc(sizeof *chunk + wanted);
    if (chunk == NULL) {
        return false;
    }
    *chunk = (fx_json_chunk){.older = arena->chunk, .size = wanted};
    arena->chunk = chunk;
    arena->used = 0;
    arena->total += wanted;
    return true;
}

void *fx_json_alloc(fx_json_arena *arena, size_t size) {
    size = (size_t)fx_round_up(size > 0 ? size : 1, 8);
    if (!fx_json_reserve(arena, size)) {
        return NULL;
    }
    char *memory = (char *)(arena->chunk + 1) + arena->used;
    arena->used += size;
    return memory;
}

static void chunks_free(fx_json_chunk *chunk) {
    while (chunk != NULL) {
        fx_json_chunk *older = chunk->older;
        fx_mem_free(chunk);
        chunk = older;
    }
}

/* Keeps the newest chunk, which is the largest or nearly so, unless it is so large that only an
 * unusual operation can have needed it. */
void fx_json_reset(fx_json_arena *arena) {
    fx_json_chunk *keep = arena->chunk;
    if (keep != NULL && keep->size > CHUNK_SIZE_MAX) {
        chunks_free(keep);
        keep = NULL;
    } else if (keep != NULL) {
        chunks_free(keep->older);
        keep->older = NULL;
    }
    arena->chunk = keep;
    arena->used = 0;
    arena->total = keep != NULL ? keep->size : 0;
}

static fx_json_memo *memo_probe(fx_json_memo *memos, size_t capacity, const char *text) {
    fx_rng mix;
    fx_rng_init(&mix, (uint64_t)(uintptr_t)text);
    size_t at = (size_t)fx_rng_next(&mix) & (capacity - 1);
    while (memos[at].text != NULL && memos[at].text != text) {
        at = (at + 1) & (capacity - 1);
    }
    return &memos[at];
}

/* Linear probing, at most half full. Old tables stay in the arena: together as large as the last.
 */
fx_json_memo *fx_json_memo_find(fx_json_tree *tree, const char *text) {
    if (2 * (tree->memo_count + 1) > tree->memo_capacity) {
        size_t capacity = tree->memo_capacity > 0 ? 2 * tree->memo_capacity : 16;
        fx_json_memo *memos = fx_json_alloc(&tree->memory, capacity * sizeof *memos);
        if (memos == NULL) {
            return NULL;
        }
        memset(memos, 0, capacity * sizeof *memos);
        for (size_t i = 0; i < tree->memo_capacity; i++) {
            if (tree->memos[i].text != NULL) {
                *memo_probe(memos, capacity, tree->memos[i].text) = tree->memos[i];
            }
        }
        tree->memos = memos;
        tree->memo_capacity = capacity;
    }
    return memo_probe(tree->memos, tree->memo_capacity, text);
}

void fx_json_tree_init(fx_json_tree *tree, const char *text, size_t text_len, size_t input_len) {
    const char *end = text + text_len;
    const char *at = fx_json_space(text, end);
    *tree = (fx_json_tree){.epoch = FX_JSON_EPOCH_FIRST};
    size_t limit = input_len < SIZE_MAX / 256 ? 96 * input_len : SIZE_MAX / 2;
    tree->memory.total_max = limit + ((size_t)256 << 20);
    tree->scratch.total_max = tree->memory.total_max;
    tree->compared_max = tree->memory.total_max;
    tree->root.prefix = text;
    tree->root.prefix_len = (uint32_t)(at - text);
    tree->root.value = fx_json_value_at(at, end);
    tree->root.suffix = at + tree->root.value.text_len;
    tree->root.suffix_len = (uint32_t)(end - tree->root.suffix);
    tree->root.epoch = tree->epoch;
}

void fx_json_tree_deinit(fx_json_tree *tree) {
    chunks_free(tree->memory.chunk);
    chunks_free(tree->scratch.chunk);
    tree->memory.chunk = NULL;
    tree->scratch.chunk = NULL;
}

feox_status fx_json_fail(const fx_json_tree *tree, feox_status status, const char *problem) {
    if (tree->in_patch) {
        return fx_error_set(status, 0, "operation %zu at offset %zu of the patch: %s",
                            tree->operation, tree->offset, problem);
    }
    return fx_error_set(status, 0, "merge patch: %s", problem);
}
