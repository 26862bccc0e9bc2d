/* change.h - writing the list in Redis: blocklist/change.lua, called.
 *
 * Every call may be repeated (PROTOCOL.md), so a connection that is lost before the reply has come
 * is opened anew and the call made once more. */
#ifndef RESOLVER_CTL_CHANGE_H
#define RESOLVER_CTL_CHANGE_H

#include "blocklist/entry.h"
#include "resolver/ctl/redis.h"

#include <stdint.h>

#define CTL_CHANGES_MAX 1000u                      /* of one call */
#define CTL_WHO_SIZE_MAX 129u                      /* with NUL */
#define CTL_WHY_SIZE_MAX 513u                      /* with NUL */
#define CTL_VALUE_SIZE_MAX (BL_VALUE_SIZE_MAX + 1) /* with NUL */
#define CTL_NAMES_PER_SHARD 64u /* about what keeps a shard one block in Redis' memory */

/* blocklist/change.lua, built in. */
extern const char ctl_change_script[];
extern const size_t ctl_change_script_size;

struct ctl_changed {
    uint64_t revision; /* of the list, after the call */
    uint64_t applied;  /* changes that were not so already */
};

/* Calls the script. `op` and `items` as PROTOCOL.md has them, `why` without control characters. 0,
 * -ENOENT when there is no such feed, or what ctl_redis_reply() returns, with a line in
 * ret_error. */
int ctl_change(struct ctl_redis *redis, const char *op, const char *feed, const char *why,
               const char *const items[], size_t count, struct ctl_changed *ret_changed,
               char ret_error[static CTL_ERROR_SIZE]);

/* A feed as it stands in Redis. */
struct ctl_feed {
    bool exists;
    bool importing;
    char kind[16];
    char tier[16];
    char action[16];
    char priority[16];
    char category[BL_FEED_TEXT_SIZE_MAX];
    char label[BL_FEED_TEXT_SIZE_MAX];
    uint32_t shards;
    uint64_t count;
    int64_t updated_s;
};

/* 0 (also when it does not exist), -EBADMSG when its hash is not of the protocol's form, or what
 * ctl_redis_reply() returns. */
int ctl_feed_read(struct ctl_redis *redis, const char *name, struct ctl_feed *ret_feed,
                  char ret_error[static CTL_ERROR_SIZE]);

/* Reads the reply of HGETALL on a feed's hash. 0 or -EBADMSG. */
int ctl_feed_parse(const redisReply *reply, struct ctl_feed *ret_feed);

/* The shard of a name: the first 7 hex digits of its SHA-1, modulo `shards`. */
uint32_t ctl_shard_of(const char *name, size_t size, uint32_t shards);

/* How many shards a new feed of `count` names gets: the power of two nearest to count / 64. */
uint32_t ctl_shards_for(uint64_t count);

/* Who makes the change, for the log: user@host. */
void ctl_who(char ret_who[static CTL_WHO_SIZE_MAX]);

/* What an entry says, encoded: an allow, the name alone, a category, a reason; NULL texts are left
 * out. 0, -EINVAL when a text holds a control character, -E2BIG when a text or all of it is too
 * long. */
int ctl_value(bool allow, bool exact, const char *category, const char *reason,
              char ret_value[static CTL_VALUE_SIZE_MAX]);

/* Whether a value has this field ("a=allow", compared whole). */
bool ctl_value_has(const char *value, const char *field);

/* Whether two values say the same but for the reason. */
bool ctl_value_same_but_reason(const char *a, const char *b);

#endif
