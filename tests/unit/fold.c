/* Which hits become one line, and when lines are closed. */
#include "geo/fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW_S 1000

struct closed {
    unsigned lines;
    unsigned room; /* lines taken before the writer says no */
    uint64_t count;
    int64_t last_time_s;
};

static bool write_line(void *context, const struct hitline *line)
{
    struct closed *closed = context;
    if (closed->room == 0) {
        return false;
    }
    closed->room--;
    closed->lines++;
    closed->count += line->hit->count;
    closed->last_time_s = line->hit->time_s;
    return true;
}

static struct hit hit_of(int64_t time_s, uint32_t number)
{
    struct hit hit = {
        .time_s = time_s,
        .count = 1,
        .feed = "starter",
        .category = "malware",
        .family = "",
        .action = "address",
        .tier = "feed",
        .type = 1,
        .name_size = 7,
        .name = {5, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number, 'x', 'y', 0},
    };
    return hit;
}

static const struct tag tag = {.country = "PL", .asn = 64496};

static struct fold *open_fold(uint32_t lines_max)
{
    struct fold *fold = fold_new(lines_max);
    struct closed closed = {.room = UINT32_MAX};
    assert_non_null(fold);
    fold_close(fold, NOW_S, write_line, &closed);
    assert_int_equal(closed.lines, 0);
    return fold;
}

static void alike_hits_are_one_line_with_their_sum(void **state)
{
    (void)state;
    struct fold *fold = open_fold(16);
    struct closed closed = {.room = UINT32_MAX};
    for (uint64_t count = 1; count <= 10; count++) {
        /* Texts of the same letters are the same text, wherever they lie. */
        char feed[] = "starter";
        struct hit hit = hit_of(NOW_S, 1);
        hit.count = count;
        hit.feed = count == 1 ? "starter" : feed;
        assert_true(fold_add(fold, &hit, &tag, 24));
    }
    assert_int_equal(fold_lines(fold), 1);
    fold_close_all(fold, write_line, &closed);
    assert_int_equal(closed.lines, 1);
    assert_int_equal(closed.count, 55);
    fold_free(fold);
    fold_free(NULL);
}

static void whatever_a_line_says_keeps_hits_apart(void **state)
{
    (void)state;
    struct hit hits[14];
    for (size_t i = 0; i < 14; i++) {
        hits[i] = hit_of(NOW_S, 1);
    }
    hits[1].time_s++;
    hits[2].feed = "other";
    hits[3].category = "phishing";
    hits[4].family = "x";
    hits[5].action = "log";
    hits[6].tier = "legal";
    hits[7].client[15] = 1;
    hits[8].type = 28;
    hits[9].transport = 1;
    hits[10].verified = true;
    hits[11].entry_offset = 6;
    hits[12].name[3] = 'z';
    hits[13].chain_size = 3;
    memcpy(hits[13].chain, "\1a", 3);

    struct fold *fold = open_fold(64);
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < 14; i++) {
            assert_true(fold_add(fold, &hits[i], &tag, 24));
        }
        struct tag elsewhere = {.country = "DE", .asn = 64496};
        assert_true(fold_add(fold, &hits[0], &elsewhere, 24));
        struct tag other_network = {.country = "PL", .asn = 64497};
        assert_true(fold_add(fold, &hits[0], &other_network, 24));
        assert_true(fold_add(fold, &hits[0], &tag, HITLINE_CLIENT_FULL));
        assert_int_equal(fold_lines(fold), 17);
    }
    fold_free(fold);
}

static void lines_close_when_their_second_is_over_and_no_sooner(void **state)
{
    (void)state;
    struct fold *fold = open_fold(16);
    struct closed closed = {.room = UINT32_MAX};
    static const int64_t times[] = {NOW_S, NOW_S + 1, NOW_S - 1, NOW_S + 3600};
    for (size_t i = 0; i < 4; i++) {
        struct hit hit = hit_of(times[i], 1);
        assert_true(fold_add(fold, &hit, &tag, 24));
    }
    /* The late one, and the one of a clock that has been set back since. */
    fold_close(fold, NOW_S, write_line, &closed);
    assert_int_equal(closed.lines, 2);
    assert_int_equal(closed.last_time_s, NOW_S + 3600);
    fold_close(fold, NOW_S, write_line, &closed);
    assert_int_equal(closed.lines, 2);
    fold_close(fold, NOW_S + 1, write_line, &closed);
    assert_int_equal(closed.lines, 3);
    assert_int_equal(closed.last_time_s, NOW_S);

    /* What is still open goes on folding; what is closed opens anew. */
    struct hit hit = hit_of(NOW_S + 1, 1);
    assert_true(fold_add(fold, &hit, &tag, 24));
    assert_int_equal(fold_lines(fold), 1);
    hit = hit_of(NOW_S, 1);
    assert_true(fold_add(fold, &hit, &tag, 24));
    assert_int_equal(fold_lines(fold), 2);
    fold_close(fold, NOW_S + 5, write_line, &closed);
    assert_int_equal(closed.lines, 5);
    assert_int_equal(closed.count, 6);
    assert_int_equal(fold_lines(fold), 0);
    fold_free(fold);
}

static void lines_without_room_stay_open_and_go_on_counting(void **state)
{
    (void)state;
    struct fold *fold = open_fold(64);
    for (uint32_t i = 0; i < 50; i++) {
        struct hit hit = hit_of(NOW_S - 1, i);
        assert_true(fold_add(fold, &hit, &tag, 24));
    }
    struct closed closed = {.room = 20};
    fold_close(fold, NOW_S, write_line, &closed);
    assert_int_equal(closed.lines, 20);
    assert_int_equal(fold_lines(fold), 30);
    for (uint32_t i = 20; i < 50; i++) {
        struct hit hit = hit_of(NOW_S - 1, i);
        assert_true(fold_add(fold, &hit, &tag, 24));
    }
    assert_int_equal(fold_lines(fold), 30);
    closed.room = UINT32_MAX;
    fold_close(fold, NOW_S, write_line, &closed); /* the same second: they are not forgotten */
    assert_int_equal(closed.lines, 50);
    assert_int_equal(closed.count, 80);
    fold_free(fold);
}

static void when_all_lines_are_open_a_new_one_is_refused_and_an_old_one_counts(void **state)
{
    (void)state;
    struct fold *fold = open_fold(1000);
    for (uint32_t i = 0; i < 1000; i++) {
        struct hit hit = hit_of(NOW_S, i);
        assert_true(fold_add(fold, &hit, &tag, 24));
    }
    struct hit hit = hit_of(NOW_S, 1000);
    assert_false(fold_add(fold, &hit, &tag, 24));
    hit = hit_of(NOW_S, 999);
    assert_true(fold_add(fold, &hit, &tag, 24));
    assert_int_equal(fold_lines(fold), 1000);
    struct closed closed = {.room = UINT32_MAX};
    fold_close_all(fold, write_line, &closed);
    assert_int_equal(closed.lines, 1000);
    assert_int_equal(closed.count, 1001);
    assert_true(fold_add(fold, &hit, &tag, 24));
    fold_free(fold);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alike_hits_are_one_line_with_their_sum),
        cmocka_unit_test(whatever_a_line_says_keeps_hits_apart),
        cmocka_unit_test(lines_close_when_their_second_is_over_and_no_sooner),
        cmocka_unit_test(lines_without_room_stay_open_and_go_on_counting),
        cmocka_unit_test(when_all_lines_are_open_a_new_one_is_refused_and_an_old_one_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
