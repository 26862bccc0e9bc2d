#include "resolver/sync_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int sync_store_folder(const char *folder)
{
    return mkdir(folder, 0700) == 0 || errno == EEXIST ? 0 : -errno;
}

static int path_of(const char *folder, const char *name, const char *suffix,
                   char ret_path[static SYNC_STORE_PATH_SIZE])
{
    int size = snprintf(ret_path, SYNC_STORE_PATH_SIZE, "%s/%s%s", folder, name, suffix);
    return size > 0 && (size_t)size < SYNC_STORE_PATH_SIZE ? 0 : -ENAMETOOLONG;
}

static int write_all(int fd, const struct iovec *parts, int count)
{
    for (int i = 0; i < count; i++) {
        const char *at = parts[i].iov_base;
        size_t left = parts[i].iov_len;
        while (left > 0) {
            ssize_t done = write(fd, at, left);
            if (done < 0 && errno != EINTR) {
                return -errno;
            }
            at += done > 0 ? done : 0;
            left -= done > 0 ? (size_t)done : 0;
        }
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

/* A rename is on disk when its folder is. */
static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int r = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return r;
}

int sync_store_write(const char *folder, const char *name, const struct iovec *parts, int count)
{
    char path[SYNC_STORE_PATH_SIZE];
    char temporary[SYNC_STORE_PATH_SIZE];
    int r = path_of(folder, name, "", path);
    if (r == 0) {
        r = path_of(folder, name, ".new", temporary);
    }
    if (r != 0) {
        return r;
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -errno;
    }
    r = write_all(fd, parts, count);
    if (close(fd) != 0 && r == 0) {
        r = -errno;
    }
    if (r == 0 && rename(temporary, path) != 0) {
        r = -errno;
    }
    if (r != 0) {
        (void)unlink(temporary);
        return r;
    }
    return sync_folder(folder);
}

int sync_store_read(const char *folder, const char *name, size_t size_max, char **ret_text,
                    size_t *ret_size)
{
    char path[SYNC_STORE_PATH_SIZE];
    int r = path_of(folder, name, "", path);
    if (r != 0) {
        return r;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    char *text = NULL;
    size_t size = 0;
    struct stat info;
    if (fstat(fd, &info) != 0) {
        r = -errno;
    } else if (!S_ISREG(info.st_mode)) {
        r = -EINVAL;
    } else if (info.st_size < 0 || (uint64_t)info.st_size > size_max) {
        r = -EFBIG;
    } else {
        size_t room = (size_t)info.st_size;
        text = malloc(room + 1);
        r = text != NULL ? 0 : -ENOMEM;
        while (r == 0 && size < room) {
            ssize_t got = read(fd, text + size, room - size);
            if (got == 0) {
                break;
            }
            if (got < 0 && errno != EINTR) {
                r = -errno;
            }
            size += got > 0 ? (size_t)got : 0;
        }
    }
    close(fd);
    if (r != 0) {
        free(text);
        return r;
    }
    text[size] = '\0';
    *ret_text = text;
    *ret_size = size;
    return 0;
}
