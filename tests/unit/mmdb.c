/* Countries and networks from databases of both layouts, and what damaged ones give. The databases
 * are made by tests/data/make from the CSV files beside them. */
#include "geo/mmdb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BUILD_S 1767225600 /* as tests/data/make says */
#define FILE_SIZE_MAX 4096u

static void data_path(const char *name, char ret_path[static 512])
{
    const char *root = getenv("SOURCE_ROOT");
    (void)snprintf(ret_path, 512, "%s/tests/data/%s", root != NULL ? root : ".", name);
}

static void read_address(const char *text, uint8_t ret_address[static MMDB_ADDRESS_SIZE])
{
    memset(ret_address, 0, MMDB_ADDRESS_SIZE);
    if (inet_pton(AF_INET, text, ret_address + 12) == 1) {
        memset(ret_address + 10, 0xff, 2);
        return;
    }
    assert_int_equal(inet_pton(AF_INET6, text, ret_address), 1);
}

static struct mmdb *open_data(const char *name, enum mmdb_kind kind)
{
    char path[512];
    char error[MMDB_ERROR_SIZE] = "";
    struct mmdb *mmdb = NULL;
    data_path(name, path);
    if (mmdb_open(path, kind, &mmdb, error) < 0) {
        print_error("%s\n", error);
    }
    assert_non_null(mmdb);
    return mmdb;
}

static void finds_countries_in_both_layouts(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        const char *country;
        unsigned prefix_bits;
    } rows[] = {
        {"192.0.2.0", "PL", 96 + 24},    {"192.0.2.255", "PL", 96 + 24},
        {"198.51.100.1", "FR", 96 + 25}, {"198.51.100.129", "ES", 96 + 25},
        {"203.0.113.53", "DE", 96 + 24}, {"2001:db8:1::53", "SE", 48},
        {"2001:db8:2::53", "FI", 49},    {"2001:db8:2:8000::53", "NO", 49},
        {"2001:db8:bae::1", "ZZ", 48}, /* "EU1" */
        {"2001:db8:bad::1", "ZZ", 48}, /* "x?" */
    };
    static const char *files[] = {"country-flat.mmdb", "country-nested.mmdb"};
    for (size_t file = 0; file < 2; file++) {
        struct mmdb *mmdb = open_data(files[file], MMDB_COUNTRY);
        assert_int_equal(mmdb_build_s(mmdb), BUILD_S);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            uint8_t address[MMDB_ADDRESS_SIZE];
            struct mmdb_record record;
            read_address(rows[i].address, address);
            assert_int_equal(mmdb_find(mmdb, address, &record), 0);
            assert_string_equal(record.country, rows[i].country);
            assert_int_equal(record.prefix_bits, rows[i].prefix_bits);
            assert_int_equal(record.asn, 0);
        }
        mmdb_close(mmdb);
    }
}

static void the_shipped_database_knows_large_networks(void **state)
{
    (void)state;
    static const char *rows[][2] = {
        {"193.0.6.139", "NL"}, {"194.181.0.1", "PL"},          {"78.20.115.5", "BE"},
        {"8.8.8.8", "US"},     {"2001:4860:4860::8888", "US"}, {"192.0.2.1", "ZZ"},
        {"2001:db8::1", "ZZ"},
    };
    struct mmdb *mmdb = open_data("../../deploy/data/country.mmdb", MMDB_COUNTRY);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t address[MMDB_ADDRESS_SIZE];
        struct mmdb_record record;
        read_address(rows[i][0], address);
        assert_int_equal(mmdb_find(mmdb, address, &record), 0);
        assert_string_equal(record.country, rows[i][1]);
    }
    mmdb_close(mmdb);
}

static void an_address_without_an_entry_has_no_country(void **state)
{
    (void)state;
    static const char *addresses[] = {"8.8.8.8", "192.0.3.1", "2001:db9::1", "2001:db8::1", "::2"};
    struct mmdb *mmdb = open_data("country-nested.mmdb", MMDB_COUNTRY);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        uint8_t address[MMDB_ADDRESS_SIZE];
        struct mmdb_record record;
        read_address(addresses[i], address);
        assert_int_equal(mmdb_find(mmdb, address, &record), 0);
        assert_string_equal(record.country, "ZZ");
    }
    mmdb_close(mmdb);
}

