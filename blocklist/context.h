/* context.h - sets of memberships, each distinct set stored once and counted. Inside the list only.
 *
 * The writer calls everything here but bl_context_find(). A context never changes; when the last
 * reference is dropped it is retired, and freed by bl_contexts_reclaim() after a grace period. */
#ifndef BLOCKLIST_CONTEXT_H
#define BLOCKLIST_CONTEXT_H

#include "blocklist/list.h"

#include <stdbool.h>
#include <stdint.h>

struct bl_contexts;

struct bl_contexts *bl_contexts_new(const struct bl_secret *secret); /* NULL: memory is short */
void bl_contexts_free(struct bl_contexts *contexts); /* with all that are left; NULL is fine */

/* Lends the context of these memberships (ascending by feed, 1..BL_MEMBERSHIPS_MAX) and counts one
 * reference more. NULL when memory is short. */
const struct bl_context *bl_contexts_acquire(struct bl_contexts *contexts,
                                             const struct bl_membership *memberships,
                                             uint32_t count);

/* Counts one reference less. The context is good until the next bl_contexts_reclaim(). */
void bl_contexts_release(struct bl_contexts *contexts, const struct bl_context *context);

bool bl_contexts_retired(const struct bl_contexts *contexts); /* something waits to be freed */
void bl_contexts_reclaim(struct bl_contexts *contexts);       /* after a grace period */

uint64_t bl_contexts_octets(const struct bl_contexts *contexts); /* any thread */

/* What `feed` says, or NULL. */
const struct bl_membership *bl_context_find(const struct bl_context *context, uint16_t feed);

/* Writes the memberships of `context` (NULL: none) with what `membership` says put in its place.
 * Returns how many, or -ENOSPC. */
int bl_context_with(const struct bl_context *context, const struct bl_membership *membership,
                    struct bl_membership ret_memberships[static BL_MEMBERSHIPS_MAX]);

/* The same without those of `feed`; 0 is possible. */
uint32_t bl_context_without(const struct bl_context *context, uint16_t feed,
                            struct bl_membership ret_memberships[static BL_MEMBERSHIPS_MAX]);

#endif
