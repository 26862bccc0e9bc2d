/* What the list shows while it changes: its version, and what readers see beside the writer. */
#include "blocklist/list.h"

#include "blocklist/rcu.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct bl_list *list_new(void)
{
    struct bl_secret secret;
    assert_int_equal(bl_secret_make(&secret), 0);
    struct bl_list *list = bl_list_new(&secret);
    assert_non_null(list);
    return list;
}

static int feed_set(struct bl_list *list, const char *name, enum bl_action action)
{
    struct bl_feed feed = {.tier = BL_TIER_FEED, .action = action};
    snprintf(feed.name, sizeof(feed.name), "%s", name);
    return bl_list_feed_set(list, &feed);
}

/* ---- the version ---- */

static const uint8_t evil[] = "\4evil\3com";

enum { DENIES, EXCEPTIONS }; /* ids of the two feeds: without a word of their own, deny and allow */

static bool rises(struct bl_list *list)
{
    uint64_t version = bl_list_version(list);
    bl_list_publish(list);
    assert_in_range(bl_list_version(list) - version, 0, 1);
    return bl_list_version(list) > version;
}

static void the_version_rises_only_for_what_can_newly_block(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct bl_membership old; /* listed before, if its confidence is not 0 */
        struct bl_membership new; /* listed afterwards, if its confidence is not 0 */
        bool rises;
    } rows[] = {
#define AND(FEED, SCOPE, ACTION, FIELD, VALUE)                                                     \
    {.confidence = 1,                                                                              \
     .feed = (FEED),                                                                               \
     .scope = BL_SCOPE_##SCOPE,                                                                    \
     .action = BL_ACTION_##ACTION,                                                                 \
     .FIELD = (VALUE)}
#define SAYS(FEED, SCOPE, ACTION) AND(FEED, SCOPE, ACTION, tlp, 0)
#define NOTHING                                                                                    \
    {                                                                                              \
        .confidence = 0                                                                            \
    }
        {"a deny added", NOTHING, SAYS(DENIES, EXACT, DEFAULT), true},
        {"a deny added, of its own", NOTHING, SAYS(DENIES, EXACT, NXDOMAIN), true},
        {"a deny added to a feed of exceptions", NOTHING, SAYS(EXCEPTIONS, EXACT, DROP), true},
        {"a log-only entry added", NOTHING, SAYS(DENIES, EXACT, LOG), true},
        {"a deny of later added", NOTHING, AND(DENIES, EXACT, DEFAULT, from_hour, 9), true},
        {"an allow added", NOTHING, SAYS(EXCEPTIONS, SUFFIX, DEFAULT), false},
        {"an allow added, of its own", NOTHING, SAYS(DENIES, SUFFIX, ALLOW), false},
        {"a deny removed", SAYS(DENIES, SUFFIX, DEFAULT), NOTHING, false},
        {"an allow removed", SAYS(EXCEPTIONS, EXACT, DEFAULT), NOTHING, true},
        {"an allow removed, of its own", SAYS(DENIES, EXACT, ALLOW), NOTHING, true},
        {"a deny widened", SAYS(DENIES, EXACT, DEFAULT), SAYS(DENIES, SUFFIX, DEFAULT), true},
        {"a deny narrowed", SAYS(DENIES, SUFFIX, DEFAULT), SAYS(DENIES, EXACT, DEFAULT), false},
        {"an allow widened", SAYS(DENIES, EXACT, ALLOW), SAYS(DENIES, SUFFIX, ALLOW), false},
        {"an allow narrowed", SAYS(DENIES, SUFFIX, ALLOW), SAYS(DENIES, EXACT, ALLOW), true},
        {"an action changed", SAYS(DENIES, EXACT, LOG), SAYS(DENIES, EXACT, ADDRESS), true},
        {"a deny made an allow", SAYS(DENIES, EXACT, DROP), SAYS(DENIES, EXACT, ALLOW), false},
        {"an allow made a deny", SAYS(DENIES, EXACT, ALLOW), SAYS(DENIES, EXACT, DROP), true},
        {"a deny's time changed", AND(DENIES, EXACT, DROP, until_hour, 5),
         AND(DENIES, EXACT, DROP, until_hour, 6), true},
        {"an allow's time changed", AND(DENIES, EXACT, ALLOW, until_hour, 6),
         AND(DENIES, EXACT, ALLOW, until_hour, 5), true},
        {"a deny's category changed", AND(DENIES, EXACT, DROP, category, 1),
         AND(DENIES, EXACT, DROP, category, 2), false},
        {"nothing", SAYS(DENIES, EXACT, DROP), SAYS(DENIES, EXACT, DROP), false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bl_list *list = list_new();
        assert_int_equal(feed_set(list, "denies", BL_ACTION_DEFAULT), DENIES);
        assert_int_equal(feed_set(list, "exceptions", BL_ACTION_ALLOW), EXCEPTIONS);
        assert_false(rises(list));
        if (rows[i].old.confidence > 0) {
            assert_int_equal(bl_list_add(list, evil, sizeof(evil), &rows[i].old), 1);
            bl_list_publish(list);
        }
        if (rows[i].new.confidence > 0) {
            assert_true(bl_list_add(list, evil, sizeof(evil), &rows[i].new) >= 0);
        } else {
            assert_int_equal(bl_list_remove(list, rows[i].old.feed, evil, sizeof(evil)), 1);
        }
        uint64_t before = bl_list_version(list);
        if (rises(list) != rows[i].rises) {
            fail_msg("%s: %d", rows[i].what, !rows[i].rises);
        }
        assert_int_equal(bl_list_version(list) - before, rows[i].rises);
        assert_false(rises(list));
        bl_list_free(list);
    }
}

