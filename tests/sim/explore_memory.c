/* explore_memory: an operational memory model: C11's, as restricted to what a machine can do that
 * never runs a load or store before its turn.
 *
 * Source: the view machine of Kang, Hur, Lahav, Vafeiadis, Dreyer, "A promising semantics for
 * relaxed-memory concurrency" (POPL 2017), without its promises; views are kept as vector clocks,
 * as in D. Vyukov's Relacy. Each word has a list of messages, oldest to newest. A load may return
 * any message but those older than one that the thread knows of, by itself or through an acquire
 * load of what another had released. Read-modify-writes read the newest message and carry its
 * release on. Sequentially consistent operations happen in the order in which they run, each seeing
 * per word at least what the last one saw or left.
 *
 * What it allows less than C11: a store is always the newest of its word, loads never see stores of
 * the future (load buffering), a failing compare-and-swap reads the newest message. What it is
 * coarser in: a word has 8 bytes; a smaller store is one of the word that leaves the other bytes
 * and their release as they were.
 *
 * Pages given back (fx_mem_discard) become zero one word after the other. Whoever gets such a zero
 * came by a page fault, and the locks of the kernel order it behind the call.
 *
 * Plain accesses read and write memory itself, which always holds the newest messages; each is
 * compared with the other threads' last accesses of the same 2 bytes (as FastTrack does, Flanagan
 * and Freund 2009, with full clocks), so a plain access that could see anything else is reported as
 * a race.
 */
#define _GNU_SOURCE
#include "sim/explore_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MESSAGES_MAX 262144u
#define STALE_DEPTH 6u /* messages behind the newest that a load may return */
#define UNSEEN UINT32_MAX
#define T EXPLORE_THREADS

typedef struct message {
    uint64_t value;
    int32_t previous; /* older; -1: none */
    uint32_t time;    /* position in its word's list */
    memory_clock release;
    uint32_t seen[T]; /* the thread's clock when it first knew of it */
    bool faulted;     /* any load that gets it acquires: it came through a page fault */
} message;

typedef struct location {
    uint32_t run; /* valid in this schedule only */
    int32_t newest;
    uint32_t sc_floor;
} location;

/* When each thread last touched these bytes. */
#define GRAIN 2u
typedef struct shadow {
    uint32_t run;
    bool freed;
    uint32_t plain_write[T], plain_read[T], atomic_write[T], atomic_read[T];
} shadow;

memory_figures memory_totals;

static message *messages;
static int32_t message_count;
static location *locations; /* by word of the arena */
static shadow *shadows;     /* by grain of the arena */
static uint32_t run;
static memory_clock clocks[T];

static void *reserve(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("explore: mmap");
        exit(2);
    }
    return memory;
}

void memory_begin(void) {
    if (messages == NULL) {
        messages = reserve(MESSAGES_MAX * sizeof *messages);
        locations = reserve(ARENA_SIZE / 8 * sizeof *locations);
        shadows = reserve(ARENA_SIZE / GRAIN * sizeof *shadows);
    }
    run++;
    message_count = 0;
    memset(clocks, 0, sizeof clocks);
}

static bool is_acquire(explore_order order) {
    return order == EXPLORE_ACQUIRE || order >= EXPLORE_ACQ_REL;
}

static bool is_release(explore_order order) {
    return order >= EXPLORE_RELEASE;
}

static void join(memory_clock *to, const memory_clock *from) {
    for (unsigned t = 0; t < T; t++) {
        to->at[t] = from->at[t] > to->at[t] ? from->at[t] : to->at[t];
    }
}

void memory_release(memory_clock *to) {
    clocks[explore_self].at[explore_self]++;
    join(to, &clocks[explore_self]);
}

void memory_acquire(const memory_clock *from) {
    join(&clocks[explore_self], from);
}

/* ---- Races ---- */

static shadow *shadow_of(uintptr_t place) {
    shadow *s = &shadows[(place - ARENA_BASE) / GRAIN];
    if (s->run != run) {
        *s = (shadow){.run = run};
    }
    return s;
}

