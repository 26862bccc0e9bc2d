/* hits.h - the hits of one batch, equal ones folded, on their way to the worker's ring. */
#ifndef RESOLVER_HITS_H
#define RESOLVER_HITS_H

#include "blocklist/list.h"
#include "geo/hit.h"
#include "resolver/client.h"
#include "resolver/policy.h"
#include "resolver/question.h"

#include <stdint.h>

#define HITS_MAX BL_BATCH_MAX

struct hits {
    struct hit_ring *ring;
    uint32_t count;
    uint32_t marks[HITS_MAX]; /* hash of each hit's key: compared first */
    struct hit rows[HITS_MAX];
};

/* Takes in one question that matched: by its own name, or by `chain` (a listed name of its CNAME
 * chain, lowered) when that is not NULL. The list's texts that it refers to outlive it. */
void hits_add(struct hits *hits, const struct bl_list *list, const struct client *client,
              const struct question *question, const struct policy_rule *rule, const uint8_t *chain,
              int64_t now_s);

/* Pushes everything to the ring. */
void hits_flush(struct hits *hits);

#endif
