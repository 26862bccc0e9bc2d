#include "resolver/ctl/import_redis.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHARDS_IN_FLIGHT 64u /* asked for ahead of the replies; about 5,000 names */
#define EXAMPLES_MAX 10u
#define PROGRESS_NAMES 20000u
#define PROPERTIES_MAX 8u

struct transfer {
    struct ctl_import *import;
    struct ctl_redis *redis;
    char why[CTL_WHY_SIZE_MAX];
    struct ctl_feed feed;
    struct ctl_entries present;
    bool adding; /* the pass: first what is new or other, then what is gone */
    char *items[CTL_CHANGES_MAX];
    size_t item_count;
    uint64_t sent;
    uint64_t total;
    bool progress; /* somebody looks at standard error */
    char error[CTL_ERROR_SIZE];
};

static void show_progress(const struct transfer *transfer, const char *what, uint64_t done,
                          uint64_t all)
{
    if (transfer->progress) {
        fprintf(stderr, "\r%s %" PRIu64 " of %" PRIu64 " names\x1b[K", what, done, all);
    }
}

static void end_progress(const struct transfer *transfer)
{
    if (transfer->progress) {
        fputs("\r\x1b[K", stderr);
    }
}

/* ---- what the feed has ---- */

static int add_shard(struct transfer *transfer, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2 != 0) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < reply->elements; i += 2) {
        const redisReply *name = reply->element[i];
        const redisReply *value = reply->element[i + 1];
        if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING) {
            return -EBADMSG;
        }
        int r = ctl_entries_add(&transfer->present, name->str, (size_t)name->len, value->str,
                                (size_t)value->len);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int read_present(struct transfer *transfer)
{
    uint32_t asked = 0;
    size_t shown = 0;
    int r = 0;

    for (uint32_t got = 0; got < transfer->feed.shards && r == 0; got++) {
        for (; asked < transfer->feed.shards && asked - got < SHARDS_IN_FLIGHT && r == 0; asked++) {
            char key[CTL_REDIS_KEY_SIZE_MAX];
            ctl_redis_key(transfer->redis, key, "f:%s:%x", transfer->import->feed, asked);
            const char *words[] = {"HGETALL", key};
            r = ctl_redis_queue(transfer->redis, 2, words, NULL);
        }
        redisReply *reply = NULL;
        r = r == 0 ? ctl_redis_reply(transfer->redis, &reply, transfer->error) : r;
        if (r == 0) {
            r = add_shard(transfer, reply);
            freeReplyObject(reply);
        }
        if (transfer->present.count >= shown + PROGRESS_NAMES) {
            shown = transfer->present.count;
            show_progress(transfer, "reading", shown, transfer->feed.count);
        }
    }
    ctl_entries_order(&transfer->present);
    return r;
}

/* ---- what changes ---- */

static int send_items(struct transfer *transfer)
{
    struct ctl_changed changed = {0};
    int r = 0;

    if (transfer->item_count > 0) {
        r = ctl_change(transfer->redis, "change", transfer->import->feed, transfer->why,
                       (const char *const *)transfer->items, transfer->item_count, &changed,
                       transfer->error);
    }
    transfer->sent += transfer->item_count;
    for (size_t i = 0; i < transfer->item_count; i++) {
        free(transfer->items[i]);
    }
    transfer->item_count = 0;
    show_progress(transfer, "sending", transfer->sent, transfer->total);
    return r;
}

static int add_item(void *context, enum ctl_difference kind, const struct ctl_entry *entry)
{
    struct transfer *transfer = context;
    bool removed = kind == CTL_REMOVED;
    char *item = NULL;

    if (transfer->adding == removed) {
        return 0;
    }
    if (asprintf(&item, "%c%s%s%s", removed ? '-' : '+', entry->name,
                 !removed && entry->value[0] != '\0' ? " " : "", removed ? "" : entry->value) < 0) {
        return -ENOMEM;
    }
    transfer->items[transfer->item_count++] = item;
    return transfer->item_count == CTL_CHANGES_MAX ? send_items(transfer) : 0;
}

static int add_example(void *context, enum ctl_difference kind, const struct ctl_entry *entry)
{
    static const char *const keys[] = {"added", "changed", "removed"};
    struct ctl_import *import = context;
    json_t *examples = json_object_get(import->examples, keys[kind]);

    if (json_array_size(examples) < EXAMPLES_MAX) {
        json_array_append_new(examples, json_string(entry->name));
    }
    return 0;
}

/* One pass over the difference: first everything that is added, so that a broken import has only
 * listed too much, never too little. */
static int send_pass(struct transfer *transfer, bool adding)
{
    struct ctl_difference_counts counts;

    transfer->adding = adding;
    int r = ctl_difference(&transfer->present, &transfer->import->source.entries,
                           transfer->import->replace, add_item, transfer, &counts);
    return r == 0 ? send_items(transfer) : r;
}

