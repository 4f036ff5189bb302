#define _GNU_SOURCE
#include "support/campaign.h"

#include <stdio.h>

void campaign_begin(campaign *c, const char *name) {
    *c = (campaign){.name = name};
    (void)clock_gettime(CLOCK_MONOTONIC, &c->began);
}

void campaign_end(const campaign *c) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)(now.tv_sec - c->began.tv_sec) +
                     (double)(now.tv_nsec - c->began.tv_nsec) / 1e9;
    printf("campaign %s: %llu cases, %llu faults, %llu failures, %.1f s\n", c->name,
           (unsigned long long)c->cases, (unsigned long long)c->faults,
           (unsigned long long)c->failures, seconds);
    (void)fflush(stdout);
}
