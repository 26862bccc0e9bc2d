#include "resolver/udp.h"

#include "blocklist/rcu.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct control {
    _Alignas(
        struct cmsghdr) uint8_t octets[CMSG_SPACE(sizeof(struct in6_pktinfo))]; /* the larger */
};

struct socket {
    uv_poll_t poll;
    struct udp *udp;
    int fd;
    uint16_t index;
    bool ipv4;
};

/* One direction's messages: recvmmsg and sendmmsg work on the same shape. */
struct lane {
    struct mmsghdr messages[UDP_BATCH_MAX];
    struct iovec pieces[UDP_BATCH_MAX];
    struct sockaddr_in6 peers[UDP_BATCH_MAX]; /* room for either family */
    struct control controls[UDP_BATCH_MAX];
};

struct udp {
    struct query_engine *engine;
    struct metrics *metrics;
    uint16_t answer_size_max;
    struct lane in;
    struct lane out;
    unsigned out_count; /* answers waiting in `out`, all for out_socket */
    uint16_t out_socket;
    struct client clients[UDP_BATCH_MAX];
    struct query queries[UDP_BATCH_MAX];
    uint8_t packets[UDP_BATCH_MAX][UDP_PACKET_SIZE_MAX];
    uint8_t *answers; /* UDP_BATCH_MAX of answer_size_max octets */
    size_t socket_count;
    struct socket sockets[];
};

static uint8_t *answer_at(struct udp *udp, unsigned index)
{
    return udp->answers + (size_t)index * udp->answer_size_max;
}

static void prepare_in(struct udp *udp)
{
    for (unsigned i = 0; i < UDP_BATCH_MAX; i++) {
        struct msghdr *header = &udp->in.messages[i].msg_hdr;
        udp->in.pieces[i] =
            (struct iovec){.iov_base = udp->packets[i], .iov_len = sizeof(udp->packets[i])};
        header->msg_name = &udp->in.peers[i];
        header->msg_iov = &udp->in.pieces[i];
        header->msg_iovlen = 1;
        header->msg_control = udp->in.controls[i].octets;
    }
}

/* The kernel writes what it used into these fields, so each call needs them anew. */
static void reset_in(struct udp *udp, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct msghdr *header = &udp->in.messages[i].msg_hdr;
        header->msg_namelen = sizeof(udp->in.peers[i]);
        header->msg_controllen = sizeof(udp->in.controls[i]);
        header->msg_flags = 0;
    }
}

static void read_client_ipv4(struct msghdr *header, struct client *client)
{
    memcpy(&client->udp.peer.ipv4, header->msg_name, sizeof(client->udp.peer.ipv4));
    memset(client->address, 0, 10);
    client->address[10] = client->address[11] = 0xff;
    memcpy(client->address + 12, &client->udp.peer.ipv4.sin_addr, 4);
    client->udp.asked.ipv4.s_addr = INADDR_ANY;
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    if (control != NULL && control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(control), sizeof(info));
        client->udp.asked.ipv4 = info.ipi_spec_dst;
    }
}

static void read_client_ipv6(struct msghdr *header, struct client *client)
{
    memcpy(&client->udp.peer.ipv6, header->msg_name, sizeof(client->udp.peer.ipv6));
    memcpy(client->address, &client->udp.peer.ipv6.sin6_addr, 16);
    client->udp.asked.ipv6 = in6addr_any;
    client->udp.interface = 0;
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    if (control != NULL && control->cmsg_level == IPPROTO_IPV6 &&
        control->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo info;
        memcpy(&info, CMSG_DATA(control), sizeof(info));
        client->udp.asked.ipv6 = info.ipi6_addr;
        /* Elsewhere the route back is the routing table's to choose. */
        if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) {
            client->udp.interface = info.ipi6_ifindex;
        }
    }
}

static void read_client(struct socket *socket, struct msghdr *header, struct client *client)
{
    client->transport = CLIENT_UDP;
    client->verified = false;
    client->ipv4 = socket->ipv4;
    client->udp.socket = socket->index;
    if (socket->ipv4) {
        read_client_ipv4(header, client);
    } else {
        read_client_ipv6(header, client);
    }
}

/* The source address is the one the client asked; 0.0.0.0 and :: leave it to the kernel. */
static void set_source(struct msghdr *header, struct control *control, const struct client *client)
{
    struct cmsghdr *at = (struct cmsghdr *)control->octets;
    header->msg_control = control->octets;
    if (client->ipv4) {
        struct in_pktinfo info = {.ipi_spec_dst = client->udp.asked.ipv4};
        at->cmsg_level = IPPROTO_IP;
        at->cmsg_type = IP_PKTINFO;
        at->cmsg_len = CMSG_LEN(sizeof(info));
        memcpy(CMSG_DATA(at), &info, sizeof(info));
        header->msg_controllen = CMSG_SPACE(sizeof(info));
    } else {
        struct in6_pktinfo info = {.ipi6_addr = client->udp.asked.ipv6,
                                   .ipi6_ifindex = client->udp.interface};
        at->cmsg_level = IPPROTO_IPV6;
        at->cmsg_type = IPV6_PKTINFO;
        at->cmsg_len = CMSG_LEN(sizeof(info));
        memcpy(CMSG_DATA(at), &info, sizeof(info));
        header->msg_controllen = CMSG_SPACE(sizeof(info));
    }
}

