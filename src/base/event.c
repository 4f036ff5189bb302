/* event: an eventfd. Raising one that is raised, and clearing one that is not, changes nothing. */
#define _GNU_SOURCE
#include "base/event.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int fx_event_open(void) {
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd >= 0 ? fd : -errno;
}

void fx_event_close(int fd) {
    (void)close(fd);
}

void fx_event_raise(int fd) {
    (void)eventfd_write(fd, 1); /* fails when the count is at its end: then it is readable */
}

void fx_event_clear(int fd) {
    eventfd_t ignored;
    (void)eventfd_read(fd, &ignored);
}
