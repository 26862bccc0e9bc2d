#include "blocklist/feed.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKETS 256u /* a power of two; a feed that is never edited needs one node */

struct node {
    struct node *next;
    struct bl_feed feed;
};

enum state { FREE, IN_USE, RETIRED };

struct slot {
    _Atomic(const struct bl_feed *) feed; /* NULL: this id has never been used */
    _Atomic int state;                    /* enum state */
    _Atomic uint64_t entries;
};

struct bl_feeds {
    struct slot slots[BL_FEEDS_MAX];
    _Atomic uint32_t end; /* one past the highest id ever used */
    uint32_t retired;
    struct node *buckets[BUCKETS];
    struct bl_secret secret;
    _Atomic uint64_t nodes; /* sets of properties kept */
};

static const char *const action_texts[] = {"default", "address", "nxdomain", "nodata",
                                           "refused", "drop",    "log",      "allow"};
static const char *const tier_texts[] = {"legal", "operator", "feed"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int text_index(const char *const *texts, size_t count, const char *text, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(texts[i]) == size && memcmp(texts[i], text, size) == 0) {
            return (int)i;
        }
    }
    return -EINVAL;
}

const char *bl_action_text(enum bl_action action)
{
    return (size_t)action < COUNT(action_texts) ? action_texts[action] : NULL;
}

int bl_action_from_text(const char *text, size_t size, enum bl_action *ret_action)
{
    int r = text_index(action_texts, COUNT(action_texts), text, size);
    if (r < 0) {
        return r;
    }
    *ret_action = (enum bl_action)r;
    return 0;
}

const char *bl_tier_text(enum bl_tier tier)
{
    return (size_t)tier < COUNT(tier_texts) ? tier_texts[tier] : NULL;
}

int bl_tier_from_text(const char *text, size_t size, enum bl_tier *ret_tier)
{
    int r = text_index(tier_texts, COUNT(tier_texts), text, size);
    if (r < 0) {
        return r;
    }
    *ret_tier = (enum bl_tier)r;
    return 0;
}

struct bl_feeds *bl_feeds_new(const struct bl_secret *secret)
{
    struct bl_feeds *feeds = calloc(1, sizeof(*feeds));
    if (feeds != NULL) {
        feeds->secret = *secret;
    }
    return feeds;
}

void bl_feeds_free(struct bl_feeds *feeds)
{
    if (feeds == NULL) {
        return;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct node *node = feeds->buckets[i]; node != NULL;) {
            struct node *next = node->next;
            free(node);
            node = next;
        }
    }
    free(feeds);
}

