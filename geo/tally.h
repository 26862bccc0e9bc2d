/* tally.h - hits tagged, folded and counted.
 *
 * The tally thread drains the workers' rings every 50 ms, finds each client's country and network
 * (a cache per /24 and /48 before the MMDB), counts exactly, and folds hits of a second that are
 * alike in everything a line says (client in its configured form, name, type, feed, ...; see
 * README.md) into one line for the hit log. It never touches a disk: lines go to the hit log's
 * bounded queue, and what does not fit is counted as dropped. Counters live in memory, bounded; a
 * country is two letters, ZZ when the database has no entry, XX for private and local addresses. */
#ifndef GEO_TALLY_H
#define GEO_TALLY_H

#include "geo/hit.h"
#include "geo/hitlog.h"

#include <stdint.h>

#define TALLY_ERROR_SIZE 256u /* what a message's buffer must hold */

enum tally_client { TALLY_CLIENT_FULL, TALLY_CLIENT_TRUNCATED, TALLY_CLIENT_NONE };

struct tally_options {
    const char *country_path; /* MMDB; "": none, every client is ZZ or XX */
    const char *asn_path;     /* MMDB; "": none */
    const char *node;         /* this node's name, for the lines; copied, cut at 255 octets */
    enum tally_client client;
    unsigned truncate_ipv4; /* prefix lengths kept: 0..32 */
    unsigned truncate_ipv6; /* 0..128 */
};

struct tally;

/* `rings` are borrowed and must outlive the tally; `log` may be NULL. A database that can't be
 * opened fails with -errno and a message in ret_error (TALLY_ERROR_SIZE octets). */
int tally_start(const struct tally_options *options, struct hit_ring *const *rings,
                size_t ring_count, struct hitlog *log, struct tally **ret_tally, char *ret_error);
/* Drains the rings a last time, writes open lines, ends the thread; no ring may have a producer any
 * more, and the hit log is still there. NULL is fine. */
void tally_stop(struct tally *tally);

/* Any thread: takes on new options; databases are opened anew (files are replaced by rename). On
 * failure the old ones stay. */
int tally_reload(struct tally *tally, const struct tally_options *options, char *ret_error);

/* Any thread. Counts since the start. The callbacks run under the tally's lock: be quick. */
struct tally_count {
    const char *feed; /* by_feed: the feed, its category and action */
    const char *category;
    const char *action;
    char country[3]; /* by_country */
    uint64_t count;
};
void tally_by_feed(struct tally *tally,
                   void (*call)(void *context, const struct tally_count *count), void *context);
void tally_by_country(struct tally *tally,
                      void (*call)(void *context, const struct tally_count *count), void *context);

struct tally_totals {
    uint64_t counted;    /* questions */
    uint64_t ring_drops; /* questions lost in the rings */
    uint64_t line_drops; /* lines the hit log had no room for; its own `dropped` has them too */
    uint64_t lookup_failures;
    int64_t country_build_s; /* build time of the MMDB, 0: none */
    int64_t asn_build_s;
};
void tally_totals(struct tally *tally, struct tally_totals *ret_totals);

#endif
