/* quota.h - how many questions each client prefix has in flight: exact, and of fixed size.
 *
 * One thread's. A prefix is 16 octets: an IPv4 client's mapped address whole, an IPv6
 * client's /56. */
#ifndef RESOLVER_QUOTA_H
#define RESOLVER_QUOTA_H

#include "blocklist/name.h"

#include <stdbool.h>
#include <stdint.h>

struct quota;

/* Room for `prefixes_max` prefixes at once. The secret is borrowed. NULL when memory is short. */
struct quota *quota_new(uint32_t prefixes_max, const struct bl_secret *secret);
void quota_free(struct quota *quota);

/* Takes one of the client's `each_max`; false when all are taken. */
bool quota_take(struct quota *quota, const uint8_t address[static 16], uint32_t each_max);

/* Gives back one that was taken for the same client. */
void quota_give(struct quota *quota, const uint8_t address[static 16]);

/* What the client has in flight. */
uint32_t quota_count(const struct quota *quota, const uint8_t address[static 16]);

#endif
