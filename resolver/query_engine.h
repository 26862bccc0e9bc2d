/* query_engine.h - what the two halves of the pipeline share: query.c (from the packet on) and
 * recursed.c (from recursion's answer on). Nobody else includes it. */
#ifndef RESOLVER_QUERY_ENGINE_H
#define RESOLVER_QUERY_ENGINE_H

#include "resolver/answer.h"
#include "resolver/hits.h"
#include "resolver/pending.h"
#include "resolver/policy.h"
#include "resolver/query.h"
#include "resolver/quota.h"

struct query_engine {
    struct query_parts parts;
    struct recurse *recurse;
    struct pendings *pendings;
    struct quota *quota;
    const struct live *live; /* of this batch */
    bool list_is_whole;      /* when this batch was looked up */
    uint64_t now_us;         /* monotonic, of this batch */
    int64_t wall_s;
    struct question questions[BL_BATCH_MAX];
    struct bl_lookup lookups[BL_BATCH_MAX];
    uint64_t hashes[BL_BATCH_MAX];
    struct bl_match matches[BL_NAME_LABELS_MAX + 1]; /* of names looked up one by one */
    struct hits hits;
    struct message_scratch scratch; /* of the answer read last: */
    struct {
        uint64_t serial; /* recursion's; 0: none was read yet */
        bool dnssec;
        int result; /* of message_read() */
        struct message message;
    } read;
    uint8_t out[MESSAGE_SIZE_MAX]; /* answers to what was pending */
};

/* Reads the clocks and the configuration, once a batch. */
void query_begin(struct query_engine *engine);

void query_count(struct query_engine *engine, enum metric metric);
void query_count_answer(struct query_engine *engine, enum metric kind, const uint8_t *answer);

/* The largest answer this client can take. */
size_t query_limit(const struct query_engine *engine, const struct client *client,
                   const struct question *question);

/* Decides over the matches of one name and counts the hit. A log-only match is counted too, once a
 * question: *logged says whether it has been, and is kept up. `chain`: the listed name if it is one
 * of the answer's chain, or NULL. */
bool query_is_blocked(struct query_engine *engine, const struct client *client,
                      const struct question *question, const struct bl_match *matches,
                      size_t match_count, const uint8_t *chain, bool *logged,
                      struct policy_rule *ret_rule);

/* Holds each name of a chain against the list. *ret_unlisted: none of them matched anything, so the
 * chain need not be looked at again while the list's version stays. */
bool query_is_chain_blocked(struct query_engine *engine, const struct client *client,
                            const struct question *question, const struct message *message,
                            bool *logged, struct policy_rule *ret_rule, bool *ret_unlisted);

/* The answer for a name that the list decided; 0 for a rule that says to drop. `offset` is where
 * the listed name starts in the question's. */
size_t query_listed_answer(const struct query_engine *engine, const struct question *question,
                           const struct policy_rule *rule, uint8_t offset, uint8_t *out,
                           size_t limit);

/* The cache's key for the question, without its hash. */
struct cache_key query_key(const struct question *question);

#endif
