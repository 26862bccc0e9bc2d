#include "resolver/sync_link.h"

#include "resolver/log.h"
#include "resolver/stream.h"
#include "resolver/sync_store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define CONNECT_TIMEOUT_MS 3000u
#define RETRY_MIN_MS 100u
#define RETRY_MAX_MS 10000u
#define QUEUE_SIZE_MAX (1024u * 1024) /* commands of one window are some 10 KB */
#define PASSWORD_SIZE_MAX 512u
#define LOG_AGAIN_MS 60000u /* the same trouble is said again after this */

struct sync_link {
    struct config_redis config;
    struct bl_redis *redis;
    struct stream *stream; /* NULL: not connected and not connecting */
    uv_timer_t deadline;   /* the engine's */
    uv_timer_t retry;
    void (*changed)(void *context);
    void *context;
    uint64_t retry_ms; /* the next pause, without its jitter */
    uint32_t server;   /* index of the one in use or to be tried */
    uint64_t connections;
    int64_t last_contact_s;
    bool answered; /* on this connection */
    char error[SYNC_LINK_ERROR_SIZE];
    char logged[SYNC_LINK_ERROR_SIZE]; /* the trouble last logged */
    uint64_t logged_at_ms;
    uint64_t images; /* of the engine's status, as last logged */
};

static void on_deadline(uv_timer_t *timer);
static void on_retry(uv_timer_t *timer);

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static const char *server_name(const struct sync_link *link)
{
    return link->config.socket_path[0] != '\0' ? link->config.socket_path
                                               : link->config.servers[link->server].text;
}

/* ---- trouble ---- */

/* The pause grows, and is spread so that many nodes do not come back as one. */
static void retry_later(struct sync_link *link)
{
    uint32_t random;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random)) {
        random = 0; /* no jitter, then */
    }
    uint64_t half = link->retry_ms / 2;
    uint64_t pause = half + random % (half + 1);
    link->retry_ms = 2 * link->retry_ms < RETRY_MAX_MS ? 2 * link->retry_ms : RETRY_MAX_MS;
    if (link->config.server_count > 1) {
        link->server = (link->server + 1) % link->config.server_count;
    }
    (void)uv_timer_start(&link->retry, on_retry, pause, 0);
}

/* Ends the connection for the reason given, and tries again later. */
static void drop(struct sync_link *link, const char *error)
{
    (void)snprintf(link->error, sizeof(link->error), "%s", error);
    uint64_t now = now_ms();
    if (strcmp(link->error, link->logged) != 0 || now - link->logged_at_ms > LOG_AGAIN_MS) {
        memcpy(link->logged, link->error, sizeof(link->logged));
        link->logged_at_ms = now;
        log_warning("Redis is away, the list stays in force", "server", server_name(link), "error",
                    link->error);
    }
    if (link->stream != NULL) {
        stream_close(link->stream, NULL);
        link->stream = NULL;
    }
    bl_redis_close(link->redis);
    (void)uv_timer_stop(&link->deadline);
    link->answered = false;
    retry_later(link);
    link->changed(link->context);
}

/* ---- the engine ---- */

static void note_progress(struct sync_link *link)
{
    const struct bl_redis_status *status = bl_redis_status(link->redis);
    uint64_t images = 0;
    for (int i = 0; i < BL_IMAGE_REASON_COUNT; i++) {
        images += status->images[i];
    }
    if (images != link->images) {
        link->images = images;
        log_info("full image taken from Redis", "reason",
                 bl_image_reason_label(status->image_reason), "lineage", status->position.lineage,
                 "revision", log_number((long long)status->position.revision));
    }
    if (status->state == BL_REDIS_FOLLOWING || status->state == BL_REDIS_EMPTY) {
        link->retry_ms = RETRY_MIN_MS;
    }
}

/* After every call of the engine: sends what it wants to say, and sets its deadline. */
static void carry(struct sync_link *link, int r)
{
    note_progress(link);
    size_t size;
    const char *octets = r == 0 ? bl_redis_take(link->redis, &size) : NULL;
    if (octets != NULL) {
        uv_buf_t part = uv_buf_init((char *)octets, (unsigned)size);
        r = stream_write(link->stream, &part, 1);
        if (r != 0) {
            drop(link, uv_strerror(r));
            return;
        }
    }
    if (r != 0) {
        const char *error = bl_redis_status(link->redis)->error;
        drop(link, error[0] != '\0' ? error : uv_strerror(r));
        return;
    }
    uint64_t now = now_ms();
    uint64_t deadline = bl_redis_deadline(link->redis);
    if (deadline == UINT64_MAX) {
        (void)uv_timer_stop(&link->deadline);
    } else {
        uv_update_time(link->deadline.loop);
        (void)uv_timer_start(&link->deadline, on_deadline, deadline > now ? deadline - now : 0, 0);
    }
    link->changed(link->context);
}

