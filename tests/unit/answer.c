/* Answers in wire form, read back by ldns: what message_read() keeps of recursion's packet, and
 * what a client gets. */
#include "resolver/answer.h"
#include "resolver/message.h"

#include <errno.h>
#include <ldns/ldns.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NAME "\3www\7example"
static const uint8_t name[] = NAME;

static const struct message_ttls ttls = {.min_s = 0, .max_s = 86400, .negative_s = 3600};
static struct message_scratch scratch;
static struct message message;
static uint8_t out[MESSAGE_SIZE_MAX];

/* A packet as recursion gives it: the records in text, a line each, sections divided by "--". */
static size_t packet_of(const char *rcode, uint16_t type, const char *records, uint8_t *packet)
{
    ldns_pkt *made = ldns_pkt_new();
    ldns_rdf *owner = ldns_dname_new_frm_str("www.example.");
    ldns_rr *question = ldns_rr_new();
    ldns_rr_set_owner(question, owner);
    ldns_rr_set_type(question, (ldns_rr_type)type);
    ldns_rr_set_class(question, LDNS_RR_CLASS_IN);
    ldns_rr_set_question(question, true);
    ldns_pkt_push_rr(made, LDNS_SECTION_QUESTION, question);
    ldns_pkt_set_qr(made, true);
    ldns_pkt_set_rcode(made,
                       strcmp(rcode, "NXDOMAIN") == 0 ? LDNS_RCODE_NXDOMAIN : LDNS_RCODE_NOERROR);
    ldns_pkt_section section = LDNS_SECTION_ANSWER;
    char *text = strdup(records);
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (strcmp(line, "--") == 0) {
            section =
                section == LDNS_SECTION_ANSWER ? LDNS_SECTION_AUTHORITY : LDNS_SECTION_ADDITIONAL;
        } else if (line[0] != '\0') {
            ldns_rr *record = NULL;
            if (ldns_rr_new_frm_str(&record, line, 0, NULL, NULL) != LDNS_STATUS_OK) {
                fail_msg("bad record in the test: %s", line);
            }
            ldns_pkt_push_rr(made, section, record);
        }
    }
    free(text);
    uint8_t *wire = NULL;
    size_t size = 0;
    assert_int_equal(ldns_pkt2wire(&wire, made, &size), LDNS_STATUS_OK);
    memcpy(packet, wire, size);
    free(wire);
    ldns_pkt_free(made);
    return size;
}

static int read_records(const char *rcode, uint16_t type, bool dnssec, const char *records)
{
    static uint8_t packet[MESSAGE_SIZE_MAX];
    size_t size = packet_of(rcode, type, records, packet);
    uint8_t *copy = malloc(size);
    memcpy(copy, packet, size);
    int r = message_read(copy, size, name, sizeof(name), type, dnssec, &ttls, &scratch, &message);
    free(copy);
    return r;
}

static struct question question_of(uint16_t type, bool edns, bool dnssec_ok)
{
    struct question question = {.id = 7,
                                .flags = DNS_FLAG_RD,
                                .type = type,
                                .class = DNS_IN,
                                .udp_size = 1232,
                                .edns = edns,
                                .dnssec_ok = dnssec_ok,
                                .name_size = sizeof(name),
                                .spelled = name};
    memcpy(question.name, name, sizeof(name));
    return question;
}

/* The whole answer as ldns reads it; fails if it can't. */
static ldns_pkt *read_back(size_t size)
{
    ldns_pkt *packet = NULL;
    uint8_t *copy = malloc(size);
    memcpy(copy, out, size);
    ldns_status status = ldns_wire2pkt(&packet, copy, size);
    free(copy);
    if (status != LDNS_STATUS_OK) {
        fail_msg("ldns: %s", ldns_get_errorstr_by_id(status));
    }
    return packet;
}

/* Whether the sections hold exactly these records, in order, as ldns writes them. */
static void expect_section(const ldns_rr_list *records, const char *expected)
{
    char *text = ldns_rr_list2str(records);
    if (strcmp(text, expected) != 0) {
        fail_msg("got:\n%snot:\n%s", text, expected);
    }
    free(text);
}

