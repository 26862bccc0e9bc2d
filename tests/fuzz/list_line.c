/* A line of a list file, in every format: it says well-formed names as often as it claims, or
 * nothing and why; and what it says, written as a plain line, says the same again. */
#include "blocklist/format.h"

#include "blocklist/name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

struct said {
    int entries;
    const uint8_t *name; /* if not NULL, the only name expected */
    enum bl_scope scope;
};

static void hear(void *context, const uint8_t *name, size_t size, enum bl_scope scope)
{
    struct said *said = context;
    said->entries++;
    must(said->name != NULL && bl_name_size(said->name) == size);
    must(memcmp(said->name, name, size) == 0 && said->scope == scope);
}

static void take(void *context, const uint8_t *name, size_t size, enum bl_scope scope)
{
    struct said *said = context;
    said->entries++;
    must(bl_name_check(name, size) == (int)size);
    must(scope == BL_SCOPE_SUFFIX || scope == BL_SCOPE_EXACT);

    char text[1 + BL_NAME_TEXT_SIZE_MAX] = "=";
    size_t length = 1 + bl_name_to_text(name, text + 1);
    must(strchr(text, '\\') == NULL);
    size_t skipped = scope == BL_SCOPE_EXACT ? 0 : 1;
    struct said again = {0, name, scope};
    const char *reason = NULL;
    must(bl_format_line(BL_FORMAT_PLAIN, text + skipped, length - skipped, hear, &again, &reason) ==
         1);
    must(again.entries == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int format = BL_FORMAT_AUTO; format <= BL_FORMAT_HOSTS; format++) {
        struct said said = {0, NULL, BL_SCOPE_SUFFIX};
        const char *reason = NULL;
        int r =
            bl_format_line((enum bl_format)format, (const char *)data, size, take, &said, &reason);
        if (r < 0) {
            must(r == -EINVAL && reason != NULL && reason[0] != '\0' && said.entries == 0);
        } else {
            must(r == said.entries);
        }
    }
    return 0;
}
