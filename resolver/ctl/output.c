#include "resolver/ctl/output.h"

#include "geo/utf8.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define COLUMN_GAP 2
#define ESCAPED_SIZE 4u /* \xHH */

/* The value of a well-formed UTF-8 character of `size` octets (RFC 3629, 3). */
static uint32_t decoded(const char *text, size_t size)
{
    uint32_t character = size == 1 ? (uint8_t)text[0] : (uint8_t)text[0] & (0xffu >> (size + 1));

    for (size_t at = 1; at < size; at++) {
        character = character << 6 | ((uint8_t)text[at] & 0x3f);
    }
    return character;
}

static bool is_harmless(uint32_t character)
{
    return character >= 0x20 && !(character >= 0x7f && character <= 0x9f) &&
           !(character >= 0x200e && character <= 0x200f) &&
           !(character >= 0x202a && character <= 0x202e) &&
           !(character >= 0x2066 && character <= 0x2069);
}

char *ctl_text_safe(const char *text, size_t size)
{
    assert(size < SIZE_MAX / ESCAPED_SIZE - 1);
    char *safe = malloc(size * ESCAPED_SIZE + 1);
    size_t used = 0;

    if (safe == NULL) {
        return NULL;
    }
    for (size_t at = 0; at < size;) {
        size_t step = utf8_sequence_size((const uint8_t *)text + at, size - at);
        if (step > 0 && is_harmless(decoded(text + at, step))) {
            memcpy(safe + used, text + at, step);
            used += step;
        } else {
            step = step > 0 ? step : 1;
            for (size_t i = 0; i < step; i++) {
                static const char digits[] = "0123456789abcdef";
                uint8_t octet = (uint8_t)text[at + i];
                safe[used++] = '\\';
                safe[used++] = 'x';
                safe[used++] = digits[octet >> 4];
                safe[used++] = digits[octet & 15];
            }
        }
        at += step;
    }
    safe[used] = '\0';
    return safe;
}

void ctl_write_safe(FILE *file, const char *text, size_t size)
{
    char *safe = ctl_text_safe(text, size);
    fputs(safe != NULL ? safe : "(out of memory)", file);
    free(safe);
}

void ctl_duration_text(long long seconds, char ret_text[static 32])
{
    if (seconds < 120) {
        snprintf(ret_text, 32, "%lld s", seconds > 0 ? seconds : 0);
    } else if (seconds < 7200) {
        snprintf(ret_text, 32, "%lld min", seconds / 60);
    } else if (seconds < 172800) {
        snprintf(ret_text, 32, "%lld h", seconds / 3600);
    } else {
        snprintf(ret_text, 32, "%lld d", seconds / 86400);
    }
}

struct row {
    struct row *next;
    char *cells[CTL_COLUMNS_MAX];
};

struct ctl_table {
    const char *const *headings;
    size_t column_count;
    struct row *first;
    struct row **end;
    bool incomplete;
};

struct ctl_table *ctl_table_new(const char *const headings[])
{
    struct ctl_table *table = calloc(1, sizeof(*table));

    if (table == NULL) {
        return NULL;
    }
    table->headings = headings;
    while (headings[table->column_count] != NULL) {
        table->column_count++;
    }
    assert(table->column_count > 0 && table->column_count <= CTL_COLUMNS_MAX);
    table->end = &table->first;
    return table;
}

static void free_row(struct row *row)
{
    for (size_t i = 0; i < CTL_COLUMNS_MAX; i++) {
        free(row->cells[i]);
    }
    free(row);
}

void ctl_table_free(struct ctl_table *table)
{
    if (table == NULL) {
        return;
    }
    while (table->first != NULL) {
        struct row *row = table->first;
        table->first = row->next;
        free_row(row);
    }
    free(table);
}

void ctl_table_add(struct ctl_table *table, const char *const cells[])
{
    struct row *row = calloc(1, sizeof(*row));

    for (size_t i = 0; row != NULL && i < table->column_count; i++) {
        const char *cell = cells[i] != NULL && cells[i][0] != '\0' ? cells[i] : "-";
        row->cells[i] = ctl_text_safe(cell, strlen(cell));
        if (row->cells[i] == NULL) {
            free_row(row);
            row = NULL;
        }
    }
    if (row == NULL) {
        table->incomplete = true;
        return;
    }
    *table->end = row;
    table->end = &row->next;
}

/* Columns taken on a terminal: characters, which is near enough for names and words. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++) {
        width += ((uint8_t)*text & 0xc0) != 0x80;
    }
    return width;
}

static const char *heading_text(const char *heading)
{
    return heading[0] == '>' ? heading + 1 : heading;
}

static void print_cells(const struct ctl_table *table, const char *const cells[],
                        const size_t widths[], FILE *file)
{
    for (size_t i = 0; i < table->column_count; i++) {
        int fill = (int)(widths[i] - width_of(cells[i]));
        bool last = i + 1 == table->column_count;
        if (table->headings[i][0] == '>') {
            fprintf(file, "%*s%s", fill, "", cells[i]);
        } else {
            fprintf(file, "%s%*s", cells[i], last ? 0 : fill, "");
        }
        fprintf(file, "%*s", last ? 0 : COLUMN_GAP, "");
    }
    fputc('\n', file);
}

int ctl_table_print(const struct ctl_table *table, FILE *file)
{
    const char *headings[CTL_COLUMNS_MAX];
    size_t widths[CTL_COLUMNS_MAX];

    for (size_t i = 0; i < table->column_count; i++) {
        headings[i] = heading_text(table->headings[i]);
        widths[i] = width_of(headings[i]);
        for (const struct row *row = table->first; row != NULL; row = row->next) {
            size_t width = width_of(row->cells[i]);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    print_cells(table, headings, widths, file);
    for (const struct row *row = table->first; row != NULL; row = row->next) {
        print_cells(table, (const char *const *)row->cells, widths, file);
    }
    return table->incomplete ? -ENOMEM : 0;
}
