/* The pipeline without sockets: packets in, outcomes out. */
#include "resolver/query.h"

#include "blocklist/rcu.h"
#include "resolver/answer.h"

#include "query_fixture.h"

#include <errno.h>
#include <ldns/ldns.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- what the tests say ---- */

static void list_name(const char *feed_name, enum bl_tier tier, enum bl_action action,
                      const char *text)
{
    struct bl_list *list = (struct bl_list *)(uintptr_t)parts.list;
    struct bl_feed feed = {.tier = tier, .action = action, .label = "A List", .category = "c2"};
    snprintf(feed.name, sizeof(feed.name), "%s", feed_name);
    int id = bl_list_feed_set(list, &feed);
    uint8_t name[BL_NAME_SIZE_MAX];
    int size = bl_name_from_text(text, strlen(text), name);
    struct bl_membership membership = {.feed = (uint16_t)id, .scope = BL_SCOPE_SUFFIX};
    assert_true(id >= 0 && size > 0);
    assert_int_equal(bl_list_add(list, name, (size_t)size, &membership), 1);
    bl_list_publish(list);
}

#define EDNS 1u
#define DO 2u
#define CD 4u
#define NO_RD 8u

static enum query_outcome ask_as(const char *name, ldns_rr_type type, unsigned flags)
{
    ldns_pkt *packet = ldns_pkt_query_new(ldns_dname_new_frm_str(name), type, LDNS_RR_CLASS_IN,
                                          (flags & NO_RD) != 0 ? 0 : LDNS_RD);
    ldns_pkt_set_cd(packet, (flags & CD) != 0);
    if ((flags & (EDNS | DO)) != 0) {
        ldns_pkt_set_edns_udp_size(packet, 1232);
        ldns_pkt_set_edns_do(packet, (flags & DO) != 0);
    }
    uint8_t *wire = NULL;
    size_t size = 0;
    assert_int_equal(ldns_pkt2wire(&wire, packet, &size), LDNS_STATUS_OK);
    ldns_pkt_free(packet);
    struct query query = {.packet = wire, .packet_size = size, .client = &client, .answer = answer};
    bl_rcu_online();
    query_batch(engine, &query, 1);
    bl_rcu_offline();
    free(wire);
    if (query.outcome == QUERY_ANSWERED) {
        keep_sent(answer, query.answer_size);
    }
    return query.outcome;
}

static enum query_outcome ask(const char *name)
{
    return ask_as(name, LDNS_RR_TYPE_A, EDNS);
}

/* Answers the `count` questions asked last, which are merged, with one packet of these records. */
static void recursion_answers_all(unsigned count, const char *name, const char *records,
                                  enum recurse_security security)
{
    static uint64_t serial;
    ldns_pkt *packet =
        ldns_pkt_query_new(ldns_dname_new_frm_str(name), LDNS_RR_TYPE_A, LDNS_RR_CLASS_IN, LDNS_RD);
    ldns_pkt_set_qr(packet, true);
    char *text = strdup(records);
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        ldns_rr *record = NULL;
        if (line[0] != '\0') {
            assert_int_equal(ldns_rr_new_frm_str(&record, line, 0, NULL, NULL), LDNS_STATUS_OK);
            ldns_pkt_push_rr(packet, LDNS_SECTION_ANSWER, record);
        }
    }
    free(text);
    uint8_t *wire = NULL;
    size_t size = 0;
    assert_int_equal(ldns_pkt2wire(&wire, packet, &size), LDNS_STATUS_OK);
    ldns_pkt_free(packet);
    struct recurse_answer recursed = {.state = RECURSE_ANSWERED,
                                      .security = security,
                                      .packet = wire,
                                      .packet_size = size,
                                      .serial = ++serial,
                                      .why_bogus =
                                          security == RECURSE_BOGUS ? "bad signature" : ""};
    bl_rcu_online();
    for (unsigned i = count; i > 0; i--) {
        query_answered(engine, asked.waiters[(asked.count - i) % ASKED_MAX], &recursed);
    }
    query_flush_hits(engine);
    bl_rcu_offline();
    free(wire);
}

