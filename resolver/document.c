#include "resolver/document.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct document {
    struct document_node *root;
    struct document_node *newest;
    size_t nodes;
};

/* A list or mapping that is not closed yet. */
struct open_node {
    struct document_node *node;
    struct document_node *last; /* its last child */
    unsigned children;
};

struct builder {
    struct document *document;
    struct document_problem *problem;
    struct open_node open[DOCUMENT_DEPTH_MAX];
    unsigned depth;
    bool ended; /* the one document is over */
};

static int refuse(struct builder *builder, yaml_mark_t mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(struct builder *builder, yaml_mark_t mark, const char *format, ...)
{
    builder->problem->line = (unsigned)mark.line + 1;
    builder->problem->column = (unsigned)mark.column + 1;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(builder->problem->text, sizeof(builder->problem->text), format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static int add_node(struct builder *builder, enum document_kind kind, yaml_mark_t mark,
                    const char *text, size_t size, struct document_node **ret_node)
{
    struct document *document = builder->document;
    if (document->nodes >= DOCUMENT_NODES_MAX) {
        return refuse(builder, mark, "more than %u values; put names into list files",
                      DOCUMENT_NODES_MAX);
    }
    if (size > 0 && memchr(text, '\0', size) != NULL) {
        return refuse(builder, mark, "a value holds a NUL character; remove it");
    }
    struct open_node *parent = builder->depth > 0 ? &builder->open[builder->depth - 1] : NULL;
    bool is_key =
        parent != NULL && parent->node->kind == DOCUMENT_MAPPING && parent->children % 2 == 0;
    if (is_key && kind != DOCUMENT_SCALAR) {
        return refuse(builder, mark, "an option's name must be a word, not a list or a mapping");
    }
    struct document_node *node = calloc(1, sizeof(*node) + size + 1);
    if (node == NULL) {
        return -ENOMEM;
    }
    node->kind = kind;
    node->line = (unsigned)mark.line + 1;
    node->column = (unsigned)mark.column + 1;
    node->size = size;
    if (size > 0) {
        memcpy(node->text, text, size);
    }
    node->older = document->newest;
    document->newest = node;
    document->nodes++;
    if (parent == NULL) {
        document->root = node;
    } else {
        if (parent->last == NULL) {
            parent->node->first = node;
        } else {
            parent->last->next = node;
        }
        parent->last = node;
        parent->children++;
    }
    *ret_node = node;
    return 0;
}

static int open_node(struct builder *builder, enum document_kind kind, const yaml_event_t *event)
{
    struct document_node *node;
    if (builder->depth == DOCUMENT_DEPTH_MAX) {
        return refuse(builder, event->start_mark, "nested deeper than %u levels; no option is",
                      DOCUMENT_DEPTH_MAX);
    }
    int r = add_node(builder, kind, event->start_mark, "", 0, &node);
    if (r == 0) {
        builder->open[builder->depth++] = (struct open_node){.node = node};
    }
    return r;
}

static int take_scalar(struct builder *builder, const yaml_event_t *event)
{
    struct document_node *node;
    int r = add_node(builder, DOCUMENT_SCALAR, event->start_mark,
                     (const char *)event->data.scalar.value, event->data.scalar.length, &node);
    if (r == 0) {
        node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    }
    return r;
}

/* Whether the event carries an anchor or a tag. */
static bool is_decorated(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    default:
        return event->type == YAML_ALIAS_EVENT;
    }
}

static int take_event(struct builder *builder, const yaml_event_t *event)
{
    if (is_decorated(event)) {
        return refuse(builder, event->start_mark,
                      "anchors (&), aliases (*) and tags (!) are not read here; quote the value if "
                      "it starts with such a character, or write it out");
    }
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (builder->ended) {
            return refuse(builder, event->start_mark,
                          "a second document (---) starts here; one file holds one");
        }
        return 0;
    case YAML_DOCUMENT_END_EVENT:
        builder->ended = true;
        return 0;
    case YAML_SCALAR_EVENT:
        return take_scalar(builder, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_node(builder, DOCUMENT_LIST, event);
    case YAML_MAPPING_START_EVENT:
        return open_node(builder, DOCUMENT_MAPPING, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        assert(builder->depth > 0);
        builder->depth--;
        return 0;
    default:
        return 0;
    }
}

/* libyaml's reader names an octet instead of a line. */
static yaml_mark_t mark_of_octet(const char *text, size_t size, size_t offset)
{
    yaml_mark_t mark = {.index = offset};
    for (size_t i = 0; i < size && i < offset; i++) {
        mark.column++;
        if (text[i] == '\n') {
            mark.line++;
            mark.column = 0;
        }
    }
    return mark;
}

static int refuse_syntax(struct builder *builder, const yaml_parser_t *parser, const char *text,
                         size_t size)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        return -ENOMEM;
    }
    const char *problem = parser->problem != NULL ? parser->problem : "unreadable";
    if (parser->error == YAML_READER_ERROR) {
        return refuse(builder, mark_of_octet(text, size, parser->problem_offset),
                      "not a text of UTF-8 (%s)", problem);
    }
    return refuse(builder, parser->problem_mark, "YAML syntax: %s%s%s", problem,
                  parser->context != NULL ? " " : "",
                  parser->context != NULL ? parser->context : "");
}

static int build(struct builder *builder, yaml_parser_t *parser, const char *text, size_t size)
{
    for (bool ended = false; !ended;) {
        yaml_event_t event;
        if (yaml_parser_parse(parser, &event) == 0) {
            return refuse_syntax(builder, parser, text, size);
        }
        int r = take_event(builder, &event);
        ended = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int document_parse(const char *text, size_t size, struct document **ret_document,
                   struct document_problem *ret_problem)
{
    struct document_problem problem = {0};
    struct builder builder = {.problem = &problem};
    if (size > DOCUMENT_SIZE_MAX) {
        *ret_problem = (struct document_problem){.line = 1, .column = 1};
        snprintf(ret_problem->text, sizeof(ret_problem->text),
                 "larger than %u octets; put names into list files", DOCUMENT_SIZE_MAX);
        return -EINVAL;
    }
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) {
        return -ENOMEM;
    }
    builder.document = calloc(1, sizeof(*builder.document));
    if (builder.document == NULL) {
        yaml_parser_delete(&parser);
        return -ENOMEM;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    int r = build(&builder, &parser, text, size);
    yaml_parser_delete(&parser);
    if (r < 0) {
        document_free(builder.document);
        *ret_problem = problem;
        return r;
    }
    *ret_document = builder.document;
    return 0;
}

void document_free(struct document *document)
{
    if (document == NULL) {
        return;
    }
    while (document->newest != NULL) {
        struct document_node *older = document->newest->older;
        free(document->newest);
        document->newest = older;
    }
    free(document);
}

const struct document_node *document_root(const struct document *document)
{
    return document->root;
}

const struct document_node *document_get(const struct document_node *mapping, const char *key)
{
    assert(mapping->kind == DOCUMENT_MAPPING);
    for (const struct document_node *node = mapping->first; node != NULL; node = node->next->next) {
        if (strcmp(node->text, key) == 0) {
            return node->next;
        }
    }
    return NULL;
}
