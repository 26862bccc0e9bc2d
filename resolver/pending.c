#include "resolver/pending.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct pendings {
    uint32_t count;
    uint32_t oldest;
    uint32_t newest;
    uint32_t free; /* first of the free slots, linked by `newer` */
    struct pending slots[];
};

struct pendings *pendings_new(uint32_t count)
{
    assert(count > 0 && count < PENDING_NONE);
    struct pendings *pendings = calloc(1, sizeof(*pendings) + count * sizeof(pendings->slots[0]));
    if (pendings == NULL) {
        return NULL;
    }
    pendings->count = count;
    pendings->oldest = pendings->newest = PENDING_NONE;
    for (uint32_t i = 0; i < count; i++) {
        pendings->slots[i].slot = i;
        pendings->slots[i].newer = i + 1 < count ? i + 1 : PENDING_NONE;
    }
    return pendings;
}

void pendings_free(struct pendings *pendings)
{
    free(pendings);
}

struct pending *pendings_take(struct pendings *pendings, const struct question *question,
                              const struct client *client)
{
    if (pendings->free == PENDING_NONE) {
        return NULL;
    }
    struct pending *pending = &pendings->slots[pendings->free];
    pendings->free = pending->newer;
    pending->question = *question;
    memcpy(pending->spelled, question->spelled, question->name_size);
    pending->question.spelled = pending->spelled;
    pending->client = *client;
    pending->newer = PENDING_NONE;
    pending->older = pendings->newest;
    if (pendings->newest != PENDING_NONE) {
        pendings->slots[pendings->newest].newer = pending->slot;
    } else {
        pendings->oldest = pending->slot;
    }
    pendings->newest = pending->slot;
    return pending;
}

void pendings_give(struct pendings *pendings, struct pending *pending)
{
    if (pending->older != PENDING_NONE) {
        pendings->slots[pending->older].newer = pending->newer;
    } else {
        pendings->oldest = pending->newer;
    }
    if (pending->newer != PENDING_NONE) {
        pendings->slots[pending->newer].older = pending->older;
    } else {
        pendings->newest = pending->older;
    }
    pending->generation++;
    pending->newer = pendings->free;
    pendings->free = pending->slot;
}

/* A slot's generation rises when it is given back, so a waiter that names a free slot finds
 * nothing: nobody was told its present generation. */
struct pending *pendings_find(struct pendings *pendings, struct recurse_waiter waiter)
{
    if (waiter.slot >= pendings->count ||
        pendings->slots[waiter.slot].generation != waiter.generation) {
        return NULL;
    }
    return &pendings->slots[waiter.slot];
}

struct pending *pendings_oldest(struct pendings *pendings)
{
    return pendings->oldest == PENDING_NONE ? NULL : &pendings->slots[pendings->oldest];
}
