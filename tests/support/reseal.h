/* reseal: makes every checksum of a forged file right again, so that what is forged is believed and
 * not only found damaged. Knows the layout of disk/ by itself: superblocks, both copies of the
 * checkpoint, journal entries, segments, records. Single-threaded.
 */
#ifndef FX_TESTS_SUPPORT_RESEAL_H
#define FX_TESTS_SUPPORT_RESEAL_H

#include "support/hostile.h"

/* `bytes`: those of the store with forgeries in them, `size` of them (what is cut off is left out).
 * Everything keeps the place that it has in the sound file, and the sound file stays as it is. */
void hostile_reseal(const hostile *sound, uint8_t *bytes, size_t size);

#endif
