#include "blocklist/follow.h"

#include "blocklist/replay.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define IMAGE_QUIET_MS 30000u /* without a break: the pause starts afresh */

const char *bl_image_reason_label(enum bl_image_reason reason)
{
    static const char *const labels[BL_IMAGE_REASON_COUNT] = {
        [BL_IMAGE_INITIAL] = "initial",     [BL_IMAGE_LINEAGE] = "lineage",
        [BL_IMAGE_REVISION] = "revision",   [BL_IMAGE_DIGEST] = "digest",
        [BL_IMAGE_MALFORMED] = "malformed", [BL_IMAGE_GAP] = "gap",
        [BL_IMAGE_KIND] = "feed_kind",      [BL_IMAGE_REQUESTED] = "requested",
        [BL_IMAGE_MEMORY] = "memory",
    };
    assert(reason < BL_IMAGE_REASON_COUNT);
    return labels[reason];
}

void bl_follow_complain(struct bl_follow *follow, const char *what, const char *text)
{
    char *error = follow->status.error;
    (void)snprintf(error, BL_REDIS_ERROR_SIZE, "%s%s", what, text);
    for (size_t i = 0; error[i] != '\0'; i++) {
        if (error[i] < ' ' || error[i] > '~') {
            error[i] = '?';
        }
    }
}

void bl_follow_set_phase(struct bl_follow *follow, enum bl_follow_phase phase)
{
    static const enum bl_redis_state states[] = {
        [BL_FOLLOW_CLOSED] = BL_REDIS_CLOSED,    [BL_FOLLOW_GREETING] = BL_REDIS_GREETING,
        [BL_FOLLOW_IMAGE_BASE] = BL_REDIS_IMAGE, [BL_FOLLOW_IMAGE_READ] = BL_REDIS_IMAGE,
        [BL_FOLLOW_IMAGE_LOG] = BL_REDIS_IMAGE,  [BL_FOLLOW_IMAGE_END] = BL_REDIS_IMAGE,
        [BL_FOLLOW_LOG] = BL_REDIS_FOLLOWING,    [BL_FOLLOW_EMPTY] = BL_REDIS_EMPTY,
    };
    follow->phase = phase;
    follow->status.state = states[phase];
    if (phase == BL_FOLLOW_LOG && !follow->beat_trouble) {
        follow->status.error[0] = '\0';
    }
    if (phase == BL_FOLLOW_LOG || phase == BL_FOLLOW_EMPTY) {
        follow->status.settled = true;
    }
}

static void drop_image(struct bl_follow *follow)
{
    bl_image_free(follow->image);
    follow->image = NULL;
}

static void want_image(struct bl_follow *follow, enum bl_image_reason reason, uint64_t now_ms)
{
    drop_image(follow);
    follow->image_wanted = true;
    follow->status.image_reason = reason;
    follow->image_at = now_ms;
    follow->ahead = 0;
    bl_follow_set_phase(follow, BL_FOLLOW_IMAGE_BASE);
}

/* The chain broke. A writer that goes on breaking it must not have us read images all day. */
static void want_image_after_break(struct bl_follow *follow, enum bl_image_reason reason,
                                   uint64_t now_ms)
{
    bool afresh = follow->broken_at == 0 || now_ms - follow->broken_at > IMAGE_QUIET_MS;
    uint64_t pause = afresh ? 0 : follow->image_pause_ms;
    follow->image_pause_ms = pause == 0 ? BL_REDIS_IMAGE_PAUSE_MS : 2 * pause;
    if (follow->image_pause_ms > BL_REDIS_IMAGE_PAUSE_MAX_MS) {
        follow->image_pause_ms = BL_REDIS_IMAGE_PAUSE_MAX_MS;
    }
    follow->broken_at = now_ms > 0 ? now_ms : 1;
    want_image(follow, reason, now_ms);
    follow->image_at = now_ms + pause;
}

void bl_follow_want_image(struct bl_follow *follow)
{
    follow->image_wanted = true;
    follow->status.image_reason = BL_IMAGE_REQUESTED;
    if (follow->phase == BL_FOLLOW_LOG) {
        follow->image_at = 0;
        bl_follow_set_phase(follow,
                            BL_FOLLOW_IMAGE_BASE); /* taken up when what was asked is answered */
    }
}

static enum bl_image_reason reason_of(enum bl_break broken)
{
    switch (broken) {
    case BL_BREAK_LINEAGE:
        return BL_IMAGE_LINEAGE;
    case BL_BREAK_REVISION:
        return BL_IMAGE_REVISION;
    case BL_BREAK_DIGEST:
        return BL_IMAGE_DIGEST;
    case BL_BREAK_NONE:
    case BL_BREAK_MALFORMED:
        break;
    }
    return BL_IMAGE_MALFORMED;
}

/* The id of an entry, or zeros. */
static struct bl_log_id id_of(const struct bl_reply *entry)
{
    struct bl_log_id id = {0, 0};
    if (entry->type == BL_REPLY_ARRAY && entry->size > 0 &&
        entry->elements[0]->type == BL_REPLY_STRING) {
        (void)bl_log_id_read(entry->elements[0]->text, entry->elements[0]->size, &id);
    }
    return id;
}

