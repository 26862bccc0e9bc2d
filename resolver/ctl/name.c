#include "resolver/ctl/name.h"

#include <errno.h>
#include <idn2.h>
#include <stdio.h>
#include <string.h>

static bool is_ascii(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((uint8_t)*text >= 0x80) {
            return false;
        }
    }
    return true;
}

static int refuse(const char *why, char error[static CTL_ERROR_SIZE])
{
    snprintf(error, CTL_ERROR_SIZE, "%s", why);
    return -EINVAL;
}

static int read_ascii(const char *text, struct ctl_name *ret_name,
                      char ret_error[static CTL_ERROR_SIZE])
{
    static const char octets[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t size = strlen(text);
    size_t good = strspn(text, octets);

    if (size == 0) {
        return refuse("an empty name", ret_error);
    }
    if (strncmp(text, "*.", 2) == 0) {
        return refuse("give it without \"*.\": what is below a name is listed with it", ret_error);
    }
    if (strstr(text, "://") != NULL) {
        return refuse("a URL, not a name: give the host alone", ret_error);
    }
    if (good != size) {
        return refuse("not a domain name: letters, digits, \"-\", \"_\" and dots only", ret_error);
    }
    struct ctl_name name;
    int r = bl_name_from_text(text, size, name.wire);
    if (r < 0) {
        return refuse(
            "not a domain name: a label is empty or longer than 63, or the name is longer "
            "than 253 octets",
            ret_error);
    }
    name.wire_size = (size_t)r;
    bl_name_to_text(name.wire, name.text);
    if (strcmp(name.text, ".") == 0) {
        name.text[0] = '\0';
    }
    *ret_name = name;
    return 0;
}

int ctl_name_read(const char *typed, struct ctl_name *ret_name,
                  char ret_error[static CTL_ERROR_SIZE])
{
    uint8_t *converted = NULL;

    if (is_ascii(typed)) {
        return read_ascii(typed, ret_name, ret_error);
    }
    int r =
        idn2_lookup_u8((const uint8_t *)typed, &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (r != IDN2_OK) {
        snprintf(ret_error, CTL_ERROR_SIZE,
                 "not an international name (%s): give its A-label form, "
                 "xn--...",
                 idn2_strerror(r));
        return -EINVAL;
    }
    r = read_ascii((const char *)converted, ret_name, ret_error);
    idn2_free(converted);
    return r;
}
