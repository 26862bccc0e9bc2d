#include "resolver/sync_operator.h"

#include "blocklist/entry.h"
#include "resolver/log.h"
#include "resolver/sync_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "operator.list"
#define FILE_SIZE_MAX (SYNC_OPERATOR_ENTRIES_MAX * 2048u)

struct operator_entry {
    uint8_t name[BL_NAME_SIZE_MAX];
    uint8_t name_size;
    bool allow;
    bool exact;
    char category[BL_FEED_TEXT_SIZE_MAX];
    char *reason; /* "" is NULL */
};

/* Entries in order of their names, with owned reasons. */
struct entries {
    struct operator_entry *entries;
    size_t count;
};

static void entries_free(struct operator_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(entries[i].reason);
    }
    free(entries);
}

void sync_operator_done(struct sync_operator *operator)
{
    entries_free(operator->entries, operator->count);
    operator->entries = NULL;
    operator->count = 0;
}

static int compare(const struct operator_entry *entry, const uint8_t *name, size_t size)
{
    return entry->name_size != size ? (entry->name_size < size ? -1 : 1)
                                    : memcmp(entry->name, name, size);
}

/* Where the name stands, or belongs. */
static size_t place_of(const struct entries *entries, const uint8_t *name, size_t size)
{
    size_t low = 0;
    size_t high = entries->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&entries->entries[middle], name, size) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct operator_entry *find(const struct entries *entries, const uint8_t *name, size_t size)
{
    size_t place = place_of(entries, name, size);
    return place < entries->count && compare(&entries->entries[place], name, size) == 0
               ? &entries->entries[place]
               : NULL;
}

/* Adds the entry, or puts it in the place of the one with its name; takes its reason over. */
static int put(struct entries *entries, const struct operator_entry *entry)
{
    struct operator_entry *old = find(entries, entry->name, entry->name_size);
    if (old != NULL) {
        free(old->reason);
        *old = *entry;
        return 0;
    }
    if (entries->count == SYNC_OPERATOR_ENTRIES_MAX) {
        return -ENOSPC;
    }
    if ((entries->count & (entries->count - 1)) == 0) { /* 0 and the powers of two: it is full */
        size_t capacity = entries->count == 0 ? 1 : 2 * entries->count;
        void *grown = realloc(entries->entries, capacity * sizeof(*entries->entries));
        if (grown == NULL) {
            return -ENOMEM;
        }
        entries->entries = grown;
    }
    size_t place = place_of(entries, entry->name, entry->name_size);
    struct operator_entry *at = &entries->entries[place];
    memmove(at + 1, at, (entries->count - place) * sizeof(*at));
    *at = *entry;
    entries->count++;
    return 0;
}

static int copy(const struct sync_operator *operator, struct entries * ret_entries)
{
    struct entries entries = {0};
    for (size_t i = 0; i < operator->count; i++) {
        struct operator_entry entry = operator->entries[i];
        if (entry.reason != NULL) {
            entry.reason = strdup(entry.reason);
        }
        int r = entry.reason == NULL && operator->entries[i].reason != NULL ? -ENOMEM
                                                                            : put(&entries, &entry);
        if (r != 0) {
            free(entry.reason);
            entries_free(entries.entries, entries.count);
            return r;
        }
    }
    *ret_entries = entries;
    return 0;
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            return true;
        }
    }
    return false;
}

/* A name as people write it: any case, a final dot is fine. Its size or -EINVAL. */
static int read_name(const char *text, uint8_t ret_name[static BL_NAME_SIZE_MAX])
{
    char lowered[BL_ENTRY_NAME_SIZE_MAX + 1];
    size_t size = strlen(text);
    if (size > 1 && text[size - 1] == '.') {
        size--;
    }
    if (size > sizeof(lowered)) {
        return -EINVAL;
    }
    for (size_t i = 0; i < size; i++) {
        lowered[i] = (char)bl_name_lowered((uint8_t)text[i]);
    }
    return bl_entry_name(lowered, size, ret_name);
}

