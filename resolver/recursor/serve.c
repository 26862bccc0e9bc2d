#include "resolver/recursor/serve.h"
#include "blocklist/name.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unbound-event.h>
#include <unbound.h>
#include <unistd.h>

/* Answers that a worker has not taken yet: 64 of the largest, thousands of usual ones. */
#define KEPT_MAX (4u << 20)
#define RCODE_SERVFAIL 2u /* RFC 1035, 4.1.1 */
#define NO_PENDING UINT32_MAX

/* libunbound may work off thousands of questions in one call, when what they all wait for arrives:
 * seconds, if they are to be validated. In between the daemon's pings are looked at this often. */
#define CONTROL_EVERY_NS 200000000u

/* A worker's socket. */
struct door {
    struct serve *serve;
    struct channel channel;
    uv_poll_t poll;
    int polled;            /* what the poll waits for */
    uint32_t first_unsent; /* pendings whose answer found no room, to be sent as SERVFAIL */
};

/* A question that libunbound is working on; named by its address, which never moves. */
struct pending {
    uint32_t door;
    uint32_t id;
    uint32_t generation;
    uint32_t next; /* free, or unsent */
};

struct serve {
    uv_loop_t *loop;
    struct ub_ctx *context;
    uv_poll_t control;
    uv_prepare_t prepare;
    struct door *doors;
    size_t door_count;
    struct pending *pending;
    uint32_t pending_max;
    uint32_t first_free;
    struct channel_pong counters;
    uint64_t control_read_ns;
    uint8_t control_buffer[CHANNEL_MESSAGE_SIZE_MAX];
    uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];
};

static struct pending *pending_take(struct serve *serve)
{
    if (serve->first_free == NO_PENDING) {
        return NULL;
    }
    struct pending *pending = &serve->pending[serve->first_free];
    serve->first_free = pending->next;
    serve->counters.in_flight++;
    return pending;
}

static void pending_free(struct serve *serve, struct pending *pending)
{
    assert(serve->counters.in_flight > 0);
    pending->next = serve->first_free;
    serve->first_free = (uint32_t)(pending - serve->pending);
    serve->counters.in_flight--;
}

/* ---- answers ---- */

static void door_flush(struct door *door);
static void read_control(struct serve *serve);

/* A full message leaves at once, the rest with the end of the pass. */
static int put_answer(struct door *door, const struct channel_answer *answer)
{
    if (door->channel.descriptor < 0) {
        return 0; /* the worker is gone, and with it who asked */
    }
    const struct channel_record record = {.kind = CHANNEL_ANSWER, .answer = *answer};
    int r = channel_put(&door->channel, &record);
    if (!door->channel.blocked && door->channel.end - door->channel.start >= CHANNEL_MESSAGE_SIZE) {
        door_flush(door);
    }
    return r;
}

static int put_failure(struct door *door, const struct pending *pending)
{
    const struct channel_answer answer = {
        .id = pending->id, .generation = pending->generation, .rcode = RCODE_SERVFAIL};
    return put_answer(door, &answer);
}

/* Ends a pending question with `answer`, or with SERVFAIL when that is NULL or finds no room. */
static void finish(struct serve *serve, struct pending *pending,
                   const struct channel_answer *answer)
{
    struct door *door = &serve->doors[pending->door];
    int r = answer != NULL ? put_answer(door, answer) : put_failure(door, pending);
    if (r < 0) {
        serve->counters.dropped++;
        pending->next = door->first_unsent;
        door->first_unsent = (uint32_t)(pending - serve->pending);
        return;
    }
    pending_free(serve, pending);
}

static void finish_unsent(struct door *door)
{
    struct serve *serve = door->serve;
    while (door->first_unsent != NO_PENDING) {
        uint32_t index = door->first_unsent;
        struct pending *pending = &serve->pending[index];
        door->first_unsent = pending->next; /* first: a put that fills a message comes back here */
        if (put_failure(door, pending) < 0) {
            pending->next = door->first_unsent;
            door->first_unsent = index;
            return;
        }
        pending_free(serve, pending);
    }
}

/* libunbound's callback gets one pointer only, and the pending needs its owner. */
static struct serve *the_serve;

