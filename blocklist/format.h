/* format.h - one line of a list file.
 *
 *   plain   NAME            the name and all below it (suffix)
 *           *.NAME  .NAME   the same
 *           =NAME           the name alone (exact)
 *   hosts   ADDRESS NAME... each name alone; the address is not looked at further. Names that every
 *                           hosts file carries for the machine itself (localhost, local,
 *                           broadcasthost, ip6-allnodes..., the address again) are passed over.
 *   auto    hosts where a line starts with an IP address and goes on, plain elsewhere
 *
 * Blank lines, lines whose first octet other than white space is `#` or `;`, and what follows a `#`
 * after white space are comments. A line may end in CR LF, LF or nothing, and may start with a
 * UTF-8 byte order mark (files glued together carry them in their middle). Names are letters,
 * digits, `-` and `_`, at most 63 in a label and 255 octets in all (RFC 1035, 2.3.4); a final dot
 * is fine. International names must be A-labels (RFC 5890): xn--...
 *
 * A line is taken whole or not at all. */
#ifndef BLOCKLIST_FORMAT_H
#define BLOCKLIST_FORMAT_H

#include "blocklist/list.h"

#include <stddef.h>
#include <stdint.h>

#define BL_LINE_SIZE_MAX 4096u /* without the line's end; list files are names, not prose */
#define BL_LINE_TOO_LONG "a line of more than 4096 octets" /* the reason, for who reads lines */

enum bl_format { BL_FORMAT_AUTO, BL_FORMAT_PLAIN, BL_FORMAT_HOSTS };

/* Text forms, as in the configuration: "auto", "plain", "hosts". NULL or -EINVAL for others. */
const char *bl_format_text(enum bl_format format);
int bl_format_from_text(const char *text, size_t size, enum bl_format *ret_format);

/* One entry of a line. `name` is wire form, lowered, lent for the call. */
typedef void bl_format_call(void *context, const uint8_t *name, size_t size, enum bl_scope scope);

/* Reads one line and calls back for each entry of it. Returns how many (0 for a comment), or
 * -EINVAL with `*ret_reason` set to a phrase that lives for ever ("an empty label"). Never
 * allocates. */
int bl_format_line(enum bl_format format, const char *line, size_t size, bl_format_call *call,
                   void *context, const char **ret_reason);

#endif
