/* Lines lie in an array in the order they were opened; a table of slots, twice as many, finds them
 * by hash. Closing moves what stays to the front of the array and fills the table anew:
 *
 *     count <= lines_max <= slot_count / 2
 *     slots[s] == 0, or lines[slots[s] - 1] hashes to s or a slot before it in its run */
#include "geo/fold.h"

#include "blocklist/name.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

struct open_line {
    uint64_t hash;
    uint8_t client_bits;
    struct tag tag;
    struct hit hit;
};

struct fold {
    struct bl_secret secret; /* clients choose names; they must not choose slots */
    int64_t now_s;           /* as of the last closing */
    bool due;                /* some line may be of another second than now_s and the next */
    uint32_t lines_max;
    uint32_t count;
    uint32_t slot_mask;
    struct open_line *lines;
    uint32_t *slots;
};

struct fold *fold_new(uint32_t lines_max)
{
    assert(lines_max > 0 && lines_max <= FOLD_LINES_MAX);

    struct fold *fold = calloc(1, sizeof *fold);
    if (fold == NULL) {
        return NULL;
    }
    uint32_t slot_count = 2;
    while (slot_count < 2 * lines_max) {
        slot_count *= 2;
    }
    fold->lines_max = lines_max;
    fold->slot_mask = slot_count - 1;
    fold->lines = calloc(lines_max, sizeof *fold->lines);
    fold->slots = calloc(slot_count, sizeof *fold->slots);
    if (fold->lines == NULL || fold->slots == NULL || bl_secret_make(&fold->secret) < 0) {
        fold_free(fold);
        return NULL;
    }
    return fold;
}

void fold_free(struct fold *fold)
{
    if (fold == NULL) {
        return;
    }
    free(fold->lines);
    free(fold->slots);
    free(fold);
}

/* Over what differs from line to line; feeds and the like hardly do for the same name. */
static uint64_t hash_of(const struct fold *fold, const struct hit *hit, const struct tag *tag)
{
    uint8_t octets[64 + 2 * HIT_NAME_SIZE_MAX];
    size_t size = 0;
    memcpy(octets, &hit->time_s, sizeof hit->time_s);
    size += sizeof hit->time_s;
    memcpy(octets + size, hit->client, sizeof hit->client);
    size += sizeof hit->client;
    memcpy(octets + size, &tag->asn, sizeof tag->asn);
    size += sizeof tag->asn;
    memcpy(octets + size, tag->country, 2);
    size += 2;
    memcpy(octets + size, &hit->type, sizeof hit->type);
    size += sizeof hit->type;
    octets[size++] = hit->transport;
    octets[size++] = hit->verified;
    octets[size++] = hit->name_size;
    memcpy(octets + size, hit->name, hit->name_size);
    size += hit->name_size;
    memcpy(octets + size, hit->chain, hit->chain_size);
    size += hit->chain_size;
    return XXH3_64bits_withSecret(octets, size, fold->secret.octets, sizeof fold->secret.octets);
}

static bool is_same(const char *a, const char *b)
{
    return a == b || strcmp(a, b) == 0;
}

/* Alike in everything but the count. */
static bool is_alike(const struct hit *a, const struct hit *b)
{
    return a->time_s == b->time_s && a->type == b->type && a->transport == b->transport &&
           a->verified == b->verified && a->entry_offset == b->entry_offset &&
           a->name_size == b->name_size && a->chain_size == b->chain_size &&
           memcmp(a->client, b->client, sizeof a->client) == 0 &&
           memcmp(a->name, b->name, a->name_size) == 0 &&
           memcmp(a->chain, b->chain, a->chain_size) == 0 && is_same(a->feed, b->feed) &&
           is_same(a->action, b->action) && is_same(a->category, b->category) &&
           is_same(a->family, b->family) && is_same(a->tier, b->tier);
}

static bool is_of_line(const struct open_line *line, uint64_t hash, const struct hit *hit,
                       const struct tag *tag, uint8_t client_bits)
{
    return line->hash == hash && line->client_bits == client_bits && line->tag.asn == tag->asn &&
           memcmp(line->tag.country, tag->country, 2) == 0 && is_alike(&line->hit, hit);
}

static bool is_due(const struct fold *fold, int64_t time_s)
{
    return time_s != fold->now_s && time_s != fold->now_s + 1;
}

bool fold_add(struct fold *fold, const struct hit *hit, const struct tag *tag, uint8_t client_bits)
{
    uint64_t hash = hash_of(fold, hit, tag);
    uint32_t slot = (uint32_t)hash & fold->slot_mask;
    while (fold->slots[slot] != 0) {
        struct open_line *line = &fold->lines[fold->slots[slot] - 1];
        if (is_of_line(line, hash, hit, tag, client_bits)) {
            line->hit.count += hit->count;
            return true;
        }
        slot = (slot + 1) & fold->slot_mask;
    }
    if (fold->count == fold->lines_max) {
        return false;
    }
    struct open_line *line = &fold->lines[fold->count++];
    fold->slots[slot] = fold->count;
    fold->due = fold->due || is_due(fold, hit->time_s);
    *line = (struct open_line){.hash = hash, .client_bits = client_bits, .tag = *tag, .hit = *hit};
    return true;
}

/* Fills the table for lines that have moved. */
static void find_slots(struct fold *fold)
{
    memset(fold->slots, 0, ((size_t)fold->slot_mask + 1) * sizeof *fold->slots);
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t slot = (uint32_t)fold->lines[i].hash & fold->slot_mask;
        while (fold->slots[slot] != 0) {
            slot = (slot + 1) & fold->slot_mask;
        }
        fold->slots[slot] = i + 1;
    }
}

static void close_lines(struct fold *fold, bool all,
                        bool (*write)(void *context, const struct hitline *line), void *context)
{
    bool room = true;
    uint32_t kept = 0;

    fold->due = false;
    for (uint32_t i = 0; i < fold->count; i++) {
        struct open_line *line = &fold->lines[i];
        if (all || is_due(fold, line->hit.time_s)) {
            struct hitline text = {
                .hit = &line->hit, .tag = &line->tag, .client_bits = line->client_bits};
            room = room && write(context, &text);
            if (room) {
                continue;
            }
            fold->due = true;
        }
        if (kept != i) {
            fold->lines[kept] = *line;
        }
        kept++;
    }
    if (kept != fold->count) {
        fold->count = kept;
        find_slots(fold);
    }
}

void fold_close(struct fold *fold, int64_t now_s,
                bool (*write)(void *context, const struct hitline *line), void *context)
{
    if (now_s == fold->now_s && !fold->due) {
        return;
    }
    fold->now_s = now_s;
    close_lines(fold, false, write, context);
}

void fold_close_all(struct fold *fold, bool (*write)(void *context, const struct hitline *line),
                    void *context)
{
    close_lines(fold, true, write, context);
}

uint32_t fold_lines(const struct fold *fold)
{
    return fold->count;
}
