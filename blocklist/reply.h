/* reply.h - Redis' replies (RESP2) out of octets as they come, within limits.
 *
 * The server is hostile until its content is checked: hiredis reads the protocol, and every object
 * it makes is made here, out of one arena with a budget. Limits are on what a reply declares as
 * well as on what it brings, so that `*100000000` costs nothing. */
#ifndef BLOCKLIST_REPLY_H
#define BLOCKLIST_REPLY_H

#include <stddef.h>
#include <stdint.h>

/* No reply we ask for comes near these (PROTOCOL.md): a shard has at most a few thousand names, a
 * log entry's body at most 1 MiB. */
#define BL_REPLY_ELEMENTS_MAX 65536u
#define BL_REPLY_STRING_SIZE_MAX (1024u * 1024u)
#define BL_REPLY_INPUT_SIZE_MAX (4096u * 1024u) /* of a part that is not whole yet */
#define BL_REPLY_DEPTH_MAX 6u
#define BL_REPLY_OBJECTS_SIZE_MAX (64u * 1024u * 1024u) /* memory of one reply */

enum bl_reply_type {
    BL_REPLY_STRING, /* bulk and simple strings */
    BL_REPLY_ERROR,
    BL_REPLY_INTEGER,
    BL_REPLY_ARRAY,
    BL_REPLY_NIL,
};

struct bl_reply {
    enum bl_reply_type type;
    uint32_t depth;             /* 0 at the top */
    int64_t integer;            /* INTEGER */
    size_t size;                /* STRING, ERROR: octets; ARRAY: elements */
    const char *text;           /* STRING, ERROR: NUL-ended, may hold NULs */
    struct bl_reply **elements; /* ARRAY: `size` of them, none NULL in a reply that is whole */
};

struct bl_replies;

/* NULL when memory is short. */
struct bl_replies *bl_replies_new(void);
void bl_replies_free(struct bl_replies *replies); /* NULL is fine */

/* Takes the octets that came. 0, -ENOMEM, or -EMSGSIZE. After each feed, take replies until there
 * is none. */
int bl_replies_feed(struct bl_replies *replies, const uint8_t *octets, size_t size);

/* The next whole reply, lent until the next call: 1, or 0 if more octets are needed, or -EPROTO for
 * what is not RESP2 or beyond a limit; then nothing more can be read. */
int bl_replies_next(struct bl_replies *replies, const struct bl_reply **ret_reply);

/* What was wrong after -EPROTO or -EMSGSIZE, as a phrase. */
const char *bl_replies_error(const struct bl_replies *replies);

/* Octets to be sent, growing; start from zeros, free `octets`. */
struct bl_octets {
    char *octets;
    size_t size;
    size_t capacity;
};

/* Appends a command. 0 or -ENOMEM. */
int bl_command_append(struct bl_octets *octets, int count, const char *const words[],
                      const size_t sizes[]);

#endif