static void keeps_what_a_client_without_dnssec_is_to_have(void **state)
{
    (void)state;
    static const char records[] =
        "www.example. 300 IN CNAME a.b.Example.\n"
        "www.example. 300 IN RRSIG CNAME 13 2 300 20300101000000 20200101000000 1 example. AAAA\n"
        "a.b.example. 200 IN A 192.0.2.1\n"
        "--\n"
        "b.example. 400 IN NSEC c.example. A\n"
        "b.example. 400 IN NS ns.b.example.\n"
        "b.example. 400 IN DS 1 13 2 "
        "0000000000000000000000000000000000000000000000000000000000000000\n"
        "--\n"
        "ns.b.example. 500 IN A 192.0.2.53\n";
    assert_int_equal(read_records("NOERROR", DNS_A, false, records), 0);
    assert_int_equal(message.counts[0], 2);
    assert_int_equal(message.counts[1], 1);
    assert_int_equal(message.ttl_s, 200);
    assert_false(message.negative);
    assert_int_equal(message.chain_count, 1);
    assert_memory_equal(message.chain, "\1a\1b\7example", 13);

    struct question question = question_of(DNS_A, false, false);
    bool truncated;
    size_t size = answer_message(&question, &message, 0, out, 512, &truncated);
    assert_false(truncated);
    ldns_pkt *packet = read_back(size);
    expect_section(ldns_pkt_answer(packet), "www.example.\t300\tIN\tCNAME\ta.b.example.\n"
                                            "a.b.example.\t200\tIN\tA\t192.0.2.1\n");
    expect_section(ldns_pkt_authority(packet), "b.example.\t400\tIN\tNS\tns.b.example.\n");
    expect_section(ldns_pkt_additional(packet), ""); /* its names are not held against the list */
    ldns_pkt_free(packet);

    question.spelled = (const uint8_t *)"\3wWw\7eXample";
    (void)answer_message(&question, &message, 0, out, 512, &truncated);
    assert_memory_equal(out + DNS_HEADER_SIZE, "\3wWw\7eXample", sizeof(name));
}

static void keeps_signatures_and_proofs_for_a_client_with_dnssec(void **state)
{
    (void)state;
    static const char records[] =
        "www.example. 300 IN A 192.0.2.1\n"
        "www.example. 300 IN RRSIG A 13 2 300 20300101000000 20200101000000 1 example. AAAA\n"
        "--\n"
        "b.example. 400 IN NSEC c.example. A\n";
    assert_int_equal(read_records("NOERROR", DNS_A, true, records), 0);
    assert_int_equal(message.counts[0], 2);
    assert_int_equal(message.counts[1], 1);
    message.secure = true;

    struct question question = question_of(DNS_A, true, true);
    bool truncated;
    ldns_pkt *packet = read_back(answer_message(&question, &message, 0, out, 1232, &truncated));
    assert_true(ldns_pkt_ad(packet));
    assert_true(ldns_pkt_edns_do(packet));
    ldns_pkt_free(packet);
}

static void keeps_what_was_asked_for_by_type(void **state)
{
    (void)state;
    assert_int_equal(read_records("NOERROR", DNS_DS, false,
                                  "www.example. 60 IN DS 1 13 2 00000000000000000000000000000000"
                                  "00000000000000000000000000000000\n"),
                     0);
    assert_int_equal(message.counts[0], 1);
    assert_int_equal(
        read_records("NOERROR", DNS_NSEC, false, "www.example. 60 IN NSEC x.example. A\n"), 0);
    assert_int_equal(message.counts[0], 1);
}

static void a_negative_answer_holds_as_rfc_2308_says(void **state)
{
    (void)state;
    static const struct {
        const char *rcode;
        const char *records;
        uint32_t ttl_s;
    } rows[] = {
        {"NXDOMAIN", "--\nexample. 900 IN SOA ns. host. 1 2 3 4 60\n", 60},
        {"NXDOMAIN", "--\nexample. 50 IN SOA ns. host. 1 2 3 4 60\n", 50},
        {"NOERROR", "--\nexample. 900 IN SOA ns. host. 1 2 3 4 120\n", 120},
        {"NXDOMAIN", "--\nexample. 90000 IN SOA ns. host. 1 2 3 4 90000\n", 3600},
        {"NXDOMAIN", "", 0}, /* no SOA: nothing says how long */
        {"NOERROR", "--\nexample. 900 IN NS ns.example.\n", 0},
        {"NXDOMAIN",
         "www.example. 30 IN CNAME x.example.\n--\nexample. 900 IN SOA ns. host. 1 2 3 4 60\n", 30},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(read_records(rows[i].rcode, DNS_A, false, rows[i].records), 0);
        assert_true(message.negative);
        if (message.ttl_s != rows[i].ttl_s) {
            fail_msg("row %zu: %u", i, message.ttl_s);
        }
    }
}

