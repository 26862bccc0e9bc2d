/* What change.lua writes, what it leaves alone, and what it refuses: against a real Redis. */
#include "blocklist/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "redis_server.h"

static struct redis_server server;

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

static int flush(void **state)
{
    (void)state;
    SERVER_DO(&server, "FLUSHALL");
    return 0;
}

/* A hash's field as a string that lives until the next call; "" if there is none. */
static const char *field(const char *key, const char *name)
{
    static char text[1100];
    redisReply *reply = SERVER_COMMAND(&server, "HGET", key, name);
    (void)snprintf(text, sizeof(text), "%s", reply->type == REDIS_REPLY_STRING ? reply->str : "");
    freeReplyObject(reply);
    return text;
}

static long long length_of_log(void)
{
    redisReply *reply = SERVER_COMMAND(&server, "XLEN", "{sh}:log");
    long long length = reply->integer;
    freeReplyObject(reply);
    return length;
}

/* Revision and number of changes applied; fails on an error. */
struct outcome {
    long long revision;
    long long applied;
};

static struct outcome outcome_of(redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 5) {
        fail_msg("the script: %s", reply->str != NULL ? reply->str : "no array of five");
    }
    struct outcome outcome = {reply->element[0]->integer, reply->element[1]->integer};
    freeReplyObject(reply);
    return outcome;
}

#define CALL(op, feed, ...)                                                                        \
    outcome_of(server_write_as(&server, SERVER_LINEAGE, op, feed, SERVER_ITEMS(__VA_ARGS__)))
#define CALL_BARE(op, feed) outcome_of(server_write_as(&server, SERVER_LINEAGE, op, feed, NULL, 0))

static void makes_a_feed_with_its_defaults_and_the_lineage_given(void **state)
{
    (void)state;
    struct outcome outcome = CALL("feed", "x", "label=URLhaus", "shards=64");
    assert_int_equal(outcome.revision, 1);
    assert_int_equal(outcome.applied, 1);
    assert_string_equal(field("{sh}:meta", "lineage"), SERVER_LINEAGE);
    assert_string_equal(field("{sh}:meta", "schema"), "1");
    assert_string_equal(field("{sh}:feed:x", "kind"), "deny");
    assert_string_equal(field("{sh}:feed:x", "tier"), "feed");
    assert_string_equal(field("{sh}:feed:x", "action"), "default");
    assert_string_equal(field("{sh}:feed:x", "priority"), "100");
    assert_string_equal(field("{sh}:feed:x", "count"), "0");
    assert_string_equal(field("{sh}:feed:x", "state"), "open");
    assert_string_equal(field("{sh}:feed:x", "label"), "URLhaus");
}

static void keeps_the_lineage_it_has(void **state)
{
    (void)state;
    (void)CALL_BARE("feed", "x");
    freeReplyObject(
        server_write_as(&server, "00000000-0000-0000-0000-000000000000", "feed", "y", NULL, 0));
    assert_string_equal(field("{sh}:meta", "lineage"), SERVER_LINEAGE);
    assert_string_equal(field("{sh}:meta", "revision"), "2");
}

