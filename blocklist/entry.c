#include "blocklist/entry.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SIZE_MAX 16u
#define UNIX_SECONDS_MAX 253402300799 /* the end of the year 9999 */
#define SECONDS_PER_HOUR 3600

const char *bl_reject_label(enum bl_reject reject)
{
    static const char *const labels[BL_REJECT_COUNT] = {
        [BL_REJECT_NAME] = "malformed_name",
        [BL_REJECT_VALUE] = "malformed_value",
        [BL_REJECT_CONDITION] = "unknown_condition",
        [BL_REJECT_FEED] = "malformed_feed",
        [BL_REJECT_FEED_IN_USE] = "feed_name_in_use",
        [BL_REJECT_NO_FEED] = "no_feed",
        [BL_REJECT_FULL] = "full",
    };
    assert(reject < BL_REJECT_COUNT);
    return labels[reject];
}

int bl_entry_name(const char *text, size_t size, uint8_t ret_name[static BL_NAME_SIZE_MAX])
{
    if (size == 0 || size > BL_ENTRY_NAME_SIZE_MAX || text[size - 1] == '.') {
        return -EINVAL;
    }
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              c == '.')) {
            return -EINVAL;
        }
    }
    return bl_name_from_text(text, size, ret_name);
}

bool bl_feed_name_valid(const char *name, size_t size)
{
    if (size == 0 || size >= BL_FEED_NAME_SIZE_MAX || name[0] == '.' || name[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              c == '.')) {
            return false;
        }
    }
    return true;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes %XX. Returns the size, or -EINVAL for a bad escape or more than `room` octets. */
static int unescape(const char *text, size_t size, char *ret_text, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '%') {
            int high = size - i > 2 ? hex_digit(text[i + 1]) : -1;
            int low = size - i > 2 ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return -EINVAL;
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (used == room) {
            return -EINVAL;
        }
        ret_text[used++] = c;
    }
    return (int)used;
}

/* A decimal integer and nothing else, 0..max. */
static bool read_number(const char *text, size_t size, int64_t max, int64_t *ret_number)
{
    if (size == 0 || size > 18) {
        return false;
    }
    int64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        number = number * 10 + (text[i] - '0');
    }
    if (number > max) {
        return false;
    }
    *ret_number = number;
    return true;
}

static bool read_tlp(const char *text, size_t size, uint8_t *ret_tlp)
{
    static const char *const words[] = {"clear", "green", "amber", "amber+strict", "red"};
    for (uint8_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i]) == size && memcmp(words[i], text, size) == 0) {
            *ret_tlp = (uint8_t)(i + 1);
            return true;
        }
    }
    return false;
}

/* Category, family, actor, operation. 0, -EINVAL, -ENOSPC or -ENOMEM. */
static int read_word(struct bl_list *list, const char *text, size_t size, uint16_t *ret_word)
{
    char word[BL_FEED_TEXT_SIZE_MAX - 1];
    int word_size = unescape(text, size, word, sizeof(word));
    if (word_size < 0) {
        return word_size;
    }
    for (int i = 0; i < word_size; i++) {
        if (is_control(word[i])) {
            return -EINVAL;
        }
    }
    int r = bl_list_word(list, word, (size_t)word_size);
    if (r < 0) {
        return r;
    }
    *ret_word = (uint16_t)r;
    return 0;
}

