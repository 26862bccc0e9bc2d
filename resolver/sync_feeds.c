#include "resolver/sync_feeds.h"

#include "blocklist/entry.h"
#include "blocklist/source.h"
#include "resolver/log.h"
#include "resolver/sync_store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "feeds"
#define SUFFIX ".list"
#define FORMAT_LINE                                                                                \
    "#!format="             /* an imported feed's first line; a comment to the reader of lines */
#define TEXT_SHOWN_MAX 128u /* octets of a refused line in log and reply */

void sync_feeds_done(struct sync_feeds *feeds)
{
    free(feeds->files);
    feeds->files = NULL;
}

static const struct config_list_file *find_file(const struct sync_feeds *feeds, const char *name)
{
    for (uint32_t i = 0; i < feeds->file_count; i++) {
        if (strcmp(feeds->files[i].feed.name, name) == 0) {
            return &feeds->files[i];
        }
    }
    return NULL;
}

static bool is_operators(const char *name)
{
    return strcmp(name, SYNC_FEED_OPERATOR) == 0 || strcmp(name, SYNC_FEED_BESIDE) == 0;
}

/* ---- one text into one feed ---- */

struct loading {
    struct sync_feeds *feeds;
    const char *feed;
    uint64_t rejects;
    json_t *replied; /* NULL: nobody asked */
};