static void a_tree_of_ipv4_knows_nothing_of_ipv6(void **state)
{
    (void)state;
    struct mmdb *mmdb = open_data("country-ipv4.mmdb", MMDB_COUNTRY);
    uint8_t address[MMDB_ADDRESS_SIZE];
    struct mmdb_record record;
    read_address("192.0.2.7", address);
    assert_int_equal(mmdb_find(mmdb, address, &record), 0);
    assert_string_equal(record.country, "PL");
    assert_int_equal(record.prefix_bits, 96 + 24);
    read_address("2001:db8:1::1", address);
    assert_int_equal(mmdb_find(mmdb, address, &record), 0);
    assert_string_equal(record.country, "ZZ");
    mmdb_close(mmdb);
}

static void finds_networks_in_both_layouts_and_cleans_their_names(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        uint32_t asn;
        const char *name;
    } rows[] = {
        {"192.0.2.1", 64496, "Example Polska"},
        {"198.51.100.1", 64497, "Réseau d'exemple"},
        {"203.0.113.1", 64498, "Beispiel \"Netz\" GmbH, Berlin"},
        {"203.0.113.200", 64499, "Line Break  and  escape"},
        {"2001:db8:1::1", 64500, "Exempel Nät AB"},
        {"2001:db8:2::1", 64501, ""},
        /* 71 octets of ASCII, then as many letters of two octets as fit before the NUL. */
        {"2001:db8:3::1", 64511,
         "A name that goes on for longer than any line of a log needs to carry it: "
         "ąąąąąąąąąąą"},
        {"2001:db8:4::1", 4294967295, "The greatest number"},
        {"2001:db8:5::1", 0, ""},
    };
    static const char *files[] = {"asn-flat.mmdb", "asn-nested.mmdb"};
    for (size_t file = 0; file < 2; file++) {
        struct mmdb *mmdb = open_data(files[file], MMDB_ASN);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            uint8_t address[MMDB_ADDRESS_SIZE];
            struct mmdb_record record;
            read_address(rows[i].address, address);
            assert_int_equal(mmdb_find(mmdb, address, &record), 0);
            assert_int_equal(record.asn, rows[i].asn);
            assert_string_equal(record.as_name, rows[i].name);
            assert_string_equal(record.country, "ZZ");
        }
        mmdb_close(mmdb);
    }
}

/* A database that is `size` octets long, opened through a descriptor of memory. */
static int open_octets(const uint8_t *octets, size_t size, enum mmdb_kind kind,
                       struct mmdb **ret_mmdb, char *ret_error)
{
    char path[64];
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(octets, 1, size, file), size);
    assert_int_equal(fflush(file), 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(file));
    int r = mmdb_open(path, kind, ret_mmdb, ret_error);
    fclose(file);
    return r;
}

