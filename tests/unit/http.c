/* The daemon's API over real sockets, with a real list and scripted parts behind it (defined here,
 * so that the linker takes them and not the daemon's). */
#include "resolver/http.h"

#include "blocklist/rcu.h"
#include "resolver/api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define PROMTOOL "/usr/bin/promtool"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the scripted parts ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool loaded;
    bool recursors_ready;
    bool hold;    /* sync_operate() waits until it is false */
    bool holding; /* it does */
    int result;   /* of a change */
    enum sync_operation operation;
    char request[256];
    char feed[64];
    char format[16];
    size_t import_size;
    unsigned char import_last;
} script = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void sync_status(const struct sync *sync, struct sync_status *ret_status)
{
    (void)sync;
    *ret_status = (struct sync_status){.loaded = script.loaded,
                                       .redis = true,
                                       .server = "127.0.0.1@6379",
                                       .error = "refused by \xff",
                                       .lineage = "5f6c",
                                       .revision = 17};
}

void sync_render(const struct sync *sync, struct metrics_text *text)
{
    (void)sync;
    metrics_family(text, "sinkhole_blocklist_names", "gauge", "Names listed.");
    metrics_printf(text, "sinkhole_blocklist_names 3\n");
}

int sync_operate(struct sync *sync, enum sync_operation operation, const json_t *request,
                 json_t **ret_reply)
{
    (void)sync;
    pthread_mutex_lock(&script.lock);
    char *text = json_dumps(request, JSON_COMPACT);
    snprintf(script.request, sizeof(script.request), "%s", text);
    free(text);
    script.operation = operation;
    script.holding = true;
    pthread_cond_broadcast(&script.changed);
    while (script.hold) {
        pthread_cond_wait(&script.changed, &script.lock);
    }
    script.holding = false;
    int r = script.result;
    pthread_mutex_unlock(&script.lock);
    *ret_reply = r == 0 ? json_pack("{s:[]}", "results") : json_pack("{s:s}", "error", "no");
    return r;
}

int sync_import(struct sync *sync, const char *name, const char *format, const char *text,
                size_t size, json_t **ret_reply)
{
    (void)sync;
    snprintf(script.feed, sizeof(script.feed), "%s", name);
    snprintf(script.format, sizeof(script.format), "%s", format);
    script.import_size = size;
    script.import_last = size > 0 ? (unsigned char)text[size - 1] : 0;
    *ret_reply = json_pack("{s:i}", "added", 1);
    return script.result;
}

void tally_by_feed(struct tally *tally,
                   void (*call)(void *context, const struct tally_count *count), void *context)
{
    (void)tally;
    struct tally_count count = {
        .feed = "starter", .category = "say \"x\"", .action = "address", .count = 5};
    call(context, &count);
}

void tally_by_country(struct tally *tally,
                      void (*call)(void *context, const struct tally_count *count), void *context)
{
    (void)tally;
    struct tally_count count = {.country = "AT", .count = 4};
    call(context, &count);
}

void tally_totals(struct tally *tally, struct tally_totals *ret_totals)
{
    (void)tally;
    *ret_totals =
        (struct tally_totals){.counted = 5, .ring_drops = 2, .country_build_s = 1700000000};
}

void hitlog_totals(struct hitlog *log, struct hitlog_totals *ret_totals)
{
    (void)log;
    *ret_totals = (struct hitlog_totals){.written = 3, .dropped = 1};
}

unsigned recursors_status(struct recursors *recursors, struct recursor_status *ret_status,
                          unsigned max)
{
    (void)recursors;
    assert_true(max >= 2);
    ret_status[0] = (struct recursor_status){.pid = 11, .answering = true, .questions = 9};
    ret_status[1] = (struct recursor_status){.restarts = 1};
    return 2;
}

bool recursors_ready(struct recursors *recursors)
{
    (void)recursors;
    return script.recursors_ready;
}

static void render_cache(void *cache, struct metrics_text *text)
{
    (void)cache;
    metrics_family(text, "sinkhole_cache_entries", "gauge", "Answers in the cache.");
    metrics_printf(text, "sinkhole_cache_entries 1\n");
}

static void describe_cache(void *cache, json_t *status)
{
    (void)cache;
    json_object_set_new(status, "cache", json_pack("{s:i}", "entries", 1));
}

