#include "resolver/ctl/ctl.h"
#include "resolver/ctl/output.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE (2 * CTL_ERROR_SIZE)

void ctl_done(struct ctl *ctl)
{
    config_free(ctl->config);
    ctl->config = NULL;
    ctl_arguments_done(&ctl->arguments);
}

static void say(const char *prefix, const char *line)
{
    fputs(prefix, stderr);
    ctl_write_safe(stderr, line, strlen(line));
    fputc('\n', stderr);
}

int ctl_fail(struct ctl *ctl, enum ctl_exit status, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list list;

    va_start(list, format);
    vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    say("sinkholectl: ", line);
    if (ctl->json && !ctl->printed) {
        char *safe = ctl_text_safe(line, strlen(line));
        ctl_print_json(ctl, status, json_pack("{s:s}", "error", safe != NULL ? safe : "failed"));
        free(safe);
    }
    return (int)status;
}

void ctl_warn(const struct ctl *ctl, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list list;

    if (ctl->quiet) {
        return;
    }
    va_start(list, format);
    vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    say("sinkholectl: ", line);
}

int ctl_print_json(struct ctl *ctl, enum ctl_exit status, json_t *document)
{
    /* ASCII alone: whatever stands in the strings, a terminal gets nothing to act upon. */
    char *text = document != NULL ? json_dumps(document, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;

    json_decref(document);
    ctl->printed = true;
    if (text == NULL) {
        return ctl_fail(ctl, CTL_FAILED, "out of memory");
    }
    for (char *at = text; *at != '\0'; at++) {
        *at = *at == '\x7f' ? '?' : *at; /* the one control character that JSON does not escape */
    }
    puts(text);
    free(text);
    return (int)status;
}

int ctl_config(struct ctl *ctl, const struct config **ret_config)
{
    const char *named = ctl->arguments.values[CTL_OPTION_CONFIG];
    const char *path = named;
    char error[CONFIG_ERROR_SIZE_MAX] = "";

    if (path == NULL && access(CTL_CONFIG_PATH, F_OK) == 0) {
        path = CTL_CONFIG_PATH;
    }
    if (ctl->config == NULL && config_load(path, &ctl->config, error) < 0) {
        return ctl_fail(ctl, CTL_FAILED, "%s%s", error,
                        named == NULL && path != NULL ? " (-c names another configuration)" : "");
    }
    *ret_config = ctl->config;
    return CTL_DONE;
}

int ctl_socket(struct ctl *ctl, const char **ret_path)
{
    const struct config *config = NULL;

    if (ctl->arguments.values[CTL_OPTION_SOCKET] != NULL) {
        *ret_path = ctl->arguments.values[CTL_OPTION_SOCKET];
        return CTL_DONE;
    }
    int status = ctl_config(ctl, &config);
    if (status == CTL_DONE) {
        *ret_path = config->node.control;
    }
    return status;
}
