/* sync_operator.h - the operator's own block and allow without Redis: state_dir/operator.list.
 *
 * One line an entry, written for people and for us:
 *
 *   deny|allow NAME exact|suffix [category="C"] [reason="TEXT"]
 *
 * in which \" and \\ stand for " and \. A blank line or one that starts with # is passed over. The
 * file is replaced as a whole before an answer leaves. For the list's writer thread only;
 * it logs. */
#ifndef RESOLVER_SYNC_OPERATOR_H
#define RESOLVER_SYNC_OPERATOR_H

#include "blocklist/guard.h"
#include "blocklist/list.h"
#include "resolver/sync.h"

#define SYNC_OPERATOR_NAMES_MAX 1000u     /* of one request */
#define SYNC_OPERATOR_ENTRIES_MAX 100000u /* more belong into a feed */
#define SYNC_OPERATOR_REASON_SIZE 513u    /* with NUL */

struct operator_entry;

struct sync_operator {
    struct bl_list *list;           /* borrowed */
    const struct bl_guards *guards; /* borrowed */
    const char *state_dir;          /* borrowed */
    const char *feed;               /* the feed its entries are in */
    struct operator_entry *entries;
    size_t count;
    uint64_t guarded[BL_GUARD_COUNT]; /* entries refused, since the start */
    uint64_t malformed;               /* lines refused */
    uint64_t changed;
};

void sync_operator_done(struct sync_operator *operator);

/* Reads the file and makes the feed equal to it. A file that is not there is an empty one; if
 * `always` is false, there is no feed for an empty one. 0 or -errno; then the feed is as it was. */
int sync_operator_load(struct sync_operator *operator, bool always);

/* As sync_operate() of sync.h. */
int sync_operator_change(struct sync_operator *operator, enum sync_operation operation,
                         const json_t *request, json_t **ret_reply);

#endif