/* May run inside ub_resolve_event(). `packet` and `why_bogus` are libunbound's. */
static void on_answer(void *context, int rcode, void *packet, int packet_size, int security,
                      char *why_bogus, int rate_limited)
{
    struct serve *serve = the_serve;
    struct pending *pending = context;
    if (rcode == 0 &&
        (packet == NULL || packet_size <= 0 || packet_size > (int)CHANNEL_PACKET_SIZE_MAX ||
         security < 0 || security > 2)) {
        finish(serve, pending, NULL);
    } else {
        struct channel_answer answer = {
            .id = pending->id,
            .generation = pending->generation,
            .rcode = (uint8_t)rcode,
            .rate_limited = rate_limited != 0,
        };
        if (rcode == 0) {
            answer.security = (uint8_t)security;
            answer.packet = packet;
            answer.packet_size = (size_t)packet_size;
            answer.text = why_bogus != NULL ? why_bogus : "";
            answer.text_size = strnlen(answer.text, CHANNEL_TEXT_SIZE_MAX);
        }
        finish(serve, pending, &answer);
    }
    if (uv_hrtime() - serve->control_read_ns >= CONTROL_EVERY_NS) {
        read_control(serve);
    }
}

/* ---- questions ---- */

/* A question for which there is no room is answered SERVFAIL; if that finds no room either, the
 * daemon, which has not read thousands of answers, gives it up by itself. */
static void refuse(struct door *door, const struct channel_question *question)
{
    const struct pending unheard = {.id = question->id, .generation = question->generation};
    door->serve->counters.refused++;
    (void)put_failure(door, &unheard);
}

static void ask(struct door *door, const struct channel_question *question)
{
    struct serve *serve = door->serve;
    serve->counters.questions++;
    struct pending *pending = NULL;
    if (bl_name_check(question->name, question->name_size) == (int)question->name_size) {
        pending = pending_take(serve);
    }
    if (pending == NULL) {
        refuse(door, question);
        return;
    }
    pending->door = (uint32_t)(door - serve->doors);
    pending->id = question->id;
    pending->generation = question->generation;
    char name[BL_NAME_TEXT_SIZE_MAX];
    bl_name_to_text(question->name, name);
    int r = ub_resolve_event(serve->context, name, question->type, question->class, pending,
                             on_answer, NULL);
    if (r != 0) { /* then there was and will be no callback */
        finish(serve, pending, NULL);
    }
}

static void on_door(uv_poll_t *poll, int status, int events);

/* A worker that does not take answers gets to ask no more until it has. */
static void door_poll(struct door *door)
{
    int wanted = door->channel.blocked ? UV_WRITABLE : UV_READABLE;
    if (wanted != door->polled) {
        int r = uv_poll_start(&door->poll, wanted, on_door);
        assert(r == 0);
        (void)r;
        door->polled = wanted;
    }
}

static void door_close(struct door *door)
{
    uv_poll_stop(&door->poll);
    channel_close(&door->channel);
    finish_unsent(door); /* nobody is left to hear them */
}

static void door_flush(struct door *door)
{
    int r = channel_flush(&door->channel);
    if (r < 0 && r != -EAGAIN) {
        door_close(door);
        return;
    }
    if (r == 0 && door->first_unsent != NO_PENDING) {
        finish_unsent(door); /* leaves with the end of the pass, or the next full message */
    }
    door_poll(door);
}

/* One message, that is up to 2,000 questions, so that the control socket gets its turn in time. */
static void door_read(struct door *door)
{
    struct serve *serve = door->serve;
    int size = channel_receive(door->channel.descriptor, serve->buffer, NULL, NULL);
    if (size == -EAGAIN || size == -EMSGSIZE) {
        return;
    }
    if (size <= 0) {
        door_close(door);
        return;
    }
    for (size_t at = 0; at < (size_t)size;) {
        struct channel_record record;
        int r = channel_read(serve->buffer + at, (size_t)size - at, &record);
        if (r < 0) {
            return;
        }
        at += (size_t)r;
        if (record.kind == CHANNEL_QUESTION) {
            ask(door, &record.question);
        }
    }
}

