/* Counters are summed, and what is written is what Prometheus reads (text format 0.0.4). */
#include "resolver/metrics.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PROMTOOL "/usr/bin/promtool"

static struct metrics *new_block(void)
{
    struct metrics *block = aligned_alloc(64, sizeof(*block));
    assert_non_null(block);
    memset(block, 0, sizeof(*block));
    return block;
}

static void assert_line(const char *text, const char *line)
{
    char wanted[256];
    snprintf(wanted, sizeof(wanted), "\n%s\n", line);
    if (strstr(text, wanted) == NULL) {
        fail_msg("no line %s in:\n%s", line, text);
    }
}

static void sums_the_blocks_of_all_threads(void **state)
{
    (void)state;
    struct metrics *first = new_block();
    struct metrics *second = new_block();
    metrics_add(first, METRIC_QUERIES_UDP4, 3);
    metrics_add(second, METRIC_QUERIES_UDP4, 4);
    metrics_add(second, METRIC_QUERIES_UDP4, 1);
    metrics_add(second, METRIC_TRUNCATED, 2);
    const struct metrics *blocks[] = {first, second};
    assert_int_equal(metrics_sum(blocks, 2, METRIC_QUERIES_UDP4), 8);
    assert_int_equal(metrics_sum(blocks, 1, METRIC_QUERIES_UDP4), 3);
    assert_int_equal(metrics_sum(blocks, 0, METRIC_QUERIES_UDP4), 0);

    struct metrics_text text = {0};
    metrics_render(&text, blocks, 2);
    assert_int_equal(text.failed, 0);
    assert_int_equal(strlen(text.text), text.size);
    assert_line(text.text, "sinkhole_queries_total{proto=\"udp\",family=\"4\"} 8");
    assert_line(text.text, "sinkhole_queries_total{proto=\"udp\",family=\"6\"} 0");
    assert_line(text.text, "sinkhole_truncated_total 2");
    metrics_text_done(&text);
    free(first);
    free(second);
}

static void puts_a_duration_into_the_first_bucket_that_holds_it(void **state)
{
    (void)state;
    struct metrics *block = new_block();
    metrics_duration(block, 10);
    metrics_duration(block, 11);
    metrics_duration(block, 5000000);
    metrics_duration(block, 10000001);
    const struct metrics *blocks[] = {block};
    struct metrics_text text = {0};
    metrics_render(&text, blocks, 1);
    assert_line(text.text, "sinkhole_recursion_duration_seconds_bucket{le=\"1e-05\"} 1");
    assert_line(text.text, "sinkhole_recursion_duration_seconds_bucket{le=\"2e-05\"} 2");
    assert_line(text.text, "sinkhole_recursion_duration_seconds_bucket{le=\"2\"} 2");
    assert_line(text.text, "sinkhole_recursion_duration_seconds_bucket{le=\"5\"} 3");
    assert_line(text.text, "sinkhole_recursion_duration_seconds_bucket{le=\"10\"} 3");
    assert_line(text.text, "sinkhole_recursion_duration_seconds_bucket{le=\"+Inf\"} 4");
    assert_line(text.text, "sinkhole_recursion_duration_seconds_count 4");
    assert_line(text.text, "sinkhole_recursion_duration_seconds_sum 15.000022");
    metrics_text_done(&text);
    free(block);
}

/* A family's lines stand together under one HELP and one TYPE, each before the first value. */
static void declares_each_family_once(void **state)
{
    (void)state;
    struct metrics *block = new_block();
    const struct metrics *blocks[] = {block};
    struct metrics_text text = {0};
    metrics_render(&text, blocks, 1);

    char seen[64][96];
    size_t count = 0;
    char family[96] = "";
    for (char *line = strtok(text.text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char name[96];
        if (sscanf(line, "# HELP %95s", name) == 1) {
            assert_true(strlen(line) > strlen("# HELP  ") + strlen(name));
            for (size_t i = 0; i < count; i++) {
                assert_string_not_equal(seen[i], name);
            }
            assert_true(count < 64);
            strcpy(seen[count++], name);
            strcpy(family, name);
        } else if (sscanf(line, "# TYPE %95s", name) == 1) {
            assert_string_equal(name, family);
        } else {
            assert_int_equal(strncmp(line, family, strlen(family)), 0);
            assert_non_null(strchr("{ _", line[strlen(family)]));
        }
    }
    assert_true(count > 10);
    metrics_text_done(&text);
    free(block);
}

static void escapes_labels_and_help(void **state)
{
    (void)state;
    struct metrics_text text = {0};
    metrics_family(&text, "x", "gauge", "a\\b\n\"c\"");
    metrics_printf(&text, "x{l=\"");
    metrics_label(&text, "q\"b\\n\n");
    metrics_printf(&text, "\"} 1\n");
    assert_string_equal(text.text, "# HELP x a\\\\b\\n\"c\"\n# TYPE x gauge\n"
                                   "x{l=\"q\\\"b\\\\n\\n\"} 1\n");
    metrics_text_done(&text);
    assert_null(text.text);
}

static void stops_growing_at_its_limit_and_says_so(void **state)
{
    (void)state;
    struct metrics_text text = {0};
    static char line[1 << 16];
    memset(line, 'x', sizeof(line) - 1);
    for (int i = 0; i < 300 && text.failed == 0; i++) {
        metrics_printf(&text, "%s", line);
    }
    assert_int_equal(text.failed, -ENOSPC);
    assert_true(text.size < (16u << 20));
    size_t size = text.size;
    metrics_printf(&text, "y");
    metrics_label(&text, "y");
    assert_int_equal(text.size, size);
    metrics_text_done(&text);
}

static void is_clean_for_promtool(void **state)
{
    (void)state;
    if (access(PROMTOOL, X_OK) != 0) {
        skip();
    }
    struct metrics *block = new_block();
    metrics_add(block, METRIC_RCODE_NOERROR, 7);
    metrics_duration(block, 1234);
    const struct metrics *blocks[] = {block};
    struct metrics_text text = {0};
    metrics_render(&text, blocks, 1);
    FILE *promtool = popen(PROMTOOL " check metrics 1>&2", "w");
    assert_non_null(promtool);
    assert_int_equal(fwrite(text.text, 1, text.size, promtool), text.size);
    assert_int_equal(pclose(promtool), 0);
    metrics_text_done(&text);
    free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_the_blocks_of_all_threads),
        cmocka_unit_test(puts_a_duration_into_the_first_bucket_that_holds_it),
        cmocka_unit_test(declares_each_family_once),
        cmocka_unit_test(escapes_labels_and_help),
        cmocka_unit_test(stops_growing_at_its_limit_and_says_so),
        cmocka_unit_test(is_clean_for_promtool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
