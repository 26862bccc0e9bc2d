/* recurse_fixture.h - a worker's half of recursion, with the test as the recursor at the other end.
 *
 * recurse.c is included, not linked, so that its clock is the test's: a minute passes in
 * no time. */
#ifndef TESTS_UNIT_RECURSE_FIXTURE_H
#define TESTS_UNIT_RECURSE_FIXTURE_H

#include "resolver/recurse.h"
#include "resolver/channel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t passed_ms; /* by which the test's clock is ahead */

static inline uint64_t test_now(const uv_loop_t *loop)
{
    return uv_now(loop) + passed_ms;
}

#define uv_now test_now
#include "resolver/recurse.c"
#undef uv_now

#define QUESTIONS_MAX 64u
#define PATIENCE_MS 20000u /* a condition that does not come true in this time fails the test */
#define SEEN_MAX 8192u

static struct bl_secret secret;

/* What the worker was told. */
struct told {
    struct recurse_waiter waiter;
    enum recurse_state state;
    enum recurse_security security;
    size_t packet_size;
    char why[CHANNEL_TEXT_SIZE_MAX + 1];
};

/* What the recursor was asked. */
struct asked {
    uint32_t id;
    uint32_t generation;
    uint16_t type;
    uint16_t class;
    uint8_t name[BL_NAME_SIZE_MAX];
    size_t name_size;
};

struct fixture {
    uv_loop_t loop;
    uv_timer_t wake; /* so that a wait for nothing ends */
    struct metrics metrics;
    struct recurse *recurse;
    int far; /* the recursor's end */
    uint64_t token;
    struct told told[SEEN_MAX];
    size_t told_count;
    struct asked asked[SEEN_MAX];
    size_t asked_count;
    bool in_batch;
    unsigned batches;
    bool ask_again; /* the next waiter to be called asks the same once more */
    bool far_gone;
};

static inline void on_answered(void *context, struct recurse_waiter waiter,
                               const struct recurse_answer *answer)
{
    struct fixture *fixture = context;
    assert_true(fixture->in_batch);
    assert_true(fixture->told_count < SEEN_MAX);
    struct told *told = &fixture->told[fixture->told_count++];
    *told = (struct told){.waiter = waiter,
                          .state = answer->state,
                          .security = answer->security,
                          .packet_size = answer->packet_size};
    snprintf(told->why, sizeof(told->why), "%s", answer->why_bogus);
    if (fixture->ask_again) {
        fixture->ask_again = false;
        static const uint8_t name[] = "\5again";
        assert_int_equal(recurse_ask(fixture->recurse, name, sizeof(name), 1, 1, waiter), 0);
    }
}

static inline void on_batch(void *context, bool begin)
{
    struct fixture *fixture = context;
    assert_true(fixture->in_batch != begin);
    fixture->in_batch = begin;
    fixture->batches += begin;
}

static inline void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

static inline struct fixture *open_with(uint32_t questions_max, unsigned recursors)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    passed_ms = 0;
    fixture->far = -1;
    assert_int_equal(bl_secret_make(&secret), 0);
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    uv_timer_init(&fixture->loop, &fixture->wake);
    uv_timer_start(&fixture->wake, on_wake, 1, 1);
    fixture->recurse = recurse_new(&fixture->loop, questions_max, recursors, &secret,
                                   &fixture->metrics, on_answered, on_batch, fixture);
    assert_non_null(fixture->recurse);
    return fixture;
}

/* Connects recursor `index`; `far` is from now on its end. */
static inline void connect_recursor(struct fixture *fixture, unsigned index)
{
    int pair[2];
    assert_int_equal(channel_pair(pair), 0);
    fixture->far = pair[1];
    recurse_connect(fixture->recurse, index, pair[0], ++fixture->token);
    uint64_t end = uv_hrtime() + PATIENCE_MS * 1000000ull;
    do {
        uv_run(&fixture->loop, UV_RUN_ONCE);
        assert_true(uv_hrtime() < end);
    } while (fixture->recurse->peers[index].link == NULL ||
             fixture->recurse->peers[index].link->token != fixture->token);
}

static inline struct fixture *open_connected(void)
{
    struct fixture *fixture = open_with(QUESTIONS_MAX, 1);
    connect_recursor(fixture, 0);
    return fixture;
}

