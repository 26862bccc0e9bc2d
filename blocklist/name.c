#include "blocklist/name.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>

/* The hash is inlined: most suffixes are shorter than a call to it costs. */
#define XXH_INLINE_ALL
#include <xxhash.h>

static_assert(BL_SECRET_SIZE >= XXH3_SECRET_SIZE_MIN, "XXH3 refuses a shorter secret");

/* Length octets stay clear of A-Z, so whole names are lowered and compared octet by octet. */
static_assert(BL_LABEL_SIZE_MAX < 'A', "a length octet must not look like a letter");

int bl_secret_make(struct bl_secret *ret_secret)
{
    struct bl_secret secret;
    size_t have = 0;
    while (have < sizeof(secret.octets)) {
        ssize_t got = getrandom(secret.octets + have, sizeof(secret.octets) - have, 0);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        have += (size_t)got;
    }
    *ret_secret = secret;
    return 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads one octet of a label at text[*at], `\.` and `\ddd` included. Returns it, or -EINVAL. */
static int octet_from_text(const char *text, size_t size, size_t *at)
{
    char c = text[(*at)++];
    if (c != '\\') {
        return (uint8_t)c;
    }
    if (*at == size) {
        return -EINVAL;
    }
    if (!is_digit(text[*at])) {
        return (uint8_t)text[(*at)++];
    }
    if (size - *at < 3 || !is_digit(text[*at + 1]) || !is_digit(text[*at + 2])) {
        return -EINVAL;
    }
    int value = (text[*at] - '0') * 100 + (text[*at + 1] - '0') * 10 + (text[*at + 2] - '0');
    *at += 3;
    return value <= UINT8_MAX ? value : -EINVAL;
}

int bl_name_from_text(const char *text, size_t size, uint8_t ret_name[static BL_NAME_SIZE_MAX])
{
    uint8_t name[BL_NAME_SIZE_MAX];
    if (size == 1 && text[0] == '.') {
        ret_name[0] = 0;
        return 1;
    }
    size_t at = 0;
    size_t label = 0; /* where the length octet of the current label stands */
    size_t end = 1;   /* label < end < BL_NAME_SIZE_MAX: the root label always has room */
    while (at < size) {
        if (text[at] == '.') {
            if (end - label == 1) {
                return -EINVAL;
            }
            name[label] = (uint8_t)(end - label - 1);
            label = end++;
            at++;
        } else {
            int octet = octet_from_text(text, size, &at);
            if (octet < 0 || end - label - 1 == BL_LABEL_SIZE_MAX) {
                return -EINVAL;
            }
            name[end++] = bl_name_lowered((uint8_t)octet);
        }
        if (end >= BL_NAME_SIZE_MAX &&
            !(at == size && end == BL_NAME_SIZE_MAX && end - label == 1)) {
            return -EINVAL;
        }
    }
    if (end - label > 1) { /* no final dot: close the last label and open the root's */
        name[label] = (uint8_t)(end - label - 1);
        label = end++;
    }
    if (label == 0) { /* no text at all */
        return -EINVAL;
    }
    name[label] = 0;
    memcpy(ret_name, name, end);
    return (int)end;
}

static bool is_plain(uint8_t octet)
{
    return (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z') ||
           (octet >= '0' && octet <= '9') || octet == '-' || octet == '_';
}

size_t bl_name_to_text(const uint8_t *name, char ret_text[static BL_NAME_TEXT_SIZE_MAX])
{
    size_t length = 0;
    if (name[0] == 0) {
        ret_text[length++] = '.';
    }
    for (size_t at = 0; name[at] != 0;) {
        if (at > 0) {
            ret_text[length++] = '.';
        }
        size_t label_end = at + 1u + name[at];
        for (at++; at < label_end; at++) {
            uint8_t octet = name[at];
            if (is_plain(octet)) {
                ret_text[length++] = (char)octet;
            } else {
                ret_text[length++] = '\\';
                ret_text[length++] = (char)('0' + octet / 100);
                ret_text[length++] = (char)('0' + octet / 10 % 10);
                ret_text[length++] = (char)('0' + octet % 10);
            }
        }
    }
    ret_text[length] = '\0';
    return length;
}

int bl_name_check(const uint8_t *octets, size_t size)
{
    size_t limit = size < BL_NAME_SIZE_MAX ? size : BL_NAME_SIZE_MAX;
    size_t at = 0;
    while (at < limit) {
        uint8_t length = octets[at++];
        if (length == 0) {
            return (int)at;
        }
        if (length > BL_LABEL_SIZE_MAX) {
            return -EBADMSG;
        }
        at += length;
    }
    return -EBADMSG;
}

size_t bl_name_size(const uint8_t *name)
{
    size_t at = 0;
    while (name[at] != 0) {
        at += 1u + name[at];
    }
    return at + 1;
}

unsigned bl_name_labels(const uint8_t *name)
{
    unsigned labels = 0;
    for (size_t at = 0; name[at] != 0; at += 1u + name[at]) {
        labels++;
    }
    return labels;
}

static bool equal_octets(const uint8_t *a, const uint8_t *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bl_name_lowered(a[i]) != bl_name_lowered(b[i])) {
            return false;
        }
    }
    return true;
}

bool bl_name_equal(const uint8_t *a, const uint8_t *b)
{
    size_t size = bl_name_size(a);
    return size == bl_name_size(b) && equal_octets(a, b, size);
}

bool bl_name_is_under(const uint8_t *name, const uint8_t *above)
{
    size_t size = bl_name_size(name);
    size_t above_size = bl_name_size(above);
    size_t at = 0;
    while (size - at > above_size) {
        at += 1u + name[at];
    }
    return size - at == above_size && equal_octets(name + at, above, above_size);
}

uint64_t bl_name_hash(const struct bl_secret *secret, const uint8_t *name, size_t size)
{
    return XXH3_64bits_withSecret(name, size, secret->octets, sizeof(secret->octets));
}
