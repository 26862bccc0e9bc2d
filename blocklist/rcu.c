#include "blocklist/rcu.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stddef.h>

#ifdef BL_RCU_TSAN
char bl_rcu_tsan_address;
#endif

static void run_deferred(struct rcu_head *head)
{
    struct bl_rcu_deferred *deferred =
        (struct bl_rcu_deferred *)((char *)head - offsetof(struct bl_rcu_deferred, head));
    BL_RCU_ACQUIRE();
    deferred->call(deferred);
    BL_RCU_RELEASE();
}

void bl_rcu_defer(struct bl_rcu_deferred *deferred, void (*call)(struct bl_rcu_deferred *deferred))
{
    deferred->call = call;
    BL_RCU_RELEASE();
    urcu_qsbr_call_rcu(&deferred->head, run_deferred);
}

struct barrier {
    struct bl_rcu_deferred deferred;
    sem_t called;
};

static void end_barrier(struct bl_rcu_deferred *deferred)
{
    struct barrier *barrier =
        (struct barrier *)((char *)deferred - offsetof(struct barrier, deferred));
    sem_post(&barrier->called);
}

/* liburcu's one thread calls in the order of deferring, so the last one called ends the wait. Its
 * own urcu_qsbr_barrier() would do but for ThreadSanitizer, which can't see how that hands over
 * memory. */
void bl_rcu_barrier(void)
{
    assert(!urcu_qsbr_read_ongoing());
    struct barrier barrier;
    sem_init(&barrier.called, 0, 0);
    bl_rcu_defer(&barrier.deferred, end_barrier);
    while (sem_wait(&barrier.called) < 0 && errno == EINTR) {
    }
    sem_destroy(&barrier.called);
    BL_RCU_ACQUIRE();
}
