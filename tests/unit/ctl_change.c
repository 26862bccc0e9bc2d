/* What sinkholectl sends to Redis: values, shards, the difference of two contents, and what it
 * makes of a list file and of what Redis says. */
#include "resolver/ctl/change.h"
#include "resolver/ctl/entries.h"
#include "resolver/ctl/source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEN "aaaaaaaaaa"

static void values_hold_what_was_said_and_escape_it(void **state)
{
    (void)state;
    static const struct {
        bool allow;
        bool exact;
        const char *category;
        const char *reason;
        const char *value; /* NULL: refused */
        int error;
    } rows[] = {
        {false, false, NULL, NULL, "", 0},
        {false, true, NULL, NULL, "x", 0},
        {true, true, "", "", "x;a=allow", 0},
        {false, false, "phishing", NULL, "c=phishing", 0},
        {false, false, "a;b", "100% sure", "c=a%3Bb;r=100%25 sure", 0},
        {false, false, NULL, "two\nlines", NULL, -EINVAL},
        {false, false, NULL, "\x7f", NULL, -EINVAL},
        {false, false, TEN TEN TEN TEN TEN TEN "aaaa", NULL, NULL, -E2BIG},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char value[CTL_VALUE_SIZE_MAX] = "untouched";
        assert_int_equal(
            ctl_value(rows[i].allow, rows[i].exact, rows[i].category, rows[i].reason, value),
            rows[i].error);
        assert_string_equal(value, rows[i].value != NULL ? rows[i].value : "untouched");
    }
}

static void a_value_never_outgrows_the_protocol(void **state)
{
    (void)state;
    char reason[513];
    char value[CTL_VALUE_SIZE_MAX] = "";

    memset(reason, 'a', sizeof(reason) - 1);
    reason[sizeof(reason) - 1] = '\0';
    assert_int_equal(ctl_value(true, true, "c", reason, value), 0);
    assert_int_equal(strlen(value), 512 + strlen("x;a=allow;c=c;r="));
    memset(reason, ';', sizeof(reason) - 1); /* each becomes three */
    assert_int_equal(ctl_value(true, true, "c", reason, value), -E2BIG);
}

static void a_reason_alone_makes_no_other_value(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        const char *b;
        bool same;
    } rows[] = {
        {"", "", true},
        {"", "r=why", true},
        {"x;a=allow", "x;a=allow;r=why", true},
        {"r=one;x", "x;r=two", true},
        {"x", "", false},
        {"c=a", "c=b", false},
        {"c=a", "c=a;n=80", false},
        {"a=allow", "a=allowed", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(ctl_value_same_but_reason(rows[i].a, rows[i].b), rows[i].same);
        assert_int_equal(ctl_value_same_but_reason(rows[i].b, rows[i].a), rows[i].same);
    }
    assert_true(ctl_value_has("x;a=allow;r=b", "a=allow"));
    assert_true(ctl_value_has("x", "x"));
    assert_false(ctl_value_has("r=a=allow", "a=allow"));
    assert_false(ctl_value_has("a=allowed", "a=allow"));
    assert_false(ctl_value_has("", "x"));
}

static void shards_follow_the_protocol(void **state)
{
    (void)state;
    /* SHA-1("abc") is a9993e36... (FIPS 180-4's example). */
    assert_int_equal(ctl_shard_of("abc", 3, 262144), 0xa9993e3 % 262144);
    assert_int_equal(ctl_shard_of("abc", 3, 16), 3);
    assert_int_equal(ctl_shard_of("abc", 3, 1), 0);

    static const struct {
        uint64_t names;
        uint32_t shards;
    } rows[] = {{0, 1},
                {1, 1},
                {64, 1},
                {95, 1},
                {96, 2},
                {128, 2},
                {1000, 16},
                {1000000, 16384},
                {10000000, 131072},
                {UINT64_C(1) << 40, 262144}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(ctl_shards_for(rows[i].names), rows[i].shards);
    }
}

/* "name=value name=value": one content. */
static void fill(struct ctl_entries *entries, const char *text)
{
    while (*text != '\0') {
        size_t size = strcspn(text, " ");
        size_t name_size = strcspn(text, "= ");
        size_t value_at = name_size < size ? name_size + 1 : size;
        assert_int_equal(
            ctl_entries_add(entries, text, name_size, text + value_at, size - value_at), 0);
        text += size + (text[size] == ' ');
    }
}

static int write_down(void *context, enum ctl_difference kind, const struct ctl_entry *entry)
{
    static const char signs[] = {[CTL_ADDED] = '+', [CTL_CHANGED] = '*', [CTL_REMOVED] = '-'};
    char *text = context;
    size_t size = strlen(text);

    snprintf(text + size, 256 - size, "%c%s%s%s ", signs[kind], entry->name,
             kind != CTL_REMOVED && entry->value[0] != '\0' ? "=" : "",
             kind != CTL_REMOVED ? entry->value : "");
    return 0;
}

