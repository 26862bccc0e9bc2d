/* Answers of recursion that are made to be slow to read: none may take a worker from its clients
 * for longer than an answer of its size does. */
#include "resolver/message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OCTETS_MAX 65000u

static const uint8_t name[] = "\3www\7example";
static const struct message_ttls ttls = {.min_s = 0, .max_s = 86400, .negative_s = 3600};
static struct message_scratch scratch;
static struct message message;

/* An answer to www.example PTR IN, growing. */
static struct {
    uint8_t octets[MESSAGE_SIZE_MAX];
    size_t size;
    uint16_t records;
} packet;

static void put(const void *octets, size_t size)
{
    assert_true(size <= sizeof(packet.octets) - packet.size);
    memcpy(packet.octets + packet.size, octets, size);
    packet.size += size;
}

static void put_u16(unsigned value)
{
    put((uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static void begin(void)
{
    packet.size = packet.records = 0;
    put("\0\0\x81\x80\0\1\0\0\0\0\0\0", 12);
    put(name, sizeof(name));
    put_u16(DNS_PTR);
    put_u16(DNS_IN);
}

/* `owner` is a pointer. */
static void put_record(unsigned owner, uint16_t type, const uint8_t *data, size_t size)
{
    put_u16(owner);
    put_u16(type);
    put_u16(DNS_IN);
    put_u16(0);
    put_u16(60); /* TTL */
    put_u16((unsigned)size);
    put(data, size);
    packet.records++;
}

static int read_packet(void)
{
    packet.octets[6] = (uint8_t)(packet.records >> 8);
    packet.octets[7] = (uint8_t)packet.records;
    return message_read(packet.octets, packet.size, name, sizeof(name), DNS_PTR, false, &ttls,
                        &scratch, &message);
}

/* A name of `labels` labels of one octet: "a", but for the last. Returns its size. */
static size_t long_name(uint8_t octets[static BL_NAME_SIZE_MAX], unsigned labels, uint8_t last)
{
    size_t size = 0;
    for (unsigned i = 0; i < labels; i++) {
        octets[size++] = 1;
        octets[size++] = i + 1 == labels ? last : 'a';
    }
    octets[size++] = 0;
    return size;
}

static void names_that_differ_in_their_last_label_are_not_all_compared(void **state)
{
    (void)state;
    static const unsigned labels[] = {60, 80, 100, 120};
    for (size_t row = 0; row < sizeof(labels) / sizeof(labels[0]); row++) {
        uint8_t data[BL_NAME_SIZE_MAX];
        begin();
        put_record(0xc00c, DNS_PTR, data, long_name(data, 100, 'a'));
        size_t size = long_name(data, labels[row], 'b');
        while (packet.size + 12 + size < OCTETS_MAX) {
            put_record(0xc00c, DNS_PTR, data, size);
        }
        /* Compared to the end it would fit: these names are hardly compressed. */
        assert_int_equal(read_packet(), -EMSGSIZE);
    }
}

static void thousands_of_names_of_an_honest_answer_are_compressed(void **state)
{
    (void)state;
    begin();
    while (packet.size < OCTETS_MAX) { /* PTR a.www.example: 16 octets a record */
        put_record(0xc00c, DNS_PTR, (const uint8_t *)"\1a\xc0\x0c", 4);
    }
    assert_int_equal(read_packet(), 0);
    assert_int_equal(message.counts[0], packet.records);
    assert_true(message.body_size < packet.size);
}

static void a_name_of_thousands_of_pointers_is_malformed(void **state)
{
    (void)state;
    static const struct {
        unsigned pointers;
        int result;
    } rows[] = {
        {1, 0}, {BL_NAME_LABELS_MAX - 1, 0}, {BL_NAME_LABELS_MAX, -EBADMSG}, {8000, -EBADMSG}};
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        uint8_t data[2 + 2 * 8000] = {0, 0}; /* the root, and pointers each to the one before */
        begin();
        size_t at = packet.size + 12; /* where the data come to stand */
        for (unsigned i = 0; i < rows[row].pointers; i++) {
            size_t target = i == 0 ? at : at + 2 * i;
            data[2 + 2 * i] = (uint8_t)(0xc0 | target >> 8);
            data[3 + 2 * i] = (uint8_t)target;
        }
        put_record(0xc00c, 65280, data, 2 + 2 * rows[row].pointers);
        put_record((unsigned)(0xc000 | (at + 2 * rows[row].pointers)), 65280, data, 0);
        assert_int_equal(read_packet(), rows[row].result);
    }
}

static void addresses_of_servers_that_nobody_asked_for_are_left_out(void **state)
{
    (void)state;
    begin();
    put_record(0xc00c, DNS_PTR, (const uint8_t *)"\4evil\0", 6);
    put("\4evil\0\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1", 20); /* evil. 60 IN A 192.0.2.1 */
    packet.octets[11] = 1;                               /* additional records */
    assert_int_equal(read_packet(), 0);
    assert_int_equal(message.counts[0], 1);
    assert_int_equal(message.body_size, 18); /* the PTR record alone */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_differ_in_their_last_label_are_not_all_compared),
        cmocka_unit_test(thousands_of_names_of_an_honest_answer_are_compressed),
        cmocka_unit_test(a_name_of_thousands_of_pointers_is_malformed),
        cmocka_unit_test(addresses_of_servers_that_nobody_asked_for_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
