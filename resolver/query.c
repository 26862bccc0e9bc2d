#include "resolver/query_engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

struct query_engine *query_engine_new(const struct query_parts *parts)
{
    struct query_engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL) {
        return NULL;
    }
    engine->parts = *parts;
    engine->hits.ring = parts->hits;
    engine->pendings = pendings_new(parts->pending_max);
    engine->quota = quota_new(parts->pending_max, parts->secret);
    if (engine->pendings == NULL || engine->quota == NULL) {
        query_engine_free(engine);
        return NULL;
    }
    return engine;
}

void query_engine_free(struct query_engine *engine)
{
    if (engine != NULL) {
        pendings_free(engine->pendings);
        quota_free(engine->quota);
        free(engine);
    }
}

void query_engine_recurse(struct query_engine *engine, struct recurse *recurse)
{
    engine->recurse = recurse;
}

void query_begin(struct query_engine *engine)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    engine->now_us = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    engine->wall_s = now.tv_sec;
    engine->live = atomic_load_explicit(engine->parts.live, memory_order_acquire);
}

void query_count(struct query_engine *engine, enum metric metric)
{
    metrics_add(engine->parts.metrics, metric, 1);
}

void query_count_answer(struct query_engine *engine, enum metric kind, const uint8_t *answer)
{
    /* The metrics of the first six rcodes stand in the order of their numbers. */
    unsigned rcode = answer_rcode(answer);
    query_count(engine, kind);
    query_count(engine, rcode <= DNS_REFUSED ? METRIC_RCODE_NOERROR + rcode : METRIC_RCODE_OTHER);
}

size_t query_limit(const struct query_engine *engine, const struct client *client,
                   const struct question *question)
{
    if (client->transport == CLIENT_TCP) {
        return MESSAGE_SIZE_MAX;
    }
    return question->udp_size < engine->parts.udp_size ? question->udp_size
                                                       : engine->parts.udp_size;
}

static void answered(struct query_engine *engine, struct query *query, enum metric kind,
                     size_t size)
{
    query->answer_size = size;
    query->outcome = QUERY_ANSWERED;
    query_count_answer(engine, kind, query->answer);
}

static void dropped(struct query_engine *engine, struct query *query, enum metric reason)
{
    query->outcome = QUERY_DROPPED;
    query_count(engine, reason);
}

static void error(struct query_engine *engine, struct query *query, const struct question *question,
                  enum dns_rcode rcode, enum answer_ede ede, const char *text)
{
    size_t size = answer_error(question, rcode, ede, text, query->answer,
                               query_limit(engine, query->client, question));
    answered(engine, query, METRIC_ANSWERS_ERROR, size);
}

static void count_query(struct query_engine *engine, const struct client *client)
{
    static const enum metric metrics[2][2] = {
        {METRIC_QUERIES_UDP6, METRIC_QUERIES_UDP4},
        {METRIC_QUERIES_TCP6, METRIC_QUERIES_TCP4},
    };
    query_count(engine, metrics[client->transport == CLIENT_TCP][client->ipv4]);
}

/* Reads the question. False when the query has its outcome already. */
static bool read_question(struct query_engine *engine, struct query *query,
                          struct question *question)
{
    count_query(engine, query->client);
    int r = question_parse(query->packet, query->packet_size, question);

    if (!access_allows(engine->live->access, query->client->address)) {
        /* Garbage from strangers gets nothing, lest it be reflected. */
        if (r == 0 && engine->live->config->access.others == CONFIG_OTHERS_REFUSE) {
            error(engine, query, question, DNS_REFUSED, ANSWER_EDE_PROHIBITED, "");
        } else {
            dropped(engine, query, METRIC_DROPPED_ACL);
        }
        return false;
    }
    switch (r) {
    case 0:
        return true;
    case -EPROTO:
        query->answer_size = answer_error(question, DNS_BADVERS, ANSWER_EDE_NONE, "", query->answer,
                                          query_limit(engine, query->client, question));
        query->outcome = QUERY_ANSWERED;
        query_count(engine, METRIC_ANSWERS_ERROR);
        query_count(engine, METRIC_RCODE_BADVERS);
        return false;
    case -EOPNOTSUPP:
    case -EINVAL:
        answered(
            engine, query, METRIC_ANSWERS_ERROR,
            answer_unreadable(question, r == -EINVAL ? DNS_FORMERR : DNS_NOTIMP, query->answer));
        return false;
    default:
        dropped(engine, query, METRIC_DROPPED_MALFORMED);
        return false;
    }
}

