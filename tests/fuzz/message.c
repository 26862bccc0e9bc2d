/* A packet of the recursor's through the reader of answers. The first octet chooses type and DO. */
#include "resolver/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t name[] = "\3www\7example";
    static const uint16_t types[] = {DNS_A, DNS_CNAME, DNS_MX, DNS_SOA, DNS_RRSIG, DNS_NSEC};
    static const struct message_ttls ttls = {.min_s = 0, .max_s = 86400, .negative_s = 3600};
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
    }
    return 0;
}
