/* A message from a hostile recursor, while one question is in flight: slot 0, generation 1,
 * www.example A IN.
 *
 * recurse.c is included, since what it does with a record is behind its socket. */
#include "resolver/channel.h"
#include "resolver/recurse.h"

#include "resolver/recurse.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t name[] = "\3www\7example";
static struct recurse *recurse;
static int far_end;
static unsigned answers;

static void on_answered(void *context, struct recurse_waiter waiter,
                        const struct recurse_answer *answer)
{
    (void)context;
    answers++;
    if (waiter.slot != 7 || waiter.generation != 8 ||
        strlen(answer->why_bogus) > CHANNEL_TEXT_SIZE_MAX) {
        abort();
    }
    if (answer->state == RECURSE_FAILED) {
        if (answer->packet_size != 0) {
            abort();
        }
        return;
    }
    if (answer->packet_size < 12 + sizeof(name) + 4 || !bl_name_equal(answer->packet + 12, name)) {
        abort(); /* it is about another name */
    }
}

static void on_batch(void *context, bool begin)
{
    (void)context;
    (void)begin;
}

/* A worker's half with an open channel, made once. */
static void start(void)
{
    static uv_loop_t loop;
    static struct bl_secret secret;
    static struct metrics metrics;
    int pair[2];
    if (uv_loop_init(&loop) != 0 || channel_pair(pair) != 0) {
        abort();
    }
    far_end = pair[1];
    recurse = recurse_new(&loop, 4, 1, &secret, &metrics, on_answered, on_batch, NULL);
    if (recurse == NULL) {
        abort();
    }
    link_open(recurse, 0, pair[0], 1);
    if (recurse->peers[0].link == NULL) {
        abort();
    }
}

/* The question in flight, whatever the last input did. */
static struct link *ask_again(void)
{
    struct link *link = recurse->peers[0].link;
    if (recurse->table.questions[0].state == RECURSE_QUESTION_FREE) {
        const struct recurse_waiter waiter = {.slot = 7, .generation = 8};
        static uint8_t buffer[CHANNEL_MESSAGE_SIZE_MAX];
        if (recurse_ask(recurse, name, sizeof(name), 1, 1, waiter) != 0) {
            abort();
        }
        link_send(link);
        if (channel_receive(far_end, buffer, NULL, NULL) <= 0) {
            abort();
        }
    }
    recurse->table.questions[0].generation = 1;
    answers = 0;
    return link;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (recurse == NULL) {
        start();
    }
    struct link *link = ask_again();
    for (size_t at = 0; at < size;) {
        struct channel_record record;
        int r = channel_read(data + at, size - at, &record);
        if (r < 0) {
            break;
        }
        static uint8_t again[CHANNEL_MESSAGE_SIZE_MAX];
        if (channel_write(&record, again, sizeof(again)) != r ||
            memcmp(again, data + at, (size_t)r) != 0) {
            abort(); /* what is read is all there was, and no more */
        }
        at += (size_t)r;
        if (record.kind == CHANNEL_ANSWER) {
            (void)take_answer(link, &record.answer);
        }
    }
    if (answers > 1) {
        abort(); /* one question, one answer */
    }
    return 0;
}
