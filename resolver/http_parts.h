/* http_parts.h - the parts of the daemon that HTTP reports on and hands changes to. */
#ifndef RESOLVER_HTTP_PARTS_H
#define RESOLVER_HTTP_PARTS_H

#include "blocklist/list.h"
#include "geo/hitlog.h"
#include "geo/tally.h"
#include "resolver/live.h"
#include "resolver/metrics.h"
#include "resolver/recurse.h"
#include "resolver/sync.h"

#include <jansson.h>
#include <stddef.h>

/* All are lent, and outlive the HTTP threads, which call them at any time. Only hitlog may
 * be NULL. */
struct http_parts {
    live_pointer *live;
    const struct bl_list *list;
    struct sync *sync;
    struct tally *tally;
    struct hitlog *hitlog;
    struct recursors *recursors;
    const struct metrics *const *metrics; /* the threads' blocks */
    size_t metrics_count;

    /* The answer cache: its metrics families, and its member of the status. */
    void (*cache_render)(void *cache, struct metrics_text *text);
    void (*cache_status)(void *cache, json_t *status);
    void *cache;

    /* Reads the configuration and the lists again and waits for it. 0 or -errno; *ret_reply is the
     * answer either way (with "error" on failure), the caller's to release. Called by a thread that
     * is no reader (rcu.h), since it waits for readers. */
    int (*reload)(void *context, json_t **ret_reply);
    void *reload_context;
};

#endif
