/* The list: the writer's changes, and the readers' look-ups, over feeds, words, contexts
 * and index. */
#include "blocklist/list.h"

#include "blocklist/context.h"
#include "blocklist/feed.h"
#include "blocklist/index.h"
#include "blocklist/rcu.h"
#include "blocklist/word.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Probes of one round of a batch: what fits on the stack, and more than a name can have
 * suffixes. */
#define PROBES_MAX 256u

static_assert(PROBES_MAX > BL_NAME_LABELS_MAX, "all suffixes of a name fit in one round");

struct bl_list {
    struct bl_feeds *feeds;
    struct bl_words *words;
    struct bl_contexts *contexts;
    struct bl_index *index;
    _Atomic uint64_t version;
    _Atomic bool whole;
    bool newly_blocks; /* something in this batch can */
};

struct bl_list *bl_list_new(const struct bl_secret *secret)
{
    struct bl_list *list = calloc(1, sizeof(*list));
    if (list == NULL) {
        return NULL;
    }
    list->feeds = bl_feeds_new(secret);
    list->words = bl_words_new(secret);
    list->contexts = bl_contexts_new(secret);
    list->index = bl_index_new(secret);
    if (list->feeds == NULL || list->words == NULL || list->contexts == NULL ||
        list->index == NULL) {
        bl_list_free(list);
        return NULL;
    }
    atomic_init(&list->whole, true);
    return list;
}

bool bl_list_is_whole(const struct bl_list *list)
{
    return atomic_load_explicit(&list->whole, memory_order_acquire);
}

void bl_list_set_whole(struct bl_list *list, bool whole)
{
    atomic_store_explicit(&list->whole, whole, memory_order_release);
}

void bl_list_free(struct bl_list *list)
{
    if (list == NULL) {
        return;
    }
    bl_index_free(list->index);
    bl_contexts_free(list->contexts);
    bl_words_free(list->words);
    bl_feeds_free(list->feeds);
    free(list);
}

/* ---- readers ---- */

uint64_t bl_list_version(const struct bl_list *list)
{
    return atomic_load_explicit(&list->version, memory_order_acquire);
}

/* One probe for each suffix of the name that may be listed, longest first. Returns how many. */
static size_t probe_suffixes(const struct bl_list *list, const uint8_t *name, size_t size,
                             struct bl_probe *probes)
{
    size_t count = 0;
    unsigned labels = bl_name_labels(name);
    for (size_t at = 0;; at += 1u + name[at], labels--) {
        if (bl_index_has_labels(list->index, labels)) {
            probes[count].name = name + at;
            probes[count].size = (uint8_t)(size - at);
            count++;
        }
        if (labels == 0) {
            return count;
        }
    }
}

size_t bl_list_find(const struct bl_list *list, const uint8_t *name, size_t size,
                    struct bl_match ret_matches[static BL_NAME_LABELS_MAX + 1])
{
    struct bl_probe probes[BL_NAME_LABELS_MAX + 1];
    size_t count = probe_suffixes(list, name, size, probes);
    bl_index_probe(list->index, probes, count);
    size_t matches = 0;
    for (size_t i = 0; i < count; i++) {
        if (probes[i].context != NULL) {
            ret_matches[matches].context = probes[i].context;
            ret_matches[matches].offset = (uint8_t)(probes[i].name - name);
            matches++;
        }
    }
    return matches;
}

static void keep_match(struct bl_lookup *lookup, const struct bl_probe *probe)
{
    if (lookup->count == BL_BATCH_MATCHES_MAX) {
        lookup->more = true;
        return;
    }
    struct bl_match *match = &lookup->matches[lookup->count++];
    match->context = probe->context;
    match->offset = (uint8_t)(probe->name - lookup->name);
}

void bl_list_find_batch(const struct bl_list *list, struct bl_lookup *lookups, size_t count)
{
    struct bl_probe probes[PROBES_MAX];
    uint8_t owner[PROBES_MAX]; /* which look-up of the round a probe belongs to */
    assert(count <= BL_BATCH_MAX);

    for (size_t first = 0; first < count;) {
        size_t probe_count = 0;
        size_t next = first;
        while (next < count && probe_count + BL_NAME_LABELS_MAX < PROBES_MAX) {
            struct bl_lookup *lookup = &lookups[next];
            lookup->count = 0;
            lookup->more = false;
            size_t end = probe_count + probe_suffixes(list, lookup->name, lookup->name_size,
                                                      probes + probe_count);
            while (probe_count < end) {
                owner[probe_count++] = (uint8_t)next;
            }
            next++;
        }
        bl_index_probe(list->index, probes, probe_count);
        for (size_t i = 0; i < probe_count; i++) {
            if (probes[i].context != NULL) {
                keep_match(&lookups[owner[i]], &probes[i]);
            }
        }
        first = next;
    }
}

