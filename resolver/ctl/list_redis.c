#include "resolver/ctl/list.h"

#include "blocklist/guard.h"
#include "resolver/ctl/change.h"
#include "resolver/ctl/name.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One name of the command line and what becomes of it. */
struct wish {
    const char *typed;
    struct ctl_name *name; /* NULL when it can't be read */
    const char *result;    /* as in resolver/API.md; NULL until decided */
    char *reason;          /* or NULL; on the heap */
    char *item;            /* the change to send, or NULL; on the heap */
};

struct job {
    struct ctl *ctl;
    enum ctl_operation operation;
    const char *feed;
    const char *why;
    char value[CTL_VALUE_SIZE_MAX]; /* what block and allow write */
    struct ctl_redis *redis;
    struct ctl_feed properties;
    struct wish *wishes;
    size_t count;
    uint64_t revision;
};

static bool is_adding(enum ctl_operation operation)
{
    return operation == CTL_BLOCK || operation == CTL_ALLOW;
}

static void decide(struct wish *wish, const char *result, const char *reason)
{
    wish->result = result;
    wish->reason = reason != NULL ? strdup(reason) : NULL;
}

/* Reads the names, and refuses what every node would refuse. */
static int read_names(struct job *job)
{
    struct bl_guards *guards = NULL;
    char error[CTL_ERROR_SIZE];

    if (job->operation == CTL_BLOCK && bl_guards_new(&guards) < 0) {
        return ctl_fail(job->ctl, CTL_FAILED,
                        "no list of public suffixes: libpsl was built without one, or memory is "
                        "short");
    }
    for (size_t i = 0; i < job->count; i++) {
        struct wish *wish = &job->wishes[i];
        struct ctl_name *name = malloc(sizeof(*name));
        wish->typed = job->ctl->arguments.words[i];
        if (name == NULL || ctl_name_read(wish->typed, name, error) < 0) {
            free(name);
            decide(wish, "refused", name == NULL ? "out of memory" : error);
            continue;
        }
        wish->name = name;
        enum bl_guard guard =
            guards != NULL ? bl_guard_check(guards, name->wire, name->wire_size) : BL_GUARD_PASS;
        if (guard != BL_GUARD_PASS) {
            decide(wish, "refused", bl_guard_text(guard));
        } else if (name->text[0] == '\0') {
            decide(wish, is_adding(job->operation) ? "refused" : "not found", "the root");
        }
    }
    bl_guards_free(guards);
    return CTL_DONE;
}

/* Connects, and makes the operator's feed where there is none or it is of another kind. */
static int prepare_feed(struct job *job, const struct config *config)
{
    static const char *const properties[] = {"kind=deny", "tier=operator"};
    static const char *const shards = "shards=64"; /* room for 262,144 names at 4,096 a shard */
    bool named = ctl_arguments_has(&job->ctl->arguments, CTL_OPTION_FEED);
    char error[CTL_ERROR_SIZE] = "";
    struct ctl_changed changed = {0};

    int r = ctl_redis_open(&config->redis, true, &job->redis, error);
    if (r == 0) {
        r = ctl_feed_read(job->redis, job->feed, &job->properties, error);
    }
    if (r < 0) {
        return ctl_fail(job->ctl, CTL_FAILED, "%s", error);
    }
    if (named && !job->properties.exists) {
        return ctl_fail(
            job->ctl, CTL_NOT_FOUND,
            "there is no feed %s; sinkholectl feed list shows all, feed import makes one",
            job->feed);
    }
    if (job->operation == CTL_BLOCK && named && strcmp(job->properties.kind, "deny") != 0) {
        return ctl_fail(job->ctl, CTL_FAILED,
                        "feed %s is of kind %s: names in it are freed, not blocked", job->feed,
                        job->properties.kind);
    }
    if (named || !is_adding(job->operation) ||
        (job->properties.exists && strcmp(job->properties.kind, "deny") == 0 &&
         strcmp(job->properties.tier, "operator") == 0)) {
        return CTL_DONE;
    }
    const char *items[] = {properties[0], properties[1], shards};
    r = ctl_change(job->redis, "feed", job->feed, job->why, items, job->properties.exists ? 2 : 3,
                   &changed, error);
    if (r == 0) {
        r = ctl_feed_read(job->redis, job->feed, &job->properties, error);
    }
    return r < 0 ? ctl_fail(job->ctl, CTL_FAILED, "%s", error) : CTL_DONE;
}

