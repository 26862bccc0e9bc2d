/* sandbox.h - what a recursor takes from itself before it reads the first question.
 *
 * In two steps, since libunbound opens its files and makes its worker in between:
 *
 *   sandbox_enter()  before uv_loop_init(): limits, no new privileges, not dumpable, no io_uring.
 *                    libuv 1.45 and newer would hand system calls to the kernel through an
 * io_uring, past any filter; it takes ENOSYS for "there is none". sandbox_lock()   after
 * libunbound's first question: Landlock, then the list of allowed system calls. Any other call ends
 * the process.
 *
 * Neither can be undone. */
#ifndef RESOLVER_RECURSOR_SANDBOX_H
#define RESOLVER_RECURSOR_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

/* `memory_max`: octets of address space. 0 or -errno; *ret_what then names the step. */
int sandbox_enter(uint64_t memory_max, const char **ret_what);

/* `folder` is the one place that stays readable and writable, or NULL. *ret_landlock is the
 * kernel's version of Landlock, 0 without it: the rest holds all the same. 0 or -errno; *ret_what
 * then names the step. */
int sandbox_lock(const char *folder, int *ret_landlock, const char **ret_what);

/* Whether this build can be locked in: sanitizers need calls and memory of their own. */
bool sandbox_possible(void);

#endif
