/* hit.h - what a worker says of a question that matched the list, and the ring it says it through.
 *
 * Flat values only: geo/ knows neither the index nor the daemon. Strings are pointers to texts that
 * live as long as the process (list words, feed names interned by the list, literals), so a hit can
 * be copied freely.
 *
 * A ring has one producer, a worker, and one consumer, the tally. Pushing never waits: when the
 * ring is full the hit is dropped, and the drop is counted in the ring. */
#ifndef GEO_HIT_H
#define GEO_HIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HIT_NAME_SIZE_MAX 255u

struct hit {
    int64_t time_s;       /* wall clock, seconds since 1970 UTC */
    uint64_t count;       /* equal questions folded into this one, at least 1 */
    const char *feed;     /* the feed that decided */
    const char *category; /* "" if unknown */
    const char *family;   /* "" if unknown */
    const char *action;   /* "address", "nxdomain", ... "log" */
    const char *tier;     /* "legal", "operator", "feed" */
    uint8_t client[16];   /* IPv6, or IPv4 mapped (::ffff:0:0/96) */
    uint16_t type;        /* question's type */
    uint8_t transport;    /* 0 UDP, 1 TCP */
    bool verified;        /* the client's address is proven (TCP, or a valid cookie) */
    uint8_t entry_offset; /* where the listed name starts in `chain`, or if none in `name` */
    uint8_t name_size;
    uint8_t name[HIT_NAME_SIZE_MAX];  /* what was asked, wire form, lowered */
    uint8_t chain_size;               /* 0: the question's own name is listed; else the size of: */
    uint8_t chain[HIT_NAME_SIZE_MAX]; /* the listed name of its CNAME chain, wire form, lowered */
};

struct hit_ring;

/* `capacity` is a power of two, 2..65536. NULL when memory is short. */
struct hit_ring *hit_ring_new(size_t capacity);
void hit_ring_free(struct hit_ring *ring);

/* Producer. True if taken; false if the ring was full: then hit->count has been added to the
 * ring's drops. */
bool hit_ring_push(struct hit_ring *ring, const struct hit *hit);

/* Consumer. Copies out the oldest hit; false if there is none. */
bool hit_ring_take(struct hit_ring *ring, struct hit *ret_hit);

/* Any thread: questions lost because the ring was full. */
uint64_t hit_ring_drops(const struct hit_ring *ring);

#endif
