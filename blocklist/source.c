#include "blocklist/source.h"

#include "blocklist/name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_SIZE 65536u
#define SLOTS_MIN 1024u /* a power of two, as every number of slots */
#define UNIT 4u /* entries start at multiples of this, so that 32 bits name 16 GiB of them */
#define OCTETS_MIN 65536u

/* A line with its byte order mark and its end, and one octet more to see that it is too long. */
#define LINE_ROOM (BL_LINE_SIZE_MAX + 8u)

struct entry {
    uint32_t line;
    uint8_t scope;
    uint8_t size;
    uint8_t name[];
};

/* Entries one after another: octets <= size <= room. */
struct entries {
    uint8_t *octets;
    size_t size;
    size_t room;
};

/* The names of the text: entries, and a hash table of where they are. */
struct names {
    struct entries entries;
    struct bl_secret secret;
    uint64_t *slots; /* hash's upper half | place / UNIT + 1; 0: empty. At most half are in use. */
    size_t slot_count;
    size_t count;
};

struct loader {
    struct bl_list *list;
    const struct bl_source *source;
    struct bl_membership membership; /* of the next entry, but for its scope */
    bool guarded;
    struct names names;
    struct entries vanished;
    struct bl_source_counts counts;
    uint64_t line;
    uint32_t changes; /* since the last publish */
    int error;        /* the first failure; nothing is done after it */
    size_t text_size; /* of the line so far; LINE_ROOM: too long */
    char text[LINE_ROOM];
};

static size_t entry_size(size_t name_size)
{
    size_t size = offsetof(struct entry, name) + name_size;
    return (size + UNIT - 1) / UNIT * UNIT;
}

static struct entry *entry_at(const struct entries *entries, size_t place)
{
    return (struct entry *)(void *)(entries->octets + place);
}

/* Appends an entry. 0, -ENOMEM, or -EFBIG where a place would not fit 32 bits. */
static int append(struct entries *entries, uint32_t line, uint8_t scope, const uint8_t *name,
                  size_t size)
{
    size_t end = entries->size + entry_size(size);
    if (end / UNIT >= UINT32_MAX) {
        return -EFBIG;
    }
    if (end > entries->room) {
        size_t room = entries->room == 0 ? OCTETS_MIN : entries->room * 2;
        uint8_t *octets = realloc(entries->octets, room);
        if (octets == NULL) {
            return -ENOMEM;
        }
        entries->octets = octets;
        entries->room = room;
    }
    struct entry *entry = entry_at(entries, entries->size);
    entry->line = line;
    entry->scope = scope;
    entry->size = (uint8_t)size;
    memcpy(entry->name, name, size);
    entries->size = end;
    return 0;
}

static struct entry *slot_entry(const struct names *names, uint64_t slot)
{
    return entry_at(&names->entries, ((slot & UINT32_MAX) - 1) * UNIT);
}

static uint64_t slot_for(uint64_t hash, size_t place)
{
    return (hash & ~(uint64_t)UINT32_MAX) | (place / UNIT + 1);
}

/* The slot of the name, or the empty one where it belongs. */
static uint64_t *slot_of(const struct names *names, uint64_t hash, const uint8_t *name, size_t size)
{
    size_t at = hash & (names->slot_count - 1);
    for (; names->slots[at] != 0; at = (at + 1) & (names->slot_count - 1)) {
        if (names->slots[at] >> 32 == hash >> 32) {
            const struct entry *entry = slot_entry(names, names->slots[at]);
            if (entry->size == size && memcmp(entry->name, name, size) == 0) {
                break;
            }
        }
    }
    return &names->slots[at];
}

static int names_grow(struct names *names)
{
    size_t slot_count = names->slot_count == 0 ? SLOTS_MIN : names->slot_count * 2;
    uint64_t *slots = calloc(slot_count, sizeof(slots[0]));
    if (slots == NULL) {
        return -ENOMEM;
    }
    free(names->slots);
    names->slots = slots;
    names->slot_count = slot_count;
    for (size_t place = 0; place < names->entries.size;) {
        const struct entry *entry = entry_at(&names->entries, place);
        uint64_t hash = bl_name_hash(&names->secret, entry->name, entry->size);
        *slot_of(names, hash, entry->name, entry->size) = slot_for(hash, place);
        place += entry_size(entry->size);
    }
    return 0;
}

static bool names_have(const struct names *names, const uint8_t *name, size_t size)
{
    uint64_t hash = bl_name_hash(&names->secret, name, size);
    return names->count > 0 && *slot_of(names, hash, name, size) != 0;
}

