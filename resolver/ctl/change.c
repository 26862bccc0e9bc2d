#include "resolver/ctl/change.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define SHA1_SIZE 20u
#define KEYS 5u
#define FIXED_WORDS (3u + KEYS + 5u) /* EVALSHA, script, number of keys; keys; op to lineage */
#define UUID_SIZE 37u
#define CATEGORY_SIZE_MAX 63u
#define REASON_SIZE_MAX 512u

static void sha1(const char *octets, size_t size, uint8_t ret_digest[static SHA1_SIZE])
{
    unsigned digest_size = 0;
    int r = EVP_Digest(octets, size, ret_digest, &digest_size, EVP_sha1(), NULL);
    assert(r == 1 && digest_size == SHA1_SIZE);
}

static void script_name(char ret_name[static 2 * SHA1_SIZE + 1])
{
    uint8_t digest[SHA1_SIZE];

    sha1(ctl_change_script, ctl_change_script_size, digest);
    for (size_t i = 0; i < SHA1_SIZE; i++) {
        snprintf(ret_name + 2 * i, 3, "%02x", digest[i]);
    }
}

/* A random UUID (RFC 9562, 5.4), lower case: the lineage of a list that does not exist yet. */
static int make_uuid(char ret_uuid[static UUID_SIZE])
{
    uint8_t octets[16];

    if (getrandom(octets, sizeof(octets), 0) != (ssize_t)sizeof(octets)) {
        return -EIO;
    }
    octets[6] = (octets[6] & 0x0f) | 0x40;
    octets[8] = (octets[8] & 0x3f) | 0x80;
    for (size_t i = 0, at = 0; i < sizeof(octets); i++) {
        at += (size_t)snprintf(ret_uuid + at, UUID_SIZE - at, "%s%02x",
                               i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", octets[i]);
    }
    return 0;
}

uint32_t ctl_shard_of(const char *name, size_t size, uint32_t shards)
{
    uint8_t digest[SHA1_SIZE];

    sha1(name, size, digest);
    uint32_t first = (uint32_t)digest[0] << 24 | (uint32_t)digest[1] << 16 |
                     (uint32_t)digest[2] << 8 | digest[3];
    return (first >> 4) % shards;
}

uint32_t ctl_shards_for(uint64_t count)
{
    uint32_t shards = 1;

    /* Nearest on the scale of doubling: twice as many while that is no further away than
     * staying. */
    while (shards < BL_SHARDS_MAX && count * 2 >= (uint64_t)shards * CTL_NAMES_PER_SHARD * 3) {
        shards *= 2;
    }
    return shards;
}

static bool is_clean(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((uint8_t)*text < 0x20 || *text == 0x7f) {
            return false;
        }
    }
    return true;
}

void ctl_who(char ret_who[static CTL_WHO_SIZE_MAX])
{
    static const char *const names[] = {"SUDO_USER", "LOGNAME", "USER"};
    const char *user = NULL;
    char host[65] = "";

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && user == NULL; i++) {
        const char *value = getenv(names[i]);
        user = value != NULL && value[0] != '\0' && is_clean(value) ? value : NULL;
    }
    if (user == NULL) {
        const struct passwd *entry = getpwuid(geteuid());
        user = entry != NULL ? entry->pw_name : "unknown";
    }
    if (gethostname(host, sizeof(host) - 1) < 0 || !is_clean(host)) {
        host[0] = '\0';
    }
    snprintf(ret_who, CTL_WHO_SIZE_MAX, "%.60s@%s", user, host[0] != '\0' ? host : "unknown");
}

/* ---- the call ---- */

static int read_changed(const redisReply *reply, struct ctl_changed *ret_changed)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 ||
        reply->element[0]->type != REDIS_REPLY_INTEGER || reply->element[0]->integer < 0 ||
        reply->element[1]->type != REDIS_REPLY_INTEGER || reply->element[1]->integer < 0) {
        return -EBADMSG;
    }
    ret_changed->revision = (uint64_t)reply->element[0]->integer;
    ret_changed->applied = (uint64_t)reply->element[1]->integer;
    return 0;
}

/* Sends `words` once; with EVAL where the server does not know the script. */
static int call_once(struct ctl_redis *redis, const char **words, size_t *sizes, size_t count,
                     struct ctl_changed *ret_changed, char error[static CTL_ERROR_SIZE])
{
    redisReply *reply = NULL;
    char name[2 * SHA1_SIZE + 1];

