/* access.h - which clients may ask: the prefixes of access.allow as sorted, disjoint ranges. */
#ifndef RESOLVER_ACCESS_H
#define RESOLVER_ACCESS_H

#include "resolver/config.h"

#include <stdbool.h>
#include <stdint.h>

struct access;

/* Immutable. NULL when memory is short. */
struct access *access_new(const struct config_prefix *prefixes, size_t count);
void access_free(struct access *access); /* NULL is fine */

/* `address`: IPv6, or IPv4 mapped (::ffff:0:0/96). */
bool access_allows(const struct access *access, const uint8_t address[static 16]);

#endif
