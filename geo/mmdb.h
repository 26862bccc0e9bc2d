/* mmdb.h - which country or which network an address belongs to, by a MaxMind DB.
 *
 * The file is read whole into memory at opening, so that one that is later overwritten, cut short
 * or on a stalled disk harms nobody. Two layouts of each kind are known: MaxMind's
 * (country.iso_code; autonomous_system_number and autonomous_system_organization) and that of the
 * free databases (country_code, or country as a text; asn as a number or as "AS64496", and
 * as_name). The format: https://maxmind.github.io/MaxMind-DB/ .
 *
 * The file is the operator's: it may be wrong or damaged, and then gives errors or no country, but
 * libmaxminddb is trusted to stay within it. An open database is read by any number of threads. */
#ifndef GEO_MMDB_H
#define GEO_MMDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MMDB_ADDRESS_SIZE 16u          /* IPv6, or IPv4 mapped (::ffff:0:0/96) */
#define MMDB_FILE_SIZE_MAX 0x20000000u /* 512 MiB: the largest ones sold are below 200 MiB */
#define MMDB_AS_NAME_SIZE_MAX 96u      /* with the NUL; longer names are cut at a whole character */
#define MMDB_ERROR_SIZE 256u           /* what a message's buffer must hold */

enum mmdb_kind { MMDB_COUNTRY, MMDB_ASN };

struct mmdb;

/* Opens `path` and makes sure that its records are of the kind asked for. On failure -errno, and in
 * ret_error (MMDB_ERROR_SIZE octets) what is wrong with which file and what to do. */
int mmdb_open(const char *path, enum mmdb_kind kind, struct mmdb **ret_mmdb, char *ret_error);
/* NULL is fine. */
void mmdb_close(struct mmdb *mmdb);

/* When the database was built, seconds since 1970 UTC, as it says itself. */
int64_t mmdb_build_s(const struct mmdb *mmdb);

struct mmdb_record {
    /* The length of the prefix that all this is said of, of 128 bits; IPv4 counts as ::a.b.c.d/96+n
     * in either kind of tree. */
    unsigned prefix_bits;
    char country[3];                     /* two capitals; "ZZ": none */
    uint32_t asn;                        /* 0: none */
    char as_name[MMDB_AS_NAME_SIZE_MAX]; /* UTF-8 without control characters; "": none */
};

/* An address without an entry, or whose entry has no usable country or number, is no error: it has
 * none. -EBADMSG when the database is damaged where the address leads. */
int mmdb_find(const struct mmdb *mmdb, const uint8_t address[static MMDB_ADDRESS_SIZE],
              struct mmdb_record *ret_record);

/* Whether an address says nothing of a place, so that no database is asked: private, shared
 * (CGNAT), loopback, link-local, unique local, multicast, unspecified, reserved (RFC 6890 and its
 * registries; documentation prefixes do not count, they are how examples and tests speak of the
 * Internet). */
bool mmdb_is_local(const uint8_t address[static MMDB_ADDRESS_SIZE]);

#endif
