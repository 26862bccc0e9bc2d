/* One thread, one loop. Calls from other threads are put into a queue and wake the loop; each is
 * owned by its caller and by the queue, so that a caller that gives up waiting leaves nothing
 * behind. */
#include "resolver/sync.h"

#include "resolver/log.h"
#include "resolver/sync_inner.h"
#include "resolver/sync_store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CALL_TIMEOUT_NS UINT64_C(30000000000)
#define REFUSALS_LOG_MS 1000u /* refusals are told together, not more often */

enum call_kind { CALL_RELOAD, CALL_OPERATE, CALL_IMPORT, CALL_STOP };

struct sync_call {
    struct sync_call *next;
    enum call_kind kind;
    int owners; /* caller and queue; under the mutex */
    bool done;
    int result;
    json_t *reply;
    char error[SYNC_TEXT_SIZE];
    /* What it asks for: copies. */
    struct config_list_file *files;
    uint32_t file_count;
    enum sync_operation operation;
    json_t *request;
    char *name;
    char *format;
    char *text;
    size_t size;
};

/* ---- status ---- */

static uint64_t sum(const uint64_t *counts, size_t count)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += counts[i];
    }
    return total;
}

static struct sync_totals totals_of(const struct sync *sync)
{
    struct sync_totals totals = {.malformed_lines =
                                     sync->feeds.malformed + sync->operator.malformed };
    if (sync->link != NULL) {
        const struct bl_redis_status *redis = sync_link_list(sync->link);
        totals.refusals = redis->refusals;
        memcpy(totals.images, redis->images, sizeof(totals.images));
    }
    for (size_t i = 0; i < BL_GUARD_COUNT; i++) {
        totals.refusals.guarded[i] += sync->feeds.guarded[i] + sync->operator.guarded[i];
    }
    return totals;
}

/* What was refused of Redis' entries, at most one line a second and reason. */
static void log_refusals(struct sync *sync)
{
    uint64_t now = uv_hrtime() / 1000000;
    const struct bl_refusals *refusals = &sync_link_list(sync->link)->refusals;
    struct bl_refusals *logged = &sync->refusals_logged;
    if (memcmp(refusals, logged, sizeof(*logged)) == 0 ||
        (sync->refusals_logged_ms != 0 && now - sync->refusals_logged_ms < REFUSALS_LOG_MS)) {
        return;
    }
    for (int i = 0; i < BL_REJECT_COUNT; i++) {
        if (refusals->rejected[i] > logged->rejected[i]) {
            log_warning("entries of Redis refused", "reason", bl_reject_label((enum bl_reject)i),
                        "count",
                        log_number((long long)(refusals->rejected[i] - logged->rejected[i])));
        }
    }
    for (int i = 0; i < BL_GUARD_COUNT; i++) {
        if (refusals->guarded[i] > logged->guarded[i]) {
            log_warning("entries of Redis refused", "reason", bl_guard_text((enum bl_guard)i),
                        "count",
                        log_number((long long)(refusals->guarded[i] - logged->guarded[i])));
        }
    }
    *logged = *refusals;
    sync->refusals_logged_ms = now;
}

/* Takes the parts' counts over into what other threads read. */
static void update_status(void *context)
{
    struct sync *sync = context;
    struct sync_totals totals = totals_of(sync);
    uint64_t changes = sync->feeds.changed + sync->operator.changed;
    if (sync->link != NULL) {
        const struct bl_redis_status *redis = sync_link_list(sync->link);
        changes += redis->changes + sum(redis->images, BL_IMAGE_REASON_COUNT);
        log_refusals(sync);
    }
    uv_mutex_lock(&sync->mutex);
    struct sync_status *status = &sync->status;
    sync->totals = totals;
    status->loaded = true;
    status->rejected = totals.malformed_lines + sum(totals.refusals.rejected, BL_REJECT_COUNT) +
                       sum(totals.refusals.guarded, BL_GUARD_COUNT);
    if (changes != sync->changes_seen) {
        sync->changes_seen = changes;
        status->last_change_s = time(NULL);
    }
    if (sync->link != NULL) {
        const struct bl_redis_status *redis = sync_link_list(sync->link);
        struct sync_link_status link = sync_link_status(sync->link);
        status->loaded = redis->settled;
        bl_list_set_whole(sync->list, redis->settled);
        status->connected = link.connected;
        (void)snprintf(status->server, sizeof(status->server), "%s", link.server);
        (void)snprintf(status->error, sizeof(status->error), "%s", link.error);
        memcpy(status->lineage, redis->position.lineage, sizeof(status->lineage));
        status->revision = redis->position.revision;
        status->last_contact_s = link.last_contact_s;
        status->reconnects = link.reconnects;
        status->images = sum(redis->images, BL_IMAGE_REASON_COUNT);
        status->changes = redis->changes;
    }
    uv_mutex_unlock(&sync->mutex);
}

