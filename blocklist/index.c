#include "blocklist/index.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS 4096u
#define SHARD_SHIFT 52u /* the hash's uppermost 12 bits choose the shard */
#define TAG_SHIFT 32u   /* the 12 bits above the lower half are the tag */
#define PLACE_BITS 20u
#define PLACE_MASK ((1u << PLACE_BITS) - 1)
#define UNIT 8u                            /* records start at multiples of this */
#define BLOCK_UNITS_MAX (1u << PLACE_BITS) /* 8 MiB: about 200,000 names in one shard */

/* No record stands at the first units of a block, so these are no slots in use. */
#define SLOT_EMPTY 0u /* nothing, and nothing further on */
#define SLOT_DEAD 1u  /* a name was removed; look further */

/* A block more than half of whose arena is dead is copied, but not for less than this. */
#define DEAD_UNITS_MIN 32u

struct bl_record {
    _Atomic(const struct bl_context *) context;
    uint8_t size;
    uint8_t name[];
};

/* Before publication everything may be written; afterwards readers look at slot_count, slots and
 * records, and the rest is the writer's. live + dead slots <= 2/3 slot_count, so a search ends. */
struct bl_block {
    uint32_t slot_count;
    uint32_t live; /* names */
    uint32_t dead; /* slots that are SLOT_DEAD */
    uint32_t dead_units;
    uint32_t end_units; /* of the records so far */
    uint32_t limit_units;
    struct bl_block *retired_next;
    _Atomic uint32_t slots[];
};

static_assert(sizeof(struct bl_block) >= 2 * UNIT, "SLOT_EMPTY and SLOT_DEAD must not be records");

struct bl_index {
    _Atomic(struct bl_block *) shards[SHARDS];
    _Atomic uint64_t names_by_labels[BL_NAME_LABELS_MAX + 1];
    _Atomic uint64_t names;
    _Atomic uint64_t octets;
    struct bl_block *retired;
    struct bl_secret secret;
};

static void count(_Atomic uint64_t *counter, uint64_t more, uint64_t less)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + more - less, memory_order_relaxed);
}

static uint32_t record_units(size_t name_size)
{
    size_t size = offsetof(struct bl_record, name) + name_size;
    return (uint32_t)((size + UNIT - 1) / UNIT);
}

static uint32_t first_units(uint32_t slot_count)
{
    size_t size = sizeof(struct bl_block) + slot_count * sizeof(uint32_t);
    return (uint32_t)((size + UNIT - 1) / UNIT);
}

static size_t block_octets(const struct bl_block *block)
{
    return (size_t)block->limit_units * UNIT;
}

static struct bl_record *record_at(const struct bl_block *block, uint32_t slot)
{
    uintptr_t place = (uintptr_t)block + (size_t)(slot & PLACE_MASK) * UNIT;
    return (struct bl_record *)place;
}

static uint32_t slot_tag(uint64_t hash)
{
    return (uint32_t)(hash >> TAG_SHIFT) << PLACE_BITS;
}

static uint32_t first_position(const struct bl_block *block, uint64_t hash)
{
    return (uint32_t)(((hash & UINT32_MAX) * block->slot_count) >> 32);
}

static uint32_t next_position(const struct bl_block *block, uint32_t position)
{
    return position + 1 < block->slot_count ? position + 1 : 0;
}

static bool is_record(uint32_t slot)
{
    return slot > SLOT_DEAD;
}

/* From *position on, the next slot that carries the hash's tag: its record, and *position one
 * further. NULL when there is none. */
static struct bl_record *next_tagged(const struct bl_block *block, uint64_t hash,
                                     uint32_t *position)
{
    uint32_t tag = slot_tag(hash);
    for (;;) {
        uint32_t slot = atomic_load_explicit(&block->slots[*position], memory_order_acquire);
        if (slot == SLOT_EMPTY) {
            return NULL;
        }
        *position = next_position(block, *position);
        if ((slot & ~PLACE_MASK) == tag && slot != SLOT_DEAD) {
            return record_at(block, slot);
        }
    }
}