static int reload(void *context, json_t **ret_reply)
{
    (void)context;
    bl_rcu_wait(); /* as the daemon's does: the caller must be no reader that is online */
    *ret_reply = script.result == 0 ? json_pack("{s:[], s:[]}", "changed", "restart")
                                    : json_pack("{s:s}", "error", "f:1:1: no");
    return script.result;
}

/* ---- the daemon around them ---- */

static struct {
    char folder[64];
    char control[108];
    unsigned port;
    struct config *config;
    struct live live;
    live_pointer pointer;
    struct bl_list *list;
    struct metrics *metrics[1];
    struct http *http;
} daemon_;

static void list_name(const char *feed, const char *text, enum bl_scope scope)
{
    uint8_t name[BL_NAME_SIZE_MAX];
    int size = bl_name_from_text(text, strlen(text), name);
    int id = bl_list_feed_find(daemon_.list, feed);
    assert_true(size > 0 && id >= 0);
    struct bl_membership membership = {
        .feed = (uint16_t)id, .scope = (uint8_t)scope, .confidence = 255};
    assert_int_equal(bl_list_add(daemon_.list, name, (size_t)size, &membership), 1);
}

static void add_feed(const char *name, enum bl_action action, enum bl_tier tier)
{
    struct bl_feed feed = {.tier = tier, .action = action, .priority = 100};
    strcpy(feed.name, name);
    strcpy(feed.label, "Label");
    strcpy(feed.category, "malware");
    assert_true(bl_list_feed_set(daemon_.list, &feed) >= 0);
}

static void fill_list(void)
{
    struct bl_secret secret;
    assert_int_equal(bl_secret_make(&secret), 0);
    daemon_.list = bl_list_new(&secret);
    assert_non_null(daemon_.list);
    add_feed("starter", BL_ACTION_DEFAULT, BL_TIER_FEED);
    add_feed("gone", BL_ACTION_NXDOMAIN, BL_TIER_FEED);
    add_feed("silent", BL_ACTION_DROP, BL_TIER_FEED);
    add_feed("watched", BL_ACTION_LOG, BL_TIER_FEED);
    add_feed("court", BL_ACTION_REFUSED, BL_TIER_LEGAL);
    add_feed("operator", BL_ACTION_ALLOW, BL_TIER_OPERATOR);
    list_name("starter", "bad.example", BL_SCOPE_SUFFIX);
    list_name("operator", "good.bad.example", BL_SCOPE_EXACT);
    list_name("gone", "gone.example", BL_SCOPE_SUFFIX);
    list_name("silent", "silent.example", BL_SCOPE_SUFFIX);
    list_name("watched", "watched.example", BL_SCOPE_SUFFIX);
    list_name("court", "court.example", BL_SCOPE_EXACT);
    bl_list_publish(daemon_.list);
}

/* A port that was free a moment ago. */
static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static struct config *load(const char *text)
{
    char path[128];
    char error[CONFIG_ERROR_SIZE_MAX];
    struct config *config;
    snprintf(path, sizeof(path), "%s/f.yaml", daemon_.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    if (config_load(path, &config, error) != 0) {
        fail_msg("%s", error);
    }
    unlink(path);
    return config;
}

static struct http_parts parts(void)
{
    static char part; /* something to point to: the scripted parts have no state of their own */
    return (struct http_parts){
        .live = &daemon_.pointer,
        .list = daemon_.list,
        .sync = (struct sync *)(void *)&part,
        .tally = (struct tally *)(void *)&part,
        .hitlog = (struct hitlog *)(void *)&part,
        .recursors = (struct recursors *)(void *)&part,
        .metrics = (const struct metrics *const *)daemon_.metrics,
        .metrics_count = 1,
        .cache_render = render_cache,
        .cache_status = describe_cache,
        .cache = &part,
        .reload = reload,
        .reload_context = &part,
    };
}

static void start(void)
{
    char error[HTTP_ERROR_SIZE] = "";
    struct http_parts all = parts();
    if (http_start(daemon_.config, &all, &daemon_.http, error) != 0) {
        fail_msg("%s", error);
    }
}

static int set_up(void **state)
{
    (void)state;
    char text[512];
    strcpy(daemon_.folder, "/tmp/sinkhole-http-XXXXXX");
    assert_non_null(mkdtemp(daemon_.folder));
    snprintf(daemon_.control, sizeof(daemon_.control), "%s/run/control.sock", daemon_.folder);
    daemon_.port = free_port();
    snprintf(text, sizeof(text),
             "node: {name: n1, control: %s}\n"
             "http: {listen: [127.0.0.1@%u]}\n"
             "access: {allow: [127.0.0.0/8]}\n",
             daemon_.control, daemon_.port);
    daemon_.config = load(text);
    daemon_.live.config = daemon_.config;
    daemon_.live.access =
        access_new(daemon_.config->access.allow, daemon_.config->access.allow_count);
    atomic_store(&daemon_.pointer, &daemon_.live);
    daemon_.metrics[0] = aligned_alloc(64, sizeof(struct metrics));
    assert_non_null(daemon_.metrics[0]);
    memset(daemon_.metrics[0], 0, sizeof(struct metrics));
    metrics_add(daemon_.metrics[0], METRIC_QUERIES_UDP4, 7);
    fill_list();
    script.loaded = true;
    script.recursors_ready = true;
    script.hold = false;
    script.result = 0;
    start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char path[128];
    http_stop(daemon_.http);
    assert_int_equal(access(daemon_.control, F_OK), -1);
    bl_rcu_wait(); /* returns: the HTTP threads left no reader behind */
    bl_list_free(daemon_.list);
    access_free(daemon_.live.access);
    config_free(daemon_.config);
    free(daemon_.metrics[0]);
    snprintf(path, sizeof(path), "%s/run", daemon_.folder);
    rmdir(path);
    assert_int_equal(rmdir(daemon_.folder), 0);
    return 0;
}

/* ---- a client ---- */

static int connect_control(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, daemon_.control);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static int connect_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)daemon_.port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

