/* campaign: what an attack on a promise has amounted to, in one line of the test's output, which
 * cmake/report.py gathers into the table at the end of cmake/test.sh:
 *
 *   campaign C4 io calls, uring: 812 cases, 790 faults, 0 failures, 1.3 s
 *
 * Begin with the number of reliability's campaign, or leave it out. A case is one run with its
 * verdict; a fault is one that was put in and met. A test that fails by an assertion ends before
 * its line: call campaign_end in any case where that is possible, else CMocka's verdict stands for
 * it. One thread.
 */
#ifndef FX_SUPPORT_CAMPAIGN_H
#define FX_SUPPORT_CAMPAIGN_H

#include <stdint.h>
#include <time.h>

typedef struct campaign {
    const char *name;
    uint64_t cases;
    uint64_t faults;
    uint64_t failures;
    struct timespec began;
} campaign;

/* `name` lives as long as the campaign; no colon in it. */
void campaign_begin(campaign *c, const char *name);
void campaign_end(const campaign *c);

#endif