static void recursion_answers(const char *name, const char *records, enum recurse_security security)
{
    recursion_answers_all(1, name, records, security);
}

static unsigned answer_records(void)
{
    return ldns_pkt_ancount(sent);
}

static void expect_sinkhole(void)
{
    assert_int_equal(answer_records(), 1);
    char *text = ldns_rr2str(ldns_rr_list_rr(ldns_pkt_answer(sent), 0));
    assert_non_null(strstr(text, "0.0.0.0"));
    free(text);
}

static uint64_t counted(enum metric metric)
{
    return atomic_load(&metrics.values[metric]);
}

/* ---- the tests ---- */

static void a_listed_name_is_answered_at_once_and_never_asked_for(void **state)
{
    (void)state;
    list_name("f", BL_TIER_FEED, BL_ACTION_DEFAULT, "evil.example");
    assert_int_equal(ask("www.evil.example."), QUERY_ANSWERED);
    expect_sinkhole();
    assert_false(ldns_pkt_ad(sent));
    assert_int_equal(asked.count, 0);

    struct hit hit;
    assert_true(hit_ring_take(parts.hits, &hit));
    assert_string_equal(hit.feed, "f");
    assert_string_equal(hit.category, "c2");
    assert_string_equal(hit.action, "address");
    assert_int_equal(hit.entry_offset, 4);
    assert_int_equal(hit.chain_size, 0);
    assert_false(hit_ring_take(parts.hits, &hit));
}

