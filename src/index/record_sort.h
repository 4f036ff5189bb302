/* record_sort: brings records into key order, many at a time. */
#ifndef FX_INDEX_RECORD_SORT_H
#define FX_INDEX_RECORD_SORT_H

#include "index/record.h"

/* Sorts records of different keys, which nobody changes meanwhile. False: no memory, and nothing
 * was moved. 32 bytes a record are needed meanwhile. */
bool fx_record_sort(fx_record **records, size_t count);

#endif
