/* query.h - the pipeline: octets in, an outcome out, no sockets.
 *
 *   parse -> access -> list -> (types and classes not served) -> cache -> recursion
 *
 * The list goes before the cache, so a newly listed name works at once and nothing is flushed.
 * Every name of a CNAME chain is held against the list too, before the client sees the answer,
 * cached or not. A question ends answered or dropped; "pending" comes back to the same two.
 *
 * An engine belongs to one worker. All calls are made by its thread, online (rcu.h). Nothing here
 * allocates after query_engine_new(), logs, or waits. */
#ifndef RESOLVER_QUERY_H
#define RESOLVER_QUERY_H

#include "blocklist/list.h"
#include "geo/hit.h"
#include "resolver/cache.h"
#include "resolver/client.h"
#include "resolver/limits.h"
#include "resolver/live.h"
#include "resolver/metrics.h"
#include "resolver/recurse.h"

#include <stddef.h>
#include <stdint.h>

enum query_outcome { QUERY_ANSWERED, QUERY_DROPPED, QUERY_PENDING };

struct query {
    const uint8_t *packet; /* at most 65535 octets; read before query_batch() returns */
    size_t packet_size;
    const struct client *client;
    uint8_t *answer;    /* room for the largest answer to this client: udp_size, or 65535 by TCP */
    size_t answer_size; /* out: if ANSWERED */
    enum query_outcome outcome; /* out */
};

/* Sends an answer that was pending; of size 0: there will be none. Called from query_answered() and
 * query_tick(). */
typedef void query_send_fn(void *context, const struct client *client, const uint8_t *answer,
                           size_t size);

/* What an engine works with; all borrowed, all outlive it. */
struct query_parts {
    const struct bl_list *list;
    const struct bl_secret *secret;
    struct cache *cache;
    live_pointer *live;
    struct metrics *metrics;
    struct hit_ring *hits;
    query_send_fn *send;
    void *send_context;
    uint32_t pending_max;        /* this worker's share */
    uint32_t pending_client_max; /* of one client prefix */
    uint32_t timeout_ms;         /* SERVFAIL after this */
    uint16_t udp_size;           /* no UDP answer is larger */
    struct message_ttls ttls;
};

struct query_engine;

/* NULL when memory is short. */
struct query_engine *query_engine_new(const struct query_parts *parts);
void query_engine_free(struct query_engine *engine);

/* The recursion to ask, which in turn calls query_answered(). Set before the first batch. */
void query_engine_recurse(struct query_engine *engine, struct recurse *recurse);

/* Works on up to BL_BATCH_MAX queries. */
void query_batch(struct query_engine *engine, struct query *queries, size_t count);

/* recurse_answered_fn: `context` is the engine. */
void query_answered(void *context, struct recurse_waiter waiter,
                    const struct recurse_answer *answer);

/* Hands the hits of answered questions to the ring: call it after a run of query_answered(). */
void query_flush_hits(struct query_engine *engine);

/* Answers SERVFAIL to what has waited too long. To be called every 100 ms or so. */
void query_tick(struct query_engine *engine);

#endif
