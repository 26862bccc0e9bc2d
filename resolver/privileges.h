/* privileges.h - from root to the configured user, once the sockets are bound. */
#ifndef RESOLVER_PRIVILEGES_H
#define RESOLVER_PRIVILEGES_H

#include "resolver/config.h"

/* Makes the state folder and the control socket's if they are missing (the latter then belong to
 * the user), and, started as root with node.user set, takes on that user for good. To be called
 * while the process has one thread. On failure -errno, and a message in ret_error. */
int privileges_drop(const struct config *config, char *ret_error, size_t error_size);

#endif
