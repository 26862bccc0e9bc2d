#include "resolver/channel.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Every record: its whole size (4 octets), its kind (1), and what belongs to the kind. */
#define HEADER_SIZE 5u
#define SOCKET_BUFFER_SIZE                                                                         \
    (1u << 20) /* asked for: eight largest messages; the kernel may give less */

static_assert(HEADER_SIZE + 17 + CHANNEL_PACKET_SIZE_MAX + CHANNEL_TEXT_SIZE_MAX <=
                  CHANNEL_MESSAGE_SIZE_MAX,
              "the largest record fits a message");

/* ---- a sticky writer and reader: once out of room, every further call does nothing ---- */

struct writer {
    uint8_t *octets;
    size_t room;
    size_t size;
    bool failed;
};

static void write_octets(struct writer *writer, const void *octets, size_t size)
{
    if (writer->failed || size > writer->room - writer->size) {
        writer->failed = true;
        return;
    }
    if (size > 0) {
        memcpy(writer->octets + writer->size, octets, size);
    }
    writer->size += size;
}

static void write_u8(struct writer *writer, uint8_t value)
{
    write_octets(writer, &value, sizeof(value));
}

static void write_u16(struct writer *writer, uint16_t value)
{
    write_octets(writer, &value, sizeof(value));
}

static void write_u32(struct writer *writer, uint32_t value)
{
    write_octets(writer, &value, sizeof(value));
}

static void write_u64(struct writer *writer, uint64_t value)
{
    write_octets(writer, &value, sizeof(value));
}

struct reader {
    const uint8_t *octets;
    size_t left;
    bool failed;
};

static const uint8_t *read_octets(struct reader *reader, size_t size)
{
    if (reader->failed || size > reader->left) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *octets = reader->octets;
    reader->octets += size;
    reader->left -= size;
    return octets;
}

static void read_number(struct reader *reader, void *ret_number, size_t size)
{
    const uint8_t *octets = read_octets(reader, size);
    if (octets == NULL) {
        memset(ret_number, 0, size);
        return;
    }
    memcpy(ret_number, octets, size);
}

static uint8_t read_u8(struct reader *reader)
{
    uint8_t value;
    read_number(reader, &value, sizeof(value));
    return value;
}

static uint16_t read_u16(struct reader *reader)
{
    uint16_t value;
    read_number(reader, &value, sizeof(value));
    return value;
}

static uint32_t read_u32(struct reader *reader)
{
    uint32_t value;
    read_number(reader, &value, sizeof(value));
    return value;
}

static uint64_t read_u64(struct reader *reader)
{
    uint64_t value;
    read_number(reader, &value, sizeof(value));
    return value;
}

/* ---- the kinds ---- */

static void write_question(struct writer *writer, const struct channel_question *question)
{
    assert(question->name_size >= 1 && question->name_size <= CHANNEL_NAME_SIZE_MAX);
    write_u32(writer, question->id);
    write_u32(writer, question->generation);
    write_u16(writer, question->type);
    write_u16(writer, question->class);
    write_u8(writer, (uint8_t)question->name_size);
    write_octets(writer, question->name, question->name_size);
}

static void read_question(struct reader *reader, struct channel_question *question)
{
    question->id = read_u32(reader);
    question->generation = read_u32(reader);
    question->type = read_u16(reader);
    question->class = read_u16(reader);
    question->name_size = read_u8(reader);
    question->name = read_octets(reader, question->name_size);
    reader->failed |= question->name_size == 0;
}

static void write_answer(struct writer *writer, const struct channel_answer *answer)
{
    assert(answer->packet_size <= CHANNEL_PACKET_SIZE_MAX);
    assert(answer->text_size <= CHANNEL_TEXT_SIZE_MAX);
    write_u32(writer, answer->id);
    write_u32(writer, answer->generation);
    write_u8(writer, answer->rcode);
    write_u8(writer, answer->security);
    write_u8(writer, answer->rate_limited);
    write_u32(writer, (uint32_t)answer->packet_size);
    write_u16(writer, (uint16_t)answer->text_size);
    write_octets(writer, answer->packet, answer->packet_size);
    write_octets(writer, answer->text, answer->text_size);
}

