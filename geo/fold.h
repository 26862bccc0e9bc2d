/* fold.h - the open lines of the hit log: hits that are alike in everything that a line says are
 * one line with a count, until the line's second is over.
 *
 * A hit that comes after that opens a new line of the same second. One thread uses a fold. Memory
 * is taken once, for all the lines there can be, and touched as it is needed. */
#ifndef GEO_FOLD_H
#define GEO_FOLD_H

#include "geo/hitline.h"

#define FOLD_LINES_MAX 65536u /* 48 MB when all are open, a busy resolver's second */

struct fold;

/* For at most `lines_max` open lines. NULL when memory is short or no secret is to be had. */
struct fold *fold_new(uint32_t lines_max);
void fold_free(struct fold *fold);

/* Adds the hit to its line; its client has the form that the line shows (see hitline.h). False if
 * it needs a line of its own and all are open: nothing is changed then. */
bool fold_add(struct fold *fold, const struct hit *hit, const struct tag *tag, uint8_t client_bits);

/* Closes lines, the oldest first: those of every second but `now_s` and the one after it, so that a
 * clock that was set back or ahead leaves none open. `write` gets each of them, and answers false
 * to keep that one and all others open until the next call. Node is for the caller to fill in. */
void fold_close(struct fold *fold, int64_t now_s,
                bool (*write)(void *context, const struct hitline *line), void *context);

/* The same with all lines, whatever their second. */
void fold_close_all(struct fold *fold, bool (*write)(void *context, const struct hitline *line),
                    void *context);

uint32_t fold_lines(const struct fold *fold);

#endif
