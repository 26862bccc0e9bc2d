#include "resolver/log.h"

#include "geo/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE_MAX 4096u /* PIPE_BUF: lines of several threads do not mix in a pipe */
#define LINE_END_SIZE 3u    /* kept free for what closes a line: a quote, a brace, the newline */
#define NUMBERS 16u         /* log_number() buffers: no line has more numbers */

static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic int format_now = LOG_FORMAT_LOGFMT;

struct line {
    char text[LINE_SIZE_MAX];
    size_t size;
    bool full; /* something did not fit: nothing more is added */
};

void log_set(enum log_level level, enum log_format format)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
    atomic_store_explicit(&format_now, (int)format, memory_order_relaxed);
}

enum log_level log_level_now(void)
{
    return (enum log_level)atomic_load_explicit(&level_now, memory_order_relaxed);
}

const char *log_number(long long number)
{
    static _Thread_local char texts[NUMBERS][24];
    static _Thread_local unsigned next;
    char *text = texts[next++ % NUMBERS];
    snprintf(text, sizeof(texts[0]), "%lld", number);
    return text;
}

/* Adds all of `text` or nothing. */
static void put(struct line *line, const char *text, size_t size)
{
    if (line->full || size > sizeof(line->text) - LINE_END_SIZE - line->size) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static bool is_control(const char *character, size_t size)
{
    unsigned char first = (unsigned char)character[0];
    if (size == 1) {
        return first < ' ' || first == 0x7f;
    }
    return first == 0xc2 && (unsigned char)character[1] < 0xa0; /* U+0080..U+009F */
}

static void put_escaped(struct line *line, const char *character, size_t size, bool json)
{
    char text[8];
    switch (character[0]) {
    case '"':
    case '\\':
        snprintf(text, sizeof(text), "\\%c", character[0]);
        break;
    case '\n':
        snprintf(text, sizeof(text), "\\n");
        break;
    case '\t':
        snprintf(text, sizeof(text), "\\t");
        break;
    default:
        /* Of a control character of two octets the second is its number. */
        snprintf(text, sizeof(text), json ? "\\u00%02x" : "\\x%02x",
                 (unsigned)(unsigned char)character[size - 1]);
        break;
    }
    put_text(line, text);
}

/* Between quotes. Whole characters only, so that a line that is cut is still well-formed. */
static void put_quoted(struct line *line, const char *text, bool json)
{
    size_t size = strlen(text);
    put(line, "\"", 1);
    for (size_t i = 0; i < size;) {
        size_t character = utf8_sequence_size((const uint8_t *)text + i, size - i);
        if (character == 0) {
            put_text(line, json ? "\\ufffd" : "\xef\xbf\xbd");
            i++;
            continue;
        }
        if (is_control(text + i, character) || text[i] == '"' || text[i] == '\\') {
            put_escaped(line, text + i, character, json);
        } else {
            put(line, text + i, character);
        }
        i += character;
    }
    line->text[line->size++] = '"'; /* there is room: it was kept for the end */
    line->full = line->full || line->size > sizeof(line->text) - LINE_END_SIZE;
}

static bool needs_quotes(const char *text)
{
    if (text[0] == '\0') {
        return true;
    }
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 0x7f || *text == '"' ||
            *text == '=' || *text == '\\') {
            return true;
        }
    }
    return false;
}

static void put_pair(struct line *line, const char *key, const char *value, bool json)
{
    if (line->full || strlen(key) + 8 > sizeof(line->text) - LINE_END_SIZE - line->size) {
        line->full = true; /* a key without its value says nothing */
        return;
    }
    if (json) {
        put_text(line, line->size == 0 ? "{" : ",");
        put_quoted(line, key, json);
        put(line, ":", 1);
        put_quoted(line, value, json);
        return;
    }
    put_text(line, line->size == 0 ? "" : " ");
    put_text(line, key);
    put(line, "=", 1);
    if (needs_quotes(value)) {
        put_quoted(line, value, json);
    } else {
        put_text(line, value);
    }
}

static void put_time(struct line *line, bool json)
{
    char text[48];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + size, sizeof(text) - size, ".%03ldZ", now.tv_nsec / 1000000);
    put_pair(line, "time", text, json);
}

static void write_line(const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, text, size);
        if (written < 0 && errno != EINTR) {
            return; /* there is nobody to tell */
        }
        if (written > 0) {
            text += written;
            size -= (size_t)written;
        }
    }
}

void log_write(enum log_level level, const char *message, ...)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    if (level > log_level_now()) {
        return;
    }
    struct line line;
    line.size = 0;
    line.full = false;
    bool json = atomic_load_explicit(&format_now, memory_order_relaxed) == LOG_FORMAT_JSON;
    put_time(&line, json);
    put_pair(&line, "level", levels[level], json);
    put_pair(&line, json ? "message" : "msg", message, json);

    va_list pairs;
    va_start(pairs, message);
    for (const char *key; (key = va_arg(pairs, const char *)) != NULL;) {
        const char *value = va_arg(pairs, const char *);
        put_pair(&line, key, value != NULL ? value : "", json);
    }
    va_end(pairs);
    if (json) {
        line.text[line.size++] = '}';
    }
    line.text[line.size++] = '\n';
    write_line(line.text, line.size);
}
