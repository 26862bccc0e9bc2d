/* pending.h - questions that wait for recursion: slots of one worker, named by slot and generation.
 *
 * All wait equally long, so the order of arrival is the order of deadlines. */
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
    uint32_t older; /* neighbours in order of arrival; PENDING_NONE at the ends */
    uint32_t newer;
    uint8_t spelled[BL_NAME_SIZE_MAX];
};

#define PENDING_NONE UINT32_MAX

struct pendings;

/* NULL when memory is short. */
struct pendings *pendings_new(uint32_t count);
void pendings_free(struct pendings *pendings);

/* A slot with a copy of question and client, or NULL when all are taken. */
struct pending *pendings_take(struct pendings *pendings, const struct question *question,
                              const struct client *client);
void pendings_give(struct pendings *pendings, struct pending *pending);

/* The slot the waiter names, or NULL if that question is over. */
struct pending *pendings_find(struct pendings *pendings, struct recurse_waiter waiter);

/* The one that has waited longest, or NULL. */
struct pending *pendings_oldest(struct pendings *pendings);

static inline struct recurse_waiter pending_waiter(const struct pending *pending)
{
    return (struct recurse_waiter){.slot = pending->slot, .generation = pending->generation};
}

#endif
