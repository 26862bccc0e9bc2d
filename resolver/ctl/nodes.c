/* nodes: each node's sign of life in Redis, or this node alone. */
#include "resolver/ctl/ask.h"
#include "resolver/ctl/output.h"
#include "resolver/ctl/redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIVE_MS 15000 /* a node is live if it was seen within this, by Redis' clock */

/* The value of one field of "revision=R;lineage=L;version=V;seen=MS;state=S"; "" if it is
 * missing. */
static const char *field_of(const char *value, const char *key, char *text, size_t text_size)
{
    size_t key_size = strlen(key);

    text[0] = '\0';
    while (*value != '\0') {
        size_t size = strcspn(value, ";");
        if (size > key_size && memcmp(value, key, key_size) == 0 && value[key_size] == '=') {
            snprintf(text, text_size, "%.*s", (int)(size - key_size - 1), value + key_size + 1);
            break;
        }
        value += size;
        value += *value == ';';
    }
    return text;
}

static json_t *document_of_node(const char *name, const char *value, long long now_ms)
{
    char revision[24];
    char lineage[40];
    char version[64];
    char seen[24];
    char state[24];
    long long seen_ms = atoll(field_of(value, "seen", seen, sizeof(seen)));

    return json_pack("{s:s, s:b, s:s, s:I, s:s, s:s, s:I, s:I}", "name", name, "live",
                     now_ms - seen_ms <= LIVE_MS, "state",
                     field_of(value, "state", state, sizeof(state)), "revision",
                     (json_int_t)atoll(field_of(value, "revision", revision, sizeof(revision))),
                     "lineage", field_of(value, "lineage", lineage, sizeof(lineage)), "version",
                     field_of(value, "version", version, sizeof(version)), "seen",
                     (json_int_t)(seen_ms / 1000), "age_ms", (json_int_t)(now_ms - seen_ms));
}

/* Redis' TIME in milliseconds; 0 when the reply is not of its form. */
static long long read_time(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_STRING) {
        return 0;
    }
    return atoll(reply->element[0]->str) * 1000 + atoll(reply->element[1]->str) / 1000;
}

static int add_nodes(const redisReply *reply, long long now_ms, json_t *nodes)
{
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const redisReply *name = reply->element[i];
        const redisReply *value = reply->element[i + 1];
        if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING) {
            return -EBADMSG;
        }
        json_t *node = document_of_node(name->str, value->str, now_ms);
        if (node == NULL) { /* not UTF-8: some other program's field */
            continue;
        }
        if (json_array_append_new(nodes, node) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* The list's own lineage and revision beside the nodes, so that one behind can be seen. */
static int read_list(struct ctl_redis *redis, json_t *document, char error[static CTL_ERROR_SIZE])
{
    char key[CTL_REDIS_KEY_SIZE_MAX];
    redisReply *reply = NULL;

    ctl_redis_key(redis, key, "meta");
    int r = ctl_redis_ask(redis, &reply, error, "HMGET", key, "revision", "lineage", NULL);
    if (r < 0) {
        return r;
    }
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING &&
        reply->element[1]->type == REDIS_REPLY_STRING) {
        json_object_set_new(document, "revision", json_integer(atoll(reply->element[0]->str)));
        json_object_set_new(document, "lineage", json_string(reply->element[1]->str));
    }
    freeReplyObject(reply);
    return 0;
}

static int read_nodes(struct ctl_redis *redis, json_t *document, char error[static CTL_ERROR_SIZE])
{
    char key[CTL_REDIS_KEY_SIZE_MAX];
    redisReply *reply = NULL;
    long long now_ms;

    int r = ctl_redis_ask(redis, &reply, error, "TIME", NULL);
    if (r < 0) {
        return r;
    }
    now_ms = read_time(reply);
    freeReplyObject(reply);
    ctl_redis_key(redis, key, "nodes");
    r = ctl_redis_ask(redis, &reply, error, "HGETALL", key, NULL);
    if (r < 0) {
        return r;
    }
    r = add_nodes(reply, now_ms, json_object_get(document, "nodes"));
    freeReplyObject(reply);
    return r == 0 ? read_list(redis, document, error) : r;
}

