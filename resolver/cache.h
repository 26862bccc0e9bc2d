/* cache.h - the answer cache, shared by all workers: whole answers in front of recursion.
 *
 *   shard = table of buckets (one cache line of slots each) + an arena in segments
 *
 *   arena:  [ full | full | filling | free | ... ]   entries are appended to the filling segment
 *
 * Readers take no lock: a slot is published by one store, an entry never changes after it but for
 * its marks, and a lent entry holds until the reader goes offline (rcu.h). A put takes the shard's
 * lock for a few copies. When a segment is full the oldest one is emptied: entries read since they
 * were written move on, the rest is unlinked, and the segment is free after a grace period. If none
 * is free yet, the put is dropped and counted: nobody waits. So the size given is a hard bound.
 *
 * Verdicts of the list are not kept: an entry carries its chain's names and the list version at
 * which none of them was listed. */
#ifndef RESOLVER_CACHE_H
#define RESOLVER_CACHE_H

#include "resolver/message.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CACHE_SIZE_MIN (8ull << 20)
#define CACHE_SHARDS 256u

enum cache_flags {
    CACHE_DNSSEC = 1,   /* DO: signatures and proofs are in it */
    CACHE_CHECKING = 2, /* CD: not validated data may be in it */
};

struct cache_key {
    const uint8_t *name; /* lowered */
    uint8_t name_size;
    uint8_t flags; /* enum cache_flags */
    uint16_t type;
    uint16_t class;
    uint64_t hash; /* cache_hash() of all of it */
};

struct cache_entry {
    uint64_t hash;
    uint64_t stored_ms; /* monotonic */
    uint64_t expires_ms;
    _Atomic uint64_t checked_version; /* list version at which no name of the chain was listed */
    _Atomic bool used;
    uint8_t flags;
    uint8_t name_size;
    uint16_t type;
    uint16_t class;
    uint32_t size;          /* of the entry with what follows it */
    struct message message; /* its data lie behind the entry */
    uint8_t name[];
};

struct cache;

/* `size`: octets in all, at least CACHE_SIZE_MIN. NULL when memory is short. */
struct cache *cache_new(uint64_t size, const struct bl_secret *secret);
void cache_free(struct cache *cache); /* no reader may be online; waits for what is deferred */

/* The hash that goes into a key. */
uint64_t cache_hash(const struct cache *cache, const struct cache_key *key);

/* Asks for the bucket's cache line ahead of cache_get(). */
void cache_prefetch(const struct cache *cache, uint64_t hash);

/* The live entry of this key, or NULL. (Reader, online.) */
struct cache_entry *cache_get(struct cache *cache, const struct cache_key *key, uint64_t now_ms);

/* Keeps a copy of the message for ttl_s seconds, in place of what the key had. `list_version` is
 * what bl_list_version() said before the chain was found unlisted. False if it was not kept: too
 * large (half a segment, 1/17 of a shard or so), no segment free, ttl 0. (Any registered thread,
 * online.) */
bool cache_put(struct cache *cache, const struct cache_key *key, const struct message *message,
               uint32_t ttl_s, uint64_t list_version, uint64_t now_ms);

struct cache_totals {
    uint64_t size;    /* octets set aside */
    uint64_t entries; /* live or expired, not yet unlinked */
    uint64_t puts;
    uint64_t evictions; /* entries unlinked to make room */
    uint64_t dropped;   /* puts not taken for want of a free segment or slot */
};
void cache_totals(struct cache *cache, struct cache_totals *ret_totals); /* any thread */

#endif
