/* follow.h - where the list in force stands against Redis, and what Redis' replies mean for it.
 *
 * Inside the protocol engine (redis.h); nobody else includes this. follow.c decides,
 * redis.c asks. */
#ifndef BLOCKLIST_FOLLOW_H
#define BLOCKLIST_FOLLOW_H

#include "blocklist/redis.h"

enum bl_follow_phase {
    BL_FOLLOW_CLOSED,
    BL_FOLLOW_GREETING,
    BL_FOLLOW_IMAGE_BASE, /* meta is to be read: where an image starts */
    BL_FOLLOW_IMAGE_READ, /* its feeds are to be read */
    BL_FOLLOW_IMAGE_END,  /* meta is to be read: what the image has reached */
    BL_FOLLOW_IMAGE_LOG,  /* the log is to be replayed up to there */
    BL_FOLLOW_LOG,        /* the log is to be followed */
    BL_FOLLOW_EMPTY,      /* meta is to be read whenever the log has news, or a wait is over */
};

struct bl_follow {
    struct bl_list *list;
    const struct bl_guards *guards;
    const char *prefix;
    struct bl_secret secret;
    struct bl_redis_status status;
    enum bl_follow_phase phase;
    bool beat_trouble; /* status.error speaks of a sign of life */
    bool news;         /* position has moved: to be told by the next sign of life */

    bool log_read;           /* EMPTY: the log was read, meta is to be read */
    struct bl_log_id seen;   /* EMPTY: the last id of the log seen */
    struct bl_log_id passed; /* what the log held up to here counts in meta, or not at all */
    uint64_t ahead;          /* meta's revision as of the last look: the log must give it */

    struct bl_image *image;
    struct bl_position staged; /* where the image being read stands */
    bool image_wanted;
    uint64_t image_at; /* not before */
    uint64_t image_pause_ms;
    uint64_t broken_at; /* the last break; 0: none */
};

/* Keeps what went wrong, printable, for people. */
void bl_follow_complain(struct bl_follow *follow, const char *what, const char *text);

void bl_follow_set_phase(struct bl_follow *follow, enum bl_follow_phase phase);
void bl_follow_want_image(struct bl_follow *follow);

/* The reply to XREVRANGE for the log's last entry. */
void bl_follow_take_last(struct bl_follow *follow, const struct bl_reply *reply);

/* The reply to HGETALL meta, to XREAD, and to a command of bl_image_ask(): not an error reply. 0,
 * or a negative errno that ends the connection, as bl_redis_read() returns them. */
int bl_follow_take_meta(struct bl_follow *follow, const struct bl_reply *reply, uint64_t now_ms);
int bl_follow_take_log(struct bl_follow *follow, const struct bl_reply *reply, uint64_t now_ms);
int bl_follow_take_image(struct bl_follow *follow, const struct bl_reply *reply);

/* The connection is gone: so is what was read of an image. */
void bl_follow_close(struct bl_follow *follow);

#endif