static void on_door(uv_poll_t *poll, int status, int events)
{
    struct door *door = poll->data;
    if (status < 0) { /* libuv has stopped the watch: the worker's end is gone */
        door_close(door);
        return;
    }
    if ((events & UV_WRITABLE) != 0) {
        door_flush(door);
        return;
    }
    door_read(door);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct serve *serve = prepare->data;
    for (size_t i = 0; i < serve->door_count; i++) {
        struct door *door = &serve->doors[i];
        if (door->channel.descriptor >= 0 && !door->channel.blocked &&
            door->channel.start < door->channel.end) {
            door_flush(door);
        }
    }
}

/* ---- control ---- */

static void pong(struct serve *serve, uint64_t token)
{
    struct channel_record record = {.kind = CHANNEL_PONG, .pong = serve->counters};
    record.pong.token = token;
    uint8_t message[64];
    int size = channel_write(&record, message, sizeof(message));
    assert(size > 0);
    /* A daemon that reads no pongs will end this process, and may. */
    (void)channel_send(CONTROL_SOCKET, message, (size_t)size, NULL, 0);
}

static void read_control(struct serve *serve)
{
    serve->control_read_ns = uv_hrtime();
    int size = channel_receive(CONTROL_SOCKET, serve->control_buffer, NULL, NULL);
    if (size == -EAGAIN || size == -EMSGSIZE) {
        return;
    }
    if (size <= 0) {
        _exit(0);
    }
    for (size_t at = 0; at < (size_t)size;) {
        struct channel_record record;
        int r = channel_read(serve->control_buffer + at, (size_t)size - at, &record);
        if (r < 0) {
            return;
        }
        at += (size_t)r;
        if (record.kind == CHANNEL_PING) {
            pong(serve, record.ping);
        } else if (record.kind == CHANNEL_STOP) {
            _exit(0);
        }
    }
}

static void on_control(uv_poll_t *poll, int status, int events)
{
    (void)events;
    if (status < 0) {
        _exit(0);
    }
    read_control(poll->data);
}

/* ---- start ---- */

int serve_new(uv_loop_t *loop, struct ub_ctx *context, const struct start *start,
              struct serve **ret_serve)
{
    struct serve *serve = calloc(1, sizeof(*serve));
    if (serve == NULL) {
        return -ENOMEM;
    }
    serve->loop = loop;
    serve->context = context;
    serve->pending_max = start->limits.in_flight_max > 0 ? start->limits.in_flight_max : 1;
    serve->doors = calloc(start->worker_count + 1, sizeof(*serve->doors));
    serve->pending = calloc(serve->pending_max, sizeof(*serve->pending));
    if (serve->doors == NULL || serve->pending == NULL) {
        return -ENOMEM; /* the process ends */
    }
    for (uint32_t i = 0; i < serve->pending_max; i++) {
        serve->pending[i].next = i + 1 < serve->pending_max ? i + 1 : NO_PENDING;
    }
    for (size_t i = 0; i < start->worker_count; i++) {
        serve->doors[i].serve = serve;
        serve->doors[i].first_unsent = NO_PENDING;
        int r = channel_open(&serve->doors[i].channel, start->workers[i], KEPT_MAX);
        if (r < 0) {
            return r;
        }
        serve->door_count++;
    }
    the_serve = serve;
    *ret_serve = serve;
    return 0;
}

static void on_warm(void *context, int rcode, void *packet, int packet_size, int security,
                    char *why_bogus, int rate_limited)
{
    (void)context;
    (void)rcode;
    (void)packet;
    (void)packet_size;
    (void)security;
    (void)why_bogus;
    (void)rate_limited;
}

int serve_warm_up(struct serve *serve)
{
    return ub_resolve_event(serve->context, "localhost", 1, 1, NULL, on_warm, NULL);
}

int serve_begin(struct serve *serve)
{
    for (size_t i = 0; i < serve->door_count; i++) {
        struct door *door = &serve->doors[i];
        int r = uv_poll_init(serve->loop, &door->poll, door->channel.descriptor);
        if (r < 0) {
            return r;
        }
        door->poll.data = door;
        door_poll(door);
    }
    int r = uv_poll_init(serve->loop, &serve->control, CONTROL_SOCKET);
    if (r < 0) {
        return r;
    }
    serve->control.data = serve;
    uv_prepare_init(serve->loop, &serve->prepare);
    serve->prepare.data = serve;
    r = uv_prepare_start(&serve->prepare, on_prepare);
    return r < 0 ? r : uv_poll_start(&serve->control, UV_READABLE, on_control);
}
