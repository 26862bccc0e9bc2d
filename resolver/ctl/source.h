/* source.h - a list file, read for an import: its entries, and the lines that can't be used. */
#ifndef RESOLVER_CTL_SOURCE_H
#define RESOLVER_CTL_SOURCE_H

#include "blocklist/format.h"
#include "blocklist/guard.h"
#include "resolver/ctl/arguments.h"
#include "resolver/ctl/entries.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#define CTL_SOURCE_SIZE_MAX ((size_t)2 << 30) /* 64 million names are about this */
#define CTL_REJECTS_KEPT 100u

struct ctl_source {
    enum bl_format format;
    const struct bl_guards *guards; /* NULL: the entries are allowed names, any name may be */
    FILE *rejects;                  /* every refused line goes there; or NULL */

    struct ctl_entries entries; /* ordered, each name once */
    uint64_t repeated;
    uint64_t rejected;
    json_t *kept; /* array of the first CTL_REJECTS_KEPT: {"line", "reason", "text"} */
    uint64_t line;
    int error;
};

/* Reads a whole file, "-" is standard input. 0 with the text on the heap, or -errno. */
int ctl_source_read(const char *path, char **ret_text, size_t *ret_size);

/* Reads the text with the first three members set and the others zero; then ctl_source_done(). 0,
 * -ENOMEM or -EFBIG. */
int ctl_source_parse(struct ctl_source *source, const char *text, size_t size);
void ctl_source_done(struct ctl_source *source);

#endif
