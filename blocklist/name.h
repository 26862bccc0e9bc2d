/* name.h - domain names in wire form, and the keyed hash of every suffix of one.
 *
 * Inside the program a name is its uncompressed wire form (RFC 1035, 3.1), A-Z lowered, root label
 * included. Text exists at the edges only: configuration, list files, Redis, logs and reports.
 * Nothing here allocates. */
#ifndef BLOCKLIST_NAME_H
#define BLOCKLIST_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BL_LABEL_SIZE_MAX 63u       /* RFC 1035, 2.3.4 */
#define BL_NAME_SIZE_MAX 255u       /* the same; counts length octets and the root label */
#define BL_NAME_LABELS_MAX 127u     /* 127 labels of one octet and the root make 255 */
#define BL_NAME_TEXT_SIZE_MAX 1009u /* every octet as \ddd, the dots, and the NUL */

/* The process's secret for hashing: new at every start, so that nobody can aim at a bucket. */
#define BL_SECRET_SIZE 192u
struct bl_secret {
    uint8_t octets[BL_SECRET_SIZE];
};

/* Fills the secret from getrandom(2). 0 or -errno. */
int bl_secret_make(struct bl_secret *ret_secret);

/* Not tolower(): names are octets, and a name must not depend on the locale. */
static inline uint8_t bl_name_lowered(uint8_t octet)
{
    return octet >= 'A' && octet <= 'Z' ? (uint8_t)(octet | 0x20) : octet;
}

/* Reads text (RFC 1035, 5.1: `\.` and `\ddd`; a final dot is optional; "." is the root) into wire
 * form, lowered. Takes octets as they are: what a list or a user may name is for others to say.
 * Returns the size of the name, or -EINVAL. `text` need not end in NUL. */
int bl_name_from_text(const char *text, size_t size, uint8_t ret_name[static BL_NAME_SIZE_MAX]);

/* Writes the text form, without a final dot except for the root, NUL-ended. Octets that are not
 * letters, digits, `-` or `_` are escaped. Returns the length without the NUL. `name` must be
 * well-formed. */
size_t bl_name_to_text(const uint8_t *name, char ret_text[static BL_NAME_TEXT_SIZE_MAX]);

/* Whether the `size` octets at `octets` begin with one whole uncompressed name within the limits.
 * Returns its size, or -EBADMSG. */
int bl_name_check(const uint8_t *octets, size_t size);

/* The size of a well-formed name, 1..255. */
size_t bl_name_size(const uint8_t *name);

/* Labels of a well-formed name, without the root: 0..127. */
unsigned bl_name_labels(const uint8_t *name);

/* Whether two well-formed names are the same, letters compared without case. */
bool bl_name_equal(const uint8_t *a, const uint8_t *b);

/* Whether `name` is `above` or lies below it, letters compared without case. */
bool bl_name_is_under(const uint8_t *name, const uint8_t *above);

/* Hash of one whole name, which must be lowered. */
uint64_t bl_name_hash(const struct bl_secret *secret, const uint8_t *name, size_t size);

#endif
