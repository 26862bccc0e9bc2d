/* What a line of the hit log says; whatever a hit holds, a JSON reader takes it. */
#include "geo/hitline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#define NAME(hit_part, literal)                                                                    \
    (memcpy((hit_part), (literal), sizeof(literal)), (uint8_t)sizeof(literal))

static struct hit plain_hit(void)
{
    struct hit hit = {
        .time_s = 1795509072,
        .count = 3,
        .feed = "starter",
        .category = "malware",
        .family = "wp_inject",
        .action = "address",
        .tier = "feed",
        .client = {[10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 7},
        .type = 1,
    };
    hit.name_size = NAME(hit.name, "\3www\4evil\7example");
    hit.entry_offset = 4;
    return hit;
}

static const struct tag plain_tag = {.country = "PL", .asn = 64496, .as_name = "Example Polska"};

/* Writes the line into exactly the room it may take, so that a sanitizer sees more. */
static size_t write_line(const struct hit *hit, const struct tag *tag, uint8_t client_bits,
                         char **ret_text)
{
    char *text = malloc(HITLINE_SIZE_MAX);
    assert_non_null(text);
    struct hitline line = {.node = "n1", .hit = hit, .tag = tag, .client_bits = client_bits};
    size_t size = hitline_write(&line, text);
    assert_int_equal(strlen(text), size);
    assert_int_equal(text[size - 1], '\n');
    *ret_text = text;
    return size;
}

static void assert_line(const struct hit *hit, const struct tag *tag, uint8_t client_bits,
                        const char *expected)
{
    char *text = NULL;
    (void)write_line(hit, tag, client_bits, &text);
    assert_string_equal(text, expected);
    free(text);
}

static void says_all_that_is_known(void **state)
{
    (void)state;
    struct hit hit = plain_hit();
    assert_line(&hit, &plain_tag, HITLINE_CLIENT_FULL,
                "{\"time\":\"2026-11-24T08:31:12Z\",\"node\":\"n1\",\"client\":\"192.0.2.7\","
                "\"country\":\"PL\",\"asn\":64496,\"as_name\":\"Example Polska\","
                "\"transport\":\"udp\",\"verified\":false,\"name\":\"www.evil.example\","
                "\"type\":\"A\",\"entry\":\"evil.example\",\"feed\":\"starter\","
                "\"category\":\"malware\",\"family\":\"wp_inject\",\"tier\":\"feed\","
                "\"action\":\"address\",\"count\":3}\n");
}

static void leaves_out_what_is_not_known_or_not_shown(void **state)
{
    (void)state;
    static const struct tag unknown = {.country = "ZZ"};
    struct hit hit = plain_hit();
    hit.transport = 1;
    hit.verified = true;
    hit.type = 65;
    hit.category = "";
    hit.family = "";
    hit.chain_size = NAME(hit.chain, "\3cdn\3bad\7example");
    assert_line(&hit, &unknown, HITLINE_CLIENT_NONE,
                "{\"time\":\"2026-11-24T08:31:12Z\",\"node\":\"n1\",\"country\":\"ZZ\","
                "\"transport\":\"tcp\",\"verified\":true,\"name\":\"www.evil.example\","
                "\"type\":\"HTTPS\",\"entry\":\"bad.example\",\"chain\":\"cdn.bad.example\","
                "\"feed\":\"starter\",\"category\":\"\",\"family\":\"\",\"tier\":\"feed\","
                "\"action\":\"address\",\"count\":3}\n");
}

static void shows_clients_in_the_form_asked_for(void **state)
{
    (void)state;
    static const struct {
        uint8_t client[16];
        uint8_t bits;
        const char *expected;
    } rows[] = {
        {{[10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2}, 24, "\"192.0.2.0/24\""},
        {{[10] = 0xff, [11] = 0xff}, 0, "\"0.0.0.0/0\""},
        {{0x20, 0x01, 0x0d, 0xb8, 0, 1}, 48, "\"2001:db8:1::/48\""},
        {{0x20, 0x01, 0x0d, 0xb8, [15] = 1}, HITLINE_CLIENT_FULL, "\"2001:db8::1\""},
        {{0}, HITLINE_CLIENT_FULL, "\"::\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hit hit = plain_hit();
        memcpy(hit.client, rows[i].client, sizeof hit.client);
        char *text = NULL;
        (void)write_line(&hit, &plain_tag, rows[i].bits, &text);
        assert_non_null(strstr(text, rows[i].expected));
        free(text);
    }
}

static void finds_the_entry_within_the_name_that_matched(void **state)
{
    (void)state;
    struct hit hit = plain_hit();
    assert_ptr_equal(hitline_entry(&hit), hit.name + 4);
    hit.entry_offset = 0;
    assert_ptr_equal(hitline_entry(&hit), hit.name);
    hit.entry_offset = 5; /* inside a label */
    assert_ptr_equal(hitline_entry(&hit), hit.name);
    hit.entry_offset = 250; /* behind the end */
    assert_ptr_equal(hitline_entry(&hit), hit.name);
    hit.chain_size = NAME(hit.chain, "\1a\1b\1c");
    hit.entry_offset = 2;
    assert_ptr_equal(hitline_entry(&hit), hit.chain + 2);
}

static void names_common_types_and_numbers_the_others(void **state)
{
    (void)state;
    static const struct {
        uint16_t type;
        const char *expected;
    } rows[] = {
        {1, "\"A\""},     {28, "\"AAAA\""},         {65, "\"HTTPS\""}, {255, "\"ANY\""},
        {0, "\"TYPE0\""}, {65280, "\"TYPE65280\""}, {257, "\"CAA\""},  {3, "\"TYPE3\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hit hit = plain_hit();
        hit.type = rows[i].type;
        char *text = NULL;
        (void)write_line(&hit, &plain_tag, HITLINE_CLIENT_FULL, &text);
        assert_non_null(strstr(text, rows[i].expected));
        free(text);
    }
}

/* The line as a JSON reader sees it. */
static json_t *read_line(const struct hit *hit, const struct tag *tag)
{
    char *text = NULL;
    json_error_t error;
    size_t size = write_line(hit, tag, HITLINE_CLIENT_FULL, &text);
    json_t *line = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (line == NULL) {
        print_error("%s in %s\n", error.text, text);
    }
    assert_non_null(line);
    assert_null(memchr(text, '\n', size - 1));
    free(text);
    return line;
}

static void any_text_comes_back_from_a_json_reader(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected;
    } rows[] = {
        {"quote \" backslash \\ slash /", "quote \" backslash \\ slash /"},
        {"controls \n\t\x01\x7f", "controls \n\t\x01\x7f"},
        {"żółć 漢 😀", "żółć 漢 😀"},
        {"broken \xff\xc3", "broken \xef\xbf\xbd\xef\xbf\xbd"},
        {"overlong \xc0\xaf", "overlong \xef\xbf\xbd\xef\xbf\xbd"},
        {"surrogate \xed\xa0\x80", "surrogate \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"too high \xf4\x90\x80\x80", "too high \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hit hit = plain_hit();
        hit.feed = rows[i].text;
        json_t *line = read_line(&hit, &plain_tag);
        assert_string_equal(json_string_value(json_object_get(line, "feed")), rows[i].expected);
        json_decref(line);
    }
}

static void every_octet_in_every_field_fits_into_the_line(void **state)
{
    (void)state;
    char word[1000];
    memset(word, 0x01, sizeof word - 1); /* escaped as six octets each */
    word[sizeof word - 1] = '\0';
    struct tag tag = {.country = "ZZ", .asn = UINT32_MAX};
    memset(tag.as_name, 0x01, sizeof tag.as_name - 1);
    struct hit hit = plain_hit();
    hit.count = INT64_MAX; /* what JSON readers hold */
    hit.time_s = 253402300799;
    hit.feed = hit.category = hit.family = hit.action = hit.tier = word;
    hit.name[0] = 63; /* three labels of 63 octets and one of 61: 255 with the root */
    hit.name[64] = 63;
    hit.name[128] = 63;
    hit.name[192] = 61;
    for (unsigned label = 0; label < 4; label++) {
        memset(hit.name + label * 64 + 1, 0x80, label < 3 ? 63 : 61);
    }
    hit.name[254] = 0;
    hit.name_size = 255;
    memcpy(hit.chain, hit.name, 255);
    hit.chain_size = 255;
    hit.entry_offset = 0;
    char *text = NULL;
    struct hitline line = {
        .node = word, .hit = &hit, .tag = &tag, .client_bits = HITLINE_CLIENT_FULL};
    text = malloc(HITLINE_SIZE_MAX);
    assert_non_null(text);
    size_t size = hitline_write(&line, text);
    assert_in_range(size, 12000, HITLINE_SIZE_MAX - 1);
    json_t *read = json_loadb(text, size, 0, NULL);
    assert_non_null(read);
    assert_int_equal(json_string_length(json_object_get(read, "feed")), HITLINE_WORD_SIZE_MAX);
    json_decref(read);
    free(text);
}

static void times_beyond_reason_stay_json(void **state)
{
    (void)state;
    static const int64_t times[] = {0, -1, INT64_MAX, INT64_MIN};
    static const char *expected[] = {"1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", NULL, NULL};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct hit hit = plain_hit();
        hit.time_s = times[i];
        json_t *line = read_line(&hit, &plain_tag);
        const char *time = json_string_value(json_object_get(line, "time"));
        if (expected[i] == NULL) {
            assert_null(time);
        } else {
            assert_string_equal(time, expected[i]);
        }
        json_decref(line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_all_that_is_known),
        cmocka_unit_test(leaves_out_what_is_not_known_or_not_shown),
        cmocka_unit_test(shows_clients_in_the_form_asked_for),
        cmocka_unit_test(finds_the_entry_within_the_name_that_matched),
        cmocka_unit_test(names_common_types_and_numbers_the_others),
        cmocka_unit_test(any_text_comes_back_from_a_json_reader),
        cmocka_unit_test(every_octet_in_every_field_fits_into_the_line),
        cmocka_unit_test(times_beyond_reason_stay_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
