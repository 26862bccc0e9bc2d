/* channel.h - what the daemon and a recursor say to each other.
 *
 * Records, packed into the messages of a SOCK_SEQPACKET Unix socket: a wake-up of the other process
 * costs more than a record, so one message carries what one pass of the loop produced. A message
 * never splits a record. Numbers are in the machine's order: both ends are one build on one
 * machine.
 *
 * Nothing a recursor sends is trusted: reading checks every length against what is there. Whether a
 * record fits a question that was asked is for the caller to check. Encoding and decoding allocate
 * nothing. Nothing here may be used by two threads at once. */
#ifndef RESOLVER_CHANNEL_H
#define RESOLVER_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHANNEL_NAME_SIZE_MAX 255u     /* RFC 1035, 2.3.4 */
#define CHANNEL_PACKET_SIZE_MAX 65535u /* RFC 1035, 4.2.2 */
#define CHANNEL_TEXT_SIZE_MAX 255u     /* why bogus, a note: it ends in an EDE or a log line */
#define CHANNEL_VALUE_SIZE_MAX 1023u   /* of a setting: a path, or a resource record */

#define CHANNEL_MESSAGE_SIZE 65536u      /* several records fill at most this */
#define CHANNEL_MESSAGE_SIZE_MAX 131072u /* the largest record goes alone, and is larger */
#define CHANNEL_DESCRIPTORS_MAX 64u      /* with one message; the kernel takes 253 */

enum channel_kind {
    CHANNEL_QUESTION = 1, /* daemon: resolve this */
    CHANNEL_ANSWER,       /* recursor */
    CHANNEL_PING,         /* daemon: do you live? */
    CHANNEL_PONG,         /* recursor: yes, and this I have done */
    CHANNEL_STOP,         /* daemon: end */
    CHANNEL_SETTING,      /* daemon, before the start */
    CHANNEL_SOCKETS,      /* daemon, before the start: descriptors come with this message */
    CHANNEL_START,        /* daemon: all settings and descriptors are there */
    CHANNEL_NOTE,         /* recursor: a line for the log */
};

/* Texts and packets are lent: of a record read they point into the message and do not end
 * in NUL. */
struct channel_question {
    uint32_t id; /* slot and generation name the question, never a pointer */
    uint32_t generation;
    uint16_t type;
    uint16_t class;
    const uint8_t *name; /* wire form; 1..255 octets */
    size_t name_size;
};

struct channel_answer {
    uint32_t id;
    uint32_t generation;
    uint8_t rcode;        /* libunbound's: nonzero, and there is no packet */
    uint8_t security;     /* 0 insecure, 1 bogus, 2 secure; others are refused in reading */
    uint8_t rate_limited; /* 0 or 1 */
    const uint8_t *packet;
    size_t packet_size; /* 0..65535 */
    const char *text;   /* why bogus */
    size_t text_size;   /* 0..255 */
};

struct channel_pong {
    uint64_t token;     /* the ping's */
    uint64_t questions; /* since the start */
    uint64_t refused;   /* answered SERVFAIL unasked: too many in flight */
    uint64_t dropped;   /* answers sent as SERVFAIL: the daemon took none for too long */
    uint32_t in_flight;
};

enum channel_setting_kind {
    CHANNEL_OPTION = 1,      /* one the recursor must not go without: `name` and `value` */
    CHANNEL_OPTION_OPTIONAL, /* one that this libunbound may not know: it says so, and goes on */
    CHANNEL_ANCHOR,          /* `value` is a trust anchor, a DS or DNSKEY record as text */
    CHANNEL_ANCHOR_FILE,     /* `value` is the path of a file of such */
    CHANNEL_FOLDER,          /* `value` is the one folder it may write to */
};

struct channel_setting {
    uint8_t kind; /* enum channel_setting_kind */
    const char *name;
    size_t name_size; /* 0..255 */
    const char *value;
    size_t value_size; /* 0..1023 */
};

struct channel_start {
    int32_t parent; /* process id: if the parent is another by then, the recursor ends */
    uint32_t in_flight_max;
    uint64_t memory_max; /* octets of address space */
    uint8_t sandbox;     /* 0 or 1 */
};

struct channel_note {
    uint8_t level; /* enum log_level */
    const char *text;
    size_t text_size; /* 0..255 */
};

struct channel_record {
    enum channel_kind kind;
    union {
        struct channel_question question;
        struct channel_answer answer;
        uint64_t ping; /* token */
        struct channel_pong pong;
        struct channel_setting setting;
        uint8_t sockets; /* how many came */
        struct channel_start start;
        struct channel_note note;
    };
};

/* Writes one record to `octets`. Returns its size, or -ENOSPC when `room` is too small. Fields must
 * be within their bounds. */
int channel_write(const struct channel_record *record, uint8_t *octets, size_t room);

/* Reads the first record of `octets`. Returns its size, or -EBADMSG: then the rest of the message
 * means nothing. */
int channel_read(const uint8_t *octets, size_t size, struct channel_record *ret_record);

/* A connected pair, closed on exec, non-blocking, with room for the largest message. 0
 * or -errno. */
int channel_pair(int ret_descriptors[static 2]);

/* One end: a socket, and what waits to be sent through it.
 *
 *     kept  [..sent..|start....whole records....end|..room..]  capacity */
struct channel {
    int descriptor; /* -1: closed */
    uint8_t *kept;
    size_t start;
    size_t end;
    size_t capacity;
    bool blocked; /* the socket was full: wait until it is writable */
};

/* Takes the descriptor on success. `kept_max` bounds what waits; it is raised to one largest
 * message. 0 or -ENOMEM. */
int channel_open(struct channel *channel, int descriptor, size_t kept_max);
void channel_close(struct channel *channel); /* also one that is closed already */

/* Adds a record to what waits. 0, or -ENOSPC when the bound is reached. */
int channel_put(struct channel *channel, const struct channel_record *record);

/* Sends what waits. 0 when nothing is left; -EAGAIN when the socket is full (`blocked` is set);
 * another negative errno when the other end is gone. */
int channel_flush(struct channel *channel);

/* Sends one message of whole records at once, with up to CHANNEL_DESCRIPTORS_MAX descriptors, past
 * whatever waits. 0 or -errno. */
int channel_send(int socket, const uint8_t *message, size_t size, const int *descriptors,
                 size_t descriptor_count);

/* Receives one message into `buffer`, which has CHANNEL_MESSAGE_SIZE_MAX octets. Returns its size;
 * 0 when the other end is gone; -EAGAIN; -EMSGSIZE for one that is too long (it is lost).
 * Descriptors that came with it are put into `ret_descriptors` (room for CHANNEL_DESCRIPTORS_MAX)
 * and counted; with NULL none are accepted. */
int channel_receive(int socket, uint8_t *buffer, int *ret_descriptors, size_t *ret_count);

#endif
