/* The precedence of the list: tiers, longest name, exact before suffix, allow before deny,
 * priority. */
#include "resolver/policy.h"

#include "blocklist/rcu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOUR 500000u /* the present of these tests */

static struct bl_list *list;

static int make_list(void **state)
{
    (void)state;
    struct bl_secret secret = {{0}};
    list = bl_list_new(&secret);
    bl_rcu_register();
    return list == NULL;
}

static int free_list(void **state)
{
    (void)state;
    bl_rcu_unregister();
    bl_list_free(list);
    return 0;
}

static int feed(const char *name, enum bl_tier tier, enum bl_action action, int priority)
{
    struct bl_feed properties = {.tier = tier, .action = action, .priority = priority};
    snprintf(properties.name, sizeof(properties.name), "%s", name);
    int id = bl_list_feed_set(list, &properties);
    assert_true(id >= 0);
    return id;
}

static void add(int feed_id, const char *text, struct bl_membership membership)
{
    uint8_t name[BL_NAME_SIZE_MAX];
    int size = bl_name_from_text(text, strlen(text), name);
    assert_true(size > 0);
    membership.feed = (uint16_t)feed_id;
    assert_int_equal(bl_list_add(list, name, (size_t)size, &membership), 1);
    bl_list_publish(list);
}

static const struct bl_membership suffix = {.scope = BL_SCOPE_SUFFIX};
static const struct bl_membership exact = {.scope = BL_SCOPE_EXACT};

static struct policy_verdict decide(const char *text)
{
    uint8_t name[BL_NAME_SIZE_MAX];
    struct bl_match matches[BL_NAME_LABELS_MAX + 1];
    struct policy_verdict verdict;
    int size = bl_name_from_text(text, strlen(text), name);
    assert_true(size > 0);
    bl_rcu_online();
    size_t count = bl_list_find(list, name, (size_t)size, matches);
    policy_decide(list, matches, count, BL_ACTION_ADDRESS, HOUR, &verdict);
    bl_rcu_offline();
    return verdict;
}

static void expect(const char *name, const char *feed_name, enum bl_action action)
{
    struct policy_verdict verdict = decide(name);
    if (!verdict.decided || strcmp(verdict.rule.feed->name, feed_name) != 0 ||
        verdict.rule.action != action) {
        fail_msg("%s: %s %d", name, verdict.decided ? verdict.rule.feed->name : "undecided",
                 verdict.decided ? (int)verdict.rule.action : -1);
    }
}

static void a_name_in_no_list_is_not_decided(void **state)
{
    (void)state;
    add(feed("f", BL_TIER_FEED, BL_ACTION_DEFAULT, 0), "evil.example", suffix);
    assert_false(decide("good.example").decided);
    assert_false(decide("notevil.example").decided);
    assert_false(decide("example").decided);
}

static void a_suffix_holds_below_and_an_exact_name_does_not(void **state)
{
    (void)state;
    int f = feed("f", BL_TIER_FEED, BL_ACTION_DEFAULT, 0);
    add(f, "evil.example", suffix);
    add(f, "only.example", exact);
    expect("evil.example", "f", BL_ACTION_ADDRESS);
    expect("a.b.evil.example", "f", BL_ACTION_ADDRESS);
    expect("only.example", "f", BL_ACTION_ADDRESS);
    assert_false(decide("www.only.example").decided);
}

static void the_first_tier_with_a_match_decides(void **state)
{
    (void)state;
    add(feed("feed", BL_TIER_FEED, BL_ACTION_DEFAULT, 9), "evil.example.com", exact);
    add(feed("feed-allow", BL_TIER_FEED, BL_ACTION_ALLOW, 9), "example.com", suffix);
    expect("evil.example.com", "feed", BL_ACTION_ADDRESS); /* a feed's allow above frees nothing */
    add(feed("operator", BL_TIER_OPERATOR, BL_ACTION_ALLOW, 0), "example.com", suffix);
    expect("evil.example.com", "operator", BL_ACTION_ALLOW); /* an operator's does */
    add(feed("order", BL_TIER_LEGAL, BL_ACTION_DEFAULT, 0), "com", suffix);
    expect("evil.example.com", "order", BL_ACTION_ADDRESS);
}

static void inside_a_tier_the_longest_name_wins(void **state)
{
    (void)state;
    add(feed("short", BL_TIER_FEED, BL_ACTION_DEFAULT, 100), "example.com", suffix);
    add(feed("long", BL_TIER_FEED, BL_ACTION_ALLOW, 0), "good.example.com", suffix);
    expect("www.good.example.com", "long", BL_ACTION_ALLOW);
    expect("www.bad.example.com", "short", BL_ACTION_ADDRESS);
}

static void at_one_name_exact_goes_before_suffix(void **state)
{
    (void)state;
    add(feed("suffix", BL_TIER_FEED, BL_ACTION_ALLOW, 100), "example.com", suffix);
    add(feed("exact", BL_TIER_FEED, BL_ACTION_NXDOMAIN, 0), "example.com", exact);
    expect("example.com", "exact", BL_ACTION_NXDOMAIN);
    expect("www.example.com", "suffix", BL_ACTION_ALLOW);
}