static bool record_is(const struct bl_record *record, const uint8_t *name, size_t size)
{
    return record->size == size && memcmp(record->name, name, size) == 0;
}

/* ---- readers ---- */

void bl_index_probe(const struct bl_index *index, struct bl_probe *probes, size_t probe_count)
{
    for (size_t i = 0; i < probe_count; i++) {
        struct bl_probe *probe = &probes[i];
        probe->hash = bl_name_hash(&index->secret, probe->name, probe->size);
        __builtin_prefetch((const void *)&index->shards[probe->hash >> SHARD_SHIFT]);
    }
    for (size_t i = 0; i < probe_count; i++) {
        struct bl_probe *probe = &probes[i];
        probe->block =
            atomic_load_explicit(&index->shards[probe->hash >> SHARD_SHIFT], memory_order_acquire);
        __builtin_prefetch(probe->block);
    }
    for (size_t i = 0; i < probe_count; i++) {
        struct bl_probe *probe = &probes[i];
        if (probe->block != NULL) {
            probe->position = first_position(probe->block, probe->hash);
            __builtin_prefetch((const void *)&probe->block->slots[probe->position]);
        }
    }
    for (size_t i = 0; i < probe_count; i++) {
        struct bl_probe *probe = &probes[i];
        probe->record = NULL;
        if (probe->block != NULL) {
            probe->record = next_tagged(probe->block, probe->hash, &probe->position);
            __builtin_prefetch(probe->record);
        }
    }
    for (size_t i = 0; i < probe_count; i++) {
        struct bl_probe *probe = &probes[i];
        while (probe->record != NULL && !record_is(probe->record, probe->name, probe->size)) {
            probe->record = next_tagged(probe->block, probe->hash, &probe->position);
        }
        probe->context = NULL;
        if (probe->record != NULL) {
            probe->context = bl_record_context(probe->record);
            __builtin_prefetch(probe->context);
        }
    }
}

bool bl_index_has_labels(const struct bl_index *index, unsigned labels)
{
    return atomic_load_explicit(&index->names_by_labels[labels], memory_order_relaxed) != 0;
}

uint64_t bl_index_names(const struct bl_index *index)
{
    return atomic_load_explicit(&index->names, memory_order_relaxed);
}

uint64_t bl_index_octets(const struct bl_index *index)
{
    return atomic_load_explicit(&index->octets, memory_order_relaxed);
}

const struct bl_context *bl_record_context(const struct bl_record *record)
{
    return atomic_load_explicit(&record->context, memory_order_acquire);
}

/* ---- the writer ---- */

struct bl_index *bl_index_new(const struct bl_secret *secret)
{
    struct bl_index *index = calloc(1, sizeof(*index));
    if (index != NULL) {
        index->secret = *secret;
        count(&index->octets, sizeof(*index), 0);
    }
    return index;
}

static struct bl_block *block_of(const struct bl_index *index, size_t shard)
{
    return atomic_load_explicit(&index->shards[shard], memory_order_relaxed);
}

void bl_index_free(struct bl_index *index)
{
    if (index == NULL) {
        return;
    }
    bl_index_reclaim(index);
    for (size_t shard = 0; shard < SHARDS; shard++) {
        free(block_of(index, shard));
    }
    free(index);
}

/* Puts `block` (NULL: none) in the place of the shard's, which is retired. */
static void publish(struct bl_index *index, size_t shard, struct bl_block *block)
{
    struct bl_block *old = block_of(index, shard);
    atomic_store_explicit(&index->shards[shard], block, memory_order_release);
    if (old != NULL) {
        old->retired_next = index->retired;
        index->retired = old;
    }
}

bool bl_index_retired(const struct bl_index *index)
{
    return index->retired != NULL;
}

void bl_index_reclaim(struct bl_index *index)
{
    while (index->retired != NULL) {
        struct bl_block *block = index->retired;
        index->retired = block->retired_next;
        count(&index->octets, 0, block_octets(block));
        free(block);
    }
}

