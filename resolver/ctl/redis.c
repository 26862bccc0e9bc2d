#include "resolver/ctl/redis.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define WORDS_MAX 8u /* of ctl_redis_ask() */

struct ctl_redis {
    const struct config_redis *config;
    bool writer;
    redisContext *context;
    redisReplyObjectFunctions functions; /* hiredis' own, with a bound on arrays */
    char server[160];                    /* the one in use or last tried, for messages */
};

/* hiredis allocates an array as long as a reply claims to be; this one looks at the claim first. */
#if HIREDIS_MAJOR < 1
typedef int element_count;
#else
typedef size_t element_count;
#endif
static void *(*create_array)(const redisReadTask *, element_count);

static void *create_bounded_array(const redisReadTask *task, element_count elements)
{
    return (size_t)elements <= CTL_REDIS_ELEMENTS_MAX ? create_array(task, elements) : NULL;
}

static const char *hint(const char *refusal)
{
    static const struct {
        const char *code;
        const char *hint;
    } hints[] = {
        {"NOAUTH", "give a user and password: redis.username and redis.password_file, or "
                   "SINKHOLE_REDIS_USERNAME and SINKHOLE_REDIS_PASSWORD_FILE"},
        {"WRONGPASS", "check the user and the password file (SINKHOLE_REDIS_USERNAME, "
                      "SINKHOLE_REDIS_PASSWORD_FILE)"},
        {"NOPERM", "use the operator's user (SINKHOLE_REDIS_USERNAME, "
                   "SINKHOLE_REDIS_PASSWORD_FILE)"},
        {"SHRIGHTS", "use the operator's user (SINKHOLE_REDIS_USERNAME, "
                     "SINKHOLE_REDIS_PASSWORD_FILE)"},
        {"OOM", "Redis has no memory left: raise its maxmemory"},
        {"LOADING", "Redis is reading its data: try again in a while"},
        {"SHFULL", "import into a new feed, which gets as many shards as it needs"},
    };
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        size_t size = strlen(hints[i].code);
        if (strncmp(refusal, hints[i].code, size) == 0 && refusal[size] == ' ') {
            return hints[i].hint;
        }
    }
    return NULL;
}

static int refused(const struct ctl_redis *redis, const redisReply *reply,
                   char ret_error[static CTL_ERROR_SIZE])
{
    const char *text = hint(reply->str);

    snprintf(ret_error, CTL_ERROR_SIZE, "Redis at %s refused: %.300s%s%s", redis->server,
             reply->str, text != NULL ? "; " : "", text != NULL ? text : "");
    return strncmp(reply->str, "NOSCRIPT", 8) == 0 ? -ENOEXEC : -EREMOTEIO;
}

static int lost(const struct ctl_redis *redis, char ret_error[static CTL_ERROR_SIZE])
{
    const redisContext *context = redis->context;
    const char *why = context == NULL ? strerror(ENOMEM)
                      : context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK)
                          ? "no answer in time"
                          : context->errstr;

    snprintf(ret_error, CTL_ERROR_SIZE, "Redis at %s: %s", redis->server, why);
    return -EIO;
}

int ctl_redis_queue(struct ctl_redis *redis, size_t count, const char *words[],
                    const size_t sizes[])
{
    assert(count > 0 && count <= INT32_MAX);
    return redisAppendCommandArgv(redis->context, (int)count, words, sizes) == REDIS_OK ? 0
                                                                                        : -ENOMEM;
}

int ctl_redis_reply(struct ctl_redis *redis, redisReply **ret_reply,
                    char ret_error[static CTL_ERROR_SIZE])
{
    void *got = NULL;

    if (redisGetReply(redis->context, &got) != REDIS_OK || got == NULL) {
        return lost(redis, ret_error);
    }
    redisReply *reply = got;
    if (reply->type == REDIS_REPLY_ERROR) {
        int r = refused(redis, reply, ret_error);
        freeReplyObject(reply);
        return r;
    }
    *ret_reply = reply;
    return 0;
}

