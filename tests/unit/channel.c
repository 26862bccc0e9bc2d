/* Records survive the way through octets, damaged ones are refused, and a full socket loses
 * nothing. */
#include "resolver/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const uint8_t name[] = "\3www\7example"; /* the literal's NUL is the root label */
static uint8_t packet[CHANNEL_PACKET_SIZE_MAX];
static char text[CHANNEL_TEXT_SIZE_MAX];

/* One of each kind, with every field set. */
static const struct channel_record records[] = {
    {.kind = CHANNEL_QUESTION,
     .question = {.id = 7,
                  .generation = 0xfffffffe,
                  .type = 65535,
                  .class = 1,
                  .name = name,
                  .name_size = sizeof(name)}},
    {.kind = CHANNEL_ANSWER,
     .answer = {.id = 1,
                .generation = 2,
                .security = 1,
                .rate_limited = 1,
                .packet = packet,
                .packet_size = 300,
                .text = text,
                .text_size = 9}},
    {.kind = CHANNEL_PING, .ping = 1ull << 63},
    {.kind = CHANNEL_PONG,
     .pong = {.token = 1, .questions = 2, .refused = 3, .dropped = 4, .in_flight = 5}},
    {.kind = CHANNEL_STOP},
    {.kind = CHANNEL_SETTING,
     .setting = {.kind = CHANNEL_OPTION,
                 .name = "do-ip6",
                 .name_size = 6,
                 .value = "yes",
                 .value_size = 3}},
    {.kind = CHANNEL_SOCKETS, .sockets = 64},
    {.kind = CHANNEL_START,
     .start = {.parent = 1234, .in_flight_max = 20000, .memory_max = 1ull << 40, .sandbox = 1}},
    {.kind = CHANNEL_NOTE, .note = {.level = 2, .text = "hello", .text_size = 5}},
};
#define RECORDS (sizeof(records) / sizeof(records[0]))

static int fill(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(packet); i++) {
        packet[i] = (uint8_t)(i * 7);
    }
    memset(text, 'x', sizeof(text));
    return 0;
}

static uint8_t *exact_copy(const uint8_t *octets, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, octets, size);
    return copy;
}

/* Equal when they encode alike. */
static void assert_same_record(const struct channel_record *a, const struct channel_record *b)
{
    uint8_t octets[2][1024];
    int size = channel_write(a, octets[0], sizeof(octets[0]));
    assert_true(size > 0);
    assert_int_equal(channel_write(b, octets[1], sizeof(octets[1])), size);
    assert_memory_equal(octets[0], octets[1], (size_t)size);
}

static void every_kind_of_record_is_read_as_it_was_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < RECORDS; i++) {
        uint8_t octets[1024];
        int size = channel_write(&records[i], octets, sizeof(octets));
        assert_true(size > 0);
        uint8_t *copy = exact_copy(octets, (size_t)size);
        struct channel_record record;
        assert_int_equal(channel_read(copy, (size_t)size, &record), size);
        assert_int_equal(record.kind, records[i].kind);
        assert_same_record(&record, &records[i]);
        free(copy);
    }
    struct channel_record question;
    uint8_t octets[1024];
    int size = channel_write(&records[0], octets, sizeof(octets));
    assert_int_equal(channel_read(octets, (size_t)size, &question), size);
    assert_int_equal(question.question.generation, 0xfffffffe);
    assert_int_equal(question.question.type, 65535);
    assert_int_equal(question.question.name_size, sizeof(name));
    assert_memory_equal(question.question.name, name, sizeof(name));
}

static void a_cut_record_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < RECORDS; i++) {
        uint8_t octets[1024];
        int size = channel_write(&records[i], octets, sizeof(octets));
        assert_true(size > 0);
        for (size_t cut = 0; cut < (size_t)size; cut++) {
            uint8_t *copy = exact_copy(octets, cut);
            struct channel_record record;
            assert_int_equal(channel_read(copy, cut, &record), -EBADMSG);
            free(copy);
        }
    }
}

static void a_record_without_room_is_not_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < RECORDS; i++) {
        uint8_t octets[1024];
        int size = channel_write(&records[i], octets, sizeof(octets));
        for (size_t room = 0; room < (size_t)size; room++) {
            uint8_t *exact = malloc(room > 0 ? room : 1);
            assert_non_null(exact);
            assert_int_equal(channel_write(&records[i], exact, room), -ENOSPC);
            free(exact);
        }
    }
}

