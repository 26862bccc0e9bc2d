#include "blocklist/reply.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE (64u * 1024u)

#if HIREDIS_MAJOR >= 1
typedef size_t element_count; /* of createArray() */
#else
typedef int element_count;
#endif

/* The arena: chunks that are emptied together with each reply. The first stays for the next one. */
struct chunk {
    struct chunk *next;
    size_t size;
    size_t used;
    _Alignas(16) uint8_t octets[];
};

struct bl_replies {
    redisReader *reader;
    struct chunk *chunks; /* the newest first */
    size_t objects_size;
    const char *error; /* why an object was refused */
};

static void *take(struct bl_replies *replies, size_t size)
{
    size = (size + 15u) & ~(size_t)15u;
    if (size > BL_REPLY_OBJECTS_SIZE_MAX - replies->objects_size) {
        replies->error = "a reply is larger than any we ask for";
        return NULL;
    }
    struct chunk *chunk = replies->chunks;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t chunk_size = size > CHUNK_SIZE ? size : CHUNK_SIZE;
        chunk = malloc(sizeof(*chunk) + chunk_size);
        if (chunk == NULL) {
            replies->error = "memory is short";
            return NULL;
        }
        chunk->next = replies->chunks;
        chunk->size = chunk_size;
        chunk->used = 0;
        replies->chunks = chunk;
    }
    void *taken = chunk->octets + chunk->used;
    chunk->used += size;
    replies->objects_size += size;
    return taken;
}

static void empty_arena(struct bl_replies *replies, bool all)
{
    while (replies->chunks != NULL &&
           (all || replies->chunks->next != NULL || replies->chunks->size > CHUNK_SIZE)) {
        struct chunk *next = replies->chunks->next;
        free(replies->chunks);
        replies->chunks = next;
    }
    if (replies->chunks != NULL) {
        replies->chunks->used = 0;
    }
    replies->objects_size = 0;
}

/* An object in its parent's place. hiredis keeps what we return as the task's `obj`. */
static struct bl_reply *object_new(const redisReadTask *task, enum bl_reply_type type)
{
    struct bl_replies *replies = task->privdata;
    struct bl_reply *parent = task->parent != NULL ? task->parent->obj : NULL;
    uint32_t depth = parent != NULL ? parent->depth + 1 : 0;
    if (depth > BL_REPLY_DEPTH_MAX) {
        replies->error = "a reply is nested too deeply";
        return NULL;
    }
    struct bl_reply *object = take(replies, sizeof(*object));
    if (object == NULL) {
        return NULL;
    }
    *object = (struct bl_reply){.type = type, .depth = depth};
    if (parent != NULL) {
        assert(parent->type == BL_REPLY_ARRAY && (size_t)task->idx < parent->size);
        parent->elements[task->idx] = object;
    }
    return object;
}

