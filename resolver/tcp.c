#include "resolver/tcp.h"

#include "blocklist/rcu.h"
#include "resolver/quota.h"
#include "resolver/stream.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LENGTH_SIZE 2u /* RFC 1035, 4.2.2 */
#define BACKLOG 1024
#define ANSWER_ROOM (LENGTH_SIZE + MESSAGE_SIZE_MAX)
/* What may wait for a slow reader: what was there when reading paused, and the answers to all that
 * was read before. Past this it is closed. */
#define QUEUE_MAX (TCP_QUEUE_HIGH + 2 * TCP_BATCH_MAX * ANSWER_ROOM)
#define NONE UINT32_MAX

struct connection {
    struct tcp *tcp;
    struct stream *stream; /* NULL: the slot is free */
    struct client client;
    uint64_t opened_ms;
    uint64_t heard_ms;   /* last whole question or answer */
    uint64_t stalled_ms; /* since when answers wait for the reader; 0: none do */
    size_t queued;       /* octets that wait for the reader, as counted in tcp.queued */
    uint32_t open;       /* questions in flight */
    uint32_t next_free;
    uint32_t live_index; /* where in tcp.live its slot stands */
    bool closing;
    bool paused;
    size_t input_size; /* octets of a message that has not come whole */
    uint8_t input[LENGTH_SIZE + TCP_MESSAGE_SIZE_MAX];
};

struct tcp {
    uv_loop_t *loop;
    struct query_engine *engine;
    struct metrics *metrics;
    struct tcp_limits limits;
    struct tcp_census *census;
    uint8_t *answers; /* TCP_BATCH_MAX of ANSWER_ROOM */
    struct connection *connections;
    uint32_t free;  /* first of the slots given back */
    uint32_t fresh; /* slots from here on were never used, and cost no memory yet */
    uint32_t *live; /* slots in use, in no order */
    uint32_t live_count;
    size_t queued; /* octets that wait for all readers */
    size_t server_count;
    uv_tcp_t *servers;
    struct query queries[TCP_BATCH_MAX];
    uv_buf_t parts[TCP_BATCH_MAX];
};

/* Taken once a connection, never on the way of a question. */
struct tcp_census {
    pthread_mutex_t lock;
    uint32_t each_max;
    uint32_t room; /* connections that may still be made */
    struct quota *quota;
};

struct tcp_census *tcp_census_new(uint32_t clients_max, uint32_t each_max,
                                  const struct bl_secret *secret)
{
    struct tcp_census *census = malloc(sizeof(*census));
    struct quota *quota = quota_new(clients_max, secret);
    if (census == NULL || quota == NULL) {
        free(census);
        quota_free(quota);
        return NULL;
    }
    *census = (struct tcp_census){.each_max = each_max, .room = clients_max, .quota = quota};
    pthread_mutex_init(&census->lock, NULL);
    return census;
}

void tcp_census_free(struct tcp_census *census)
{
    if (census != NULL) {
        pthread_mutex_destroy(&census->lock);
        quota_free(census->quota);
        free(census);
    }
}

static bool census_enter(struct tcp_census *census, const uint8_t *address)
{
    pthread_mutex_lock(&census->lock);
    bool entered = census->room > 0 && quota_take(census->quota, address, census->each_max);
    census->room -= entered;
    pthread_mutex_unlock(&census->lock);
    return entered;
}

static void census_leave(struct tcp_census *census, const uint8_t *address)
{
    pthread_mutex_lock(&census->lock);
    quota_give(census->quota, address);
    census->room++;
    pthread_mutex_unlock(&census->lock);
}

/* ---- connections ---- */

static void count_queue(struct connection *connection, size_t queued)
{
    connection->tcp->queued += queued - connection->queued;
    connection->queued = queued;
}

static void closed(void *context)
{
    struct connection *connection = context;
    struct tcp *tcp = connection->tcp;
    census_leave(tcp->census, connection->client.address);
    count_queue(connection, 0);
    connection->stream = NULL;
    connection->client.tcp.generation++; /* answers that are still on their way find nobody */
    connection->next_free = tcp->free;
    tcp->free = connection->client.tcp.slot;

    uint32_t last = tcp->live[--tcp->live_count];
    tcp->live[connection->live_index] = last;
    tcp->connections[last].live_index = connection->live_index;
}

