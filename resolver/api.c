#include "resolver/api.h"

#include "blocklist/rcu.h"
#include "geo/utf8.h"
#include "resolver/api_calls.h"
#include "resolver/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char type_json[] = "application/json";
static const char type_text[] = "text/plain; charset=utf-8";

/* ---- replies ---- */

static void reply_text(unsigned status, const char *type, const char *text,
                       struct api_reply *ret_reply)
{
    *ret_reply = (struct api_reply){.status = status, .type = type, .body = strdup(text)};
    ret_reply->size = ret_reply->body != NULL ? strlen(text) : 0;
}

json_t *api_text(const char *text)
{
    json_t *value = json_string(text);
    char *copy = value == NULL ? strdup(text) : NULL;
    if (copy != NULL) {
        size_t size = strlen(copy);
        for (size_t i = 0, character; i < size; i += character) {
            character = utf8_sequence_size((const uint8_t *)copy + i, size - i);
            if (character == 0) {
                copy[i] = '?';
                character = 1;
            }
        }
        value = json_string(copy);
        free(copy);
    }
    return value;
}

void api_set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, api_text(text));
}

void api_reply_json(unsigned status, json_t *document, struct api_reply *ret_reply)
{
    char *text = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;
    size_t size = text != NULL ? strlen(text) : 0;
    char *line = text != NULL ? realloc(text, size + 2) : NULL;
    json_decref(document);
    if (line == NULL) {
        free(text);
        reply_text(500, type_json, "{\"error\":\"out of memory\"}\n", ret_reply);
        return;
    }
    memcpy(line + size, "\n", 2);
    *ret_reply =
        (struct api_reply){.status = status, .type = type_json, .body = line, .size = size + 1};
}

void api_refuse(unsigned status, const char *error, struct api_reply *ret_reply)
{
    json_t *document = json_object();
    api_set_text(document, "error", error);
    api_reply_json(status, document, ret_reply);
}

/* ---- health ---- */

static void answer_health(const struct api *api, const struct api_request *request,
                          struct api_reply *ret_reply)
{
    (void)api;
    (void)request;
    reply_text(200, type_text, "ok\n", ret_reply);
}

json_t *api_not_ready(const struct api *api, const struct sync_status *sync)
{
    json_t *reasons = json_array();
    if (!sync->loaded) {
        json_array_append_new(reasons, json_string("the list is not loaded yet"));
    }
    if (!recursors_ready(api->parts.recursors)) {
        json_array_append_new(reasons, json_string("recursion does not answer"));
    }
    return reasons;
}

static void answer_ready(const struct api *api, const struct api_request *request,
                         struct api_reply *ret_reply)
{
    (void)request;
    struct sync_status sync;
    char text[256] = "";
    sync_status(api->parts.sync, &sync);
    json_t *reasons = api_not_ready(api, &sync);
    size_t count = json_array_size(reasons);
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(text);
        snprintf(text + size, sizeof(text) - size, "%s\n",
                 json_string_value(json_array_get(reasons, i)));
    }
    json_decref(reasons);
    reply_text(count == 0 ? 200 : 503, type_text, count == 0 ? "ready\n" : text, ret_reply);
}

/* ---- feeds and nodes ---- */

struct feeds {
    const struct bl_list *list;
    const struct config *config;
    json_t *array;
};

static const char *source_of(const struct config *config, const struct bl_feed *feed)
{
    if (feed->redis) {
        return "redis";
    }
    if (strcmp(feed->name, "operator") == 0 || strcmp(feed->name, "operator.list") == 0) {
        return "operator";
    }
    for (uint32_t i = 0; i < config->list_file_count; i++) {
        if (strcmp(config->list_files[i].feed.name, feed->name) == 0) {
            return "file";
        }
    }
    return "imported";
}

static void add_feed(void *context, const struct bl_feed *feed)
{
    struct feeds *feeds = context;
    json_t *object = json_object();
    api_set_text(object, "name", feed->name);
    api_set_text(object, "kind", feed->action == BL_ACTION_ALLOW ? "allow" : "deny");
    api_set_text(object, "tier", bl_tier_text(feed->tier));
    api_set_text(object, "action",
                 bl_action_text(feed->action != BL_ACTION_DEFAULT
                                    ? feed->action
                                    : feeds->config->sinkhole.action));
    json_object_set_new(object, "priority", json_integer(feed->priority));
    api_set_text(object, "category", feed->category);
    api_set_text(object, "label", feed->label);
    json_object_set_new(object, "entries",
                        json_integer((json_int_t)bl_list_feed_entries(feeds->list, feed->id)));
    api_set_text(object, "source", source_of(feeds->config, feed));
    json_array_append_new(feeds->array, object);
}