/* Another thread's access that this one does not know of. */
static bool unordered(const uint32_t *stamps) {
    for (unsigned t = 0; t < T; t++) {
        if (t != explore_self && stamps[t] > clocks[explore_self].at[t]) {
            return true;
        }
    }
    return false;
}

static void race(const char *what, uintptr_t place) {
    explore_fail("a data race: %s at arena+%zx by thread %u", what, (size_t)(place - ARENA_BASE),
                 explore_self);
}

static void touch(const void *place, size_t size, bool writes, bool atomic) {
    uintptr_t from = (uintptr_t)place & ~(uintptr_t)(GRAIN - 1);
    /* A plain access between two atomic ones belongs to the later one's time. */
    uint32_t now = clocks[explore_self].at[explore_self] + (atomic ? 0 : 1);
    for (uintptr_t at = from; at < (uintptr_t)place + size; at += GRAIN) {
        shadow *s = shadow_of(at);
        if (s->freed) {
            explore_fail("memory is used after it was freed: arena+%zx", (size_t)(at - ARENA_BASE));
        }
        if (unordered(s->plain_write) || (writes && unordered(s->plain_read))) {
            race(atomic ? "an atomic and a plain access" : "two plain accesses", at);
        }
        if (!atomic && (unordered(s->atomic_write) || (writes && unordered(s->atomic_read)))) {
            race("a plain and an atomic access", at);
        }
        uint32_t *mine = atomic   ? writes ? s->atomic_write : s->atomic_read
                         : writes ? s->plain_write
                                  : s->plain_read;
        mine[explore_self] = now;
    }
}

void explore_plain_read(const void *place, size_t size) {
    if (explore_running && arena_has(place)) {
        touch(place, size, false, false);
    }
}

void explore_plain_write(void *place, size_t size) {
    if (explore_running && arena_has(place)) {
        touch(place, size, true, false);
    }
}

void memory_free(void *place, size_t size) {
    if (!explore_running) {
        return;
    }
    touch(place, size, true, false);
    for (uintptr_t at = (uintptr_t)place; at < (uintptr_t)place + size; at += GRAIN) {
        shadow_of(at)->freed = true;
    }
}

/* ---- Messages ---- */

static message *message_add(location *of, uint64_t value) {
    if (message_count == (int32_t)MESSAGES_MAX) {
        explore_fail("a schedule of more than %u stores", MESSAGES_MAX);
    }
    message *m = &messages[message_count];
    *m = (message){.value = value, .previous = of->newest};
    m->time = of->newest < 0 ? 1 : messages[of->newest].time + 1;
    for (unsigned t = 0; t < T; t++) {
        m->seen[t] = UNSEEN;
    }
    of->newest = message_count++;
    return m;
}

static uint64_t word_at(uintptr_t word) {
    uint64_t value;
    memcpy(&value, (const void *)word, sizeof value);
    return value;
}

/* With what plain stores have left there meanwhile as a message of their own. */
static location *location_of(const void *place) {
    if (!arena_has(place)) {
        explore_fail("an atomic access outside the scenario's memory: %p", place);
    }
    uintptr_t word = (uintptr_t)place & ~(uintptr_t)7;
    location *of = &locations[(word - ARENA_BASE) / 8];
    bool first = of->run != run;
    if (first) {
        *of = (location){.run = run, .newest = -1};
    }
    uint64_t value = word_at(word);
    if (first || messages[of->newest].value != value) {
        int32_t before = of->newest;
        message *m = message_add(of, value);
        if (!first) { /* bytes beside those that were stored atomically */
            m->release = messages[before].release;
        }
        for (unsigned t = 0; t < T; t++) {
            uint32_t stamp = 0;
            for (uintptr_t at = word; at < word + 8; at += GRAIN) {
                const shadow *s = shadow_of(at);
                stamp = s->plain_write[t] > stamp ? s->plain_write[t] : stamp;
            }
            m->seen[t] = stamp != 0 || first ? stamp : UNSEEN;
        }
    }
    return of;
}

static bool known(const message *m) {
    for (unsigned t = 0; t < T; t++) {
        if (m->seen[t] <= clocks[explore_self].at[t]) {
            return true;
        }
    }
    return false;
}

