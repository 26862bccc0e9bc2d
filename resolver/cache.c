#include "resolver/cache.h"

#include "blocklist/rcu.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLOTS_PER_BUCKET 8u  /* a cache line of them */
#define SEGMENTS 8u          /* of a shard's arena: one filling, one or two free, the rest full */
#define OCTETS_PER_SLOT 256u /* no more than a common entry's: slots don't run out first */
#define ENTRY_ALIGNMENT 8u
#define MOVED_SHARE 2u /* at most 1/2 of a segment moves on: the rest is room for new ones */

static_assert(SLOTS_PER_BUCKET * sizeof(uint64_t) == 64, "a bucket is one cache line");

/* A slot: the upper 24 bits of the hash, and the entry's place in the arena in units of
 * ENTRY_ALIGNMENT plus one, so that 0 is an empty slot. */
#define SLOT_TAG_SHIFT 40u
#define SLOT_PLACE_MASK 0xffffffffffull

enum segment_state { SEGMENT_FREE, SEGMENT_FILLING, SEGMENT_FULL, SEGMENT_DRAINING };

struct segment {
    struct bl_rcu_deferred deferred; /* first: a segment is found again from it */
    _Atomic int state;
    uint32_t used; /* octets */
};

struct bucket {
    _Alignas(64) _Atomic uint64_t slots[SLOTS_PER_BUCKET];
};

struct shard {
    _Alignas(64) pthread_mutex_t lock;
    struct bucket *buckets;
    uint8_t *arena;
    uint64_t age[SEGMENTS]; /* when each segment began to fill: the least is the oldest */
    uint64_t clock;
    unsigned filling;
    _Atomic uint64_t entries;
    _Atomic uint64_t puts;
    _Atomic uint64_t evictions;
    _Atomic uint64_t dropped;
    struct segment segments[SEGMENTS];
};

struct cache {
    const struct bl_secret *secret;
    uint64_t size;
    uint64_t bucket_count; /* of a shard */
    uint64_t segment_size;
    uint8_t *memory;
    struct shard shards[CACHE_SHARDS];
};

/* Counters have one writer at a time: whoever holds the shard's lock. */
static void count(_Atomic uint64_t *counter, int64_t change)
{
    atomic_store_explicit(counter,
                          atomic_load_explicit(counter, memory_order_relaxed) + (uint64_t)change,
                          memory_order_relaxed);
}

struct cache *cache_new(uint64_t size, const struct bl_secret *secret)
{
    assert(size >= CACHE_SIZE_MIN);

