/* query_fixture.h - the pipeline's parts without sockets. Recursion is replaced at link time by a
 * script: recurse_ask() here notes what was asked, and the tests answer when they like. */
#ifndef TESTS_UNIT_QUERY_FIXTURE_H
#define TESTS_UNIT_QUERY_FIXTURE_H

#include "resolver/query.h"

#include "blocklist/rcu.h"

#include <ldns/ldns.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the far side ---- */

#define ASKED_MAX 64u

static struct {
    unsigned count;
    unsigned cancelled;
    int result; /* of recurse_ask() */
    struct recurse_waiter waiters[ASKED_MAX];
} asked;

int recurse_ask(struct recurse *recurse, const uint8_t *name, size_t name_size, uint16_t type,
                uint16_t class, struct recurse_waiter waiter)
{
    (void)recurse, (void)name, (void)name_size, (void)type, (void)class;
    if (asked.result == 0) {
        asked.waiters[asked.count++ % ASKED_MAX] = waiter;
    }
    return asked.result;
}

void recurse_cancel(struct recurse *recurse, struct recurse_waiter waiter)
{
    (void)recurse, (void)waiter;
    asked.cancelled++;
}

/* ---- the daemon's parts ---- */

static struct bl_secret secret = {{9}};
static struct config *config;
static struct live live;
static live_pointer live_now;
static struct metrics metrics;
static struct query_parts parts;
static struct query_engine *engine;
static struct client client;
static uint8_t answer[MESSAGE_SIZE_MAX];
static ldns_pkt *sent;     /* the last answer, either way */
static unsigned sent_none; /* pending questions that end without an answer */

static ldns_pkt *read_answer(const uint8_t *octets, size_t size)
{
    ldns_pkt *packet = NULL;
    if (ldns_wire2pkt(&packet, octets, size) != LDNS_STATUS_OK) {
        fail_msg("the answer is malformed");
    }
    return packet;
}

static void keep_sent(const uint8_t *octets, size_t size)
{
    ldns_pkt_free(sent);
    sent = read_answer(octets, size);
}

static void take_pending(void *context, const struct client *to, const uint8_t *octets, size_t size)
{
    (void)context, (void)to;
    if (size == 0) {
        sent_none++;
        return;
    }
    keep_sent(octets, size);
}

static int make_parts(void **state)
{
    (void)state;
    bl_rcu_register();
    memset(&asked, 0, sizeof(asked));
    memset(&metrics, 0, sizeof(metrics));
    config = calloc(1, sizeof(*config));
    config->sinkhole = (struct config_sinkhole){.action = BL_ACTION_ADDRESS,
                                                .ipv4_count = 1,
                                                .ipv6_count = 1,
                                                .ttl_s = 10,
                                                .text = "Blocked by {label}"};
    config->access.allow_count = 1;
    config->access.allow[0] = (struct config_prefix){.bits = 104};
    config->access.allow[0].address[10] = config->access.allow[0].address[11] = 0xff;
    config->access.allow[0].address[12] = 127;
    live = (struct live){.config = config,
                         .access = access_new(config->access.allow, config->access.allow_count)};
    atomic_store(&live_now, &live);
    client = (struct client){.transport = CLIENT_UDP, .ipv4 = true};
    client.address[10] = client.address[11] = 0xff;
    client.address[12] = 127;
    parts = (struct query_parts){
        .list = bl_list_new(&secret),
        .secret = &secret,
        .cache = cache_new(CACHE_SIZE_MIN, &secret),
        .live = &live_now,
        .metrics = &metrics,
        .hits = hit_ring_new(64),
        .send = take_pending,
        .pending_max = 8,
        .pending_client_max = 4,
        .timeout_ms = 60000,
        .udp_size = 1232,
        .ttls = {.min_s = 0, .max_s = 86400, .negative_s = 3600},
    };
    engine = query_engine_new(&parts);
    sent = NULL;
    sent_none = 0;
    return engine == NULL;
}

static int free_parts(void **state)
{
    (void)state;
    bl_rcu_unregister();
    ldns_pkt_free(sent);
    query_engine_free(engine);
    cache_free(parts.cache);
    bl_list_free((struct bl_list *)(uintptr_t)parts.list);
    hit_ring_free(parts.hits);
    access_free(live.access);
    free(config);
    return 0;
}

#endif
