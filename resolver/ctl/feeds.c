/* feed list: from Redis where it is configured, so that it works while the daemon is down. */
#include "resolver/ctl/ask.h"
#include "resolver/ctl/change.h"
#include "resolver/ctl/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static json_t *document_of_feed(const char *name, const struct ctl_feed *feed)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:s, s:s, s:I, s:I}", "name", name,
                     "kind", feed->kind, "tier", feed->tier, "action", feed->action, "priority",
                     (json_int_t)atol(feed->priority), "category", feed->category, "label",
                     feed->label, "entries", (json_int_t)feed->count, "source", "redis", "state",
                     feed->importing ? "importing" : "open", "updated", (json_int_t)feed->updated_s,
                     "shards", (json_int_t)feed->shards);
}

/* Reads the properties of each feed that SMEMBERS named, in order of names. One that is not of the
 * protocol's form is listed as such and spoils nothing. */
static int read_feeds(struct ctl_redis *redis, const char **names, size_t count, json_t *feeds,
                      char error[static CTL_ERROR_SIZE])
{
    int r = 0;

    for (size_t i = 0; i < count && r == 0; i++) {
        char key[CTL_REDIS_KEY_SIZE_MAX];
        ctl_redis_key(redis, key, "feed:%s", names[i]);
        const char *words[] = {"HGETALL", key};
        r = ctl_redis_queue(redis, 2, words, NULL);
    }
    for (size_t i = 0; i < count && r == 0; i++) {
        redisReply *reply = NULL;
        struct ctl_feed feed = {0};
        r = ctl_redis_reply(redis, &reply, error);
        if (r < 0) {
            break;
        }
        int parsed = ctl_feed_parse(reply, &feed);
        freeReplyObject(reply);
        json_t *document = parsed == 0 ? document_of_feed(names[i], &feed) : NULL;
        if (document == NULL) {
            document = json_pack("{s:s, s:s, s:s}", "name", names[i], "source", "redis", "state",
                                 "malformed");
        }
        r = json_array_append_new(feeds, document) < 0 ? -ENOMEM : 0;
    }
    return r;
}

static int list_redis(struct ctl_redis *redis, json_t *feeds, char error[static CTL_ERROR_SIZE])
{
    char key[CTL_REDIS_KEY_SIZE_MAX];
    redisReply *reply = NULL;
    const char **names = NULL;
    size_t count = 0;

    ctl_redis_key(redis, key, "feeds");
    int r = ctl_redis_ask(redis, &reply, error, "SMEMBERS", key, NULL);
    if (r < 0) {
        return r;
    }
    names = calloc(reply->elements + 1, sizeof(names[0]));
    if (names == NULL) {
        r = -ENOMEM;
    }
    for (size_t i = 0; r == 0 && reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        const redisReply *name = reply->element[i];
        if (name->type == REDIS_REPLY_STRING && bl_feed_name_valid(name->str, strlen(name->str))) {
            names[count++] = name->str;
        }
    }
    if (r == 0) {
        qsort(names, count, sizeof(names[0]), compare_names);
        r = read_feeds(redis, names, count, feeds, error);
    }
    free(names);
    freeReplyObject(reply);
    return r;
}

static int from_redis(struct ctl *ctl, const struct config *config, json_t **ret_document)
{
    char error[CTL_ERROR_SIZE] = "out of memory";
    struct ctl_redis *redis = NULL;
    json_t *feeds = json_array();

    int r = ctl_redis_open(&config->redis, false, &redis, error);
    if (r == 0) {
        r = list_redis(redis, feeds, error);
    }
    ctl_redis_close(redis);
    if (r < 0) {
        json_decref(feeds);
        return ctl_fail(ctl, CTL_FAILED, "%s", error);
    }
    *ret_document = json_pack("{s:o}", "feeds", feeds);
    return CTL_DONE;
}

static void print_feeds(const json_t *feeds)
{
    static const char *const headings[] = {"FEED",      "KIND",     "TIER",  "ACTION",
                                           ">PRIORITY", "CATEGORY", "LABEL", ">ENTRIES",
                                           "SOURCE",    "STATE",    NULL};
    static const char *const keys[] = {"name",     "kind",  "tier",    "action", "priority",
                                       "category", "label", "entries", "source", "state"};
    struct ctl_table *table = ctl_table_new(headings);

    for (size_t i = 0; i < json_array_size(feeds); i++) {
        const json_t *feed = json_array_get(feeds, i);
        const char *cells[sizeof(keys) / sizeof(keys[0])];
        char numbers[sizeof(keys) / sizeof(keys[0])][32];
        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
            cells[k] = ctl_json_scalar(json_object_get(feed, keys[k]), numbers[k]);
        }
        if (table != NULL) {
            ctl_table_add(table, cells);
        }
    }
    if (table == NULL || ctl_table_print(table, stdout) < 0) {
        fputs("(out of memory: the table is incomplete)\n", stderr);
    }
    ctl_table_free(table);
}

int ctl_run_feed_list(struct ctl *ctl)
{
    const struct config *config = NULL;
    json_t *document = NULL;

    int status = ctl_config(ctl, &config);
    if (status == CTL_DONE) {
        status = config->redis.set ? from_redis(ctl, config, &document)
                                   : ctl_ask_get(ctl, "/api/v1/feeds", &document);
    }
    if (status != CTL_DONE) {
        return status;
    }
    if (ctl->json) {
        return ctl_print_json(ctl, CTL_DONE, document);
    }
    const json_t *feeds = json_object_get(document, "feeds");
    if (ctl_wants_text(ctl) && json_array_size(feeds) == 0) {
        puts("no feeds");
    } else if (ctl_wants_text(ctl)) {
        print_feeds(feeds);
    }
    json_decref(document);
    return CTL_DONE;
}
