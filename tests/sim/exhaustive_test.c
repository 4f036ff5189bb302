/* Every life of up to three operations on two keys, ended at every operation of the device, and of
 * what was not safe then every subset of sectors, where they are few; torn, trashed, the file's
 * growth lost; and again while it is recovered. What is found is the state after some group: not
 * before what was durable (the lower bound), and nothing else (the upper bound, D3). Each image is
 * checked to the last block, recovered twice, and written to.
 *
 * Lives begin with a new file and with one that has seen something. All of two operations are run
 * each time, of those of three a part that the seed chooses, and some long ones at random;
 * FEOX_LONG=1: all, and more of the long ones. A failure prints a line FEOX_SIM_REPLAY=... that
 * runs its image alone.
 *
 * Lives share their beginnings, and many crashes leave the same bytes: what recovery makes of an
 * image is remembered by its digest, and whether that may be is asked each time.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "base/rng.h"
#include "support/campaign.h"
#include "support/sim_dev.h"
#include "support/sim_life.h"
#include "support/stage.h"

#ifdef FX_DEBUG
#define SLOW 1 /* with assertions and sanitizers all takes an order of magnitude longer */
#else
#define SLOW 0
#endif
#define DEPTH 3u
/* As many units as have all their subsets tried, and how many are drawn of those of more. */
#define WHOLE_UNITS 8u
#define FEW_UNITS 3u /* as many, with one of them trashed */
#define SAMPLES (SLOW ? 16u : 64u)
#define INNER_SAMPLES 8u
#define LONG_SAMPLES 3u
#define FOUND ((7u * SIM_FORMS + 16u) * SIM_FORMS + 19u) /* see is_chosen */
/* One image of so many is crashed again while it is recovered. */
#define INNER_ONE_OF (SLOW ? 128u : 16u)

/* ---- Chance ---- */

static uint64_t chance; /* of the library: ids, epochs, hash keys */

/* Instead of libc's: a seed decides everything. */
ssize_t getrandom(void *out, size_t size, unsigned flags) {
    fx_rng rng;
    uint8_t *at = out;
    (void)flags;
    fx_rng_init(&rng, ++chance);
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)fx_rng_next(&rng);
    }
    return (ssize_t)size;
}

/* ---- Mappings ---- */

#if !SLOW
/* Also instead of libc's: each opening maps the same few sizes and gives them back, and half of the
 * time went there. The large ones are asked for with as much slack, and then cut to their
 * alignment; here they are aligned, and what is cut off stays. */
#define SMALL_MAX ((size_t)64 << 10)
#define SPARE_MAX 64u

typedef struct mapping {
    char *memory;
    size_t size; /* with slack */
    bool in_use;
} mapping;

static mapping mappings[SPARE_MAX];
static uint32_t mapping_count;

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    bool large = size > SMALL_MAX;
    if (address != NULL || fd != -1 || (large && (size & (size - 1)) != 0)) {
        return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
    }
    for (uint32_t i = 0; i < mapping_count; i++) {
        if (!mappings[i].in_use && mappings[i].size == size) {
            mappings[i].in_use = true;
            return mappings[i].memory;
        }
    }
    size_t more = large ? size / 2 : 0;
    char *start = (char *)syscall(SYS_mmap, NULL, size + more, protection, flags, -1, 0);
    if ((void *)start == MAP_FAILED || mapping_count == SPARE_MAX) {
        return start;
    }
    start += large ? more - (uintptr_t)start % more : 0;
    mappings[mapping_count++] = (mapping){.memory = start, .size = size, .in_use = true};
    return start;
}

int munmap(void *address, size_t size) {
    for (uint32_t i = 0; i < mapping_count; i++) {
        mapping *m = &mappings[i];
        if (m->size > SMALL_MAX && address == m->memory + m->size / 2) {
            return 0; /* the slack */
        }
        if (address == m->memory) {
            m->in_use = false;
            if (size <= SMALL_MAX) {
                memset(address, 0, size);
            } else {
                (void)madvise(address, size, MADV_DONTNEED);
            }
            return 0;
        }
    }
    return (int)syscall(SYS_munmap, address, size);
}
#endif

/* ---- What is tried ---- */