static void reject(struct loader *loader, uint64_t line, const char *reason, enum bl_guard guard,
                   const char *text, size_t size)
{
    loader->counts.rejected++;
    loader->counts.guarded += guard != BL_GUARD_PASS ? 1 : 0;
    if (loader->source->reject != NULL) {
        struct bl_source_reject rejected = {line, reason, guard, text, size};
        loader->source->reject(loader->source->context, &rejected);
    }
}

static void reject_name(struct loader *loader, uint64_t line, const char *reason,
                        enum bl_guard guard, const uint8_t *name)
{
    char text[BL_NAME_TEXT_SIZE_MAX];
    size_t size = bl_name_to_text(name, text);
    reject(loader, line, reason, guard, text, size);
}

/* One entry of a line. */
static void take_entry(void *context, const uint8_t *name, size_t size, enum bl_scope scope)
{
    struct loader *loader = context;
    struct names *names = &loader->names;
    if (loader->error < 0) {
        return;
    }
    enum bl_guard guard =
        loader->guarded ? bl_guard_check(loader->source->guards, name, size) : BL_GUARD_PASS;
    if (guard != BL_GUARD_PASS) {
        reject_name(loader, loader->line, bl_guard_text(guard), guard, name);
        return;
    }
    if (names->count * 2 >= names->slot_count) {
        loader->error = names_grow(names);
        if (loader->error < 0) {
            return;
        }
    }
    uint64_t hash = bl_name_hash(&names->secret, name, size);
    uint64_t *slot = slot_of(names, hash, name, size);
    if (*slot != 0) {
        struct entry *entry = slot_entry(names, *slot);
        if (scope == BL_SCOPE_SUFFIX) {
            entry->scope = BL_SCOPE_SUFFIX;
        }
        loader->counts.repeated++;
        return;
    }
    if (names->count == BL_SOURCE_NAMES_MAX) {
        loader->error = -EFBIG;
        return;
    }
    uint32_t line = loader->line < UINT32_MAX ? (uint32_t)loader->line : UINT32_MAX;
    size_t place = names->entries.size;
    loader->error = append(&names->entries, line, (uint8_t)scope, name, size);
    if (loader->error == 0) {
        *slot = slot_for(hash, place);
        names->count++;
    }
}

static void end_line(struct loader *loader)
{
    const char *reason = BL_LINE_TOO_LONG;
    loader->line++;
    int r = loader->text_size < LINE_ROOM
                ? bl_format_line(loader->source->format, loader->text, loader->text_size,
                                 take_entry, loader, &reason)
                : -EINVAL;
    if (r < 0) {
        size_t size = loader->text_size < BL_LINE_SIZE_MAX ? loader->text_size : BL_LINE_SIZE_MAX;
        while (size > 0 && loader->text[size - 1] == '\r') {
            size--;
        }
        reject(loader, loader->line, reason, BL_GUARD_PASS, loader->text, size);
    }
    loader->text_size = 0;
}

/* Takes the next octets of the text, wherever they are cut. */
static void take_text(struct loader *loader, const char *text, size_t size)
{
    while (size > 0 && loader->error == 0) {
        const char *end = memchr(text, '\n', size);
        size_t length = end != NULL ? (size_t)(end - text) : size;
        size_t room = LINE_ROOM - loader->text_size;
        size_t kept = length < room ? length : room;
        memcpy(loader->text + loader->text_size, text, kept);
        loader->text_size += kept;
        if (end != NULL) {
            end_line(loader);
            length++;
        }
        text += length;
        size -= length;
    }
}

/* Names that the feed lists and the text does not. */
static bool collect_vanished(void *context, const uint8_t *name, size_t size,
                             const struct bl_membership *membership)
{
    struct loader *loader = context;
    (void)membership;
    if (!names_have(&loader->names, name, size)) {
        loader->error = append(&loader->vanished, 0, 0, name, size);
    }
    return loader->error == 0;
}

static void count_change(struct loader *loader)
{
    if (++loader->changes == BL_SOURCE_BATCH_CHANGES) {
        bl_list_publish(loader->list);
        loader->changes = 0;
    }
}

