/* index.h - names to contexts: the part of the list that readers go through. Inside the list only.
 *
 *   hash   63........52            43......32 31..............0
 *          which shard             tag        first slot: scaled to the number of slots
 *
 *   shard --> block:  header | slots, 4 octets each | arena of records ...         (one malloc)
 *                              tag 12 bits, where 20 bits: record's place in the block / 8
 *             record: context | size | name in wire form
 *
 * Adding writes the record, then its slot by one release store; removing clears the slot; another
 * context is one release store into the record. A block that is full or mostly dead is copied, the
 * copy published, the old one retired until bl_index_reclaim() after a grace period. A record thus
 * never changes its name and never moves within a block. Names are always compared in full.
 *
 * Names counted by labels tell readers which suffixes can't be listed at all, so that a question of
 * 127 labels costs no more than the list is deep. */
#ifndef BLOCKLIST_INDEX_H
#define BLOCKLIST_INDEX_H

#include "blocklist/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bl_index;
struct bl_record;

struct bl_index *bl_index_new(const struct bl_secret *secret); /* NULL: memory is short */
void bl_index_free(struct bl_index *index);                    /* NULL is fine */

/* ---- readers ---- */

/* One name to look up, lowered. Set `name` and `size`; `context` is the answer, NULL if not listed.
 * The rest belongs to bl_index_probe(). */
struct bl_probe {
    const uint8_t *name;
    const struct bl_context *context;
    const struct bl_block *block;
    struct bl_record *record;
    uint64_t hash;
    uint32_t position;
    uint8_t size;
};

/* Looks all of them up, each stage for all before the next, with prefetching between. */
void bl_index_probe(const struct bl_index *index, struct bl_probe *probes, size_t count);

/* Whether any listed name has this many labels (0: the root). */
bool bl_index_has_labels(const struct bl_index *index, unsigned labels);

uint64_t bl_index_names(const struct bl_index *index);  /* any thread */
uint64_t bl_index_octets(const struct bl_index *index); /* any thread */

/* ---- the writer ---- */

/* The record of a name, or NULL. Good until the next insert, erase or edit. */
struct bl_record *bl_index_seek(const struct bl_index *index, uint64_t hash, const uint8_t *name,
                                size_t size);
uint64_t bl_index_hash(const struct bl_index *index, const uint8_t *name, size_t size);

const struct bl_context *bl_record_context(const struct bl_record *record);
void bl_record_exchange(struct bl_record *record, const struct bl_context *context);

/* Adds a name that is not there. 0 or -ENOMEM. */
int bl_index_insert(struct bl_index *index, uint64_t hash, const uint8_t *name, size_t size,
                    const struct bl_context *context);

/* Removes a record that bl_index_seek() lent. */
void bl_index_erase(struct bl_index *index, uint64_t hash, struct bl_record *record);

/* Goes through all names. The callback must not change the index; false ends the walk. */
void bl_index_walk(const struct bl_index *index,
                   bool (*call)(void *context, const uint8_t *name, size_t size,
                                const struct bl_context *now),
                   void *context);

/* Gives every name the context that the callback answers for its present one; NULL removes the
 * name. */
void bl_index_edit(struct bl_index *index,
                   const struct bl_context *(*call)(void *context, const struct bl_context *now),
                   void *context);

bool bl_index_retired(const struct bl_index *index); /* something waits to be freed */
void bl_index_reclaim(struct bl_index *index);       /* after a grace period */

#endif
