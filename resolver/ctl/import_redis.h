/* import_redis.h - an import's way into Redis: the difference to what the feed has is sent. */
#ifndef RESOLVER_CTL_IMPORT_REDIS_H
#define RESOLVER_CTL_IMPORT_REDIS_H

#include "resolver/ctl/import_file.h"

/* Makes the feed in Redis equal to the file, or says what would change. CTL_DONE or what
 * ctl_fail() returned. */
int ctl_import_redis(struct ctl_import *import, const struct config *config);

#endif
