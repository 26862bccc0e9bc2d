/* feed import: of a list file, by the daemon or, where it is configured, into Redis. */
#include "resolver/ctl/ask.h"
#include "resolver/ctl/import_file.h"
#include "resolver/ctl/import_redis.h"
#include "resolver/ctl/output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define REJECTS_SHOWN 10u
#define DAEMON_BODY_SIZE_MAX ((size_t)256 << 20) /* resolver/API.md */

/* ---- by the daemon ---- */

static int import_by_daemon(struct ctl_import *import)
{
    static const enum ctl_option with_redis[] = {CTL_OPTION_MERGE,    CTL_OPTION_KIND,
                                                 CTL_OPTION_CATEGORY, CTL_OPTION_LABEL,
                                                 CTL_OPTION_PRIORITY, CTL_OPTION_TIER};
    const struct ctl_arguments *arguments = &import->ctl->arguments;
    const char *format = arguments->values[CTL_OPTION_FORMAT];
    char target[160];
    json_t *document = NULL;

    for (size_t i = 0; i < sizeof(with_redis) / sizeof(with_redis[0]); i++) {
        if (ctl_arguments_has(arguments, with_redis[i])) {
            return ctl_fail(import->ctl, CTL_FAILED,
                            "--%s needs Redis: the configuration has no redis section (-c names "
                            "another)",
                            ctl_options[with_redis[i]].name);
        }
    }
    int status = ctl_import_parse(import, false);
    if (status != CTL_DONE || import->dry_run) {
        return status;
    }
    if (import->text_size > DAEMON_BODY_SIZE_MAX) {
        return ctl_fail(import->ctl, CTL_FAILED, "%s is larger than 256 MiB, which needs Redis",
                        import->path);
    }
    snprintf(target, sizeof(target), "/api/v1/feeds/%s?format=%s", import->feed,
             format != NULL ? format : "auto");
    status = ctl_ask(import->ctl, "POST", target, "text/plain", import->text, import->text_size,
                     &document);
    if (status == CTL_DONE) {
        import->compared = true;
        import->counts = (struct ctl_difference_counts){
            .added = (uint64_t)json_integer_value(json_object_get(document, "added")),
            .changed = (uint64_t)json_integer_value(json_object_get(document, "changed")),
            .removed = (uint64_t)json_integer_value(json_object_get(document, "removed")),
            .unchanged = (uint64_t)json_integer_value(json_object_get(document, "unchanged")),
        };
    }
    json_decref(document);
    return status;
}

/* ---- the report ---- */

static json_t *document_of(const struct ctl_import *import)
{
    json_t *document = json_pack(
        "{s:s, s:b, s:b, s:I, s:I, s:I, s:O}", "feed", import->feed, "dry_run", import->dry_run,
        "created", import->created, "names", (json_int_t)import->source.entries.count, "repeated",
        (json_int_t)import->source.repeated, "rejected", (json_int_t)import->source.rejected,
        "rejects", import->source.kept);

    if (document != NULL && import->compared) {
        json_object_set_new(document, "added", json_integer((json_int_t)import->counts.added));
        json_object_set_new(document, "changed", json_integer((json_int_t)import->counts.changed));
        json_object_set_new(document, "removed", json_integer((json_int_t)import->counts.removed));
        json_object_set_new(document, "unchanged",
                            json_integer((json_int_t)import->counts.unchanged));
    }
    if (document != NULL && import->revision > 0) {
        json_object_set_new(document, "revision", json_integer((json_int_t)import->revision));
    }
    if (document != NULL && import->examples != NULL) {
        json_object_set(document, "examples", import->examples);
    }
    return document;
}

/* The first refused lines go to standard error: they are for somebody to repair. */
static void show_rejects(const struct ctl_import *import)
{
    const struct ctl_source *source = &import->source;

    for (size_t i = 0; i < json_array_size(source->kept) && i < REJECTS_SHOWN; i++) {
        const json_t *reject = json_array_get(source->kept, i);
        ctl_warn(import->ctl, "%s:%" JSON_INTEGER_FORMAT ": %s: %s", import->path,
                 json_integer_value(json_object_get(reject, "line")),
                 ctl_json_text(reject, "reason"), ctl_json_text(reject, "text"));
    }
    if (source->rejected > REJECTS_SHOWN) {
        ctl_warn(import->ctl, "and %" PRIu64 " more refused%s", source->rejected - REJECTS_SHOWN,
                 ctl_arguments_has(&import->ctl->arguments, CTL_OPTION_REJECTS)
                     ? ""
                     : "; --rejects FILE writes them all");
    }
}

static void show_examples(const struct ctl_import *import)
{
    static const struct {
        const char *key;
        const char *sign;
    } kinds[] = {{"added", "+"}, {"changed", "*"}, {"removed", "-"}};

    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (size_t i = 0; i < json_array_size(json_object_get(import->examples, kinds[k].key));
             i++) {
            const json_t *name = json_array_get(json_object_get(import->examples, kinds[k].key), i);
            const char *text = json_string_value(name);
            printf("  %s ", kinds[k].sign);
            ctl_write_safe(stdout, text, strlen(text));
            putchar('\n');
        }
    }
}