const struct bl_feed *bl_list_feed(const struct bl_list *list, uint16_t id)
{
    return bl_feeds_get(list->feeds, id);
}

const char *bl_list_word_text(const struct bl_list *list, uint16_t word)
{
    return bl_words_text(list->words, word);
}

/* ---- any thread ---- */

uint64_t bl_list_names(const struct bl_list *list)
{
    return bl_index_names(list->index);
}

uint64_t bl_list_octets(const struct bl_list *list)
{
    return sizeof(*list) + bl_index_octets(list->index) + bl_contexts_octets(list->contexts) +
           bl_words_octets(list->words) + bl_feeds_octets(list->feeds);
}

uint64_t bl_list_feed_entries(const struct bl_list *list, uint16_t id)
{
    return bl_feeds_entries(list->feeds, id);
}

/* ---- the writer ---- */

static bool is_allow(const struct bl_list *list, const struct bl_membership *membership)
{
    enum bl_action action = membership->action != BL_ACTION_DEFAULT
                                ? (enum bl_action)membership->action
                                : bl_feeds_get(list->feeds, membership->feed)->action;
    return action == BL_ACTION_ALLOW;
}

/* Whether something may be blocked, or must be counted, after `old` became `new` that was not so
 * before. Either may be NULL: nothing was, or is, said. */
static bool can_newly_block(const struct bl_list *list, const struct bl_membership *old,
                            const struct bl_membership *new)
{
    bool was_allow = old != NULL && is_allow(list, old);
    if (new == NULL) {
        return was_allow;
    }
    bool same_validity =
        old != NULL && old->from_hour == new->from_hour && old->until_hour == new->until_hour;
    if (is_allow(list, new)) {
        bool narrower = was_allow && old->scope == BL_SCOPE_SUFFIX && new->scope == BL_SCOPE_EXACT;
        return narrower || (was_allow && !same_validity);
    }
    bool wider = old != NULL && old->scope == BL_SCOPE_EXACT && new->scope == BL_SCOPE_SUFFIX;
    return old == NULL || wider || !same_validity || old->action != new->action;
}

int bl_list_feed_set(struct bl_list *list, const struct bl_feed *feed)
{
    const struct bl_feed *old;
    int id = bl_feeds_set(list->feeds, feed, &old);
    if (id >= 0 && old != NULL && bl_feeds_entries(list->feeds, (uint16_t)id) > 0 &&
        (old->action != feed->action || old->tier != feed->tier ||
         old->priority != feed->priority)) {
        list->newly_blocks = true;
    }
    return id;
}

struct removal {
    struct bl_list *list;
    uint16_t feed;
    int error;
};

/* The context that a name has without the feed. */
static const struct bl_context *without_feed(void *context, const struct bl_context *now)
{
    struct removal *removal = context;
    struct bl_list *list = removal->list;
    const struct bl_membership *old = bl_context_find(now, removal->feed);
    if (old == NULL || removal->error < 0) {
        return now;
    }
    struct bl_membership left[BL_MEMBERSHIPS_MAX];
    uint32_t count = bl_context_without(now, removal->feed, left);
    const struct bl_context *next = NULL;
    if (count > 0) {
        next = bl_contexts_acquire(list->contexts, left, count);
        if (next == NULL) {
            removal->error = -ENOMEM;
            return now;
        }
    }
    list->newly_blocks |= can_newly_block(list, old, NULL);
    bl_contexts_release(list->contexts, now);
    bl_feeds_count(list->feeds, removal->feed, -1);
    return next;
}

int bl_list_feed_remove(struct bl_list *list, uint16_t id)
{
    if (!bl_feeds_in_use(list->feeds, id)) {
        return -ENOENT;
    }
    if (bl_feeds_entries(list->feeds, id) > 0) {
        struct removal removal = {list, id, 0};
        bl_index_edit(list->index, without_feed, &removal);
        if (removal.error < 0) {
            return removal.error;
        }
    }
    bl_feeds_remove(list->feeds, id);
    return 0;
}

int bl_list_feed_find(const struct bl_list *list, const char *name)
{
    return bl_feeds_find(list->feeds, name);
}

void bl_list_feeds(const struct bl_list *list,
                   void (*call)(void *context, const struct bl_feed *feed), void *context)
{
    bl_feeds_each(list->feeds, call, context);
}

