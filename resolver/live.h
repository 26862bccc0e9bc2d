/* live.h - what a reload replaces: one immutable set behind one pointer, which a worker reads once
 * a batch. Published and freed by the daemon (main.c) after a grace period. */
#ifndef RESOLVER_LIVE_H
#define RESOLVER_LIVE_H

#include "resolver/access.h"
#include "resolver/config.h"

#include <stdatomic.h>

struct live {
    struct config *config;
    struct access *access; /* config->access.allow, compiled */
};

typedef const struct live *_Atomic live_pointer;

#endif
