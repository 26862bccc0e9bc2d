/* list.h - the list in memory: feeds, the names they list and what they know of each.
 *
 * One writer thread changes the list; any number of reader threads look names up, without locks and
 * without waiting, inside bl_rcu_online()/bl_rcu_offline(). What a look-up lends holds until the
 * reader goes offline.
 *
 * A *membership* is what one feed says of one name. The set of memberships of a name is its
 * *context*; equal contexts are stored once. A feed has at most one membership per name: adding
 * again replaces it. Precedence among memberships is not decided here: see resolver/policy.h.
 *
 * Errors are negative errno; on failure nothing has changed. */
#ifndef BLOCKLIST_LIST_H
#define BLOCKLIST_LIST_H

#include "blocklist/name.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BL_FEEDS_MAX 4096u
#define BL_FEED_NAME_SIZE_MAX 64u /* with NUL; [a-z0-9._-]+, not starting with a dot or dash */
#define BL_FEED_TEXT_SIZE_MAX 64u /* with NUL: label, category */
#define BL_MEMBERSHIPS_MAX 64u    /* feeds that may list one name; more are refused and counted */
#define BL_WORDS_MAX 65535u       /* distinct categories, families, actors and operations */
#define BL_WORD_SIZE_MAX 128u     /* with NUL */
#define BL_FEED_TEXTS_MAX 65536u  /* distinct sets of properties: each is kept for the hits */

/* What an entry does. DEFAULT: a membership takes its feed's action, a feed the configuration's. */
enum bl_action {
    BL_ACTION_DEFAULT,
    BL_ACTION_ADDRESS,
    BL_ACTION_NXDOMAIN,
    BL_ACTION_NODATA,
    BL_ACTION_REFUSED,
    BL_ACTION_DROP,
    BL_ACTION_LOG,   /* count, and answer as if not listed */
    BL_ACTION_ALLOW, /* never block by a weaker rule */
};

/* Lower tiers decide first. */
enum bl_tier { BL_TIER_LEGAL, BL_TIER_OPERATOR, BL_TIER_FEED };

enum bl_scope {
    BL_SCOPE_SUFFIX, /* the name and all below it */
    BL_SCOPE_EXACT,  /* the name alone */
};

/* Text forms, as in files and Redis ("address", "operator", "exact"); NULL or -EINVAL
 * for others. */
const char *bl_action_text(enum bl_action action);
int bl_action_from_text(const char *text, size_t size, enum bl_action *ret_action);
const char *bl_tier_text(enum bl_tier tier);
int bl_tier_from_text(const char *text, size_t size, enum bl_tier *ret_tier);

/* A feed's properties. Immutable once published; the struct, and so its texts, live as long as the
 * list, also when the feed is changed or removed. The id stays the feed's while the feed
 * is there. */
struct bl_feed {
    char name[BL_FEED_NAME_SIZE_MAX];
    char label[BL_FEED_TEXT_SIZE_MAX];    /* public: EDE text; "" if none */
    char category[BL_FEED_TEXT_SIZE_MAX]; /* "" if none; a membership's own goes before */
    enum bl_tier tier;
    enum bl_action action; /* ALLOW makes it a feed of exceptions */
    int32_t priority;      /* higher wins among denies at one name */
    uint16_t id;
    bool redis; /* it comes from Redis: a full image decides whether it still exists */
};

/* What one feed says of one name. Words (category, family, actor, operation) are numbers lent by
 * bl_list_word(); 0 is none. */
struct bl_membership {
    uint16_t feed;
    uint8_t scope;  /* enum bl_scope */
    uint8_t action; /* enum bl_action */
    uint16_t category;
    uint16_t family;
    uint16_t actor;
    uint16_t operation;
    uint8_t state[2];    /* ISO 3166-1 alpha-2 of the state the actor is attributed to, or zeros */
    uint8_t confidence;  /* 0..100; 255 unknown */
    uint8_t tlp;         /* 0 unknown, 1 clear, 2 green, 3 amber, 4 amber+strict, 5 red */
    uint32_t from_hour;  /* hours since 1970 UTC; 0: always was valid */
    uint32_t until_hour; /* first hour it is no longer valid; 0: for ever */
};

/* The memberships of one name. */
struct bl_context {
    uint32_t count; /* 1..BL_MEMBERSHIPS_MAX */
    struct bl_membership memberships[];
};

/* One listed suffix of the name asked for. */
struct bl_match {
    const struct bl_context *context;
    uint8_t offset; /* where in the name the suffix starts; 0: the whole name is listed */
};

struct bl_list;

/* `secret` is copied. NULL when memory is short. */
struct bl_list *bl_list_new(const struct bl_secret *secret);
void bl_list_free(struct bl_list *list); /* no reader may be online; NULL is fine */

/* ---- readers, online ---- */

