/* door.h - the sockets that clients come to, opened before privileges are dropped.
 *
 * Each worker has a socket of its own for each listening address (SO_REUSEPORT): the kernel spreads
 * clients over them, and no two workers touch one. */
#ifndef RESOLVER_DOOR_H
#define RESOLVER_DOOR_H

#include "resolver/config.h"

struct door {
    int udp; /* descriptor, or -1 */
    int tcp; /* listening descriptor, or -1 */
    bool ipv4;
};

/* Opens the sockets of one listening address for one worker: bound, non-blocking, close-on-exec;
 * UDP tells the address asked (IP_PKTINFO). 0 or -errno; then nothing stays open. */
int door_open(const struct config_listen *listen, struct door *ret_door);

/* Whether the address is free. Sockets that share it (SO_REUSEPORT) would not tell: a second daemon
 * of the same user would quietly take half of the questions. 0, -EADDRINUSE or another -errno. */
int door_probe(const struct config_listen *listen);

/* Closes what is open; for doors that no worker took. */
void door_close(struct door *door);

#endif
