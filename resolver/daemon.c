#include "resolver/daemon.h"

#include "blocklist/rcu.h"
#include "geo/hitlog.h"
#include "geo/tally.h"
#include "resolver/cache.h"
#include "resolver/cpus.h"
#include "resolver/http.h"
#include "resolver/live.h"
#include "resolver/log.h"
#include "resolver/privileges.h"
#include "resolver/recurse.h"
#include "resolver/sync.h"
#include "resolver/worker.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ERROR_SIZE 256u
#define DESCRIPTORS_OF_LOOP 8u /* epoll, wake-ups, libuv's reserve */
#define DESCRIPTORS_SPARE 256u /* list files, hit log, Redis, HTTP, recursors' control sockets */

struct daemon {
    uv_loop_t *loop;
    const char *path;            /* of the configuration */
    const struct config *config; /* as started: what a reload does not change */
    struct bl_secret secret;
    live_pointer live;
    pthread_mutex_t reloading;
    uv_work_t reload_work;
    bool reload_queued;
    struct bl_list *list;
    struct cache *cache;
    struct tcp_census *census;
    struct hitlog *hitlog;
    struct tally *tally;
    struct sync *sync;
    unsigned worker_count;
    struct worker *workers[WORKERS_MAX];
    const struct metrics *metrics[WORKERS_MAX];
    struct hit_ring *rings[WORKERS_MAX];
    struct recurse *recurses[WORKERS_MAX];
    struct recursors *recursors;
    struct http *http;
};

/* ---- options for the parts ---- */

static struct tally_options tally_options_of(const struct config *config)
{
    static const enum tally_client forms[] = {
        [CONFIG_CLIENT_FULL] = TALLY_CLIENT_FULL,
        [CONFIG_CLIENT_TRUNCATED] = TALLY_CLIENT_TRUNCATED,
        [CONFIG_CLIENT_NONE] = TALLY_CLIENT_NONE,
    };
    return (struct tally_options){
        .country_path = config->geo.country,
        .asn_path = config->geo.asn,
        .node = config->node.name,
        .client = forms[config->hits.client],
        .truncate_ipv4 = config->hits.truncate_ipv4,
        .truncate_ipv6 = config->hits.truncate_ipv6,
    };
}

static size_t hitlog_outputs_of(const struct config *config,
                                struct hitlog_output outputs[static HIT_OUTPUTS_MAX])
{
    for (uint32_t i = 0; i < config->hits.output_count; i++) {
        outputs[i] = (struct hitlog_output){
            .path = config->hits.outputs[i].path,
            .rotate_size = config->hits.outputs[i].rotate,
            .keep = config->hits.outputs[i].keep,
        };
    }
    return config->hits.output_count;
}

static struct live *live_new(struct config *config)
{
    struct live *live = malloc(sizeof(*live));
    struct access *access = access_new(config->access.allow, config->access.allow_count);
    if (live == NULL || access == NULL) {
        free(live);
        access_free(access);
        return NULL;
    }
    live->config = config;
    live->access = access;
    return live;
}

static void live_free(const struct live *live)
{
    access_free(live->access);
    free((void *)(uintptr_t)live);
}

/* ---- reload ---- */

struct changes {
    json_t *changed;
    json_t *restart;
};

static void note_live(void *context, const char *option, bool live)
{
    struct changes *changes = context;
    if (live) {
        json_array_append_new(changes->changed, json_string(option));
    }
}

static void note_restart(void *context, const char *option, bool live)
{
    struct changes *changes = context;
    if (!live) {
        json_array_append_new(changes->restart, json_string(option));
    }
}

/* What was refused goes into the reply; the rest is in force. */
static void reload_part(json_t *errors, int r, const char *error)
{
    if (r != 0) {
        json_array_append_new(errors, json_string(error));
        log_error("reload: kept the old", "error", error);
    }
}