    struct cache *cache = aligned_alloc(64, (sizeof(*cache) + 63) / 64 * 64);
    if (cache == NULL) {
        return NULL;
    }
    memset(cache, 0, sizeof(*cache));
    cache->secret = secret;
    uint64_t each = size / CACHE_SHARDS;
    cache->bucket_count = each / (OCTETS_PER_SLOT * SLOTS_PER_BUCKET);
    uint64_t table_size = cache->bucket_count * sizeof(struct bucket);
    cache->segment_size = (each - table_size) / SEGMENTS / 64 * 64;
    uint64_t shard_size = table_size + cache->segment_size * SEGMENTS;
    cache->size = shard_size * CACHE_SHARDS;
    cache->memory = mmap(NULL, cache->size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (cache->memory == MAP_FAILED) {
        free(cache);
        return NULL;
    }
    for (unsigned i = 0; i < CACHE_SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_init(&shard->lock, NULL);
        shard->buckets = (struct bucket *)(cache->memory + i * shard_size);
        shard->arena = cache->memory + i * shard_size + table_size;
        atomic_store_explicit(&shard->segments[0].state, SEGMENT_FILLING, memory_order_relaxed);
    }
    return cache;
}

void cache_free(struct cache *cache)
{
    if (cache == NULL) {
        return;
    }
    bl_rcu_barrier();
    for (unsigned i = 0; i < CACHE_SHARDS; i++) {
        pthread_mutex_destroy(&cache->shards[i].lock);
    }
    munmap(cache->memory, cache->size);
    free(cache);
}

uint64_t cache_hash(const struct cache *cache, const struct cache_key *key)
{
    uint64_t hash = bl_name_hash(cache->secret, key->name, key->name_size);
    uint64_t rest = (uint64_t)key->type << 24 | (uint64_t)key->class << 8 | key->flags;
    hash ^= (rest + 1) * 0x9e3779b97f4a7c15ull; /* spreads the small fields over all bits */
    hash ^= hash >> 32;
    return hash * 0xd6e8feb86659fd93ull;
}

static struct shard *shard_of(struct cache *cache, uint64_t hash)
{
    return &cache->shards[hash % CACHE_SHARDS];
}

static struct bucket *bucket_of(const struct cache *cache, const struct shard *shard, uint64_t hash)
{
    return &shard->buckets[(hash / CACHE_SHARDS) % cache->bucket_count];
}

static struct cache_entry *entry_of(const struct shard *shard, uint64_t slot)
{
    return (struct cache_entry *)(shard->arena + ((slot & SLOT_PLACE_MASK) - 1) * ENTRY_ALIGNMENT);
}

static uint64_t slot_of(const struct shard *shard, const struct cache_entry *entry)
{
    uint64_t place = (uint64_t)((const uint8_t *)entry - shard->arena) / ENTRY_ALIGNMENT;
    return entry->hash >> SLOT_TAG_SHIFT << SLOT_TAG_SHIFT | (place + 1);
}

void cache_prefetch(const struct cache *cache, uint64_t hash)
{
    const struct shard *shard = &cache->shards[hash % CACHE_SHARDS];
    __builtin_prefetch(bucket_of(cache, shard, hash));
}

static bool is_of_key(const struct cache_entry *entry, const struct cache_key *key)
{
    return entry->hash == key->hash && entry->name_size == key->name_size &&
           entry->type == key->type && entry->class == key->class && entry->flags == key->flags &&
           memcmp(entry->name, key->name, key->name_size) == 0;
}

/* The slot that holds the key, or NULL. */
static _Atomic uint64_t *find_slot(const struct cache *cache, const struct shard *shard,
                                   const struct cache_key *key)
{
    struct bucket *bucket = bucket_of(cache, shard, key->hash);
    for (unsigned i = 0; i < SLOTS_PER_BUCKET; i++) {
        uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_acquire);
        if (slot != 0 && slot >> SLOT_TAG_SHIFT == key->hash >> SLOT_TAG_SHIFT &&
            is_of_key(entry_of(shard, slot), key)) {
            return &bucket->slots[i];
        }
    }
    return NULL;
}

/* One acquire load a slot, used for both the comparison and the result: another load could find
 * another entry there. */
struct cache_entry *cache_get(struct cache *cache, const struct cache_key *key, uint64_t now_ms)
{
    struct shard *shard = shard_of(cache, key->hash);
    struct bucket *bucket = bucket_of(cache, shard, key->hash);

    for (unsigned i = 0; i < SLOTS_PER_BUCKET; i++) {
        uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_acquire);
        if (slot == 0 || slot >> SLOT_TAG_SHIFT != key->hash >> SLOT_TAG_SHIFT) {
            continue;
        }
        struct cache_entry *entry = entry_of(shard, slot);
        if (!is_of_key(entry, key)) {
            continue;
        }
        if (now_ms >= entry->expires_ms) {
            return NULL;
        }
        if (!atomic_load_explicit(&entry->used, memory_order_relaxed)) {
            atomic_store_explicit(&entry->used, true, memory_order_relaxed);
        }
        return entry;
    }
    return NULL;
}

static void segment_is_free(struct bl_rcu_deferred *deferred)
{
    struct segment *segment = (struct segment *)deferred;
    atomic_store_explicit(&segment->state, SEGMENT_FREE, memory_order_release);
}

static int find_segment(struct shard *shard, int state)
{
    int found = -1;
    for (unsigned i = 0; i < SEGMENTS; i++) {
        if (atomic_load_explicit(&shard->segments[i].state, memory_order_acquire) == state &&
            (found < 0 || shard->age[i] < shard->age[found])) {
            found = (int)i;
        }
    }
    return found;
}