/* Foreign octets as text that every reader takes. */
static void printable(const char *text, size_t size, char ret_text[static TEXT_SHOWN_MAX + 1])
{
    size_t shown = size < TEXT_SHOWN_MAX ? size : TEXT_SHOWN_MAX;
    for (size_t i = 0; i < shown; i++) {
        ret_text[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    }
    ret_text[shown] = '\0';
}

static void reject(void *context, const struct bl_source_reject *reject)
{
    struct loading *loading = context;
    char text[TEXT_SHOWN_MAX + 1];
    printable(reject->text, reject->text_size, text);
    if (reject->guard != BL_GUARD_PASS) {
        loading->feeds->guarded[reject->guard]++;
    } else {
        loading->feeds->malformed++;
    }
    if (loading->rejects < SYNC_REJECTS_LOGGED_MAX) {
        log_warning("line refused", "feed", loading->feed, "line",
                    log_number((long long)reject->line), "reason", reject->reason, "text", text);
    }
    if (loading->replied != NULL && loading->rejects < SYNC_REJECTS_REPLIED_MAX) {
        json_array_append_new(loading->replied,
                              json_pack("{s:I, s:s, s:s}", "line", (json_int_t)reject->line,
                                        "reason", reject->reason, "text", text));
    }
    loading->rejects++;
}

/* Creates the feed or changes its properties. One that turns from denying to allowing or back goes
 * first with its names: the guards have to see them before the new kind holds. Returns its id. */
static int set_feed(struct sync_feeds *feeds, const struct bl_feed *feed)
{
    int id = bl_list_feed_find(feeds->list, feed->name);
    if (id >= 0) {
        const struct bl_feed *old = bl_list_feed(feeds->list, (uint16_t)id);
        if ((old->action == BL_ACTION_ALLOW) != (feed->action == BL_ACTION_ALLOW)) {
            int r = bl_list_feed_remove(feeds->list, (uint16_t)id);
            if (r != 0) {
                return r;
            }
            bl_list_publish(feeds->list);
        }
    }
    return bl_list_feed_set(feeds->list, feed);
}

/* Makes the feed equal to a file (`path`) or a text. `replied` takes the first rejects, or
 * is NULL. */
static int load(struct sync_feeds *feeds, const struct bl_feed *feed, enum bl_format format,
                const char *path, const char *text, size_t size, json_t *replied,
                struct bl_source_counts *ret_counts)
{
    int id = set_feed(feeds, feed);
    if (id < 0) {
        return id;
    }
    struct loading loading = {.feeds = feeds, .feed = feed->name, .replied = replied};
    struct bl_source source = {
        .format = format,
        .membership = {.feed = (uint16_t)id, .confidence = 255},
        .guards = feeds->guards,
        .reject = reject,
        .context = &loading,
    };
    struct bl_source_counts counts = {0};
    int r = path != NULL ? bl_source_load_file(feeds->list, &source, path, &counts)
                         : bl_source_load_text(feeds->list, &source, text, size, &counts);
    if (loading.rejects > SYNC_REJECTS_LOGGED_MAX) {
        log_warning("more lines refused", "feed", feed->name, "count",
                    log_number((long long)(loading.rejects - SYNC_REJECTS_LOGGED_MAX)));
    }
    if (r != 0) {
        bl_list_publish(feeds->list);
        return r;
    }
    feeds->changed += counts.added + counts.changed + counts.removed;
    log_info("list loaded", "feed", feed->name, "names",
             log_number((long long)(counts.added + counts.changed + counts.unchanged)), "added",
             log_number((long long)counts.added), "removed", log_number((long long)counts.removed),
             "rejected", log_number((long long)counts.rejected));
    *ret_counts = counts;
    return 0;
}

/* ---- imported feeds ---- */

static struct bl_feed imported_feed(const char *name)
{
    struct bl_feed feed = {.tier = BL_TIER_FEED, .priority = 100};
    (void)snprintf(feed.name, sizeof(feed.name), "%s", name);
    return feed;
}

static int folder_of(const struct sync_feeds *feeds, char ret_folder[static SYNC_STORE_PATH_SIZE])
{
    int size = snprintf(ret_folder, SYNC_STORE_PATH_SIZE, "%s/" FOLDER, feeds->state_dir);
    return size > 0 && (size_t)size < SYNC_STORE_PATH_SIZE ? 0 : -ENAMETOOLONG;
}

/* The format an imported file was stored with; AUTO for one that does not say. */
static enum bl_format stored_format(const char *text, size_t size)
{
    enum bl_format format = BL_FORMAT_AUTO;
    size_t mark = sizeof(FORMAT_LINE) - 1;
    const char *end = size > 0 ? memchr(text, '\n', size) : NULL;
    if (end != NULL && (size_t)(end - text) > mark && memcmp(text, FORMAT_LINE, mark) == 0) {
        (void)bl_format_from_text(text + mark, (size_t)(end - text) - mark, &format);
    }
    return format;
}

static int load_import(struct sync_feeds *feeds, const char *folder, const char *file,
                       const char *name)
{
    char *text;
    size_t size;
    int r = sync_store_read(folder, file, SYNC_IMPORT_SIZE_MAX + 64, &text, &size);
    if (r != 0) {
        return r;
    }
    struct bl_feed feed = imported_feed(name);
    struct bl_source_counts counts;
    r = load(feeds, &feed, stored_format(text, size), NULL, text, size, NULL, &counts);
    free(text);
    return r;
}

/* A file's name without its suffix, if that is a feed's name. */
static bool import_name(const char *file, char ret_name[static BL_FEED_NAME_SIZE_MAX])
{
    size_t size = strlen(file);
    size_t suffix = sizeof(SUFFIX) - 1;
    if (size <= suffix || strcmp(file + size - suffix, SUFFIX) != 0 ||
        !bl_feed_name_valid(file, size - suffix)) {
        return false;
    }
    memcpy(ret_name, file, size - suffix);
    ret_name[size - suffix] = '\0';
    return true;
}

struct names {
    char (*names)[BL_FEED_NAME_SIZE_MAX];
    size_t count;
};

static int keep_name(struct names *names, const char *name)
{
    void *grown = realloc(names->names, (names->count + 1) * sizeof(*names->names));
    if (grown == NULL) {
        return -ENOMEM;
    }
    names->names = grown;
    memcpy(names->names[names->count++], name, strlen(name) + 1);
    return 0;
}

/* Reads all imported feeds and tells their names. */
static int load_imports(struct sync_feeds *feeds, struct names *names,
                        char ret_error[static SYNC_ERROR_SIZE])
{
    char folder[SYNC_STORE_PATH_SIZE];
    int r = folder_of(feeds, folder);
    DIR *dir = r == 0 ? opendir(folder) : NULL;
    if (dir == NULL) {
        return r; /* nothing was ever imported */
    }
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        char name[BL_FEED_NAME_SIZE_MAX];
        if (!import_name(entry->d_name, name) || is_operators(name)) {
            continue;
        }
        if (find_file(feeds, name) != NULL) {
            log_error("imported feed passed over: list.files has one of its name", "feed", name);
            continue;
        }
        int failed = keep_name(names, name);
        failed = failed == 0 ? load_import(feeds, folder, entry->d_name, name) : failed;
        if (failed != 0 && r == 0) {
            r = failed;
            (void)snprintf(ret_error, SYNC_ERROR_SIZE, "imported feed %s: %s; it stays as it was",
                           name, strerror(-failed));
        }
    }
    closedir(dir);
    return r;
}