static void each_action_gives_its_answer(void **state)
{
    (void)state;
    static const struct {
        enum bl_action action;
        enum query_outcome outcome;
        ldns_pkt_rcode rcode;
    } rows[] = {
        {BL_ACTION_NXDOMAIN, QUERY_ANSWERED, LDNS_RCODE_NXDOMAIN},
        {BL_ACTION_NODATA, QUERY_ANSWERED, LDNS_RCODE_NOERROR},
        {BL_ACTION_REFUSED, QUERY_ANSWERED, LDNS_RCODE_REFUSED},
        {BL_ACTION_DROP, QUERY_DROPPED, 0},
        {BL_ACTION_LOG, QUERY_PENDING, 0},
        {BL_ACTION_ALLOW, QUERY_PENDING, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char feed[16];
        char name[32];
        snprintf(feed, sizeof(feed), "f%zu", i);
        snprintf(name, sizeof(name), "n%zu.example", i);
        list_name(feed, BL_TIER_FEED, rows[i].action, name);
        strcat(name, ".");
        assert_int_equal(ask(name), rows[i].outcome);
        if (rows[i].outcome == QUERY_ANSWERED) {
            assert_int_equal(ldns_pkt_get_rcode(sent), rows[i].rcode);
            assert_int_equal(answer_records(), 0);
        }
    }
    struct hit hit;
    unsigned hits = 0;
    while (hit_ring_take(parts.hits, &hit)) {
        hits++;
    }
    assert_int_equal(hits, 5); /* all but the allow; the log-only match too */
}

static void an_answer_of_recursion_is_kept_and_counts_down(void **state)
{
    (void)state;
    assert_int_equal(ask("www.example."), QUERY_PENDING);
    recursion_answers("www.example.", "www.example. 300 IN A 192.0.2.1", RECURSE_SECURE);
    assert_int_equal(answer_records(), 1);
    assert_int_equal(ask("WWW.Example."), QUERY_ANSWERED);
    assert_int_equal(asked.count, 1);
    assert_int_equal(counted(METRIC_ANSWERS_CACHED), 1);
    assert_int_equal(counted(METRIC_ANSWERS_RECURSED), 1);
}

static void ad_is_for_clients_that_show_they_know_it(void **state)
{
    (void)state;
    assert_int_equal(ask_as("www.example.", LDNS_RR_TYPE_A, DO), QUERY_PENDING);
    recursion_answers("www.example.", "www.example. 300 IN A 192.0.2.1", RECURSE_SECURE);
    assert_true(ldns_pkt_ad(sent));
    assert_int_equal(ask_as("www.example.", LDNS_RR_TYPE_A, EDNS), QUERY_PENDING);
    recursion_answers("www.example.", "www.example. 300 IN A 192.0.2.1", RECURSE_SECURE);
    assert_false(ldns_pkt_ad(sent));
    assert_int_equal(ask_as("other.example.", LDNS_RR_TYPE_A, DO), QUERY_PENDING);
    recursion_answers("other.example.", "other.example. 300 IN A 192.0.2.1", RECURSE_INSECURE);
    assert_false(ldns_pkt_ad(sent));
}

static void merged_questions_each_get_what_they_asked_for(void **state)
{
    (void)state;
    static const char records[] =
        "www.example. 300 IN A 192.0.2.1\n"
        "www.example. 300 IN RRSIG A 13 2 300 20300101000000 20200101000000 1 example. AAAA";
    assert_int_equal(ask_as("www.example.", LDNS_RR_TYPE_A, DO), QUERY_PENDING);
    assert_int_equal(ask_as("www.example.", LDNS_RR_TYPE_A, EDNS), QUERY_PENDING);
    recursion_answers_all(2, "www.example.", records, RECURSE_SECURE);
    assert_int_equal(answer_records(), 1); /* the one sent last: without DO */
    assert_int_equal(ask_as("www.example.", LDNS_RR_TYPE_A, DO), QUERY_ANSWERED);
    assert_int_equal(answer_records(), 2);
    assert_int_equal(ask_as("www.example.", LDNS_RR_TYPE_A, EDNS), QUERY_ANSWERED);
    assert_int_equal(answer_records(), 1);

    assert_int_equal(ask_as("b.example.", LDNS_RR_TYPE_A, EDNS), QUERY_PENDING);
    assert_int_equal(ask_as("b.example.", LDNS_RR_TYPE_A, EDNS | CD), QUERY_PENDING);
    recursion_answers_all(2, "b.example.", "b.example. 300 IN A 192.0.2.1", RECURSE_BOGUS);
    assert_int_equal(ldns_pkt_get_rcode(sent), LDNS_RCODE_NOERROR); /* the one with CD */
    assert_int_equal(ask_as("b.example.", LDNS_RR_TYPE_A, EDNS), QUERY_ANSWERED);
    assert_int_equal(ldns_pkt_get_rcode(sent), LDNS_RCODE_SERVFAIL);
}

static void bogus_data_go_to_clients_that_set_cd_alone(void **state)
{
    (void)state;
    assert_int_equal(ask("www.example."), QUERY_PENDING);
    recursion_answers("www.example.", "www.example. 300 IN A 192.0.2.1", RECURSE_BOGUS);
    assert_int_equal(ldns_pkt_get_rcode(sent), LDNS_RCODE_SERVFAIL);
    assert_int_equal(answer_records(), 0);
    assert_int_equal(ask("www.example."), QUERY_ANSWERED); /* a bogus name is not asked for again */
    assert_int_equal(ldns_pkt_get_rcode(sent), LDNS_RCODE_SERVFAIL);

    assert_int_equal(ask_as("www.example.", LDNS_RR_TYPE_A, EDNS | CD), QUERY_PENDING);
    recursion_answers("www.example.", "www.example. 300 IN A 192.0.2.1", RECURSE_BOGUS);
    assert_int_equal(ldns_pkt_get_rcode(sent), LDNS_RCODE_NOERROR);
    assert_int_equal(answer_records(), 1);
    assert_false(ldns_pkt_ad(sent));
    assert_int_equal(ask("www.example."), QUERY_ANSWERED); /* and what CD got is not for others */
    assert_int_equal(ldns_pkt_get_rcode(sent), LDNS_RCODE_SERVFAIL);
}

#define CHAIN                                                                                      \
    "www.example. 300 IN CNAME a.example.net.\na.example.net. 300 IN CNAME b.example.org.\n"       \
    "b.example.org. 300 IN A 192.0.2.1"

static void every_name_of_a_chain_is_held_against_the_list_cached_or_not(void **state)
{
    (void)state;
    assert_int_equal(ask("www.example."), QUERY_PENDING);
    recursion_answers("www.example.", CHAIN, RECURSE_INSECURE);
    assert_int_equal(answer_records(), 3);
    assert_int_equal(ask("www.example."), QUERY_ANSWERED);
    assert_int_equal(answer_records(), 3);
    assert_int_equal(counted(METRIC_CACHE_RECHECKS), 0);

    list_name("other", BL_TIER_FEED, BL_ACTION_DEFAULT, "unrelated.example");
    assert_int_equal(ask("www.example."), QUERY_ANSWERED);
    assert_int_equal(answer_records(), 3);
    assert_int_equal(ask("www.example."), QUERY_ANSWERED);
    assert_int_equal(counted(METRIC_CACHE_RECHECKS), 1); /* once for a new version of the list */

    list_name("f", BL_TIER_FEED, BL_ACTION_DEFAULT, "b.example.org");
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(ask("www.example."), QUERY_ANSWERED);
        expect_sinkhole();
    }
    struct hit hit;
    assert_true(hit_ring_take(parts.hits, &hit));
    assert_memory_equal(hit.chain, "\1b\7example\3org", 15);

    /* and for a chain that comes from recursion while its name is listed */
    assert_int_equal(ask_as("www.example.", LDNS_RR_TYPE_A, DO), QUERY_PENDING);
    recursion_answers("www.example.", CHAIN, RECURSE_INSECURE);
    expect_sinkhole();
}