static void see(message *m) {
    uint32_t now = clocks[explore_self].at[explore_self];
    m->seen[explore_self] = m->seen[explore_self] < now ? m->seen[explore_self] : now;
}

static uint64_t part_of(uint64_t word, const void *place, size_t size) {
    uint64_t value = word >> ((uintptr_t)place & 7) * 8;
    return size == 8 ? value : value & (((uint64_t)1 << size * 8) - 1);
}

static void trace(const explore_site *site, const void *place, size_t size, uint64_t value,
                  unsigned behind) {
    if (explore_trace) {
        static const char *const orders[] = {"relaxed", "acquire", "release", "acq_rel", "seq_cst"};
        printf("  %u: %-22s %8s %s(%s) +%zx/%zu = %llx%s", explore_self, site->function,
               site->operation, orders[site->order], site->place,
               (size_t)((uintptr_t)place - ARENA_BASE), size, (unsigned long long)value,
               behind > 0 ? "" : "\n");
        if (behind > 0) {
            printf("  STALE by %u\n", behind);
        }
    }
}

/* ---- Operations ---- */

/* The message that a load gets; how many newer ones there are goes to *behind_out. */
static message *pick(const location *of, bool seq_cst, unsigned *behind_out) {
    message *candidates[STALE_DEPTH];
    unsigned count = 0;
    for (int32_t at = of->newest; at >= 0 && count < STALE_DEPTH; at = messages[at].previous) {
        message *m = &messages[at];
        candidates[count++] = m;
        if (known(m) || (seq_cst && m->time <= of->sc_floor)) {
            break;
        }
    }
    *behind_out = explore_choose_stale(count);
    memory_totals.stale_loads += *behind_out > 0;
    return candidates[*behind_out];
}

/* What the thread has last seen of a word. */
static const message *last_seen(const location *of) {
    const message *m = &messages[of->newest];
    while (m->seen[explore_self] == UNSEEN && m->previous >= 0) {
        m = &messages[m->previous];
    }
    return m;
}

static uint64_t raw_load(const void *place, size_t size) {
    uint64_t value = 0;
    memcpy(&value, place, size);
    return value;
}

uint64_t explore_load(explore_site *site, void *place, size_t size) {
    if (!explore_running) {
        return raw_load(place, size);
    }
    explore_point();
    site->reached++;
    location *of = location_of(place);
    clocks[explore_self].at[explore_self]++;
    if (site->mutation == EXPLORE_STUCK) {
        return part_of(last_seen(of)->value, place, size);
    }
    unsigned behind;
    message *m = pick(of, site->order == EXPLORE_SEQ_CST, &behind);
    see(m);
    if (is_acquire(site->order) || m->faulted) {
        memory_acquire(&m->release);
    }
    if (site->order == EXPLORE_SEQ_CST && m->time > of->sc_floor) {
        of->sc_floor = m->time;
    }
    touch(place, size, false, true);
    uint64_t value = part_of(m->value, place, size);
    trace(site, place, size, value, behind);
    return value;
}

/* Makes the newest message of a word. `carries`: what the one before released goes on. */
static void put(location *of, void *place, size_t size, uint64_t value, explore_order order,
                bool carries) {
    message before = messages[of->newest];
    memcpy(place, &value, size);
    message *m = message_add(of, word_at((uintptr_t)place & ~(uintptr_t)7));
    see(m);
    if (carries || size < 8) {
        m->release = before.release;
    }
    if (is_release(order)) {
        join(&m->release, &clocks[explore_self]);
    }
    if (order == EXPLORE_SEQ_CST) {
        of->sc_floor = m->time;
    }
    touch(place, size, true, true);
    explore_stored();
}

void explore_store(explore_site *site, void *place, size_t size, uint64_t value) {
    if (!explore_running) {
        memcpy(place, &value, size);
        return;
    }
    explore_point();
    site->reached++;
    if (site->mutation == EXPLORE_OMITTED) {
        return;
    }
    location *of = location_of(place);
    clocks[explore_self].at[explore_self]++;
    put(of, place, size, value, site->order, false);
    trace(site, place, size, value, 0);
}

static uint64_t changed(uint64_t old, explore_change how, uint64_t value) {
    return how == EXPLORE_SET ? value : how == EXPLORE_ADD ? old + value : old - value;
}