static inline void close_fixture(struct fixture *fixture)
{
    assert_false(fixture->in_batch);
    recurse_stop(fixture->recurse);
    uv_close((uv_handle_t *)&fixture->wake, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    recurse_free(fixture->recurse);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    if (fixture->far >= 0) {
        close(fixture->far);
    }
    free(fixture);
}

/* Everything that has been sent to the recursor by now. */
static inline void read_far(struct fixture *fixture)
{
    static uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];
    int size;
    while ((size = channel_receive(fixture->far, buffer, NULL, NULL)) > 0) {
        for (int at = 0; at < size;) {
            struct channel_record record;
            int r = channel_read(buffer + at, (size_t)(size - at), &record);
            assert_true(r > 0);
            at += r;
            assert_int_equal(record.kind, CHANNEL_QUESTION);
            assert_true(fixture->asked_count < SEEN_MAX);
            struct asked *asked = &fixture->asked[fixture->asked_count++];
            *asked = (struct asked){.id = record.question.id,
                                    .generation = record.question.generation,
                                    .type = record.question.type,
                                    .class = record.question.class,
                                    .name_size = record.question.name_size};
            memcpy(asked->name, record.question.name, record.question.name_size);
        }
    }
    fixture->far_gone = size == 0;
}

static inline void wait_asked(struct fixture *fixture, size_t count)
{
    uint64_t end = uv_hrtime() + PATIENCE_MS * 1000000ull;
    while (fixture->asked_count < count) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
        read_far(fixture);
        assert_true(uv_hrtime() < end);
    }
    assert_int_equal(fixture->asked_count, count);
}

static inline void wait_told(struct fixture *fixture, size_t count)
{
    uint64_t end = uv_hrtime() + PATIENCE_MS * 1000000ull;
    while (fixture->told_count < count) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
        assert_true(uv_hrtime() < end);
    }
    assert_int_equal(fixture->told_count, count);
}

static inline uint64_t metric(const struct fixture *fixture, enum metric which)
{
    return atomic_load(&fixture->metrics.values[which]);
}

static inline void wait_rejected(struct fixture *fixture, uint64_t count)
{
    uint64_t end = uv_hrtime() + PATIENCE_MS * 1000000ull;
    while (metric(fixture, METRIC_RECURSION_REJECTED) < count) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
        assert_true(uv_hrtime() < end);
    }
    assert_int_equal(metric(fixture, METRIC_RECURSION_REJECTED), count);
}

/* Several passes, in which nothing is expected to happen. */
static inline void run_idle(struct fixture *fixture)
{
    for (int i = 0; i < 5; i++) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
}

static inline int ask(struct fixture *fixture, const char *text, uint16_t type, uint32_t slot)
{
    uint8_t name[BL_NAME_SIZE_MAX];
    int size = bl_name_from_text(text, strlen(text), name);
    assert_true(size > 0);
    return recurse_ask(fixture->recurse, name, (size_t)size, type, 1,
                       (struct recurse_waiter){.slot = slot, .generation = 100 + slot});
}

/* An answer without records to what was asked; returns its size. */
static inline size_t make_packet(const struct asked *asked, uint8_t packet[static 512])
{
    static const uint8_t header[DNS_HEADER_SIZE] = {0, 0, 0x81, 0x80, 0, 1};
    memcpy(packet, header, sizeof(header));
    memcpy(packet + sizeof(header), asked->name, asked->name_size);
    uint8_t *end = packet + sizeof(header) + asked->name_size;
    const uint8_t tail[4] = {(uint8_t)(asked->type >> 8), (uint8_t)asked->type,
                             (uint8_t)(asked->class >> 8), (uint8_t)asked->class};
    memcpy(end, tail, sizeof(tail));
    return sizeof(header) + asked->name_size + sizeof(tail);
}

static inline void send_record(struct fixture *fixture, const struct channel_record *record)
{
    uint8_t message[1024];
    int size = channel_write(record, message, sizeof(message));
    assert_true(size > 0);
    assert_int_equal(channel_send(fixture->far, message, (size_t)size, NULL, 0), 0);
}

static inline void send_answer(struct fixture *fixture, const struct asked *asked, uint8_t security,
                               const char *text)
{
    uint8_t packet[512];
    const struct channel_record record = {.kind = CHANNEL_ANSWER,
                                          .answer = {.id = asked->id,
                                                     .generation = asked->generation,
                                                     .security = security,
                                                     .packet = packet,
                                                     .packet_size = make_packet(asked, packet),
                                                     .text = text,
                                                     .text_size = strlen(text)}};
    send_record(fixture, &record);
}

static inline void die(struct fixture *fixture)
{
    close(fixture->far);
    fixture->far = -1;
}

#endif
