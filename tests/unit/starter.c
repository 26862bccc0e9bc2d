/* The list that the repository ships: every line of it is taken, nothing in it needs a guard, and
 * the name that the documentation uses as its example is in it. */
#include "blocklist/format.h"
#include "blocklist/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static FILE *open_shipped(const char *name)
{
    char path[512];
    const char *root = getenv("SOURCE_ROOT");
    (void)snprintf(path, sizeof path, "%s/deploy/data/%s", root != NULL ? root : ".", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    return file;
}

static void check_entry(void *context, const uint8_t *name, size_t size, enum bl_scope scope)
{
    (void)scope;
    enum bl_guard guard = bl_guard_check(context, name, size);
    if (guard != BL_GUARD_PASS) {
        char text[BL_NAME_TEXT_SIZE_MAX];
        (void)bl_name_to_text(name, text);
        fail_msg("%s: %s", text, bl_guard_text(guard));
    }
}

static void every_line_is_taken_and_passes_the_guards(void **state)
{
    (void)state;
    struct bl_guards *guards = NULL;
    assert_int_equal(bl_guards_new(&guards), 0);
    FILE *file = open_shipped("starter.txt");
    char line[BL_LINE_SIZE_MAX];
    int names = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        const char *reason = NULL;
        int entries =
            bl_format_line(BL_FORMAT_AUTO, line, strlen(line), check_entry, guards, &reason);
        if (entries < 0) {
            fail_msg("%s: %s", line, reason);
        }
        names += entries;
    }
    fclose(file);
    bl_guards_free(guards);
    assert_in_range(names, 3000, 10000);
}

static void the_documented_example_is_the_first_name(void **state)
{
    (void)state;
    char line[BL_LINE_SIZE_MAX];
    char example[256] = "";
    FILE *file = open_shipped("README.md");
    while (fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "Example name: `%255[^`]`", example);
    }
    fclose(file);
    file = open_shipped("starter.txt");
    do {
        assert_non_null(fgets(line, sizeof line, file));
    } while (line[0] == '#');
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    assert_string_equal(line, example);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_is_taken_and_passes_the_guards),
        cmocka_unit_test(the_documented_example_is_the_first_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
