/* tag.h - an address's country and network: local addresses by rule, the others by database, with
 * what was found last remembered for each /24 of IPv4 and /48 of IPv6 (a look-up costs ten times
 * what remembering does). Where a database tells apart what lies within such a prefix, nothing is
 * remembered of it, so an answer is always the databases' own. One thread uses a tagger. */
#ifndef GEO_TAG_H
#define GEO_TAG_H

#include "geo/mmdb.h"

struct tag {
    uint32_t asn;                        /* 0: unknown */
    char country[3];                     /* "XX": a local address; "ZZ": unknown */
    char as_name[MMDB_AS_NAME_SIZE_MAX]; /* "": unknown */
};

struct tagger;

/* A tagger without databases. NULL when memory is short. */
struct tagger *tagger_new(void);
/* Closes the databases. NULL is fine. */
void tagger_free(struct tagger *tagger);

/* Takes the databases over, either may be NULL, and closes those it had. */
void tagger_take(struct tagger *tagger, struct mmdb *country, struct mmdb *asn);

/* Lends the tag of an address until the next call. */
const struct tag *tagger_get(struct tagger *tagger,
                             const uint8_t address[static MMDB_ADDRESS_SIZE]);

/* Look-ups that met damage in a database; what they were for is unknown. */
uint64_t tagger_failures(const struct tagger *tagger);

#endif
