/* What sinkholectl's command line takes and refuses, that its table and the documented tree agree,
 * and that foreign text reaches no terminal raw. */
#include "resolver/ctl/arguments.h"
#include "resolver/ctl/name.h"
#include "resolver/ctl/output.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LINE_WORDS_MAX 16

/* Splits at blanks and parses, as a shell would. `copy` keeps the words. */
static int parse(const char *line, char copy[static 256], struct ctl_arguments *arguments,
                 char error[static CTL_ERROR_SIZE])
{
    char *words[LINE_WORDS_MAX] = {"sinkholectl"};
    int count = 1;
    char *rest = NULL;

    snprintf(copy, 256, "%s", line);
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        assert_true(count < LINE_WORDS_MAX);
        words[count++] = word;
    }
    error[0] = '\0';
    return ctl_arguments_parse(count, words, arguments, error);
}

static void finds_the_command_wherever_the_options_stand(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *command;
        size_t words;
    } rows[] = {
        {"status", "status", 0},
        {"--json status", "status", 0},
        {"status --json", "status", 0},
        {"-c file -s socket block a.example b.example --exact", "block", 2},
        {"block --reason why a.example", "block", 1},
        {"block --reason=why a.example", "block", 1},
        {"-cfile why a.example --type MX", "why", 1},
        {"feed --json list", "feed list", 0},
        {"--quiet feed import - --name f", "feed import", 1},
        {"nodes", "nodes", 0},
        {"metrics sinkhole_", "metrics", 1},
        {"block -- --odd", "block", 1},
        {"help feed import", "help", 2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ctl_arguments arguments;
        char copy[256];
        char error[CTL_ERROR_SIZE];
        int r = parse(rows[i].line, copy, &arguments, error);
        if (r != 0 || strcmp(arguments.command->name, rows[i].command) != 0 ||
            arguments.word_count != rows[i].words) {
            fail_msg("%s: %d %s", rows[i].line, r, error);
        }
        ctl_arguments_done(&arguments);
    }
}

static void hands_over_the_values_of_options(void **state)
{
    (void)state;
    struct ctl_arguments arguments;
    char copy[256];
    char error[CTL_ERROR_SIZE];

    assert_int_equal(parse("block --category=c2 x.example --reason a=b --json -s /run/x y.example",
                           copy, &arguments, error),
                     0);
    assert_string_equal(arguments.values[CTL_OPTION_CATEGORY], "c2");
    assert_string_equal(arguments.values[CTL_OPTION_REASON], "a=b");
    assert_string_equal(arguments.values[CTL_OPTION_SOCKET], "/run/x");
    assert_true(ctl_arguments_has(&arguments, CTL_OPTION_JSON));
    assert_false(ctl_arguments_has(&arguments, CTL_OPTION_QUIET));
    assert_string_equal(arguments.words[0], "x.example");
    assert_string_equal(arguments.words[1], "y.example");
    ctl_arguments_done(&arguments);
}

static void refuses_mistakes_and_says_which(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *says;
    } rows[] = {
        {"", "a command is missing"},
        {"blok x.example", "did you mean \"block\""},
        {"bolck x.example", "did you mean \"block\""},
        {"feed lst", "did you mean \"feed list\""},
        {"frobnicate", "unknown command \"frobnicate\""},
        {"feed", "needs a second word"},
        {"block", "too few arguments"},
        {"status more", "too many arguments (\"more\")"},
        {"block x.example --nonsense", "\"--nonsense\" is no option of \"block\""},
        {"--exact block x.example", "give it after the command"},
        {"status --type A", "\"--type\" is no option of \"status\""},
        {"-x status", "\"-x\""},
        {"block x.example --reason", "needs a value"},
        {"block x.example --exact=yes", "takes no value"},
        {"block x.example --feed a --feed b", "given twice"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ctl_arguments arguments;
        char copy[256];
        char error[CTL_ERROR_SIZE];
        int r = parse(rows[i].line, copy, &arguments, error);
        if (r != -EINVAL || strstr(error, rows[i].says) == NULL) {
            fail_msg("%s: %d %s", rows[i].line, r, error);
        }
        ctl_arguments_done(&arguments);
    }
}

/* The documented tree: what a command or option of it is, it must be known by. */
static void what_is_documented_and_not_built_is_not_in_this_version(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "block x --from 1",
        "block x --until 1",
        "block x --for 7d",
        "block x --family f",
        "block x --actor a",
        "block x --state XX",
        "block x --confidence 1",
        "block x --tlp red",
        "block x --country PL",
        "block x --operation o",
        "block x --legal",
        "block x --wait",
        "block x --wait=10s",
        "unblock x --all-feeds",
        "unblock x --wait",
        "allow x --until 1",
        "allow x --wait",
        "feed show f",
        "feed create f",
        "feed set f k=v",
        "feed remove f",
        "feed export f",
        "feed follow u",
        "feed approve f",
        "feed rollback f",
        "feed reshard f",
        "operation create o",
        "nodes --watch",
        "nodes show n",
        "nodes forget n",
        "audit",
        "recursors restart 1",
        "cache flush --all",
        "report --since 24h",
        "hits --follow",
        "snapshot write",
        "config show --all",
        "config diff",
        "log-level debug",
        "upgrade",
        "doctor",
        "completion bash",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct ctl_arguments arguments;
        char copy[256];
        char error[CTL_ERROR_SIZE];
        int r = parse(lines[i], copy, &arguments, error);
        if (r != -EINVAL || strstr(error, "not in this version") == NULL) {
            fail_msg("%s: %d %s", lines[i], r, error);
        }
        ctl_arguments_done(&arguments);
    }
}

