/* What the lines of list files say, and why some say nothing.
 *
 * Every line is handed over in a heap copy of exactly its size, so that under AddressSanitizer one
 * octet read too many is a crash. */
#include "blocklist/format.h"

#include "blocklist/name.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LABEL_63 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"
#define LABEL_61 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxy"

/* Entries as "name" for suffix and "=name" for exact, with a space between. */
struct said {
    char text[8192];
};

static void say(void *context, const uint8_t *name, size_t size, enum bl_scope scope)
{
    struct said *said = context;
    assert_int_equal(bl_name_check(name, size), size);
    char text[BL_NAME_TEXT_SIZE_MAX];
    bl_name_to_text(name, text);
    size_t length = strlen(said->text);
    snprintf(said->text + length, sizeof(said->text) - length, "%s%s%s", length > 0 ? " " : "",
             scope == BL_SCOPE_EXACT ? "=" : "", text);
}

static int read_line(enum bl_format format, const char *line, size_t size, struct said *said,
                     const char **reason)
{
    char *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, line, size);
    said->text[0] = '\0';
    int r = bl_format_line(format, copy, size, say, said, reason);
    free(copy);
    return r;
}

static void lines_that_say_something_or_nothing(void **state)
{
    (void)state;
    static const struct {
        enum bl_format format;
        const char *line;
        int entries;
        const char *expected;
    } rows[] = {
        {BL_FORMAT_AUTO, "evil.com", 1, "evil.com"},
        {BL_FORMAT_AUTO, "EVIL.Com.", 1, "evil.com"},
        {BL_FORMAT_AUTO, "  evil.com\t\r\n", 1, "evil.com"},
        {BL_FORMAT_AUTO, "evil.com\n", 1, "evil.com"},
        {BL_FORMAT_AUTO,
         "\xef\xbb\xbf"
         "evil.com",
         1, "evil.com"},
        {BL_FORMAT_AUTO, "\xef\xbb\xbf# a list", 0, ""},
        {BL_FORMAT_AUTO, "*.evil.com", 1, "evil.com"},
        {BL_FORMAT_AUTO, ".evil.com", 1, "evil.com"},
        {BL_FORMAT_AUTO, "=evil.com", 1, "=evil.com"},
        {BL_FORMAT_AUTO, "com", 1, "com"}, /* the guards look at that */
        {BL_FORMAT_AUTO, ".", 1, "."},
        {BL_FORMAT_AUTO, "_dmarc.ev-il.com", 1, "_dmarc.ev-il.com"},
        {BL_FORMAT_AUTO, "xn--bcher-kva.example", 1, "xn--bcher-kva.example"},
        {BL_FORMAT_AUTO, LABEL_63 ".com", 1, LABEL_63 ".com"},
        {BL_FORMAT_AUTO, "evil.com # since May", 1, "evil.com"},
        {BL_FORMAT_AUTO, "evil.com\t#since May", 1, "evil.com"},
        {BL_FORMAT_AUTO, "", 0, ""},
        {BL_FORMAT_AUTO, " \t\r\n", 0, ""},
        {BL_FORMAT_AUTO, "# evil.com", 0, ""},
        {BL_FORMAT_AUTO, "  #evil.com", 0, ""},
        {BL_FORMAT_AUTO, "; evil.com", 0, ""},
        {BL_FORMAT_HOSTS, "# evil.com", 0, ""},
        {BL_FORMAT_PLAIN, ";evil.com", 0, ""},
        {BL_FORMAT_AUTO, "0.0.0.0 evil.com", 1, "=evil.com"},
        {BL_FORMAT_AUTO, "127.0.0.1\tevil.com\twww.evil.com # both", 2, "=evil.com =www.evil.com"},
        {BL_FORMAT_AUTO, "::1 evil.com", 1, "=evil.com"},
        {BL_FORMAT_HOSTS, "::ffff:0.0.0.0 Evil.com.", 1, "=evil.com"},
        {BL_FORMAT_AUTO, "127.0.0.1 localhost", 0, ""},
        {BL_FORMAT_AUTO, "127.0.0.1 localhost.localdomain LOCAL", 0, ""},
        {BL_FORMAT_AUTO, "255.255.255.255 broadcasthost", 0, ""},
        {BL_FORMAT_AUTO, "fe80::1%lo0 localhost", 0, ""},
        {BL_FORMAT_AUTO, "ff02::1 ip6-allnodes ip6-other", 0, ""},
        {BL_FORMAT_AUTO, "0.0.0.0 0.0.0.0", 0, ""},
        {BL_FORMAT_AUTO, "127.0.0.1 localhost evil.com", 1, "=evil.com"},
        {BL_FORMAT_AUTO, "0.0.0.0 ip6-evil.com", 1, "=ip6-evil.com"},
        {BL_FORMAT_AUTO, "1.2.3.4.com", 1, "1.2.3.4.com"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct said said;
        const char *reason = "";
        int r = read_line(rows[i].format, rows[i].line, strlen(rows[i].line), &said, &reason);
        if (r != rows[i].entries || strcmp(said.text, rows[i].expected) != 0) {
            fail_msg("\"%s\": %d \"%s\" %s", rows[i].line, r, said.text, reason);
        }
    }
}

static void lines_that_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        enum bl_format format;
        const char *line;
        const char *reason; /* its beginning */
    } rows[] = {
        {BL_FORMAT_AUTO, "evil..com", "an empty label"},
        {BL_FORMAT_AUTO, "..evil.com", "an empty label"},
        {BL_FORMAT_AUTO, "evil.com..", "an empty label"},
        {BL_FORMAT_AUTO, "*.", "an empty label"},
        {BL_FORMAT_AUTO, "=", "an empty label"},
        {BL_FORMAT_AUTO, "x" LABEL_63 ".com", "a label of more than 63"},
        {BL_FORMAT_AUTO, LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_61 "x", "a name of more"},
        {BL_FORMAT_AUTO, "*", "not a name"},
        {BL_FORMAT_AUTO, "=*.evil.com", "not a name"},
        {BL_FORMAT_AUTO, "*evil.com", "not a name"},
        {BL_FORMAT_AUTO, "www.*.com", "not a name"},
        {BL_FORMAT_AUTO, "http://evil.com/", "not a name"},
        {BL_FORMAT_AUTO, "||evil.com^", "not a name"},
        {BL_FORMAT_AUTO, "evil.com#x", "not a name"},
        {BL_FORMAT_AUTO, "evil.com;", "not a name"},
        {BL_FORMAT_AUTO, "ev\\046il.com", "not a name"},
        {BL_FORMAT_AUTO, "ev\x01il.com", "not a name"},
        {BL_FORMAT_AUTO, "192.0.2.1", "an IP address"},
        {BL_FORMAT_AUTO, "192.0.2.1 # alone", "an IP address"},
        {BL_FORMAT_AUTO, "192.0.2.1.", "an IP address"},
        {BL_FORMAT_AUTO, "*.192.0.2.1", "an IP address"},
        {BL_FORMAT_AUTO, "2001:db8::1", "an IP address"},
        {BL_FORMAT_PLAIN, "0.0.0.0 evil.com", "an IP address"},
        {BL_FORMAT_AUTO, "0.0.0.0 192.0.2.1", "an IP address"},
        {BL_FORMAT_AUTO,
         "b\xc3\xbc"
         "cher.example",
         "octets that are not ASCII"},
        {BL_FORMAT_AUTO,
         "0.0.0.0 b\xc3\xbc"
         "cher.example",
         "octets that are not ASCII"},
        {BL_FORMAT_AUTO, "evil.com worse.com", "more than one name"},
        {BL_FORMAT_HOSTS, "evil.com", "not an IP address"},
        {BL_FORMAT_HOSTS, "999.0.0.0 evil.com", "not an IP address"},
        {BL_FORMAT_HOSTS, "fe80::1%lo0", "an address without a name"},
        {BL_FORMAT_HOSTS, "0.0.0.0 # evil.com", "an address without a name"},
        {BL_FORMAT_AUTO, "0.0.0.0 evil.com wor..se", "an empty label"}, /* nothing of it is taken */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct said said;
        const char *reason = "";
        int r = read_line(rows[i].format, rows[i].line, strlen(rows[i].line), &said, &reason);
        if (r != -EINVAL || said.text[0] != '\0' ||
            strncmp(reason, rows[i].reason, strlen(rows[i].reason)) != 0) {
            fail_msg("\"%s\": %d \"%s\" %s", rows[i].line, r, said.text, reason);
        }
    }
}