static void read_answer(struct reader *reader, struct channel_answer *answer)
{
    answer->id = read_u32(reader);
    answer->generation = read_u32(reader);
    answer->rcode = read_u8(reader);
    answer->security = read_u8(reader);
    answer->rate_limited = read_u8(reader);
    answer->packet_size = read_u32(reader);
    answer->text_size = read_u16(reader);
    answer->packet = read_octets(reader, answer->packet_size);
    answer->text = (const char *)read_octets(reader, answer->text_size);
    reader->failed |= answer->security > 2 || answer->rate_limited > 1;
    reader->failed |= answer->packet_size > CHANNEL_PACKET_SIZE_MAX;
    reader->failed |= answer->text_size > CHANNEL_TEXT_SIZE_MAX;
}

static void write_pong(struct writer *writer, const struct channel_pong *pong)
{
    write_u64(writer, pong->token);
    write_u64(writer, pong->questions);
    write_u64(writer, pong->refused);
    write_u64(writer, pong->dropped);
    write_u32(writer, pong->in_flight);
}

static void read_pong(struct reader *reader, struct channel_pong *pong)
{
    pong->token = read_u64(reader);
    pong->questions = read_u64(reader);
    pong->refused = read_u64(reader);
    pong->dropped = read_u64(reader);
    pong->in_flight = read_u32(reader);
}

static void write_setting(struct writer *writer, const struct channel_setting *setting)
{
    assert(setting->name_size <= CHANNEL_TEXT_SIZE_MAX);
    assert(setting->value_size <= CHANNEL_VALUE_SIZE_MAX);
    write_u8(writer, setting->kind);
    write_u16(writer, (uint16_t)setting->name_size);
    write_u16(writer, (uint16_t)setting->value_size);
    write_octets(writer, setting->name, setting->name_size);
    write_octets(writer, setting->value, setting->value_size);
}

static void read_setting(struct reader *reader, struct channel_setting *setting)
{
    setting->kind = read_u8(reader);
    setting->name_size = read_u16(reader);
    setting->value_size = read_u16(reader);
    setting->name = (const char *)read_octets(reader, setting->name_size);
    setting->value = (const char *)read_octets(reader, setting->value_size);
    reader->failed |= setting->kind < CHANNEL_OPTION || setting->kind > CHANNEL_FOLDER;
    reader->failed |= setting->name_size > CHANNEL_TEXT_SIZE_MAX;
    reader->failed |= setting->value_size > CHANNEL_VALUE_SIZE_MAX;
}

static void write_start(struct writer *writer, const struct channel_start *start)
{
    write_u32(writer, (uint32_t)start->parent);
    write_u32(writer, start->in_flight_max);
    write_u64(writer, start->memory_max);
    write_u8(writer, start->sandbox);
}

static void read_start(struct reader *reader, struct channel_start *start)
{
    start->parent = (int32_t)read_u32(reader);
    start->in_flight_max = read_u32(reader);
    start->memory_max = read_u64(reader);
    start->sandbox = read_u8(reader);
    reader->failed |= start->sandbox > 1;
}

static void write_note(struct writer *writer, const struct channel_note *note)
{
    assert(note->text_size <= CHANNEL_TEXT_SIZE_MAX);
    write_u8(writer, note->level);
    write_u8(writer, (uint8_t)note->text_size);
    write_octets(writer, note->text, note->text_size);
}

static void read_note(struct reader *reader, struct channel_note *note)
{
    note->level = read_u8(reader);
    note->text_size = read_u8(reader);
    note->text = (const char *)read_octets(reader, note->text_size);
}

