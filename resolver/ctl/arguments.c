#include "resolver/ctl/arguments.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NEAR_SIZE_MAX 32u /* longer words are nobody's typing error */

static int refuse(char error[static CTL_ERROR_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse(char error[static CTL_ERROR_SIZE], const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(error, CTL_ERROR_SIZE, format, list);
    va_end(list);
    return -EINVAL;
}

const struct ctl_command *ctl_command_find(const char *name)
{
    for (size_t i = 0; i < ctl_command_count; i++) {
        if (strcmp(ctl_commands[i].name, name) == 0) {
            return &ctl_commands[i];
        }
    }
    return NULL;
}

static const struct ctl_command *find_second(const char *first, const char *second)
{
    char name[128];
    int size = snprintf(name, sizeof(name), "%s %s", first, second);
    return size > 0 && (size_t)size < sizeof(name) ? ctl_command_find(name) : NULL;
}

bool ctl_command_is_group(const char *word)
{
    size_t size = strlen(word);
    for (size_t i = 0; i < ctl_command_count; i++) {
        if (strncmp(ctl_commands[i].name, word, size) == 0 && ctl_commands[i].name[size] == ' ') {
            return true;
        }
    }
    return false;
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits between two short words; two neighbours exchanged count as one (optimal string
 * alignment). */
static unsigned edits(const char *a, const char *b)
{
    size_t a_size = strlen(a);
    size_t b_size = strlen(b);
    unsigned cost[NEAR_SIZE_MAX + 1][NEAR_SIZE_MAX + 1];

    if (a_size > NEAR_SIZE_MAX || b_size > NEAR_SIZE_MAX) {
        return NEAR_SIZE_MAX;
    }
    for (size_t i = 0; i <= a_size; i++) {
        for (size_t j = 0; j <= b_size; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = (unsigned)(i + j);
                continue;
            }
            unsigned changed = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            cost[i][j] = smaller(changed, smaller(cost[i - 1][j], cost[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                cost[i][j] = smaller(cost[i][j], cost[i - 2][j - 2] + 1);
            }
        }
    }
    return cost[a_size][b_size];
}

const char *ctl_command_near(const char *typed)
{
    const char *best = NULL;
    unsigned best_edits = 3; /* more than two slips is another word */

    for (size_t i = 0; i < ctl_command_count; i++) {
        const char *name = ctl_commands[i].name;
        unsigned distance = edits(typed, name);
        if (ctl_commands[i].run != NULL && distance < best_edits &&
            distance < strlen(name) / 2 + 1) {
            best = name;
            best_edits = distance;
        }
    }
    return best;
}

static int refuse_unknown(char error[static CTL_ERROR_SIZE], const char *typed)
{
    const char *near = ctl_command_near(typed);
    if (near != NULL) {
        return refuse(error, "unknown command \"%.64s\": did you mean \"%s\"?", typed, near);
    }
    return refuse(error, "unknown command \"%.64s\"; sinkholectl help lists them", typed);
}

static int take_command(struct ctl_arguments *arguments, const struct ctl_command *command,
                        char error[static CTL_ERROR_SIZE])
{
    if (command->run == NULL) {
        return refuse(error, "\"%s\" is not in this version; sinkholectl help lists what is",
                      command->name);
    }
    arguments->command = command;
    return 0;
}

/* A word is the command, its second half, or an argument of it, in this order. */
static int take_word(struct ctl_arguments *arguments, const char *word, const char **first,
                     char error[static CTL_ERROR_SIZE])
{
    if (*first == NULL) {
        *first = word;
        const struct ctl_command *command = ctl_command_find(word);
        if (command != NULL) {
            return take_command(arguments, command, error);
        }
        if (!ctl_command_is_group(word)) {
            return refuse_unknown(error, word);
        }
        snprintf(arguments->group, sizeof(arguments->group), "%s", word);
        return 0;
    }
    if (arguments->word_count == 0 && ctl_command_is_group(*first) &&
        (arguments->command == NULL || strcmp(arguments->command->name, *first) == 0)) {
        const struct ctl_command *command = find_second(*first, word);
        if (command != NULL) {
            arguments->group[0] = '\0';
            return take_command(arguments, command, error);
        }
        if (arguments->command == NULL) {
            char typed[160];
            snprintf(typed, sizeof(typed), "%s %.64s", *first, word);
            return refuse_unknown(error, typed);
        }
    }
    assert(arguments->command != NULL);
    arguments->words[arguments->word_count++] = word;
    return 0;
}

static bool is_later(const struct ctl_command *command, const char *name, size_t size)
{
    const char *at = command != NULL && command->later != NULL ? command->later : "";

    while (*at != '\0') {
        size_t word_size = strcspn(at, " ");
        if (word_size == size && memcmp(at, name, size) == 0) {
            return true;
        }
        at += word_size;
        at += strspn(at, " ");
    }
    return false;
}

static bool is_taken(const struct ctl_command *command, size_t option)
{
    return option < CTL_OPTIONS_COMMON ||
           (command != NULL && (command->options & CTL_SET(option)) != 0);
}

/* Finds the option that `name` means to this command; CTL_OPTION_COUNT if none. */
static size_t find_option(const struct ctl_command *command, const char *name, size_t size)
{
    for (size_t i = 0; i < CTL_OPTION_COUNT; i++) {
        const char *known = ctl_options[i].name;
        if (strlen(known) == size && memcmp(known, name, size) == 0 && is_taken(command, i)) {
            return i;
        }
    }
    return CTL_OPTION_COUNT;
}

static size_t find_letter(char letter)
{
    for (size_t i = 0; i < CTL_OPTIONS_COMMON; i++) {
        if (ctl_options[i].letter == letter && letter != '\0') {
            return i;
        }
    }
    return CTL_OPTION_COUNT;
}

static int refuse_option(const struct ctl_command *command, const char *text,
                         char error[static CTL_ERROR_SIZE])
{
    const char *name = text + strspn(text, "-");
    if (is_later(command, name, strcspn(name, "="))) {
        return refuse(error, "\"%s\" of \"%s\" is not in this version", text, command->name);
    }
    if (command == NULL) {
        return refuse(error, "\"%.64s\" is no option of every command: give it after the command",
                      text);
    }
    return refuse(error, "\"%.64s\" is no option of \"%s\"; sinkholectl %s --help lists them", text,
                  command->name, command->name);
}

/* Takes the option at argv[*at], and its value there or in the next word. */
static int take_option(struct ctl_arguments *arguments, int argc, char *const argv[], int *at,
                       char error[static CTL_ERROR_SIZE])
{
    const char *text = argv[*at];
    const char *value = NULL;
    size_t option;

    if (text[1] == '-') {
        size_t size = strcspn(text + 2, "=");
        option = find_option(arguments->command, text + 2, size);
        value = text[2 + size] == '=' ? text + 2 + size + 1 : NULL;
    } else {
        option = find_letter(text[1]);
        value = text[1] != '\0' && text[2] != '\0' ? text + 2 : NULL;
    }
    if (option == CTL_OPTION_COUNT) {
        return refuse_option(arguments->command, text, error);
    }
    if (ctl_options[option].argument == NULL) {
        if (value != NULL) {
            return refuse(error, "\"--%s\" takes no value", ctl_options[option].name);
        }
        value = "";
    } else if (value == NULL) {
        if (*at + 1 == argc) {
            return refuse(error, "\"%s\" needs a value: %s", text, ctl_options[option].argument);
        }
        value = argv[++*at];
    }
    if (arguments->values[option] != NULL && ctl_options[option].argument != NULL) {
        return refuse(error, "\"--%s\" is given twice", ctl_options[option].name);
    }
    arguments->values[option] = value;
    return 0;
}

static int check_words(const struct ctl_arguments *arguments, char error[static CTL_ERROR_SIZE])
{
    const struct ctl_command *command = arguments->command;

    if (ctl_arguments_has(arguments, CTL_OPTION_HELP)) {
        return 0;
    }
    if (command == NULL && arguments->group[0] != '\0') {
        return refuse(error, "\"%s\" needs a second word; sinkholectl help %s lists them",
                      arguments->group, arguments->group);
    }
    if (command == NULL) {
        return refuse(error, "a command is missing; sinkholectl help lists them");
    }
    if (arguments->word_count < command->words_min) {
        return refuse(error, "too few arguments: sinkholectl %s %s", command->name,
                      command->arguments);
    }
    if (arguments->word_count > command->words_max) {
        return refuse(error, "too many arguments (\"%.64s\"): sinkholectl %s %s",
                      arguments->words[command->words_max], command->name, command->arguments);
    }
    return 0;
}

int ctl_arguments_parse(int argc, char *const argv[], struct ctl_arguments *ret_arguments,
                        char ret_error[static CTL_ERROR_SIZE])
{
    struct ctl_arguments *arguments = ret_arguments;
    const char *first = NULL;
    bool only_words = false;

    memset(arguments, 0, sizeof(*arguments));
    arguments->words = calloc((size_t)(argc > 0 ? argc : 1), sizeof(arguments->words[0]));
    if (arguments->words == NULL) {
        return -ENOMEM;
    }
    for (int i = 1; i < argc; i++) {
        int r;
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
            continue;
        }
        /* A lone dash is standard input. */
        if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0') {
            r = take_option(arguments, argc, argv, &i, ret_error);
        } else {
            r = take_word(arguments, argv[i], &first, ret_error);
        }
        if (r < 0) {
            return r;
        }
    }
    return check_words(arguments, ret_error);
}

void ctl_arguments_done(struct ctl_arguments *arguments)
{
    free(arguments->words);
    arguments->words = NULL;
}
