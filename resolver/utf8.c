#include "resolver/utf8.h"

#include <stdint.h>

size_t utf8_character(const char *text, size_t size)
{
    const uint8_t *octets = (const uint8_t *)text;
    if (size == 0) {
        return 0;
    }
    uint8_t first = octets[0];
    if (first < 0x80) {
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || size < length) {
        return 0; /* a continuation, an overlong form, beyond U+10FFFF, or cut off */
    }
    for (size_t i = 1; i < length; i++) {
        if ((octets[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* The second octet's range is narrower after these: overlong, surrogates, beyond U+10FFFF. */
    uint8_t second = octets[1];
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) {
        return 0;
    }
    return length;
}
