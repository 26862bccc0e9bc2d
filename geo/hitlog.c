/* The queue is a circle of blocks of whole lines:
 *
 *     first .. first + used - 1   blocks with lines; the last of them is being filled
 *
 * The store thread takes the first block out of the circle only after it has been written, and
 * works on it without the lock: a block that it works on is never the one being filled, because
 * taking the only used block opens the next one. */
#include "geo/hitlog.h"

#include "geo/logfile.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE (256u * 1024) /* a write: large enough that its price does not count */
#define BLOCK_COUNT 32u          /* 8 MiB: some 25,000 lines, two to three seconds of a slow disk */
#define OUTPUTS_MAX 64u

static_assert(HITLOG_LINE_SIZE_MAX < BLOCK_SIZE, "a line must fit into a block");

struct block {
    size_t size;
    uint64_t lines;
    char octets[BLOCK_SIZE];
};

struct outputs {
    size_t count;
    struct logfile *files[OUTPUTS_MAX];
};

struct hitlog {
    pthread_t thread;
    struct outputs *outputs; /* the store thread's own */

    pthread_mutex_t lock; /* over everything below; never held while a disk is waited for */
    pthread_cond_t wake;
    bool stop;
    struct outputs *next_outputs; /* to be taken on by the store thread; NULL: no change */
    struct hitlog_totals totals;
    unsigned first;
    unsigned used; /* at least 1 */
    struct block *blocks;
};

/* --- outputs --- */

static void free_outputs(struct outputs *outputs)
{
    if (outputs == NULL) {
        return;
    }
    for (size_t i = 0; i < outputs->count; i++) {
        logfile_close(outputs->files[i]);
    }
    free(outputs);
}

static int fail(char *ret_error, int error, const char *what)
{
    (void)snprintf(ret_error, HITLOG_ERROR_SIZE, "%s", what);
    return error;
}

static int open_outputs(const struct hitlog_output *wanted, size_t count,
                        struct outputs **ret_outputs, char *ret_error)
{
    static_assert(LOGFILE_ERROR_SIZE == HITLOG_ERROR_SIZE, "messages are handed through");

    if (count > OUTPUTS_MAX) {
        return fail(ret_error, -EINVAL, "more than 64 hit log files");
    }
    struct outputs *outputs = calloc(1, sizeof *outputs);
    if (outputs == NULL) {
        return fail(ret_error, -ENOMEM, "hit log: out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t other = 0; other < i; other++) {
            if (strcmp(wanted[other].path, wanted[i].path) == 0) {
                free_outputs(outputs);
                (void)snprintf(ret_error, HITLOG_ERROR_SIZE,
                               "%s: named twice; each hit log needs a file of its own",
                               wanted[i].path);
                return -EEXIST;
            }
        }
        int r = logfile_open(wanted[i].path, wanted[i].rotate_size, wanted[i].keep,
                             &outputs->files[i], ret_error);
        if (r < 0) {
            free_outputs(outputs);
            return r;
        }
        outputs->count++;
    }
    *ret_outputs = outputs;
    return 0;
}

/* --- the store thread --- */

static void write_block(struct hitlog *log, const struct block *block)
{
    struct hitlog_totals news = {0};

    for (size_t i = 0; i < log->outputs->count; i++) {
        struct logfile *file = log->outputs->files[i];
        uint64_t lines = 0;
        int r = logfile_write(file, block->octets, block->size, &lines);
        news.written += lines;
        news.dropped += block->lines - lines;
        if (r < 0) {
            news.failures++;
            (void)snprintf(news.error, sizeof news.error, "%s: %s", logfile_path(file),
                           strerror(-r));
        }
    }
    pthread_mutex_lock(&log->lock);
    log->totals.written += news.written;
    log->totals.dropped += news.dropped;
    log->totals.failures += news.failures;
    if (news.failures > 0) {
        memcpy(log->totals.error, news.error, sizeof news.error);
    }
    pthread_mutex_unlock(&log->lock);
}

