/* deadline: why stale entries are left in. Taking one out of the middle would cost every update of
 * such a key a search; a stale one shows by its version, which no other record ever has, and goes
 * when it comes to the top or when the heap is full of them.
 */
#include "engine/deadline.h"

#include "base/mem.h"

static bool is_stale(const fx_deadline *d) {
    uint64_t state = fx_load_acquire(&d->record->state);
    return !fx_state_alive(state) || fx_state_version(state) != d->version;
}

static void sift_down(fx_deadline *heap, size_t count, size_t at) {
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            return;
        }
        if (child + 1 < count && heap[child + 1].expiry_ns < heap[child].expiry_ns) {
            child++;
        }
        if (heap[at].expiry_ns <= heap[child].expiry_ns) {
            return;
        }
        fx_deadline other = heap[at];
        heap[at] = heap[child];
        heap[child] = other;
        at = child;
    }
}

static void drop_stale(fx_shard *shard) {
    size_t kept = 0;
    for (size_t i = 0; i < shard->deadline_count; i++) {
        if (!is_stale(&shard->deadlines[i])) {
            shard->deadlines[kept++] = shard->deadlines[i];
        }
    }
    shard->deadline_count = kept;
    for (size_t i = kept / 2; i-- > 0;) {
        sift_down(shard->deadlines, kept, i);
    }
}

bool fx_deadline_reserve(fx_shard *shard) {
    if (shard->deadline_count < shard->deadline_capacity) {
        return true;
    }
    drop_stale(shard);
    if (shard->deadline_count * 2 < shard->deadline_capacity) {
        return true;
    }
    size_t capacity = shard->deadline_capacity == 0 ? 16 : shard->deadline_capacity * 2;
    fx_deadline *heap = fx_mem_realloc(shard->deadlines, capacity * sizeof *heap);
    if (heap == NULL) {
        return shard->deadline_count < shard->deadline_capacity;
    }
    fx_slab_pool_charge(&shard->engine->pool,
                        (int64_t)((capacity - shard->deadline_capacity) * sizeof *heap));
    shard->deadlines = heap;
    shard->deadline_capacity = capacity;
    return true;
}

void fx_deadline_push(fx_shard *shard, fx_record *record, uint64_t version, uint64_t expiry_ns) {
    fx_deadline *heap = shard->deadlines;
    size_t at = shard->deadline_count++;
    while (at > 0 && heap[(at - 1) / 2].expiry_ns > expiry_ns) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = (fx_deadline){expiry_ns, version, record};
}

fx_record *fx_deadline_pop_expired(fx_shard *shard, uint64_t now_ns) {
    while (shard->deadline_count > 0 && shard->deadlines[0].expiry_ns <= now_ns) {
        fx_deadline top = shard->deadlines[0];
        shard->deadlines[0] = shard->deadlines[--shard->deadline_count];
        sift_down(shard->deadlines, shard->deadline_count, 0);
        if (!is_stale(&top)) {
            return top.record;
        }
    }
    if (shard->deadline_count == 0 && shard->deadline_capacity > 0) {
        fx_slab_pool_charge(&shard->engine->pool,
                            -(int64_t)(shard->deadline_capacity * sizeof *shard->deadlines));
        fx_mem_free(shard->deadlines);
        shard->deadlines = NULL;
        shard->deadline_capacity = 0;
    }
    return NULL;
}
