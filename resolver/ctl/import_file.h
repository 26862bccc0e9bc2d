/* import_file.h - one import of a list file, whichever way it goes, and the reading of the file. */
#ifndef RESOLVER_CTL_IMPORT_FILE_H
#define RESOLVER_CTL_IMPORT_FILE_H

#include "resolver/ctl/change.h"
#include "resolver/ctl/ctl.h"
#include "resolver/ctl/source.h"

struct ctl_import {
    struct ctl *ctl;
    const char *path;
    const char *feed;
    const char *text; /* of the file */
    size_t text_size;
    struct bl_guards *guards;
    struct ctl_source source;
    bool replace;
    bool dry_run;

    bool created;
    bool compared; /* the counts are a difference */
    struct ctl_difference_counts counts;
    uint64_t revision; /* 0: unknown, or nothing was to be changed */
    json_t *examples;  /* of a dry run: {"added": [...], "changed": [...], "removed": [...]} */
};

/* Parses the file's text with the guards that hold for this kind of feed. CTL_DONE or what
 * ctl_fail() returned. */
int ctl_import_parse(struct ctl_import *import, bool allow);

#endif
