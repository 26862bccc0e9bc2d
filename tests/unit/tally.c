/* The tally with its thread: exact counts, lines in a real hit log, databases changed under way. */
#include "geo/tally.h"

#include "geo/counts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#define PAST_S 1700000000 /* a second that is over: its lines are closed at once */

static char folder[64];
static char log_path[96];

static int make_folder(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/tally-test-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    (void)snprintf(log_path, sizeof log_path, "%s/hits.jsonl", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf -- '%s'", folder);
    return system(command);
}

static const char *data_path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    const char *root = getenv("SOURCE_ROOT");
    (void)snprintf(path, sizeof paths[0], "%s/tests/data/%s", root != NULL ? root : ".", name);
    return path;
}

/* Between two looks at a condition: the other threads need the processor. */
static void pause_briefly(void)
{
    const struct timespec pause = {.tv_nsec = 500000};
    (void)nanosleep(&pause, NULL);
}

static struct tally_options plain_options(void)
{
    return (struct tally_options){
        .country_path = data_path("country-nested.mmdb"),
        .asn_path = data_path("asn-nested.mmdb"),
        .node = "n1",
        .client = TALLY_CLIENT_TRUNCATED,
        .truncate_ipv4 = 24,
        .truncate_ipv6 = 48,
    };
}

static struct hitlog *start_log(void)
{
    const struct hitlog_output output = {.path = log_path};
    struct hitlog *log = NULL;
    char error[HITLOG_ERROR_SIZE];
    assert_int_equal(hitlog_start(&output, 1, &log, error), 0);
    return log;
}

static struct tally *start(const struct tally_options *options, struct hit_ring *const *rings,
                           size_t ring_count, struct hitlog *log)
{
    struct tally *tally = NULL;
    char error[TALLY_ERROR_SIZE] = "";
    if (tally_start(options, rings, ring_count, log, &tally, error) < 0) {
        print_error("%s\n", error);
    }
    assert_non_null(tally);
    return tally;
}

static struct hit hit_from(const char *client)
{
    struct hit hit = {
        .time_s = PAST_S,
        .count = 1,
        .feed = "starter",
        .category = "malware",
        .family = "",
        .action = "address",
        .tier = "feed",
        .type = 1,
        .name_size = 14,
        .name = "\4evil\7example",
    };
    if (inet_pton(AF_INET, client, hit.client + 12) == 1) {
        memset(hit.client + 10, 0xff, 2);
    } else {
        assert_int_equal(inet_pton(AF_INET6, client, hit.client), 1);
    }
    return hit;
}

static void wait_until_counted(struct tally *tally, uint64_t questions)
{
    struct tally_totals totals;
    do {
        pause_briefly();
        tally_totals(tally, &totals);
    } while (totals.counted < questions);
    assert_int_equal(totals.counted, questions);
}