/* An entry that does not follow. An image tells what holds; meta is read for it after this reply
 * was made, so that it knows of all entries here, and none of them is read again. */
static void pass_over(struct bl_follow *follow, const struct bl_reply *entries,
                      enum bl_break broken, uint64_t now_ms)
{
    struct bl_log_id last = id_of(entries->elements[entries->size - 1]);
    if (bl_log_id_compare(last, follow->passed) > 0) {
        follow->passed = last;
    }
    want_image_after_break(follow, reason_of(broken), now_ms);
}

void bl_follow_take_last(struct bl_follow *follow, const struct bl_reply *reply)
{
    if (reply->type == BL_REPLY_ARRAY && reply->size == 1) {
        follow->passed = id_of(reply->elements[0]);
    }
}

/* Where the list stands in Redis, against ours: what now? */
static void decide(struct bl_follow *follow, const struct bl_position *meta, uint64_t now_ms)
{
    struct bl_position *ours = &follow->status.position;
    follow->ahead = 0;
    if (meta == NULL) {
        bl_follow_set_phase(follow, BL_FOLLOW_EMPTY);
        bl_follow_complain(follow, "Redis holds no list",
                           ours->lineage[0] != '\0' ? "; ours is kept" : "");
    } else if (ours->lineage[0] == '\0') {
        want_image(follow, BL_IMAGE_INITIAL, now_ms);
    } else if (follow->image_wanted) {
        want_image(follow, follow->status.image_reason, now_ms);
    } else if (strcmp(meta->lineage, ours->lineage) != 0) {
        want_image(follow, BL_IMAGE_LINEAGE, now_ms);
    } else if (meta->revision < ours->revision) {
        want_image(follow, BL_IMAGE_REVISION, now_ms);
    } else if (meta->revision == ours->revision && strcmp(meta->digest, ours->digest) != 0) {
        want_image(follow, BL_IMAGE_DIGEST, now_ms);
    } else {
        follow->ahead = meta->revision;
        bl_follow_set_phase(follow, BL_FOLLOW_LOG);
    }
}

static int apply_image(struct bl_follow *follow)
{
    int r = bl_stage_apply(bl_image_stage(follow->image), follow->list, follow->guards,
                           &follow->status.refusals);
    drop_image(follow);
    if (r < 0) {
        bl_follow_complain(follow, "a full image: ", strerror(-r));
        follow->status.image_reason = BL_IMAGE_MEMORY;
        return r;
    }
    follow->status.position = follow->staged;
    follow->status.images[follow->status.image_reason]++;
    follow->image_wanted = false;
    follow->ahead = 0;
    follow->news = true;
    bl_follow_set_phase(follow, BL_FOLLOW_LOG);
    return 0;
}

/* The image is read up to the end: it holds what stands in Redis by now, once the log is replayed
 * up to here. Another list, or one that went back, was read in part only. */
static int take_meta_at_end(struct bl_follow *follow, const struct bl_position *meta,
                            uint64_t now_ms)
{
    if (strcmp(meta->lineage, follow->staged.lineage) != 0) {
        want_image_after_break(follow, BL_IMAGE_LINEAGE, now_ms);
    } else if (meta->revision < follow->staged.revision) {
        want_image_after_break(follow, BL_IMAGE_REVISION, now_ms);
    } else if (meta->revision > follow->staged.revision) {
        follow->ahead = meta->revision;
        bl_follow_set_phase(follow, BL_FOLLOW_IMAGE_LOG);
    } else if (strcmp(meta->digest, follow->staged.digest) != 0) {
        want_image_after_break(follow, BL_IMAGE_DIGEST, now_ms);
    } else {
        return apply_image(follow);
    }
    return 0;
}

int bl_follow_take_meta(struct bl_follow *follow, const struct bl_reply *reply, uint64_t now_ms)
{
    struct bl_position meta;
    int r = bl_position_read(reply, &meta);
    if (r < 0) {
        bl_follow_complain(follow, "the list in Redis: ",
                           r == -EINVAL ? "meta is malformed" : "its schema is not 1");
        return r == -EINVAL ? -EPROTO : r;
    }
    const struct bl_position *found = r == 1 ? &meta : NULL;
    if (follow->phase == BL_FOLLOW_IMAGE_BASE && found != NULL) {
        follow->staged = meta;
        if (bl_log_id_compare(follow->passed, meta.id) > 0) {
            follow->staged.id = follow->passed;
        }
        follow->image = bl_image_new(&follow->secret, follow->prefix);
        if (follow->image == NULL) {
            return -ENOMEM;
        }
        bl_follow_set_phase(follow, BL_FOLLOW_IMAGE_READ);
        return 0;
    }
    if (follow->phase == BL_FOLLOW_IMAGE_END && found != NULL) {
        return take_meta_at_end(follow, found, now_ms);
    }
    if (follow->phase == BL_FOLLOW_IMAGE_READ || follow->phase == BL_FOLLOW_IMAGE_LOG) {
        return 0; /* asked with a sign of life, before the image was wanted */
    }
    drop_image(follow);
    decide(follow, found, now_ms);
    return 0;
}