static void on_deadline(uv_timer_t *timer)
{
    struct sync_link *link = timer->data;
    if (link->stream != NULL) {
        carry(link, bl_redis_tick(link->redis, now_ms()));
    }
}

/* ---- the stream ---- */

/* The first line of the password file. 0 or -errno. */
static int read_password(const struct sync_link *link, char ret_password[static PASSWORD_SIZE_MAX])
{
    ret_password[0] = '\0';
    if (link->config.password_file[0] == '\0') {
        return 0;
    }
    char *text;
    size_t size;
    const char *file = link->config.password_file;
    int r = sync_store_read(file[0] == '/' ? "" : ".", file, PASSWORD_SIZE_MAX - 1, &text, &size);
    if (r != 0) {
        return r;
    }
    text[strcspn(text, "\r\n")] = '\0';
    memcpy(ret_password, text, strlen(text) + 1);
    explicit_bzero(text, size);
    free(text);
    return 0;
}

static void on_connected(void *context)
{
    struct sync_link *link = context;
    char password[PASSWORD_SIZE_MAX];
    int r = read_password(link, password);
    if (r != 0) {
        char error[SYNC_LINK_ERROR_SIZE];
        (void)snprintf(error, sizeof(error), "redis.password_file: %s", strerror(-r));
        drop(link, error);
        return;
    }
    r = bl_redis_open(link->redis, password, now_ms());
    explicit_bzero(password, sizeof(password));
    carry(link, r);
}

static void on_read(void *context, const uint8_t *octets, size_t size)
{
    struct sync_link *link = context;
    int r = bl_redis_read(link->redis, octets, size, now_ms());
    link->last_contact_s = time(NULL);
    enum bl_redis_state state = bl_redis_status(link->redis)->state;
    if (!link->answered && r == 0 && state != BL_REDIS_GREETING) {
        link->answered = true;
        link->connections++;
        link->error[0] = '\0';
        link->logged[0] = '\0';
        log_info("connected to Redis", "server", server_name(link));
    }
    carry(link, r);
}

static void on_ended(void *context, int error)
{
    drop(context, error == 0 ? "Redis closed the connection" : uv_strerror(error));
}

static void on_retry(uv_timer_t *timer)
{
    struct sync_link *link = timer->data;
    static const struct stream_calls calls = {
        .connected = on_connected,
        .read = on_read,
        .ended = on_ended,
    };
    struct stream_target target = {.path = link->config.socket_path};
    if (link->config.socket_path[0] == '\0') {
        target.address = &link->config.servers[link->server].socket.any;
    }
    int r = stream_connect(link->retry.loop, &target, CONNECT_TIMEOUT_MS, QUEUE_SIZE_MAX, &calls,
                           link, &link->stream);
    if (r != 0) {
        drop(link, uv_strerror(r));
    }
}

/* ---- life ---- */

int sync_link_new(uv_loop_t *loop, const struct config_redis *redis,
                  const struct bl_redis_options *options, void (*changed)(void *context),
                  void *context, struct sync_link **ret_link)
{
    assert(redis->socket_path[0] != '\0' || redis->server_count > 0);
    struct sync_link *link = calloc(1, sizeof(*link));
    if (link == NULL) {
        return -ENOMEM;
    }
    link->config = *redis;
    link->changed = changed;
    link->context = context;
    link->retry_ms = RETRY_MIN_MS;
    int r = bl_redis_new(options, &link->redis);
    if (r == 0) {
        /* Neither fails: they only fill the handle. */
        (void)uv_timer_init(loop, &link->deadline);
        (void)uv_timer_init(loop, &link->retry);
        link->deadline.data = link;
        link->retry.data = link;
        *ret_link = link;
    } else {
        free(link);
    }
    return r;
}

int sync_link_start(struct sync_link *link)
{
    return uv_timer_start(&link->retry, on_retry, 0, 0);
}

void sync_link_want_image(struct sync_link *link)
{
    bl_redis_want_image(link->redis);
}

struct sync_link_status sync_link_status(const struct sync_link *link)
{
    const struct bl_redis_status *list = bl_redis_status(link->redis);
    return (struct sync_link_status){
        .connected = link->answered,
        .server = server_name(link),
        .error = link->error[0] != '\0' ? link->error : list->error,
        .reconnects = link->connections > 0 ? link->connections - 1 : 0,
        .last_contact_s = link->last_contact_s,
    };
}

const struct bl_redis_status *sync_link_list(const struct sync_link *link)
{
    return bl_redis_status(link->redis);
}

void sync_link_stop(struct sync_link *link)
{
    if (link->stream != NULL) {
        stream_close(link->stream, NULL);
        link->stream = NULL;
    }
    uv_close((uv_handle_t *)&link->deadline, NULL);
    uv_close((uv_handle_t *)&link->retry, NULL);
}

void sync_link_free(struct sync_link *link)
{
    if (link != NULL) {
        bl_redis_free(link->redis);
        free(link);
    }
}
