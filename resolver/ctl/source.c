#include "resolver/ctl/source.h"

#include "resolver/ctl/output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define READ_SIZE ((size_t)1 << 20)
#define SHOWN_SIZE 200u /* octets of a refused line that a report keeps */

static int read_stream(FILE *file, char **ret_text, size_t *ret_size)
{
    char *text = NULL;
    size_t size = 0;
    size_t room = 0;

    for (;;) {
        if (size == room) {
            room = room > 0 ? 2 * room : READ_SIZE;
            char *larger = room <= CTL_SOURCE_SIZE_MAX ? realloc(text, room) : NULL;
            if (larger == NULL) {
                free(text);
                return room <= CTL_SOURCE_SIZE_MAX ? -ENOMEM : -EFBIG;
            }
            text = larger;
        }
        errno = 0;
        size_t got = fread(text + size, 1, room - size, file);
        size += got;
        if (got == 0 && ferror(file)) {
            int error = errno != 0 ? errno : EIO;
            free(text);
            return -error;
        }
        if (got == 0) {
            *ret_text = text;
            *ret_size = size;
            return 0;
        }
    }
}

int ctl_source_read(const char *path, char **ret_text, size_t *ret_size)
{
    if (strcmp(path, "-") == 0) {
        return read_stream(stdin, ret_text, ret_size);
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return -errno;
    }
    int r = read_stream(file, ret_text, ret_size);
    fclose(file);
    return r;
}

static void reject(struct ctl_source *source, const char *reason, const char *text, size_t size)
{
    source->rejected++;
    if (source->rejects != NULL) {
        fprintf(source->rejects, "%" PRIu64 "\t%s\t", source->line, reason);
        fwrite(text, 1, size, source->rejects);
        fputc('\n', source->rejects);
    }
    if (source->rejected > CTL_REJECTS_KEPT) {
        return;
    }
    char *safe = ctl_text_safe(text, size < SHOWN_SIZE ? size : SHOWN_SIZE);
    json_array_append_new(source->kept,
                          json_pack("{s:I, s:s, s:s}", "line", (json_int_t)source->line, "reason",
                                    reason, "text", safe != NULL ? safe : ""));
    free(safe);
}

static void take_name(void *context, const uint8_t *name, size_t size, enum bl_scope scope)
{
    struct ctl_source *source = context;
    char text[BL_NAME_TEXT_SIZE_MAX];
    size_t text_size = bl_name_to_text(name, text);
    enum bl_guard guard =
        source->guards != NULL ? bl_guard_check(source->guards, name, size) : BL_GUARD_PASS;
    bool exact = scope == BL_SCOPE_EXACT;

    if (guard != BL_GUARD_PASS) {
        reject(source, bl_guard_text(guard), text, text_size);
        return;
    }
    if (strcmp(text, ".") == 0) { /* no protocol key can hold it, and freeing it would free all */
        reject(source, bl_guard_text(BL_GUARD_ROOT), text, text_size);
        return;
    }
    int r = ctl_entries_add(&source->entries, text, text_size, exact ? "x" : "", exact ? 1 : 0);
    source->error = source->error < 0 ? source->error : r;
}

int ctl_source_parse(struct ctl_source *source, const char *text, size_t size)
{
    const char *end = text + size;

    source->kept = json_array();
    if (source->kept == NULL) {
        return -ENOMEM;
    }
    for (const char *line = text; line < end && source->error == 0;) {
        const char *reason = NULL;
        const char *line_end = memchr(line, '\n', (size_t)(end - line));
        size_t line_size = (size_t)((line_end != NULL ? line_end : end) - line);

        source->line++;
        if (bl_format_line(source->format, line, line_size, take_name, source, &reason) < 0) {
            bool cr = line_size > 0 && line[line_size - 1] == '\r';
            reject(source, reason, line, line_size - cr);
        }
        line = line_end != NULL ? line_end + 1 : end;
    }
    source->repeated = ctl_entries_order(&source->entries);
    return source->error;
}

void ctl_source_done(struct ctl_source *source)
{
    ctl_entries_done(&source->entries);
    json_decref(source->kept);
    source->kept = NULL;
}