static void answer_feeds(const struct api *api, const struct api_request *request,
                         struct api_reply *ret_reply)
{
    (void)request;
    json_t *document = json_object();
    struct feeds feeds = {.list = api->parts.list, .array = json_array()};
    bl_rcu_register();
    bl_rcu_online();
    feeds.config = atomic_load_explicit(api->parts.live, memory_order_acquire)->config;
    bl_list_feeds(api->parts.list, add_feed, &feeds);
    bl_rcu_offline();
    bl_rcu_unregister();
    json_object_set_new(document, "feeds", feeds.array);
    api_reply_json(200, document, ret_reply);
}

static void answer_nodes(const struct api *api, const struct api_request *request,
                         struct api_reply *ret_reply)
{
    (void)request;
    struct sync_status sync;
    sync_status(api->parts.sync, &sync);
    json_t *reasons = api_not_ready(api, &sync);
    json_t *node = json_object();
    json_t *document = json_object();
    json_t *nodes = json_array();
    api_set_text(node, "name", api->node);
    json_object_set_new(node, "live", json_true());
    api_set_text(node, "state", json_array_size(reasons) == 0 ? "ready" : "starting");
    json_object_set_new(node, "revision", json_integer((json_int_t)sync.revision));
    api_set_text(node, "lineage", sync.lineage);
    api_set_text(node, "version", SINKHOLE_VERSION);
    json_object_set_new(node, "seen", json_integer((json_int_t)time(NULL)));
    json_decref(reasons);
    json_array_append_new(nodes, node);
    json_object_set_new(document, "nodes", nodes);
    api_reply_json(200, document, ret_reply);
}

/* ---- changes ---- */

static void answer_reload(const struct api *api, const struct api_request *request,
                          struct api_reply *ret_reply)
{
    (void)request;
    json_t *document = NULL;
    int r = api->parts.reload(api->parts.reload_context, &document);
    if (document == NULL) {
        api_refuse(500, "the reload gave no answer; see the log", ret_reply);
        return;
    }
    api_reply_json(r == 0 ? 200 : 422, document, ret_reply);
}

static unsigned status_of(int r)
{
    switch (r) {
    case 0:
        return 200;
    case -EPERM:
        return 409; /* the changes belong to Redis */
    case -EINVAL:
        return 400;
    case -ENOENT:
        return 404;
    case -ETIMEDOUT:
        return 503;
    default:
        return 500;
    }
}

/* The list's answer to a change, or what went wrong. */
static void reply_change(int r, json_t *document, struct api_reply *ret_reply)
{
    char error[128];
    if (document == NULL) {
        snprintf(error, sizeof(error), "the list did not take the change: %s", strerror(-r));
        api_refuse(r == 0 ? 500 : status_of(r), error, ret_reply);
        return;
    }
    api_reply_json(status_of(r), document, ret_reply);
}

static void operate(const struct api *api, const struct api_request *request,
                    enum sync_operation operation, struct api_reply *ret_reply)
{
    static const char *const words[] = {[SYNC_BLOCK] = "block",
                                        [SYNC_UNBLOCK] = "unblock",
                                        [SYNC_ALLOW] = "allow",
                                        [SYNC_UNALLOW] = "unallow"};
    json_error_t problem;
    json_t *body = json_loadb(request->body != NULL ? request->body : "", request->body_size,
                              JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(body)) {
        char error[256];
        snprintf(error, sizeof(error), "the body must be a JSON object like {\"names\": [...]}%s%s",
                 body == NULL ? ": " : "", body == NULL ? problem.text : "");
        json_decref(body);
        api_refuse(400, error, ret_reply);
        return;
    }
    json_t *document = NULL;
    int r = sync_operate(api->parts.sync, operation, body, &document);
    log_info("operator's change", "operation", words[operation], "uid",
             log_number(request->peer_uid), "names",
             log_number((long long)json_array_size(json_object_get(body, "names"))), "status",
             log_number(status_of(r)));
    json_decref(body);
    reply_change(r, document, ret_reply);
}

