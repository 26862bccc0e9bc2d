/* libunbound's events on a libuv loop, driven through the table that libunbound uses.
 *
 * base.c is included: its memory lives as long as the process, and only from the inside can a test
 * give it back. */
#include "resolver/recursor/base.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "resolver/recursor/base.c"

#define PATIENCE_MS 10000u

struct fixture {
    uv_loop_t loop;
    struct base *base;
    int pair[2];
};

/* What a callback saw, and what it shall do. */
struct seen {
    unsigned calls;
    short bits;
    int descriptor;
    uint64_t at_ms;
    struct ub_event *own;
    struct ub_event *free_too; /* another event, freed from inside the call */
    bool free_own;
    bool drain;
};

static void on_event(int descriptor, short bits, void *context)
{
    struct seen *seen = context;
    seen->calls++;
    seen->bits = bits;
    seen->descriptor = descriptor;
    seen->at_ms = now_ms();
    if (seen->drain) {
        char octets[16];
        (void)!read(descriptor, octets, sizeof(octets));
    }
    if (seen->free_too != NULL) {
        seen->free_too->vmt->free(seen->free_too);
        seen->free_too = NULL;
    }
    if (seen->free_own) {
        seen->own->vmt->free(seen->own);
        seen->own = NULL;
    }
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct ub_event_base *base = NULL;
    assert_non_null(fixture);
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    assert_int_equal(base_new(&fixture->loop, &base), 0);
    assert_int_equal(base->magic, UB_EVENT_MAGIC);
    fixture->base = (struct base *)base;
    assert_int_equal(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fixture->pair), 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct base *base = fixture->base;
    assert_int_equal(base->heap_count, 0);
    uv_close((uv_handle_t *)&base->poll, NULL);
    uv_close((uv_handle_t *)&base->timer, NULL);
    uv_close((uv_handle_t *)&base->prepare, NULL);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    for (int i = 0; i < 2; i++) {
        if (fixture->pair[i] >= 0) {
            close(fixture->pair[i]);
        }
    }
    close(base->epoll);
    free(base->watches);
    free(base->heap);
    free(base);
    free(fixture);
    return 0;
}

static struct ub_event *make(struct fixture *fixture, int descriptor, short bits, struct seen *seen)
{
    struct ub_event *event = fixture->base->super.vmt->new_event(&fixture->base->super, descriptor,
                                                                 bits, on_event, seen);
    assert_non_null(event);
    assert_int_equal(event->magic, UB_EVENT_MAGIC);
    seen->own = event;
    return event;
}

static int add(struct ub_event *event, long timeout_ms_or_none)
{
    struct timeval timeout = {.tv_sec = timeout_ms_or_none / 1000,
                              .tv_usec = timeout_ms_or_none % 1000 * 1000};
    return event->vmt->add(event, timeout_ms_or_none >= 0 ? &timeout : NULL);
}

static void run_until(struct fixture *fixture, const struct seen *seen, unsigned calls)
{
    uint64_t end = now_ms() + PATIENCE_MS;
    while (seen->calls < calls) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        assert_true(now_ms() < end);
    }
    assert_int_equal(seen->calls, calls);
}

static void run_idle(struct fixture *fixture)
{
    for (int i = 0; i < 5; i++) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
}

static void a_one_shot_event_is_called_once_and_a_persistent_one_each_time(void **state)
{
    struct fixture *fixture = *state;
    struct seen once = {0};
    struct ub_event *event = make(fixture, fixture->pair[0], UB_EV_READ, &once);
    assert_int_equal(add(event, -1), 0);
    run_idle(fixture);
    assert_int_equal(once.calls, 0);
    assert_int_equal(write(fixture->pair[1], "x", 1), 1);
    run_until(fixture, &once, 1);
    assert_int_equal(once.bits, UB_EV_READ);
    assert_int_equal(once.descriptor, fixture->pair[0]);
    run_idle(fixture);
    assert_int_equal(once.calls, 1); /* though it is still readable */
    event->vmt->free(event);

    struct seen each = {0};
    event = make(fixture, fixture->pair[0], UB_EV_READ | UB_EV_PERSIST, &each);
    assert_int_equal(add(event, -1), 0);
    run_until(fixture, &each, 1);
    run_until(fixture, &each, 2);
    assert_int_equal(event->vmt->del(event), 0);
    run_idle(fixture);
    assert_int_equal(each.calls, 2);
    event->vmt->free(event);
}

