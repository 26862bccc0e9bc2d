/* utf8.h - is it text? */
#ifndef RESOLVER_UTF8_H
#define RESOLVER_UTF8_H

#include <stddef.h>

/* Octets of the well-formed UTF-8 character (RFC 3629, 4) that `text` begins with: 1..4, or 0 when
 * there is none. `text` holds `size` octets. */
size_t utf8_character(const char *text, size_t size);

#endif
