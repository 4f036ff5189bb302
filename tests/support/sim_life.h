/* sim_life: short lives of a store with two keys, made of forms of operation, over a device that
 * can crash (sim_dev.h); what was committed in which group, and whether a state that is found after
 * a crash may be. One thread. Whatever cannot go wrong fails the test.
 */
#ifndef FX_TESTS_SIM_LIFE_H
#define FX_TESTS_SIM_LIFE_H

#include "support/sim_dev.h"
#include "support/stage.h"

#define SIM_KEYS 2u
#define SIM_ABSENT UINT32_MAX
#define SIM_UNREADABLE (UINT32_MAX - 1)
#define SIM_FORMS 20u
#define SIM_LENGTH_MAX 40u
#define SIM_STARTS 2u

/* How a file is before the life begins. */
typedef struct sim_start {
    const char *name;
    uint64_t size; /* of the new file, bytes */
    uint32_t count;
    uint8_t forms[16];
} sim_start;

typedef struct sim_work {
    const sim_start *start;
    uint32_t count;
    uint8_t forms[SIM_LENGTH_MAX];
} sim_work;

/* What a key holds. */
typedef struct sim_value {
    uint32_t size; /* SIM_ABSENT, SIM_UNREADABLE */
    uint32_t stamp;
} sim_value;

/* What somebody finds. */
typedef struct sim_outcome {
    sim_value keys[SIM_KEYS];
    bool refused;  /* to whoever may write ... */
    bool unopened; /* ... and to readers */
} sim_outcome;

typedef struct sim_commit {
    uint32_t key;
    sim_value now;
    uint64_t group;
} sim_commit;

typedef enum sim_manner { SIM_RELAXED, SIM_SAFE, SIM_KEPT_BACK } sim_manner;

typedef struct sim_life {
    stage stage;
    sim_dev *dev;
    bool opened;
    uint32_t begun; /* operations of the work, the one under way included */
    uint32_t stamp;
    uint64_t acked; /* the last group known to be durable */
    sim_commit history[2 * SIM_LENGTH_MAX + 32];
    uint32_t count;
} sim_life;

extern const sim_start sim_starts[SIM_STARTS];
extern const char *const sim_form_names[SIM_FORMS];

/* From a new file to the end of the last operation; the process is then killed. `crash` is called
 * when the power may fail, with what is known to be durable brought up to date, and once more at
 * the end. */
void sim_life_run(sim_life *l, sim_dev *dev, const sim_work *work, uint64_t seed,
                  void (*crash)(sim_life *l));
/* Whether that is the state after some group that is not before the last durable one. */
bool sim_life_allows(const sim_life *l, const sim_outcome *found);
void sim_life_print(const sim_life *l, const sim_outcome *found);

/* A stage over such a device, later than anything expires. */
stage sim_stage_after(sim_dev *dev);
/* Reads a key; a value that nobody wrote fails the test. */
feox_status sim_look(stage *w, uint32_t key, sim_value *out);
/* group 0: there was nothing to delete. `buffer` has room for any value. */
fx_committed sim_write(stage *w, uint32_t key, sim_value v, sim_manner how, uint64_t expiry_ns);
/* The process ends, and writes nothing any more. */
void sim_stage_end(stage *w, sim_dev *dev);
bool sim_same(sim_value a, sim_value b);

#endif