static void the_version_rises_for_a_feed_that_decides_otherwise(void **state)
{
    (void)state;
    struct bl_list *list = list_new();
    struct bl_feed feed = {.name = "a", .tier = BL_TIER_FEED, .action = BL_ACTION_ALLOW};
    uint16_t id = (uint16_t)bl_list_feed_set(list, &feed);
    struct bl_membership membership = {.feed = id};

    feed.action = BL_ACTION_LOG;
    bl_list_feed_set(list, &feed);
    assert_false(rises(list)); /* it lists nothing */
    assert_int_equal(bl_list_add(list, evil, sizeof(evil), &membership), 1);
    assert_true(rises(list));
    feed.action = BL_ACTION_NXDOMAIN;
    bl_list_feed_set(list, &feed);
    assert_true(rises(list));
    feed.tier = BL_TIER_OPERATOR;
    bl_list_feed_set(list, &feed);
    assert_true(rises(list));
    feed.priority = -3;
    bl_list_feed_set(list, &feed);
    assert_true(rises(list));
    strcpy(feed.label, "public");
    strcpy(feed.category, "malware");
    bl_list_feed_set(list, &feed);
    assert_false(rises(list));
    assert_int_equal(bl_list_feed_remove(list, id), 0);
    assert_false(rises(list)); /* denies went */

    feed.action = BL_ACTION_ALLOW;
    membership.feed = (uint16_t)bl_list_feed_set(list, &feed);
    assert_int_equal(bl_list_add(list, evil, sizeof(evil), &membership), 1);
    assert_false(rises(list));
    assert_int_equal(bl_list_feed_remove(list, membership.feed), 0);
    assert_true(rises(list)); /* an allow went */
    bl_list_free(list);
}

/* ---- readers beside the writer ---- */

#define READERS 3
#define STAYING 64u  /* names that are listed all the time by the feed "stays" */
#define COMING 2048u /* names that come and go */
#define CHANGES 60000u
#define PUBLISH_EVERY 64u

struct play {
    struct bl_list *list;
    uint16_t stays;
    _Atomic bool over;
    _Atomic uint32_t rounds[READERS];
    _Atomic uint32_t wrong;
};

struct reader {
    struct play *play;
    size_t number;
    pthread_t thread;
};

static size_t name_numbered(uint32_t number, uint8_t *name)
{
    char text[64];
    int length =
        snprintf(text, sizeof(text), "a.n%u.%s", number, number % 2 == 0 ? "com" : "n1.com");
    int size = bl_name_from_text(text, (size_t)length, name);
    return size > 0 ? (size_t)size : 0;
}

/* Looks at all that a match lends. */
static bool is_sound(const struct bl_list *list, const struct bl_context *context)
{
    bool sound = context->count >= 1 && context->count <= BL_MEMBERSHIPS_MAX;
    for (uint32_t i = 0; sound && i < context->count; i++) {
        const struct bl_membership *membership = &context->memberships[i];
        sound = strncmp(bl_list_feed(list, membership->feed)->name, "feed", 4) == 0 &&
                strncmp(bl_list_word_text(list, membership->category), "word", 4) == 0;
    }
    return sound;
}

static bool says(const struct bl_context *context, uint16_t feed)
{
    for (uint32_t i = 0; i < context->count; i++) {
        if (context->memberships[i].feed == feed) {
            return true;
        }
    }
    return false;
}

static bool read_once(const struct play *play, uint32_t first)
{
    uint8_t names[BL_BATCH_MAX][BL_NAME_SIZE_MAX];
    struct bl_lookup lookups[BL_BATCH_MAX];
    for (uint32_t i = 0; i < BL_BATCH_MAX; i++) { /* one that stays, one that comes and goes */
        uint32_t number = i % 2 == 0 ? (first + i) % STAYING : STAYING + (first + i) % COMING;
        lookups[i].name = names[i];
        lookups[i].name_size = (uint8_t)name_numbered(number, names[i]);
    }
    bool sound = true;
    bl_list_find_batch(play->list, lookups, BL_BATCH_MAX);
    for (uint32_t i = 0; i < BL_BATCH_MAX; i++) {
        for (uint32_t j = 0; j < lookups[i].count; j++) {
            sound = sound && is_sound(play->list, lookups[i].matches[j].context);
        }
        sound =
            sound && (i % 2 != 0 || (lookups[i].count > 0 && lookups[i].matches[0].offset == 0 &&
                                     says(lookups[i].matches[0].context, play->stays)));
    }
    struct bl_match matches[BL_NAME_LABELS_MAX + 1];
    size_t count = bl_list_find(play->list, names[0], lookups[0].name_size, matches);
    return sound && count > 0 && is_sound(play->list, matches[0].context);
}

