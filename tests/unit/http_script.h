/* http_script.h - the parts of a daemon that its API asks, played from a script: defined here, so
 * that the linker takes them and not the daemon's. */
#ifndef TESTS_UNIT_HTTP_SCRIPT_H
#define TESTS_UNIT_HTTP_SCRIPT_H

#include "resolver/api.h"

#include "blocklist/rcu.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool loaded;
    bool recursors_ready;
    bool hold;    /* sync_operate() waits until it is false */
    bool holding; /* it does */
    int result;   /* of a change */
    enum sync_operation operation;
    char request[256];
    char feed[64];
    char format[16];
    size_t import_size;
    unsigned char import_last;
} script = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void sync_status(const struct sync *sync, struct sync_status *ret_status)
{
    (void)sync;
    *ret_status = (struct sync_status){.loaded = script.loaded,
                                       .redis = true,
                                       .server = "127.0.0.1@6379",
                                       .error = "refused by \xff",
                                       .lineage = "5f6c",
                                       .revision = 17};
}

void sync_render(const struct sync *sync, struct metrics_text *text)
{
    (void)sync;
    metrics_family(text, "sinkhole_blocklist_names", "gauge", "Names listed.");
    metrics_printf(text, "sinkhole_blocklist_names 3\n");
}

int sync_operate(struct sync *sync, enum sync_operation operation, const json_t *request,
                 json_t **ret_reply)
{
    (void)sync;
    pthread_mutex_lock(&script.lock);
    char *text = json_dumps(request, JSON_COMPACT);
    snprintf(script.request, sizeof(script.request), "%s", text);
    free(text);
    script.operation = operation;
    script.holding = true;
    pthread_cond_broadcast(&script.changed);
    while (script.hold) {
        pthread_cond_wait(&script.changed, &script.lock);
    }
    script.holding = false;
    int r = script.result;
    pthread_mutex_unlock(&script.lock);
    *ret_reply = r == 0 ? json_pack("{s:[]}", "results") : json_pack("{s:s}", "error", "no");
    return r;
}

int sync_import(struct sync *sync, const char *name, const char *format, const char *text,
                size_t size, json_t **ret_reply)
{
    (void)sync;
    snprintf(script.feed, sizeof(script.feed), "%s", name);
    snprintf(script.format, sizeof(script.format), "%s", format);
    script.import_size = size;
    script.import_last = size > 0 ? (unsigned char)text[size - 1] : 0;
    *ret_reply = json_pack("{s:i}", "added", 1);
    return script.result;
}

void tally_by_feed(struct tally *tally,
                   void (*call)(void *context, const struct tally_count *count), void *context)
{
    (void)tally;
    struct tally_count count = {
        .feed = "starter", .category = "say \"x\"", .action = "address", .count = 5};
    call(context, &count);
}

void tally_by_country(struct tally *tally,
                      void (*call)(void *context, const struct tally_count *count), void *context)
{
    (void)tally;
    struct tally_count count = {.country = "AT", .count = 4};
    call(context, &count);
}

void tally_totals(struct tally *tally, struct tally_totals *ret_totals)
{
    (void)tally;
    *ret_totals =
        (struct tally_totals){.counted = 5, .ring_drops = 2, .country_build_s = 1700000000};
}

void hitlog_totals(struct hitlog *log, struct hitlog_totals *ret_totals)
{
    (void)log;
    *ret_totals = (struct hitlog_totals){.written = 3, .dropped = 1};
}

unsigned recursors_status(struct recursors *recursors, struct recursor_status *ret_status,
                          unsigned max)
{
    (void)recursors;
    assert_true(max >= 2);
    ret_status[0] = (struct recursor_status){.pid = 11, .answering = true, .questions = 9};
    ret_status[1] = (struct recursor_status){.restarts = 1};
    return 2;
}

bool recursors_ready(struct recursors *recursors)
{
    (void)recursors;
    return script.recursors_ready;
}

static inline void render_cache(void *cache, struct metrics_text *text)
{
    (void)cache;
    metrics_family(text, "sinkhole_cache_entries", "gauge", "Answers in the cache.");
    metrics_printf(text, "sinkhole_cache_entries 1\n");
}

static inline void describe_cache(void *cache, json_t *status)
{
    (void)cache;
    json_object_set_new(status, "cache", json_pack("{s:i}", "entries", 1));
}

static inline int reload(void *context, json_t **ret_reply)
{
    (void)context;
    bl_rcu_wait(); /* as the daemon's does: the caller must be no reader that is online */
    *ret_reply = script.result == 0 ? json_pack("{s:[], s:[]}", "changed", "restart")
                                    : json_pack("{s:s}", "error", "f:1:1: no");
    return script.result;
}

#endif
