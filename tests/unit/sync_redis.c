/* The list's thread with a real Redis: the image, each change, and what can befall Redis
 * meanwhile. */
#include "resolver/sync.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "redis_server.h"
#include "sync_node.h"

static struct redis_server server;
static struct node node;

static int start(void **state)
{
    (void)state;
    server_start(&server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

/* A list of one feed in Redis, and a node that has not started. */
static int init(void **state)
{
    (void)state;
    SERVER_DO(&server, "FLUSHALL");
    assert_int_equal(SERVER_WRITE(&server, "feed", "x", "shards=16", "category=malware"), 1);
    assert_int_equal(SERVER_WRITE(&server, "change", "x", "+evil.example",
                                  "+exact.example x;a=nxdomain;c=phishing;s=XX;n=80;l=amber"),
                     2);
    node_init(&node);
    struct config_redis *redis = &node.config->redis;
    redis->set = true;
    redis->server_count = 1;
    (void)snprintf(redis->prefix, sizeof(redis->prefix), "{sh}");
    (void)snprintf(redis->socket_path, sizeof(redis->socket_path), "%s", server.socket);
    return 0;
}

static int done(void **state)
{
    (void)state;
    node_done(&node);
    return 0;
}

static void start_and_follow(void)
{
    node_start(&node);
    wait_until(node_status(&node).loaded && node_status(&node).revision == 2);
}

static double images(const char *reason)
{
    char sample[96];
    (void)snprintf(sample, sizeof(sample), "sinkhole_blocklist_resyncs_total{reason=\"%s\"}",
                   reason);
    return node_metric(&node, sample);
}

static void takes_a_full_image_with_all_that_is_known_of_a_name(void **state)
{
    (void)state;
    start_and_follow();
    struct bl_membership membership;
    assert_true(node_says(&node, "x", "evil.example", &membership));
    assert_int_equal(membership.scope, BL_SCOPE_SUFFIX);
    assert_true(node_says(&node, "x", "exact.example", &membership));
    assert_int_equal(membership.scope, BL_SCOPE_EXACT);
    assert_int_equal(membership.action, BL_ACTION_NXDOMAIN);
    assert_string_equal(bl_list_word_text(node.list, membership.category), "phishing");
    assert_memory_equal(membership.state, "XX", 2);
    assert_int_equal(membership.confidence, 80);
    assert_int_equal(membership.tlp, 3);
    struct sync_status status = node_status(&node);
    assert_true(status.redis && status.connected);
    assert_string_equal(status.lineage, SERVER_LINEAGE);
    assert_string_equal(status.error, "");
    assert_string_equal(status.server, server.socket);
    assert_int_equal(status.images, 1);
    assert_int_equal(status.changes, 0);
    wait_until(images("initial") == 1);
    assert_true(node_metric(&node, "sinkhole_redis_up") == 1);
}

static void sees_a_change_within_a_second(void **state)
{
    (void)state;
    start_and_follow();
    long before = server_now_ms();
    (void)SERVER_WRITE(&server, "change", "x", "+new.example", "-evil.example");
    wait_until(node_lists(&node, "x", "new.example"));
    assert_true(server_now_ms() - before < 1000);
    wait_until(!node_lists(&node, "x", "evil.example"));
    (void)SERVER_WRITE(&server, "feed", "y", "kind=allow", "tier=operator");
    (void)SERVER_WRITE(&server, "change", "y", "+free.example");
    wait_until(node_lists(&node, "y", "free.example"));
    freeReplyObject(server_write_as(&server, SERVER_LINEAGE, "remove", "y", NULL, 0));
    wait_until(!node_lists(&node, "y", "free.example"));
    wait_until(node_status(&node).revision == 6);
    wait_until(node_status(&node).changes == 4);
    wait_until(node_status(&node).images == 1);
}

static void tells_redis_that_it_lives_and_what_it_enforces(void **state)
{
    (void)state;
    start_and_follow();
    (void)SERVER_WRITE(&server, "change", "x", "+new.example");
    bool told = false;
    for (long end = server_now_ms() + SERVER_WAIT_MS; !told && server_now_ms() < end;) {
        redisReply *reply = SERVER_COMMAND(&server, "HGET", "{sh}:nodes", "node-1");
        told = reply->type == REDIS_REPLY_STRING &&
               strstr(reply->str, "revision=3;lineage=" SERVER_LINEAGE ";version=") != NULL &&
               strstr(reply->str, ";state=live") != NULL && strstr(reply->str, ";seen=") != NULL;
        freeReplyObject(reply);
        server_pause();
    }
    assert_true(told);
}

static void keeps_the_list_while_redis_is_away_and_catches_up(void **state)
{
    (void)state;
    start_and_follow();
    server_kill(&server);
    wait_until(!node_status(&node).connected);
    assert_true(node_status(&node).error[0] != '\0');
    assert_true(node_lists(&node, "x", "evil.example"));
    server_run(&server);
    (void)SERVER_WRITE(&server, "change", "x", "+after.example");
    wait_until(node_lists(&node, "x", "after.example"));
    wait_until(node_status(&node).images == 1); /* it went on from where it was */
    wait_until(node_status(&node).reconnects == 1);
}

static void takes_an_image_when_the_log_was_trimmed_while_it_was_away(void **state)
{
    (void)state;
    start_and_follow();
    server_kill(&server);
    wait_until(!node_status(&node).connected);
    server_run(&server);
    /* The node may be back already: nothing may be seen between the change and the trim. */
    SERVER_DO(&server, "MULTI");
    freeReplyObject(server_write_as(&server, SERVER_LINEAGE, "change", "x",
                                    SERVER_ITEMS("+lost.example", "-evil.example")));
    freeReplyObject(
        server_write_as(&server, SERVER_LINEAGE, "change", "x", SERVER_ITEMS("+kept.example")));
    SERVER_DO(&server, "XTRIM", "{sh}:log", "MAXLEN", "1");
    SERVER_DO(&server, "EXEC");
    wait_until(node_lists(&node, "x", "lost.example") && node_lists(&node, "x", "kept.example"));
    wait_until(!node_lists(&node, "x", "evil.example"));
    wait_until(images("revision") == 1);
}

static void takes_an_image_when_the_log_is_gone_on_a_live_connection(void **state)
{
    (void)state;
    start_and_follow();
    SERVER_DO(&server, "MULTI");
    freeReplyObject(
        server_write_as(&server, SERVER_LINEAGE, "change", "x", SERVER_ITEMS("+lost.example")));
    SERVER_DO(&server, "XTRIM", "{sh}:log", "MAXLEN", "0");
    SERVER_DO(&server, "EXEC");
    wait_until(node_lists(&node, "x", "lost.example"));
    wait_until(images("gap") == 1);
}

static void a_flushed_redis_does_not_empty_the_list(void **state)
{
    (void)state;
    start_and_follow();
    SERVER_DO(&server, "FLUSHALL");
    wait_until(strstr(node_status(&node).error, "holds no list") != NULL);
    assert_true(node_lists(&node, "x", "evil.example"));
    freeReplyObject(server_write_as(&server, "11111111-2222-3333-4444-555555555555", "feed", "x",
                                    SERVER_ITEMS("shards=1")));
    (void)SERVER_WRITE(&server, "change", "x", "+second.example");
    wait_until(node_lists(&node, "x", "second.example"));
    assert_false(node_lists(&node, "x", "evil.example"));
    wait_until(strcmp(node_status(&node).lineage, "11111111-2222-3333-4444-555555555555") == 0);
    wait_until(images("lineage") == 1);
    assert_string_equal(node_status(&node).error, "");
}

static void waits_for_the_first_entry_of_an_empty_redis(void **state)
{
    (void)state;
    SERVER_DO(&server, "FLUSHALL");
    node_start(&node);
    wait_until(node_status(&node).loaded);
    assert_int_equal(node_status(&node).revision, 0);
    SERVER_DO(&server, "XADD", "{sh}:log", "*", "foreign", "entry");
    (void)SERVER_WRITE(&server, "feed", "x", "shards=1");
    (void)SERVER_WRITE(&server, "change", "x", "+first.example");
    wait_until(node_lists(&node, "x", "first.example"));
    wait_until(images("initial") == 1);
}

static void a_rogue_entry_lists_nothing(void **state)
{
    (void)state;
    start_and_follow();
    SERVER_DO(&server, "XADD", "{sh}:log", "*", "l", SERVER_LINEAGE, "r", "3", "d",
              "0000000000000000000000000000000000000000", "o", "change", "f", "x", "w", "rogue",
              "y", "", "b", "+rogue.example\n-evil.example");
    wait_until(images("digest") == 1);
    assert_false(node_lists(&node, "x", "rogue.example"));
    assert_true(node_lists(&node, "x", "evil.example"));
    (void)SERVER_WRITE(&server, "change", "x", "+good.example");
    wait_until(node_lists(&node, "x", "good.example"));
}

static void guards_hold_against_any_writer(void **state)
{
    (void)state;
    start_and_follow();
    (void)SERVER_WRITE(&server, "change", "x", "+com", "+co.uk", "+arpa", "+fine.example");
    wait_until(node_lists(&node, "x", "fine.example"));
    wait_until(node_status(&node).rejected == 3);
    assert_false(node_lists(&node, "x", "com"));
    /* An exception may name them, and must not become a denial with its feed. */
    (void)SERVER_WRITE(&server, "feed", "y", "kind=allow", "shards=1");
    (void)SERVER_WRITE(&server, "change", "y", "+com", "+fine.example");
    wait_until(node_lists(&node, "y", "com"));
    (void)SERVER_WRITE(&server, "feed", "y", "kind=deny");
    wait_until(images("feed_kind") == 1);
    assert_false(node_lists(&node, "y", "com"));
    assert_true(node_lists(&node, "y", "fine.example"));
}

static void leaves_a_feed_of_its_own_alone(void **state)
{
    (void)state;
    char error[SYNC_TEXT_SIZE];
    node_write_file(&node, "x.txt", "own.example\n");
    node_add_file(&node, "x", "x.txt", BL_ACTION_DEFAULT);
    start_and_follow();
    (void)SERVER_WRITE(&server, "change", "x", "+foreign.example");
    wait_until(node_status(&node).revision == 3);
    assert_true(node_lists(&node, "x", "own.example"));
    assert_false(node_lists(&node, "x", "evil.example"));
    assert_false(node_lists(&node, "x", "foreign.example"));
    node.config->list_file_count = 0; /* then the name is Redis' */
    assert_int_equal(sync_reload(node.sync, node.config, error), 0);
    wait_until(node_lists(&node, "x", "foreign.example"));
    assert_false(node_lists(&node, "x", "own.example"));
    wait_until(images("requested") == 1);
}

static void refuses_the_operators_changes(void **state)
{
    (void)state;
    start_and_follow();
    json_t *request = json_pack("{s:[s]}", "names", "a.example");
    json_t *reply = NULL;
    assert_int_equal(sync_operate(node.sync, SYNC_BLOCK, request, &reply), -EPERM);
    assert_non_null(json_object_get(reply, "error"));
    json_decref(reply);
    reply = NULL;
    assert_int_equal(sync_import(node.sync, "y", "auto", "a.example\n", 10, &reply), -EPERM);
    json_decref(reply);
    json_decref(request);
}

static void says_why_it_may_not_in_and_never_the_password(void **state)
{
    (void)state;
    SERVER_DO(&server, "ACL", "SETUSER", "node", "on", ">right", "resetkeys", "resetchannels",
              "-@all", "%R~{sh}:*", "+auth", "+ping", "+select", "+time", "+hget", "+hgetall",
              "+hmget", "+smembers", "+xread", "+xrange", "+xrevrange", "(%W~{sh}:nodes +hset)");
    struct config_redis *redis = &node.config->redis;
    (void)snprintf(redis->username, sizeof(redis->username), "node");
    (void)snprintf(redis->password_file, sizeof(redis->password_file), "%s/password", node.folder);
    node_start(&node);
    wait_until(strstr(node_status(&node).error, "password_file") != NULL);
    node_write_file(&node, "password", "wrong\n");
    wait_until(strstr(node_status(&node).error, "WRONGPASS") != NULL);
    assert_false(node_status(&node).loaded);
    assert_null(strstr(node_status(&node).error, "wrong\n"));
    node_write_file(&node, "password", "right\n");
    wait_until(node_status(&node).loaded && node_lists(&node, "x", "evil.example"));
    (void)SERVER_WRITE(&server, "change", "x", "+new.example");
    wait_until(node_lists(&node, "x", "new.example"));
    assert_string_equal(node_status(&node).error, "");
}

static void what_changes_during_an_image_is_neither_lost_nor_back(void **state)
{
    (void)state;
    enum { NAMES = 20000 };
    static char texts[1000][40];
    static const char *items[1000];
    (void)SERVER_WRITE(&server, "feed", "big", "shards=1024");
    for (int first = 0; first < NAMES; first += 1000) {
        for (int i = 0; i < 1000; i++) {
            (void)snprintf(texts[i], sizeof(texts[i]), "+n%d.big.example", first + i);
            items[i] = texts[i];
        }
        freeReplyObject(server_write_as(&server, SERVER_LINEAGE, "change", "big", items, 1000));
    }
    node_start(&node);
    char gone[40], added[40];
    for (int i = 0; i < 400; i++) { /* while the image is read */
        (void)snprintf(gone, sizeof(gone), "-n%d.big.example", i * 50);
        (void)snprintf(added, sizeof(added), "+a%d.big.example", i);
        (void)SERVER_WRITE(&server, "change", "big", gone, added);
    }
    long long last = SERVER_WRITE(&server, "change", "big", "+last.big.example");
    wait_until(node_status(&node).revision == (uint64_t)last);
    assert_true(node_metric(&node, "sinkhole_blocklist_entries{feed=\"big\"}") == NAMES + 1);
    assert_true(node_lists(&node, "big", "a399.big.example"));
    assert_false(node_lists(&node, "big", "n19950.big.example"));
    wait_until(node_status(&node).images == 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, init, done)
    const struct CMUnitTest tests[] = {
        TEST(takes_a_full_image_with_all_that_is_known_of_a_name),
        TEST(sees_a_change_within_a_second),
        TEST(tells_redis_that_it_lives_and_what_it_enforces),
        TEST(keeps_the_list_while_redis_is_away_and_catches_up),
        TEST(takes_an_image_when_the_log_was_trimmed_while_it_was_away),
        TEST(takes_an_image_when_the_log_is_gone_on_a_live_connection),
        TEST(a_flushed_redis_does_not_empty_the_list),
        TEST(waits_for_the_first_entry_of_an_empty_redis),
        TEST(a_rogue_entry_lists_nothing),
        TEST(guards_hold_against_any_writer),
        TEST(leaves_a_feed_of_its_own_alone),
        TEST(refuses_the_operators_changes),
        TEST(says_why_it_may_not_in_and_never_the_password),
        TEST(what_changes_during_an_image_is_neither_lost_nor_back),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
