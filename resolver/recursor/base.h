/* base.h - libunbound's events on a libuv loop.
 *
 * libunbound brings no loop; it asks for events through the table of functions in unbound-event.h.
 * Its descriptors are watched in an epoll set of their own, and the loop watches that set with one
 * uv_poll: a descriptor lives for one upstream question, and a uv_poll for each costs more. Timers
 * stand in a heap under one uv_timer.
 *
 * One thread. */
#ifndef RESOLVER_RECURSOR_BASE_H
#define RESOLVER_RECURSOR_BASE_H

#include <uv.h>

struct ub_event_base;

/* For ub_ctx_create_ub_event(). Lives as long as the process, as do the handles on the loop. 0 or
 * -errno. */
int base_new(uv_loop_t *loop, struct ub_event_base **ret_base);

#endif
