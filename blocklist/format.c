#include "blocklist/format.h"

#include "blocklist/name.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* A run of octets of the line. */
struct token {
    const char *text;
    size_t size;
};

static const char *const format_texts[] = {"auto", "plain", "hosts"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *bl_format_text(enum bl_format format)
{
    return (size_t)format < COUNT(format_texts) ? format_texts[format] : NULL;
}

int bl_format_from_text(const char *text, size_t size, enum bl_format *ret_format)
{
    for (size_t i = 0; i < COUNT(format_texts); i++) {
        if (strlen(format_texts[i]) == size && memcmp(format_texts[i], text, size) == 0) {
            *ret_format = (enum bl_format)i;
            return 0;
        }
    }
    return -EINVAL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

/* Takes the next token off *rest; a `#` at the start of one ends the line. False at the end. */
static bool next_token(struct token *rest, struct token *ret_token)
{
    while (rest->size > 0 && is_space(rest->text[0])) {
        rest->text++;
        rest->size--;
    }
    if (rest->size == 0 || rest->text[0] == '#') {
        return false;
    }
    struct token token = {rest->text, 0};
    while (token.size < rest->size && !is_space(token.text[token.size])) {
        token.size++;
    }
    rest->text += token.size;
    rest->size -= token.size;
    *ret_token = token;
    return true;
}

static bool is_text(struct token token, const char *text)
{
    return strlen(text) == token.size && strncasecmp(token.text, text, token.size) == 0;
}

/* Takes the scope of an IPv6 address (fe80::1%lo0) for part of it. */
static bool is_address(struct token token)
{
    char text[INET6_ADDRSTRLEN];
    const char *zone = memchr(token.text, '%', token.size);
    size_t size = zone != NULL ? (size_t)(zone - token.text) : token.size;
    if (size == 0 || size >= sizeof(text)) {
        return false;
    }
    memcpy(text, token.text, size);
    text[size] = '\0';
    if (strlen(text) != size) {
        return false;
    }
    uint8_t octets[16];
    return inet_pton(AF_INET6, text, octets) == 1 ||
           (zone == NULL && inet_pton(AF_INET, text, octets) == 1);
}

static bool is_name_octet(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Why the token is no name; NULL if it is one but for its sizes. */
static const char *octets_reason(struct token token)
{
    for (size_t i = 0; i < token.size; i++) {
        if (((unsigned char)token.text[i] & 0x80) != 0) {
            return "octets that are not ASCII (international names must be written as xn--...)";
        }
    }
    bool dot = token.size > 1 && token.text[token.size - 1] == '.';
    if (is_address((struct token){token.text, token.size - (dot ? 1 : 0)})) {
        return "an IP address instead of a name";
    }
    for (size_t i = 0; i < token.size; i++) {
        if (!is_name_octet(token.text[i]) && token.text[i] != '.') {
            return "not a name (letters, digits, - and _ only)";
        }
    }
    return NULL;
}

static const char *sizes_reason(struct token token)
{
    size_t label = 0;
    for (size_t i = 0; i < token.size; i++) {
        if (token.text[i] != '.') {
            if (++label > BL_LABEL_SIZE_MAX) {
                return "a label of more than 63 octets";
            }
        } else if (label == 0) {
            return "an empty label";
        } else {
            label = 0;
        }
    }
    return "a name of more than 255 octets";
}

/* Reads a name. Returns its size, or -EINVAL with the reason. */
static int read_name(struct token token, uint8_t ret_name[static BL_NAME_SIZE_MAX],
                     const char **ret_reason)
{
    if (token.size == 0) {
        *ret_reason = "an empty label";
        return -EINVAL;
    }
    const char *reason = octets_reason(token);
    if (reason != NULL) {
        *ret_reason = reason;
        return -EINVAL;
    }
    int size = bl_name_from_text(token.text, token.size, ret_name);
    if (size < 0) {
        *ret_reason = sizes_reason(token);
        return -EINVAL;
    }
    return size;
}

/* Names that stand in a hosts file for the machine itself, or are no names at all. */
static bool is_of_the_machine(struct token name, struct token address)
{
    static const char *const names[] = {"localhost", "localhost.localdomain", "local",
                                        "broadcasthost"};
    for (size_t i = 0; i < COUNT(names); i++) {
        if (is_text(name, names[i])) {
            return true;
        }
    }
    bool repeats = name.size == address.size && memcmp(name.text, address.text, name.size) == 0;
    bool is_ip6 = name.size > 4 && strncasecmp(name.text, "ip6-", 4) == 0 &&
                  memchr(name.text, '.', name.size) == NULL;
    return repeats || is_ip6;
}

/* The names after the address. With `call` NULL they are only checked. */
static int read_hosts(struct token address, struct token rest, bl_format_call *call, void *context,
                      const char **ret_reason)
{
    int entries = 0;
    int names = 0;
    for (struct token token; next_token(&rest, &token); names++) {
        if (is_of_the_machine(token, address)) {
            continue;
        }
        uint8_t name[BL_NAME_SIZE_MAX];
        int size = read_name(token, name, ret_reason);
        if (size < 0) {
            return size;
        }
        if (call != NULL) {
            call(context, name, (size_t)size, BL_SCOPE_EXACT);
        }
        entries++;
    }
    if (names == 0) {
        *ret_reason = "an address without a name";
        return -EINVAL;
    }
    return entries;
}

static int read_plain(struct token token, struct token rest, bl_format_call *call, void *context,
                      const char **ret_reason)
{
    enum bl_scope scope = BL_SCOPE_SUFFIX;
    size_t prefix = 0;
    if (token.text[0] == '=') {
        scope = BL_SCOPE_EXACT;
        prefix = 1;
    } else if (token.size > 1 && token.text[0] == '*' && token.text[1] == '.') {
        prefix = 2;
    } else if (token.size > 1 && token.text[0] == '.') {
        prefix = 1;
    }
    token.text += prefix;
    token.size -= prefix;

    uint8_t name[BL_NAME_SIZE_MAX];
    int size = read_name(token, name, ret_reason);
    if (size < 0) {
        return size;
    }
    struct token second;
    if (next_token(&rest, &second)) {
        *ret_reason = "more than one name";
        return -EINVAL;
    }
    call(context, name, (size_t)size, scope);
    return 1;
}

int bl_format_line(enum bl_format format, const char *line, size_t size, bl_format_call *call,
                   void *context, const char **ret_reason)
{
    struct token rest = {line, size};
    if (size >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
        rest.text += 3;
        rest.size -= 3;
    }
    while (rest.size > 0 &&
           (rest.text[rest.size - 1] == '\n' || rest.text[rest.size - 1] == '\r')) {
        rest.size--;
    }
    if (rest.size > BL_LINE_SIZE_MAX) {
        *ret_reason = BL_LINE_TOO_LONG;
        return -EINVAL;
    }
    struct token first;
    if (!next_token(&rest, &first) || first.text[0] == ';') {
        return 0;
    }
    struct token after = rest;
    struct token second;
    bool is_hosts = format == BL_FORMAT_HOSTS ||
                    (format == BL_FORMAT_AUTO && is_address(first) && next_token(&after, &second));
    if (!is_hosts) {
        return read_plain(first, rest, call, context, ret_reason);
    }
    if (!is_address(first)) {
        *ret_reason = "not an IP address before the names";
        return -EINVAL;
    }
    int entries = read_hosts(first, rest, NULL, NULL, ret_reason);
    return entries > 0 ? read_hosts(first, rest, call, context, ret_reason) : entries;
}
