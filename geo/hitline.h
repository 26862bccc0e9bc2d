/* hitline.h - one line of the hit log: a JSON object (RFC 8259) and a newline. geo/README.md lists
 * its fields. */
#ifndef GEO_HITLINE_H
#define GEO_HITLINE_H

#include "geo/hit.h"
#include "geo/tag.h"

#define HITLINE_WORD_SIZE_MAX 255u /* octets of a feed's, category's or node's name; cut there */
#define HITLINE_SIZE_MAX 16384u    /* whatever the texts hold, a line is shorter */

/* In place of a prefix length: */
#define HITLINE_CLIENT_FULL 254u /* the address, and no length behind it */
#define HITLINE_CLIENT_NONE 255u /* no client at all */

struct hitline {
    const char *node;
    const struct hit *hit; /* its client as it is to be shown, what is not shown being zero */
    const struct tag *tag;
    uint8_t client_bits; /* the client's prefix length in its own family's bits, or one of above */
};

/* Writes the line, newline included and NUL behind it. Returns its size without the NUL. */
size_t hitline_write(const struct hitline *line, char ret_text[static HITLINE_SIZE_MAX]);

/* The listed name of a hit: the part of its name, or of its chain's, that starts at entry_offset;
 * the whole of it when that is not where a label starts. */
const uint8_t *hitline_entry(const struct hit *hit);

#endif