static void bits_and_descriptor_may_change_while_it_is_not_added(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {0};
    struct ub_event *event = make(fixture, fixture->pair[0], UB_EV_READ | UB_EV_PERSIST, &seen);
    assert_int_equal(add(event, -1), 0);
    run_idle(fixture);
    assert_int_equal(seen.calls, 0);
    event->vmt->del(event);
    event->vmt->del_bits(event, UB_EV_READ);
    event->vmt->add_bits(event, UB_EV_WRITE);
    event->vmt->set_fd(event, fixture->pair[1]);
    assert_int_equal(add(event, -1), 0);
    run_until(fixture, &seen, 1);
    assert_int_equal(seen.bits, UB_EV_WRITE);
    assert_int_equal(seen.descriptor, fixture->pair[1]);
    event->vmt->free(event);
}

static void a_hang_up_is_reported_to_who_waits_for_either(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {0};
    struct ub_event *event = make(fixture, fixture->pair[0], UB_EV_READ, &seen);
    assert_int_equal(add(event, -1), 0);
    close(fixture->pair[1]);
    fixture->pair[1] = -1;
    run_until(fixture, &seen, 1);
    assert_int_equal(seen.bits, UB_EV_READ);
    event->vmt->free(event);
}

static void timers_come_in_their_order_and_not_early(void **state)
{
    struct fixture *fixture = *state;
    static const long waits_ms[] = {30, 5, 20, 0, 10, 5};
    enum { count = sizeof(waits_ms) / sizeof(waits_ms[0]) };
    struct seen seen[count] = {0};
    uint64_t start = now_ms();
    for (int i = 0; i < count; i++) {
        struct ub_event *event = make(fixture, -1, UB_EV_TIMEOUT, &seen[i]);
        assert_int_equal(add(event, waits_ms[i]), 0);
    }
    run_until(fixture, &seen[0], 1); /* the last one */
    for (int i = 0; i < count; i++) {
        assert_int_equal(seen[i].calls, 1);
        assert_int_equal(seen[i].bits, UB_EV_TIMEOUT);
        assert_true(seen[i].at_ms >= start + (uint64_t)waits_ms[i]);
        for (int k = 0; k < count; k++) {
            assert_true(waits_ms[i] <= waits_ms[k] || seen[i].at_ms >= seen[k].at_ms);
        }
        seen[i].own->vmt->free(seen[i].own);
    }
}

static void a_timer_of_no_time_runs_in_the_next_pass(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {0};
    struct ub_event *event = make(fixture, -1, UB_EV_TIMEOUT, &seen);
    struct timeval none = {0};
    event->vmt->add_timer(event, &fixture->base->super, on_event, &seen, &none);
    assert_int_equal(seen.calls, 0);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(seen.calls, 1);
    event->vmt->del_timer(event);
    event->vmt->free(event);
}

