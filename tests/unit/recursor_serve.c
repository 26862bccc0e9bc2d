/* A recursor's answers to a worker that does not take them for a while. serve.c is included, since
 * libunbound, whose part this file plays, calls it by pointers. */
#include "resolver/recursor/serve.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>

#include <cmocka.h>

#define QUESTIONS 9000u /* refusals of these fill several messages */

static void *contexts[QUESTIONS]; /* what libunbound is to call back with, in order */
static unsigned asked;
static uv_loop_t loop;
static struct serve *serve;
static int worker;

int ub_resolve_event(struct ub_ctx *ctx, const char *question, int type, int class, void *context,
                     ub_event_callback_type callback, int *async_id)
{
    (void)ctx, (void)question, (void)type, (void)class, (void)callback, (void)async_id;
    assert_in_range(asked, 0, QUESTIONS - 1);
    contexts[asked++] = context;
    return 0;
}

static int start_serving(void **state)
{
    (void)state;
    static struct start start;
    int pair[2];
    int control[2];
    asked = 0;
    if (channel_pair(control) != 0 ||
        (control[0] != CONTROL_SOCKET && dup2(control[0], CONTROL_SOCKET) < 0) ||
        uv_loop_init(&loop) != 0 || channel_pair(pair) != 0) {
        return -1;
    }
    worker = pair[0];
    start.worker_count = 1;
    start.workers[0] = pair[1];
    start.limits.in_flight_max = QUESTIONS;
    return serve_new(&loop, NULL, &start, &serve) != 0 || serve_begin(serve) != 0;
}

static void ask_all(void)
{
    static const uint8_t name[] = "\3www\7example";
    static uint8_t message[CHANNEL_MESSAGE_SIZE];
    for (uint32_t id = 0; id < QUESTIONS;) {
        size_t size = 0;
        for (; id < QUESTIONS && size + 64 < sizeof(message); id++) {
            const struct channel_record record = {
                .kind = CHANNEL_QUESTION,
                .question = {.id = id, .type = 1, .class = 1, .name = name, .name_size = 13}};
            size += (size_t)channel_write(&record, message + size, sizeof(message) - size);
        }
        assert_int_equal(channel_send(worker, message, size, NULL, 0), 0);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    while (asked < QUESTIONS) {
        uv_run(&loop, UV_RUN_ONCE);
    }
}

/* Reads what is there. Every question is answered once at most. */
static unsigned read_answers(uint8_t seen[static QUESTIONS])
{
    static uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];
    unsigned answers = 0;
    int size;
    while ((size = channel_receive(worker, buffer, NULL, NULL)) > 0) {
        for (int at = 0; at < size;) {
            struct channel_record record;
            int r = channel_read(buffer + at, (size_t)(size - at), &record);
            assert_true(r > 0);
            assert_int_equal(record.kind, CHANNEL_ANSWER);
            assert_in_range(record.answer.id, 0, QUESTIONS - 1);
            assert_int_equal(seen[record.answer.id]++, 0);
            answers++;
            at += r;
        }
    }
    assert_int_equal(size, -EAGAIN);
    return answers;
}

static void answers_that_found_no_room_are_refused_once_each(void **state)
{
    (void)state;
    static uint8_t packet[CHANNEL_PACKET_SIZE_MAX];
    static uint8_t seen[QUESTIONS];
    ask_all();
    for (unsigned i = 0; i < QUESTIONS; i++) { /* more than waits for a worker */
        on_answer(contexts[i], 0, packet, i < 200 ? sizeof(packet) : 600, 0, NULL, 0);
    }
    assert_true(serve->counters.dropped > 2 * CHANNEL_MESSAGE_SIZE / 22);
    for (unsigned answers = 0; answers < QUESTIONS;) {
        answers += read_answers(seen);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(serve->counters.in_flight, 0);
    for (unsigned i = 0; i < QUESTIONS; i++) { /* and every slot is there again */
        assert_non_null(pending_take(serve));
    }
    assert_null(pending_take(serve));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(answers_that_found_no_room_are_refused_once_each, start_serving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