static void a_log_only_match_is_counted_once_a_question(void **state)
{
    (void)state;
    list_name("f", BL_TIER_FEED, BL_ACTION_LOG,
              "example"); /* its own name, and the chain's first */
    assert_int_equal(ask("www.example."), QUERY_PENDING);
    recursion_answers("www.example.",
                      "www.example. 300 IN CNAME a.example.\na.example. 300 IN A 192.0.2.1",
                      RECURSE_INSECURE);
    assert_int_equal(answer_records(), 2);
    assert_int_equal(counted(METRIC_HITS_LISTED), 1);
    assert_int_equal(ask("www.example."), QUERY_ANSWERED);
    assert_int_equal(answer_records(), 2);
    assert_int_equal(counted(METRIC_HITS_LISTED), 2);
    struct hit hit;
    assert_true(hit_ring_take(parts.hits, &hit));
    assert_true(hit_ring_take(parts.hits, &hit));
    assert_int_equal(hit.chain_size, 0);
    assert_false(hit_ring_take(parts.hits, &hit));
}

static void a_pending_question_whose_chain_is_to_be_dropped_ends_without_an_answer(void **state)
{
    (void)state;
    list_name("f", BL_TIER_FEED, BL_ACTION_DROP, "b.example.org");
    assert_int_equal(ask("www.example."), QUERY_PENDING);
    recursion_answers("www.example.", CHAIN, RECURSE_INSECURE);
    assert_int_equal(sent_none, 1);
    assert_null(sent);
    assert_int_equal(counted(METRIC_DROPPED_POLICY), 1);
}

static void a_failure_takes_no_answers_place_in_the_cache(void **state)
{
    (void)state;
    query_engine_free(engine);
    parts.timeout_ms = 0;
    engine = query_engine_new(&parts);
    assert_int_equal(ask("www.example."), QUERY_PENDING); /* as if another worker's */
    assert_int_equal(ask("www.example."), QUERY_PENDING);
    recursion_answers("www.example.", "www.example. 300 IN A 192.0.2.1", RECURSE_INSECURE);
    bl_rcu_online();
    query_tick(engine);
    bl_rcu_offline();
    assert_int_equal(counted(METRIC_RECURSION_TIMEOUTS), 1);
    assert_int_equal(ask("www.example."), QUERY_ANSWERED);
    assert_int_equal(answer_records(), 1);
}