/* Room for an entry in the filling segment; NULL if it has none left. */
static struct cache_entry *append(struct cache *cache, struct shard *shard, uint64_t size)
{
    struct segment *segment = &shard->segments[shard->filling];
    if (cache->segment_size - segment->used < size) {
        return NULL;
    }
    uint8_t *at = shard->arena + shard->filling * cache->segment_size + segment->used;
    segment->used += (uint32_t)size;
    return (struct cache_entry *)at;
}

/* The message's data lie behind the name in one order; wherever an entry stands, its pointers are
 * found anew. */
static void point_into(struct cache_entry *entry)
{
    struct message *message = &entry->message;
    uint8_t *at = entry->name + entry->name_size + (entry->name_size & 1u);
    message->ttls = (const uint16_t *)(void *)at;
    at += message->ttl_count * sizeof(uint16_t);
    message->body = at;
    at += message->body_size;
    message->chain = at;
    at += message->chain_size;
    message->ede_text = (const char *)at;
}

/* Moves a used entry on to the filling segment; false if it found no room there. */
static bool move_on(struct cache *cache, struct shard *shard, _Atomic uint64_t *slot,
                    const struct cache_entry *entry)
{
    if (shard->segments[shard->filling].used > cache->segment_size / MOVED_SHARE) {
        return false;
    }
    struct cache_entry *moved = append(cache, shard, entry->size);
    if (moved == NULL) {
        return false;
    }
    /* Not one memcpy: readers may be writing the two marks. */
    *moved = (struct cache_entry){
        .hash = entry->hash,
        .stored_ms = entry->stored_ms,
        .expires_ms = entry->expires_ms,
        .flags = entry->flags,
        .name_size = entry->name_size,
        .type = entry->type,
        .class = entry->class,
        .size = entry->size,
        .message = entry->message,
    };
    atomic_init(&moved->checked_version,
                atomic_load_explicit(&entry->checked_version, memory_order_relaxed));
    memcpy(moved->name, entry->name, entry->size - offsetof(struct cache_entry, name));
    point_into(moved);
    atomic_store_explicit(slot, slot_of(shard, moved), memory_order_release);
    return true;
}

/* Unlinks every entry of a full segment, moving on what was used, and frees it after a grace
 * period. */
static void drain(struct cache *cache, struct shard *shard, unsigned index, uint64_t now_ms)
{
    struct segment *segment = &shard->segments[index];
    uint8_t *at = shard->arena + index * cache->segment_size;
    uint8_t *end = at + segment->used;

    while (at < end) {
        struct cache_entry *entry = (struct cache_entry *)at;
        at += entry->size;
        struct bucket *bucket = bucket_of(cache, shard, entry->hash);
        uint64_t own = slot_of(shard, entry);
        for (unsigned i = 0; i < SLOTS_PER_BUCKET; i++) {
            if (atomic_load_explicit(&bucket->slots[i], memory_order_relaxed) != own) {
                continue;
            }
            if (now_ms < entry->expires_ms &&
                atomic_load_explicit(&entry->used, memory_order_relaxed) &&
                move_on(cache, shard, &bucket->slots[i], entry)) {
                break;
            }
            atomic_store_explicit(&bucket->slots[i], 0, memory_order_release);
            count(&shard->entries, -1);
            count(&shard->evictions, 1);
            break;
        }
    }
    atomic_store_explicit(&segment->state, SEGMENT_DRAINING, memory_order_relaxed);
    bl_rcu_defer(&segment->deferred, segment_is_free);
}

/* Takes a free segment for filling, and drains ahead so that another one is free in time. */
static bool next_segment(struct cache *cache, struct shard *shard, uint64_t now_ms)
{
    int next = find_segment(shard, SEGMENT_FREE);
    if (next < 0) {
        return false;
    }
    atomic_store_explicit(&shard->segments[shard->filling].state, SEGMENT_FULL,
                          memory_order_relaxed);
    shard->filling = (unsigned)next;
    shard->segments[next].used = 0;
    shard->age[next] = ++shard->clock;
    atomic_store_explicit(&shard->segments[next].state, SEGMENT_FILLING, memory_order_relaxed);
    if (find_segment(shard, SEGMENT_FREE) < 0 && find_segment(shard, SEGMENT_DRAINING) < 0) {
        drain(cache, shard, (unsigned)find_segment(shard, SEGMENT_FULL), now_ms);
    }
    return true;
}

