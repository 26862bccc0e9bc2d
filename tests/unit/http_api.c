/* What the API of the control socket tells and changes, call by call. */
#include "resolver/api.h"

#include "http_daemon.h"

#include <errno.h>

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

int main(void)
{
    alarm(100); /* a wait that never ends is a failure */
    const struct CMUnitTest tests[] = {
        HTTP_TEST(tells_its_status),
        HTTP_TEST(explains_what_a_client_would_get),
        HTTP_TEST(shows_each_rule_and_its_place),
        HTTP_TEST(refuses_a_why_it_cannot_read),
        HTTP_TEST(lists_feeds_and_this_node),
        HTTP_TEST(hands_changes_to_the_list),
        HTTP_TEST(refuses_a_body_that_is_no_object),
        HTTP_TEST(takes_a_feed_of_any_size_and_no_larger),
        HTTP_TEST(takes_chunks_up_to_the_limit),
        HTTP_TEST(reloads_while_it_is_no_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