/* ---- the list ---- */

static enum bl_action initial_action(const struct query_engine *engine)
{
    return engine->live->config->sinkhole.action;
}

bool query_is_blocked(struct query_engine *engine, const struct client *client,
                      const struct question *question, const struct bl_match *matches,
                      size_t match_count, const uint8_t *chain, bool *logged,
                      struct policy_rule *ret_rule)
{
    struct policy_verdict verdict;
    policy_decide(engine->parts.list, matches, match_count, initial_action(engine),
                  (uint32_t)(engine->wall_s / 3600), &verdict);
    bool blocks = policy_blocks(&verdict);
    if (blocks || (verdict.logged && !*logged)) {
        *logged |= !blocks;
        query_count(engine, METRIC_HITS_LISTED);
        hits_add(&engine->hits, engine->parts.list, client, question,
                 blocks ? &verdict.rule : &verdict.log_rule, chain, engine->wall_s);
    }
    if (blocks) {
        *ret_rule = verdict.rule;
    }
    return blocks;
}

bool query_is_chain_blocked(struct query_engine *engine, const struct client *client,
                            const struct question *question, const struct message *message,
                            bool *logged, struct policy_rule *ret_rule, bool *ret_unlisted)
{
    const uint8_t *name = message->chain;
    *ret_unlisted = true;
    for (uint8_t i = 0; i < message->chain_count; i++) {
        size_t size = bl_name_size(name);
        size_t matched = bl_list_find(engine->parts.list, name, size, engine->matches);
        if (matched > 0) {
            *ret_unlisted = false;
            if (query_is_blocked(engine, client, question, engine->matches, matched, name, logged,
                                 ret_rule)) {
                return true;
            }
        }
        name += size;
    }
    return false;
}

size_t query_listed_answer(const struct query_engine *engine, const struct question *question,
                           const struct policy_rule *rule, uint8_t offset, uint8_t *out,
                           size_t limit)
{
    if (rule->action == BL_ACTION_DROP) {
        return 0;
    }
    return answer_listed(question, &engine->live->config->sinkhole, rule->action, offset,
                         rule->feed->label, rule->feed->tier == BL_TIER_LEGAL, out, limit);
}

static void answer_by_rule(struct query_engine *engine, struct query *query,
                           const struct question *question, const struct policy_rule *rule,
                           uint8_t offset)
{
    size_t size = query_listed_answer(engine, question, rule, offset, query->answer,
                                      query_limit(engine, query->client, question));
    if (size == 0) {
        dropped(engine, query, METRIC_DROPPED_POLICY);
    } else {
        answered(engine, query, METRIC_ANSWERS_LISTED, size);
    }
}

static bool solve_by_list(struct query_engine *engine, struct query *query,
                          const struct question *question, const struct bl_lookup *lookup,
                          bool *logged)
{
    if (lookup->count == 0) {
        return false;
    }
    const struct bl_match *matches = lookup->matches;
    size_t matched = lookup->count;
    if (lookup->more) {
        matched =
            bl_list_find(engine->parts.list, question->name, question->name_size, engine->matches);
        matches = engine->matches;
    }
    struct policy_rule rule;
    if (!query_is_blocked(engine, query->client, question, matches, matched, NULL, logged, &rule)) {
        return false;
    }
    answer_by_rule(engine, query, question, &rule, rule.offset);
    return true;
}