struct reply {
    int status;
    char *text; /* head and body */
    const char *body;
};

static void send_text(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, text, size, MSG_NOSIGNAL);
        if (sent < 0) {
            return; /* refused early: the answer says why */
        }
        text += sent;
        size -= (size_t)sent;
    }
}

static struct reply read_reply(int fd)
{
    size_t capacity = 1 << 20;
    size_t size = 0;
    struct reply reply = {.text = calloc(1, capacity)};
    assert_non_null(reply.text);
    for (ssize_t got; (got = recv(fd, reply.text + size, capacity - 1 - size, 0)) > 0;) {
        size += (size_t)got;
    }
    close(fd);
    if (sscanf(reply.text, "HTTP/1.1 %d", &reply.status) != 1) {
        fail_msg("no answer: %s", reply.text);
    }
    reply.body = strstr(reply.text, "\r\n\r\n") + 4;
    return reply;
}

static struct reply ask_body(enum api_door door, const char *line, const char *body, size_t size)
{
    char head[512];
    int fd = door == API_DOOR_TCP ? connect_tcp() : connect_control();
    int head_size = snprintf(head, sizeof(head),
                             "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                             "Content-Length: %zu\r\n\r\n",
                             line, size);
    send_text(fd, head, (size_t)head_size);
    send_text(fd, body, size);
    return read_reply(fd);
}

static struct reply ask(enum api_door door, const char *line)
{
    return ask_body(door, line, "", 0);
}

static json_t *ask_json(const char *line, int status)
{
    struct reply reply = ask(API_DOOR_CONTROL, line);
    assert_int_equal(reply.status, status);
    json_t *document = json_loads(reply.body, 0, NULL);
    if (document == NULL) {
        fail_msg("%s: %s", line, reply.text);
    }
    free(reply.text);
    return document;
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "(none)";
}

/* ---- who is served what ---- */

