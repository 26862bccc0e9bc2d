/* The list against a naive model, and its limits. See list_change.c for its version and readers. */
#include "blocklist/list.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct name {
    uint8_t octets[BL_NAME_SIZE_MAX];
    uint8_t size;
};

static struct name name_of(const char *text)
{
    struct name name;
    int size = bl_name_from_text(text, strlen(text), name.octets);
    assert_true(size > 0);
    name.size = (uint8_t)size;
    return name;
}

static struct bl_list *list_new(void)
{
    struct bl_secret secret;
    assert_int_equal(bl_secret_make(&secret), 0);
    struct bl_list *list = bl_list_new(&secret);
    assert_non_null(list);
    return list;
}

static struct bl_feed feed_of(const char *name, enum bl_action action)
{
    struct bl_feed feed = {.tier = BL_TIER_FEED, .action = action};
    snprintf(feed.name, sizeof(feed.name), "%s", name);
    return feed;
}

static uint16_t feed_set(struct bl_list *list, const char *name, enum bl_action action)
{
    struct bl_feed feed = feed_of(name, action);
    int id = bl_list_feed_set(list, &feed);
    assert_true(id >= 0);
    return (uint16_t)id;
}

static int add(struct bl_list *list, const char *text, struct bl_membership membership)
{
    struct name name = name_of(text);
    return bl_list_add(list, name.octets, name.size, &membership);
}

static int take_off(struct bl_list *list, const char *text, uint16_t feed)
{
    struct name name = name_of(text);
    return bl_list_remove(list, feed, name.octets, name.size);
}

static size_t find(const struct bl_list *list, const char *text, struct bl_match *matches)
{
    struct name name = name_of(text);
    return bl_list_find(list, name.octets, name.size, matches);
}

/* ---- the naive model: a table of feeds and names ---- */

#define FEEDS 6u
#define NAMES 400u
#define STEPS 30000u

struct model {
    struct bl_list *list;
    struct name names[NAMES];
    uint16_t ids[FEEDS];
    bool listed[FEEDS][NAMES];
    struct bl_membership said[FEEDS][NAMES];
    uint64_t random;
};

static uint32_t random_below(struct model *model, uint32_t bound)
{
    model->random = model->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(model->random >> 33) % bound;
}

/* Names of up to five labels over a small alphabet, so that many lie below others. */
static void make_names(struct model *model)
{
    static const char *const labels[] = {"a", "b", "www", "example", "net"};
    size_t made = 0;
    while (made < NAMES) {
        char text[128] = "";
        uint32_t count = 1 + random_below(model, 5);
        for (uint32_t i = 0; i < count; i++) {
            strcat(text, labels[random_below(model, COUNT(labels))]);
            strcat(text, ".");
        }
        struct name name = name_of(text);
        size_t same = 0;
        while (same < made && !bl_name_equal(model->names[same].octets, name.octets)) {
            same++;
        }
        if (same == made) {
            model->names[made++] = name;
        }
    }
}

static bool is_listed(const struct model *model, size_t name)
{
    for (size_t feed = 0; feed < FEEDS; feed++) {
        if (model->listed[feed][name]) {
            return true;
        }
    }
    return false;
}

/* Whether the context says of the name what the model does, and no more. */
static void assert_context(const struct model *model, size_t name, const struct bl_context *context)
{
    uint32_t count = 0;
    for (size_t feed = 0; feed < FEEDS; feed++) {
        count += model->listed[feed][name] ? 1 : 0;
    }
    assert_int_equal(context->count, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct bl_membership *membership = &context->memberships[i];
        size_t feed = 0;
        while (model->ids[feed] != membership->feed) {
            feed++;
            assert_true(feed < FEEDS);
        }
        assert_true(i == 0 || membership->feed > context->memberships[i - 1].feed);
        assert_true(model->listed[feed][name]);
        assert_memory_equal(membership, &model->said[feed][name], sizeof(*membership));
    }
}

/* The matches of a name, longest first, by looking at every name of the model. */
static void assert_matches(const struct model *model, const struct name *asked,
                           const struct bl_match *matches, size_t count)
{
    size_t seen = 0;
    for (size_t at = 0;; at += 1u + asked->octets[at]) {
        for (size_t name = 0; name < NAMES; name++) {
            if (bl_name_equal(asked->octets + at, model->names[name].octets) &&
                is_listed(model, name)) {
                assert_true(seen < count);
                assert_int_equal(matches[seen].offset, at);
                assert_context(model, name, matches[seen].context);
                seen++;
            }
        }
        if (asked->octets[at] == 0) {
            break;
        }
    }
    assert_int_equal(seen, count);
}

