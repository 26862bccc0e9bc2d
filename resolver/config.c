#include "resolver/config.h"

#include "geo/utf8.h"
#include "resolver/document.h"
#include "resolver/options.h"
#include "resolver/value.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

#define NAME_SIZE_MAX 96u   /* of an option's full name; the longest has 35 octets */
#define SOURCE_SIZE_MAX 160 /* as much of a file's name as a message repeats: its end */

/* What is being read. */
struct loader {
    struct config *config;
    const char *source;               /* a file's name, or a variable's */
    const struct document_node *root; /* of the file; NULL: none, or empty */
    char *error;
};

/* A terminal and readers of JSON get the message: control characters, and what is no UTF-8 (or was
 * cut in the middle of a character), become question marks. */
static void make_printable(char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0, character; i < size; i += character) {
        character = utf8_sequence_size((const uint8_t *)text + i, size - i);
        if (character == 0 || (unsigned char)text[i] < ' ' || text[i] == 0x7f) {
            text[i] = '?';
            character = 1;
        }
    }
}

/* `node` is where the value stands; NULL or line 0: in `source` as a whole. */
static int refuse(struct loader *loader, const struct document_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(struct loader *loader, const struct document_node *node, const char *format, ...)
{
    size_t source_size = strlen(loader->source);
    const char *source =
        loader->source + (source_size > SOURCE_SIZE_MAX ? source_size - SOURCE_SIZE_MAX : 0);
    int at = node != NULL && node->line > 0
                 ? snprintf(loader->error, CONFIG_ERROR_SIZE_MAX, "%s:%u:%u: ", source, node->line,
                            node->column)
                 : snprintf(loader->error, CONFIG_ERROR_SIZE_MAX, "%s: ", source);
    assert(at > 0 && (unsigned)at < CONFIG_ERROR_SIZE_MAX);

    va_list arguments;
    va_start(arguments, format);
    vsnprintf(loader->error + at, CONFIG_ERROR_SIZE_MAX - (size_t)at, format, arguments);
    va_end(arguments);
    make_printable(loader->error);
    return -EINVAL;
}

static int set_option(struct loader *loader, const struct option *option,
                      const struct document_node *node, char *base);

static int set_initial(struct loader *loader, const struct option *option, char *base)
{
    struct document *document;
    struct document_problem problem;
    int r = document_parse(option->initial, strlen(option->initial), &document, &problem);
    if (r == 0) {
        r = set_option(loader, option, document_root(document), base);
        document_free(document);
    }
    assert(r == 0 || r == -ENOMEM); /* the table's own defaults are valid */
    return r;
}

/* The row of a key in the mapping called `path` ("" is the top), or NULL for a section's name. */
static int find_key(struct loader *loader, const char *path, const struct document_node *mapping,
                    const struct document_node *key, char ret_name[static NAME_SIZE_MAX],
                    const struct option **ret_option)
{
    for (const struct document_node *node = mapping->first; node != key; node = node->next->next) {
        if (strcmp(node->text, key->text) == 0) {
            return refuse(loader, key, "option %s stands here a second time (first in line %u)",
                          key->text, node->line);
        }
    }
    int size =
        snprintf(ret_name, NAME_SIZE_MAX, "%s%s%s", path, path[0] != '\0' ? "." : "", key->text);
    bool is_word = size > 0 && (unsigned)size < NAME_SIZE_MAX && strpbrk(key->text, ".[") == NULL;
    const struct option *option = is_word ? options_find(ret_name) : NULL;
    bool built = option != NULL && option->built;
    if (option == NULL && !(is_word && options_is_section(ret_name, &built))) {
        const char *nearest = options_nearest(path, key->text);
        return refuse(loader, key, "unknown option %.64s%s%.64s%s%s%s", path,
                      path[0] != '\0' ? "." : "", key->text,
                      nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "",
                      nearest != NULL ? "?" : "; see sinkholed --help for all there are");
    }
    if (!built) {
        return refuse(loader, key, "option %s is not in this version; remove it", ret_name);
    }
    *ret_option = option;
    return 0;
}

static int set_section(struct loader *loader, const char *path, const struct document_node *node)
{
    bool is_empty = node->kind == DOCUMENT_SCALAR && node->plain && node->size == 0;
    if (is_empty) {
        return 0;
    }
    if (node->kind != DOCUMENT_MAPPING) {
        return refuse(loader, node, "%s must hold options, each as NAME: VALUE",
                      path[0] != '\0' ? path : "the file");
    }
    for (const struct document_node *key = node->first; key != NULL; key = key->next->next) {
        char name[NAME_SIZE_MAX];
        const struct option *option;
        int r = find_key(loader, path, node, key, name, &option);
        if (r == 0) {
            r = option != NULL ? set_option(loader, option, key->next, (char *)loader->config)
                               : set_section(loader, name, key->next);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* One mapping of a list: its rows in the table's order, so that a later row sees an earlier one. */
static int set_element(struct loader *loader, const struct option *list,
                       const struct document_node *node, char *base)
{
    char path[NAME_SIZE_MAX];
    char name[NAME_SIZE_MAX];
    snprintf(path, sizeof(path), "%s[]", list->name);
    size_t path_size = strlen(path);
    if (node->kind != DOCUMENT_MAPPING) {
        return refuse(loader, node, "%s: each item must be a mapping: {NAME: VALUE, ...}",
                      list->name);
    }
    for (const struct document_node *key = node->first; key != NULL; key = key->next->next) {
        const struct option *option;
        int r = find_key(loader, path, node, key, name, &option);
        if (r < 0) {
            return r;
        }
    }
    for (size_t i = 0; i < options_count; i++) {
        const struct option *option = &options_table[i];
        if (strncmp(option->name, path, path_size) != 0 || !option->built) {
            continue;
        }
        const char *key = option->name + path_size + 1;
        const struct document_node *value = document_get(node, key);
        int r = 0;
        if (value != NULL) {
            r = set_option(loader, option, value, base);
        } else if (option->required) {
            r = refuse(loader, node, "%s: %s is missing here", list->name, key);
        } else if (option->initial != NULL) {
            r = set_initial(loader, option, base);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int set_scalar(struct loader *loader, const struct option *option,
                      const struct document_node *node, void *ret_field)
{
    char problem[VALUE_PROBLEM_SIZE];
    if (node->kind != DOCUMENT_SCALAR) {
        return refuse(loader, node, "%s must be a single value%s", option->name,
                      option->list ? " in each place" : "");
    }
    int r = value_read(option, node->text, node->size, ret_field, problem);
    return r < 0 ? refuse(loader, node, "%s: %s", option->name, problem) : 0;
}

/* The socket of a server is written into its own field. */
static int set_server(struct loader *loader, const struct option *option,
                      const struct document_node *node, void *ret_field)
{
    static const char scheme[] = "unix:";
    struct config_redis *redis = &loader->config->redis;
    if (node->kind != DOCUMENT_SCALAR || strncmp(node->text, scheme, sizeof(scheme) - 1) != 0) {
        return set_scalar(loader, option, node, ret_field);
    }
    const struct option path = {
        .name = option->name, .type = OPTION_PATH, .min = 1, .size = sizeof(redis->socket_path)};
    char problem[VALUE_PROBLEM_SIZE];
    int r = value_read(&path, node->text + sizeof(scheme) - 1, node->size - (sizeof(scheme) - 1),
                       redis->socket_path, problem);
    return r < 0 ? refuse(loader, node, "%s: %s", option->name, problem) : 0;
}

static int set_list(struct loader *loader, const struct option *option,
                    const struct document_node *node, char *base)
{
    if (node->kind != DOCUMENT_LIST) {
        return refuse(loader, node, "%s must be a list: [A, B], or [] for none", option->name);
    }
    uint32_t count = 0;
    char *elements = base + option->offset;
    memset(elements, 0, option->size * option->count_max);
    if (option->type == OPTION_SERVER) {
        memset(loader->config->redis.socket_path, 0, sizeof(loader->config->redis.socket_path));
    }
    for (const struct document_node *item = node->first; item != NULL; item = item->next, count++) {
        if (count == option->count_max) {
            return refuse(loader, item, "%s has more than %u items", option->name,
                          option->count_max);
        }
        char *element = elements + option->size * count;
        int r = option->type == OPTION_MAPPING  ? set_element(loader, option, item, element)
                : option->type == OPTION_SERVER ? set_server(loader, option, item, element)
                                                : set_scalar(loader, option, item, element);
        if (r < 0) {
            return r;
        }
    }
    if (count < option->min) {
        return refuse(loader, node, "%s is empty; write at least one", option->name);
    }
    memcpy(base + option->count_offset, &count, sizeof(count));
    return 0;
}

static int set_words(struct loader *loader, const struct option *option,
                     const struct document_node *node, unsigned *ret_field)
{
    char problem[VALUE_PROBLEM_SIZE];
    unsigned set = 0;
    if (node->kind != DOCUMENT_LIST || node->first == NULL) {
        value_bounds(option, problem, sizeof(problem));
        return refuse(loader, node, "%s must be a list of one or more of: %s", option->name,
                      problem);
    }
    for (const struct document_node *item = node->first; item != NULL; item = item->next) {
        const struct option_word *word;
        if (item->kind != DOCUMENT_SCALAR) {
            return refuse(loader, item, "%s: each item must be a word", option->name);
        }
        if (value_word(option, item->text, &word, problem) < 0) {
            return refuse(loader, item, "%s: %s", option->name, problem);
        }
        set |= (unsigned)word->value;
    }
    *ret_field = set;
    return 0;
}

/* `base` is the struct that the row's offset counts from. */
static int set_option(struct loader *loader, const struct option *option,
                      const struct document_node *node, char *base)
{
    if (option->list) {
        return set_list(loader, option, node, base);
    }
    if (option->type == OPTION_WORDS) {
        return set_words(loader, option, node, (unsigned *)(void *)(base + option->offset));
    }
    return set_scalar(loader, option, node, base + option->offset);
}

/* ---- where values come from ---- */

static int set_initials(struct loader *loader)
{
    for (size_t i = 0; i < options_count; i++) {
        bool is_top = strchr(options_table[i].name, '[') == NULL;
        if (is_top && options_table[i].initial != NULL) {
            int r = set_initial(loader, &options_table[i], (char *)loader->config);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

static int read_file(const char *path, char **ret_text, size_t *ret_size)
{
    size_t capacity = DOCUMENT_SIZE_MAX + 1; /* one more tells a file that is too large */
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return -errno;
    }
    char *text = malloc(capacity);
    size_t size = 0;
    ssize_t got = 1;
    while (text != NULL && got > 0 && size < capacity) {
        got = read(file, text + size, capacity - size);
        size += got > 0 ? (size_t)got : 0;
        if (got < 0 && errno == EINTR) {
            got = 1;
        }
    }
    int r = text == NULL ? -ENOMEM : got < 0 ? -errno : 0;
    close(file);
    if (r < 0) {
        free(text);
        return r;
    }
    *ret_text = text;
    *ret_size = size;
    return 0;
}

static int set_from_file(struct loader *loader, const char *path, struct document **ret_document)
{
    char *text = NULL;
    size_t size = 0;
    struct document_problem problem;
    int r = read_file(path, &text, &size);
    if (r < 0) {
        refuse(loader, NULL, "%s", strerror(-r));
        return r;
    }
    r = document_parse(text, size, ret_document, &problem);
    free(text);
    if (r < 0) {
        struct document_node place = {.line = problem.line, .column = problem.column};
        return r == -EINVAL ? refuse(loader, &place, "%s", problem.text) : r;
    }
    loader->root = document_root(*ret_document);
    if (loader->root == NULL) {
        return 0;
    }
    r = set_section(loader, "", loader->root);
    if (r == 0 && loader->root->kind == DOCUMENT_MAPPING) {
        loader->config->redis.set = document_get(loader->root, "redis") != NULL;
    }
    return r;
}

static int set_from_variable(struct loader *loader, const char *name, const char *value)
{
    char problem[VALUE_PROBLEM_SIZE];
    char variable[OPTION_VARIABLE_SIZE_MAX];
    struct loader from = *loader;
    from.source = name;
    for (size_t i = 0; i < options_count; i++) {
        const struct option *option = &options_table[i];
        if (!options_variable(option, variable) || strcmp(variable, name) != 0) {
            continue;
        }
        if (!option->built) {
            return refuse(&from, NULL, "option %s is not in this version; unset the variable",
                          option->name);
        }
        if (option->list) {
            return refuse(&from, NULL, "option %s is a list; write it in the configuration file",
                          option->name);
        }
        int r = value_read(option, value, strlen(value), (char *)loader->config + option->offset,
                           problem);
        return r < 0 ? refuse(&from, NULL, "%s: %s", option->name, problem) : 0;
    }
    return refuse(&from, NULL, "no option has this variable; see sinkholed --help, or unset it");
}

static int set_from_environment(struct loader *loader)
{
    static const char prefix[] = "SINKHOLE_";
    static const char tests[] = "SINKHOLE_TEST_"; /* the tests' own */
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        char name[OPTION_VARIABLE_SIZE_MAX];
        size_t size = strcspn(*entry, "=");
        if (strncmp(*entry, prefix, sizeof(prefix) - 1) != 0 || (*entry)[size] != '=' ||
            strncmp(*entry, tests, sizeof(tests) - 1) == 0) {
            continue;
        }
        snprintf(name, sizeof(name), "%.*s", (int)size, *entry);
        bool looks_like_option = strchr(name + sizeof(prefix) - 1, '_') != NULL;
        if (looks_like_option) {
            int r = set_from_variable(loader, name, *entry + size + 1);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

/* ---- what no single value shows ---- */

/* Where the file has `section`.`option`, its item `index` if it is a list; NULL when it has not. */
static const struct document_node *locate(const struct loader *loader, const char *section,
                                          const char *option, uint32_t index)
{
    const struct document_node *node = loader->root;
    if (node != NULL && node->kind == DOCUMENT_MAPPING) {
        node = document_get(node, section);
    }
    if (option != NULL && node != NULL) {
        node = node->kind == DOCUMENT_MAPPING ? document_get(node, option) : NULL;
    }
    if (node != NULL && node->kind == DOCUMENT_LIST) {
        node = node->first;
        while (node != NULL && index-- > 0) {
            node = node->next;
        }
    }
    return node;
}

static bool equal_addresses(const struct config_address *a, const struct config_address *b)
{
    return a->size == b->size && memcmp(&a->socket, &b->socket, a->size) == 0;
}

static int check_doors(struct loader *loader)
{
    const struct config *config = loader->config;
    for (uint32_t i = 0; i < config->listen_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (equal_addresses(&config->listen[i].address, &config->listen[j].address) &&
                (config->listen[i].protocols & config->listen[j].protocols) != 0) {
                return refuse(loader, locate(loader, "listen", NULL, i),
                              "listen: %s stands here a second time; remove one",
                              config->listen[i].address.text);
            }
        }
    }
    for (uint32_t i = 0; i < config->http.listen_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (equal_addresses(&config->http.listen[i], &config->http.listen[j])) {
                return refuse(loader, locate(loader, "http", "listen", i),
                              "http.listen: %s stands here a second time; remove one",
                              config->http.listen[i].text);
            }
        }
    }
    return 0;
}

static int check_list_files(struct loader *loader)
{
    const struct config *config = loader->config;
    for (uint32_t i = 0; i < config->list_file_count; i++) {
        const struct bl_feed *feed = &config->list_files[i].feed;
        const struct document_node *node = locate(loader, "list", "files", i);
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(feed->name, config->list_files[j].feed.name) == 0) {
                return refuse(loader, node,
                              "list.files: a feed %s stands here already; give each its own name",
                              feed->name);
            }
        }
        const struct document_node *kind = document_get(node, "kind");
        if (kind != NULL && strcmp(kind->text, "allow") == 0 &&
            document_get(node, "action") != NULL) {
            return refuse(loader, document_get(node, "action"),
                          "list.files: kind allow has no action; remove one of them");
        }
    }
    return 0;
}

static int check_outputs(struct loader *loader)
{
    const struct config *config = loader->config;
    for (uint32_t i = 0; i < config->hits.output_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(config->hits.outputs[i].path, config->hits.outputs[j].path) == 0) {
                return refuse(loader, locate(loader, "hits", "outputs", i),
                              "hits.outputs: %s is written already; each needs its own file",
                              config->hits.outputs[i].path);
            }
        }
    }
    return 0;
}

static int check_whole(struct loader *loader)
{
    const struct config *config = loader->config;
    const struct config_sinkhole *sinkhole = &config->sinkhole;
    if (sinkhole->action == BL_ACTION_ADDRESS && sinkhole->ipv4_count + sinkhole->ipv6_count == 0) {
        return refuse(loader, locate(loader, "sinkhole", NULL, 0),
                      "sinkhole.action is address, but sinkhole.ipv4 and sinkhole.ipv6 are empty; "
                      "give an address, or use nodata");
    }
    if (!config->recursion.ipv4 && !config->recursion.ipv6) {
        return refuse(loader, locate(loader, "recursion", NULL, 0),
                      "recursion.ipv4 and recursion.ipv6 are both false; servers are then out of "
                      "reach");
    }
    if (config->cache.min_ttl_s > config->cache.max_ttl_s) {
        return refuse(loader, locate(loader, "cache", NULL, 0),
                      "cache.min_ttl is above cache.max_ttl; lower it");
    }
    if (config->redis.set && config->redis.server_count == 0) {
        return refuse(loader, locate(loader, "redis", NULL, 0),
                      "redis.servers is missing; name one, or leave the section redis out");
    }
    if (config->redis.socket_path[0] != '\0' && config->redis.server_count > 1) {
        return refuse(loader, locate(loader, "redis", "servers", 1),
                      "redis.servers: a unix: socket stands alone; remove the others");
    }
    int r = check_doors(loader);
    r = r == 0 ? check_list_files(loader) : r;
    return r == 0 ? check_outputs(loader) : r;
}

static void fill_node_name(struct config *config)
{
    char host[CONFIG_TEXT_SIZE_MAX] = "";
    if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0') {
        strcpy(host, "localhost");
    }
    for (char *c = host; *c != '\0'; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9') || *c == '.' || *c == '_';
        if (!plain) {
            *c = '-'; /* a host name may hold what a node's name must not */
        }
    }
    memcpy(config->node.name, host, sizeof(host));
}

int config_load(const char *path, struct config **ret_config,
                char ret_error[static CONFIG_ERROR_SIZE_MAX])
{
    char error[CONFIG_ERROR_SIZE_MAX] = "";
    struct document *document = NULL;
    struct loader loader = {.config = calloc(1, sizeof(*loader.config)),
                            .source = path != NULL ? path : "configuration",
                            .error = error};
    int r = loader.config == NULL ? -ENOMEM : set_initials(&loader);
    if (r == 0 && path != NULL) {
        r = set_from_file(&loader, path, &document);
    }
    if (r == 0) {
        r = set_from_environment(&loader);
    }
    if (r == 0 && loader.config->node.name[0] == '\0') {
        fill_node_name(loader.config);
    }
    if (r == 0) {
        r = check_whole(&loader);
    }
    document_free(document);
    if (r < 0) {
        config_free(loader.config);
        if (r == -ENOMEM) {
            snprintf(error, sizeof(error), "out of memory");
        }
        memcpy(ret_error, error, sizeof(error));
        return r;
    }
    *ret_config = loader.config;
    return 0;
}

void config_free(struct config *config)
{
    free(config);
}

void config_diff(const struct config *old, const struct config *new,
                 void (*call)(void *context, const char *option, bool live), void *context)
{
    for (size_t i = 0; i < options_count; i++) {
        const struct option *option = &options_table[i];
        if (!option->built || strchr(option->name, '[') != NULL) {
            continue;
        }
        const char *a = (const char *)old;
        const char *b = (const char *)new;
        size_t size = option->size * (option->list ? option->count_max : 1);
        bool equal = memcmp(a + option->offset, b + option->offset, size) == 0;
        if (option->list) {
            equal = equal && memcmp(a + option->count_offset, b + option->count_offset,
                                    sizeof(uint32_t)) == 0;
        }
        if (option->type == OPTION_SERVER) {
            equal = equal && strcmp(old->redis.socket_path, new->redis.socket_path) == 0;
        }
        if (!equal) {
            call(context, option->name, option->live);
        }
    }
}
