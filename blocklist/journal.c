#include "blocklist/journal.h"

#include "blocklist/entry.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define SCHEMA "1"

/* A decimal number of the size given; at most 2^63 - 1. */
static bool read_decimal(const char *text, size_t size, uint64_t *ret_number)
{
    if (size == 0 || size > 19) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    if (number > INT64_MAX) {
        return false;
    }
    *ret_number = number;
    return true;
}

bool bl_log_id_read(const char *text, size_t size, struct bl_log_id *ret_id)
{
    const char *dash = memchr(text, '-', size);
    if (dash == NULL) {
        return false;
    }
    struct bl_log_id id;
    size_t ms_size = (size_t)(dash - text);
    if (!read_decimal(text, ms_size, &id.ms) ||
        !read_decimal(dash + 1, size - ms_size - 1, &id.sequence)) {
        return false;
    }
    *ret_id = id;
    return true;
}

void bl_log_id_write(struct bl_log_id id, char ret_text[static BL_LOG_ID_TEXT_SIZE])
{
    (void)snprintf(ret_text, BL_LOG_ID_TEXT_SIZE, "%" PRIu64 "-%" PRIu64, id.ms, id.sequence);
}

int bl_log_id_compare(struct bl_log_id a, struct bl_log_id b)
{
    if (a.ms != b.ms) {
        return a.ms < b.ms ? -1 : 1;
    }
    return a.sequence < b.sequence ? -1 : a.sequence > b.sequence;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool read_digest(const char *text, size_t size, char ret_digest[static BL_DIGEST_SIZE])
{
    if (size != BL_DIGEST_SIZE - 1) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (!is_hex(text[i])) {
            return false;
        }
    }
    memcpy(ret_digest, text, size);
    ret_digest[size] = '\0';
    return true;
}

static bool read_lineage(const char *text, size_t size, char ret_lineage[static BL_LINEAGE_SIZE])
{
    if (size != BL_LINEAGE_SIZE - 1) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !is_hex(text[i])) {
            return false;
        }
    }
    memcpy(ret_lineage, text, size);
    ret_lineage[size] = '\0';
    return true;
}

/* The value of a field in a flat array of strings; NULL if there is none or it is no string. */
static const struct bl_reply *field_of(const struct bl_reply *flat, const char *name)
{
    for (size_t i = 0; i + 1 < flat->size; i += 2) {
        const struct bl_reply *field = flat->elements[i];
        if (field->type == BL_REPLY_STRING && field->size == strlen(name) &&
            memcmp(field->text, name, field->size) == 0) {
            const struct bl_reply *value = flat->elements[i + 1];
            return value->type == BL_REPLY_STRING ? value : NULL;
        }
    }
    return NULL;
}

int bl_position_read(const struct bl_reply *reply, struct bl_position *ret_position)
{
    if (reply->type != BL_REPLY_ARRAY) {
        return -EINVAL;
    }
    const struct bl_reply *lineage = field_of(reply, "lineage");
    if (lineage == NULL) {
        return 0;
    }
    const struct bl_reply *schema = field_of(reply, "schema");
    if (schema == NULL || strcmp(schema->text, SCHEMA) != 0) {
        return -EPROTONOSUPPORT;
    }
    const struct bl_reply *revision = field_of(reply, "revision");
    const struct bl_reply *digest = field_of(reply, "digest");
    const struct bl_reply *id = field_of(reply, "id");
    struct bl_position position;
    if (revision == NULL || digest == NULL || id == NULL ||
        !read_lineage(lineage->text, lineage->size, position.lineage) ||
        !read_decimal(revision->text, revision->size, &position.revision) ||
        !read_digest(digest->text, digest->size, position.digest) ||
        !bl_log_id_read(id->text, id->size, &position.id)) {
        return -EINVAL;
    }
    *ret_position = position;
    return 1;
}

