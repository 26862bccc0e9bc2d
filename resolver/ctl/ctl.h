/* ctl.h - what the commands of sinkholectl share: the arguments, the configuration, the exit
 * status, and the one way to say that something went wrong. One thread, one command a process. */
#ifndef RESOLVER_CTL_CTL_H
#define RESOLVER_CTL_CTL_H

#include "resolver/config.h"
#include "resolver/ctl/arguments.h"

#include <jansson.h>
#include <stdbool.h>

#define CTL_CONFIG_PATH "/etc/sinkhole/sinkholed.yaml"

enum ctl_exit {
    CTL_DONE = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_NOT_FOUND = 3,
};

struct ctl {
    struct ctl_arguments arguments;
    struct config *config; /* NULL until ctl_config() */
    bool json;             /* one JSON document on standard output, and no other text there */
    bool quiet;            /* no text but errors; the document of --json stays */
    bool printed;          /* the document is out */
};

void ctl_done(struct ctl *ctl);

/* Says on standard error what is wrong and what to do, in one line; with --json also as the
 * document {"error": ...}, unless there has been one. Returns `status`. */
int ctl_fail(struct ctl *ctl, enum ctl_exit status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A remark on standard error that changes nothing, left out by --quiet. */
void ctl_warn(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints the document of --json and takes it over; NULL stands for memory that was short.
 * Returns `status`, or CTL_FAILED. */
int ctl_print_json(struct ctl *ctl, enum ctl_exit status, json_t *document);

/* Whether text for people is wanted on standard output. */
static inline bool ctl_wants_text(const struct ctl *ctl)
{
    return !ctl->json && !ctl->quiet;
}

/* The configuration that -c names, else CTL_CONFIG_PATH if there is one, else the defaults, read
 * once. Returns CTL_DONE, or what ctl_fail() returned. */
int ctl_config(struct ctl *ctl, const struct config **ret_config);

/* The control socket: -s, else the configuration's. The same return. */
int ctl_socket(struct ctl *ctl, const char **ret_path);

/* The commands, in the order of the table in commands.c. Each returns an enum ctl_exit. */
int ctl_run_status(struct ctl *ctl);
int ctl_run_why(struct ctl *ctl);
int ctl_run_block(struct ctl *ctl);
int ctl_run_unblock(struct ctl *ctl);
int ctl_run_allow(struct ctl *ctl);
int ctl_run_unallow(struct ctl *ctl);
int ctl_run_feed_list(struct ctl *ctl);
int ctl_run_feed_import(struct ctl *ctl);
int ctl_run_nodes(struct ctl *ctl);
int ctl_run_metrics(struct ctl *ctl);
int ctl_run_reload(struct ctl *ctl);
int ctl_run_config_check(struct ctl *ctl);
int ctl_run_config_options(struct ctl *ctl);
int ctl_run_version(struct ctl *ctl);
int ctl_run_help(struct ctl *ctl);

#endif
