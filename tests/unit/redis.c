/* The protocol engine against a scripted Redis: what it asks, what it makes of the replies, and
 * that nothing a server says takes the list in force away. */
#include "blocklist/redis.h"

#include "blocklist/rcu.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "redis_script.h"

#define NOW 1000000u

struct engine {
    struct bl_list *list;
    struct bl_guards *guards;
    struct bl_redis *redis;
    char asked[65536]; /* all commands, in order */
    size_t asked_size;
};

static struct engine engine;
static struct script script;

static void collect(void)
{
    size_t size;
    const char *octets = bl_redis_take(engine.redis, &size);
    if (octets != NULL) {
        assert_true(engine.asked_size + size < sizeof(engine.asked));
        memcpy(engine.asked + engine.asked_size, octets, size);
        engine.asked_size += size;
        engine.asked[engine.asked_size] = '\0';
    }
}

static void open_with(const char *username, const char *password, uint32_t database)
{
    struct bl_secret secret;
    assert_int_equal(bl_secret_make(&secret), 0);
    engine.list = bl_list_new(&secret);
    assert_non_null(engine.list);
    assert_int_equal(bl_guards_new(&engine.guards), 0);
    struct bl_redis_options options = {
        .prefix = "{sh}",
        .username = username,
        .node = "node-1",
        .version = "0.1",
        .database = database,
        .list = engine.list,
        .guards = engine.guards,
    };
    assert_int_equal(bl_redis_new(&options, &engine.redis), 0);
    assert_int_equal(bl_redis_open(engine.redis, password, NOW), 0);
    engine.asked_size = 0;
    collect();
    script_init(&script);
}

static int init(void **state)
{
    (void)state;
    open_with("", "", 0);
    return 0;
}

static int done(void **state)
{
    (void)state;
    bl_redis_free(engine.redis);
    bl_list_free(engine.list);
    bl_guards_free(engine.guards);
    return 0;
}

/* Hands over some octets in a heap copy of exactly their size. */
static int hear_octets(const char *octets, size_t size, uint64_t now_ms)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, octets, size);
    int r = bl_redis_read(engine.redis, copy, size, now_ms);
    free(copy);
    collect();
    return r;
}

/* Hands over what the script has said since the last time. */
static int hear_at(uint64_t now_ms)
{
    int r = hear_octets(script.octets, script.size, now_ms);
    script.size = 0;
    return r;
}

static int hear(void)
{
    return hear_at(NOW);
}

static const struct bl_redis_status *status(void)
{
    return bl_redis_status(engine.redis);
}

static int lists(const char *feed, const char *text)
{
    uint8_t name[BL_NAME_SIZE_MAX];
    struct bl_membership membership;
    int size = bl_name_from_text(text, strlen(text), name);
    int id = bl_list_feed_find(engine.list, feed);
    return id >= 0 && bl_list_get(engine.list, (uint16_t)id, name, (size_t)size, &membership);
}

static int asked(const char *command)
{
    return strstr(engine.asked, command) != NULL;
}

#define BODY_FEED "action=default\ncategory=\nkind=deny\nlabel=\npriority=100\nshards=2\ntier=feed"
#define XREAD_WAITING "$5\r\nBLOCK\r\n"

/* From the sign of life up to the end of reading: feed x with a.example and b.example, the log's
 * last entry before it. */
static void say_image(void)
{
    script_time(&script);
    script_say(&script, ":1\r\n"); /* HSET */
    script_say(&script, "*0\r\n"); /* XREVRANGE */
    script_meta(&script);
    SCRIPT_STRINGS(&script, "x");
    SCRIPT_STRINGS(&script, "kind", "deny", "tier", "feed", "shards", "2", "count", "2", "state",
                   "open");
    SCRIPT_STRINGS(&script, "a.example", "");
    SCRIPT_STRINGS(&script, "b.example", "a=nxdomain;c=phishing");
}