static void close_connection(struct connection *connection)
{
    if (!connection->closing) {
        connection->closing = true;
        stream_close(connection->stream, closed);
    }
}

/* A connection is read while it can take more answers. */
static void pause_or_resume(struct connection *connection)
{
    bool full =
        connection->open >= TCP_OPEN_MAX || stream_queue_size(connection->stream) > TCP_QUEUE_HIGH;
    if (full && !connection->paused) {
        stream_read_pause(connection->stream);
        connection->paused = true;
    } else if (!full && connection->paused) {
        connection->paused = false;
        if (stream_read_resume(connection->stream) != 0) {
            close_connection(connection);
        }
    }
}

static void write_answers(struct connection *connection, unsigned count)
{
    struct tcp *tcp = connection->tcp;
    int r = stream_write(connection->stream, tcp->parts, count);
    if (r != 0) {
        if (r == -ENOBUFS) {
            metrics_add(tcp->metrics, METRIC_TCP_CLOSED_SLOW, 1);
        }
        close_connection(connection);
        return;
    }
    count_queue(connection, stream_queue_size(connection->stream));
    if (connection->queued > 0 && tcp->queued > TCP_QUEUES_MAX) {
        metrics_add(tcp->metrics, METRIC_TCP_CLOSED_SLOW, 1);
        close_connection(connection);
        return;
    }
    if (connection->stalled_ms == 0 && connection->queued > 0) {
        connection->stalled_ms = uv_now(tcp->loop);
    }
    pause_or_resume(connection);
}

static void put_length(uint8_t *at, size_t size)
{
    at[0] = (uint8_t)(size >> 8);
    at[1] = (uint8_t)size;
}

static uint8_t *answer_at(struct tcp *tcp, unsigned index)
{
    return tcp->answers + (size_t)index * ANSWER_ROOM;
}

static void work(struct connection *connection, unsigned count)
{
    struct tcp *tcp = connection->tcp;
    unsigned part_count = 0;

    if (count == 0) {
        return;
    }
    bl_rcu_online();
    query_batch(tcp->engine, tcp->queries, count);
    bl_rcu_offline();
    connection->heard_ms = uv_now(tcp->loop);
    for (unsigned i = 0; i < count; i++) {
        if (tcp->queries[i].outcome == QUERY_PENDING) {
            connection->open++;
        } else if (tcp->queries[i].outcome == QUERY_ANSWERED) {
            uint8_t *answer = answer_at(tcp, i);
            put_length(answer, tcp->queries[i].answer_size);
            tcp->parts[part_count++] =
                uv_buf_init((char *)answer, (unsigned)(LENGTH_SIZE + tcp->queries[i].answer_size));
        }
    }
    if (part_count > 0) {
        write_answers(connection, part_count);
    } else {
        pause_or_resume(connection);
    }
}

static void add_query(struct connection *connection, unsigned index, const uint8_t *message,
                      size_t size)
{
    struct tcp *tcp = connection->tcp;
    tcp->queries[index] = (struct query){
        .packet = message,
        .packet_size = size,
        .client = &connection->client,
        .answer = answer_at(tcp, index) + LENGTH_SIZE,
    };
}

/* The size of the message whose length starts at `octets`; 0 for one that no question has. */
static size_t message_size(const uint8_t *octets)
{
    size_t size = (size_t)octets[0] << 8 | octets[1];
    return size >= DNS_HEADER_SIZE && size <= TCP_MESSAGE_SIZE_MAX ? size : 0;
}

/* Completes the message begun in an earlier read. Returns how many octets that took. */
static size_t complete(struct connection *connection, const uint8_t *octets, size_t size)
{
    size_t used = 0;
    while (used < size && connection->input_size < LENGTH_SIZE) {
        connection->input[connection->input_size++] = octets[used++];
    }
    if (connection->input_size < LENGTH_SIZE) {
        return used;
    }
    size_t message = message_size(connection->input);
    if (message == 0) {
        metrics_add(connection->tcp->metrics, METRIC_DROPPED_MALFORMED, 1);
        close_connection(connection);
        return used;
    }
    size_t missing = LENGTH_SIZE + message - connection->input_size;
    size_t taken = size - used < missing ? size - used : missing;
    memcpy(connection->input + connection->input_size, octets + used, taken);
    connection->input_size += taken;
    if (taken == missing) {
        add_query(connection, 0, connection->input + LENGTH_SIZE, message);
        connection->input_size = 0;
        work(connection, 1);
    }
    return used + taken;
}

