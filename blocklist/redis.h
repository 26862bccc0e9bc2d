/* redis.h - keeping the list equal to Redis: the protocol without sockets.
 *
 * Octets in, octets out, and the next deadline; the list is changed on the way. One connection,
 * RESP2, commands of Redis 7.0. What is asked and in which order is PROTOCOL.md, "What a node
 * does".
 *
 * The list stays in force whatever happens here. The server is foreign: a reply that is not of its
 * form ends the connection, an entry that is not is skipped and counted.
 *
 * Use, all on the list's writer thread: bl_redis_open() when a connection is up; then after every
 * call send what bl_redis_take() gives, hand over what comes, and call bl_redis_tick() when
 * bl_redis_deadline() has come. When a call returns an error, or the connection ends,
 * bl_redis_close(), wait, connect again. */
#ifndef BLOCKLIST_REDIS_H
#define BLOCKLIST_REDIS_H

#include "blocklist/entry.h"
#include "blocklist/guard.h"
#include "blocklist/image.h"
#include "blocklist/journal.h"
#include "blocklist/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BL_REDIS_BLOCK_MS 1000u /* a wait for the log; Redis answers at once if there is news */
#define BL_REDIS_LOG_ENTRIES_MAX 32u /* a read of the log: 32 bodies of 1 MiB stay below 64 MiB */
#define BL_REDIS_BEAT_MS 5000u       /* between signs of life */
#define BL_REDIS_RECEIPT_MS 100u     /* a change is told within this, not more often */
#define BL_REDIS_SILENCE_MS 5000u /* without an octet beyond what was asked to wait: it is gone */
/* The pause before the second image that a break made; doubled up to the maximum, until there was
 * no break for 30 s. */
#define BL_REDIS_IMAGE_PAUSE_MS 1000u
#define BL_REDIS_IMAGE_PAUSE_MAX_MS 10000u
#define BL_REDIS_ERROR_SIZE 256u

/* Why a full image was taken. */
enum bl_image_reason {
    BL_IMAGE_INITIAL,   /* the first of this process */
    BL_IMAGE_LINEAGE,   /* another list than ours */
    BL_IMAGE_REVISION,  /* an entry out of order, or a list that went back */
    BL_IMAGE_DIGEST,    /* the same revision with another history */
    BL_IMAGE_MALFORMED, /* an entry of the log that can't be read */
    BL_IMAGE_GAP,       /* revisions that the log does not give */
    BL_IMAGE_KIND,      /* a feed turned from denying to allowing, or back */
    BL_IMAGE_REQUESTED, /* bl_redis_want_image() */
    BL_IMAGE_MEMORY,    /* an earlier one ended for want of memory */
    BL_IMAGE_REASON_COUNT,
};
const char *bl_image_reason_label(enum bl_image_reason reason);

enum bl_redis_state {
    BL_REDIS_CLOSED,
    BL_REDIS_GREETING,  /* authenticating, asking where the list stands */
    BL_REDIS_IMAGE,     /* reading a full image, or pausing before one */
    BL_REDIS_FOLLOWING, /* the list in force is that of Redis */
    BL_REDIS_EMPTY,     /* Redis holds no list; ours, if there is one, stays in force */
};

struct bl_redis_status {
    enum bl_redis_state state;
    bool settled;                    /* once FOLLOWING or EMPTY since the start of the process */
    char error[BL_REDIS_ERROR_SIZE]; /* the last trouble; "" when all is well */
    struct bl_position position;     /* enforced; lineage "" before the first image */
    uint64_t changes;                /* log entries applied */
    uint64_t images[BL_IMAGE_REASON_COUNT];
    enum bl_image_reason image_reason; /* of the last image, or of the one being taken */
    struct bl_refusals refusals;
};

struct bl_redis_options {
    const char *prefix;   /* shorter than BL_PREFIX_SIZE_MAX */
    const char *username; /* "": the default user */
    const char *node;     /* this node's name in Redis */
    const char *version;  /* the program's */
    uint32_t database;
    struct bl_list *list;           /* borrowed */
    const struct bl_guards *guards; /* borrowed */
};

struct bl_redis;

/* Texts are copied. 0, -ENOMEM, or what getrandom(2) says. */
int bl_redis_new(const struct bl_redis_options *options, struct bl_redis **ret_redis);
void bl_redis_free(struct bl_redis *redis); /* NULL is fine; the list keeps what it has */

/* A connection is up. `password` "" sends no AUTH; it is not kept. `now_ms` is monotonic, here and
 * below. 0 or -ENOMEM. */
int bl_redis_open(struct bl_redis *redis, const char *password, uint64_t now_ms);

/* Octets came. 0, or the connection must be closed (status.error says why): -EPROTO, -EIO for an
 * error of the server's, -EPROTONOSUPPORT for a list of another schema, -ENOMEM. */
int bl_redis_read(struct bl_redis *redis, const uint8_t *octets, size_t size, uint64_t now_ms);

/* When bl_redis_tick() wants to be called; UINT64_MAX: never. */
uint64_t bl_redis_deadline(const struct bl_redis *redis);

/* 0, or the connection must be closed: -ETIMEDOUT, -ENOMEM. Calling early is fine. */
int bl_redis_tick(struct bl_redis *redis, uint64_t now_ms);

/* The octets to be sent, lent until the next call; NULL if there are none. */
const char *bl_redis_take(struct bl_redis *redis, size_t *ret_size);

/* The connection is gone. */
void bl_redis_close(struct bl_redis *redis);

/* Has a full image taken as soon as may be: a feed of this node's own is gone that hid one of
 * Redis. */
void bl_redis_want_image(struct bl_redis *redis);

/* Lent until the next call. */
const struct bl_redis_status *bl_redis_status(const struct bl_redis *redis);

#endif