uint64_t explore_update(explore_site *site, void *place, size_t size, explore_change how,
                        uint64_t value) {
    if (!explore_running) {
        uint64_t before = raw_load(place, size);
        uint64_t after = changed(before, how, value);
        memcpy(place, &after, size);
        return before;
    }
    explore_point();
    site->reached++;
    location *of = location_of(place);
    message *m = &messages[of->newest];
    uint64_t old = part_of(m->value, place, size);
    if (site->mutation == EXPLORE_OMITTED) {
        return old;
    }
    clocks[explore_self].at[explore_self]++;
    see(m);
    if (is_acquire(site->order)) {
        memory_acquire(&m->release);
    }
    uint64_t now = changed(old, how, value);
    put(of, place, size, now, site->order, true);
    trace(site, place, size, now, 0);
    return old;
}

bool explore_cas(explore_site *site, void *place, size_t size, void *expected, uint64_t value) {
    uint64_t wanted = 0;
    memcpy(&wanted, expected, size);
    if (!explore_running) {
        uint64_t found = raw_load(place, size);
        memcpy(found == wanted ? place : expected, found == wanted ? &value : &found, size);
        return found == wanted;
    }
    explore_point();
    site->reached++;
    location *of = location_of(place);
    clocks[explore_self].at[explore_self]++;
    message *m = &messages[of->newest];
    uint64_t found = part_of(m->value, place, size);
    see(m);
    if (is_acquire(site->order) && (found == wanted || site->order >= EXPLORE_ACQ_REL)) {
        memory_acquire(&m->release);
    }
    if (found == wanted) {
        put(of, place, size, value, site->order, true);
    } else {
        if (site->order == EXPLORE_SEQ_CST) {
            of->sc_floor = m->time;
        }
        touch(place, size, false, true);
        memcpy(expected, &found, size);
    }
    trace(site, place, size, found, 0);
    return found == wanted;
}

void memory_discard(void *place, size_t size) {
    if (!explore_running) {
        memset(place, 0, size);
        return;
    }
    for (uintptr_t page = (uintptr_t)place; page < (uintptr_t)place + size; page += 4096) {
        size_t end = (uintptr_t)place + size - page < 4096 ? (uintptr_t)place + size - page : 4096;
        explore_point();
        for (uintptr_t word = page; word < page + end; word += 8) {
            if (word_at(word) != 0) {
                location *of = location_of((const void *)word);
                clocks[explore_self].at[explore_self]++;
                uint64_t zero = 0;
                memcpy((void *)word, &zero, sizeof zero);
                message *m = message_add(of, 0);
                m->release = clocks[explore_self];
                m->faulted = true;
                see(m);
            }
        }
        explore_stored();
    }
}

/* ---- What the compiler tells of plain accesses: the interface of ThreadSanitizer's runtime ----
 */

#define PLAIN(size)                                                                                \
    void __tsan_read##size(void *place);                                                           \
    void __tsan_write##size(void *place);                                                          \
    void __tsan_read##size(void *place) {                                                          \
        explore_plain_read(place, size);                                                           \
    }                                                                                              \
    void __tsan_write##size(void *place) {                                                         \
        explore_plain_write(place, size);                                                          \
    }                                                                                              \
    void __tsan_unaligned_read##size(void *place);                                                 \
    void __tsan_unaligned_write##size(void *place);                                                \
    void __tsan_unaligned_read##size(void *place) {                                                \
        explore_plain_read(place, size);                                                           \
    }                                                                                              \
    void __tsan_unaligned_write##size(void *place) {                                               \
        explore_plain_write(place, size);                                                          \
    }

PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *place, unsigned long size);
void __tsan_write_range(void *place, unsigned long size);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);
void __tsan_init(void);

void __tsan_read_range(void *place, unsigned long size) {
    explore_plain_read(place, size);
}

void __tsan_write_range(void *place, unsigned long size) {
    explore_plain_write(place, size);
}

void __tsan_func_entry(void *caller) {
    (void)caller;
}

void __tsan_func_exit(void) {
}

void __tsan_init(void) {
}
