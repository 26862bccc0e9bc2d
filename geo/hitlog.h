/* hitlog.h - hit lines on their way to files: a bounded queue and the store thread that empties it.
 *
 * Pushing never waits for a disk. A file is opened for appending, rotated by size (path.1 is the
 * newest old one), and opened again when it has been moved away. Errors are counted; the last one is
 * kept for status. */
#ifndef GEO_HITLOG_H
#define GEO_HITLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hitlog_output {
    const char *path;
    uint64_t rotate_size; /* octets; 0: never */
    unsigned keep;        /* old files kept */
};

struct hitlog;

/* Opens every output; on failure -errno and a message naming the path in ret_error (256 octets). */
int hitlog_start(const struct hitlog_output *outputs, size_t count, struct hitlog **ret_log,
                 char *ret_error);
/* Writes what is queued, ends the thread. NULL is fine. */
void hitlog_stop(struct hitlog *log);

/* Takes on other outputs; on failure the old ones stay. */
int hitlog_reload(struct hitlog *log, const struct hitlog_output *outputs, size_t count,
                  char *ret_error);

/* One line with its newline. False if the queue had no room: counted. */
bool hitlog_push(struct hitlog *log, const char *line, size_t size);

struct hitlog_totals {
    uint64_t written;  /* lines */
    uint64_t dropped;  /* lines: the queue was full */
    uint64_t failures; /* writes or opens that failed; their lines are lost and counted in dropped */
    char error[256];   /* the last failure; "" if none */
};
void hitlog_totals(struct hitlog *log, struct hitlog_totals *ret_totals);

#endif
