/* A descriptor that libunbound is done with is closed at once and its number soon used again, while
 * the epoll set may already have reported the old one. So each watch carries a generation, in the
 * epoll data and in `watches`, and a report of another generation is dropped.
 *
 * A callback may free its own event and any other: nothing is touched after the call
 * except `base`. */
#include "resolver/recursor/base.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <unbound-event.h>
#include <unistd.h>

#define REPORTS_MAX 64         /* taken from the epoll set at once */
#define ROUNDS_MAX 8           /* of these, before the channels get their turn */
#define TIMERS_MAX_A_PASS 4096 /* the same, for timers that are due together */
#define NOT_IN_HEAP SIZE_MAX
#define IO_BITS (UB_EV_READ | UB_EV_WRITE)

struct event {
    struct ub_event super; /* first: libunbound holds pointers to it */
    struct base *base;
    void (*callback)(int descriptor, short bits, void *context);
    void *context;
    int descriptor;
    short bits;
    bool watched;       /* stands in base->watches[descriptor] */
    size_t heap_index;  /* its place in base->heap, or NOT_IN_HEAP */
    uint64_t due_ms;    /* when in the heap */
    uint64_t period_ms; /* of a persistent event with a timeout: how far off it is set again */
};

struct watch {
    struct event *event; /* NULL: none */
    uint32_t generation;
};

struct base {
    struct ub_event_base super; /* first, as above */
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t timer;
    uv_prepare_t prepare;
    int epoll;
    struct watch *watches; /* by descriptor */
    size_t watches_size;
    struct event **heap; /* heap[i] is due no later than heap[2i+1] and heap[2i+2] */
    size_t heap_count;
    size_t heap_size;
};

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000u;
}

/* ---- the heap of timers ---- */

static void heap_place(struct base *base, size_t index, struct event *event)
{
    base->heap[index] = event;
    event->heap_index = index;
}

static void heap_rise(struct base *base, size_t index, struct event *event)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (base->heap[parent]->due_ms <= event->due_ms) {
            break;
        }
        heap_place(base, index, base->heap[parent]);
        index = parent;
    }
    heap_place(base, index, event);
}

static void heap_sink(struct base *base, size_t index, struct event *event)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= base->heap_count) {
            break;
        }
        if (child + 1 < base->heap_count &&
            base->heap[child + 1]->due_ms < base->heap[child]->due_ms) {
            child++;
        }
        if (event->due_ms <= base->heap[child]->due_ms) {
            break;
        }
        heap_place(base, index, base->heap[child]);
        index = child;
    }
    heap_place(base, index, event);
}

static void heap_remove(struct event *event)
{
    struct base *base = event->base;
    size_t index = event->heap_index;
    if (index == NOT_IN_HEAP) {
        return;
    }
    assert(index < base->heap_count && base->heap[index] == event);
    event->heap_index = NOT_IN_HEAP;
    struct event *last = base->heap[--base->heap_count];
    if (last != event) {
        heap_rise(base, index, last);
        heap_sink(base, last->heap_index, last);
    }
}

static int heap_add(struct event *event, uint64_t due_ms)
{
    struct base *base = event->base;
    assert(event->heap_index == NOT_IN_HEAP);
    if (base->heap_count == base->heap_size) {
        size_t size = base->heap_size > 0 ? 2 * base->heap_size : 1024;
        struct event **heap = realloc(base->heap, size * sizeof(*heap));
        if (heap == NULL) {
            return -1;
        }
        base->heap = heap;
        base->heap_size = size;
    }
    event->due_ms = due_ms;
    heap_rise(base, base->heap_count++, event);
    return 0;
}

/* ---- watched descriptors ---- */

static int watch_room(struct base *base, int descriptor)
{
    if ((size_t)descriptor < base->watches_size) {
        return 0;
    }
    size_t size = base->watches_size > 0 ? base->watches_size : 256;
    while (size <= (size_t)descriptor) {
        size *= 2;
    }
    struct watch *watches = realloc(base->watches, size * sizeof(*watches));
    if (watches == NULL) {
        return -1;
    }
    for (size_t i = base->watches_size; i < size; i++) {
        watches[i] = (struct watch){0};
    }
    base->watches = watches;
    base->watches_size = size;
    return 0;
}

static void watch_remove(struct event *event)
{
    if (!event->watched) {
        return;
    }
    struct base *base = event->base;
    struct watch *watch = &base->watches[event->descriptor];
    assert(watch->event == event);
    event->watched = false;
    watch->event = NULL;
    watch->generation++;
    /* EBADF when it is closed already: the kernel has taken it out of the set then. */
    (void)epoll_ctl(base->epoll, EPOLL_CTL_DEL, event->descriptor, NULL);
}

