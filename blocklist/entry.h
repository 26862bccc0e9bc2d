/* entry.h - names, values and feed properties in the text forms of Redis (PROTOCOL.md).
 *
 * What a writer put there is foreign: everything is checked, nothing is repaired. An entry is taken
 * whole or not at all. */
#ifndef BLOCKLIST_ENTRY_H
#define BLOCKLIST_ENTRY_H

#include "blocklist/guard.h"
#include "blocklist/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BL_VALUE_SIZE_MAX 1024u
#define BL_ENTRY_NAME_SIZE_MAX                                                                     \
    253u /* RFC 1035, 2.3.4: a name of 255 octets as text, without the dot */
#define BL_SHARDS_MAX 262144u

/* Why an entry was not applied; the guards are counted apart, by their own names. */
enum bl_reject {
    BL_REJECT_NAME,        /* not a name in its text form */
    BL_REJECT_VALUE,       /* a known key whose value is not of its form, or no fields at all */
    BL_REJECT_CONDITION,   /* an upper-case key: only for readers that know it */
    BL_REJECT_FEED,        /* properties that are malformed, incomplete or conditional */
    BL_REJECT_FEED_IN_USE, /* a feed of this node's own has the name */
    BL_REJECT_NO_FEED,     /* an entry of a feed that is not there, or was refused */
    BL_REJECT_FULL,        /* too many feeds, feeds of one name, or distinct words */
    BL_REJECT_COUNT,
};

/* As a metric's label: "malformed_name". */
const char *bl_reject_label(enum bl_reject reject);

/* How many were refused, by reason. They only rise. */
struct bl_refusals {
    uint64_t rejected[BL_REJECT_COUNT];
    uint64_t guarded[BL_GUARD_COUNT];
};

/* Reads a name: lower-case letters, digits, `-` and `_`; no final dot. Returns its size or
 * -EINVAL. */
int bl_entry_name(const char *text, size_t size, uint8_t ret_name[static BL_NAME_SIZE_MAX]);

/* Reads a value into everything of a membership but its feed. Words are interned in the list, hence
 * for the list's writer only. 0; -EINVAL (see *ret_reject); -ENOMEM. */
int bl_entry_value(struct bl_list *list, const char *text, size_t size,
                   struct bl_membership *ret_membership, enum bl_reject *ret_reject);

/* Puts what feed `feed` (of the list) says of a name into the list, if value and guards let it; one
 * that is refused is counted, and the feed then says nothing of the name. 1 if the list changed, 0,
 * or -ENOMEM. */
int bl_entry_apply(struct bl_list *list, const struct bl_guards *guards, uint16_t feed,
                   const uint8_t *name, size_t name_size, const char *value, size_t value_size,
                   struct bl_refusals *refusals, bool *ret_refused);

/* Reads a feed's properties, one at a time; `redis` is set, the name and id are not touched. */
struct bl_properties {
    struct bl_feed feed;
    uint32_t shards;
    bool has_kind;
    bool has_tier;
    bool allow;
    bool refused; /* something was malformed or conditional: the feed must not be applied */
};
void bl_properties_init(struct bl_properties *properties);
void bl_properties_read(struct bl_properties *properties, const char *key, size_t key_length,
                        const char *value, size_t value_size);
/* All properties were read: true, with `feed` complete; false if the feed must not be applied. */
bool bl_properties_done(struct bl_properties *properties);

/* Whether this is a feed's name ([a-z0-9._-], 1 to 63, not led by a dot or dash). */
bool bl_feed_name_valid(const char *name, size_t size);

#endif
