/* A text as the content of a feed: the difference, what is refused, and what failure
 * leaves alone. */
#include "blocklist/source.h"

#include "blocklist/name.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct fixture {
    struct bl_list *list;
    struct bl_guards *guards;
    struct bl_source source;
    struct bl_source_counts counts;
    char rejects[4096]; /* "line:reason:text\n" each */
    char folder[64];
};

static void note_reject(void *context, const struct bl_source_reject *reject)
{
    struct fixture *fixture = context;
    size_t length = strlen(fixture->rejects);
    snprintf(fixture->rejects + length, sizeof(fixture->rejects) - length, "%llu:%s:%.*s\n",
             (unsigned long long)reject->line, reject->reason,
             (int)(reject->text_size < 40 ? reject->text_size : 40), reject->text);
}

static uint16_t feed_set(struct fixture *fixture, const char *name, enum bl_action action)
{
    struct bl_feed feed = {.tier = BL_TIER_FEED, .action = action};
    snprintf(feed.name, sizeof(feed.name), "%s", name);
    int id = bl_list_feed_set(fixture->list, &feed);
    assert_true(id >= 0);
    return (uint16_t)id;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct bl_secret secret;
    if (fixture == NULL || bl_secret_make(&secret) < 0 || bl_guards_new(&fixture->guards) < 0) {
        return -1;
    }
    fixture->list = bl_list_new(&secret);
    fixture->source.guards = fixture->guards;
    fixture->source.reject = note_reject;
    fixture->source.context = fixture;
    fixture->source.membership.feed = feed_set(fixture, "feed", BL_ACTION_DEFAULT);
    strcpy(fixture->folder, "/tmp/source-XXXXXX");
    *state = fixture;
    return mkdtemp(fixture->folder) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    bl_list_free(fixture->list);
    bl_guards_free(fixture->guards);
    rmdir(fixture->folder);
    free(fixture);
    return 0;
}

/* In a heap copy of exactly its size. */
static int load_octets(struct fixture *fixture, const char *text, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    fixture->rejects[0] = '\0';
    int r = bl_source_load_text(fixture->list, &fixture->source, copy, size, &fixture->counts);
    free(copy);
    return r;
}

static void load(struct fixture *fixture, const char *text)
{
    assert_int_equal(load_octets(fixture, text, strlen(text)), 0);
}

static bool lists(const struct fixture *fixture, const char *text, struct bl_membership *membership)
{
    uint8_t name[BL_NAME_SIZE_MAX];
    int size = bl_name_from_text(text, strlen(text), name);
    assert_true(size > 0);
    return bl_list_get(fixture->list, fixture->source.membership.feed, name, (size_t)size,
                       membership);
}

static void assert_counts(const struct fixture *fixture, const struct bl_source_counts *expected)
{
    const struct bl_source_counts *counts = &fixture->counts;
    assert_int_equal(counts->added, expected->added);
    assert_int_equal(counts->changed, expected->changed);
    assert_int_equal(counts->removed, expected->removed);
    assert_int_equal(counts->unchanged, expected->unchanged);
    assert_int_equal(counts->repeated, expected->repeated);
    assert_int_equal(counts->rejected, expected->rejected);
    assert_int_equal(counts->guarded, expected->guarded);
}

static void loading_makes_the_feed_equal_to_the_text(void **state)
{
    struct fixture *fixture = *state;
    struct bl_membership membership;
    load(fixture, "a.com\nb.com\n=c.com\n");
    assert_counts(fixture, &(struct bl_source_counts){.added = 3});
    assert_true(lists(fixture, "a.com", &membership));
    assert_int_equal(membership.scope, BL_SCOPE_SUFFIX);
    assert_true(lists(fixture, "c.com", &membership));
    assert_int_equal(membership.scope, BL_SCOPE_EXACT);
    assert_int_equal(bl_list_version(fixture->list), 1);

    load(fixture, "b.com\nc.com\nd.com"); /* the last line has no end */
    assert_counts(fixture, &(struct bl_source_counts){
                               .added = 1, .changed = 1, .removed = 1, .unchanged = 1});
    assert_false(lists(fixture, "a.com", &membership));
    assert_true(lists(fixture, "c.com", &membership));
    assert_int_equal(membership.scope, BL_SCOPE_SUFFIX);
    assert_int_equal(bl_list_version(fixture->list), 2);

    load(fixture, "d.com\r\nc.com\r\nb.com\r\n");
    assert_counts(fixture, &(struct bl_source_counts){.unchanged = 3});
    assert_int_equal(bl_list_version(fixture->list), 2);

    load(fixture, "");
    assert_counts(fixture, &(struct bl_source_counts){.removed = 3});
    assert_int_equal(bl_list_names(fixture->list), 0);
    assert_int_equal(bl_list_version(fixture->list), 2); /* nothing of it can newly block */
}

