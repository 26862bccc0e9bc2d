/* Streams between a server and a client on one loop, over TCP and a Unix socket. */
#include "resolver/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define QUEUE_MAX 4096u

/* One end as a test sees it. */
struct end {
    struct stream *stream;
    bool connected;
    bool ended;
    bool closed;
    int error;
    int drained;
    size_t size;        /* octets read in all */
    char octets[65536]; /* the first of them */
};

static uv_loop_t loop;
static union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
} listener;
static struct end server, client;
static char path[64];
static struct sockaddr_in address;

static void connected(void *context)
{
    ((struct end *)context)->connected = true;
}

static void heard(void *context, const uint8_t *octets, size_t size)
{
    struct end *end = context;
    assert_true(size > 0 && size <= STREAM_READ_SIZE);
    if (end->size + size <= sizeof(end->octets)) {
        memcpy(end->octets + end->size, octets, size);
    }
    end->size += size;
}

static void ended(void *context, int error)
{
    struct end *end = context;
    assert_false(end->ended); /* once */
    end->ended = true;
    end->error = error;
}

static void drained(void *context)
{
    ((struct end *)context)->drained++;
}

static void closed(void *context)
{
    ((struct end *)context)->closed = true;
}

static const struct stream_calls calls = {
    .connected = connected, .read = heard, .ended = ended, .drained = drained};

static void on_connection(uv_stream_t *stream, int status)
{
    assert_int_equal(status, 0);
    assert_int_equal(stream_accept(stream, QUEUE_MAX, &calls, &server, &server.stream), 0);
}

#define run_until(condition)                                                                       \
    do {                                                                                           \
        for (int alive_ = 1; !(condition);) {                                                      \
            assert_int_not_equal(alive_, 0);                                                       \
            alive_ = uv_run(&loop, UV_RUN_ONCE);                                                   \
        }                                                                                          \
    } while (0)

static int init(bool tcp)
{
    memset(&server, 0, sizeof(server));
    memset(&client, 0, sizeof(client));
    assert_int_equal(uv_loop_init(&loop), 0);
    if (tcp) {
        assert_int_equal(uv_tcp_init(&loop, &listener.tcp), 0);
        assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &address), 0);
        assert_int_equal(uv_tcp_bind(&listener.tcp, (struct sockaddr *)&address, 0), 0);
        int size = sizeof(address);
        assert_int_equal(uv_tcp_getsockname(&listener.tcp, (struct sockaddr *)&address, &size), 0);
    } else {
        (void)snprintf(path, sizeof(path), "/tmp/sinkhole-stream-%ld", (long)getpid());
        (void)unlink(path);
        assert_int_equal(uv_pipe_init(&loop, &listener.pipe, 0), 0);
        assert_int_equal(uv_pipe_bind(&listener.pipe, path), 0);
    }
    assert_int_equal(uv_listen(&listener.stream, 8, on_connection), 0);
    return 0;
}

static int init_tcp(void **state)
{
    (void)state;
    return init(true);
}

static int init_unix(void **state)
{
    (void)state;
    return init(false);
}

static int done(void **state)
{
    (void)state;
    if (server.stream != NULL && !server.closed) {
        stream_close(server.stream, NULL);
    }
    if (client.stream != NULL && !client.closed) {
        stream_close(client.stream, NULL);
    }
    if (!uv_is_closing(&listener.handle)) {
        uv_close(&listener.handle, NULL);
    }
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    (void)unlink(path);
    return 0;
}

static struct stream_target target(void)
{
    return listener.handle.type == UV_TCP
               ? (struct stream_target){.address = (struct sockaddr *)&address}
               : (struct stream_target){.path = path};
}

static void meet(void)
{
    struct stream_target to = target();
    assert_int_equal(stream_connect(&loop, &to, 5000, QUEUE_MAX, &calls, &client, &client.stream),
                     0);
    run_until(client.connected && server.stream != NULL);
}

static int say(struct end *end, const char *octets, size_t size)
{
    uv_buf_t part = uv_buf_init((char *)octets, (unsigned)size);
    return stream_write(end->stream, &part, 1);
}

static void carries_octets_both_ways(void **state)
{
    (void)state;
    meet();
    uv_buf_t parts[] = {uv_buf_init("he", 2), uv_buf_init("", 0), uv_buf_init("llo", 3)};
    assert_int_equal(stream_write(client.stream, parts, 3), 0);
    run_until(server.size == 5);
    assert_memory_equal(server.octets, "hello", 5);
    assert_int_equal(say(&server, "there", 5), 0);
    run_until(client.size == 5);
    assert_memory_equal(client.octets, "there", 5);
}

static void tells_once_that_the_peer_is_gone(void **state)
{
    (void)state;
    meet();
    assert_int_equal(say(&client, "bye", 3), 0);
    stream_close(client.stream, closed);
    run_until(server.ended && client.closed);
    assert_int_equal(server.error, 0);
    assert_int_equal(server.size, 3); /* what was said before came first */
    assert_int_equal(say(&server, "x", 1), -ENOTCONN);
    stream_close(server.stream, closed);
    run_until(server.closed);
}

