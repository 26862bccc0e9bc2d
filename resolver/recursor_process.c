#include "resolver/recursor_process.h"
#include "resolver/log.h"
#include "resolver/recurse_channel.h"
#include "resolver/recursor_settings.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PINGS_MISSED_MAX 4u     /* 2 s: it hangs, or is stopped; there is no other sign */
#define STARTING_MISSED_MAX 20u /* 10 s for exec, files and libunbound on a busy machine */
#define YOUNG_MS 5000u          /* one that dies earlier is started again more slowly */
#define NOTES_MAX 60u /* lines of one process in the log, a minute; it may be taken over */
#define TICKS_A_MINUTE (60000u / RECURSOR_TICK_MS)
#define MESSAGES_A_WAKE 16 /* of one control socket */

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000u;
}

/* ---- its end ---- */

static void close_sockets(struct recursor *recursor)
{
    for (unsigned i = 0; i < recursor->all->worker_count; i++) {
        if (recursor->sockets[i] >= 0) {
            close(recursor->sockets[i]);
            recursor->sockets[i] = -1;
        }
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct recursor *recursor = handle->data;
    assert(recursor->handles > 0);
    if (--recursor->handles == 0) {
        recursor->all->closed(recursor);
    }
}

static void close_control(struct recursor *recursor)
{
    if (recursor->control >= 0) {
        uv_close((uv_handle_t *)&recursor->poll, on_handle_closed);
        close(recursor->control);
        recursor->control = -1;
    }
}

void recursor_process_kill(struct recursor *recursor, const char *why)
{
    if (recursor->pid == 0 || recursor->killed) {
        return;
    }
    log_warning("recursor is ended", "recursor", log_number(recursor->index), "pid",
                log_number(recursor->pid), "why", why);
    recursor->killed = true;
    (void)uv_process_kill(&recursor->process, SIGKILL);
}

static void on_process_exit(uv_process_t *process, int64_t status, int signal)
{
    struct recursor *recursor = process->data;
    struct recursors *all = recursor->all;
    if (!all->stopping) {
        log_warning("recursor is gone; a new one is started", "recursor",
                    log_number(recursor->index), "pid", log_number(recursor->pid),
                    signal != 0 ? "signal" : "status", log_number(signal != 0 ? signal : status));
    }
    bool young = now_ms() - recursor->started_ms < YOUNG_MS;
    recursor->young_deaths = young ? recursor->young_deaths + 1 : 0;
    recursor->pid = 0;
    recursor->answering = false;
    close_sockets(recursor);
    uv_mutex_lock(&all->mutex);
    all->status[recursor->index].pid = 0;
    all->status[recursor->index].answering = false;
    uv_mutex_unlock(&all->mutex);
    close_control(recursor);
    uv_close((uv_handle_t *)process, on_handle_closed);
}

/* ---- what it says ---- */

static void send_control(struct recursor *recursor, const struct channel_record *record)
{
    uint8_t message[64];
    int size = channel_write(record, message, sizeof(message));
    assert(size > 0);
    /* Lost when its socket is full: then pings stay unanswered, and that is the sign. */
    (void)channel_send(recursor->control, message, (size_t)size, NULL, 0);
}

static void send_ping(struct recursor *recursor)
{
    recursor->ping_open = true;
    recursor->pings_missed = 0;
    send_control(recursor,
                 &(struct channel_record){.kind = CHANNEL_PING, .ping = ++recursor->ping});
}

static void take_pong(struct recursor *recursor, const struct channel_pong *pong)
{
    struct recursors *all = recursor->all;
    if (!recursor->ping_open || pong->token != recursor->ping || all->stopping) {
        return;
    }
    recursor->ping_open = false;
    bool first = !recursor->answering;
    recursor->answering = true;
    uv_mutex_lock(&all->mutex);
    all->status[recursor->index].answering = true;
    all->status[recursor->index].questions = pong->questions;
    uv_mutex_unlock(&all->mutex);
    if (first) {
        for (unsigned i = 0; i < all->worker_count; i++) {
            recurse_connect(all->workers[i], recursor->index, recursor->sockets[i],
                            recursor->token);
            recursor->sockets[i] = -1;
        }
        log_info("recursor answers", "recursor", log_number(recursor->index), "pid",
                 log_number(recursor->pid));
    }
}

static void take_note(struct recursor *recursor, const struct channel_note *note)
{
    if (recursor->notes >= NOTES_MAX) {
        return;
    }
    recursor->notes++;
    char text[CHANNEL_TEXT_SIZE_MAX + 1];
    memcpy(text, note->text, note->text_size);
    text[note->text_size] = '\0';
    enum log_level level =
        note->level <= LOG_LEVEL_DEBUG ? (enum log_level)note->level : LOG_LEVEL_WARNING;
    log_write(level, text, "recursor", log_number(recursor->index), NULL);
}

/* False when it is not what a recursor says. */
static bool take_message(struct recursor *recursor, size_t size)
{
    const uint8_t *buffer = recursor->all->buffer;
    for (size_t at = 0; at < size;) {
        struct channel_record record;
        int r = channel_read(buffer + at, size - at, &record);
        if (r < 0) {
            return false;
        }
        at += (size_t)r;
        if (record.kind == CHANNEL_PONG) {
            take_pong(recursor, &record.pong);
        } else if (record.kind == CHANNEL_NOTE) {
            take_note(recursor, &record.note);
        } else {
            return false;
        }
    }
    return true;
}

static void on_control(uv_poll_t *poll, int status, int events)
{
    struct recursor *recursor = poll->data;
    (void)events;
    for (int i = 0; status >= 0 && i < MESSAGES_A_WAKE; i++) {
        int size = channel_receive(recursor->control, recursor->all->buffer, NULL, NULL);
        if (size == -EAGAIN) {
            return;
        }
        if (size <= 0) {
            status = -EPIPE;
        } else if (!take_message(recursor, (size_t)size)) {
            recursor_process_kill(recursor, "it sent rubbish");
        }
    }
    if (status < 0) { /* usually dead, and on_process_exit() follows */
        uv_poll_stop(poll);
        if (!recursor->all->stopping) {
            recursor->killed = true;
            (void)uv_process_kill(&recursor->process, SIGKILL);
        }
    }
}

/* ---- its start ---- */

static int send_sockets(int control, const int *descriptors, unsigned count)
{
    for (unsigned at = 0; at < count; at += CHANNEL_DESCRIPTORS_MAX) {
        unsigned part = count - at < CHANNEL_DESCRIPTORS_MAX ? count - at : CHANNEL_DESCRIPTORS_MAX;
        const struct channel_record record = {.kind = CHANNEL_SOCKETS, .sockets = (uint8_t)part};
        uint8_t message[16];
        int size = channel_write(&record, message, sizeof(message));
        assert(size > 0);
        int r = channel_send(control, message, (size_t)size, descriptors + at, part);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* Makes a channel for each worker; the recursor's ends wait in the control socket. */
static int give_sockets(struct recursor *recursor)
{
    int theirs[WORKERS_MAX];
    unsigned made = 0;
    int r = 0;
    for (; made < recursor->all->worker_count; made++) {
        int pair[2];
        r = channel_pair(pair);
        if (r < 0) {
            break;
        }
        recursor->sockets[made] = pair[0];
        theirs[made] = pair[1];
    }
    if (r == 0) {
        r = send_sockets(recursor->control, theirs, made);
    }
    for (unsigned i = 0; i < made; i++) {
        close(theirs[i]);
    }
    return r;
}

static int give_settings(struct recursor *recursor)
{
    struct recursors *all = recursor->all;
    int size = recursor_settings_write(all->config, recursor->index, all->count, all->buffer);
    return size < 0 ? size : channel_send(recursor->control, all->buffer, (size_t)size, NULL, 0);
}

/* With the sandbox on nothing of the daemon's environment reaches the process, which may be taken
 * over one day; without it sanitizers and faked clocks are told what to do that way. */
static int spawn(struct recursor *recursor, int control)
{
    struct recursors *all = recursor->all;
    char *arguments[] = {all->program, NULL};
    char library_path[CONFIG_PATH_SIZE_MAX + 32];
    const char *libraries = getenv("LD_LIBRARY_PATH");
    char *environment[] = {NULL, NULL};
    if (libraries != NULL) {
        int length = snprintf(library_path, sizeof(library_path), "LD_LIBRARY_PATH=%s", libraries);
        if (length > 0 && (size_t)length < sizeof(library_path)) {
            environment[0] = library_path;
        }
    }
    uv_stdio_container_t stdio[4] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = control},
    };
    const uv_process_options_t options = {
        .exit_cb = on_process_exit,
        .file = all->program,
        .args = arguments,
        .env = all->config->recursion.sandbox ? environment : NULL,
        .stdio_count = 4,
        .stdio = stdio,
    };
    recursor->process.data = recursor;
    recursor->handles++; /* also after a failure the handle has to be closed */
    int r = uv_spawn(all->loop, &recursor->process, &options);
    if (r < 0) {
        uv_close((uv_handle_t *)&recursor->process, on_handle_closed);
    }
    return r;
}

static int try_start(struct recursor *recursor)
{
    int pair[2];
    int r = channel_pair(pair);
    if (r < 0) {
        return r;
    }
    recursor->control = pair[0];
    recursor->poll.data = recursor;
    r = uv_poll_init(recursor->all->loop, &recursor->poll, pair[0]);
    if (r < 0) {
        recursor->control = -1;
        close(pair[0]);
        close(pair[1]);
        return r;
    }
    recursor->handles++;
    r = uv_poll_start(&recursor->poll, UV_READABLE, on_control);
    if (r == 0) {
        r = give_sockets(recursor);
    }
    if (r == 0) {
        r = give_settings(recursor);
    }
    if (r == 0) {
        r = spawn(recursor, pair[1]);
    }
    close(pair[1]);
    return r;
}

void recursor_process_start(struct recursor *recursor)
{
    struct recursors *all = recursor->all;
    recursor->token = ++all->starts;
    recursor->started_ms = now_ms();
    recursor->answering = false;
    recursor->killed = false;
    recursor->notes = 0;
    int r = try_start(recursor);
    if (r < 0) {
        log_error("can't start a recursor; it is tried again", "recursor",
                  log_number(recursor->index), "program", all->program, "error", uv_strerror(r));
        recursor->young_deaths++;
        close_sockets(recursor);
        close_control(recursor);
        if (recursor->handles == 0) {
            all->closed(recursor);
        }
        return;
    }
    recursor->pid = recursor->process.pid;
    uv_mutex_lock(&all->mutex);
    struct recursor_status *status = &all->status[recursor->index];
    status->restarts += status->started_s > 0 ? 1 : 0;
    status->pid = recursor->pid;
    status->started_s = recursor->started_ms / 1000u;
    status->questions = 0;
    uv_mutex_unlock(&all->mutex);
    send_ping(recursor); /* answered as soon as it works */
}

/* ---- the watch ---- */

static bool worker_lost(const struct recursor *recursor)
{
    for (unsigned i = 0; i < recursor->all->worker_count; i++) {
        if (recurse_broken(recursor->all->workers[i], recursor->index) == recursor->token) {
            return true;
        }
    }
    return false;
}

/* Counts ticks, not time: when this process itself was stopped, pongs have lain unread. */
void recursor_process_tick(struct recursor *recursor)
{
    if (++recursor->ticks % TICKS_A_MINUTE == 0) {
        recursor->notes = 0;
    }
    if (recursor->pid == 0) {
        return;
    }
    if (!recursor->ping_open) {
        send_ping(recursor);
    } else if (++recursor->pings_missed >=
               (recursor->answering ? PINGS_MISSED_MAX : STARTING_MISSED_MAX)) {
        recursor_process_kill(recursor, "it answers no ping");
    }
    if (recursor->answering && worker_lost(recursor)) {
        recursor_process_kill(recursor, "it closed a worker's channel");
    }
}

void recursor_process_ask_to_stop(struct recursor *recursor)
{
    send_control(recursor, &(struct channel_record){.kind = CHANNEL_STOP});
}