static void a_name_listed_while_it_is_asked_for_is_not_given_out(void **state)
{
    (void)state;
    assert_int_equal(ask("www.example."), QUERY_PENDING);
    list_name("f", BL_TIER_FEED, BL_ACTION_DEFAULT, "www.example");
    recursion_answers("www.example.", "www.example. 300 IN A 192.0.2.1", RECURSE_INSECURE);
    expect_sinkhole();
}

static void limits_hold_for_one_client_and_for_all(void **state)
{
    (void)state;
    char name[32];
    for (unsigned i = 0; i < parts.pending_client_max; i++) {
        snprintf(name, sizeof(name), "n%u.example.", i);
        assert_int_equal(ask(name), QUERY_PENDING);
    }
    assert_int_equal(ask("more.example."), QUERY_ANSWERED);
    assert_int_equal(ldns_pkt_get_rcode(sent), LDNS_RCODE_SERVFAIL);
    assert_int_equal(counted(METRIC_REFUSED_OVERLOAD_CLIENT), 1);

    client.address[15] = 2; /* another client has its own share, until all is taken */
    for (unsigned i = 0; i < parts.pending_max - parts.pending_client_max; i++) {
        snprintf(name, sizeof(name), "m%u.example.", i);
        assert_int_equal(ask(name), QUERY_PENDING);
    }
    client.address[15] = 3;
    assert_int_equal(ask("all.example."), QUERY_ANSWERED);
    assert_int_equal(counted(METRIC_REFUSED_OVERLOAD), 1);
    asked.count = 1; /* the first one comes back, and its place is free again */
    recursion_answers("n0.example.", "n0.example. 1 IN A 192.0.2.1", RECURSE_INSECURE);
    assert_int_equal(ask("all.example."), QUERY_PENDING);
}

static void a_question_without_answer_ends_in_servfail(void **state)
{
    (void)state;
    query_engine_free(engine);
    parts.timeout_ms = 0; /* over at the next tick */
    engine = query_engine_new(&parts);
    assert_int_equal(ask("www.example."), QUERY_PENDING);
    bl_rcu_online();
    query_tick(engine);
    bl_rcu_offline();
    assert_int_equal(ldns_pkt_get_rcode(sent), LDNS_RCODE_SERVFAIL);
    assert_int_equal(counted(METRIC_RECURSION_TIMEOUTS), 1);
    assert_int_equal(ask("www.example."), QUERY_ANSWERED); /* the next one need not wait */
    assert_int_equal(ldns_pkt_get_rcode(sent), LDNS_RCODE_SERVFAIL);

    ldns_pkt_free(sent);
    sent = NULL;
    recursion_answers("www.example.", "www.example. 300 IN A 192.0.2.1", RECURSE_INSECURE);
    assert_null(sent); /* its client was answered */
    assert_int_equal(ask("www.example."), QUERY_ANSWERED);
    assert_int_equal(answer_records(), 1); /* but the cache has it */
}

static void late_questions_make_room_for_new_ones(void **state)
{
    (void)state;
    query_engine_free(engine);
    parts.timeout_ms = 0;
    engine = query_engine_new(&parts);
    for (unsigned i = 0; i < 3 * parts.pending_max; i++) {
        char name[32];
        snprintf(name, sizeof(name), "n%u.example.", i);
        assert_int_equal(ask(name), QUERY_PENDING);
        bl_rcu_online();
        query_tick(engine);
        bl_rcu_offline();
    }
    assert_int_equal(counted(METRIC_RECURSION_TIMEOUTS), 3 * parts.pending_max);
    assert_int_equal(asked.cancelled, 2 * parts.pending_max);
    asked.count = 1; /* the slot of the first one is another's */
    recursion_answers("n0.example.", "n0.example. 300 IN A 192.0.2.1", RECURSE_INSECURE);
    assert_int_not_equal(ask("n0.example."), QUERY_DROPPED);
    assert_int_equal(answer_records(), 0);
}

