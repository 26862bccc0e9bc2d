#include "resolver/ctl/arguments.h"

#include <string.h>

#define TEXT_COLUMN 34 /* where the one-line texts start */

static void print_option(FILE *file, const struct ctl_option_text *option)
{
    char left[64];
    int size = option->letter != '\0' ? snprintf(left, sizeof(left), "-%c, ", option->letter)
                                      : snprintf(left, sizeof(left), "    ");
    snprintf(left + size, sizeof(left) - (size_t)size, "--%s%s%s", option->name,
             option->argument != NULL ? " " : "", option->argument != NULL ? option->argument : "");
    fprintf(file, "  %-*s %s\n", TEXT_COLUMN - 3, left, option->text);
}

static void print_command(FILE *file, const struct ctl_command *command)
{
    int size = fprintf(file, "  %s%s%s", command->name, command->arguments[0] != '\0' ? " " : "",
                       command->arguments);
    if (size < TEXT_COLUMN - 1) {
        fprintf(file, "%*s%s\n", TEXT_COLUMN - size, "", command->text);
    } else {
        fprintf(file, "\n%*s%s\n", TEXT_COLUMN, "", command->text);
    }
}

static void print_common_options(FILE *file)
{
    for (size_t i = 0; i < CTL_OPTIONS_COMMON; i++) {
        print_option(file, &ctl_options[i]);
    }
}

static bool is_in_group(const struct ctl_command *command, const char *group)
{
    size_t size = strlen(group);
    return size == 0 || (strncmp(command->name, group, size) == 0 &&
                         (command->name[size] == ' ' || command->name[size] == '\0'));
}

static void print_commands(FILE *file, const char *group)
{
    fprintf(file, "usage: sinkholectl [-c FILE] [-s SOCKET] [--json] [--quiet] %s%sCOMMAND\n\n",
            group, group[0] != '\0' ? " " : "");
    for (size_t i = 0; i < ctl_command_count; i++) {
        if (ctl_commands[i].run != NULL && is_in_group(&ctl_commands[i], group)) {
            print_command(file, &ctl_commands[i]);
        }
    }
    fputs("\nOptions of every command:\n", file);
    print_common_options(file);
    fputs(
        "\n"
        "Where the configuration has a redis section, the commands that change the list write to\n"
        "Redis, with the configuration's user and password file, or with your own:\n"
        "  SINKHOLE_REDIS_USERNAME          the user\n"
        "  SINKHOLE_REDIS_PASSWORD_FILE     a file that holds the password alone\n"
        "Otherwise they ask the daemon, through its control socket.\n"
        "\n"
        "Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found.\n"
        "sinkholectl COMMAND --help says more of one command.\n",
        file);
}

void ctl_help_print(FILE *file, const struct ctl_command *command, const char *group)
{
    if (command == NULL) {
        print_commands(file, group);
        return;
    }
    fprintf(file, "usage: sinkholectl [OPTIONS] %s%s%s\n\n%s.\n", command->name,
            command->arguments[0] != '\0' ? " " : "", command->arguments, command->text);
    if (command->details != NULL) {
        fprintf(file, "\n%s\n", command->details);
    }
    fputs("\nOptions:\n", file);
    for (size_t i = CTL_OPTIONS_COMMON; i < CTL_OPTION_COUNT; i++) {
        if ((command->options & CTL_SET(i)) != 0) {
            print_option(file, &ctl_options[i]);
        }
    }
    print_common_options(file);
}