void sync_status(const struct sync *sync, struct sync_status *ret_status)
{
    struct sync *unlocked = (struct sync *)sync; /* a reader changes nothing but the lock */
    uv_mutex_lock(&unlocked->mutex);
    *ret_status = sync->status;
    uv_mutex_unlock(&unlocked->mutex);
}

/* ---- calls ---- */

static void call_free(struct sync_call *call)
{
    free(call->files);
    json_decref(call->request);
    json_decref(call->reply);
    free(call->name);
    free(call->format);
    free(call->text);
    free(call);
}

/* Under the mutex. */
static void call_release(struct sync_call *call)
{
    if (--call->owners == 0) {
        call_free(call);
    }
}

static void stop_loop(struct sync *sync)
{
    sync->stopping = true;
    if (sync->link != NULL) {
        sync_link_stop(sync->link);
    }
    uv_close((uv_handle_t *)&sync->wake, NULL);
}

/* On the list's thread. */
static void run_call(struct sync *sync, struct sync_call *call)
{
    bool removed = false;
    switch (call->kind) {
    case CALL_RELOAD:
        call->result =
            sync_feeds_load(&sync->feeds, call->files, call->file_count, &removed, call->error);
        int r = sync_operator_load(&sync->operator, !sync->redis);
        if (r != 0 && call->result == 0) {
            call->result = r;
            (void)snprintf(call->error, sizeof(call->error), "operator.list: %s", strerror(-r));
        }
        if (removed && sync->link != NULL) {
            sync_link_want_image(sync->link);
        }
        break;
    case CALL_OPERATE:
        call->result =
            sync_operator_change(&sync->operator, call->operation, call->request, &call->reply);
        break;
    case CALL_IMPORT:
        call->result = sync_feeds_import(&sync->feeds, call->name, call->format, call->text,
                                         call->size, &call->reply);
        break;
    case CALL_STOP:
        stop_loop(sync);
        break;
    }
    update_status(sync);
}

static void on_wake(uv_async_t *wake)
{
    struct sync *sync = wake->data;
    uv_mutex_lock(&sync->mutex);
    while (sync->calls != NULL && !sync->stopping) {
        struct sync_call *call = sync->calls;
        sync->calls = call->next;
        uv_mutex_unlock(&sync->mutex);
        run_call(sync, call);
        uv_mutex_lock(&sync->mutex);
        call->done = true;
        uv_cond_broadcast(&sync->answered);
        call_release(call);
    }
    uv_mutex_unlock(&sync->mutex);
}

static struct sync_call *call_new(enum call_kind kind)
{
    struct sync_call *call = calloc(1, sizeof(*call));
    if (call != NULL) {
        call->kind = kind;
        call->owners = 2;
    }
    return call;
}

/* Hands the call to the list's thread and waits. Its result; the reply goes to ret_reply if that is
 * not NULL. The call is gone afterwards. */
static int make_call(struct sync *sync, struct sync_call *call, json_t **ret_reply,
                     char ret_error[SYNC_TEXT_SIZE])
{
    uint64_t start = uv_hrtime();
    uv_mutex_lock(&sync->mutex);
    struct sync_call **last = &sync->calls;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = call;
    (void)uv_async_send(&sync->wake); /* fails only for a handle that is no async */
    uint64_t passed = 0;
    while (!call->done && passed < CALL_TIMEOUT_NS) {
        (void)uv_cond_timedwait(&sync->answered, &sync->mutex, CALL_TIMEOUT_NS - passed);
        passed = uv_hrtime() - start;
    }
    int result = call->done ? call->result : -ETIMEDOUT;
    if (call->done && ret_reply != NULL) {
        *ret_reply = call->reply;
        call->reply = NULL;
    }
    if (call->done && ret_error != NULL) {
        memcpy(ret_error, call->error, SYNC_TEXT_SIZE);
    }
    call_release(call);
    uv_mutex_unlock(&sync->mutex);
    return result;
}

