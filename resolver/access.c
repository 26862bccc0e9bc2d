#include "resolver/access.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct range {
    uint8_t first[16];
    uint8_t last[16];
};

/* Sorted by `first`; no two ranges touch the same address. */
struct access {
    size_t count;
    struct range ranges[];
};

static int by_first(const void *a, const void *b)
{
    return memcmp(((const struct range *)a)->first, ((const struct range *)b)->first, 16);
}

static struct range range_of(const struct config_prefix *prefix)
{
    struct range range;
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = prefix->bits >= 8 * (i + 1) ? 8
                        : prefix->bits > 8 * i      ? prefix->bits - 8 * i
                                                    : 0;
        uint8_t mask = (uint8_t)(0xff00u >> kept);
        range.first[i] = prefix->address[i] & mask;
        range.last[i] = range.first[i] | (uint8_t)~mask;
    }
    return range;
}

struct access *access_new(const struct config_prefix *prefixes, size_t count)
{
    struct access *access = malloc(sizeof(*access) + count * sizeof(access->ranges[0]));
    if (access == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        access->ranges[i] = range_of(&prefixes[i]);
    }
    qsort(access->ranges, count, sizeof(access->ranges[0]), by_first);

    /* Prefixes nest or are apart, so one that starts inside the last range kept ends inside it. */
    access->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct range *kept = access->count > 0 ? &access->ranges[access->count - 1] : NULL;
        if (kept != NULL && memcmp(access->ranges[i].first, kept->last, 16) <= 0) {
            if (memcmp(access->ranges[i].last, kept->last, 16) > 0) {
                memcpy(kept->last, access->ranges[i].last, 16);
            }
            continue;
        }
        access->ranges[access->count++] = access->ranges[i];
    }
    return access;
}

void access_free(struct access *access)
{
    free(access);
}

bool access_allows(const struct access *access, const uint8_t address[static 16])
{
    size_t low = 0;
    size_t high = access->count; /* ranges below `low` start at or before the address */

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(access->ranges[middle].first, address, 16) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && memcmp(address, access->ranges[low - 1].last, 16) <= 0;
}
