/* limits.h - every limit of the daemon that is not an option, with its reason. */
#ifndef RESOLVER_LIMITS_H
#define RESOLVER_LIMITS_H

#define UDP_BATCH_MAX 64u          /* messages a recvmmsg: 64 keeps a batch's data within L2 */
#define UDP_PACKET_SIZE_MAX 4096u  /* no question is larger; what is longer is cut */
#define TCP_MESSAGE_SIZE_MAX 4096u /* the same by TCP; a longer one ends the connection */
#define TCP_BATCH_MAX 16u          /* pipelined questions worked on at once: their answers' room */
#define TCP_OPEN_MAX 128u     /* questions of a connection in flight; then it is read no further */
#define TCP_QUEUE_HIGH 65536u /* octets a slow reader lets pile up before it is read no further */
#define TCP_QUEUES_MAX (64u << 20) /* of all readers of a worker; then slow ones are closed */
#define UDP_BATCHES_PER_WAKE 8u    /* then other sockets get their turn */
#define EDNS_UDP_SIZE_MIN 512u     /* RFC 6891, 6.2.3: smaller values mean 512 */
#define MESSAGE_SIZE_MAX 65535u    /* RFC 1035, 4.2.2 */
#define CHAIN_NAMES_MAX 16u /* CNAME and DNAME links followed in one answer; more: SERVFAIL */
#define WORKERS_MAX 256u
#define RECURSORS_MAX 64u
#define LISTEN_MAX 64u
#define PREFIXES_MAX 4096u /* access.allow */
#define LIST_FILES_MAX 256u
#define OUTGOING_MAX 64u
#define HIT_OUTPUTS_MAX 16u
#define HTTP_LISTEN_MAX 16u
#define SINKHOLE_ADDRESSES_MAX 8u
#define REDIS_SERVERS_MAX 16u

#endif
