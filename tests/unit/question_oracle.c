/* Our reader of questions held against ldns: whatever ours takes, ldns takes, and both see the
 * same.
 *
 * Good queries of every shape are damaged in seeded ways, so that both readers meet octets that no
 * client would send; the seed makes a failure repeatable. */
#include "resolver/question.h"

#include <ldns/ldns.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROUNDS 200000
#define PACKET_SIZE_MAX 600u

static uint64_t seed = 0x5eed5eed5eedull;

/* xorshift64: the same numbers everywhere. */
static uint32_t pick(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % below;
}

static size_t put_u16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return 2;
}

static size_t put_name(uint8_t *at)
{
    size_t size = 0;
    for (uint32_t labels = pick(6); labels > 0; labels--) {
        uint32_t label_size = 1 + pick(pick(8) == 0 ? 63 : 12);
        at[size++] = (uint8_t)label_size;
        for (uint32_t i = 0; i < label_size; i++) {
            at[size++] = (uint8_t)(pick(16) == 0 ? pick(256) : 'A' + pick(58));
        }
        if (size > 180) {
            break;
        }
    }
    at[size++] = 0;
    return size;
}

static size_t put_opt(uint8_t *at)
{
    size_t size = 0;
    at[size++] = 0;
    size += put_u16(at + size, DNS_OPT);
    size += put_u16(at + size, pick(5000));
    at[size++] = 0;
    at[size++] = pick(20) == 0 ? 1 : 0;
    size += put_u16(at + size, pick(2) == 0 ? 0x8000 : 0);
    uint32_t option_size = pick(10);
    bool has_option = pick(2) == 0;
    size += put_u16(at + size, has_option ? 4 + option_size : 0);
    if (has_option) {
        size += put_u16(at + size, pick(20));
        size += put_u16(at + size, option_size);
        memset(at + size, 'x', option_size);
        size += option_size;
    }
    return size;
}

static size_t make_packet(uint8_t packet[static PACKET_SIZE_MAX])
{
    bool opt = pick(2) == 0;
    size_t size = 0;
    size += put_u16(packet + size, pick(65536));
    size += put_u16(packet + size, pick(4) == 0 ? pick(65536) : 0x0100);
    size += put_u16(packet + size, 1);
    size += put_u16(packet + size, 0);
    size += put_u16(packet + size, 0);
    size += put_u16(packet + size, opt ? 1 : 0);
    size += put_name(packet + size);
    size += put_u16(packet + size, 1 + pick(300));
    size += put_u16(packet + size, pick(10) == 0 ? pick(65536) : 1);
    if (opt) {
        size += put_opt(packet + size);
    }
    return size;
}

static size_t damage(uint8_t *packet, size_t size)
{
    switch (pick(4)) {
    case 0:
        packet[pick((uint32_t)size)] = (uint8_t)pick(256);
        break;
    case 1:
        packet[pick((uint32_t)size)] ^= (uint8_t)(1u << pick(8));
        break;
    case 2:
        return pick((uint32_t)size + 1);
    default:
        break; /* as it is */
    }
    return size;
}

static void expect_the_same(const struct question *question, const ldns_pkt *packet)
{
    assert_int_equal(question->id, ldns_pkt_id(packet));
    assert_int_equal((question->flags & DNS_FLAG_RD) != 0, ldns_pkt_rd(packet));
    assert_int_equal((question->flags & DNS_FLAG_CD) != 0, ldns_pkt_cd(packet));
    assert_int_equal((question->flags & DNS_FLAG_AD) != 0, ldns_pkt_ad(packet));
    assert_int_equal(ldns_pkt_qdcount(packet), 1);

    ldns_rr *asked = ldns_rr_list_rr(ldns_pkt_question(packet), 0);
    assert_int_equal(question->type, ldns_rr_get_type(asked));
    assert_int_equal(question->class, ldns_rr_get_class(asked));
    const ldns_rdf *owner = ldns_rr_owner(asked);
    assert_int_equal(question->name_size, ldns_rdf_size(owner));
    assert_memory_equal(question->spelled, ldns_rdf_data(owner), question->name_size);
    assert_true(bl_name_equal(question->name, ldns_rdf_data(owner)));

    assert_int_equal(question->edns, ldns_pkt_edns(packet));
    if (question->edns) {
        uint16_t udp_size = ldns_pkt_edns_udp_size(packet);
        assert_int_equal(question->udp_size, udp_size < 512 ? 512 : udp_size);
        assert_int_equal(question->edns_version, ldns_pkt_edns_version(packet));
        assert_int_equal(question->dnssec_ok, ldns_pkt_edns_do(packet));
    }
}

static void takes_nothing_that_ldns_does_not_and_sees_the_same(void **state)
{
    (void)state;
    unsigned taken = 0;
    unsigned refused = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint8_t packet[PACKET_SIZE_MAX];
        size_t size = damage(packet, make_packet(packet));
        uint8_t *copy = malloc(size > 0 ? size : 1);
        assert_non_null(copy);
        memcpy(copy, packet, size);

        struct question question;
        if (question_parse(copy, size, &question) != 0) {
            refused++;
        } else {
            taken++;
            ldns_pkt *parsed = NULL;
            ldns_status status = ldns_wire2pkt(&parsed, copy, size);
            if (status != LDNS_STATUS_OK) {
                for (size_t i = 0; i < size; i++) {
                    print_error("%02x", copy[i]);
                }
                fail_msg(" round %u: ours takes what ldns does not: %s", round,
                         ldns_get_errorstr_by_id(status));
            }
            expect_the_same(&question, parsed);
            ldns_pkt_free(parsed);
        }
        free(copy);
    }
    assert_true(taken > ROUNDS / 4);
    assert_true(refused > ROUNDS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_nothing_that_ldns_does_not_and_sees_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