static void show_counts(const struct ctl_import *import)
{
    const struct ctl_difference_counts *counts = &import->counts;

    printf("feed %s%s: %s", import->feed, import->created ? " (new)" : "",
           import->dry_run ? "a dry run, nothing is changed: " : "");
    if (import->compared) {
        printf("%" PRIu64 " added, %" PRIu64 " changed, %" PRIu64 " removed, %" PRIu64 " unchanged",
               counts->added, counts->changed, counts->removed, counts->unchanged);
    } else {
        printf("%zu names, not compared with what the daemon has", import->source.entries.count);
    }
    if (import->source.repeated > 0) {
        printf("; %" PRIu64 " repeated", import->source.repeated);
    }
    if (import->source.rejected > 0) {
        printf("; %" PRIu64 " refused", import->source.rejected);
    }
    if (import->revision > 0) {
        printf("; revision %" PRIu64, import->revision);
    }
    putchar('\n');
}

static int report(const struct ctl_import *import)
{
    show_rejects(import);
    if (import->ctl->json) {
        return ctl_print_json(import->ctl, CTL_DONE, document_of(import));
    }
    if (ctl_wants_text(import->ctl)) {
        show_counts(import);
        show_examples(import);
    }
    return CTL_DONE;
}

/* ---- the command ---- */

static bool is_priority(const char *text)
{
    char *end = NULL;

    errno = 0;
    long number = strtol(text, &end, 10);
    return (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')) && *end == '\0' && errno == 0 &&
           strlen(text) <= 11 && number >= INT32_MIN && number <= INT32_MAX;
}

static bool is_property_text(const char *text)
{
    char value[CTL_VALUE_SIZE_MAX];
    return ctl_value(false, false, text, NULL, value) == 0;
}

/* The first option whose value is not of its form, with what it takes; NULL if all are. */
static const char *find_fault(const struct ctl_arguments *arguments)
{
    const char *format = arguments->values[CTL_OPTION_FORMAT];
    const char *kind = arguments->values[CTL_OPTION_KIND];
    const char *tier = arguments->values[CTL_OPTION_TIER];
    const char *priority = arguments->values[CTL_OPTION_PRIORITY];
    const char *category = arguments->values[CTL_OPTION_CATEGORY];
    const char *label = arguments->values[CTL_OPTION_LABEL];
    const char *feed = arguments->values[CTL_OPTION_NAME];
    enum bl_format a_format;
    enum bl_tier a_tier;

    if (feed == NULL) {
        return "--name F is missing: which feed?";
    }
    if (!bl_feed_name_valid(feed, strlen(feed))) {
        return "--name: a feed's name is a-z, 0-9, \".\", \"_\" and \"-\", at most 63, not led by "
               "a dot or dash";
    }
    if (ctl_arguments_has(arguments, CTL_OPTION_MERGE) &&
        ctl_arguments_has(arguments, CTL_OPTION_REPLACE)) {
        return "--merge and --replace exclude each other";
    }
    if (format != NULL && bl_format_from_text(format, strlen(format), &a_format) < 0) {
        return "--format takes auto, plain or hosts";
    }
    if (kind != NULL && strcmp(kind, "deny") != 0 && strcmp(kind, "allow") != 0) {
        return "--kind takes deny or allow";
    }
    if (tier != NULL && bl_tier_from_text(tier, strlen(tier), &a_tier) < 0) {
        return "--tier takes feed, operator or legal";
    }
    if (priority != NULL && !is_priority(priority)) {
        return "--priority takes a number from -2147483648 to 2147483647";
    }
    if (category != NULL && !is_property_text(category)) {
        return "--category takes at most 63 octets, without control characters";
    }
    if (label != NULL && !is_property_text(label)) {
        return "--label takes at most 63 octets, without control characters";
    }
    return NULL;
}

static int run(struct ctl_import *import, char **text)
{
    const struct config *config = NULL;

    int status = ctl_config(import->ctl, &config);
    if (status != CTL_DONE) {
        return status;
    }
    int r = ctl_source_read(import->path, text, &import->text_size);
    if (r < 0) {
        return ctl_fail(import->ctl, CTL_FAILED, "can't read %s: %s", import->path,
                        r == -EFBIG ? "larger than 2 GiB" : strerror(-r));
    }
    import->text = *text;
    status = config->redis.set ? ctl_import_redis(import, config) : import_by_daemon(import);
    return status == CTL_DONE ? report(import) : status;
}

int ctl_run_feed_import(struct ctl *ctl)
{
    const struct ctl_arguments *arguments = &ctl->arguments;
    const char *fault = find_fault(arguments);
    char *text = NULL;
    struct ctl_import import = {
        .ctl = ctl,
        .path = arguments->words[0],
        .feed = arguments->values[CTL_OPTION_NAME],
        .replace = !ctl_arguments_has(arguments, CTL_OPTION_MERGE),
        .dry_run = ctl_arguments_has(arguments, CTL_OPTION_DRY_RUN),
    };

    if (fault != NULL) {
        return ctl_fail(ctl, CTL_USAGE, "%s", fault);
    }
    int status = run(&import, &text);
    ctl_source_done(&import.source);
    bl_guards_free(import.guards);
    json_decref(import.examples);
    free(text);
    return status;
}
