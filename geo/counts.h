/* counts.h - how many questions were hits, exactly, by feed and by country, in bounded memory.
 *
 * Not synchronized: the tally's lock is around every call. */
#ifndef GEO_COUNTS_H
#define GEO_COUNTS_H

#include "geo/hit.h"
#include "geo/tally.h"

#define COUNTS_FEEDS_MAX 4096u /* of feed, category and action together; then "other" */

struct counts;

/* NULL when memory is short. */
struct counts *counts_new(void);
void counts_free(struct counts *counts);

/* Adds the hit's count to its feed, category and action (to feed "other" with empty category and
 * action when there are COUNTS_FEEDS_MAX already), and to its country, two capitals. */
void counts_add(struct counts *counts, const struct hit *hit, const char country[static 2]);

uint64_t counts_total(const struct counts *counts);

/* Calls with each row that has counted something: feeds in the order of their first hit, "other"
 * last; countries by their letters. */
void counts_by_feed(const struct counts *counts,
                    void (*call)(void *context, const struct tally_count *count), void *context);
void counts_by_country(const struct counts *counts,
                       void (*call)(void *context, const struct tally_count *count), void *context);

#endif
