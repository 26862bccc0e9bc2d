#include "resolver/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* CONNECTING -> OPEN -> ENDED; closing is apart, since the user closes from any of them. */
enum state { CONNECTING, OPEN, ENDED };

struct stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    uv_timer_t timer; /* of a stream that connects */
    uv_connect_t connect;
    struct stream_calls calls;
    void *context;
    void (*closed)(void *context);
    size_t queue_max;
    enum state state;
    int handles; /* whose close callback is still to come */
    bool closing;
    bool reading;
    bool waiting; /* octets were queued since `drained` was last called */
};

/* Octets the kernel did not take at once. */
struct waiting {
    uv_write_t write;
    uint8_t octets[];
};

static void end(struct stream *stream, int error)
{
    if (stream->closing || stream->state == ENDED) {
        return;
    }
    stream->state = ENDED;
    stream_read_pause(stream);
    stream->calls.ended(stream->context, error);
}

/* One buffer a thread is enough: libuv fills it and hands it to on_read() before it asks again. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    static _Thread_local uint8_t buffer[STREAM_READ_SIZE];
    (void)handle;
    (void)suggested;
    *ret_buffer = uv_buf_init((char *)buffer, sizeof(buffer));
}

static void on_read(uv_stream_t *uv, ssize_t size, const uv_buf_t *buffer)
{
    struct stream *stream = uv->data;
    if (size > 0 && !stream->closing) {
        stream->calls.read(stream->context, (const uint8_t *)buffer->base, (size_t)size);
    } else if (size < 0) {
        end(stream, size == UV_EOF ? 0 : (int)size);
    }
}

int stream_read_resume(struct stream *stream)
{
    if (stream->reading || stream->closing || stream->state != OPEN) {
        return 0;
    }
    int r = uv_read_start(&stream->uv.stream, on_alloc, on_read);
    stream->reading = r == 0;
    return r;
}

void stream_read_pause(struct stream *stream)
{
    if (stream->reading) {
        (void)uv_read_stop(&stream->uv.stream); /* always 0 */
        stream->reading = false;
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;
    stream->handles--;
    if (stream->handles == 0) {
        if (stream->closed != NULL) {
            stream->closed(stream->context);
        }
        free(stream);
    }
}

void stream_close(struct stream *stream, void (*closed)(void *context))
{
    assert(!stream->closing);
    stream->closing = true;
    stream->closed = closed;
    stream->reading = false;
    uv_close(&stream->uv.handle, on_closed);
    if (stream->handles > 1) {
        uv_close((uv_handle_t *)&stream->timer, on_closed);
    }
}

static void on_timeout(uv_timer_t *timer)
{
    end(timer->data, -ETIMEDOUT);
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct stream *stream = connect->data;
    if (stream->closing || stream->state != CONNECTING) {
        return;
    }
    (void)uv_timer_stop(&stream->timer);
    if (status == 0) {
        stream->state = OPEN;
        status = stream_read_resume(stream);
    }
    if (status != 0) {
        end(stream, status);
    } else if (stream->calls.connected != NULL) {
        stream->calls.connected(stream->context);
    }
}

/* A stream without handles yet; NULL when memory is short. */
static struct stream *stream_new(size_t queue_max, const struct stream_calls *calls, void *context)
{
    assert(calls->read != NULL && calls->ended != NULL);
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream != NULL) {
        stream->calls = *calls;
        stream->context = context;
        stream->queue_max = queue_max;
    }
    return stream;
}

static int init_handle(struct stream *stream, uv_loop_t *loop, bool tcp)
{
    int r = tcp ? uv_tcp_init(loop, &stream->uv.tcp) : uv_pipe_init(loop, &stream->uv.pipe, 0);
    if (r == 0) {
        stream->uv.handle.data = stream;
        stream->handles = 1;
    }
    return r;
}

static int start_connect(struct stream *stream, const struct stream_target *target,
                         uint64_t timeout_ms)
{
    stream->connect.data = stream;
    int r = uv_timer_start(&stream->timer, on_timeout, timeout_ms, 0);
    if (r != 0) {
        return r;
    }
    if (target->address == NULL) {
        uv_pipe_connect(&stream->connect, &stream->uv.pipe, target->path, on_connect);
        return 0;
    }
    r = uv_tcp_connect(&stream->connect, &stream->uv.tcp, target->address, on_connect);
    if (r == 0) {
        /* Commands are small and answered at once; a refusal of these is no reason to give up. */
        (void)uv_tcp_nodelay(&stream->uv.tcp, 1);
        (void)uv_tcp_keepalive(&stream->uv.tcp, 1, 60);
    }
    return r;
}

