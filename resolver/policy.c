#include "resolver/policy.h"

#include <assert.h>
#include <string.h>

static bool is_allow(const struct policy_rule *rule)
{
    return rule->action == BL_ACTION_ALLOW;
}

/* The one order of rules: negative when `a` goes before `b`, and why the later one loses. The
 * membership's feed id is no tie-break: it differs from node to node. */
static int compare(const struct policy_rule *a, const struct policy_rule *b,
                   enum policy_place *ret_loser)
{
    if (a->feed->tier != b->feed->tier) {
        *ret_loser = POLICY_WEAKER_TIER;
        return a->feed->tier < b->feed->tier ? -1 : 1;
    }
    if (a->offset != b->offset) {
        *ret_loser = POLICY_SHORTER_NAME;
        return a->offset < b->offset ? -1 : 1;
    }
    if (a->membership->scope != b->membership->scope) {
        *ret_loser = POLICY_SUFFIX_LOSES_TO_EXACT;
        return a->membership->scope == BL_SCOPE_EXACT ? -1 : 1;
    }
    if (is_allow(a) != is_allow(b)) {
        *ret_loser = POLICY_DENY_LOSES_TO_ALLOW;
        return is_allow(a) ? -1 : 1;
    }
    if (a->feed->priority != b->feed->priority) {
        *ret_loser = POLICY_LOWER_PRIORITY;
        return a->feed->priority > b->feed->priority ? -1 : 1;
    }
    *ret_loser = POLICY_LATER_FEED_NAME;
    return strcmp(a->feed->name, b->feed->name);
}

static bool is_valid(const struct bl_membership *membership, uint32_t now_hour)
{
    return now_hour >= membership->from_hour &&
           (membership->until_hour == 0 || now_hour < membership->until_hour);
}

static struct policy_rule make_rule(const struct bl_list *list,
                                    const struct bl_membership *membership, uint8_t offset,
                                    enum bl_action initial)
{
    struct policy_rule rule = {
        .feed = bl_list_feed(list, membership->feed),
        .membership = membership,
        .offset = offset,
        .action = membership->action,
    };
    if (rule.action == BL_ACTION_DEFAULT) {
        rule.action = rule.feed->action;
    }
    if (rule.action == BL_ACTION_DEFAULT) {
        rule.action = initial;
    }
    return rule;
}

/* Whether the rule takes part in the decision; if not, why. */
static bool takes_part(const struct policy_rule *rule, uint32_t now_hour,
                       enum policy_place *ret_place)
{
    if (rule->offset != 0 && rule->membership->scope == BL_SCOPE_EXACT) {
        *ret_place = POLICY_NOT_BELOW;
        return false;
    }
    if (!is_valid(rule->membership, now_hour)) {
        *ret_place = POLICY_NOT_VALID_NOW;
        return false;
    }
    if (rule->action == BL_ACTION_LOG) {
        *ret_place = POLICY_LOG_ONLY;
        return false;
    }
    return true;
}

static void keep_better(bool *set, struct policy_rule *best, const struct policy_rule *rule)
{
    enum policy_place loser;
    if (!*set || compare(rule, best, &loser) < 0) {
        *best = *rule;
        *set = true;
    }
}

void policy_decide(const struct bl_list *list, const struct bl_match *matches, size_t count,
                   enum bl_action initial, uint32_t now_hour, struct policy_verdict *ret_verdict)
{
    assert(initial != BL_ACTION_DEFAULT);

    ret_verdict->decided = false;
    ret_verdict->logged = false;
    for (size_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < matches[i].context->count; j++) {
            enum policy_place place;
            struct policy_rule rule =
                make_rule(list, &matches[i].context->memberships[j], matches[i].offset, initial);
            if (takes_part(&rule, now_hour, &place)) {
                keep_better(&ret_verdict->decided, &ret_verdict->rule, &rule);
            } else if (place == POLICY_LOG_ONLY) {
                keep_better(&ret_verdict->logged, &ret_verdict->log_rule, &rule);
            }
        }
    }
}

void policy_explain(const struct bl_list *list, const struct bl_match *matches, size_t count,
                    enum bl_action initial, uint32_t now_hour,
                    void (*call)(void *context, const struct policy_rule *rule,
                                 enum policy_place place),
                    void *context)
{
    struct policy_verdict verdict;
    policy_decide(list, matches, count, initial, now_hour, &verdict);

    for (size_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < matches[i].context->count; j++) {
            struct policy_rule rule =
                make_rule(list, &matches[i].context->memberships[j], matches[i].offset, initial);
            enum policy_place place = POLICY_WON;
            if (takes_part(&rule, now_hour, &place) && rule.membership != verdict.rule.membership) {
                (void)compare(&verdict.rule, &rule, &place);
            }
            call(context, &rule, place);
        }
    }
}

const char *policy_place_text(enum policy_place place)
{
    static const char *const texts[] = {
        [POLICY_WON] = "decides",
        [POLICY_LOG_ONLY] = "log only: counted, decides nothing",
        [POLICY_NOT_BELOW] = "exact: holds for the listed name alone",
        [POLICY_NOT_VALID_NOW] = "outside its validity",
        [POLICY_WEAKER_TIER] = "a stronger tier decides",
        [POLICY_SHORTER_NAME] = "a longer name decides",
        [POLICY_SUFFIX_LOSES_TO_EXACT] = "an exact rule for the name decides",
        [POLICY_DENY_LOSES_TO_ALLOW] = "an allow at the same name decides",
        [POLICY_LOWER_PRIORITY] = "a feed of higher priority decides",
        [POLICY_LATER_FEED_NAME] = "equal priority: the feed first by name decides",
    };
    return texts[place];
}
