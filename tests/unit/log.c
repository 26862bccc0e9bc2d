/* What a log line looks like, and that nothing in it can reach the terminal as anything
 * but text. */
#include "resolver/log.h"

#include "geo/utf8.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int saved_stderr = -1;
static FILE *captured;

static void begin_capture(void)
{
    fflush(stderr);
    captured = tmpfile();
    saved_stderr = dup(STDERR_FILENO);
    assert_true(captured != NULL && saved_stderr >= 0);
    assert_int_equal(dup2(fileno(captured), STDERR_FILENO), STDERR_FILENO);
}

/* What was written since, NUL-ended; to be freed. */
static char *end_capture(void)
{
    assert_int_equal(dup2(saved_stderr, STDERR_FILENO), STDERR_FILENO);
    close(saved_stderr);
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    rewind(captured);
    (void)!fread(text, 1, (1 << 16) - 1, captured);
    fclose(captured);
    return text;
}

/* The line without its time, which is checked for its form. */
static const char *after_time(const char *line)
{
    static const char form[] = "time=0000-00-00T00:00:00.000Z ";
    for (size_t i = 0; i < sizeof(form) - 1; i++) {
        if (form[i] == '0') {
            assert_true(line[i] >= '0' && line[i] <= '9');
        } else {
            assert_int_equal(line[i], form[i]);
        }
    }
    return line + sizeof(form) - 1;
}

static void writes_one_line_of_pairs(void **state)
{
    (void)state;
    log_set(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    begin_capture();
    log_info("list loaded", "feed", "starter", "names", log_number(4000), "path", NULL);
    char *text = end_capture();
    assert_string_equal(after_time(text),
                        "level=info msg=\"list loaded\" feed=starter names=4000 path=\"\"\n");
    free(text);
}

static void quotes_and_escapes_what_could_mislead(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *expected;
    } rows[] = {
        {"plain", "plain"},
        {"two words", "\"two words\""},
        {"a=b", "\"a=b\""},
        {"say \"no\"", "\"say \\\"no\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"line\nlevel=error", "\"line\\nlevel=error\""},
        {"tab\t", "\"tab\\t\""},
        {"\x1b[31mred", "\"\\x1b[31mred\""},
        {"\x7f", "\"\\x7f\""},
        {"\xc2\x9b"
         "31m",
         "\"\\x9b31m\""}, /* U+009B starts a sequence too */
        {"M\xc3\xbcnchen", "\"M\xc3\xbcnchen\""},
        {"\xff\xfe", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    log_set(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char expected[128];
        snprintf(expected, sizeof(expected), "level=warning msg=x v=%s\n", rows[i].expected);
        begin_capture();
        log_warning("x", "v", rows[i].value);
        char *text = end_capture();
        assert_string_equal(after_time(text), expected);
        free(text);
    }
}

static void writes_json_that_a_reader_takes(void **state)
{
    (void)state;
    static const char value[] = "\x01\x1b\"\\\n\t\x7f\xc2\x9b\xc3\xbc\xff";
    static const char expected[] = "\x01\x1b\"\\\n\t\x7f\xc2\x9b\xc3\xbc\xef\xbf\xbd";
    log_set(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    begin_capture();
    log_error("it \"broke\"", "name", value);
    char *text = end_capture();
    assert_null(memchr(text, '\x1b', strlen(text)));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);

    json_error_t error;
    json_t *line = json_loads(text, 0, &error);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "error");
    assert_string_equal(json_string_value(json_object_get(line, "message")), "it \"broke\"");
    assert_string_equal(json_string_value(json_object_get(line, "name")), expected);
    json_decref(line);
    free(text);
}

/* Every length around the limit, so that each octet of the line's end once falls on it. */
static void cuts_a_long_line_and_keeps_it_whole(void **state)
{
    (void)state;
    static char value[4200];
    for (size_t size = 3900; size < sizeof(value); size++) {
        memset(value, 'v', size);
        value[size] = '\0';
        for (int format = LOG_FORMAT_LOGFMT; format <= LOG_FORMAT_JSON; format++) {
            log_set(LOG_LEVEL_INFO, (enum log_format)format);
            begin_capture();
            log_info("long", "a", value, "b", "a \"second\" one");
            char *text = end_capture();
            size_t length = strlen(text);
            assert_true(length <= 4096);
            assert_ptr_equal(strchr(text, '\n'), text + length - 1);
            if (format == LOG_FORMAT_JSON) {
                json_t *line = json_loads(text, 0, NULL);
                assert_non_null(line);
                json_decref(line);
            }
            free(text);
        }
    }
}

static void writes_nothing_below_its_level(void **state)
{
    (void)state;
    log_set(LOG_LEVEL_WARNING, LOG_FORMAT_LOGFMT);
    assert_int_equal(log_level_now(), LOG_LEVEL_WARNING);
    begin_capture();
    log_info("not this", "a", "b");
    log_debug("nor this");
    log_error("this");
    char *text = end_capture();
    assert_string_equal(after_time(text), "level=error msg=this\n");
    free(text);
}

static void gives_each_number_of_a_line_its_own_text(void **state)
{
    (void)state;
    const char *smallest = log_number(-9223372036854775807LL - 1);
    const char *zero = log_number(0);
    assert_string_equal(smallest, "-9223372036854775808");
    assert_string_equal(zero, "0");
}

static void knows_well_formed_characters_only(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        size_t expected;
    } rows[] = {
        {"a", 1, 1},
        {"\0", 1, 1},
        {"\xc2\x80", 2, 2},
        {"\xc2", 1, 0},
        {"\xc1\x81", 2, 0}, /* overlong */
        {"\x80", 1, 0},     /* a continuation alone */
        {"\xe0\xa0\x80", 3, 3},
        {"\xe0\x9f\xbf", 3, 0}, /* overlong */
        {"\xed\xa0\x80", 3, 0}, /* a surrogate */
        {"\xf0\x90\x80\x80", 4, 4},
        {"\xf0\x8f\xbf\xbf", 4, 0}, /* overlong */
        {"\xf4\x8f\xbf\xbf", 4, 4}, /* U+10FFFF */
        {"\xf4\x90\x80\x80", 4, 0}, /* beyond it */
        {"\xf5\x80\x80\x80", 4, 0},
        {"\xf0\x90\x80", 3, 0},
        {"\xe2\x82"
         "a",
         3, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t *copy = malloc(rows[i].size);
        assert_non_null(copy);
        memcpy(copy, rows[i].text, rows[i].size);
        size_t size = utf8_sequence_size(copy, rows[i].size);
        free(copy);
        if (size != rows[i].expected) {
            fail_msg("row %zu: %zu, not %zu", i, size, rows[i].expected);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_one_line_of_pairs),
        cmocka_unit_test(quotes_and_escapes_what_could_mislead),
        cmocka_unit_test(writes_json_that_a_reader_takes),
        cmocka_unit_test(cuts_a_long_line_and_keeps_it_whole),
        cmocka_unit_test(writes_nothing_below_its_level),
        cmocka_unit_test(gives_each_number_of_a_line_its_own_text),
        cmocka_unit_test(knows_well_formed_characters_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
