/* Commands go in batches, and the next batch goes when the last is answered; `expected` holds what
 * the replies are, oldest first. So there is one place that decides what to do next, proceed():
 *
 *   GREETING    AUTH, SELECT, HGETALL meta            -> LOG, IMAGE_BASE or EMPTY
 *   IMAGE_BASE  XREVRANGE, HGETALL meta: its start    -> IMAGE_READ
 *   IMAGE_READ  windows of bl_image_ask()             -> IMAGE_END
 *   IMAGE_END   HGETALL meta: what was reached by now -> applied: LOG, or IMAGE_LOG
 *   IMAGE_LOG   XREAD until that revision is replayed -> applied: LOG
 *   LOG         XREAD BLOCK                           -> LOG
 *   EMPTY       XREAD BLOCK, then HGETALL meta        -> as after GREETING
 *
 * and between any two of them, when it is due, a sign of life: TIME (with HGETALL meta where
 * nothing else would notice a flush), then HSET. */
#include "blocklist/redis.h"

#include "blocklist/follow.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 8u
#define KEY_SIZE_MAX (BL_PREFIX_SIZE_MAX + 8u)
#define EXPECTED_MAX (BL_IMAGE_WINDOW_MAX + 4u)
#define NEVER UINT64_MAX

enum expect {
    EXPECT_AUTH,
    EXPECT_SELECT,
    EXPECT_META,
    EXPECT_LAST,
    EXPECT_IMAGE,
    EXPECT_LOG,
    EXPECT_TIME,
    EXPECT_BEAT,
};

struct bl_redis {
    struct bl_redis_options options;
    struct bl_follow follow;

    struct bl_replies *replies; /* of this connection */
    struct bl_octets output;
    bool output_taken;
    enum expect expected[EXPECTED_MAX];
    unsigned expected_first;
    unsigned expected_count;
    uint64_t silent_at; /* without an octet until then, the connection is dead */

    uint64_t beat_at; /* the next sign of life */
    uint64_t beaten_at;
    int64_t time_ms; /* Redis' TIME, to be written; 0: none */
};

int bl_redis_new(const struct bl_redis_options *options, struct bl_redis **ret_redis)
{
    assert(strlen(options->prefix) < BL_PREFIX_SIZE_MAX);
    struct bl_redis *redis = calloc(1, sizeof(*redis));
    if (redis == NULL) {
        return -ENOMEM;
    }
    redis->options = *options;
    redis->options.prefix = strdup(options->prefix);
    redis->options.username = strdup(options->username);
    redis->options.node = strdup(options->node);
    redis->options.version = strdup(options->version);
    redis->follow.list = options->list;
    redis->follow.guards = options->guards;
    redis->follow.prefix = redis->options.prefix;
    int r = bl_secret_make(&redis->follow.secret);
    if (redis->options.prefix == NULL || redis->options.username == NULL ||
        redis->options.node == NULL || redis->options.version == NULL) {
        r = -ENOMEM;
    }
    if (r < 0) {
        bl_redis_free(redis);
        return r;
    }
    *ret_redis = redis;
    return 0;
}

void bl_redis_free(struct bl_redis *redis)
{
    if (redis != NULL) {
        bl_redis_close(redis);
        free((char *)redis->options.prefix);
        free((char *)redis->options.username);
        free((char *)redis->options.node);
        free((char *)redis->options.version);
        free(redis->output.octets);
        free(redis);
    }
}

const struct bl_redis_status *bl_redis_status(const struct bl_redis *redis)
{
    return &redis->follow.status;
}

/* ---- commands ---- */

static void expect(struct bl_redis *redis, enum expect what)
{
    assert(redis->expected_count < EXPECTED_MAX);
    redis->expected[(redis->expected_first + redis->expected_count) % EXPECTED_MAX] = what;
    redis->expected_count++;
}

/* What was taken has been sent. */
static void forget_taken(struct bl_redis *redis)
{
    if (redis->output_taken) {
        redis->output.size = 0;
        redis->output_taken = false;
    }
}

