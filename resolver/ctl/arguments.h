/* arguments.h - the command line, read against one table of commands and one of options.
 *
 * Both tables stand in commands.c and nowhere else: what is accepted, the help and the refusals
 * come from them. A command or an option that is documented but not built is in the table too, so
 * that it is refused as "not in this version" and not as unknown. */
#ifndef RESOLVER_CTL_ARGUMENTS_H
#define RESOLVER_CTL_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CTL_ERROR_SIZE 1024u
#define CTL_WORDS_MAX 100000u /* names on one command line; the kernel's own limit is near it */

enum ctl_option {
    /* those that every command takes */
    CTL_OPTION_CONFIG,
    CTL_OPTION_SOCKET,
    CTL_OPTION_JSON,
    CTL_OPTION_QUIET,
    CTL_OPTION_HELP,
    /* those of single commands */
    CTL_OPTION_CATEGORY,
    CTL_OPTION_CLIENT,
    CTL_OPTION_DRY_RUN,
    CTL_OPTION_EXACT,
    CTL_OPTION_FEED,
    CTL_OPTION_FORMAT,
    CTL_OPTION_KIND,
    CTL_OPTION_LABEL,
    CTL_OPTION_MERGE,
    CTL_OPTION_NAME,
    CTL_OPTION_PRIORITY,
    CTL_OPTION_REASON,
    CTL_OPTION_REJECTS,
    CTL_OPTION_REPLACE,
    CTL_OPTION_TIER,
    CTL_OPTION_TYPE,
    CTL_OPTION_COUNT,
};
#define CTL_OPTIONS_COMMON (CTL_OPTION_HELP + 1)
#define CTL_SET(option) (1u << (option))

struct ctl_option_text {
    char letter;          /* 0: only the long form */
    const char *name;     /* without its dashes */
    const char *argument; /* NULL: a flag */
    const char *text;
};

struct ctl;

struct ctl_command {
    const char *name;      /* "status", "feed list" */
    const char *arguments; /* as help shows them; "" if none */
    const char *text;      /* one line */
    const char *details;   /* more for the command's own help, or NULL */
    uint32_t options;      /* set of CTL_SET(), besides the common ones */
    const char *later;     /* documented options that are not built, separated by blanks; or NULL */
    unsigned words_min;    /* words after the command's name */
    unsigned words_max;
    int (*run)(struct ctl *ctl); /* returns an enum ctl_exit; NULL: not in this version */
};

extern const struct ctl_option_text ctl_options[CTL_OPTION_COUNT];
extern const struct ctl_command ctl_commands[];
extern const size_t ctl_command_count;

struct ctl_arguments {
    const struct ctl_command *command;    /* NULL only when help was asked for */
    const char *values[CTL_OPTION_COUNT]; /* NULL: not given; "" for a flag. Lent by argv */
    const char **words;                   /* after the command's name. The array is ours */
    size_t word_count;
    char group[64]; /* the first word when it names only a group ("feed"); else "" */
};

/* Reads argv[1..argc-1]. 0, or -EINVAL with a line in ret_error that says what is wrong and what to
 * do; -ENOMEM. What it holds is to be released by ctl_arguments_done(), also after a failure. */
int ctl_arguments_parse(int argc, char *const argv[], struct ctl_arguments *ret_arguments,
                        char ret_error[static CTL_ERROR_SIZE]);
void ctl_arguments_done(struct ctl_arguments *arguments);

static inline bool ctl_arguments_has(const struct ctl_arguments *arguments, enum ctl_option option)
{
    return arguments->values[option] != NULL;
}

/* The command of exactly this name ("feed list"), built or not; NULL if there is none. */
const struct ctl_command *ctl_command_find(const char *name);

/* Whether some command's first word is `word` and it has a second ("feed"). */
bool ctl_command_is_group(const char *word);

/* The nearest built command's name to what was typed, or NULL if none is near. */
const char *ctl_command_near(const char *typed);

/* Prints the overview (command NULL, group ""), the commands of a group, or one command's help. */
void ctl_help_print(FILE *file, const struct ctl_command *command, const char *group);

#endif
