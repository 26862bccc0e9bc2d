/* image.h - reading all feeds out of Redis into a stage: commands out, replies in, in windows.
 *
 * The caller has noted where the list stands (`meta`) before the first command, and replays the log
 * from there afterwards; in between Redis may change as it likes. */
#ifndef BLOCKLIST_IMAGE_H
#define BLOCKLIST_IMAGE_H

#include "blocklist/reply.h"
#include "blocklist/stage.h"

#define BL_PREFIX_SIZE_MAX 64u /* with NUL */
#define BL_IMAGE_WINDOW_MAX                                                                        \
    128u /* commands in flight: a few ms of Redis' time, below 1 MiB of replies */

struct bl_image;

/* `prefix` is copied. NULL when memory is short. */
struct bl_image *bl_image_new(const struct bl_secret *secret, const char *prefix);
void bl_image_free(struct bl_image *image); /* and its stage; NULL is fine */

/* Appends the next window's commands; to be called when all earlier ones are answered. Returns how
 * many, 0 when all is read, or -ENOMEM. */
int bl_image_ask(struct bl_image *image, struct bl_octets *octets);

/* Takes the reply to the oldest command not answered yet; it is not an error reply. 0, -EPROTO for
 * a reply of another form, -ENOMEM or -EFBIG. */
int bl_image_take(struct bl_image *image, const struct bl_reply *reply,
                  struct bl_refusals *refusals);

/* Lent. */
struct bl_stage *bl_image_stage(struct bl_image *image);

#endif
