/* sync_inner.h - what sync.c and sync_render.c share. Nobody else includes this. */
#ifndef RESOLVER_SYNC_INNER_H
#define RESOLVER_SYNC_INNER_H

#include "resolver/sync.h"
#include "resolver/sync_feeds.h"
#include "resolver/sync_link.h"
#include "resolver/sync_operator.h"

#include <uv.h>

/* Totals for a scrape, as of the list's last change. */
struct sync_totals {
    struct bl_refusals refusals; /* guards of files and Redis together */
    uint64_t malformed_lines;
    uint64_t images[BL_IMAGE_REASON_COUNT];
};

struct sync_call;

struct sync {
    /* The list's thread's own, after sync_start(). */
    struct bl_list *list;
    struct bl_guards *guards;
    char state_dir[CONFIG_PATH_SIZE_MAX];
    struct sync_feeds feeds;
    struct sync_operator operator;
    struct sync_link *link; /* NULL without Redis */
    uv_loop_t loop;
    uv_async_t wake;
    uint64_t changes_seen;
    struct bl_refusals refusals_logged;
    uint64_t refusals_logged_ms;
    bool stopping;

    uv_thread_t thread;
    bool redis;

    uv_mutex_t mutex; /* guards what follows */
    uv_cond_t answered;
    struct sync_call *calls; /* waiting, the oldest first */
    struct sync_status status;
    struct sync_totals totals;
};

#endif
