#include "resolver/worker.h"

#include "blocklist/rcu.h"
#include "resolver/query.h"
#include "resolver/udp.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define TICK_MS 100u
#define HITS_CAPACITY 8192u /* a burst of hits while the tally sleeps for its 50 ms */

struct worker {
    struct worker_parts parts;
    pthread_t thread;
    bool started;
    uv_loop_t loop;
    uv_timer_t tick;
    uv_async_t stop;
    struct metrics *metrics;
    struct hit_ring *hits;
    struct query_engine *engine;
    struct recurse *recurse;
    struct udp *udp;
    struct tcp *tcp;
};

static void send_pending(void *context, const struct client *client, const uint8_t *answer,
                         size_t size)
{
    struct worker *worker = context;
    if (client->transport == CLIENT_TCP) {
        tcp_send(worker->tcp, client, answer, size);
    } else if (size > 0) {
        udp_send(worker->udp, client, answer, size);
    }
}

/* Around the answers that one wake-up of a recursor's channel brings. */
static void recursed_batch(void *context, bool begins)
{
    struct worker *worker = context;
    if (begins) {
        bl_rcu_online();
        return;
    }
    query_flush_hits(worker->engine);
    udp_flush(worker->udp);
    bl_rcu_offline();
}

static void recursed(void *context, struct recurse_waiter waiter,
                     const struct recurse_answer *answer)
{
    struct worker *worker = context;
    query_answered(worker->engine, waiter, answer);
}

static void tick(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    bl_rcu_online();
    query_tick(worker->engine);
    udp_flush(worker->udp);
    tcp_tick(worker->tcp);
    bl_rcu_offline();
}

static void stop(uv_async_t *async)
{
    struct worker *worker = async->data;
    uv_close((uv_handle_t *)&worker->tick, NULL);
    uv_close((uv_handle_t *)&worker->stop, NULL);
    udp_stop(worker->udp);
    tcp_stop(worker->tcp);
    recurse_stop(worker->recurse);
}

static uint32_t share(uint32_t whole, unsigned workers)
{
    uint32_t part = (whole + workers - 1) / workers;
    return part > 0 ? part : 1;
}

static struct query_parts query_parts_of(struct worker *worker)
{
    const struct config *config = worker->parts.config;
    return (struct query_parts){
        .list = worker->parts.list,
        .secret = worker->parts.secret,
        .cache = worker->parts.cache,
        .live = worker->parts.live,
        .metrics = worker->metrics,
        .hits = worker->hits,
        .send = send_pending,
        .send_context = worker,
        .pending_max = share(config->limits.pending, worker->parts.worker_count),
        .pending_client_max = config->limits.pending_per_client,
        .timeout_ms = config->recursion.timeout_ms,
        .udp_size = (uint16_t)config->limits.udp_size,
        .ttls = {.min_s = config->cache.min_ttl_s,
                 .max_s = config->cache.max_ttl_s,
                 .negative_s = config->cache.negative_ttl_s},
    };
}

static int open_doors(struct worker *worker, struct door *doors, size_t door_count)
{
    const struct config *config = worker->parts.config;
    struct tcp_limits limits = {
        .clients_max = config->limits.tcp_clients,
        .idle_ms = config->limits.tcp_idle_ms,
        .total_ms = config->limits.tcp_total_ms,
    };
    int r = udp_start(&worker->loop, doors, door_count, (uint16_t)config->limits.udp_size,
                      worker->engine, worker->metrics, &worker->udp);
    if (r == 0) {
        r = tcp_start(&worker->loop, doors, door_count, &limits, worker->parts.census,
                      worker->engine, worker->metrics, &worker->tcp);
    }
    return r;
}

static int open_parts(struct worker *worker, struct door *doors, size_t door_count)
{
    worker->metrics = aligned_alloc(_Alignof(struct metrics), sizeof(struct metrics));
    worker->hits = hit_ring_new(HITS_CAPACITY);
    if (worker->metrics == NULL || worker->hits == NULL) {
        return -ENOMEM;
    }
    *worker->metrics = (struct metrics){0};

    struct query_parts parts = query_parts_of(worker);
    worker->engine = query_engine_new(&parts);
    worker->recurse =
        recurse_new(&worker->loop, parts.pending_max, worker->parts.recursor_count,
                    worker->parts.secret, worker->metrics, recursed, recursed_batch, worker);
    if (worker->engine == NULL || worker->recurse == NULL) {
        return -ENOMEM;
    }
    query_engine_recurse(worker->engine, worker->recurse);
    return open_doors(worker, doors, door_count);
}

int worker_new(const struct worker_parts *parts, struct door *doors, size_t door_count,
               struct worker **ret_worker)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL) {
        return -ENOMEM;
    }
    worker->parts = *parts;
    int r = uv_loop_init(&worker->loop);
    if (r != 0) {
        free(worker);
        return r;
    }
    uv_timer_init(&worker->loop, &worker->tick);
    uv_async_init(&worker->loop, &worker->stop, stop);
    worker->tick.data = worker->stop.data = worker;
    r = open_parts(worker, doors, door_count);
    if (r != 0) {
        worker_free(worker);
        return r;
    }
    *ret_worker = worker;
    return 0;
}

struct recurse *worker_recurse(struct worker *worker)
{
    return worker->recurse;
}

const struct metrics *worker_metrics(const struct worker *worker)
{
    return worker->metrics;
}

struct hit_ring *worker_hits(struct worker *worker)
{
    return worker->hits;
}

static void *run(void *context)
{
    struct worker *worker = context;
    bl_rcu_register();
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    bl_rcu_unregister();
    return NULL;
}

int worker_start(struct worker *worker)
{
    uv_timer_start(&worker->tick, tick, TICK_MS, TICK_MS);
    int r = -pthread_create(&worker->thread, NULL, run, worker);
    worker->started = r == 0;
    return r;
}

void worker_stop(struct worker *worker)
{
    if (worker->started) {
        uv_async_send(&worker->stop);
        pthread_join(worker->thread, NULL);
        worker->started = false;
    }
}

/* A worker whose thread never ran closes its handles here. */
static void close_unstarted(struct worker *worker)
{
    if (!uv_loop_alive(&worker->loop)) {
        return;
    }
    uv_close((uv_handle_t *)&worker->tick, NULL);
    uv_close((uv_handle_t *)&worker->stop, NULL);
    if (worker->udp != NULL) {
        udp_stop(worker->udp);
    }
    if (worker->tcp != NULL) {
        tcp_stop(worker->tcp);
    }
    if (worker->recurse != NULL) {
        recurse_stop(worker->recurse);
    }
    uv_run(&worker->loop, UV_RUN_DEFAULT);
}

void worker_free(struct worker *worker)
{
    if (worker == NULL) {
        return;
    }
    assert(!worker->started);
    close_unstarted(worker);
    uv_loop_close(&worker->loop);
    udp_free(worker->udp);
    tcp_free(worker->tcp);
    recurse_free(worker->recurse);
    query_engine_free(worker->engine);
    hit_ring_free(worker->hits);
    free(worker->metrics);
    free(worker);
}