static void plan_adding(struct job *job, struct wish *wish, const char *present)
{
    bool same = present != NULL &&
                (strcmp(present, job->value) == 0 ||
                 (job->why[0] == '\0' && ctl_value_same_but_reason(present, job->value)));
    if (same) {
        decide(wish, "unchanged", NULL);
        return;
    }
    if (asprintf(&wish->item, "+%s%s%s", wish->name->text, job->value[0] != '\0' ? " " : "",
                 job->value) < 0) {
        wish->item = NULL;
        decide(wish, "refused", "out of memory");
        return;
    }
    decide(wish, present != NULL ? "changed" : "added", NULL);
}

static void plan_removing(struct job *job, struct wish *wish, const char *present)
{
    bool named = ctl_arguments_has(&job->ctl->arguments, CTL_OPTION_FEED);
    bool allowed = present != NULL && ctl_value_has(present, "a=allow");

    if (present == NULL) {
        decide(wish, "not found", NULL);
    } else if (job->operation == CTL_UNBLOCK && allowed && !named) {
        decide(wish, "not found", "it is allowed; unallow takes that back");
    } else if (job->operation == CTL_UNALLOW && !allowed) {
        decide(wish, "not found", "it is blocked; unblock takes that back");
    } else if (asprintf(&wish->item, "-%s", wish->name->text) < 0) {
        wish->item = NULL;
        decide(wish, "refused", "out of memory");
    } else {
        decide(wish, "removed", NULL);
    }
}

/* Two wishes for one name in one slice: the second would be compared with what is no longer so. It
 * says the same, so it changes nothing. */
static bool is_repeated(const struct job *job, size_t first, size_t index)
{
    for (size_t i = first; i < index; i++) {
        if (job->wishes[i].item != NULL &&
            strcmp(job->wishes[i].name->text, job->wishes[index].name->text) == 0) {
            return true;
        }
    }
    return false;
}

/* Asks what the feed says of the names of one slice, and plans the changes. */
static int plan(struct job *job, size_t first, size_t end, char error[static CTL_ERROR_SIZE])
{
    int r = 0;

    for (size_t i = first; i < end && r == 0; i++) {
        const struct ctl_name *name = job->wishes[i].name;
        char key[CTL_REDIS_KEY_SIZE_MAX];
        if (job->wishes[i].result != NULL) {
            continue;
        }
        ctl_redis_key(job->redis, key, "f:%s:%x", job->feed,
                      ctl_shard_of(name->text, strlen(name->text), job->properties.shards));
        const char *words[] = {"HGET", key, name->text};
        r = ctl_redis_queue(job->redis, 3, words, NULL);
    }
    for (size_t i = first; i < end && r == 0; i++) {
        struct wish *wish = &job->wishes[i];
        redisReply *reply = NULL;
        if (wish->result != NULL) {
            continue;
        }
        r = ctl_redis_reply(job->redis, &reply, error);
        if (r < 0) {
            break;
        }
        const char *present = reply->type == REDIS_REPLY_STRING ? reply->str : NULL;
        if (is_repeated(job, first, i)) {
            decide(wish, "unchanged", "named twice");
        } else if (is_adding(job->operation)) {
            plan_adding(job, wish, present);
        } else {
            plan_removing(job, wish, present);
        }
        freeReplyObject(reply);
    }
    return r;
}

