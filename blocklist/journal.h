/* journal.h - one entry of the log in Redis: read, and held against the chain (PROTOCOL.md).
 *
 * The chain is what makes a log trustworthy without trusting every writer: revisions without a gap,
 * one lineage, and a digest of everything before. */
#ifndef BLOCKLIST_JOURNAL_H
#define BLOCKLIST_JOURNAL_H

#include "blocklist/reply.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BL_LINEAGE_SIZE 37u /* a UUID, with NUL */
#define BL_DIGEST_SIZE 41u  /* 40 hex digits, with NUL */
#define BL_LINES_MAX 1000u  /* changes of one entry */

/* A stream's id: milliseconds and a sequence number. All zeros: before the first. */
struct bl_log_id {
    uint64_t ms;
    uint64_t sequence;
};
#define BL_LOG_ID_TEXT_SIZE 42u /* with NUL */

/* Where a list stands. */
struct bl_position {
    char lineage[BL_LINEAGE_SIZE]; /* "": there is no list */
    char digest[BL_DIGEST_SIZE];
    uint64_t revision;
    struct bl_log_id
        id; /* of the entry with this revision, or of a later one that was passed over */
};

enum bl_op { BL_OP_CHANGE, BL_OP_BEGIN, BL_OP_END, BL_OP_FEED, BL_OP_REMOVE };

/* An entry; pointers are into the reply it was read from. */
struct bl_log_entry {
    struct bl_log_id id;
    enum bl_op op;
    const char *feed; /* NUL-ended, valid as a feed's name */
    const char *body;
    size_t body_size;
    struct bl_position after; /* the position that applying it leads to */
};

/* How an entry does not fit. */
enum bl_break {
    BL_BREAK_NONE,
    BL_BREAK_MALFORMED,
    BL_BREAK_LINEAGE,
    BL_BREAK_REVISION,
    BL_BREAK_DIGEST,
};

/* Reads "ms-sequence". */
bool bl_log_id_read(const char *text, size_t size, struct bl_log_id *ret_id);
void bl_log_id_write(struct bl_log_id id, char ret_text[static BL_LOG_ID_TEXT_SIZE]);
int bl_log_id_compare(struct bl_log_id a, struct bl_log_id b);

/* Reads meta's fields, a flat array of names and values as HGETALL gives it. 1, 0 if there is no
 * list (no lineage), -EINVAL for a malformed one, -EPROTONOSUPPORT for another schema. */
int bl_position_read(const struct bl_reply *reply, struct bl_position *ret_position);

/* Reads one entry, [id, [field, value, ...]], and holds it against the position before it. On
 * anything but NONE, only ret_entry->id is valid, and it is zeros if even that was unreadable. */
enum bl_break bl_log_entry_read(const struct bl_reply *reply, const struct bl_position *before,
                                struct bl_log_entry *ret_entry);

/* Walks a body's lines: the next one, without its end, and moves on. False at the end. */
struct bl_lines {
    const char *at;
    const char *end;
};
struct bl_lines bl_lines_of(const char *body, size_t size);
bool bl_lines_next(struct bl_lines *lines, const char **ret_line, size_t *ret_size);

#endif
