/* stream.h - octets to and from one peer over TCP or a Unix socket, on a uv loop.
 *
 * The one layer for connections we make (Redis) and connections we take (DNS over TCP); what it
 * carries and whether it is encrypted is not the user's business: octets out, octets in,
 * `connected` when both ways are open. Everything happens on the loop's thread, and no callback is
 * called from inside a call of its user.
 *
 * A stream lives from stream_connect() or stream_accept() to its `closed` callback; in between
 * stream_close() is called exactly once, by its user, whatever happened. It may be called from any
 * callback. */
#ifndef RESOLVER_STREAM_H
#define RESOLVER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#define STREAM_READ_SIZE 65536u /* octets a `read` call at most */

struct stream;

struct stream_calls {
    /* The stream may be written to and `read` may follow. Streams that connect only; NULL
     * is fine. */
    void (*connected)(void *context);
    /* 1..STREAM_READ_SIZE octets, lent for the call. */
    void (*read)(void *context, const uint8_t *octets, size_t size);
    /* Called once at most: nothing more will be read or written. 0: the peer ended it in order;
     * -ETIMEDOUT: it could not be made in time; else what went wrong. The user closes
     * the stream. */
    void (*ended)(void *context, int error);
    /* Everything written has reached the kernel, after a write that could not at once; NULL is
     * fine. */
    void (*drained)(void *context);
};

/* Where to connect to: a socket address, or a Unix socket's path. */
struct stream_target {
    const struct sockaddr *address; /* NULL: `path` is used */
    const char *path;
};

/* Starts to connect; `connected` or `ended` follows, `ended` with -ETIMEDOUT after `timeout_ms`.
 * `queue_max` bounds the octets that wait to be written. `calls` is copied, `context` borrowed.
 * 0 or -errno. */
int stream_connect(uv_loop_t *loop, const struct stream_target *target, uint64_t timeout_ms,
                   size_t queue_max, const struct stream_calls *calls, void *context,
                   struct stream **ret_stream);

/* Takes a connection that `server` (a uv_tcp_t or uv_pipe_t that listens) reported, and starts to
 * read. To be called in the server's connection callback. 0 or -errno; then the connection
 * is gone. */
int stream_accept(uv_stream_t *server, size_t queue_max, const struct stream_calls *calls,
                  void *context, struct stream **ret_stream);

/* Writes the parts one after the other, all or nothing; what the kernel does not take at once is
 * copied. 0; -ENOBUFS if more than `queue_max` octets would wait; -ENOTCONN before `connected`,
 * after `ended` and after stream_close(); -EPIPE and the like when the peer is gone (`ended` may
 * follow or not: close the stream). */
int stream_write(struct stream *stream, const uv_buf_t *parts, unsigned count);

/* Octets that wait to be written. */
size_t stream_queue_size(const struct stream *stream);

/* Stops and starts reading, to hold back a peer that is faster than its user. No-ops where it is so
 * already. resume: 0 or -errno. */
void stream_read_pause(struct stream *stream);
int stream_read_resume(struct stream *stream);

/* The peer's address. 0 or -errno; a Unix socket has AF_UNIX and no more. */
int stream_peer(const struct stream *stream, struct sockaddr_storage *ret_address);

/* Closes at once; octets that wait are dropped. Of the callbacks only `closed` (NULL is fine) is
 * called from here on, later, with the stream's context; then the stream is gone. */
void stream_close(struct stream *stream, void (*closed)(void *context));

#endif
