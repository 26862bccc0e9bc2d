/* value.h - the text of one option's value into its field, checked against the option's row. */
#ifndef RESOLVER_VALUE_H
#define RESOLVER_VALUE_H

#include "resolver/options.h"

#include <stddef.h>

#define VALUE_PROBLEM_SIZE 256u

/* Reads `text` (NUL-ended, of `size` octets) and writes the field at `ret_field`, all of its
 * octets. On failure returns -EINVAL, leaves the field alone and says what to do in ret_problem.
 * Not for OPTION_WORDS and OPTION_MAPPING, which are no scalars. OPTION_SERVER reads the ADDR@PORT
 * form. */
int value_read(const struct option *option, const char *text, size_t size, void *ret_field,
               char ret_problem[static VALUE_PROBLEM_SIZE]);

/* The word's row among the option's words; -EINVAL and the problem for one that is unknown or not
 * in this version. */
int value_word(const struct option *option, const char *text, const struct option_word **ret_word,
               char ret_problem[static VALUE_PROBLEM_SIZE]);

/* What the option takes, for people: "512..4096", "udp | tcp"; "" when there is nothing to say. */
void value_bounds(const struct option *option, char *ret_text, size_t size);

#endif
