/* Names between text and wire form, and the relations between them.
 *
 * Wire forms are handed over in heap copies of exactly their size, so that under AddressSanitizer
 * one octet read too many is a crash. */
#include "blocklist/name.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES(literal) (literal), sizeof(literal) - 1
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define LABEL_63 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"

static void *copy_of(const void *octets, size_t size)
{
    void *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, octets, size);
    return copy;
}

static int from_text(const char *text, size_t size, uint8_t *name)
{
    char *copy = copy_of(text, size);
    int r = bl_name_from_text(copy, size, name);
    free(copy);
    return r;
}

static void reads_text_into_lowered_wire_form(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t text_size;
        const char *name;
        size_t name_size;
    } rows[] = {
        {BYTES("."), BYTES("\0")},
        {BYTES("com"), BYTES("\3com\0")},
        {BYTES("com."), BYTES("\3com\0")},
        {BYTES("WWW.Example.COM"), BYTES("\3www\7example\3com\0")},
        {BYTES("www.example.com."), BYTES("\3www\7example\3com\0")},
        {BYTES("a\\.b.c"), BYTES("\3a.b\1c\0")},
        {BYTES("a\\046b.c"), BYTES("\3a.b\1c\0")},
        {BYTES("\\000.\\255"), BYTES("\1\0\1\xff\0")},
        {BYTES("\\065\\\\x"), BYTES("\3a\\x\0")},
        {BYTES("a\0b"), BYTES("\3a\0b\0")},
        {BYTES("\xc3\xa4 _-.x"), BYTES("\5\xc3\xa4 _-\1x\0")},
        {BYTES(LABEL_63), BYTES("\77" LABEL_63 "\0")},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t name[BL_NAME_SIZE_MAX];
        int r = from_text(rows[i].text, rows[i].text_size, name);
        if (r != (int)rows[i].name_size || memcmp(name, rows[i].name, rows[i].name_size) != 0) {
            fail_msg("%s: %d", rows[i].text, r);
        }
        assert_int_equal(bl_name_size(name), rows[i].name_size);
    }
}

static void refuses_text_that_is_no_name_and_leaves_the_output_alone(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
    } rows[] = {
        {BYTES("")},        {BYTES("..")},     {BYTES(".com")},   {BYTES("a..b")},
        {BYTES("a..")},     {BYTES("a\\")},    {BYTES("a\\1")},   {BYTES("a\\12")},
        {BYTES("a\\12x")},  {BYTES("a\\256")}, {BYTES("a\\999")}, {BYTES("x." LABEL_63 "a")},
        {BYTES("\\1.2.3")},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t name[BL_NAME_SIZE_MAX];
        memset(name, 0xa5, sizeof(name));
        int r = from_text(rows[i].text, rows[i].size, name);
        if (r != -EINVAL || name[0] != 0xa5 || name[1] != 0xa5) {
            fail_msg("row %zu, \"%s\": %d", i, rows[i].text, r);
        }
    }
}

/* Text of labels of 63 octets, the last shortened, that makes a name of `size` octets. */
static size_t text_of_size(size_t size, bool dot, char *text)
{
    size_t length = 0;
    for (size_t left = size - 1; left > 0;) {
        size_t label = left > 64 ? 63 : left - 1;
        if (length > 0) {
            text[length++] = '.';
        }
        memset(text + length, 'x', label);
        length += label;
        left -= label + 1;
    }
    if (dot) {
        text[length++] = '.';
    }
    return length;
}

static void takes_255_octets_and_127_labels_and_no_more(void **state)
{
    (void)state;
    uint8_t name[BL_NAME_SIZE_MAX];
    char text[512];
    for (int dot = 0; dot <= 1; dot++) {
        assert_int_equal(from_text(text, text_of_size(254, dot, text), name), 254);
        assert_int_equal(from_text(text, text_of_size(255, dot, text), name), 255);
        assert_int_equal(from_text(text, text_of_size(256, dot, text), name), -EINVAL);
        assert_int_equal(from_text(text, text_of_size(300, dot, text), name), -EINVAL);
    }
    for (size_t i = 0; i < 256; i++) {
        text[i] = i % 2 == 0 ? 'x' : '.';
    }
    assert_int_equal(from_text(text, 253, name), 255);
    assert_int_equal(bl_name_labels(name), BL_NAME_LABELS_MAX);
    assert_int_equal(from_text(text, 254, name), 255);
    assert_int_equal(from_text(text, 255, name), -EINVAL);
}

static void writes_text_that_reads_back_as_the_same_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t size;
        const char *text;
    } rows[] = {
        {BYTES("\0"), "."},
        {BYTES("\3www\7example\3com\0"), "www.example.com"},
        {BYTES("\3a.b\1c\0"), "a\\046b.c"},
        {BYTES("\4_x-9\0"), "_x-9"},
        {BYTES("\3\0\xff\\\0"), "\\000\\255\\092"},
        {BYTES("\2Ab\0"), "Ab"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t *name = copy_of(rows[i].name, rows[i].size);
        char text[BL_NAME_TEXT_SIZE_MAX];
        assert_int_equal(bl_name_to_text(name, text), strlen(rows[i].text));
        assert_string_equal(text, rows[i].text);
        uint8_t back[BL_NAME_SIZE_MAX];
        assert_int_equal(from_text(text, strlen(text), back), rows[i].size);
        assert_true(bl_name_equal(name, back));
        free(name);
    }
}

