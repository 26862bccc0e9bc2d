/* The answer cache: what is put is got until it is over, the size is a hard bound, what is used
 * stays, and readers run beside writers (this test also runs under ThreadSanitizer). */
#include "resolver/cache.h"

#include "blocklist/rcu.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct bl_secret secret = {{3, 1, 4}};
static struct cache *cache;

static int make_cache(void **state)
{
    (void)state;
    bl_rcu_register();
    cache = cache_new(CACHE_SIZE_MIN, &secret);
    return cache == NULL;
}

static int free_cache(void **state)
{
    (void)state;
    bl_rcu_unregister();
    cache_free(cache);
    return 0;
}

/* A key for a number; `name` must outlive it. */
static struct cache_key key_of(unsigned number, uint8_t name[static BL_NAME_SIZE_MAX])
{
    char text[32];
    snprintf(text, sizeof(text), "n%u.example", number);
    int size = bl_name_from_text(text, strlen(text), name);
    struct cache_key key = {.name = name, .name_size = (uint8_t)size, .type = DNS_A, .class = 1};
    key.hash = cache_hash(cache, &key);
    return key;
}

/* A message whose octets all tell its number, so that a torn one is seen. */
static struct message message_of(unsigned number, uint8_t body[static 300])
{
    static const uint16_t offsets[] = {4};
    memset(body, (int)(number % 251), 300);
    return (struct message){.body = body,
                            .body_size = 300,
                            .ttls = offsets,
                            .ttl_count = 1,
                            .chain = (const uint8_t *)"\1c\0",
                            .chain_size = 3,
                            .chain_count = 1,
                            .has_ede = true,
                            .ede_text = "ede",
                            .ede_size = 3,
                            .rcode = (uint8_t)(number % 7),
                            .counts = {(uint16_t)number}};
}

static bool put(unsigned number, uint32_t ttl_s, uint64_t now_ms)
{
    uint8_t name[BL_NAME_SIZE_MAX];
    uint8_t body[300];
    struct cache_key key = key_of(number, name);
    struct message message = message_of(number, body);
    bl_rcu_online();
    bool kept = cache_put(cache, &key, &message, ttl_s, 42, now_ms);
    bl_rcu_offline();
    return kept;
}

/* 1 found and whole, 0 not found, -1 damaged. (Online.) */
static int look(unsigned number, uint64_t now_ms)
{
    uint8_t name[BL_NAME_SIZE_MAX];
    struct cache_key key = key_of(number, name);
    const struct cache_entry *entry = cache_get(cache, &key, now_ms);
    if (entry == NULL) {
        return 0;
    }
    const struct message *message = &entry->message;
    bool whole = message->counts[0] == (uint16_t)number && message->rcode == number % 7 &&
                 message->body_size == 300 && message->ttls[0] == 4 &&
                 memcmp(message->chain, "\1c\0", 3) == 0 &&
                 memcmp(message->ede_text, "ede", 3) == 0;
    for (unsigned i = 0; whole && i < 300; i++) {
        whole = message->body[i] == number % 251;
    }
    return whole ? 1 : -1;
}

static int get(unsigned number, uint64_t now_ms)
{
    bl_rcu_online();
    int found = look(number, now_ms);
    bl_rcu_offline();
    return found;
}

static void gives_what_was_put_until_it_is_over(void **state)
{
    (void)state;
    assert_int_equal(get(1, 1000), 0);
    assert_true(put(1, 10, 1000));
    assert_int_equal(get(1, 1000), 1);
    assert_int_equal(get(1, 10999), 1);
    assert_int_equal(get(1, 11000), 0);
    assert_int_equal(get(2, 1000), 0);
}

static void keeps_nothing_that_holds_for_no_time(void **state)
{
    (void)state;
    assert_false(put(1, 0, 1000));
    assert_int_equal(get(1, 1000), 0);
}