static void serves_health_and_metrics_alone_over_tcp(void **state)
{
    (void)state;
    static const struct {
        enum api_door door;
        const char *line;
        int status;
        const char *part; /* of the answer */
    } rows[] = {
        {API_DOOR_TCP, "GET /healthz", 200, "\r\n\r\nok\n"},
        {API_DOOR_TCP, "GET /readyz", 200, "\r\n\r\nready\n"},
        {API_DOOR_TCP, "GET /metrics", 200, "text/plain; version=0.0.4"},
        {API_DOOR_TCP, "GET /metrics?x=y", 200, "sinkhole_build_info"},
        {API_DOOR_TCP, "POST /metrics", 405, "Allow: GET, HEAD\r\n"},
        {API_DOOR_TCP, "DELETE /healthz", 405, "takes another method"},
        {API_DOOR_TCP, "GET /", 404, "there is no such call"},
        {API_DOOR_TCP, "GET /api/v1/status", 404, "{\"error\":"},
        {API_DOOR_TCP, "POST /api/v1/block", 404, "{\"error\":"},
        {API_DOOR_TCP, "POST /api/v1/feeds/x", 404, "{\"error\":"},
        {API_DOOR_CONTROL, "GET /healthz", 200, "\r\n\r\nok\n"},
        {API_DOOR_CONTROL, "GET /metrics", 200, "sinkhole_build_info"},
        {API_DOOR_CONTROL, "GET /api/v1/status", 200, "\"node\":\"n1\""},
        {API_DOOR_CONTROL, "GET /api/v1/block", 405, "Allow: POST\r\n"},
        {API_DOOR_CONTROL, "POST /api/v1/status", 405, "Allow: GET, HEAD\r\n"},
        {API_DOOR_CONTROL, "GET /api/v1/feeds/x", 405, "Allow: POST\r\n"},
        {API_DOOR_CONTROL, "POST /api/v1/feeds/", 404, "{\"error\":"},
        {API_DOOR_CONTROL, "POST /api/v1/feeds/a/b", 404, "{\"error\":"},
        {API_DOOR_CONTROL, "GET /api/v1/nothing", 404, "{\"error\":"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct reply reply = ask(rows[i].door, rows[i].line);
        if (reply.status != rows[i].status || strstr(reply.text, rows[i].part) == NULL) {
            fail_msg("%s: %s", rows[i].line, reply.text);
        }
        free(reply.text);
    }
    struct reply reply = ask(API_DOOR_TCP, "HEAD /metrics");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "");
    free(reply.text);
}

static void is_ready_only_with_the_list_and_recursion(void **state)
{
    (void)state;
    static const struct {
        bool loaded;
        bool recursors;
        int status;
        const char *body;
    } rows[] = {
        {true, true, 200, "ready\n"},
        {false, true, 503, "the list is not loaded yet\n"},
        {true, false, 503, "recursion does not answer\n"},
        {false, false, 503, "the list is not loaded yet\nrecursion does not answer\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        script.loaded = rows[i].loaded;
        script.recursors_ready = rows[i].recursors;
        struct reply reply = ask(API_DOOR_TCP, "GET /readyz");
        assert_int_equal(reply.status, rows[i].status);
        assert_string_equal(reply.body, rows[i].body);
        free(reply.text);
    }
}

static void writes_metrics_that_promtool_takes(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "\nsinkhole_ready 1\n",
        "\nsinkhole_queries_total{proto=\"udp\",family=\"4\"} 7\n",
        "\nsinkhole_hits_total{feed=\"starter\",category=\"say \\\"x\\\"\",action=\"address\"} 5\n",
        "\nsinkhole_hits_by_country_total{country=\"AT\"} 4\n",
        "\nsinkhole_hit_drops_total{reason=\"ring\"} 2\n",
        "\nsinkhole_hit_drops_total{reason=\"line\"} 1\n",
        "\nsinkhole_recursors{state=\"answering\"} 1\n",
        "\nsinkhole_recursor_restarts_total{recursor=\"1\"} 1\n",
        "\nsinkhole_geoip_build_timestamp_seconds{database=\"country\"} 1700000000\n",
        "\nsinkhole_cache_entries 1\n",
        "\nsinkhole_blocklist_names 3\n",
        "\nprocess_open_fds ",
    };
    struct reply reply = ask(API_DOOR_TCP, "GET /metrics");
    for (size_t i = 0; i < COUNT(lines); i++) {
        if (strstr(reply.body, lines[i]) == NULL) {
            fail_msg("no%sin %s", lines[i], reply.body);
        }
    }
    if (access(PROMTOOL, X_OK) == 0) {
        FILE *promtool = popen(PROMTOOL " check metrics 1>&2", "w");
        assert_non_null(promtool);
        fputs(reply.body, promtool);
        assert_int_equal(pclose(promtool), 0);
    }
    free(reply.text);
}

/* ---- what is told ---- */