/* The entries of an XREAD's reply; NULL if there are none. -EPROTO for another form. */
static int entries_of(const struct bl_reply *reply, const struct bl_reply **ret_entries)
{
    *ret_entries = NULL;
    if (reply->type == BL_REPLY_NIL || (reply->type == BL_REPLY_ARRAY && reply->size == 0)) {
        return 0;
    }
    if (reply->type != BL_REPLY_ARRAY || reply->size != 1) {
        return -EPROTO;
    }
    const struct bl_reply *stream = reply->elements[0];
    if (stream->type != BL_REPLY_ARRAY || stream->size != 2 ||
        stream->elements[1]->type != BL_REPLY_ARRAY) {
        return -EPROTO;
    }
    *ret_entries = stream->elements[1];
    return 0;
}

/* The log does not give what meta promised. */
static void miss(struct bl_follow *follow, uint64_t now_ms)
{
    follow->passed = (struct bl_log_id){0, 0}; /* it may be of another, later stream */
    want_image_after_break(follow, BL_IMAGE_GAP, now_ms);
}

static int take_log_image(struct bl_follow *follow, const struct bl_reply *entries, uint64_t now_ms)
{
    if (entries == NULL) {
        miss(follow, now_ms);
        return 0;
    }
    for (size_t i = 0; i < entries->size; i++) {
        struct bl_log_entry entry;
        enum bl_break broken = bl_log_entry_read(entries->elements[i], &follow->staged, &entry);
        if (broken != BL_BREAK_NONE) {
            pass_over(follow, entries, broken, now_ms);
            return 0;
        }
        int r = bl_replay_to_stage(&entry, bl_image_stage(follow->image), &follow->status.refusals);
        if (r < 0) {
            return r;
        }
        follow->staged = entry.after;
    }
    return follow->staged.revision < follow->ahead ? 0 : apply_image(follow);
}

static int take_log_follow(struct bl_follow *follow, const struct bl_reply *entries,
                           uint64_t now_ms)
{
    struct bl_position *position = &follow->status.position;
    if (entries == NULL) {
        if (follow->ahead > position->revision) {
            miss(follow, now_ms);
        }
        return 0;
    }
    int r = 0;
    size_t i;
    for (i = 0; i < entries->size && r == 0 && follow->phase == BL_FOLLOW_LOG; i++) {
        struct bl_log_entry entry;
        enum bl_break broken = bl_log_entry_read(entries->elements[i], position, &entry);
        if (broken != BL_BREAK_NONE) {
            pass_over(follow, entries, broken, now_ms);
            break;
        }
        r = bl_replay_to_list(&entry, follow->list, follow->guards, &follow->status.refusals);
        if (r == -ESTALE) {
            want_image(follow, BL_IMAGE_KIND, now_ms);
            r = 0;
        } else if (r == 0) {
            *position = entry.after;
            follow->status.changes++;
        } else {
            follow->image_wanted = true;
            follow->status.image_reason = BL_IMAGE_MEMORY;
        }
    }
    bl_list_publish(follow->list);
    follow->news = true;
    return r;
}

/* Redis holds no list: entries without one are foreign, but news that there may be one now. */
static void take_log_empty(struct bl_follow *follow, const struct bl_reply *entries)
{
    follow->log_read = true;
    if (entries != NULL && entries->size > 0) {
        struct bl_log_id id = id_of(entries->elements[entries->size - 1]);
        if (bl_log_id_compare(id, follow->seen) > 0) {
            follow->seen = id;
        }
    }
}

int bl_follow_take_log(struct bl_follow *follow, const struct bl_reply *reply, uint64_t now_ms)
{
    const struct bl_reply *entries;
    int r = entries_of(reply, &entries);
    if (r < 0) {
        bl_follow_complain(follow, "Redis: ", "the log is not of its form");
        return r;
    }
    switch (follow->phase) {
    case BL_FOLLOW_IMAGE_LOG:
        return take_log_image(follow, entries, now_ms);
    case BL_FOLLOW_LOG:
        return take_log_follow(follow, entries, now_ms);
    case BL_FOLLOW_EMPTY:
        take_log_empty(follow, entries);
        return 0;
    default:
        return 0; /* an image was wanted meanwhile; it reads what this told */
    }
}

int bl_follow_take_image(struct bl_follow *follow, const struct bl_reply *reply)
{
    assert(follow->phase == BL_FOLLOW_IMAGE_READ);
    int r = bl_image_take(follow->image, reply, &follow->status.refusals);
    if (r < 0) {
        bl_follow_complain(
            follow, "a full image: ", r == -EPROTO ? "a reply is not of its form" : strerror(-r));
    }
    return r;
}

void bl_follow_close(struct bl_follow *follow)
{
    drop_image(follow);
    follow->log_read = false;
    follow->ahead = 0;
    bl_follow_set_phase(follow, BL_FOLLOW_CLOSED);
}
