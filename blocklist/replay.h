/* replay.h - what an entry of the log in Redis does: to the list in force, or to a staged image.
 *
 * The entry fits the chain already (journal.h); what it says of feeds and names is still
 * foreign. */
#ifndef BLOCKLIST_REPLAY_H
#define BLOCKLIST_REPLAY_H

#include "blocklist/entry.h"
#include "blocklist/guard.h"
#include "blocklist/journal.h"
#include "blocklist/list.h"
#include "blocklist/stage.h"

/* 0; -ENOMEM; -ESTALE when a feed turns from denying to allowing or back: the list has not changed,
 * and an image is needed, so that the guards see all its names. Publishing is the caller's. */
int bl_replay_to_list(const struct bl_log_entry *entry, struct bl_list *list,
                      const struct bl_guards *guards, struct bl_refusals *refusals);

/* 0, -ENOMEM or -EFBIG. */
int bl_replay_to_stage(const struct bl_log_entry *entry, struct bl_stage *stage,
                       struct bl_refusals *refusals);

#endif
