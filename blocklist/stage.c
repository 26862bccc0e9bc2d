/* Records lie one after the other in one block, in the order they came:
 *
 *   struct record | name | value
 *
 * The table, made by bl_stage_apply(), finds the last record of a feed and name: slots hold the
 * record's offset plus one, 0 is empty, at most half are used. */
#include "blocklist/stage.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FEED_SLOTS_MAX UINT16_MAX /* feeds ever created in one stage: re-created ones are new */

struct record {
    uint16_t feed;
    uint16_t value_size;
    uint8_t name_size;
    uint8_t state;
};

enum record_state {
    STATE_SET,     /* the feed lists the name */
    STATE_UNSET,   /* it does not (any more) */
    STATE_EARLIER, /* a later record speaks of the same */
};

struct staged_feed {
    struct bl_feed feed;
    bool alive;
    int list_id; /* while applying; negative: not in the list */
};

struct bl_stage {
    struct bl_secret secret;
    uint8_t *octets;
    size_t size;
    size_t capacity;
    size_t records;
    struct staged_feed *feeds;
    size_t feed_count;
    size_t feed_capacity;
    size_t alive_count;
    uint32_t *table;
    size_t table_mask;
};

struct bl_stage *bl_stage_new(const struct bl_secret *secret)
{
    struct bl_stage *stage = calloc(1, sizeof(*stage));
    if (stage != NULL) {
        stage->secret = *secret;
    }
    return stage;
}

void bl_stage_free(struct bl_stage *stage)
{
    if (stage != NULL) {
        free(stage->octets);
        free(stage->feeds);
        free(stage->table);
        free(stage);
    }
}

int bl_stage_feed_find(const struct bl_stage *stage, const char *name)
{
    for (size_t i = 0; i < stage->feed_count; i++) {
        if (stage->feeds[i].alive && strcmp(stage->feeds[i].feed.name, name) == 0) {
            return (int)i;
        }
    }
    return -ENOENT;
}

int bl_stage_feed_set(struct bl_stage *stage, const struct bl_feed *feed)
{
    int found = bl_stage_feed_find(stage, feed->name);
    if (found >= 0) {
        stage->feeds[found].feed = *feed;
        return found;
    }
    if (stage->alive_count == BL_FEEDS_MAX || stage->feed_count == FEED_SLOTS_MAX) {
        return -ENOSPC;
    }
    if (stage->feed_count == stage->feed_capacity) {
        size_t capacity = stage->feed_capacity == 0 ? 16 : 2 * stage->feed_capacity;
        struct staged_feed *feeds = realloc(stage->feeds, capacity * sizeof(*feeds));
        if (feeds == NULL) {
            return -ENOMEM;
        }
        stage->feeds = feeds;
        stage->feed_capacity = capacity;
    }
    stage->feeds[stage->feed_count] = (struct staged_feed){.feed = *feed, .alive = true};
    stage->alive_count++;
    return (int)stage->feed_count++;
}

void bl_stage_feed_remove(struct bl_stage *stage, const char *name)
{
    int found = bl_stage_feed_find(stage, name);
    if (found >= 0) {
        stage->feeds[found].alive = false;
        stage->alive_count--;
    }
}

int bl_stage_put(struct bl_stage *stage, int feed, const uint8_t *name, size_t name_size,
                 const char *value, size_t value_size)
{
    assert(feed >= 0 && (size_t)feed < stage->feed_count);
    assert(name_size > 0 && name_size <= BL_NAME_SIZE_MAX && value_size <= BL_VALUE_SIZE_MAX);
    struct record record = {
        .feed = (uint16_t)feed,
        .value_size = (uint16_t)value_size,
        .name_size = (uint8_t)name_size,
        .state = value != NULL ? STATE_SET : STATE_UNSET,
    };
    size_t size = sizeof(record) + name_size + value_size;
    if (size > BL_STAGE_SIZE_MAX - stage->size) {
        return -EFBIG;
    }
    if (stage->capacity - stage->size < size) {
        size_t capacity = stage->capacity == 0 ? 65536 : stage->capacity + stage->capacity / 2;
        uint8_t *octets = realloc(stage->octets, capacity);
        if (octets == NULL) {
            return -ENOMEM;
        }
        stage->octets = octets;
        stage->capacity = capacity;
    }
    uint8_t *at = stage->octets + stage->size;
    memcpy(at, &record, sizeof(record));
    memcpy(at + sizeof(record), name, name_size);
    if (value_size > 0) {
        memcpy(at + sizeof(record) + name_size, value, value_size);
    }
    stage->size += size;
    stage->records++;
    return 0;
}