static void compresses_and_restores_names_in_data(void **state)
{
    (void)state;
    static const char records[] =
        "www.example. 60 IN MX 10 mail.www.example.\n"
        "www.example. 60 IN MX 20 mail.www.example.\n"
        "--\n"
        "example. 60 IN SOA ns.example. host.mail.www.example. 1 2 3 4 5\n";
    assert_int_equal(read_records("NOERROR", DNS_MX, false, records), 0);
    struct question question = question_of(DNS_MX, false, false);
    bool truncated;
    size_t size = answer_message(&question, &message, 0, out, 512, &truncated);
    ldns_pkt *packet = read_back(size);
    expect_section(ldns_pkt_answer(packet), "www.example.\t60\tIN\tMX\t10 mail.www.example.\n"
                                            "www.example.\t60\tIN\tMX\t20 mail.www.example.\n");
    expect_section(ldns_pkt_authority(packet),
                   "example.\t60\tIN\tSOA\tns.example. host.mail.www.example. 1 2 3 4 5\n");
    ldns_pkt_free(packet);
    assert_true(size < 150); /* 185 octets without compression */
}

static void refuses_what_is_no_answer_to_the_question(void **state)
{
    (void)state;
    uint8_t packet[512];
    size_t size = packet_of("NOERROR", DNS_A, "www.example. 60 IN A 192.0.2.1\n", packet);
    static const uint8_t other[] = "\3www\7exbmple";

    assert_int_equal(
        message_read(packet, size, other, sizeof(other), DNS_A, false, &ttls, &scratch, &message),
        -EBADMSG);
    assert_int_equal(
        message_read(packet, size, name, sizeof(name), DNS_AAAA, false, &ttls, &scratch, &message),
        -EBADMSG);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *copy = malloc(cut > 0 ? cut : 1);
        memcpy(copy, packet, cut);
        assert_int_equal(
            message_read(copy, cut, name, sizeof(name), DNS_A, false, &ttls, &scratch, &message),
            -EBADMSG);
        free(copy);
    }
    packet[2] &= 0x7f; /* a query is no answer */
    assert_int_equal(
        message_read(packet, size, name, sizeof(name), DNS_A, false, &ttls, &scratch, &message),
        -EBADMSG);
}

static void a_chain_longer_than_the_limit_is_an_error(void **state)
{
    (void)state;
    char records[4096] = "www.example. 60 IN CNAME c0.example.\n";
    for (unsigned i = 0; i + 1 < CHAIN_NAMES_MAX; i++) {
        size_t size = strlen(records);
        snprintf(records + size, sizeof(records) - size, "c%u.example. 60 IN CNAME c%u.example.\n",
                 i, i + 1);
    }
    assert_int_equal(read_records("NOERROR", DNS_A, false, records), 0);
    assert_int_equal(message.chain_count, CHAIN_NAMES_MAX);
    strcat(records, "cx.example. 60 IN CNAME cy.example.\n");
    assert_int_equal(read_records("NOERROR", DNS_A, false, records), -ELOOP);
}

static void ttls_count_down_and_never_below_zero(void **state)
{
    (void)state;
    assert_int_equal(read_records("NOERROR", DNS_A, false,
                                  "www.example. 300 IN A 192.0.2.1\nwww.example. 40 IN A "
                                  "192.0.2.2\n"),
                     0);
    struct question question = question_of(DNS_A, false, false);
    bool truncated;
    ldns_pkt *packet = read_back(answer_message(&question, &message, 100, out, 512, &truncated));
    expect_section(ldns_pkt_answer(packet), "www.example.\t200\tIN\tA\t192.0.2.1\n"
                                            "www.example.\t0\tIN\tA\t192.0.2.2\n");
    ldns_pkt_free(packet);
}

