#include "resolver/value.h"

#include "geo/utf8.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define QUOTED "\"%.48s\"" /* as much of a value as a message repeats */

struct unit {
    const char *text;
    uint64_t factor;
};

/* Largest first, so that a number is written in the unit that suits it. */
static const struct unit size_units[] = {
    {"G", UINT64_C(1) << 30}, {"M", UINT64_C(1) << 20}, {"K", UINT64_C(1) << 10}, {"", 1}, {0}};
static const struct unit duration_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                             {"s", 1000},     {"ms", 1},      {0}};

static int refuse(char *problem, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int refuse(char *problem, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem, VALUE_PROBLEM_SIZE, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

/* Digits only: no sign, no spaces, no other base. Returns how many octets were read, 0 for none or
 * for a number beyond 64 bits. */
static size_t read_digits(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t size = 0;
    for (; text[size] >= '0' && text[size] <= '9'; size++) {
        uint64_t digit = (uint64_t)(text[size] - '0');
        if (number > (UINT64_MAX - digit) / 10) {
            return 0;
        }
        number = number * 10 + digit;
    }
    if (size > 0) {
        *ret_number = number;
    }
    return size;
}

static int check_bounds(const struct option *option, const char *text, int64_t number,
                        char *problem)
{
    if (number < option->min || number > option->max) {
        char bounds[128];
        value_bounds(option, bounds, sizeof(bounds));
        return refuse(problem, QUOTED " is out of range; it must be within %s", text, bounds);
    }
    return 0;
}

static int read_integer(const struct option *option, const char *text, void *ret_field,
                        char *problem)
{
    int64_t signed_number = 0;
    if (!option->automatic || strcmp(text, "auto") != 0) {
        uint64_t number;
        bool negative = option->min < 0 && text[0] == '-';
        const char *digits = text + negative;
        size_t size = read_digits(digits, &number);
        if (size == 0 || digits[size] != '\0' || number > INT64_MAX) {
            return refuse(problem, QUOTED " is not a number; write digits only%s", text,
                          option->automatic ? ", or auto" : "");
        }
        signed_number = negative ? -(int64_t)number : (int64_t)number;
        int r = check_bounds(option, text, signed_number, problem);
        if (r < 0) {
            return r;
        }
    }
    uint32_t field = (uint32_t)signed_number; /* an int32_t has the same octets */
    memcpy(ret_field, &field, sizeof(field));
    return 0;
}

/* A number and one of the units. `ret_number` counts in the smallest. */
static bool read_with_unit(const char *text, const struct unit *units, uint64_t *ret_number)
{
    uint64_t number;
    size_t size = read_digits(text, &number);
    if (size == 0) {
        return false;
    }
    for (; units->text != NULL; units++) {
        if (strcmp(units->text, text + size) == 0) {
            if (number > (uint64_t)INT64_MAX / units->factor) {
                number = (uint64_t)INT64_MAX / units->factor; /* beyond every bound */
            }
            *ret_number = number * units->factor;
            return true;
        }
    }
    return false;
}

static int read_size(const struct option *option, const char *text, void *ret_field, char *problem)
{
    uint64_t number;
    if (!read_with_unit(text, size_units, &number)) {
        return refuse(
            problem, QUOTED " is not a size; write octets, or a number with K, M or G: 256M", text);
    }
    int r = check_bounds(option, text, (int64_t)number, problem);
    if (r == 0) {
        memcpy(ret_field, &number, sizeof(number));
    }
    return r;
}

static int read_duration(const struct option *option, const char *text, void *ret_field,
                         char *problem)
{
    uint64_t number;
    if (!read_with_unit(text, duration_units, &number)) {
        return refuse(problem,
                      QUOTED " is not a duration; write a number with ms, s, m, h or d: 10s", text);
    }
    if (option->type == OPTION_DURATION_S) {
        if (number % 1000 != 0) {
            return refuse(problem, QUOTED " is not a number of whole seconds", text);
        }
        number /= 1000;
    }
    int r = check_bounds(option, text, (int64_t)number, problem);
    if (r == 0) {
        uint32_t field = (uint32_t)number;
        memcpy(ret_field, &field, sizeof(field));
    }
    return r;
}

static int read_boolean(const char *text, void *ret_field, char *problem)
{
    bool value = strcmp(text, "true") == 0;
    if (!value && strcmp(text, "false") != 0) {
        return refuse(problem, QUOTED " is neither true nor false", text);
    }
    memcpy(ret_field, &value, sizeof(value));
    return 0;
}

int value_word(const struct option *option, const char *text, const struct option_word **ret_word,
               char ret_problem[static VALUE_PROBLEM_SIZE])
{
    for (const struct option_word *word = option->words; word->text != NULL; word++) {
        if (strcmp(word->text, text) != 0) {
            continue;
        }
        if (!word->built) {
            return refuse(ret_problem, "%s is not in this version", text);
        }
        *ret_word = word;
        return 0;
    }
    char bounds[128];
    value_bounds(option, bounds, sizeof(bounds));
    return refuse(ret_problem, QUOTED " is not known here; write one of: %s", text, bounds);
}

static int read_word(const struct option *option, const char *text, void *ret_field, char *problem)
{
    const struct option_word *word;
    int r = value_word(option, text, &word, problem);
    if (r == 0) {
        assert(option->size == sizeof(word->value) || option->size == 0);
        memcpy(ret_field, &word->value, option->size);
    }
    return r;
}

/* Letters, digits, and the octets of `more`. */
static bool has_only(const char *text, const char *more)
{
    for (; *text != '\0'; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                     (*text >= '0' && *text <= '9');
        if (!plain && strchr(more, *text) == NULL) {
            return false;
        }
    }
    return true;
}

static int check_text(const struct option *option, const char *text, size_t size, char *problem)
{
    for (size_t i = 0, character; i < size; i += character) {
        character = utf8_sequence_size((const uint8_t *)text + i, size - i);
        if (character == 0) {
            return refuse(problem, "it is not UTF-8");
        }
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
            return refuse(problem, "a control character stands in it; remove it");
        }
    }
    if (option->type == OPTION_NAME && !has_only(text, "._-")) {
        return refuse(problem,
                      QUOTED " may hold only letters, digits, dots, dashes and underscores", text);
    }
    if (option->type == OPTION_FEED &&
        (!has_only(text, "._-") || strpbrk(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != NULL ||
         text[0] == '.' || text[0] == '-')) {
        return refuse(problem,
                      QUOTED " is no name for a feed; use small letters, digits, dots, dashes and "
                             "underscores, no dot or dash first",
                      text);
    }
    if (option->type == OPTION_FEED &&
        (strcmp(text, "operator") == 0 || strcmp(text, "operator.list") == 0)) {
        return refuse(problem, "the feed %s is sinkholectl's own; choose another name", text);
    }
    if (option->type == OPTION_PATH && size > 0 && text[0] != '/') {
        return refuse(problem, QUOTED " must be an absolute path: write it from / on", text);
    }
    return 0;
}

static int read_text(const struct option *option, const char *text, size_t size, void *ret_field,
                     char *problem)
{
    if (size == 0 && option->min > 0) {
        return refuse(problem, "it is empty; write a value, or leave the option out");
    }
    if (size >= option->size) {
        return refuse(problem, "%zu octets are too many; at most %zu fit", size, option->size - 1);
    }
    int r = check_text(option, text, size, problem);
    if (r == 0) {
        memset(ret_field, 0, option->size);
        memcpy(ret_field, text, size);
    }
    return r;
}

static int read_address_port(const char *text, size_t size, void *ret_field, char *problem)
{
    static const char form[] = "write ADDR@PORT, such as 127.0.0.1@5300 or \"::1@5300\"";
    struct config_address address;
    memset(&address, 0, sizeof(address)); /* padding too: fields are compared as octets */
    char host[INET6_ADDRSTRLEN];
    const char *at = strchr(text, '@');
    uint64_t port;
    if (at == NULL || (size_t)(at - text) >= sizeof(host) || size >= sizeof(address.text)) {
        return refuse(problem, QUOTED " is not an address with a port; %s", text, form);
    }
    memcpy(host, text, (size_t)(at - text));
    host[at - text] = '\0';
    size_t digits = read_digits(at + 1, &port);
    if (digits == 0 || at[1 + digits] != '\0' || port == 0 || port > 65535) {
        return refuse(problem, QUOTED ": the port must be within 1..65535; %s", text, form);
    }
    if (inet_pton(AF_INET, host, &address.socket.ipv4.sin_addr) == 1) {
        address.socket.ipv4.sin_family = AF_INET;
        address.socket.ipv4.sin_port = htons((uint16_t)port);
        address.size = sizeof(address.socket.ipv4);
    } else if (inet_pton(AF_INET6, host, &address.socket.ipv6.sin6_addr) == 1) {
        address.socket.ipv6.sin6_family = AF_INET6;
        address.socket.ipv6.sin6_port = htons((uint16_t)port);
        address.size = sizeof(address.socket.ipv6);
    } else {
        return refuse(problem, QUOTED " is neither an IPv4 nor an IPv6 address; %s", host, form);
    }
    memcpy(address.text, text, size);
    memcpy(ret_field, &address, sizeof(address));
    return 0;
}

static int read_address(const struct option *option, const char *text, size_t size, void *ret_field,
                        char *problem)
{
    uint8_t octets[16];
    bool ipv4 = inet_pton(AF_INET, text, octets) == 1;
    bool ipv6 = !ipv4 && inet_pton(AF_INET6, text, octets) == 1;
    if (option->type == OPTION_ADDRESS && (ipv4 || ipv6)) {
        assert(size < option->size);
        memset(ret_field, 0, option->size);
        memcpy(ret_field, text, size);
        return 0;
    }
    if ((option->type == OPTION_IPV4 && ipv4) || (option->type == OPTION_IPV6 && ipv6)) {
        memcpy(ret_field, octets, option->size);
        return 0;
    }
    return refuse(problem, QUOTED " is not an %s address", text,
                  option->type == OPTION_IPV4   ? "IPv4"
                  : option->type == OPTION_IPV6 ? "IPv6"
                                                : "IPv4 or IPv6");
}

static bool has_bits_beyond(const struct config_prefix *prefix)
{
    for (unsigned bit = prefix->bits; bit < 128; bit++) {
        if ((prefix->address[bit / 8] >> (7 - bit % 8) & 1) != 0) {
            return true;
        }
    }
    return false;
}

static int read_prefix(const char *text, void *ret_field, char *problem)
{
    struct config_prefix prefix;
    memset(&prefix, 0, sizeof(prefix));
    char host[INET6_ADDRSTRLEN];
    size_t host_size = strcspn(text, "/");
    if (host_size >= sizeof(host)) {
        return refuse(problem, QUOTED " is not a prefix; write ADDR/BITS, such as 10.0.0.0/8",
                      text);
    }
    memcpy(host, text, host_size);
    host[host_size] = '\0';
    uint64_t skipped = 0;
    if (inet_pton(AF_INET, host, prefix.address + 12) == 1) {
        prefix.address[10] = prefix.address[11] = 0xff; /* RFC 4291, 2.5.5.2 */
        skipped = 96;
    } else if (inet_pton(AF_INET6, host, prefix.address) != 1) {
        return refuse(problem, QUOTED " is not a prefix; write ADDR/BITS, such as 10.0.0.0/8",
                      text);
    }
    uint64_t bits = 128 - skipped;
    if (text[host_size] == '/') {
        const char *bits_text = text + host_size + 1;
        size_t digits = read_digits(bits_text, &bits);
        if (digits == 0 || bits_text[digits] != '\0' || bits > 128 - skipped) {
            return refuse(problem, QUOTED ": the bits after / must be within 0..%d", text,
                          (int)(128 - skipped));
        }
    }
    prefix.bits = (uint8_t)(skipped + bits);
    if (has_bits_beyond(&prefix)) {
        return refuse(problem,
                      QUOTED " has bits set beyond /%" PRIu64 "; clear them, or write more", text,
                      bits);
    }
    memcpy(ret_field, &prefix, sizeof(prefix));
    return 0;
}

int value_read(const struct option *option, const char *text, size_t size, void *ret_field,
               char ret_problem[static VALUE_PROBLEM_SIZE])
{
    switch (option->type) {
    case OPTION_BOOLEAN:
        return read_boolean(text, ret_field, ret_problem);
    case OPTION_INTEGER:
        return read_integer(option, text, ret_field, ret_problem);
    case OPTION_SIZE:
        return read_size(option, text, ret_field, ret_problem);
    case OPTION_DURATION_MS:
    case OPTION_DURATION_S:
        return read_duration(option, text, ret_field, ret_problem);
    case OPTION_TEXT:
    case OPTION_NAME:
    case OPTION_FEED:
    case OPTION_PATH:
        return read_text(option, text, size, ret_field, ret_problem);
    case OPTION_WORD:
        return read_word(option, text, ret_field, ret_problem);
    case OPTION_ADDRESS_PORT:
    case OPTION_SERVER:
        return read_address_port(text, size, ret_field, ret_problem);
    case OPTION_ADDRESS:
    case OPTION_IPV4:
    case OPTION_IPV6:
        return read_address(option, text, size, ret_field, ret_problem);
    case OPTION_PREFIX:
        return read_prefix(text, ret_field, ret_problem);
    case OPTION_WORDS:
    case OPTION_MAPPING:
        break;
    }
    assert(false);
    return -EINVAL;
}

/* In the largest unit that leaves no rest. */
static void write_number(char *text, size_t size, int64_t number, const struct unit *units,
                         uint64_t scale)
{
    if (number == 0) {
        snprintf(text, size, "0%s", units == duration_units ? "s" : "");
        return;
    }
    while (units[1].text != NULL && ((uint64_t)number * scale) % units->factor != 0) {
        units++;
    }
    snprintf(text, size, "%" PRIu64 "%s", (uint64_t)number * scale / units->factor, units->text);
}

void value_bounds(const struct option *option, char *ret_text, size_t size)
{
    char low[32] = "";
    char high[32] = "";
    ret_text[0] = '\0';
    if (option->words != NULL) {
        size_t at = 0;
        for (const struct option_word *word = option->words; word->text != NULL; word++) {
            if (word->built && at < size) {
                int written =
                    snprintf(ret_text + at, size - at, "%s%s", at > 0 ? " | " : "", word->text);
                at += (size_t)written;
            }
        }
        return;
    }
    switch (option->type) {
    case OPTION_INTEGER:
        snprintf(low, sizeof(low), "%" PRId64, option->min);
        snprintf(high, sizeof(high), "%" PRId64, option->max);
        break;
    case OPTION_SIZE:
        write_number(low, sizeof(low), option->min, size_units, 1);
        write_number(high, sizeof(high), option->max, size_units, 1);
        break;
    case OPTION_DURATION_MS:
    case OPTION_DURATION_S: {
        uint64_t scale = option->type == OPTION_DURATION_S ? 1000 : 1;
        write_number(low, sizeof(low), option->min, duration_units, scale);
        write_number(high, sizeof(high), option->max, duration_units, scale);
        break;
    }
    default:
        return;
    }
    if (option->built) {
        snprintf(ret_text, size, "%s..%s%s", low, high, option->automatic ? " | auto" : "");
    }
}
