#include "resolver/ctl/import_file.h"

#include "resolver/ctl/ask.h"

#include <errno.h>
#include <string.h>

int ctl_import_parse(struct ctl_import *import, bool allow)
{
    struct ctl *ctl = import->ctl;
    const char *rejects = ctl->arguments.values[CTL_OPTION_REJECTS];
    const char *format = ctl->arguments.values[CTL_OPTION_FORMAT];

    /* The command line has been checked: the word is one of the three. */
    (void)bl_format_from_text(format != NULL ? format : "auto",
                              strlen(format != NULL ? format : "auto"), &import->source.format);
    if (!allow && bl_guards_new(&import->guards) < 0) {
        return ctl_fail(ctl, CTL_FAILED,
                        "no list of public suffixes: libpsl was built without one, or memory is "
                        "short");
    }
    import->source.guards = import->guards;
    if (rejects != NULL) {
        import->source.rejects = fopen(rejects, "we");
        if (import->source.rejects == NULL) {
            return ctl_fail(ctl, CTL_FAILED, "can't write %s: %s", rejects, strerror(errno));
        }
    }
    int r = ctl_source_parse(&import->source, import->text, import->text_size);
    bool written = import->source.rejects == NULL || !ferror(import->source.rejects);
    written = (import->source.rejects == NULL || fclose(import->source.rejects) == 0) && written;
    import->source.rejects = NULL;
    if (r < 0) {
        return ctl_fail(ctl, CTL_FAILED, "%s: %s", import->path, strerror(-r));
    }
    if (!written) {
        return ctl_fail(ctl, CTL_FAILED, "can't write %s: is the disk full?", rejects);
    }
    if (import->source.entries.count == 0 && import->source.rejected > 0) {
        const json_t *first = json_array_get(import->source.kept, 0);
        return ctl_fail(ctl, CTL_FAILED,
                        "%s: none of its lines can be used (line %" JSON_INTEGER_FORMAT
                        ": %s); is the format right? nothing is changed",
                        import->path, json_integer_value(json_object_get(first, "line")),
                        ctl_json_text(first, "reason"));
    }
    return CTL_DONE;
}