    script_name(name);
    words[0] = "EVALSHA";
    words[1] = name;
    for (size_t i = 0; i < 2; i++) {
        sizes[i] = strlen(words[i]);
    }
    int r = ctl_redis_queue(redis, count, words, sizes);
    if (r == 0) {
        r = ctl_redis_reply(redis, &reply, error);
    }
    if (r == -ENOEXEC) {
        words[0] = "EVAL";
        words[1] = ctl_change_script;
        sizes[0] = strlen(words[0]);
        sizes[1] = ctl_change_script_size;
        r = ctl_redis_queue(redis, count, words, sizes);
        if (r == 0) {
            r = ctl_redis_reply(redis, &reply, error);
        }
    }
    if (r < 0) {
        return r;
    }
    r = read_changed(reply, ret_changed);
    freeReplyObject(reply);
    if (r < 0) {
        snprintf(error, CTL_ERROR_SIZE, "Redis' reply to the script is not of the protocol's form");
    }
    return r;
}

int ctl_change(struct ctl_redis *redis, const char *op, const char *feed, const char *why,
               const char *const items[], size_t count, struct ctl_changed *ret_changed,
               char ret_error[static CTL_ERROR_SIZE])
{
    char keys[KEYS][CTL_REDIS_KEY_SIZE_MAX];
    char who[CTL_WHO_SIZE_MAX];
    char lineage[UUID_SIZE];
    size_t used = 2; /* the first two are call_once()'s */
    const char **words = calloc(FIXED_WORDS + count, sizeof(words[0]));
    size_t *sizes = calloc(FIXED_WORDS + count, sizeof(sizes[0]));

    assert(count <= CTL_CHANGES_MAX);
    if (words == NULL || sizes == NULL || make_uuid(lineage) < 0) {
        free(words);
        free(sizes);
        snprintf(ret_error, CTL_ERROR_SIZE, "out of memory, or no random numbers");
        return -ENOMEM;
    }
    ctl_who(who);
    ctl_redis_key(redis, keys[0], "meta");
    ctl_redis_key(redis, keys[1], "feeds");
    ctl_redis_key(redis, keys[2], "log");
    ctl_redis_key(redis, keys[3], "feed:%s", feed);
    ctl_redis_key(redis, keys[4], "f:%s", feed);
    words[used++] = "5";
    for (size_t i = 0; i < KEYS; i++) {
        words[used++] = keys[i];
    }
    words[used++] = op;
    words[used++] = feed;
    words[used++] = who;
    words[used++] = why;
    words[used++] = lineage;
    for (size_t i = 0; i < count; i++) {
        words[used++] = items[i];
    }
    for (size_t i = 2; i < used; i++) {
        sizes[i] = strlen(words[i]);
    }
    int r = call_once(redis, words, sizes, used, ret_changed, ret_error);
    if (r == -EIO && ctl_redis_reopen(redis, ret_error) == 0) {
        r = call_once(redis, words, sizes, used, ret_changed, ret_error);
    }
    free(words);
    free(sizes);
    return r == -EREMOTEIO && strstr(ret_error, "refused: SHNOFEED") != NULL ? -ENOENT : r;
}

/* ---- feeds ---- */

static bool read_text(const redisReply *value, char *text, size_t text_size)
{
    if (value->len >= text_size || memchr(value->str, '\0', value->len) != NULL) {
        return false;
    }
    memcpy(text, value->str, value->len + 1);
    return true;
}

static bool read_number(const redisReply *value, uint64_t max, uint64_t *ret_number)
{
    char text[21];
    char *end = NULL;

    if (!read_text(value, text, sizeof(text)) || text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    *ret_number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && *ret_number <= max;
}

/* One property; those that are for people are passed over. */
static bool read_property(const char *key, const redisReply *value, struct ctl_feed *feed)
{
    const struct {
        const char *key;
        char *text;
        size_t size;
    } texts[] = {
        {"kind", feed->kind, sizeof(feed->kind)},
        {"tier", feed->tier, sizeof(feed->tier)},
        {"action", feed->action, sizeof(feed->action)},
        {"priority", feed->priority, sizeof(feed->priority)},
        {"category", feed->category, sizeof(feed->category)},
        {"label", feed->label, sizeof(feed->label)},
    };
    uint64_t number = 0;
    bool good = true;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(key, texts[i].key) == 0) {
            return read_text(value, texts[i].text, texts[i].size);
        }
    }
    if (strcmp(key, "shards") == 0) {
        good = read_number(value, BL_SHARDS_MAX, &number);
        feed->shards = (uint32_t)number;
    } else if (strcmp(key, "count") == 0) {
        good = read_number(value, UINT64_MAX, &feed->count);
    } else if (strcmp(key, "updated") == 0) {
        good = read_number(value, INT64_MAX, &number);
        feed->updated_s = (int64_t)number;
    } else if (strcmp(key, "state") == 0) {
        feed->importing = strcmp(value->str, "importing") == 0;
    }
    return good;
}