static void *store(void *context)
{
    struct hitlog *log = context;

    pthread_mutex_lock(&log->lock);
    for (;;) {
        struct block *block = &log->blocks[log->first];
        if (log->next_outputs != NULL) {
            struct outputs *old = log->outputs;
            log->outputs = log->next_outputs;
            log->next_outputs = NULL;
            pthread_mutex_unlock(&log->lock);
            free_outputs(old);
            pthread_mutex_lock(&log->lock);
        } else if (block->size > 0) {
            log->used += log->used == 1;
            pthread_mutex_unlock(&log->lock);
            write_block(log, block);
            pthread_mutex_lock(&log->lock);
            block->size = 0;
            block->lines = 0;
            log->first = (log->first + 1) % BLOCK_COUNT;
            log->used--;
        } else if (log->stop) {
            break;
        } else {
            pthread_cond_wait(&log->wake, &log->lock);
        }
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

/* Signals are main's business, and SIGPIPE and SIGXFSZ would kill the process for a log. */
static int start_thread(struct hitlog *log)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = -pthread_create(&log->thread, NULL, store, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0) {
        (void)pthread_setname_np(log->thread, "store");
    }
    return r;
}

/* --- everybody else --- */

static void free_log(struct hitlog *log)
{
    free_outputs(log->outputs);
    free_outputs(log->next_outputs);
    pthread_cond_destroy(&log->wake);
    pthread_mutex_destroy(&log->lock);
    free(log->blocks);
    free(log);
}

int hitlog_start(const struct hitlog_output *outputs, size_t count, struct hitlog **ret_log,
                 char *ret_error)
{
    assert(ret_log != NULL && ret_error != NULL);

    struct hitlog *log = calloc(1, sizeof *log);
    if (log == NULL) {
        return fail(ret_error, -ENOMEM, "hit log: out of memory");
    }
    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->wake, NULL);
    log->used = 1;
    log->blocks = calloc(BLOCK_COUNT, sizeof *log->blocks);
    int r = log->blocks != NULL ? open_outputs(outputs, count, &log->outputs, ret_error)
                                : fail(ret_error, -ENOMEM, "hit log: out of memory");
    if (r == 0 && (r = start_thread(log)) < 0) {
        (void)fail(ret_error, r, "hit log: its thread can't be started");
    }
    if (r < 0) {
        free_log(log);
        return r;
    }
    *ret_log = log;
    return 0;
}

void hitlog_stop(struct hitlog *log)
{
    if (log == NULL) {
        return;
    }
    pthread_mutex_lock(&log->lock);
    log->stop = true;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
    free_log(log);
}

int hitlog_reload(struct hitlog *log, const struct hitlog_output *outputs, size_t count,
                  char *ret_error)
{
    struct outputs *opened = NULL;
    int r = open_outputs(outputs, count, &opened, ret_error);
    if (r < 0) {
        return r;
    }
    pthread_mutex_lock(&log->lock);
    struct outputs *overtaken = log->next_outputs;
    log->next_outputs = opened;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
    free_outputs(overtaken);
    return 0;
}

bool hitlog_push(struct hitlog *log, const char *line, size_t size)
{
    assert(size > 0 && size <= HITLOG_LINE_SIZE_MAX && line[size - 1] == '\n');

    pthread_mutex_lock(&log->lock);
    struct block *block = &log->blocks[(log->first + log->used - 1) % BLOCK_COUNT];
    bool taken = block->size + size <= BLOCK_SIZE;
    if (!taken && log->used < BLOCK_COUNT) {
        block = &log->blocks[(log->first + log->used) % BLOCK_COUNT];
        log->used++;
        taken = true;
    }
    if (taken) {
        memcpy(block->octets + block->size, line, size);
        block->size += size;
        block->lines++;
        pthread_cond_signal(&log->wake);
    } else {
        log->totals.dropped++;
    }
    pthread_mutex_unlock(&log->lock);
    return taken;
}

size_t hitlog_room(struct hitlog *log)
{
    pthread_mutex_lock(&log->lock);
    size_t blocks = BLOCK_COUNT - log->used;
    pthread_mutex_unlock(&log->lock);
    return blocks * (BLOCK_SIZE - HITLOG_LINE_SIZE_MAX);
}

void hitlog_totals(struct hitlog *log, struct hitlog_totals *ret_totals)
{
    pthread_mutex_lock(&log->lock);
    *ret_totals = log->totals;
    pthread_mutex_unlock(&log->lock);
}