/* The log's lines as an array of objects. */
static json_t *read_log(void)
{
    json_t *lines = json_array();
    FILE *file = fopen(log_path, "rb");
    assert_non_null(file);
    json_t *line = NULL;
    while ((line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
        json_array_append_new(lines, line);
    }
    fclose(file);
    return lines;
}

static const char *text_of(const json_t *lines, size_t index, const char *field)
{
    return json_string_value(json_object_get(json_array_get(lines, index), field));
}

static int64_t number_of(const json_t *lines, size_t index, const char *field)
{
    return json_integer_value(json_object_get(json_array_get(lines, index), field));
}

struct seen {
    char text[512];
    uint64_t total;
    size_t rows;
    uint64_t other;
};

static void see(void *context, const struct tally_count *count)
{
    struct seen *seen = context;
    size_t used = strlen(seen->text);
    if (seen->rows < 10) {
        (void)snprintf(seen->text + used, sizeof seen->text - used, "%s/%s/%s/%s %llu\n",
                       count->feed, count->category, count->action, count->country,
                       (unsigned long long)count->count);
    }
    seen->rows++;
    seen->total += count->count;
    if (strcmp(count->feed, "other") == 0) {
        seen->other += count->count;
    }
}

static void counts_by_feed_and_by_country(void **state)
{
    (void)state;
    struct hit_ring *rings[2] = {hit_ring_new(64), hit_ring_new(64)};
    struct tally_options options = plain_options();
    struct tally *tally = start(&options, rings, 2, NULL);

    struct hit hit = hit_from("192.0.2.1");
    hit.count = 5;
    assert_true(hit_ring_push(rings[0], &hit));
    hit = hit_from("2001:db8:1::1");
    hit.action = "log";
    assert_true(hit_ring_push(rings[1], &hit));
    hit = hit_from("10.1.2.3");
    assert_true(hit_ring_push(rings[1], &hit));
    hit = hit_from("198.51.99.1");
    hit.feed = "operator";
    hit.category = "";
    assert_true(hit_ring_push(rings[0], &hit));
    wait_until_counted(tally, 8);

    struct seen feeds = {0};
    struct seen countries = {0};
    tally_by_feed(tally, see, &feeds);
    tally_by_country(tally, see, &countries);
    assert_int_equal(feeds.rows, 3);
    assert_int_equal(feeds.total, 8);
    assert_non_null(strstr(feeds.text, "starter/malware/address/ 6\n"));
    assert_non_null(strstr(feeds.text, "starter/malware/log/ 1\n"));
    assert_non_null(strstr(feeds.text, "operator//address/ 1\n"));
    assert_string_equal(countries.text, "///PL 5\n///SE 1\n///XX 1\n///ZZ 1\n");

    struct tally_totals totals;
    tally_totals(tally, &totals);
    assert_int_equal(totals.country_build_s, 1767225600);
    assert_int_equal(totals.asn_build_s, 1767225600);
    assert_int_equal(totals.ring_drops, 0);
    assert_int_equal(totals.lookup_failures, 0);
    tally_stop(tally);
    hit_ring_free(rings[0]);
    hit_ring_free(rings[1]);
}

static void more_feeds_than_there_is_room_for_are_other_and_none_is_lost(void **state)
{
    (void)state;
    static char names[COUNTS_FEEDS_MAX + 100][16];
    struct counts *counts = counts_new();
    assert_non_null(counts);
    struct hit hit = hit_from("192.0.2.1");
    for (unsigned round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNTS_FEEDS_MAX + 100; i++) {
            (void)snprintf(names[i], sizeof names[i], "feed-%zu", i);
            hit.feed = names[i];
            counts_add(counts, &hit, "PL");
        }
    }
    struct seen seen = {0};
    counts_by_feed(counts, see, &seen);
    assert_int_equal(seen.rows, COUNTS_FEEDS_MAX + 1);
    assert_int_equal(seen.total, 2 * (COUNTS_FEEDS_MAX + 100));
    assert_int_equal(seen.other, 200);
    assert_int_equal(counts_total(counts), seen.total);
    counts_free(counts);
}

static void alike_hits_of_all_rings_are_one_line(void **state)
{
    (void)state;
    struct hit_ring *rings[2] = {hit_ring_new(64), hit_ring_new(64)};
    struct hitlog *log = start_log();
    struct hit hit = hit_from("192.0.2.1");
    for (unsigned i = 0; i < 10; i++) {
        hit.client[15] = (uint8_t)(i + 1);
        assert_true(hit_ring_push(rings[i % 2], &hit));
    }
    struct tally_options options = plain_options();
    struct tally *tally = start(&options, rings, 2, log);
    wait_until_counted(tally, 10);
    tally_stop(tally);
    hitlog_stop(log);

    json_t *lines = read_log();
    assert_int_equal(json_array_size(lines), 1);
    assert_int_equal(number_of(lines, 0, "count"), 10);
    assert_string_equal(text_of(lines, 0, "client"), "192.0.2.0/24");
    assert_string_equal(text_of(lines, 0, "country"), "PL");
    assert_int_equal(number_of(lines, 0, "asn"), 64496);
    assert_string_equal(text_of(lines, 0, "as_name"), "Example Polska");
    assert_string_equal(text_of(lines, 0, "node"), "n1");
    assert_string_equal(text_of(lines, 0, "name"), "evil.example");
    assert_string_equal(text_of(lines, 0, "time"), "2023-11-14T22:13:20Z");
    json_decref(lines);
    hit_ring_free(rings[0]);
    hit_ring_free(rings[1]);
}

