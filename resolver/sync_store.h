/* sync_store.h - files of the state folder, written so that a crash leaves the old or the
 * new one. */
#ifndef RESOLVER_SYNC_STORE_H
#define RESOLVER_SYNC_STORE_H

#include <stddef.h>
#include <sys/uio.h>

#define SYNC_STORE_PATH_SIZE 1280u

/* Makes the folder with mode 0700 if it is not there; its parent must be. 0 or -errno. */
int sync_store_folder(const char *folder);

/* Replaces folder/name by the parts, one after the other, mode 0600: they are on disk when this
 * returns. 0 or -errno; then the old file is as it was. */
int sync_store_write(const char *folder, const char *name, const struct iovec *parts, int count);

/* Reads folder/name whole, NUL-ended, at most size_max octets; to be freed by the caller. 0, -EFBIG
 * or -errno. */
int sync_store_read(const char *folder, const char *name, size_t size_max, char **ret_text,
                    size_t *ret_size);

#endif