static void a_nul_does_not_end_a_line(void **state)
{
    (void)state;
    struct said said;
    const char *reason = "";
    assert_int_equal(read_line(BL_FORMAT_AUTO, "evil.com\0x", 10, &said, &reason), -EINVAL);
    assert_int_equal(read_line(BL_FORMAT_AUTO, "0.0.0.0\0 evil.com", 17, &said, &reason), -EINVAL);
    assert_string_equal(said.text, "");
}

static void a_line_of_4096_octets_is_taken_and_no_longer_one(void **state)
{
    (void)state;
    char line[BL_LINE_SIZE_MAX + 8];
    struct said said;
    const char *reason = "";
    memset(line, ' ', sizeof(line));
    memcpy(line + BL_LINE_SIZE_MAX - 8, "evil.com\r\n", 10);
    assert_int_equal(read_line(BL_FORMAT_AUTO, line, BL_LINE_SIZE_MAX + 2, &said, &reason), 1);
    assert_string_equal(said.text, "evil.com");
    memcpy(line + BL_LINE_SIZE_MAX - 8, " evil.com\n", 10);
    assert_int_equal(read_line(BL_FORMAT_AUTO, line, BL_LINE_SIZE_MAX + 2, &said, &reason),
                     -EINVAL);
    assert_string_equal(reason, BL_LINE_TOO_LONG);
}

static void formats_are_named_in_the_configuration(void **state)
{
    (void)state;
    static const char *const texts[] = {"auto", "plain", "hosts"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        enum bl_format format;
        assert_int_equal(bl_format_from_text(texts[i], strlen(texts[i]), &format), 0);
        assert_int_equal(format, i);
        assert_string_equal(bl_format_text(format), texts[i]);
    }
    enum bl_format format = BL_FORMAT_HOSTS;
    assert_int_equal(bl_format_from_text("Auto", 4, &format), -EINVAL);
    assert_int_equal(bl_format_from_text("hostsx", 6, &format), -EINVAL);
    assert_int_equal(bl_format_from_text("", 0, &format), -EINVAL);
    assert_int_equal(format, BL_FORMAT_HOSTS);
    assert_null(bl_format_text((enum bl_format)3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_that_say_something_or_nothing),
        cmocka_unit_test(lines_that_are_refused_with_a_reason),
        cmocka_unit_test(a_nul_does_not_end_a_line),
        cmocka_unit_test(a_line_of_4096_octets_is_taken_and_no_longer_one),
        cmocka_unit_test(formats_are_named_in_the_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
