/* compact: the public face of engine/cleaner. */
#include "base/error.h"
#include "engine/cleaner.h"
#include "store/store.h"

feox_status feox_compact(feox_store *store) {
    feox_status status = fx_store_enter_write(store);
    if (status != FEOX_OK || store->engine.flusher == NULL) {
        return status;
    }
    return fx_cleaner_compact(store->engine.flusher);
}
