/* list.h - the operator's changes of single names: block, unblock, allow, unallow. */
#ifndef RESOLVER_CTL_LIST_H
#define RESOLVER_CTL_LIST_H

#include "resolver/ctl/ctl.h"

#define CTL_OPERATOR_FEED "operator"

enum ctl_operation { CTL_BLOCK, CTL_UNBLOCK, CTL_ALLOW, CTL_UNALLOW };

/* Makes the change in Redis. *ret_document is {"feed", "revision", "results": [{"name", "result",
 * "reason"}, ...]}, the results as in resolver/API.md, the caller's to release. CTL_DONE also when
 * single names were refused or not found; else what ctl_fail() returned. */
int ctl_list_redis(struct ctl *ctl, const struct config *config, enum ctl_operation operation,
                   json_t **ret_document);

#endif
