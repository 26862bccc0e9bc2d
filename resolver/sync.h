/* sync.h - the list's thread: the only writer of the list.
 *
 * It loads list files, the operator's list and imported feeds from the state folder, and, where
 * Redis is configured, keeps the list equal to Redis: a full image first, then each change.
 * Whatever happens to Redis, the list in memory stays in force. See blocklist/PROTOCOL.md.
 *
 * Without Redis the operator's changes are taken here: state_dir/operator.list, and one file per
 * imported feed in state_dir/feeds/. They are on disk before the call returns. */
#ifndef RESOLVER_SYNC_H
#define RESOLVER_SYNC_H

#include "blocklist/list.h"
#include "resolver/config.h"
#include "resolver/metrics.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SYNC_UUID_SIZE 37u
#define SYNC_TEXT_SIZE 256u

struct sync;

struct sync_status {
    bool loaded;     /* files are read, and Redis' first full image too (or none is configured) */
    bool redis;      /* configured */
    bool connected;  /* answering now */
    char server[64]; /* the server in use or last tried */
    char error[SYNC_TEXT_SIZE]; /* why it is not connected; "" when it is */
    char lineage[SYNC_UUID_SIZE];
    uint64_t revision;      /* applied; 0 without Redis */
    int64_t last_change_s;  /* wall clock of the last change applied; 0: none */
    int64_t last_contact_s; /* wall clock of Redis' last answer; 0: none */
    uint64_t reconnects;
    uint64_t images;   /* full images taken */
    uint64_t changes;  /* log entries applied */
    uint64_t rejected; /* entries refused: malformed or by a guardrail */
};

/* Reads the files before it returns, so that what they list is in force from the first question;
 * bad lines are skipped, counted and logged with their numbers. Then starts the thread. `config` is
 * copied as far as needed. 0 or -errno (a file that can't be read is logged, not an error). */
int sync_start(const struct config *config, struct bl_list *list, struct sync **ret_sync);
/* Waits for the thread; no other call may be under way. NULL is fine. */
void sync_stop(struct sync *sync);

/* Any thread but the list's own. Each waits for the list's thread, at most 30 s (-ETIMEDOUT). */

/* Takes on the list section of a new configuration and reads all files again. A file that can't be
 * read keeps its names; that is reported in `ret_error` and -errno returned. */
int sync_reload(struct sync *sync, const struct config *config,
                char ret_error[static SYNC_TEXT_SIZE]);

/* The operator's changes without Redis. `request` is the body of the API's call (resolver/API.md);
 * *ret_reply is its answer, to be released by the caller, also on failure (then {"error": ...}).
 * -EPERM where Redis is configured: the operator's changes belong there. */
enum sync_operation { SYNC_BLOCK, SYNC_UNBLOCK, SYNC_ALLOW, SYNC_UNALLOW };
int sync_operate(struct sync *sync, enum sync_operation operation, const json_t *request,
                 json_t **ret_reply);

/* Replaces the imported feed `name` by the lines of `text`. `format` as in list.files. */
int sync_import(struct sync *sync, const char *name, const char *format, const char *text,
                size_t size, json_t **ret_reply);

void sync_status(const struct sync *sync, struct sync_status *ret_status);

/* The list's and the sync's metrics families (sinkhole_blocklist_*, sinkhole_redis_*). */
void sync_render(const struct sync *sync, struct metrics_text *text);

#endif
