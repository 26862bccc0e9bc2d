/* The ring between a worker and the tally: order, the full ring, and two threads at once. */
#include "geo/hit.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A hit whose every field follows from `number`, so that a torn or stale copy shows. */
static struct hit numbered_hit(uint32_t number)
{
    struct hit hit = {
        .time_s = (int64_t)number * 3,
        .count = number % 7 + 1,
        .feed = "starter",
        .category = "malware",
        .family = "",
        .action = "address",
        .tier = "feed",
        .type = (uint16_t)number,
        .transport = number & 1,
        .name_size = (uint8_t)(number % 255 + 1),
        .chain_size = (uint8_t)(number % 256),
    };
    memset(hit.client, (int)(number & 0xFF), sizeof hit.client);
    memset(hit.name, (int)(number >> 3 & 0xFF), hit.name_size);
    memset(hit.chain, (int)(number >> 5 & 0xFF), hit.chain_size);
    return hit;
}

static bool is_numbered_hit(const struct hit *hit, uint32_t number)
{
    struct hit expected = numbered_hit(number);
    return hit->time_s == expected.time_s && hit->count == expected.count &&
           strcmp(hit->feed, "starter") == 0 && hit->type == expected.type &&
           memcmp(hit->client, expected.client, sizeof hit->client) == 0 &&
           hit->name_size == expected.name_size && hit->chain_size == expected.chain_size &&
           memcmp(hit->name, expected.name, hit->name_size) == 0 &&
           memcmp(hit->chain, expected.chain, hit->chain_size) == 0;
}

static void gives_hits_back_in_order_however_often_it_wraps(void **state)
{
    (void)state;
    struct hit_ring *ring = hit_ring_new(4);
    assert_non_null(ring);
    struct hit hit;
    assert_false(hit_ring_take(ring, &hit));

    uint32_t pushed = 0;
    uint32_t taken = 0;
    for (uint32_t round = 0; round < 40; round++) {
        for (uint32_t i = 0; i <= round % 4; i++) {
            struct hit next = numbered_hit(pushed++);
            assert_true(hit_ring_push(ring, &next));
        }
        while (hit_ring_take(ring, &hit)) {
            assert_true(is_numbered_hit(&hit, taken));
            taken++;
        }
    }
    assert_int_equal(taken, pushed);
    assert_int_equal(hit_ring_drops(ring), 0);
    hit_ring_free(ring);
}

static void a_full_ring_counts_the_questions_it_drops_and_keeps_the_old_hits(void **state)
{
    (void)state;
    struct hit_ring *ring = hit_ring_new(2);
    assert_non_null(ring);
    struct hit hit = numbered_hit(0);
    assert_true(hit_ring_push(ring, &hit));
    hit = numbered_hit(1);
    assert_true(hit_ring_push(ring, &hit));

    hit = numbered_hit(2);
    hit.count = 40;
    assert_false(hit_ring_push(ring, &hit));
    hit.count = 2;
    assert_false(hit_ring_push(ring, &hit));
    assert_int_equal(hit_ring_drops(ring), 42);

    assert_true(hit_ring_take(ring, &hit));
    assert_true(is_numbered_hit(&hit, 0));
    hit = numbered_hit(3);
    assert_true(hit_ring_push(ring, &hit));
    assert_true(hit_ring_take(ring, &hit));
    assert_true(is_numbered_hit(&hit, 1));
    assert_true(hit_ring_take(ring, &hit));
    assert_true(is_numbered_hit(&hit, 3));
    assert_false(hit_ring_take(ring, &hit));
    hit_ring_free(ring);
}

#define RACE_HITS 100000u

static void *produce(void *context)
{
    struct hit_ring *ring = context;
    for (uint32_t number = 0; number < RACE_HITS; number++) {
        struct hit hit = numbered_hit(number);
        while (!hit_ring_push(ring, &hit)) {
            sched_yield();
        }
    }
    return NULL;
}

static void loses_and_tears_nothing_between_two_threads(void **state)
{
    (void)state;
    struct hit_ring *ring = hit_ring_new(64);
    assert_non_null(ring);
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, produce, ring), 0);

    uint32_t taken = 0;
    uint32_t wrong = 0;
    while (taken < RACE_HITS) {
        struct hit hit;
        if (!hit_ring_take(ring, &hit)) {
            sched_yield();
            continue;
        }
        wrong += !is_numbered_hit(&hit, taken);
        taken++;
    }
    pthread_join(producer, NULL);
    assert_int_equal(wrong, 0);
    struct hit hit;
    assert_false(hit_ring_take(ring, &hit));
    hit_ring_free(ring);
}

static void drops_and_takes_add_up_when_the_consumer_is_slow(void **state)
{
    (void)state;
    struct hit_ring *ring = hit_ring_new(8);
    assert_non_null(ring);
    uint64_t pushed = 0;
    uint64_t taken = 0;
    struct hit hit;
    for (uint32_t number = 0; number < 1000; number++) {
        struct hit next = numbered_hit(number);
        pushed += next.count;
        (void)hit_ring_push(ring, &next);
        if (number % 3 == 0 && hit_ring_take(ring, &hit)) {
            taken += hit.count;
        }
    }
    while (hit_ring_take(ring, &hit)) {
        taken += hit.count;
    }
    assert_true(hit_ring_drops(ring) > 0);
    assert_int_equal(taken + hit_ring_drops(ring), pushed);
    hit_ring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_hits_back_in_order_however_often_it_wraps),
        cmocka_unit_test(a_full_ring_counts_the_questions_it_drops_and_keeps_the_old_hits),
        cmocka_unit_test(loses_and_tears_nothing_between_two_threads),
        cmocka_unit_test(drops_and_takes_add_up_when_the_consumer_is_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
