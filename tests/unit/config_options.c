/* The table of options, the documented example and the whole form can't drift apart. */
#include "resolver/options.h"

#include "resolver/document.h"
#include "config_text.h"

#include <stdlib.h>

static char *source_path(const char *name)
{
    static char path[1024];
    const char *root = getenv("SOURCE_ROOT");
    assert_non_null(root);
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static struct document *read_document(const char *name)
{
    static char text[DOCUMENT_SIZE_MAX];
    FILE *file = fopen(source_path(name), "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof(text), file);
    fclose(file);
    struct document *document;
    struct document_problem problem;
    assert_int_equal(document_parse(text, size, &document, &problem), 0);
    return document;
}

/* Calls back with the full name of every option that stands in a document. */
static void walk_options(const char *path, const struct document_node *node,
                         void (*call)(const char *name, const struct option *option))
{
    if (node->kind == DOCUMENT_LIST) {
        char inner[128];
        snprintf(inner, sizeof(inner), "%s[]", path);
        for (const struct document_node *item = node->first; item != NULL; item = item->next) {
            if (item->kind == DOCUMENT_MAPPING) {
                walk_options(inner, item, call);
            }
        }
        return;
    }
    for (const struct document_node *key = node->first; key != NULL; key = key->next->next) {
        char name[128];
        bool built;
        snprintf(name, sizeof(name), "%s%s%s", path, path[0] != '\0' ? "." : "", key->text);
        const struct option *option = options_find(name);
        if (option != NULL || !options_is_section(name, &built)) {
            call(name, option);
        }
        bool has_rows = option == NULL || (option->type == OPTION_MAPPING && option->built);
        if (has_rows && key->next->kind != DOCUMENT_SCALAR) {
            walk_options(name, key->next, call);
        }
    }
}

static unsigned options_seen;
static char options_listed[8192];

static void note_option(const char *name, const struct option *option)
{
    if (option == NULL) {
        fail_msg("%s is not in the table", name);
    }
    options_seen++;
    strcat(strcat(options_listed, name), "\n");
}

static bool was_listed(const char *name)
{
    char line[160];
    snprintf(line, sizeof(line), "\n%s\n", name);
    return strstr(options_listed, line) != NULL;
}

static void list_options_of(const char *name)
{
    struct document *document = read_document(name);
    options_seen = 0;
    strcpy(options_listed, "\n");
    walk_options("", document_root(document), note_option);
    document_free(document);
}

static void knows_every_option_of_the_whole_form(void **state)
{
    (void)state;
    list_options_of("tests/data/config/whole.yaml");
    assert_true(options_seen > 80);
    for (size_t i = 0; i < options_count; i++) {
        if (!options_table[i].built && !was_listed(options_table[i].name)) {
            fail_msg("%s is neither built nor of the whole form", options_table[i].name);
        }
    }
}

static void documents_every_option_it_has_and_no_other(void **state)
{
    (void)state;
    struct config *config;
    char error[CONFIG_ERROR_SIZE_MAX];
    if (config_load(source_path("deploy/sinkholed.yaml"), &config, error) != 0) {
        fail_msg("%s", error);
    }
    config_free(config);

    list_options_of("deploy/sinkholed.yaml");
    for (size_t i = 0; i < options_count; i++) {
        if (was_listed(options_table[i].name) != options_table[i].built) {
            fail_msg("%s: %s", options_table[i].name,
                     options_table[i].built ? "built, but not in the example" : "not built");
        }
    }
}

/* YAML in which the option stands with some value. */
static void write_alone(const struct option *option, char *text, size_t size)
{
    char name[128];
    static const struct {
        const char *prefix;
        const char *item;
    } items[] = {
        {"listen[].", "listen: [{address: 127.0.0.1@53, %s: x}]"},
        {"hits.outputs[].", "hits: {outputs: [{type: file, path: /x, %s: x}]}"},
    };
    for (size_t i = 0; i < COUNT(items); i++) {
        if (strncmp(option->name, items[i].prefix, strlen(items[i].prefix)) == 0) {
            const char *key = option->name + strlen(items[i].prefix);
            const char *hole = strstr(items[i].item, "%s");
            snprintf(text, size, "%.*s%s%s", (int)(hole - items[i].item), items[i].item, key,
                     hole + 2);
            return;
        }
    }
    strcpy(name, option->name);
    text[0] = '\0';
    unsigned depth = 0;
    for (char *word = strtok(name, "."); word != NULL; word = strtok(NULL, "."), depth++) {
        snprintf(text + strlen(text), size - strlen(text), "%s%s: ", depth > 0 ? "{" : "", word);
    }
    strcat(text, "x");
    memset(name, '}', depth - 1);
    strncat(text, name, depth - 1);
}

static void refuses_every_option_that_is_not_built(void **state)
{
    (void)state;
    unsigned refused = 0;
    for (size_t i = 0; i < options_count; i++) {
        if (options_table[i].built) {
            continue;
        }
        char text[256];
        char error[CONFIG_ERROR_SIZE_MAX];
        struct config *config;
        write_alone(&options_table[i], text, sizeof(text));
        assert_int_equal(load_text(text, strlen(text), &config, error), -EINVAL);
        if (strstr(error, " is not in this version; remove it") == NULL) {
            fail_msg("%s: %s", text, error);
        }
        refused++;
    }
    assert_true(refused > 20);
}

static void describes_every_option(void **state)
{
    (void)state;
    struct config_option_text row;
    size_t count = 0;
    char *names[256];
    for (; config_option_text(count, &row); count++) {
        char variable[OPTION_VARIABLE_SIZE_MAX] = "";
        assert_true(count < COUNT(names));
        assert_non_null(row.type);
        assert_true(row.type[0] != '\0' && row.name[0] != '\0');
        size_t size = strlen(row.text);
        assert_true(size > 5 && row.text[size - 1] == '.');
        bool is_bounded = strcmp(row.type, "integer") == 0 || strcmp(row.type, "size") == 0 ||
                          strcmp(row.type, "duration") == 0 || strcmp(row.type, "word") == 0;
        if (is_bounded && row.built) {
            assert_true(row.bounds[0] != '\0');
        }
        /* A variable's name means one option. */
        options_variable(&options_table[count], variable);
        names[count] = strdup(variable);
        for (size_t i = 0; i < count; i++) {
            assert_true(variable[0] == '\0' || strcmp(names[i], variable) != 0);
        }
    }
    for (size_t i = 0; i < count; i++) {
        free(names[i]);
    }
    assert_int_equal(count, options_count);

    assert_true(
        config_option_text((size_t)(options_find("limits.udp_size") - options_table), &row));
    assert_string_equal(row.type, "integer");
    assert_string_equal(row.initial, "1232");
    assert_string_equal(row.bounds, "512..4096");
    assert_false(row.live);
}

static void prints_the_options_it_has(void **state)
{
    (void)state;
    for (int page = OPTION_PAGE_TEXT; page <= OPTION_PAGE_MARKDOWN; page++) {
        char *text = NULL;
        size_t size = 0;
        FILE *file = open_memstream(&text, &size);
        assert_non_null(file);
        options_write(file, (enum option_page)page);
        fclose(file);
        for (size_t i = 0; i < options_count; i++) {
            char name[128];
            snprintf(name, sizeof(name), page == OPTION_PAGE_TEXT ? "  %s (" : "| `%s` |",
                     options_table[i].name);
            assert_int_equal(strstr(text, name) != NULL, options_table[i].built);
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_every_option_of_the_whole_form),
        cmocka_unit_test(documents_every_option_it_has_and_no_other),
        cmocka_unit_test(refuses_every_option_that_is_not_built),
        cmocka_unit_test(describes_every_option),
        cmocka_unit_test(prints_the_options_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
