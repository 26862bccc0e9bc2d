#include "resolver/api_calls.h"

#include "blocklist/rcu.h"
#include "resolver/answer.h"
#include "resolver/policy.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANSWER_SIZE UDP_PACKET_SIZE_MAX /* what the list answers is never larger */
#define EDE_OPTION 15u                  /* RFC 8914, 2 */

/* What was asked, and what came of it. */
struct why {
    const struct api *api;
    const struct live *live;
    struct question question;
    uint8_t client[16];
    const char *client_text; /* as asked; NULL: for any client */
    json_t *document;
    json_t *rules;
};

/* ---- what was asked ---- */

static bool read_client(const char *text, uint8_t ret_address[static 16])
{
    uint8_t address[16] = {[10] = 0xff, [11] = 0xff};
    if (inet_pton(AF_INET, text, address + 12) != 1 && inet_pton(AF_INET6, text, address) != 1) {
        return false;
    }
    memcpy(ret_address, address, sizeof(address));
    return true;
}

/* NULL, or what is wrong with the arguments. */
static const char *read_arguments(struct why *why, const struct api_request *request)
{
    const char *name = request->argument(request->context, "name");
    const char *type = request->argument(request->context, "type");
    const char *client = request->argument(request->context, "client");
    struct question *question = &why->question;
    if (name == NULL) {
        return "name is missing; ask for /api/v1/why?name=example.com";
    }
    int size = bl_name_from_text(name, strlen(name), question->name);
    if (size < 0) {
        return "name is no domain name: a label is empty or longer than 63 octets, or the name is "
               "longer than 255";
    }
    ldns_rr_type number = ldns_get_rr_type_by_name(type != NULL && type[0] != '\0' ? type : "A");
    if (number == 0 || number == LDNS_RR_TYPE_OPT) {
        return "type is no record type; write A, AAAA, ANY, MX... or TYPE and its number";
    }
    if (client != NULL && !read_client(client, why->client)) {
        return "client is neither an IPv4 nor an IPv6 address";
    }
    why->client_text = client;
    question->flags = DNS_FLAG_RD;
    question->type = (uint16_t)number;
    question->class = DNS_IN;
    question->udp_size = ANSWER_SIZE;
    question->edns = true;
    question->name_size = (uint8_t)size;
    question->spelled = question->name;
    return NULL;
}

/* ---- what the client would get: the workers' own answer, as text ---- */

static void add_line(json_t *lines, const char *text)
{
    json_array_append_new(lines, api_text(text));
}

static void add_records(json_t *lines, const ldns_rr_list *records)
{
    for (size_t i = 0; i < ldns_rr_list_rr_count(records); i++) {
        char *text = ldns_rr2str(ldns_rr_list_rr(records, i));
        if (text == NULL) {
            continue;
        }
        text[strcspn(text, "\n")] = '\0';
        for (char *c = text; *c != '\0'; c++) {
            *c = *c == '\t' ? ' ' : *c;
        }
        add_line(lines, text);
        free(text);
    }
}

/* The OPT record's one option, if it is an extended error. */
static void add_extended_error(json_t *lines, const ldns_pkt *packet)
{
    const ldns_rdf *options = ldns_pkt_edns_data(packet);
    size_t size = options != NULL ? ldns_rdf_size(options) : 0;
    const uint8_t *octets = options != NULL ? ldns_rdf_data(options) : NULL;
    if (size < 6 || octets[0] != 0 || octets[1] != EDE_OPTION) {
        return;
    }
    size_t option_size = (size_t)octets[2] << 8 | octets[3];
    if (option_size < 2 || option_size > size - 4) {
        return;
    }
    char text[CONFIG_TEXT_SIZE_MAX + 64];
    snprintf(text, sizeof(text), "extended error %u%s%.*s", (unsigned)octets[4] << 8 | octets[5],
             option_size > 2 ? ": " : "", (int)(option_size - 2), (const char *)octets + 6);
    add_line(lines, text);
}

static json_t *text_of(const uint8_t *answer, size_t size)
{
    json_t *lines = json_array();
    ldns_pkt *packet = NULL;
    if (size == 0) {
        add_line(lines, "no answer: the question is dropped");
        return lines;
    }
    if (ldns_wire2pkt(&packet, answer, size) != LDNS_STATUS_OK) {
        add_line(lines, "the answer is malformed: please report this");
        return lines;
    }
    char *rcode = ldns_pkt_rcode2str(ldns_pkt_get_rcode(packet));
    char status[64];
    snprintf(status, sizeof(status), "status %s%s", rcode != NULL ? rcode : "?",
             ldns_pkt_ancount(packet) == 0 && ldns_pkt_get_rcode(packet) == LDNS_RCODE_NOERROR
                 ? ", no data"
                 : "");
    free(rcode);
    add_line(lines, status);
    add_records(lines, ldns_pkt_answer(packet));
    add_records(lines, ldns_pkt_authority(packet));
    add_extended_error(lines, packet);
    ldns_pkt_free(packet);
    return lines;
}

/* ---- the rules ---- */

static void set_entry(json_t *object, const struct why *why, uint8_t offset)
{
    char text[BL_NAME_TEXT_SIZE_MAX];
    bl_name_to_text(why->question.name + offset, text);
    api_set_text(object, "entry", text);
}