/* The whole of a first connection, until the log is followed. */
static void say_start(void)
{
    script_advance(&script, "feed", "x", BODY_FEED);
    script_advance(&script, "change", "x", "+a.example\n+b.example a=nxdomain;c=phishing");
    script_meta(&script); /* where the list stands */
    say_image();
    script_meta(&script); /* where it stands after reading */
}

static void start(void)
{
    say_start();
    assert_int_equal(hear(), 0);
    assert_int_equal(status()->state, BL_REDIS_FOLLOWING);
    assert_true(lists("x", "a.example") && lists("x", "b.example"));
}

static void authenticates_and_selects_before_it_asks(void **state)
{
    (void)done(state);
    open_with("node", "secret", 7);
    assert_string_equal(engine.asked, "*3\r\n$4\r\nAUTH\r\n$4\r\nnode\r\n$6\r\nsecret\r\n"
                                      "*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n"
                                      "*2\r\n$7\r\nHGETALL\r\n$9\r\n{sh}:meta\r\n");
    (void)done(state);
    open_with("", "secret", 0);
    assert_string_equal(engine.asked, "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"
                                      "*2\r\n$7\r\nHGETALL\r\n$9\r\n{sh}:meta\r\n");
}

static void takes_an_image_and_follows_the_log(void **state)
{
    (void)state;
    start();
    assert_int_equal(status()->position.revision, 2);
    assert_int_equal(status()->images[BL_IMAGE_INITIAL], 1);
    assert_true(asked("$10\r\n{sh}:f:x:0\r\n") && asked("$10\r\n{sh}:f:x:1\r\n"));
    assert_true(asked(XREAD_WAITING));
    script_log(&script, 2);
    script_entry(&script, "change", "x", "-a.example\n+c.example x");
    script_entry(&script, "feed", "y", BODY_FEED);
    assert_int_equal(hear(), 0);
    assert_false(lists("x", "a.example"));
    assert_true(lists("x", "c.example"));
    assert_true(bl_list_feed_find(engine.list, "y") >= 0);
    assert_int_equal(status()->position.revision, 4);
    assert_int_equal(status()->changes, 2);
    script_log(&script, 1);
    script_entry(&script, "remove", "x", "");
    assert_int_equal(hear(), 0);
    assert_true(bl_list_feed_find(engine.list, "x") < 0);
    assert_string_equal(status()->error, "");
}

static void replays_what_changed_while_it_read(void **state)
{
    (void)state;
    script_advance(&script, "feed", "x", BODY_FEED);
    script_advance(&script, "change", "x", "+a.example\n+b.example a=nxdomain;c=phishing");
    script_meta(&script);
    say_image();
    /* The log, and meta as it is by then: the same chain said in two orders. */
    struct script log = script;
    log.size = 0;
    script_log(&log, 3);
    script_entry(&log, "change", "x", "-a.example\n+new.example");
    script_entry(&log, "change", "x", "-new.example\n+newer.example");
    script_entry(&log, "feed", "z", BODY_FEED);
    script.revision = log.revision;
    memcpy(script.digest, log.digest, sizeof(script.digest));
    script_meta(&script);
    memcpy(script.octets + script.size, log.octets, log.size);
    script.size += log.size;
    assert_int_equal(hear(), 0);
    assert_int_equal(status()->state, BL_REDIS_FOLLOWING);
    assert_int_equal(status()->position.revision, 5);
    assert_false(lists("x", "a.example"));
    assert_false(lists("x", "new.example"));
    assert_true(lists("x", "newer.example") && lists("x", "b.example"));
    assert_true(bl_list_feed_find(engine.list, "z") >= 0);
}

/* A conversation of everything: image, replay is above; here changes, a break, an image again. */
static void say_everything(void)
{
    say_start();
    script_log(&script, 2);
    script_entry(&script, "change", "x", "-a.example\n+c.example a=drop;r=%3B");
    script_entry(&script, "change", "x", "+com\n+d.example nonsense=;;\n+e.example X");
    script_log(&script, 1);
    script_say(&script, "*2\r\n$3\r\n9-0\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n");
    script_say(&script, "*1\r\n*2\r\n$3\r\n9-0\r\n*0\r\n"); /* XREVRANGE */
    script_meta(&script);
    SCRIPT_STRINGS(&script, "x");
    SCRIPT_STRINGS(&script, "kind", "deny", "tier", "feed", "shards", "2");
    SCRIPT_STRINGS(&script, "c.example", "a=drop");
    SCRIPT_STRINGS(&script, "b.example", "", "com", "", "UPPER.example", "");
    script_meta(&script);
}