static void other_feeds_keep_what_they_list(void **state)
{
    struct fixture *fixture = *state;
    load(fixture, "a.com\nb.com\n");
    uint16_t first = fixture->source.membership.feed;
    fixture->source.membership.feed = feed_set(fixture, "other", BL_ACTION_DEFAULT);
    load(fixture, "b.com\nc.com\n");
    assert_counts(fixture, &(struct bl_source_counts){.added = 2});
    load(fixture, "");
    assert_int_equal(bl_list_feed_entries(fixture->list, first), 2);
    assert_int_equal(bl_list_names(fixture->list), 2);
}

static void a_repeated_name_counts_once_with_the_wider_scope(void **state)
{
    struct fixture *fixture = *state;
    struct bl_membership membership;
    load(fixture, "0.0.0.0 a.com\na.com\n0.0.0.0 A.com a.COM\n0.0.0.0 b.com b.com\n");
    assert_counts(fixture, &(struct bl_source_counts){.added = 2, .repeated = 4});
    assert_true(lists(fixture, "a.com", &membership));
    assert_int_equal(membership.scope, BL_SCOPE_SUFFIX);
    assert_true(lists(fixture, "b.com", &membership));
    assert_int_equal(membership.scope, BL_SCOPE_EXACT);
}

static void bad_lines_are_reported_with_their_numbers_and_keep_no_good_one_out(void **state)
{
    struct fixture *fixture = *state;
    struct bl_membership membership;
    load(fixture,
         "# list\n\ngood.com\r\nba..d.com\r\nco.uk\n1.2.3.4\n0.0.0.0 fine.com 9.in-addr.arpa\n"
         "http://x/\nlast.com");
    assert_counts(fixture, &(struct bl_source_counts){.added = 3, .rejected = 5, .guarded = 2});
    assert_string_equal(fixture->rejects,
                        "4:an empty label:ba..d.com\n"
                        "5:a public suffix:co.uk\n"
                        "6:an IP address instead of a name:1.2.3.4\n"
                        "7:at or under arpa:9.in-addr.arpa\n"
                        "8:not a name (letters, digits, - and _ only):http://x/\n");
    assert_true(lists(fixture, "good.com", &membership));
    assert_true(lists(fixture, "fine.com", &membership));
    assert_true(lists(fixture, "last.com", &membership));
    fixture->source.reject = NULL;
    load(fixture, "co.uk\nba..d.com\n");
    assert_counts(fixture, &(struct bl_source_counts){.removed = 3, .rejected = 2, .guarded = 1});
}

static void guards_hold_for_all_but_what_is_stored_as_allow(void **state)
{
    struct fixture *fixture = *state;
    struct bl_membership membership;
    fixture->source.membership.action = BL_ACTION_LOG;
    load(fixture, "com\n");
    assert_counts(fixture, &(struct bl_source_counts){.rejected = 1, .guarded = 1});
    fixture->source.membership.action = BL_ACTION_ALLOW;
    load(fixture, "com\n");
    assert_counts(fixture, &(struct bl_source_counts){.added = 1});

    fixture->source.membership.action = BL_ACTION_DEFAULT;
    fixture->source.membership.feed = feed_set(fixture, "exceptions", BL_ACTION_ALLOW);
    load(fixture, "com\n");
    assert_counts(fixture, &(struct bl_source_counts){.added = 1});
    assert_true(lists(fixture, "com", &membership));
    assert_int_equal(membership.action, BL_ACTION_ALLOW); /* also if the feed turns */

    fixture->source.membership.action = BL_ACTION_DROP;
    load(fixture, "com\n");
    assert_counts(fixture, &(struct bl_source_counts){.removed = 1, .rejected = 1, .guarded = 1});
    fixture->source.guards = NULL;
    load(fixture, "com\n");
    assert_counts(fixture, &(struct bl_source_counts){.added = 1});
}