static void microseconds_are_rounded_up(void **state)
{
    (void)state;
    static const struct {
        struct timeval timeout;
        uint64_t expected_ms;
    } rows[] = {
        {{0, 0}, 0},    {{0, 1}, 1},         {{0, 999}, 1}, {{0, 1000}, 1},
        {{0, 1001}, 2}, {{2, 999999}, 3000}, {{-1, 0}, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(timeout_ms(&rows[i].timeout), rows[i].expected_ms);
    }
}

static void a_timeout_ends_the_waiting_for_a_descriptor(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {0};
    struct ub_event *event = make(fixture, fixture->pair[0], UB_EV_READ | UB_EV_TIMEOUT, &seen);
    assert_int_equal(add(event, 1), 0);
    run_until(fixture, &seen, 1);
    assert_int_equal(seen.bits, UB_EV_TIMEOUT);
    assert_int_equal(write(fixture->pair[1], "x", 1), 1);
    run_idle(fixture);
    assert_int_equal(seen.calls, 1);

    assert_int_equal(add(event, 5000), 0); /* and the other way round */
    run_until(fixture, &seen, 2);
    assert_int_equal(seen.bits, UB_EV_READ);
    assert_int_equal(fixture->base->heap_count, 0);
    event->vmt->free(event);
}

static void a_persistent_event_starts_its_timeout_anew(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {.drain = true};
    struct ub_event *event =
        make(fixture, fixture->pair[0], UB_EV_READ | UB_EV_PERSIST | UB_EV_TIMEOUT, &seen);
    assert_int_equal(add(event, 20), 0);
    assert_int_equal(write(fixture->pair[1], "x", 1), 1);
    run_until(fixture, &seen, 1);
    assert_int_equal(seen.bits, UB_EV_READ);
    uint64_t read_at = seen.at_ms;
    run_until(fixture, &seen, 2);
    assert_int_equal(seen.bits, UB_EV_TIMEOUT);
    assert_true(seen.at_ms >= read_at + 20);
    run_until(fixture, &seen, 3);
    event->vmt->free(event);
}

static void an_event_may_free_itself_and_others_from_its_call(void **state)
{
    struct fixture *fixture = *state;
    int other[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, other), 0);
    struct seen first = {.free_own = true};
    struct seen second = {.free_own = true};
    struct ub_event *a = make(fixture, fixture->pair[0], UB_EV_READ | UB_EV_PERSIST, &first);
    struct ub_event *b = make(fixture, other[0], UB_EV_READ | UB_EV_PERSIST, &second);
    first.free_too = b;
    second.free_too = a;
    assert_int_equal(add(a, 1000), 0);
    assert_int_equal(add(b, 1000), 0);
    /* Both are reported at once: whichever is called first takes the other with it. */
    assert_int_equal(write(fixture->pair[1], "x", 1), 1);
    assert_int_equal(write(other[1], "x", 1), 1);
    uint64_t end = now_ms() + PATIENCE_MS;
    while (first.calls + second.calls == 0) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        assert_true(now_ms() < end);
    }
    run_idle(fixture);
    assert_int_equal(first.calls + second.calls, 1);
    close(other[0]);
    close(other[1]);
}

/* Closes a descriptor that has been reported, and lets another take its number and its place. */
struct swap {
    struct fixture *fixture;
    struct ub_event *victim;
    int victim_descriptor;
    struct ub_event *heir;
    struct seen *heir_seen;
};

static void on_swap(int descriptor, short bits, void *context)
{
    struct swap *swap = context;
    (void)descriptor;
    (void)bits;
    swap->victim->vmt->free(swap->victim);
    int quiet = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(quiet >= 0);
    assert_int_equal(dup3(quiet, swap->victim_descriptor, O_CLOEXEC), swap->victim_descriptor);
    close(quiet);
    swap->heir =
        make(swap->fixture, swap->victim_descriptor, UB_EV_READ | UB_EV_PERSIST, swap->heir_seen);
    assert_int_equal(add(swap->heir, -1), 0);
}

static void a_report_about_a_closed_descriptor_does_not_reach_its_heir(void **state)
{
    struct fixture *fixture = *state;
    int other[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, other), 0);
    struct seen victim_seen = {0};
    struct seen heir_seen = {0};
    struct swap swap = {.fixture = fixture, .heir_seen = &heir_seen};
    struct ub_event_base *base = &fixture->base->super;
    /* The epoll set reports in the order of readiness: the swap comes first. */
    struct ub_event *first =
        base->vmt->new_event(base, fixture->pair[0], UB_EV_READ, on_swap, &swap);
    assert_int_equal(add(first, -1), 0);
    swap.victim = make(fixture, other[0], UB_EV_READ | UB_EV_PERSIST, &victim_seen);
    swap.victim_descriptor = other[0];
    assert_int_equal(add(swap.victim, -1), 0);
    assert_int_equal(write(fixture->pair[1], "x", 1), 1);
    assert_int_equal(write(other[1], "x", 1), 1);
    uint64_t end = now_ms() + PATIENCE_MS;
    while (swap.heir == NULL) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        assert_true(now_ms() < end);
    }
    run_idle(fixture);
    assert_int_equal(victim_seen.calls, 0);
    assert_int_equal(heir_seen.calls, 0);
    swap.heir->vmt->free(swap.heir);
    first->vmt->free(first);
    close(other[0]);
    close(other[1]);
}

