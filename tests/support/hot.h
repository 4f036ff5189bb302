/* hot: one thread's random calls on a few keys that others call on too, each entered in a history.
 * It sees feox.h only. A value is a number in one of three shapes: a counter, a JSON document, and
 * bytes of many sizes that the number decides, so that a torn or foreign value is no number at all.
 */
#ifndef FX_SUPPORT_HOT_H
#define FX_SUPPORT_HOT_H

#include "feox.h"
#include "support/history.h"

#define FX_HOT_VALUE_MAX 12000u

typedef enum fx_shape { FX_SHAPE_COUNTER, FX_SHAPE_JSON, FX_SHAPE_BYTES } fx_shape;

/* What the threads of one history have in common. */
typedef struct fx_hot_plan {
    feox_store *store;
    fx_history *history;
    uint64_t name; /* part of the keys */
    fx_shape shapes[FX_HISTORY_KEYS];
    uint32_t pads[FX_HISTORY_KEYS]; /* bytes of padding in a document */
    bool versions;                  /* ask for versions, and write on condition of them */
    bool mortal;                    /* times to live of a few milliseconds, and pauses as long */
    bool scans;         /* keys are also read by cursors and range queries; needs order */
    uint32_t durable;   /* percent of the writes that carry FEOX_DURABLE */
    uint32_t flags_all; /* what the store's own mode adds to every write in the history */
    uint32_t steps;     /* one call in so many loses the processor inside; 0: none */
    bool flushes;       /* feox_flush is among the calls, if there will be a crash */
} fx_hot_plan;

typedef struct fx_hot {
    const fx_hot_plan *plan;
    uint32_t thread;
    uint64_t random;
    uint64_t numbers;              /* to make new ones */
    int64_t seen[FX_HISTORY_KEYS]; /* the last number met, to be expected next */
    uint64_t versions[FX_HISTORY_KEYS];
    bool stepping;
    int unmodelled; /* a status that no call should give; 0: none */
    unsigned char value[FX_HOT_VALUE_MAX];
    unsigned char other[FX_HOT_VALUE_MAX];
} fx_hot;

/* Random shapes, for the history's number of keys. */
void fx_hot_plan_shapes(fx_hot_plan *plan, uint64_t *random);
/* Deletes the keys, outside the history. */
feox_status fx_hot_clear(const fx_hot_plan *plan);
/* One random call, with a random pause before it. */
void fx_hot_call(fx_hot *hot);
/* Writes every key once, if its conditions are met. */
void fx_hot_write_all(fx_hot *hot);
/* Reads every key: its value and what is known of it. */
void fx_hot_read_all(fx_hot *hot);

#endif