static void tells_its_status(void **state)
{
    (void)state;
    json_t *document = ask_json("GET /api/v1/status", 200);
    const json_t *list = json_object_get(document, "list");
    const json_t *redis = json_object_get(document, "redis");
    assert_string_equal(text_at(document, "node"), "n1");
    assert_int_equal(json_integer_value(json_object_get(document, "pid")), getpid());
    assert_true(json_is_true(json_object_get(document, "ready")));
    assert_int_equal(json_array_size(json_object_get(document, "reasons")), 0);
    assert_int_equal(json_integer_value(json_object_get(list, "names")), 6);
    assert_int_equal(json_integer_value(json_object_get(list, "feeds")), 6);
    assert_int_equal(json_integer_value(json_object_get(list, "revision")), 17);
    assert_string_equal(text_at(list, "lineage"), "5f6c");
    assert_true(json_is_false(json_object_get(redis, "connected")));
    assert_string_equal(text_at(redis, "error"), "refused by ?"); /* JSON is UTF-8 */
    const json_t *queries = json_object_get(document, "queries");
    assert_int_equal(json_integer_value(json_object_get(queries, "total")), 7);
    const json_t *recursors = json_object_get(document, "recursors");
    assert_int_equal(json_array_size(recursors), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(recursors, 0), "pid")), 11);
    assert_non_null(json_object_get(document, "cache"));
    const json_t *drops = json_object_get(document, "drops");
    assert_int_equal(json_integer_value(json_object_get(drops, "hits")), 2);
    json_decref(document);
}

static void explains_what_a_client_would_get(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *decision;
        const char *action;
        const char *feed;
        const char *entry;
        const char *answer; /* the lines, each ended by "|" */
    } rows[] = {
        {"name=www.Bad.example", "block", "address", "starter", "bad.example",
         "status NOERROR|www.bad.example. 10 IN A 0.0.0.0|extended error 15: Blocked by Label|"},
        {"name=bad.example&type=AAAA", "block", "address", "starter", "bad.example",
         "status NOERROR|bad.example. 10 IN AAAA ::|extended error 15: Blocked by Label|"},
        {"name=a.bad.example&type=mx", "block", "address", "starter", "bad.example",
         "status NOERROR, no data|bad.example. 10 IN SOA localhost. nobody.invalid. 1 3600 3600 "
         "3600 10|extended error 15: Blocked by Label|"},
        {"name=gone.example&type=TYPE65", "block", "nxdomain", "gone", "gone.example",
         "status NXDOMAIN|gone.example. 10 IN SOA localhost. nobody.invalid. 1 3600 3600 3600 "
         "10|extended error 15: Blocked by Label|"},
        {"name=silent.example", "block", "drop", "silent", "silent.example",
         "no answer: the question is dropped|"},
        {"name=court.example", "block", "refused", "court", "court.example",
         "status REFUSED|extended error 16: Blocked by Label|"},
        {"name=www.court.example", "resolve", "", "", "", ""},
        {"name=good.bad.example", "resolve", "allow", "operator", "good.bad.example", ""},
        {"name=watched.example", "resolve", "log", "watched", "watched.example", ""},
        {"name=example.org.", "resolve", "", "", "", ""},
        {"name=.", "resolve", "", "", "", ""},
        {"name=bad.example&client=192.0.2.1", "block", "address", "starter", "bad.example",
         "status REFUSED|extended error 18|"},
        {"name=example.org&client=127.0.0.1", "resolve", "", "", "", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char line[128];
        char answer[512] = "";
        snprintf(line, sizeof(line), "GET /api/v1/why?%s", rows[i].query);
        json_t *document = ask_json(line, 200);
        size_t at;
        json_t *text;
        json_array_foreach(json_object_get(document, "answer"), at, text)
        {
            strcat(strcat(answer, json_string_value(text)), "|");
        }
        if (strcmp(text_at(document, "decision"), rows[i].decision) != 0 ||
            strcmp(text_at(document, "action"), rows[i].action) != 0 ||
            strcmp(text_at(document, "feed"), rows[i].feed) != 0 ||
            strcmp(text_at(document, "entry"), rows[i].entry) != 0 ||
            strcmp(answer, rows[i].answer) != 0) {
            fail_msg("%s: %s\n%s", rows[i].query, json_dumps(document, 0), answer);
        }
        json_decref(document);
    }
}

static void shows_each_rule_and_its_place(void **state)
{
    (void)state;
    json_t *document = ask_json("GET /api/v1/why?name=good.bad.example&client=127.0.0.1", 200);
    const json_t *rules = json_object_get(document, "rules");
    assert_string_equal(text_at(document, "name"), "good.bad.example");
    assert_string_equal(text_at(document, "type"), "A");
    assert_string_equal(text_at(document, "client"), "127.0.0.1");
    assert_string_equal(text_at(document, "access"), "allowed");
    assert_int_equal(json_array_size(rules), 2);
    const json_t *rule = json_array_get(rules, 0);
    assert_string_equal(text_at(rule, "place"), "won");
    assert_string_equal(text_at(rule, "scope"), "exact");
    assert_string_equal(text_at(rule, "tier"), "operator");
    rule = json_array_get(rules, 1);
    assert_string_equal(text_at(rule, "place"), "weaker_tier");
    assert_string_equal(text_at(rule, "entry"), "bad.example");
    assert_string_equal(text_at(rule, "scope"), "suffix");
    assert_string_equal(text_at(rule, "category"), "malware");
    assert_int_equal(json_integer_value(json_object_get(rule, "priority")), 100);
    assert_true(strlen(text_at(rule, "text")) > 6);
    json_decref(document);
}