static void a_descriptor_cannot_be_watched_twice_nor_one_that_does_not_exist(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {0};
    struct ub_event *first = make(fixture, fixture->pair[0], UB_EV_READ, &seen);
    struct ub_event *second = make(fixture, fixture->pair[0], UB_EV_READ, &seen);
    struct ub_event *none = make(fixture, -1, UB_EV_READ, &seen);
    assert_int_equal(add(first, -1), 0);
    assert_int_equal(add(second, 1000), -1);
    assert_int_equal(add(none, 1000), -1);
    assert_int_equal(fixture->base->heap_count, 0);
    first->vmt->free(first);
    assert_int_equal(add(second, -1), 0);
    second->vmt->free(second);
    none->vmt->free(none);
}

static void many_timers_are_taken_out_in_any_order(void **state)
{
    struct fixture *fixture = *state;
    enum { count = 5000 };
    static struct seen seen[count];
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < count; i++) {
        struct ub_event *event = make(fixture, -1, UB_EV_TIMEOUT, &seen[i]);
        assert_int_equal(add(event, (long)i * 7919 % 50 + (i % 3 == 0 ? 100000 : 0)), 0);
    }
    for (int i = 0; i < count; i += 3) {
        seen[i].own->vmt->del(seen[i].own);
        seen[i].own->vmt->del(seen[i].own); /* no-op */
    }
    uint64_t end = now_ms() + PATIENCE_MS;
    while (fixture->base->heap_count > 0) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        assert_true(now_ms() < end);
    }
    for (int i = 0; i < count; i++) {
        assert_int_equal(seen[i].calls, i % 3 == 0 ? 0 : 1);
        seen[i].own->vmt->free(seen[i].own);
    }
}

static void what_libunbound_does_not_call_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    struct ub_event_base *base = &fixture->base->super;
    struct seen seen = {0};
    struct ub_event *event = make(fixture, -1, UB_EV_TIMEOUT, &seen);
    assert_int_equal(base->vmt->dispatch(base), -1);
    assert_int_equal(base->vmt->loopexit(base, NULL), -1);
    assert_null(base->vmt->new_signal(base, 1, on_event, NULL));
    assert_null(base->vmt->winsock_register_wsaevent(base, NULL, on_event, NULL));
    assert_int_equal(event->vmt->add_signal(event, NULL), -1);
    assert_int_equal(event->vmt->del_signal(event), -1);
    event->vmt->winsock_tcp_wouldblock(event, 0);
    event->vmt->winsock_unregister_wsaevent(event);
    event->vmt->free(event);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_one_shot_event_is_called_once_and_a_persistent_one_each_time),
        TEST(bits_and_descriptor_may_change_while_it_is_not_added),
        TEST(a_hang_up_is_reported_to_who_waits_for_either),
        TEST(timers_come_in_their_order_and_not_early),
        TEST(a_timer_of_no_time_runs_in_the_next_pass),
        TEST(microseconds_are_rounded_up),
        TEST(a_timeout_ends_the_waiting_for_a_descriptor),
        TEST(a_persistent_event_starts_its_timeout_anew),
        TEST(an_event_may_free_itself_and_others_from_its_call),
        TEST(a_report_about_a_closed_descriptor_does_not_reach_its_heir),
        TEST(a_descriptor_cannot_be_watched_twice_nor_one_that_does_not_exist),
        TEST(many_timers_are_taken_out_in_any_order),
        TEST(what_libunbound_does_not_call_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
