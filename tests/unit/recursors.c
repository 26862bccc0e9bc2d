/* The watch over recursor processes. This very program is the recursor too: started with the
 * control socket as descriptor 3, it plays the part that SINKHOLE_TEST_PART names. */
#include "resolver/recurse.h"
#include "resolver/channel.h"
#include "resolver/log.h"
#include "resolver/recurse_channel.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 20000u
#define WORKERS 3u
#define CONTROL 3

/* ---- the recursor's side ---- */

static uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];

static void say(int socket, const struct channel_record *record)
{
    uint8_t message[1024];
    int size = channel_write(record, message, sizeof(message));
    (void)channel_send(socket, message, (size_t)size, NULL, 0);
}

/* Answers each question without records. */
static void answer_questions(int worker)
{
    int size = channel_receive(worker, buffer, NULL, NULL);
    for (int at = 0; at < size;) {
        struct channel_record record;
        int r = channel_read(buffer + at, (size_t)(size - at), &record);
        if (r < 0 || record.kind != CHANNEL_QUESTION) {
            _exit(3);
        }
        at += r;
        const struct channel_question *question = &record.question;
        uint8_t packet[512] = {0, 0, 0x81, 0x80, 0, 1};
        memcpy(packet + 12, question->name, question->name_size);
        packet[12 + question->name_size + 1] = (uint8_t)question->type;
        packet[12 + question->name_size + 3] = (uint8_t)question->class;
        say(worker, &(struct channel_record){.kind = CHANNEL_ANSWER,
                                             .answer = {.id = question->id,
                                                        .generation = question->generation,
                                                        .packet = packet,
                                                        .packet_size = question->name_size + 16}});
    }
}

struct part {
    const char *name;
    int workers[WORKERS];
    size_t worker_count;
    unsigned pings;
    bool started;
};

static void take_control(struct part *part, const struct channel_record *record)
{
    bool hostile = part->pings >= 1; /* behaves until the second ping */
    if (record->kind == CHANNEL_START) {
        part->started = true;
    } else if (record->kind == CHANNEL_STOP) {
        if (strcmp(part->name, "stubborn") != 0) {
            _exit(0);
        }
    } else if (record->kind == CHANNEL_PING) {
        part->pings++;
        if (hostile && strcmp(part->name, "rubbish") == 0) {
            (void)!send(CONTROL, "rubbish", 7, MSG_NOSIGNAL);
        }
        if (hostile && strcmp(part->name, "deaf") == 0) {
            close(part->workers[1]);
            part->workers[1] = -1;
        }
        say(CONTROL, &(struct channel_record){.kind = CHANNEL_PONG,
                                              .pong = {.token = record->ping, .questions = 42}});
    }
}

static void read_control(struct part *part)
{
    int descriptors[CHANNEL_DESCRIPTORS_MAX];
    size_t count = 0;
    int size = channel_receive(CONTROL, buffer, descriptors, &count);
    if (size == 0) {
        _exit(0);
    }
    for (size_t i = 0; i < count && part->worker_count < WORKERS; i++) {
        part->workers[part->worker_count++] = descriptors[i];
    }
    static uint8_t copy[CHANNEL_MESSAGE_SIZE_MAX]; /* `buffer` is used for questions meanwhile */
    memcpy(copy, buffer, size > 0 ? (size_t)size : 0);
    for (int at = 0; at < size;) {
        struct channel_record record;
        int r = channel_read(copy + at, (size_t)(size - at), &record);
        if (r < 0) {
            _exit(4);
        }
        at += r;
        take_control(part, &record);
    }
}

static int play(const char *name)
{
    struct part part = {.name = name};
    if (strcmp(name, "stillborn") == 0) {
        return 5;
    }
    for (;;) {
        struct pollfd waits[1 + WORKERS] = {{.fd = CONTROL, .events = POLLIN}};
        for (size_t i = 0; i < WORKERS; i++) {
            waits[1 + i].fd = i < part.worker_count ? part.workers[i] : -1;
            waits[1 + i].events = POLLIN;
        }
        if (poll(waits, 1 + WORKERS, -1) < 0) {
            return 6;
        }
        for (size_t i = 0; i < WORKERS; i++) {
            if (waits[1 + i].revents != 0) {
                answer_questions(waits[1 + i].fd);
            }
        }
        if (waits[0].revents != 0) {
            read_control(&part);
        }
    }
}

/* ---- the daemon's side ---- */

struct fixture {
    uv_loop_t loop;
    uv_timer_t wake;
    struct config config;
    struct bl_secret secret;
    struct metrics metrics;
    struct recurse *workers[WORKERS];
    struct recursors *recursors;
    unsigned answered;
    unsigned failed;
    bool gone;
};