static void assert_everything(void)
{
    assert_int_equal(status()->state, BL_REDIS_FOLLOWING);
    assert_int_equal(status()->position.revision, 4);
    assert_int_equal(status()->images[BL_IMAGE_MALFORMED], 1);
    assert_int_equal(status()->refusals.guarded[BL_GUARD_SINGLE_LABEL], 2);
    assert_int_equal(status()->refusals.rejected[BL_REJECT_VALUE], 1);
    assert_int_equal(status()->refusals.rejected[BL_REJECT_CONDITION], 1);
    assert_int_equal(status()->refusals.rejected[BL_REJECT_NAME], 1);
    assert_int_equal(bl_list_names(engine.list), 2);
    assert_true(lists("x", "b.example") && lists("x", "c.example"));
}

static void is_the_same_wherever_the_octets_are_cut(void **state)
{
    say_everything();
    struct script whole = script;
    assert_int_equal(hear(), 0);
    assert_everything();
    for (size_t cut = 0; cut <= whole.size; cut++) {
        (void)done(state);
        open_with("", "", 0);
        assert_int_equal(hear_octets(whole.octets, cut, NOW), 0);
        assert_int_equal(hear_octets(whole.octets + cut, whole.size - cut, NOW), 0);
        assert_everything();
    }
    (void)done(state);
    open_with("", "", 0);
    for (size_t i = 0; i < whole.size; i++) {
        assert_int_equal(hear_octets(whole.octets + i, 1, NOW), 0);
    }
    assert_everything();
}

static void holds_every_entry_against_the_chain(void **state)
{
    static const struct {
        const char *what;
        const char *lineage;
        int revision; /* above ours */
        const char *digest;
        const char *op;
        const char *feed;
        enum bl_image_reason reason;
    } rows[] = {
        {"a gap", SCRIPT_LINEAGE, 2, NULL, "change", "x", BL_IMAGE_REVISION},
        {"the same revision again", SCRIPT_LINEAGE, 0, NULL, "change", "x", BL_IMAGE_REVISION},
        {"another digest", SCRIPT_LINEAGE, 1, NULL, "change", "x", BL_IMAGE_DIGEST},
        {"another lineage", "6f1c0a52-7d3e-4a55-9d2f-0123456789ac", 1, NULL, "change", "x",
         BL_IMAGE_LINEAGE},
        {"no lineage", "6f1c0a52", 1, NULL, "change", "x", BL_IMAGE_MALFORMED},
        {"a short digest", SCRIPT_LINEAGE, 1, "00", "change", "x", BL_IMAGE_MALFORMED},
        {"an unknown op", SCRIPT_LINEAGE, 1, NULL, "rename", "x", BL_IMAGE_MALFORMED},
        {"a bad feed", SCRIPT_LINEAGE, 1, NULL, "change", "../x", BL_IMAGE_MALFORMED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)done(state);
        open_with("", "", 0);
        start();
        char revision[24];
        (void)snprintf(revision, sizeof(revision), "%d", 2 + rows[i].revision);
        engine.asked_size = 0;
        script_log(&script, 1);
        script_say(&script, "*2\r\n$3\r\n3-0\r\n");
        SCRIPT_STRINGS(&script, "l", rows[i].lineage, "r", revision, "d",
                       rows[i].digest != NULL ? rows[i].digest
                                              : "0123456789012345678901234567890123456789",
                       "o", rows[i].op, "f", rows[i].feed, "w", "", "y", "", "b",
                       "-a.example\n+rogue.example");
        assert_int_equal(hear(), 0);
        bool good = status()->state == BL_REDIS_IMAGE && status()->image_reason == rows[i].reason &&
                    asked("XREVRANGE") && lists("x", "a.example") && !lists("x", "rogue.example");
        if (!good) {
            fail_msg("%s", rows[i].what);
        }
    }
}

