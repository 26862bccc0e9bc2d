#include "resolver/recurse_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct recurse_waiting {
    struct recurse_waiter waiter;
    uint32_t question;
    uint32_t next; /* among the question's, or among the free */
    uint32_t previous;
    uint32_t bucket_next;
};

struct recurse_failure {
    uint64_t hash;
    uint64_t until_ms; /* 0: none */
};

static uint32_t power_of_two_from(uint32_t count)
{
    uint32_t power = 16;
    while (power < count && power < 1u << 30) {
        power *= 2;
    }
    return power;
}

static uint32_t *buckets_new(uint32_t count)
{
    uint32_t *buckets = malloc(count * sizeof(*buckets));
    for (uint32_t i = 0; buckets != NULL && i < count; i++) {
        buckets[i] = RECURSE_NONE;
    }
    return buckets;
}

int recurse_table_init(struct recurse_table *table, uint32_t questions_max,
                       const struct bl_secret *secret)
{
    assert(questions_max > 0 && questions_max <= 1u << 28);
    uint32_t bucket_count = power_of_two_from(questions_max);
    *table = (struct recurse_table){
        .secret = secret,
        .questions_max = questions_max,
        .bucket_mask = bucket_count - 1,
        .waiters_max = 2 * questions_max,
        .waiter_bucket_mask = 2 * bucket_count - 1,
        .failure_mask = bucket_count - 1,
    };
    table->questions = calloc(questions_max, sizeof(*table->questions));
    table->waiters = calloc(table->waiters_max, sizeof(*table->waiters));
    table->failures = calloc(bucket_count, sizeof(*table->failures));
    table->buckets = buckets_new(bucket_count);
    table->waiter_buckets = buckets_new(2 * bucket_count);
    if (table->questions == NULL || table->waiters == NULL || table->failures == NULL ||
        table->buckets == NULL || table->waiter_buckets == NULL) {
        recurse_table_done(table);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < questions_max; i++) {
        table->questions[i].next = i + 1 < questions_max ? i + 1 : RECURSE_NONE;
    }
    for (uint32_t i = 0; i < table->waiters_max; i++) {
        table->waiters[i].next = i + 1 < table->waiters_max ? i + 1 : RECURSE_NONE;
    }
    return 0;
}

void recurse_table_done(struct recurse_table *table)
{
    free(table->questions);
    free(table->waiters);
    free(table->failures);
    free(table->buckets);
    free(table->waiter_buckets);
    *table = (struct recurse_table){0};
}

/* ---- questions ---- */