static void refuses_a_why_it_cannot_read(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *error;
    } rows[] = {
        {"", "name is missing"},
        {"name=a..b", "name is no domain name"},
        {"name=a&type=NOSUCH", "type is no record type"},
        {"name=a&type=OPT", "type is no record type"},
        {"name=a&client=x", "client is neither"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char line[128];
        snprintf(line, sizeof(line), "GET /api/v1/why?%s", rows[i].query);
        json_t *document = ask_json(line, 400);
        assert_non_null(strstr(text_at(document, "error"), rows[i].error));
        json_decref(document);
    }
}

static void lists_feeds_and_this_node(void **state)
{
    (void)state;
    json_t *document = ask_json("GET /api/v1/feeds", 200);
    const json_t *feeds = json_object_get(document, "feeds");
    assert_int_equal(json_array_size(feeds), 6);
    size_t i;
    json_t *feed;
    json_array_foreach(feeds, i, feed)
    {
        bool is_operator = strcmp(text_at(feed, "name"), "operator") == 0;
        assert_string_equal(text_at(feed, "kind"), is_operator ? "allow" : "deny");
        assert_string_equal(text_at(feed, "source"), is_operator ? "operator" : "imported");
        assert_int_equal(json_integer_value(json_object_get(feed, "entries")), 1);
        if (strcmp(text_at(feed, "name"), "starter") == 0) {
            assert_string_equal(text_at(feed, "action"), "address"); /* the configuration's */
        }
    }
    json_decref(document);

    document = ask_json("GET /api/v1/nodes", 200);
    const json_t *node = json_array_get(json_object_get(document, "nodes"), 0);
    assert_string_equal(text_at(node, "name"), "n1");
    assert_true(json_is_true(json_object_get(node, "live")));
    assert_int_equal(json_integer_value(json_object_get(node, "revision")), 17);
    json_decref(document);
}

/* ---- what is changed ---- */

static void hands_changes_to_the_list(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *body;
        int result;
        int status;
    } rows[] = {
        {"POST /api/v1/block", "{\"names\":[\"a.example\"]}", 0, 200},
        {"POST /api/v1/unblock", "{\"names\":[\"b.example\"]}", 0, 200},
        {"POST /api/v1/allow", "{\"names\":[]}", 0, 200},
        {"POST /api/v1/unallow", "{}", 0, 200},
        {"POST /api/v1/block", "{\"names\":[\"a\"]}", -EPERM, 409},
        {"POST /api/v1/block", "{\"names\":3}", -EINVAL, 400},
        {"POST /api/v1/block", "{}", -ETIMEDOUT, 503},
        {"POST /api/v1/block", "{}", -EIO, 500},
    };
    static const enum sync_operation operations[] = {SYNC_BLOCK, SYNC_UNBLOCK, SYNC_ALLOW,
                                                     SYNC_UNALLOW};
    for (size_t i = 0; i < COUNT(rows); i++) {
        script.result = rows[i].result;
        struct reply reply =
            ask_body(API_DOOR_CONTROL, rows[i].line, rows[i].body, strlen(rows[i].body));
        assert_int_equal(reply.status, rows[i].status);
        assert_string_equal(script.request, rows[i].body);
        assert_int_equal(script.operation, i < 4 ? operations[i] : SYNC_BLOCK);
        assert_non_null(strstr(reply.body, rows[i].result == 0 ? "\"results\"" : "\"error\""));
        free(reply.text);
    }
}

static void refuses_a_body_that_is_no_object(void **state)
{
    (void)state;
    static const char *const bodies[] = {"", "[]", "{", "{\"names\":[],\"names\":[]}", "null"};
    strcpy(script.request, "untouched");
    for (size_t i = 0; i < COUNT(bodies); i++) {
        struct reply reply =
            ask_body(API_DOOR_CONTROL, "POST /api/v1/block", bodies[i], strlen(bodies[i]));
        assert_int_equal(reply.status, 400);
        assert_non_null(strstr(reply.body, "the body must be a JSON object"));
        free(reply.text);
    }
    char *deep = malloc(100000);
    assert_non_null(deep);
    memset(deep, '[', 100000);
    struct reply reply = ask_body(API_DOOR_CONTROL, "POST /api/v1/block", deep, 100000);
    assert_int_equal(reply.status, 400);
    free(reply.text);
    free(deep);
    assert_string_equal(script.request, "untouched");
}