int channel_write(const struct channel_record *record, uint8_t *octets, size_t room)
{
    struct writer writer = {.octets = octets, .room = room};
    write_u32(&writer, 0); /* its size, once it is known */
    write_u8(&writer, (uint8_t)record->kind);
    switch (record->kind) {
    case CHANNEL_QUESTION:
        write_question(&writer, &record->question);
        break;
    case CHANNEL_ANSWER:
        write_answer(&writer, &record->answer);
        break;
    case CHANNEL_PING:
        write_u64(&writer, record->ping);
        break;
    case CHANNEL_PONG:
        write_pong(&writer, &record->pong);
        break;
    case CHANNEL_STOP:
        break;
    case CHANNEL_SETTING:
        write_setting(&writer, &record->setting);
        break;
    case CHANNEL_SOCKETS:
        write_u8(&writer, record->sockets);
        break;
    case CHANNEL_START:
        write_start(&writer, &record->start);
        break;
    case CHANNEL_NOTE:
        write_note(&writer, &record->note);
        break;
    }
    if (writer.failed) {
        return -ENOSPC;
    }
    uint32_t size = (uint32_t)writer.size;
    memcpy(octets, &size, sizeof(size));
    return (int)size;
}

int channel_read(const uint8_t *octets, size_t size, struct channel_record *ret_record)
{
    struct reader reader = {.octets = octets, .left = size};
    uint32_t record_size = read_u32(&reader);
    uint8_t kind = read_u8(&reader);
    if (reader.failed || record_size < HEADER_SIZE || record_size > size) {
        return -EBADMSG;
    }
    reader.left = record_size - HEADER_SIZE;
    struct channel_record record = {.kind = (enum channel_kind)kind};
    switch (record.kind) {
    case CHANNEL_QUESTION:
        read_question(&reader, &record.question);
        break;
    case CHANNEL_ANSWER:
        read_answer(&reader, &record.answer);
        break;
    case CHANNEL_PING:
        record.ping = read_u64(&reader);
        break;
    case CHANNEL_PONG:
        read_pong(&reader, &record.pong);
        break;
    case CHANNEL_STOP:
        break;
    case CHANNEL_SETTING:
        read_setting(&reader, &record.setting);
        break;
    case CHANNEL_SOCKETS:
        record.sockets = read_u8(&reader);
        break;
    case CHANNEL_START:
        read_start(&reader, &record.start);
        break;
    case CHANNEL_NOTE:
        read_note(&reader, &record.note);
        break;
    default:
        return -EBADMSG;
    }
    if (reader.failed || reader.left > 0) {
        return -EBADMSG;
    }
    *ret_record = record;
    return (int)record_size;
}

/* ---- the socket ---- */

int channel_pair(int ret_descriptors[static 2])
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return -errno;
    }
    for (int i = 0; i < 2; i++) {
        int size = SOCKET_BUFFER_SIZE;
        socklen_t length = sizeof(size);
        (void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        if (getsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, &length) != 0 ||
            size < (int)CHANNEL_MESSAGE_SIZE_MAX) {
            close(pair[0]);
            close(pair[1]);
            return -ENOBUFS; /* net.core.wmem_max is set too low for the largest answer */
        }
    }
    ret_descriptors[0] = pair[0];
    ret_descriptors[1] = pair[1];
    return 0;
}

int channel_open(struct channel *channel, int descriptor, size_t kept_max)
{
    size_t capacity = kept_max > CHANNEL_MESSAGE_SIZE_MAX ? kept_max : CHANNEL_MESSAGE_SIZE_MAX;
    uint8_t *kept = malloc(capacity);
    if (kept == NULL) {
        return -ENOMEM;
    }
    *channel = (struct channel){.descriptor = descriptor, .kept = kept, .capacity = capacity};
    return 0;
}

void channel_close(struct channel *channel)
{
    if (channel->descriptor >= 0) {
        close(channel->descriptor);
        channel->descriptor = -1;
    }
    free(channel->kept);
    channel->kept = NULL;
    channel->start = channel->end = channel->capacity = 0;
    channel->blocked = false;
}