/* ---- what is not resolved at all ---- */

/* Until the list is whole, a name that was not found may be a listed one, and a listed name is
 * never resolved. Clients ask their next resolver. */
static bool solve_without_list(struct query_engine *engine, struct query *query,
                               const struct question *question)
{
    if (engine->list_is_whole) {
        return false;
    }
    query_count(engine, METRIC_REFUSED_NO_LIST);
    error(engine, query, question, DNS_REFUSED, ANSWER_EDE_NOT_READY, "no list yet");
    return true;
}

static bool solve_locally(struct query_engine *engine, struct query *query,
                          const struct question *question)
{
    switch (question->type) {
    case 251: /* IXFR */
    case 252: /* AXFR: a resolver has no zones to give */
        error(engine, query, question, DNS_REFUSED, ANSWER_EDE_NONE, "");
        return true;
    case DNS_TKEY:
    case 250: /* TSIG */
    case 253: /* MAILB */
    case 254: /* MAILA */
        error(engine, query, question, DNS_NOTIMP, ANSWER_EDE_NONE, "");
        return true;
    case DNS_ANY:
        answered(engine, query, METRIC_ANSWERS_LOCAL,
                 answer_any(question, query->answer, query_limit(engine, query->client, question)));
        return true;
    }
    if ((question->flags & DNS_FLAG_RD) == 0) {
        /* Without recursion there is only the cache to read, which is nobody's to read out. */
        error(engine, query, question, DNS_REFUSED, ANSWER_EDE_NOT_AUTHORITATIVE, "");
        return true;
    }
    return false;
}

/* ---- the cache ---- */

struct cache_key query_key(const struct question *question)
{
    return (struct cache_key){
        .name = question->name,
        .name_size = question->name_size,
        .flags = (uint8_t)((question->dnssec_ok ? CACHE_DNSSEC : 0) |
                           ((question->flags & DNS_FLAG_CD) != 0 ? CACHE_CHECKING : 0)),
        .type = question->type,
        .class = question->class,
    };
}

/* A chain is held against the list again when the list has changed since it last was. */
static bool is_cached_chain_blocked(struct query_engine *engine, struct query *query,
                                    const struct question *question, struct cache_entry *entry,
                                    bool *logged, struct policy_rule *ret_rule)
{
    if (entry->message.chain_count == 0) {
        return false;
    }
    uint64_t version = bl_list_version(engine->parts.list);
    if (atomic_load_explicit(&entry->checked_version, memory_order_relaxed) == version) {
        return false;
    }
    query_count(engine, METRIC_CACHE_RECHECKS);
    bool unlisted;
    if (query_is_chain_blocked(engine, query->client, question, &entry->message, logged, ret_rule,
                               &unlisted)) {
        return true;
    }
    if (unlisted) {
        atomic_store_explicit(&entry->checked_version, version, memory_order_relaxed);
    }
    return false;
}

static bool solve_from_cache(struct query_engine *engine, struct query *query,
                             const struct question *question, uint64_t hash, bool *logged)
{
    struct cache_key key = query_key(question);
    key.hash = hash;
    uint64_t now_ms = engine->now_us / 1000;
    struct cache_entry *entry = cache_get(engine->parts.cache, &key, now_ms);
    if (entry == NULL) {
        query_count(engine, METRIC_CACHE_MISSES);
        return false;
    }
    query_count(engine, METRIC_CACHE_HITS);

    struct policy_rule rule;
    if (is_cached_chain_blocked(engine, query, question, entry, logged, &rule)) {
        answer_by_rule(engine, query, question, &rule, 0);
        return true;
    }
    bool truncated;
    size_t size =
        answer_message(question, &entry->message, (uint32_t)((now_ms - entry->stored_ms) / 1000),
                       query->answer, query_limit(engine, query->client, question), &truncated);
    if (truncated) {
        query_count(engine, METRIC_TRUNCATED);
    }
    answered(engine, query, METRIC_ANSWERS_CACHED, size);
    return true;
}

