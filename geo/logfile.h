/* logfile.h - one file that whole lines are appended to, rotated by size.
 *
 * The file is found by its path at every write: one that was moved or removed is opened anew, so
 * any log rotation works, ours or another's. A path may also name a pipe or a device; those are not
 * rotated. A line is in the file whole or not at all. One thread uses a logfile; SIGPIPE and
 * SIGXFSZ must be blocked or ignored there. */
#ifndef GEO_LOGFILE_H
#define GEO_LOGFILE_H

#include <stddef.h>
#include <stdint.h>

#define LOGFILE_KEEP_MAX 1000u  /* old files: each rotation renames them all */
#define LOGFILE_ERROR_SIZE 256u /* what a message's buffer must hold */
#define LOGFILE_MODE 0640       /* hit lines name clients: not for everybody */
/* For the reader of a full pipe; then lines are given up. A whole queue of them delays the end of
 * the process by three seconds. */
#define LOGFILE_PIPE_WAIT_MS 100

struct logfile;

/* Opens `path` for appending, making it if need be. `rotate_size` in octets, 0: never rotated;
 * `keep` old files are kept as path.1 (the newest) to path.KEEP. -errno, with a message naming the
 * path in ret_error (LOGFILE_ERROR_SIZE octets). */
int logfile_open(const char *path, uint64_t rotate_size, unsigned keep, struct logfile **ret_file,
                 char *ret_error);
/* NULL is fine. */
void logfile_close(struct logfile *file);

const char *logfile_path(const struct logfile *file);

/* Appends `size` octets of whole lines, each ended by a newline. Always says in *ret_lines how many
 * lines are in the file; the others are lost. -errno of what went wrong: of a write or an open, or
 * of a rotation, when all lines may be there all the same, in a file larger than wished for. The
 * next call tries everything again. */
int logfile_write(struct logfile *file, const char *lines, size_t size, uint64_t *ret_lines);

#endif