int channel_put(struct channel *channel, const struct channel_record *record)
{
    int size =
        channel_write(record, channel->kept + channel->end, channel->capacity - channel->end);
    if (size < 0 && channel->start > 0) {
        memmove(channel->kept, channel->kept + channel->start, channel->end - channel->start);
        channel->end -= channel->start;
        channel->start = 0;
        size =
            channel_write(record, channel->kept + channel->end, channel->capacity - channel->end);
    }
    if (size < 0) {
        return size;
    }
    channel->end += (size_t)size;
    return 0;
}

/* The octets of the whole records that make the next message: as many as fit, but at least one. */
static size_t next_message(const struct channel *channel)
{
    size_t size = 0;
    while (channel->start + size < channel->end) {
        uint32_t record_size;
        memcpy(&record_size, channel->kept + channel->start + size, sizeof(record_size));
        if (size > 0 && size + record_size > CHANNEL_MESSAGE_SIZE) {
            break;
        }
        size += record_size;
    }
    return size;
}

int channel_flush(struct channel *channel)
{
    channel->blocked = false;
    while (channel->start < channel->end) {
        size_t size = next_message(channel);
        int r = channel_send(channel->descriptor, channel->kept + channel->start, size, NULL, 0);
        if (r < 0) {
            channel->blocked = r == -EAGAIN;
            return r;
        }
        channel->start += size;
    }
    channel->start = channel->end = 0;
    return 0;
}

int channel_send(int socket, const uint8_t *message, size_t size, const int *descriptors,
                 size_t descriptor_count)
{
    assert(descriptor_count <= CHANNEL_DESCRIPTORS_MAX);
    union {
        struct cmsghdr header;
        uint8_t octets[CMSG_SPACE(sizeof(int) * CHANNEL_DESCRIPTORS_MAX)];
    } control = {0};
    struct iovec vector = {.iov_base = (void *)(uintptr_t)message, .iov_len = size};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    if (descriptor_count > 0) {
        size_t room = sizeof(int) * descriptor_count;
        header.msg_control = control.octets;
        header.msg_controllen = CMSG_SPACE(room);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(room);
        memcpy(CMSG_DATA(&control.header), descriptors, room);
    }
    ssize_t sent;
    do {
        sent = sendmsg(socket, &header, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        /* ENOBUFS: the kernel is short of memory for the moment, as full a socket as any. */
        return errno == EWOULDBLOCK || errno == ENOBUFS ? -EAGAIN : -errno;
    }
    return 0;
}

static size_t take_descriptors(struct msghdr *header, int *ret_descriptors)
{
    size_t count = 0;
    for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control != NULL;
         control = CMSG_NXTHDR(header, control)) {
        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t more = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < more; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(control) + i * sizeof(int), sizeof(descriptor));
            if (count < CHANNEL_DESCRIPTORS_MAX) {
                ret_descriptors[count++] = descriptor;
            } else {
                close(descriptor);
            }
        }
    }
    return count;
}

int channel_receive(int socket, uint8_t *buffer, int *ret_descriptors, size_t *ret_count)
{
    union {
        struct cmsghdr header;
        uint8_t octets[CMSG_SPACE(sizeof(int) * CHANNEL_DESCRIPTORS_MAX)];
    } control;
    struct iovec vector = {.iov_base = buffer, .iov_len = CHANNEL_MESSAGE_SIZE_MAX};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    if (ret_descriptors != NULL) {
        header.msg_control = control.octets;
        header.msg_controllen = sizeof(control.octets);
        *ret_count = 0;
    }
    ssize_t size;
    do {
        size = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
    if (ret_descriptors != NULL) {
        *ret_count = take_descriptors(&header, ret_descriptors);
    }
    return (header.msg_flags & MSG_TRUNC) != 0 ? -EMSGSIZE : (int)size;
}
