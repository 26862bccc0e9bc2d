/* pending.h - questions that wait for recursion: slots of one worker, named by slot and generation.
 *
 * All wait equally long, so the order of arrival is the order of deadlines. One whose client got
 * SERVFAIL at the deadline is *late*: it waits on for the cache's sake, until its answer comes or
 * its user needs the slot. */
#ifndef RESOLVER_PENDING_H
#define RESOLVER_PENDING_H

#include "resolver/client.h"
#include "resolver/question.h"
#include "resolver/recurse.h"

#include <stdint.h>

struct pending {
    struct question question; /* `spelled` points into this slot */
    struct client client;
    uint64_t asked_us;     /* monotonic */
    uint64_t list_version; /* when its name was held against the list */
    uint32_t generation;
    uint32_t slot;
    bool late;
    bool logged;    /* a log-only match of this question has been counted */
    uint32_t older; /* neighbours in order of arrival; PENDING_NONE at the ends */
    uint32_t newer;
    uint8_t spelled[BL_NAME_SIZE_MAX];
};

#define PENDING_NONE UINT32_MAX

struct pendings;

/* NULL when memory is short. */
struct pendings *pendings_new(uint32_t count);
void pendings_free(struct pendings *pendings);

/* A slot with a copy of question and client; NULL when all are taken, be it by late ones. */
struct pending *pendings_take(struct pendings *pendings, const struct question *question,
                              const struct client *client);
void pendings_give(struct pendings *pendings, struct pending *pending);

/* The slot the waiter names, or NULL if that question is over. */
struct pending *pendings_find(struct pendings *pendings, struct recurse_waiter waiter);

/* The one that has waited longest and is not late, or NULL. */
struct pending *pendings_oldest(struct pendings *pendings);
/* The one that has been late longest, or NULL. */
struct pending *pendings_oldest_late(struct pendings *pendings);

/* Makes it late. It must not be. */
void pendings_set_late(struct pendings *pendings, struct pending *pending);

static inline struct recurse_waiter pending_waiter(const struct pending *pending)
{
    return (struct recurse_waiter){.slot = pending->slot, .generation = pending->generation};
}

#endif