static void answer_block(const struct api *api, const struct api_request *request,
                         struct api_reply *ret_reply)
{
    operate(api, request, SYNC_BLOCK, ret_reply);
}

static void answer_unblock(const struct api *api, const struct api_request *request,
                           struct api_reply *ret_reply)
{
    operate(api, request, SYNC_UNBLOCK, ret_reply);
}

static void answer_allow(const struct api *api, const struct api_request *request,
                         struct api_reply *ret_reply)
{
    operate(api, request, SYNC_ALLOW, ret_reply);
}

static void answer_unallow(const struct api *api, const struct api_request *request,
                           struct api_reply *ret_reply)
{
    operate(api, request, SYNC_UNALLOW, ret_reply);
}

#define FEEDS_PATH "/api/v1/feeds/"

static void answer_import(const struct api *api, const struct api_request *request,
                          struct api_reply *ret_reply)
{
    json_t *document = NULL;
    const char *name = request->path + sizeof(FEEDS_PATH) - 1;
    const char *format = request->argument(request->context, "format");
    int r = sync_import(api->parts.sync, name, format != NULL ? format : "auto",
                        request->body != NULL ? request->body : "", request->body_size, &document);
    log_info("feed imported", "feed", name, "uid", log_number(request->peer_uid), "octets",
             log_number((long long)request->body_size), "status", log_number(status_of(r)));
    reply_change(r, document, ret_reply);
}

/* ---- the table of calls ---- */

struct api_call {
    const char *method;
    const char *path; /* one that ends in a slash takes a name behind it */
    bool everywhere;  /* not on the control socket alone */
    size_t body_size_max;
    void (*answer)(const struct api *api, const struct api_request *request,
                   struct api_reply *ret_reply);
};

static const struct api_call calls[] = {
    {"GET", "/metrics", true, 0, api_scrape},
    {"GET", "/healthz", true, 0, answer_health},
    {"GET", "/readyz", true, 0, answer_ready},
    {"GET", "/api/v1/status", false, 0, api_status},
    {"GET", "/api/v1/why", false, 0, api_why},
    {"GET", "/api/v1/feeds", false, 0, answer_feeds},
    {"GET", "/api/v1/nodes", false, 0, answer_nodes},
    {"POST", "/api/v1/reload", false, API_CHANGE_SIZE_MAX, answer_reload},
    {"POST", "/api/v1/block", false, API_CHANGE_SIZE_MAX, answer_block},
    {"POST", "/api/v1/unblock", false, API_CHANGE_SIZE_MAX, answer_unblock},
    {"POST", "/api/v1/allow", false, API_CHANGE_SIZE_MAX, answer_allow},
    {"POST", "/api/v1/unallow", false, API_CHANGE_SIZE_MAX, answer_unallow},
    {"POST", FEEDS_PATH, false, API_IMPORT_SIZE_MAX, answer_import},
};

static bool is_path(const struct api_call *call, const char *path)
{
    size_t size = strlen(call->path);
    if (call->path[size - 1] != '/') {
        return strcmp(call->path, path) == 0;
    }
    return strncmp(call->path, path, size) == 0 && path[size] != '\0' &&
           strchr(path + size, '/') == NULL;
}

const struct api_call *api_find(enum api_door door, const char *method, const char *path,
                                unsigned *ret_refusal, const char **ret_allow)
{
    const struct api_call *other = NULL;
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const struct api_call *call = &calls[i];
        if ((door == API_DOOR_TCP && !call->everywhere) || !is_path(call, path)) {
            continue;
        }
        if (strcmp(call->method, wanted) == 0) {
            return call;
        }
        other = call;
    }
    *ret_refusal = other != NULL ? 405 : 404;
    *ret_allow = other == NULL ? NULL : strcmp(other->method, "GET") == 0 ? "GET, HEAD" : "POST";
    return NULL;
}

size_t api_body_size_max(const struct api_call *call)
{
    return call->body_size_max;
}

void api_answer(const struct api *api, const struct api_call *call,
                const struct api_request *request, struct api_reply *ret_reply)
{
    assert(request->body_size <= call->body_size_max);
    call->answer(api, request, ret_reply);
}