static void read_octets(void *context, const uint8_t *octets, size_t size)
{
    struct connection *connection = context;
    size_t used = connection->input_size > 0 ? complete(connection, octets, size) : 0;
    unsigned count = 0;

    /* What was read is worked on even when reading has paused meanwhile: 64 KiB bound it. */
    while (!connection->closing && size - used >= LENGTH_SIZE) {
        size_t message = message_size(octets + used);
        if (message == 0) {
            metrics_add(connection->tcp->metrics, METRIC_DROPPED_MALFORMED, 1);
            work(connection, count);
            close_connection(connection);
            return;
        }
        if (size - used < LENGTH_SIZE + message) {
            break;
        }
        add_query(connection, count++, octets + used + LENGTH_SIZE, message);
        used += LENGTH_SIZE + message;
        if (count == TCP_BATCH_MAX) {
            work(connection, count);
            count = 0;
        }
    }
    if (connection->closing) {
        return;
    }
    work(connection, count);
    memcpy(connection->input + connection->input_size, octets + used, size - used);
    connection->input_size += size - used;
}

static void ended(void *context, int error)
{
    (void)error;
    close_connection(context);
}

static void drained(void *context)
{
    struct connection *connection = context;
    connection->stalled_ms = 0;
    count_queue(connection, 0);
    pause_or_resume(connection);
}

static void read_address(const struct sockaddr_storage *peer, struct client *client)
{
    client->ipv4 = peer->ss_family == AF_INET;
    if (client->ipv4) {
        memset(client->address, 0, 10);
        client->address[10] = client->address[11] = 0xff;
        memcpy(client->address + 12, &((const struct sockaddr_in *)peer)->sin_addr, 4);
    } else {
        memcpy(client->address, &((const struct sockaddr_in6 *)peer)->sin6_addr, 16);
    }
}

static struct connection *free_slot(struct tcp *tcp)
{
    if (tcp->free == NONE && tcp->fresh == tcp->limits.clients_max) {
        return NULL;
    }
    return &tcp->connections[tcp->free != NONE ? tcp->free : tcp->fresh];
}

static void take_slot(struct tcp *tcp, struct connection *connection)
{
    if (tcp->free != NONE) {
        tcp->free = connection->next_free;
    } else {
        connection->tcp = tcp;
        connection->client.tcp.slot = tcp->fresh++;
    }
}

static const struct stream_calls calls = {.read = read_octets, .ended = ended, .drained = drained};

static void refused(void *context)
{
    (void)context;
}

static void connected(uv_stream_t *server, int status)
{
    struct tcp *tcp = server->data;
    struct stream *stream;
    struct sockaddr_storage peer;
    struct connection *connection = free_slot(tcp);
    if (status != 0 || stream_accept(server, QUEUE_MAX, &calls, connection, &stream) != 0) {
        return;
    }
    struct client client = {.transport = CLIENT_TCP, .verified = true};
    bool taken = connection != NULL && stream_peer(stream, &peer) == 0;
    if (taken) {
        read_address(&peer, &client);
        taken = census_enter(tcp->census, client.address);
    }
    if (!taken) {
        metrics_add(tcp->metrics, METRIC_TCP_REFUSED, 1);
        stream_close(stream, refused);
        return;
    }
    metrics_add(tcp->metrics, METRIC_TCP_ACCEPTED, 1);
    take_slot(tcp, connection);
    connection->live_index = tcp->live_count;
    tcp->live[tcp->live_count++] = connection->client.tcp.slot;
    client.tcp.slot = connection->client.tcp.slot;
    client.tcp.generation = connection->client.tcp.generation;
    connection->client = client;
    connection->stream = stream;
    connection->opened_ms = connection->heard_ms = uv_now(tcp->loop);
    connection->stalled_ms = 0;
    connection->open = 0;
    connection->closing = connection->paused = false;
    connection->input_size = 0;
}

/* ---- what the worker calls ---- */

