/* client.h - one HTTP/1.1 request to the daemon over its control socket (resolver/API.md).
 *
 * A connection carries one request, and its end is the end of the answer. What comes back is parsed
 * as foreign: the socket's path may lead anywhere. */
#ifndef RESOLVER_CTL_CLIENT_H
#define RESOLVER_CTL_CLIENT_H

#include "resolver/ctl/arguments.h"

#include <stddef.h>

#define CTL_RESPONSE_SIZE_MAX (256u << 20) /* octets; no answer of the daemon is near it */
#define CTL_HEAD_SIZE_MAX 65536u
#define CTL_SILENCE_MAX_MS 60000 /* the daemon gives its own threads 30 s */

struct ctl_response {
    unsigned status;
    char *body; /* NUL-ended beyond body_size */
    size_t body_size;
};

/* Reads one whole answer: status line, head, and a body that is chunked, has a length, or ends
 * where the octets end (RFC 9112, 4 to 7). 0 with a body on the heap, -EBADMSG when it is malformed
 * or cut short, -ENOMEM. */
int ctl_response_parse(const char *octets, size_t size, struct ctl_response *ret_response);
void ctl_response_done(struct ctl_response *response);

/* Sends `method` `target` with an optional body of `type` and waits for the answer, whatever its
 * status. 0 or -errno with a line in ret_error that names the socket and what to do. */
int ctl_request(const char *socket_path, const char *method, const char *target, const char *type,
                const char *body, size_t body_size, struct ctl_response *ret_response,
                char ret_error[static CTL_ERROR_SIZE]);

/* Percent-encodes a query's value (RFC 3986, 2.1) on the heap; NULL when memory is short. */
char *ctl_url_encode(const char *text);

#endif
