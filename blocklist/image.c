#include "blocklist/image.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* prefix:f:name:hex */
#define KEY_SIZE_MAX (BL_PREFIX_SIZE_MAX + BL_FEED_NAME_SIZE_MAX + 16u)

/* What is read, in this order. */
enum part { NAMES, PROPERTIES, SHARDS, ALL };

struct feed {
    char name[BL_FEED_NAME_SIZE_MAX];
    uint32_t shards; /* 0: there is nothing to read, or nothing to apply */
    int staged;      /* its number in the stage */
};

/* A place in the order of reading: the next feed, and its next shard. */
struct cursor {
    size_t feed;
    uint32_t shard;
};

struct bl_image {
    char prefix[BL_PREFIX_SIZE_MAX];
    struct bl_stage *stage;
    struct feed *feeds;
    size_t feed_count;
    enum part part;
    struct cursor asked;
    struct cursor taken;
};

struct bl_image *bl_image_new(const struct bl_secret *secret, const char *prefix)
{
    assert(strlen(prefix) < BL_PREFIX_SIZE_MAX);
    struct bl_image *image = calloc(1, sizeof(*image));
    struct bl_stage *stage = bl_stage_new(secret);
    if (image == NULL || stage == NULL) {
        free(image);
        bl_stage_free(stage);
        return NULL;
    }
    image->stage = stage;
    memcpy(image->prefix, prefix, strlen(prefix) + 1);
    return image;
}

void bl_image_free(struct bl_image *image)
{
    if (image != NULL) {
        bl_stage_free(image->stage);
        free(image->feeds);
        free(image);
    }
}

struct bl_stage *bl_image_stage(struct bl_image *image)
{
    return image->stage;
}

static int ask(struct bl_octets *octets, const char *command, const char *key)
{
    const char *words[] = {command, key};
    size_t sizes[] = {strlen(command), strlen(key)};
    return bl_command_append(octets, 2, words, sizes);
}

/* Moves a cursor past feeds without shards. False at the end. */
static bool settle(const struct bl_image *image, struct cursor *cursor)
{
    while (cursor->feed < image->feed_count && cursor->shard == image->feeds[cursor->feed].shards) {
        cursor->feed++;
        cursor->shard = 0;
    }
    return cursor->feed < image->feed_count;
}

static int ask_properties(struct bl_image *image, struct bl_octets *octets)
{
    int count = 0;
    while (count < (int)BL_IMAGE_WINDOW_MAX && image->asked.feed < image->feed_count) {
        char key[KEY_SIZE_MAX];
        (void)snprintf(key, sizeof(key), "%s:feed:%s", image->prefix,
                       image->feeds[image->asked.feed].name);
        int r = ask(octets, "HGETALL", key);
        if (r != 0) {
            return r;
        }
        image->asked.feed++;
        count++;
    }
    return count;
}

static int ask_shards(struct bl_image *image, struct bl_octets *octets)
{
    int count = 0;
    while (count < (int)BL_IMAGE_WINDOW_MAX && settle(image, &image->asked)) {
        char key[KEY_SIZE_MAX];
        (void)snprintf(key, sizeof(key), "%s:f:%s:%x", image->prefix,
                       image->feeds[image->asked.feed].name, image->asked.shard);
        int r = ask(octets, "HGETALL", key);
        if (r != 0) {
            return r;
        }
        image->asked.shard++;
        count++;
    }
    return count;
}

int bl_image_ask(struct bl_image *image, struct bl_octets *octets)
{
    char key[KEY_SIZE_MAX];
    int count = 0;
    if (image->part == NAMES) {
        (void)snprintf(key, sizeof(key), "%s:feeds", image->prefix);
        int r = ask(octets, "SMEMBERS", key);
        return r == 0 ? 1 : r;
    }
    if (image->part == PROPERTIES) {
        count = ask_properties(image, octets);
        if (count != 0) {
            return count;
        }
        image->part = SHARDS;
        image->asked = image->taken = (struct cursor){0, 0};
    }
    if (image->part == SHARDS) {
        count = ask_shards(image, octets);
        if (count == 0) {
            image->part = ALL;
        }
    }
    return count;
}

