#include "blocklist/context.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKETS_MIN 64u /* a power of two, as every number of buckets */

/* Contexts are compared and hashed as octets, so a membership must have none between its fields. */
static_assert(sizeof(struct bl_membership) == 24, "a membership has no padding");
static_assert(sizeof(struct bl_context) == 4, "memberships follow their count at once");

/* The context itself follows its node. Readers see contexts only, never nodes. */
struct node {
    struct node *next; /* in the bucket, or among the retired */
    uint64_t hash;
    uint64_t references; /* names that have this context */
};

struct bl_contexts {
    struct bl_secret secret;
    struct node **buckets;
    size_t bucket_count;
    size_t count;
    struct node *retired;
    _Atomic uint64_t octets;
};

static struct bl_context *context_of(struct node *node)
{
    return (struct bl_context *)(void *)(node + 1);
}

static struct node *node_of(const struct bl_context *context)
{
    return (struct node *)(uintptr_t)context - 1;
}

static size_t node_size(uint32_t count)
{
    return sizeof(struct node) + sizeof(struct bl_context) + count * sizeof(struct bl_membership);
}

static void count_octets(struct bl_contexts *contexts, size_t more, size_t less)
{
    uint64_t octets = atomic_load_explicit(&contexts->octets, memory_order_relaxed);
    atomic_store_explicit(&contexts->octets, octets + more - less, memory_order_relaxed);
}

struct bl_contexts *bl_contexts_new(const struct bl_secret *secret)
{
    struct bl_contexts *contexts = calloc(1, sizeof(*contexts));
    if (contexts == NULL) {
        return NULL;
    }
    contexts->secret = *secret;
    contexts->bucket_count = BUCKETS_MIN;
    contexts->buckets = calloc(BUCKETS_MIN, sizeof(contexts->buckets[0]));
    if (contexts->buckets == NULL) {
        free(contexts);
        return NULL;
    }
    count_octets(contexts, sizeof(*contexts) + BUCKETS_MIN * sizeof(contexts->buckets[0]), 0);
    return contexts;
}

static void free_nodes(struct node *node)
{
    while (node != NULL) {
        struct node *next = node->next;
        free(node);
        node = next;
    }
}

void bl_contexts_free(struct bl_contexts *contexts)
{
    if (contexts == NULL) {
        return;
    }
    for (size_t i = 0; i < contexts->bucket_count; i++) {
        free_nodes(contexts->buckets[i]);
    }
    free_nodes(contexts->retired);
    free(contexts->buckets);
    free(contexts);
}

static struct node **bucket_of(const struct bl_contexts *contexts, uint64_t hash)
{
    return &contexts->buckets[hash & (contexts->bucket_count - 1)];
}

/* Where memory is short the buckets stay as they are: slower, not wrong. */
static void grow(struct bl_contexts *contexts)
{
    size_t old_count = contexts->bucket_count;
    struct node **old = contexts->buckets;
    struct node **buckets = calloc(old_count * 2, sizeof(buckets[0]));
    if (buckets == NULL) {
        return;
    }
    contexts->buckets = buckets;
    contexts->bucket_count = old_count * 2;
    count_octets(contexts, old_count * sizeof(buckets[0]), 0);
    for (size_t i = 0; i < old_count; i++) {
        for (struct node *node = old[i]; node != NULL;) {
            struct node *next = node->next;
            struct node **bucket = bucket_of(contexts, node->hash);
            node->next = *bucket;
            *bucket = node;
            node = next;
        }
    }
    free(old);
}

const struct bl_context *bl_contexts_acquire(struct bl_contexts *contexts,
                                             const struct bl_membership *memberships,
                                             uint32_t count)
{
    assert(count >= 1 && count <= BL_MEMBERSHIPS_MAX);
    uint64_t hash =
        XXH3_64bits_withSecret(memberships, count * sizeof(memberships[0]), contexts->secret.octets,
                               sizeof(contexts->secret.octets));
    for (struct node *node = *bucket_of(contexts, hash); node != NULL; node = node->next) {
        const struct bl_context *context = context_of(node);
        if (node->hash == hash && context->count == count &&
            memcmp(context->memberships, memberships, count * sizeof(memberships[0])) == 0) {
            node->references++;
            return context;
        }
    }

    struct node *node = malloc(node_size(count));
    if (node == NULL) {
        return NULL;
    }
    node->hash = hash;
    node->references = 1;
    struct bl_context *context = context_of(node);
    context->count = count;
    memcpy(context->memberships, memberships, count * sizeof(memberships[0]));
    if (contexts->count >= contexts->bucket_count) {
        grow(contexts);
    }
    struct node **bucket = bucket_of(contexts, hash);
    node->next = *bucket;
    *bucket = node;
    contexts->count++;
    count_octets(contexts, node_size(count), 0);
    return context;
}

void bl_contexts_release(struct bl_contexts *contexts, const struct bl_context *context)
{
    struct node *node = node_of(context);
    assert(node->references > 0);
    if (--node->references > 0) {
        return;
    }
    struct node **link = bucket_of(contexts, node->hash);
    while (*link != node) {
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = contexts->retired;
    contexts->retired = node;
    contexts->count--;
}

bool bl_contexts_retired(const struct bl_contexts *contexts)
{
    return contexts->retired != NULL;
}

void bl_contexts_reclaim(struct bl_contexts *contexts)
{
    for (struct node *node = contexts->retired; node != NULL; node = node->next) {
        count_octets(contexts, 0, node_size(context_of(node)->count));
    }
    free_nodes(contexts->retired);
    contexts->retired = NULL;
}

uint64_t bl_contexts_octets(const struct bl_contexts *contexts)
{
    return atomic_load_explicit(&contexts->octets, memory_order_relaxed);
}

const struct bl_membership *bl_context_find(const struct bl_context *context, uint16_t feed)
{
    for (uint32_t i = 0; i < context->count; i++) {
        if (context->memberships[i].feed == feed) {
            return &context->memberships[i];
        }
    }
    return NULL;
}

int bl_context_with(const struct bl_context *context, const struct bl_membership *membership,
                    struct bl_membership ret_memberships[static BL_MEMBERSHIPS_MAX])
{
    uint32_t old_count = context != NULL ? context->count : 0;
    bool replaces = context != NULL && bl_context_find(context, membership->feed) != NULL;
    if (!replaces && old_count == BL_MEMBERSHIPS_MAX) {
        return -ENOSPC;
    }
    uint32_t at = 0;
    uint32_t count = 0;
    for (; at < old_count && context->memberships[at].feed < membership->feed; at++) {
        ret_memberships[count++] = context->memberships[at];
    }
    ret_memberships[count++] = *membership;
    for (at += replaces ? 1 : 0; at < old_count; at++) {
        ret_memberships[count++] = context->memberships[at];
    }
    return (int)count;
}

uint32_t bl_context_without(const struct bl_context *context, uint16_t feed,
                            struct bl_membership ret_memberships[static BL_MEMBERSHIPS_MAX])
{
    uint32_t count = 0;
    for (uint32_t at = 0; at < context->count; at++) {
        if (context->memberships[at].feed != feed) {
            ret_memberships[count++] = context->memberships[at];
        }
    }
    return count;
}