/* digest(n) of PROTOCOL.md. False when libcrypto can't. */
static bool digest_of(const char *before, const struct bl_reply *revision,
                      const struct bl_reply *op, const struct bl_reply *feed,
                      const struct bl_reply *body, char ret_digest[static BL_DIGEST_SIZE])
{
    const struct {
        const void *octets;
        size_t size;
    } parts[] = {
        {before, strlen(before)}, {"\n", 1}, {revision->text, revision->size}, {"\n", 1},
        {op->text, op->size},     {"\n", 1}, {feed->text, feed->size},         {"\n", 1},
        {body->text, body->size},
    };
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned raw_size = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL && EVP_DigestInit_ex(context, EVP_sha1(), NULL) == 1;
    for (size_t i = 0; good && i < sizeof(parts) / sizeof(parts[0]); i++) {
        good = EVP_DigestUpdate(context, parts[i].octets, parts[i].size) == 1;
    }
    good = good && EVP_DigestFinal_ex(context, raw, &raw_size) == 1;
    EVP_MD_CTX_free(context);
    if (!good || raw_size != (BL_DIGEST_SIZE - 1) / 2) {
        return false;
    }
    for (unsigned i = 0; i < raw_size; i++) {
        ret_digest[2 * i] = "0123456789abcdef"[raw[i] >> 4];
        ret_digest[2 * i + 1] = "0123456789abcdef"[raw[i] & 15];
    }
    ret_digest[BL_DIGEST_SIZE - 1] = '\0';
    return true;
}

static bool read_op(const struct bl_reply *text, enum bl_op *ret_op)
{
    static const char *const words[] = {
        [BL_OP_CHANGE] = "change", [BL_OP_BEGIN] = "begin",   [BL_OP_END] = "end",
        [BL_OP_FEED] = "feed",     [BL_OP_REMOVE] = "remove",
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i]) == text->size && memcmp(words[i], text->text, text->size) == 0) {
            *ret_op = (enum bl_op)i;
            return true;
        }
    }
    return false;
}

enum bl_break bl_log_entry_read(const struct bl_reply *reply, const struct bl_position *before,
                                struct bl_log_entry *ret_entry)
{
    *ret_entry = (struct bl_log_entry){.op = BL_OP_CHANGE};
    if (reply->type != BL_REPLY_ARRAY || reply->size != 2 ||
        reply->elements[0]->type != BL_REPLY_STRING ||
        !bl_log_id_read(reply->elements[0]->text, reply->elements[0]->size, &ret_entry->id) ||
        reply->elements[1]->type != BL_REPLY_ARRAY) {
        return BL_BREAK_MALFORMED;
    }
    const struct bl_reply *fields = reply->elements[1];
    const struct bl_reply *lineage = field_of(fields, "l");
    const struct bl_reply *revision = field_of(fields, "r");
    const struct bl_reply *digest = field_of(fields, "d");
    const struct bl_reply *op = field_of(fields, "o");
    const struct bl_reply *feed = field_of(fields, "f");
    const struct bl_reply *body = field_of(fields, "b");
    struct bl_position after = {.id = ret_entry->id};
    char expected[BL_DIGEST_SIZE];
    if (lineage == NULL || revision == NULL || digest == NULL || op == NULL || feed == NULL ||
        body == NULL || !read_lineage(lineage->text, lineage->size, after.lineage) ||
        !read_decimal(revision->text, revision->size, &after.revision) ||
        !read_digest(digest->text, digest->size, after.digest) || !read_op(op, &ret_entry->op) ||
        !bl_feed_name_valid(feed->text, feed->size)) {
        return BL_BREAK_MALFORMED;
    }
    if (strcmp(after.lineage, before->lineage) != 0) {
        return BL_BREAK_LINEAGE;
    }
    if (after.revision != before->revision + 1) {
        return BL_BREAK_REVISION;
    }
    if (!digest_of(before->digest, revision, op, feed, body, expected) ||
        strcmp(expected, after.digest) != 0) {
        return BL_BREAK_DIGEST;
    }
    ret_entry->feed = feed->text;
    ret_entry->body = body->text;
    ret_entry->body_size = body->size;
    ret_entry->after = after;
    return BL_BREAK_NONE;
}

struct bl_lines bl_lines_of(const char *body, size_t size)
{
    return (struct bl_lines){.at = size > 0 ? body : NULL, .end = body + size};
}

bool bl_lines_next(struct bl_lines *lines, const char **ret_line, size_t *ret_size)
{
    if (lines->at == NULL) {
        return false;
    }
    const char *end = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
    *ret_line = lines->at;
    *ret_size = (size_t)((end != NULL ? end : lines->end) - lines->at);
    lines->at = end != NULL ? end + 1 : NULL;
    return true;
}