static void what_does_not_fit_is_cut_or_truncated(void **state)
{
    (void)state;
    char records[8192] = "";
    for (unsigned i = 0; i < 30; i++) { /* 30 * 16 octets of answer */
        size_t size = strlen(records);
        snprintf(records + size, sizeof(records) - size, "www.example. 60 IN A 192.0.2.%u\n", i);
    }
    strcat(records, "--\nexample. 60 IN NS a-name-server-with-a-long-name.example.\n");
    assert_int_equal(read_records("NOERROR", DNS_A, false, records), 0);
    bool truncated;
    struct question question = question_of(DNS_A, false, false);
    ldns_pkt *packet = read_back(answer_message(&question, &message, 0, out, 512, &truncated));
    assert_false(truncated); /* the authority section is a courtesy here */
    assert_int_equal(ldns_pkt_ancount(packet), 30);
    assert_int_equal(ldns_pkt_nscount(packet), 0);
    ldns_pkt_free(packet);

    char more[8192] = "";
    for (unsigned i = 0; i < 40; i++) {
        size_t size = strlen(more);
        snprintf(more + size, sizeof(more) - size, "www.example. 60 IN A 192.0.2.%u\n", i);
    }
    assert_int_equal(read_records("NOERROR", DNS_A, false, more), 0);
    packet = read_back(answer_message(&question, &message, 0, out, 512, &truncated));
    assert_true(truncated);
    assert_true(ldns_pkt_tc(packet));
    assert_int_equal(ldns_pkt_ancount(packet), 0);
    ldns_pkt_free(packet);
}

static struct config_sinkhole sinkhole_of(void)
{
    return (struct config_sinkhole){
        .action = BL_ACTION_ADDRESS,
        .ipv4_count = 2,
        .ipv6_count = 1,
        .ipv4 = {{192, 0, 2, 1}, {192, 0, 2, 2}},
        .ipv6 = {{0x20, 1, 0xd, 0xb8, [15] = 1}},
        .ttl_s = 10,
        .text = "Blocked by {label}",
    };
}

static void a_listed_name_gets_the_sinkholes_addresses(void **state)
{
    (void)state;
    struct config_sinkhole sinkhole = sinkhole_of();
    static const struct {
        uint16_t type;
        enum bl_action action;
        ldns_pkt_rcode rcode;
        const char *answer;
        const char *authority;
    } rows[] = {
        {DNS_A, BL_ACTION_ADDRESS, LDNS_RCODE_NOERROR,
         "www.example.\t10\tIN\tA\t192.0.2.1\nwww.example.\t10\tIN\tA\t192.0.2.2\n", ""},
        {DNS_AAAA, BL_ACTION_ADDRESS, LDNS_RCODE_NOERROR,
         "www.example.\t10\tIN\tAAAA\t2001:db8::1\n", ""},
        {DNS_ANY, BL_ACTION_ADDRESS, LDNS_RCODE_NOERROR,
         "www.example.\t10\tIN\tA\t192.0.2.1\nwww.example.\t10\tIN\tA\t192.0.2.2\n"
         "www.example.\t10\tIN\tAAAA\t2001:db8::1\n",
         ""},
        {DNS_MX, BL_ACTION_ADDRESS, LDNS_RCODE_NOERROR, "",
         "example.\t10\tIN\tSOA\tlocalhost. nobody.invalid. 1 3600 3600 3600 10\n"},
        {DNS_A, BL_ACTION_NXDOMAIN, LDNS_RCODE_NXDOMAIN, "",
         "example.\t10\tIN\tSOA\tlocalhost. nobody.invalid. 1 3600 3600 3600 10\n"},
        {DNS_A, BL_ACTION_NODATA, LDNS_RCODE_NOERROR, "",
         "example.\t10\tIN\tSOA\tlocalhost. nobody.invalid. 1 3600 3600 3600 10\n"},
        {DNS_A, BL_ACTION_REFUSED, LDNS_RCODE_REFUSED, "", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct question question = question_of(rows[i].type, true, true);
        question.flags |= DNS_FLAG_AD;
        size_t size =
            answer_listed(&question, &sinkhole, rows[i].action, 4, "A List", false, out, 1232);
        ldns_pkt *packet = read_back(size);
        assert_int_equal(ldns_pkt_get_rcode(packet), rows[i].rcode);
        assert_false(ldns_pkt_ad(packet));
        expect_section(ldns_pkt_answer(packet), rows[i].answer);
        expect_section(ldns_pkt_authority(packet), rows[i].authority);
        ldns_pkt_free(packet);
        assert_non_null(memmem(out, size,
                               "\0\x0f\0\x13\0\x0f"
                               "Blocked by A List",
                               23));
    }
}

static void the_extended_error_tells_a_legal_order_and_knows_no_label(void **state)
{
    (void)state;
    struct config_sinkhole sinkhole = sinkhole_of();
    struct question question = question_of(DNS_A, true, false);
    size_t size = answer_listed(&question, &sinkhole, BL_ACTION_NXDOMAIN, 0, "", true, out, 1232);
    ldns_pkt_free(read_back(size));
    assert_memory_equal(out + size - 6, "\0\x0f\0\2\0\x10", 6);
    question.edns = false;
    size = answer_listed(&question, &sinkhole, BL_ACTION_NXDOMAIN, 0, "L", false, out, 512);
    assert_null(memmem(out, size, "Blocked", 7));
}

/* The longest name, the most addresses, the longest text: nothing passes the smallest limit. */
static void no_answer_is_larger_than_its_limit(void **state)
{
    (void)state;
    struct config_sinkhole sinkhole = sinkhole_of();
    sinkhole.ipv4_count = sinkhole.ipv6_count = SINKHOLE_ADDRESSES_MAX;
    memset(sinkhole.text, 'x', sizeof(sinkhole.text) - 1);
    struct question question = question_of(DNS_ANY, true, true);
    static uint8_t longest[BL_NAME_SIZE_MAX];
    for (unsigned i = 0; i < 127; i++) {
        longest[2 * i] = 1;
        longest[2 * i + 1] = 'a';
    }
    memcpy(question.name, longest, sizeof(longest));
    question.spelled = longest;
    question.name_size = BL_NAME_SIZE_MAX;
    static const uint16_t types[] = {DNS_A, DNS_AAAA, DNS_ANY, DNS_MX};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        for (size_t limit = 512; limit < 1300; limit += 13) {
            question.type = types[i];
            size_t size =
                answer_listed(&question, &sinkhole, BL_ACTION_ADDRESS, 0, "L", false, out, limit);
            assert_true(size <= limit);
            ldns_pkt_free(read_back(size));
        }
    }
}

