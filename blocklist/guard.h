/* guard.h - names that no feed may deny, whoever asks: the guardrail of the node.
 *
 * Importers warn earlier, but any writer can reach Redis, so the place where a change is applied is
 * the one that decides. Guards hold for every entry whose own action is not ALLOW: log-only ones
 * too, and those that would be an ALLOW by their feed's action only, since a feed's action can be
 * changed later and would carry them along. An ALLOW of such a name does no harm and passes.
 *
 * Public suffixes are those of the ICANN section of the Public Suffix List (publicsuffix.org) that
 * libpsl carries. Its private section is left out: names like dyndns services are listed for good
 * reasons. */
#ifndef BLOCKLIST_GUARD_H
#define BLOCKLIST_GUARD_H

#include <stddef.h>
#include <stdint.h>

enum bl_guard {
    BL_GUARD_PASS,
    BL_GUARD_ROOT,
    BL_GUARD_SINGLE_LABEL,
    BL_GUARD_PUBLIC_SUFFIX,
    BL_GUARD_ARPA, /* at or under arpa (RFC 3172) */
    BL_GUARD_COUNT,
};

struct bl_guards;

/* 0, -ENOMEM, or -ENOTSUP when libpsl was built without its list. */
int bl_guards_new(struct bl_guards **ret_guards);
void bl_guards_free(struct bl_guards *guards); /* NULL is fine */

/* The first guard that refuses to deny `name` (wire form, lowered, `size` octets), or PASS. Any
 * thread. */
enum bl_guard bl_guard_check(const struct bl_guards *guards, const uint8_t *name, size_t size);

/* Why, as a phrase for reports: "a public suffix". "" for PASS. */
const char *bl_guard_text(enum bl_guard guard);

/* The same as a metric's label: "public_suffix". "pass" for PASS. */
const char *bl_guard_label(enum bl_guard guard);

#endif