int ctl_redis_ask(struct ctl_redis *redis, redisReply **ret_reply,
                  char ret_error[static CTL_ERROR_SIZE], ...)
{
    const char *words[WORDS_MAX];
    size_t count = 0;
    va_list list;

    va_start(list, ret_error);
    for (const char *word; (word = va_arg(list, const char *)) != NULL;) {
        assert(count < WORDS_MAX);
        words[count++] = word;
    }
    va_end(list);
    if (redisAppendCommandArgv(redis->context, (int)count, words, NULL) != REDIS_OK) {
        return lost(redis, ret_error);
    }
    return ctl_redis_reply(redis, ret_reply, ret_error);
}

static int ask_and_forget(struct ctl_redis *redis, char ret_error[static CTL_ERROR_SIZE],
                          const char *first, const char *second, const char *third)
{
    redisReply *reply = NULL;
    int r = ctl_redis_ask(redis, &reply, ret_error, first, second, third, NULL);
    if (r == 0) {
        freeReplyObject(reply);
    }
    return r;
}

/* The first line of the file, without its end. */
static int read_password(const char *path, char ret_password[static CTL_REDIS_PASSWORD_SIZE_MAX],
                         char ret_error[static CTL_ERROR_SIZE])
{
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        int error = errno;
        snprintf(ret_error, CTL_ERROR_SIZE,
                 "can't read Redis' password from %.800s: %s (SINKHOLE_REDIS_PASSWORD_FILE names "
                 "another file)",
                 path, strerror(error));
        return -error;
    }
    if (fgets(ret_password, (int)CTL_REDIS_PASSWORD_SIZE_MAX, file) == NULL) {
        ret_password[0] = '\0';
    }
    fclose(file);
    ret_password[strcspn(ret_password, "\r\n")] = '\0';
    return 0;
}

static int authenticate(struct ctl_redis *redis, char ret_error[static CTL_ERROR_SIZE])
{
    char password[CTL_REDIS_PASSWORD_SIZE_MAX] = "";
    const struct config_redis *config = redis->config;
    int r = 0;

    if (config->password_file[0] != '\0') {
        r = read_password(config->password_file, password, ret_error);
    } else if (config->username[0] == '\0') {
        return 0;
    }
    if (r == 0 && config->username[0] != '\0') {
        r = ask_and_forget(redis, ret_error, "AUTH", config->username, password);
    } else if (r == 0) {
        r = ask_and_forget(redis, ret_error, "AUTH", password, NULL);
    }
    explicit_bzero(password, sizeof(password));
    return r;
}

/* HELLO says which role the server has; a user who may not ask finds out when it writes. */
static int refuse_replica(struct ctl_redis *redis, char ret_error[static CTL_ERROR_SIZE])
{
    redisReply *reply = NULL;
    int r = ctl_redis_ask(redis, &reply, ret_error, "HELLO", NULL);

    if (r < 0) {
        return r == -EREMOTEIO ? 0 : r;
    }
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const redisReply *key = reply->element[i];
        const redisReply *value = reply->element[i + 1];
        if (key->type == REDIS_REPLY_STRING && strcmp(key->str, "role") == 0 &&
            value->type == REDIS_REPLY_STRING && strcmp(value->str, "master") != 0) {
            snprintf(ret_error, CTL_ERROR_SIZE,
                     "Redis at %s is a read-only replica: name its master in redis.servers",
                     redis->server);
            r = -EROFS;
        }
    }
    freeReplyObject(reply);
    return r;
}

static int greet(struct ctl_redis *redis, char ret_error[static CTL_ERROR_SIZE])
{
    char database[16];
    redisContext *context = redis->context;

    if (context == NULL || context->err != 0) {
        return lost(redis, ret_error);
    }
    create_array = context->reader->fn->createArray;
    redis->functions = *context->reader->fn;
    redis->functions.createArray = create_bounded_array;
    context->reader->fn = &redis->functions;
    redisSetTimeout(context, (struct timeval){.tv_sec = CTL_REDIS_TIMEOUT_S});

    snprintf(database, sizeof(database), "%u", redis->config->database);
    int r = authenticate(redis, ret_error);
    if (r == 0) {
        r = ask_and_forget(redis, ret_error, "SELECT", database, NULL);
    }
    if (r == 0) {
        r = ask_and_forget(redis, ret_error, "PING", NULL, NULL);
    }
    return r == 0 && redis->writer ? refuse_replica(redis, ret_error) : r;
}