static json_t *reload_parts(struct daemon *daemon, const struct config *config)
{
    json_t *errors = json_array();
    char error[ERROR_SIZE] = "";
    struct hitlog_output outputs[HIT_OUTPUTS_MAX];
    size_t output_count = hitlog_outputs_of(config, outputs);
    struct tally_options options = tally_options_of(config);

    options.node = daemon->config->node.name; /* its changes need a restart */
    log_set((enum log_level)config->log.level, (enum log_format)config->log.format);
    reload_part(errors, hitlog_reload(daemon->hitlog, outputs, output_count, error), error);
    reload_part(errors, tally_reload(daemon->tally, &options, error), error);
    reload_part(errors, sync_reload(daemon->sync, config, error), error);
    return errors;
}

/* Publishes the new configuration, and frees the old one when no worker reads it any more; the one
 * the daemon was started with stays for what a reload does not change. */
static void publish(struct daemon *daemon, struct live *live)
{
    const struct live *old = atomic_exchange_explicit(&daemon->live, live, memory_order_acq_rel);
    bl_rcu_wait();
    if (old->config != daemon->config) {
        config_free(old->config);
    }
    live_free(old);
}

static int reload_locked(struct daemon *daemon, json_t **ret_reply)
{
    struct config *config;
    char error[CONFIG_ERROR_SIZE_MAX];
    int r = config_load(daemon->path, &config, error);
    if (r != 0) {
        log_error("reload refused, the old configuration stays", "error", error);
        *ret_reply = json_pack("{s:s}", "error", error);
        return r;
    }
    struct live *live = live_new(config);
    if (live == NULL) {
        config_free(config);
        *ret_reply = json_pack("{s:s}", "error", "out of memory");
        return -ENOMEM;
    }

    struct changes changes = {.changed = json_array(), .restart = json_array()};
    const struct live *old = atomic_load_explicit(&daemon->live, memory_order_acquire);
    config_diff(old->config, config, note_live, &changes);
    config_diff(daemon->config, config, note_restart, &changes);
    publish(daemon, live);
    json_t *errors = reload_parts(daemon, config);
    r = json_array_size(errors) == 0 ? 0 : -EIO;
    log_info("reloaded", "changed", log_number((long long)json_array_size(changes.changed)),
             "need_restart", log_number((long long)json_array_size(changes.restart)), "errors",
             log_number((long long)json_array_size(errors)));
    *ret_reply = json_pack("{s:o, s:o, s:o}", "changed", changes.changed, "restart",
                           changes.restart, "errors", errors);
    if (r != 0) {
        json_object_set_new(*ret_reply, "error",
                            json_incref(json_array_get(json_object_get(*ret_reply, "errors"), 0)));
    }
    return r;
}

static int reload(void *context, json_t **ret_reply)
{
    struct daemon *daemon = context;
    pthread_mutex_lock(&daemon->reloading);
    int r = reload_locked(daemon, ret_reply);
    pthread_mutex_unlock(&daemon->reloading);
    return r;
}

static void reload_work(uv_work_t *work)
{
    json_t *reply = NULL;
    (void)reload(work->data, &reply); /* it has logged what there is to say */
    json_decref(reply);
}

static void reload_done(uv_work_t *work, int status)
{
    struct daemon *daemon = work->data;
    (void)status;
    daemon->reload_queued = false;
}

/* A second signal while one is at work is answered by that work: it reads the files as they are. */
void daemon_reload(struct daemon *daemon)
{
    if (!daemon->reload_queued) {
        daemon->reload_work.data = daemon;
        daemon->reload_queued =
            uv_queue_work(daemon->loop, &daemon->reload_work, reload_work, reload_done) == 0;
    }
}

/* ---- start ---- */

/* Connections that the descriptors allow, after raising their limit as far as may be. What else
 * needs some must never be short of them: a recursor could not be replaced. */