static bool is_name_octet(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

static bool is_feed_name(const char *name)
{
    size_t size = strnlen(name, BL_FEED_NAME_SIZE_MAX);
    if (size == 0 || size == BL_FEED_NAME_SIZE_MAX || name[0] == '.' || name[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (!is_name_octet(name[i])) {
            return false;
        }
    }
    return true;
}

static bool is_well_formed(const struct bl_feed *feed)
{
    return is_feed_name(feed->name) &&
           strnlen(feed->label, sizeof(feed->label)) < sizeof(feed->label) &&
           strnlen(feed->category, sizeof(feed->category)) < sizeof(feed->category) &&
           bl_tier_text(feed->tier) != NULL && bl_action_text(feed->action) != NULL;
}

static bool is_equal(const struct bl_feed *a, const struct bl_feed *b)
{
    return a->id == b->id && a->tier == b->tier && a->action == b->action &&
           a->priority == b->priority && a->redis == b->redis && strcmp(a->name, b->name) == 0 &&
           strcmp(a->label, b->label) == 0 && strcmp(a->category, b->category) == 0;
}

/* The kept struct that is equal to `feed` but for the id, which is `id`. NULL with *ret_error. */
static const struct bl_feed *keep(struct bl_feeds *feeds, const struct bl_feed *feed, uint16_t id,
                                  int *ret_error)
{
    struct bl_feed wanted = *feed;
    wanted.id = id;
    uint64_t hash = XXH3_64bits_withSecret(wanted.label, strlen(wanted.label), feeds->secret.octets,
                                           sizeof(feeds->secret.octets));
    struct node **bucket = &feeds->buckets[(hash ^ id) & (BUCKETS - 1)];
    for (struct node *node = *bucket; node != NULL; node = node->next) {
        if (is_equal(&node->feed, &wanted)) {
            return &node->feed;
        }
    }
    uint64_t nodes = atomic_load_explicit(&feeds->nodes, memory_order_relaxed);
    if (nodes == BL_FEED_TEXTS_MAX) {
        *ret_error = -ENOSPC;
        return NULL;
    }
    struct node *node = malloc(sizeof(*node));
    if (node == NULL) {
        *ret_error = -ENOMEM;
        return NULL;
    }
    node->feed = wanted;
    node->next = *bucket;
    *bucket = node;
    atomic_store_explicit(&feeds->nodes, nodes + 1, memory_order_relaxed);
    return &node->feed;
}

static int free_id(const struct bl_feeds *feeds)
{
    for (uint32_t id = 0; id < BL_FEEDS_MAX; id++) {
        if (atomic_load_explicit(&feeds->slots[id].state, memory_order_relaxed) == FREE) {
            return (int)id;
        }
    }
    return -ENOSPC;
}

int bl_feeds_set(struct bl_feeds *feeds, const struct bl_feed *feed, const struct bl_feed **ret_old)
{
    if (!is_well_formed(feed)) {
        return -EINVAL;
    }
    int id = bl_feeds_find(feeds, feed->name);
    const struct bl_feed *old = id >= 0 ? bl_feeds_get(feeds, (uint16_t)id) : NULL;
    if (old == NULL) {
        id = free_id(feeds);
        if (id < 0) {
            return id;
        }
    }
    int error = 0;
    const struct bl_feed *kept = keep(feeds, feed, (uint16_t)id, &error);
    if (kept == NULL) {
        return error;
    }
    struct slot *slot = &feeds->slots[id];
    atomic_store_explicit(&slot->feed, kept, memory_order_release);
    atomic_store_explicit(&slot->state, IN_USE, memory_order_release);
    if ((uint32_t)id >= atomic_load_explicit(&feeds->end, memory_order_relaxed)) {
        atomic_store_explicit(&feeds->end, (uint32_t)id + 1, memory_order_release);
    }
    *ret_old = old;
    return id;
}

void bl_feeds_remove(struct bl_feeds *feeds, uint16_t id)
{
    assert(bl_feeds_in_use(feeds, id) && bl_feeds_entries(feeds, id) == 0);
    atomic_store_explicit(&feeds->slots[id].state, RETIRED, memory_order_release);
    feeds->retired++;
}

bool bl_feeds_retired(const struct bl_feeds *feeds)
{
    return feeds->retired > 0;
}

void bl_feeds_reclaim(struct bl_feeds *feeds)
{
    for (uint32_t id = 0; feeds->retired > 0 && id < BL_FEEDS_MAX; id++) {
        _Atomic int *state = &feeds->slots[id].state;
        if (atomic_load_explicit(state, memory_order_relaxed) == RETIRED) {
            atomic_store_explicit(state, FREE, memory_order_relaxed);
            feeds->retired--;
        }
    }
}

void bl_feeds_count(struct bl_feeds *feeds, uint16_t id, int change)
{
    _Atomic uint64_t *entries = &feeds->slots[id].entries;
    uint64_t value = atomic_load_explicit(entries, memory_order_relaxed);
    atomic_store_explicit(entries, value + (uint64_t)(int64_t)change, memory_order_relaxed);
}

const struct bl_feed *bl_feeds_get(const struct bl_feeds *feeds, uint16_t id)
{
    assert(id < BL_FEEDS_MAX);
    return atomic_load_explicit(&feeds->slots[id].feed, memory_order_acquire);
}

bool bl_feeds_in_use(const struct bl_feeds *feeds, uint16_t id)
{
    return id < BL_FEEDS_MAX &&
           atomic_load_explicit(&feeds->slots[id].state, memory_order_acquire) == IN_USE;
}

int bl_feeds_find(const struct bl_feeds *feeds, const char *name)
{
    uint32_t end = atomic_load_explicit(&feeds->end, memory_order_acquire);
    for (uint32_t id = 0; id < end; id++) {
        if (bl_feeds_in_use(feeds, (uint16_t)id) &&
            strcmp(bl_feeds_get(feeds, (uint16_t)id)->name, name) == 0) {
            return (int)id;
        }
    }
    return -ENOENT;
}

void bl_feeds_each(const struct bl_feeds *feeds,
                   void (*call)(void *context, const struct bl_feed *feed), void *context)
{
    uint32_t end = atomic_load_explicit(&feeds->end, memory_order_acquire);
    for (uint32_t id = 0; id < end; id++) {
        if (bl_feeds_in_use(feeds, (uint16_t)id)) {
            call(context, bl_feeds_get(feeds, (uint16_t)id));
        }
    }
}

uint64_t bl_feeds_entries(const struct bl_feeds *feeds, uint16_t id)
{
    return id < BL_FEEDS_MAX ? atomic_load_explicit(&feeds->slots[id].entries, memory_order_relaxed)
                             : 0;
}

uint64_t bl_feeds_octets(const struct bl_feeds *feeds)
{
    return sizeof(*feeds) +
           atomic_load_explicit(&feeds->nodes, memory_order_relaxed) * sizeof(struct node);
}
