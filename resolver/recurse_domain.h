/* recurse_domain.h - the part of a name that goes to one recursor. */
#ifndef RESOLVER_RECURSE_DOMAIN_H
#define RESOLVER_RECURSE_DOMAIN_H

#include <stddef.h>
#include <stdint.h>

/* The offset of the registrable domain (one label below the public suffix) in a well-formed,
 * lowered name. 0, the whole name, when there is none: a public suffix itself, or labels of other
 * octets than host names have. Allocates nothing. */
size_t recurse_registrable_at(const uint8_t *name, size_t name_size);

#endif