/* A crash: before which operation of the device, counted from where crashes are tried, and what
 * becomes of the units. */
typedef struct place {
    uint32_t boundary;
    uint32_t units;
    uint8_t fates[SIM_UNITS_MAX];
} place;

static struct {
    campaign campaign;
    uint64_t seed;
    fx_rng rng;
    sim_dev *devs[4]; /* the life's, its image, that one's image, and one while it recovers */
    sim_work work;
    place at;
    place inner; /* while the image is recovered, `inside` */
    bool inside;
    bool replaying; /* these alone */
    bool inner_wanted;
    place wanted;
    place wanted_inner;
    uint64_t lives, boundaries, images, inner_images, trashed, refused, grown, sampled;
} sim;

/* ---- Outcomes that are known ---- */

#define KNOWN_BITS 20u
#define KNOWN_MAX ((1u << KNOWN_BITS) / 4 * 3)

typedef struct known {
    uint64_t digest; /* 0: none */
    sim_outcome outcome;
} known;

static known *known_table;
static uint32_t known_count;

static known *known_at(uint64_t digest) {
    digest += digest == 0;
    uint64_t i = digest >> (64 - KNOWN_BITS);
    while (known_table[i].digest != 0 && known_table[i].digest != digest) {
        i = (i + 1) & ((1u << KNOWN_BITS) - 1);
    }
    return &known_table[i];
}

static void known_forget(void) {
    memset(known_table, 0, sizeof *known_table << KNOWN_BITS);
    known_count = 0;
}

/* ---- Telling ---- */

static void print_place(const place *p) {
    printf("/%u/", p->boundary);
    for (uint32_t i = 0; i < p->units; i++) {
        putchar(p->fates[i]);
    }
    if (p->units == 0) {
        putchar('-');
    }
}

/* What the case under way is. */
static void print_replay(void) {
    printf("workload: %s", sim.work.start->name);
    for (uint32_t i = 0; i < sim.work.count; i++) {
        printf(" %s", sim_form_names[sim.work.forms[i]]);
    }
    printf("; crash at operation %u of the device, %u sectors not safe%s\n", sim.at.boundary,
           sim.at.units, sim.inside ? "; and again in recovery" : "");
    printf("FEOX_SIM_REPLAY=%llu/%s/", (unsigned long long)sim.seed, sim.work.start->name);
    for (uint32_t i = 0; i < sim.work.count; i++) {
        printf("%s%u", i > 0 ? "." : "", sim.work.forms[i]);
    }
    printf("%s", sim.work.count == 0 ? "-" : "");
    print_place(&sim.at);
    if (sim.inside) {
        print_place(&sim.inner);
    }
    printf("\n");
    (void)fflush(stdout);
}

static bool same_outcome(const sim_outcome *a, const sim_outcome *b) {
    return a->refused == b->refused && a->unopened == b->unopened &&
           sim_same(a->keys[0], b->keys[0]) && sim_same(a->keys[1], b->keys[1]);
}

/* ---- Recovery ---- */

/* Whoever may write was refused: the file is as it was, and who only reads is told what may be
 * wrong. */
static void read_only(sim_dev *dev, sim_outcome *out) {
    uint64_t from, to;
    stage w = sim_stage_after(dev);
    sim_dev_written(dev, &from, &to);
    assert_true(from > to);
    out->refused = true;
    feox_status opened = stage_open(&w, true);
    out->unopened = opened != FEOX_OK;
    if (out->unopened) {
        assert_true(opened == FEOX_ERR_CORRUPT || opened == FEOX_ERR_NOT_FEOX);
        (void)stage_close(&w);
        return;
    }
    for (uint32_t key = 0; key < SIM_KEYS; key++) {
        feox_status status = sim_look(&w, key, &out->keys[key]);
        assert_true(status == FEOX_OK || status == FEOX_ERR_CORRUPT);
        out->keys[key].size = status == FEOX_OK ? out->keys[key].size : SIM_UNREADABLE;
    }
    sim_stage_end(&w, dev);
}

