/* The pipeline's second half: what recursion answers, held against the list, kept and sent. */
#include "resolver/query_engine.h"

#include <errno.h>
#include <string.h>

/* RFC 9520: failures are kept for 1 s to 5 min. A bogus name costs several upstream questions each
 * time; a failure may be over in a moment. */
#define BOGUS_TTL_S 5u
#define FAILURE_TTL_S 2u

/* A list version that never is: the entry's chain is held against the list each time. */
#define VERSION_NEVER UINT64_MAX

static void set_ede(struct message *message, enum answer_ede ede, const char *text)
{
    size_t size = strlen(text);
    message->has_ede = true;
    message->ede_code = (uint16_t)ede;
    message->ede_size = (uint8_t)(size > UINT8_MAX ? UINT8_MAX : size);
    message->ede_text = text;
}

static struct message failure(enum answer_ede ede, const char *text, uint32_t ttl_s)
{
    static const uint8_t nothing[1];
    static const uint16_t no_ttls[1];
    struct message message = {
        .rcode = DNS_SERVFAIL, .body = nothing, .ttls = no_ttls, .chain = nothing, .ttl_s = ttl_s};
    set_ede(&message, ede, text);
    return message;
}

/* The waiters of one question come one after the other with one packet, which is read once for
 * those who are to have the same of it: a hostile answer's cost is not multiplied by who waits for
 * it. */
static int read_packet(struct query_engine *engine, const struct question *question,
                       const struct recurse_answer *answer)
{
    if (engine->read.serial != answer->serial || engine->read.dnssec != question->dnssec_ok) {
        engine->read.serial = answer->serial;
        engine->read.dnssec = question->dnssec_ok;
        engine->read.result =
            message_read(answer->packet, answer->packet_size, question->name, question->name_size,
                         question->type, question->dnssec_ok, &engine->parts.ttls, &engine->scratch,
                         &engine->read.message);
    }
    return engine->read.result;
}

/* What the client is to get of recursion's answer. Bogus data are for clients that set CD alone. */
static struct message read_answer(struct query_engine *engine, const struct question *question,
                                  const struct recurse_answer *answer)
{
    if (answer->state == RECURSE_FAILED) {
        return failure(ANSWER_EDE_NO_REACHABLE_AUTHORITY, "recursion failed", FAILURE_TTL_S);
    }
    bool checking_disabled = (question->flags & DNS_FLAG_CD) != 0;
    if (answer->security == RECURSE_BOGUS && !checking_disabled) {
        return failure(ANSWER_EDE_BOGUS, answer->why_bogus, BOGUS_TTL_S);
    }
    int r = read_packet(engine, question, answer);
    struct message message = engine->read.message;
    if (r == -ELOOP) {
        return failure(ANSWER_EDE_OTHER, "CNAME chain too long", BOGUS_TTL_S);
    }
    if (r != 0) {
        return failure(ANSWER_EDE_OTHER, "recursion's answer is malformed", FAILURE_TTL_S);
    }
    message.secure = answer->security == RECURSE_SECURE;
    if (answer->security == RECURSE_BOGUS) {
        set_ede(&message, ANSWER_EDE_BOGUS, answer->why_bogus);
    }
    return message;
}

static void count_security(struct query_engine *engine, const struct recurse_answer *answer)
{
    if (answer->state == RECURSE_ANSWERED) {
        query_count(engine, answer->security == RECURSE_BOGUS    ? METRIC_RECURSION_BOGUS
                            : answer->security == RECURSE_SECURE ? METRIC_RECURSION_SECURE
                                                                 : METRIC_RECURSION_INSECURE);
    }
}

/* Whether the list blocks what was asked, or a link of its answer. The name itself was held against
 * the list when it was asked; it is again if the list has changed since. */
static bool is_answer_blocked(struct query_engine *engine, struct pending *pending,
                              const struct message *message, struct policy_rule *ret_rule,
                              uint8_t *ret_offset, bool *ret_chain_unlisted)
{
    const struct question *question = &pending->question;
    *ret_offset = 0;
    *ret_chain_unlisted = false;
    if (pending->list_version != bl_list_version(engine->parts.list)) {
        size_t matched =
            bl_list_find(engine->parts.list, question->name, question->name_size, engine->matches);
        if (matched > 0 && query_is_blocked(engine, &pending->client, question, engine->matches,
                                            matched, NULL, &pending->logged, ret_rule)) {
            *ret_offset = ret_rule->offset;
            return true;
        }
    }
    return query_is_chain_blocked(engine, &pending->client, question, message, &pending->logged,
                                  ret_rule, ret_chain_unlisted);
}