static void change_one(struct model *model)
{
    size_t feed = random_below(model, FEEDS);
    size_t name = random_below(model, NAMES);
    const struct name *n = &model->names[name];
    struct bl_membership membership = {.feed = model->ids[feed],
                                       .scope = (uint8_t)random_below(model, 2),
                                       .action = (uint8_t)random_below(model, 3),
                                       .confidence = (uint8_t)random_below(model, 3),
                                       .until_hour = random_below(model, 2)};
    struct bl_membership *said = &model->said[feed][name];
    bool *listed = &model->listed[feed][name];
    if (random_below(model, 2) == 0) {
        bool same = *listed && memcmp(said, &membership, sizeof(membership)) == 0;
        assert_int_equal(bl_list_add(model->list, n->octets, n->size, &membership), same ? 0 : 1);
        *listed = true;
        *said = membership;
    } else {
        assert_int_equal(bl_list_remove(model->list, model->ids[feed], n->octets, n->size),
                         *listed ? 1 : 0);
        *listed = false;
    }
    struct bl_membership got;
    assert_int_equal(bl_list_get(model->list, model->ids[feed], n->octets, n->size, &got), *listed);
    assert_true(!*listed || memcmp(&got, &membership, sizeof(got)) == 0);
}

/* A feed goes and comes back empty, with another id unless its own is free again. */
static void replace_feed(struct model *model)
{
    size_t feed = random_below(model, FEEDS);
    char name[16];
    snprintf(name, sizeof(name), "feed-%zu", feed);
    assert_int_equal(bl_list_feed_remove(model->list, model->ids[feed]), 0);
    assert_int_equal(bl_list_feed_find(model->list, name), -ENOENT);
    assert_int_equal(bl_list_feed_entries(model->list, model->ids[feed]), 0);
    model->ids[feed] = feed_set(model->list, name, BL_ACTION_DEFAULT);
    memset(model->listed[feed], 0, sizeof(model->listed[feed]));
    assert_int_equal(bl_list_feed_find(model->list, name), model->ids[feed]);
}

static void ask(struct model *model)
{
    struct name asked[BL_BATCH_MAX];
    struct bl_lookup lookups[BL_BATCH_MAX];
    uint32_t count = 1 + random_below(model, BL_BATCH_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const struct name *name = &model->names[random_below(model, NAMES)];
        asked[i] = *name;
        if (random_below(model, 2) == 0) { /* a name below it */
            memcpy(asked[i].octets, "\1z", 2);
            memcpy(asked[i].octets + 2, name->octets, name->size);
            asked[i].size = (uint8_t)(name->size + 2);
        }
        lookups[i].name = asked[i].octets;
        lookups[i].name_size = asked[i].size;
    }
    bl_list_find_batch(model->list, lookups, count);
    struct bl_match matches[BL_NAME_LABELS_MAX + 1];
    size_t found = bl_list_find(model->list, asked[0].octets, asked[0].size, matches);
    assert_matches(model, &asked[0], matches, found);
    for (uint32_t i = 0; i < count; i++) {
        assert_false(lookups[i].more);
        found = bl_list_find(model->list, asked[i].octets, asked[i].size, matches);
        assert_int_equal(lookups[i].count, found);
        for (size_t j = 0; j < found; j++) {
            assert_ptr_equal(lookups[i].matches[j].context, matches[j].context);
            assert_int_equal(lookups[i].matches[j].offset, matches[j].offset);
        }
    }
}

struct walked {
    struct model *model;
    size_t feed;
    size_t count;
};

static bool walk_one(void *context, const uint8_t *octets, size_t size,
                     const struct bl_membership *membership)
{
    struct walked *walked = context;
    struct model *model = walked->model;
    size_t name = 0;
    while (model->names[name].size != size ||
           memcmp(model->names[name].octets, octets, size) != 0) {
        name++;
        assert_true(name < NAMES);
    }
    assert_true(model->listed[walked->feed][name]);
    assert_memory_equal(membership, &model->said[walked->feed][name], sizeof(*membership));
    walked->count++;
    return true;
}