/* A block with room for these and a quarter more. */
static struct bl_block *block_new(struct bl_index *index, uint32_t names, uint32_t units)
{
    uint32_t room = names + names / 4 + 1;
    uint32_t slot_count = room + room / 2 + 2;
    uint64_t limit_units = (uint64_t)first_units(slot_count) + units + units / 4 + 4;
    if (limit_units > BLOCK_UNITS_MAX) {
        return NULL;
    }
    struct bl_block *block = calloc(limit_units, UNIT);
    if (block != NULL) {
        block->slot_count = slot_count;
        block->end_units = first_units(slot_count);
        block->limit_units = (uint32_t)limit_units;
        count(&index->octets, block_octets(block), 0);
    }
    return block;
}

static bool has_room(const struct bl_block *block, uint32_t units)
{
    return block->live + block->dead < block->slot_count - block->slot_count / 3 &&
           block->limit_units - block->end_units >= units;
}

/* Writes the record, then shows it. The block has room. */
static void put(struct bl_block *block, uint64_t hash, const uint8_t *name, size_t size,
                const struct bl_context *context)
{
    uint32_t units = record_units(size);
    uint32_t slot = slot_tag(hash) | block->end_units;
    struct bl_record *record = record_at(block, slot);
    atomic_store_explicit(&record->context, context, memory_order_relaxed);
    record->size = (uint8_t)size;
    memcpy(record->name, name, size);

    uint32_t position = first_position(block, hash);
    uint32_t seen;
    while (is_record(seen = atomic_load_explicit(&block->slots[position], memory_order_relaxed))) {
        position = next_position(block, position);
    }
    block->dead -= seen == SLOT_DEAD ? 1 : 0;
    block->live++;
    block->end_units += units;
    atomic_store_explicit(&block->slots[position], slot, memory_order_release);
}

/* Copies what lives in the shard into a block with room for one more name of `units`. 0 or
 * -ENOMEM. */
static int copy_shard(struct bl_index *index, size_t shard, uint32_t units)
{
    const struct bl_block *old = block_of(index, shard);
    uint32_t live = 0;
    uint32_t live_units = 0;
    if (old != NULL) {
        live = old->live;
        live_units = old->end_units - first_units(old->slot_count) - old->dead_units;
    }
    struct bl_block *block = block_new(index, live + 1, live_units + units);
    if (block == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; old != NULL && i < old->slot_count; i++) {
        uint32_t slot = atomic_load_explicit(&old->slots[i], memory_order_relaxed);
        if (is_record(slot)) {
            const struct bl_record *record = record_at(old, slot);
            uint64_t hash = bl_name_hash(&index->secret, record->name, record->size);
            put(block, hash, record->name, record->size, bl_record_context(record));
        }
    }
    assert(block->live == live);
    publish(index, shard, block);
    return 0;
}

uint64_t bl_index_hash(const struct bl_index *index, const uint8_t *name, size_t size)
{
    return bl_name_hash(&index->secret, name, size);
}

struct bl_record *bl_index_seek(const struct bl_index *index, uint64_t hash, const uint8_t *name,
                                size_t size)
{
    const struct bl_block *block = block_of(index, hash >> SHARD_SHIFT);
    if (block == NULL) {
        return NULL;
    }
    uint32_t position = first_position(block, hash);
    struct bl_record *record;
    do {
        record = next_tagged(block, hash, &position);
    } while (record != NULL && !record_is(record, name, size));
    return record;
}

void bl_record_exchange(struct bl_record *record, const struct bl_context *context)
{
    atomic_store_explicit(&record->context, context, memory_order_release);
}

