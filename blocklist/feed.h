/* feed.h - the list's feeds: names, ids, properties, entries counted. Inside the list only.
 *
 * A feed's properties are a struct that never changes, behind an atomic pointer; equal structs are
 * stored once and all are kept, so that hits may carry their texts. The writer calls everything but
 * what is marked. */
#ifndef BLOCKLIST_FEED_H
#define BLOCKLIST_FEED_H

#include "blocklist/list.h"

#include <stdbool.h>
#include <stdint.h>

struct bl_feeds;

struct bl_feeds *bl_feeds_new(const struct bl_secret *secret); /* NULL: memory is short */
void bl_feeds_free(struct bl_feeds *feeds);                    /* NULL is fine */

/* See bl_list_feed_set(). *ret_old is what held before, NULL for a new feed. */
int bl_feeds_set(struct bl_feeds *feeds, const struct bl_feed *feed,
                 const struct bl_feed **ret_old);

/* The id is used again after bl_feeds_reclaim() only; until then readers still see its
 * properties. */
void bl_feeds_remove(struct bl_feeds *feeds, uint16_t id);
bool bl_feeds_retired(const struct bl_feeds *feeds); /* ids wait to be used again */
void bl_feeds_reclaim(struct bl_feeds *feeds);       /* after a grace period */

void bl_feeds_count(struct bl_feeds *feeds, uint16_t id, int change); /* entries */

/* Readers too. */
const struct bl_feed *bl_feeds_get(const struct bl_feeds *feeds, uint16_t id);
bool bl_feeds_in_use(const struct bl_feeds *feeds, uint16_t id);
int bl_feeds_find(const struct bl_feeds *feeds, const char *name);
void bl_feeds_each(const struct bl_feeds *feeds,
                   void (*call)(void *context, const struct bl_feed *feed), void *context);

/* Any thread. */
uint64_t bl_feeds_entries(const struct bl_feeds *feeds, uint16_t id);
uint64_t bl_feeds_octets(const struct bl_feeds *feeds);

#endif
