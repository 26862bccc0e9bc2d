/* A packet of the recursor's through the reader of answers, and what a client gets of it through
 * the same reader again: it must be whole, and say the same. The first octet chooses type
 * and DO. */
#include "resolver/answer.h"
#include "resolver/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t name[] = "\3www\7example";
static const struct message_ttls ttls = {.min_s = 0, .max_s = 86400, .negative_s = 3600};

static void check_client_gets(const struct message *message, uint16_t type, bool dnssec)
{
    static uint8_t out[MESSAGE_SIZE_MAX];
    static struct message_scratch scratch;
    static const size_t limits[] = {ANSWER_SIZE_MIN, 1232, MESSAGE_SIZE_MAX};
    struct question question = {.flags = DNS_FLAG_RD,
                                .type = type,
                                .class = DNS_IN,
                                .edns = dnssec,
                                .dnssec_ok = dnssec,
                                .name_size = sizeof(name),
                                .spelled = name};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        bool truncated;
        size_t size = answer_message(&question, message, 0, out, limits[i], &truncated);
        if (size > limits[i]) {
            abort();
        }
        uint8_t *copy = malloc(size); /* reading past its end is a crash */
        if (copy == NULL) {
            abort();
        }
        memcpy(copy, out, size);
        struct message again;
        int r = message_read(copy, size, name, sizeof(name), type, dnssec, &ttls, &scratch, &again);
        free(copy);
        if (r != 0 && r != -EMSGSIZE) {
            abort();
        }
        bool whole = r == 0 && !truncated;
        if (whole &&
            (again.counts[0] != message->counts[0] || again.chain_count != message->chain_count ||
             memcmp(again.chain, message->chain, message->chain_size) != 0)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t types[] = {DNS_A, DNS_CNAME, DNS_MX, DNS_SOA, DNS_RRSIG, DNS_NSEC};
    static struct message_scratch scratch;
    struct message message;

    if (size == 0 || size > MESSAGE_SIZE_MAX) {
        return 0;
    }
    uint16_t type = types[(data[0] >> 1) % (sizeof(types) / sizeof(types[0]))];
    if (message_read(data + 1, size - 1, name, sizeof(name), type, (data[0] & 1) != 0, &ttls,
                     &scratch, &message) == 0) {
        for (uint16_t i = 0; i < message.ttl_count; i++) {
            if (message.ttls[i] + 4u > message.body_size) {
                abort();
            }
        }
        const uint8_t *link = message.chain;
        for (uint8_t i = 0; i < message.chain_count; i++) {
            int link_size =
                bl_name_check(link, (size_t)(message.chain + message.chain_size - link));
            if (link_size < 0) {
                abort();
            }
            link += link_size;
        }
        if (link != message.chain + message.chain_size) {
            abort();
        }
        check_client_gets(&message, type, (data[0] & 1) != 0);
    }
    return 0;
}