/* ---- the file ---- */

static void write_quoted(FILE *file, const char *key, const char *text)
{
    (void)fprintf(file, " %s=\"", key);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            (void)fputc('\\', file);
        }
        (void)fputc(*text, file);
    }
    (void)fputc('"', file);
}

static int write_file(const struct sync_operator *operator, const struct entries * entries)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (file == NULL) {
        return -ENOMEM;
    }
    (void)fputs("# The operator's block and allow; sinkholectl writes this file.\n", file);
    for (size_t i = 0; i < entries->count; i++) {
        const struct operator_entry *entry = &entries->entries[i];
        char name[BL_NAME_TEXT_SIZE_MAX];
        (void)bl_name_to_text(entry->name, name);
        (void)fprintf(file, "%s %s %s", entry->allow ? "allow" : "deny", name,
                      entry->exact ? "exact" : "suffix");
        if (entry->category[0] != '\0') {
            write_quoted(file, "category", entry->category);
        }
        if (entry->reason != NULL) {
            write_quoted(file, "reason", entry->reason);
        }
        (void)fputc('\n', file);
    }
    bool failed = ferror(file) != 0;
    failed = fclose(file) != 0 || failed;
    int r = failed ? -ENOMEM : 0;
    if (r == 0) {
        struct iovec part = {.iov_base = text, .iov_len = size};
        r = sync_store_write(operator->state_dir, FILE_NAME, &part, 1);
    }
    free(text);
    return r;
}

/* The next word of a line, NUL-ended in place; NULL at the end. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, " \t");
    if (*word == '\0') {
        return NULL;
    }
    size_t size = strcspn(word, " \t");
    *at = word + size + (word[size] != '\0');
    word[size] = '\0';
    return word;
}

/* The next key="value" or key=value, NUL-ended in place. 1, 0 at the end, or -EINVAL. */
static int next_pair(char **at, char **ret_key, char **ret_value)
{
    char *key = *at + strspn(*at, " \t");
    if (*key == '\0') {
        return 0;
    }
    char *equals = strchr(key, '=');
    if (equals == NULL) {
        return -EINVAL;
    }
    *equals = '\0';
    *ret_key = key;
    *ret_value = equals + 1;
    if (equals[1] != '"') {
        char *value = equals + 1;
        size_t size = strcspn(value, " \t");
        *at = value + size + (value[size] != '\0');
        value[size] = '\0';
        return 1;
    }
    char *to = equals + 1;
    char *from = equals + 2;
    while (*from != '"') {
        from += *from == '\\';
        if (*from == '\0') {
            return -EINVAL;
        }
        *to++ = *from++;
    }
    *to = '\0';
    *at = from + 1;
    return 1;
}

/* Reads one line, which it takes apart. 1, 0 for a comment, -EINVAL or -ENOMEM. */
static int read_line(char *line, struct operator_entry *ret_entry)
{
    struct operator_entry entry = {.reason = NULL};
    char *at = line;
    char *kind = next_word(&at);
    if (kind == NULL || kind[0] == '#') {
        return 0;
    }
    char *name = next_word(&at);
    char *scope = name != NULL ? next_word(&at) : NULL;
    int size = scope != NULL ? read_name(name, entry.name) : -EINVAL;
    entry.allow = strcmp(kind, "allow") == 0;
    entry.exact = scope != NULL && strcmp(scope, "exact") == 0;
    if (size < 0 || (!entry.allow && strcmp(kind, "deny") != 0) ||
        (!entry.exact && strcmp(scope, "suffix") != 0)) {
        return -EINVAL;
    }
    entry.name_size = (uint8_t)size;
    const char *reason = "";
    char *key;
    char *value;
    int r;
    while ((r = next_pair(&at, &key, &value)) == 1) {
        if (strcmp(key, "category") == 0 && strlen(value) < sizeof(entry.category) &&
            !has_control(value)) {
            memcpy(entry.category, value, strlen(value) + 1);
        } else if (strcmp(key, "reason") == 0 && strlen(value) < SYNC_OPERATOR_REASON_SIZE &&
                   !has_control(value)) {
            reason = value;
        } else {
            return -EINVAL;
        }
    }
    if (r < 0) {
        return r;
    }
    entry.reason = reason[0] != '\0' ? strdup(reason) : NULL;
    if (entry.reason == NULL && reason[0] != '\0') {
        return -ENOMEM;
    }
    *ret_entry = entry;
    return 1;
}

