#include "resolver/api_calls.h"

#include "blocklist/rcu.h"

#include <time.h>
#include <unistd.h>

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static uint64_t sum(const struct api *api, enum metric metric)
{
    return metrics_sum(api->parts.metrics, api->parts.metrics_count, metric);
}

struct counted {
    const char *key;
    enum metric metric;
};

/* An object of counters, and their sum as "total". */
static json_t *count(const struct api *api, const struct counted *rows, size_t row_count)
{
    json_t *object = json_object();
    uint64_t total = 0;
    for (size_t i = 0; i < row_count; i++) {
        uint64_t value = sum(api, rows[i].metric);
        total += value;
        json_object_set_new(object, rows[i].key, number(value));
    }
    json_object_set_new(object, "total", number(total));
    return object;
}

static json_t *describe_queries(const struct api *api)
{
    static const struct counted rows[] = {{"udp4", METRIC_QUERIES_UDP4},
                                          {"udp6", METRIC_QUERIES_UDP6},
                                          {"tcp4", METRIC_QUERIES_TCP4},
                                          {"tcp6", METRIC_QUERIES_TCP6}};
    return count(api, rows, sizeof(rows) / sizeof(rows[0]));
}

static json_t *describe_answers(const struct api *api)
{
    static const struct counted rows[] = {{"listed", METRIC_ANSWERS_LISTED},
                                          {"cached", METRIC_ANSWERS_CACHED},
                                          {"recursed", METRIC_ANSWERS_RECURSED},
                                          {"local", METRIC_ANSWERS_LOCAL},
                                          {"error", METRIC_ANSWERS_ERROR}};
    return count(api, rows, sizeof(rows) / sizeof(rows[0]));
}

static json_t *describe_drops(const struct api *api, const struct tally_totals *tally,
                              const struct hitlog_totals *hitlog)
{
    static const struct counted rows[] = {{"malformed", METRIC_DROPPED_MALFORMED},
                                          {"acl", METRIC_DROPPED_ACL},
                                          {"policy", METRIC_DROPPED_POLICY},
                                          {"send", METRIC_DROPPED_SEND},
                                          {"client_gone", METRIC_DROPPED_CLIENT_GONE}};
    json_t *object = json_object();
    json_object_set_new(object, "questions", count(api, rows, sizeof(rows) / sizeof(rows[0])));
    json_object_set_new(object, "hits", number(tally->ring_drops));
    json_object_set_new(object, "hit_lines", number(hitlog->dropped));
    return object;
}

static json_t *describe_hits(const struct api *api, const struct tally_totals *tally,
                             const struct hitlog_totals *hitlog)
{
    json_t *object = json_object();
    json_object_set_new(object, "questions", number(sum(api, METRIC_HITS_LISTED)));
    json_object_set_new(object, "counted", number(tally->counted));
    json_object_set_new(object, "lines_written", number(hitlog->written));
    json_object_set_new(object, "failures", number(hitlog->failures));
    api_set_text(object, "error", hitlog->error);
    return object;
}

struct feed_count {
    uint64_t count;
};

static void count_feed(void *context, const struct bl_feed *feed)
{
    struct feed_count *feeds = context;
    (void)feed;
    feeds->count++;
}

static json_t *describe_list(const struct api *api, const struct sync_status *sync)
{
    const struct bl_list *list = api->parts.list;
    struct feed_count feeds = {0};
    json_t *object = json_object();
    bl_rcu_register();
    bl_rcu_online();
    bl_list_feeds(list, count_feed, &feeds);
    uint64_t version = bl_list_version(list);
    bl_rcu_offline();
    bl_rcu_unregister();
    json_object_set_new(object, "loaded", json_boolean(sync->loaded));
    json_object_set_new(object, "names", number(bl_list_names(list)));
    json_object_set_new(object, "feeds", number(feeds.count));
    json_object_set_new(object, "octets", number(bl_list_octets(list)));
    json_object_set_new(object, "version", number(version));
    json_object_set_new(object, "revision", number(sync->revision));
    api_set_text(object, "lineage", sync->lineage);
    json_object_set_new(object, "last_change", json_integer((json_int_t)sync->last_change_s));
    return object;
}

static json_t *describe_redis(const struct sync_status *sync)
{
    json_t *object = json_object();
    json_object_set_new(object, "configured", json_boolean(sync->redis));
    if (!sync->redis) {
        return object;
    }
    json_object_set_new(object, "connected", json_boolean(sync->connected));
    api_set_text(object, "server", sync->server);
    api_set_text(object, "error", sync->error);
    json_object_set_new(object, "last_contact", json_integer((json_int_t)sync->last_contact_s));
    json_object_set_new(object, "reconnects", number(sync->reconnects));
    json_object_set_new(object, "images", number(sync->images));
    json_object_set_new(object, "changes", number(sync->changes));
    json_object_set_new(object, "rejected", number(sync->rejected));
    return object;
}

static json_t *describe_recursors(const struct api *api)
{
    struct recursor_status recursors[RECURSORS_MAX];
    json_t *array = json_array();
    unsigned running = recursors_status(api->parts.recursors, recursors, RECURSORS_MAX);
    for (unsigned i = 0; i < running; i++) {
        json_t *object = json_object();
        json_object_set_new(object, "pid", json_integer(recursors[i].pid));
        json_object_set_new(object, "answering", json_boolean(recursors[i].answering));
        json_object_set_new(object, "restarts", number(recursors[i].restarts));
        json_object_set_new(object, "questions", number(recursors[i].questions));
        json_array_append_new(array, object);
    }
    return array;
}

static uint64_t uptime_s(const struct api *api)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 - api->started_ms) / 1000;
}

void api_status(const struct api *api, const struct api_request *request,
                struct api_reply *ret_reply)
{
    (void)request;
    struct sync_status sync;
    struct tally_totals tally;
    struct hitlog_totals hitlog = {0};
    sync_status(api->parts.sync, &sync);
    tally_totals(api->parts.tally, &tally);
    if (api->parts.hitlog != NULL) {
        hitlog_totals(api->parts.hitlog, &hitlog);
    }
    json_t *document = json_object();
    json_t *reasons = api_not_ready(api, &sync);
    api_set_text(document, "node", api->node);
    api_set_text(document, "version", SINKHOLE_VERSION);
    json_object_set_new(document, "pid", json_integer(getpid()));
    json_object_set_new(document, "uptime_s", number(uptime_s(api)));
    json_object_set_new(document, "ready", json_boolean(json_array_size(reasons) == 0));
    json_object_set_new(document, "reasons", reasons);
    json_object_set_new(document, "list", describe_list(api, &sync));
    json_object_set_new(document, "redis", describe_redis(&sync));
    json_object_set_new(document, "recursors", describe_recursors(api));
    json_object_set_new(document, "queries", describe_queries(api));
    json_object_set_new(document, "answers", describe_answers(api));
    api->parts.cache_status(api->parts.cache, document);
    json_object_set_new(document, "hits", describe_hits(api, &tally, &hitlog));
    json_object_set_new(document, "drops", describe_drops(api, &tally, &hitlog));
    api_reply_json(200, document, ret_reply);
}