static void damaged_records_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        size_t record; /* of `records` */
        size_t at;
        uint8_t octet;
    } rows[] = {
        {"a size of less than a header", 4, 0, 4},
        {"a size of zero", 4, 0, 0},
        {"a size of more than there is", 4, 0, 6},
        {"a size of gigabytes", 4, 3, 0xff},
        {"kind zero", 4, 4, 0},
        {"a kind that does not exist", 4, 4, 77},
        {"a name of no octets", 0, 17, 0},
        {"a name longer than the record", 0, 17, 255},
        {"a name shorter than the record", 0, 17, 5},
        {"an unknown security", 1, 14, 3},
        {"a rate limit that is not a flag", 1, 15, 2},
        {"a packet longer than the record", 1, 17, 2},
        {"a packet of gigabytes", 1, 19, 0x80},
        {"a text longer than the record", 1, 20, 10},
        {"an unknown setting", 5, 5, 99},
        {"a setting's name over its end", 5, 6, 7},
        {"a sandbox that is not a flag", 7, 21, 9},
        {"a note over its end", 8, 6, 6},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t octets[1024];
        int size = channel_write(&records[rows[i].record], octets, sizeof(octets));
        assert_true(size > (int)rows[i].at);
        octets[rows[i].at] = rows[i].octet;
        uint8_t *copy = exact_copy(octets, (size_t)size);
        struct channel_record record;
        if (channel_read(copy, (size_t)size, &record) != -EBADMSG) {
            fail_msg("%s was taken", rows[i].what);
        }
        free(copy);
    }
}

static void the_largest_answer_goes_through_the_socket(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(channel_pair(pair), 0);
    struct channel channel;
    assert_int_equal(channel_open(&channel, pair[0], 0), 0);
    const struct channel_record largest = {.kind = CHANNEL_ANSWER,
                                           .answer = {.packet = packet,
                                                      .packet_size = CHANNEL_PACKET_SIZE_MAX,
                                                      .text = text,
                                                      .text_size = CHANNEL_TEXT_SIZE_MAX}};
    assert_int_equal(channel_put(&channel, &records[2]), 0);
    assert_int_equal(channel_put(&channel, &largest), 0);
    assert_int_equal(channel_flush(&channel), 0);

    static uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];
    struct channel_record record;
    int size = channel_receive(pair[1], buffer, NULL, NULL);
    assert_true(size > 0);
    assert_int_equal(channel_read(buffer, (size_t)size, &record), size); /* the ping, alone */
    size = channel_receive(pair[1], buffer, NULL, NULL);
    assert_true(size > (int)CHANNEL_PACKET_SIZE_MAX);
    assert_int_equal(channel_read(buffer, (size_t)size, &record), size);
    assert_int_equal(record.answer.packet_size, CHANNEL_PACKET_SIZE_MAX);
    assert_memory_equal(record.answer.packet, packet, CHANNEL_PACKET_SIZE_MAX);
    assert_int_equal(record.answer.text_size, CHANNEL_TEXT_SIZE_MAX);
    assert_int_equal(channel_receive(pair[1], buffer, NULL, NULL), -EAGAIN);
    channel_close(&channel);
    assert_int_equal(channel_receive(pair[1], buffer, NULL, NULL), 0);
    close(pair[1]);
}

static void records_of_one_pass_share_a_message(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(channel_pair(pair), 0);
    struct channel channel;
    assert_int_equal(channel_open(&channel, pair[0], 0), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(channel_put(&channel, &records[0]), 0);
    }
    assert_int_equal(channel_flush(&channel), 0);
    static uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];
    int size = channel_receive(pair[1], buffer, NULL, NULL);
    int count = 0;
    for (int at = 0; at < size; count++) {
        struct channel_record record;
        int r = channel_read(buffer + at, (size_t)(size - at), &record);
        assert_true(r > 0);
        at += r;
    }
    assert_int_equal(count, 100);
    assert_int_equal(channel_receive(pair[1], buffer, NULL, NULL), -EAGAIN);
    channel_close(&channel);
    close(pair[1]);
}

/* Reads one message of numbered pings; the next number, or -1 when nothing is there. */
static int64_t read_pings(int socket, uint64_t next)
{
    static uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];
    int size = channel_receive(socket, buffer, NULL, NULL);
    if (size == -EAGAIN) {
        return -1;
    }
    assert_true(size > 0);
    for (int at = 0; at < size;) {
        struct channel_record record;
        int r = channel_read(buffer + at, (size_t)(size - at), &record);
        assert_true(r > 0);
        assert_int_equal(record.ping, next);
        next++;
        at += r;
    }
    return (int64_t)next;
}

