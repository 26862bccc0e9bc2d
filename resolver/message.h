/* message.h - recursion's answer, made into what clients get and the cache keeps.
 *
 * libunbound answers with DO set: signatures, proofs, its own OPT, and names compressed against
 * records that a client without DO must not see. message_read() takes the packet apart and writes
 * the records a client is to have anew, names compressed against the question and each other, so
 * that a body fits behind any client's header and question of the same name.
 *
 * The additional section is left out: it answers what nobody asked (addresses of name servers and
 * of mail servers), and its names are not held against the list.
 *
 * The packet is hostile: it comes from the recursor, which reads the Internet. Nothing here
 * allocates. */
#ifndef RESOLVER_MESSAGE_H
#define RESOLVER_MESSAGE_H

#include "resolver/limits.h"
#include "resolver/question.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_SECTIONS 2u       /* answer and authority */
#define MESSAGE_RECORDS_MAX 8192u /* records kept of one answer: 64 KiB hold fewer than 6,000 */

/* An answer for a question of one name, type and class, whoever asks. Data elsewhere is borrowed:
 * the scratch of message_read(), or a cache entry. */
struct message {
    uint8_t rcode;                     /* enum dns_rcode, below 16 */
    bool secure;                       /* validated: AD may be set */
    bool negative;                     /* NXDOMAIN or no data */
    uint16_t counts[MESSAGE_SECTIONS]; /* answer and authority records */
    uint16_t answer_end;               /* octets of the body that are the answer section */
    uint16_t body_size;
    uint16_t ttl_count;
    uint32_t
        ttl_s; /* how long it holds: the least TTL, RFC 2308 for negative ones; 0: do not keep */
    uint16_t ede_code; /* RFC 8914 info code; meaningful if has_ede */
    bool has_ede;
    uint8_t ede_size;    /* octets of text */
    uint8_t chain_count; /* CNAME targets in the answer */
    uint16_t chain_size;
    const uint8_t *body;  /* the sections; pointers count from a header and question before it */
    const uint16_t *ttls; /* offsets of TTL fields in the body */
    const uint8_t *chain; /* the targets, wire form, lowered, one behind the other */
    const char *ede_text; /* ede_size octets */
};

struct message_scratch {
    uint8_t body[MESSAGE_SIZE_MAX];
    uint16_t ttls[MESSAGE_RECORDS_MAX];
    uint8_t chain[CHAIN_NAMES_MAX * BL_NAME_SIZE_MAX];
};

/* Bounds laid on the TTLs, in seconds. */
struct message_ttls {
    uint32_t min_s;
    uint32_t max_s;
    uint32_t negative_s;
};

/* Reads `packet`, the answer to (name, type), into *ret_message, whose data lie in *scratch.
 * Without `dnssec`, RRSIG, NSEC, NSEC3 and DS records that were not asked for by type are left out.
 * `secure` is the caller's to set; ede is cleared.
 *
 * -EBADMSG   malformed, or not an answer to this question
 * -ELOOP     more than CHAIN_NAMES_MAX links in its CNAME chain
 * -EMSGSIZE  the body would pass what a message can hold */
int message_read(const uint8_t *packet, size_t size, const uint8_t *name, size_t name_size,
                 uint16_t type, bool dnssec, const struct message_ttls *ttls,
                 struct message_scratch *scratch, struct message *ret_message);

#endif
