#include "resolver/pending.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* In order of arrival. */
struct queue {
    uint32_t oldest;
    uint32_t newest;
};

struct pendings {
    uint32_t count;
    uint32_t free;  /* first of the slots given back, linked by `newer` */
    uint32_t fresh; /* slots from here on were never used, and cost no memory yet */
    struct queue waiting;
    struct queue late;
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
    pendings->waiting = pendings->late =
        (struct queue){.oldest = PENDING_NONE, .newest = PENDING_NONE};
    pendings->free = PENDING_NONE;
    return pendings;
}

static struct queue *queue_of(struct pendings *pendings, const struct pending *pending)
{
    return pending->late ? &pendings->late : &pendings->waiting;
}

static void enqueue(struct pendings *pendings, struct pending *pending)
{
    struct queue *queue = queue_of(pendings, pending);
    pending->newer = PENDING_NONE;
    pending->older = queue->newest;
    if (queue->newest != PENDING_NONE) {
        pendings->slots[queue->newest].newer = pending->slot;
    } else {
        queue->oldest = pending->slot;
    }
    queue->newest = pending->slot;
}

static void unqueue(struct pendings *pendings, struct pending *pending)
{
    struct queue *queue = queue_of(pendings, pending);
    if (pending->older != PENDING_NONE) {
        pendings->slots[pending->older].newer = pending->newer;
    } else {
        queue->oldest = pending->newer;
    }
    if (pending->newer != PENDING_NONE) {
        pendings->slots[pending->newer].older = pending->older;
    } else {
        queue->newest = pending->older;
    }
}

void pendings_free(struct pendings *pendings)
{
    free(pendings);
}

struct pending *pendings_take(struct pendings *pendings, const struct question *question,
                              const struct client *client)
{
    struct pending *pending;
    if (pendings->free != PENDING_NONE) {
        pending = &pendings->slots[pendings->free];
        pendings->free = pending->newer;
    } else if (pendings->fresh < pendings->count) {
        pending = &pendings->slots[pendings->fresh];
        pending->slot = pendings->fresh++;
    } else {
        return NULL;
    }
    pending->question = *question;
    memcpy(pending->spelled, question->spelled, question->name_size);
    pending->question.spelled = pending->spelled;
    pending->client = *client;
    pending->late = false;
    enqueue(pendings, pending);
    return pending;
}

void pendings_give(struct pendings *pendings, struct pending *pending)
{
    unqueue(pendings, pending);
    pending->generation++;
    pending->newer = pendings->free;
    pendings->free = pending->slot;
}

void pendings_set_late(struct pendings *pendings, struct pending *pending)
{
    assert(!pending->late);
    unqueue(pendings, pending);
    pending->late = true;
    enqueue(pendings, pending);
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

static struct pending *oldest_of(struct pendings *pendings, const struct queue *queue)
{
    return queue->oldest == PENDING_NONE ? NULL : &pendings->slots[queue->oldest];
}

struct pending *pendings_oldest(struct pendings *pendings)
{
    return oldest_of(pendings, &pendings->waiting);
}

struct pending *pendings_oldest_late(struct pendings *pendings)
{
    return oldest_of(pendings, &pendings->late);
}
