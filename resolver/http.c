#include "resolver/http.h"

#include "resolver/api.h"
#include "resolver/log.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 64
#define TCP_CONNECTIONS_MAX 64u        /* of one address; scrapers and probes are few */
#define TCP_CONNECTIONS_CLIENT_MAX 16u /* so that one client does not keep the others out */
#define CONTROL_CONNECTIONS_MAX 32u    /* each has a thread */
#define IDLE_S 10u                     /* a connection on which nothing moves is closed */
#define REQUEST_SIZE_MAX 32768u        /* head of a request, and MHD's buffers */
#define STACK_SIZE (2u << 20)          /* jansson reads 2,048 levels of nesting by recursion */
#define BODY_SIZE_FIRST 65536u

struct door {
    struct http *http;
    enum api_door kind;
    struct MHD_Daemon *daemon;
};

struct http {
    struct api api;
    char node[CONFIG_TEXT_SIZE_MAX];
    struct door doors[HTTP_LISTEN_MAX + 1];
    unsigned door_count;
    char control[sizeof(((struct config *)0)->node.control)];
    struct stat control_status; /* of the socket we bound: another daemon's is not removed */
};

/* A request between its head and its answer. */
struct exchange {
    const struct api_call *call;
    char *body;
    size_t size;
    size_t capacity;
    unsigned refusal; /* the body did not fit, or memory was short: the answer's status */
};

/* ---- answers ---- */

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct api_reply *reply)
{
    if (reply->body == NULL) {
        return MHD_NO; /* memory is short: the connection is closed */
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(reply->size, reply->body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(reply->body);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (reply->allow != NULL) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
    }
    enum MHD_Result queued = MHD_queue_response(connection, reply->status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *allow)
{
    struct api_reply reply;
    const char *error = status == 404   ? "there is no such call here; see resolver/API.md"
                        : status == 405 ? "this call takes another method; see Allow"
                        : status == 413
                            ? "the body is larger than this call takes; send less at once"
                            : "memory is short; try again later";
    api_refuse(status, error, &reply);
    reply.allow = allow;
    return send_reply(connection, &reply);
}

/* ---- requests ---- */

static const char *find_argument(void *context, const char *name)
{
    return MHD_lookup_connection_value(context, MHD_GET_ARGUMENT_KIND, name);
}

static int64_t peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    if (info == NULL ||
        getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) {
        return -1;
    }
    return (int64_t)credentials.uid;
}

/* The head is read: refuses at once what would only be refused later. */
static enum MHD_Result begin(const struct door *door, struct MHD_Connection *connection,
                             const char *method, const char *path, void **ret_exchange)
{
    unsigned status = 0;
    const char *allow = NULL;
    const struct api_call *call = api_find(door->kind, method, path, &status, &allow);
    if (call == NULL) {
        return refuse(connection, status, allow);
    }
    const char *length =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    unsigned long long size = length != NULL ? strtoull(length, NULL, 10) : 0;
    if (size > api_body_size_max(call)) {
        return refuse(connection, 413, NULL);
    }
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL) {
        return MHD_NO;
    }
    exchange->call = call;
    exchange->body = size > 0 ? malloc(size) : NULL;
    exchange->capacity = exchange->body != NULL ? size : 0;
    *ret_exchange = exchange;
    return MHD_YES;
}

/* A piece of the body. After a refusal the rest is read and forgotten. */
static void take_piece(struct exchange *exchange, const char *data, size_t size)
{
    size_t size_max = api_body_size_max(exchange->call);
    if (exchange->refusal != 0) {
        return;
    }
    if (size > size_max - exchange->size) {
        exchange->refusal = 413;
        return;
    }
    if (size > exchange->capacity - exchange->size) {
        size_t capacity = exchange->capacity > 0 ? exchange->capacity : BODY_SIZE_FIRST;
        while (size > capacity - exchange->size) {
            capacity *= 2;
        }
        char *larger = realloc(exchange->body, capacity);
        if (larger == NULL) {
            exchange->refusal = 503;
            return;
        }
        exchange->body = larger;
        exchange->capacity = capacity;
    }
    memcpy(exchange->body + exchange->size, data, size);
    exchange->size += size;
}

static enum MHD_Result finish(const struct door *door, struct MHD_Connection *connection,
                              const char *path, const struct exchange *exchange)
{
    if (exchange->refusal != 0) {
        return refuse(connection, exchange->refusal, NULL);
    }
    struct api_request request = {
        .path = path,
        .body = exchange->body,
        .body_size = exchange->size,
        .argument = find_argument,
        .context = connection,
        .peer_uid = door->kind == API_DOOR_CONTROL ? peer_of(connection) : -1,
    };
    struct api_reply reply = {0};
    /* While the list or a reload works the connection is not idle. */
    MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
    api_answer(&door->http->api, exchange->call, &request, &reply);
    MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, IDLE_S);
    return send_reply(connection, &reply);
}

/* Called for a request's head, for each piece of its body, and at its end. */
static enum MHD_Result take_request(void *context, struct MHD_Connection *connection,
                                    const char *path, const char *method, const char *version,
                                    const char *data, size_t *size, void **exchange)
{
    const struct door *door = context;
    (void)version;
    if (*exchange == NULL) {
        return begin(door, connection, method, path, exchange);
    }
    if (*size > 0) {
        take_piece(*exchange, data, *size);
        *size = 0;
        return MHD_YES;
    }
    return finish(door, connection, path, *exchange);
}

static void end_request(void *context, struct MHD_Connection *connection, void **slot,
                        enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *slot;
    (void)context;
    (void)connection;
    (void)code;
    if (exchange != NULL) {
        free(exchange->body);
        free(exchange);
        *slot = NULL;
    }
}