static void on_answered(void *context, struct recurse_waiter waiter,
                        const struct recurse_answer *answer)
{
    struct fixture *fixture = context;
    (void)waiter;
    fixture->answered++;
    fixture->failed += answer->state == RECURSE_FAILED;
}

static void on_batch(void *context, bool begin)
{
    (void)context;
    (void)begin;
}

static void on_gone(void *context)
{
    struct fixture *fixture = context;
    assert_false(fixture->gone);
    fixture->gone = true;
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

static struct fixture *open_fixture(const char *part, unsigned count)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    log_set(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    assert_int_equal(setenv("SINKHOLE_TEST_PART", part, 1), 0);
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    uv_timer_init(&fixture->loop, &fixture->wake);
    uv_timer_start(&fixture->wake, on_wake, 10, 10);
    assert_int_equal(bl_secret_make(&fixture->secret), 0);
    fixture->config.limits.pending = 100;
    fixture->config.recursion.processes = count;
    fixture->config.recursion.ipv4 = true;
    for (unsigned i = 0; i < WORKERS; i++) {
        fixture->workers[i] = recurse_new(&fixture->loop, 100, count, &fixture->secret,
                                          &fixture->metrics, on_answered, on_batch, fixture);
        assert_non_null(fixture->workers[i]);
    }
    assert_int_equal(recursors_count(&fixture->config, WORKERS), count);
    assert_int_equal(recursors_start(&fixture->loop, &fixture->config, "/proc/self/exe",
                                     fixture->workers, WORKERS, count, &fixture->recursors),
                     0);
    return fixture;
}

static void close_fixture(struct fixture *fixture)
{
    recursors_stop(fixture->recursors, on_gone, fixture);
    recursors_stop(fixture->recursors, on_gone, fixture); /* no-op */
    for (unsigned i = 0; i < WORKERS; i++) {
        recurse_stop(fixture->workers[i]);
    }
    uv_close((uv_handle_t *)&fixture->wake, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_true(fixture->gone);
    recursors_free(fixture->recursors);
    for (unsigned i = 0; i < WORKERS; i++) {
        recurse_free(fixture->workers[i]);
    }
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    free(fixture);
}

static struct recursor_status status_of(struct fixture *fixture, unsigned index)
{
    struct recursor_status status[RECURSORS_MAX];
    assert_true(recursors_status(fixture->recursors, status, RECURSORS_MAX) > index);
    return status[index];
}

/* Until every recursor answers and number `index` has been replaced `restarts` times. */
static uint64_t run_until_replaced(struct fixture *fixture, unsigned index, uint64_t restarts)
{
    uint64_t start = uv_hrtime();
    while (!recursors_ready(fixture->recursors) || status_of(fixture, index).restarts < restarts) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
        assert_true(uv_hrtime() - start < PATIENCE_MS * 1000000ull);
    }
    return (uv_hrtime() - start) / 1000000u;
}

static void ask_every_worker(struct fixture *fixture)
{
    static unsigned number;
    unsigned wanted = fixture->answered + 10 * WORKERS;
    for (unsigned i = 0; i < 10 * WORKERS; i++) {
        char text[32];
        uint8_t name[BL_NAME_SIZE_MAX];
        snprintf(text, sizeof(text), "name%u.example", number++);
        int size = bl_name_from_text(text, strlen(text), name);
        assert_int_equal(recurse_ask(fixture->workers[i % WORKERS], name, (size_t)size, 1, 1,
                                     (struct recurse_waiter){.slot = i}),
                         0);
    }
    uint64_t end = uv_hrtime() + PATIENCE_MS * 1000000ull;
    while (fixture->answered < wanted) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
        assert_true(uv_hrtime() < end);
    }
    assert_int_equal(fixture->failed, 0);
}

static void recursors_answer_every_worker(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture("good", 2);
    assert_false(recursors_ready(fixture->recursors));
    ask_every_worker(fixture); /* asked before the first is there */
    run_until_replaced(fixture, 0, 0);
    struct recursor_status status[4];
    assert_int_equal(recursors_status(fixture->recursors, status, 1), 1);
    assert_int_equal(recursors_status(fixture->recursors, status, 4), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(status[i].pid > 0);
        assert_true(status[i].answering);
        assert_int_equal(status[i].restarts, 0);
        assert_int_equal(status[i].questions, 42);
    }
    assert_int_not_equal(status[0].pid, status[1].pid);
    uint64_t start = uv_hrtime();
    close_fixture(fixture);
    assert_true(uv_hrtime() - start < 1900000000ull); /* nobody had to be killed */
}