static void takes_a_feed_of_any_size_and_no_larger(void **state)
{
    (void)state;
    size_t size = 3000001;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'a', size);
    text[size - 1] = 'z';
    struct reply reply =
        ask_body(API_DOOR_CONTROL, "POST /api/v1/feeds/my%2Dfeed?format=hosts", text, size);
    assert_int_equal(reply.status, 200);
    assert_string_equal(script.feed, "my-feed");
    assert_string_equal(script.format, "hosts");
    assert_int_equal(script.import_size, size);
    assert_int_equal(script.import_last, 'z');
    free(reply.text);
    free(text);

    reply = ask(API_DOOR_CONTROL, "POST /api/v1/feeds/empty");
    assert_int_equal(reply.status, 200);
    assert_string_equal(script.format, "auto");
    assert_int_equal(script.import_size, 0);
    free(reply.text);

    static const char head[] = "POST /api/v1/feeds/x HTTP/1.1\r\nHost: x\r\n"
                               "Connection: close\r\nContent-Length: 268435457\r\n\r\n";
    int fd = connect_control();
    send_text(fd, head, sizeof(head) - 1);
    reply = read_reply(fd); /* without a body: it is refused by its head */
    assert_int_equal(reply.status, 413);
    free(reply.text);
}

static void takes_chunks_up_to_the_limit(void **state)
{
    (void)state;
    static const char head[] = "POST /api/v1/block HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    static const char chunks[] = "8\r\n{\"names\"\r\n4\r\n:[]}\r\n0\r\n\r\n";
    int fd = connect_control();
    send_text(fd, head, sizeof(head) - 1);
    send_text(fd, chunks, sizeof(chunks) - 1);
    struct reply reply = read_reply(fd);
    assert_int_equal(reply.status, 200);
    assert_string_equal(script.request, "{\"names\":[]}");
    free(reply.text);

    size_t size = 65536;
    char *piece = malloc(size);
    assert_non_null(piece);
    memset(piece, ' ', size);
    fd = connect_control();
    send_text(fd, head, sizeof(head) - 1);
    for (size_t sent = 0; sent <= API_CHANGE_SIZE_MAX; sent += size) {
        send_text(fd, "10000\r\n", 7);
        send_text(fd, piece, size);
        send_text(fd, "\r\n", 2);
    }
    send_text(fd, "0\r\n\r\n", 5);
    reply = read_reply(fd);
    assert_int_equal(reply.status, 413);
    free(reply.text);
    free(piece);
}

static void reloads_while_it_is_no_reader(void **state)
{
    (void)state;
    json_t *document = ask_json("POST /api/v1/reload", 200);
    assert_true(json_is_array(json_object_get(document, "changed")));
    json_decref(document);
    script.result = -EINVAL;
    document = ask_json("POST /api/v1/reload", 422);
    assert_string_equal(text_at(document, "error"), "f:1:1: no");
    json_decref(document);
}

static void *block_something(void *context)
{
    static const char body[] = "{\"names\":[]}";
    struct reply *reply = context;
    *reply = ask_body(API_DOOR_CONTROL, "POST /api/v1/block", body, sizeof(body) - 1);
    return NULL;
}

static void answers_others_while_a_call_takes_its_time(void **state)
{
    (void)state;
    pthread_t thread;
    struct reply blocked;
    script.hold = true;
    assert_int_equal(pthread_create(&thread, NULL, block_something, &blocked), 0);
    pthread_mutex_lock(&script.lock);
    while (!script.holding) {
        pthread_cond_wait(&script.changed, &script.lock);
    }
    pthread_mutex_unlock(&script.lock);

    static const enum api_door doors[] = {API_DOOR_TCP, API_DOOR_CONTROL};
    for (size_t i = 0; i < COUNT(doors); i++) {
        struct reply reply = ask(doors[i], "GET /metrics");
        assert_int_equal(reply.status, 200);
        free(reply.text);
    }
    bl_rcu_wait(); /* nor does a writer wait for it */

    pthread_mutex_lock(&script.lock);
    script.hold = false;
    pthread_cond_broadcast(&script.changed);
    pthread_mutex_unlock(&script.lock);
    pthread_join(thread, NULL);
    assert_int_equal(blocked.status, 200);
    free(blocked.text);
}

static void survives_requests_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ends; /* an answer or the connection's end can be waited for */
    } rows[] = {
        {"", false},
        {"GET", false},
        {"\x16\x03\x01\x02", false},
        {"POST /api/v1/block HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", false},
        {"GET / HTTP/9.9\r\n\r\n", true},
        {"GET\r\n\r\n", true},
        {"GET /%00%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", true},
        {"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char octet;
        int fd = i % 2 == 0 ? connect_tcp() : connect_control();
        send_text(fd, rows[i].text, strlen(rows[i].text));
        while (rows[i].ends && recv(fd, &octet, 1, 0) > 0) {
        }
        close(fd);
    }
    struct reply reply = ask(API_DOOR_TCP, "GET /healthz");
    assert_int_equal(reply.status, 200);
    free(reply.text);
    reply = ask(API_DOOR_CONTROL, "GET /healthz");
    assert_int_equal(reply.status, 200);
    free(reply.text);
}