void tcp_send(struct tcp *tcp, const struct client *client, const uint8_t *answer, size_t size)
{
    struct connection *connection = &tcp->connections[client->tcp.slot];
    if (connection->stream == NULL || connection->closing ||
        connection->client.tcp.generation != client->tcp.generation) {
        metrics_add(tcp->metrics, METRIC_DROPPED_CLIENT_GONE, size > 0);
        return;
    }
    connection->open--;
    connection->heard_ms = uv_now(tcp->loop);
    if (size == 0) {
        pause_or_resume(connection);
        return;
    }
    uint8_t length[LENGTH_SIZE];
    put_length(length, size);
    tcp->parts[0] = uv_buf_init((char *)length, sizeof(length));
    tcp->parts[1] = uv_buf_init((char *)(uintptr_t)answer, (unsigned)size);
    write_answers(connection, 2);
}

void tcp_tick(struct tcp *tcp)
{
    uint64_t now_ms = uv_now(tcp->loop);
    for (uint32_t i = 0; i < tcp->live_count; i++) {
        struct connection *connection = &tcp->connections[tcp->live[i]];
        if (connection->closing) {
            continue;
        }
        count_queue(connection, stream_queue_size(connection->stream));
        if (now_ms - connection->opened_ms >= tcp->limits.total_ms) {
            metrics_add(tcp->metrics, METRIC_TCP_CLOSED_TOTAL, 1);
            close_connection(connection);
        } else if (connection->stalled_ms != 0 &&
                   now_ms - connection->stalled_ms >= tcp->limits.idle_ms) {
            metrics_add(tcp->metrics, METRIC_TCP_CLOSED_SLOW, 1);
            close_connection(connection);
        } else if (connection->open == 0 && connection->stalled_ms == 0 &&
                   now_ms - connection->heard_ms >= tcp->limits.idle_ms) {
            metrics_add(tcp->metrics, METRIC_TCP_CLOSED_IDLE, 1);
            close_connection(connection);
        }
    }
}

static int listen_all(struct tcp *tcp, struct door *doors, size_t door_count)
{
    for (size_t i = 0; i < door_count; i++) {
        if (doors[i].tcp < 0) {
            continue;
        }
        uv_tcp_t *server = &tcp->servers[tcp->server_count];
        int r = uv_tcp_init(tcp->loop, server);
        if (r != 0) {
            return r;
        }
        server->data = tcp;
        tcp->server_count++;
        r = uv_tcp_open(server, doors[i].tcp);
        if (r == 0) {
            doors[i].tcp = -1;
            r = uv_listen((uv_stream_t *)server, BACKLOG, connected);
        }
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

int tcp_start(uv_loop_t *loop, struct door *doors, size_t door_count,
              const struct tcp_limits *limits, struct tcp_census *census,
              struct query_engine *engine, struct metrics *metrics, struct tcp **ret_tcp)
{
    struct tcp *tcp = calloc(1, sizeof(*tcp));
    *ret_tcp = tcp;
    if (tcp == NULL) {
        return -ENOMEM;
    }
    tcp->loop = loop;
    tcp->engine = engine;
    tcp->metrics = metrics;
    tcp->limits = *limits;
    tcp->census = census;
    tcp->answers = malloc((size_t)TCP_BATCH_MAX * ANSWER_ROOM);
    tcp->connections = calloc(limits->clients_max, sizeof(tcp->connections[0]));
    tcp->live = calloc(limits->clients_max, sizeof(tcp->live[0]));
    tcp->servers = calloc(door_count > 0 ? door_count : 1, sizeof(tcp->servers[0]));
    if (tcp->answers == NULL || tcp->connections == NULL || tcp->live == NULL ||
        tcp->servers == NULL) {
        return -ENOMEM;
    }
    tcp->free = NONE;
    return listen_all(tcp, doors, door_count);
}

void tcp_stop(struct tcp *tcp)
{
    for (size_t i = 0; i < tcp->server_count; i++) {
        uv_close((uv_handle_t *)&tcp->servers[i], NULL);
    }
    for (uint32_t i = 0; i < tcp->live_count; i++) {
        close_connection(&tcp->connections[tcp->live[i]]);
    }
}

void tcp_free(struct tcp *tcp)
{
    if (tcp != NULL) {
        free(tcp->answers);
        free(tcp->connections);
        free(tcp->live);
        free(tcp->servers);
        free(tcp);
    }
}
