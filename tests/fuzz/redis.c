/* What a server says, through the protocol engine: whatever it is, the engine stays whole, keeps to
 * its limits, lists nothing that the guards refuse, and says the same however the octets are cut.
 *
 * An input is `%`, a letter that says how far apart the cuts are, and then the server's octets. */
#include "blocklist/redis.h"

#include <stdlib.h>
#include <string.h>

#define NOW 1000000u
#define LIST_USES 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

struct outcome {
    int r;
    uint64_t names;
    uint64_t revision;
    uint64_t changes;
    enum bl_redis_state state;
};

struct walk {
    const struct bl_guards *guards;
    const struct bl_list *list;
};

static bool check_name(void *context, const uint8_t *name, size_t size,
                       const struct bl_membership *membership)
{
    const struct walk *walk = context;
    must(bl_name_check(name, size) == (int)size);
    enum bl_action action = (enum bl_action)membership->action;
    if (action == BL_ACTION_DEFAULT) {
        action = bl_list_feed(walk->list, membership->feed)->action;
    }
    must(action == BL_ACTION_ALLOW || bl_guard_check(walk->guards, name, size) == BL_GUARD_PASS);
    return true;
}

static void check_feed(void *context, const struct bl_feed *feed)
{
    struct walk *walk = context;
    must(bl_feed_name_valid(feed->name, strlen(feed->name)) && feed->redis);
    bl_list_walk(walk->list, feed->id, check_name, walk);
}

/* An empty list. Making one is dear, so it is used again; not for ever, since words stay. */
static struct bl_list *empty_list(void)
{
    static struct bl_list *list;
    static unsigned uses;
    if (uses++ % LIST_USES == 0) {
        struct bl_secret secret = {{0}}; /* fixed, so that a crash comes again */
        bl_list_free(list);
        list = bl_list_new(&secret);
        must(list != NULL);
    }
    for (uint16_t id = 0; id < BL_FEEDS_MAX; id++) {
        (void)bl_list_feed_remove(list, id);
    }
    bl_list_publish(list);
    must(bl_list_names(list) == 0);
    return list;
}

/* Hears the octets in pieces of `step`, answering nothing but taking what the engine asks. */
static struct outcome hear(const struct bl_guards *guards, const uint8_t *octets, size_t size,
                           size_t step)
{
    struct bl_redis *redis;
    struct bl_list *list = empty_list();
    struct bl_redis_options options = {
        .prefix = "{sh}",
        .username = "",
        .node = "n",
        .version = "1",
        .list = list,
        .guards = guards,
    };
    must(bl_redis_new(&options, &redis) == 0);
    must(bl_redis_open(redis, "", NOW) == 0);
    struct outcome outcome = {0};
    for (size_t at = 0; at < size && outcome.r == 0; at += step) {
        size_t piece = size - at < step ? size - at : step;
        size_t asked;
        outcome.r = bl_redis_read(redis, octets + at, piece, NOW);
        (void)bl_redis_take(redis, &asked);
        must(bl_redis_deadline(redis) != UINT64_MAX);
    }
    const struct bl_redis_status *status = bl_redis_status(redis);
    must(outcome.r == 0 || status->error[0] != '\0');
    outcome.names = bl_list_names(list);
    outcome.revision = status->position.revision;
    outcome.changes = status->changes;
    outcome.state = status->state;
    struct walk walk = {guards, list};
    bl_list_feeds(list, check_feed, &walk);
    bl_redis_close(redis);
    must(bl_redis_open(redis, "", NOW) == 0);
    bl_redis_free(redis);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bl_guards *guards;
    if (guards == NULL) {
        must(bl_guards_new(&guards) == 0);
    }
    if (size < 2 || data[0] != '%') {
        return 0;
    }
    struct outcome whole = hear(guards, data + 2, size - 2, size);
    struct outcome cut = hear(guards, data + 2, size - 2, 1 + data[1] % 64u);
    must(whole.r == cut.r && whole.names == cut.names && whole.revision == cut.revision);
    must(whole.changes == cut.changes && whole.state == cut.state);
    return 0;
}
