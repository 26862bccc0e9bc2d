/* What question_parse() takes, what it refuses, and that no cut of a packet makes it read too far.
 *
 * Every packet is handed over in a heap copy of exactly its size, so that under AddressSanitizer
 * one octet read too many is a crash and not luck. */
#include "resolver/question.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADER "\x12\x34\x01\x00\0\1\0\0\0\0\0\0"      /* id 0x1234, RD, one question */
#define HEADER_EDNS "\x12\x34\x01\x00\0\1\0\0\0\0\0\1" /* and one additional record */
#define NAME "\3wWw\4AZ@[\3CoM\0"                      /* @ and [ are the neighbours of A and Z */
#define A_IN "\0\1\0\1"
#define OPT(size, version, flags) "\0\0\x29" size "\0" version flags "\0\0"
#define BYTES(literal) (literal), sizeof(literal) - 1

/* The copy outlives the call, since the question borrows it. */
static uint8_t *copy;

static int parse(const char *packet, size_t size, struct question *question)
{
    free(copy);
    copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, packet, size);
    return question_parse(copy, size, question);
}

static int release(void **state)
{
    (void)state;
    free(copy);
    copy = NULL;
    return 0;
}

static void reads_a_query_lowers_its_name_and_keeps_its_spelling(void **state)
{
    (void)state;
    struct question question;
    assert_int_equal(parse(BYTES(HEADER NAME A_IN), &question), 0);
    assert_int_equal(question.id, 0x1234);
    assert_int_equal(question.flags, 0x0100);
    assert_int_equal(question.type, DNS_A);
    assert_int_equal(question.class, DNS_IN);
    assert_int_equal(question.name_size, 14);
    assert_memory_equal(question.name, "\3www\4az@[\3com", 14);
    assert_memory_equal(question.spelled, NAME, 14);
    assert_false(question.edns);
    assert_int_equal(question.udp_size, 512);
}

static void reads_edns(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *packet;
        size_t size;
        int udp_size;
        int dnssec_ok;
    } rows[] = {
        {"1232 octets", BYTES(HEADER_EDNS NAME A_IN OPT("\x04\xd0", "\0", "\0\0")), 1232, 0},
        {"DO", BYTES(HEADER_EDNS NAME A_IN OPT("\x10\0", "\0", "\x80\0")), 4096, 1},
        {"a size below 512 means 512", BYTES(HEADER_EDNS NAME A_IN OPT("\0\x64", "\0", "\0\0")),
         512, 0},
        {"an option", BYTES(HEADER_EDNS NAME A_IN "\0\0\x29\x04\xd0\0\0\0\0\0\7\0\x0a\0\3abc"),
         1232, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct question question;
        int r = parse(rows[i].packet, rows[i].size, &question);
        if (r != 0 || !question.edns || question.udp_size != rows[i].udp_size ||
            question.dnssec_ok != rows[i].dnssec_ok) {
            fail_msg("%s: %d, size %d, DO %d", rows[i].what, r, question.udp_size,
                     question.dnssec_ok);
        }
    }
}

static void ignores_octets_after_the_last_record(void **state)
{
    (void)state;
    struct question question;
    assert_int_equal(parse(BYTES(HEADER NAME A_IN "trailing"), &question), 0);
}

