#include "geo/tally.h"

#include "geo/counts.h"
#include "geo/fold.h"
#include "geo/hitline.h"
#include "geo/tag.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PERIOD_MS 50          /* between passes over the rings */
#define PERIOD_BUSY_MS 5      /* when the last pass found much: rings must not fill up meanwhile */
#define BUSY_HITS 1024u       /* what much is */
#define BATCH_HITS 64u        /* counted under one hold of the lock */
#define PASS_HITS_MAX 262144u /* then lines get their turn */
#define LATE_MS 100           /* hits of a second may still be on their way when it is over */
#define STOP_WAIT_MS 2000     /* for the hit log to take what is open */
#define STOP_POLL_MS 5
#define NODE_SIZE_MAX 256u

/* What tally_reload hands over. */
struct settings {
    char node[NODE_SIZE_MAX];
    enum tally_client client;
    unsigned truncate_ipv4;
    unsigned truncate_ipv6;
    struct mmdb *country;
    struct mmdb *asn;
};

struct tally {
    struct hit_ring *const *rings;
    size_t ring_count;
    struct hitlog *log;
    pthread_t thread;

    /* The tally thread's own. */
    struct settings *settings; /* its databases are the tagger's */
    struct tagger *tagger;
    struct fold *fold;
    size_t room; /* octets that the hit log still takes in this pass */
    struct hit batch[BATCH_HITS];
    char countries[BATCH_HITS][2];
    char text[HITLINE_SIZE_MAX];

    pthread_mutex_t lock; /* over everything below */
    pthread_cond_t wake;  /* its clock is monotonic */
    bool stop;
    struct settings *next_settings; /* NULL: no change */
    struct counts *counts;
    struct tally_totals totals;
};

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

/* --- settings --- */

static void free_settings(struct settings *settings)
{
    if (settings == NULL) {
        return;
    }
    mmdb_close(settings->country);
    mmdb_close(settings->asn);
    free(settings);
}

static int fail(char *ret_error, int error, const char *what)
{
    (void)snprintf(ret_error, TALLY_ERROR_SIZE, "%s", what);
    return error;
}

static int open_settings(const struct tally_options *options, struct settings **ret_settings,
                         char *ret_error)
{
    static_assert(TALLY_ERROR_SIZE == MMDB_ERROR_SIZE, "messages are handed through");
    assert(options->truncate_ipv4 <= 32 && options->truncate_ipv6 <= 128);

    struct settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL) {
        return fail(ret_error, -ENOMEM, "tally: out of memory");
    }
    (void)snprintf(settings->node, sizeof settings->node, "%s", options->node);
    settings->client = options->client;
    settings->truncate_ipv4 = options->truncate_ipv4;
    settings->truncate_ipv6 = options->truncate_ipv6;
    int r = 0;
    if (options->country_path[0] != '\0') {
        r = mmdb_open(options->country_path, MMDB_COUNTRY, &settings->country, ret_error);
    }
    if (r == 0 && options->asn_path[0] != '\0') {
        r = mmdb_open(options->asn_path, MMDB_ASN, &settings->asn, ret_error);
    }
    if (r < 0) {
        free_settings(settings);
        return r;
    }
    *ret_settings = settings;
    return 0;
}

/* Under the lock, or before there are threads. */
static void announce_builds(struct tally *tally, const struct settings *settings)
{
    tally->totals.country_build_s = settings->country != NULL ? mmdb_build_s(settings->country) : 0;
    tally->totals.asn_build_s = settings->asn != NULL ? mmdb_build_s(settings->asn) : 0;
}

/* The tally thread's, or before there is one. */
static void take_settings(struct tally *tally, struct settings *settings)
{
    tagger_take(tally->tagger, settings->country, settings->asn);
    settings->country = NULL;
    settings->asn = NULL;
    free_settings(tally->settings);
    tally->settings = settings;
}

/* --- hits --- */

/* Zeroes what is behind the prefix. */
static void truncate_address(uint8_t address[static 16], unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = bits >= 8 ? 8 : bits;
        address[i] = (uint8_t)(address[i] & (0xFF00u >> kept));
        bits -= kept;
    }
}

/* Gives the client the form that it is shown in. Returns what the line says of it (hitline.h). */
static uint8_t shape_client(const struct settings *settings, uint8_t client[static 16])
{
    bool ipv4 = memcmp(client, mapped_prefix, sizeof mapped_prefix) == 0;
    unsigned bits = ipv4 ? settings->truncate_ipv4 : settings->truncate_ipv6;
    switch (settings->client) {
    case TALLY_CLIENT_FULL:
        return HITLINE_CLIENT_FULL;
    case TALLY_CLIENT_TRUNCATED:
        truncate_address(client, ipv4 ? 96 + bits : bits);
        return (uint8_t)bits;
    case TALLY_CLIENT_NONE:
        break;
    }
    memset(client, 0, 16);
    return HITLINE_CLIENT_NONE;
}