static void writes_the_longest_text_within_its_bound(void **state)
{
    (void)state;
    uint8_t name[BL_NAME_SIZE_MAX];
    memset(name, 0xff, sizeof(name));
    name[0] = name[64] = name[128] = 63;
    name[192] = 61;
    name[254] = 0;
    assert_int_equal(bl_name_check(name, sizeof(name)), sizeof(name));
    char *text = malloc(BL_NAME_TEXT_SIZE_MAX);
    assert_non_null(text);
    size_t length = bl_name_to_text(name, text);
    assert_int_equal(length, (63 * 3 + 61) * 4 + 3);
    assert_true(length < BL_NAME_TEXT_SIZE_MAX);
    uint8_t back[BL_NAME_SIZE_MAX];
    assert_int_equal(from_text(text, length, back), sizeof(back));
    assert_memory_equal(back, name, sizeof(back));
    free(text);
}

static int check(const void *octets, size_t size)
{
    uint8_t *copy = copy_of(octets, size);
    int r = bl_name_check(copy, size);
    free(copy);
    return r;
}

static void checks_that_octets_begin_with_one_whole_name(void **state)
{
    (void)state;
    static const struct {
        const char *octets;
        size_t size;
        int expected;
    } rows[] = {
        {BYTES("\0"), 1},
        {BYTES("\3com\0"), 5},
        {BYTES("\3com\0more"), 5},
        {BYTES(""), -EBADMSG},
        {BYTES("\3com"), -EBADMSG},
        {BYTES("\3co"), -EBADMSG},
        {BYTES("\100" LABEL_63 "a\0"), -EBADMSG}, /* a label of 64 */
        {BYTES("\xc0\x0c\0"), -EBADMSG},          /* a compression pointer */
        {BYTES("\1a\xc0\x0c"), -EBADMSG},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int r = check(rows[i].octets, rows[i].size);
        if (r != rows[i].expected) {
            fail_msg("row %zu: %d, not %d", i, r, rows[i].expected);
        }
    }
}

static void refuses_every_cut_of_a_good_name(void **state)
{
    (void)state;
    static const char name[] = "\3www\7example\3com";
    for (size_t size = 0; size < sizeof(name) - 1; size++) {
        assert_int_equal(check(name, size), -EBADMSG);
    }
    assert_int_equal(check(name, sizeof(name)), sizeof(name));
}

static void checks_names_up_to_255_octets(void **state)
{
    (void)state;
    uint8_t octets[512];
    for (size_t i = 0; i < sizeof(octets); i++) {
        octets[i] = i % 2 == 0 ? 1 : 'x';
    }
    octets[254] = 0;
    assert_int_equal(check(octets, 255), 255);
    assert_int_equal(check(octets, 512), 255);
    octets[254] = 1;
    octets[256] = 0;
    assert_int_equal(check(octets, 257), -EBADMSG);
    assert_int_equal(check(octets, 512), -EBADMSG);
}

static void knows_what_is_the_same_and_what_lies_under(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *above;
        bool equal;
        bool under;
    } rows[] = {
        {"\3com", "\3com", true, true},
        {"\3COM", "\3com", true, true},
        {"\3com", "\3net", false, false},
        {"\3www\7example\3com", "\7example\3com", false, true},
        {"\3www\7EXAMPLE\3com", "\7example\3COM", false, true},
        {"\12notexample\3com", "\7example\3com", false, false},
        {"\7example\3com", "\3www\7example\3com", false, false},
        {"\7example\3com", "", false, true},
        {"", "", true, true},
        {"", "\3com", false, false},
        {"\3a\1b\1c", "\1b\1c", false, false}, /* octets that look like labels */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const uint8_t *name = (const uint8_t *)rows[i].name;
        const uint8_t *above = (const uint8_t *)rows[i].above;
        bool equal = bl_name_equal(name, above);
        bool under = bl_name_is_under(name, above);
        if (equal != rows[i].equal || under != rows[i].under) {
            fail_msg("row %zu: %d %d", i, equal, under);
        }
    }
}

static void hashes_differently_under_another_secret(void **state)
{
    (void)state;
    static const uint8_t name[] = "\7example\3com";
    static const uint8_t other[] = "\7examplf\3com";
    struct bl_secret a;
    struct bl_secret b;
    assert_int_equal(bl_secret_make(&a), 0);
    assert_int_equal(bl_secret_make(&b), 0);
    assert_memory_not_equal(&a, &b, sizeof(a));
    assert_true(bl_name_hash(&a, name, sizeof(name)) == bl_name_hash(&a, name, sizeof(name)));
    assert_true(bl_name_hash(&a, name, sizeof(name)) != bl_name_hash(&b, name, sizeof(name)));
    assert_true(bl_name_hash(&a, name, sizeof(name)) != bl_name_hash(&a, other, sizeof(other)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_text_into_lowered_wire_form),
        cmocka_unit_test(refuses_text_that_is_no_name_and_leaves_the_output_alone),
        cmocka_unit_test(takes_255_octets_and_127_labels_and_no_more),
        cmocka_unit_test(writes_text_that_reads_back_as_the_same_name),
        cmocka_unit_test(writes_the_longest_text_within_its_bound),
        cmocka_unit_test(checks_that_octets_begin_with_one_whole_name),
        cmocka_unit_test(refuses_every_cut_of_a_good_name),
        cmocka_unit_test(checks_names_up_to_255_octets),
        cmocka_unit_test(knows_what_is_the_same_and_what_lies_under),
        cmocka_unit_test(hashes_differently_under_another_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
