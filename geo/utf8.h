/* utf8.h - where well-formed UTF-8 ends: foreign texts (databases, feeds) go into JSON, which must
 * be UTF-8 throughout. */
#ifndef GEO_UTF8_H
#define GEO_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The size, 1 to 4, of the well-formed sequence (RFC 3629, section 4) that the `size` octets at
 * `at` begin with; 0 if they begin with none. `size` is at least 1. */
size_t utf8_sequence_size(const uint8_t *at, size_t size);

#endif
