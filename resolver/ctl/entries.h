/* entries.h - the content of a feed as text, and the difference between two of them. */
#ifndef RESOLVER_CTL_ENTRIES_H
#define RESOLVER_CTL_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTL_ENTRIES_MAX (64u * 1000000) /* more than any list; bounds memory */

/* Both lent by their struct ctl_entries. */
struct ctl_entry {
    const char *name;  /* lower case, without a final dot */
    const char *value; /* "" for the usual one; see blocklist/PROTOCOL.md */
};

struct ctl_text_block;

struct ctl_entries {
    struct ctl_entry *items;
    size_t count;
    size_t room;
    struct ctl_text_block *blocks; /* where the texts are */
};

/* Starts from zeros: struct ctl_entries entries = {0}. */
void ctl_entries_done(struct ctl_entries *entries);

/* Copies one entry. 0, -ENOMEM, -EFBIG beyond CTL_ENTRIES_MAX. */
int ctl_entries_add(struct ctl_entries *entries, const char *name, size_t name_size,
                    const char *value, size_t value_size);

/* Orders by name and keeps one entry of each; of two with one name the wider scope stays (the one
 * whose value is not exact), else the smaller value. Returns how many were taken out. */
size_t ctl_entries_order(struct ctl_entries *entries);

enum ctl_difference { CTL_ADDED, CTL_CHANGED, CTL_REMOVED };

struct ctl_difference_counts {
    uint64_t added;
    uint64_t changed;
    uint64_t removed;
    uint64_t unchanged;
};

/* Walks two ordered contents and calls back for each name that has to change: what is new or other
 * in `wanted`, and, if `replace`, what only `present` has. `call` may be NULL; a negative return of
 * it ends the walk. Returns 0 or what the callback returned; the counts are those of the walk so
 * far. */
int ctl_difference(const struct ctl_entries *present, const struct ctl_entries *wanted,
                   bool replace,
                   int (*call)(void *context, enum ctl_difference kind,
                               const struct ctl_entry *entry),
                   void *context, struct ctl_difference_counts *ret_counts);

#endif