static void at_one_name_allow_goes_before_deny(void **state)
{
    (void)state;
    add(feed("deny", BL_TIER_FEED, BL_ACTION_DEFAULT, 1000), "example.com", suffix);
    add(feed("allow", BL_TIER_FEED, BL_ACTION_ALLOW, -1000), "example.com", suffix);
    expect("example.com", "allow", BL_ACTION_ALLOW);
}

static void among_denies_the_highest_priority_gives_the_action(void **state)
{
    (void)state;
    add(feed("a-low", BL_TIER_FEED, BL_ACTION_NODATA, 1), "example.com", suffix);
    add(feed("z-high", BL_TIER_FEED, BL_ACTION_REFUSED, 2), "example.com", suffix);
    expect("example.com", "z-high", BL_ACTION_REFUSED);
    add(feed("b-high", BL_TIER_FEED, BL_ACTION_DROP, 2), "example.com", suffix);
    expect("example.com", "b-high", BL_ACTION_DROP); /* equal: by name, on every node alike */
}

static void a_memberships_own_action_goes_before_its_feeds(void **state)
{
    (void)state;
    struct bl_membership refused = suffix;
    refused.action = BL_ACTION_REFUSED;
    add(feed("f", BL_TIER_FEED, BL_ACTION_NXDOMAIN, 0), "example.com", refused);
    expect("example.com", "f", BL_ACTION_REFUSED);
}

static void a_log_only_rule_is_reported_and_hides_no_deny(void **state)
{
    (void)state;
    add(feed("log", BL_TIER_OPERATOR, BL_ACTION_LOG, 100), "www.example.com", exact);
    struct policy_verdict verdict = decide("www.example.com");
    assert_false(verdict.decided);
    assert_true(verdict.logged);
    assert_string_equal(verdict.log_rule.feed->name, "log");
    add(feed("deny", BL_TIER_FEED, BL_ACTION_DEFAULT, 0), "example.com", suffix);
    expect("www.example.com", "deny", BL_ACTION_ADDRESS);
    assert_true(decide("www.example.com").logged);
}

static void what_is_not_valid_now_is_set_aside(void **state)
{
    (void)state;
    static const struct {
        uint32_t from;
        uint32_t until;
        bool holds;
    } rows[] = {
        {0, 0, true},        {HOUR, 0, true},        {HOUR + 1, 0, false},    {0, HOUR, false},
        {0, HOUR + 1, true}, {HOUR, HOUR + 1, true}, {HOUR - 2, HOUR, false},
    };
    int f = feed("f", BL_TIER_FEED, BL_ACTION_DEFAULT, 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char name[64];
        struct bl_membership timed = suffix;
        timed.from_hour = rows[i].from;
        timed.until_hour = rows[i].until;
        snprintf(name, sizeof(name), "n%zu.example", i);
        add(f, name, timed);
        assert_int_equal(decide(name).decided, rows[i].holds);
    }
}

struct explained {
    unsigned count;
    unsigned won;
    enum policy_place places[8];
};

static void note(void *context, const struct policy_rule *rule, enum policy_place place)
{
    struct explained *explained = context;
    (void)rule;
    explained->places[explained->count++] = place;
    explained->won += place == POLICY_WON;
    assert_true(strlen(policy_place_text(place)) > 0);
}

static void explaining_names_one_winner_and_why_each_other_lost(void **state)
{
    (void)state;
    add(feed("a", BL_TIER_FEED, BL_ACTION_DEFAULT, 5), "example.com", suffix);
    add(feed("b", BL_TIER_FEED, BL_ACTION_DEFAULT, 4), "example.com", suffix);
    add(feed("c", BL_TIER_FEED, BL_ACTION_LOG, 4), "example.com", suffix);
    add(feed("d", BL_TIER_FEED, BL_ACTION_DEFAULT, 4), "com", exact);

    static const uint8_t name[] = "\7example\3com";
    struct bl_match matches[BL_NAME_LABELS_MAX + 1];
    struct explained explained = {0};
    bl_rcu_online();
    size_t count = bl_list_find(list, name, sizeof(name), matches);
    policy_explain(list, matches, count, BL_ACTION_ADDRESS, HOUR, note, &explained);
    bl_rcu_offline();
    assert_int_equal(explained.count, 4);
    assert_int_equal(explained.won, 1);
    bool seen[POLICY_LATER_FEED_NAME + 1] = {false};
    for (unsigned i = 0; i < explained.count; i++) {
        seen[explained.places[i]] = true;
    }
    assert_true(seen[POLICY_LOWER_PRIORITY] && seen[POLICY_LOG_ONLY] && seen[POLICY_NOT_BELOW]);
}

#define LISTED(test) cmocka_unit_test_setup_teardown(test, make_list, free_list)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LISTED(a_name_in_no_list_is_not_decided),
        LISTED(a_suffix_holds_below_and_an_exact_name_does_not),
        LISTED(the_first_tier_with_a_match_decides),
        LISTED(inside_a_tier_the_longest_name_wins),
        LISTED(at_one_name_exact_goes_before_suffix),
        LISTED(at_one_name_allow_goes_before_deny),
        LISTED(among_denies_the_highest_priority_gives_the_action),
        LISTED(a_memberships_own_action_goes_before_its_feeds),
        LISTED(a_log_only_rule_is_reported_and_hides_no_deny),
        LISTED(what_is_not_valid_now_is_set_aside),
        LISTED(explaining_names_one_winner_and_why_each_other_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
