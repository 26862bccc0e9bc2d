#include "geo/logfile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX_SIZE_MAX 12u /* ".1000" and the NUL, with room */

struct logfile {
    char *path;
    char *from; /* names of old files while rotating: path and suffix */
    char *to;
    uint64_t rotate_size;
    unsigned keep;
    int fd;        /* -1: could not be opened, tried again at the next write */
    bool regular;  /* a real file: has a size, can be rotated */
    bool torn;     /* the end of the file is part of a line */
    uint64_t size; /* of a regular file */
    dev_t device;  /* which file `fd` is, to see that the path leads elsewhere */
    ino_t inode;
};

static void close_file(struct logfile *file)
{
    if (file->fd >= 0) {
        close(file->fd);
        file->fd = -1;
    }
}

/* O_NONBLOCK: a pipe without a reader is an error and not a wait; files do not care. */
static int open_file(struct logfile *file)
{
    struct stat status;
    int fd = open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                  LOGFILE_MODE);
    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &status) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    file->fd = fd;
    file->regular = S_ISREG(status.st_mode);
    file->torn = false;
    file->size = file->regular ? (uint64_t)status.st_size : 0;
    file->device = status.st_dev;
    file->inode = status.st_ino;
    return 0;
}

static void free_file(struct logfile *file)
{
    free(file->path);
    free(file->from);
    free(file->to);
    free(file);
}

int logfile_open(const char *path, uint64_t rotate_size, unsigned keep, struct logfile **ret_file,
                 char *ret_error)
{
    assert(path != NULL && ret_file != NULL && ret_error != NULL);

    if (path[0] == '\0' || keep > LOGFILE_KEEP_MAX) {
        (void)snprintf(ret_error, LOGFILE_ERROR_SIZE, "%s",
                       path[0] == '\0' ? "a log file needs a path"
                                       : "at most 1000 old files are kept");
        return -EINVAL;
    }
    struct logfile *file = calloc(1, sizeof *file);
    if (file == NULL) {
        (void)snprintf(ret_error, LOGFILE_ERROR_SIZE, "%s: out of memory", path);
        return -ENOMEM;
    }
    file->path = strdup(path);
    file->from = malloc(strlen(path) + SUFFIX_SIZE_MAX);
    file->to = malloc(strlen(path) + SUFFIX_SIZE_MAX);
    file->rotate_size = rotate_size;
    file->keep = keep;
    int r =
        file->path != NULL && file->from != NULL && file->to != NULL ? open_file(file) : -ENOMEM;
    if (r < 0) {
        (void)snprintf(ret_error, LOGFILE_ERROR_SIZE, "%s: can't be opened for writing: %s%s", path,
                       strerror(-r), r == -ENXIO ? " (a pipe that nobody reads)" : "");
        free_file(file);
        return r;
    }
    *ret_file = file;
    return 0;
}

void logfile_close(struct logfile *file)
{
    if (file == NULL) {
        return;
    }
    close_file(file);
    free_file(file);
}

const char *logfile_path(const struct logfile *file)
{
    return file->path;
}

/* Makes `fd` the file that the path names. */
static int follow_path(struct logfile *file)
{
    struct stat status;
    if (file->fd >= 0 && stat(file->path, &status) == 0 && status.st_dev == file->device &&
        status.st_ino == file->inode) {
        if (file->regular) {
            file->size = (uint64_t)status.st_size;
        }
        return 0;
    }
    close_file(file);
    return open_file(file);
}

static void name_old(const struct logfile *file, char *name, unsigned number)
{
    size_t room = strlen(file->path) + SUFFIX_SIZE_MAX;
    (void)snprintf(name, room, number == 0 ? "%s" : "%s.%u", file->path, number);
}

/* Moves path.1 .. path.KEEP up by one, the last over the edge, and the file itself to path.1. When
 * the file can't be moved it stays in use. */
static int rotate(struct logfile *file)
{
    if (file->keep == 0) {
        if (unlink(file->path) < 0 && errno != ENOENT) {
            return -errno;
        }
    }
    for (unsigned number = file->keep; number > 0; number--) {
        name_old(file, file->from, number - 1);
        name_old(file, file->to, number);
        if (rename(file->from, file->to) < 0 && errno != ENOENT) {
            return -errno;
        }
    }
    close_file(file);
    return open_file(file);
}

/* Writes what it can. Returns 0 or the error that stopped it; *ret_done says how far it came. */
static int write_octets(int fd, const char *octets, size_t size, size_t *ret_done)
{
    size_t done = 0;
    int r = 0;

    while (r == 0 && done < size) {
        ssize_t put = write(fd, octets + done, size - done);
        if (put >= 0) {
            done += (size_t)put;
        } else if (errno == EAGAIN) {
            struct pollfd room = {.fd = fd, .events = POLLOUT};
            r = poll(&room, 1, LOGFILE_PIPE_WAIT_MS) > 0 ? 0 : -EAGAIN;
        } else if (errno != EINTR) {
            r = -errno;
        }
    }
    *ret_done = done;
    return r;
}

static uint64_t count_lines(const char *octets, size_t size, size_t *ret_whole_size)
{
    uint64_t lines = 0;
    const char *at = octets;
    const char *end = octets + size;
    const char *newline = NULL;
    while (at < end && (newline = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        lines++;
        at = newline + 1;
    }
    *ret_whole_size = (size_t)(at - octets);
    return lines;
}

static int append(struct logfile *file, const char *lines, size_t size, uint64_t *lines_written)
{
    size_t done = 0;
    size_t whole_size = 0;

    if (file->torn) {
        int r = write_octets(file->fd, "\n", 1, &done);
        if (r < 0) {
            return r;
        }
        file->size++;
        file->torn = false;
    }
    int r = write_octets(file->fd, lines, size, &done);
    *lines_written += count_lines(lines, done, &whole_size);
    if (done > whole_size) {
        /* The start of a line got in: out with it, or what comes next would be glued to it. */
        file->torn = !file->regular || ftruncate(file->fd, (off_t)(file->size + whole_size)) < 0;
        done = file->torn ? done : whole_size;
    }
    file->size += done;
    return r;
}

/* How many octets of whole lines go into the file before it must be rotated; 0: rotate first. A
 * line larger than a whole file gets a file of its own. */
static size_t size_that_fits(const struct logfile *file, const char *lines, size_t size)
{
    if (file->rotate_size == 0 || !file->regular || file->size + size <= file->rotate_size) {
        return size;
    }
    uint64_t room = file->size < file->rotate_size ? file->rotate_size - file->size : 0;
    const char *newline = room > 0 ? memrchr(lines, '\n', (size_t)room) : NULL;
    if (newline != NULL) {
        return (size_t)(newline + 1 - lines);
    }
    if (file->size > 0) {
        return 0;
    }
    newline = memchr(lines, '\n', size);
    return newline != NULL ? (size_t)(newline + 1 - lines) : size;
}

int logfile_write(struct logfile *file, const char *lines, size_t size, uint64_t *ret_lines)
{
    uint64_t written = 0;
    int failure = 0;

    int r = follow_path(file);
    while (r == 0 && size > 0) {
        size_t fits = size_that_fits(file, lines, size);
        if (fits == 0) {
            failure = rotate(file);
            r = file->fd < 0 ? failure : 0;
            /* Not rotated, but still open: a file too large is better than lost lines. */
            fits = failure < 0 && r == 0 ? size : 0;
        }
        if (fits > 0) {
            r = append(file, lines, fits, &written);
            lines += fits;
            size -= fits;
        }
    }
    *ret_lines = written;
    return r < 0 ? r : failure;
}
