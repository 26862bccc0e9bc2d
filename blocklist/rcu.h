/* rcu.h - readers that never wait: the only place that knows liburcu (QSBR).
 *
 * A reader thread registers once and is offline except between bl_rcu_online() and
 * bl_rcu_offline(); a worker goes online first thing in each of its callbacks and offline last.
 * Pointers lent by the index, the configuration or the cache hold until bl_rcu_offline().
 *
 * A writer builds the new, publishes it by one release store to an _Atomic pointer, then either
 * waits (bl_rcu_wait) and frees the old, or hands the old to bl_rcu_defer(). A thread that is
 * online must not wait.
 *
 * ThreadSanitizer can't see a grace period, so under it leaving the read side releases, and the end
 * of a wait acquires, one address. The same address carries what is deferred to liburcu's thread
 * and back. */
#ifndef BLOCKLIST_RCU_H
#define BLOCKLIST_RCU_H

#include <urcu/urcu-qsbr.h>

#if defined(__SANITIZE_THREAD__)
#define BL_RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BL_RCU_TSAN 1
#endif
#endif

#ifdef BL_RCU_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
extern char bl_rcu_tsan_address;
#define BL_RCU_ACQUIRE() __tsan_acquire(&bl_rcu_tsan_address)
#define BL_RCU_RELEASE() __tsan_release(&bl_rcu_tsan_address)
#else
#define BL_RCU_ACQUIRE() ((void)0)
#define BL_RCU_RELEASE() ((void)0)
#endif

/* A reader thread's first call; it is offline afterwards. */
static inline void bl_rcu_register(void)
{
    urcu_qsbr_register_thread();
    urcu_qsbr_thread_offline();
}

/* A reader thread's last call. It must be offline. */
static inline void bl_rcu_unregister(void)
{
    urcu_qsbr_unregister_thread();
}

static inline void bl_rcu_online(void)
{
    urcu_qsbr_thread_online();
}

static inline void bl_rcu_offline(void)
{
    BL_RCU_RELEASE();
    urcu_qsbr_thread_offline();
}

/* Returns when every reader that was online at the call has been offline. */
static inline void bl_rcu_wait(void)
{
    urcu_qsbr_synchronize_rcu();
    BL_RCU_ACQUIRE();
}

struct bl_rcu_deferred {
    struct rcu_head head;
    void (*call)(struct bl_rcu_deferred *deferred);
};

/* Has `call` run after a grace period, on liburcu's own thread. Never waits; may be called by a
 * reader that is online. `deferred` must live until then. */
void bl_rcu_defer(struct bl_rcu_deferred *deferred, void (*call)(struct bl_rcu_deferred *deferred));

/* Returns when everything deferred so far has been called. For shutdown and tests; the caller must
 * be offline. */
void bl_rcu_barrier(void);

#endif