static void can_not_be_written_to_before_it_is_connected(void **state)
{
    (void)state;
    struct stream_target to = target();
    assert_int_equal(stream_connect(&loop, &to, 5000, QUEUE_MAX, &calls, &client, &client.stream),
                     0);
    assert_int_equal(say(&client, "x", 1), -ENOTCONN);
    run_until(client.connected);
    assert_int_equal(say(&client, "x", 1), 0);
}

static void says_that_nobody_listens(void **state)
{
    (void)state;
    uv_close(&listener.handle, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    struct stream_target to = {.address = (struct sockaddr *)&address};
    assert_int_equal(stream_connect(&loop, &to, 5000, QUEUE_MAX, &calls, &client, &client.stream),
                     0);
    run_until(client.ended);
    assert_int_equal(client.error, -ECONNREFUSED);
    assert_false(client.connected);
}

static void gives_up_connecting_in_time(void **state)
{
    (void)state;
    /* A server that never accepts, its queue filled: the kernel leaves further attempts
     * unanswered. */
    struct sockaddr_in full = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(full);
    int sockets[5];
    for (int i = 0; i < 5; i++) {
        sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        assert_true(sockets[i] >= 0);
        if (i == 0) {
            assert_int_equal(bind(sockets[0], (struct sockaddr *)&full, sizeof(full)), 0);
            assert_int_equal(listen(sockets[0], 0), 0);
            assert_int_equal(getsockname(sockets[0], (struct sockaddr *)&full, &size), 0);
        } else {
            (void)connect(sockets[i], (struct sockaddr *)&full, sizeof(full));
        }
    }
    struct stream_target to = {.address = (struct sockaddr *)&full};
    assert_int_equal(stream_connect(&loop, &to, 50, QUEUE_MAX, &calls, &client, &client.stream), 0);
    run_until(client.ended || client.connected);
    assert_true(client.ended);
    assert_int_equal(client.error, -ETIMEDOUT);
    for (int i = 0; i < 5; i++) {
        close(sockets[i]);
    }
}

static void refuses_a_path_that_would_be_cut(void **state)
{
    (void)state;
    char longer[200];
    memset(longer, 'a', sizeof(longer));
    longer[199] = '\0';
    struct stream_target to = {.path = longer};
    assert_int_equal(stream_connect(&loop, &to, 5000, QUEUE_MAX, &calls, &client, &client.stream),
                     -ENAMETOOLONG);
}

static void bounds_what_waits_and_tells_when_it_is_gone(void **state)
{
    (void)state;
    meet();
    stream_read_pause(server.stream);
    static char octets[2048];
    memset(octets, 'a', sizeof(octets));
    size_t sent = 0;
    int r;
    while ((r = say(&client, octets, sizeof(octets))) == 0) {
        sent += sizeof(octets);
    }
    assert_int_equal(r, -ENOBUFS);
    assert_true(stream_queue_size(client.stream) > 0);
    assert_true(stream_queue_size(client.stream) <= QUEUE_MAX);
    assert_int_equal(server.size, 0);
    assert_int_equal(client.drained, 0);
    assert_int_equal(stream_read_resume(server.stream), 0);
    run_until(server.size == sent && client.drained == 1); /* nothing is lost, nothing is doubled */
    assert_int_equal(stream_queue_size(client.stream), 0);
}

static void drops_what_waits_when_it_is_closed(void **state)
{
    (void)state;
    meet();
    stream_read_pause(server.stream);
    static char octets[2048];
    while (say(&client, octets, sizeof(octets)) == 0) {
    }
    stream_close(client.stream, closed);
    run_until(client.closed);
    assert_int_equal(client.drained, 0);
    assert_false(client.ended);
}

static void knows_its_peer(void **state)
{
    (void)state;
    struct sockaddr_storage peer;
    meet();
    assert_int_equal(stream_peer(client.stream, &peer), 0);
    assert_int_equal(peer.ss_family, listener.handle.type == UV_TCP ? AF_INET : AF_UNIX);
    if (peer.ss_family == AF_INET) {
        assert_int_equal(((struct sockaddr_in *)&peer)->sin_port, address.sin_port);
    }
}

int main(void)
{
#define TCP(name) cmocka_unit_test_setup_teardown(name, init_tcp, done)
#define UNIX(name) cmocka_unit_test_setup_teardown(name, init_unix, done)
    const struct CMUnitTest tests[] = {
        TCP(carries_octets_both_ways),
        UNIX(carries_octets_both_ways),
        TCP(tells_once_that_the_peer_is_gone),
        UNIX(tells_once_that_the_peer_is_gone),
        TCP(can_not_be_written_to_before_it_is_connected),
        TCP(says_that_nobody_listens),
        TCP(gives_up_connecting_in_time),
        UNIX(refuses_a_path_that_would_be_cut),
        TCP(bounds_what_waits_and_tells_when_it_is_gone),
        UNIX(bounds_what_waits_and_tells_when_it_is_gone),
        UNIX(drops_what_waits_when_it_is_closed),
        TCP(knows_its_peer),
        UNIX(knows_its_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
