#include "blocklist/guard.h"

#include "blocklist/name.h"

#include <errno.h>
#include <libpsl.h>
#include <stdbool.h>
#include <stdlib.h>

struct bl_guards {
    const psl_ctx_t *public_suffixes; /* libpsl's own, for the life of the process */
};

static const struct {
    const char *text;
    const char *label;
} guards_table[BL_GUARD_COUNT] = {
    [BL_GUARD_PASS] = {"", "pass"},
    [BL_GUARD_ROOT] = {"the root", "root"},
    [BL_GUARD_SINGLE_LABEL] = {"a single label", "single_label"},
    [BL_GUARD_PUBLIC_SUFFIX] = {"a public suffix", "public_suffix"},
    [BL_GUARD_ARPA] = {"at or under arpa", "arpa"},
};

int bl_guards_new(struct bl_guards **ret_guards)
{
    const psl_ctx_t *public_suffixes = psl_builtin();
    if (public_suffixes == NULL) {
        return -ENOTSUP;
    }
    struct bl_guards *guards = malloc(sizeof(*guards));
    if (guards == NULL) {
        return -ENOMEM;
    }
    guards->public_suffixes = public_suffixes;
    *ret_guards = guards;
    return 0;
}

void bl_guards_free(struct bl_guards *guards)
{
    free(guards);
}

/* A name with an octet that needs an escape is no public suffix, and its text form none either. The
 * star rule would make any single label one, which is asked before. */
static bool is_public_suffix(const struct bl_guards *guards, const uint8_t *name)
{
    char text[BL_NAME_TEXT_SIZE_MAX];
    bl_name_to_text(name, text);
    return psl_is_public_suffix2(guards->public_suffixes, text,
                                 PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE) != 0;
}

enum bl_guard bl_guard_check(const struct bl_guards *guards, const uint8_t *name, size_t size)
{
    static const uint8_t arpa[] = {4, 'a', 'r', 'p', 'a', 0};
    if (size <= 1) {
        return BL_GUARD_ROOT;
    }
    if (bl_name_is_under(name, arpa)) {
        return BL_GUARD_ARPA;
    }
    if (bl_name_labels(name) == 1) {
        return BL_GUARD_SINGLE_LABEL;
    }
    return is_public_suffix(guards, name) ? BL_GUARD_PUBLIC_SUFFIX : BL_GUARD_PASS;
}

const char *bl_guard_text(enum bl_guard guard)
{
    return guards_table[guard].text;
}

const char *bl_guard_label(enum bl_guard guard)
{
    return guards_table[guard].label;
}