int bl_list_word(struct bl_list *list, const char *text, size_t size)
{
    return bl_words_intern(list->words, text, size);
}

static bool is_name(const uint8_t *name, size_t size)
{
    return bl_name_check(name, size) == (int)size;
}

int bl_list_add(struct bl_list *list, const uint8_t *name, size_t size,
                const struct bl_membership *membership)
{
    assert(is_name(name, size) && bl_feeds_in_use(list->feeds, membership->feed));
    assert(membership->scope <= BL_SCOPE_EXACT && membership->action <= BL_ACTION_ALLOW);

    uint64_t hash = bl_index_hash(list->index, name, size);
    struct bl_record *record = bl_index_seek(list->index, hash, name, size);
    const struct bl_context *now = record != NULL ? bl_record_context(record) : NULL;
    const struct bl_membership *old = now != NULL ? bl_context_find(now, membership->feed) : NULL;
    if (old != NULL && memcmp(old, membership, sizeof(*old)) == 0) {
        return 0;
    }

    struct bl_membership set[BL_MEMBERSHIPS_MAX];
    int count = bl_context_with(now, membership, set);
    if (count < 0) {
        return count;
    }
    const struct bl_context *next = bl_contexts_acquire(list->contexts, set, (uint32_t)count);
    if (next == NULL) {
        return -ENOMEM;
    }
    if (record != NULL) {
        bl_record_exchange(record, next);
        bl_contexts_release(list->contexts, now);
    } else {
        int r = bl_index_insert(list->index, hash, name, size, next);
        if (r < 0) {
            bl_contexts_release(list->contexts, next);
            return r;
        }
    }
    list->newly_blocks |= can_newly_block(list, old, membership);
    bl_feeds_count(list->feeds, membership->feed, old == NULL ? 1 : 0);
    return 1;
}

int bl_list_remove(struct bl_list *list, uint16_t feed, const uint8_t *name, size_t size)
{
    uint64_t hash = bl_index_hash(list->index, name, size);
    struct bl_record *record = bl_index_seek(list->index, hash, name, size);
    const struct bl_context *now = record != NULL ? bl_record_context(record) : NULL;
    const struct bl_membership *old = now != NULL ? bl_context_find(now, feed) : NULL;
    if (old == NULL) {
        return 0;
    }
    struct removal removal = {list, feed, 0};
    const struct bl_context *next = without_feed(&removal, now);
    if (removal.error < 0) {
        return removal.error;
    }
    if (next == NULL) {
        bl_index_erase(list->index, hash, record);
    } else {
        bl_record_exchange(record, next);
    }
    return 1;
}

bool bl_list_get(const struct bl_list *list, uint16_t feed, const uint8_t *name, size_t size,
                 struct bl_membership *ret_membership)
{
    uint64_t hash = bl_index_hash(list->index, name, size);
    const struct bl_record *record = bl_index_seek(list->index, hash, name, size);
    const struct bl_membership *membership =
        record != NULL ? bl_context_find(bl_record_context(record), feed) : NULL;
    if (membership == NULL) {
        return false;
    }
    *ret_membership = *membership;
    return true;
}

struct walk {
    uint16_t feed;
    bool (*call)(void *context, const uint8_t *name, size_t size,
                 const struct bl_membership *membership);
    void *context;
};

static bool walk_name(void *context, const uint8_t *name, size_t size, const struct bl_context *now)
{
    const struct walk *walk = context;
    const struct bl_membership *membership = bl_context_find(now, walk->feed);
    return membership == NULL || walk->call(walk->context, name, size, membership);
}

void bl_list_walk(const struct bl_list *list, uint16_t feed,
                  bool (*call)(void *context, const uint8_t *name, size_t size,
                               const struct bl_membership *membership),
                  void *context)
{
    struct walk walk = {feed, call, context};
    if (bl_feeds_entries(list->feeds, feed) > 0) {
        bl_index_walk(list->index, walk_name, &walk);
    }
}

void bl_list_publish(struct bl_list *list)
{
    if (list->newly_blocks) {
        list->newly_blocks = false;
        uint64_t version = atomic_load_explicit(&list->version, memory_order_relaxed);
        atomic_store_explicit(&list->version, version + 1, memory_order_release);
    }
    if (bl_index_retired(list->index) || bl_contexts_retired(list->contexts) ||
        bl_feeds_retired(list->feeds)) {
        bl_rcu_wait();
        bl_index_reclaim(list->index);
        bl_contexts_reclaim(list->contexts);
        bl_feeds_reclaim(list->feeds);
    }
}
