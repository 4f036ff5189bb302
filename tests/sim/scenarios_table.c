/* scenarios_table: lookups while the table grows, loses and gives back. The build makes it small
 * (cmake/model.cmake): two slots to a bucket, one bucket at first, two in a full segment, two
 * overflow buckets. The fifth key doubles a first segment; a full one splits, and the directory
 * doubles.
 */
#include <string.h>

#include "base/hash.h"
#include "index/table_read.h"
#include "sim/scenarios.h"

#define KEYS 16u

typedef struct table_key {
    char text[5];
    uint64_t hash;
    fx_record *record;
} table_key;

typedef struct table_state {
    fx_table table;
    fx_slab_pool pool;
    fx_hash_key hash_key;
    table_key keys[KEYS];
    uint64_t counter; /* of texts tried */
    uint64_t version;
    uint64_t done;
    bool plain; /* readers try the short way first, as a get does */
} table_state;

/* The bits of a hash that the table looks at: bucket, and directory. */
#define BUCKET_BIT 1u
#define DIRECTORY_BIT ((uint64_t)1 << 55)

/* A key whose hash has these bits, and the tag of `twin` unless that is NULL. */
static void key_find(table_state *s, unsigned index, uint64_t bits, const table_key *twin) {
    table_key *key = &s->keys[index];
    do {
        uint32_t number = (uint32_t)++s->counter * 2654435761u;
        memcpy(key->text, &number, 4);
        key->hash = fx_hash(&s->hash_key, key->text, 4);
    } while ((key->hash & (BUCKET_BIT | DIRECTORY_BIT)) != bits ||
             (twin != NULL && (key->hash >> 16 & 0xffff) != (twin->hash >> 16 & 0xffff)));
    key->record = sim_slot();
}

/* As a commit does it; setup and the only writer. */
static void table_put(table_state *s, unsigned index) {
    table_key *key = &s->keys[index];
    uint64_t version = ++s->version;
    explore_require(fx_table_reserve_locked(&s->table, key->hash));
    sim_fill(key->record, key->text, version);
    fx_table_insert_locked(&s->table, key->hash, key->record);
    fx_record_publish(key->record, version);
}

static void table_remove(table_state *s, unsigned index) {
    fx_record_kill(s->keys[index].record);
    fx_table_remove_locked(&s->table, s->keys[index].hash, s->keys[index].record);
}

static bool table_get(table_state *s, unsigned index, uint64_t *last) {
    const table_key *key = &s->keys[index];
    uint64_t buffer[2];
    fx_record_view view = {0};
    size_t size = 0;
    fx_table_pass pass = s->plain ? fx_table_read_plain(&s->table, key->hash, key->text, 4, buffer,
                                                        sizeof buffer, &size)
                                  : FX_PASS_RETRY;
    if (pass == FX_PASS_FOUND) {
        view = sim_plain_view(buffer, size);
    } else if (pass == FX_PASS_NONE || !fx_table_read(&s->table, key->hash, false, true, key->text,
                                                      4, buffer, sizeof buffer, &view)) {
        return false;
    }
    sim_require_whole(&view, buffer);
    explore_require(view.version >= *last);
    *last = view.version;
    return true;
}

static void table_check(void *state) {
    table_state *s = state;
    const char *wrong = fx_table_check_locked(&s->table);
    explore_require((wrong != NULL ? wrong : "sound")[0] == 's');
}

/* Even keys stay in bucket 0, odd ones belong to bucket 1 once there is one; from 8 on they belong
 * to the other half of a directory. Key 15 has the tag of key 1. */
