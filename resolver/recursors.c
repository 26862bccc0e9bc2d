#include "resolver/channel.h"
#include "resolver/log.h"
#include "resolver/recurse.h"
#include "resolver/recursor_process.h"
#include "resolver/recursor_settings.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STOP_MS 2000u          /* until it is killed */
#define RESTART_FIRST_MS 100u  /* at the second young death in a row; then doubled */
#define RESTART_MAX_MS 1000u   /* hence replaced within a second */
#define PROCESSES_AUTO_MAX 16u /* each has caches of its own to fill */

unsigned recursors_count(const struct config *config, unsigned workers)
{
    unsigned count = config->recursion.processes;
    if (count == 0) {
        count = workers < PROCESSES_AUTO_MAX ? workers : PROCESSES_AUTO_MAX;
    }
    if (count > RECURSORS_MAX) {
        count = RECURSORS_MAX;
    }
    return count > 0 ? count : 1;
}

/* ---- ends ---- */

static void on_timer_closed(uv_handle_t *handle);

static void close_timer(struct recursors *recursors, uv_timer_t *timer)
{
    if (!uv_is_closing((uv_handle_t *)timer)) {
        timer->data = recursors;
        uv_close((uv_handle_t *)timer, on_timer_closed);
    }
}

static void finish_stop(struct recursors *recursors)
{
    for (unsigned i = 0; i < recursors->count; i++) {
        if (recursors->list[i].handles > 0) {
            return;
        }
    }
    close_timer(recursors, &recursors->stop);
    if (recursors->timers == 0) {
        recursors->done(recursors->done_context);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct recursors *recursors = handle->data;
    assert(recursors->timers > 0);
    recursors->timers--;
    finish_stop(recursors);
}

static void on_restart(uv_timer_t *timer)
{
    recursor_process_start(timer->data);
}

static void on_closed(struct recursor *recursor)
{
    if (recursor->all->stopping) {
        finish_stop(recursor->all);
        return;
    }
    uint64_t wait_ms = 0;
    if (recursor->young_deaths > 1) {
        wait_ms = RESTART_FIRST_MS;
        for (unsigned i = 2; i < recursor->young_deaths && wait_ms < RESTART_MAX_MS; i++) {
            wait_ms *= 2;
        }
    }
    uv_timer_start(&recursor->restart, on_restart,
                   wait_ms < RESTART_MAX_MS ? wait_ms : RESTART_MAX_MS, 0);
}

/* ---- for others ---- */

unsigned recursors_status(struct recursors *recursors, struct recursor_status *ret_status,
                          unsigned max)
{
    uv_mutex_lock(&recursors->mutex);
    unsigned count = recursors->count < max ? recursors->count : max;
    memcpy(ret_status, recursors->status, count * sizeof(*ret_status));
    uv_mutex_unlock(&recursors->mutex);
    return count;
}

bool recursors_ready(struct recursors *recursors)
{
    bool ready = true;
    uv_mutex_lock(&recursors->mutex);
    for (unsigned i = 0; i < recursors->count; i++) {
        ready = ready && recursors->status[i].pid != 0 && recursors->status[i].answering;
    }
    uv_mutex_unlock(&recursors->mutex);
    return ready;
}

static int check(const struct config *config, const char *program)
{
    if (access(program, X_OK) != 0) {
        return -errno;
    }
    const char *path = "";
    int r = recursor_settings_check(config, &path);
    if (r < 0) {
        log_error("a file of the recursion section can't be read", "path", path, "error",
                  uv_strerror(r));
        return r;
    }
    int pair[2];
    r = channel_pair(pair);
    if (r < 0) {
        log_error("a recursor's channel can't be made; net.core.wmem_max must be 131072 or more",
                  "error", uv_strerror(r));
        return r;
    }
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static int allocate(struct recursors *all)
{
    all->list = calloc(all->count, sizeof(*all->list));
    all->status = calloc(all->count, sizeof(*all->status));
    if (all->list == NULL || all->status == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < all->count; i++) {
        struct recursor *recursor = &all->list[i];
        recursor->all = all;
        recursor->index = i;
        recursor->control = -1;
        recursor->sockets = calloc(all->worker_count + 1u, sizeof(*recursor->sockets));
        if (recursor->sockets == NULL) {
            return -ENOMEM;
        }
        for (unsigned k = 0; k < all->worker_count; k++) {
            recursor->sockets[k] = -1;
        }
    }
    return uv_mutex_init(&all->mutex);
}

static void free_memory(struct recursors *all)
{
    for (unsigned i = 0; all->list != NULL && i < all->count; i++) {
        free(all->list[i].sockets);
    }
    free(all->list);
    free(all->status);
    free(all);
}

static void on_tick(uv_timer_t *timer)
{
    struct recursors *all = timer->data;
    for (unsigned i = 0; i < all->count; i++) {
        recursor_process_tick(&all->list[i]);
    }
}

int recursors_start(uv_loop_t *loop, const struct config *config, const char *program,
                    struct recurse *const *workers, unsigned worker_count, unsigned count,
                    struct recursors **ret_recursors)
{
    assert(count >= 1 && count <= RECURSORS_MAX && worker_count <= WORKERS_MAX);
    int r = check(config, program);
    if (r < 0) {
        return r;
    }
    struct recursors *all = calloc(1, sizeof(*all));
    if (all == NULL) {
        return -ENOMEM;
    }
    *all = (struct recursors){.loop = loop,
                              .config = config,
                              .workers = workers,
                              .worker_count = worker_count,
                              .count = count,
                              .closed = on_closed};
    int length = snprintf(all->program, sizeof(all->program), "%s", program);
    r = length > 0 && (size_t)length < sizeof(all->program) ? allocate(all) : -ENAMETOOLONG;
    if (r < 0) {
        free_memory(all);
        return r;
    }
    uv_timer_init(loop, &all->tick);
    uv_timer_init(loop, &all->stop);
    all->tick.data = all->stop.data = all;
    all->timers = 2 + count;
    for (unsigned i = 0; i < count; i++) {
        uv_timer_init(loop, &all->list[i].restart);
        all->list[i].restart.data = &all->list[i];
        recursor_process_start(&all->list[i]);
    }
    uv_timer_start(&all->tick, on_tick, RECURSOR_TICK_MS, RECURSOR_TICK_MS);
    *ret_recursors = all;
    return 0;
}

static void on_stop_over(uv_timer_t *timer)
{
    struct recursors *all = timer->data;
    for (unsigned i = 0; i < all->count; i++) {
        recursor_process_kill(&all->list[i], "it did not end by itself");
    }
    finish_stop(all); /* when there were none */
}

void recursors_stop(struct recursors *recursors, void (*done)(void *context), void *context)
{
    if (recursors->stopping) {
        return;
    }
    recursors->stopping = true;
    recursors->done = done;
    recursors->done_context = context;
    bool running = false;
    for (unsigned i = 0; i < recursors->count; i++) {
        struct recursor *recursor = &recursors->list[i];
        close_timer(recursors, &recursor->restart);
        if (recursor->pid != 0) {
            running = true;
            recursor_process_ask_to_stop(recursor);
        }
    }
    close_timer(recursors, &recursors->tick);
    uv_timer_start(&recursors->stop, on_stop_over, running ? STOP_MS : 0, 0);
}

void recursors_free(struct recursors *recursors)
{
    if (recursors == NULL) {
        return;
    }
    assert(recursors->stopping && recursors->timers == 0);
    uv_mutex_destroy(&recursors->mutex);
    free_memory(recursors);
}