static void the_difference_is_what_has_to_change_and_no_more(void **state)
{
    (void)state;
    static const struct {
        const char *present;
        const char *wanted;
        bool replace;
        const char *changes;
        uint64_t unchanged;
    } rows[] = {
        {"", "", true, "", 0},
        {"", "b a", true, "+a +b ", 0},
        {"a b", "", true, "-a -b ", 0},
        {"a b", "", false, "", 2},
        {"a b c", "c b a", true, "", 3},
        {"a=x b", "a b=x", true, "*a *b=x ", 0},
        {"b d", "a c e", true, "+a -b +c -d +e ", 0},
        {"b d", "a c e", false, "+a +c +e ", 2},
        {"a b c d", "b d e", true, "-a -c +e ", 2},
        {"a=c=q", "a", false, "*a ", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ctl_entries present = {0};
        struct ctl_entries wanted = {0};
        struct ctl_difference_counts counts;
        char changes[256] = "";

        fill(&present, rows[i].present);
        fill(&wanted, rows[i].wanted);
        ctl_entries_order(&present);
        ctl_entries_order(&wanted);
        assert_int_equal(
            ctl_difference(&present, &wanted, rows[i].replace, write_down, changes, &counts), 0);
        assert_string_equal(changes, rows[i].changes);
        assert_int_equal(counts.unchanged, rows[i].unchanged);
        ctl_entries_done(&present);
        ctl_entries_done(&wanted);
    }
}

static int stop_at_once(void *context, enum ctl_difference kind, const struct ctl_entry *entry)
{
    (void)kind;
    (void)entry;
    *(int *)context += 1;
    return -EIO;
}

static void a_difference_that_can_not_be_sent_ends_at_once(void **state)
{
    (void)state;
    struct ctl_entries present = {0};
    struct ctl_entries wanted = {0};
    struct ctl_difference_counts counts;
    int calls = 0;

    fill(&wanted, "a b c");
    ctl_entries_order(&wanted);
    assert_int_equal(ctl_difference(&present, &wanted, true, stop_at_once, &calls, &counts), -EIO);
    assert_int_equal(calls, 1);
    ctl_entries_done(&wanted);
}

static void of_two_entries_of_a_name_the_wider_stays(void **state)
{
    (void)state;
    struct ctl_entries entries = {0};

    fill(&entries, "b=x a=x b a=x c");
    assert_int_equal(ctl_entries_order(&entries), 2);
    assert_int_equal(entries.count, 3);
    assert_string_equal(entries.items[0].name, "a");
    assert_string_equal(entries.items[0].value, "x");
    assert_string_equal(entries.items[1].name, "b");
    assert_string_equal(entries.items[1].value, "");
    ctl_entries_done(&entries);
}

static void a_list_file_gives_its_names_and_the_lines_that_give_none(void **state)
{
    (void)state;
    static const char text[] = "# comment\r\n"
                               "evil.example\r\n"
                               "0.0.0.0 a.example b.example\n"
                               "com\n"
                               "not a name\n"
                               "=b.example\n"
                               "=only.example";
    struct bl_guards *guards = NULL;
    char *rejects = NULL;
    size_t rejects_size = 0;

    assert_int_equal(bl_guards_new(&guards), 0);
    struct ctl_source source = {.format = BL_FORMAT_AUTO,
                                .guards = guards,
                                .rejects = open_memstream(&rejects, &rejects_size)};
    assert_non_null(source.rejects);
    assert_int_equal(ctl_source_parse(&source, text, sizeof(text) - 1), 0);
    assert_int_equal(fclose(source.rejects), 0);

    static const struct ctl_entry expected[] = {
        {"a.example", "x"}, {"b.example", "x"}, {"evil.example", ""}, {"only.example", "x"}};
    assert_int_equal(source.entries.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(source.entries.items[i].name, expected[i].name);
        assert_string_equal(source.entries.items[i].value, expected[i].value);
    }
    assert_int_equal(source.repeated, 1);
    assert_int_equal(source.rejected, 2);
    assert_int_equal(json_array_size(source.kept), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(source.kept, 0), "line")),
                     4);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(source.kept, 1), "line")),
                     5);
    assert_non_null(strstr(rejects, "4\ta single label\tcom\n"));
    assert_non_null(strstr(rejects, "\tnot a name\n"));
    ctl_source_done(&source);
    bl_guards_free(guards);
    free(rejects);
}

static void without_guards_any_name_is_taken_but_the_root(void **state)
{
    (void)state;
    static const char text[] = "com\nco.uk\n";
    struct ctl_source source = {.format = BL_FORMAT_PLAIN};

    assert_int_equal(ctl_source_parse(&source, text, sizeof(text) - 1), 0);
    assert_int_equal(source.entries.count, 2);
    ctl_source_done(&source);

    struct ctl_source root = {.format = BL_FORMAT_PLAIN};
    assert_int_equal(ctl_source_parse(&root, ".\n", 2), 0);
    assert_int_equal(root.entries.count, 0);
    assert_int_equal(root.rejected, 1);
    ctl_source_done(&root);
}

