/* recurse_channel.h - how the main thread connects a worker to a recursor; for resolver/recursors
 * and tests. */
#ifndef RESOLVER_RECURSE_CHANNEL_H
#define RESOLVER_RECURSE_CHANNEL_H

#include "resolver/recurse.h"

#include <stdint.h>

#define RECURSE_AGAIN_AFTER_MS 60000u /* a name at two deaths is not asked for that long */
#define RECURSE_GIVE_UP_MS 60000u     /* a question without an answer leaves the table */

/* Any thread, until recurse_stop(). Takes `socket`, the worker's end of a channel_pair() whose
 * other end recursor number `recursor` has. A channel that is open to it counts as dead. `token`
 * names this connection; not 0. */
void recurse_connect(struct recurse *recurse, unsigned recursor, int socket, uint64_t token);

/* Any thread. The token of the last connection to this recursor that broke, or 0. */
uint64_t recurse_broken(const struct recurse *recurse, unsigned recursor);

/* The recursor that a name (lowered wire form) belongs to. */
unsigned recurse_owner(const struct recurse *recurse, const uint8_t *name, size_t name_size);

#endif