static void tells_types_classes_and_flags_apart(void **state)
{
    (void)state;
    uint8_t name[BL_NAME_SIZE_MAX];
    assert_true(put(1, 10, 0));
    bl_rcu_online();
    static const struct {
        uint16_t type;
        uint16_t class;
        uint8_t flags;
        bool found;
    } rows[] = {
        {DNS_A, 1, 0, true},
        {DNS_AAAA, 1, 0, false},
        {DNS_A, 3, 0, false},
        {DNS_A, 1, CACHE_DNSSEC, false},
        {DNS_A, 1, CACHE_CHECKING, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cache_key key = key_of(1, name);
        key.type = rows[i].type;
        key.class = rows[i].class;
        key.flags = rows[i].flags;
        key.hash = cache_hash(cache, &key);
        assert_int_equal(cache_get(cache, &key, 0) != NULL, rows[i].found);
    }
    bl_rcu_offline();
}

static void a_new_answer_replaces_the_old_one(void **state)
{
    (void)state;
    uint8_t name[BL_NAME_SIZE_MAX];
    uint8_t body[300];
    assert_true(put(5, 10, 0));
    struct cache_key key = key_of(5, name);
    struct message message = message_of(5, body);
    message.rcode = DNS_NXDOMAIN;
    bl_rcu_online();
    assert_true(cache_put(cache, &key, &message, 20, 43, 1000));
    struct cache_entry *entry = cache_get(cache, &key, 15000);
    assert_non_null(entry);
    assert_int_equal(entry->message.rcode, DNS_NXDOMAIN);
    assert_int_equal(atomic_load(&entry->checked_version), 43);
    bl_rcu_offline();
    struct cache_totals totals;
    cache_totals(cache, &totals);
    assert_int_equal(totals.entries, 1);
}

/* A put that found no segment free is taken once a grace period has passed. */
static void put_patiently(unsigned number, uint64_t now_ms)
{
    if (!put(number, 3600, now_ms)) {
        bl_rcu_barrier();
        assert_true(put(number, 3600, now_ms));
    }
}

/* Ten times what fits. */
static void stays_within_its_size_and_keeps_what_is_used(void **state)
{
    (void)state;
    enum { COUNT = 200000, HOT = 100 };
    for (unsigned i = 0; i < COUNT; i++) {
        put_patiently(1000 + i, i);
        if (i % 500 == 0) {
            for (unsigned hot = 0; hot < HOT; hot++) {
                if (get(hot, i) == 0) {
                    put_patiently(hot, i);
                }
                assert_int_equal(get(hot, i), 1);
            }
        }
    }
    struct cache_totals totals;
    cache_totals(cache, &totals);
    assert_true(totals.size <= CACHE_SIZE_MIN);
    assert_true(totals.entries * 300 < totals.size);
    assert_true(totals.evictions > 0);
    unsigned hot_found = 0;
    for (unsigned hot = 0; hot < HOT; hot++) {
        hot_found += get(hot, COUNT) == 1;
    }
    assert_true(hot_found > HOT * 9 / 10);
}

static void an_answer_too_large_for_a_segment_is_not_kept(void **state)
{
    (void)state;
    static uint8_t body[65000];
    uint8_t name[BL_NAME_SIZE_MAX];
    struct cache_key key = key_of(1, name);
    struct message message = message_of(1, body);
    message.body_size = sizeof(body);
    bl_rcu_online();
    assert_false(cache_put(cache, &key, &message, 10, 1, 0));
    assert_null(cache_get(cache, &key, 0));
    bl_rcu_offline();
}

#define THREAD_ROUNDS 60000u
#define THREAD_NAMES 20000u /* more than fit: segments are drained and used again all the time */

static void *put_and_get(void *context)
{
    unsigned seed = *(unsigned *)context;
    uintptr_t damaged = 0;
    bl_rcu_register();
    for (unsigned round = 0; round < THREAD_ROUNDS; round++) {
        seed = seed * 1664525u + 1013904223u;
        unsigned number = seed >> 8;
        if (round % 2 == 0) {
            (void)put(number % THREAD_NAMES, 3600, round);
        } else {
            bl_rcu_online();
            for (unsigned i = 0; i < 8; i++) {
                damaged += look((number + i * 7919) % THREAD_NAMES, round) == -1;
            }
            bl_rcu_offline();
        }
    }
    bl_rcu_unregister();
    return (void *)damaged;
}

static void readers_see_whole_answers_while_writers_evict(void **state)
{
    (void)state;
    unsigned seeds[3] = {1, 2, 3};
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, put_and_get, &seeds[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        void *damaged;
        pthread_join(threads[i], &damaged);
        assert_null(damaged);
    }
    struct cache_totals totals;
    cache_totals(cache, &totals);
    assert_true(totals.evictions > 0);
}

#define CACHED(test) cmocka_unit_test_setup_teardown(test, make_cache, free_cache)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHED(gives_what_was_put_until_it_is_over),
        CACHED(keeps_nothing_that_holds_for_no_time),
        CACHED(tells_types_classes_and_flags_apart),
        CACHED(a_new_answer_replaces_the_old_one),
        CACHED(stays_within_its_size_and_keeps_what_is_used),
        CACHED(an_answer_too_large_for_a_segment_is_not_kept),
        CACHED(readers_see_whole_answers_while_writers_evict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