static table_state *table_make(unsigned count) {
    table_state *s = explore_alloc(sizeof *s);
    s->hash_key = (fx_hash_key){.k0 = 11, .k1 = 22};
    fx_slab_pool_init(&s->pool);
    for (unsigned i = 0; i < KEYS; i++) {
        key_find(s, i, i % 2 | (i >= 8 ? DIRECTORY_BIT : 0), i == 15 ? &s->keys[1] : NULL);
    }
    explore_require(fx_table_init(&s->table, &s->pool, &s->hash_key, 0));
    for (unsigned i = 0; i < count; i++) {
        table_put(s, i / 2 + i % 2 * 8); /* 0, 8, 1, 9, ... */
    }
    return s;
}

static void *few_setup(void) {
    return table_make(4); /* 0 8 | 1 9 in one bucket and its overflow */
}

static void *sparse_setup(void) {
    return table_make(3); /* room for one more */
}

static void *full_setup(void) {
    return table_make(8); /* two buckets, both with an overflow bucket */
}

static void *plainly(table_state *s) {
    s->plain = true;
    return s;
}

static void *few_plain_setup(void) {
    return plainly(few_setup());
}

static void *sparse_plain_setup(void) {
    return plainly(sparse_setup());
}

static void *full_plain_setup(void) {
    return plainly(full_setup());
}

/* ---- Growth ---- */

static void table_inserter(void *state) {
    table_state *s = state;
    table_put(s, 5);
    sim_done(&s->done);
}

/* Keys that were there before are there, wherever they move; new ones stay once seen. */
static void table_reader(void *state) {
    table_state *s = state;
    uint64_t last = 0, last_new = 0;
    explore_require(table_get(s, 1, &last));
    bool after = sim_is_done(&s->done);
    bool found = table_get(s, 5, &last_new);
    explore_require(found || !after);
    last = 0;
    explore_require(table_get(s, 9, &last));
    explore_require(table_get(s, 5, &last_new) || !found);
}

static void table_searcher(void *state) {
    table_state *s = state;
    uint64_t last = 0;
    explore_require(table_get(s, 9, &last));
    explore_require(!table_get(s, 7, &last));
    last = 0;
    explore_require(table_get(s, 1, &last));
}

/* ---- Removal, replacement, and the slot used again for a key with the same tag ---- */

static void table_remover(void *state) {
    table_state *s = state;
    table_remove(s, 1);
    sim_done(&s->done);
}

static void remove_reader(void *state) {
    table_state *s = state;
    uint64_t last = 0, other = 0;
    bool after = sim_is_done(&s->done);
    bool found = table_get(s, 1, &last);
    explore_require(!found || !after);
    explore_require(table_get(s, 9, &other));
    explore_require(!table_get(s, 1, &last) || found);
}

/* A new record takes the old one's place; its version is known at once. */
static void table_replacer(void *state) {
    table_state *s = state;
    fx_record *old = s->keys[1].record;
    fx_record *fresh = s->keys[14].record;
    uint64_t version = ++s->version;
    sim_fill(fresh, s->keys[1].text, version);
    fx_record_kill(old);
    fx_table_replace_locked(&s->table, s->keys[1].hash, old, fresh);
    fx_record_publish(fresh, version);
    sim_done(&s->done);
}

static void replace_reader(void *state) {
    table_state *s = state;
    uint64_t last = 0;
    bool after = sim_is_done(&s->done);
    explore_require(table_get(s, 1, &last));
    explore_require(!after || last == 5);
    explore_require(table_get(s, 1, &last));
}

/* A new record takes the old one's place, and the old one becomes key 15, which has the same tag: a
 * reader that was on its way to it must look again. */
static void table_overtaker(void *state) {
    table_state *s = state;
    s->keys[15].record = s->keys[1].record;
    table_replacer(state);
    table_put(s, 15);
}

static void overtaken_reader(void *state) {
    table_state *s = state;
    uint64_t last = 0;
    explore_require(table_get(s, 1, &last));
    explore_require(table_get(s, 1, &last));
}