/* ---- all of them ---- */

struct gone {
    const struct sync_feeds *feeds;
    const struct names *imported;
    uint16_t ids[BL_FEEDS_MAX];
    size_t count;
};

static void collect_gone(void *context, const struct bl_feed *feed)
{
    struct gone *gone = context;
    if (feed->redis || is_operators(feed->name) || find_file(gone->feeds, feed->name) != NULL) {
        return;
    }
    for (size_t i = 0; i < gone->imported->count; i++) {
        if (strcmp(gone->imported->names[i], feed->name) == 0) {
            return;
        }
    }
    gone->ids[gone->count++] = feed->id;
}

static bool remove_gone(struct sync_feeds *feeds, const struct names *imported)
{
    struct gone gone = {.feeds = feeds, .imported = imported};
    bl_list_feeds(feeds->list, collect_gone, &gone);
    for (size_t i = 0; i < gone.count; i++) {
        const char *name = bl_list_feed(feeds->list, gone.ids[i])->name;
        log_info("feed of no file or import removed", "feed", name);
        if (bl_list_feed_remove(feeds->list, gone.ids[i]) != 0) {
            log_error("feed not removed, memory is short: reload again", "feed", name);
        }
        feeds->changed++;
    }
    bl_list_publish(feeds->list);
    return gone.count > 0;
}

int sync_feeds_load(struct sync_feeds *feeds, const struct config_list_file *files,
                    uint32_t file_count, bool *ret_removed, char ret_error[static SYNC_ERROR_SIZE])
{
    size_t size = file_count * sizeof(*files);
    struct config_list_file *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        (void)snprintf(ret_error, SYNC_ERROR_SIZE, "memory is short");
        return -ENOMEM;
    }
    if (size > 0) {
        memcpy(copy, files, size);
    }
    free(feeds->files);
    feeds->files = copy;
    feeds->file_count = file_count;

    int r = 0;
    for (uint32_t i = 0; i < file_count; i++) {
        const struct config_list_file *file = &feeds->files[i];
        struct bl_source_counts counts;
        int failed = is_operators(file->feed.name)
                         ? -EEXIST
                         : load(feeds, &file->feed, (enum bl_format)file->format, file->path, NULL,
                                0, NULL, &counts);
        if (failed == 0) {
            continue;
        }
        log_error("list file not read, its names stay as they were", "feed", file->feed.name,
                  "path", file->path, "error",
                  failed == -EEXIST ? "the feed's name is the operator's own" : strerror(-failed));
        if (r == 0) {
            r = failed;
            (void)snprintf(ret_error, SYNC_ERROR_SIZE,
                           "list file %.100s (feed %s): %s; its names stay as they were",
                           file->path, file->feed.name, strerror(-failed));
        }
    }
    struct names imported = {0};
    char error[SYNC_ERROR_SIZE] = "";
    int failed = load_imports(feeds, &imported, error);
    if (failed != 0) {
        log_error("an imported feed was not read", "error", error);
    }
    if (failed != 0 && r == 0) {
        r = failed;
        memcpy(ret_error, error, sizeof(error));
    }
    *ret_removed = remove_gone(feeds, &imported);
    free(imported.names);
    return r;
}

