#include "resolver/door.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define TCP_BACKLOG 1024
#define UDP_BUFFER_SIZE (4 << 20) /* a burst while the worker is busy; the kernel may cap it */

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0 ? 0 : -errno;
}

static int set_udp_options(int fd, bool ipv4)
{
    int r = ipv4 ? set(fd, IPPROTO_IP, IP_PKTINFO, 1) : set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    /* A forged "fragmentation needed" must not make us send fragments (RFC 9715): the path MTU that
     * the kernel learned is ignored. Kernels without the option do without. */
    (void)(ipv4 ? set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT)
                : set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT));
    (void)set(fd, SOL_SOCKET, SO_RCVBUF, UDP_BUFFER_SIZE);
    (void)set(fd, SOL_SOCKET, SO_SNDBUF, UDP_BUFFER_SIZE);
    return r;
}

static int open_socket(const struct config_address *address, int type, bool shared, int *ret_fd)
{
    bool ipv4 = address->socket.any.sa_family == AF_INET;
    int fd = socket(address->socket.any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int r = shared ? set(fd, SOL_SOCKET, SO_REUSEPORT, 1) : 0;
    if (r == 0 && type == SOCK_STREAM) {
        r = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    }
    if (r == 0 && !ipv4) {
        r = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    if (r == 0 && type == SOCK_DGRAM) {
        r = set_udp_options(fd, ipv4);
    }
    if (r == 0 && bind(fd, &address->socket.any, address->size) != 0) {
        r = -errno;
    }
    if (r == 0 && type == SOCK_STREAM && listen(fd, TCP_BACKLOG) != 0) {
        r = -errno;
    }
    if (r != 0) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

static int open_door(const struct config_listen *listen, bool shared, struct door *ret_door)
{
    struct door door = {
        .udp = -1, .tcp = -1, .ipv4 = listen->address.socket.any.sa_family == AF_INET};
    int r = 0;
    if ((listen->protocols & CONFIG_UDP) != 0) {
        r = open_socket(&listen->address, SOCK_DGRAM, shared, &door.udp);
    }
    if (r == 0 && (listen->protocols & CONFIG_TCP) != 0) {
        r = open_socket(&listen->address, SOCK_STREAM, shared, &door.tcp);
    }
    if (r != 0) {
        door_close(&door);
        return r;
    }
    *ret_door = door;
    return 0;
}

int door_open(const struct config_listen *listen, struct door *ret_door)
{
    return open_door(listen, true, ret_door);
}

int door_probe(const struct config_listen *listen)
{
    struct door door;
    int r = open_door(listen, false, &door);
    if (r == 0) {
        door_close(&door);
    }
    return r;
}

void door_close(struct door *door)
{
    if (door->udp >= 0) {
        close(door->udp);
    }
    if (door->tcp >= 0) {
        close(door->tcp);
    }
    door->udp = door->tcp = -1;
}
