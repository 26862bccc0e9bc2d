/* options.h - the one table of options: what there is, and where it goes in struct config.
 *
 * A name is the path of an option in the file: "limits.udp_size". An option of a list's mappings
 * has its own row, "listen[].address", whose offset counts from the list's element. Tables' rows of
 * one section stand together. */
#ifndef RESOLVER_OPTIONS_H
#define RESOLVER_OPTIONS_H

#include "resolver/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_type {
    OPTION_BOOLEAN,      /* bool */
    OPTION_INTEGER,      /* uint32_t, or int32_t where min is negative */
    OPTION_SIZE,         /* uint64_t, octets */
    OPTION_DURATION_MS,  /* uint32_t */
    OPTION_DURATION_S,   /* uint32_t */
    OPTION_TEXT,         /* char[]; min and max bound its octets */
    OPTION_NAME,         /* char[]: letters, digits, dot, dash, underscore */
    OPTION_FEED,         /* char[]: a feed's name */
    OPTION_PATH,         /* char[]: absolute */
    OPTION_WORD,         /* an enum: one of `words` */
    OPTION_WORDS,        /* unsigned: a set of `words` */
    OPTION_ADDRESS_PORT, /* struct config_address */
    OPTION_ADDRESS,      /* char[]: an IPv4 or IPv6 address, as written */
    OPTION_IPV4,         /* uint8_t[4] */
    OPTION_IPV6,         /* uint8_t[16] */
    OPTION_PREFIX,       /* struct config_prefix */
    OPTION_SERVER,       /* struct config_address, or "unix:/path" */
    OPTION_MAPPING,      /* an element of a list, with rows of its own */
};

struct option_word {
    const char *text; /* NULL ends the table */
    int value;
    bool built;
};

struct option {
    const char *name;
    const char *initial; /* YAML, as it would be written in the file; NULL: none */
    const char *text;
    const struct option_word *words;
    int64_t min;
    int64_t max;
    size_t offset;
    size_t size;         /* of the field, or of one element of a list */
    size_t count_offset; /* lists: where their uint32_t count is */
    uint32_t count_max;
    enum option_type type;
    bool list;
    bool live;
    bool built;
    bool automatic; /* an integer that may be "auto", which is 0 */
    bool required;  /* a row of a list's mappings that has no default */
};

extern const struct option options_table[];
extern const size_t options_count;

/* The row of this name, or NULL. */
const struct option *options_find(const char *name);

/* Whether `name` is a section: rows lie below it. `ret_built` says if any of those is built. */
bool options_is_section(const char *name, bool *ret_built);

/* The name nearest to `key` among what may stand in `section` ("" is the top): its last word, or
 * NULL when none is near. Good until the thread's next call. */
const char *options_nearest(const char *section, const char *key);

/* The variable that overrides the option: SINKHOLE_LIMITS_UDP_SIZE. False for rows of a list's
 * mappings, which have none. (Lists have a name, but only scalars can be overridden.) */
#define OPTION_VARIABLE_SIZE_MAX 96u
bool options_variable(const struct option *option, char ret_name[static OPTION_VARIABLE_SIZE_MAX]);

/* The documented table of all options, for --help and for documents. */
enum option_page { OPTION_PAGE_TEXT, OPTION_PAGE_MARKDOWN };
void options_write(FILE *file, enum option_page form);

#endif
