/* api.h - what the daemon answers to a call of resolver/API.md: requests in, replies out, no
 * sockets.
 *
 * Any thread, also several at once. A call may wait for the list's thread or a reload; the calling
 * thread must not be a registered reader (rcu.h). */
#ifndef RESOLVER_API_H
#define RESOLVER_API_H

#include "resolver/http_parts.h"

#include <stddef.h>
#include <stdint.h>

#define API_CHANGE_SIZE_MAX (4u << 20)   /* names for block and the like: 10,000 of the longest */
#define API_IMPORT_SIZE_MAX (256u << 20) /* a feed's text: 10 million names */

enum api_door { API_DOOR_TCP, API_DOOR_CONTROL };

/* What the calls answer from. */
struct api {
    struct http_parts parts;
    const char *node;
    int64_t started_s;   /* wall clock */
    uint64_t started_ms; /* monotonic */
};

struct api_request {
    const char *path;
    const char *body;
    size_t body_size;
    /* The value of a query argument, or NULL. */
    const char *(*argument)(void *context, const char *name);
    void *context;
    int64_t peer_uid; /* who asks over the control socket; -1: unknown */
};

struct api_reply {
    unsigned status;
    const char *type;  /* Content-Type */
    const char *allow; /* for 405, else NULL */
    char *body;        /* from malloc, the caller's */
    size_t size;
};

/* One row of the table of calls. */
struct api_call;

/* The call that a request line names. NULL when there is none: *ret_refusal is 404, or 405 with
 * *ret_allow set. HEAD counts as GET. */
const struct api_call *api_find(enum api_door door, const char *method, const char *path,
                                unsigned *ret_refusal, const char **ret_allow);

/* The largest body it takes; 0: none. */
size_t api_body_size_max(const struct api_call *call);

/* Answers, whatever happens. */
void api_answer(const struct api *api, const struct api_call *call,
                const struct api_request *request, struct api_reply *ret_reply);

/* An error as the API writes it. */
void api_refuse(unsigned status, const char *error, struct api_reply *ret_reply);

#endif