/* ---- recursion ---- */

static void give_up(struct query_engine *engine, struct query *query,
                    const struct question *question, enum metric reason, const char *text)
{
    query_count(engine, reason);
    error(engine, query, question, DNS_SERVFAIL, ANSWER_EDE_OTHER, text);
}

/* A slot for the question, if need be that of one that only the cache still waits for. */
static struct pending *take_slot(struct query_engine *engine, const struct question *question,
                                 const struct client *client)
{
    struct pending *pending = pendings_take(engine->pendings, question, client);
    struct pending *late = pending == NULL ? pendings_oldest_late(engine->pendings) : NULL;
    if (late != NULL) {
        recurse_cancel(engine->recurse, pending_waiter(late));
        pendings_give(engine->pendings, late);
        pending = pendings_take(engine->pendings, question, client);
    }
    return pending;
}

static void ask_recursion(struct query_engine *engine, struct query *query,
                          const struct question *question, uint64_t list_version, bool logged)
{
    const struct client *client = query->client;
    if (!quota_take(engine->quota, client->address, engine->parts.pending_client_max)) {
        give_up(engine, query, question, METRIC_REFUSED_OVERLOAD_CLIENT,
                "too many questions of this client in flight");
        return;
    }
    struct pending *pending = take_slot(engine, question, client);
    if (pending == NULL ||
        recurse_ask(engine->recurse, question->name, question->name_size, question->type,
                    question->class, pending_waiter(pending)) != 0) {
        if (pending != NULL) {
            pendings_give(engine->pendings, pending);
        }
        quota_give(engine->quota, client->address);
        give_up(engine, query, question, METRIC_REFUSED_OVERLOAD, "too many questions in flight");
        return;
    }
    pending->asked_us = engine->now_us;
    pending->list_version = list_version;
    pending->logged = logged;
    query->outcome = QUERY_PENDING;
}

/* ---- a batch ---- */

static void solve(struct query_engine *engine, struct query *query, const struct question *question,
                  const struct bl_lookup *lookup, uint64_t hash, uint64_t list_version)
{
    if (question->class != DNS_IN) {
        error(engine, query, question, DNS_REFUSED, ANSWER_EDE_NONE, "");
        return;
    }
    bool logged = false;
    if (solve_by_list(engine, query, question, lookup, &logged) ||
        solve_without_list(engine, query, question) || solve_locally(engine, query, question) ||
        solve_from_cache(engine, query, question, hash, &logged)) {
        return;
    }
    ask_recursion(engine, query, question, list_version, logged);
}

void query_batch(struct query_engine *engine, struct query *queries, size_t query_count)
{
    assert(query_count <= BL_BATCH_MAX);
    struct query *open[BL_BATCH_MAX];
    size_t open_count = 0;
    query_begin(engine);

    for (size_t i = 0; i < query_count; i++) {
        struct question *question = &engine->questions[open_count];
        if (!read_question(engine, &queries[i], question)) {
            continue;
        }
        struct cache_key key = query_key(question);
        engine->hashes[open_count] = cache_hash(engine->parts.cache, &key);
        cache_prefetch(engine->parts.cache, engine->hashes[open_count]);
        engine->lookups[open_count].name = question->name;
        engine->lookups[open_count].name_size = question->name_size;
        open[open_count++] = &queries[i];
    }

    /* Both before the look-up: what it does not find was not listed then. */
    engine->list_is_whole = bl_list_is_whole(engine->parts.list);
    uint64_t list_version = bl_list_version(engine->parts.list);
    bl_list_find_batch(engine->parts.list, engine->lookups, open_count);
    for (size_t i = 0; i < open_count; i++) {
        solve(engine, open[i], &engine->questions[i], &engine->lookups[i], engine->hashes[i],
              list_version);
    }
    hits_flush(&engine->hits);
}