/* Opens it and leaves it open. False: refused, and then closed. */
static bool open_image(stage *w, sim_dev *dev, bool trashed, sim_outcome *out) {
    *out = (sim_outcome){.refused = false};
    *w = sim_stage_after(dev);
    feox_status status = stage_open(w, false);
    if (trashed && (status == FEOX_ERR_CORRUPT || status == FEOX_ERR_NOT_FEOX)) {
        (void)stage_close(w);
        read_only(dev, out);
        return false;
    }
    assert_int_equal(status, FEOX_OK);
    assert_true(trashed || stage_damage(w) == 0);
    for (uint32_t key = 0; key < SIM_KEYS; key++) {
        assert_int_equal(sim_look(w, key, &out->keys[key]), FEOX_OK);
    }
    stage_expect_sound(w);
    return true;
}

/* The store that was recovered from `dev`, and its process killed: opened once more, it is the same
 * and nothing but its superblocks is written; then it takes another write, which stays. */
static void expect_second(sim_dev *dev, uint64_t digest, const sim_outcome *first) {
    static uint8_t fates[SIM_UNITS_MAX];
    sim_outcome second;
    uint64_t from, to;
    stage w;
    sim_dev *again = sim.devs[2];
    memset(fates, digest % 2 == 0 ? SIM_LOST : SIM_KEPT, sim_dev_units(dev));
    sim_dev_crash(dev, fates, again);
    assert_true(open_image(&w, again, false, &second));
    assert_true(same_outcome(first, &second));
    sim_dev_written(again, &from, &to);
    assert_true(to <= 2 * FX_BLOCK_SIZE);
    uint32_t key = digest / 2 % SIM_KEYS;
    sim_value fresh = {.size = 100, .stamp = 1000};
    (void)sim_write(&w, key, fresh, digest / 4 % 2 == 0 ? SIM_RELAXED : SIM_SAFE, 0);
    assert_int_equal(stage_sync(&w), FEOX_OK);
    assert_int_equal(sim_look(&w, key, &second.keys[key]), FEOX_OK);
    assert_true(sim_same(second.keys[key], fresh));
    sim_stage_end(&w, again);
    if (digest / 8 % 8 == 0) {
        sim_outcome third;
        memset(fates, SIM_LOST, sim_dev_units(again));
        sim_dev_crash(again, fates, sim.devs[3]);
        assert_true(open_image(&w, sim.devs[3], false, &third));
        assert_true(same_outcome(&second, &third));
        sim_stage_end(&w, sim.devs[3]);
    }
}

/* ---- Fates ---- */

typedef void (*tried)(void *context, const sim_dev *dev, const place *p, bool trashed);

static void try_fates(const sim_dev *dev, place *p, tried what, void *context, bool trashed) {
    if (sim_dev_possible(dev, p->fates)) {
        what(context, dev, p, trashed);
    }
}

static void try_random(const sim_dev *dev, place *p, tried what, void *context) {
    for (uint32_t i = 0; i < p->units; i++) {
        p->fates[i] = fx_rng_below(&sim.rng, 2) == 0 ? SIM_LOST : SIM_KEPT;
    }
    try_fates(dev, p, what, context, false);
}

/* Those of many: as many beginnings, all but one, only one, and any. */
static void try_samples(const sim_dev *dev, place *p, tried what, void *context, uint32_t samples) {
    uint32_t n = p->units;
    if (n == 0) {
        try_fates(dev, p, what, context, false);
        return;
    }
    for (uint32_t i = 0; i <= samples; i++) {
        uint32_t kept = (uint32_t)((uint64_t)n * i / samples);
        memset(p->fates, SIM_LOST, n);
        memset(p->fates, SIM_KEPT, kept);
        try_fates(dev, p, what, context, false);
    }
    for (uint32_t i = 0; i < samples / 2; i++) {
        uint32_t one = i < n && n <= samples / 2 ? i : (uint32_t)fx_rng_below(&sim.rng, n);
        memset(p->fates, SIM_KEPT, n);
        p->fates[one] = SIM_LOST;
        try_fates(dev, p, what, context, false);
        memset(p->fates, SIM_LOST, n);
        p->fates[one] = SIM_KEPT;
        try_fates(dev, p, what, context, false);
    }
    for (uint32_t i = 0; i < samples; i++) {
        try_random(dev, p, what, context);
    }
}

