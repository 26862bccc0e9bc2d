/* What concerns one node, by its API: status, why, reload. */
#include "resolver/ctl/ask.h"
#include "resolver/ctl/name.h"
#include "resolver/ctl/output.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LABEL_WIDTH 10 /* of the left column */
#define LINE_WIDTH 96

/* ---- any JSON object as labelled lines ---- */

/* A line in the making: words are appended and wrapped under the label. */
struct line {
    size_t width; /* 0: nothing stands in it */
};

static void line_start(struct line *line, const char *label)
{
    char *safe = ctl_text_safe(label, strlen(label));
    line->width = (size_t)printf("%-*s", LABEL_WIDTH, safe != NULL ? safe : "?");
    free(safe);
}

static void line_add(struct line *line, const char *key, const char *text)
{
    char *safe_key = ctl_text_safe(key, strlen(key));
    char *safe = ctl_text_safe(text, strlen(text));

    if (safe_key != NULL && safe != NULL) {
        size_t size = strlen(safe_key) + strlen(safe) + 3;
        if (line->width + size > LINE_WIDTH && line->width > LABEL_WIDTH) {
            printf("\n%*s", LABEL_WIDTH, "");
            line->width = LABEL_WIDTH;
        }
        for (char *at = safe_key; *at != '\0'; at++) {
            *at = *at == '_' ? ' ' : *at;
        }
        line->width += (size_t)printf("  %s%s%s", safe_key, safe_key[0] != '\0' ? " " : "",
                                      safe[0] != '\0' ? safe : "-");
    }
    free(safe_key);
    free(safe);
}

/* A scalar as people read it: what happened last as UTC, durations in their largest unit. */
static const char *text_of(const char *key, const json_t *value, char text[static 32])
{
    json_int_t number = json_integer_value(value);
    time_t at = (time_t)number;
    struct tm utc;

    if (strncmp(key, "last_", 5) == 0 && json_is_integer(value)) {
        if (at <= 0) {
            return "never";
        }
        if (gmtime_r(&at, &utc) != NULL && strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0) {
            return text;
        }
    }
    if (strcmp(key, "uptime_s") == 0 && json_is_integer(value)) {
        ctl_duration_text(number, text);
        return text;
    }
    return ctl_json_scalar(value, text);
}

/* A member of an object in its section's line; objects within are flattened. */
static void line_add_value(struct line *line, const char *key, json_t *value, int depth)
{
    char number[32];

    if (json_is_object(value) && depth < 4) {
        for (void *at = json_object_iter(value); at != NULL;
             at = json_object_iter_next(value, at)) {
            char joined[128];
            const char *name = json_object_iter_key(at);
            snprintf(joined, sizeof(joined), "%s%s%s", key, key[0] != '\0' ? " " : "", name);
            line_add_value(line, joined, json_object_iter_value(at), depth + 1);
        }
    } else if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            json_t *member = json_array_get(value, i);
            line_add_value(line, i == 0 ? key : "", member, depth + 1);
        }
    } else {
        line_add(line, key, text_of(key, value, number));
    }
}

static void print_section(const char *label, json_t *value)
{
    struct line line;
    char text[32];

    if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            json_t *member = json_array_get(value, i);
            line_start(&line, i == 0 ? label : "");
            line_add_value(&line, "", member, 0);
            putchar('\n');
        }
        return;
    }
    line_start(&line, strcmp(label, "uptime_s") == 0 ? "uptime" : label);
    if (json_is_object(value) || json_is_array(value)) {
        line_add_value(&line, "", value, 0);
    } else {
        line_add(&line, "", text_of(label, value, text));
    }
    putchar('\n');
}

int ctl_run_status(struct ctl *ctl)
{
    json_t *document = NULL;

    int status = ctl_ask_get(ctl, "/api/v1/status", &document);
    if (status != CTL_DONE) {
        return status;
    }
    if (ctl->json) {
        return ctl_print_json(ctl, CTL_DONE, document);
    }
    if (ctl_wants_text(ctl)) {
        for (void *at = json_object_iter(document); at != NULL;
             at = json_object_iter_next(document, at)) {
            json_t *value = json_object_iter_value(at);
            bool empty = json_is_array(value) && json_array_size(value) == 0;
            if (!empty) {
                print_section(json_object_iter_key(at), value);
            }
        }
    }
    json_decref(document);
    return CTL_DONE;
}

/* ---- why ---- */