static void compare_all(struct model *model)
{
    size_t names = 0;
    for (size_t name = 0; name < NAMES; name++) {
        names += is_listed(model, name) ? 1 : 0;
    }
    assert_int_equal(bl_list_names(model->list), names);
    for (size_t feed = 0; feed < FEEDS; feed++) {
        struct walked walked = {model, feed, 0};
        bl_list_walk(model->list, model->ids[feed], walk_one, &walked);
        assert_int_equal(bl_list_feed_entries(model->list, model->ids[feed]), walked.count);
        size_t listed = 0;
        for (size_t name = 0; name < NAMES; name++) {
            listed += model->listed[feed][name] ? 1 : 0;
        }
        assert_int_equal(walked.count, listed);
    }
}

static void agrees_with_a_naive_model(void **state)
{
    (void)state;
    struct model *model = calloc(1, sizeof(*model));
    assert_non_null(model);
    model->random = 20240229;
    model->list = list_new();
    make_names(model);
    for (size_t feed = 0; feed < FEEDS; feed++) {
        char name[16];
        snprintf(name, sizeof(name), "feed-%zu", feed);
        model->ids[feed] = feed_set(model->list, name, BL_ACTION_DEFAULT);
    }
    for (uint32_t step = 0; step < STEPS; step++) {
        change_one(model);
        if (step % 7 == 0) {
            ask(model);
        }
        if (step % 50 == 0) {
            bl_list_publish(model->list);
        }
        if (step % 1000 == 999) {
            replace_feed(model);
            compare_all(model);
        }
    }
    bl_list_free(model->list);
    free(model);
}

/* ---- growth and exactness ---- */

static struct name numbered(uint32_t number)
{
    char text[64];
    snprintf(text, sizeof(text), "n%x.%s", number, number % 3 == 0 ? "example.com" : "org");
    return name_of(text);
}

static void finds_all_of_many_names_and_no_other_and_gives_memory_back(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    struct bl_list *list = list_new();
    uint64_t octets_before = bl_list_octets(list);
    uint16_t feed = feed_set(list, "many", BL_ACTION_DEFAULT);
    struct bl_membership membership = {.feed = feed};
    for (uint32_t i = 0; i < MANY; i++) {
        struct name name = numbered(i);
        assert_int_equal(bl_list_add(list, name.octets, name.size, &membership), 1);
    }
    bl_list_publish(list);
    assert_int_equal(bl_list_names(list), MANY);
    uint64_t octets_full = bl_list_octets(list);
    assert_in_range((octets_full - octets_before) / MANY, 20, 60);
    struct bl_match matches[BL_NAME_LABELS_MAX + 1];
    for (uint32_t i = 0; i < 2 * MANY; i++) {
        struct name name = numbered(i);
        assert_int_equal(bl_list_find(list, name.octets, name.size, matches), i < MANY ? 1 : 0);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        struct name name = numbered(i);
        assert_int_equal(bl_list_remove(list, feed, name.octets, name.size), 1);
        if (i % 10 == 0) {
            assert_int_equal(bl_list_add(list, name.octets, name.size, &membership), 1);
        }
    }
    bl_list_publish(list);
    assert_int_equal(bl_list_names(list), MANY / 10);
    assert_true(bl_list_octets(list) - octets_before < (octets_full - octets_before) / 2);
    for (uint32_t i = 0; i < MANY; i++) {
        struct name name = numbered(i);
        assert_int_equal(bl_list_find(list, name.octets, name.size, matches), i % 10 == 0 ? 1 : 0);
    }
    assert_int_equal(bl_list_feed_remove(list, feed), 0);
    bl_list_publish(list);
    assert_int_equal(bl_list_names(list), 0);
    assert_true(bl_list_octets(list) < octets_before + 4096);
    bl_list_free(list);
}

static void finds_every_suffix_of_a_name_of_127_labels(void **state)
{
    (void)state;
    struct bl_list *list = list_new();
    struct bl_membership membership = {.feed = feed_set(list, "deep", BL_ACTION_DEFAULT)};
    char text[256];
    for (size_t i = 0; i < 253; i++) {
        text[i] = i % 2 == 0 ? 'x' : '.';
    }
    text[253] = '\0';
    struct name name = name_of(text);
    struct bl_match matches[BL_NAME_LABELS_MAX + 1];
    assert_int_equal(bl_list_find(list, name.octets, name.size, matches), 0);
    for (size_t at = 0; at < name.size; at += 2) {
        assert_int_equal(bl_list_add(list, name.octets + at, name.size - at, &membership), 1);
    }
    assert_int_equal(bl_list_find(list, name.octets, name.size, matches), BL_NAME_LABELS_MAX + 1);
    for (size_t i = 0; i <= BL_NAME_LABELS_MAX; i++) {
        assert_int_equal(matches[i].offset, 2 * i);
    }
    struct bl_lookup lookups[BL_BATCH_MAX];
    for (size_t i = 0; i < BL_BATCH_MAX; i++) {
        size_t at = i < 2 ? 0 : name.size - 1 - 2 * (i % 10);
        lookups[i].name = name.octets + at;
        lookups[i].name_size = (uint8_t)(name.size - at);
    }
    bl_list_find_batch(list, lookups, BL_BATCH_MAX);
    for (size_t i = 0; i < BL_BATCH_MAX; i++) {
        size_t expected = i < 2 ? BL_NAME_LABELS_MAX + 1 : i % 10 + 1;
        bool more = expected > BL_BATCH_MATCHES_MAX;
        assert_int_equal(lookups[i].more, more);
        assert_int_equal(lookups[i].count, more ? BL_BATCH_MATCHES_MAX : expected);
        assert_int_equal(lookups[i].matches[0].offset, 0);
    }
    bl_list_free(list);
}

