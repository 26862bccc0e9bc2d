/* serve.h - questions from the workers' sockets into libunbound, its answers back.
 *
 * One thread. It does not return to its caller's caller: when the control socket closes or a stop
 * arrives, the process ends with _exit(), since tearing libunbound down takes longer than a crash
 * would. */
#ifndef RESOLVER_RECURSOR_SERVE_H
#define RESOLVER_RECURSOR_SERVE_H

#include "resolver/recursor/start.h"

#include <uv.h>

struct ub_ctx;
struct serve;

/* Makes everything that allocates; reads no socket yet. 0 or -errno. */
int serve_new(uv_loop_t *loop, struct ub_ctx *context, const struct start *start,
              struct serve **ret_serve);

/* Asks libunbound for a name it answers by itself: it makes its worker and reads the root hints and
 * trust anchors now. 0, or libunbound's error for ub_strerror(). */
int serve_warm_up(struct serve *serve);

/* From here on the sockets are read. 0 or -errno. */
int serve_begin(struct serve *serve);

#endif