static int watch_add(struct event *event)
{
    struct base *base = event->base;
    int descriptor = event->descriptor;
    if (descriptor < 0 || watch_room(base, descriptor) != 0) {
        return -1;
    }
    struct watch *watch = &base->watches[descriptor];
    if (watch->event != NULL) {
        return -1;
    }
    struct epoll_event report = {
        .events = ((event->bits & UB_EV_READ) != 0 ? EPOLLIN : 0u) |
                  ((event->bits & UB_EV_WRITE) != 0 ? EPOLLOUT : 0u),
        .data.u64 = (uint64_t)watch->generation << 32 | (uint32_t)descriptor,
    };
    if (epoll_ctl(base->epoll, EPOLL_CTL_ADD, descriptor, &report) != 0) {
        return -1;
    }
    watch->event = event;
    event->watched = true;
    return 0;
}

/* ---- what libunbound calls ---- */

static struct event *event_of(struct ub_event *event)
{
    assert(event->magic == UB_EVENT_MAGIC);
    return (struct event *)event;
}

static void event_add_bits(struct ub_event *super, short bits)
{
    struct event *event = event_of(super);
    event->bits = (short)(event->bits | bits);
}

static void event_del_bits(struct ub_event *super, short bits)
{
    struct event *event = event_of(super);
    event->bits = (short)(event->bits & ~bits);
}

static int event_del(struct ub_event *super)
{
    struct event *event = event_of(super);
    watch_remove(event);
    heap_remove(event);
    return 0;
}

static void event_set_fd(struct ub_event *super, int descriptor)
{
    event_del(super); /* libunbound has done so; a watch must never lose its descriptor */
    event_of(super)->descriptor = descriptor;
}

static void event_free(struct ub_event *super)
{
    event_del(super);
    free(event_of(super));
}

/* Rounded up: a timer that runs early would find nothing due and be set again for no time
 * at all. */
static uint64_t timeout_ms(const struct timeval *timeout)
{
    if (timeout->tv_sec < 0 || timeout->tv_usec < 0) {
        return 0;
    }
    return (uint64_t)timeout->tv_sec * 1000u + ((uint64_t)timeout->tv_usec + 999u) / 1000u;
}

static int event_add(struct ub_event *super, struct timeval *timeout)
{
    struct event *event = event_of(super);
    event_del(super); /* an event that is added again takes on its present bits */
    event->period_ms = 0;
    if ((event->bits & IO_BITS) != 0 && watch_add(event) != 0) {
        return -1;
    }
    if (timeout != NULL) {
        uint64_t wait_ms = timeout_ms(timeout);
        event->period_ms = wait_ms > 0 ? wait_ms : 1;
        if (heap_add(event, now_ms() + wait_ms) != 0) {
            watch_remove(event);
            return -1;
        }
    }
    return 0;
}

static int event_add_timer(struct ub_event *super, struct ub_event_base *base,
                           void (*callback)(int, short, void *), void *context,
                           struct timeval *timeout)
{
    struct event *event = event_of(super);
    assert(&event->base->super == base);
    event_del(super);
    event->bits = UB_EV_TIMEOUT;
    event->descriptor = -1;
    event->callback = callback;
    event->context = context;
    return event_add(super, timeout);
}

static int event_no_signal_add(struct ub_event *super, struct timeval *timeout)
{
    (void)super;
    (void)timeout;
    return -1;
}

static int event_no_signal_del(struct ub_event *super)
{
    (void)super;
    return -1;
}

static void event_no_unregister(struct ub_event *super)
{
    (void)super;
}

static void event_no_wouldblock(struct ub_event *super, int bits)
{
    (void)super;
    (void)bits;
}

static struct ub_event_vmt event_functions = {
    .add_bits = event_add_bits,
    .del_bits = event_del_bits,
    .set_fd = event_set_fd,
    .free = event_free,
    .add = event_add,
    .del = event_del,
    .add_timer = event_add_timer,
    .del_timer = event_del,
    .add_signal = event_no_signal_add,
    .del_signal = event_no_signal_del,
    .winsock_unregister_wsaevent = event_no_unregister,
    .winsock_tcp_wouldblock = event_no_wouldblock,
};

static struct ub_event *base_event_new(struct ub_event_base *super, int descriptor, short bits,
                                       void (*callback)(int, short, void *), void *context)
{
    struct event *event = malloc(sizeof(*event));
    if (event == NULL) {
        return NULL;
    }
    *event = (struct event){
        .super = {.magic = UB_EVENT_MAGIC, .vmt = &event_functions},
        .base = (struct base *)super,
        .callback = callback,
        .context = context,
        .descriptor = descriptor,
        .bits = bits,
        .heap_index = NOT_IN_HEAP,
    };
    return &event->super;
}

