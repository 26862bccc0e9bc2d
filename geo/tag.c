#include "geo/tag.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Direct-mapped: two busy prefixes that share a slot cost look-ups, never a wrong answer. */
#define CACHE_BITS 14u /* 16,384 prefixes, 1.9 MB: a large ISP's worth of /24s */
#define CACHE_SIZE (1u << CACHE_BITS)

#define IPV4_KEPT_BITS (96u + 24u)
#define IPV6_KEPT_BITS 48u

/* Keys are the prefix's octets with one of these above them; 0 is an empty slot's. */
#define KEY_IPV4 (UINT64_C(1) << 48)
#define KEY_IPV6 (UINT64_C(2) << 48)

struct remembered {
    uint64_t key;
    struct tag tag;
};

struct tagger {
    struct mmdb *country;
    struct mmdb *asn;
    uint64_t failures;
    struct tag once; /* lent when the cache must not remember */
    struct remembered *cache;
};

static const struct tag local_tag = {.country = "XX"};

struct tagger *tagger_new(void)
{
    struct tagger *tagger = calloc(1, sizeof *tagger);
    if (tagger == NULL) {
        return NULL;
    }
    tagger->cache = calloc(CACHE_SIZE, sizeof *tagger->cache);
    if (tagger->cache == NULL) {
        free(tagger);
        return NULL;
    }
    return tagger;
}

void tagger_free(struct tagger *tagger)
{
    if (tagger == NULL) {
        return;
    }
    mmdb_close(tagger->country);
    mmdb_close(tagger->asn);
    free(tagger->cache);
    free(tagger);
}

void tagger_take(struct tagger *tagger, struct mmdb *country, struct mmdb *asn)
{
    mmdb_close(tagger->country);
    mmdb_close(tagger->asn);
    tagger->country = country;
    tagger->asn = asn;
    memset(tagger->cache, 0, CACHE_SIZE * sizeof *tagger->cache);
}

static uint64_t key_of(const uint8_t *address, unsigned *ret_kept_bits)
{
    static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};
    bool ipv4 = memcmp(address, mapped_prefix, sizeof mapped_prefix) == 0;
    const uint8_t *octets = ipv4 ? address + sizeof mapped_prefix : address;
    unsigned size = ipv4 ? 3 : 6;
    uint64_t key = 0;
    for (unsigned i = 0; i < size; i++) {
        key = key << 8 | octets[i];
    }
    *ret_kept_bits = ipv4 ? IPV4_KEPT_BITS : IPV6_KEPT_BITS;
    return key | (ipv4 ? KEY_IPV4 : KEY_IPV6);
}

/* Fibonacci hashing: neighbours, as clients' prefixes are, go to slots far apart. */
static size_t slot_of(uint64_t key)
{
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - CACHE_BITS));
}

/* Returns whether what was found holds for the whole prefix that the cache remembers. */
static bool look_up(struct tagger *tagger, const uint8_t *address, unsigned kept_bits,
                    struct tag *ret_tag)
{
    bool holds = true;
    struct mmdb_record record;

    *ret_tag = (struct tag){.country = "ZZ"};
    if (tagger->country != NULL) {
        if (mmdb_find(tagger->country, address, &record) == 0) {
            memcpy(ret_tag->country, record.country, sizeof ret_tag->country);
            holds = record.prefix_bits <= kept_bits;
        } else {
            tagger->failures++;
            holds = false;
        }
    }
    if (tagger->asn != NULL) {
        if (mmdb_find(tagger->asn, address, &record) == 0) {
            ret_tag->asn = record.asn;
            memcpy(ret_tag->as_name, record.as_name, sizeof ret_tag->as_name);
            holds = holds && record.prefix_bits <= kept_bits;
        } else {
            tagger->failures++;
            holds = false;
        }
    }
    return holds;
}

const struct tag *tagger_get(struct tagger *tagger, const uint8_t address[static MMDB_ADDRESS_SIZE])
{
    if (mmdb_is_local(address)) {
        return &local_tag;
    }
    unsigned kept_bits = 0;
    uint64_t key = key_of(address, &kept_bits);
    struct remembered *slot = &tagger->cache[slot_of(key)];
    if (slot->key == key) {
        return &slot->tag;
    }
    if (!look_up(tagger, address, kept_bits, &tagger->once)) {
        return &tagger->once;
    }
    slot->key = key;
    slot->tag = tagger->once;
    return &slot->tag;
}

uint64_t tagger_failures(const struct tagger *tagger)
{
    return tagger->failures;
}
