#include "resolver/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_SIZE_MAX (16u << 20) /* a scrape larger than this is a mistake, not a report */
#define TEXT_SIZE_FIRST 16384u    /* what an ordinary scrape fills once or twice */

static const uint32_t bounds_us[] = METRICS_DURATION_BOUNDS_US;
#define BOUNDS (sizeof(bounds_us) / sizeof(bounds_us[0]))
_Static_assert(BOUNDS + 1 == METRICS_DURATION_BUCKETS, "one bucket more counts the rest");

static const struct {
    const char *family;
    const char *labels;
    const char *help;
} rows[METRIC_COUNT] = {
#define X(name, family, labels, help) [METRIC_##name] = {family, labels, help},
    METRICS(X)
#undef X
};

static void add(_Atomic uint64_t *value, uint64_t count)
{
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + count,
                          memory_order_relaxed);
}

void metrics_duration(struct metrics *metrics, uint64_t duration_us)
{
    size_t bucket = 0;
    while (bucket < BOUNDS && duration_us > bounds_us[bucket]) {
        bucket++;
    }
    add(&metrics->duration[bucket], 1);
    add(&metrics->duration_sum_us, duration_us);
}

void metrics_text_done(struct metrics_text *text)
{
    free(text->text);
    memset(text, 0, sizeof(*text));
}

/* Room for `size` octets and the NUL. */
static bool make_room(struct metrics_text *text, size_t size)
{
    if (text->failed != 0) {
        return false;
    }
    if (size < text->capacity - text->size) {
        return true;
    }
    if (size >= TEXT_SIZE_MAX - text->size) {
        text->failed = -ENOSPC;
        return false;
    }
    size_t capacity = text->capacity > 0 ? text->capacity : TEXT_SIZE_FIRST;
    while (size >= capacity - text->size) {
        capacity *= 2;
    }
    char *larger = realloc(text->text, capacity);
    if (larger == NULL) {
        text->failed = -ENOMEM;
        return false;
    }
    text->text = larger;
    text->capacity = capacity;
    return true;
}

void metrics_printf(struct metrics_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size >= 0 && make_room(text, (size_t)size)) {
        vsnprintf(text->text + text->size, (size_t)size + 1, format, again);
        text->size += (size_t)size;
    }
    va_end(again);
}

static void put_octet(struct metrics_text *text, char octet)
{
    if (make_room(text, 1)) {
        text->text[text->size++] = octet;
        text->text[text->size] = '\0';
    }
}

/* Backslash and newline escaped, and the quote where there are quotes. */
static void put_escaped(struct metrics_text *text, const char *value, bool quote)
{
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '\n' || (quote && *value == '"')) {
            put_octet(text, '\\');
        }
        put_octet(text, *value == '\n' ? 'n' : *value);
    }
}

void metrics_label(struct metrics_text *text, const char *value)
{
    put_escaped(text, value, true);
}

void metrics_family(struct metrics_text *text, const char *family, const char *type,
                    const char *help)
{
    metrics_printf(text, "# HELP %s ", family);
    put_escaped(text, help, false);
    metrics_printf(text, "\n# TYPE %s %s\n", family, type);
}

void metrics_number(struct metrics_text *text, const char *family, const char *type,
                    const char *help, uint64_t value)
{
    metrics_family(text, family, type, help);
    metrics_printf(text, "%s %" PRIu64 "\n", family, value);
}

uint64_t metrics_sum(const struct metrics *const *blocks, size_t count, enum metric metric)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += atomic_load_explicit(&blocks[i]->values[metric], memory_order_relaxed);
    }
    return sum;
}

static void render_duration(struct metrics_text *text, const struct metrics *const *blocks,
                            size_t count)
{
    static const char family[] = "sinkhole_recursion_duration_seconds";
    uint64_t cumulated = 0;
    uint64_t sum_us = 0;
    metrics_family(text, family, "histogram", "Time until recursion answered a question.");
    for (size_t bucket = 0; bucket < METRICS_DURATION_BUCKETS; bucket++) {
        for (size_t i = 0; i < count; i++) {
            cumulated += atomic_load_explicit(&blocks[i]->duration[bucket], memory_order_relaxed);
        }
        if (bucket < BOUNDS) {
            metrics_printf(text, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", family,
                           bounds_us[bucket] / 1e6, cumulated);
        }
    }
    for (size_t i = 0; i < count; i++) {
        sum_us += atomic_load_explicit(&blocks[i]->duration_sum_us, memory_order_relaxed);
    }
    metrics_printf(text, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", family, cumulated);
    metrics_printf(text, "%s_sum %" PRIu64 ".%06" PRIu64 "\n", family, sum_us / 1000000,
                   sum_us % 1000000);
    metrics_printf(text, "%s_count %" PRIu64 "\n", family, cumulated);
}

void metrics_render(struct metrics_text *text, const struct metrics *const *blocks, size_t count)
{
    const char *family = "";
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        if (strcmp(rows[i].family, family) != 0) {
            family = rows[i].family;
            metrics_family(text, family, "counter", rows[i].help);
        }
        bool has_labels = rows[i].labels[0] != '\0';
        metrics_printf(text, "%s%s%s%s %" PRIu64 "\n", family, has_labels ? "{" : "",
                       rows[i].labels, has_labels ? "}" : "",
                       metrics_sum(blocks, count, (enum metric)i));
    }
    render_duration(text, blocks, count);
}