static int read_file(struct sync_operator *operator, struct entries * ret_entries)
{
    char *text;
    size_t size;
    int r = sync_store_read(operator->state_dir, FILE_NAME, FILE_SIZE_MAX, &text, &size);
    if (r != 0) {
        return r == -ENOENT ? 0 : r;
    }
    struct entries entries = {0};
    unsigned number = 0;
    char *line = text;
    for (char *end; r == 0 && line < text + size; line = end + 1) {
        struct operator_entry entry;
        end = memchr(line, '\n', size - (size_t)(line - text));
        end = end != NULL ? end : text + size;
        *end = '\0';
        number++;
        r = read_line(line, &entry);
        if (r == 1) {
            r = put(&entries, &entry);
            if (r != 0) {
                free(entry.reason);
            }
        } else if (r == -EINVAL) {
            operator->malformed++;
            log_warning("line refused", "file", FILE_NAME, "line", log_number(number));
            r = 0;
        }
    }
    free(text);
    if (r != 0) {
        entries_free(entries.entries, entries.count);
        return r;
    }
    *ret_entries = entries;
    return 0;
}

/* ---- the list ---- */

static int operator_feed(struct sync_operator *operator)
{
    struct bl_feed feed = {.tier = BL_TIER_OPERATOR, .priority = 100};
    (void)snprintf(feed.name, sizeof(feed.name), "%s", operator->feed);
    return bl_list_feed_set(operator->list, &feed);
}

/* Puts one entry in force: 1, 0 if it was, -ENOSPC or -ENOMEM. */
static int enforce(struct sync_operator *operator, int feed, const struct operator_entry *entry)
{
    int category = bl_list_word(operator->list, entry->category, strlen(entry->category));
    if (category < 0) {
        return category;
    }
    struct bl_membership membership = {
        .feed = (uint16_t)feed,
        .scope = entry->exact ? BL_SCOPE_EXACT : BL_SCOPE_SUFFIX,
        .action = entry->allow ? BL_ACTION_ALLOW : BL_ACTION_DEFAULT,
        .category = (uint16_t)category,
        .confidence = 255,
    };
    int r = bl_list_add(operator->list, entry->name, entry->name_size, &membership);
    operator->changed += r == 1;
    return r;
}

static enum bl_guard guard_of(const struct sync_operator *operator,
                              const struct operator_entry * entry)
{
    return entry->allow ? BL_GUARD_PASS
                        : bl_guard_check(operator->guards, entry->name, entry->name_size);
}

