/* answer.h - answers in wire form, made behind the client's own question.
 *
 * Each function writes a whole message of at most `limit` octets to `out` and returns its size,
 * which is at least a header's. `limit` is what the client can take: 512 or more. The question
 * section keeps the client's spelling; an OPT record is added when the client sent one. What does
 * not fit is cut as RFC 2181, 9 allows, or replaced by TC. Nothing here allocates. */
#ifndef RESOLVER_ANSWER_H
#define RESOLVER_ANSWER_H

#include "resolver/config.h"
#include "resolver/message.h"
#include "resolver/question.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWER_SIZE_MIN 512u

/* Extended DNS errors in use (RFC 8914, 4). */
enum answer_ede {
    ANSWER_EDE_NONE = -1,
    ANSWER_EDE_OTHER = 0,
    ANSWER_EDE_BOGUS = 6,
    ANSWER_EDE_NOT_READY = 14,
    ANSWER_EDE_BLOCKED = 15,
    ANSWER_EDE_CENSORED = 16, /* a legal order */
    ANSWER_EDE_PROHIBITED = 18,
    ANSWER_EDE_NOT_AUTHORITATIVE = 20,
    ANSWER_EDE_NO_REACHABLE_AUTHORITY = 22,
};

/* An answer without records. `text` (NUL-ended) goes with the extended error. */
size_t answer_error(const struct question *question, enum dns_rcode rcode, enum answer_ede ede,
                    const char *text, uint8_t *out, size_t limit);

/* For a packet whose question could not be read: a header alone (id and flags must be valid). */
size_t answer_unreadable(const struct question *question, enum dns_rcode rcode, uint8_t *out);

/* For a question that the list decided: `action` is ADDRESS, NXDOMAIN, NODATA or REFUSED. `offset`
 * is where in the question's name the listed name starts, which names the SOA. `censored`: by a
 * legal order. Never carries AD. */
size_t answer_listed(const struct question *question, const struct config_sinkhole *sinkhole,
                     enum bl_action action, uint8_t offset, const char *label, bool censored,
                     uint8_t *out, size_t limit);

/* ANY for a name that is not listed: one HINFO record (RFC 8482, 4.2). */
size_t answer_any(const struct question *question, uint8_t *out, size_t limit);

/* Recursion's or the cache's answer, its TTLs lowered by `age_s`. *ret_truncated: TC was set. */
size_t answer_message(const struct question *question, const struct message *message,
                      uint32_t age_s, uint8_t *out, size_t limit, bool *ret_truncated);

/* The rcode in an answer written by one of the above, OPT's upper bits left out. */
static inline unsigned answer_rcode(const uint8_t *answer)
{
    return answer[3] & 0x0fu;
}

#endif
