/* recurse_table.h - a worker's questions in flight, and who waits for each.
 *
 * Two slabs, made at the start: questions, and waiters. Each question in use stands in one list of
 * its owner's (queued, asked, ...) and, until it is answered, in a hash table by name, type and
 * class; each waiter stands in its question's list and in a hash table by its slot.
 *
 * One thread. Nothing here allocates after the start. */
#ifndef RESOLVER_RECURSE_TABLE_H
#define RESOLVER_RECURSE_TABLE_H

#include "blocklist/name.h"
#include "resolver/recurse.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECURSE_NONE UINT32_MAX /* no index */

enum recurse_question_state {
    RECURSE_QUESTION_FREE,
    RECURSE_QUESTION_QUEUED,    /* to be sent to its recursor */
    RECURSE_QUESTION_ASKED,     /* its recursor has it */
    RECURSE_QUESTION_DOOMED,    /* to be answered as failed, in the next pass */
    RECURSE_QUESTION_ANSWERING, /* its waiters are being called */
};

struct recurse_question {
    uint64_t hash; /* of name, type and class, keyed */
    uint64_t since_ms;
    uint32_t generation; /* raised at each use of the slot */
    uint32_t bucket_next;
    uint32_t next; /* in its list, or among the free */
    uint32_t previous;
    uint32_t first_waiter;
    uint32_t last_waiter;
    uint16_t type;
    uint16_t class;
    uint16_t recursor;
    uint8_t state; /* enum recurse_question_state */
    uint8_t deaths;
    uint8_t name_size;
    uint8_t name[BL_NAME_SIZE_MAX];
};

struct recurse_list {
    uint32_t first;
    uint32_t last;
    uint32_t count;
};
#define RECURSE_LIST_EMPTY ((struct recurse_list){RECURSE_NONE, RECURSE_NONE, 0})

struct recurse_table {
    const struct bl_secret *secret;
    struct recurse_question *questions;
    uint32_t questions_max;
    uint32_t first_free;
    uint32_t *buckets; /* of questions */
    uint32_t bucket_mask;
    struct recurse_waiting *waiters;
    uint32_t waiters_max;
    uint32_t first_free_waiter;
    uint32_t *waiter_buckets;
    uint32_t waiter_bucket_mask;
    struct recurse_failure *failures; /* by hash; a newer one takes an older one's place */
    uint32_t failure_mask;
};

/* `secret` must outlive the table. 0 or -ENOMEM. */
int recurse_table_init(struct recurse_table *table, uint32_t questions_max,
                       const struct bl_secret *secret);
void recurse_table_done(struct recurse_table *table); /* zeroed or half-built is fine */

uint64_t recurse_table_hash(const struct recurse_table *table, const uint8_t *name,
                            size_t name_size, uint16_t type, uint16_t class);

/* The question in flight, or RECURSE_NONE. */
uint32_t recurse_table_find(const struct recurse_table *table, uint64_t hash, const uint8_t *name,
                            size_t name_size, uint16_t type, uint16_t class);

/* A new question, in the hash table and in no list; RECURSE_NONE when all are in use. */
uint32_t recurse_table_add(struct recurse_table *table, uint64_t hash, const uint8_t *name,
                           size_t name_size, uint16_t type, uint16_t class);

/* Takes it out of the hash table, so that an equal question is a new one. */
void recurse_table_hide(struct recurse_table *table, uint32_t index);

/* Gives the slot back; it must be hidden, in no list, and without waiters. */
void recurse_table_free(struct recurse_table *table, uint32_t index);

void recurse_list_append(struct recurse_table *table, struct recurse_list *list, uint32_t index);
void recurse_list_prepend(struct recurse_table *table, struct recurse_list *list, uint32_t index);
void recurse_list_remove(struct recurse_table *table, struct recurse_list *list, uint32_t index);

/* 0 or -ENOSPC. */
int recurse_table_wait(struct recurse_table *table, uint32_t index, struct recurse_waiter waiter);
/* Takes the one that has waited longest. */
bool recurse_table_take_waiter(struct recurse_table *table, uint32_t index,
                               struct recurse_waiter *ret_waiter);
/* No-op when it does not wait. */
void recurse_table_cancel(struct recurse_table *table, struct recurse_waiter waiter);

/* What was in flight at two deaths. */
void recurse_table_remember(struct recurse_table *table, uint64_t hash, uint64_t until_ms);
bool recurse_table_remembers(const struct recurse_table *table, uint64_t hash, uint64_t now_ms);

#endif
