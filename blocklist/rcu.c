#include "blocklist/rcu.h"

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

void bl_rcu_barrier(void)
{
    urcu_qsbr_barrier();
    BL_RCU_ACQUIRE();
}
