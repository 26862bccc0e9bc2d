/* metrics.h - the daemon's counters: declared once, counted without locks, summed at a scrape.
 *
 * Each thread that counts owns one block and is its only writer; a scrape sums the blocks. Counters
 * only rise while the process lives. What is not a counter of a thread (list size, sync state, hits
 * by feed and country) is read by the scrape through resolver/http's renderers. */
#ifndef RESOLVER_METRICS_H
#define RESOLVER_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* X(NAME, family, labels, help): rows of one family stand together; help is the first row's. */
#define METRICS(X)                                                                                 \
    X(QUERIES_UDP4, "sinkhole_queries_total", "proto=\"udp\",family=\"4\"",                        \
      "Questions received, by transport and address family.")                                      \
    X(QUERIES_UDP6, "sinkhole_queries_total", "proto=\"udp\",family=\"6\"", "")                    \
    X(QUERIES_TCP4, "sinkhole_queries_total", "proto=\"tcp\",family=\"4\"", "")                    \
    X(QUERIES_TCP6, "sinkhole_queries_total", "proto=\"tcp\",family=\"6\"", "")                    \
    X(ANSWERS_LISTED, "sinkhole_answers_total", "kind=\"listed\"",                                 \
      "Answers sent, by where they came from.")                                                    \
    X(ANSWERS_CACHED, "sinkhole_answers_total", "kind=\"cached\"", "")                             \
    X(ANSWERS_RECURSED, "sinkhole_answers_total", "kind=\"recursed\"", "")                         \
    X(ANSWERS_LOCAL, "sinkhole_answers_total", "kind=\"local\"", "")                               \
    X(ANSWERS_ERROR, "sinkhole_answers_total", "kind=\"error\"", "")                               \
    X(RCODE_NOERROR, "sinkhole_responses_total", "rcode=\"NOERROR\"", "Answers sent, by rcode.")   \
    X(RCODE_FORMERR, "sinkhole_responses_total", "rcode=\"FORMERR\"", "")                          \
    X(RCODE_SERVFAIL, "sinkhole_responses_total", "rcode=\"SERVFAIL\"", "")                        \
    X(RCODE_NXDOMAIN, "sinkhole_responses_total", "rcode=\"NXDOMAIN\"", "")                        \
    X(RCODE_NOTIMP, "sinkhole_responses_total", "rcode=\"NOTIMP\"", "")                            \
    X(RCODE_REFUSED, "sinkhole_responses_total", "rcode=\"REFUSED\"", "")                          \
    X(RCODE_BADVERS, "sinkhole_responses_total", "rcode=\"BADVERS\"", "")                          \
    X(RCODE_OTHER, "sinkhole_responses_total", "rcode=\"other\"", "")                              \
    X(DROPPED_MALFORMED, "sinkhole_dropped_total", "reason=\"malformed\"",                         \
      "Questions that got no answer, by reason.")                                                  \
    X(DROPPED_ACL, "sinkhole_dropped_total", "reason=\"acl\"", "")                                 \
    X(DROPPED_POLICY, "sinkhole_dropped_total", "reason=\"policy\"", "")                           \
    X(DROPPED_SEND, "sinkhole_dropped_total", "reason=\"send\"", "")                               \
    X(DROPPED_CLIENT_GONE, "sinkhole_dropped_total", "reason=\"client_gone\"", "")                 \
    X(REFUSED_OVERLOAD, "sinkhole_overload_total", "limit=\"pending\"",                            \
      "Questions answered SERVFAIL because a limit was reached.")                                  \
    X(REFUSED_OVERLOAD_CLIENT, "sinkhole_overload_total", "limit=\"pending_per_client\"", "")      \
    X(REFUSED_NO_LIST, "sinkhole_no_list_total", "",                                               \
      "Questions refused because the list had not been loaded yet.")                               \
    X(TRUNCATED, "sinkhole_truncated_total", "", "UDP answers cut to the client's size (TC).")     \
    X(CACHE_HITS, "sinkhole_cache_hits_total", "", "Questions answered from the answer cache.")    \
    X(CACHE_MISSES, "sinkhole_cache_misses_total", "", "Questions the answer cache did not hold.") \
    X(CACHE_RECHECKS, "sinkhole_cache_chain_rechecks_total", "",                                   \
      "Cached CNAME chains held against the list again because the list had changed.")             \
    X(RECURSION_ASKED, "sinkhole_recursion_questions_total", "",                                   \
      "Questions sent to a recursor (equal ones in flight are merged).")                           \
    X(RECURSION_MERGED, "sinkhole_recursion_merged_total", "",                                     \
      "Questions that joined an equal one in flight.")                                             \
    X(RECURSION_TIMEOUTS, "sinkhole_recursion_timeouts_total", "",                                 \
      "Questions that recursion did not answer in time.")                                          \
    X(RECURSION_REJECTED, "sinkhole_recursion_rejected_total", "",                                 \
      "Records from a recursor that did not fit a question in flight.")                            \
    X(RECURSION_BOGUS, "sinkhole_dnssec_validations_total", "result=\"bogus\"",                    \
      "Answers of recursion, by the result of validation.")                                        \
    X(RECURSION_INSECURE, "sinkhole_dnssec_validations_total", "result=\"insecure\"", "")          \
    X(RECURSION_SECURE, "sinkhole_dnssec_validations_total", "result=\"secure\"", "")              \
    X(TCP_ACCEPTED, "sinkhole_tcp_connections_total", "result=\"accepted\"",                       \
      "TCP connections, by what became of them at the door.")                                      \
    X(TCP_REFUSED, "sinkhole_tcp_connections_total", "result=\"refused\"", "")                     \
    X(TCP_CLOSED_IDLE, "sinkhole_tcp_timeouts_total", "timer=\"idle\"",                            \
      "TCP connections closed by a timer.")                                                        \
    X(TCP_CLOSED_TOTAL, "sinkhole_tcp_timeouts_total", "timer=\"total\"", "")                      \
    X(TCP_CLOSED_SLOW, "sinkhole_tcp_timeouts_total", "timer=\"write\"", "")                       \
    X(HITS_LISTED, "sinkhole_hit_questions_total", "", "Questions that matched the list.")