static void try_all(const sim_dev *dev, place *p, tried what, void *context) {
    for (uint32_t bits = 0; bits < 1u << p->units; bits++) {
        for (uint32_t i = 0; i < p->units; i++) {
            p->fates[i] = (bits >> i & 1) != 0 ? SIM_KEPT : SIM_LOST;
        }
        try_fates(dev, p, what, context, false);
    }
}

/* One unit trashed, the others kept, lost, or any of both; where they are very few, all of that. */
static void try_trashed(const sim_dev *dev, place *p, tried what, void *context) {
    uint32_t rounds = p->units < WHOLE_UNITS ? p->units : WHOLE_UNITS;
    bool few = p->units <= FEW_UNITS;
    unsigned choices = few ? 2u << p->units : 6;
    for (uint32_t i = 0; i < rounds; i++) {
        uint32_t one = p->units <= WHOLE_UNITS ? i : (uint32_t)fx_rng_below(&sim.rng, p->units);
        for (unsigned others = 0; others < choices && !sim_dev_is_size(dev, one); others++) {
            for (uint32_t j = 0; j < p->units; j++) {
                uint64_t coin = few              ? others / 2 >> j & 1
                                : others / 2 < 2 ? others / 2
                                                 : fx_rng_below(&sim.rng, 2);
                p->fates[j] = coin == 0 ? SIM_KEPT : SIM_LOST;
            }
            p->fates[one] = others % 2 == 0 ? SIM_NOISE : SIM_SPLICED;
            try_fates(dev, p, what, context, true);
        }
    }
}

/* ---- A crash while an image is recovered ---- */

typedef struct inner {
    sim_dev *dev;
    bool any;
    sim_outcome outcome; /* of all images of it */
} inner;

static void inner_image(void *context, const sim_dev *dev, const place *p, bool trashed) {
    inner *in = context;
    known *k = known_at(sim_dev_digest(dev, p->fates));
    sim_outcome out = k->outcome;
    if (k->digest == 0) {
        stage w;
        uint64_t before = chance;
        sim_dev_crash(dev, p->fates, sim.devs[3]);
        (void)open_image(&w, sim.devs[3], trashed, &out);
        sim_stage_end(&w, sim.devs[3]);
        chance = before;
        sim.inner_images++;
    }
    assert_true(!in->any || same_outcome(&out, &in->outcome));
    in->any = true;
    in->outcome = out;
    sim.campaign.cases++;
}

/* Sets the fates to the ones that are wanted. */
static bool is_wanted(place *p, const place *wanted, bool *trashed_out) {
    bool wants = p->boundary == wanted->boundary && p->units == wanted->units;
    *trashed_out = false;
    for (uint32_t i = 0; wants && i < p->units; i++) {
        p->fates[i] = wanted->fates[i];
        *trashed_out = *trashed_out || p->fates[i] > SIM_KEPT;
    }
    return wants;
}

static void inner_crash(void *context) {
    inner *in = context;
    place *p = &sim.inner;
    bool trashed;
    sim.inside = true;
    p->units = sim_dev_units(in->dev);
    if (sim.inner_wanted) {
        if (is_wanted(p, &sim.wanted_inner, &trashed)) {
            inner_image(in, in->dev, p, false);
        }
    } else if (p->units <= WHOLE_UNITS / 2) {
        try_all(in->dev, p, inner_image, in);
    } else {
        try_samples(in->dev, p, inner_image, in, INNER_SAMPLES);
    }
    p->boundary++;
    sim.inside = false;
}

/* ---- An image ---- */

static sim_outcome recover(uint64_t digest, bool trashed, bool deep) {
    sim_outcome out;
    stage w;
    sim_dev *dev = sim.devs[1];
    inner in = {.dev = dev};
    chance = digest;
    sim.inner.boundary = 0;
    if (deep) {
        sim_dev_set_hook(dev, inner_crash, &in);
    }
    if (open_image(&w, dev, trashed, &out)) {
        if (deep && in.any) {
            assert_true(same_outcome(&in.outcome, &out));
        }
        sim_stage_end(&w, dev);
        expect_second(dev, digest, &out);
    }
    return out;
}