static void *create_string(const redisReadTask *task, char *text, size_t size)
{
    struct bl_replies *replies = task->privdata;
    if (task->type != REDIS_REPLY_STRING && task->type != REDIS_REPLY_STATUS &&
        task->type != REDIS_REPLY_ERROR) {
        replies->error = "a reply is not RESP2";
        return NULL;
    }
    if (size > BL_REPLY_STRING_SIZE_MAX) {
        replies->error = "a string is longer than 1 MiB";
        return NULL;
    }
    struct bl_reply *object =
        object_new(task, task->type == REDIS_REPLY_ERROR ? BL_REPLY_ERROR : BL_REPLY_STRING);
    char *copy = object != NULL ? take(replies, size + 1) : NULL;
    if (copy == NULL) {
        return NULL;
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    object->text = copy;
    object->size = size;
    return object;
}

static void *create_array(const redisReadTask *task, element_count count)
{
    struct bl_replies *replies = task->privdata;
    if (task->type != REDIS_REPLY_ARRAY) {
        replies->error = "a reply is not RESP2";
        return NULL;
    }
    if ((size_t)count > BL_REPLY_ELEMENTS_MAX) {
        replies->error = "an array has more than 65536 elements";
        return NULL;
    }
    struct bl_reply *object = object_new(task, BL_REPLY_ARRAY);
    if (object == NULL) {
        return NULL;
    }
    size_t size = (size_t)count * sizeof(object->elements[0]);
    object->elements = take(replies, size);
    if (object->elements == NULL) {
        return NULL;
    }
    memset(object->elements, 0, size);
    object->size = (size_t)count;
    return object;
}

static void *create_integer(const redisReadTask *task, long long integer)
{
    struct bl_reply *object = object_new(task, BL_REPLY_INTEGER);
    if (object != NULL) {
        object->integer = integer;
    }
    return object;
}

static void *create_nil(const redisReadTask *task)
{
    return object_new(task, BL_REPLY_NIL);
}

#if HIREDIS_MAJOR >= 1
static void *create_double(const redisReadTask *task, double number, char *text, size_t size)
{
    (void)number;
    (void)text;
    (void)size;
    ((struct bl_replies *)task->privdata)->error = "a reply is not RESP2";
    return NULL;
}

static void *create_bool(const redisReadTask *task, int number)
{
    return create_double(task, number, NULL, 0);
}
#endif

static void free_object(void *object)
{
    (void)object; /* the arena goes as a whole */
}

static redisReplyObjectFunctions functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
#if HIREDIS_MAJOR >= 1
    .createDouble = create_double,
    .createBool = create_bool,
#endif
    .freeObject = free_object,
};

struct bl_replies *bl_replies_new(void)
{
    struct bl_replies *replies = calloc(1, sizeof(*replies));
    if (replies == NULL) {
        return NULL;
    }
    replies->reader = redisReaderCreateWithFunctions(&functions);
    if (replies->reader == NULL) {
        free(replies);
        return NULL;
    }
    replies->reader->privdata = replies;
    return replies;
}

void bl_replies_free(struct bl_replies *replies)
{
    if (replies != NULL) {
        redisReaderFree(replies->reader);
        empty_arena(replies, true);
        free(replies);
    }
}

int bl_replies_feed(struct bl_replies *replies, const uint8_t *octets, size_t size)
{
    size_t waiting = replies->reader->len - replies->reader->pos;
    if (size > BL_REPLY_INPUT_SIZE_MAX || waiting > BL_REPLY_INPUT_SIZE_MAX - size) {
        replies->error = "a string is longer than 4 MiB";
        return -EMSGSIZE;
    }
    if (size > 0 && redisReaderFeed(replies->reader, (const char *)octets, size) != REDIS_OK) {
        return -ENOMEM;
    }
    return 0;
}

int bl_replies_next(struct bl_replies *replies, const struct bl_reply **ret_reply)
{
    /* Between two whole replies the reader holds no object of ours; within one it does. */
    if (replies->reader->ridx < 0) {
        empty_arena(replies, false);
    }
    void *reply = NULL;
    if (redisReaderGetReply(replies->reader, &reply) != REDIS_OK) {
        if (replies->error == NULL) {
            replies->error = replies->reader->errstr;
        }
        return -EPROTO;
    }
    if (reply == NULL) {
        return 0;
    }
    *ret_reply = reply;
    return 1;
}

const char *bl_replies_error(const struct bl_replies *replies)
{
    return replies->error != NULL ? replies->error : "";
}

int bl_command_append(struct bl_octets *octets, int count, const char *const words[],
                      const size_t sizes[])
{
    char *command = NULL;
    long long size = redisFormatCommandArgv(&command, count, (const char **)words, sizes);
    if (size < 0) {
        return -ENOMEM;
    }
    size_t needed = octets->size + (size_t)size;
    if (needed > octets->capacity) {
        char *grown = realloc(octets->octets, 2 * needed);
        if (grown == NULL) {
            redisFreeCommand(command);
            return -ENOMEM;
        }
        octets->octets = grown;
        octets->capacity = 2 * needed;
    }
    memcpy(octets->octets + octets->size, command, (size_t)size);
    octets->size = needed;
    redisFreeCommand(command);
    return 0;
}
