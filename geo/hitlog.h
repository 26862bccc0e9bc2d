/* hitlog.h - hit lines on their way to files: a bounded queue and the store thread that empties it.
 *
 * Pushing never waits for a disk. A file is opened for appending, rotated by size (path.1 is the
 * newest old one), and opened again when it has been moved away. Errors are counted; the last one
 * is kept for status. */
#ifndef GEO_HITLOG_H
#define GEO_HITLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HITLOG_LINE_SIZE_MAX 16384u /* newline included */
#define HITLOG_ERROR_SIZE 256u      /* what a message's buffer must hold */

struct hitlog_output {
    const char *path;
    uint64_t rotate_size; /* octets; 0: never */
    unsigned keep;        /* old files kept */
};

struct hitlog;

/* Opens every output (at most 64, of different paths); on failure -errno and a message naming the
 * path in ret_error (HITLOG_ERROR_SIZE octets). */
int hitlog_start(const struct hitlog_output *outputs, size_t count, struct hitlog **ret_log,
                 char *ret_error);
/* Writes what is queued, ends the thread. NULL is fine. */
void hitlog_stop(struct hitlog *log);

/* Takes on other outputs; on failure the old ones stay. Lines pushed before may go to either. */
int hitlog_reload(struct hitlog *log, const struct hitlog_output *outputs, size_t count,
                  char *ret_error);

/* Any thread. One line with its newline, at most HITLOG_LINE_SIZE_MAX octets. False if the queue
 * had no room: counted. */
bool hitlog_push(struct hitlog *log, const char *line, size_t size);

/* Octets that surely fit into the queue, if nobody else pushes: with 0 a line may still
 * find room. */
size_t hitlog_room(struct hitlog *log);

/* Any thread. A line for several outputs counts once for each that it reached or was lost for. */
struct hitlog_totals {
    uint64_t written;  /* lines in their files */
    uint64_t dropped;  /* lines lost: the queue was full, or a write or an open failed */
    uint64_t failures; /* writes, opens and rotations that failed; each is tried again */
    char error[HITLOG_ERROR_SIZE]; /* the last failure, with its path; "" if there was none */
};
void hitlog_totals(struct hitlog *log, struct hitlog_totals *ret_totals);

#endif