static void queue(struct udp *udp, const struct client *client, uint8_t *answer, size_t size)
{
    unsigned index = udp->out_count++;
    struct msghdr *header = &udp->out.messages[index].msg_hdr;
    udp->out_socket = client->udp.socket;
    udp->out.pieces[index] = (struct iovec){.iov_base = answer, .iov_len = size};
    header->msg_iov = &udp->out.pieces[index];
    header->msg_iovlen = 1;
    memcpy(&udp->out.peers[index], &client->udp.peer, sizeof(client->udp.peer));
    header->msg_name = &udp->out.peers[index];
    header->msg_namelen = client->ipv4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    set_source(header, &udp->out.controls[index], client);
}

/* A full socket buffer drops the rest: a client asks again, and waiting would hold up all others. A
 * message that can't be sent at all (no route, a peer's port 0) is skipped alone. */
void udp_flush(struct udp *udp)
{
    unsigned sent = 0;
    int fd = udp->sockets[udp->out_socket].fd;

    while (sent < udp->out_count && fd >= 0) {
        int r = sendmmsg(fd, udp->out.messages + sent, udp->out_count - sent, MSG_DONTWAIT);
        if (r > 0) {
            sent += (unsigned)r;
        } else if (errno == EAGAIN || errno == ENOBUFS) {
            metrics_add(udp->metrics, METRIC_DROPPED_SEND, udp->out_count - sent);
            break;
        } else if (errno != EINTR) {
            metrics_add(udp->metrics, METRIC_DROPPED_SEND, 1);
            sent++;
        }
    }
    udp->out_count = 0;
}

void udp_send(struct udp *udp, const struct client *client, const uint8_t *answer, size_t size)
{
    assert(size <= udp->answer_size_max);
    if (udp->out_count == UDP_BATCH_MAX ||
        (udp->out_count > 0 && udp->out_socket != client->udp.socket)) {
        udp_flush(udp);
    }
    uint8_t *copy = answer_at(udp, udp->out_count);
    memcpy(copy, answer, size);
    queue(udp, client, copy, size);
}

static void work(struct udp *udp, struct socket *socket, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        read_client(socket, &udp->in.messages[i].msg_hdr, &udp->clients[i]);
        udp->queries[i] = (struct query){
            .packet = udp->packets[i],
            .packet_size = udp->in.messages[i].msg_len,
            .client = &udp->clients[i],
            .answer = answer_at(udp, i),
        };
    }
    query_batch(udp->engine, udp->queries, count);
    for (unsigned i = 0; i < count; i++) {
        if (udp->queries[i].outcome == QUERY_ANSWERED) {
            queue(udp, &udp->clients[i], udp->queries[i].answer, udp->queries[i].answer_size);
        }
    }
    udp_flush(udp);
}

static void readable(uv_poll_t *poll, int status, int events)
{
    struct socket *socket = poll->data;
    struct udp *udp = socket->udp;
    (void)events;

    bl_rcu_online();
    unsigned dirty = UDP_BATCH_MAX;
    for (unsigned i = 0; i < UDP_BATCHES_PER_WAKE; i++) {
        reset_in(udp, dirty);
        int count = recvmmsg(socket->fd, udp->in.messages, UDP_BATCH_MAX, MSG_DONTWAIT, NULL);
        if (count <= 0) {
            break;
        }
        work(udp, socket, (unsigned)count);
        dirty = (unsigned)count;
        if (dirty < UDP_BATCH_MAX) {
            break;
        }
    }
    bl_rcu_offline();
    if (status < 0) { /* recvmmsg has cleared the error, but libuv has stopped to watch */
        uv_poll_start(poll, UV_READABLE, readable);
    }
}

int udp_start(uv_loop_t *loop, struct door *doors, size_t door_count, uint16_t udp_size,
              struct query_engine *engine, struct metrics *metrics, struct udp **ret_udp)
{
    struct udp *udp = calloc(1, sizeof(*udp) + door_count * sizeof(udp->sockets[0]));
    uint8_t *answers = malloc((size_t)UDP_BATCH_MAX * udp_size);
    if (udp == NULL || answers == NULL) {
        free(udp);
        free(answers);
        *ret_udp = NULL;
        return -ENOMEM;
    }
    udp->engine = engine;
    udp->metrics = metrics;
    udp->answer_size_max = udp_size;
    udp->answers = answers;
    prepare_in(udp);

    int r = 0;
    for (size_t i = 0; i < door_count && r == 0; i++) {
        struct socket *socket = &udp->sockets[udp->socket_count];
        if (doors[i].udp < 0) {
            continue;
        }
        socket->udp = udp;
        socket->fd = doors[i].udp;
        socket->ipv4 = doors[i].ipv4;
        socket->index = (uint16_t)udp->socket_count;
        r = uv_poll_init(loop, &socket->poll, socket->fd);
        if (r == 0) {
            socket->poll.data = socket;
            doors[i].udp = -1;
            udp->socket_count++;
            r = uv_poll_start(&socket->poll, UV_READABLE, readable);
        }
    }
    *ret_udp = udp; /* also on failure: what was started is to be stopped */
    return r;
}

static void closed(uv_handle_t *handle)
{
    struct socket *socket = handle->data;
    close(socket->fd);
    socket->fd = -1;
}

void udp_stop(struct udp *udp)
{
    for (size_t i = 0; i < udp->socket_count; i++) {
        uv_poll_stop(&udp->sockets[i].poll);
        uv_close((uv_handle_t *)&udp->sockets[i].poll, closed);
    }
}

void udp_free(struct udp *udp)
{
    if (udp != NULL) {
        free(udp->answers);
        free(udp);
    }
}
