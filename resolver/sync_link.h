/* sync_link.h - the connection to Redis: connects, reconnects for ever, and carries octets between
 * the stream and the protocol engine. On the loop of the list's thread; it logs. */
#ifndef RESOLVER_SYNC_LINK_H
#define RESOLVER_SYNC_LINK_H

#include "blocklist/redis.h"
#include "resolver/config.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define SYNC_LINK_ERROR_SIZE 256u

struct sync_link;

/* What the link knows besides the engine's status. */
struct sync_link_status {
    bool connected; /* Redis has answered on this connection */
    const char *server;
    const char *error; /* "" when all is well */
    uint64_t reconnects;
    int64_t last_contact_s; /* wall clock; 0: never */
};

/* `redis` and the options' texts are copied; the options' list and guards are borrowed. `changed`
 * is called whenever a status may have changed, on the loop, and not from inside a call here. 0 or
 * -errno. The first attempt starts with sync_link_start(). */
int sync_link_new(uv_loop_t *loop, const struct config_redis *redis,
                  const struct bl_redis_options *options, void (*changed)(void *context),
                  void *context, struct sync_link **ret_link);
int sync_link_start(struct sync_link *link);

/* Has the next full image taken soon. */
void sync_link_want_image(struct sync_link *link);

struct sync_link_status sync_link_status(const struct sync_link *link);
const struct bl_redis_status *sync_link_list(const struct sync_link *link);

/* Closes; the loop must run until it is empty before sync_link_free(). */
void sync_link_stop(struct sync_link *link);
void sync_link_free(struct sync_link *link); /* NULL is fine */

#endif
