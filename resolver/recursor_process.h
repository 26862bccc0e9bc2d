/* recursor_process.h - one sinkhole-recursor process, and what the main thread knows of all; the
 * inside of resolver/recursors.
 *
 * A life: started -> answering (its first pong; only then do workers get their channels, so that
 * one that dies at its start takes no question with it) -> gone -> closed, and started again.
 *
 * Everything belongs to the main thread but `status`, which others may read under the mutex. */
#ifndef RESOLVER_RECURSOR_PROCESS_H
#define RESOLVER_RECURSOR_PROCESS_H

#include "resolver/channel.h"
#include "resolver/recurse.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define RECURSOR_TICK_MS 500u

struct recursor {
    struct recursors *all;
    unsigned index;
    uv_process_t process;
    uv_poll_t poll; /* of the control socket */
    uv_timer_t restart;
    unsigned handles; /* of process and poll that are open */
    int control;      /* -1: closed */
    int *sockets;     /* the workers' ends until it answers; -1: given away */
    int pid;          /* 0: none */
    uint64_t token;   /* of this start: unique among all */
    uint64_t started_ms;
    uint64_t ping;  /* the last one sent */
    bool ping_open; /* it is unanswered */
    bool answering;
    bool killed;
    unsigned pings_missed;
    unsigned young_deaths;
    unsigned notes; /* in this minute */
    unsigned ticks;
};

struct recursors {
    uv_loop_t *loop;
    const struct config *config;
    char program[CONFIG_PATH_SIZE_MAX];
    struct recurse *const *workers;
    unsigned worker_count;
    unsigned count;
    struct recursor *list;
    struct recursor_status *status; /* under the mutex */
    uv_mutex_t mutex;
    uv_timer_t tick;
    uv_timer_t stop;
    unsigned timers; /* tick, stop and every restart: open handles */
    uint64_t starts;
    bool stopping;
    void (*closed)(struct recursor *recursor); /* gone, and may be started again */
    void (*done)(void *context);
    void *done_context;
    uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];
};

/* Starts the process; its first ping is under way then. After a failure, which is logged, `closed`
 * is called as after a death. */
void recursor_process_start(struct recursor *recursor);

/* To be called every RECURSOR_TICK_MS. */
void recursor_process_tick(struct recursor *recursor);

void recursor_process_ask_to_stop(struct recursor *recursor);

/* Kills it, unless it is gone or killed already. */
void recursor_process_kill(struct recursor *recursor, const char *why);

#endif
