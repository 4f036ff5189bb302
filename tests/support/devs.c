/* devs: see the header. Results that no operation has (12345, 54321) stand for "not filled in" and
 * "another one came back".
 */
#define _GNU_SOURCE
#include "support/devs.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

feox_status fx_devs_open(const char *path, int backend, bool create, bool read_only,
                         fx_dev **dev_out) {
    fx_dev_open how = {
        .path = path, .read_only = read_only, .create = create, .backend = backend};
    return fx_dev_file_open(&how, dev_out);
}

fx_dev *fx_devs_new(const char *path, int backend) {
    fx_dev *dev = NULL;
    feox_status status = fx_devs_open(path, backend, true, false, &dev);
    if (status == FEOX_ERR_UNSUPPORTED && backend == FEOX_IO_URING) {
        print_message("skipped: %s\n", fx_error_text());
        skip();
    }
    assert_int_equal(status, FEOX_OK);
    return dev;
}

void *fx_devs_blocks(size_t count) {
    void *memory = NULL;
    if (posix_memalign(&memory, FX_BLOCK_SIZE, count * FX_BLOCK_SIZE) != 0) {
        abort();
    }
    memset(memory, 0, count * FX_BLOCK_SIZE);
    return memory;
}

int fx_devs_do(fx_dev_queue *queue, fx_dev_kind kind, uint64_t offset, void *buffer, size_t size) {
    fx_dev_op op = {kind, 12345, offset, size, buffer, NULL};
    fx_dev_submit(queue, &op);
    return fx_dev_reap(queue) == &op ? op.result : 54321;
}