static void life_image(void *context, const sim_dev *dev, const place *p, bool trashed) {
    sim_life *l = context;
    uint64_t digest = sim_dev_digest(dev, p->fates);
    known *k = known_at(digest);
    if (k->digest == 0 || sim.replaying) {
        uint64_t before = chance;
        sim_dev_crash(dev, p->fates, sim.devs[1]);
        sim_outcome out = recover(digest, trashed,
                                  !trashed && (sim.replaying || digest / 64 % INNER_ONE_OF == 0));
        chance = before;
        *k = (known){.digest = digest + (digest == 0), .outcome = out};
        known_count++;
        sim.images++;
        sim.trashed += trashed;
        sim.refused += out.refused;
    }
    sim.campaign.cases++;
    sim.campaign.faults += p->units > 0;
    if (!sim_life_allows(l, &k->outcome)) {
        sim_life_print(l, &k->outcome);
        fail_msg("a state that never was, or that was over");
    }
}

/* The power may fail now. Crashes are tried during the last operation, for those before are another
 * life's; in long lives always. */
static void life_crash(sim_life *l) {
    place *p = &sim.at;
    bool trashed;
    bool is_long = sim.work.count > DEPTH;
    if (l->begun < sim.work.count && !is_long) {
        return;
    }
    p->units = sim_dev_units(l->dev);
    sim.boundaries++;
    sim.sampled += p->units > WHOLE_UNITS;
    if (sim.replaying) {
        if (is_wanted(p, &sim.wanted, &trashed)) {
            life_image(l, l->dev, p, trashed);
        }
    } else if (is_long) {
        try_samples(l->dev, p, life_image, l, LONG_SAMPLES);
    } else {
        if (p->units <= WHOLE_UNITS) {
            try_all(l->dev, p, life_image, l);
        } else {
            try_samples(l->dev, p, life_image, l, SAMPLES);
        }
        try_trashed(l->dev, p, life_image, l);
    }
    p->boundary++;
    if (known_count > KNOWN_MAX) {
        known_forget();
    }
}

static void run(const sim_work *work) {
    static sim_life life;
    sim.work = *work;
    sim.at.boundary = 0;
    sim.inside = false;
    chance = sim.seed;
    fx_rng_init(&sim.rng, sim.seed);
    sim_life_run(&life, sim.devs[0], work, sim.seed, life_crash);
    sim.grown += sim_dev_size(sim.devs[0]) > work->start->size + (4u << 20);
    sim.lives++;
}

/* ---- Tests ---- */

static uint64_t power(uint64_t base, uint32_t exponent) {
    return exponent == 0 ? 1 : base * power(base, exponent - 1);
}

static void run_numbered(const sim_start *s, uint32_t count, uint64_t number) {
    sim_work work = {.start = s, .count = count};
    for (uint32_t i = count; i-- > 0; number /= SIM_FORMS) {
        work.forms[i] = (uint8_t)(number % SIM_FORMS);
    }
    run(&work);
}

static void print_figures(void) {
    print_message("%llu lives, %llu of them with growth, %llu crash points, at %llu of them a "
                  "choice of sectors; %llu images, %llu with a trashed sector of which %llu were "
                  "refused to writers; %llu in recovery\n",
                  (unsigned long long)sim.lives, (unsigned long long)sim.grown,
                  (unsigned long long)sim.boundaries, (unsigned long long)sim.sampled,
                  (unsigned long long)sim.images, (unsigned long long)sim.trashed,
                  (unsigned long long)sim.refused, (unsigned long long)sim.inner_images);
}

/* One of so many lives of three operations is run; which, the seed says. And one that once found
 * something: a durable write, a compaction, and an opening that wrote its root over the only copy
 * of the last one that was on stable storage. */
static bool is_chosen(uint64_t number) {
    if (number == FOUND) {
        return true;
    }
    const char *text = getenv("FEOX_SIM_PART");
    uint64_t of = text != NULL ? strtoull(text, NULL, 0) : getenv("FEOX_LONG") != NULL ? 1 : 65;
    return fx_checksum(&number, sizeof number, sim.seed) % of == 0;
}