/* What Redis would send, read by hiredis. */
static int parse_feed(const char *protocol, struct ctl_feed *feed)
{
    void *reply = NULL;
    redisReader *reader = redisReaderCreate();

    assert_non_null(reader);
    assert_int_equal(redisReaderFeed(reader, protocol, strlen(protocol)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    int r = ctl_feed_parse(reply, feed);
    freeReplyObject(reply);
    redisReaderFree(reader);
    return r;
}

#define FIELD(key, value) "$" key "\r\n$" value "\r\n"

static void properties_of_a_feed_are_read_and_checked(void **state)
{
    (void)state;
    struct ctl_feed feed = {0};

    assert_int_equal(parse_feed("*0\r\n", &feed), 0);
    assert_false(feed.exists);

    assert_int_equal(
        parse_feed("*14\r\n" FIELD("4\r\nkind", "4\r\ndeny") FIELD("4\r\ntier", "8\r\noperator")
                       FIELD("6\r\nshards", "2\r\n64") FIELD("5\r\ncount", "3\r\n123")
                           FIELD("5\r\nstate", "9\r\nimporting") FIELD("5\r\nlabel", "5\r\nThe L")
                               FIELD("5\r\nowner", "2\r\nme"),
                   &feed),
        0);
    assert_true(feed.exists);
    assert_true(feed.importing);
    assert_string_equal(feed.kind, "deny");
    assert_string_equal(feed.tier, "operator");
    assert_string_equal(feed.label, "The L");
    assert_int_equal(feed.shards, 64);
    assert_int_equal(feed.count, 123);

    static const char *const bad[] = {
        ":1\r\n",
        "*1\r\n$4\r\nkind\r\n",
        "*2\r\n" FIELD("4\r\nkind", "4\r\ndeny"), /* no tier, no shards */
        "*6\r\n" FIELD("4\r\nkind", "4\r\ndeny") FIELD("4\r\ntier", "4\r\nfeed")
            FIELD("6\r\nshards", "1\r\n0"),
        "*6\r\n" FIELD("4\r\nkind", "4\r\ndeny") FIELD("4\r\ntier", "4\r\nfeed")
            FIELD("6\r\nshards", "7\r\n9999999"),
        "*6\r\n" FIELD("4\r\nkind", "4\r\ndeny") FIELD("4\r\ntier", "4\r\nfeed")
            FIELD("6\r\nshards", "2\r\n-1"),
        "*6\r\n" FIELD("4\r\nkind", "20\r\n" TEN TEN) FIELD("4\r\ntier", "4\r\nfeed")
            FIELD("6\r\nshards", "1\r\n1"),
        "*2\r\n$4\r\nkind\r\n:5\r\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse_feed(bad[i], &feed) != -EBADMSG) {
            fail_msg("row %zu", i);
        }
    }
}

static void the_script_is_built_in_whole(void **state)
{
    (void)state;
    char path[4096];
    char *text = NULL;
    size_t size = 0;

    assert_non_null(getenv("SOURCE_ROOT"));
    snprintf(path, sizeof(path), "%s/blocklist/change.lua", getenv("SOURCE_ROOT"));
    assert_int_equal(ctl_source_read(path, &text, &size), 0);
    assert_int_equal(size, ctl_change_script_size);
    assert_memory_equal(text, ctl_change_script, size);
    free(text);
}

static void a_file_that_is_away_is_an_error(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;

    assert_int_equal(ctl_source_read("/nonexistent/list", &text, &size), -ENOENT);
    assert_int_equal(ctl_source_read("/", &text, &size), -EISDIR);
    assert_null(text);
}

static void who_is_named_without_control_characters(void **state)
{
    (void)state;
    char who[CTL_WHO_SIZE_MAX];

    assert_int_equal(setenv("SUDO_USER", "jan", 1), 0);
    ctl_who(who);
    assert_int_equal(strncmp(who, "jan@", 4), 0);
    assert_true(strlen(who) > 4);
    assert_int_equal(setenv("SUDO_USER", "a\nb", 1), 0);
    ctl_who(who);
    assert_null(strchr(who, '\n'));
    assert_non_null(strchr(who, '@'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_hold_what_was_said_and_escape_it),
        cmocka_unit_test(a_value_never_outgrows_the_protocol),
        cmocka_unit_test(a_reason_alone_makes_no_other_value),
        cmocka_unit_test(shards_follow_the_protocol),
        cmocka_unit_test(the_difference_is_what_has_to_change_and_no_more),
        cmocka_unit_test(a_difference_that_can_not_be_sent_ends_at_once),
        cmocka_unit_test(of_two_entries_of_a_name_the_wider_stays),
        cmocka_unit_test(a_list_file_gives_its_names_and_the_lines_that_give_none),
        cmocka_unit_test(without_guards_any_name_is_taken_but_the_root),
        cmocka_unit_test(properties_of_a_feed_are_read_and_checked),
        cmocka_unit_test(the_script_is_built_in_whole),
        cmocka_unit_test(a_file_that_is_away_is_an_error),
        cmocka_unit_test(who_is_named_without_control_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