static char *help_of(const struct ctl_command *command, const char *group)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    ctl_help_print(file, command, group);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void help_lists_what_is_built_and_nothing_else(void **state)
{
    (void)state;
    char *overview = help_of(NULL, "");
    for (size_t i = 0; i < ctl_command_count; i++) {
        char line[128];
        const struct ctl_command *command = &ctl_commands[i];
        snprintf(line, sizeof(line), "\n  %s ", command->name);
        if ((strstr(overview, line) != NULL) != (command->run != NULL)) {
            fail_msg("%s", command->name);
        }
    }
    free(overview);

    char *group = help_of(NULL, "feed");
    assert_non_null(strstr(group, "\n  feed list "));
    assert_null(strstr(group, "\n  status "));
    free(group);

    char *block = help_of(ctl_command_find("block"), "");
    assert_non_null(strstr(block, "--exact"));
    assert_non_null(strstr(block, "--socket"));
    assert_null(strstr(block, "--dry-run"));
    free(block);
}

static void foreign_text_is_made_harmless(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *safe;
    } rows[] = {
        {"evil.example", "evil.example"},
        {"\x1b[31mred\a", "\\x1b[31mred\\x07"},
        {"two\nlines\r", "two\\x0alines\\x0d"},
        {"za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87", "za\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87"},
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m"}, /* C1: CSI in one character */
        {"\xe2\x80\xae"
         "gpj",
         "\\xe2\\x80\\xaegpj"},                   /* right-to-left override */
        {"\xff\xfe", "\\xff\\xfe"},               /* not UTF-8 */
        {"\xc0\x9b", "\\xc0\\x9b"},               /* overlong ESC */
        {"\xe2\x82", "\\xe2\\x82"},               /* cut short */
        {"\xf0\x9f\x90\x9b", "\xf0\x9f\x90\x9b"}, /* four octets */
        {"\x7f", "\\x7f"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t size = strlen(rows[i].text);
        char *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, rows[i].text, size);
        char *safe = ctl_text_safe(copy, size);
        free(copy);
        assert_non_null(safe);
        assert_string_equal(safe, rows[i].safe);
        free(safe);
    }
}

static void tables_are_aligned_and_numbers_stand_to_the_right(void **state)
{
    (void)state;
    static const char *const headings[] = {"FEED", ">ENTRIES", "LABEL", NULL};
    struct ctl_table *table = ctl_table_new(headings);
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    assert_non_null(table);
    assert_non_null(file);
    ctl_table_add(table, (const char *const[]){"\xc5\xbc\xc3\xb3\xc5\x82w", "7", NULL});
    ctl_table_add(table, (const char *const[]){"starter", "1234567890", "a\tb"});
    assert_int_equal(ctl_table_print(table, file), 0);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(text, "FEED        ENTRIES  LABEL\n"
                              "\xc5\xbc\xc3\xb3\xc5\x82w              7  -\n"
                              "starter  1234567890  a\\x09b\n");
    free(text);
    ctl_table_free(table);
}

static void names_are_taken_as_operators_type_them(void **state)
{
    (void)state;
    static const struct {
        const char *typed;
        const char *text; /* NULL: refused */
    } rows[] = {
        {"evil.example", "evil.example"},
        {"EVIL.Example.", "evil.example"},
        {"_dmarc.evil.example", "_dmarc.evil.example"},
        {"\xc5\xbc\xc3\xb3\xc5\x82w.example", "xn--w-uga1v8h.example"},
        {"xn--w-uga1v8h.example", "xn--w-uga1v8h.example"},
        {".", ""},
        {"", NULL},
        {"a..b", NULL},
        {".evil.example", NULL},
        {"*.evil.example", NULL},
        {"https://evil.example/", NULL},
        {"evil example", NULL},
        {"evil\\.example", NULL},
        {"\xff.example", NULL},
        {"\xe2\x98\x83.example", NULL}, /* a snowman: IDNA 2008 has no symbols */
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ctl_name name;
        char error[CTL_ERROR_SIZE] = "";
        int r = ctl_name_read(rows[i].typed, &name, error);
        if (rows[i].text == NULL ? r != -EINVAL || error[0] == '\0'
                                 : r != 0 || strcmp(name.text, rows[i].text) != 0) {
            fail_msg("%s: %d %s", rows[i].typed, r, error);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_command_wherever_the_options_stand),
        cmocka_unit_test(hands_over_the_values_of_options),
        cmocka_unit_test(refuses_mistakes_and_says_which),
        cmocka_unit_test(what_is_documented_and_not_built_is_not_in_this_version),
        cmocka_unit_test(help_lists_what_is_built_and_nothing_else),
        cmocka_unit_test(foreign_text_is_made_harmless),
        cmocka_unit_test(tables_are_aligned_and_numbers_stand_to_the_right),
        cmocka_unit_test(names_are_taken_as_operators_type_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
