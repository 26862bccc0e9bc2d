#include "blocklist/replay.h"

#include <errno.h>
#include <string.h>

/* A line of a change: +name value, +name, -name. */
struct change {
    uint8_t name[BL_NAME_SIZE_MAX];
    size_t name_size;
    const char *value; /* NULL: removed */
    size_t value_size;
};

/* False, and counted, if the line is not a change. */
static bool read_change(const char *line, size_t size, struct change *ret_change,
                        struct bl_refusals *refusals)
{
    const char *space = size > 0 ? memchr(line, ' ', size) : NULL;
    size_t name_end = space != NULL ? (size_t)(space - line) : size;
    bool set = size > 0 && line[0] == '+';
    if (size == 0 || (!set && (line[0] != '-' || space != NULL))) {
        refusals->rejected[BL_REJECT_NAME]++;
        return false;
    }
    int name_size = bl_entry_name(line + 1, name_end - 1, ret_change->name);
    if (name_size < 0) {
        refusals->rejected[BL_REJECT_NAME]++;
        return false;
    }
    ret_change->name_size = (size_t)name_size;
    ret_change->value = !set ? NULL : space != NULL ? space + 1 : "";
    ret_change->value_size = set && space != NULL ? size - name_end - 1 : 0;
    if (ret_change->value_size > BL_VALUE_SIZE_MAX) {
        /* As if the feed did not list the name. */
        refusals->rejected[BL_REJECT_VALUE]++;
        ret_change->value = NULL;
        ret_change->value_size = 0;
    }
    return true;
}

/* The body of a feed's entry. False, and counted, if the feed must not be applied. */
static bool read_feed(const struct bl_log_entry *entry, struct bl_feed *ret_feed,
                      struct bl_refusals *refusals)
{
    struct bl_properties properties;
    bl_properties_init(&properties);
    struct bl_lines lines = bl_lines_of(entry->body, entry->body_size);
    const char *line;
    size_t size;
    while (bl_lines_next(&lines, &line, &size)) {
        const char *equals = size > 0 ? memchr(line, '=', size) : NULL;
        if (equals == NULL) {
            properties.refused = true;
            break;
        }
        size_t key_size = (size_t)(equals - line);
        bl_properties_read(&properties, line, key_size, equals + 1, size - key_size - 1);
    }
    if (!bl_properties_done(&properties)) {
        refusals->rejected[BL_REJECT_FEED]++;
        return false;
    }
    *ret_feed = properties.feed;
    (void)strncpy(ret_feed->name, entry->feed, sizeof(ret_feed->name) - 1);
    return true;
}

/* The feed's id if it is in the list and from Redis; else -ENOENT. */
static int redis_feed_find(const struct bl_list *list, const char *name)
{
    int id = bl_list_feed_find(list, name);
    return id >= 0 && bl_list_feed(list, (uint16_t)id)->redis ? id : -ENOENT;
}

static int set_feed(const struct bl_log_entry *entry, struct bl_list *list,
                    struct bl_refusals *refusals)
{
    int id = bl_list_feed_find(list, entry->feed);
    const struct bl_feed *old = id >= 0 ? bl_list_feed(list, (uint16_t)id) : NULL;
    if (old != NULL && !old->redis) {
        refusals->rejected[BL_REJECT_FEED_IN_USE]++;
        return 0;
    }
    struct bl_feed feed;
    if (!read_feed(entry, &feed, refusals)) {
        return old != NULL ? bl_list_feed_remove(list, (uint16_t)id) : 0;
    }
    if (old != NULL && (old->action == BL_ACTION_ALLOW) != (feed.action == BL_ACTION_ALLOW)) {
        return -ESTALE;
    }
    int r = bl_list_feed_set(list, &feed);
    if (r < 0 && r != -ENOMEM) {
        refusals->rejected[r == -ENOSPC ? BL_REJECT_FULL : BL_REJECT_FEED]++;
    }
    return r == -ENOMEM ? r : 0;
}

static int change_list(const struct bl_log_entry *entry, struct bl_list *list,
                       const struct bl_guards *guards, struct bl_refusals *refusals)
{
    int feed = redis_feed_find(list, entry->feed);
    struct bl_lines lines = bl_lines_of(entry->body, entry->body_size);
    const char *line;
    size_t size;
    while (bl_lines_next(&lines, &line, &size)) {
        struct change change;
        bool refused;
        if (!read_change(line, size, &change, refusals)) {
            continue;
        }
        if (feed < 0) {
            refusals->rejected[BL_REJECT_NO_FEED]++;
            continue;
        }
        int r = change.value == NULL
                    ? bl_list_remove(list, (uint16_t)feed, change.name, change.name_size)
                    : bl_entry_apply(list, guards, (uint16_t)feed, change.name, change.name_size,
                                     change.value, change.value_size, refusals, &refused);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int bl_replay_to_list(const struct bl_log_entry *entry, struct bl_list *list,
                      const struct bl_guards *guards, struct bl_refusals *refusals)
{
    int id;
    switch (entry->op) {
    case BL_OP_CHANGE:
        return change_list(entry, list, guards, refusals);
    case BL_OP_FEED:
        return set_feed(entry, list, refusals);
    case BL_OP_REMOVE:
        id = redis_feed_find(list, entry->feed);
        return id >= 0 ? bl_list_feed_remove(list, (uint16_t)id) : 0;
    case BL_OP_BEGIN:
    case BL_OP_END:
        break;
    }
    return 0;
}

static int change_stage(const struct bl_log_entry *entry, struct bl_stage *stage,
                        struct bl_refusals *refusals)
{
    int feed = bl_stage_feed_find(stage, entry->feed);
    struct bl_lines lines = bl_lines_of(entry->body, entry->body_size);
    const char *line;
    size_t size;
    int r = 0;
    while (r == 0 && bl_lines_next(&lines, &line, &size)) {
        struct change change;
        if (!read_change(line, size, &change, refusals)) {
            continue;
        }
        if (feed < 0) {
            refusals->rejected[BL_REJECT_NO_FEED]++;
            continue;
        }
        r = bl_stage_put(stage, feed, change.name, change.name_size, change.value,
                         change.value_size);
    }
    return r;
}

int bl_replay_to_stage(const struct bl_log_entry *entry, struct bl_stage *stage,
                       struct bl_refusals *refusals)
{
    struct bl_feed feed;
    int r = 0;
    switch (entry->op) {
    case BL_OP_CHANGE:
        return change_stage(entry, stage, refusals);
    case BL_OP_FEED:
        if (!read_feed(entry, &feed, refusals)) {
            bl_stage_feed_remove(stage, entry->feed);
            return 0;
        }
        r = bl_stage_feed_set(stage, &feed);
        if (r == -ENOSPC) {
            refusals->rejected[BL_REJECT_FULL]++;
        }
        return r == -ENOMEM ? r : 0;
    case BL_OP_REMOVE:
        bl_stage_feed_remove(stage, entry->feed);
        return 0;
    case BL_OP_BEGIN:
    case BL_OP_END:
        break;
    }
    return 0;
}
