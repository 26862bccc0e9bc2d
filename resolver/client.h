/* client.h - who asked, and the way back to them. Plain data. */
#ifndef RESOLVER_CLIENT_H
#define RESOLVER_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum client_transport { CLIENT_UDP, CLIENT_TCP };

struct client {
    uint8_t address[16]; /* IPv6, or IPv4 mapped (::ffff:0:0/96) */
    uint8_t transport;   /* enum client_transport */
    bool ipv4;
    bool verified; /* the address is proven: TCP's handshake */
    union {
        struct {
            uint16_t socket;    /* index among the worker's */
            uint32_t interface; /* index it arrived at; matters to link-local addresses only */
            union {
                struct sockaddr any;
                struct sockaddr_in ipv4;
                struct sockaddr_in6 ipv6;
            } peer;
            union {
                struct in_addr ipv4;
                struct in6_addr ipv6;
            } asked; /* the address the client sent to, and is answered from */
        } udp;
        struct {
            uint32_t slot; /* the connection's, and its generation: a closed one is not answered */
            uint32_t generation;
        } tcp;
    };
};

#endif