static void print_rules(const json_t *rules)
{
    static const char *const headings[] = {"FEED",   "TIER",      "ENTRY", "SCOPE",
                                           "ACTION", ">PRIORITY", "WHY",   NULL};
    static const char *const keys[] = {"feed",   "tier",     "entry", "scope",
                                       "action", "priority", "text"};
    struct ctl_table *table = ctl_table_new(headings);

    for (size_t i = 0; i < json_array_size(rules); i++) {
        const json_t *rule = json_array_get(rules, i);
        const char *cells[sizeof(keys) / sizeof(keys[0])];
        char numbers[sizeof(keys) / sizeof(keys[0])][32];
        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
            cells[k] = ctl_json_scalar(json_object_get(rule, keys[k]), numbers[k]);
        }
        if (table != NULL) {
            ctl_table_add(table, cells);
        }
    }
    if (table == NULL || ctl_table_print(table, stdout) < 0) {
        fputs("(out of memory: the table is incomplete)\n", stderr);
    }
    ctl_table_free(table);
}

static void print_why(const json_t *document)
{
    static const char *const shown[] = {"name",  "type", "decision", "action", "feed",
                                        "entry", "tier", "category", "label",  "client"};
    const json_t *answer = json_object_get(document, "answer");
    const json_t *rules = json_object_get(document, "rules");
    struct line line;

    for (size_t k = 0; k < sizeof(shown) / sizeof(shown[0]); k++) {
        char number[32];
        const char *value = ctl_json_scalar(json_object_get(document, shown[k]), number);
        if (value[0] != '\0') {
            line_start(&line, shown[k]);
            line_add(&line, "", value);
            putchar('\n');
        }
    }
    if (json_array_size(answer) == 0) {
        printf("%-*s  %s\n", LABEL_WIDTH, "answer", "what recursion gives");
    }
    for (size_t i = 0; i < json_array_size(answer); i++) {
        const json_t *text = json_array_get(answer, i);
        const char *value = json_string_value(text);
        printf("%-*s  ", LABEL_WIDTH, i == 0 ? "answer" : "");
        ctl_write_safe(stdout, value != NULL ? value : "", value != NULL ? strlen(value) : 0);
        putchar('\n');
    }
    if (json_array_size(rules) > 0) {
        puts("\nRules that match, as they were considered:");
        print_rules(rules);
    } else {
        puts("\nNo rule matches.");
    }
}

/* "/api/v1/why?name=N&type=T&client=A" on the heap; NULL when memory is short. */
static char *why_target(const char *name, const char *type, const char *client)
{
    char *target = NULL;
    char *name_part = ctl_url_encode(name);
    char *type_part = ctl_url_encode(type != NULL ? type : "");
    char *client_part = ctl_url_encode(client != NULL ? client : "");

    if (name_part == NULL || type_part == NULL || client_part == NULL ||
        asprintf(&target, "/api/v1/why?name=%s%s%s%s%s", name_part, type != NULL ? "&type=" : "",
                 type_part, client != NULL ? "&client=" : "", client_part) < 0) {
        target = NULL;
    }
    free(name_part);
    free(type_part);
    free(client_part);
    return target;
}

int ctl_run_why(struct ctl *ctl)
{
    const struct ctl_arguments *arguments = &ctl->arguments;
    char error[CTL_ERROR_SIZE];
    struct ctl_name name;
    json_t *document = NULL;

    if (ctl_name_read(arguments->words[0], &name, error) < 0) {
        return ctl_fail(ctl, CTL_USAGE, "%s: %s", arguments->words[0], error);
    }
    char *target =
        why_target(name.text[0] != '\0' ? name.text : ".", arguments->values[CTL_OPTION_TYPE],
                   arguments->values[CTL_OPTION_CLIENT]);
    if (target == NULL) {
        return ctl_fail(ctl, CTL_FAILED, "out of memory");
    }
    int status = ctl_ask_get(ctl, target, &document);
    free(target);
    if (status != CTL_DONE) {
        return status;
    }
    if (ctl->json) {
        return ctl_print_json(ctl, CTL_DONE, document);
    }
    if (ctl_wants_text(ctl)) {
        print_why(document);
    }
    json_decref(document);
    return CTL_DONE;
}

/* ---- reload ---- */

static void print_options(const char *text, const json_t *options)
{

    for (size_t i = 0; i < json_array_size(options); i++) {
        const json_t *option = json_array_get(options, i);
        const char *name = json_string_value(option);
        printf("%s: ", text);
        ctl_write_safe(stdout, name != NULL ? name : "?", name != NULL ? strlen(name) : 1);
        putchar('\n');
    }
}

int ctl_run_reload(struct ctl *ctl)
{
    json_t *document = NULL;

    int status = ctl_ask(ctl, "POST", "/api/v1/reload", NULL, NULL, 0, &document);
    if (status != CTL_DONE) {
        return status;
    }
    if (ctl->json) {
        return ctl_print_json(ctl, CTL_DONE, document);
    }
    if (ctl_wants_text(ctl)) {
        const json_t *changed = json_object_get(document, "changed");
        const json_t *restart = json_object_get(document, "restart");
        puts(json_array_size(changed) + json_array_size(restart) > 0
                 ? "reloaded"
                 : "reloaded; no option has changed");
        print_options("taken on", changed);
        print_options("needs a restart", restart);
    }
    json_decref(document);
    return CTL_DONE;
}