static void *run_reader(void *context)
{
    struct reader *reader = context;
    struct play *play = reader->play;
    bl_rcu_register();
    uint64_t version = 0;
    uint32_t round = 0;
    while (!atomic_load(&play->over)) {
        bl_rcu_online();
        uint64_t seen = bl_list_version(play->list);
        bool sound = seen >= version && read_once(play, round * 7919u);
        version = seen;
        bl_rcu_offline();
        atomic_fetch_add(&play->wrong, sound ? 0 : 1);
        atomic_store(&play->rounds[reader->number], ++round);
    }
    bl_rcu_unregister();
    return NULL;
}

static void wait_for_rounds(struct play *play, uint32_t rounds)
{
    for (size_t i = 0; i < READERS; i++) {
        while (atomic_load(&play->rounds[i]) < rounds) {
            sched_yield();
        }
    }
}

/* Names and whole feeds come and go; the feeds that list the staying names too come and go with
 * them, so that contexts and shards are replaced under the readers. */
static void change_much(struct play *play)
{
    struct bl_list *list = play->list;
    uint64_t random = 4;
    int passing = feed_set(list, "feed-passing", BL_ACTION_DEFAULT);
    for (uint32_t i = 0; i < CHANGES; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t number = (uint32_t)(random >> 33) % (STAYING + COMING);
        uint8_t name[BL_NAME_SIZE_MAX];
        size_t size = name_numbered(number, name);
        char text[32];
        int length = snprintf(text, sizeof(text), "word-%u", i % 100);
        struct bl_membership membership = {.feed = (uint16_t)passing, .until_hour = i % 5};
        membership.category = (uint16_t)bl_list_word(list, text, (size_t)length);
        if ((random >> 60) % 2 == 0) {
            assert_true(bl_list_add(list, name, size, &membership) >= 0);
        } else {
            assert_true(bl_list_remove(list, (uint16_t)passing, name, size) >= 0);
        }
        if (i % PUBLISH_EVERY == 0) {
            bl_list_publish(list);
        }
        if (i % 5000 == 0) {
            assert_int_equal(bl_list_feed_remove(list, (uint16_t)passing), 0);
            passing = feed_set(list, i % 2 == 0 ? "feed-passing" : "feed-other", BL_ACTION_DEFAULT);
            assert_true(passing >= 0);
        }
    }
    bl_list_publish(list);
}

static void readers_see_what_stays_and_nothing_that_was_freed(void **state)
{
    (void)state;
    struct play play = {.list = list_new()};
    play.stays = (uint16_t)feed_set(play.list, "feed-stays", BL_ACTION_DEFAULT);
    struct bl_membership membership = {.feed = play.stays};
    membership.category = (uint16_t)bl_list_word(play.list, "word", 4);
    for (uint32_t i = 0; i < STAYING; i++) {
        uint8_t name[BL_NAME_SIZE_MAX];
        size_t size = name_numbered(i, name);
        assert_int_equal(bl_list_add(play.list, name, size, &membership), 1);
    }
    bl_list_publish(play.list);

    struct reader readers[READERS];
    for (size_t i = 0; i < READERS; i++) {
        readers[i].play = &play;
        readers[i].number = i;
        assert_int_equal(pthread_create(&readers[i].thread, NULL, run_reader, &readers[i]), 0);
    }
    wait_for_rounds(&play, 1);
    change_much(&play);
    wait_for_rounds(&play, 2);
    atomic_store(&play.over, true);
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
    }
    assert_int_equal(atomic_load(&play.wrong), 0);
    assert_true(bl_list_version(play.list) > 1);
    bl_list_free(play.list);
}

struct deferred {
    struct bl_rcu_deferred rcu;
    uint32_t *calls; /* plain: the barrier must order it */
};

static void call_deferred(struct bl_rcu_deferred *rcu)
{
    struct deferred *deferred = (struct deferred *)(void *)rcu;
    ++*deferred->calls;
    free(deferred);
}

static void what_is_deferred_has_been_called_after_a_barrier(void **state)
{
    (void)state;
    uint32_t calls = 0;
    bl_rcu_register();
    for (uint32_t i = 0; i < 100; i++) {
        struct deferred *deferred = malloc(sizeof(*deferred));
        assert_non_null(deferred);
        deferred->calls = &calls;
        bl_rcu_online();
        bl_rcu_defer(&deferred->rcu, call_deferred);
        bl_rcu_offline();
    }
    bl_rcu_barrier();
    assert_int_equal(calls, 100);
    bl_rcu_unregister();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_version_rises_only_for_what_can_newly_block),
        cmocka_unit_test(the_version_rises_for_a_feed_that_decides_otherwise),
        cmocka_unit_test(readers_see_what_stays_and_nothing_that_was_freed),
        cmocka_unit_test(what_is_deferred_has_been_called_after_a_barrier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