static int take_names(struct bl_image *image, const struct bl_reply *reply,
                      struct bl_refusals *refusals)
{
    image->feeds = calloc(reply->size > 0 ? reply->size : 1, sizeof(*image->feeds));
    if (image->feeds == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < reply->size; i++) {
        const struct bl_reply *name = reply->elements[i];
        if (name->type != BL_REPLY_STRING || !bl_feed_name_valid(name->text, name->size)) {
            refusals->rejected[BL_REJECT_FEED]++;
        } else if (image->feed_count == BL_FEEDS_MAX) {
            refusals->rejected[BL_REJECT_FULL]++;
        } else {
            memcpy(image->feeds[image->feed_count++].name, name->text, name->size + 1);
        }
    }
    image->part = PROPERTIES;
    return 0;
}

static int take_properties(struct bl_image *image, const struct bl_reply *reply,
                           struct bl_refusals *refusals)
{
    struct feed *feed = &image->feeds[image->taken.feed++];
    if (reply->size == 0) {
        return 0; /* removed since its name was read: the log tells, too */
    }
    struct bl_properties properties;
    bl_properties_init(&properties);
    for (size_t i = 0; i + 1 < reply->size; i += 2) {
        const struct bl_reply *key = reply->elements[i];
        const struct bl_reply *value = reply->elements[i + 1];
        if (key->type != BL_REPLY_STRING || value->type != BL_REPLY_STRING) {
            return -EPROTO;
        }
        bl_properties_read(&properties, key->text, key->size, value->text, value->size);
    }
    if (!bl_properties_done(&properties)) {
        refusals->rejected[BL_REJECT_FEED]++;
        return 0;
    }
    memcpy(properties.feed.name, feed->name, sizeof(feed->name));
    int r = bl_stage_feed_set(image->stage, &properties.feed);
    if (r < 0) {
        return r == -ENOSPC ? 0 : r; /* names beyond BL_FEEDS_MAX were counted */
    }
    feed->staged = r;
    feed->shards = properties.shards;
    return 0;
}

static int take_shard(struct bl_image *image, const struct bl_reply *reply,
                      struct bl_refusals *refusals)
{
    bool expected = settle(image, &image->taken);
    assert(expected);
    const struct feed *feed = &image->feeds[image->taken.feed];
    image->taken.shard++;
    for (size_t i = 0; i + 1 < reply->size; i += 2) {
        const struct bl_reply *text = reply->elements[i];
        const struct bl_reply *value = reply->elements[i + 1];
        if (text->type != BL_REPLY_STRING || value->type != BL_REPLY_STRING) {
            return -EPROTO;
        }
        uint8_t name[BL_NAME_SIZE_MAX];
        int name_size = bl_entry_name(text->text, text->size, name);
        if (name_size < 0 || value->size > BL_VALUE_SIZE_MAX) {
            refusals->rejected[name_size < 0 ? BL_REJECT_NAME : BL_REJECT_VALUE]++;
            continue;
        }
        int r = bl_stage_put(image->stage, feed->staged, name, (size_t)name_size, value->text,
                             value->size);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int bl_image_take(struct bl_image *image, const struct bl_reply *reply,
                  struct bl_refusals *refusals)
{
    if (reply->type != BL_REPLY_ARRAY) {
        return -EPROTO;
    }
    switch (image->part) {
    case NAMES:
        return take_names(image, reply, refusals);
    case PROPERTIES:
        return take_properties(image, reply, refusals);
    case SHARDS:
        return take_shard(image, reply, refusals);
    case ALL:
        break;
    }
    return -EPROTO;
}