static int fail(json_t **ret_reply, int error, const char *text)
{
    *ret_reply = json_pack("{s:s}", "error", text);
    return error;
}

#define BUSY "the list is busy; the change may still be made"
#define ELSEWHERE "this node follows Redis: make the change there (sinkholectl does)"

static int finish(int r, json_t **ret_reply)
{
    return r == -ETIMEDOUT ? fail(ret_reply, r, BUSY) : r;
}

int sync_reload(struct sync *sync, const struct config *config,
                char ret_error[static SYNC_TEXT_SIZE])
{
    size_t size = config->list_file_count * sizeof(config->list_files[0]);
    struct sync_call *call = call_new(CALL_RELOAD);
    if (call != NULL) {
        call->files = malloc(size > 0 ? size : 1);
    }
    if (call == NULL || call->files == NULL) {
        free(call);
        (void)snprintf(ret_error, SYNC_TEXT_SIZE, "memory is short");
        return -ENOMEM;
    }
    if (size > 0) {
        memcpy(call->files, config->list_files, size);
    }
    call->file_count = config->list_file_count;
    int r = make_call(sync, call, NULL, ret_error);
    if (r == -ETIMEDOUT) {
        (void)snprintf(ret_error, SYNC_TEXT_SIZE, "the list is busy; it is read again after that");
    }
    return r;
}

int sync_operate(struct sync *sync, enum sync_operation operation, const json_t *request,
                 json_t **ret_reply)
{
    if (sync->redis) {
        return fail(ret_reply, -EPERM, ELSEWHERE);
    }
    struct sync_call *call = call_new(CALL_OPERATE);
    if (call != NULL) {
        call->operation = operation;
        call->request = json_deep_copy(request);
    }
    if (call == NULL || call->request == NULL) {
        free(call);
        return fail(ret_reply, -ENOMEM, "memory is short");
    }
    return finish(make_call(sync, call, ret_reply, NULL), ret_reply);
}

int sync_import(struct sync *sync, const char *name, const char *format, const char *text,
                size_t size, json_t **ret_reply)
{
    if (sync->redis) {
        return fail(ret_reply, -EPERM, ELSEWHERE);
    }
    if (size > SYNC_IMPORT_SIZE_MAX) {
        return fail(ret_reply, -EFBIG, "the list is larger than 256 MiB");
    }
    struct sync_call *call = call_new(CALL_IMPORT);
    if (call == NULL) {
        return fail(ret_reply, -ENOMEM, "memory is short");
    }
    call->name = strdup(name);
    call->format = strdup(format);
    call->text = malloc(size > 0 ? size : 1);
    call->size = size;
    if (call->name == NULL || call->format == NULL || call->text == NULL) {
        call_free(call);
        return fail(ret_reply, -ENOMEM, "memory is short");
    }
    if (size > 0) {
        memcpy(call->text, text, size);
    }
    return finish(make_call(sync, call, ret_reply, NULL), ret_reply);
}

/* ---- life ---- */

static void run_thread(void *context)
{
    struct sync *sync = context;
    (void)uv_run(&sync->loop, UV_RUN_DEFAULT); /* until stop_loop() has closed every handle */
}

/* Reads the files on the caller's thread: it is the list's writer until the other one starts. */
static void load_files(struct sync *sync, const struct config *config)
{
    char error[SYNC_ERROR_SIZE];
    bool removed;
    int r = sync_store_folder(sync->state_dir);
    if (r != 0) {
        log_error("the state folder can't be made: the operator's changes will be refused",
                  "state_dir", sync->state_dir, "error", strerror(-r));
    }
    /* What could not be read is logged, and the rest is in force. */
    (void)sync_feeds_load(&sync->feeds, config->list_files, config->list_file_count, &removed,
                          error);
    (void)sync_operator_load(&sync->operator, !sync->redis);
    if (sync->redis && sync->operator.count> 0) {
        log_warning("operator.list stays in force beside Redis: move its lines there with "
                    "sinkholectl, then remove it",
                    "entries", log_number((long long)sync->operator.count), "feed",
                    SYNC_FEED_BESIDE);
    }
}

