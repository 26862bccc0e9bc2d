/* The ring: the classic queue of one producer and one consumer.
 *
 *     tail <= head <= tail + capacity
 *
 * Both count hits since the start and never wrap in practice (64 bits); a slot is a count's low
 * bits. The producer alone writes `head`, the consumer alone `tail`; each publishes its own by a
 * release store and learns the other's by an acquire load, and keeps what it learned last in a copy
 * of its own, so that the other's cache line is touched only when the copy no longer suffices. */
#include "geo/hit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINE_SIZE 64u
#define CAPACITY_MAX 65536u

struct hit_ring {
    size_t capacity;
    struct hit *slots;

    /* The producer's line. */
    _Alignas(CACHE_LINE_SIZE) _Atomic uint64_t head;
    uint64_t tail_seen;
    _Atomic uint64_t drops;

    /* The consumer's line. */
    _Alignas(CACHE_LINE_SIZE) _Atomic uint64_t tail;
    uint64_t head_seen;
};

/* Names are short: copying what is used of a hit costs a quarter of copying all of it. */
static void copy_hit(struct hit *to, const struct hit *from)
{
    memcpy(to, from, offsetof(struct hit, name) + from->name_size);
    to->chain_size = from->chain_size;
    memcpy(to->chain, from->chain, from->chain_size);
}

struct hit_ring *hit_ring_new(size_t capacity)
{
    assert(capacity >= 2 && capacity <= CAPACITY_MAX);
    assert((capacity & (capacity - 1)) == 0);

    struct hit_ring *ring = aligned_alloc(CACHE_LINE_SIZE, sizeof *ring);
    if (ring == NULL) {
        return NULL;
    }
    memset(ring, 0, sizeof *ring);
    ring->slots = calloc(capacity, sizeof *ring->slots);
    if (ring->slots == NULL) {
        free(ring);
        return NULL;
    }
    ring->capacity = capacity;
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
    atomic_init(&ring->drops, 0);
    return ring;
}

void hit_ring_free(struct hit_ring *ring)
{
    if (ring == NULL) {
        return;
    }
    free(ring->slots);
    free(ring);
}

bool hit_ring_push(struct hit_ring *ring, const struct hit *hit)
{
    assert(hit->count > 0);

    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head - ring->tail_seen == ring->capacity) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head - ring->tail_seen == ring->capacity) {
            /* One writer, so load and store need not be one step. */
            uint64_t drops = atomic_load_explicit(&ring->drops, memory_order_relaxed);
            atomic_store_explicit(&ring->drops, drops + hit->count, memory_order_relaxed);
            return false;
        }
    }
    copy_hit(&ring->slots[head & (ring->capacity - 1)], hit);
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}

bool hit_ring_take(struct hit_ring *ring, struct hit *ret_hit)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail == ring->head_seen) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail == ring->head_seen) {
            return false;
        }
    }
    copy_hit(ret_hit, &ring->slots[tail & (ring->capacity - 1)]);
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

uint64_t hit_ring_drops(const struct hit_ring *ring)
{
    return atomic_load_explicit(&ring->drops, memory_order_relaxed);
}
