#include "resolver/recursor/start.h"
#include "resolver/log.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unbound.h>
#include <unistd.h>

void start_say(int level, const char *format, ...)
{
    char text[CHANNEL_TEXT_SIZE_MAX + 1];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length < 0) {
        return;
    }
    size_t size = (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1;
    struct channel_record record = {
        .kind = CHANNEL_NOTE,
        .note = {.level = (uint8_t)level, .text = text, .text_size = size},
    };
    uint8_t message[CHANNEL_TEXT_SIZE_MAX + 16];
    int message_size = channel_write(&record, message, sizeof(message));
    assert(message_size > 0);
    if (channel_send(CONTROL_SOCKET, message, (size_t)message_size, NULL, 0) != 0) {
        dprintf(STDERR_FILENO, "sinkhole-recursor: %s\n", text);
    }
}

/* Waits, since the daemon may still be writing. */
static int receive(uint8_t *buffer, int *ret_descriptors, size_t *ret_count)
{
    for (;;) {
        int size = channel_receive(CONTROL_SOCKET, buffer, ret_descriptors, ret_count);
        if (size != -EAGAIN) {
            return size == 0 ? -EPIPE : size;
        }
        struct pollfd wait = {.fd = CONTROL_SOCKET, .events = POLLIN};
        if (poll(&wait, 1, -1) < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

static int take_setting(struct start *start, const struct channel_setting *setting)
{
    if (setting->kind != CHANNEL_FOLDER) {
        return 0; /* libunbound's: start_apply() */
    }
    memcpy(start->folder, setting->value, setting->value_size);
    start->folder[setting->value_size] = '\0';
    return 0;
}

/* 1 when the start record was in it, else 0, or -errno. */
static int take_message(struct start *start, size_t size, const int *descriptors, size_t count)
{
    bool started = false;
    for (size_t at = 0; at < size;) {
        struct channel_record record;
        int r = channel_read(start->settings + at, size - at, &record);
        if (r < 0) {
            return r;
        }
        at += (size_t)r;
        if (record.kind == CHANNEL_SOCKETS) {
            if (record.sockets != count || count > WORKERS_MAX - start->worker_count) {
                return -EBADMSG;
            }
            memcpy(start->workers + start->worker_count, descriptors, count * sizeof(int));
            start->worker_count += count;
        } else if (record.kind == CHANNEL_SETTING) {
            r = take_setting(start, &record.setting);
            if (r < 0) {
                return r;
            }
        } else if (record.kind == CHANNEL_START) {
            start->limits = record.start;
            start->settings_size = size;
            started = true;
        }
    }
    return started;
}

int start_read(struct start *ret_start)
{
    for (;;) {
        int descriptors[CHANNEL_DESCRIPTORS_MAX];
        size_t count = 0;
        int size = receive(ret_start->settings, descriptors, &count);
        int r = size < 0 ? size : take_message(ret_start, (size_t)size, descriptors, count);
        if (r < 0) {
            start_say(LOG_LEVEL_ERROR, "no start from the daemon: %s", strerror(-r));
            return r;
        }
        if (r > 0) {
            return 0;
        }
    }
}

/* Both texts, NUL-ended; libunbound wants an option's name with its colon. */
struct setting_text {
    char name[CHANNEL_TEXT_SIZE_MAX + 2];
    char value[CHANNEL_VALUE_SIZE_MAX + 1];
};

static struct setting_text text_of(const struct channel_setting *setting)
{
    struct setting_text text;
    snprintf(text.name, sizeof(text.name), "%.*s:", (int)setting->name_size, setting->name);
    snprintf(text.value, sizeof(text.value), "%.*s", (int)setting->value_size, setting->value);
    return text;
}

/* The optional options that were refused, for one line. */
struct refused {
    char names[CHANNEL_TEXT_SIZE_MAX];
    size_t size;
};

static void note_refused(struct refused *refused, const struct channel_setting *setting)
{
    int length = snprintf(refused->names + refused->size, sizeof(refused->names) - refused->size,
                          " %.*s", (int)setting->name_size, setting->name);
    if (length > 0 && (size_t)length < sizeof(refused->names) - refused->size) {
        refused->size += (size_t)length;
    }
    refused->names[refused->size] = '\0'; /* a name that did not fit leaves nothing behind */
}

static int apply_setting(const struct channel_setting *setting, struct ub_ctx *context,
                         struct refused *refused)
{
    struct setting_text text = text_of(setting);
    int r = 0;
    switch (setting->kind) {
    case CHANNEL_OPTION:
        r = ub_ctx_set_option(context, text.name, text.value);
        if (r != 0) {
            start_say(LOG_LEVEL_ERROR, "libunbound %s refuses %s %s: %s", ub_version(), text.name,
                      text.value, ub_strerror(r));
        }
        break;
    case CHANNEL_OPTION_OPTIONAL:
        if (ub_ctx_set_option(context, text.name, text.value) != 0) {
            note_refused(refused, setting);
        }
        break;
    case CHANNEL_ANCHOR:
        r = ub_ctx_add_ta(context, text.value);
        if (r != 0) {
            start_say(LOG_LEVEL_ERROR, "libunbound refuses the trust anchor %s: %s", text.value,
                      ub_strerror(r));
        }
        break;
    case CHANNEL_ANCHOR_FILE:
        r = ub_ctx_add_ta_file(context, text.value);
        if (r != 0) {
            start_say(LOG_LEVEL_ERROR, "recursion.trust_anchor: %s: %s", text.value,
                      ub_strerror(r));
        }
        break;
    default:
        break;
    }
    return r == 0 ? 0 : -EINVAL;
}

/* What libunbound writes to its log, a line at a time: "[time] libunbound[process:thread] text". */
static ssize_t say_libunbound(void *cookie, const char *text, size_t size)
{
    (void)cookie;
    size_t from = 0;
    for (size_t i = 0; i + 1 < size && i < 64; i++) {
        if (text[i] == ']' && text[i + 1] == ' ') {
            from = i + 2;
        }
    }
    size_t end = size;
    while (end > from && text[end - 1] == '\n') {
        end--;
    }
    if (end > from) {
        start_say(LOG_LEVEL_WARNING, "libunbound: %.*s", (int)(end - from), text + from);
    }
    return (ssize_t)size;
}

static void take_log(struct ub_ctx *context)
{
    FILE *log = fopencookie(NULL, "w", (cookie_io_functions_t){.write = say_libunbound});
    if (log == NULL || setvbuf(log, NULL, _IOLBF, BUFSIZ) != 0 ||
        ub_ctx_debugout(context, log) != 0) {
        start_say(LOG_LEVEL_WARNING, "libunbound writes to standard error itself");
    }
}

int start_apply(const struct start *start, struct ub_ctx *context)
{
    struct refused refused = {0};
    take_log(context);
    for (size_t at = 0; at < start->settings_size;) {
        struct channel_record record;
        int r = channel_read(start->settings + at, start->settings_size - at, &record);
        assert(r > 0); /* it has been read before */
        at += (size_t)r;
        if (record.kind == CHANNEL_SETTING) {
            r = apply_setting(&record.setting, context, &refused);
            if (r < 0) {
                return r;
            }
        }
    }
    if (refused.size > 0) {
        start_say(LOG_LEVEL_INFO, "libunbound %s has no options%s; it works without", ub_version(),
                  refused.names);
    }
    return 0;
}