static int change_slice(struct job *job, size_t first, size_t end)
{
    const char *items[CTL_CHANGES_MAX];
    size_t count = 0;
    char error[CTL_ERROR_SIZE] = "out of memory";
    struct ctl_changed changed = {0};

    assert(end - first <= CTL_CHANGES_MAX);
    int r = plan(job, first, end, error);
    for (size_t i = first; i < end && r == 0; i++) {
        if (job->wishes[i].item != NULL) {
            items[count++] = job->wishes[i].item;
        }
    }
    if (r == 0 && count > 0) {
        r = ctl_change(job->redis, "change", job->feed, job->why, items, count, &changed, error);
        job->revision = changed.revision;
    }
    if (r < 0 && first > 0) {
        return ctl_fail(job->ctl, CTL_FAILED, "%s (the first %zu names are done)", error, first);
    }
    return r < 0 ? ctl_fail(job->ctl, CTL_FAILED, "%s", error) : CTL_DONE;
}

static bool is_any_open(const struct job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        if (job->wishes[i].result == NULL) {
            return true;
        }
    }
    return false;
}

static int make_changes(struct job *job, const struct config *config)
{
    int status = prepare_feed(job, config);

    if (status == CTL_DONE && !job->properties.exists) {
        for (size_t i = 0; i < job->count; i++) {
            if (job->wishes[i].result == NULL) {
                decide(&job->wishes[i], "not found", NULL);
            }
        }
        return CTL_DONE;
    }
    for (size_t first = 0; first < job->count && status == CTL_DONE; first += CTL_CHANGES_MAX) {
        size_t left = job->count - first;
        status =
            change_slice(job, first, first + (left < CTL_CHANGES_MAX ? left : CTL_CHANGES_MAX));
    }
    return status;
}

static json_t *document_of(const struct job *job)
{
    json_t *results = json_array();

    for (size_t i = 0; i < job->count; i++) {
        const struct wish *wish = &job->wishes[i];
        json_t *result = json_pack(
            "{s:s, s:s, s:s}", "name", wish->name != NULL ? wish->name->text : wish->typed,
            "result", wish->result, "reason", wish->reason != NULL ? wish->reason : "");
        if (result == NULL) { /* what was typed is not UTF-8 */
            result = json_pack("{s:s, s:s, s:s}", "name", "?", "result", wish->result, "reason",
                               "not UTF-8 text");
        }
        json_array_append_new(results, result);
    }
    return json_pack("{s:s, s:o, s:o}", "feed", job->feed, "revision",
                     job->revision > 0 ? json_integer((json_int_t)job->revision) : json_null(),
                     "results", results);
}

static void job_done(struct job *job)
{
    ctl_redis_close(job->redis);
    for (size_t i = 0; job->wishes != NULL && i < job->count; i++) {
        free(job->wishes[i].name);
        free(job->wishes[i].reason);
        free(job->wishes[i].item);
    }
    free(job->wishes);
}

int ctl_list_redis(struct ctl *ctl, const struct config *config, enum ctl_operation operation,
                   json_t **ret_document)
{
    const struct ctl_arguments *arguments = &ctl->arguments;
    const char *reason = arguments->values[CTL_OPTION_REASON];
    const char *feed = arguments->values[CTL_OPTION_FEED];
    struct job job = {.ctl = ctl,
                      .operation = operation,
                      .feed = feed != NULL ? feed : CTL_OPERATOR_FEED,
                      .why = reason != NULL ? reason : "",
                      .count = arguments->word_count};

    if (ctl_value(operation == CTL_ALLOW, ctl_arguments_has(arguments, CTL_OPTION_EXACT),
                  arguments->values[CTL_OPTION_CATEGORY], reason, job.value) < 0) {
        return ctl_fail(ctl, CTL_USAGE, "--category and --reason are too long together");
    }
    job.wishes = calloc(job.count, sizeof(job.wishes[0]));
    if (job.wishes == NULL) {
        return ctl_fail(ctl, CTL_FAILED, "out of memory");
    }
    int status = read_names(&job);
    if (status == CTL_DONE && is_any_open(&job)) {
        status = make_changes(&job, config);
    }
    if (status == CTL_DONE) {
        *ret_document = document_of(&job);
    }
    job_done(&job);
    return status;
}
