/* http_daemon.h - a daemon with a real list and scripted parts behind its sockets, and a client. */
#ifndef TESTS_UNIT_HTTP_DAEMON_H
#define TESTS_UNIT_HTTP_DAEMON_H

#include "resolver/http.h"

#include "http_script.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HTTP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- the daemon ---- */

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

static inline void list_name(const char *feed, const char *text, enum bl_scope scope)
{
    uint8_t name[BL_NAME_SIZE_MAX];
    int size = bl_name_from_text(text, strlen(text), name);
    int id = bl_list_feed_find(daemon_.list, feed);
    assert_true(size > 0 && id >= 0);
    struct bl_membership membership = {
        .feed = (uint16_t)id, .scope = (uint8_t)scope, .confidence = 255};
    assert_int_equal(bl_list_add(daemon_.list, name, (size_t)size, &membership), 1);
}

static inline void add_feed(const char *name, enum bl_action action, enum bl_tier tier)
{
    struct bl_feed feed = {.tier = tier, .action = action, .priority = 100};
    strcpy(feed.name, name);
    strcpy(feed.label, "Label");
    strcpy(feed.category, "malware");
    assert_true(bl_list_feed_set(daemon_.list, &feed) >= 0);
}

static inline void fill_list(void)
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
static inline unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static inline struct config *load(const char *text)
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

static inline struct http_parts parts(void)
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

static inline void start(void)
{
    char error[HTTP_ERROR_SIZE] = "";
    struct http_parts all = parts();
    if (http_start(daemon_.config, &all, &daemon_.http, error) != 0) {
        fail_msg("%s", error);
    }
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
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

static inline int connect_control(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, daemon_.control);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static inline int connect_tcp(void)
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

static inline void send_text(int fd, const char *text, size_t size)
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

static inline struct reply read_reply(int fd)
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

static inline struct reply ask_body(enum api_door door, const char *line, const char *body,
                                    size_t size)
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

static inline struct reply ask(enum api_door door, const char *line)
{
    return ask_body(door, line, "", 0);
}

static inline json_t *ask_json(const char *line, int status)
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

static inline const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "(none)";
}

#endif
