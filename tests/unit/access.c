/* Which clients may ask, and how many questions one of them may have in flight. */
#include "resolver/access.h"
#include "resolver/cpus.h"
#include "resolver/quota.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void address_of(const char *text, uint8_t address[static 16])
{
    memset(address, 0, 16);
    if (strchr(text, ':') != NULL) {
        assert_int_equal(inet_pton(AF_INET6, text, address), 1);
    } else {
        address[10] = address[11] = 0xff;
        assert_int_equal(inet_pton(AF_INET, text, address + 12), 1);
    }
}

static struct config_prefix prefix_of(const char *text, unsigned bits)
{
    struct config_prefix prefix;
    address_of(text, prefix.address);
    prefix.bits = (uint8_t)(strchr(text, ':') != NULL ? bits : 96 + bits);
    return prefix;
}

static void allows_what_lies_in_a_prefix_and_nothing_beside_it(void **state)
{
    (void)state;
    struct config_prefix prefixes[] = {
        prefix_of("10.0.0.0", 8),     prefix_of("127.0.0.0", 8), prefix_of("10.1.0.0", 16),
        prefix_of("192.0.2.128", 25), prefix_of("fc00::", 7),    prefix_of("2001:db8::1", 128),
        prefix_of("10.2.3.4", 32),
    };
    static const struct {
        const char *address;
        bool allowed;
    } rows[] = {
        {"9.255.255.255", false}, {"10.0.0.0", true},    {"10.2.3.4", true},
        {"10.255.255.255", true}, {"11.0.0.0", false},   {"127.0.0.1", true},
        {"192.0.2.127", false},   {"192.0.2.128", true}, {"192.0.2.255", true},
        {"192.0.3.0", false},     {"fbff::1", false},    {"fc00::", true},
        {"fdff::1", true},        {"fe00::", false},     {"2001:db8::1", true},
        {"2001:db8::2", false},   {"::", false},         {"255.255.255.255", false},
    };
    struct access *access = access_new(prefixes, sizeof(prefixes) / sizeof(prefixes[0]));
    assert_non_null(access);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t address[16];
        address_of(rows[i].address, address);
        if (access_allows(access, address) != rows[i].allowed) {
            fail_msg("%s", rows[i].address);
        }
    }
    access_free(access);
}

static void everything_and_nothing_are_sets_too(void **state)
{
    (void)state;
    uint8_t address[16];
    struct config_prefix all = prefix_of("::", 0);
    struct access *nothing = access_new(NULL, 0);
    struct access *everything = access_new(&all, 1);
    address_of("192.0.2.1", address);
    assert_false(access_allows(nothing, address));
    assert_true(access_allows(everything, address));
    access_free(nothing);
    access_free(everything);
}

static void a_quota_counts_each_ipv4_address_and_each_ipv6_56(void **state)
{
    (void)state;
    struct bl_secret secret = {{1}};
    struct quota *quota = quota_new(100, &secret);
    uint8_t a[16];
    uint8_t b[16];
    uint8_t c[16];
    address_of("192.0.2.1", a);
    address_of("2001:db8:0:1::1", b);
    address_of("2001:db8:0:ff:2::2", c);
    assert_true(quota_take(quota, a, 2));
    assert_true(quota_take(quota, a, 2));
    assert_false(quota_take(quota, a, 2));
    assert_true(quota_take(quota, b, 2));
    assert_true(quota_take(quota, c, 2)); /* the same /56 */
    assert_false(quota_take(quota, b, 2));
    quota_give(quota, a);
    assert_true(quota_take(quota, a, 2));
    quota_free(quota);
}

/* Many prefixes taken and given in a seeded order, held against plain counters. */
static void a_quota_stays_exact_through_any_order(void **state)
{
    (void)state;
    enum { PREFIXES = 64 };
    unsigned counts[PREFIXES] = {0};
    uint32_t seed = 12345;
    struct bl_secret secret = {{7}};
    struct quota *quota = quota_new(PREFIXES, &secret);
    for (unsigned round = 0; round < 200000; round++) {
        seed = seed * 1664525u + 1013904223u;
        unsigned which = seed >> 24 & (PREFIXES - 1);
        uint8_t address[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [15] = (uint8_t)which};
        if ((seed >> 20 & 1) != 0) {
            counts[which] += quota_take(quota, address, 3);
        } else if (counts[which] > 0) {
            quota_give(quota, address);
            counts[which]--;
        }
        assert_int_equal(quota_count(quota, address), counts[which]);
    }
    for (unsigned i = 0; i < PREFIXES; i++) {
        uint8_t address[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [15] = (uint8_t)i};
        assert_int_equal(quota_count(quota, address), counts[i]);
    }
    quota_free(quota);
}

static void a_full_quota_refuses_new_prefixes_only(void **state)
{
    (void)state;
    struct bl_secret secret = {{7}};
    struct quota *quota = quota_new(2, &secret);
    uint8_t address[3][16];
    address_of("192.0.2.1", address[0]);
    address_of("192.0.2.2", address[1]);
    address_of("192.0.2.3", address[2]);
    assert_true(quota_take(quota, address[0], 5));
    assert_true(quota_take(quota, address[1], 5));
    assert_false(quota_take(quota, address[2], 5));
    assert_true(quota_take(quota, address[0], 5));
    quota_free(quota);
}

static void reads_a_cgroups_quota(void **state)
{
    (void)state;
    assert_true(cpus_quota_v2("200000 100000\n") == 2.0);
    assert_true(cpus_quota_v2("50000 100000") == 0.5);
    assert_true(cpus_quota_v2("max 100000\n") == 0);
    assert_true(cpus_quota_v2("-1 100000") == 0);
    assert_true(cpus_quota_v2("") == 0);
    assert_true(cpus_quota_v2("1 0") == 0);
    struct cpus cpus;
    cpus_read(&cpus);
    assert_true(cpus.usable >= 1 && cpus.usable <= cpus.affinity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allows_what_lies_in_a_prefix_and_nothing_beside_it),
        cmocka_unit_test(everything_and_nothing_are_sets_too),
        cmocka_unit_test(a_quota_counts_each_ipv4_address_and_each_ipv6_56),
        cmocka_unit_test(a_quota_stays_exact_through_any_order),
        cmocka_unit_test(a_full_quota_refuses_new_prefixes_only),
        cmocka_unit_test(reads_a_cgroups_quota),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
