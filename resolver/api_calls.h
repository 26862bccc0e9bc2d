/* api_calls.h - the calls of the API that have a file of their own. Nobody but api*.c
 * includes it. */
#ifndef RESOLVER_API_CALLS_H
#define RESOLVER_API_CALLS_H

#include "resolver/api.h"

/* A JSON string; what is not UTF-8 becomes question marks. The caller's. */
json_t *api_text(const char *text);

/* Sets a member to a text. */
void api_set_text(json_t *object, const char *key, const char *text);

/* Takes over the document. */
void api_reply_json(unsigned status, json_t *document, struct api_reply *ret_reply);

/* An array of texts: why the daemon is not ready; empty when it is. The caller's. */
json_t *api_not_ready(const struct api *api, const struct sync_status *sync);

/* api_scrape.c: GET /metrics */
void api_scrape(const struct api *api, const struct api_request *request,
                struct api_reply *ret_reply);

/* api_status.c: GET /api/v1/status */
void api_status(const struct api *api, const struct api_request *request,
                struct api_reply *ret_reply);

/* api_why.c: GET /api/v1/why */
void api_why(const struct api *api, const struct api_request *request, struct api_reply *ret_reply);

#endif