enum metric {
#define X(name, family, labels, help) METRIC_##name,
    METRICS(X)
#undef X
        METRIC_COUNT
};

/* Upper bounds of the response duration's buckets, in microseconds; one more counts the rest. */
#define METRICS_DURATION_BOUNDS_US                                                                 \
    {                                                                                              \
        10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000,  \
            1000000, 2000000, 5000000, 10000000                                                    \
    }
#define METRICS_DURATION_BUCKETS 20u

struct metrics {
    _Alignas(64) _Atomic uint64_t values[METRIC_COUNT];
    _Atomic uint64_t duration[METRICS_DURATION_BUCKETS]; /* answers of recursion */
    _Atomic uint64_t duration_sum_us;
};

/* The block's own thread only: hence no read-modify-write. */
static inline void metrics_add(struct metrics *metrics, enum metric metric, uint64_t count)
{
    _Atomic uint64_t *value = &metrics->values[metric];
    atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + count,
                          memory_order_relaxed);
}

/* The block's own thread only. */
void metrics_duration(struct metrics *metrics, uint64_t duration_us);

/* A growing text, never larger than 16 MiB; `failed` sticks when memory or room runs out. */
struct metrics_text {
    char *text; /* NUL-ended unless NULL */
    size_t size;
    size_t capacity;
    int failed;
};
void metrics_text_done(struct metrics_text *text);
void metrics_printf(struct metrics_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Writes a label's value with \ " and newline escaped (Prometheus text format 0.0.4). */
void metrics_label(struct metrics_text *text, const char *value);
/* HELP and TYPE lines. `type` is "counter", "gauge" or "histogram". */
void metrics_family(struct metrics_text *text, const char *family, const char *type,
                    const char *help);
/* A family of one value without labels. */
void metrics_number(struct metrics_text *text, const char *family, const char *type,
                    const char *help, uint64_t value);

/* Writes every counter and the histogram, summed over the blocks. */
void metrics_render(struct metrics_text *text, const struct metrics *const *blocks, size_t count);

/* The sum of one counter. */
uint64_t metrics_sum(const struct metrics *const *blocks, size_t count, enum metric metric);

#endif