/* Long ones, at random. */
static void run_long(void) {
    uint32_t lives = getenv("FEOX_LONG") != NULL ? 400 : SLOW ? 1 : 10;
    fx_rng rng;
    fx_rng_init(&rng, sim.seed);
    for (uint32_t i = 0; i < lives; i++) {
        sim_work work = {.start = &sim_starts[i % SIM_STARTS], .count = SIM_LENGTH_MAX};
        for (uint32_t j = 0; j < work.count; j++) {
            work.forms[j] = (uint8_t)fx_rng_below(&rng, SIM_FORMS);
        }
        known_forget();
        run(&work);
    }
}

static void run_all(void) {
    for (uint32_t count = 0; count <= (SLOW ? 1 : DEPTH); count++) {
        for (const sim_start *s = sim_starts; s < sim_starts + SIM_STARTS; s++) {
            for (uint64_t i = 0; i < power(SIM_FORMS, count); i++) {
                if (count < DEPTH || is_chosen(i)) {
                    run_numbered(s, count, i);
                }
            }
        }
        print_figures();
    }
    run_long();
    print_figures();
}

static const char *parse_place(const char *at, place *p) {
    char *end;
    p->boundary = (uint32_t)strtoul(at, &end, 10);
    assert_true(*end == '/');
    at = end + 1;
    for (p->units = 0; *at == '0' || *at == '1' || *at == 'n' || *at == 's'; at++) {
        assert_true(p->units < SIM_UNITS_MAX);
        p->fates[p->units++] = (uint8_t)*at;
    }
    return *at == '-' ? at + 1 : at;
}

static void run_wanted(const char *at) {
    sim_work work = {.start = sim_starts};
    char *end;
    sim.seed = strtoull(at, &end, 10);
    assert_true(*end == '/');
    at = end + 1;
    for (const sim_start *s = sim_starts; s < sim_starts + SIM_STARTS; s++) {
        work.start = strncmp(at, s->name, strlen(s->name)) == 0 ? s : work.start;
    }
    at = strchr(at, '/');
    assert_non_null(at);
    at++;
    while (*at != '/' && *at != '\0') {
        if (*at == '-' || *at == '.') {
            at++;
            continue;
        }
        assert_true(work.count < SIM_LENGTH_MAX);
        work.forms[work.count] = (uint8_t)strtoul(at, &end, 10);
        assert_true(end > at && work.forms[work.count] < SIM_FORMS);
        work.count++;
        at = end;
    }
    assert_true(*at == '/');
    at = parse_place(at + 1, &sim.wanted);
    sim.replaying = true;
    if (*at == '/') {
        sim.inner_wanted = true;
        (void)parse_place(at + 1, &sim.wanted_inner);
    }
    run(&work);
    assert_true(sim.images > 0);
}

static int begin(void **state) {
    (void)state;
    const char *text = getenv("FEOX_SEED");
    if (text != NULL) {
        sim.seed = strtoull(text, NULL, 0);
    } else {
        (void)syscall(SYS_getrandom, &sim.seed, 2, 0);
    }
    print_message("FEOX_SEED=%llu\n", (unsigned long long)sim.seed);
    for (unsigned i = 0; i < 4; i++) {
        sim.devs[i] = sim_dev_create();
    }
    known_table = calloc((size_t)1 << KNOWN_BITS, sizeof *known_table);
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20); /* what every opening takes stays with us */
    (void)mallopt(M_TRIM_THRESHOLD, 512 << 20);
    campaign_begin(&sim.campaign, "C1 all short lives");
    sim.campaign.failures = 1; /* until the end is reached */
    return 0;
}

static int end(void **state) {
    (void)state;
    campaign_end(&sim.campaign);
    for (unsigned i = 0; i < 4; i++) {
        sim_dev_destroy(sim.devs[i]);
    }
    free(known_table);
    return 0;
}

/* After each test, also one that failed. */
static int tell(void **state) {
    (void)state;
    if (sim.work.start != NULL && sim.campaign.failures > 0) {
        print_replay();
    }
    return 0;
}

static void test_short_lives(void **state) {
    const char *wanted = getenv("FEOX_SIM_REPLAY");
    (void)state;
    if (wanted != NULL) {
        run_wanted(wanted);
    } else {
        run_all();
    }
    sim.campaign.failures = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_short_lives, tell)};
    return cmocka_run_group_tests_name("sim/exhaustive", tests, begin, end);
}
