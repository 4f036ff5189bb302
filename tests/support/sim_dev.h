/* sim_dev: a device in memory of which every state that a crash can leave may be had. Behind the
 * storage door, as mem_dev; but what is not safe is kept as units, one sector or one change of the
 * size each, and an image is the safe bytes with some of them: lost, kept or trashed. Images are
 * cheap: blocks are shared until they are written. One thread.
 *
 * A change of the size is safe with the next SYNC, no sooner, though the door promises more: so
 * nothing that is written before depends on it. Changes of the size are kept in their order.
 */
#ifndef FX_TESTS_SIM_DEV_H
#define FX_TESTS_SIM_DEV_H

#include "disk/dev.h"

#define SIM_UNITS_MAX 4096u

typedef struct sim_dev sim_dev;

/* What becomes of a unit. Changes of the size are lost or kept. */
typedef enum sim_fate {
    SIM_LOST = '0',
    SIM_KEPT = '1',
    SIM_NOISE = 'n',   /* any bytes */
    SIM_SPLICED = 's', /* the first bytes are new and the rest old, or the other way round */
} sim_fate;

sim_dev *sim_dev_create(void);
void sim_dev_destroy(sim_dev *dev);
fx_dev *sim_dev_door(sim_dev *dev);
/* As if just created; `seed` decides in which order writes end. */
void sim_dev_reset(sim_dev *dev, uint64_t seed);

/* Called before each write, sync, grow and shrink takes effect, and once more in the middle of
 * those that are safe at once. NULL: no more. */
void sim_dev_set_hook(sim_dev *dev, void (*hook)(void *context), void *context);
/* Every operation from now on fails. */
void sim_dev_kill(sim_dev *dev);

/* Units that a crash now may take. */
uint32_t sim_dev_units(const sim_dev *dev);
bool sim_dev_is_size(const sim_dev *dev, uint32_t i);
/* Whether these fates can be: false for a change of the size without the one before. */
bool sim_dev_possible(const sim_dev *dev, const uint8_t *fates);
/* Names the image with these fates: the same bytes have the same digest. Cheap. */
uint64_t sim_dev_digest(const sim_dev *dev, const uint8_t *fates);
/* `out` becomes a device with that image, all of it safe. */
void sim_dev_crash(const sim_dev *dev, const uint8_t *fates, sim_dev *out);

uint64_t sim_dev_size(const sim_dev *dev);
/* The lowest offset that was written, and the offset behind the highest, since the reset. */
void sim_dev_written(const sim_dev *dev, uint64_t *from_out, uint64_t *to_out);

#endif
