/* start.h - what the daemon tells a recursor before it works: settings, limits, sockets.
 *
 * It comes over the control socket (descriptor 3): messages with the workers' sockets, then one
 * with all settings that ends in the start record. */
#ifndef RESOLVER_RECURSOR_START_H
#define RESOLVER_RECURSOR_START_H

#include "resolver/channel.h"
#include "resolver/limits.h"

#include <stddef.h>
#include <stdint.h>

#define CONTROL_SOCKET 3

struct ub_ctx;

struct start {
    struct channel_start limits;
    int workers[WORKERS_MAX]; /* sockets, non-blocking */
    size_t worker_count;
    char folder[CHANNEL_VALUE_SIZE_MAX + 1]; /* "": none */
    size_t settings_size;
    uint8_t settings[CHANNEL_MESSAGE_SIZE_MAX]; /* the records of the last message */
};

/* Says a line to the daemon's log, or to standard error when the daemon does not take it. `level`
 * is an enum log_level. At most CHANNEL_TEXT_SIZE_MAX octets are kept. */
void start_say(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Waits for the whole start. 0 or -errno, after saying why. */
int start_read(struct start *ret_start);

/* Puts the settings into the context, which must not have resolved anything, and has libunbound's
 * own messages said as above. Optional options that this libunbound refuses are named in one line.
 * 0 or -errno, after saying why. */
int start_apply(const struct start *start, struct ub_ctx *context);

#endif