static void long_lines_are_refused_wherever_they_are_cut(void **state)
{
    struct fixture *fixture = *state;
    static char text[3 * BL_LINE_SIZE_MAX];
    struct bl_membership membership;
    for (size_t size = BL_LINE_SIZE_MAX - 2; size < BL_LINE_SIZE_MAX + 20; size++) {
        memset(text, ' ', sizeof(text));
        memcpy(text, "a.com", 5);
        memcpy(text + size - 5, "#note\nb.com", 11);
        assert_int_equal(load_octets(fixture, text, size + 6), 0);
        bool fits = size <= BL_LINE_SIZE_MAX;
        assert_int_equal(lists(fixture, "a.com", &membership), fits);
        assert_true(lists(fixture, "b.com", &membership));
        assert_int_equal(fixture->counts.rejected, fits ? 0 : 1);
    }
    memset(text, 'x', sizeof(text)); /* one endless line */
    memset(text + BL_LINE_SIZE_MAX, '\r', sizeof(text) - BL_LINE_SIZE_MAX);
    assert_int_equal(load_octets(fixture, text, sizeof(text)), 0);
    static const char start[] = "1:" BL_LINE_TOO_LONG ":xxx";
    assert_memory_equal(fixture->rejects, start, sizeof(start) - 1);
    assert_counts(fixture, &(struct bl_source_counts){.removed = 1, .rejected = 1});
}

static void a_name_that_too_many_feeds_list_is_refused(void **state)
{
    struct fixture *fixture = *state;
    uint8_t name[BL_NAME_SIZE_MAX];
    int size = bl_name_from_text("full.com", 8, name);
    for (uint32_t i = 0; i < BL_MEMBERSHIPS_MAX; i++) {
        char text[16];
        snprintf(text, sizeof(text), "f%u", i);
        struct bl_membership membership = {.feed = feed_set(fixture, text, BL_ACTION_DEFAULT)};
        assert_int_equal(bl_list_add(fixture->list, name, (size_t)size, &membership), 1);
    }
    load(fixture, "free.com\nfull.com\n");
    assert_counts(fixture, &(struct bl_source_counts){.added = 1, .rejected = 1});
    assert_string_equal(fixture->rejects,
                        "2:as many feeds as can list one name list it already:full.com\n");
}

static void write_file(const char *path, const char *text, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void a_file_of_many_reads_is_loaded_whole_and_replaced_by_difference(void **state)
{
    struct fixture *fixture = *state;
    enum { LINES = 30000 };
    char path[128];
    snprintf(path, sizeof(path), "%s/list", fixture->folder);
    char *text = malloc(LINES * 32);
    assert_non_null(text);
    for (int round = 0; round < 2; round++) {
        size_t size = 0;
        for (int i = 0; i < LINES; i++) { /* the second half of the first round goes, others come */
            size += (size_t)sprintf(text + size, "n%d.example.com\n", round * LINES / 2 + i);
        }
        write_file(path, text, size);
        struct bl_source_counts *counts = &fixture->counts;
        assert_int_equal(bl_source_load_file(fixture->list, &fixture->source, path, counts), 0);
        uint64_t half = round == 0 ? 0 : LINES / 2;
        assert_counts(fixture, &(struct bl_source_counts){
                                   .added = LINES - half, .removed = half, .unchanged = half});
        assert_int_equal(bl_list_names(fixture->list), LINES);
    }
    free(text);
    unlink(path);
}

static void a_file_that_cannot_be_read_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    snprintf(path, sizeof(path), "%s/none", fixture->folder);
    load(fixture, "a.com\n");
    struct bl_source_counts counts = {.added = 77};
    const struct bl_source *source = &fixture->source;
    assert_int_equal(bl_source_load_file(fixture->list, source, path, &counts), -ENOENT);
    assert_int_equal(bl_source_load_file(fixture->list, source, fixture->folder, &counts), -EISDIR);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(bl_source_load_file(fixture->list, source, path, &counts), -EINVAL);
    unlink(path);
    assert_int_equal(bl_source_load_file(fixture->list, source, "/proc/self/mem", &counts), -EIO);
    assert_int_equal(counts.added, 77);
    assert_int_equal(bl_list_names(fixture->list), 1);
    assert_int_equal(bl_list_version(fixture->list), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(loading_makes_the_feed_equal_to_the_text),
        TEST(other_feeds_keep_what_they_list),
        TEST(a_repeated_name_counts_once_with_the_wider_scope),
        TEST(bad_lines_are_reported_with_their_numbers_and_keep_no_good_one_out),
        TEST(guards_hold_for_all_but_what_is_stored_as_allow),
        TEST(long_lines_are_refused_wherever_they_are_cut),
        TEST(a_name_that_too_many_feeds_list_is_refused),
        TEST(a_file_of_many_reads_is_loaded_whole_and_replaced_by_difference),
        TEST(a_file_that_cannot_be_read_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