static void pauses_between_images_that_breaks_make(void **state)
{
    (void)state;
    start();
    uint64_t now = NOW;
    for (int i = 0; i < 2; i++) {
        script_log(&script, 1);
        script_say(&script, "*2\r\n$3\r\n%d-0\r\n*0\r\n", 3 + i);
        assert_int_equal(hear_at(now), 0);
        assert_int_equal(status()->state, BL_REDIS_IMAGE);
        if (i == 0) { /* at once */
            script_say(&script, "*1\r\n*2\r\n$3\r\n3-0\r\n*0\r\n");
            script_meta(&script);
            SCRIPT_STRINGS(&script, "x");
            SCRIPT_STRINGS(&script, "kind", "deny", "tier", "feed", "shards", "1");
            SCRIPT_STRINGS(&script, "a.example", "");
            script_meta(&script);
            assert_int_equal(hear_at(now), 0);
            assert_int_equal(status()->state, BL_REDIS_FOLLOWING);
        }
    }
    engine.asked_size = 0;
    assert_int_equal(bl_redis_tick(engine.redis, now + 1), 0);
    collect();
    assert_int_equal(engine.asked_size, 0);
    /* A sign of life goes on meanwhile. */
    assert_int_equal(bl_redis_deadline(engine.redis), now + BL_REDIS_RECEIPT_MS);
    now += BL_REDIS_RECEIPT_MS;
    assert_int_equal(bl_redis_tick(engine.redis, now), 0);
    script_time(&script);
    script_say(&script, ":0\r\n");
    assert_int_equal(hear_at(now), 0);
    assert_true(asked("HSET"));
    assert_int_equal(bl_redis_deadline(engine.redis), NOW + BL_REDIS_IMAGE_PAUSE_MS);
    assert_int_equal(bl_redis_tick(engine.redis, NOW + BL_REDIS_IMAGE_PAUSE_MS), 0);
    collect();
    assert_true(asked("XREVRANGE"));
}

