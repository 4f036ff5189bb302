/* status: names and texts come from the one list in feox.h. */
#include "base/error.h"
#include "base/mem.h"
#include "feox.h"
#include "store/store.h"

const char *feox_status_name(feox_status status) {
    switch (status) {
#define NAME(name, number, text)                                                                   \
    case name:                                                                                     \
        return #name;
        FEOX_STATUS_LIST(NAME)
#undef NAME
    case FEOX_STATUS_MIN_:
        break;
    }
    return "FEOX_UNKNOWN";
}

const char *feox_status_text(feox_status status) {
    switch (status) {
#define TEXT(name, number, text)                                                                   \
    case name:                                                                                     \
        return text;
        FEOX_STATUS_LIST(TEXT)
#undef TEXT
    case FEOX_STATUS_MIN_:
        break;
    }
    return "an unknown status";
}

const char *feox_last_error(void) {
    return fx_error_text();
}

feox_status fx_report_failure(feox_status status) {
    bool described = status == FEOX_ERR_IO || status == FEOX_ERR_SPACE; /* by the flusher */
    return described ? status : fx_error_set(status, 0, "%s", feox_status_text(status));
}

void feox_free(void *memory) {
    fx_mem_free(memory);
}

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)
#define VERSION VERSION_TEXT(FEOX_VERSION_MAJOR, FEOX_VERSION_MINOR, FEOX_VERSION_PATCH)

const char *feox_version(void) {
    return VERSION;
}

const char *feox_build_info(void) {
    return fx_mem_allocator()[0] == 'j'
               ? "libfeox " VERSION "; allocator jemalloc; io uring, threads; format 1"
               : "libfeox " VERSION "; allocator libc; io uring, threads; format 1";
}