static size_t read_data(const char *name, uint8_t ret_octets[static FILE_SIZE_MAX])
{
    char path[512];
    data_path(name, path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(ret_octets, 1, FILE_SIZE_MAX, file);
    fclose(file);
    assert_in_range(size, 100, FILE_SIZE_MAX - 1);
    return size;
}

static void look_up_everything(const struct mmdb *mmdb)
{
    static const char *addresses[] = {"192.0.2.1",      "198.51.100.200", "203.0.113.200",
                                      "255.1.1.1",      "2001:db8:1::1",  "2001:db8:3::1",
                                      "2001:db8:bad::", "ffff::1",        "::1"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        uint8_t address[MMDB_ADDRESS_SIZE];
        struct mmdb_record record;
        read_address(addresses[i], address);
        int r = mmdb_find(mmdb, address, &record);
        if (r < 0) {
            assert_int_equal(r, -EBADMSG);
            continue;
        }
        assert_int_equal(strlen(record.country), 2);
        assert_in_range(record.country[0], 'A', 'Z');
        assert_in_range(record.country[1], 'A', 'Z');
        assert_non_null(memchr(record.as_name, '\0', sizeof record.as_name));
        for (const char *at = record.as_name; *at != '\0'; at++) {
            assert_false(*at > 0 && *at < ' ');
        }
    }
}

static void a_file_cut_short_anywhere_gives_an_error_that_names_it(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        enum mmdb_kind kind;
    } rows[] = {{"country-nested.mmdb", MMDB_COUNTRY}, {"asn-flat.mmdb", MMDB_ASN}};
    uint8_t octets[FILE_SIZE_MAX];
    for (size_t i = 0; i < 2; i++) {
        size_t size = read_data(rows[i].file, octets);
        for (size_t cut = 0; cut < size; cut++) {
            struct mmdb *mmdb = NULL;
            char error[MMDB_ERROR_SIZE] = "";
            int r = open_octets(octets, cut, rows[i].kind, &mmdb, error);
            if (r == 0) { /* what is cut off may be a text at the very end that nobody needs */
                look_up_everything(mmdb);
                mmdb_close(mmdb);
                assert_true(cut > size / 2);
                continue;
            }
            assert_null(mmdb);
            assert_true(r == -EBADMSG || r == -EINVAL || r == -ENODATA);
            assert_non_null(strstr(error, "/proc/self/fd/"));
        }
    }
}

static void a_damaged_file_gives_errors_or_no_country_and_never_a_crash(void **state)
{
    (void)state;
    static const uint8_t damages[] = {0x01, 0x20, 0x80, 0xFF};
    static const struct {
        const char *file;
        enum mmdb_kind kind;
    } rows[] = {{"country-nested.mmdb", MMDB_COUNTRY},
                {"country-ipv4.mmdb", MMDB_COUNTRY},
                {"asn-flat.mmdb", MMDB_ASN},
                {"asn-nested.mmdb", MMDB_ASN}};
    uint8_t octets[FILE_SIZE_MAX];
    unsigned opened = 0;
    unsigned refused = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t size = read_data(rows[i].file, octets);
        for (size_t at = 0; at < size; at++) {
            octets[at] ^= damages[at % sizeof damages];
            struct mmdb *mmdb = NULL;
            char error[MMDB_ERROR_SIZE] = "";
            if (open_octets(octets, size, rows[i].kind, &mmdb, error) == 0) {
                look_up_everything(mmdb);
                mmdb_close(mmdb);
                opened++;
            } else {
                assert_true(error[0] != '\0');
                refused++;
            }
            octets[at] ^= damages[at % sizeof damages];
        }
    }
    assert_true(opened > 0);
    assert_true(refused > 0);
}

static void a_tree_of_circles_is_given_up(void **state)
{
    (void)state;
    uint8_t octets[FILE_SIZE_MAX];
    size_t size = read_data("country-nested.mmdb", octets);
    uint8_t *data = memmem(octets, size,
                           "\xe1\x47"
                           "country",
                           9);
    assert_non_null(data);
    memset(octets, 0, (size_t)(data - 16 - octets)); /* every record leads to the first node */
    struct mmdb *mmdb = NULL;
    char error[MMDB_ERROR_SIZE] = "";
    assert_int_equal(open_octets(octets, size, MMDB_COUNTRY, &mmdb, error), -EINVAL);
    assert_null(mmdb);
}

static void refuses_what_is_not_the_database_asked_for_and_says_so(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum mmdb_kind kind;
        int expected;
        const char *says;
    } rows[] = {
        {"none.mmdb", MMDB_COUNTRY, -ENOENT, "none.mmdb: no such file"},
        {"country.csv", MMDB_COUNTRY, -EBADMSG, "country.csv: not an MMDB file"},
        {"asn-nested.mmdb", MMDB_COUNTRY, -EINVAL, "asn-nested.mmdb: has no countries"},
        {"country-flat.mmdb", MMDB_ASN, -EINVAL, "country-flat.mmdb: has no AS numbers"},
        {"../data", MMDB_COUNTRY, -EINVAL, "data: not a file"},
        {"../../../../../../../../../../dev/null", MMDB_COUNTRY, -EINVAL, "null: not a file"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[512];
        char error[MMDB_ERROR_SIZE] = "";
        struct mmdb *mmdb = NULL;
        data_path(rows[i].name, path);
        assert_int_equal(mmdb_open(path, rows[i].kind, &mmdb, error), rows[i].expected);
        assert_null(mmdb);
        assert_non_null(strstr(error, rows[i].says));
    }
}