/* Raised once per published batch that can newly block something, before bl_list_publish() returns
 * and after the batch can be seen: an entry that is not an ALLOW was added, widened, or had its
 * action or validity changed (log-only ones count: a match must be seen to be counted); an ALLOW
 * was removed, narrowed or had its validity changed; a feed with entries got another action, tier
 * or priority. Read it before a look-up: a name that a look-up did not find stays unlisted, but for
 * ALLOW, while the version is the same. */
uint64_t bl_list_version(const struct bl_list *list);

/* Whether all that should be listed is. While it is not, a name that is not found may be listed
 * nevertheless, and nobody can say that it is not. */
bool bl_list_is_whole(const struct bl_list *list);

/* All listed suffixes of `name` (lowered, `size` octets), longest first, at most
 * BL_NAME_LABELS_MAX + 1. A match whose offset is not 0 can only hold by its SUFFIX memberships;
 * the caller looks. Returns how many. */
size_t bl_list_find(const struct bl_list *list, const uint8_t *name, size_t size,
                    struct bl_match ret_matches[static BL_NAME_LABELS_MAX + 1]);

/* The same for a batch, with prefetching between the stages. */
#define BL_BATCH_MAX 64u
#define BL_BATCH_MATCHES_MAX 8u
struct bl_lookup {
    const uint8_t *name; /* in: lowered */
    uint8_t name_size;   /* in */
    uint8_t count;       /* out: matches kept; beyond BL_BATCH_MATCHES_MAX, `more` is set and the */
    bool more;           /* caller uses bl_list_find() */
    struct bl_match matches[BL_BATCH_MATCHES_MAX]; /* out */
};
void bl_list_find_batch(const struct bl_list *list, struct bl_lookup *lookups, size_t count);

/* The feed with this id, which a membership named. Never NULL for such an id. */
const struct bl_feed *bl_list_feed(const struct bl_list *list, uint16_t id);

/* The text of a word; "" for 0. Lives as long as the list. */
const char *bl_list_word_text(const struct bl_list *list, uint16_t word);

/* ---- any thread ---- */

uint64_t bl_list_names(const struct bl_list *list);  /* names listed */
uint64_t bl_list_octets(const struct bl_list *list); /* memory in use, near enough for a metric */
/* Entries of one feed; 0 for an id not in use. */
uint64_t bl_list_feed_entries(const struct bl_list *list, uint16_t id);

/* ---- the writer; changes of one batch may be seen by readers one by one ---- */

/* Creates the feed, or changes its properties (name decides; id is ignored). The feed's text fields
 * must be NUL-ended. Returns the id, -ENOSPC at BL_FEEDS_MAX or BL_FEED_TEXTS_MAX, -EINVAL for a
 * bad name, tier or action, -ENOMEM. */
int bl_list_feed_set(struct bl_list *list, const struct bl_feed *feed);

/* Removes a feed and every membership of it. Its id may be used again after the next publish. 0,
 * -ENOENT for an id not in use, or -ENOMEM: then some of its memberships are left and the feed too;
 * it may be tried again. */
int bl_list_feed_remove(struct bl_list *list, uint16_t id);

/* Finds a feed by name. Returns its id or -ENOENT. (Writer, or a reader that is online.) */
int bl_list_feed_find(const struct bl_list *list, const char *name);

/* Calls back for every feed, in the order of ids. (Writer, or a reader that is online.) */
void bl_list_feeds(const struct bl_list *list,
                   void (*call)(void *context, const struct bl_feed *feed), void *context);

/* Interns a word. Returns 1..BL_WORDS_MAX, 0 for an empty text, -EINVAL for one with a NUL or of
 * BL_WORD_SIZE_MAX octets and more, -ENOSPC or -ENOMEM. */
int bl_list_word(struct bl_list *list, const char *text, size_t size);

/* Sets what membership->feed, which must be in use, says of `name` (lowered). Returns 1 if that
 * changed anything, 0 if it was so already, -ENOSPC when BL_MEMBERSHIPS_MAX feeds list the name,
 * -ENOMEM. */
int bl_list_add(struct bl_list *list, const uint8_t *name, size_t size,
                const struct bl_membership *membership);

/* Returns 1, 0 if the feed did not list the name, or -ENOMEM. */
int bl_list_remove(struct bl_list *list, uint16_t feed, const uint8_t *name, size_t size);

/* What the feed says of the name now; false if nothing. */
bool bl_list_get(const struct bl_list *list, uint16_t feed, const uint8_t *name, size_t size,
                 struct bl_membership *ret_membership);

/* Walks all names a feed lists, in no order. The callback must not change the list; it returns
 * false to end the walk. */
void bl_list_walk(const struct bl_list *list, uint16_t feed,
                  bool (*call)(void *context, const uint8_t *name, size_t size,
                               const struct bl_membership *membership),
                  void *context);

/* A list is whole from the start, until it is known that something is missing. */
void bl_list_set_whole(struct bl_list *list, bool whole);

/* Ends a batch: raises the version if the batch can newly block, waits for one grace period if
 * something was retired, and frees that. */
void bl_list_publish(struct bl_list *list);

#endif
