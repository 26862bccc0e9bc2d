/* name.h - a name as an operator types it. */
#ifndef RESOLVER_CTL_NAME_H
#define RESOLVER_CTL_NAME_H

#include "blocklist/name.h"
#include "resolver/ctl/arguments.h"

struct ctl_name {
    char text[BL_NAME_TEXT_SIZE_MAX]; /* lower case, A-labels, no final dot; "" for the root */
    uint8_t wire[BL_NAME_SIZE_MAX];
    size_t wire_size;
};

/* Reads a name; an international one (UTF-8) becomes A-labels (RFC 5891, by libidn2). Only letters,
 * digits, `-` and `_` may stand in it. 0, or -EINVAL with a phrase in ret_error. */
int ctl_name_read(const char *typed, struct ctl_name *ret_name,
                  char ret_error[static CTL_ERROR_SIZE]);

#endif