static uint32_t tcp_clients_of(const struct config *config, unsigned workers)
{
    uint32_t each =
        2 * config->listen_count + recursors_count(config, workers) + DESCRIPTORS_OF_LOOP;
    uint32_t others = DESCRIPTORS_SPARE + workers * each;
    uint32_t clients = config->limits.tcp_clients;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return clients;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur >= (rlim_t)others + clients) {
        return clients;
    }
    clients = limit.rlim_cur > others ? (uint32_t)limit.rlim_cur - others : 1;
    log_warning("fewer TCP connections than limits.tcp_clients: the process may open too few files",
                "connections", log_number(clients), "files", log_number((long long)limit.rlim_cur));
    return clients;
}

static int start_stores(struct daemon *daemon, unsigned workers)
{
    const struct config *config = daemon->config;

    daemon->list = bl_list_new(&daemon->secret);
    daemon->cache = cache_new(config->cache.size, &daemon->secret);
    daemon->census = tcp_census_new(tcp_clients_of(config, workers), config->limits.tcp_per_client,
                                    &daemon->secret);
    if (daemon->list == NULL || daemon->cache == NULL || daemon->census == NULL) {
        log_error("out of memory", "option", "cache.size");
        return -ENOMEM;
    }
    return 0;
}

static unsigned count_workers(const struct config *config)
{
    struct cpus cpus;
    char quota[32];
    cpus_read(&cpus);
    snprintf(quota, sizeof(quota), "%.2f", cpus.quota);
    unsigned count = config->node.workers != 0 ? config->node.workers : cpus.usable;
    count = count > WORKERS_MAX ? WORKERS_MAX : count;
    log_info("workers", "count", log_number(count), "affinity", log_number(cpus.affinity), "quota",
             cpus.quota > 0 ? quota : "none", "chosen",
             config->node.workers != 0 ? "by node.workers" : "from affinity and quota");
    return count;
}

static void say_closed(const struct config_listen *listen, int error)
{
    log_error("can't listen", "address", listen->address.text, "error", strerror(-error), "hint",
              error == -EADDRINUSE ? "another program, or another sinkholed, has this address"
              : error == -EACCES   ? "ports below 1024 need root or CAP_NET_BIND_SERVICE"
                                   : "is the address on this machine?");
}

/* The first worker's doors show whether the addresses are free, as they are still nobody's. */
static int open_doors(const struct config *config, bool first, struct door *doors)
{
    for (uint32_t i = 0; i < config->listen_count; i++) {
        int r = first ? door_probe(&config->listen[i]) : 0;
        if (r == 0) {
            r = door_open(&config->listen[i], &doors[i]);
        }
        if (r != 0) {
            say_closed(&config->listen[i], r);
            return r;
        }
    }
    return 0;
}

static int make_worker(struct daemon *daemon, const struct worker_parts *parts)
{
    struct door doors[LISTEN_MAX];
    struct worker *worker = NULL;
    for (unsigned i = 0; i < LISTEN_MAX; i++) {
        doors[i] = (struct door){.udp = -1, .tcp = -1};
    }
    int r = open_doors(daemon->config, daemon->worker_count == 0, doors);
    if (r == 0) {
        r = worker_new(parts, doors, daemon->config->listen_count, &worker);
        if (r != 0) {
            log_error("can't make a worker", "error", uv_strerror(r));
        }
    }
    for (uint32_t i = 0; i < daemon->config->listen_count; i++) {
        door_close(&doors[i]); /* what no worker took */
    }
    if (r == 0) {
        unsigned index = daemon->worker_count++;
        daemon->workers[index] = worker;
        daemon->metrics[index] = worker_metrics(worker);
        daemon->rings[index] = worker_hits(worker);
        daemon->recurses[index] = worker_recurse(worker);
    }
    return r;
}