static void a_full_socket_keeps_the_rest_in_order(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(channel_pair(pair), 0);
    struct channel channel;
    assert_int_equal(channel_open(&channel, pair[0], 0), 0);
    uint64_t put = 0;
    uint64_t taken = 0;
    int full = 0; /* times that neither the socket nor what is kept had room */
    while (full < 3) {
        const struct channel_record ping = {.kind = CHANNEL_PING, .ping = put};
        if (channel_put(&channel, &ping) == 0) {
            put++;
            continue;
        }
        if (channel_flush(&channel) == 0) {
            continue;
        }
        assert_true(channel.blocked);
        full++;
        int64_t next = read_pings(pair[1], taken);
        assert_true(next > (int64_t)taken);
        taken = (uint64_t)next;
    }
    while (taken < put) {
        int r = channel_flush(&channel);
        assert_true(r == 0 || r == -EAGAIN);
        int64_t next = read_pings(pair[1], taken);
        assert_true(next > (int64_t)taken);
        taken = (uint64_t)next;
    }
    assert_int_equal(channel_flush(&channel), 0);
    assert_false(channel.blocked);
    assert_int_equal(channel.start, channel.end); /* nothing is kept any more */
    channel_close(&channel);
    close(pair[1]);
}

static void a_peer_that_is_gone_is_an_error_and_not_a_signal(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(channel_pair(pair), 0);
    struct channel channel;
    assert_int_equal(channel_open(&channel, pair[0], 0), 0);
    close(pair[1]);
    assert_int_equal(channel_put(&channel, &records[4]), 0);
    assert_int_equal(channel_flush(&channel), -EPIPE);
    assert_false(channel.blocked);
    channel_close(&channel);
    channel_close(&channel);
}

static void descriptors_come_with_a_message_only_where_they_are_expected(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(channel_pair(pair), 0);
    int sent[CHANNEL_DESCRIPTORS_MAX];
    for (size_t i = 0; i < CHANNEL_DESCRIPTORS_MAX; i++) {
        sent[i] = pair[0];
    }
    uint8_t message[16];
    int size = channel_write(&records[6], message, sizeof(message));
    assert_int_equal(channel_send(pair[0], message, (size_t)size, sent, CHANNEL_DESCRIPTORS_MAX),
                     0);
    assert_int_equal(channel_send(pair[0], message, (size_t)size, sent, 2), 0);

    static uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];
    int got[CHANNEL_DESCRIPTORS_MAX];
    size_t count = 0;
    assert_int_equal(channel_receive(pair[1], buffer, got, &count), size);
    assert_int_equal(count, CHANNEL_DESCRIPTORS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert_true((fcntl(got[i], F_GETFD) & FD_CLOEXEC) != 0);
        close(got[i]);
    }
    int before = dup(pair[0]);
    close(before);
    assert_int_equal(channel_receive(pair[1], buffer, NULL, NULL), size);
    int after = dup(pair[0]);
    assert_int_equal(after, before); /* no descriptor has been taken in between */
    close(after);
    close(pair[0]);
    close(pair[1]);
}

static void a_message_that_is_too_long_is_reported(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(channel_pair(pair), 0);
    static uint8_t message[CHANNEL_MESSAGE_SIZE_MAX + 1];
    assert_int_equal(send(pair[0], message, sizeof(message), 0), sizeof(message));
    static uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];
    assert_int_equal(channel_receive(pair[1], buffer, NULL, NULL), -EMSGSIZE);
    assert_int_equal(channel_receive(pair[1], buffer, NULL, NULL), -EAGAIN);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_record_is_read_as_it_was_written),
        cmocka_unit_test(a_cut_record_is_refused),
        cmocka_unit_test(a_record_without_room_is_not_written),
        cmocka_unit_test(damaged_records_are_refused),
        cmocka_unit_test(the_largest_answer_goes_through_the_socket),
        cmocka_unit_test(records_of_one_pass_share_a_message),
        cmocka_unit_test(a_full_socket_keeps_the_rest_in_order),
        cmocka_unit_test(a_peer_that_is_gone_is_an_error_and_not_a_signal),
        cmocka_unit_test(descriptors_come_with_a_message_only_where_they_are_expected),
        cmocka_unit_test(a_message_that_is_too_long_is_reported),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