int bl_index_insert(struct bl_index *index, uint64_t hash, const uint8_t *name, size_t size,
                    const struct bl_context *context)
{
    size_t shard = hash >> SHARD_SHIFT;
    struct bl_block *block = block_of(index, shard);
    if (block == NULL || !has_room(block, record_units(size))) {
        int r = copy_shard(index, shard, record_units(size));
        if (r < 0) {
            return r;
        }
        block = block_of(index, shard);
    }
    /* Counted first: whoever can see the name must not pass it over for its number of labels. */
    count(&index->names_by_labels[bl_name_labels(name)], 1, 0);
    put(block, hash, name, size, context);
    count(&index->names, 1, 0);
    return 0;
}

/* Clears the slot of the record at `position`. Where nothing follows, a search may stop there. */
static void clear_slot(struct bl_index *index, struct bl_block *block, uint32_t position)
{
    uint32_t slot = atomic_load_explicit(&block->slots[position], memory_order_relaxed);
    const struct bl_record *record = record_at(block, slot);
    block->live--;
    block->dead_units += record_units(record->size);
    uint32_t next =
        atomic_load_explicit(&block->slots[next_position(block, position)], memory_order_relaxed);
    block->dead += next != SLOT_EMPTY ? 1 : 0;
    atomic_store_explicit(&block->slots[position], next != SLOT_EMPTY ? SLOT_DEAD : SLOT_EMPTY,
                          memory_order_release);
    count(&index->names_by_labels[bl_name_labels(record->name)], 0, 1);
    count(&index->names, 0, 1);
}

/* Gives back the memory of a shard that is empty or mostly dead. Where there is none for the copy,
 * the block stays as it is. */
static void tidy(struct bl_index *index, size_t shard)
{
    const struct bl_block *block = block_of(index, shard);
    if (block->live == 0) {
        publish(index, shard, NULL);
        return;
    }
    uint32_t used = block->end_units - first_units(block->slot_count);
    if (block->dead_units >= DEAD_UNITS_MIN && block->dead_units > used / 2) {
        (void)copy_shard(index, shard, 0);
    }
}

void bl_index_erase(struct bl_index *index, uint64_t hash, struct bl_record *record)
{
    size_t shard = hash >> SHARD_SHIFT;
    struct bl_block *block = block_of(index, shard);
    uint32_t position = first_position(block, hash);
    for (;;) {
        uint32_t slot = atomic_load_explicit(&block->slots[position], memory_order_relaxed);
        assert(slot != SLOT_EMPTY);
        if (is_record(slot) && record_at(block, slot) == record) {
            break;
        }
        position = next_position(block, position);
    }
    clear_slot(index, block, position);
    tidy(index, shard);
}

void bl_index_walk(const struct bl_index *index,
                   bool (*call)(void *context, const uint8_t *name, size_t size,
                                const struct bl_context *now),
                   void *context)
{
    for (size_t shard = 0; shard < SHARDS; shard++) {
        const struct bl_block *block = block_of(index, shard);
        for (uint32_t i = 0; block != NULL && i < block->slot_count; i++) {
            uint32_t slot = atomic_load_explicit(&block->slots[i], memory_order_relaxed);
            if (!is_record(slot)) {
                continue;
            }
            const struct bl_record *record = record_at(block, slot);
            if (!call(context, record->name, record->size, bl_record_context(record))) {
                return;
            }
        }
    }
}

void bl_index_edit(struct bl_index *index,
                   const struct bl_context *(*call)(void *context, const struct bl_context *now),
                   void *context)
{
    for (size_t shard = 0; shard < SHARDS; shard++) {
        struct bl_block *block = block_of(index, shard);
        if (block == NULL) {
            continue;
        }
        for (uint32_t i = 0; i < block->slot_count; i++) {
            uint32_t slot = atomic_load_explicit(&block->slots[i], memory_order_relaxed);
            if (!is_record(slot)) {
                continue;
            }
            struct bl_record *record = record_at(block, slot);
            const struct bl_context *now = bl_record_context(record);
            const struct bl_context *next = call(context, now);
            if (next == NULL) {
                clear_slot(index, block, i);
            } else if (next != now) {
                bl_record_exchange(record, next);
            }
        }
        tidy(index, shard);
    }
}
