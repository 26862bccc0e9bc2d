/* source.h - a whole text as the content of one feed.
 *
 * Loading makes the feed equal to the text by the difference: names that vanished are removed, new
 * ones added, the others are left alone, so that a name in both versions is never free meanwhile.
 * The text is read to its end before the first change. For the list's writer thread only.
 *
 * Bad lines are passed over, counted and reported; they never keep the good ones out. A name that
 * occurs twice counts once, with the wider of its scopes. */
#ifndef BLOCKLIST_SOURCE_H
#define BLOCKLIST_SOURCE_H

#include "blocklist/format.h"
#include "blocklist/guard.h"
#include "blocklist/list.h"

#include <stddef.h>
#include <stdint.h>

#define BL_SOURCE_BATCH_CHANGES 4096u       /* changes between two bl_list_publish() */
#define BL_SOURCE_NAMES_MAX (64u * 1000000) /* more than any list; bounds memory while loading */

/* A line that gave no entry, or an entry that was refused. `line` counts from 1. `text` is the line
 * as it stands in the file, without its end, cut at BL_LINE_SIZE_MAX: foreign octets, not printable
 * as they are. For a guard's refusal the reason is bl_guard_text() and `guard` says which. */
struct bl_source_reject {
    uint64_t line;
    const char *reason; /* lives for ever */
    enum bl_guard guard;
    const char *text; /* lent for the call; for an entry that was refused, its name */
    size_t text_size;
};

struct bl_source {
    enum bl_format format;
    /* What each entry says: feed (in use), action, category and so on. The line gives the scope.
     * For DEFAULT in a feed of exceptions, ALLOW is stored: such entries never turn with their
     * feed. */
    struct bl_membership membership;
    const struct bl_guards *guards; /* checked unless ALLOW is stored; NULL: no guards */
    void (*reject)(void *context, const struct bl_source_reject *reject); /* may be NULL */
    void *context;
};

struct bl_source_counts {
    uint64_t added;
    uint64_t changed; /* listed by the feed before, with another scope or context */
    uint64_t removed;
    uint64_t unchanged;
    uint64_t repeated; /* entries whose name occurred before in the same text */
    uint64_t rejected; /* lines or entries refused, for whatever reason */
    uint64_t guarded;  /* those of `rejected` that a guard refused */
};

/* Makes the feed equal to the text or the file, and publishes. 0 or -errno. For -ENOENT and the
 * like of the file, -EISDIR, -EINVAL when it is neither file nor folder, -EFBIG beyond
 * BL_SOURCE_NAMES_MAX, and for -ENOMEM while reading, nothing has changed. Where memory ends in the
 * midst of the changes (-ENOMEM too), those made so far are published, and loading again
 * goes on. */
int bl_source_load_text(struct bl_list *list, const struct bl_source *source, const char *text,
                        size_t size, struct bl_source_counts *ret_counts);
int bl_source_load_file(struct bl_list *list, const struct bl_source *source, const char *path,
                        struct bl_source_counts *ret_counts);

#endif