static void set_rule(json_t *object, const struct why *why, const struct policy_rule *rule)
{
    const struct bl_list *list = why->api->parts.list;
    const struct bl_membership *membership = rule->membership;
    const char *category = bl_list_word_text(list, membership->category);
    set_entry(object, why, rule->offset);
    api_set_text(object, "feed", rule->feed->name);
    api_set_text(object, "tier", bl_tier_text(rule->feed->tier));
    api_set_text(object, "action", bl_action_text(rule->action));
    api_set_text(object, "scope", membership->scope == BL_SCOPE_EXACT ? "exact" : "suffix");
    api_set_text(object, "label", rule->feed->label);
    api_set_text(object, "category", category[0] != '\0' ? category : rule->feed->category);
    api_set_text(object, "family", bl_list_word_text(list, membership->family));
    api_set_text(object, "actor", bl_list_word_text(list, membership->actor));
    api_set_text(object, "operation", bl_list_word_text(list, membership->operation));
    json_object_set_new(object, "priority", json_integer(rule->feed->priority));
}

static void add_rule(void *context, const struct policy_rule *rule, enum policy_place place)
{
    static const char *const words[] = {
        [POLICY_WON] = "won",
        [POLICY_LOG_ONLY] = "log_only",
        [POLICY_NOT_BELOW] = "not_below",
        [POLICY_NOT_VALID_NOW] = "not_valid_now",
        [POLICY_WEAKER_TIER] = "weaker_tier",
        [POLICY_SHORTER_NAME] = "shorter_name",
        [POLICY_SUFFIX_LOSES_TO_EXACT] = "suffix_loses_to_exact",
        [POLICY_DENY_LOSES_TO_ALLOW] = "deny_loses_to_allow",
        [POLICY_LOWER_PRIORITY] = "lower_priority",
        [POLICY_LATER_FEED_NAME] = "later_feed_name",
    };
    struct why *why = context;
    json_t *object = json_object();
    set_rule(object, why, rule);
    api_set_text(object, "place", words[place]);
    api_set_text(object, "text", policy_place_text(place));
    json_array_append_new(why->rules, object);
}

/* ---- the decision ---- */

static size_t make_answer(const struct why *why, const struct policy_verdict *verdict,
                          uint8_t ret_answer[static ANSWER_SIZE])
{
    const struct policy_rule *rule = &verdict->rule;
    const struct config *config = why->live->config;
    if (rule->action == BL_ACTION_DROP) {
        return 0;
    }
    return answer_listed(&why->question, &config->sinkhole, rule->action, rule->offset,
                         rule->feed->label, rule->feed->tier == BL_TIER_LEGAL, ret_answer,
                         ANSWER_SIZE);
}

/* A client that may not ask gets this instead, listed or not. */
static void check_access(const struct why *why)
{
    uint8_t answer[ANSWER_SIZE];
    size_t size = 0;
    if (access_allows(why->live->access, why->client)) {
        api_set_text(why->document, "access", "allowed");
        return;
    }
    bool refused = why->live->config->access.others == CONFIG_OTHERS_REFUSE;
    if (refused) {
        size = answer_error(&why->question, DNS_REFUSED, ANSWER_EDE_PROHIBITED, "", answer,
                            sizeof(answer));
    }
    api_set_text(why->document, "access", refused ? "refused" : "dropped");
    json_object_set_new(why->document, "answer", text_of(answer, size));
}

/* Online: what the list and the configuration lend holds until the end. */
static void decide(struct why *why)
{
    const struct bl_list *list = why->api->parts.list;
    enum bl_action initial = why->live->config->sinkhole.action;
    uint32_t now_hour = (uint32_t)(time(NULL) / 3600);
    struct bl_match matches[BL_NAME_LABELS_MAX + 1];
    struct policy_verdict verdict;
    uint8_t answer[ANSWER_SIZE];
    size_t count = bl_list_find(list, why->question.name, why->question.name_size, matches);
    policy_decide(list, matches, count, initial, now_hour, &verdict);
    policy_explain(list, matches, count, initial, now_hour, add_rule, why);

    bool blocks = policy_blocks(&verdict);
    api_set_text(why->document, "decision", blocks ? "block" : "resolve");
    if (verdict.decided || verdict.logged) {
        set_rule(why->document, why, verdict.decided ? &verdict.rule : &verdict.log_rule);
    }
    if (blocks) {
        size_t size = make_answer(why, &verdict, answer);
        json_object_set_new(why->document, "answer", text_of(answer, size));
    }
    if (why->client_text != NULL) {
        api_set_text(why->document, "client", why->client_text);
        check_access(why);
    }
}

void api_why(const struct api *api, const struct api_request *request, struct api_reply *ret_reply)
{
    static const char *const keys[] = {"action", "entry", "feed", "tier", "label", "category"};
    struct why why = {.api = api};
    char name[BL_NAME_TEXT_SIZE_MAX];
    const char *problem = read_arguments(&why, request);
    if (problem != NULL) {
        api_refuse(400, problem, ret_reply);
        return;
    }
    why.document = json_object();
    why.rules = json_array();
    bl_name_to_text(why.question.name, name);
    char *type = ldns_rr_type2str((ldns_rr_type)why.question.type);
    api_set_text(why.document, "name", name);
    api_set_text(why.document, "type", type != NULL ? type : "");
    free(type);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        api_set_text(why.document, keys[i], "");
    }
    json_object_set_new(why.document, "answer", json_array());

    bl_rcu_register();
    bl_rcu_online();
    why.live = atomic_load_explicit(api->parts.live, memory_order_acquire);
    decide(&why);
    bl_rcu_offline();
    bl_rcu_unregister();
    json_object_set_new(why.document, "rules", why.rules);
    api_reply_json(200, why.document, ret_reply);
}
