#include "resolver/ctl/entries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE ((size_t)1 << 20)

struct ctl_text_block {
    struct ctl_text_block *next;
    size_t used;
    size_t size;
    char octets[];
};

void ctl_entries_done(struct ctl_entries *entries)
{
    while (entries->blocks != NULL) {
        struct ctl_text_block *block = entries->blocks;
        entries->blocks = block->next;
        free(block);
    }
    free(entries->items);
    memset(entries, 0, sizeof(*entries));
}

/* Copies a text, NUL-ended. */
static const char *keep(struct ctl_entries *entries, const char *text, size_t size)
{
    struct ctl_text_block *block = entries->blocks;

    if (size == 0) {
        return "";
    }
    if (block == NULL || block->size - block->used < size + 1) {
        size_t block_size = size + 1 > BLOCK_SIZE ? size + 1 : BLOCK_SIZE;
        block = malloc(sizeof(*block) + block_size);
        if (block == NULL) {
            return NULL;
        }
        block->next = entries->blocks;
        block->used = 0;
        block->size = block_size;
        entries->blocks = block;
    }
    char *kept = block->octets + block->used;
    memcpy(kept, text, size);
    kept[size] = '\0';
    block->used += size + 1;
    return kept;
}

int ctl_entries_add(struct ctl_entries *entries, const char *name, size_t name_size,
                    const char *value, size_t value_size)
{
    if (entries->count == CTL_ENTRIES_MAX) {
        return -EFBIG;
    }
    if (entries->count == entries->room) {
        size_t room = entries->room > 0 ? entries->room * 2 : 1024;
        struct ctl_entry *items = realloc(entries->items, room * sizeof(items[0]));
        if (items == NULL) {
            return -ENOMEM;
        }
        entries->items = items;
        entries->room = room;
    }
    struct ctl_entry entry = {keep(entries, name, name_size), keep(entries, value, value_size)};
    if (entry.name == NULL || entry.value == NULL) {
        return -ENOMEM;
    }
    entries->items[entries->count++] = entry;
    return 0;
}

static bool is_exact(const char *value)
{
    return value[0] == 'x' && (value[1] == '\0' || value[1] == ';');
}

static int compare(const void *left, const void *right)
{
    const struct ctl_entry *a = left;
    const struct ctl_entry *b = right;
    int order = strcmp(a->name, b->name);

    if (order == 0) {
        order = (int)is_exact(a->value) - (int)is_exact(b->value);
    }
    /* qsort() is not stable: the order of equal ones must not depend on it. */
    return order != 0 ? order : strcmp(a->value, b->value);
}

size_t ctl_entries_order(struct ctl_entries *entries)
{
    size_t kept = 0;

    if (entries->count == 0) {
        return 0;
    }
    qsort(entries->items, entries->count, sizeof(entries->items[0]), compare);
    for (size_t i = 0; i < entries->count; i++) {
        if (kept == 0 || strcmp(entries->items[kept - 1].name, entries->items[i].name) != 0) {
            entries->items[kept++] = entries->items[i];
        }
    }
    size_t taken_out = entries->count - kept;
    entries->count = kept;
    return taken_out;
}

int ctl_difference(const struct ctl_entries *present, const struct ctl_entries *wanted,
                   bool replace,
                   int (*call)(void *context, enum ctl_difference kind,
                               const struct ctl_entry *entry),
                   void *context, struct ctl_difference_counts *ret_counts)
{
    struct ctl_difference_counts *counts = ret_counts;
    size_t old = 0;
    size_t new = 0;
    int r = 0;

    memset(counts, 0, sizeof(*counts));
    while (r >= 0 && (old < present->count || new < wanted->count)) {
        const struct ctl_entry *is = old < present->count ? &present->items[old] : NULL;
        const struct ctl_entry *want = new < wanted->count ? &wanted->items[new] : NULL;
        int order = is == NULL ? 1 : want == NULL ? -1 : strcmp(is->name, want->name);

        old += order <= 0;
        new += order >= 0;
        if (order == 0 && strcmp(is->value, want->value) == 0) {
            counts->unchanged++;
        } else if (order >= 0) {
            enum ctl_difference kind = order > 0 ? CTL_ADDED : CTL_CHANGED;
            counts->added += kind == CTL_ADDED;
            counts->changed += kind == CTL_CHANGED;
            r = call != NULL ? call(context, kind, want) : 0;
        } else if (replace) {
            counts->removed++;
            r = call != NULL ? call(context, CTL_REMOVED, is) : 0;
        } else {
            counts->unchanged++;
        }
    }
    return r < 0 ? r : 0;
}
