/* worker.h - a worker: its own thread, loop, sockets, pipeline and half of recursion.
 *
 * It goes online (rcu.h) first thing in each of its callbacks and offline last, and never waits for
 * another thread, for Redis, for a disk or for the hit log. */
#ifndef RESOLVER_WORKER_H
#define RESOLVER_WORKER_H

#include "blocklist/list.h"
#include "geo/hit.h"
#include "resolver/cache.h"
#include "resolver/door.h"
#include "resolver/live.h"
#include "resolver/metrics.h"
#include "resolver/recurse.h"
#include "resolver/tcp.h"

#include <stddef.h>

/* What all workers share; borrowed. */
struct worker_parts {
    const struct config *config; /* for what a reload does not change */
    const struct bl_list *list;
    const struct bl_secret *secret;
    struct cache *cache;
    live_pointer *live;
    struct tcp_census *census;
    unsigned worker_count;
    unsigned recursor_count;
};

struct worker;

/* Makes a worker that does not run yet. Takes over the descriptors of `doors`, also on failure. 0
 * or -errno. */
int worker_new(const struct worker_parts *parts, struct door *doors, size_t door_count,
               struct worker **ret_worker);

/* Lent to those who serve or read the worker. */
struct recurse *worker_recurse(struct worker *worker);
const struct metrics *worker_metrics(const struct worker *worker);
struct hit_ring *worker_hits(struct worker *worker);

/* Starts the thread. 0 or -errno. */
int worker_start(struct worker *worker);

/* Ends the thread and waits for it; open questions get no answer. */
void worker_stop(struct worker *worker);

/* Only when stopped or never started. NULL is fine. */
void worker_free(struct worker *worker);

#endif
