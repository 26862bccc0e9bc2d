/* ask.h - a call of the daemon's API (resolver/API.md), with errors said and turned to exit
 * statuses. */
#ifndef RESOLVER_CTL_ASK_H
#define RESOLVER_CTL_ASK_H

#include "resolver/ctl/client.h"
#include "resolver/ctl/ctl.h"

/* The body as it came. CTL_DONE, or what ctl_fail() returned: CTL_NOT_FOUND for 404, CTL_USAGE
 * for a GET's 400, CTL_FAILED for every other error, with the daemon's own words. The response is
 * to be released by ctl_response_done(). */
int ctl_ask_text(struct ctl *ctl, const char *method, const char *target, const char *type,
                 const char *body, size_t body_size, struct ctl_response *ret_response);

/* The same for an answer that is a JSON object, which is the caller's to release. */
int ctl_ask(struct ctl *ctl, const char *method, const char *target, const char *type,
            const char *body, size_t body_size, json_t **ret_document);

static inline int ctl_ask_get(struct ctl *ctl, const char *target, json_t **ret_document)
{
    return ctl_ask(ctl, "GET", target, NULL, NULL, 0, ret_document);
}

/* A string of an object, or "" when it is missing or no string. Lent by the object. */
const char *ctl_json_text(const json_t *object, const char *key);

/* A scalar of any type as text: "yes" and "no", numbers in decimal, "" for null and for what is no
 * scalar. `buffer` serves numbers. */
const char *ctl_json_scalar(const json_t *value, char buffer[static 32]);

#endif