static void nothing_is_resolved_before_the_list_is_whole(void **state)
{
    (void)state;
    struct bl_list *list = (struct bl_list *)(uintptr_t)parts.list;
    list_name("f", BL_TIER_FEED, BL_ACTION_DEFAULT, "evil.example");
    bl_list_set_whole(list, false);
    assert_int_equal(ask("www.example."), QUERY_ANSWERED);
    assert_int_equal(ldns_pkt_get_rcode(sent), LDNS_RCODE_REFUSED);
    assert_int_equal(asked.count, 0);
    assert_int_equal(ask("evil.example."), QUERY_ANSWERED); /* what is known is enforced */
    expect_sinkhole();
    bl_list_set_whole(list, true);
    assert_int_equal(ask("www.example."), QUERY_PENDING);
}

static void what_is_not_served_is_refused(void **state)
{
    (void)state;
    static const struct {
        ldns_rr_type type;
        unsigned flags;
        ldns_pkt_rcode rcode;
    } rows[] = {
        {LDNS_RR_TYPE_AXFR, 0, LDNS_RCODE_REFUSED},  {LDNS_RR_TYPE_IXFR, 0, LDNS_RCODE_REFUSED},
        {LDNS_RR_TYPE_MAILB, 0, LDNS_RCODE_NOTIMPL}, {LDNS_RR_TYPE_ANY, 0, LDNS_RCODE_NOERROR},
        {LDNS_RR_TYPE_A, NO_RD, LDNS_RCODE_REFUSED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(ask_as("www.example.", rows[i].type, rows[i].flags), QUERY_ANSWERED);
        assert_int_equal(ldns_pkt_get_rcode(sent), rows[i].rcode);
    }
    assert_int_equal(asked.count, 0);
    client.address[12] = 8; /* not in access.allow */
    assert_int_equal(ask("www.example."), QUERY_ANSWERED);
    assert_int_equal(ldns_pkt_get_rcode(sent), LDNS_RCODE_REFUSED);
    config->access.others = CONFIG_OTHERS_DROP;
    assert_int_equal(ask("www.example."), QUERY_DROPPED);
}

static void equal_hits_of_a_batch_are_folded(void **state)
{
    (void)state;
    list_name("f", BL_TIER_FEED, BL_ACTION_DEFAULT, "evil.example");
    static const uint8_t packet[] = "\0\1\1\0\0\1\0\0\0\0\0\0\4evil\7example\0\0\1\0\1";
    static uint8_t answers[8][1232];
    struct query queries[8];
    for (unsigned i = 0; i < 8; i++) {
        queries[i] = (struct query){.packet = packet,
                                    .packet_size = sizeof(packet) - 1,
                                    .client = &client,
                                    .answer = answers[i]};
    }
    bl_rcu_online();
    query_batch(engine, queries, 8);
    bl_rcu_offline();
    struct hit hit;
    assert_true(hit_ring_take(parts.hits, &hit));
    assert_int_equal(hit.count, 8);
    assert_false(hit_ring_take(parts.hits, &hit));
}

#define WHOLE(test) cmocka_unit_test_setup_teardown(test, make_parts, free_parts)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WHOLE(a_listed_name_is_answered_at_once_and_never_asked_for),
        WHOLE(each_action_gives_its_answer),
        WHOLE(an_answer_of_recursion_is_kept_and_counts_down),
        WHOLE(ad_is_for_clients_that_show_they_know_it),
        WHOLE(merged_questions_each_get_what_they_asked_for),
        WHOLE(bogus_data_go_to_clients_that_set_cd_alone),
        WHOLE(every_name_of_a_chain_is_held_against_the_list_cached_or_not),
        WHOLE(a_log_only_match_is_counted_once_a_question),
        WHOLE(a_pending_question_whose_chain_is_to_be_dropped_ends_without_an_answer),
        WHOLE(a_failure_takes_no_answers_place_in_the_cache),
        WHOLE(a_name_listed_while_it_is_asked_for_is_not_given_out),
        WHOLE(limits_hold_for_one_client_and_for_all),
        WHOLE(a_question_without_answer_ends_in_servfail),
        WHOLE(late_questions_make_room_for_new_ones),
        WHOLE(nothing_is_resolved_before_the_list_is_whole),
        WHOLE(what_is_not_served_is_refused),
        WHOLE(equal_hits_of_a_batch_are_folded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
