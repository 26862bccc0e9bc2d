/* The daemon's HTTP over real sockets: its two doors, and who is served what at each. */
#include "resolver/http.h"

#include "http_daemon.h"

#include <errno.h>
#include <sys/stat.h>

#define PROMTOOL "/usr/bin/promtool"

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

/* ---- a call that takes long, and what is none ---- */

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
        HTTP_TEST(serves_health_and_metrics_alone_over_tcp),
        HTTP_TEST(is_ready_only_with_the_list_and_recursion),
        HTTP_TEST(writes_metrics_that_promtool_takes),
        HTTP_TEST(answers_others_while_a_call_takes_its_time),
        HTTP_TEST(survives_requests_that_are_none),
        HTTP_TEST(binds_a_control_socket_for_owner_and_group),
        HTTP_TEST(takes_over_a_dead_socket_and_no_live_one),
        HTTP_TEST(names_an_address_it_cannot_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