/* One known field. 0, -EINVAL, -ENOSPC or -ENOMEM. */
static int read_known(struct bl_list *list, char key, const char *value, size_t size,
                      struct bl_membership *membership)
{
    int64_t number = 0;
    enum bl_action action = BL_ACTION_DEFAULT;
    bool good = true;
    switch (key) {
    case 'a':
        good = bl_action_from_text(value, size, &action) == 0;
        membership->action = (uint8_t)action;
        break;
    case 'c':
        return read_word(list, value, size, &membership->category);
    case 'f':
        return read_word(list, value, size, &membership->family);
    case 't':
        return read_word(list, value, size, &membership->actor);
    case 'o':
        return read_word(list, value, size, &membership->operation);
    case 's':
        good =
            size == 2 && value[0] >= 'A' && value[0] <= 'Z' && value[1] >= 'A' && value[1] <= 'Z';
        if (good) {
            memcpy(membership->state, value, 2);
        }
        break;
    case 'n':
        good = read_number(value, size, 100, &number);
        membership->confidence = (uint8_t)number;
        break;
    case 'l':
        good = read_tlp(value, size, &membership->tlp);
        break;
    case 'v':
        good = read_number(value, size, UNIX_SECONDS_MAX, &number);
        membership->from_hour = (uint32_t)(number / SECONDS_PER_HOUR);
        break;
    default:
        assert(key == 'u');
        good = read_number(value, size, UNIX_SECONDS_MAX, &number);
        /* 0 stands for no end: what ended in 1970's first hour ends in its second. */
        number = number > 0 ? (number + SECONDS_PER_HOUR - 1) / SECONDS_PER_HOUR : 1;
        membership->until_hour = (uint32_t)number;
        break;
    }
    return good ? 0 : -EINVAL;
}

/* A field's key: its size, or 0 if it is none. */
static size_t key_size(const char *field, size_t size)
{
    size_t n = 0;
    while (n < size && field[n] != '=') {
        char c = (char)(field[n] | 0x20);
        bool letter = c >= 'a' && c <= 'z';
        if (n == KEY_SIZE_MAX || !(letter || (n > 0 && field[n] >= '0' && field[n] <= '9'))) {
            return 0;
        }
        n++;
    }
    return n;
}

/* One field of a value. `seen` has a bit for each one-letter key. */
static int read_field(struct bl_list *list, const char *field, size_t size, uint32_t *seen,
                      struct bl_membership *membership, enum bl_reject *ret_reject)
{
    size_t n = key_size(field, size);
    if (n == 0) {
        return -EINVAL;
    }
    if (field[0] >= 'A' && field[0] <= 'Z') {
        *ret_reject = BL_REJECT_CONDITION;
        return -EINVAL;
    }
    bool has_value = n < size;
    if (n > 1 || strchr("xacftosnlvur", field[0]) == NULL) {
        return 0; /* a remark of a later version */
    }
    uint32_t bit = (uint32_t)1 << (field[0] - 'a');
    if ((*seen & bit) != 0) {
        return -EINVAL;
    }
    *seen |= bit;
    if (field[0] == 'x') {
        membership->scope = BL_SCOPE_EXACT;
        return has_value ? -EINVAL : 0;
    }
    if (!has_value) {
        return -EINVAL;
    }
    if (field[0] == 'r') {
        return 0;
    }
    int r = read_known(list, field[0], field + n + 1, size - n - 1, membership);
    if (r == -ENOSPC) {
        *ret_reject = BL_REJECT_FULL;
        r = -EINVAL;
    }
    return r;
}

int bl_entry_value(struct bl_list *list, const char *text, size_t size,
                   struct bl_membership *ret_membership, enum bl_reject *ret_reject)
{
    struct bl_membership membership = {.confidence = 255};
    enum bl_reject reject = BL_REJECT_VALUE;
    uint32_t seen = 0;
    int r = size > BL_VALUE_SIZE_MAX ? -EINVAL : 0;
    for (size_t i = 0; r == 0 && i < size; i++) {
        r = is_control(text[i]) ? -EINVAL : 0;
    }
    for (size_t at = 0; r == 0 && size > 0 && at <= size;) {
        const char *end = memchr(text + at, ';', size - at);
        size_t field_size = end != NULL ? (size_t)(end - text) - at : size - at;
        r = read_field(list, text + at, field_size, &seen, &membership, &reject);
        at += field_size + 1;
    }
    if (r == -EINVAL) {
        *ret_reject = reject;
    } else if (r == 0) {
        *ret_membership = membership;
    }
    return r;
}

