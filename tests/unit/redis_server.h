/* redis_server.h - a redis-server of the test's own, on a Unix socket in a folder of its own,
 * killed by its pid. */
#ifndef TESTS_UNIT_REDIS_SERVER_H
#define TESTS_UNIT_REDIS_SERVER_H

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SERVER_LINEAGE "6f1c0a52-7d3e-4a55-9d2f-0123456789ab"
#define SERVER_WAIT_MS 20000

struct redis_server {
    char folder[64];
    char socket[96];
    pid_t pid;
    redisContext *context;
    char *script;
};

static inline long server_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void server_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* Waits until the condition holds; fails the test after SERVER_WAIT_MS. */
#define wait_until(condition)                                                                      \
    do {                                                                                           \
        long end_ = server_now_ms() + SERVER_WAIT_MS;                                              \
        while (!(condition)) {                                                                     \
            if (server_now_ms() > end_) {                                                          \
                fail_msg("waited in vain until %s", #condition);                                   \
            }                                                                                      \
            server_pause();                                                                        \
        }                                                                                          \
    } while (0)

static inline void server_run(struct redis_server *server)
{
    (void)unlink(server->socket);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (freopen("/dev/null", "w", stdout) == NULL) {
            _exit(126);
        }
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server->socket,
               "--dir", server->folder, "--save", "", "--appendonly", "yes", "--appendfsync",
               "always", (char *)NULL);
        _exit(127);
    }
    long end = server_now_ms() + SERVER_WAIT_MS;
    for (;;) {
        server->context = redisConnectUnix(server->socket);
        if (server->context != NULL && server->context->err == 0) {
            redisReply *reply = redisCommand(server->context, "PING");
            bool ready = reply != NULL && reply->type == REDIS_REPLY_STATUS;
            freeReplyObject(reply);
            if (ready) {
                return;
            }
        }
        if (server->context != NULL) {
            redisFree(server->context);
            server->context = NULL;
        }
        int status;
        if (waitpid(server->pid, &status, WNOHANG) == server->pid || server_now_ms() > end) {
            fail_msg("redis-server did not start");
        }
        server_pause();
    }
}

static inline void server_kill(struct redis_server *server)
{
    if (server->context != NULL) {
        redisFree(server->context);
        server->context = NULL;
    }
    if (server->pid > 0) {
        kill(server->pid, SIGCONT);
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
}

/* The text of blocklist/change.lua. */
static inline char *server_script(void)
{
    const char *root = getenv("SOURCE_ROOT");
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/blocklist/change.lua", root != NULL ? root : ".");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *text = calloc(1, 65536);
    assert_non_null(text);
    size_t size = fread(text, 1, 65535, file);
    assert_true(size > 0 && size < 65535);
    fclose(file);
    return text;
}

static inline void server_start(struct redis_server *server)
{
    memset(server, 0, sizeof(*server));
    (void)snprintf(server->folder, sizeof(server->folder), "/tmp/sinkhole-redis-XXXXXX");
    assert_non_null(mkdtemp(server->folder));
    (void)snprintf(server->socket, sizeof(server->socket), "%s/socket", server->folder);
    server->script = server_script();
    server_run(server);
}

static inline void server_remove_folder(const char *folder)
{
    char command[160];
    (void)snprintf(command, sizeof(command), "rm -rf -- '%s'", folder);
    assert_int_equal(system(command), 0);
}

static inline void server_stop(struct redis_server *server)
{
    server_kill(server);
    server_remove_folder(server->folder);
    free(server->script);
}

/* One command of words up to NULL; the reply is freed by the caller. */
static inline redisReply *server_words(struct redis_server *server, int count, const char **words)
{
    redisReply *reply = redisCommandArgv(server->context, count, words, NULL);
    assert_non_null(reply);
    return reply;
}

#define SERVER_COMMAND(server, ...)                                                                \
    server_words(server, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *)),      \
                 (const char *[]){__VA_ARGS__})

/* The same where the reply does not matter but must not be an error. */
#define SERVER_DO(server, ...)                                                                     \
    do {                                                                                           \
        redisReply *reply_ = SERVER_COMMAND(server, __VA_ARGS__);                                  \
        if (reply_->type == REDIS_REPLY_ERROR) {                                                   \
            fail_msg("%s", reply_->str);                                                           \
        }                                                                                          \
        freeReplyObject(reply_);                                                                   \
    } while (0)

/* A call of the script with items up to `count`. */
static inline redisReply *server_write_as(struct redis_server *server, const char *lineage,
                                          const char *op, const char *feed, const char **items,
                                          int count)
{
    char feed_key[96];
    char shard_key[96];
    (void)snprintf(feed_key, sizeof(feed_key), "{sh}:feed:%s", feed);
    (void)snprintf(shard_key, sizeof(shard_key), "{sh}:f:%s", feed);
    const char **words = calloc((size_t)count + 13, sizeof(*words));
    assert_non_null(words);
    const char *head[] = {"EVAL",     server->script, "5",       "{sh}:meta", "{sh}:feeds",
                          "{sh}:log", feed_key,       shard_key, op,          feed,
                          "test",     "a test",       lineage};
    memcpy(words, head, sizeof(head));
    for (int i = 0; i < count; i++) {
        words[13 + i] = items[i];
    }
    redisReply *reply = server_words(server, 13 + count, words);
    free(words);
    return reply;
}

#define SERVER_ITEMS(...)                                                                          \
    (const char *[]){__VA_ARGS__}, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))

/* The same; returns the revision. */
#define SERVER_WRITE(server, op, feed, ...)                                                        \
    server_revision_of(server_write_as(server, SERVER_LINEAGE, op, feed, SERVER_ITEMS(__VA_ARGS__)))

static inline long long server_revision_of(redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY) {
        fail_msg("the script: %s", reply->str != NULL ? reply->str : "no array");
    }
    long long revision = reply->element[0]->integer;
    freeReplyObject(reply);
    return revision;
}

#endif
