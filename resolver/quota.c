#include "resolver/quota.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define IPV6_PREFIX_SIZE 7u /* octets of a /56: what one subscriber usually gets */

/* Linear probing. A row with count 0 is empty; removing one moves later rows of its run back, so
 * that every row is reached from its home without meeting an empty one. At most half the rows are
 * used. */
struct row {
    uint8_t prefix[16];
    uint32_t count;
};

struct quota {
    const struct bl_secret *secret;
    uint32_t used;
    uint32_t used_max;
    uint32_t mask;
    struct row rows[];
};

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static void prefix_of(const uint8_t address[static 16], uint8_t ret_prefix[static 16])
{
    memset(ret_prefix, 0, 16);
    memcpy(ret_prefix, address, memcmp(address, mapped, 12) == 0 ? 16 : IPV6_PREFIX_SIZE);
}

static uint32_t home(const struct quota *quota, const uint8_t *prefix)
{
    return (uint32_t)bl_name_hash(quota->secret, prefix, 16) & quota->mask;
}

/* The prefix's row, or the empty one where it would stand. */
static uint32_t find(const struct quota *quota, const uint8_t *prefix)
{
    uint32_t at = home(quota, prefix);
    while (quota->rows[at].count > 0 && memcmp(quota->rows[at].prefix, prefix, 16) != 0) {
        at = (at + 1) & quota->mask;
    }
    return at;
}

struct quota *quota_new(uint32_t prefixes_max, const struct bl_secret *secret)
{
    assert(prefixes_max > 0 && prefixes_max <= 1u << 28);
    uint32_t size = 4;
    while (size < prefixes_max * 2) {
        size *= 2;
    }
    struct quota *quota = calloc(1, sizeof(*quota) + size * sizeof(quota->rows[0]));
    if (quota != NULL) {
        quota->secret = secret;
        quota->used_max = prefixes_max;
        quota->mask = size - 1;
    }
    return quota;
}

void quota_free(struct quota *quota)
{
    free(quota);
}

bool quota_take(struct quota *quota, const uint8_t address[static 16], uint32_t each_max)
{
    uint8_t prefix[16];
    prefix_of(address, prefix);
    struct row *row = &quota->rows[find(quota, prefix)];
    if (row->count >= each_max || (row->count == 0 && quota->used == quota->used_max)) {
        return false;
    }
    if (row->count == 0) {
        memcpy(row->prefix, prefix, 16);
        quota->used++;
    }
    row->count++;
    return true;
}

static void remove_row(struct quota *quota, uint32_t hole)
{
    quota->used--;
    for (uint32_t at = (hole + 1) & quota->mask; quota->rows[at].count > 0;
         at = (at + 1) & quota->mask) {
        uint32_t from_home = (at - home(quota, quota->rows[at].prefix)) & quota->mask;
        if (from_home >= ((at - hole) & quota->mask)) {
            quota->rows[hole] = quota->rows[at];
            quota->rows[at].count = 0;
            hole = at;
        }
    }
}

void quota_give(struct quota *quota, const uint8_t address[static 16])
{
    uint8_t prefix[16];
    prefix_of(address, prefix);
    uint32_t at = find(quota, prefix);
    assert(quota->rows[at].count > 0);
    if (--quota->rows[at].count == 0) {
        remove_row(quota, at);
    }
}

uint32_t quota_count(const struct quota *quota, const uint8_t address[static 16])
{
    uint8_t prefix[16];
    prefix_of(address, prefix);
    return quota->rows[find(quota, prefix)].count;
}
