/* http.h - HTTP for scrapers on http.listen, and for sinkholectl on the control socket.
 *
 * resolver/API.md says what is served where. Each address of http.listen has a thread of its own,
 * on which a scrape is answered while others wait; each connection of the control socket has its
 * own thread, so that an import or a reload that takes its time keeps nobody from asking for the
 * status. Connections, requests and idle times are bounded. */
#ifndef RESOLVER_HTTP_H
#define RESOLVER_HTTP_H

#include "resolver/config.h"
#include "resolver/http_parts.h"

#define HTTP_ERROR_SIZE 256u

struct http;

/* Binds http.listen and the control socket (mode 0660; its folder is made if missing, and a socket
 * on which nobody answers any more is replaced) and starts the threads. What it needs of `config`
 * and `parts` is copied. On failure -errno and a message naming what and where; nothing runs. */
int http_start(const struct config *config, const struct http_parts *parts, struct http **ret_http,
               char ret_error[static HTTP_ERROR_SIZE]);

/* Ends the threads and waits for them; requests at work are finished first. Removes the control
 * socket if it is still ours. NULL is fine. */
void http_stop(struct http *http);

#endif
