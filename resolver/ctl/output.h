/* output.h - text for people: foreign octets made harmless, and aligned columns. */
#ifndef RESOLVER_CTL_OUTPUT_H
#define RESOLVER_CTL_OUTPUT_H

#include <stddef.h>
#include <stdio.h>

#define CTL_COLUMNS_MAX 12u

/* Writes text that came from elsewhere. Control characters (C0, DEL, C1), octets that are not UTF-8
 * and characters that reorder text (U+200E..U+200F, U+202A..U+202E, U+2066..U+2069) appear as \xHH,
 * so that they never reach the terminal; all else as it is. */
void ctl_write_safe(FILE *file, const char *text, size_t size);

/* The same as a NUL-ended string on the heap, to be freed; NULL when memory is short. */
char *ctl_text_safe(const char *text, size_t size);

/* A duration in its largest fitting unit: "90 s", "5 min", "3 h", "12 d". */
void ctl_duration_text(long long seconds, char ret_text[static 32]);

/* Rows of cells, aligned when printed. Numbers go to the right: their column's heading begins with
 * '>' (which is not printed). */
struct ctl_table;

/* `headings` ends with NULL, has at most CTL_COLUMNS_MAX columns and is lent for the table's life.
 * NULL when memory is short. */
struct ctl_table *ctl_table_new(const char *const headings[]);
void ctl_table_free(struct ctl_table *table); /* NULL is fine */

/* Adds a row; the cells are copied and made safe. NULL cells print as "-". A row that does not fit
 * in memory is lost, and ctl_table_print() says so. */
void ctl_table_add(struct ctl_table *table, const char *const cells[]);

/* 0, or -ENOMEM when a row is missing (the others are printed). */
int ctl_table_print(const struct ctl_table *table, FILE *file);

#endif
