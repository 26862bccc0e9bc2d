/* A question's way: queued, asked, answered.
 *
 *   recurse_ask() -> queued of its recursor -> (prepare hook, once a pass) -> asked -> waiters
 * called
 *
 * While a recursor is away its questions stay queued. When its channel breaks, what was asked of it
 * is queued again in front; what has seen two deaths is answered as failed instead. */
#include "resolver/recurse.h"
#include "resolver/channel.h"
#include "resolver/recurse_channel.h"
#include "resolver/recurse_domain.h"
#include "resolver/recurse_table.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESSAGES_A_WAKE 16  /* read from one recursor, before others get their turn */
#define LOOK_EVERY_MS 1000u /* for questions without an answer */
#define DEATHS_MAX 2u
#define DNS_HEADER_SIZE 12u /* RFC 1035, 4.1.1 */

/* One connection; lives until its poll handle is closed. */
struct link {
    struct recurse *recurse;
    struct channel channel;
    uv_poll_t poll;
    int polled; /* what the poll waits for */
    unsigned recursor;
    uint64_t token;
};

/* One recursor. */
struct peer {
    struct link *link; /* NULL: away */
    struct recurse_list queued;
    struct recurse_list asked;
    int mail;            /* a new socket, -1: none; under the mutex */
    uint64_t mail_token; /* the same */
    _Atomic uint64_t broken;
};

struct recurse {
    uv_loop_t *loop;
    struct recurse_table table;
    struct peer *peers;
    unsigned peer_count;
    uint32_t queue_max; /* of one recursor that is away */
    struct recurse_list doomed;
    const struct bl_secret *secret;
    struct metrics *metrics;
    recurse_answered_fn *answered;
    recurse_batch_fn *batch;
    void *context;
    bool in_batch;
    uint64_t serial; /* of the last packet taken */
    uv_prepare_t prepare;
    uv_timer_t look;
    uv_timer_t soon; /* for the doomed */
    uv_async_t mail;
    uv_mutex_t mutex;
    bool stopped;          /* written under the mutex */
    unsigned handles_open; /* the four above */
    uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];
};

unsigned recurse_owner(const struct recurse *recurse, const uint8_t *name, size_t name_size)
{
    if (recurse->peer_count == 1) {
        return 0;
    }
    size_t at = recurse_registrable_at(name, name_size);
    uint64_t hash = bl_name_hash(recurse->secret, name + at, name_size - at);
    return (unsigned)(hash % recurse->peer_count);
}

/* ---- answers ---- */

static void batch_end(struct recurse *recurse)
{
    if (recurse->in_batch) {
        recurse->in_batch = false;
        recurse->batch(recurse->context, false);
    }
}

/* Ends a question that is in no list. Its waiters may ask again from inside their call; that is a
 * new question. */
static void deliver(struct recurse *recurse, uint32_t index, const struct recurse_answer *answer)
{
    recurse_table_hide(&recurse->table, index);
    recurse->table.questions[index].state = RECURSE_QUESTION_ANSWERING;
    struct recurse_waiter waiter;
    while (recurse_table_take_waiter(&recurse->table, index, &waiter)) {
        if (!recurse->in_batch) {
            recurse->in_batch = true;
            recurse->batch(recurse->context, true);
        }
        recurse->answered(recurse->context, waiter, answer);
    }
    recurse_table_free(&recurse->table, index);
}

static void deliver_failure(struct recurse *recurse, uint32_t index)
{
    static const struct recurse_answer failed = {.state = RECURSE_FAILED, .why_bogus = ""};
    deliver(recurse, index, &failed);
}

/* Whether the packet is an answer to this very question (RFC 5452, 4.2). */
static bool packet_fits(const struct recurse_question *question, const uint8_t *packet, size_t size)
{
    if (size < DNS_HEADER_SIZE || (packet[2] & 0x80) == 0 || packet[4] != 0 || packet[5] != 1) {
        return false;
    }
    const uint8_t *name = packet + DNS_HEADER_SIZE;
    size_t left = size - DNS_HEADER_SIZE;
    int name_size = bl_name_check(name, left);
    if (name_size < 0 || left - (size_t)name_size < 4 || !bl_name_equal(name, question->name)) {
        return false;
    }
    const uint8_t *type = name + name_size;
    return (type[0] << 8 | type[1]) == question->type &&
           (type[2] << 8 | type[3]) == question->class;
}