/* ---- the functions of the base that libunbound has but does not call here ---- */

static void base_no_free(struct ub_event_base *super)
{
    (void)super;
}

static int base_no_dispatch(struct ub_event_base *super)
{
    (void)super;
    return -1;
}

static int base_no_exit(struct ub_event_base *super, struct timeval *timeout)
{
    (void)super;
    (void)timeout;
    return -1;
}

static struct ub_event *base_no_signal(struct ub_event_base *super, int number,
                                       void (*callback)(int, short, void *), void *context)
{
    (void)super;
    (void)number;
    (void)callback;
    (void)context;
    return NULL;
}

static struct ub_event *base_no_wsaevent(struct ub_event_base *super, void *wsaevent,
                                         void (*callback)(int, short, void *), void *context)
{
    (void)super;
    (void)wsaevent;
    (void)callback;
    (void)context;
    return NULL;
}

static struct ub_event_base_vmt base_functions = {
    .free = base_no_free,
    .dispatch = base_no_dispatch,
    .loopexit = base_no_exit,
    .new_event = base_event_new,
    .new_signal = base_no_signal,
    .winsock_register_wsaevent = base_no_wsaevent,
};

/* ---- what the loop calls ---- */

/* The last touch of the event. A one-shot event ends with its first call, whichever part of it came
 * true; a persistent one starts its timeout anew. */
static void event_call(struct event *event, short bits)
{
    heap_remove(event);
    if ((event->bits & UB_EV_PERSIST) == 0) {
        watch_remove(event);
    } else if (event->period_ms > 0) {
        /* Cannot fail: it has just left the heap. */
        int r = heap_add(event, now_ms() + event->period_ms);
        assert(r == 0);
        (void)r;
    }
    event->callback(event->descriptor, bits, event->context);
}

static void run_report(struct base *base, const struct epoll_event *report)
{
    uint32_t descriptor = (uint32_t)report->data.u64;
    uint32_t generation = (uint32_t)(report->data.u64 >> 32);
    assert(descriptor < base->watches_size);
    const struct watch *watch = &base->watches[descriptor];
    if (watch->event == NULL || watch->generation != generation) {
        return;
    }
    int bits = 0;
    if ((report->events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
        bits |= UB_EV_READ;
    }
    if ((report->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
        bits |= UB_EV_WRITE;
    }
    bits &= watch->event->bits;
    if (bits != 0) {
        event_call(watch->event, (short)bits);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct base *base = poll->data;
    (void)status;
    (void)events;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        struct epoll_event reports[REPORTS_MAX];
        int count = epoll_wait(base->epoll, reports, REPORTS_MAX, 0);
        for (int i = 0; i < count; i++) {
            run_report(base, &reports[i]);
        }
        if (count < REPORTS_MAX) {
            break;
        }
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct base *base = timer->data;
    uint64_t now = now_ms();
    for (int i = 0; i < TIMERS_MAX_A_PASS; i++) {
        if (base->heap_count == 0 || base->heap[0]->due_ms > now) {
            break;
        }
        event_call(base->heap[0], UB_EV_TIMEOUT);
    }
}

/* Once a pass, however many timers came and went in it. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct base *base = prepare->data;
    if (base->heap_count == 0) {
        uv_timer_stop(&base->timer);
        return;
    }
    uint64_t now = now_ms();
    uint64_t due = base->heap[0]->due_ms;
    uv_update_time(base->loop); /* the timer counts from the loop's idea of now */
    uv_timer_start(&base->timer, on_timer, due > now ? due - now : 0, 0);
}

int base_new(uv_loop_t *loop, struct ub_event_base **ret_base)
{
    struct base *base = calloc(1, sizeof(*base));
    if (base == NULL) {
        return -ENOMEM;
    }
    base->super = (struct ub_event_base){.magic = UB_EVENT_MAGIC, .vmt = &base_functions};
    base->loop = loop;
    base->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (base->epoll < 0) {
        int r = -errno;
        free(base);
        return r;
    }
    uv_timer_init(loop, &base->timer);
    uv_prepare_init(loop, &base->prepare);
    base->poll.data = base->timer.data = base->prepare.data = base;
    int r = uv_poll_init(loop, &base->poll, base->epoll);
    if (r == 0) {
        r = uv_poll_start(&base->poll, UV_READABLE, on_readable);
    }
    if (r == 0) {
        r = uv_prepare_start(&base->prepare, on_prepare);
    }
    if (r == 0) {
        *ret_base = &base->super;
    }
    /* On failure the process ends: handles on the loop cannot be taken back half-way. */
    return r;
}