static struct record record_at(const struct bl_stage *stage, size_t offset)
{
    struct record record;
    memcpy(&record, stage->octets + offset, sizeof(record));
    return record;
}

static void set_state(struct bl_stage *stage, size_t offset, enum record_state state)
{
    stage->octets[offset + offsetof(struct record, state)] = (uint8_t)state;
}

/* The slot of the feed and name: theirs, or the empty one where they belong. */
static uint32_t *slot_of(const struct bl_stage *stage, uint16_t feed, const uint8_t *name,
                         size_t size)
{
    uint64_t hash = bl_name_hash(&stage->secret, name, size) ^ feed * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = (size_t)(hash ^ hash >> 32) & stage->table_mask;;
         i = (i + 1) & stage->table_mask) {
        if (stage->table[i] == 0) {
            return &stage->table[i];
        }
        size_t offset = stage->table[i] - 1;
        struct record record = record_at(stage, offset);
        if (record.feed == feed && record.name_size == size &&
            memcmp(stage->octets + offset + sizeof(record), name, size) == 0) {
            return &stage->table[i];
        }
    }
}

static size_t next_offset(size_t offset, struct record record)
{
    return offset + sizeof(record) + record.name_size + record.value_size;
}

static int make_table(struct bl_stage *stage)
{
    size_t slots = 16;
    while (slots < 2 * stage->records) {
        slots *= 2;
    }
    free(stage->table);
    stage->table = calloc(slots, sizeof(*stage->table));
    if (stage->table == NULL) {
        return -ENOMEM;
    }
    stage->table_mask = slots - 1;
    struct record record;
    for (size_t offset = 0; offset < stage->size; offset = next_offset(offset, record)) {
        record = record_at(stage, offset);
        const uint8_t *name = stage->octets + offset + sizeof(record);
        uint32_t *slot = slot_of(stage, record.feed, name, record.name_size);
        if (*slot != 0) {
            set_state(stage, *slot - 1, STATE_EARLIER);
        }
        *slot = (uint32_t)(offset + 1);
    }
    return 0;
}

/* Puts the staged feeds into the list. A feed that turns from denying to allowing, or back, goes
 * first with all its names: the guards have to see them anew before the new kind holds. */
static int apply_feeds(struct bl_stage *stage, struct bl_list *list, struct bl_refusals *refusals)
{
    for (size_t i = 0; i < stage->feed_count; i++) {
        struct staged_feed *staged = &stage->feeds[i];
        staged->list_id = -ENOENT;
        if (!staged->alive) {
            continue;
        }
        int id = bl_list_feed_find(list, staged->feed.name);
        if (id >= 0) {
            const struct bl_feed *old = bl_list_feed(list, (uint16_t)id);
            if (!old->redis) {
                refusals->rejected[BL_REJECT_FEED_IN_USE]++;
                continue;
            }
            if ((old->action == BL_ACTION_ALLOW) != (staged->feed.action == BL_ACTION_ALLOW)) {
                int r = bl_list_feed_remove(list, (uint16_t)id);
                if (r != 0) {
                    return r;
                }
                bl_list_publish(list);
            }
        }
        id = bl_list_feed_set(list, &staged->feed);
        if (id == -ENOMEM) {
            return id;
        }
        if (id < 0) {
            refusals->rejected[id == -ENOSPC ? BL_REJECT_FULL : BL_REJECT_FEED]++;
        }
        staged->list_id = id;
    }
    return 0;
}

