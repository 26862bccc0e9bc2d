/* The floor under every figure: a server that does nothing but the socket's work.
 *
 * It takes batches with recvmmsg, sets QR in each header, and sends them back with sendmmsg, each
 * message made `SIZE` octets long, as long as the answers it stands beside. Usage:
 *     bench-echo ADDRESS PORT SIZE */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_MAX 64u /* as the daemon's */
#define MESSAGE_SIZE_MAX 4096u
#define HEADER_SIZE 12u

static uint8_t octets[BATCH_MAX][MESSAGE_SIZE_MAX];
static struct sockaddr_storage clients[BATCH_MAX];
static struct iovec parts[BATCH_MAX];
static struct mmsghdr messages[BATCH_MAX];

static int open_socket(const char *address, uint16_t port)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const struct sockaddr *where = (const struct sockaddr *)&ipv4;
    socklen_t where_size = sizeof(ipv4);
    if (inet_pton(AF_INET6, address, &ipv6.sin6_addr) == 1) {
        where = (const struct sockaddr *)&ipv6;
        where_size = sizeof(ipv6);
    } else if (inet_pton(AF_INET, address, &ipv4.sin_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    int door = socket(where->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int size = 4 << 20;
    if (door >= 0) {
        setsockopt(door, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
        if (bind(door, where, where_size) != 0) {
            close(door);
            door = -1;
        }
    }
    return door;
}

static void serve_batch(int door, size_t answer_size)
{
    for (size_t index = 0; index < BATCH_MAX; index++) {
        parts[index] = (struct iovec){octets[index], MESSAGE_SIZE_MAX};
        messages[index].msg_hdr = (struct msghdr){.msg_name = &clients[index],
                                                  .msg_namelen = sizeof(clients[index]),
                                                  .msg_iov = &parts[index],
                                                  .msg_iovlen = 1};
    }
    int taken = recvmmsg(door, messages, BATCH_MAX, MSG_WAITFORONE, NULL);
    if (taken <= 0) {
        return;
    }
    for (int index = 0; index < taken; index++) {
        size_t size = messages[index].msg_len;
        if (size >= HEADER_SIZE) {
            octets[index][2] |= 0x80; /* QR */
        }
        if (size < answer_size) {
            memset(octets[index] + size, 0, answer_size - size);
            size = answer_size;
        }
        parts[index].iov_len = size;
    }
    for (int sent = 0; sent < taken;) {
        int done = sendmmsg(door, messages + sent, (unsigned)(taken - sent), 0);
        if (done < 0) {
            return; /* the load counts what is lost */
        }
        sent += done;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s ADDRESS PORT SIZE\n", argv[0]);
        return 2;
    }
    unsigned long port = strtoul(argv[2], NULL, 10);
    unsigned long size = strtoul(argv[3], NULL, 10);
    if (port == 0 || port > UINT16_MAX || size > MESSAGE_SIZE_MAX) {
        fprintf(stderr, "%s: PORT is 1..65535, SIZE at most %u\n", argv[0], MESSAGE_SIZE_MAX);
        return 2;
    }
    int door = open_socket(argv[1], (uint16_t)port);
    if (door < 0) {
        fprintf(stderr, "%s: %s port %s: %s\n", argv[0], argv[1], argv[2], strerror(errno));
        return 1;
    }
    for (;;) {
        serve_batch(door, size);
    }
}
