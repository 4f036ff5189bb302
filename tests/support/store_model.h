/* store_model: operations, every call of the interface, on a store and on a model that cannot be
 * wrong. After each of them the store's status, values, versions and counts are those of the model.
 * What is done next is the caller's to choose, with random numbers or with the bytes of an input.
 * One thread; asserts with CMocka.
 */
#ifndef FX_TESTS_SUPPORT_STORE_MODEL_H
#define FX_TESTS_SUPPORT_STORE_MODEL_H

#include "support/kit.h"

typedef struct store_model store_model;
/* A number below `limit`. */
typedef uint64_t store_model_chooser(void *context, uint64_t limit);

/* The kit's store is empty; its sweep interval is some milliseconds. */
store_model *store_model_create(kit *k, store_model_chooser *choose, void *context);
void store_model_destroy(store_model *m);
/* One operation, which may be a flush, or that the store is closed and opened. */
void store_model_step(store_model *m);
/* Everything at once, and feox_check. */
void store_model_compare(store_model *m);

#endif
