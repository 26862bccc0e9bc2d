/* udp.h - questions and answers by UDP: batches of recvmmsg and sendmmsg on a worker's sockets.
 *
 * One wake-up reads up to UDP_BATCHES_PER_WAKE batches; each goes through the pipeline as a whole
 * and is answered by one call. Answers leave from the address the client asked. */
#ifndef RESOLVER_UDP_H
#define RESOLVER_UDP_H

#include "resolver/door.h"
#include "resolver/query.h"

#include <uv.h>

struct udp;

/* Takes over the UDP descriptors of `doors`. On failure *ret_udp is what there is to stop and free
 * (NULL if nothing). `udp_size`: no answer is larger. The rest is borrowed. 0 or -errno. */
int udp_start(uv_loop_t *loop, struct door *doors, size_t door_count, uint16_t udp_size,
              struct query_engine *engine, struct metrics *metrics, struct udp **ret_udp);

/* Queues the answer to a question that was pending; udp_flush() sends. */
void udp_send(struct udp *udp, const struct client *client, const uint8_t *answer, size_t size);
void udp_flush(struct udp *udp);

/* Stops reading and closes; free after the loop has run out. */
void udp_stop(struct udp *udp);
void udp_free(struct udp *udp); /* NULL is fine */

#endif
