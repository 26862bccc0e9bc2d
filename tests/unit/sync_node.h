/* sync_node.h - a list with its thread and a state folder, as a test sees them. */
#ifndef TESTS_UNIT_SYNC_NODE_H
#define TESTS_UNIT_SYNC_NODE_H

#include "blocklist/rcu.h"
#include "resolver/log.h"
#include "resolver/sync.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct node {
    char folder[64];
    struct config *config;
    struct bl_list *list;
    struct sync *sync;
};

static inline void node_start(struct node *node)
{
    struct bl_secret secret;
    assert_int_equal(bl_secret_make(&secret), 0);
    node->list = bl_list_new(&secret);
    assert_non_null(node->list);
    assert_int_equal(sync_start(node->config, node->list, &node->sync), 0);
}

static inline void node_stop(struct node *node)
{
    sync_stop(node->sync);
    bl_list_free(node->list);
    node->sync = NULL;
    node->list = NULL;
}

/* A new node that has not started: its state folder is not there yet. */
static inline void node_init(struct node *node)
{
    log_set(getenv("VERBOSE") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    memset(node, 0, sizeof(*node));
    (void)snprintf(node->folder, sizeof(node->folder), "/tmp/sinkhole-sync-XXXXXX");
    assert_non_null(mkdtemp(node->folder));
    node->config = calloc(1, sizeof(*node->config));
    assert_non_null(node->config);
    (void)snprintf(node->config->node.name, sizeof(node->config->node.name), "node-1");
    (void)snprintf(node->config->node.state_dir, sizeof(node->config->node.state_dir), "%s/state",
                   node->folder);
}

static inline void node_done(struct node *node)
{
    char command[160];
    if (node->sync != NULL) {
        node_stop(node);
    }
    free(node->config);
    (void)snprintf(command, sizeof(command), "rm -rf -- '%s'", node->folder);
    assert_int_equal(system(command), 0);
}

/* What `feed` says of the name itself. */
static inline bool node_says(const struct node *node, const char *feed, const char *text,
                             struct bl_membership *ret_membership)
{
    uint8_t name[BL_NAME_SIZE_MAX];
    int size = bl_name_from_text(text, strlen(text), name);
    assert_true(size > 0);
    bl_rcu_register();
    bl_rcu_online();
    struct bl_match matches[BL_NAME_LABELS_MAX + 1];
    size_t count = bl_list_find(node->list, name, (size_t)size, matches);
    bool found = false;
    for (size_t i = 0; i < count && matches[i].offset == 0; i++) {
        for (uint32_t j = 0; j < matches[i].context->count; j++) {
            const struct bl_membership *membership = &matches[i].context->memberships[j];
            if (strcmp(bl_list_feed(node->list, membership->feed)->name, feed) == 0) {
                *ret_membership = *membership;
                found = true;
            }
        }
    }
    bl_rcu_offline();
    bl_rcu_unregister();
    return found;
}

static inline bool node_lists(const struct node *node, const char *feed, const char *text)
{
    struct bl_membership membership;
    return node_says(node, feed, text, &membership);
}

static inline struct sync_status node_status(const struct node *node)
{
    struct sync_status status;
    sync_status(node->sync, &status);
    return status;
}

/* A sample's value in the rendered metrics; -1 if it is not there. */
static inline double node_metric(const struct node *node, const char *sample)
{
    struct metrics_text text = {0};
    sync_render(node->sync, &text);
    assert_int_equal(text.failed, 0);
    double value = -1;
    for (const char *at = text.text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, sample, strlen(sample)) == 0 && at[strlen(sample)] == ' ') {
            value = strtod(at + strlen(sample), NULL);
            break;
        }
    }
    metrics_text_done(&text);
    return value;
}

static inline void node_write_file(const struct node *node, const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", node->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Adds a list file to the configuration. */
static inline void node_add_file(struct node *node, const char *feed, const char *name,
                                 enum bl_action action)
{
    struct config_list_file *file = &node->config->list_files[node->config->list_file_count++];
    memset(file, 0, sizeof(*file));
    (void)snprintf(file->feed.name, sizeof(file->feed.name), "%s", feed);
    file->feed.tier = BL_TIER_FEED;
    file->feed.action = action;
    (void)snprintf(file->path, sizeof(file->path), "%s/%s", node->folder, name);
}

#endif