static void an_open_database_does_not_feel_its_file_being_cut(void **state)
{
    (void)state;
    char path[] = "/tmp/mmdb-test-XXXXXX";
    char error[MMDB_ERROR_SIZE] = "";
    uint8_t octets[FILE_SIZE_MAX];
    size_t size = read_data("country-flat.mmdb", octets);
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, octets, size), size);
    struct mmdb *mmdb = NULL;
    assert_int_equal(mmdb_open(path, MMDB_COUNTRY, &mmdb, error), 0);
    assert_int_equal(ftruncate(file, 0), 0);
    close(file);
    unlink(path);

    uint8_t address[MMDB_ADDRESS_SIZE];
    struct mmdb_record record;
    read_address("203.0.113.1", address);
    assert_int_equal(mmdb_find(mmdb, address, &record), 0);
    assert_string_equal(record.country, "DE");
    mmdb_close(mmdb);
}

static void knows_local_addresses_from_those_of_the_internet(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool local;
    } rows[] = {
        {"0.1.2.3", true},
        {"1.0.0.0", false},
        {"9.255.255.255", false},
        {"10.0.0.0", true},
        {"10.255.255.255", true},
        {"11.0.0.0", false},
        {"100.63.255.255", false},
        {"100.64.0.0", true},
        {"100.127.255.255", true},
        {"100.128.0.0", false},
        {"127.0.0.1", true},
        {"128.0.0.1", false},
        {"169.254.1.1", true},
        {"169.253.255.255", false},
        {"172.15.255.255", false},
        {"172.16.0.0", true},
        {"172.31.255.255", true},
        {"172.32.0.0", false},
        {"192.168.0.1", true},
        {"192.167.255.255", false},
        {"192.0.0.1", true},
        {"192.0.1.1", false},
        {"198.18.0.1", true},
        {"198.20.0.1", false},
        {"223.255.255.255", false},
        {"224.0.0.1", true},
        {"255.255.255.255", true},
        {"192.0.2.1", false},
        {"198.51.100.1", false},
        {"203.0.113.1", false},
        {"::", true},
        {"::1", true},
        {"::2", false},
        {"2001:db8::1", false},
        {"fbff::1", false},
        {"fc00::1", true},
        {"fdff::1", true},
        {"fe00::1", false},
        {"fe80::1", true},
        {"febf::1", true},
        {"fec0::1", true},
        {"ff02::1", true},
        {"64:ff9b:1::1", true},
        {"64:ff9b::1", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t address[MMDB_ADDRESS_SIZE];
        read_address(rows[i].address, address);
        if (mmdb_is_local(address) != rows[i].local) {
            fail_msg("%s", rows[i].address);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_countries_in_both_layouts),
        cmocka_unit_test(the_shipped_database_knows_large_networks),
        cmocka_unit_test(an_address_without_an_entry_has_no_country),
        cmocka_unit_test(a_tree_of_ipv4_knows_nothing_of_ipv6),
        cmocka_unit_test(finds_networks_in_both_layouts_and_cleans_their_names),
        cmocka_unit_test(a_file_cut_short_anywhere_gives_an_error_that_names_it),
        cmocka_unit_test(a_damaged_file_gives_errors_or_no_country_and_never_a_crash),
        cmocka_unit_test(a_tree_of_circles_is_given_up),
        cmocka_unit_test(refuses_what_is_not_the_database_asked_for_and_says_so),
        cmocka_unit_test(an_open_database_does_not_feel_its_file_being_cut),
        cmocka_unit_test(knows_local_addresses_from_those_of_the_internet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