static int apply_names(struct bl_stage *stage, struct bl_list *list, const struct bl_guards *guards,
                       struct bl_refusals *refusals)
{
    unsigned changes = 0;
    struct record record;
    for (size_t offset = 0; offset < stage->size; offset = next_offset(offset, record)) {
        record = record_at(stage, offset);
        const struct staged_feed *feed = &stage->feeds[record.feed];
        if (record.state != STATE_SET || !feed->alive) {
            continue;
        }
        if (feed->list_id < 0) {
            refusals->rejected[BL_REJECT_NO_FEED]++;
            continue;
        }
        const uint8_t *name = stage->octets + offset + sizeof(record);
        bool refused;
        int r = bl_entry_apply(list, guards, (uint16_t)feed->list_id, name, record.name_size,
                               (const char *)name + record.name_size, record.value_size, refusals,
                               &refused);
        if (r < 0) {
            return r;
        }
        if (refused) {
            set_state(stage, offset, STATE_UNSET);
        }
        changes += (unsigned)r;
        if (changes >= BL_STAGE_BATCH_CHANGES) {
            bl_list_publish(list);
            changes = 0;
        }
    }
    return 0;
}

/* Names to be removed from one feed: a walk must not change the list. */
struct gone {
    const struct bl_stage *stage;
    uint16_t feed;   /* its number in the stage */
    uint8_t *octets; /* size, name, size, name, ... */
    size_t size;
    size_t capacity;
    bool short_of_memory;
};

static bool collect_gone(void *context, const uint8_t *name, size_t size,
                         const struct bl_membership *membership)
{
    (void)membership;
    struct gone *gone = context;
    const uint32_t *slot = slot_of(gone->stage, gone->feed, name, size);
    if (*slot != 0 && record_at(gone->stage, *slot - 1).state == STATE_SET) {
        return true;
    }
    if (gone->capacity - gone->size < 1 + size) {
        size_t capacity = 2 * gone->capacity + 65536;
        uint8_t *octets = realloc(gone->octets, capacity);
        if (octets == NULL) {
            gone->short_of_memory = true;
            return false;
        }
        gone->octets = octets;
        gone->capacity = capacity;
    }
    gone->octets[gone->size] = (uint8_t)size;
    memcpy(gone->octets + gone->size + 1, name, size);
    gone->size += 1 + size;
    return true;
}

static int remove_names(struct bl_stage *stage, struct bl_list *list)
{
    struct gone gone = {.stage = stage};
    int r = 0;
    for (size_t i = 0; i < stage->feed_count && r >= 0 && !gone.short_of_memory; i++) {
        int id = stage->feeds[i].list_id;
        if (id < 0) {
            continue;
        }
        gone.feed = (uint16_t)i;
        gone.size = 0;
        bl_list_walk(list, (uint16_t)id, collect_gone, &gone);
        unsigned changes = 0;
        for (size_t at = 0; at < gone.size; at += 1 + (size_t)gone.octets[at]) {
            r = bl_list_remove(list, (uint16_t)id, gone.octets + at + 1, gone.octets[at]);
            if (r < 0) {
                break;
            }
            if (++changes % BL_STAGE_BATCH_CHANGES == 0) {
                bl_list_publish(list);
            }
        }
    }
    free(gone.octets);
    return gone.short_of_memory || r < 0 ? -ENOMEM : 0;
}

/* Feeds from Redis that the stage does not have. */
struct leftover {
    const struct bl_stage *stage;
    uint16_t ids[BL_FEEDS_MAX];
    size_t count;
};

static void collect_leftover(void *context, const struct bl_feed *feed)
{
    struct leftover *leftover = context;
    if (feed->redis && bl_stage_feed_find(leftover->stage, feed->name) < 0) {
        leftover->ids[leftover->count++] = feed->id;
    }
}

static int remove_feeds(struct bl_stage *stage, struct bl_list *list)
{
    struct leftover leftover = {.stage = stage};
    bl_list_feeds(list, collect_leftover, &leftover);
    int r = 0;
    for (size_t i = 0; i < leftover.count && r == 0; i++) {
        r = bl_list_feed_remove(list, leftover.ids[i]);
    }
    return r;
}

int bl_stage_apply(struct bl_stage *stage, struct bl_list *list, const struct bl_guards *guards,
                   struct bl_refusals *refusals)
{
    int r = make_table(stage);
    if (r == 0) {
        r = apply_feeds(stage, list, refusals);
    }
    if (r == 0) {
        r = apply_names(stage, list, guards, refusals);
    }
    if (r == 0) {
        bl_list_publish(list);
        r = remove_names(stage, list);
    }
    if (r == 0) {
        r = remove_feeds(stage, list);
    }
    bl_list_publish(list);
    return r;
}