int ctl_feed_parse(const redisReply *reply, struct ctl_feed *ret_feed)
{
    struct ctl_feed feed = {0};

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2 != 0) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < reply->elements; i += 2) {
        if (reply->element[i]->type != REDIS_REPLY_STRING ||
            reply->element[i + 1]->type != REDIS_REPLY_STRING ||
            !read_property(reply->element[i]->str, reply->element[i + 1], &feed)) {
            return -EBADMSG;
        }
        feed.exists = true;
    }
    if (feed.exists && (feed.shards == 0 || feed.kind[0] == '\0' || feed.tier[0] == '\0')) {
        return -EBADMSG;
    }
    *ret_feed = feed;
    return 0;
}

int ctl_feed_read(struct ctl_redis *redis, const char *name, struct ctl_feed *ret_feed,
                  char ret_error[static CTL_ERROR_SIZE])
{
    char key[CTL_REDIS_KEY_SIZE_MAX];
    redisReply *reply = NULL;

    ctl_redis_key(redis, key, "feed:%s", name);
    int r = ctl_redis_ask(redis, &reply, ret_error, "HGETALL", key, NULL);
    if (r < 0) {
        return r;
    }
    r = ctl_feed_parse(reply, ret_feed);
    freeReplyObject(reply);
    if (r < 0) {
        snprintf(ret_error, CTL_ERROR_SIZE,
                 "feed %s in Redis is not of the protocol's form: was it made by other means?",
                 name);
    }
    return r;
}

/* ---- values ---- */

/* Adds one field, its value encoded. */
static int add_field(char value[static CTL_VALUE_SIZE_MAX], const char *key, const char *text,
                     size_t text_size_max)
{
    size_t used = strlen(value);

    if (!is_clean(text)) {
        return -EINVAL;
    }
    if (strlen(text) > text_size_max) {
        return -E2BIG;
    }
    /* The separator, the key and "=". */
    if (used + 1 + strlen(key) + 1 >= CTL_VALUE_SIZE_MAX) {
        return -E2BIG;
    }
    used += (size_t)sprintf(value + used, "%s%s%s", used > 0 ? ";" : "", key,
                            text[0] != '\0' ? "=" : "");
    for (; *text != '\0'; text++) {
        bool escaped = *text == ';' || *text == '%';
        if (used + (escaped ? 3 : 1) >= CTL_VALUE_SIZE_MAX) {
            return -E2BIG;
        }
        used += (size_t)sprintf(value + used, escaped ? "%%%02X" : "%c", (uint8_t)*text);
    }
    return 0;
}

int ctl_value(bool allow, bool exact, const char *category, const char *reason,
              char ret_value[static CTL_VALUE_SIZE_MAX])
{
    char value[CTL_VALUE_SIZE_MAX] = "";
    int r = 0;

    if (exact) {
        r = add_field(value, "x", "", 0);
    }
    if (r == 0 && allow) {
        r = add_field(value, "a", "allow", 5);
    }
    if (r == 0 && category != NULL && category[0] != '\0') {
        r = add_field(value, "c", category, CATEGORY_SIZE_MAX);
    }
    if (r == 0 && reason != NULL && reason[0] != '\0') {
        r = add_field(value, "r", reason, REASON_SIZE_MAX);
    }
    if (r == 0) {
        memcpy(ret_value, value, sizeof(value));
    }
    return r;
}

/* Cuts the next field off; false at the end. */
static bool take_field(const char **at, const char **ret_field, size_t *ret_size)
{
    if (**at == '\0') {
        return false;
    }
    *ret_field = *at;
    *ret_size = strcspn(*at, ";");
    *at += *ret_size;
    *at += **at == ';';
    return true;
}

bool ctl_value_has(const char *value, const char *field)
{
    const char *found;
    size_t size;

    while (take_field(&value, &found, &size)) {
        if (size == strlen(field) && memcmp(found, field, size) == 0) {
            return true;
        }
    }
    return false;
}

static bool take_but_reason(const char **at, const char **ret_field, size_t *ret_size)
{
    bool got;
    do {
        got = take_field(at, ret_field, ret_size);
    } while (got && *ret_size >= 2 && memcmp(*ret_field, "r=", 2) == 0);
    return got;
}

bool ctl_value_same_but_reason(const char *a, const char *b)
{
    const char *a_field;
    const char *b_field;
    size_t a_size;
    size_t b_size;

    for (;;) {
        bool a_more = take_but_reason(&a, &a_field, &a_size);
        bool b_more = take_but_reason(&b, &b_field, &b_size);
        if (!a_more || !b_more) {
            return a_more == b_more;
        }
        if (a_size != b_size || memcmp(a_field, b_field, a_size) != 0) {
            return false;
        }
    }
}
