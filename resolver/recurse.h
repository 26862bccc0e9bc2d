/* recurse.h - the only door to recursion. Nothing above it knows libunbound or processes.
 *
 * Two halves. A worker owns a `struct recurse` and asks through it; everything there runs on the
 * worker's loop. The main thread owns the `struct recursors`: it starts the sinkhole-recursor
 * processes, watches them, replaces one that dies, hangs (no answer to a ping in 2 s) or exits, and
 * hands each worker its end of a new channel.
 *
 * A question is asked of one recursor, chosen by a keyed hash of its registrable domain. Equal
 * questions (name, type, class) in flight are merged: the recursor sees one. A question in flight
 * when its recursor dies is asked once more; a name and type in flight at two deaths is answered
 * RECURSE_FAILED for 60 s without asking.
 *
 * The recursor is hostile input: a record that does not fit a question in flight, or whose packet
 * does not answer the question asked, is dropped and counted. */
#ifndef RESOLVER_RECURSE_H
#define RESOLVER_RECURSE_H

#include "resolver/config.h"
#include "resolver/metrics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum recurse_state {
    RECURSE_ANSWERED, /* packet is set */
    RECURSE_FAILED,   /* recursion failed or gave up: SERVFAIL */
};

enum recurse_security { RECURSE_INSECURE, RECURSE_BOGUS, RECURSE_SECURE };

struct recurse_answer {
    enum recurse_state state;
    enum recurse_security security;
    const uint8_t *packet; /* a whole DNS message, lent until the callback returns */
    size_t packet_size;    /* at most 65535 */
    const char *why_bogus; /* NUL-ended, "" unless bogus */
    uint64_t serial; /* if ANSWERED: another one for each packet, the same for all its waiters */
};

/* Names a waiting client's question: slot and generation, never a pointer. */
struct recurse_waiter {
    uint32_t slot;
    uint32_t generation;
};

/* Called on the worker's loop, online (rcu), once for each waiter that was not cancelled. It may
 * ask again. */
typedef void recurse_answered_fn(void *context, struct recurse_waiter waiter,
                                 const struct recurse_answer *answer);

/* Called on the worker's loop around the callbacks of one wake-up: the first with true before them,
 * then with false after them, so that the worker goes online and sends what was answered
 * at once. */
typedef void recurse_batch_fn(void *context, bool begin);

/* ---- a worker's half ---- */

struct recurse;

/* `questions_max` bounds questions in flight, waiters included twice over. `loop` is the worker's;
 * called before the loop runs. NULL when memory is short. */
struct recurse *recurse_new(uv_loop_t *loop, uint32_t questions_max, unsigned recursors,
                            const struct bl_secret *secret, struct metrics *metrics,
                            recurse_answered_fn *answered, recurse_batch_fn *batch, void *context);

/* Asks for `name` (lowered wire form). 0, then `answered` is called later, never from inside;
 * -ENOSPC at the limit; -EAGAIN while its recursor is away and the queue for it is full. */
int recurse_ask(struct recurse *recurse, const uint8_t *name, size_t name_size, uint16_t type,
                uint16_t class, struct recurse_waiter waiter);

/* The waiter no longer cares; the question runs on. No-op if it was answered. */
void recurse_cancel(struct recurse *recurse, struct recurse_waiter waiter);

/* Closes channels and handles; the loop must run once more before recurse_free(). */
void recurse_stop(struct recurse *recurse);
void recurse_free(struct recurse *recurse);

/* ---- the main thread's half ---- */

struct recursors;

struct recursor_status {
    int pid;            /* 0: not running */
    bool answering;     /* it has answered a ping since its start */
    uint64_t restarts;  /* since the daemon's start */
    uint64_t started_s; /* monotonic seconds of its start */
    uint64_t questions; /* as of its last report */
};

/* How many processes the configuration asks for on this machine. */
unsigned recursors_count(const struct config *config, unsigned workers);

/* Starts the processes on the main loop and connects them to each of `workers`. `program` is the
 * path of sinkhole-recursor. The configuration must outlive it. 0 or -errno. */
int recursors_start(uv_loop_t *loop, const struct config *config, const char *program,
                    struct recurse *const *workers, unsigned worker_count, unsigned count,
                    struct recursors **ret_recursors);

/* Any thread. */
unsigned recursors_status(struct recursors *recursors, struct recursor_status *ret_status,
                          unsigned max);
/* Any thread: every recursor is running and has answered a ping. */
bool recursors_ready(struct recursors *recursors);

/* Ends the processes; `done` is called on the main loop when the last one is gone. */
void recursors_stop(struct recursors *recursors, void (*done)(void *context), void *context);
void recursors_free(struct recursors *recursors);

#endif
