#include "resolver/ctl/ask.h"
#include "resolver/ctl/change.h"
#include "resolver/ctl/list.h"
#include "resolver/ctl/name.h"
#include "resolver/ctl/output.h"

#include <stdlib.h>
#include <string.h>

#define DAEMON_NAMES_MAX ((size_t)1000) /* of one request, resolver/API.md */

static const char *const targets[] = {
    [CTL_BLOCK] = "/api/v1/block",
    [CTL_UNBLOCK] = "/api/v1/unblock",
    [CTL_ALLOW] = "/api/v1/allow",
    [CTL_UNALLOW] = "/api/v1/unallow",
};

/* A slice of the names as the daemon takes them; one that can't be read goes as it is, and is
 * refused there. */
static json_t *request_of(const struct ctl_arguments *arguments, size_t first, size_t end)
{
    const char *category = arguments->values[CTL_OPTION_CATEGORY];
    const char *reason = arguments->values[CTL_OPTION_REASON];
    json_t *names = json_array();

    for (size_t i = first; i < end; i++) {
        char error[CTL_ERROR_SIZE];
        struct ctl_name name;
        bool read = ctl_name_read(arguments->words[i], &name, error) == 0;
        const char *text = read && name.text[0] != '\0' ? name.text : arguments->words[i];
        if (json_array_append_new(names, json_string(text)) < 0) {
            json_decref(names);
            return NULL;
        }
    }
    return json_pack("{s:o, s:b, s:s, s:s}", "names", names, "exact",
                     ctl_arguments_has(arguments, CTL_OPTION_EXACT), "category",
                     category != NULL ? category : "", "reason", reason != NULL ? reason : "");
}

/* Has one slice changed, and adds its results to those of the earlier ones. */
static int change_slice(struct ctl *ctl, enum ctl_operation operation, size_t first, size_t end,
                        json_t *results)
{
    json_t *request = request_of(&ctl->arguments, first, end);
    char *body = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
    json_t *document = NULL;

    json_decref(request);
    if (body == NULL) {
        return ctl_fail(ctl, CTL_USAGE, "an argument is not UTF-8 text");
    }
    int status =
        ctl_ask(ctl, "POST", targets[operation], "application/json", body, strlen(body), &document);
    free(body);
    if (status == CTL_DONE) {
        json_array_extend(results, json_object_get(document, "results"));
    }
    json_decref(document);
    return status;
}

static int change_by_daemon(struct ctl *ctl, enum ctl_operation operation, json_t **ret_document)
{
    size_t count = ctl->arguments.word_count;
    json_t *results = json_array();
    int status = CTL_DONE;

    if (ctl_arguments_has(&ctl->arguments, CTL_OPTION_FEED)) {
        status = ctl_fail(ctl, CTL_FAILED,
                          "--feed needs Redis: the configuration has no redis section (-c names "
                          "another)");
    }
    for (size_t first = 0; first < count && status == CTL_DONE; first += DAEMON_NAMES_MAX) {
        size_t left = count - first;
        size_t end = first + (left < DAEMON_NAMES_MAX ? left : DAEMON_NAMES_MAX);
        status = change_slice(ctl, operation, first, end, results);
    }
    if (status != CTL_DONE) {
        json_decref(results);
        return status;
    }
    *ret_document = json_pack("{s:o}", "results", results);
    return CTL_DONE;
}

struct outcome {
    size_t changed;
    size_t not_found;
    size_t refused;
};

/* What went wrong is said on standard error, what was done on standard output. */
static void say_result(struct ctl *ctl, const json_t *result, struct outcome *outcome)
{
    const char *name = ctl_json_text(result, "name");
    const char *what = ctl_json_text(result, "result");
    const char *reason = ctl_json_text(result, "reason");
    bool refused = strcmp(what, "refused") == 0;
    bool not_found = strcmp(what, "not found") == 0;
    char line[CTL_ERROR_SIZE];

    snprintf(line, sizeof(line), "%s: %s%s%s%s", name[0] != '\0' ? name : ".", what,
             reason[0] != '\0' ? " (" : "", reason, reason[0] != '\0' ? ")" : "");
    outcome->refused += refused;
    outcome->not_found += not_found;
    outcome->changed += !refused && !not_found && strcmp(what, "unchanged") != 0;
    if (refused || not_found) {
        ctl_fail(ctl, refused ? CTL_FAILED : CTL_NOT_FOUND, "%s", line);
    } else if (ctl_wants_text(ctl)) {
        ctl_write_safe(stdout, line, strlen(line));
        putchar('\n');
    }
}

static int say_results(struct ctl *ctl, json_t *document)
{
    struct outcome outcome = {0};
    const json_t *revision = json_object_get(document, "revision");

    if (ctl->json && ctl_print_json(ctl, CTL_DONE, json_incref(document)) != CTL_DONE) {
        return CTL_FAILED;
    }
    for (size_t i = 0; i < json_array_size(json_object_get(document, "results")); i++) {
        const json_t *result = json_array_get(json_object_get(document, "results"), i);
        say_result(ctl, result, &outcome);
    }
    if (ctl_wants_text(ctl) && outcome.changed > 0 && json_is_integer(revision)) {
        printf("feed %s, revision %" JSON_INTEGER_FORMAT "\n", ctl_json_text(document, "feed"),
               json_integer_value(revision));
    }
    return outcome.refused > 0 ? CTL_FAILED : outcome.not_found > 0 ? CTL_NOT_FOUND : CTL_DONE;
}

static int run(struct ctl *ctl, enum ctl_operation operation)
{
    const char *reason = ctl->arguments.values[CTL_OPTION_REASON];
    const char *category = ctl->arguments.values[CTL_OPTION_CATEGORY];
    const char *feed = ctl->arguments.values[CTL_OPTION_FEED];
    char value[CTL_VALUE_SIZE_MAX];
    const struct config *config = NULL;
    json_t *document = NULL;

    if (ctl_value(false, false, category, NULL, value) < 0) {
        return ctl_fail(ctl, CTL_USAGE,
                        "--category takes at most 63 octets, without control characters");
    }
    if (ctl_value(false, false, NULL, reason, value) < 0) {
        return ctl_fail(ctl, CTL_USAGE,
                        "--reason takes at most 512 octets, without control characters");
    }
    if (feed != NULL && !bl_feed_name_valid(feed, strlen(feed))) {
        return ctl_fail(ctl, CTL_USAGE,
                        "--feed %s: a feed's name is a-z, 0-9, \".\", \"_\" and \"-\", at most 63, "
                        "not led by a dot or dash",
                        feed);
    }
    int status = ctl_config(ctl, &config);
    if (status == CTL_DONE && config->redis.set) {
        status = ctl_list_redis(ctl, config, operation, &document);
    } else if (status == CTL_DONE) {
        status = change_by_daemon(ctl, operation, &document);
    }
    if (status == CTL_DONE) {
        status = say_results(ctl, document);
    }
    json_decref(document);
    return status;
}

int ctl_run_block(struct ctl *ctl)
{
    return run(ctl, CTL_BLOCK);
}

int ctl_run_unblock(struct ctl *ctl)
{
    return run(ctl, CTL_UNBLOCK);
}

int ctl_run_allow(struct ctl *ctl)
{
    return run(ctl, CTL_ALLOW);
}

int ctl_run_unallow(struct ctl *ctl)
{
    return run(ctl, CTL_UNALLOW);
}