uint64_t recurse_table_hash(const struct recurse_table *table, const uint8_t *name,
                            size_t name_size, uint16_t type, uint16_t class)
{
    /* The name's hash is keyed; an odd factor spreads what nobody can choose 2^32 of. */
    uint64_t hash = bl_name_hash(table->secret, name, name_size);
    hash ^= ((uint64_t)type << 16 | class) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

uint32_t recurse_table_find(const struct recurse_table *table, uint64_t hash, const uint8_t *name,
                            size_t name_size, uint16_t type, uint16_t class)
{
    uint32_t index = table->buckets[hash & table->bucket_mask];
    while (index != RECURSE_NONE) {
        const struct recurse_question *question = &table->questions[index];
        if (question->hash == hash && question->type == type && question->class == class &&
            question->name_size == name_size && memcmp(question->name, name, name_size) == 0) {
            break;
        }
        index = question->bucket_next;
    }
    return index;
}

uint32_t recurse_table_add(struct recurse_table *table, uint64_t hash, const uint8_t *name,
                           size_t name_size, uint16_t type, uint16_t class)
{
    assert(name_size >= 1 && name_size <= BL_NAME_SIZE_MAX);
    uint32_t index = table->first_free;
    if (index == RECURSE_NONE) {
        return RECURSE_NONE;
    }
    struct recurse_question *question = &table->questions[index];
    assert(question->state == RECURSE_QUESTION_FREE);
    table->first_free = question->next;
    uint32_t *bucket = &table->buckets[hash & table->bucket_mask];
    question->hash = hash;
    question->generation++;
    question->bucket_next = *bucket;
    question->next = question->previous = RECURSE_NONE;
    question->first_waiter = question->last_waiter = RECURSE_NONE;
    question->type = type;
    question->class = class;
    question->deaths = 0;
    question->state = RECURSE_QUESTION_QUEUED;
    question->name_size = (uint8_t)name_size;
    memcpy(question->name, name, name_size);
    *bucket = index;
    return index;
}

void recurse_table_hide(struct recurse_table *table, uint32_t index)
{
    struct recurse_question *question = &table->questions[index];
    uint32_t *link = &table->buckets[question->hash & table->bucket_mask];
    while (*link != index) {
        assert(*link != RECURSE_NONE);
        link = &table->questions[*link].bucket_next;
    }
    *link = question->bucket_next;
    question->bucket_next = RECURSE_NONE;
}

void recurse_table_free(struct recurse_table *table, uint32_t index)
{
    struct recurse_question *question = &table->questions[index];
    assert(question->state != RECURSE_QUESTION_FREE && question->first_waiter == RECURSE_NONE);
    question->state = RECURSE_QUESTION_FREE;
    question->next = table->first_free;
    table->first_free = index;
}

/* ---- lists ---- */

void recurse_list_append(struct recurse_table *table, struct recurse_list *list, uint32_t index)
{
    struct recurse_question *question = &table->questions[index];
    question->previous = list->last;
    question->next = RECURSE_NONE;
    if (list->last != RECURSE_NONE) {
        table->questions[list->last].next = index;
    } else {
        list->first = index;
    }
    list->last = index;
    list->count++;
}

void recurse_list_prepend(struct recurse_table *table, struct recurse_list *list, uint32_t index)
{
    struct recurse_question *question = &table->questions[index];
    question->previous = RECURSE_NONE;
    question->next = list->first;
    if (list->first != RECURSE_NONE) {
        table->questions[list->first].previous = index;
    } else {
        list->last = index;
    }
    list->first = index;
    list->count++;
}

void recurse_list_remove(struct recurse_table *table, struct recurse_list *list, uint32_t index)
{
    struct recurse_question *question = &table->questions[index];
    if (question->previous != RECURSE_NONE) {
        table->questions[question->previous].next = question->next;
    } else {
        assert(list->first == index);
        list->first = question->next;
    }
    if (question->next != RECURSE_NONE) {
        table->questions[question->next].previous = question->previous;
    } else {
        assert(list->last == index);
        list->last = question->previous;
    }
    question->next = question->previous = RECURSE_NONE;
    assert(list->count > 0);
    list->count--;
}

/* ---- waiters ---- */

static uint32_t *waiter_bucket(struct recurse_table *table, uint32_t slot)
{
    return &table->waiter_buckets[slot & table->waiter_bucket_mask]; /* slots are dense */
}

int recurse_table_wait(struct recurse_table *table, uint32_t index, struct recurse_waiter waiter)
{
    uint32_t place = table->first_free_waiter;
    if (place == RECURSE_NONE) {
        return -ENOSPC;
    }
    struct recurse_question *question = &table->questions[index];
    struct recurse_waiting *waiting = &table->waiters[place];
    table->first_free_waiter = waiting->next;
    uint32_t *bucket = waiter_bucket(table, waiter.slot);
    *waiting = (struct recurse_waiting){
        .waiter = waiter,
        .question = index,
        .next = RECURSE_NONE,
        .previous = question->last_waiter,
        .bucket_next = *bucket,
    };
    *bucket = place;
    if (question->last_waiter != RECURSE_NONE) {
        table->waiters[question->last_waiter].next = place;
    } else {
        question->first_waiter = place;
    }
    question->last_waiter = place;
    return 0;
}

static void waiter_remove(struct recurse_table *table, uint32_t place)
{
    struct recurse_waiting *waiting = &table->waiters[place];
    struct recurse_question *question = &table->questions[waiting->question];
    uint32_t *link = waiter_bucket(table, waiting->waiter.slot);
    while (*link != place) {
        assert(*link != RECURSE_NONE);
        link = &table->waiters[*link].bucket_next;
    }
    *link = waiting->bucket_next;
    if (waiting->previous != RECURSE_NONE) {
        table->waiters[waiting->previous].next = waiting->next;
    } else {
        question->first_waiter = waiting->next;
    }
    if (waiting->next != RECURSE_NONE) {
        table->waiters[waiting->next].previous = waiting->previous;
    } else {
        question->last_waiter = waiting->previous;
    }
    waiting->next = table->first_free_waiter;
    table->first_free_waiter = place;
}

bool recurse_table_take_waiter(struct recurse_table *table, uint32_t index,
                               struct recurse_waiter *ret_waiter)
{
    uint32_t place = table->questions[index].first_waiter;
    if (place == RECURSE_NONE) {
        return false;
    }
    *ret_waiter = table->waiters[place].waiter;
    waiter_remove(table, place);
    return true;
}

void recurse_table_cancel(struct recurse_table *table, struct recurse_waiter waiter)
{
    uint32_t place = *waiter_bucket(table, waiter.slot);
    while (place != RECURSE_NONE) {
        const struct recurse_waiting *waiting = &table->waiters[place];
        if (waiting->waiter.slot == waiter.slot &&
            waiting->waiter.generation == waiter.generation) {
            waiter_remove(table, place);
            return;
        }
        place = waiting->bucket_next;
    }
}

/* ---- what was in flight at two deaths ---- */

void recurse_table_remember(struct recurse_table *table, uint64_t hash, uint64_t until_ms)
{
    table->failures[hash & table->failure_mask] =
        (struct recurse_failure){.hash = hash, .until_ms = until_ms};
}

bool recurse_table_remembers(const struct recurse_table *table, uint64_t hash, uint64_t now_ms)
{
    const struct recurse_failure *failure = &table->failures[hash & table->failure_mask];
    return failure->hash == hash && now_ms < failure->until_ms;
}