static void send_answer(struct query_engine *engine, const struct pending *pending,
                        enum metric kind, size_t size)
{
    query_count_answer(engine, kind, engine->out);
    metrics_duration(engine->parts.metrics, engine->now_us - pending->asked_us);
    engine->parts.send(engine->parts.send_context, &pending->client, engine->out, size);
}

/* A failure takes no answer's place: another worker's question may have fared better. */
static void keep(struct query_engine *engine, const struct question *question,
                 const struct message *message, uint64_t list_version)
{
    struct cache_key key = query_key(question);
    key.hash = cache_hash(engine->parts.cache, &key);
    uint64_t now_ms = engine->now_us / 1000;
    if (message->rcode == DNS_SERVFAIL && cache_get(engine->parts.cache, &key, now_ms) != NULL) {
        return;
    }
    (void)cache_put(engine->parts.cache, &key, message, message->ttl_s, list_version, now_ms);
}

static void send_message(struct query_engine *engine, const struct pending *pending,
                         const struct message *message)
{
    bool truncated;
    size_t size =
        answer_message(&pending->question, message, 0, engine->out,
                       query_limit(engine, &pending->client, &pending->question), &truncated);
    if (truncated) {
        query_count(engine, METRIC_TRUNCATED);
    }
    send_answer(engine, pending, METRIC_ANSWERS_RECURSED, size);
}

static void send_listed(struct query_engine *engine, const struct pending *pending,
                        const struct policy_rule *rule, uint8_t offset)
{
    size_t size = query_listed_answer(engine, &pending->question, rule, offset, engine->out,
                                      query_limit(engine, &pending->client, &pending->question));
    if (size == 0) {
        query_count(engine, METRIC_DROPPED_POLICY);
        engine->parts.send(engine->parts.send_context, &pending->client, NULL, 0);
    } else {
        send_answer(engine, pending, METRIC_ANSWERS_LISTED, size);
    }
}

void query_answered(void *context, struct recurse_waiter waiter,
                    const struct recurse_answer *answer)
{
    struct query_engine *engine = context;
    struct pending *pending = pendings_find(engine->pendings, waiter);
    if (pending == NULL) {
        return; /* its slot was needed */
    }
    query_begin(engine);
    count_security(engine, answer);

    const struct question *question = &pending->question;
    uint64_t list_version = bl_list_version(engine->parts.list);
    struct message message = read_answer(engine, question, answer);
    if (pending->late) {
        keep(engine, question, &message, VERSION_NEVER);
        pendings_give(engine->pendings, pending);
        return;
    }
    struct policy_rule rule;
    uint8_t offset;
    bool unlisted;
    bool blocked = is_answer_blocked(engine, pending, &message, &rule, &offset, &unlisted);
    keep(engine, question, &message, unlisted ? list_version : VERSION_NEVER);
    if (blocked) {
        send_listed(engine, pending, &rule, offset);
    } else {
        send_message(engine, pending, &message);
    }
    quota_give(engine->quota, pending->client.address);
    pendings_give(engine->pendings, pending);
}

void query_flush_hits(struct query_engine *engine)
{
    hits_flush(&engine->hits);
}

/* The question runs on: its answer still fills the cache. Until then the failure is kept, so that
 * nobody else waits for the whole deadline (RFC 9520). */
static void give_up_waiting(struct query_engine *engine, struct pending *pending)
{
    struct message message =
        failure(ANSWER_EDE_NO_REACHABLE_AUTHORITY, "no answer in time", FAILURE_TTL_S);
    query_count(engine, METRIC_RECURSION_TIMEOUTS);
    keep(engine, &pending->question, &message, VERSION_NEVER);
    send_message(engine, pending, &message);
    quota_give(engine->quota, pending->client.address);
    pendings_set_late(engine->pendings, pending);
}

void query_tick(struct query_engine *engine)
{
    query_begin(engine);
    for (;;) {
        struct pending *pending = pendings_oldest(engine->pendings);
        if (pending == NULL ||
            engine->now_us - pending->asked_us < engine->parts.timeout_ms * 1000ull) {
            return;
        }
        give_up_waiting(engine, pending);
    }
}
