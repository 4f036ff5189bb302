/* 06_durable: an event loop with many durable writes in flight. No call waits for the device; a
 * write is answered when it is on stable storage, and the device is flushed far less often than
 * there are writes.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <feox.h>

enum { REQUESTS = 10000, IN_FLIGHT = 256 };

static int failed(const char *what, feox_status status) {
    fprintf(stderr, "%s: %s %s\n", what, feox_status_text(status), feox_last_error());
    return 1;
}

/* What waits for its answer: requests `answered` up to `taken`, each with the sequence of its
 * write. They become durable in this order. */
typedef struct server {
    feox_store *store;
    uint64_t sequences[IN_FLIGHT];
    uint64_t taken;
    uint64_t answered;
} server;

static feox_status take_request(server *s) {
    char value[32];
    feox_write write;
    feox_written written;
    feox_write_init(&write);
    write.flags = FEOX_DURABLE | FEOX_NO_WAIT;
    int size = snprintf(value, sizeof value, "request %llu", (unsigned long long)s->taken);
    feox_status status = feox_insert_with(s->store, &s->taken, sizeof s->taken, value, (size_t)size,
                                          &write, &written);
    s->sequences[s->taken++ % IN_FLIGHT] = written.sequence;
    return status;
}

/* The descriptor was readable. */
static feox_status answer_requests(server *s) {
    uint64_t durable = 0;
    feox_status status = feox_durable_sequence(s->store, &durable);
    while (s->answered < s->taken && s->sequences[s->answered % IN_FLIGHT] <= durable) {
        s->answered++; /* here the client would be told */
    }
    return status;
}

static int serve(server *s) {
    /* Sockets would stand beside it. */
    struct pollfd ready = {.events = POLLIN};
    feox_status status = feox_durable_fd(s->store, &ready.fd);
    while (status == FEOX_OK && s->answered < REQUESTS) {
        while (status == FEOX_OK && s->taken < REQUESTS && s->taken - s->answered < IN_FLIGHT) {
            status = take_request(s);
        }
        if (status == FEOX_OK && poll(&ready, 1, -1) == 1) {
            status = answer_requests(s);
        }
    }
    return status == FEOX_OK ? 0 : failed("serve", status);
}

int main(void) {
    const char *path = "example_06.feox";
    server s = {0};
    feox_statistics stats;
    remove(path);
    feox_status status = feox_open(path, NULL, &s.store);
    if (status != FEOX_OK) {
        return failed("open", status);
    }
    int result = serve(&s);
    feox_statistics_init(&stats);
    if (result == 0 && feox_stats(s.store, &stats) == FEOX_OK) {
        printf("%d durable writes in %llu groups\n", REQUESTS,
               (unsigned long long)stats.groups_written);
    }
    status = feox_close(s.store);
    remove(path);
    return status == FEOX_OK ? result : failed("close", status);
}