/* ---- feeds, words, limits ---- */

static void takes_feeds_up_to_the_limit_and_uses_an_id_again_after_a_publish(void **state)
{
    (void)state;
    struct bl_list *list = list_new();
    char name[BL_FEED_NAME_SIZE_MAX];
    for (uint32_t i = 0; i < BL_FEEDS_MAX; i++) {
        snprintf(name, sizeof(name), "feed.%u", i);
        assert_int_equal(feed_set(list, name, BL_ACTION_DEFAULT), i);
    }
    struct bl_feed feed = feed_of("one-more", BL_ACTION_DEFAULT);
    assert_int_equal(bl_list_feed_set(list, &feed), -ENOSPC);
    assert_int_equal(bl_list_feed_remove(list, 77), 0);
    assert_int_equal(bl_list_feed_remove(list, 77), -ENOENT);
    assert_int_equal(bl_list_feed_set(list, &feed), -ENOSPC);
    assert_string_equal(bl_list_feed(list, 77)->name, "feed.77"); /* readers may still hold it */
    bl_list_publish(list);
    assert_int_equal(bl_list_feed_set(list, &feed), 77);
    assert_string_equal(bl_list_feed(list, 77)->name, "one-more");
    bl_list_free(list);
}

static void refuses_feeds_with_bad_properties(void **state)
{
    (void)state;
    struct bl_list *list = list_new();
    static const char *const names[] = {"", ".a", "-a", "A", "a b", "a/b", "\xc3\xa4"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct bl_feed feed = feed_of(names[i], BL_ACTION_DEFAULT);
        assert_int_equal(bl_list_feed_set(list, &feed), -EINVAL);
    }
    struct bl_feed feed = feed_of("a", BL_ACTION_DEFAULT);
    memset(feed.label, 'x', sizeof(feed.label));
    assert_int_equal(bl_list_feed_set(list, &feed), -EINVAL);
    feed = feed_of("a", (enum bl_action)(BL_ACTION_ALLOW + 1));
    assert_int_equal(bl_list_feed_set(list, &feed), -EINVAL);
    memset(feed.name, 'x', sizeof(feed.name));
    feed.action = BL_ACTION_DEFAULT;
    assert_int_equal(bl_list_feed_set(list, &feed), -EINVAL);
    feed.name[sizeof(feed.name) - 1] = '\0';
    assert_int_equal(bl_list_feed_set(list, &feed), 0);
    bl_list_free(list);
}

static void keeps_a_feeds_texts_for_the_hits_that_carry_them(void **state)
{
    (void)state;
    struct bl_list *list = list_new();
    struct bl_feed feed = feed_of("a", BL_ACTION_DEFAULT);
    strcpy(feed.label, "first");
    uint16_t id = (uint16_t)bl_list_feed_set(list, &feed);
    const struct bl_feed *first = bl_list_feed(list, id);
    strcpy(feed.label, "second");
    assert_int_equal(bl_list_feed_set(list, &feed), id);
    bl_list_publish(list);
    assert_string_equal(first->label, "first");
    assert_string_equal(bl_list_feed(list, id)->label, "second");
    uint64_t octets = bl_list_octets(list);
    for (int i = 0; i < 1000; i++) { /* going to and fro costs nothing */
        strcpy(feed.label, i % 2 == 0 ? "first" : "second");
        assert_int_equal(bl_list_feed_set(list, &feed), id);
    }
    assert_int_equal(bl_list_octets(list), octets);
    assert_int_equal(bl_list_feed_remove(list, id), 0);
    bl_list_publish(list);
    assert_string_equal(first->name, "a");
    bl_list_free(list);
}