/* ---- the control socket ---- */

static void binds_a_control_socket_for_owner_and_group(void **state)
{
    (void)state;
    struct stat status;
    assert_int_equal(stat(daemon_.control, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0660);
}

static void takes_over_a_dead_socket_and_no_live_one(void **state)
{
    (void)state;
    char error[HTTP_ERROR_SIZE] = "";
    char text[256];
    struct http_parts all = parts();
    struct http *second = NULL;
    snprintf(text, sizeof(text), "node: {control: %s}\nhttp: {listen: []}\n", daemon_.control);
    struct config *config = load(text);

    assert_int_equal(http_start(config, &all, &second, error), -EADDRINUSE);
    assert_null(second);
    assert_non_null(strstr(error, daemon_.control));
    struct reply reply = ask(API_DOOR_CONTROL, "GET /healthz"); /* the first goes on */
    assert_int_equal(reply.status, 200);
    free(reply.text);

    http_stop(daemon_.http);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, daemon_.control);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (const struct sockaddr *)&address, sizeof(address)), 0);
    close(dead);
    assert_int_equal(http_start(config, &all, &second, error), 0);
    http_stop(second);

    FILE *file = fopen(daemon_.control, "w"); /* somebody's file is not ours to remove */
    assert_non_null(file);
    fclose(file);
    second = NULL;
    assert_int_equal(http_start(config, &all, &second, error), -EEXIST);
    assert_int_equal(access(daemon_.control, F_OK), 0);
    unlink(daemon_.control);
    config_free(config);
    start();
}

static void names_an_address_it_cannot_have(void **state)
{
    (void)state;
    char error[HTTP_ERROR_SIZE] = "";
    char text[256];
    struct http_parts all = parts();
    struct http *second = NULL;
    snprintf(text, sizeof(text), "node: {control: %s/other.sock}\nhttp: {listen: [127.0.0.1@%u]}\n",
             daemon_.folder, daemon_.port);
    struct config *config = load(text);
    assert_int_equal(http_start(config, &all, &second, error), -EADDRINUSE);
    snprintf(text, sizeof(text), "http.listen 127.0.0.1@%u: Address already in use", daemon_.port);
    assert_string_equal(error, text);
    config_free(config);
}

int main(void)
{
    alarm(100); /* a wait that never ends is a failure */
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(serves_health_and_metrics_alone_over_tcp),
        TEST(is_ready_only_with_the_list_and_recursion),
        TEST(writes_metrics_that_promtool_takes),
        TEST(tells_its_status),
        TEST(explains_what_a_client_would_get),
        TEST(shows_each_rule_and_its_place),
        TEST(refuses_a_why_it_cannot_read),
        TEST(lists_feeds_and_this_node),
        TEST(hands_changes_to_the_list),
        TEST(refuses_a_body_that_is_no_object),
        TEST(takes_a_feed_of_any_size_and_no_larger),
        TEST(takes_chunks_up_to_the_limit),
        TEST(reloads_while_it_is_no_reader),
        TEST(answers_others_while_a_call_takes_its_time),
        TEST(survives_requests_that_are_none),
        TEST(binds_a_control_socket_for_owner_and_group),
        TEST(takes_over_a_dead_socket_and_no_live_one),
        TEST(names_an_address_it_cannot_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