/* Appends a command of `count` words. */
static int send_words(struct bl_redis *redis, enum expect what, const char *const *words,
                      unsigned count)
{
    size_t sizes[WORDS_MAX];
    assert(count <= WORDS_MAX);
    for (unsigned i = 0; i < count; i++) {
        sizes[i] = strlen(words[i]);
    }
    int r = bl_command_append(&redis->output, (int)count, words, sizes);
    if (r == 0) {
        expect(redis, what);
    }
    return r;
}

#define SEND(redis, what, ...)                                                                     \
    send_words(redis, what, (const char *const[]){__VA_ARGS__},                                    \
               sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

struct key {
    char text[KEY_SIZE_MAX];
};

static struct key key_of(const struct bl_redis *redis, const char *rest)
{
    struct key key;
    (void)snprintf(key.text, sizeof(key.text), "%s:%s", redis->options.prefix, rest);
    return key;
}

static int ask_meta(struct bl_redis *redis)
{
    return SEND(redis, EXPECT_META, "HGETALL", key_of(redis, "meta").text);
}

/* Where an image starts: the log's last entry first, so that meta knows of all before it. */
static int ask_base(struct bl_redis *redis)
{
    int r =
        SEND(redis, EXPECT_LAST, "XREVRANGE", key_of(redis, "log").text, "+", "-", "COUNT", "1");
    return r == 0 ? ask_meta(redis) : r;
}

/* Reads the log after `id`; waits for news if `wait_ms` is not 0. */
static int ask_log(struct bl_redis *redis, struct bl_log_id id, uint64_t wait_ms)
{
    char from[BL_LOG_ID_TEXT_SIZE];
    char wait[24];
    char count[16];
    struct key log = key_of(redis, "log");
    bl_log_id_write(id, from);
    (void)snprintf(wait, sizeof(wait), "%" PRIu64, wait_ms);
    (void)snprintf(count, sizeof(count), "%u", BL_REDIS_LOG_ENTRIES_MAX);
    redis->silent_at += wait_ms;
    if (wait_ms == 0) {
        return SEND(redis, EXPECT_LOG, "XREAD", "COUNT", count, "STREAMS", log.text, from);
    }
    return SEND(redis, EXPECT_LOG, "XREAD", "COUNT", count, "BLOCK", wait, "STREAMS", log.text,
                from);
}

static int ask_time(struct bl_redis *redis, uint64_t now_ms)
{
    redis->beaten_at = now_ms;
    redis->beat_at = now_ms + BL_REDIS_BEAT_MS;
    int r = SEND(redis, EXPECT_TIME, "TIME");
    /* Elsewhere meta is read anyway. */
    return r == 0 && redis->follow.phase == BL_FOLLOW_LOG ? ask_meta(redis) : r;
}

static int send_beat(struct bl_redis *redis)
{
    static const char *const states[] = {
        [BL_REDIS_CLOSED] = "image",   [BL_REDIS_GREETING] = "image", [BL_REDIS_IMAGE] = "image",
        [BL_REDIS_FOLLOWING] = "live", [BL_REDIS_EMPTY] = "empty",
    };
    char value[256];
    const struct bl_position *position = &redis->follow.status.position;
    (void)snprintf(value, sizeof(value),
                   "revision=%" PRIu64 ";lineage=%s;version=%.64s;seen=%" PRId64 ";state=%s",
                   position->revision, position->lineage, redis->options.version, redis->time_ms,
                   states[redis->follow.status.state]);
    redis->time_ms = 0;
    return SEND(redis, EXPECT_BEAT, "HSET", key_of(redis, "nodes").text, redis->options.node,
                value);
}

/* ---- replies ---- */

static int take_time(struct bl_redis *redis, const struct bl_reply *reply)
{
    int64_t parts[2];
    if (reply->type != BL_REPLY_ARRAY || reply->size != 2) {
        return -EPROTO;
    }
    for (int i = 0; i < 2; i++) {
        const struct bl_reply *part = reply->elements[i];
        char *end = NULL;
        if (part->type != BL_REPLY_STRING || part->size == 0 || part->size > 12) {
            return -EPROTO;
        }
        parts[i] = strtoll(part->text, &end, 10);
        if (*end != '\0' || parts[i] < 0) {
            return -EPROTO;
        }
    }
    redis->time_ms = parts[0] * 1000 + parts[1] / 1000;
    return 0;
}

/* An error that keeps us from following is the connection's end; a sign of life is not worth it. */
static int take_error(struct bl_redis *redis, enum expect what, const struct bl_reply *reply)
{
    if (what == EXPECT_LAST) {
        return 0; /* it only spares us entries that do not count */
    }
    if (what == EXPECT_TIME || what == EXPECT_BEAT) {
        bl_follow_complain(&redis->follow, "no sign of life in Redis: ", reply->text);
        redis->follow.beat_trouble = true;
        return 0;
    }
    bl_follow_complain(&redis->follow, "Redis: ", reply->text);
    return -EIO;
}

static int take_reply(struct bl_redis *redis, const struct bl_reply *reply, uint64_t now_ms)
{
    if (redis->expected_count == 0) {
        bl_follow_complain(&redis->follow, "Redis: ", "a reply that nobody asked for");
        return -EPROTO;
    }
    enum expect what = redis->expected[redis->expected_first];
    redis->expected_first = (redis->expected_first + 1) % EXPECTED_MAX;
    redis->expected_count--;
    if (reply->type == BL_REPLY_ERROR) {
        return take_error(redis, what, reply);
    }
    int r = 0;
    switch (what) {
    case EXPECT_AUTH:
    case EXPECT_SELECT:
        break;
    case EXPECT_META:
        return bl_follow_take_meta(&redis->follow, reply, now_ms);
    case EXPECT_LAST:
        bl_follow_take_last(&redis->follow, reply);
        break;
    case EXPECT_IMAGE:
        return bl_follow_take_image(&redis->follow, reply);
    case EXPECT_LOG:
        return bl_follow_take_log(&redis->follow, reply, now_ms);
    case EXPECT_TIME:
        r = take_time(redis, reply);
        break;
    case EXPECT_BEAT:
        if (redis->follow.beat_trouble) {
            redis->follow.status.error[0] = '\0';
        }
        redis->follow.beat_trouble = false;
        break;
    }
    if (r < 0) {
        bl_follow_complain(&redis->follow,
                           "Redis: ", r == -EPROTO ? "a reply is not of its form" : strerror(-r));
    }
    return r;
}

/* ---- what next ---- */

static int proceed_image(struct bl_redis *redis, uint64_t now_ms)
{
    struct bl_follow *follow = &redis->follow;
    if (follow->phase == BL_FOLLOW_IMAGE_BASE) {
        return now_ms < follow->image_at ? 0 : ask_base(redis);
    }
    if (follow->phase == BL_FOLLOW_IMAGE_LOG) {
        return ask_log(redis, follow->staged.id, 0);
    }
    if (follow->phase == BL_FOLLOW_IMAGE_READ) {
        int count = bl_image_ask(follow->image, &redis->output);
        for (int i = 0; i < count; i++) {
            expect(redis, EXPECT_IMAGE);
        }
        if (count != 0) {
            return count < 0 ? count : 0;
        }
        bl_follow_set_phase(follow, BL_FOLLOW_IMAGE_END);
    }
    return ask_meta(redis);
}

/* Everything asked is answered. */
static int proceed(struct bl_redis *redis, uint64_t now_ms)
{
    struct bl_follow *follow = &redis->follow;
    assert(follow->phase != BL_FOLLOW_CLOSED && follow->phase != BL_FOLLOW_GREETING);
    redis->silent_at = now_ms + BL_REDIS_SILENCE_MS;
    if (redis->time_ms > 0) {
        return send_beat(redis);
    }
    if (now_ms >= redis->beat_at) {
        return ask_time(redis, now_ms);
    }
    if (follow->phase != BL_FOLLOW_LOG && follow->phase != BL_FOLLOW_EMPTY) {
        return proceed_image(redis, now_ms);
    }
    if (follow->phase == BL_FOLLOW_EMPTY && follow->log_read) {
        follow->log_read = false;
        return ask_meta(redis);
    }
    uint64_t wait_ms = redis->beat_at - now_ms;
    wait_ms = wait_ms < BL_REDIS_BLOCK_MS ? wait_ms : BL_REDIS_BLOCK_MS;
    bool empty = follow->phase == BL_FOLLOW_EMPTY;
    return ask_log(redis, empty ? follow->seen : follow->status.position.id, wait_ms);
}

int bl_redis_open(struct bl_redis *redis, const char *password, uint64_t now_ms)
{
    assert(redis->follow.phase == BL_FOLLOW_CLOSED);
    redis->replies = bl_replies_new();
    if (redis->replies == NULL) {
        return -ENOMEM;
    }
    redis->silent_at = now_ms + BL_REDIS_SILENCE_MS;
    redis->beat_at = now_ms;
    redis->follow.seen = (struct bl_log_id){0, 0};
    bl_follow_set_phase(&redis->follow, BL_FOLLOW_GREETING);
    int r = 0;
    if (password[0] != '\0' && redis->options.username[0] != '\0') {
        r = SEND(redis, EXPECT_AUTH, "AUTH", redis->options.username, password);
    } else if (password[0] != '\0') {
        r = SEND(redis, EXPECT_AUTH, "AUTH", password);
    }
    if (r == 0 && redis->options.database != 0) {
        char database[16];
        (void)snprintf(database, sizeof(database), "%" PRIu32, redis->options.database);
        r = SEND(redis, EXPECT_SELECT, "SELECT", database);
    }
    return r == 0 ? ask_meta(redis) : r;
}

/* A change is told soon, but many in a row are told together. */
static void hasten_beat(struct bl_redis *redis)
{
    uint64_t receipt_at = redis->beaten_at + BL_REDIS_RECEIPT_MS;
    if (receipt_at < redis->beat_at) {
        redis->beat_at = receipt_at;
    }
}

int bl_redis_read(struct bl_redis *redis, const uint8_t *octets, size_t size, uint64_t now_ms)
{
    assert(redis->follow.phase != BL_FOLLOW_CLOSED);
    forget_taken(redis);
    if (redis->silent_at < now_ms + BL_REDIS_SILENCE_MS) {
        redis->silent_at = now_ms + BL_REDIS_SILENCE_MS;
    }
    int r = bl_replies_feed(redis->replies, octets, size);
    const struct bl_reply *reply;
    while (r == 0) {
        r = bl_replies_next(redis->replies, &reply);
        if (r <= 0) {
            break;
        }
        r = take_reply(redis, reply, now_ms);
        if (redis->follow.news) {
            redis->follow.news = false;
            hasten_beat(redis);
        }
        if (r == 0 && redis->expected_count == 0) {
            r = proceed(redis, now_ms);
        }
    }
    if (r == -EMSGSIZE || (r < 0 && bl_replies_error(redis->replies)[0] != '\0')) {
        bl_follow_complain(&redis->follow, "Redis: ", bl_replies_error(redis->replies));
        r = -EPROTO;
    } else if (r == -ENOMEM) {
        bl_follow_complain(&redis->follow, "", "memory is short");
    }
    return r;
}

void bl_redis_want_image(struct bl_redis *redis)
{
    bl_follow_want_image(&redis->follow);
}

uint64_t bl_redis_deadline(const struct bl_redis *redis)
{
    if (redis->follow.phase == BL_FOLLOW_CLOSED) {
        return NEVER;
    }
    if (redis->expected_count > 0) {
        return redis->silent_at;
    }
    return redis->follow.image_at < redis->beat_at ? redis->follow.image_at : redis->beat_at;
}

int bl_redis_tick(struct bl_redis *redis, uint64_t now_ms)
{
    if (redis->follow.phase == BL_FOLLOW_CLOSED || now_ms < bl_redis_deadline(redis)) {
        return 0;
    }
    forget_taken(redis);
    if (redis->expected_count > 0) {
        bl_follow_complain(&redis->follow, "Redis: ", "it does not answer");
        return -ETIMEDOUT;
    }
    return proceed(redis, now_ms);
}

const char *bl_redis_take(struct bl_redis *redis, size_t *ret_size)
{
    forget_taken(redis);
    if (redis->output.size == 0) {
        return NULL;
    }
    redis->output_taken = true;
    *ret_size = redis->output.size;
    return redis->output.octets;
}

void bl_redis_close(struct bl_redis *redis)
{
    bl_replies_free(redis->replies);
    redis->replies = NULL;
    redis->output.size = 0;
    redis->output_taken = false;
    redis->expected_first = 0;
    redis->expected_count = 0;
    redis->time_ms = 0;
    bl_follow_close(&redis->follow);
}