static void one_that_dies_is_replaced_within_a_second(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture("good", 2);
    run_until_replaced(fixture, 1, 0);
    struct recursor_status before = status_of(fixture, 1);
    int other = status_of(fixture, 0).pid;
    assert_int_equal(kill(before.pid, SIGKILL), 0);
    assert_true(run_until_replaced(fixture, 1, 1) < 1000);
    assert_int_not_equal(status_of(fixture, 1).pid, before.pid);
    assert_int_equal(status_of(fixture, 0).pid, other);
    ask_every_worker(fixture);
    close_fixture(fixture);
}

static void one_that_is_stopped_is_killed_and_replaced(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture("good", 1);
    run_until_replaced(fixture, 0, 0);
    assert_int_equal(kill(status_of(fixture, 0).pid, SIGSTOP), 0);
    uint64_t took_ms = run_until_replaced(fixture, 0, 1);
    assert_in_range(took_ms, 1500, 6000);
    ask_every_worker(fixture);
    close_fixture(fixture);
}

static void one_that_sends_rubbish_or_drops_a_worker_is_replaced(void **state)
{
    (void)state;
    static const char *const parts[] = {"rubbish", "deaf"};
    for (size_t i = 0; i < 2; i++) {
        struct fixture *fixture = open_fixture(parts[i], 1);
        run_until_replaced(fixture, 0, 1);
        close_fixture(fixture);
    }
}

static void one_that_dies_at_its_start_is_tried_again_ever_more_slowly(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture("stillborn", 1);
    uint8_t name[] = "\7waiting";
    assert_int_equal(
        recurse_ask(fixture->workers[0], name, sizeof(name), 1, 1, (struct recurse_waiter){0}), 0);
    /* The waits between them: 0, 100, 200, 400, 800, 1000, 1000 ms. */
    uint64_t start = uv_hrtime();
    while (status_of(fixture, 0).restarts < 5) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
        assert_true(uv_hrtime() - start < PATIENCE_MS * 1000000ull);
    }
    assert_true(uv_hrtime() - start > 1500000000ull);
    assert_false(recursors_ready(fixture->recursors));
    assert_int_equal(fixture->answered, 0); /* it has not seen a death: nobody was asked */
    assert_int_equal(setenv("SINKHOLE_TEST_PART", "good", 1), 0);
    run_until_replaced(fixture, 0, 6);
    while (fixture->answered < 1) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
        assert_true(uv_hrtime() - start < PATIENCE_MS * 1000000ull);
    }
    assert_int_equal(fixture->failed, 0);
    close_fixture(fixture);
}

static void one_that_does_not_stop_is_killed(void **state)
{
    (void)state;
    struct fixture *fixture = open_fixture("stubborn", 2);
    run_until_replaced(fixture, 0, 0);
    int pid = status_of(fixture, 0).pid;
    close_fixture(fixture); /* `gone` is reported all the same */
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
}

static void what_cannot_start_is_said_before_anything_runs(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct recurse *none[1] = {NULL};
    struct recursors *recursors = NULL;
    static struct config config;
    log_set(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(recursors_start(&loop, &config, "/nonexistent", none, 0, 1, &recursors),
                     -ENOENT);
    strcpy(config.recursion.root_hints, "/nonexistent");
    assert_int_equal(recursors_start(&loop, &config, "/proc/self/exe", none, 0, 1, &recursors),
                     -ENOENT);
    assert_null(recursors);
    assert_int_equal(uv_loop_close(&loop), 0);
    recursors_free(NULL);
}

static void as_many_processes_as_workers_unless_the_configuration_says(void **state)
{
    (void)state;
    static const struct {
        uint32_t configured;
        unsigned workers;
        unsigned expected;
    } rows[] = {{0, 1, 1}, {0, 4, 4}, {0, 200, 16}, {3, 1, 3}, {1000, 1, RECURSORS_MAX}, {0, 0, 1}};
    static struct config config;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        config.recursion.processes = rows[i].configured;
        assert_int_equal(recursors_count(&config, rows[i].workers), rows[i].expected);
    }
}

int main(void)
{
    const char *part = getenv("SINKHOLE_TEST_PART");
    int type = 0;
    socklen_t size = sizeof(type);
    if (part != NULL && getsockopt(CONTROL, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
        type == SOCK_SEQPACKET) {
        _exit(play(part));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recursors_answer_every_worker),
        cmocka_unit_test(one_that_dies_is_replaced_within_a_second),
        cmocka_unit_test(one_that_is_stopped_is_killed_and_replaced),
        cmocka_unit_test(one_that_sends_rubbish_or_drops_a_worker_is_replaced),
        cmocka_unit_test(one_that_dies_at_its_start_is_tried_again_ever_more_slowly),
        cmocka_unit_test(one_that_does_not_stop_is_killed),
        cmocka_unit_test(what_cannot_start_is_said_before_anything_runs),
        cmocka_unit_test(as_many_processes_as_workers_unless_the_configuration_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