static int from_redis(struct ctl *ctl, const struct config *config, json_t **ret_document)
{
    char error[CTL_ERROR_SIZE] = "Redis' reply is not of the protocol's form";
    struct ctl_redis *redis = NULL;
    json_t *document = json_pack("{s:[]}", "nodes");

    int r = ctl_redis_open(&config->redis, false, &redis, error);
    if (r == 0) {
        r = read_nodes(redis, document, error);
    }
    ctl_redis_close(redis);
    if (r < 0) {
        json_decref(document);
        return ctl_fail(ctl, CTL_FAILED, "%s", error);
    }
    *ret_document = document;
    return CTL_DONE;
}

/* How long ago the node was seen; what Redis does not date, this machine's clock does. */
static void seen_text(const json_t *node, char ret_text[static 48])
{
    const json_t *age = json_object_get(node, "age_ms");
    const json_t *seen = json_object_get(node, "seen");
    char duration[32] = "";

    if (json_is_integer(age)) {
        ctl_duration_text(json_integer_value(age) / 1000, duration);
    } else if (json_is_integer(seen)) {
        ctl_duration_text((long long)time(NULL) - json_integer_value(seen), duration);
    }
    snprintf(ret_text, 48, "%s%s", duration, duration[0] != '\0' ? " ago" : "");
}

static void add_row(struct ctl_table *table, const json_t *document, const json_t *node)
{
    const char *lineage = ctl_json_text(document, "lineage");
    const json_t *list = json_object_get(document, "revision");
    const json_t *has = json_object_get(node, "revision");
    char number[32];
    char seen[48];
    char behind[32] = "";

    seen_text(node, seen);
    if (lineage[0] != '\0' && strcmp(lineage, ctl_json_text(node, "lineage")) != 0) {
        snprintf(behind, sizeof(behind), "another list");
    } else if (json_is_integer(list) && json_is_integer(has)) {
        snprintf(behind, sizeof(behind), "%" JSON_INTEGER_FORMAT,
                 json_integer_value(list) - json_integer_value(has));
    }
    const char *cells[] = {ctl_json_text(node, "name"),
                           json_is_true(json_object_get(node, "live")) ? "live" : "silent",
                           ctl_json_text(node, "state"),
                           ctl_json_scalar(has, number),
                           behind,
                           seen,
                           ctl_json_text(node, "version")};
    ctl_table_add(table, cells);
}

static void print_nodes(const json_t *document)
{
    static const char *const headings[] = {"NODE",    "LIVE", "STATE",   ">REVISION",
                                           ">BEHIND", "SEEN", "VERSION", NULL};
    struct ctl_table *table = ctl_table_new(headings);

    for (size_t i = 0; i < json_array_size(json_object_get(document, "nodes")); i++) {
        const json_t *node = json_array_get(json_object_get(document, "nodes"), i);
        if (table != NULL) {
            add_row(table, document, node);
        }
    }
    if (table == NULL || ctl_table_print(table, stdout) < 0) {
        fputs("(out of memory: the table is incomplete)\n", stderr);
    }
    ctl_table_free(table);
}

int ctl_run_nodes(struct ctl *ctl)
{
    const struct config *config = NULL;
    json_t *document = NULL;

    int status = ctl_config(ctl, &config);
    if (status == CTL_DONE) {
        status = config->redis.set ? from_redis(ctl, config, &document)
                                   : ctl_ask_get(ctl, "/api/v1/nodes", &document);
    }
    if (status != CTL_DONE) {
        return status;
    }
    if (ctl->json) {
        return ctl_print_json(ctl, CTL_DONE, document);
    }
    if (ctl_wants_text(ctl) && json_array_size(json_object_get(document, "nodes")) == 0) {
        puts("no node has registered");
    } else if (ctl_wants_text(ctl)) {
        print_nodes(document);
    }
    json_decref(document);
    return CTL_DONE;
}
