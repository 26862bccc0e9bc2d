/* tcp.h - questions and answers by TCP (RFC 7766): pipelined, answered out of order, a length
 * before each message.
 *
 * A connection costs its clients' limits, not the others: connections are bounded in all and per
 * client address, idle and total time are bounded, and a reader so slow that its answers pile up is
 * read no further, then closed. */
#ifndef RESOLVER_TCP_H
#define RESOLVER_TCP_H

#include "resolver/door.h"
#include "resolver/query.h"

#include <uv.h>

/* Connections of all workers, so that the limits are exact. */
struct tcp_census;
/* `clients_max`: connections in all; `each_max`: of one client prefix. The secret is borrowed. NULL
 * when memory is short. */
struct tcp_census *tcp_census_new(uint32_t clients_max, uint32_t each_max,
                                  const struct bl_secret *secret);
void tcp_census_free(struct tcp_census *census); /* NULL is fine */

struct tcp_limits {
    uint32_t clients_max; /* connections in all: this worker may come to have them all */
    uint32_t idle_ms;     /* without a whole question */
    uint32_t total_ms;    /* of a connection's life */
};

struct tcp;

/* Takes over the TCP descriptors of `doors`; the rest is borrowed. On failure *ret_tcp is what
 * there is to stop and free (NULL if nothing). 0 or -errno. */
int tcp_start(uv_loop_t *loop, struct door *doors, size_t door_count,
              const struct tcp_limits *limits, struct tcp_census *census,
              struct query_engine *engine, struct metrics *metrics, struct tcp **ret_tcp);

/* Sends the answer to a question that was pending, or with size 0 none; a connection closed since
 * is a no-op (counted). */
void tcp_send(struct tcp *tcp, const struct client *client, const uint8_t *answer, size_t size);

/* Closes idle and overdue connections; to be called every 100 ms or so. */
void tcp_tick(struct tcp *tcp);

/* Closes everything; free after the loop has run out. */
void tcp_stop(struct tcp *tcp);
void tcp_free(struct tcp *tcp); /* NULL is fine */

#endif
