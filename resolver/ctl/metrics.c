/* metrics: the daemon's Prometheus text (format 0.0.4), whole, by prefix, or as JSON. */
#include "resolver/ctl/ask.h"
#include "resolver/ctl/output.h"

#include <stdlib.h>
#include <string.h>

struct sample_text {
    const char *at;
    const char *end;
};

/* The metric's name that a line is about: a sample's, or that of a HELP or TYPE comment. */
static const char *name_of(const char *line, size_t size, size_t *ret_size)
{
    static const char *const comments[] = {"# HELP ", "# TYPE "};

    for (size_t i = 0; i < sizeof(comments) / sizeof(comments[0]); i++) {
        size_t skipped = strlen(comments[i]);
        if (size > skipped && memcmp(line, comments[i], skipped) == 0) {
            line += skipped;
            size -= skipped;
            break;
        }
    }
    size_t at = 0;
    while (at < size && line[at] != ' ' && line[at] != '{') {
        at++;
    }
    *ret_size = at;
    return line;
}

/* Reads NAME="VALUE" with its escapes into `labels`; false when it is of another form. */
static bool read_label(struct sample_text *text, json_t *labels)
{
    const char *equals = memchr(text->at, '=', (size_t)(text->end - text->at));
    char value[1024];
    size_t used = 0;

    if (equals == NULL || text->end - equals < 2 || equals[1] != '"') {
        return false;
    }
    const char *at = equals + 2;
    for (; at < text->end && *at != '"'; at++) {
        char octet = *at;
        if (octet == '\\' && at + 1 < text->end) {
            octet = *++at == 'n' ? '\n' : *at;
        }
        if (used == sizeof(value)) {
            return false;
        }
        value[used++] = octet;
    }
    if (at == text->end) {
        return false;
    }
    char *key = strndup(text->at, (size_t)(equals - text->at));
    bool set = key != NULL && json_object_set_new(labels, key, json_stringn(value, used)) == 0;
    free(key);
    text->at = at + 1;
    return set;
}

/* One sample line as {"name", "labels", "value"}; NULL for a comment or what is of another form. */
static json_t *sample_of(const char *line, size_t size)
{
    size_t name_size = 0;
    struct sample_text text = {.end = line + size};

    if (size == 0 || line[0] == '#') {
        return NULL;
    }
    const char *name = name_of(line, size, &name_size);
    json_t *labels = json_object();
    text.at = name + name_size;
    if (text.at < text.end && *text.at == '{') {
        text.at++;
        while (text.at < text.end && *text.at != '}') {
            if (!read_label(&text, labels)) {
                json_decref(labels);
                return NULL;
            }
            text.at += text.at < text.end && *text.at == ',';
        }
        text.at += text.at < text.end;
    }
    char number[64] = "";
    size_t number_size = (size_t)(text.end - text.at);
    memcpy(number, text.at, number_size < sizeof(number) ? number_size : sizeof(number) - 1);
    double value = strtod(number, NULL);
    /* JSON has neither NaN nor infinity. */
    json_t *json_value = value - value == 0.0 ? json_real(value) : json_null();
    if (value >= -9007199254740992.0 && value <= 9007199254740992.0 &&
        (double)(json_int_t)value == value) {
        json_decref(json_value);
        json_value = json_integer((json_int_t)value);
    }
    return json_pack("{s:s%, s:o, s:o}", "name", name, name_size, "labels", labels, "value",
                     json_value);
}

static bool begins_with(const char *line, size_t size, const char *prefix)
{
    size_t name_size = 0;
    const char *name = name_of(line, size, &name_size);
    size_t prefix_size = strlen(prefix);

    return name_size >= prefix_size && memcmp(name, prefix, prefix_size) == 0;
}

/* Walks the lines that the prefix leaves; returns how many. */
static size_t walk(const struct ctl_response *response, const char *prefix, bool print,
                   json_t *samples)
{
    const char *end = response->body + response->body_size;
    size_t count = 0;

    for (const char *line = response->body; line < end;) {
        const char *line_end = memchr(line, '\n', (size_t)(end - line));
        size_t size = (size_t)((line_end != NULL ? line_end : end) - line);
        if (begins_with(line, size, prefix)) {
            count++;
            if (print) {
                ctl_write_safe(stdout, line, size);
                putchar('\n');
            }
            json_t *sample = samples != NULL ? sample_of(line, size) : NULL;
            if (sample != NULL) {
                json_array_append_new(samples, sample);
            }
        }
        line = line_end != NULL ? line_end + 1 : end;
    }
    return count;
}

int ctl_run_metrics(struct ctl *ctl)
{
    const char *prefix = ctl->arguments.word_count > 0 ? ctl->arguments.words[0] : "";
    struct ctl_response response = {0};
    json_t *samples = ctl->json ? json_array() : NULL;

    int status = ctl_ask_text(ctl, "GET", "/metrics", NULL, NULL, 0, &response);
    if (status == CTL_DONE) {
        size_t count = walk(&response, prefix, ctl_wants_text(ctl), samples);
        if (count == 0 && prefix[0] != '\0') {
            status = ctl_fail(ctl, CTL_NOT_FOUND, "no metric's name begins with %s", prefix);
        } else if (ctl->json) {
            status = ctl_print_json(ctl, CTL_DONE, json_pack("{s:O}", "metrics", samples));
        }
        ctl_response_done(&response);
    }
    json_decref(samples);
    return status;
}