static int make_workers(struct daemon *daemon, unsigned count)
{
    struct worker_parts parts = {
        .config = daemon->config,
        .list = daemon->list,
        .secret = &daemon->secret,
        .cache = daemon->cache,
        .live = &daemon->live,
        .census = daemon->census,
        .worker_count = count,
        .recursor_count = recursors_count(daemon->config, count),
    };
    int r = 0;
    for (unsigned i = 0; i < count && r == 0; i++) {
        r = make_worker(daemon, &parts);
    }
    return r;
}

void daemon_recursor_program(char ret_path[static CONFIG_PATH_SIZE_MAX])
{
    char own[CONFIG_PATH_SIZE_MAX - 64];
    ssize_t size = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[size > 0 ? size : 0] = '\0';
    char *slash = strrchr(own, '/');
    if (slash != NULL) {
        *slash = '\0';
        snprintf(ret_path, CONFIG_PATH_SIZE_MAX, "%s/recursor/sinkhole-recursor", own);
        if (access(ret_path, X_OK) == 0) {
            return;
        }
    }
    snprintf(ret_path, CONFIG_PATH_SIZE_MAX, "%s", SINKHOLE_LIBEXECDIR "/sinkhole-recursor");
}

static int start_threads(struct daemon *daemon)
{
    char error[ERROR_SIZE] = "";
    struct hitlog_output outputs[HIT_OUTPUTS_MAX];
    size_t output_count = hitlog_outputs_of(daemon->config, outputs);
    int r = hitlog_start(outputs, output_count, &daemon->hitlog, error);
    if (r != 0) {
        log_error("the hit log can't be opened", "error", error);
        return r;
    }
    struct tally_options options = tally_options_of(daemon->config);
    r = tally_start(&options, daemon->rings, daemon->worker_count, daemon->hitlog, &daemon->tally,
                    error);
    if (r != 0) {
        log_error("the hit tally can't start", "error", error);
        return r;
    }
    r = sync_start(daemon->config, daemon->list, &daemon->sync);
    if (r != 0) {
        log_error("the list can't be loaded", "error", uv_strerror(r));
        return r;
    }
    for (unsigned i = 0; i < daemon->worker_count && r == 0; i++) {
        r = worker_start(daemon->workers[i]);
    }
    if (r != 0) {
        log_error("can't start a worker", "error", uv_strerror(r));
    }
    return r;
}

static int start_recursors(struct daemon *daemon)
{
    char program[CONFIG_PATH_SIZE_MAX];
    daemon_recursor_program(program);
    int r = recursors_start(
        daemon->loop, daemon->config, program, daemon->recurses, daemon->worker_count,
        recursors_count(daemon->config, daemon->worker_count), &daemon->recursors);
    if (r != 0) {
        log_error("can't start recursors", "program", program, "error", uv_strerror(r));
    }
    return r;
}

static void render_cache(void *context, struct metrics_text *text)
{
    struct cache_totals totals;
    cache_totals(context, &totals);
    metrics_number(text, "sinkhole_cache_entries", "gauge", "Answers in the cache.",
                   totals.entries);
    metrics_number(text, "sinkhole_cache_size_bytes", "gauge", "Memory set aside for the cache.",
                   totals.size);
    metrics_number(text, "sinkhole_cache_puts_total", "counter", "Answers put into the cache.",
                   totals.puts);
    metrics_number(text, "sinkhole_cache_evictions_total", "counter",
                   "Answers removed to make room.", totals.evictions);
    metrics_number(text, "sinkhole_cache_dropped_total", "counter",
                   "Answers not kept because no room was free in time.", totals.dropped);
}

static void describe_cache(void *context, json_t *status)
{
    struct cache_totals totals;
    cache_totals(context, &totals);
    json_object_set_new(status, "cache",
                        json_pack("{s:I, s:I, s:I}", "size", (json_int_t)totals.size, "entries",
                                  (json_int_t)totals.entries, "evictions",
                                  (json_int_t)totals.evictions));
}