static int make_link(struct sync *sync, const struct config *config)
{
    struct bl_redis_options options = {
        .prefix = config->redis.prefix,
        .username = config->redis.username,
        .node = config->node.name,
        .version = SINKHOLE_VERSION,
        .database = config->redis.database,
        .list = sync->list,
        .guards = sync->guards,
    };
    int r = sync_link_new(&sync->loop, &config->redis, &options, update_status, sync, &sync->link);
    return r == 0 ? sync_link_start(sync->link) : r;
}

/* Undoes the loop of a sync whose thread does not run. */
static void close_loop(struct sync *sync)
{
    if (!sync->stopping) {
        stop_loop(sync);
    }
    (void)uv_run(&sync->loop, UV_RUN_DEFAULT);
    int r = uv_loop_close(&sync->loop);
    assert(r == 0); /* every handle was closed */
    (void)r;
}

static void sync_free(struct sync *sync)
{
    sync_link_free(sync->link);
    sync_feeds_done(&sync->feeds);
    sync_operator_done(&sync->operator);
    bl_guards_free(sync->guards);
    uv_cond_destroy(&sync->answered);
    uv_mutex_destroy(&sync->mutex);
    free(sync);
}

static int start_loop(struct sync *sync, const struct config *config)
{
    int r = uv_loop_init(&sync->loop);
    if (r != 0) {
        return r;
    }
    r = uv_async_init(&sync->loop, &sync->wake, on_wake);
    if (r != 0) {
        (void)uv_loop_close(&sync->loop);
        return r;
    }
    sync->wake.data = sync;
    if (sync->redis) {
        r = make_link(sync, config);
    }
    update_status(sync);
    if (r == 0) {
        r = uv_thread_create(&sync->thread, run_thread, sync);
    }
    if (r != 0) {
        close_loop(sync);
    }
    return r;
}

int sync_start(const struct config *config, struct bl_list *list, struct sync **ret_sync)
{
    struct sync *sync = calloc(1, sizeof(*sync));
    if (sync == NULL) {
        return -ENOMEM;
    }
    if (uv_mutex_init(&sync->mutex) != 0) {
        free(sync);
        return -ENOMEM;
    }
    if (uv_cond_init(&sync->answered) != 0) {
        uv_mutex_destroy(&sync->mutex);
        free(sync);
        return -ENOMEM;
    }
    sync->list = list;
    sync->redis = config->redis.set;
    sync->status.redis = sync->redis;
    memcpy(sync->state_dir, config->node.state_dir, sizeof(sync->state_dir));
    int r = bl_guards_new(&sync->guards);
    if (r == 0) {
        sync->feeds =
            (struct sync_feeds){.list = list, .guards = sync->guards, .state_dir = sync->state_dir};
        sync->operator=(struct sync_operator){
            .list = list,
            .guards = sync->guards,
            .state_dir = sync->state_dir,
            .feed = sync->redis ? SYNC_FEED_BESIDE : SYNC_FEED_OPERATOR,
        };
        load_files(sync, config);
        r = start_loop(sync, config);
    }
    if (r != 0) {
        sync_free(sync);
        return r;
    }
    *ret_sync = sync;
    return 0;
}

void sync_stop(struct sync *sync)
{
    if (sync == NULL) {
        return;
    }
    struct sync_call *call = call_new(CALL_STOP);
    assert(call != NULL); /* a few octets at the process's end */
    (void)make_call(sync, call, NULL, NULL);
    (void)uv_thread_join(&sync->thread);
    int r = uv_loop_close(&sync->loop);
    assert(r == 0);
    (void)r;
    while (sync->calls != NULL) { /* nobody waits for them any more */
        struct sync_call *next = sync->calls->next;
        call_free(sync->calls);
        sync->calls = next;
    }
    sync_free(sync);
}