/* Makes `entries` those of the operator, and the feed equal to them. */
static int take_on(struct sync_operator *operator, struct entries * entries, bool always)
{
    struct entries old = {.entries = operator->entries, .count = operator->count };
    operator->entries = entries->entries;
    operator->count = entries->count;
    int feed = bl_list_feed_find(operator->list, operator->feed);
    if (feed >= 0 || always || entries->count > 0) {
        feed = operator_feed(operator);
    }
    int failed = feed < 0 && (always || entries->count > 0) ? feed : 0;
    for (size_t i = 0; i < entries->count && feed >= 0; i++) {
        const struct operator_entry *entry = &entries->entries[i];
        enum bl_guard guard = guard_of(operator, entry);
        if (guard != BL_GUARD_PASS) {
            operator->guarded[guard]++;
            log_warning("operator's entry refused", "reason", bl_guard_text(guard));
            (void)bl_list_remove(operator->list, (uint16_t)feed, entry->name, entry->name_size);
            continue;
        }
        int r = enforce(operator, feed, entry);
        failed = r < 0 ? r : failed;
    }
    for (size_t i = 0; i < old.count && feed >= 0; i++) {
        const struct operator_entry *entry = &old.entries[i];
        if (find(entries, entry->name, entry->name_size) == NULL) {
            int r = bl_list_remove(operator->list, (uint16_t)feed, entry->name, entry->name_size);
            operator->changed += r == 1;
            failed = r < 0 ? r : failed;
        }
    }
    bl_list_publish(operator->list);
    entries_free(old.entries, old.count);
    return failed;
}

int sync_operator_load(struct sync_operator *operator, bool always)
{
    struct entries entries = {0};
    int r = read_file(operator, & entries);
    if (r != 0) {
        log_error("the operator's list was not read", "file", FILE_NAME, "error", strerror(-r));
        return r;
    }
    r = take_on(operator, & entries, always);
    if (r != 0) {
        log_error("the operator's list is not all in force", "error", strerror(-r));
    }
    return r;
}

/* ---- a request ---- */

struct request {
    enum sync_operation operation;
    const json_t *names;
    bool exact;
    const char *category;
    const char *reason;
};

static const char *text_of(const json_t *request, const char *key, bool *ret_fault)
{
    const json_t *value = json_object_get(request, key);
    const char *text = value == NULL || json_is_null(value) ? "" : json_string_value(value);
    *ret_fault = *ret_fault || text == NULL || has_control(text) ||
                 (json_is_string(value) && json_string_length(value) != strlen(text));
    return text != NULL ? text : "";
}

/* What is wrong with the request; NULL if nothing. */
static const char *read_request(const json_t *request, struct request *ret_request)
{
    const json_t *exact = json_object_get(request, "exact");
    bool fault = false;
    ret_request->names = json_object_get(request, "names");
    ret_request->exact = json_is_true(exact);
    ret_request->category = text_of(request, "category", &fault);
    ret_request->reason = text_of(request, "reason", &fault);
    size_t count = json_array_size(ret_request->names);
    if (!json_is_array(ret_request->names) || count == 0 || count > SYNC_OPERATOR_NAMES_MAX) {
        return "names must be an array of 1 to 1000 names";
    }
    if (exact != NULL && !json_is_boolean(exact)) {
        return "exact must be true or false";
    }
    if (fault || strlen(ret_request->category) >= BL_FEED_TEXT_SIZE_MAX ||
        strlen(ret_request->reason) >= SYNC_OPERATOR_REASON_SIZE) {
        return "category (63 octets) and reason (512 octets) must be text without control "
               "characters";
    }
    return NULL;
}

static bool is_same(const struct operator_entry *a, const struct operator_entry *b)
{
    return a->allow == b->allow && a->exact == b->exact && strcmp(a->category, b->category) == 0 &&
           strcmp(a->reason != NULL ? a->reason : "", b->reason != NULL ? b->reason : "") == 0;
}

static int add(struct entries *entries, const struct request *request,
               const struct operator_entry *named, const char **ret_result)
{
    struct operator_entry entry = *named;
    entry.exact = request->exact;
    memcpy(entry.category, request->category, strlen(request->category) + 1);
    const struct operator_entry *old = find(entries, entry.name, entry.name_size);
    entry.reason = request->reason[0] != '\0' ? strdup(request->reason) : NULL;
    if (entry.reason == NULL && request->reason[0] != '\0') {
        return -ENOMEM;
    }
    *ret_result = old == NULL ? "added" : is_same(old, &entry) ? "unchanged" : "changed";
    int r = put(entries, &entry);
    if (r != 0) {
        free(entry.reason);
    }
    return r;
}