/* The properties named on the command line, and all that a new feed needs. */
static int set_properties(struct transfer *transfer)
{
    const struct ctl_arguments *arguments = &transfer->import->ctl->arguments;
    static const struct {
        enum ctl_option option;
        const char *key;
    } properties[] = {{CTL_OPTION_KIND, "kind"},
                      {CTL_OPTION_TIER, "tier"},
                      {CTL_OPTION_CATEGORY, "category"},
                      {CTL_OPTION_LABEL, "label"},
                      {CTL_OPTION_PRIORITY, "priority"}};
    char texts[PROPERTIES_MAX][96];
    const char *items[PROPERTIES_MAX];
    size_t count = 0;
    struct ctl_changed changed;

    for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
        const char *value = arguments->values[properties[i].option];
        if (value != NULL) {
            snprintf(texts[count], sizeof(texts[count]), "%s=%s", properties[i].key, value);
            items[count] = texts[count];
            count++;
        }
    }
    if (!transfer->feed.exists) {
        snprintf(texts[count], sizeof(texts[count]), "shards=%" PRIu32,
                 ctl_shards_for(transfer->import->source.entries.count));
        items[count] = texts[count];
        count++;
    }
    return count > 0 ? ctl_change(transfer->redis, "feed", transfer->import->feed, transfer->why,
                                  items, count, &changed, transfer->error)
                     : 0;
}

/* Between begin and end the feed is marked as importing, also when the import breaks off there. */
static int send_difference(struct transfer *transfer)
{
    struct ctl_import *import = transfer->import;
    struct ctl_changed changed = {0};
    uint64_t changes = import->counts.added + import->counts.changed + import->counts.removed;

    int r = set_properties(transfer);
    import->created = r == 0 && !transfer->feed.exists;
    transfer->total = changes;
    if (r < 0 || (changes == 0 && !transfer->feed.importing)) {
        return r;
    }
    r = ctl_change(transfer->redis, "begin", import->feed, transfer->why, NULL, 0, &changed,
                   transfer->error);
    if (r == 0) {
        r = send_pass(transfer, true);
    }
    if (r == 0) {
        r = send_pass(transfer, false);
    }
    if (r == 0) {
        r = ctl_change(transfer->redis, "end", import->feed, transfer->why, NULL, 0, &changed,
                       transfer->error);
    }
    import->revision = r == 0 ? changed.revision : 0;
    return r;
}

/* ---- the import ---- */

static int connect_and_look(struct transfer *transfer, const struct config *config)
{
    struct ctl_import *import = transfer->import;
    const char *kind = import->ctl->arguments.values[CTL_OPTION_KIND];

    int r = ctl_redis_open(&config->redis, !import->dry_run, &transfer->redis, transfer->error);
    if (r == 0) {
        r = ctl_feed_read(transfer->redis, import->feed, &transfer->feed, transfer->error);
    }
    if (r < 0) {
        return ctl_fail(import->ctl, CTL_FAILED, "%s", transfer->error);
    }
    if (transfer->feed.exists && kind != NULL && strcmp(kind, transfer->feed.kind) != 0) {
        return ctl_fail(import->ctl, CTL_FAILED,
                        "feed %s is of kind %s, and a feed keeps its kind: import into another",
                        import->feed, transfer->feed.kind);
    }
    if (transfer->feed.importing && !import->dry_run) {
        ctl_warn(import->ctl,
                 "feed %s is marked as importing: an earlier import was interrupted, and is "
                 "completed by this one",
                 import->feed);
    }
    return CTL_DONE;
}

static int compare(struct transfer *transfer)
{
    struct ctl_import *import = transfer->import;

    if (import->dry_run) {
        import->examples = json_pack("{s:[], s:[], s:[]}", "added", "changed", "removed");
    }
    import->compared = true;
    return ctl_difference(&transfer->present, &import->source.entries, import->replace,
                          import->dry_run ? add_example : NULL, import, &import->counts);
}

static void transfer_done(struct transfer *transfer)
{
    ctl_redis_close(transfer->redis);
    ctl_entries_done(&transfer->present);
    for (size_t i = 0; i < transfer->item_count; i++) {
        free(transfer->items[i]);
    }
    free(transfer);
}

int ctl_import_redis(struct ctl_import *import, const struct config *config)
{
    const char *kind = import->ctl->arguments.values[CTL_OPTION_KIND];
    struct transfer *transfer = calloc(1, sizeof(*transfer));

    if (transfer == NULL) {
        return ctl_fail(import->ctl, CTL_FAILED, "out of memory");
    }
    transfer->import = import;
    transfer->progress = isatty(STDERR_FILENO) && !import->ctl->quiet;
    snprintf(transfer->why, sizeof(transfer->why), "feed import");
    snprintf(transfer->error, sizeof(transfer->error), "out of memory");

    int status = connect_and_look(transfer, config);
    if (status == CTL_DONE) {
        const char *holds = transfer->feed.exists ? transfer->feed.kind : kind;
        status = ctl_import_parse(import, holds != NULL && strcmp(holds, "allow") == 0);
    }
    if (status == CTL_DONE) {
        int r = transfer->feed.exists ? read_present(transfer) : 0;
        if (r == 0) {
            r = compare(transfer);
        }
        if (r == 0 && !import->dry_run) {
            r = send_difference(transfer);
        }
        end_progress(transfer);
        if (r < 0 && transfer->sent > 0) {
            status =
                ctl_fail(import->ctl, CTL_FAILED,
                         "%s; %" PRIu64 " of %" PRIu64 " changes are made: run the same import "
                         "again to complete it",
                         transfer->error, transfer->sent, transfer->total);
        } else if (r < 0) {
            status = ctl_fail(import->ctl, CTL_FAILED, "%s", transfer->error);
        }
    }
    transfer_done(transfer);
    return status;
}