static void refuses_what_is_not_one_question(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *packet;
        size_t size;
        int expected;
    } rows[] = {
        {"an answer", BYTES("\0\0\x80\0\0\1\0\0\0\0\0\0" NAME A_IN), -EBADMSG},
        {"a NOTIFY", BYTES("\0\0\x20\0\0\1\0\0\0\0\0\0" NAME A_IN), -EOPNOTSUPP},
        {"opcode 15", BYTES("\0\0\x78\0\0\1\0\0\0\0\0\0" NAME A_IN), -EOPNOTSUPP},
        {"no question", BYTES("\0\0\1\0\0\0\0\0\0\0\0\0" NAME A_IN), -EINVAL},
        {"two questions", BYTES("\0\0\1\0\0\2\0\0\0\0\0\0" NAME A_IN NAME A_IN), -EINVAL},
        {"an answer record in it", BYTES("\0\0\1\0\0\1\0\1\0\0\0\0" NAME A_IN), -EINVAL},
        {"an authority record in it", BYTES("\0\0\1\0\0\1\0\0\0\1\0\0" NAME A_IN), -EINVAL},
        {"a compression pointer", BYTES(HEADER "\xc0\x0c" A_IN), -EINVAL},
        {"a label type of RFC 2673", BYTES(HEADER "\x41\x01" A_IN), -EINVAL},
        {"type 0", BYTES(HEADER NAME "\0\0\0\1"), -EINVAL},
        {"OPT asked for", BYTES(HEADER NAME "\0\x29\0\1"), -EINVAL},
        {"EDNS version 1", BYTES(HEADER_EDNS NAME A_IN OPT("\4\xd0", "\1", "\0\0")), -EPROTO},
        {"an additional record that is no OPT",
         BYTES(HEADER_EDNS NAME A_IN "\xc0\x0c\0\1\0\1\0\0\0\0\0\4"
                                     "abcd"),
         -EINVAL},
        {"an OPT promised, none there", BYTES(HEADER_EDNS NAME A_IN), -EINVAL},
        {"two OPTs",
         BYTES("\0\0\1\0\0\1\0\0\0\0\0\2" NAME A_IN OPT("\4\xd0", "\0", "\0\0")
                   OPT("\4\xd0", "\0", "\0\0")),
         -EINVAL},
        {"an OPT that is not the root's",
         BYTES(HEADER_EDNS NAME A_IN "\1a\0\0\x29\x04\xd0\0\0\0\0\0\0"), -EINVAL},
        {"an OPT with an option cut off",
         BYTES(HEADER_EDNS NAME A_IN "\0\0\x29\x04\xd0\0\0\0\0\0\6\0\x0a\0\3ab"), -EINVAL},
        {"an OPT with a stray octet in its data",
         BYTES(HEADER_EDNS NAME A_IN "\0\0\x29\x04\xd0\0\0\0\0\0\1\0"), -EINVAL},
        {"an OPT whose data pass the end",
         BYTES(HEADER_EDNS NAME A_IN "\0\0\x29\x04\xd0\0\0\0\0\0\x20\0\x0a\0\0"), -EINVAL},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct question question;
        int r = parse(rows[i].packet, rows[i].size, &question);
        if (r != rows[i].expected) {
            fail_msg("%s: %d, not %d", rows[i].what, r, rows[i].expected);
        }
    }
}

static void refuses_every_cut_of_a_good_query(void **state)
{
    (void)state;
    static const char packet[] = HEADER_EDNS NAME A_IN OPT("\4\xd0", "\0", "\x80\0");
    for (size_t size = 0; size < sizeof(packet) - 1; size++) {
        struct question question;
        int r = parse(packet, size, &question);
        assert_int_equal(r, size < DNS_HEADER_SIZE ? -EBADMSG : -EINVAL);
    }
}

/* Three labels of `longest` octets and one of `last`, the root and A IN. */
static int parse_long_name(uint8_t longest, uint8_t last, struct question *question)
{
    char packet[512] = HEADER;
    size_t at = DNS_HEADER_SIZE;
    for (int i = 0; i < 4; i++) {
        packet[at] = (char)(i < 3 ? longest : last);
        at += 1u + (i < 3 ? longest : last);
    }
    packet[at + 2] = 1; /* the root, then type A */
    return parse(packet, at + 1 + 4, question);
}

static void takes_the_longest_label_and_name_and_no_longer(void **state)
{
    (void)state;
    struct question question;
    assert_int_equal(parse_long_name(63, 61, &question), 0);
    assert_int_equal(question.name_size, 255);
    assert_int_equal(parse_long_name(63, 62, &question), -EINVAL); /* a name of 256 octets */
    assert_int_equal(parse_long_name(64, 1, &question), -EINVAL);  /* a label of 64 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_query_lowers_its_name_and_keeps_its_spelling),
        cmocka_unit_test(reads_edns),
        cmocka_unit_test(ignores_octets_after_the_last_record),
        cmocka_unit_test(refuses_what_is_not_one_question),
        cmocka_unit_test(refuses_every_cut_of_a_good_query),
        cmocka_unit_test(takes_the_longest_label_and_name_and_no_longer),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
