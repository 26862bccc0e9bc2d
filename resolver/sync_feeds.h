/* sync_feeds.h - the node's own feeds: list files of the configuration, and imported feeds, which
 * are files in state_dir/feeds. For the list's writer thread; it logs. */
#ifndef RESOLVER_SYNC_FEEDS_H
#define RESOLVER_SYNC_FEEDS_H

#include "blocklist/guard.h"
#include "blocklist/list.h"
#include "resolver/config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYNC_FEED_OPERATOR "operator"    /* without Redis: the operator's own block and allow */
#define SYNC_FEED_BESIDE "operator.list" /* with Redis: what operator.list still holds */
#define SYNC_IMPORT_SIZE_MAX (256u * 1024 * 1024)
#define SYNC_REJECTS_LOGGED_MAX 20u /* of one text; then a count */
#define SYNC_REJECTS_REPLIED_MAX 100u
#define SYNC_ERROR_SIZE 256u

struct sync_feeds {
    struct bl_list *list;           /* borrowed */
    const struct bl_guards *guards; /* borrowed */
    const char *state_dir;          /* borrowed */
    struct config_list_file *files; /* the configuration's, a copy */
    uint32_t file_count;
    uint64_t guarded[BL_GUARD_COUNT]; /* entries refused, since the start */
    uint64_t malformed;               /* lines refused */
    uint64_t changed;                 /* names added, changed and removed */
};

void sync_feeds_done(struct sync_feeds *feeds);

/* Takes on `files`, reads them and the imported feeds, and removes feeds of this node's own that
 * are gone. 0; or -errno of the first file that could not be read, which `ret_error` names: it
 * keeps its names, and the others are read all the same. *ret_removed: a feed was removed. */
int sync_feeds_load(struct sync_feeds *feeds, const struct config_list_file *files,
                    uint32_t file_count, bool *ret_removed, char ret_error[static SYNC_ERROR_SIZE]);

/* As sync_import() of sync.h. */
int sync_feeds_import(struct sync_feeds *feeds, const char *name, const char *format,
                      const char *text, size_t size, json_t **ret_reply);

#endif