static void refuses_replies_beyond_its_limits(void **state)
{
    static const struct {
        const char *what;
        const char *octets;
    } rows[] = {
        {"a hundred million elements", "*100000000\r\n"},
        {"one element too many", "*65537\r\n"},
        {"a map of RESP3", "%1\r\n$1\r\na\r\n$1\r\nb\r\n"},
        {"seven arrays in arrays", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n$1\r\na\r\n"},
        {"no type", "hello\r\n"},
        {"a negative size", "$-2\r\n"},
        {"another form", "$2\r\nok\r\n"},
        {"an integer", ":1\r\n"},
        {"nil", "$-1\r\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)done(state);
        open_with("", "", 0);
        int r = hear_octets(rows[i].octets, strlen(rows[i].octets), NOW);
        if (r != -EPROTO || status()->error[0] == '\0') {
            fail_msg("%s: %d %s", rows[i].what, r, status()->error);
        }
    }
}

static void refuses_a_string_that_never_ends(void **state)
{
    (void)state;
    static char octets[65536];
    memset(octets, 'a', sizeof(octets));
    assert_int_equal(hear_octets("$1000000000\r\n", 13, NOW), 0);
    int r = 0;
    size_t heard = 0;
    for (; r == 0 && heard < 2 * BL_REPLY_INPUT_SIZE_MAX; heard += sizeof(octets)) {
        r = hear_octets(octets, sizeof(octets), NOW);
    }
    assert_int_equal(r, -EPROTO);
    assert_true(heard <= BL_REPLY_INPUT_SIZE_MAX);
}

static void refuses_arrays_that_would_take_all_memory(void **state)
{
    (void)state;
    int r = hear_octets("*65536\r\n", 8, NOW);
    for (int i = 0; r == 0 && i < 1000; i++) { /* each reserves half a MiB for nine octets */
        r = hear_octets("*65536\r\n$-1\r\n", 13, NOW);
    }
    assert_int_equal(r, -EPROTO);
}

static void a_reply_that_nobody_asked_for_is_an_error(void **state)
{
    (void)state;
    start();
    script_log(&script, 1);
    script_say(&script, "*2\r\n$3\r\n3-0\r\n*0\r\n"); /* a break */
    assert_int_equal(hear(), 0);
    script_say(&script, "*0\r\n");
    script_meta(&script);
    SCRIPT_STRINGS(&script, "x");
    SCRIPT_STRINGS(&script, "kind", "deny", "tier", "feed", "shards", "1");
    SCRIPT_STRINGS(&script, "a.example", "");
    script_meta(&script);
    script_log(&script, 1);
    script_say(&script, "*2\r\n$3\r\n4-0\r\n*0\r\n"); /* and another: now it pauses */
    assert_int_equal(hear(), 0);
    assert_int_equal(hear_octets("+OK\r\n", 5, NOW), -EPROTO);
}

static void says_what_the_server_refused(void **state)
{
    (void)state;
    assert_int_equal(hear_octets("-NOAUTH Authentication\x1b required.\r\n", 35, NOW), -EIO);
    assert_string_equal(status()->error, "Redis: NOAUTH Authentication? required.");
    bl_redis_close(engine.redis);
    assert_int_equal(status()->state, BL_REDIS_CLOSED);
    assert_int_equal(bl_redis_open(engine.redis, "", NOW), 0);
    assert_int_equal(hear_octets("-LOADING\r\n", 10, NOW), -EIO);
}

static void follows_on_although_it_may_not_sign(void **state)
{
    (void)state;
    script_advance(&script, "feed", "x", BODY_FEED);
    script_meta(&script);
    script_say(&script, "-NOPERM time\r\n-NOPERM xrevrange\r\n");
    script_meta(&script);
    script_say(&script, "*0\r\n");
    script_meta(&script);
    assert_int_equal(hear(), 0);
    assert_int_equal(status()->state, BL_REDIS_FOLLOWING);
    assert_string_equal(status()->error, "no sign of life in Redis: NOPERM time");
}

static void leaves_a_list_of_another_schema_alone(void **state)
{
    (void)state;
    SCRIPT_STRINGS(&script, "schema", "2", "lineage", SCRIPT_LINEAGE);
    assert_int_equal(hear(), -EPROTONOSUPPORT);
    bl_redis_close(engine.redis);
    assert_int_equal(bl_redis_open(engine.redis, "", NOW), 0);
    SCRIPT_STRINGS(&script, "schema", "1", "lineage", SCRIPT_LINEAGE, "revision", "x");
    assert_int_equal(hear(), -EPROTO);
}

static void keeps_the_list_when_redis_holds_none(void **state)
{
    (void)state;
    start();
    uint64_t now = NOW + BL_REDIS_BEAT_MS;
    script_say(&script, "*-1\r\n"); /* the wait for news is over */
    assert_int_equal(hear_at(now), 0);
    script_time(&script);
    script_say(&script, "*0\r\n"); /* meta */
    assert_int_equal(hear_at(now), 0);
    assert_int_equal(status()->state, BL_REDIS_EMPTY);
    assert_string_equal(status()->error, "Redis holds no list; ours is kept");
    assert_true(lists("x", "a.example"));
    script_say(&script, ":0\r\n");
    assert_int_equal(hear_at(now), 0);
    assert_true(asked(";state=empty"));
}

static void a_flush_amid_an_image_leaves_the_old_list(void **state)
{
    (void)state;
    start();
    bl_redis_close(engine.redis);
    assert_int_equal(bl_redis_open(engine.redis, "", NOW), 0);
    script_advance(&script, "change", "x", "+c.example");
    script.digest[0] = script.digest[0] == '0' ? '1' : '0';
    script.revision = 2; /* the same revision, another history: an image */
    script_meta(&script);
    script_time(&script);
    script_say(&script, ":0\r\n*0\r\n");
    script_meta(&script);
    SCRIPT_STRINGS(&script, "x");
    SCRIPT_STRINGS(&script, "kind", "deny", "tier", "feed", "shards", "2");
    script_say(&script, "*0\r\n*0\r\n*0\r\n"); /* the shards, and meta: all is gone */
    assert_int_equal(hear(), 0);
    assert_int_equal(status()->state, BL_REDIS_EMPTY);
    assert_true(lists("x", "a.example") && lists("x", "b.example"));
}

static void a_connection_that_breaks_amid_an_image_leaves_the_old_list(void **state)
{
    (void)state;
    say_everything();
    assert_int_equal(hear(), 0);
    struct script older;
    script_init(&script);
    say_start(); /* of a revision we are past: an image */
    older = script;
    for (size_t cut = 0; cut < older.size; cut++) {
        engine.asked_size = 0;
        bl_redis_close(engine.redis);
        assert_int_equal(bl_redis_open(engine.redis, "", NOW), 0);
        assert_int_equal(hear_octets(older.octets, cut, NOW), 0);
        assert_true(lists("x", "c.example") && !lists("x", "a.example"));
    }
    assert_int_equal(hear_octets(older.octets + older.size - 1, 1, NOW), 0);
    assert_true(lists("x", "a.example") && !lists("x", "c.example"));
}

static void gives_up_a_server_that_is_silent(void **state)
{
    (void)state;
    assert_int_equal(bl_redis_deadline(engine.redis), NOW + BL_REDIS_SILENCE_MS);
    assert_int_equal(bl_redis_tick(engine.redis, NOW + BL_REDIS_SILENCE_MS - 1), 0);
    assert_int_equal(bl_redis_tick(engine.redis, NOW + BL_REDIS_SILENCE_MS), -ETIMEDOUT);
    bl_redis_close(engine.redis);
    assert_int_equal(bl_redis_deadline(engine.redis), UINT64_MAX);
    assert_int_equal(bl_redis_open(engine.redis, "", NOW), 0);
    start();
    /* It may be silent for as long as it was asked to wait, and then some. */
    assert_true(bl_redis_deadline(engine.redis) > NOW + BL_REDIS_SILENCE_MS);
    assert_true(bl_redis_deadline(engine.redis) <= NOW + BL_REDIS_SILENCE_MS + BL_REDIS_BLOCK_MS);
}

static void tells_what_it_enforces_within_a_moment_of_a_change(void **state)
{
    (void)state;
    start();
    uint64_t now = NOW + BL_REDIS_RECEIPT_MS;
    engine.asked_size = 0;
    script_log(&script, 1);
    script_entry(&script, "change", "x", "+c.example");
    assert_int_equal(hear_at(now), 0);
    script_time(&script);
    script_meta(&script);
    assert_int_equal(hear_at(now), 0);
    assert_true(
        asked("revision=3;lineage=" SCRIPT_LINEAGE ";version=0.1;seen=1700000000123;state=live"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, init, done)
    const struct CMUnitTest tests[] = {
        TEST(authenticates_and_selects_before_it_asks),
        TEST(takes_an_image_and_follows_the_log),
        TEST(replays_what_changed_while_it_read),
        TEST(is_the_same_wherever_the_octets_are_cut),
        TEST(holds_every_entry_against_the_chain),
        TEST(pauses_between_images_that_breaks_make),
        TEST(refuses_replies_beyond_its_limits),
        TEST(refuses_a_string_that_never_ends),
        TEST(refuses_arrays_that_would_take_all_memory),
        TEST(a_reply_that_nobody_asked_for_is_an_error),
        TEST(says_what_the_server_refused),
        TEST(follows_on_although_it_may_not_sign),
        TEST(leaves_a_list_of_another_schema_alone),
        TEST(keeps_the_list_when_redis_holds_none),
        TEST(a_flush_amid_an_image_leaves_the_old_list),
        TEST(a_connection_that_breaks_amid_an_image_leaves_the_old_list),
        TEST(gives_up_a_server_that_is_silent),
        TEST(tells_what_it_enforces_within_a_moment_of_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
