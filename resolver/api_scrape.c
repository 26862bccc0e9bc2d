#include "resolver/api_calls.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- the process ---- */

static uint64_t count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    uint64_t count = 0;
    if (folder == NULL) {
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    closedir(folder);
    return count > 0 ? count - 1 : 0; /* the folder's own */
}

/* Octets in memory (proc(5), statm: pages; the second number). */
static uint64_t read_resident(void)
{
    uint64_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        if (fscanf(file, "%*u %" SCNu64, &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void render_process(struct metrics_text *text, const struct api *api)
{
    struct rusage usage;
    struct rlimit limit;
    metrics_number(text, "process_start_time_seconds", "gauge",
                   "Start of the process, seconds since 1970 UTC.", (uint64_t)api->started_s);
    metrics_number(text, "process_resident_memory_bytes", "gauge", "Memory in use.",
                   read_resident());
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        metrics_family(text, "process_cpu_seconds_total", "counter",
                       "Processor time, of user and system.");
        metrics_printf(text, "process_cpu_seconds_total %.6f\n",
                       (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    }
    metrics_number(text, "process_open_fds", "gauge", "Open file descriptors.",
                   count_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        metrics_number(text, "process_max_fds", "gauge", "File descriptors that may be open.",
                       limit.rlim_cur);
    }
}

/* ---- the node ---- */

static void render_node(struct metrics_text *text, const struct api *api)
{
    struct sync_status sync;
    sync_status(api->parts.sync, &sync);
    json_t *reasons = api_not_ready(api, &sync);
    metrics_family(text, "sinkhole_build_info", "gauge", "Always 1; its labels say what runs.");
    metrics_printf(text, "sinkhole_build_info{version=\"%s\",node=\"", SINKHOLE_VERSION);
    metrics_label(text, api->node);
    metrics_printf(text, "\"} 1\n");
    metrics_number(text, "sinkhole_ready", "gauge",
                   "1 while the list is loaded and recursion answers.",
                   json_array_size(reasons) == 0);
    json_decref(reasons);
}

static void render_recursors(struct metrics_text *text, const struct api *api)
{
    struct recursor_status recursors[RECURSORS_MAX];
    unsigned count = recursors_status(api->parts.recursors, recursors, RECURSORS_MAX);
    unsigned answering = 0;
    for (unsigned i = 0; i < count; i++) {
        answering += recursors[i].answering;
    }
    metrics_family(text, "sinkhole_recursors", "gauge", "Recursor processes, by state.");
    metrics_printf(text, "sinkhole_recursors{state=\"answering\"} %u\n", answering);
    metrics_printf(text, "sinkhole_recursors{state=\"silent\"} %u\n", count - answering);
    metrics_family(text, "sinkhole_recursor_restarts_total", "counter",
                   "Recursor processes replaced because they ended or did not answer.");
    for (unsigned i = 0; i < count; i++) {
        metrics_printf(text, "sinkhole_recursor_restarts_total{recursor=\"%u\"} %" PRIu64 "\n", i,
                       recursors[i].restarts);
    }
}

/* ---- hits ---- */

static void render_feed(void *context, const struct tally_count *count)
{
    struct metrics_text *text = context;
    metrics_printf(text, "sinkhole_hits_total{feed=\"");
    metrics_label(text, count->feed);
    metrics_printf(text, "\",category=\"");
    metrics_label(text, count->category);
    metrics_printf(text, "\",action=\"");
    metrics_label(text, count->action);
    metrics_printf(text, "\"} %" PRIu64 "\n", count->count);
}

static void render_country(void *context, const struct tally_count *count)
{
    struct metrics_text *text = context;
    metrics_printf(text, "sinkhole_hits_by_country_total{country=\"");
    metrics_label(text, count->country);
    metrics_printf(text, "\"} %" PRIu64 "\n", count->count);
}

static void render_build(struct metrics_text *text, const char *database, int64_t build_s)
{
    if (build_s != 0) {
        metrics_printf(text,
                       "sinkhole_geoip_build_timestamp_seconds{database=\"%s\"} %" PRId64 "\n",
                       database, build_s);
    }
}

static void render_hits(struct metrics_text *text, const struct api *api)
{
    struct tally_totals tally;
    struct hitlog_totals hitlog = {0};
    tally_totals(api->parts.tally, &tally);
    if (api->parts.hitlog != NULL) {
        hitlog_totals(api->parts.hitlog, &hitlog);
    }
    metrics_family(text, "sinkhole_hits_total", "counter",
                   "Questions that matched the list, by the feed that decided.");
    tally_by_feed(api->parts.tally, render_feed, text);
    metrics_family(text, "sinkhole_hits_by_country_total", "counter",
                   "Questions that matched the list, by the client's country.");
    tally_by_country(api->parts.tally, render_country, text);
    metrics_family(text, "sinkhole_hit_drops_total", "counter",
                   "Hits not counted (ring, in questions) or not written (line, in lines).");
    metrics_printf(text, "sinkhole_hit_drops_total{reason=\"ring\"} %" PRIu64 "\n",
                   tally.ring_drops);
    metrics_printf(text, "sinkhole_hit_drops_total{reason=\"line\"} %" PRIu64 "\n", hitlog.dropped);
    metrics_number(text, "sinkhole_hit_lines_written_total", "counter", "Lines of the hit log.",
                   hitlog.written);
    metrics_number(text, "sinkhole_hit_log_failures_total", "counter",
                   "Failures to open or write the hit log.", hitlog.failures);
    metrics_number(text, "sinkhole_geoip_lookup_failures_total", "counter",
                   "Look-ups that found the GeoIP database damaged.", tally.lookup_failures);
    metrics_family(text, "sinkhole_geoip_build_timestamp_seconds", "gauge",
                   "When the GeoIP database in use was built.");
    render_build(text, "country", tally.country_build_s);
    render_build(text, "asn", tally.asn_build_s);
}

void api_scrape(const struct api *api, const struct api_request *request,
                struct api_reply *ret_reply)
{
    (void)request;
    struct metrics_text text = {0};
    render_node(&text, api);
    metrics_render(&text, api->parts.metrics, api->parts.metrics_count);
    api->parts.cache_render(api->parts.cache, &text);
    sync_render(api->parts.sync, &text);
    render_recursors(&text, api);
    render_hits(&text, api);
    render_process(&text, api);
    if (text.failed != 0) {
        metrics_text_done(&text);
        api_refuse(500, "the metrics are too large, or memory is short", ret_reply);
        return;
    }
    *ret_reply = (struct api_reply){.status = 200,
                                    .type = "text/plain; version=0.0.4; charset=utf-8",
                                    .body = text.text,
                                    .size = text.size};
}
