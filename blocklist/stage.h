/* stage.h - a full image while it is read, beside the list that stays in force.
 *
 * What Redis holds comes in any order and may be told again by the log; the last word counts. Only
 * bl_stage_apply() touches the list, and it does so by the difference, additions first, so that a
 * name in the old list and the new is never free meanwhile. Values are looked at only then.
 *
 * Needs memory while it lives: the names and values as text, and about 20 octets for each. */
#ifndef BLOCKLIST_STAGE_H
#define BLOCKLIST_STAGE_H

#include "blocklist/entry.h"
#include "blocklist/guard.h"
#include "blocklist/list.h"

#include <stddef.h>
#include <stdint.h>

#define BL_STAGE_SIZE_MAX (3u * 1024 * 1024 * 1024) /* more than any list; offsets stay 32 bits */
#define BL_STAGE_BATCH_CHANGES 4096u                /* changes between two bl_list_publish() */

struct bl_stage;

/* NULL when memory is short. The secret is copied. */
struct bl_stage *bl_stage_new(const struct bl_secret *secret);
void bl_stage_free(struct bl_stage *stage); /* NULL is fine */

/* Creates the feed or changes its properties; its name decides. Returns its number in the stage,
 * -ENOSPC beyond BL_FEEDS_MAX, -ENOMEM. */
int bl_stage_feed_set(struct bl_stage *stage, const struct bl_feed *feed);

/* The feed's number, or -ENOENT. */
int bl_stage_feed_find(const struct bl_stage *stage, const char *name);

/* Takes the feed and all its names away; no-op if it is not there. */
void bl_stage_feed_remove(struct bl_stage *stage, const char *name);

/* Says of a name what `value` says (at most BL_VALUE_SIZE_MAX octets), or with NULL that the feed
 * no longer lists it. 0, -ENOMEM or -EFBIG. */
int bl_stage_put(struct bl_stage *stage, int feed, const uint8_t *name, size_t name_size,
                 const char *value, size_t value_size);

/* Makes the feeds from Redis in `list` equal to the stage, and publishes. Feeds that are not from
 * Redis are left alone. 0, or -ENOMEM: then the list is between the old and the new, nothing that
 * is in the new has been removed, and another image is needed. */
int bl_stage_apply(struct bl_stage *stage, struct bl_list *list, const struct bl_guards *guards,
                   struct bl_refusals *refusals);

#endif