static void writes_nothing_for_what_changes_nothing(void **state)
{
    (void)state;
    (void)CALL("feed", "x", "priority=7");
    (void)CALL("change", "x", "+a.example a=nxdomain", "+b.example");
    static const struct {
        const char *op;
        const char *feed;
        const char *item;
    } rows[] = {
        {"feed", "x", "priority=7"},
        {"change", "x", "+a.example a=nxdomain"},
        {"change", "x", "-never.example"},
        {"change", "x", "+b.example "},
        {"remove", "y", NULL},
        {"end", "x", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct outcome outcome =
            outcome_of(server_write_as(&server, SERVER_LINEAGE, rows[i].op, rows[i].feed,
                                       (const char *[]){rows[i].item}, rows[i].item != NULL));
        if (outcome.revision != 2 || outcome.applied != 0) {
            fail_msg("%s %s", rows[i].op, rows[i].item != NULL ? rows[i].item : "");
        }
    }
    /* Within one call, too: only the net difference counts. */
    struct outcome outcome =
        CALL("change", "x", "+new.example", "-new.example", "-a.example", "+a.example a=nxdomain");
    assert_int_equal(outcome.applied, 0);
    assert_int_equal(length_of_log(), 2);
    assert_string_equal(field("{sh}:meta", "revision"), "2");
}

static void counts_exactly(void **state)
{
    (void)state;
    (void)CALL("feed", "x", "shards=2");
    (void)CALL("change", "x", "+a.example", "+b.example", "+c.example", "+a.example c=x");
    assert_string_equal(field("{sh}:feed:x", "count"), "3");
    (void)CALL("change", "x", "-a.example", "-z.example", "+d.example", "+b.example c=y",
               "-c.example");
    assert_string_equal(field("{sh}:feed:x", "count"), "2");
    redisReply *first = SERVER_COMMAND(&server, "HLEN", "{sh}:f:x:0");
    redisReply *second = SERVER_COMMAND(&server, "HLEN", "{sh}:f:x:1");
    assert_int_equal(first->integer + second->integer, 2);
    freeReplyObject(first);
    freeReplyObject(second);
}

static void puts_a_name_into_the_shard_of_its_sha1(void **state)
{
    (void)state;
    (void)CALL("feed", "x", "shards=4096");
    (void)CALL("change", "x", "+evil.example c=malware");
    /* printf evil.example | sha1sum gives 4675ff3..., and 0x4675ff3 modulo 4096 is 0xff3. */
    assert_string_equal(field("{sh}:f:x:ff3", "evil.example"), "c=malware");
}

/* hiredis' reply as the engine's, enough for an entry. */
static struct bl_reply *string_reply(const char *text, size_t size)
{
    struct bl_reply *reply = calloc(1, sizeof(*reply));
    assert_non_null(reply);
    reply->type = BL_REPLY_STRING;
    reply->text = text;
    reply->size = size;
    return reply;
}

static struct bl_reply *convert(const redisReply *from)
{
    if (from->type == REDIS_REPLY_STRING) {
        return string_reply(from->str, (size_t)from->len);
    }
    assert_int_equal(from->type, REDIS_REPLY_ARRAY);
    struct bl_reply *reply = calloc(1, sizeof(*reply));
    assert_non_null(reply);
    reply->type = BL_REPLY_ARRAY;
    reply->size = from->elements;
    reply->elements = calloc(from->elements > 0 ? from->elements : 1, sizeof(reply));
    assert_non_null(reply->elements);
    for (size_t i = 0; i < from->elements; i++) {
        reply->elements[i] = convert(from->element[i]);
    }
    return reply;
}

static void release(struct bl_reply *reply)
{
    for (size_t i = 0; reply->type == BL_REPLY_ARRAY && i < reply->size; i++) {
        release(reply->elements[i]);
    }
    free(reply->elements);
    free(reply);
}

static void chains_every_entry_to_the_one_before(void **state)
{
    (void)state;
    (void)CALL("feed", "x", "shards=8", "label=a; b");
    (void)CALL("change", "x", "+a.example r=%3B", "+b.example");
    (void)CALL_BARE("begin", "x");
    (void)CALL("change", "x", "-a.example", "+c.example x");
    (void)CALL_BARE("end", "x");
    (void)CALL_BARE("remove", "x");
    /* printf LINEAGE | sha1sum */
    struct bl_position position = {.lineage = SERVER_LINEAGE,
                                   .digest = "32b1122b6917dcc91c8fea8b67df5c0da34f4f28"};
    redisReply *log = SERVER_COMMAND(&server, "XRANGE", "{sh}:log", "-", "+");
    assert_int_equal(log->elements, 6);
    for (size_t i = 0; i < log->elements; i++) {
        struct bl_reply *reply = convert(log->element[i]);
        struct bl_log_entry entry;
        assert_int_equal(bl_log_entry_read(reply, &position, &entry), BL_BREAK_NONE);
        position = entry.after;
        release(reply);
    }
    freeReplyObject(log);
    assert_int_equal(position.revision, 6);
    assert_string_equal(field("{sh}:meta", "digest"), position.digest);
    char id[BL_LOG_ID_TEXT_SIZE];
    bl_log_id_write(position.id, id);
    assert_string_equal(field("{sh}:meta", "id"), id);
}

static void removes_a_feed_with_everything(void **state)
{
    (void)state;
    (void)CALL("feed", "x", "shards=2048");
    (void)CALL("change", "x", "+a.example", "+b.example", "+c.example");
    struct outcome outcome = CALL_BARE("remove", "x");
    assert_int_equal(outcome.applied, 1);
    redisReply *keys = SERVER_COMMAND(&server, "KEYS", "*");
    assert_int_equal(keys->elements, 2); /* meta and log */
    freeReplyObject(keys);
}

static void marks_an_import_and_its_generation(void **state)
{
    (void)state;
    (void)CALL_BARE("feed", "x");
    (void)CALL_BARE("begin", "x");
    assert_string_equal(field("{sh}:feed:x", "state"), "importing");
    assert_int_equal(CALL_BARE("begin", "x").applied, 0); /* taken up again */
    (void)CALL_BARE("end", "x");
    assert_string_equal(field("{sh}:feed:x", "state"), "open");
    assert_string_equal(field("{sh}:feed:x", "gen"), "1");
}

static void refuses_and_then_has_written_nothing(void **state)
{
    (void)state;
    (void)CALL("feed", "x", "shards=64");
    (void)CALL("change", "x", "+kept.example");
    static char long_label[80], long_value[1100], long_name[300];
    (void)snprintf(long_label, sizeof(long_label), "+%064d.example", 0);
    (void)snprintf(long_value, sizeof(long_value), "+a.example %01025d", 0);
    (void)snprintf(long_name, sizeof(long_name), "+%063d.%063d.%063d.%063d", 0, 0, 0, 0);
    const struct {
        const char *op;
        const char *feed;
        const char *item;
        const char *error;
    } rows[] = {
        {"change", "y", "+a.example", "SHNOFEED"},
        {"begin", "y", NULL, "SHNOFEED"},
        {"nonsense", "x", NULL, "SHINVALID"},
        {"feed", ".x", NULL, "SHINVALID"},
        {"feed", "X", NULL, "SHINVALID"},
        {"feed", "z", "kind=maybe", "SHINVALID"},
        {"feed", "z", "tier=", "SHINVALID"},
        {"feed", "z", "action=allow", "SHINVALID"},
        {"feed", "z", "priority=2147483648", "SHINVALID"},
        {"feed", "z", "shards=3", "SHINVALID"},
        {"feed", "z", "shards=524288", "SHINVALID"},
        {"feed", "z", "count=5", "SHINVALID"},
        {"feed", "z", "label=two\nlines", "SHINVALID"},
        {"feed", "x", "shards=128", "SHINVALID"},
        {"change", "x", "a.example", "SHINVALID"},
        {"change", "x", "+", "SHINVALID"},
        {"change", "x", "+A.example", "SHINVALID"},
        {"change", "x", "+a..example", "SHINVALID"},
        {"change", "x", "+a.example.", "SHINVALID"},
        {"change", "x", "+.example", "SHINVALID"},
        {"change", "x", "-a.example x", "SHINVALID"},
        {"change", "x", "+a.example a\tb", "SHINVALID"},
        {"change", "x", long_label, "SHINVALID"},
        {"change", "x", long_value, "SHINVALID"},
        {"change", "x", long_name, "SHINVALID"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *items[] = {"+first.example", rows[i].item};
        bool change = strcmp(rows[i].op, "change") == 0;
        redisReply *reply =
            server_write_as(&server, SERVER_LINEAGE, rows[i].op, rows[i].feed,
                            change ? items : items + 1, (rows[i].item != NULL) + change);
        if (reply->type != REDIS_REPLY_ERROR ||
            strncmp(reply->str, rows[i].error, strlen(rows[i].error)) != 0) {
            fail_msg("%s %s %s: %s", rows[i].op, rows[i].feed,
                     rows[i].item != NULL ? rows[i].item : "",
                     reply->str != NULL ? reply->str : "");
        }
        freeReplyObject(reply);
    }
    assert_string_equal(field("{sh}:meta", "revision"), "2");
    assert_string_equal(field("{sh}:feed:x", "count"), "1");
    assert_int_equal(length_of_log(), 2);
}

static void takes_a_thousand_changes_and_no_more(void **state)
{
    (void)state;
    (void)CALL("feed", "x", "shards=1");
    static char texts[1001][32];
    const char *items[1001];
    for (int i = 0; i < 1001; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "+name%d.example", i);
        items[i] = texts[i];
    }
    struct outcome outcome =
        outcome_of(server_write_as(&server, SERVER_LINEAGE, "change", "x", items, 1000));
    assert_int_equal(outcome.applied, 1000);
    redisReply *reply = server_write_as(&server, SERVER_LINEAGE, "change", "x", items, 1001);
    assert_int_equal(reply->type, REDIS_REPLY_ERROR);
    freeReplyObject(reply);
}

static void refuses_more_names_than_the_shards_carry(void **state)
{
    (void)state;
    (void)CALL("feed", "x", "shards=1");
    SERVER_DO(&server, "HSET", "{sh}:feed:x", "count", "4096");
    redisReply *reply = server_write_as(&server, SERVER_LINEAGE, "change", "x",
                                        SERVER_ITEMS("+one.example", "+two.example"));
    assert_int_equal(reply->type, REDIS_REPLY_ERROR);
    assert_memory_equal(reply->str, "SHFULL", 6);
    freeReplyObject(reply);
}

static void refuses_a_user_without_the_rights_before_it_writes(void **state)
{
    (void)state;
    (void)CALL_BARE("feed", "x");
    SERVER_DO(&server, "ACL", "SETUSER", "weak", "on", ">w", "resetkeys", "~{sh}:*", "-@all",
              "+@read", "+@connection", "+eval", "+hset", "+time");
    SERVER_DO(&server, "AUTH", "weak", "w");
    redisReply *reply =
        server_write_as(&server, SERVER_LINEAGE, "change", "x", SERVER_ITEMS("+a.example"));
    assert_int_equal(reply->type, REDIS_REPLY_ERROR);
    assert_memory_equal(reply->str, "SHRIGHTS", 8);
    freeReplyObject(reply);
    SERVER_DO(&server, "AUTH", "default", "any");
    SERVER_DO(&server, "ACL", "DELUSER", "weak");
    assert_string_equal(field("{sh}:feed:x", "count"), "0");
}

static void refuses_keys_that_hold_something_else(void **state)
{
    (void)state;
    SERVER_DO(&server, "SET", "{sh}:log", "x");
    redisReply *reply = server_write_as(&server, SERVER_LINEAGE, "feed", "x", NULL, 0);
    assert_memory_equal(reply->str, "SHTYPE", 6);
    freeReplyObject(reply);
    SERVER_DO(&server, "DEL", "{sh}:log");
    SERVER_DO(&server, "HSET", "{sh}:meta", "schema", "2", "lineage", SERVER_LINEAGE);
    reply = server_write_as(&server, SERVER_LINEAGE, "feed", "x", NULL, 0);
    assert_memory_equal(reply->str, "SHSCHEMA", 8);
    freeReplyObject(reply);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, flush)
    const struct CMUnitTest tests[] = {
        TEST(makes_a_feed_with_its_defaults_and_the_lineage_given),
        TEST(keeps_the_lineage_it_has),
        TEST(writes_nothing_for_what_changes_nothing),
        TEST(counts_exactly),
        TEST(puts_a_name_into_the_shard_of_its_sha1),
        TEST(chains_every_entry_to_the_one_before),
        TEST(removes_a_feed_with_everything),
        TEST(marks_an_import_and_its_generation),
        TEST(refuses_and_then_has_written_nothing),
        TEST(takes_a_thousand_changes_and_no_more),
        TEST(refuses_more_names_than_the_shards_carry),
        TEST(refuses_a_user_without_the_rights_before_it_writes),
        TEST(refuses_keys_that_hold_something_else),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