static bool write_line(struct tally *tally, const struct hitline *line)
{
    struct hitline whole = *line;
    whole.node = tally->settings->node;
    size_t size = hitline_write(&whole, tally->text);
    if (hitlog_push(tally->log, tally->text, size)) {
        tally->room -= size < tally->room ? size : tally->room;
        return true;
    }
    pthread_mutex_lock(&tally->lock);
    tally->totals.line_drops++;
    pthread_mutex_unlock(&tally->lock);
    return false;
}

/* Lines wait in the fold, not in the hit log's queue, until there is room for them. */
static bool write_if_room(void *context, const struct hitline *line)
{
    struct tally *tally = context;
    if (tally->room < HITLINE_SIZE_MAX) {
        return false;
    }
    (void)write_line(tally, line);
    return true;
}

/* Room or not: what the hit log can't take is counted as dropped. */
static bool write_regardless(void *context, const struct hitline *line)
{
    (void)write_line(context, line);
    return true;
}

static void fold_hit(struct tally *tally, struct hit *hit, const struct tag *tag)
{
    uint8_t client_bits = shape_client(tally->settings, hit->client);
    if (fold_add(tally->fold, hit, tag, client_bits)) {
        return;
    }
    /* All lines are open: they are written early, and equal hits that follow open new ones. */
    fold_close_all(tally->fold, write_regardless, tally);
    bool added = fold_add(tally->fold, hit, tag, client_bits);
    assert(added);
}

/* Tags, folds and counts the first `size` hits of the batch. */
static void count_batch(struct tally *tally, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const struct tag *tag = tagger_get(tally->tagger, tally->batch[i].client);
        memcpy(tally->countries[i], tag->country, 2);
        if (tally->log != NULL) {
            fold_hit(tally, &tally->batch[i], tag);
        }
    }
    pthread_mutex_lock(&tally->lock);
    for (size_t i = 0; i < size; i++) {
        counts_add(tally->counts, &tally->batch[i], tally->countries[i]);
    }
    tally->totals.lookup_failures = tagger_failures(tally->tagger);
    pthread_mutex_unlock(&tally->lock);
}

/* Takes turns among the rings, a batch each, until all are empty or it has been enough. Returns how
 * many hits there were. */
static size_t drain(struct tally *tally)
{
    size_t total = 0;
    bool more = true;
    while (more && total < PASS_HITS_MAX) {
        more = false;
        for (size_t i = 0; i < tally->ring_count; i++) {
            size_t size = 0;
            while (size < BATCH_HITS && hit_ring_take(tally->rings[i], &tally->batch[size])) {
                size++;
            }
            if (size > 0) {
                count_batch(tally, size);
                total += size;
                more = more || size == BATCH_HITS;
            }
        }
    }
    return total;
}

/* --- the thread --- */

static struct timespec clock_ahead(clockid_t clock, int64_t ms)
{
    struct timespec time;
    (void)clock_gettime(clock, &time);
    int64_t ns = time.tv_nsec + ms % 1000 * 1000000;
    time.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
    time.tv_nsec = (long)(ns % 1000000000);
    if (time.tv_nsec < 0) {
        time.tv_nsec += 1000000000;
        time.tv_sec--;
    }
    return time;
}

/* One pass: all that the rings hold, then the lines whose second is over. */
static size_t pass(struct tally *tally)
{
    int64_t over_s = (int64_t)clock_ahead(CLOCK_REALTIME, -LATE_MS).tv_sec;
    size_t hits = drain(tally);
    if (tally->log != NULL) {
        tally->room = hitlog_room(tally->log);
        fold_close(tally->fold, over_s, write_if_room, tally);
    }
    return hits;
}

/* Writes every open line, as fast as the hit log takes them, but does not wait for ever. */
static void finish(struct tally *tally)
{
    while (drain(tally) > 0) {
    }
    if (tally->log == NULL) {
        return;
    }
    for (unsigned waited_ms = 0; waited_ms < STOP_WAIT_MS; waited_ms += STOP_POLL_MS) {
        tally->room = hitlog_room(tally->log);
        fold_close_all(tally->fold, write_if_room, tally);
        if (fold_lines(tally->fold) == 0) {
            return;
        }
        const struct timespec poll = {.tv_nsec = STOP_POLL_MS * 1000000L};
        (void)nanosleep(&poll, NULL);
    }
    fold_close_all(tally->fold, write_regardless, tally);
}

