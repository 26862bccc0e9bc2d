/* policy.h - which rule holds for a question, by the precedence of the list.
 *
 * Tiers: legal order, operator, feeds. The first tier with a rule that holds decides. Inside it the
 * longest matching name wins; at the same name exact before suffix, then allow before deny, then
 * the highest priority, then the feed's name (so that every node decides alike). Rules that do not
 * hold now, and log-only rules, are set aside first; the best log-only rule is still reported.
 *
 * policy_decide() is what the workers run and policy_explain() shows: there is no other
 * precedence. */
#ifndef RESOLVER_POLICY_H
#define RESOLVER_POLICY_H

#include "blocklist/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One membership that matched a question. Lent by the list: good until the reader goes offline. */
struct policy_rule {
    const struct bl_feed *feed;
    const struct bl_membership *membership;
    enum bl_action action; /* membership's, else feed's, else the configuration's; never DEFAULT */
    uint8_t offset;        /* where in the question's name the listed name starts */
};

struct policy_verdict {
    bool decided; /* a rule holds: `rule` is set, and may be an ALLOW */
    bool logged;  /* a log-only rule matched: `log_rule` is set */
    struct policy_rule rule;
    struct policy_rule log_rule;
};

/* True when the question must not be resolved for the client. */
static inline bool policy_blocks(const struct policy_verdict *verdict)
{
    return verdict->decided && verdict->rule.action != BL_ACTION_ALLOW;
}

/* Decides over the matches of one name. `initial` is the configuration's action for DEFAULT;
 * `now_hour` counts hours since 1970 UTC. */
void policy_decide(const struct bl_list *list, const struct bl_match *matches, size_t count,
                   enum bl_action initial, uint32_t now_hour, struct policy_verdict *ret_verdict);

/* Why a rule lost, or that it won. */
enum policy_place {
    POLICY_WON,
    POLICY_LOG_ONLY,      /* counted, does not decide */
    POLICY_NOT_BELOW,     /* an exact rule above the name asked for: it does not hold */
    POLICY_NOT_VALID_NOW, /* outside its validity */
    POLICY_WEAKER_TIER,
    POLICY_SHORTER_NAME,
    POLICY_SUFFIX_LOSES_TO_EXACT,
    POLICY_DENY_LOSES_TO_ALLOW,
    POLICY_LOWER_PRIORITY,
    POLICY_LATER_FEED_NAME,
};
const char *policy_place_text(enum policy_place place);

/* Calls back for every rule considered, in the order of the matches. */
void policy_explain(const struct bl_list *list, const struct bl_match *matches, size_t count,
                    enum bl_action initial, uint32_t now_hour,
                    void (*call)(void *context, const struct policy_rule *rule,
                                 enum policy_place place),
                    void *context);

#endif
