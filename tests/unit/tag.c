/* Countries and networks of clients: rules first, then databases, and what is remembered. */
#include "geo/tag.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct mmdb *open_data(const char *name, enum mmdb_kind kind)
{
    char path[512];
    char error[MMDB_ERROR_SIZE] = "";
    struct mmdb *mmdb = NULL;
    const char *root = getenv("SOURCE_ROOT");
    (void)snprintf(path, sizeof path, "%s/tests/data/%s", root != NULL ? root : ".", name);
    if (mmdb_open(path, kind, &mmdb, error) < 0) {
        print_error("%s\n", error);
    }
    assert_non_null(mmdb);
    return mmdb;
}

static const struct tag *get(struct tagger *tagger, const char *text)
{
    uint8_t address[MMDB_ADDRESS_SIZE] = {0};
    if (inet_pton(AF_INET, text, address + 12) == 1) {
        memset(address + 10, 0xff, 2);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, address), 1);
    }
    return tagger_get(tagger, address);
}

static void without_databases_everybody_is_unknown_or_local(void **state)
{
    (void)state;
    struct tagger *tagger = tagger_new();
    assert_non_null(tagger);
    assert_string_equal(get(tagger, "192.0.2.1")->country, "ZZ");
    assert_string_equal(get(tagger, "192.168.2.1")->country, "XX");
    assert_string_equal(get(tagger, "::1")->country, "XX");
    assert_string_equal(get(tagger, "2001:db8:1::1")->country, "ZZ");
    assert_int_equal(get(tagger, "192.0.2.1")->asn, 0);
    tagger_free(tagger);
    tagger_free(NULL);
}

static void asked_again_it_says_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        const char *country;
        uint32_t asn;
        const char *as_name;
    } rows[] = {
        {"192.0.2.1", "PL", 64496, "Example Polska"},
        {"192.0.2.200", "PL", 64496, "Example Polska"},
        /* Halves of a /24 that the countries' database tells apart, */
        {"198.51.100.1", "FR", 64497, "Réseau d'exemple"},
        {"198.51.100.200", "ES", 64497, "Réseau d'exemple"},
        /* of one that the networks' database does, */
        {"203.0.113.1", "DE", 64498, "Beispiel \"Netz\" GmbH, Berlin"},
        {"203.0.113.200", "DE", 64499, "Line Break  and  escape"},
        /* and of a /48. */
        {"2001:db8:2::1", "FI", 64501, ""},
        {"2001:db8:2:8000::1", "NO", 64501, ""},
        {"2001:db8:1:1::1", "SE", 64500, "Exempel Nät AB"},
        {"2001:db8:1:2::1", "SE", 64500, "Exempel Nät AB"},
        {"192.0.3.1", "ZZ", 0, ""},
        {"127.0.0.1", "XX", 0, ""}, /* though the database has it */
    };
    struct tagger *tagger = tagger_new();
    assert_non_null(tagger);
    tagger_take(tagger, open_data("country-nested.mmdb", MMDB_COUNTRY),
                open_data("asn-flat.mmdb", MMDB_ASN));
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            const struct tag *tag = get(tagger, rows[i].address);
            assert_string_equal(tag->country, rows[i].country);
            assert_int_equal(tag->asn, rows[i].asn);
            assert_string_equal(tag->as_name, rows[i].as_name);
        }
    }
    assert_int_equal(tagger_failures(tagger), 0);
    tagger_free(tagger);
}

static void many_prefixes_in_few_slots_stay_apart(void **state)
{
    (void)state;
    struct tagger *tagger = tagger_new();
    assert_non_null(tagger);
    tagger_take(tagger, open_data("country-flat.mmdb", MMDB_COUNTRY), NULL);
    for (unsigned i = 0; i < 100000; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "20.%u.%u.1", i >> 8 & 255, i & 255);
        assert_string_equal(get(tagger, text)->country, "ZZ");
        if (i % 1000 == 0) {
            assert_string_equal(get(tagger, "192.0.2.77")->country, "PL");
            assert_string_equal(get(tagger, "2001:db8:1::77")->country, "SE");
        }
    }
    tagger_free(tagger);
}

static void other_databases_are_asked_at_once(void **state)
{
    (void)state;
    struct tagger *tagger = tagger_new();
    assert_non_null(tagger);
    assert_string_equal(get(tagger, "203.0.113.1")->country, "ZZ");
    tagger_take(tagger, open_data("country-flat.mmdb", MMDB_COUNTRY), NULL);
    assert_string_equal(get(tagger, "203.0.113.1")->country, "DE");
    tagger_take(tagger, open_data("country-ipv4.mmdb", MMDB_COUNTRY), NULL);
    assert_string_equal(get(tagger, "203.0.113.1")->country, "ZZ");
    assert_string_equal(get(tagger, "192.0.2.1")->country, "PL");
    tagger_take(tagger, NULL, NULL);
    assert_string_equal(get(tagger, "192.0.2.1")->country, "ZZ");
    tagger_free(tagger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_databases_everybody_is_unknown_or_local),
        cmocka_unit_test(asked_again_it_says_the_same),
        cmocka_unit_test(many_prefixes_in_few_slots_stay_apart),
        cmocka_unit_test(other_databases_are_asked_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
