#include "blocklist/word.h"

#include "blocklist/list.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SLOTS (2 * (BL_WORDS_MAX + 1)) /* a power of two; at most half are in use */

static_assert((SLOTS & (SLOTS - 1)) == 0, "slots are chosen by a mask");

struct bl_words {
    char *texts[BL_WORDS_MAX + 1]; /* [0] stays NULL; an element is written once, before its use */
    uint16_t slots[SLOTS];         /* hash to number; 0: empty */
    uint32_t count;
    struct bl_secret secret;
    _Atomic uint64_t octets;
};

struct bl_words *bl_words_new(const struct bl_secret *secret)
{
    struct bl_words *words = calloc(1, sizeof(*words));
    if (words != NULL) {
        words->secret = *secret;
        atomic_init(&words->octets, sizeof(*words));
    }
    return words;
}

void bl_words_free(struct bl_words *words)
{
    if (words == NULL) {
        return;
    }
    for (uint32_t i = 1; i <= words->count; i++) {
        free(words->texts[i]);
    }
    free(words);
}

static bool is_text(const char *stored, const char *text, size_t size)
{
    return strlen(stored) == size && memcmp(stored, text, size) == 0;
}

int bl_words_intern(struct bl_words *words, const char *text, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (size >= BL_WORD_SIZE_MAX || memchr(text, '\0', size) != NULL) {
        return -EINVAL;
    }
    uint64_t hash =
        XXH3_64bits_withSecret(text, size, words->secret.octets, sizeof(words->secret.octets));
    size_t slot = hash & (SLOTS - 1);
    while (words->slots[slot] != 0) {
        if (is_text(words->texts[words->slots[slot]], text, size)) {
            return words->slots[slot];
        }
        slot = (slot + 1) & (SLOTS - 1);
    }
    if (words->count == BL_WORDS_MAX) {
        return -ENOSPC;
    }
    char *copy = strndup(text, size);
    if (copy == NULL) {
        return -ENOMEM;
    }
    words->texts[++words->count] = copy;
    words->slots[slot] = (uint16_t)words->count;
    uint64_t octets = atomic_load_explicit(&words->octets, memory_order_relaxed);
    atomic_store_explicit(&words->octets, octets + size + 1, memory_order_relaxed);
    return (int)words->count;
}

const char *bl_words_text(const struct bl_words *words, uint16_t word)
{
    return word != 0 ? words->texts[word] : "";
}

uint64_t bl_words_octets(const struct bl_words *words)
{
    return atomic_load_explicit(&words->octets, memory_order_relaxed);
}