static void add(struct loader *loader, const struct entry *entry)
{
    struct bl_membership old;
    struct bl_membership new = loader->membership;
    new.scope = entry->scope;
    bool listed = bl_list_get(loader->list, new.feed, entry->name, entry->size, &old);
    int r = bl_list_add(loader->list, entry->name, entry->size, &new);
    if (r == -ENOSPC) {
        reject_name(loader, entry->line, "as many feeds as can list one name list it already",
                    BL_GUARD_PASS, entry->name);
    } else if (r < 0) {
        loader->error = r;
    } else if (r == 0) {
        loader->counts.unchanged++;
    } else {
        loader->counts.changed += listed ? 1 : 0;
        loader->counts.added += listed ? 0 : 1;
        count_change(loader);
    }
}

static void drop(struct loader *loader, const struct entry *entry)
{
    int r = bl_list_remove(loader->list, loader->membership.feed, entry->name, entry->size);
    if (r < 0) {
        loader->error = r;
    } else {
        loader->counts.removed += (uint64_t)r;
        count_change(loader);
    }
}

/* What is new first, what vanished last. */
static void apply(struct loader *loader)
{
    const struct entries *entries = &loader->names.entries;
    for (size_t place = 0; place < entries->size && loader->error == 0;) {
        const struct entry *entry = entry_at(entries, place);
        add(loader, entry);
        place += entry_size(entry->size);
    }
    for (size_t place = 0; place < loader->vanished.size && loader->error == 0;) {
        const struct entry *entry = entry_at(&loader->vanished, place);
        drop(loader, entry);
        place += entry_size(entry->size);
    }
    bl_list_publish(loader->list);
}

static int loader_new(struct bl_list *list, const struct bl_source *source,
                      struct loader **ret_loader)
{
    struct loader *loader = calloc(1, sizeof(*loader));
    if (loader == NULL) {
        return -ENOMEM;
    }
    int r = bl_secret_make(&loader->names.secret);
    if (r < 0) {
        free(loader);
        return r;
    }
    loader->list = list;
    loader->source = source;
    loader->membership = source->membership;
    if (source->membership.action == BL_ACTION_DEFAULT &&
        bl_list_feed(list, source->membership.feed)->action == BL_ACTION_ALLOW) {
        loader->membership.action = BL_ACTION_ALLOW;
    }
    loader->guarded = source->guards != NULL && loader->membership.action != BL_ACTION_ALLOW;
    *ret_loader = loader;
    return 0;
}

/* After the last octets: `error` is 0 or what kept the text from being read. Frees the loader. */
static int loader_finish(struct loader *loader, int error, struct bl_source_counts *ret_counts)
{
    if (error == 0 && loader->error == 0 && loader->text_size > 0) {
        end_line(loader); /* the last line need not have an end */
    }
    if (error == 0 && loader->error == 0) {
        bl_list_walk(loader->list, loader->membership.feed, collect_vanished, loader);
    }
    if (error == 0 && loader->error == 0) {
        apply(loader);
    }
    int r = error < 0 ? error : loader->error;
    if (r == 0) {
        *ret_counts = loader->counts;
    }
    free(loader->vanished.octets);
    free(loader->names.entries.octets);
    free(loader->names.slots);
    free(loader);
    return r;
}

int bl_source_load_text(struct bl_list *list, const struct bl_source *source, const char *text,
                        size_t size, struct bl_source_counts *ret_counts)
{
    struct loader *loader;
    int r = loader_new(list, source, &loader);
    if (r < 0) {
        return r;
    }
    take_text(loader, text, size);
    return loader_finish(loader, 0, ret_counts);
}

/* Opens a plain file; anything else could keep the list's thread waiting. */
static int open_file(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        return -errno;
    }
    struct stat status;
    int r = fstat(file, &status) < 0 ? -errno : 0;
    if (r == 0 && !S_ISREG(status.st_mode)) {
        r = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    }
    if (r < 0) {
        close(file);
        return r;
    }
    return file;
}

static int read_file(struct loader *loader, int file)
{
    char octets[READ_SIZE];
    while (loader->error == 0) {
        ssize_t size = read(file, octets, sizeof(octets));
        if (size == 0) {
            break;
        }
        if (size < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        take_text(loader, octets, (size_t)size);
    }
    return 0;
}

int bl_source_load_file(struct bl_list *list, const struct bl_source *source, const char *path,
                        struct bl_source_counts *ret_counts)
{
    struct loader *loader;
    int file = open_file(path);
    if (file < 0) {
        return file;
    }
    int r = loader_new(list, source, &loader);
    if (r == 0) {
        r = read_file(loader, file);
        r = loader_finish(loader, r, ret_counts);
    }
    close(file);
    return r;
}