/* Key 1 goes; its record becomes key 15, which has the same tag, in the same slot. */
static void table_reuser(void *state) {
    table_state *s = state;
    fx_record *record = s->keys[1].record;
    table_remove(s, 1);
    s->keys[15].record = record;
    table_put(s, 15);
    sim_done(&s->done);
}

static void reuse_reader(void *state) {
    table_state *s = state;
    uint64_t last = 0, last_new = 0, other = 0;
    bool after = sim_is_done(&s->done);
    bool found = table_get(s, 15, &last_new);
    explore_require(found || !after);
    bool old = table_get(s, 1, &last);
    explore_require(!old || !found);
    explore_require(table_get(s, 9, &other));
}

/* ---- Trim of an empty table, and growth from what it gave back ---- */

static void *trim_setup(void) {
    table_state *s = table_make(12); /* split */
    for (unsigned i = 0; i < KEYS; i++) {
        if (i % 8 < 6 && i != 1) {
            table_remove(s, i);
        }
    }
    return s;
}

static void table_trimmer(void *state) {
    table_state *s = state;
    table_remove(s, 1);
    fx_table_trim_locked(&s->table);
    table_put(s, 6);
    sim_done(&s->done);
}

static void table_regrower(void *state) {
    table_state *s = state;
    table_remove(s, 1);
    fx_table_trim_locked(&s->table);
    for (unsigned i = 0; i < 10; i++) {
        s->keys[6].record = i == 9 ? s->keys[6].record : sim_slot();
        table_put(s, i == 9 ? 6 : i / 2 + i % 2 * 8);
        if (i == 3) {
            sim_done(&s->done);
        }
    }
}

static void trim_reader(void *state) {
    table_state *s = state;
    uint64_t last = 0, last_new = 0;
    bool after = sim_is_done(&s->done);
    bool found = table_get(s, 1, &last);
    explore_require(!found || !after);
    bool fresh = table_get(s, 6, &last_new);
    explore_require(fresh || !after);
    explore_require(!found || last != 0);
    explore_require(table_get(s, 6, &last_new) || !fresh);
}

/* Keys 0, 8, 1, 9 are there from `done` on, while the table grows into its spare segments. */
static void regrow_reader(void *state) {
    table_state *s = state;
    uint64_t last[4] = {0};
    static const unsigned which[] = {9, 1, 8};
    for (unsigned i = 0; i < 3; i++) {
        bool after = sim_is_done(&s->done);
        bool found = table_get(s, which[i], &last[i]);
        explore_require(found || !after);
    }
}

const explore_scenario sim_table_scenarios[] = {
    {"table doubles", few_setup, {table_inserter, table_reader, NULL}, table_check},
    {"table doubles, two readers",
     few_setup,
     {table_inserter, table_reader, table_searcher},
     table_check},
    {"table splits", full_setup, {table_inserter, table_reader, NULL}, table_check},
    {"table remove", few_setup, {table_remover, remove_reader, remove_reader}, table_check},
    {"table replace", few_setup, {table_replacer, replace_reader, replace_reader}, table_check},
    {"table overtaken", sparse_setup, {table_overtaker, overtaken_reader, NULL}, table_check},
    {"table reuse", few_setup, {table_reuser, reuse_reader, NULL}, table_check},
    {"table doubles, plain", few_plain_setup, {table_inserter, table_reader, NULL}, table_check},
    {"table splits, plain", full_plain_setup, {table_inserter, table_reader, NULL}, table_check},
    {"table overtaken, plain",
     sparse_plain_setup,
     {table_overtaker, overtaken_reader, NULL},
     table_check},
    {"table reuse, plain", few_plain_setup, {table_reuser, reuse_reader, NULL}, table_check},
    {"table trim", trim_setup, {table_trimmer, trim_reader, trim_reader}, table_check},
    {"table regrows", trim_setup, {table_regrower, regrow_reader, NULL}, table_check},
};
const size_t sim_table_count = sizeof sim_table_scenarios / sizeof sim_table_scenarios[0];
