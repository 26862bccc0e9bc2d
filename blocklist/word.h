/* word.h - the words of memberships (category, family, actor, operation) as numbers. Inside the
 * list only. A word is never forgotten, so that hits may carry its text. */
#ifndef BLOCKLIST_WORD_H
#define BLOCKLIST_WORD_H

#include "blocklist/name.h"

#include <stddef.h>
#include <stdint.h>

struct bl_words;

struct bl_words *bl_words_new(const struct bl_secret *secret); /* NULL: memory is short */
void bl_words_free(struct bl_words *words);                    /* NULL is fine */

/* The writer: see bl_list_word(). */
int bl_words_intern(struct bl_words *words, const char *text, size_t size);

/* A reader who has the number from a context, or the writer. */
const char *bl_words_text(const struct bl_words *words, uint16_t word);

uint64_t bl_words_octets(const struct bl_words *words); /* any thread */

#endif
