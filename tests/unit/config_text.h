/* config_text.h - configurations as texts in the tests, loaded as files. */
#ifndef TESTS_UNIT_CONFIG_TEXT_H
#define TESTS_UNIT_CONFIG_TEXT_H

#include "resolver/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Loads `text` as a file; the messages name it "f". */
static inline int load_text(const char *text, size_t size, struct config **ret_config,
                            char ret_error[static CONFIG_ERROR_SIZE_MAX])
{
    char path[64];
    char error[CONFIG_ERROR_SIZE_MAX] = "";
    int file = memfd_create("config", 0);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, size), (ssize_t)size);
    assert_int_equal(lseek(file, 0, SEEK_SET), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    int r = config_load(path, ret_config, error);
    close(file);
    size_t path_size = strlen(path);
    bool named = strncmp(error, path, path_size) == 0;
    snprintf(ret_error, CONFIG_ERROR_SIZE_MAX, "%s%s", named ? "f" : "",
             error + (named ? path_size : 0));
    return r;
}

static inline struct config *load(const char *text)
{
    struct config *config = NULL;
    char error[CONFIG_ERROR_SIZE_MAX];
    if (load_text(text, strlen(text), &config, error) != 0) {
        fail_msg("%s", error);
    }
    return config;
}

static inline void assert_refused(const char *text, const char *expected)
{
    struct config *config = (struct config *)-1;
    char error[CONFIG_ERROR_SIZE_MAX];
    int r = load_text(text, strlen(text), &config, error);
    if (r != -EINVAL || strcmp(error, expected) != 0) {
        fail_msg("%s\ngives %d: %s\nand not:  %s", text, r, error, expected);
    }
    assert_ptr_equal(config, (struct config *)-1);
}

#endif
