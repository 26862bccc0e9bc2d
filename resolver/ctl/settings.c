/* What needs no daemon: config check, config options, version, help. */
#include "resolver/ctl/ctl.h"
#include "resolver/ctl/output.h"
#include "resolver/options.h"

#include <hiredis/hiredis.h>
#include <idn2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TO_TEXT(number) #number
#define MACRO_TO_TEXT(macro) TO_TEXT(macro)
#define HIREDIS_VERSION                                                                            \
    MACRO_TO_TEXT(HIREDIS_MAJOR)                                                                   \
    "." MACRO_TO_TEXT(HIREDIS_MINOR) "." MACRO_TO_TEXT(HIREDIS_PATCH)

int ctl_run_config_check(struct ctl *ctl)
{
    const char *path = ctl->arguments.word_count > 0 ? ctl->arguments.words[0]
                                                     : ctl->arguments.values[CTL_OPTION_CONFIG];
    struct config *config = NULL;
    char error[CONFIG_ERROR_SIZE_MAX] = "";

    if (path == NULL && access(CTL_CONFIG_PATH, F_OK) == 0) {
        path = CTL_CONFIG_PATH;
    }
    const char *what = path != NULL ? path : "the defaults";
    int r = config_load(path, &config, error);
    config_free(config);
    if (ctl->json) {
        ctl_print_json(ctl, CTL_DONE,
                       json_pack("{s:s?, s:b, s:s}", "file", path, "good", r == 0, "error", error));
    } else if (r == 0 && ctl_wants_text(ctl)) {
        ctl_write_safe(stdout, what, strlen(what));
        puts(": good");
    }
    return r < 0 ? ctl_fail(ctl, CTL_FAILED, "%s", error) : CTL_DONE;
}

static json_t *options_document(void)
{
    struct config_option_text option;
    json_t *rows = json_array();

    for (size_t i = 0; config_option_text(i, &option); i++) {
        json_array_append_new(
            rows, json_pack("{s:s, s:s, s:s?, s:s?, s:b, s:b, s:s?}", "name", option.name, "type",
                            option.type, "default", option.initial, "bounds", option.bounds, "live",
                            option.live, "built", option.built, "text", option.text));
    }
    return json_pack("{s:o}", "options", rows);
}

int ctl_run_config_options(struct ctl *ctl)
{
    if (ctl->json) {
        return ctl_print_json(ctl, CTL_DONE, options_document());
    }
    if (ctl_wants_text(ctl)) {
        options_write(stdout, OPTION_PAGE_TEXT);
    }
    return CTL_DONE;
}

int ctl_run_version(struct ctl *ctl)
{
    if (ctl->json) {
        return ctl_print_json(ctl, CTL_DONE,
                              json_pack("{s:s, s:{s:s, s:s, s:s}}", "version", SINKHOLE_VERSION,
                                        "libraries", "hiredis", HIREDIS_VERSION, "jansson",
                                        JANSSON_VERSION, "libidn2", IDN2_VERSION));
    }
    if (ctl_wants_text(ctl)) {
        puts("sinkholectl " SINKHOLE_VERSION " (hiredis " HIREDIS_VERSION
             ", jansson " JANSSON_VERSION ", libidn2 " IDN2_VERSION ")");
    }
    return CTL_DONE;
}

int ctl_run_help(struct ctl *ctl)
{
    const struct ctl_arguments *arguments = &ctl->arguments;
    char name[128] = "";

    if (arguments->word_count == 0) {
        ctl_help_print(stdout, NULL, "");
        return CTL_DONE;
    }
    snprintf(name, sizeof(name), "%.60s%s%.60s", arguments->words[0],
             arguments->word_count > 1 ? " " : "",
             arguments->word_count > 1 ? arguments->words[1] : "");
    const struct ctl_command *command = ctl_command_find(name);
    if (command != NULL && command->run == NULL) {
        return ctl_fail(ctl, CTL_USAGE, "\"%s\" is not in this version", name);
    }
    if (command == NULL && !ctl_command_is_group(name)) {
        const char *near = ctl_command_near(name);
        return ctl_fail(ctl, CTL_USAGE, "unknown command \"%s\"%s%s%s", name,
                        near != NULL ? ": did you mean \"" : "", near != NULL ? near : "",
                        near != NULL ? "\"?" : "; sinkholectl help lists them");
    }
    ctl_help_print(stdout, command, command == NULL ? name : "");
    return CTL_DONE;
}
