/* daemon.h - the parts of the running daemon put together, and taken apart again. */
#ifndef RESOLVER_DAEMON_H
#define RESOLVER_DAEMON_H

#include "resolver/config.h"

#include <uv.h>

struct daemon;

/* Opens the sockets, drops privileges, reads the lists, starts every thread and process. `loop` is
 * the main thread's. `config` is taken over, also on failure; `path` is what a reload reads again
 * (NULL: defaults) and is borrowed. On failure -errno; what is wrong has been logged, and nothing
 * runs. */
int daemon_start(uv_loop_t *loop, struct config *config, const char *path,
                 struct daemon **ret_daemon);

/* The path of the recursors' program: beside the daemon in a build folder, else where it is
 * installed. */
void daemon_recursor_program(char ret_path[static CONFIG_PATH_SIZE_MAX]);

/* Reads the configuration and the list files again, on a thread of its own; the outcome
 * is logged. */
void daemon_reload(struct daemon *daemon);

/* Begins to end everything; `loop` runs out of handles when recursors are gone. */
void daemon_stop(struct daemon *daemon);

/* After the loop has run out. Writes what is to be written and frees everything. */
void daemon_free(struct daemon *daemon);

#endif