static redisContext *connect_to(const struct config_address *address)
{
    const struct timeval timeout = {.tv_sec = CTL_REDIS_TIMEOUT_S};
    char ip[INET6_ADDRSTRLEN] = "";
    bool six = address->socket.any.sa_family == AF_INET6;
    uint16_t port = six ? address->socket.ipv6.sin6_port : address->socket.ipv4.sin_port;

    if (six) {
        inet_ntop(AF_INET6, &address->socket.ipv6.sin6_addr, ip, sizeof(ip));
    } else {
        inet_ntop(AF_INET, &address->socket.ipv4.sin_addr, ip, sizeof(ip));
    }
    return redisConnectWithTimeout(ip, ntohs(port), timeout);
}

static void hang_up(struct ctl_redis *redis)
{
    if (redis->context != NULL) {
        redisFree(redis->context);
        redis->context = NULL;
    }
}

int ctl_redis_reopen(struct ctl_redis *redis, char ret_error[static CTL_ERROR_SIZE])
{
    const struct config_redis *config = redis->config;
    const struct timeval timeout = {.tv_sec = CTL_REDIS_TIMEOUT_S};
    char errors[CTL_ERROR_SIZE] = "";
    size_t used = 0;
    size_t count = config->socket_path[0] != '\0' ? 1 : config->server_count;
    int r = -EDESTADDRREQ;

    snprintf(errors, sizeof(errors), "redis.servers names no server");
    for (size_t i = 0; i < count; i++) {
        char error[CTL_ERROR_SIZE] = "";
        hang_up(redis);
        if (config->socket_path[0] != '\0') {
            snprintf(redis->server, sizeof(redis->server), "%s", config->socket_path);
            redis->context = redisConnectUnixWithTimeout(config->socket_path, timeout);
        } else {
            snprintf(redis->server, sizeof(redis->server), "%s", config->servers[i].text);
            redis->context = connect_to(&config->servers[i]);
        }
        r = greet(redis, error);
        if (r == 0) {
            return 0;
        }
        snprintf(errors + used, sizeof(errors) - used, "%s%.400s", used > 0 ? "; " : "", error);
        used = strlen(errors);
    }
    hang_up(redis);
    memcpy(ret_error, errors, sizeof(errors));
    return r;
}

int ctl_redis_open(const struct config_redis *config, bool writer, struct ctl_redis **ret_redis,
                   char ret_error[static CTL_ERROR_SIZE])
{
    struct ctl_redis *redis = calloc(1, sizeof(*redis));

    if (redis == NULL) {
        snprintf(ret_error, CTL_ERROR_SIZE, "out of memory");
        return -ENOMEM;
    }
    redis->config = config;
    redis->writer = writer;
    int r = ctl_redis_reopen(redis, ret_error);
    if (r < 0) {
        free(redis);
        return r;
    }
    *ret_redis = redis;
    return 0;
}

void ctl_redis_close(struct ctl_redis *redis)
{
    if (redis != NULL) {
        hang_up(redis);
        free(redis);
    }
}

void ctl_redis_key(const struct ctl_redis *redis, char ret_key[static CTL_REDIS_KEY_SIZE_MAX],
                   const char *format, ...)
{
    int size = snprintf(ret_key, CTL_REDIS_KEY_SIZE_MAX, "%s:", redis->config->prefix);
    va_list list;

    va_start(list, format);
    size += vsnprintf(ret_key + size, CTL_REDIS_KEY_SIZE_MAX - (size_t)size, format, list);
    va_end(list);
    assert(size > 0 && (size_t)size < CTL_REDIS_KEY_SIZE_MAX);
}
