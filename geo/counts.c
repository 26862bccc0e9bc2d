#include "geo/counts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#define SLOT_COUNT 8192u /* a power of two, and twice the rows: probing stays short */
#define LETTERS 26u

static_assert(SLOT_COUNT >= 2 * COUNTS_FEEDS_MAX, "an empty slot ends each probe");
static_assert(COUNTS_FEEDS_MAX < UINT16_MAX, "slots hold row numbers in 16 bits");

struct counts {
    uint64_t total;
    uint64_t
        countries[LETTERS * LETTERS]; /* every pair of letters has its own: nothing overflows */
    struct tally_count other;
    size_t row_count;
    struct tally_count rows[COUNTS_FEEDS_MAX];
    uint16_t slots[SLOT_COUNT]; /* a row's number plus one; 0: empty */
};

struct counts *counts_new(void)
{
    struct counts *counts = calloc(1, sizeof *counts);
    if (counts == NULL) {
        return NULL;
    }
    counts->other = (struct tally_count){.feed = "other", .category = "", .action = ""};
    return counts;
}

void counts_free(struct counts *counts)
{
    free(counts);
}

/* The words are the list's own and few: nobody outside can choose them to collide. */
static size_t slot_of(const struct hit *hit)
{
    XXH64_hash_t hash = XXH3_64bits(hit->feed, strlen(hit->feed));
    hash = XXH3_64bits_withSeed(hit->category, strlen(hit->category), hash);
    hash = XXH3_64bits_withSeed(hit->action, strlen(hit->action), hash);
    return (size_t)hash & (SLOT_COUNT - 1);
}

static bool is_same(const char *a, const char *b)
{
    return a == b || strcmp(a, b) == 0;
}

static struct tally_count *row_of(struct counts *counts, const struct hit *hit)
{
    size_t slot = slot_of(hit);
    while (counts->slots[slot] != 0) {
        struct tally_count *row = &counts->rows[counts->slots[slot] - 1u];
        if (is_same(row->feed, hit->feed) && is_same(row->category, hit->category) &&
            is_same(row->action, hit->action)) {
            return row;
        }
        slot = (slot + 1) & (SLOT_COUNT - 1);
    }
    if (counts->row_count == COUNTS_FEEDS_MAX) {
        return &counts->other;
    }
    struct tally_count *row = &counts->rows[counts->row_count++];
    counts->slots[slot] = (uint16_t)counts->row_count;
    *row =
        (struct tally_count){.feed = hit->feed, .category = hit->category, .action = hit->action};
    return row;
}

void counts_add(struct counts *counts, const struct hit *hit, const char country[static 2])
{
    unsigned first = (unsigned)(country[0] - 'A');
    unsigned second = (unsigned)(country[1] - 'A');
    assert(first < LETTERS && second < LETTERS);

    counts->total += hit->count;
    counts->countries[first * LETTERS + second] += hit->count;
    row_of(counts, hit)->count += hit->count;
}

uint64_t counts_total(const struct counts *counts)
{
    return counts->total;
}

void counts_by_feed(const struct counts *counts,
                    void (*call)(void *context, const struct tally_count *count), void *context)
{
    for (size_t i = 0; i < counts->row_count; i++) {
        call(context, &counts->rows[i]);
    }
    if (counts->other.count > 0) {
        call(context, &counts->other);
    }
}

void counts_by_country(const struct counts *counts,
                       void (*call)(void *context, const struct tally_count *count), void *context)
{
    for (unsigned i = 0; i < LETTERS * LETTERS; i++) {
        if (counts->countries[i] == 0) {
            continue;
        }
        struct tally_count count = {
            .feed = "",
            .category = "",
            .action = "",
            .country = {(char)('A' + i / LETTERS), (char)('A' + i % LETTERS)},
            .count = counts->countries[i],
        };
        call(context, &count);
    }
}