static void errors_echo_the_question_or_at_least_the_id(void **state)
{
    (void)state;
    struct question question = question_of(DNS_A, true, true);
    question.flags |= DNS_FLAG_CD;
    size_t size = answer_error(&question, DNS_SERVFAIL, ANSWER_EDE_BOGUS, "why", out, 512);
    ldns_pkt *packet = read_back(size);
    assert_int_equal(ldns_pkt_get_rcode(packet), LDNS_RCODE_SERVFAIL);
    assert_true(ldns_pkt_cd(packet) && ldns_pkt_rd(packet) && ldns_pkt_ra(packet));
    ldns_pkt_free(packet);
    assert_memory_equal(out + size - 9, "\0\x0f\0\5\0\6why", 9);

    packet = read_back(answer_error(&question, DNS_BADVERS, ANSWER_EDE_NONE, "", out, 512));
    assert_int_equal(ldns_pkt_edns_extended_rcode(packet), 1);
    ldns_pkt_free(packet);

    assert_int_equal(answer_unreadable(&question, DNS_FORMERR, out), DNS_HEADER_SIZE);
    packet = read_back(DNS_HEADER_SIZE);
    assert_int_equal(ldns_pkt_id(packet), 7);
    assert_int_equal(ldns_pkt_get_rcode(packet), LDNS_RCODE_FORMERR);
    ldns_pkt_free(packet);

    packet = read_back(answer_any(&question, out, 512));
    expect_section(ldns_pkt_answer(packet), "www.example.\t3600\tIN\tHINFO\t\"RFC8482\" \"\"\n");
    ldns_pkt_free(packet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_a_client_without_dnssec_is_to_have),
        cmocka_unit_test(keeps_signatures_and_proofs_for_a_client_with_dnssec),
        cmocka_unit_test(keeps_what_was_asked_for_by_type),
        cmocka_unit_test(a_negative_answer_holds_as_rfc_2308_says),
        cmocka_unit_test(compresses_and_restores_names_in_data),
        cmocka_unit_test(refuses_what_is_no_answer_to_the_question),
        cmocka_unit_test(a_chain_longer_than_the_limit_is_an_error),
        cmocka_unit_test(ttls_count_down_and_never_below_zero),
        cmocka_unit_test(what_does_not_fit_is_cut_or_truncated),
        cmocka_unit_test(a_listed_name_gets_the_sinkholes_addresses),
        cmocka_unit_test(the_extended_error_tells_a_legal_order_and_knows_no_label),
        cmocka_unit_test(no_answer_is_larger_than_its_limit),
        cmocka_unit_test(errors_echo_the_question_or_at_least_the_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