/* ---- an import ---- */

static int fail(json_t **ret_reply, int error, const char *format, const char *text)
{
    char message[SYNC_ERROR_SIZE];
    (void)snprintf(message, sizeof(message), format, text);
    for (char *c = message; *c != '\0'; c++) {
        *c = *c >= ' ' && *c <= '~' ? *c : '?'; /* a name from outside may be no UTF-8 */
    }
    *ret_reply = json_pack("{s:s}", "error", message);
    return error;
}

/* Stores the text with the format it is to be read in. */
static int store(const struct sync_feeds *feeds, const char *name, enum bl_format format,
                 const char *text, size_t size)
{
    char folder[SYNC_STORE_PATH_SIZE];
    char file[BL_FEED_NAME_SIZE_MAX + sizeof(SUFFIX)];
    char head[64];
    int r = folder_of(feeds, folder);
    if (r == 0) {
        r = sync_store_folder(folder);
    }
    if (r != 0) {
        return r;
    }
    (void)snprintf(file, sizeof(file), "%s" SUFFIX, name);
    int head_size = snprintf(head, sizeof(head), FORMAT_LINE "%s\n", bl_format_text(format));
    struct iovec parts[] = {
        {.iov_base = head, .iov_len = (size_t)head_size},
        {.iov_base = (void *)text, .iov_len = size},
    };
    return sync_store_write(folder, file, parts, 2);
}

int sync_feeds_import(struct sync_feeds *feeds, const char *name, const char *format,
                      const char *text, size_t size, json_t **ret_reply)
{
    enum bl_format read_as;
    if (!bl_feed_name_valid(name, strlen(name))) {
        return fail(ret_reply, -EINVAL, "%.64s is no name for a feed: use a-z, 0-9, . _ -", name);
    }
    if (is_operators(name)) {
        return fail(ret_reply, -EEXIST, "the feed %s is the operator's own; choose another name",
                    name);
    }
    if (find_file(feeds, name) != NULL) {
        return fail(ret_reply, -EEXIST,
                    "list.files of the configuration has a feed %s already; choose another name",
                    name);
    }
    if (bl_format_from_text(format, strlen(format), &read_as) != 0) {
        return fail(ret_reply, -EINVAL, "the format %.32s is not known: auto, plain or hosts",
                    format);
    }
    if (size > SYNC_IMPORT_SIZE_MAX) {
        return fail(ret_reply, -EFBIG, "the list is larger than %s", "256 MiB");
    }
    json_t *rejects = json_array();
    struct bl_feed feed = imported_feed(name);
    struct bl_source_counts counts;
    int r = load(feeds, &feed, read_as, NULL, text, size, rejects, &counts);
    if (r != 0) {
        json_decref(rejects);
        return fail(ret_reply, r, "the feed was not taken: %s", strerror(-r));
    }
    r = store(feeds, name, read_as, text, size);
    if (r != 0) {
        json_decref(rejects);
        return fail(ret_reply, r,
                    "the feed is in force, but not on disk, and will be gone at a restart: %s",
                    strerror(-r));
    }
    *ret_reply = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "added", (json_int_t)counts.added,
                           "changed", (json_int_t)counts.changed, "removed",
                           (json_int_t)counts.removed, "unchanged", (json_int_t)counts.unchanged,
                           "rejected", (json_int_t)counts.rejected, "rejects", rejects);
    return 0;
}