/* The text ends in an extended error to clients: printable ASCII only, whatever was sent. */
static void copy_text(const struct channel_answer *answer, char ret_text[CHANNEL_TEXT_SIZE_MAX + 1])
{
    for (size_t i = 0; i < answer->text_size; i++) {
        char c = answer->text[i];
        ret_text[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    ret_text[answer->text_size] = '\0';
}

/* Whether the record fits a question in flight with this recursor. */
static bool take_answer(struct link *link, const struct channel_answer *record)
{
    struct recurse *recurse = link->recurse;
    if (record->id >= recurse->table.questions_max) {
        return false;
    }
    const struct recurse_question *question = &recurse->table.questions[record->id];
    if (question->state != RECURSE_QUESTION_ASKED || question->generation != record->generation ||
        question->recursor != link->recursor) {
        return false;
    }
    char text[CHANNEL_TEXT_SIZE_MAX + 1] = "";
    struct recurse_answer answer = {.state = RECURSE_FAILED, .why_bogus = text};
    if (record->rcode == 0) {
        if (!packet_fits(question, record->packet, record->packet_size)) {
            return false;
        }
        static const enum recurse_security securities[] = {RECURSE_INSECURE, RECURSE_BOGUS,
                                                           RECURSE_SECURE};
        answer.state = RECURSE_ANSWERED;
        answer.security = securities[record->security];
        answer.packet = record->packet;
        answer.packet_size = record->packet_size;
        answer.serial = ++recurse->serial;
        if (answer.security == RECURSE_BOGUS) {
            copy_text(record, text);
        }
    } else if (record->packet_size > 0) {
        return false;
    }
    recurse_list_remove(&recurse->table, &recurse->peers[link->recursor].asked, record->id);
    deliver(recurse, record->id, &answer);
    return true;
}

static void take_message(struct link *link, size_t size)
{
    struct recurse *recurse = link->recurse;
    for (size_t at = 0; at < size && !recurse->stopped;) {
        struct channel_record record;
        int r = channel_read(recurse->buffer + at, size - at, &record);
        if (r < 0) {
            metrics_add(recurse->metrics, METRIC_RECURSION_REJECTED, 1);
            return;
        }
        at += (size_t)r;
        if (record.kind != CHANNEL_ANSWER || !take_answer(link, &record.answer)) {
            metrics_add(recurse->metrics, METRIC_RECURSION_REJECTED, 1);
        }
    }
}

/* ---- the connection ---- */

static void on_link_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void link_close(struct link *link)
{
    link->recurse->peers[link->recursor].link = NULL;
    uv_close((uv_handle_t *)&link->poll, on_link_closed); /* stops the watch at once */
    channel_close(&link->channel);
}

/* Asks again what was in flight, in its old order; what has been in flight before ends. */
static void link_broken(struct link *link)
{
    struct recurse *recurse = link->recurse;
    struct peer *peer = &recurse->peers[link->recursor];
    atomic_store(&peer->broken, link->token);
    link_close(link);
    uint64_t now_ms = uv_now(recurse->loop);
    while (peer->asked.last != RECURSE_NONE) {
        uint32_t index = peer->asked.last;
        struct recurse_question *question = &recurse->table.questions[index];
        recurse_list_remove(&recurse->table, &peer->asked, index);
        question->deaths++;
        if (question->deaths < DEATHS_MAX) {
            question->state = RECURSE_QUESTION_QUEUED;
            recurse_list_prepend(&recurse->table, &peer->queued, index);
            continue;
        }
        recurse_table_remember(&recurse->table, question->hash, now_ms + RECURSE_AGAIN_AFTER_MS);
        deliver_failure(recurse, index);
    }
}

/* What is there, up to `messages_max` messages. False when the channel is broken. */
static bool link_read(struct link *link, int messages_max)
{
    struct recurse *recurse = link->recurse;
    for (int i = 0; i < messages_max && !recurse->stopped; i++) {
        int size = channel_receive(link->channel.descriptor, recurse->buffer, NULL, NULL);
        if (size == -EAGAIN) {
            return true;
        }
        if (size == -EMSGSIZE) {
            metrics_add(recurse->metrics, METRIC_RECURSION_REJECTED, 1);
            continue;
        }
        if (size <= 0) {
            return false;
        }
        take_message(link, (size_t)size);
    }
    return true;
}

static void link_send(struct link *link);

static void on_link(uv_poll_t *poll, int status, int events)
{
    struct link *link = poll->data;
    struct recurse *recurse = link->recurse;
    bool whole = status >= 0;
    if (whole && (events & UV_READABLE) != 0) {
        whole = link_read(link, MESSAGES_A_WAKE);
    }
    if (!recurse->stopped) {
        if (!whole) {
            link_broken(link);
        } else if ((events & UV_WRITABLE) != 0) {
            link_send(link);
        }
    }
    batch_end(recurse);
}

static int link_poll(struct link *link)
{
    int wanted = UV_READABLE | (link->channel.blocked ? UV_WRITABLE : 0);
    if (wanted == link->polled) {
        return 0;
    }
    link->polled = wanted;
    return uv_poll_start(&link->poll, wanted, on_link);
}

/* Moves queued questions into the channel and on, until either is at its end. */
static void link_send(struct link *link)
{
    struct recurse *recurse = link->recurse;
    struct peer *peer = &recurse->peers[link->recursor];
    int r = 0;
    do {
        while (peer->queued.first != RECURSE_NONE) {
            uint32_t index = peer->queued.first;
            struct recurse_question *question = &recurse->table.questions[index];
            const struct channel_record record = {
                .kind = CHANNEL_QUESTION,
                .question = {.id = index,
                             .generation = question->generation,
                             .type = question->type,
                             .class = question->class,
                             .name = question->name,
                             .name_size = question->name_size},
            };
            if (channel_put(&link->channel, &record) != 0) {
                break;
            }
            recurse_list_remove(&recurse->table, &peer->queued, index);
            recurse_list_append(&recurse->table, &peer->asked, index);
            question->state = RECURSE_QUESTION_ASKED;
            metrics_add(recurse->metrics, METRIC_RECURSION_ASKED, 1);
        }
        r = channel_flush(&link->channel);
    } while (r == 0 && peer->queued.first != RECURSE_NONE);
    if (r == 0 || r == -EAGAIN) {
        r = link_poll(link);
    }
    if (r < 0) {
        link_broken(link);
    }
}

static void link_open(struct recurse *recurse, unsigned recursor, int socket, uint64_t token)
{
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL || channel_open(&link->channel, socket, CHANNEL_MESSAGE_SIZE_MAX) != 0) {
        free(link);
        close(socket);
        atomic_store(&recurse->peers[recursor].broken, token);
        return;
    }
    link->recurse = recurse;
    link->recursor = recursor;
    link->token = token;
    link->poll.data = link;
    if (uv_poll_init(recurse->loop, &link->poll, socket) != 0) {
        channel_close(&link->channel);
        free(link);
        atomic_store(&recurse->peers[recursor].broken, token);
        return;
    }
    recurse->peers[recursor].link = link;
    if (link_poll(link) != 0) {
        link_broken(link);
    }
}

static void on_mail(uv_async_t *async)
{
    struct recurse *recurse = async->data;
    for (unsigned i = 0; i < recurse->peer_count && !recurse->stopped; i++) {
        struct peer *peer = &recurse->peers[i];
        uv_mutex_lock(&recurse->mutex);
        int socket = peer->mail;
        uint64_t token = peer->mail_token;
        peer->mail = -1;
        uv_mutex_unlock(&recurse->mutex);
        if (socket < 0) {
            continue;
        }
        if (peer->link != NULL) {
            (void)link_read(peer->link, MESSAGES_A_WAKE); /* its last words */
            if (peer->link != NULL) {
                link_broken(peer->link);
            }
        }
        if (recurse->stopped) {
            close(socket);
        } else {
            link_open(recurse, i, socket, token);
        }
    }
    batch_end(recurse);
}

void recurse_connect(struct recurse *recurse, unsigned recursor, int socket, uint64_t token)
{
    assert(recursor < recurse->peer_count && token != 0);
    struct peer *peer = &recurse->peers[recursor];
    uv_mutex_lock(&recurse->mutex);
    int unwanted = recurse->stopped ? socket : peer->mail;
    if (!recurse->stopped) {
        peer->mail = socket;
        peer->mail_token = token;
        uv_async_send(&recurse->mail); /* under the mutex: not after its close */
    }
    uv_mutex_unlock(&recurse->mutex);
    if (unwanted >= 0) {
        close(unwanted);
    }
}

uint64_t recurse_broken(const struct recurse *recurse, unsigned recursor)
{
    assert(recursor < recurse->peer_count);
    return atomic_load(&recurse->peers[recursor].broken);
}

/* ---- the loop's hooks ---- */

static void on_prepare(uv_prepare_t *prepare)
{
    struct recurse *recurse = prepare->data;
    for (unsigned i = 0; i < recurse->peer_count; i++) {
        struct link *link = recurse->peers[i].link;
        if (link != NULL && !link->channel.blocked &&
            recurse->peers[i].queued.first != RECURSE_NONE) {
            link_send(link);
        }
    }
    batch_end(recurse);
}

static void give_up_old(struct recurse *recurse, struct recurse_list *list, uint64_t now_ms)
{
    while (list->first != RECURSE_NONE && !recurse->stopped) {
        uint32_t index = list->first;
        if (now_ms - recurse->table.questions[index].since_ms < RECURSE_GIVE_UP_MS) {
            return;
        }
        recurse_list_remove(&recurse->table, list, index);
        deliver_failure(recurse, index);
    }
}

static void on_look(uv_timer_t *timer)
{
    struct recurse *recurse = timer->data;
    uint64_t now_ms = uv_now(recurse->loop);
    for (unsigned i = 0; i < recurse->peer_count; i++) {
        give_up_old(recurse, &recurse->peers[i].queued, now_ms);
        give_up_old(recurse, &recurse->peers[i].asked, now_ms);
    }
    batch_end(recurse);
}

static void on_soon(uv_timer_t *timer)
{
    struct recurse *recurse = timer->data;
    /* Only those that are there: an answered waiter that asks again must not keep this going. */
    for (uint32_t left = recurse->doomed.count; left > 0 && !recurse->stopped; left--) {
        uint32_t index = recurse->doomed.first;
        recurse_list_remove(&recurse->table, &recurse->doomed, index);
        deliver_failure(recurse, index);
    }
    if (recurse->doomed.count > 0 && !recurse->stopped) {
        uv_timer_start(timer, on_soon, 0, 0);
    }
    batch_end(recurse);
}

/* ---- the door ---- */

int recurse_ask(struct recurse *recurse, const uint8_t *name, size_t name_size, uint16_t type,
                uint16_t class, struct recurse_waiter waiter)
{
    assert(!recurse->stopped);
    struct recurse_table *table = &recurse->table;
    uint64_t hash = recurse_table_hash(table, name, name_size, type, class);
    uint32_t index = recurse_table_find(table, hash, name, name_size, type, class);
    if (index != RECURSE_NONE) {
        int r = recurse_table_wait(table, index, waiter);
        if (r == 0) {
            metrics_add(recurse->metrics, METRIC_RECURSION_MERGED, 1);
        }
        return r;
    }
    unsigned owner = recurse_owner(recurse, name, name_size);
    struct peer *peer = &recurse->peers[owner];
    bool doomed = recurse_table_remembers(table, hash, uv_now(recurse->loop));
    if (!doomed && peer->link == NULL && peer->queued.count >= recurse->queue_max) {
        return -EAGAIN;
    }
    index = recurse_table_add(table, hash, name, name_size, type, class);
    if (index == RECURSE_NONE) {
        return -ENOSPC;
    }
    struct recurse_question *question = &table->questions[index];
    int r = recurse_table_wait(table, index, waiter);
    if (r < 0) {
        recurse_table_hide(table, index);
        recurse_table_free(table, index);
        return r;
    }
    question->since_ms = uv_now(recurse->loop);
    question->recursor = (uint16_t)owner;
    if (doomed) {
        question->state = RECURSE_QUESTION_DOOMED;
        recurse_list_append(table, &recurse->doomed, index);
        uv_timer_start(&recurse->soon, on_soon, 0, 0);
    } else {
        recurse_list_append(table, &peer->queued, index);
    }
    return 0;
}

void recurse_cancel(struct recurse *recurse, struct recurse_waiter waiter)
{
    recurse_table_cancel(&recurse->table, waiter);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct recurse *recurse = handle->data;
    assert(recurse->handles_open > 0);
    recurse->handles_open--;
}

void recurse_stop(struct recurse *recurse)
{
    if (recurse->stopped) {
        return;
    }
    uv_mutex_lock(&recurse->mutex);
    recurse->stopped = true;
    uv_mutex_unlock(&recurse->mutex);
    for (unsigned i = 0; i < recurse->peer_count; i++) {
        if (recurse->peers[i].link != NULL) {
            link_close(recurse->peers[i].link);
        }
    }
    uv_close((uv_handle_t *)&recurse->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&recurse->look, on_handle_closed);
    uv_close((uv_handle_t *)&recurse->soon, on_handle_closed);
    uv_close((uv_handle_t *)&recurse->mail, on_handle_closed);
}

void recurse_free(struct recurse *recurse)
{
    if (recurse == NULL) {
        return;
    }
    assert(recurse->handles_open == 0);
    for (unsigned i = 0; i < recurse->peer_count; i++) {
        if (recurse->peers[i].mail >= 0) {
            close(recurse->peers[i].mail);
        }
    }
    uv_mutex_destroy(&recurse->mutex);
    recurse_table_done(&recurse->table);
    free(recurse->peers);
    free(recurse);
}

/* The handles; none of these calls fails except uv_async_init, so that one goes first. */
static int start_handles(struct recurse *recurse)
{
    int r = uv_async_init(recurse->loop, &recurse->mail, on_mail);
    if (r < 0) {
        return r;
    }
    uv_prepare_init(recurse->loop, &recurse->prepare);
    uv_timer_init(recurse->loop, &recurse->look);
    uv_timer_init(recurse->loop, &recurse->soon);
    recurse->mail.data = recurse->prepare.data = recurse;
    recurse->look.data = recurse->soon.data = recurse;
    recurse->handles_open = 4;
    uv_prepare_start(&recurse->prepare, on_prepare);
    uv_timer_start(&recurse->look, on_look, LOOK_EVERY_MS, LOOK_EVERY_MS);
    return 0;
}

struct recurse *recurse_new(uv_loop_t *loop, uint32_t questions_max, unsigned recursors,
                            const struct bl_secret *secret, struct metrics *metrics,
                            recurse_answered_fn *answered, recurse_batch_fn *batch, void *context)
{
    assert(recursors >= 1 && recursors <= RECURSORS_MAX);
    struct recurse *recurse = calloc(1, sizeof(*recurse));
    if (recurse == NULL) {
        return NULL;
    }
    recurse->loop = loop;
    recurse->peer_count = recursors;
    recurse->queue_max = questions_max / 2 > 0 ? questions_max / 2 : 1;
    recurse->doomed = RECURSE_LIST_EMPTY;
    recurse->secret = secret;
    recurse->metrics = metrics;
    recurse->answered = answered;
    recurse->batch = batch;
    recurse->context = context;
    recurse->peers = calloc(recursors, sizeof(*recurse->peers));
    for (unsigned i = 0; recurse->peers != NULL && i < recursors; i++) {
        recurse->peers[i].queued = RECURSE_LIST_EMPTY;
        recurse->peers[i].asked = RECURSE_LIST_EMPTY;
        recurse->peers[i].mail = -1;
    }
    if (recurse->peers == NULL || recurse_table_init(&recurse->table, questions_max, secret) != 0 ||
        uv_mutex_init(&recurse->mutex) != 0) {
        goto no_mutex;
    }
    if (start_handles(recurse) < 0) {
        uv_mutex_destroy(&recurse->mutex);
        goto no_mutex;
    }
    return recurse;

no_mutex:
    recurse_table_done(&recurse->table);
    free(recurse->peers);
    free(recurse);
    return NULL;
}
