/* document.h - one YAML document as a tree of nodes that know where they stand.
 *
 * What a configuration needs of YAML and no more: one document of mappings, lists and scalars.
 * Anchors, aliases, tags, keys that are not scalars and NUL octets are refused. The text may be
 * hostile: its size, depth and number of nodes are bounded. */
#ifndef RESOLVER_DOCUMENT_H
#define RESOLVER_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>

#define DOCUMENT_SIZE_MAX (1u << 20) /* a list of names has its own files; options are small */
#define DOCUMENT_DEPTH_MAX 8u        /* the deepest option lies 4 deep */
#define DOCUMENT_NODES_MAX 32768u    /* PREFIXES_MAX and LIST_FILES_MAX with ten options each fit */
#define DOCUMENT_PROBLEM_SIZE 256u

enum document_kind { DOCUMENT_SCALAR, DOCUMENT_LIST, DOCUMENT_MAPPING };

struct document_node {
    enum document_kind kind;
    bool plain;                  /* a scalar without quotes */
    unsigned line;               /* from 1 */
    unsigned column;             /* from 1 */
    struct document_node *first; /* of a list's items; of a mapping's keys and values in turn */
    struct document_node *next;  /* in the list or mapping this node stands in */
    struct document_node *older; /* the document's chain, for document_free() */
    size_t size;                 /* of text, without the NUL */
    char text[];                 /* a scalar's value, UTF-8; "" otherwise */
};

struct document;

struct document_problem {
    unsigned line; /* from 1 */
    unsigned column;
    char text[DOCUMENT_PROBLEM_SIZE]; /* what and what to do */
};

/* Reads `text`, which need not end in NUL. 0, or -EINVAL with the problem, or -ENOMEM. */
int document_parse(const char *text, size_t size, struct document **ret_document,
                   struct document_problem *ret_problem);
void document_free(struct document *document); /* NULL is fine */

/* NULL when the document is empty. */
const struct document_node *document_root(const struct document *document);

/* The value of `key` in a mapping, or NULL. */
const struct document_node *document_get(const struct document_node *mapping, const char *key);

#endif
