/* redis.h - a blocking connection to the Redis that holds the list (blocklist/PROTOCOL.md).
 *
 * The servers of the configuration are tried in turn; one that does not answer, is still loading
 * or, for a writer, is a read-only replica is passed over. Every wait ends after
 * CTL_REDIS_TIMEOUT_S. Replies are foreign: arrays have at most CTL_REDIS_ELEMENTS_MAX elements,
 * and the caller looks at types and sizes. */
#ifndef RESOLVER_CTL_REDIS_H
#define RESOLVER_CTL_REDIS_H

#include "resolver/config.h"
#include "resolver/ctl/arguments.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

#define CTL_REDIS_TIMEOUT_S 5
#define CTL_REDIS_ELEMENTS_MAX 65536u /* the largest reply the protocol knows */
#define CTL_REDIS_KEY_SIZE_MAX 192u   /* prefix, feed and shard, with NUL */
#define CTL_REDIS_PASSWORD_SIZE_MAX 512u

struct ctl_redis;

/* Connects, authenticates and selects the database. `config` is lent for the connection's life. 0,
 * or -errno with a line in ret_error that names each server tried and says what to do. */
int ctl_redis_open(const struct config_redis *config, bool writer, struct ctl_redis **ret_redis,
                   char ret_error[static CTL_ERROR_SIZE]);
void ctl_redis_close(struct ctl_redis *redis); /* NULL is fine */

/* Connects anew after an error, to the first server that will do. The same return. */
int ctl_redis_reopen(struct ctl_redis *redis, char ret_error[static CTL_ERROR_SIZE]);

/* Queues a command; its reply comes in order. 0 or -ENOMEM. */
int ctl_redis_queue(struct ctl_redis *redis, size_t count, const char *words[],
                    const size_t sizes[]);

/* Waits for the next reply, to be released by freeReplyObject(). On failure a line in ret_error:
 * -EIO      the connection is lost, or what came is not Redis' protocol: only reopening helps
 * -ENOEXEC  Redis does not know the script (NOSCRIPT)
 * -EREMOTEIO  Redis refused; the connection is good */
int ctl_redis_reply(struct ctl_redis *redis, redisReply **ret_reply,
                    char ret_error[static CTL_ERROR_SIZE]);

/* One command of NUL-ended words, up to a NULL, and its reply. */
int ctl_redis_ask(struct ctl_redis *redis, redisReply **ret_reply,
                  char ret_error[static CTL_ERROR_SIZE], ...) __attribute__((sentinel));

/* prefix + ":" + name; both are bounded so that it always fits. */
void ctl_redis_key(const struct ctl_redis *redis, char ret_key[static CTL_REDIS_KEY_SIZE_MAX],
                   const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