static void a_line_is_not_written_before_its_second_is_over(void **state)
{
    (void)state;
    struct hit_ring *ring = hit_ring_new(64);
    struct hitlog *log = start_log();
    struct tally_options options = plain_options();
    struct tally *tally = start(&options, &ring, 1, log);
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    struct hit hit = hit_from("192.0.2.1");
    hit.time_s = (int64_t)now.tv_sec;
    assert_true(hit_ring_push(ring, &hit));
    struct hitlog_totals totals;
    do {
        pause_briefly();
        hitlog_totals(log, &totals);
    } while (totals.written == 0);
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    assert_true((int64_t)now.tv_sec > hit.time_s);
    tally_stop(tally);
    hitlog_stop(log);
    json_t *lines = read_log();
    assert_int_equal(json_array_size(lines), 1);
    json_decref(lines);
    hit_ring_free(ring);
}

static void the_place_is_the_whole_addresses_whatever_is_shown(void **state)
{
    (void)state;
    static const struct {
        enum tally_client client;
        unsigned truncate_ipv4;
        const char *from;
        const char *shown;
        const char *country;
    } rows[] = {
        {TALLY_CLIENT_FULL, 24, "198.51.100.200", "198.51.100.200", "ES"},
        {TALLY_CLIENT_TRUNCATED, 24, "198.51.100.200", "198.51.100.0/24", "ES"},
        {TALLY_CLIENT_TRUNCATED, 17, "198.51.100.1", "198.51.0.0/17", "FR"},
        {TALLY_CLIENT_TRUNCATED, 0, "203.0.113.9", "0.0.0.0/0", "DE"},
        {TALLY_CLIENT_TRUNCATED, 32, "192.0.2.9", "192.0.2.9/32", "PL"},
        {TALLY_CLIENT_TRUNCATED, 24, "2001:db8:2:8000::1", "2001:db8:2::/48", "NO"},
        {TALLY_CLIENT_NONE, 24, "203.0.113.9", NULL, "DE"},
        {TALLY_CLIENT_TRUNCATED, 24, "::1", "::/48", "XX"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hit_ring *ring = hit_ring_new(2);
        struct hitlog *log = start_log();
        struct tally_options options = plain_options();
        options.client = rows[i].client;
        options.truncate_ipv4 = rows[i].truncate_ipv4;
        struct hit hit = hit_from(rows[i].from);
        assert_true(hit_ring_push(ring, &hit));
        tally_stop(start(&options, &ring, 1, log));
        hitlog_stop(log);
        json_t *lines = read_log();
        assert_int_equal(json_array_size(lines), i + 1);
        assert_string_equal(text_of(lines, i, "country"), rows[i].country);
        if (rows[i].shown == NULL) {
            assert_null(text_of(lines, i, "client"));
        } else {
            assert_string_equal(text_of(lines, i, "client"), rows[i].shown);
        }
        json_decref(lines);
        hit_ring_free(ring);
    }
}

static void a_reload_takes_effect_and_a_bad_one_changes_nothing(void **state)
{
    (void)state;
    struct hit_ring *ring = hit_ring_new(64);
    struct hitlog *log = start_log();
    struct tally_options options = plain_options();
    struct tally *tally = start(&options, &ring, 1, log);
    struct hit hit = hit_from("203.0.113.1");
    assert_true(hit_ring_push(ring, &hit));
    wait_until_counted(tally, 1);

    char error[TALLY_ERROR_SIZE] = "";
    options.country_path = data_path("asn-flat.mmdb");
    assert_int_equal(tally_reload(tally, &options, error), -EINVAL);
    assert_non_null(strstr(error, "asn-flat.mmdb: has no countries"));
    assert_true(hit_ring_push(ring, &hit));
    wait_until_counted(tally, 2);

    options.country_path = data_path("country-ipv4.mmdb"); /* has no 203.0.113.0/24 */
    options.asn_path = "";
    options.client = TALLY_CLIENT_FULL;
    options.node = "n2";
    assert_int_equal(tally_reload(tally, &options, error), 0);
    struct tally_totals totals;
    tally_totals(tally, &totals);
    assert_int_equal(totals.asn_build_s, 0);
    /* Taken on before the next pass at the latest; another reload overtakes or follows it. */
    assert_int_equal(tally_reload(tally, &options, error), 0);
    struct seen seen = {0};
    for (uint64_t counted = 2; seen.rows < 2;) {
        assert_true(hit_ring_push(ring, &hit));
        wait_until_counted(tally, ++counted);
        seen = (struct seen){0};
        tally_by_country(tally, see, &seen);
    }
    assert_non_null(strstr(seen.text, "///ZZ 1\n"));
    tally_stop(tally);
    hitlog_stop(log);

    json_t *lines = read_log();
    size_t last = json_array_size(lines) - 1;
    assert_string_equal(text_of(lines, 0, "node"), "n1");
    assert_string_equal(text_of(lines, 0, "country"), "DE");
    assert_string_equal(text_of(lines, last, "node"), "n2");
    assert_string_equal(text_of(lines, last, "client"), "203.0.113.1");
    assert_null(json_object_get(json_array_get(lines, last), "asn"));
    json_decref(lines);
    hit_ring_free(ring);
}

static void a_database_that_cannot_be_opened_stops_the_start_and_says_which(void **state)
{
    (void)state;
    struct hit_ring *ring = hit_ring_new(2);
    struct tally_options options = plain_options();
    options.asn_path = "/nowhere/asn.mmdb";
    struct tally *tally = NULL;
    char error[TALLY_ERROR_SIZE] = "";
    assert_int_equal(tally_start(&options, &ring, 1, NULL, &tally, error), -ENOENT);
    assert_null(tally);
    assert_non_null(strstr(error, "/nowhere/asn.mmdb: no such file"));
    tally_stop(NULL);
    hit_ring_free(ring);
}

static void drops_in_the_rings_are_reported(void **state)
{
    (void)state;
    struct hit_ring *ring = hit_ring_new(2);
    struct hit hit = hit_from("192.0.2.1");
    hit.count = 7;
    for (unsigned i = 0; i < 5; i++) {
        (void)hit_ring_push(ring, &hit);
    }
    struct tally_options options = plain_options();
    struct tally *tally = start(&options, &ring, 1, NULL);
    wait_until_counted(tally, 14);
    struct tally_totals totals;
    tally_totals(tally, &totals);
    assert_int_equal(totals.ring_drops, 21);
    tally_stop(tally);
    hit_ring_free(ring);
}

#define FLOOD_HITS 70000u /* more than lines can be open */

static void push_flood(struct hit_ring *ring, int64_t time_s)
{
    struct hit hit = hit_from("192.0.2.1");
    hit.time_s = time_s;
    for (uint32_t i = 0; i < FLOOD_HITS; i++) {
        hit.name[1] = (uint8_t)('a' + (i & 15));
        hit.name[2] = (uint8_t)('a' + (i >> 4 & 15));
        hit.name[3] = (uint8_t)('a' + (i >> 8 & 15));
        hit.name[4] = (uint8_t)('a' + (i >> 12 & 15));
        hit.type = (uint16_t)(i >> 16);
        while (!hit_ring_push(ring, &hit)) {
            pause_briefly();
        }
    }
}

static void
a_flood_of_different_names_is_counted_exactly_and_every_line_is_accounted_for(void **state)
{
    (void)state;
    struct hit_ring *ring = hit_ring_new(4096);
    struct hitlog *log = start_log();
    struct tally_options options = plain_options();
    struct tally *tally = start(&options, &ring, 1, log);
    push_flood(ring, PAST_S);
    wait_until_counted(tally, FLOOD_HITS);
    struct tally_totals totals;
    struct hitlog_totals log_totals;
    do { /* all but what is in the fold at the moment is on its way */
        pause_briefly();
        tally_totals(tally, &totals);
        hitlog_totals(log, &log_totals);
    } while (log_totals.written + log_totals.dropped < FLOOD_HITS);
    assert_int_equal(log_totals.written + log_totals.dropped, FLOOD_HITS);
    assert_int_equal(totals.line_drops, log_totals.dropped);
    tally_stop(tally);
    hitlog_stop(log);
    hit_ring_free(ring);
}

static void a_log_that_takes_nothing_costs_lines_and_no_counts(void **state)
{
    (void)state;
    struct hit_ring *ring = hit_ring_new(4096);
    assert_int_equal(mkfifo(log_path, 0600), 0);
    int reader = open(log_path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    struct hitlog *log = start_log();
    struct tally_options options = plain_options();
    struct tally *tally = start(&options, &ring, 1, log);
    push_flood(ring, PAST_S);
    push_flood(ring, PAST_S + 1);
    wait_until_counted(tally, 2 * FLOOD_HITS);
    struct tally_totals totals;
    tally_totals(tally, &totals);
    assert_true(totals.line_drops > 0);
    close(reader); /* the store thread gets on with EPIPE */
    tally_stop(tally);
    hitlog_stop(log);
    hit_ring_free(ring);
}

static void *push_from_thread(void *context)
{
    push_flood(context, PAST_S);
    return NULL;
}

static void workers_readers_and_reloads_do_not_disturb_each_other(void **state)
{
    (void)state;
    struct hit_ring *rings[2] = {hit_ring_new(1024), hit_ring_new(1024)};
    struct hitlog *log = start_log();
    struct tally_options options = plain_options();
    struct tally *tally = start(&options, rings, 2, log);
    pthread_t producers[2];
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&producers[i], NULL, push_from_thread, rings[i]), 0);
    }
    const char *countries[2] = {data_path("country-flat.mmdb"), data_path("country-nested.mmdb")};
    struct tally_totals totals = {0};
    for (unsigned i = 0; totals.counted < 2 * FLOOD_HITS; i++) {
        char error[TALLY_ERROR_SIZE];
        options.country_path = countries[i % 2];
        if (i < 50) {
            assert_int_equal(tally_reload(tally, &options, error), 0);
        }
        struct seen seen = {0};
        tally_by_country(tally, see, &seen);
        tally_by_feed(tally, see, &seen);
        tally_totals(tally, &totals);
        pause_briefly();
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(producers[i], NULL);
    }
    struct seen seen = {0};
    tally_totals(tally, &totals);
    tally_by_country(tally, see, &seen);
    assert_int_equal(seen.total, totals.counted);
    assert_true(totals.counted >=
                2 * FLOOD_HITS); /* a full ring drops, and the hit is sent again */
    tally_stop(tally);
    hitlog_stop(log);
    hit_ring_free(rings[0]);
    hit_ring_free(rings[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(counts_by_feed_and_by_country),
        TEST(more_feeds_than_there_is_room_for_are_other_and_none_is_lost),
        TEST(alike_hits_of_all_rings_are_one_line),
        TEST(a_line_is_not_written_before_its_second_is_over),
        TEST(the_place_is_the_whole_addresses_whatever_is_shown),
        TEST(a_reload_takes_effect_and_a_bad_one_changes_nothing),
        TEST(a_database_that_cannot_be_opened_stops_the_start_and_says_which),
        TEST(drops_in_the_rings_are_reported),
        TEST(a_flood_of_different_names_is_counted_exactly_and_every_line_is_accounted_for),
        TEST(a_log_that_takes_nothing_costs_lines_and_no_counts),
        TEST(workers_readers_and_reloads_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