int stream_connect(uv_loop_t *loop, const struct stream_target *target, uint64_t timeout_ms,
                   size_t queue_max, const struct stream_calls *calls, void *context,
                   struct stream **ret_stream)
{
    assert(target->address != NULL || target->path != NULL);
    if (target->address == NULL &&
        strlen(target->path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        return -ENAMETOOLONG; /* libuv would cut it */
    }
    struct stream *stream = stream_new(queue_max, calls, context);
    if (stream == NULL) {
        return -ENOMEM;
    }
    int r = init_handle(stream, loop, target->address != NULL);
    if (r != 0) {
        free(stream);
        return r;
    }
    r = uv_timer_init(loop, &stream->timer);
    if (r == 0) {
        stream->timer.data = stream;
        stream->handles = 2;
        r = start_connect(stream, target, timeout_ms);
    }
    if (r != 0) {
        stream_close(stream, NULL);
        return r;
    }
    *ret_stream = stream;
    return 0;
}

int stream_accept(uv_stream_t *server, size_t queue_max, const struct stream_calls *calls,
                  void *context, struct stream **ret_stream)
{
    bool tcp = server->type == UV_TCP;
    struct stream *stream = stream_new(queue_max, calls, context);
    if (stream == NULL) {
        return -ENOMEM;
    }
    int r = init_handle(stream, server->loop, tcp);
    if (r != 0) {
        free(stream);
        return r;
    }
    r = uv_accept(server, &stream->uv.stream);
    if (r == 0) {
        stream->state = OPEN;
        if (tcp) {
            (void)uv_tcp_nodelay(&stream->uv.tcp, 1);
        }
        r = stream_read_resume(stream);
    }
    if (r != 0) {
        stream_close(stream, NULL);
        return r;
    }
    *ret_stream = stream;
    return 0;
}

static void on_write(uv_write_t *write, int status)
{
    struct stream *stream = write->handle->data;
    free(write->data);
    if (stream->closing) {
        return;
    }
    if (status != 0) {
        end(stream, status);
    } else if (stream->waiting && stream->state == OPEN && stream_queue_size(stream) == 0) {
        /* Newer versions of libuv empty the queue first and then call back for each write. */
        stream->waiting = false;
        if (stream->calls.drained != NULL) {
            stream->calls.drained(stream->context);
        }
    }
}

/* Copies what is left of the parts after `done` octets and hands it to libuv. */
static int write_later(struct stream *stream, const uv_buf_t *parts, unsigned count, size_t done,
                       size_t size)
{
    struct waiting *waiting = malloc(sizeof(*waiting) + size - done);
    if (waiting == NULL) {
        return -ENOMEM;
    }
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t skip = done < parts[i].len ? done : parts[i].len;
        done -= skip;
        if (parts[i].len > skip) {
            memcpy(waiting->octets + at, parts[i].base + skip, parts[i].len - skip);
            at += parts[i].len - skip;
        }
    }
    waiting->write.data = waiting;
    uv_buf_t buffer = uv_buf_init((char *)waiting->octets, (unsigned)at);
    int r = uv_write(&waiting->write, &stream->uv.stream, &buffer, 1, on_write);
    if (r != 0) {
        free(waiting);
        return r;
    }
    stream->waiting = true;
    return 0;
}

int stream_write(struct stream *stream, const uv_buf_t *parts, unsigned count)
{
    if (stream->closing || stream->state != OPEN) {
        return -ENOTCONN;
    }
    size_t size = 0;
    for (unsigned i = 0; i < count; i++) {
        size += parts[i].len;
    }
    size_t queued = stream_queue_size(stream);
    size_t done = 0;
    if (queued == 0 && size > 0) {
        int r = uv_try_write(&stream->uv.stream, parts, count);
        if (r < 0 && r != UV_EAGAIN) {
            return r;
        }
        done = r > 0 ? (size_t)r : 0;
    }
    if (done == size) {
        return 0;
    }
    /* A peer that was handed a part must get the rest, so the limit then gives way once. */
    if (done == 0 && (size > stream->queue_max || queued > stream->queue_max - size)) {
        return -ENOBUFS;
    }
    return write_later(stream, parts, count, done, size);
}

size_t stream_queue_size(const struct stream *stream)
{
    return uv_stream_get_write_queue_size(&stream->uv.stream);
}

int stream_peer(const struct stream *stream, struct sockaddr_storage *ret_address)
{
    if (stream->uv.handle.type != UV_TCP) {
        memset(ret_address, 0, sizeof(*ret_address));
        ret_address->ss_family = AF_UNIX;
        return 0;
    }
    int size = sizeof(*ret_address);
    return uv_tcp_getpeername(&stream->uv.tcp, (struct sockaddr *)ret_address, &size);
}
