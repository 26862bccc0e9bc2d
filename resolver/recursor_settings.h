/* recursor_settings.h - what a recursor is told at its start, made from the configuration. */
#ifndef RESOLVER_RECURSOR_SETTINGS_H
#define RESOLVER_RECURSOR_SETTINGS_H

#include "resolver/channel.h"
#include "resolver/config.h"

#include <stdint.h>

/* Writes the one message of settings that ends in the start record, for recursor `index` of
 * `count`. Returns its size, or -ENOSPC. */
int recursor_settings_write(const struct config *config, unsigned index, unsigned count,
                            uint8_t ret_message[static CHANNEL_MESSAGE_SIZE_MAX]);

/* Whether the files that the recursion section names can be read. 0, or -errno and *ret_path. */
int recursor_settings_check(const struct config *config, const char **ret_path);

#endif