/* The key's own slot, else an empty one, else one whose entry is over, else the one
 * stored first. */
static _Atomic uint64_t *choose_slot(struct cache *cache, struct shard *shard,
                                     const struct cache_key *key, uint64_t now_ms)
{
    _Atomic uint64_t *chosen = find_slot(cache, shard, key);
    if (chosen != NULL) {
        return chosen;
    }
    struct bucket *bucket = bucket_of(cache, shard, key->hash);
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < SLOTS_PER_BUCKET; i++) {
        uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed);
        if (slot == 0) {
            return &bucket->slots[i];
        }
        const struct cache_entry *entry = entry_of(shard, slot);
        uint64_t stored = entry->expires_ms <= now_ms ? 0 : entry->stored_ms;
        if (stored < least) {
            least = stored;
            chosen = &bucket->slots[i];
        }
    }
    return chosen;
}

static uint64_t entry_size(const struct cache_key *key, const struct message *message)
{
    uint64_t size = offsetof(struct cache_entry, name) + key->name_size + (key->name_size & 1u) +
                    message->ttl_count * sizeof(uint16_t) + message->body_size +
                    message->chain_size + message->ede_size;
    return (size + ENTRY_ALIGNMENT - 1) / ENTRY_ALIGNMENT * ENTRY_ALIGNMENT;
}

static void fill(struct cache_entry *entry, const struct cache_key *key,
                 const struct message *message, uint64_t size)
{
    entry->hash = key->hash;
    entry->flags = key->flags;
    entry->name_size = key->name_size;
    entry->type = key->type;
    entry->class = key->class;
    entry->size = (uint32_t)size;
    entry->message = *message;
    memcpy(entry->name, key->name, key->name_size);
    point_into(entry);
    memcpy((void *)(uintptr_t)entry->message.ttls, message->ttls,
           message->ttl_count * sizeof(uint16_t));
    memcpy((void *)(uintptr_t)entry->message.body, message->body, message->body_size);
    memcpy((void *)(uintptr_t)entry->message.chain, message->chain, message->chain_size);
    memcpy((void *)(uintptr_t)entry->message.ede_text, message->ede_text, message->ede_size);
}

bool cache_put(struct cache *cache, const struct cache_key *key, const struct message *message,
               uint32_t ttl_s, uint64_t list_version, uint64_t now_ms)
{
    uint64_t size = entry_size(key, message);
    if (ttl_s == 0 || size > cache->segment_size / MOVED_SHARE) {
        return false;
    }

    struct shard *shard = shard_of(cache, key->hash);
    pthread_mutex_lock(&shard->lock);
    struct cache_entry *entry = append(cache, shard, size);
    if (entry == NULL && next_segment(cache, shard, now_ms)) {
        entry = append(cache, shard, size);
    }
    if (entry == NULL) {
        count(&shard->dropped, 1);
        pthread_mutex_unlock(&shard->lock);
        return false;
    }
    entry->stored_ms = now_ms;
    entry->expires_ms = now_ms + ttl_s * 1000ull;
    atomic_init(&entry->checked_version, list_version);
    atomic_init(&entry->used, false);
    fill(entry, key, message, size);

    _Atomic uint64_t *slot = choose_slot(cache, shard, key, now_ms);
    if (atomic_load_explicit(slot, memory_order_relaxed) == 0) {
        count(&shard->entries, 1);
    }
    atomic_store_explicit(slot, slot_of(shard, entry), memory_order_release);
    count(&shard->puts, 1);
    pthread_mutex_unlock(&shard->lock);
    return true;
}

void cache_totals(struct cache *cache, struct cache_totals *ret_totals)
{
    struct cache_totals totals = {.size = cache->size};
    for (unsigned i = 0; i < CACHE_SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        totals.entries += atomic_load_explicit(&shard->entries, memory_order_relaxed);
        totals.puts += atomic_load_explicit(&shard->puts, memory_order_relaxed);
        totals.evictions += atomic_load_explicit(&shard->evictions, memory_order_relaxed);
        totals.dropped += atomic_load_explicit(&shard->dropped, memory_order_relaxed);
    }
    *ret_totals = totals;
}