static void numbers_words_and_knows_when_there_are_too_many(void **state)
{
    (void)state;
    struct bl_list *list = list_new();
    char text[BL_WORD_SIZE_MAX + 1];
    assert_int_equal(bl_list_word(list, "", 0), 0);
    assert_string_equal(bl_list_word_text(list, 0), "");
    for (uint32_t i = 1; i <= BL_WORDS_MAX; i++) {
        int size = snprintf(text, sizeof(text), "word %u", i);
        assert_int_equal(bl_list_word(list, text, (size_t)size), i);
    }
    assert_int_equal(bl_list_word(list, "phishing", 8), -ENOSPC);
    assert_int_equal(bl_list_word(list, "word 4711 and more", 9), 4711);
    assert_string_equal(bl_list_word_text(list, 4711), "word 4711");
    memset(text, 'x', sizeof(text));
    assert_int_equal(bl_list_word(list, text, BL_WORD_SIZE_MAX), -EINVAL);
    assert_int_equal(bl_list_word(list, "a\0b", 3), -EINVAL);
    bl_list_free(list);
}

static void lets_64_feeds_list_a_name_and_no_more(void **state)
{
    (void)state;
    struct bl_list *list = list_new();
    char name[BL_FEED_NAME_SIZE_MAX];
    for (uint32_t i = 0; i <= BL_MEMBERSHIPS_MAX; i++) {
        snprintf(name, sizeof(name), "feed%u", i);
        struct bl_membership membership = {.feed = feed_set(list, name, BL_ACTION_DEFAULT)};
        assert_int_equal(add(list, "evil.com", membership), i < BL_MEMBERSHIPS_MAX ? 1 : -ENOSPC);
    }
    struct bl_match matches[BL_NAME_LABELS_MAX + 1];
    assert_int_equal(find(list, "evil.com", matches), 1);
    assert_int_equal(matches[0].context->count, BL_MEMBERSHIPS_MAX);
    assert_int_equal(bl_list_feed_entries(list, BL_MEMBERSHIPS_MAX), 0);
    assert_int_equal(take_off(list, "evil.com", BL_MEMBERSHIPS_MAX), 0);
    assert_int_equal(take_off(list, "evil.com", 13), 1);
    struct bl_membership last = {.feed = BL_MEMBERSHIPS_MAX};
    assert_int_equal(add(list, "evil.com", last), 1);
    bl_list_free(list);
}

static void has_texts_for_actions_and_tiers(void **state)
{
    (void)state;
    for (int i = BL_ACTION_DEFAULT; i <= BL_ACTION_ALLOW; i++) {
        const char *text = bl_action_text((enum bl_action)i);
        enum bl_action action;
        assert_int_equal(bl_action_from_text(text, strlen(text), &action), 0);
        assert_int_equal(action, i);
    }
    for (int i = BL_TIER_LEGAL; i <= BL_TIER_FEED; i++) {
        const char *text = bl_tier_text((enum bl_tier)i);
        enum bl_tier tier;
        assert_int_equal(bl_tier_from_text(text, strlen(text), &tier), 0);
        assert_int_equal(tier, i);
    }
    enum bl_action action = BL_ACTION_LOG;
    enum bl_tier tier = BL_TIER_FEED;
    assert_int_equal(bl_action_from_text("Allow", 5, &action), -EINVAL);
    assert_int_equal(bl_action_from_text("allowed", 7, &action), -EINVAL);
    assert_int_equal(bl_tier_from_text("", 0, &tier), -EINVAL);
    assert_int_equal(action, BL_ACTION_LOG);
    assert_int_equal(tier, BL_TIER_FEED);
    assert_null(bl_action_text((enum bl_action)(BL_ACTION_ALLOW + 1)));
    assert_null(bl_tier_text((enum bl_tier)(BL_TIER_FEED + 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_naive_model),
        cmocka_unit_test(finds_all_of_many_names_and_no_other_and_gives_memory_back),
        cmocka_unit_test(finds_every_suffix_of_a_name_of_127_labels),
        cmocka_unit_test(takes_feeds_up_to_the_limit_and_uses_an_id_again_after_a_publish),
        cmocka_unit_test(refuses_feeds_with_bad_properties),
        cmocka_unit_test(keeps_a_feeds_texts_for_the_hits_that_carry_them),
        cmocka_unit_test(numbers_words_and_knows_when_there_are_too_many),
        cmocka_unit_test(lets_64_feeds_list_a_name_and_no_more),
        cmocka_unit_test(has_texts_for_actions_and_tiers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