/* ---- sockets ---- */

static int fail(char *ret_error, int error, const char *what, const char *where)
{
    snprintf(ret_error, HTTP_ERROR_SIZE, "%s %s: %s", what, where, strerror(error));
    return -error;
}

static int listen_tcp(const struct config_address *address, char *ret_error)
{
    int one = 1;
    int fd = socket(address->socket.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return fail(ret_error, errno, "http.listen", address->text);
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (address->socket.any.sa_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }
    if (bind(fd, &address->socket.any, address->size) < 0 || listen(fd, BACKLOG) < 0) {
        int error = errno;
        close(fd);
        return fail(ret_error, error, "http.listen", address->text);
    }
    return fd;
}

/* Makes way for a new socket at the path: 0 when the path is free, -errno when it must not be. */
static int clear_path(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(status.st_mode)) {
        return -EEXIST; /* somebody's file */
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    int r = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : -errno;
    close(fd);
    if (r == 0 || r == -EAGAIN) {
        return -EADDRINUSE; /* a daemon answers, or its queue is full */
    }
    if (r != -ECONNREFUSED) {
        return r;
    }
    return unlink(address->sun_path) == 0 || errno == ENOENT ? 0 : -errno;
}

static int make_folder(const char *path)
{
    char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return 0;
    }
    snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
    return mkdir(folder, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

static int listen_control(struct http *http, char *ret_error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _Static_assert(sizeof(http->control) <= sizeof(address.sun_path), "a control path fits");
    strcpy(address.sun_path, http->control);
    int r = make_folder(http->control);
    r = r == 0 ? clear_path(&address) : r;
    if (r < 0) {
        return fail(ret_error, -r, "node.control", http->control);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The mode of the socket bounds that of its file, which so is never wider than it shall be. */
    if (fd < 0 || fchmod(fd, 0660) < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        chmod(http->control, 0660) < 0 || listen(fd, BACKLOG) < 0 ||
        lstat(http->control, &http->control_status) < 0) {
        r = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return fail(ret_error, -r, "node.control", http->control);
    }
    return fd;
}

/* ---- start and stop ---- */

static void log_library(void *context, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void log_library(void *context, const char *format, va_list arguments)
{
    char text[512];
    (void)context;
    vsnprintf(text, sizeof(text), format, arguments);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug("libmicrohttpd", "said", text);
}

static int start_door(struct http *http, enum api_door kind, int listening, char *ret_error)
{
    struct door *door = &http->doors[http->door_count];
    bool control = kind == API_DOOR_CONTROL;
    unsigned flags = MHD_USE_ITC | MHD_USE_ERROR_LOG |
                     (control ? MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL_INTERNAL_THREAD
                              : MHD_USE_EPOLL_INTERNAL_THREAD);
    door->http = http;
    door->kind = kind;
    door->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, take_request, door, MHD_OPTION_EXTERNAL_LOGGER, log_library, NULL,
        MHD_OPTION_LISTEN_SOCKET, listening, MHD_OPTION_CONNECTION_LIMIT,
        control ? CONTROL_CONNECTIONS_MAX : TCP_CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        control ? 0u : TCP_CONNECTIONS_CLIENT_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_SIZE_MAX, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)STACK_SIZE, MHD_OPTION_NOTIFY_COMPLETED, end_request, NULL, MHD_OPTION_END);
    if (door->daemon == NULL) {
        snprintf(ret_error, HTTP_ERROR_SIZE, "libmicrohttpd does not start: %s", strerror(errno));
        return errno > 0 ? -errno : -EIO;
    }
    http->door_count++;
    return 0;
}

static int start_doors(struct http *http, const struct config *config, char *ret_error)
{
    for (uint32_t i = 0; i < config->http.listen_count; i++) {
        int fd = listen_tcp(&config->http.listen[i], ret_error);
        int r = fd < 0 ? fd : start_door(http, API_DOOR_TCP, fd, ret_error);
        if (r < 0) {
            return r;
        }
    }
    int fd = listen_control(http, ret_error);
    return fd < 0 ? fd : start_door(http, API_DOOR_CONTROL, fd, ret_error);
}

int http_start(const struct config *config, const struct http_parts *parts, struct http **ret_http,
               char ret_error[static HTTP_ERROR_SIZE])
{
    struct timespec now;
    struct http *http = calloc(1, sizeof(*http));
    if (http == NULL) {
        snprintf(ret_error, HTTP_ERROR_SIZE, "out of memory");
        return -ENOMEM;
    }
    memcpy(http->node, config->node.name, sizeof(http->node));
    memcpy(http->control, config->node.control, sizeof(http->control));
    clock_gettime(CLOCK_MONOTONIC, &now);
    http->api = (struct api){
        .parts = *parts,
        .node = http->node,
        .started_s = (int64_t)time(NULL),
        .started_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
    };
    int r = start_doors(http, config, ret_error);
    if (r < 0) {
        http_stop(http);
        return r;
    }
    *ret_http = http;
    return 0;
}

void http_stop(struct http *http)
{
    struct stat status;
    if (http == NULL) {
        return;
    }
    for (unsigned i = 0; i < http->door_count; i++) {
        MHD_stop_daemon(http->doors[i].daemon); /* closes its listening socket too */
    }
    bool ours = http->control_status.st_ino != 0 && lstat(http->control, &status) == 0 &&
                status.st_ino == http->control_status.st_ino &&
                status.st_dev == http->control_status.st_dev;
    if (ours) {
        unlink(http->control);
    }
    free(http);
}
