#include "resolver/recurse_domain.h"
#include "blocklist/name.h"

#include <assert.h>
#include <libpsl.h>
#include <stdbool.h>

/* In the text form each dot stands where the wire form has a length octet, so an offset in one is
 * an offset in the other. */
size_t recurse_registrable_at(const uint8_t *name, size_t name_size)
{
    char text[BL_NAME_SIZE_MAX];
    size_t length = 0;
    for (size_t at = 0; name[at] != 0; at += 1u + name[at]) {
        if (at > 0) {
            text[length++] = '.';
        }
        for (size_t i = 1; i <= name[at]; i++) {
            uint8_t octet = name[at + i];
            bool plain = (octet >= 'a' && octet <= 'z') || (octet >= '0' && octet <= '9') ||
                         octet == '-' || octet == '_';
            if (!plain) {
                return 0;
            }
            text[length++] = (char)octet;
        }
    }
    assert(length < name_size);
    text[length] = '\0';
    const psl_ctx_t *suffixes = psl_builtin(); /* NULL: libpsl was built without the list */
    const char *domain = suffixes != NULL ? psl_registrable_domain(suffixes, text) : NULL;
    return domain != NULL ? (size_t)(domain - text) : 0;
}
