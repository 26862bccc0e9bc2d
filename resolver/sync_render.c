/* The list's and the sync's metrics. */
#include "resolver/sync.h"

#include "blocklist/rcu.h"
#include "resolver/sync_inner.h"

#include <inttypes.h>

struct entries {
    struct metrics_text *text;
    const struct bl_list *list;
};

static void render_entries(void *context, const struct bl_feed *feed)
{
    struct entries *entries = context;
    metrics_printf(entries->text, "sinkhole_blocklist_entries{feed=\"");
    metrics_label(entries->text, feed->name);
    metrics_printf(entries->text, "\"} %" PRIu64 "\n",
                   bl_list_feed_entries(entries->list, feed->id));
}

static void render_list(const struct sync *sync, const struct sync_status *status,
                        struct metrics_text *text)
{
    struct entries entries = {.text = text, .list = sync->list};
    metrics_family(text, "sinkhole_blocklist_entries", "gauge", "Entries of each feed.");
    bl_rcu_register();
    bl_rcu_online();
    bl_list_feeds(sync->list, render_entries, &entries);
    bl_rcu_offline();
    bl_rcu_unregister();
    metrics_number(text, "sinkhole_blocklist_names", "gauge", "Names listed, by any feed.",
                   bl_list_names(sync->list));
    metrics_number(text, "sinkhole_blocklist_octets", "gauge", "Memory of the list.",
                   bl_list_octets(sync->list));
    metrics_number(text, "sinkhole_blocklist_revision", "gauge",
                   "Revision of Redis' list that is in force; 0 without Redis.", status->revision);
    metrics_number(text, "sinkhole_blocklist_last_change_timestamp_seconds", "gauge",
                   "When the list last changed; 0: not since the start.",
                   (uint64_t)status->last_change_s);
}

static void render_rejected(const struct sync_totals *totals, struct metrics_text *text)
{
    static const char family[] = "sinkhole_blocklist_rejected_total";
    metrics_family(text, family, "counter",
                   "Entries of files and Redis that were refused, by reason.");
    metrics_printf(text, "%s{reason=\"malformed_line\"} %" PRIu64 "\n", family,
                   totals->malformed_lines);
    for (int i = 0; i < BL_REJECT_COUNT; i++) {
        metrics_printf(text, "%s{reason=\"%s\"} %" PRIu64 "\n", family,
                       bl_reject_label((enum bl_reject)i), totals->refusals.rejected[i]);
    }
    for (int i = BL_GUARD_PASS + 1; i < BL_GUARD_COUNT; i++) {
        metrics_printf(text, "%s{reason=\"%s\"} %" PRIu64 "\n", family,
                       bl_guard_label((enum bl_guard)i), totals->refusals.guarded[i]);
    }
}

static void render_redis(const struct sync_status *status, const struct sync_totals *totals,
                         struct metrics_text *text)
{
    static const char family[] = "sinkhole_blocklist_resyncs_total";
    metrics_family(text, family, "counter", "Full images taken from Redis, by reason.");
    for (int i = 0; i < BL_IMAGE_REASON_COUNT; i++) {
        metrics_printf(text, "%s{reason=\"%s\"} %" PRIu64 "\n", family,
                       bl_image_reason_label((enum bl_image_reason)i), totals->images[i]);
    }
    metrics_number(text, "sinkhole_blocklist_changes_total", "counter",
                   "Log entries of Redis applied.", status->changes);
    metrics_number(text, "sinkhole_redis_up", "gauge", "1 while Redis answers.", status->connected);
    metrics_number(text, "sinkhole_redis_reconnects_total", "counter",
                   "Connections made to Redis after the first.", status->reconnects);
    metrics_number(text, "sinkhole_redis_last_contact_timestamp_seconds", "gauge",
                   "When Redis last answered; 0: never.", (uint64_t)status->last_contact_s);
}

void sync_render(const struct sync *sync, struct metrics_text *text)
{
    struct sync *unlocked = (struct sync *)sync; /* a reader changes nothing but the lock */
    uv_mutex_lock(&unlocked->mutex);
    struct sync_status status = sync->status;
    struct sync_totals totals = sync->totals;
    uv_mutex_unlock(&unlocked->mutex);
    render_list(sync, &status, text);
    render_rejected(&totals, text);
    if (status.redis) {
        render_redis(&status, &totals, text);
    }
}