static void take_out(struct entries *entries, const struct operator_entry *named,
                     const char **ret_result)
{
    struct operator_entry *old = find(entries, named->name, named->name_size);
    if (old == NULL || old->allow != named->allow) {
        *ret_result = "not found";
        return;
    }
    free(old->reason);
    entries->count--;
    memmove(old, old + 1, (size_t)(entries->entries + entries->count - old) * sizeof(*old));
    *ret_result = "removed";
}

/* One name of the request. 0 with its result and reason, -ENOSPC or -ENOMEM. */
static int change_one(struct sync_operator *operator, struct entries * entries,
                      const struct request *request, const char *text, const char **ret_result,
                      const char **ret_reason)
{
    struct operator_entry named = {
        .allow = request->operation == SYNC_ALLOW || request->operation == SYNC_UNALLOW,
    };
    int size = text != NULL ? read_name(text, named.name) : -EINVAL;
    *ret_result = "refused";
    if (size < 0) {
        bool root = text != NULL && strcmp(text, ".") == 0;
        operator->guarded[BL_GUARD_ROOT] += root;
        *ret_reason = root ? bl_guard_text(BL_GUARD_ROOT) : "not a domain name";
        return 0;
    }
    named.name_size = (uint8_t)size;
    if (request->operation == SYNC_UNBLOCK || request->operation == SYNC_UNALLOW) {
        take_out(entries, &named, ret_result);
        return 0;
    }
    enum bl_guard guard = guard_of(operator, & named);
    if (guard != BL_GUARD_PASS) {
        operator->guarded[guard]++;
        *ret_reason = bl_guard_text(guard);
        return 0;
    }
    return add(entries, request, &named, ret_result);
}

static int fail(json_t **ret_reply, int error, const char *text)
{
    *ret_reply = json_pack("{s:s}", "error", text);
    return error;
}

/* Changes the copy, and tells what became of each name. */
static int change_all(struct sync_operator *operator, struct entries * entries,
                      const struct request *request, json_t *results)
{
    for (size_t i = 0; i < json_array_size(request->names); i++) {
        const json_t *name = json_array_get(request->names, i);
        const char *result;
        const char *reason = "";
        int r = change_one(operator, entries, request, json_string_value(name), &result, &reason);
        if (r != 0) {
            return r;
        }
        json_array_append_new(results,
                              json_pack("{s:s, s:s, s:s}", "name",
                                        json_is_string(name) ? json_string_value(name) : "",
                                        "result", result, "reason", reason));
    }
    return 0;
}

int sync_operator_change(struct sync_operator *operator, enum sync_operation operation,
                         const json_t *request, json_t **ret_reply)
{
    struct request wanted = {.operation = operation};
    const char *fault = read_request(request, &wanted);
    if (fault != NULL) {
        return fail(ret_reply, -EINVAL, fault);
    }
    struct entries entries;
    int r = copy(operator, & entries);
    if (r != 0) {
        return fail(ret_reply, r, "memory is short; nothing has changed");
    }
    json_t *results = json_array();
    r = change_all(operator, & entries, &wanted, results);
    const char *error = r == -ENOSPC
                            ? "the operator's list is full (100,000 entries): import a feed"
                            : "memory is short; nothing has changed";
    if (r == 0) {
        r = write_file(operator, & entries);
        error = "operator.list could not be written; nothing has changed";
    }
    if (r != 0) {
        log_error("operator's change refused", "error", error, "cause", strerror(-r));
        entries_free(entries.entries, entries.count);
        json_decref(results);
        return fail(ret_reply, r, error);
    }
    r = take_on(operator, & entries, true);
    if (r != 0) {
        json_decref(results);
        return fail(ret_reply, r, "operator.list is written, but not all of it is in force");
    }
    *ret_reply = json_pack("{s:o}", "results", results);
    return 0;
}