static int start_http(struct daemon *daemon)
{
    char error[ERROR_SIZE] = "";
    struct http_parts parts = {
        .live = &daemon->live,
        .list = daemon->list,
        .sync = daemon->sync,
        .tally = daemon->tally,
        .hitlog = daemon->hitlog,
        .recursors = daemon->recursors,
        .metrics = daemon->metrics,
        .metrics_count = daemon->worker_count,
        .cache_render = render_cache,
        .cache_status = describe_cache,
        .cache = daemon->cache,
        .reload = reload,
        .reload_context = daemon,
    };
    int r = http_start(daemon->config, &parts, &daemon->http, error);
    if (r != 0) {
        log_error("HTTP can't start", "error", error);
    }
    return r;
}

static int start_parts(struct daemon *daemon)
{
    char error[ERROR_SIZE] = "";
    unsigned workers = count_workers(daemon->config);
    int r = bl_secret_make(&daemon->secret);
    if (r == 0) {
        r = start_stores(daemon, workers);
    }
    if (r == 0) {
        r = make_workers(daemon, workers);
    }
    if (r == 0) {
        r = privileges_drop(daemon->config, error, sizeof(error));
        if (r != 0) {
            log_error("privileges", "error", error);
        }
    }
    if (r == 0) {
        r = start_threads(daemon);
    }
    if (r == 0) {
        r = start_recursors(daemon);
    }
    return r == 0 ? start_http(daemon) : r;
}

int daemon_start(uv_loop_t *loop, struct config *config, const char *path,
                 struct daemon **ret_daemon)
{
    struct daemon *daemon = calloc(1, sizeof(*daemon));
    struct live *live = daemon == NULL ? NULL : live_new(config);
    if (live == NULL) {
        log_error("out of memory");
        free(daemon);
        config_free(config);
        return -ENOMEM;
    }
    daemon->loop = loop;
    daemon->path = path;
    daemon->config = config;
    pthread_mutex_init(&daemon->reloading, NULL);
    atomic_store_explicit(&daemon->live, live, memory_order_release);

    int r = start_parts(daemon);
    if (r != 0) {
        daemon_stop(daemon);
        uv_run(loop, UV_RUN_DEFAULT);
        daemon_free(daemon);
        return r;
    }
    log_info("answering", "version", SINKHOLE_VERSION, "listen",
             config->listen_count > 0 ? config->listen[0].address.text : "nothing", "names",
             log_number((long long)bl_list_names(daemon->list)));
    *ret_daemon = daemon;
    return 0;
}

/* ---- end ---- */

static void recursors_gone(void *context)
{
    (void)context; /* the loop has nothing left and returns */
}

/* HTTP first, whose threads read all the others; then the doors; then what workers ask. */
void daemon_stop(struct daemon *daemon)
{
    http_stop(daemon->http);
    daemon->http = NULL;
    for (unsigned i = 0; i < daemon->worker_count; i++) {
        worker_stop(daemon->workers[i]);
    }
    if (daemon->recursors != NULL) {
        recursors_stop(daemon->recursors, recursors_gone, daemon);
    }
}

void daemon_free(struct daemon *daemon)
{
    recursors_free(daemon->recursors);
    sync_stop(daemon->sync);
    tally_stop(daemon->tally);
    hitlog_stop(daemon->hitlog);
    for (unsigned i = 0; i < daemon->worker_count; i++) {
        worker_free(daemon->workers[i]);
    }
    tcp_census_free(daemon->census);
    cache_free(daemon->cache);
    bl_list_free(daemon->list);

    const struct live *live = atomic_load_explicit(&daemon->live, memory_order_acquire);
    if (live->config != daemon->config) {
        config_free(live->config);
    }
    live_free(live);
    config_free((struct config *)(uintptr_t)daemon->config);
    pthread_mutex_destroy(&daemon->reloading);
    free(daemon);
}