/* The guards' word over an entry; an exception can't deny anything and passes. */
static enum bl_guard guard_of(const struct bl_list *list, const struct bl_guards *guards,
                              const struct bl_membership *membership, const uint8_t *name,
                              size_t size)
{
    enum bl_action action = (enum bl_action)membership->action;
    if (action == BL_ACTION_DEFAULT) {
        action = bl_list_feed(list, membership->feed)->action;
    }
    return action == BL_ACTION_ALLOW ? BL_GUARD_PASS : bl_guard_check(guards, name, size);
}

int bl_entry_apply(struct bl_list *list, const struct bl_guards *guards, uint16_t feed,
                   const uint8_t *name, size_t name_size, const char *value, size_t value_size,
                   struct bl_refusals *refusals, bool *ret_refused)
{
    struct bl_membership membership;
    enum bl_reject reject;
    int r = bl_entry_value(list, value, value_size, &membership, &reject);
    if (r == 0) {
        membership.feed = feed;
        enum bl_guard guard = guard_of(list, guards, &membership, name, name_size);
        if (guard != BL_GUARD_PASS) {
            refusals->guarded[guard]++;
            *ret_refused = true;
            return bl_list_remove(list, feed, name, name_size);
        }
        r = bl_list_add(list, name, name_size, &membership);
        reject = BL_REJECT_FULL;
    }
    if (r >= 0 || r == -ENOMEM) {
        *ret_refused = false;
        return r;
    }
    refusals->rejected[reject]++;
    *ret_refused = true;
    return bl_list_remove(list, feed, name, name_size);
}

void bl_properties_init(struct bl_properties *properties)
{
    *properties = (struct bl_properties){.feed = {.redis = true, .tier = BL_TIER_FEED}};
}

static bool read_text(const char *value, size_t size, char ret_text[static BL_FEED_TEXT_SIZE_MAX])
{
    if (size >= BL_FEED_TEXT_SIZE_MAX) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (is_control(value[i])) {
            return false;
        }
    }
    memcpy(ret_text, value, size);
    ret_text[size] = '\0';
    return true;
}

static bool read_priority(const char *value, size_t size, int32_t *ret_priority)
{
    bool negative = size > 0 && value[0] == '-';
    int64_t number;
    if (!read_number(value + negative, size - negative, (int64_t)INT32_MAX + negative, &number)) {
        return false;
    }
    *ret_priority = (int32_t)(negative ? -number : number);
    return true;
}

static bool is_word(const char *text, size_t size, const char *word)
{
    return strlen(word) == size && memcmp(text, word, size) == 0;
}

void bl_properties_read(struct bl_properties *properties, const char *key, size_t key_length,
                        const char *value, size_t value_size)
{
    struct bl_feed *feed = &properties->feed;
    bool good = true;
    if (key_length == 0 || (key[0] >= 'A' && key[0] <= 'Z')) {
        good = false;
    } else if (is_word(key, key_length, "kind")) {
        properties->allow = is_word(value, value_size, "allow");
        properties->has_kind = true;
        good = properties->allow || is_word(value, value_size, "deny");
    } else if (is_word(key, key_length, "tier")) {
        good = properties->has_tier = bl_tier_from_text(value, value_size, &feed->tier) == 0;
    } else if (is_word(key, key_length, "action")) {
        good = bl_action_from_text(value, value_size, &feed->action) == 0 &&
               feed->action != BL_ACTION_ALLOW;
    } else if (is_word(key, key_length, "priority")) {
        good = read_priority(value, value_size, &feed->priority);
    } else if (is_word(key, key_length, "category")) {
        good = read_text(value, value_size, feed->category);
    } else if (is_word(key, key_length, "label")) {
        good = read_text(value, value_size, feed->label);
    } else if (is_word(key, key_length, "shards")) {
        int64_t shards = 0;
        good = read_number(value, value_size, BL_SHARDS_MAX, &shards) && shards > 0 &&
               (shards & (shards - 1)) == 0;
        properties->shards = (uint32_t)shards;
    }
    properties->refused = properties->refused || !good;
}

bool bl_properties_done(struct bl_properties *properties)
{
    if (properties->allow) {
        properties->feed.action = BL_ACTION_ALLOW;
    }
    return !properties->refused && properties->has_kind && properties->has_tier &&
           properties->shards > 0;
}
