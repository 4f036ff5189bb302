/* drill: short lives of a store, each of which uses some of the calls that reach a device, and the
 * knowledge of what must be there afterwards.
 *
 * A life is a script of changes and reads, by one thread and the same every time, so what the store
 * holds after any number of its changes is known. Every call is judged as it returns: what is
 * acknowledged, what is refused, what reads give. Afterwards the file must hold the state after
 * some number of the changes, with everything that was acknowledged as durable (D3), and nothing
 * else. A life can end in the middle: in another process, by a kill; here, because the device
 * failed.
 *
 * Nothing here fails a test: what is wrong is printed and counted in `wrong`. One drill at a time,
 * one thread.
 */
#ifndef FX_SUPPORT_DRILL_H
#define FX_SUPPORT_DRILL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feox.h"

enum { DRILL_KEYS = 24, DRILL_CHANGES = 800, DRILL_VALUE_MAX = 1600 << 10 };

typedef enum drill_kind { DRILL_ABSENT, DRILL_BYTES, DRILL_COUNTER, DRILL_JSON } drill_kind;

/* What a key holds: which bytes, says the stamp. */
typedef struct drill_value {
    drill_kind kind;
    size_t size;
    uint64_t stamp;
} drill_value;

typedef struct drill_change {
    unsigned key;
    drill_value value;
    uint64_t sequence; /* of one with FEOX_NO_WAIT */
} drill_change;

/* What of a life outlives its process, in memory that the parent shares. */
typedef struct drill_progress {
    _Atomic uint64_t tried;   /* changes that were begun */
    _Atomic uint64_t durable; /* ... and acknowledged as durable */
    _Atomic uint64_t ended;   /* the script came to its end */
} drill_progress;

/* Failures that may come, beside those that scripts know of. */
#define DRILL_MAY_FAIL 1u  /* FEOX_ERR_IO */
#define DRILL_MAY_FILL 2u  /* FEOX_ERR_SPACE */

typedef struct drill {
    const char *path;
    feox_options options;
    feox_store *store; /* NULL: not open */
    unsigned may;
    uint64_t (*met)(void);   /* faults so far; NULL: there are none */
    uint64_t (*grave)(void); /* of them, those of which the call that met one must speak */
    void (*begin)(void); /* from here on faults may come; NULL: nothing to do */
    void (*end)(void);   /* ... and no more */
    drill_progress *progress; /* or NULL */
    drill_value base[DRILL_KEYS];
    drill_change changes[DRILL_CHANGES];
    size_t count;   /* changes that may be in the file */
    size_t seen;    /* the first so many, that reads must see */
    size_t durable; /* the first so many, that must be in the file */
    drill_value now[DRILL_KEYS]; /* after `seen` changes */
    uint64_t stamp;
    uint64_t sequence; /* of the last change that nobody has waited for; 0: none */
    uint64_t before_flight; /* grave faults before the first of those */
    bool closing;       /* inside feox_close, or feox_salvage, which closes its copy */
    bool opened;        /* an open of the script worked */
    bool sticky;        /* the device failed: read-only from now on */
    unsigned refused;   /* calls that gave FEOX_ERR_SPACE */
    unsigned failed;    /* ... FEOX_ERR_IO */
    unsigned wrong;
} drill;

typedef struct drill_script {
    const char *name;
    void (*prepare)(drill *d); /* what there is before; NULL: no file */
    void (*run)(drill *d);     /* opens the store, and may leave it open */
    bool crashed;              /* prepare's store was not closed */
    uint64_t memory_limit;
    unsigned stride; /* many calls like each other: one of so many will do in a short run */
} drill_script;

extern const drill_script drill_scripts[];
extern const size_t drill_script_count;

/* The bytes of a file, without its zeros. */
typedef struct drill_image drill_image;

/* Runs the script's preparation over a file of its own. What it left is the base of every drill
 * that begins with it. NULL: something was wrong. */
drill_image *drill_prepare(drill *d, const drill_script *script, const char *path, int backend);
void drill_image_free(drill_image *image);
/* Puts the file back as it was prepared, and the knowledge of it. */
void drill_reset(drill *d, const drill_image *image);
/* The knowledge alone, and of a life in another process what it had told: `changes` are those of
 * the same life when it was not disturbed. */
void drill_recall(drill *d, const drill_image *image, const drill_change *changes,
                  const drill_progress *progress);

/* Calls of scripts; on a store that is not open they do nothing. */
void drill_begin(drill *d);
void drill_open(drill *d);
void drill_close(drill *d);
void drill_flush(drill *d);
void drill_compact(drill *d);
void drill_salvage(drill *d);
void drill_put(drill *d, unsigned key, drill_kind kind, size_t size, uint32_t flags);
void drill_delete(drill *d, unsigned key, uint32_t flags);
void drill_swap(drill *d, unsigned key, size_t size, uint32_t flags);
void drill_add(drill *d, unsigned key, uint32_t flags);
void drill_patch(drill *d, unsigned key, uint32_t flags);
/* For those with FEOX_NO_WAIT. */
void drill_wait(drill *d);
/* Every key, by every call that reads. */
void drill_read(drill *d);

/* The device has failed: reads go on, nothing else does, and asking again changes nothing. */
void drill_expect_read_only(drill *d);
/* The store holds a state that it may hold, is clean, and everything goes on from there. */
void drill_verify(drill *d, feox_store *store);
/* Opens what is left, verifies it and closes it; `rounds` times, with a change before each further
 * one. */
void drill_expect_recovered(drill *d, unsigned rounds);
/* Says what is wrong, with the name that was given last. */
void drill_wrong(drill *d, const char *what, feox_status status);
void drill_set_name(const char *name);

#endif
