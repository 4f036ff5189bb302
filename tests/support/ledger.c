/* ledger: counts are raised before the call and after it, so at any moment what a key holds is
 * between the two. The page is shared memory: a store to it has happened for the parent even if the
 * process dies with the next instruction.
 */
#define _GNU_SOURCE
#include "support/ledger.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "support/kit.h"

enum { KEYS = 8, WRITERS = 16, READERS = 2, NOISE_MAX = 6000 };

typedef struct account {
    uint64_t base;   /* before the round; the parent's */
    uint64_t marked; /* the least that must be there; the parent's */
    _Atomic uint64_t attempted;
    _Atomic uint64_t acknowledged;
    _Atomic uint64_t answered; /* the highest value that an acknowledged increment returned */
    _Atomic uint64_t seen;     /* the highest value that anybody read */
} account;

struct ledger {
    account keys[KEYS];
    uint64_t total;
    uint64_t round;
    uint64_t lost;
    bool is_marked;
    int flagged;
};

typedef struct hand {
    ledger *l;
    feox_store *store;
    uint64_t random;
    feox_status status;
} hand;

static _Atomic int stopping;

ledger *ledger_new(void) {
    void *page =
        mmap(NULL, sizeof(ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    return page;
}

void ledger_free(ledger *l) {
    assert_int_equal(munmap(l, sizeof *l), 0);
}

void ledger_flag(ledger *l, int flagged) {
    l->flagged = flagged;
}

static void raise_to(_Atomic uint64_t *highest, uint64_t value) {
    uint64_t old = atomic_load(highest);
    while (old < value && !atomic_compare_exchange_weak(highest, &old, value)) {
    }
}

static size_t name_of(char name[16], uint64_t key) {
    return (size_t)snprintf(name, 16, "counter%u", (unsigned)key);
}

/* Other writes share the groups, so that they come in all sizes. */
static feox_status make_noise(hand *h) {
    static const unsigned char noise[NOISE_MAX];
    uint64_t key = kit_below(&h->random, 500);
    size_t size = kit_below(&h->random, NOISE_MAX);
    return feox_insert(h->store, &key, sizeof key, noise, size);
}

static feox_status increment(hand *h, const feox_write *write) {
    char name[16];
    uint64_t key = kit_below(&h->random, KEYS);
    size_t name_len = name_of(name, key);
    account *a = &h->l->keys[key];
    int64_t value = 0;
    atomic_fetch_add(&a->attempted, 1);
    feox_status status = feox_increment_with(h->store, name, name_len, 1, write, &value, NULL);
    if (status == FEOX_OK) {
        atomic_fetch_add(&a->acknowledged, 1);
        raise_to(&a->answered, (uint64_t)value);
    }
    return status;
}

static void *write_on(void *argument) {
    hand *h = argument;
    feox_write write;
    feox_write_init(&write);
    write.flags = h->l->flagged != 0 ? FEOX_DURABLE : 0;
    while (h->status == FEOX_OK) {
        h->status = kit_below(&h->random, 8) == 0 ? make_noise(h) : increment(h, &write);
    }
    return NULL;
}

static void *read_on(void *argument) {
    hand *h = argument;
    while (h->status == FEOX_OK && atomic_load(&stopping) == 0) {
        char name[16];
        uint64_t value = 0;
        uint64_t key = kit_below(&h->random, KEYS);
        size_t name_len = name_of(name, key);
        feox_status status = feox_get_into(h->store, name, name_len, &value, sizeof value, NULL);
        if (status == FEOX_OK) {
            raise_to(&h->l->keys[key].seen, value); /* little-endian machines */
        }
        h->status = status < 0 ? status : FEOX_OK;
        kit_sleep_ms(1);
    }
    return NULL;
}

feox_status ledger_work(feox_store *store, void *context) {
    ledger *l = context;
    static hand hands[WRITERS + READERS];
    pthread_t threads[WRITERS + READERS];
    feox_status status = FEOX_OK;
    for (uint64_t i = 0; i < WRITERS + READERS; i++) {
        hands[i] = (hand){l, store, kit_mix(l->round * 100 + i), FEOX_OK};
        if (pthread_create(&threads[i], NULL, i < WRITERS ? write_on : read_on, &hands[i]) != 0) {
            return FEOX_ERR_MEMORY;
        }
    }
    for (uint64_t i = 0; i < WRITERS + READERS; i++) {
        atomic_store(&stopping, i >= WRITERS);
        (void)pthread_join(threads[i], NULL);
        status = status == FEOX_OK ? hands[i].status : status;
    }
    return status;
}

/* The least that has to be there, as of now. */
static uint64_t promised(const account *a) {
    uint64_t least = a->base + atomic_load(&a->acknowledged);
    uint64_t answered = atomic_load(&a->answered);
    uint64_t seen = atomic_load(&a->seen);
    least = answered > least ? answered : least;
    return seen > least ? seen : least;
}

void ledger_mark(ledger *l) {
    for (uint64_t i = 0; i < KEYS; i++) {
        l->keys[i].marked = promised(&l->keys[i]);
    }
    l->is_marked = true;
}

uint64_t ledger_lost(const ledger *l) {
    return l->lost;
}

void ledger_verify(ledger *l, feox_store *store) {
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        account *a = &l->keys[i];
        char name[16];
        size_t name_len = name_of(name, i);
        uint64_t value = 0;
        feox_status status = feox_get_into(store, name, name_len, &value, sizeof value, NULL);
        assert_true(status == FEOX_OK || status == FEOX_NOT_FOUND);
        uint64_t least = l->is_marked ? a->marked : promised(a);
        uint64_t most = a->base + atomic_load(&a->attempted);
        if (value < least || value > most) {
            print_error("round %llu, %s: %llu is there; %llu were acknowledged or read in time, "
                        "%llu attempted\n",
                        (unsigned long long)l->round, name, (unsigned long long)value,
                        (unsigned long long)least, (unsigned long long)most);
            wrong++;
        }
        l->lost += value < promised(a);
        l->total += atomic_load(&a->acknowledged);
        a->base = value;
        atomic_store(&a->attempted, 0);
        atomic_store(&a->acknowledged, 0);
        atomic_store(&a->answered, 0);
        atomic_store(&a->seen, 0);
    }
    l->is_marked = false;
    l->round++;
    assert_int_equal(wrong, 0);
}

uint64_t ledger_total(const ledger *l) {
    return l->total;
}