static void *run(void *context)
{
    struct tally *tally = context;
    int64_t period_ms = PERIOD_MS;

    for (bool stop = false; !stop;) {
        struct timespec next = clock_ahead(CLOCK_MONOTONIC, period_ms);
        pthread_mutex_lock(&tally->lock);
        int r = 0;
        while (r == 0 && !tally->stop && tally->next_settings == NULL) {
            r = pthread_cond_timedwait(&tally->wake, &tally->lock, &next);
        }
        stop = tally->stop;
        struct settings *settings = tally->next_settings;
        tally->next_settings = NULL;
        pthread_mutex_unlock(&tally->lock);

        if (settings != NULL) {
            take_settings(tally, settings);
        }
        period_ms = pass(tally) >= BUSY_HITS ? PERIOD_BUSY_MS : PERIOD_MS;
    }
    finish(tally);
    return NULL;
}

/* Signals are main's business. */
static int start_thread(struct tally *tally)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = -pthread_create(&tally->thread, NULL, run, tally);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0) {
        (void)pthread_setname_np(tally->thread, "tally");
    }
    return r;
}

/* --- everybody else --- */

static void init_lock(struct tally *tally)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&tally->lock, NULL);
    pthread_cond_init(&tally->wake, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void free_tally(struct tally *tally)
{
    free_settings(tally->settings);
    free_settings(tally->next_settings);
    tagger_free(tally->tagger);
    fold_free(tally->fold);
    counts_free(tally->counts);
    pthread_cond_destroy(&tally->wake);
    pthread_mutex_destroy(&tally->lock);
    free(tally);
}

int tally_start(const struct tally_options *options, struct hit_ring *const *rings,
                size_t ring_count, struct hitlog *log, struct tally **ret_tally, char *ret_error)
{
    assert(rings != NULL || ring_count == 0);
    assert(ret_tally != NULL && ret_error != NULL);

    struct tally *tally = calloc(1, sizeof *tally);
    if (tally == NULL) {
        return fail(ret_error, -ENOMEM, "tally: out of memory");
    }
    init_lock(tally);
    tally->rings = rings;
    tally->ring_count = ring_count;
    tally->log = log;
    tally->tagger = tagger_new();
    tally->fold = fold_new(FOLD_LINES_MAX);
    tally->counts = counts_new();
    struct settings *settings = NULL;
    int r = tally->tagger != NULL && tally->fold != NULL && tally->counts != NULL
                ? open_settings(options, &settings, ret_error)
                : fail(ret_error, -ENOMEM, "tally: out of memory");
    if (r == 0) {
        announce_builds(tally, settings);
        take_settings(tally, settings);
        r = start_thread(tally);
        if (r < 0) {
            (void)fail(ret_error, r, "tally: its thread can't be started");
        }
    }
    if (r < 0) {
        free_tally(tally);
        return r;
    }
    *ret_tally = tally;
    return 0;
}

void tally_stop(struct tally *tally)
{
    if (tally == NULL) {
        return;
    }
    pthread_mutex_lock(&tally->lock);
    tally->stop = true;
    pthread_cond_signal(&tally->wake);
    pthread_mutex_unlock(&tally->lock);
    pthread_join(tally->thread, NULL);
    free_tally(tally);
}

int tally_reload(struct tally *tally, const struct tally_options *options, char *ret_error)
{
    struct settings *settings = NULL;
    int r = open_settings(options, &settings, ret_error);
    if (r < 0) {
        return r;
    }
    pthread_mutex_lock(&tally->lock);
    struct settings *overtaken = tally->next_settings;
    tally->next_settings = settings;
    announce_builds(tally, settings);
    pthread_cond_signal(&tally->wake);
    pthread_mutex_unlock(&tally->lock);
    free_settings(overtaken);
    return 0;
}

void tally_by_feed(struct tally *tally,
                   void (*call)(void *context, const struct tally_count *count), void *context)
{
    pthread_mutex_lock(&tally->lock);
    counts_by_feed(tally->counts, call, context);
    pthread_mutex_unlock(&tally->lock);
}

void tally_by_country(struct tally *tally,
                      void (*call)(void *context, const struct tally_count *count), void *context)
{
    pthread_mutex_lock(&tally->lock);
    counts_by_country(tally->counts, call, context);
    pthread_mutex_unlock(&tally->lock);
}

void tally_totals(struct tally *tally, struct tally_totals *ret_totals)
{
    pthread_mutex_lock(&tally->lock);
    struct tally_totals totals = tally->totals;
    totals.counted = counts_total(tally->counts);
    pthread_mutex_unlock(&tally->lock);
    for (size_t i = 0; i < tally->ring_count; i++) {
        totals.ring_drops += hit_ring_drops(tally->rings[i]);
    }
    *ret_totals = totals;
}
