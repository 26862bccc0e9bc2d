/* redis_script.h - what a Redis would say, as octets: replies to the engine's questions in the
 * order it asks them. Shared by the engine's unit tests and its fuzz target's corpus. */
#ifndef TESTS_UNIT_REDIS_SCRIPT_H
#define TESTS_UNIT_REDIS_SCRIPT_H

#include <assert.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRIPT_LINEAGE "6f1c0a52-7d3e-4a55-9d2f-0123456789ab"

/* Replies one after the other, and the chain of the list they tell of. */
struct script {
    char octets[65536];
    size_t size;
    char digest[41];
    unsigned long long revision;
};

static inline void script_sha1(const char *text, size_t size, char ret_hex[static 41])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned raw_size;
    int good = EVP_Digest(text, size, raw, &raw_size, EVP_sha1(), NULL);
    assert(good == 1);
    (void)good;
    for (unsigned i = 0; i < raw_size; i++) {
        (void)snprintf(ret_hex + 2 * i, 3, "%02x", raw[i]);
    }
}

static inline void script_init(struct script *script)
{
    script->size = 0;
    script->revision = 0;
    script_sha1(SCRIPT_LINEAGE, strlen(SCRIPT_LINEAGE), script->digest);
}

static inline void __attribute__((format(printf, 2, 3)))
script_say(struct script *script, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(script->octets + script->size, sizeof(script->octets) - script->size,
                         format, arguments);
    va_end(arguments);
    assert(size >= 0 && script->size + (size_t)size < sizeof(script->octets));
    script->size += (size_t)size;
}

static inline void script_string(struct script *script, const char *text)
{
    script_say(script, "$%zu\r\n%s\r\n", strlen(text), text);
}

/* An array of strings up to NULL. */
static inline void script_strings(struct script *script, const char *const *texts)
{
    size_t count = 0;
    while (texts[count] != NULL) {
        count++;
    }
    script_say(script, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        script_string(script, texts[i]);
    }
}
#define SCRIPT_STRINGS(script, ...) script_strings(script, (const char *const[]){__VA_ARGS__, NULL})

/* The reply to HGETALL meta: the list as the script has it. */
static inline void script_meta(struct script *script)
{
    char revision[24];
    char id[40];
    (void)snprintf(revision, sizeof(revision), "%llu", script->revision);
    (void)snprintf(id, sizeof(id), "%llu-0", script->revision);
    SCRIPT_STRINGS(script, "schema", "1", "lineage", SCRIPT_LINEAGE, "revision", revision, "digest",
                   script->digest, "id", id);
}

/* Raises the revision as change.lua would. */
static inline void script_advance(struct script *script, const char *op, const char *feed,
                                  const char *body)
{
    char text[8192];
    int size = snprintf(text, sizeof(text), "%s\n%llu\n%s\n%s\n%s", script->digest,
                        script->revision + 1, op, feed, body);
    assert(size > 0 && (size_t)size < sizeof(text));
    script->revision++;
    script_sha1(text, (size_t)size, script->digest);
}

/* One entry of the log as it stands in a reply; the revision rises. */
static inline void script_entry(struct script *script, const char *op, const char *feed,
                                const char *body)
{
    char revision[24];
    script_advance(script, op, feed, body);
    (void)snprintf(revision, sizeof(revision), "%llu", script->revision);
    script_say(script, "*2\r\n$%zu\r\n%s-0\r\n", strlen(revision) + 2, revision);
    SCRIPT_STRINGS(script, "l", SCRIPT_LINEAGE, "r", revision, "d", script->digest, "o", op, "f",
                   feed, "w", "me", "y", "", "b", body);
}

/* The head of XREAD's reply, to be followed by `count` entries. */
static inline void script_log(struct script *script, unsigned count)
{
    script_say(script, "*1\r\n*2\r\n$8\r\n{sh}:log\r\n*%u\r\n", count);
}

/* TIME, and what else comes with a sign of life while the log is followed. */
static inline void script_time(struct script *script)
{
    SCRIPT_STRINGS(script, "1700000000", "123456");
}

#endif
