#include "resolver/options.h"

#include "blocklist/format.h"
#include "resolver/cache.h"
#include "resolver/log.h"
#include "resolver/value.h"

#include <assert.h>
#include <string.h>

#define G (INT64_C(1) << 30)
#define SECOND_MS 1000
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define HOUR_S 3600
#define DAY_S (24 * HOUR_S)

static const struct option_word levels[] = {
    {"error", LOG_LEVEL_ERROR, true},
    {"warning", LOG_LEVEL_WARNING, true},
    {"info", LOG_LEVEL_INFO, true},
    {"debug", LOG_LEVEL_DEBUG, true},
    {NULL, 0, false},
};
static const struct option_word log_formats[] = {
    {"logfmt", LOG_FORMAT_LOGFMT, true},
    {"json", LOG_FORMAT_JSON, true},
    {NULL, 0, false},
};
static const struct option_word protocols[] = {
    {"udp", CONFIG_UDP, true}, {"tcp", CONFIG_TCP, true}, {"tls", 0, false},
    {"https", 0, false},       {"quic", 0, false},        {NULL, 0, false},
};
static const struct option_word others[] = {
    {"refuse", CONFIG_OTHERS_REFUSE, true},
    {"drop", CONFIG_OTHERS_DROP, true},
    {NULL, 0, false},
};
static const struct option_word actions[] = {
    {"address", BL_ACTION_ADDRESS, true},
    {"nxdomain", BL_ACTION_NXDOMAIN, true},
    {"nodata", BL_ACTION_NODATA, true},
    {"refused", BL_ACTION_REFUSED, true},
    {"drop", BL_ACTION_DROP, true},
    {"log", BL_ACTION_LOG, true},
    {NULL, 0, false},
};
/* A feed of exceptions is one whose action is ALLOW. */
static const struct option_word kinds[] = {
    {"deny", BL_ACTION_DEFAULT, true},
    {"allow", BL_ACTION_ALLOW, true},
    {NULL, 0, false},
};
static const struct option_word tiers[] = {
    {"legal", BL_TIER_LEGAL, true},
    {"operator", BL_TIER_OPERATOR, true},
    {"feed", BL_TIER_FEED, true},
    {NULL, 0, false},
};
static const struct option_word list_formats[] = {
    {"auto", BL_FORMAT_AUTO, true},
    {"plain", BL_FORMAT_PLAIN, true},
    {"hosts", BL_FORMAT_HOSTS, true},
    {NULL, 0, false},
};
static const struct option_word clients[] = {
    {"full", CONFIG_CLIENT_FULL, true},
    {"truncated", CONFIG_CLIENT_TRUNCATED, true},
    {"pseudonym", 0, false},
    {"none", CONFIG_CLIENT_NONE, true},
    {NULL, 0, false},
};
static const struct option_word outputs[] = {
    {"file", 0, true},   {"syslog", 0, false}, {"dnstap", 0, false},
    {"redis", 0, false}, {NULL, 0, false},
};

#define FIELD(type, field) .offset = offsetof(type, field), .size = sizeof(((type *)0)->field)
#define IN(field) FIELD(struct config, field), .built = true
#define LIST(array, count)                                                                         \
    .list = true, .built = true, .offset = offsetof(struct config, array),                         \
    .size = sizeof(((struct config *)0)->array[0]),                                                \
    .count_offset = offsetof(struct config, count),                                                \
    .count_max = sizeof(((struct config *)0)->array) / sizeof(((struct config *)0)->array[0])
#define LATER .built = false

const struct option options_table[] = {
    {"node.name", NULL, "Name of this node in receipts and metrics; the host name unless set.",
     .type = OPTION_NAME, .min = 1, IN(node.name)},
    {"node.user", "\"\"",
     "User taken on after binding when started as root; empty: stay as started.",
     .type = OPTION_TEXT, IN(node.user)},
    {"node.workers", "auto",
     "Worker threads; auto: one per usable core (affinity and cgroup quota).",
     .type = OPTION_INTEGER, .min = 1, .max = WORKERS_MAX, .automatic = true, IN(node.workers)},
    {"node.state_dir", "/var/lib/sinkhole",
     "Folder for the operator's list, imported feeds, snapshot and trust anchor state.",
     .type = OPTION_PATH, .min = 1, IN(node.state_dir)},
    {"node.control", "/run/sinkhole/control.sock", "Control socket for sinkholectl, mode 0660.",
     .type = OPTION_PATH, .min = 1, IN(node.control)},

    {"log.level", "info", "Least important level written to standard error.", .type = OPTION_WORD,
     .words = levels, .live = true, IN(log.level)},
    {"log.format", "logfmt", "Form of a line.", .type = OPTION_WORD, .words = log_formats,
     .live = true, IN(log.format)},

    {"listen", "[{address: 127.0.0.1@5300}, {address: \"::1@5300\"}]", "Where questions are taken.",
     .type = OPTION_MAPPING, .min = 1, LIST(listen, listen_count)},
    {"listen[].address", NULL, "Address and port.", .type = OPTION_ADDRESS_PORT, .built = true,
     .required = true, FIELD(struct config_listen, address)},
    {"listen[].protocols", "[udp, tcp]", "Transports served there.", .type = OPTION_WORDS,
     .words = protocols, .built = true, FIELD(struct config_listen, protocols)},
    {"listen[].proxy_from", NULL, "Clients whose PROXY header is believed.", .type = OPTION_PREFIX,
     .list = true, LATER},
    {"listen[].certificate", NULL, "Certificate chain, PEM.", .type = OPTION_PATH, LATER},
    {"listen[].key", NULL, "Private key, PEM.", .type = OPTION_PATH, LATER},
    {"listen[].path", NULL, "Path of DNS over HTTPS.", .type = OPTION_TEXT, LATER},

    {"access.allow",
     "[127.0.0.0/8, \"::1/128\", 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, "
     "\"fc00::/7\", \"fe80::/10\"]",
     "Clients that may ask.", .type = OPTION_PREFIX, .live = true,
     LIST(access.allow, access.allow_count)},
    {"access.others", "refuse", "What other clients get: REFUSED, or silence.", .type = OPTION_WORD,
     .words = others, .live = true, IN(access.others)},

    {"limits.udp_size", "1232", "Largest answer by UDP, in octets; longer ones are cut (TC).",
     .type = OPTION_INTEGER, .min = EDNS_UDP_SIZE_MIN, .max = UDP_PACKET_SIZE_MAX,
     IN(limits.udp_size)},
    {"limits.tcp_clients", "10000", "TCP connections in all.", .type = OPTION_INTEGER, .min = 1,
     .max = 1000000, IN(limits.tcp_clients)},
    {"limits.tcp_per_client", "64", "TCP connections of one client address.",
     .type = OPTION_INTEGER, .min = 1, .max = 65535, IN(limits.tcp_per_client)},
    {"limits.tcp_idle", "10s", "A TCP connection without a question is closed after this.",
     .type = OPTION_DURATION_MS, .min = 100, .max = HOUR_MS, IN(limits.tcp_idle_ms)},
    {"limits.tcp_total", "5m", "Longest life of a TCP connection.", .type = OPTION_DURATION_MS,
     .min = SECOND_MS, .max = 24 * HOUR_MS, IN(limits.tcp_total_ms)},
    {"limits.pending", "20000", "Questions waiting for recursion in all; more get SERVFAIL.",
     .type = OPTION_INTEGER, .min = 1, .max = 1000000, IN(limits.pending)},
    {"limits.pending_per_client", "200",
     "The same for one client (IPv4 address, IPv6 /56) at one worker.", .type = OPTION_INTEGER,
     .min = 1, .max = 1000000, IN(limits.pending_per_client)},

    {"sinkhole.action", "address", "Answer for a listed name; a feed may have its own.",
     .type = OPTION_WORD, .words = actions, .live = true, IN(sinkhole.action)},
    {"sinkhole.ipv4", "[0.0.0.0]", "Addresses given for A; none: no data.", .type = OPTION_IPV4,
     .live = true, LIST(sinkhole.ipv4, sinkhole.ipv4_count)},
    {"sinkhole.ipv6", "[\"::\"]", "Addresses given for AAAA; none: no data.", .type = OPTION_IPV6,
     .live = true, LIST(sinkhole.ipv6, sinkhole.ipv6_count)},
    {"sinkhole.ttl", "10s", "TTL of such answers and of their negative SOA.",
     .type = OPTION_DURATION_S, .max = DAY_S, .live = true, IN(sinkhole.ttl_s)},
    {"sinkhole.text", "\"Blocked by {label}\"",
     "Text of extended error 15; {label} is the feed's public label; empty: no text.",
     .type = OPTION_TEXT, .live = true, IN(sinkhole.text)},

    {"list.files", "[]", "Feeds of this node's own, read from files.", .type = OPTION_MAPPING,
     .live = true, LIST(list_files, list_file_count)},
    {"list.files[].feed", NULL, "Name of the feed.", .type = OPTION_FEED, .min = 1, .built = true,
     .required = true, FIELD(struct config_list_file, feed.name)},
    {"list.files[].path", NULL, "The list file.", .type = OPTION_PATH, .min = 1, .built = true,
     .required = true, FIELD(struct config_list_file, path)},
    {"list.files[].format", "auto", "Form of its lines.", .type = OPTION_WORD,
     .words = list_formats, .built = true, FIELD(struct config_list_file, format)},
    {"list.files[].kind", "deny", "Names to block, or exceptions.", .type = OPTION_WORD,
     .words = kinds, .built = true, FIELD(struct config_list_file, feed.action)},
    {"list.files[].tier", "feed", "Strength of its rules: the first tier that matches decides.",
     .type = OPTION_WORD, .words = tiers, .built = true, FIELD(struct config_list_file, feed.tier)},
    {"list.files[].action", NULL, "Answer for its names; sinkhole.action unless set.",
     .type = OPTION_WORD, .words = actions, .built = true,
     FIELD(struct config_list_file, feed.action)},
    {"list.files[].category", "\"\"", "What its names are, such as malware.", .type = OPTION_TEXT,
     .built = true, FIELD(struct config_list_file, feed.category)},
    {"list.files[].priority", "100", "The higher decides among denies of one name and tier.",
     .type = OPTION_INTEGER, .min = -1000000, .max = 1000000, .built = true,
     FIELD(struct config_list_file, feed.priority)},
    {"list.files[].label", "\"\"", "Public name, for the text clients see.", .type = OPTION_TEXT,
     .built = true, FIELD(struct config_list_file, feed.label)},
    {"list.feeds", NULL, "This node's word over feeds from Redis.", .type = OPTION_MAPPING,
     .live = true, LATER},
    {"list.protected", NULL, "Names that can't be denied.", .type = OPTION_TEXT, .list = true,
     .live = true, LATER},
    {"list.snapshot.every", NULL, "Time between snapshots.", .type = OPTION_DURATION_S, LATER},
    {"list.snapshot.journal", NULL, "Write each change between snapshots.", .type = OPTION_BOOLEAN,
     LATER},
    {"list.outage.no_list", NULL, "Without Redis and snapshot: refuse or resolve.",
     .type = OPTION_WORD, LATER},
    {"list.outage.stale_after", NULL, "Age at which the list counts as stale.",
     .type = OPTION_DURATION_S, LATER},

    {"redis.servers", NULL, "Servers tried in turn, or one unix:/path of a socket.",
     .type = OPTION_SERVER, .min = 1, LIST(redis.servers, redis.server_count)},
    {"redis.sentinel", NULL, "Master name; the servers are sentinels.", .type = OPTION_TEXT, LATER},
    {"redis.prefix", "\"{sh}\"", "Start of every key of the list.", .type = OPTION_TEXT, .min = 1,
     IN(redis.prefix)},
    {"redis.database", "0", "Number of the database.", .type = OPTION_INTEGER, .max = 65535,
     IN(redis.database)},
    {"redis.username", "\"\"", "ACL user; empty: the default user.", .type = OPTION_TEXT,
     IN(redis.username)},
    {"redis.password_file", "\"\"", "File whose first line is the password; empty: none.",
     .type = OPTION_PATH, IN(redis.password_file)},
    {"redis.tls.ca", NULL, "Certificate authorities, PEM.", .type = OPTION_PATH, LATER},
    {"redis.tls.name", NULL, "Name in the server's certificate.", .type = OPTION_TEXT, LATER},
    {"redis.tls.certificate", NULL, "Own certificate, PEM.", .type = OPTION_PATH, LATER},
    {"redis.tls.key", NULL, "Own key, PEM.", .type = OPTION_PATH, LATER},

    {"recursion.processes", "auto", "sinkhole-recursor processes; auto: by the workers.",
     .type = OPTION_INTEGER, .min = 1, .max = RECURSORS_MAX, .automatic = true,
     IN(recursion.processes)},
    {"recursion.root_hints", "\"\"", "Root servers, in zone file form; empty: built in.",
     .type = OPTION_PATH, IN(recursion.root_hints)},
    {"recursion.trust_anchor", "\"\"", "DS or DNSKEY of the root; empty: built in.",
     .type = OPTION_PATH, IN(recursion.trust_anchor)},
    {"recursion.negative_trust_anchors", NULL, "Zones that are not validated.", .type = OPTION_TEXT,
     .list = true, .live = true, LATER},
    {"recursion.dnssec", "true", "Validate answers.", .type = OPTION_BOOLEAN, IN(recursion.dnssec)},
    {"recursion.qname_minimisation", "true", "Tell each server no more of a name than it needs.",
     .type = OPTION_BOOLEAN, IN(recursion.qname_minimisation)},
    {"recursion.ipv4", "true", "Ask servers over IPv4.", .type = OPTION_BOOLEAN,
     IN(recursion.ipv4)},
    {"recursion.ipv6", "true", "Ask servers over IPv6.", .type = OPTION_BOOLEAN,
     IN(recursion.ipv6)},
    {"recursion.outgoing", "[]", "Source addresses; none: the system's choice.",
     .type = OPTION_ADDRESS, LIST(recursion.outgoing, recursion.outgoing_count)},
    {"recursion.query_localhost", "false", "Ask servers in 127.0.0.0/8 and ::1 too.",
     .type = OPTION_BOOLEAN, IN(recursion.query_localhost)},
    {"recursion.rebinding_protection", "true", "No private addresses in answers for public names.",
     .type = OPTION_BOOLEAN, IN(recursion.rebinding_protection)},
    {"recursion.timeout", "5s", "Longest wait for an answer; then SERVFAIL.",
     .type = OPTION_DURATION_MS, .min = 100, .max = MINUTE_MS, IN(recursion.timeout_ms)},
    {"recursion.sandbox", "true",
     "Lock the recursors in; off only for sanitizers and faked clocks.", .type = OPTION_BOOLEAN,
     IN(recursion.sandbox)},
    {"recursion.forward", NULL, "Zones whose questions go to other resolvers.",
     .type = OPTION_MAPPING, .list = true, LATER},

    {"cache.size", "256M", "Memory for answers, in octets: a hard bound.", .type = OPTION_SIZE,
     .min = CACHE_SIZE_MIN, .max = 1024 * G, IN(cache.size)},
    {"cache.min_ttl", "0s", "Answers are kept at least this long.", .type = OPTION_DURATION_S,
     .max = HOUR_S, IN(cache.min_ttl_s)},
    {"cache.max_ttl", "1d", "Answers are kept at most this long.", .type = OPTION_DURATION_S,
     .max = 30 * DAY_S, IN(cache.max_ttl_s)},
    {"cache.negative_ttl", "1h", "Negative answers are kept at most this long.",
     .type = OPTION_DURATION_S, .max = DAY_S, IN(cache.negative_ttl_s)},
    {"cache.stale", NULL, "How long after its end an answer may serve in an outage.",
     .type = OPTION_DURATION_S, LATER},
    {"cache.prefetch", NULL, "Refresh what is asked often before it ends.", .type = OPTION_BOOLEAN,
     LATER},
    {"cache.persist", NULL, "Keep the cache over a restart.", .type = OPTION_BOOLEAN, LATER},

    {"geo.country", "\"\"", "MMDB with the clients' countries; empty: none.", .type = OPTION_PATH,
     .live = true, IN(geo.country)},
    {"geo.asn", "\"\"", "MMDB with the clients' networks; empty: none.", .type = OPTION_PATH,
     .live = true, IN(geo.asn)},
    {"geo.networks", NULL, "Own networks: prefix,country,site,tenant.", .type = OPTION_PATH,
     .live = true, LATER},

    {"hits.client", "truncated", "What a hit line says of the client's address.",
     .type = OPTION_WORD, .words = clients, IN(hits.client)},
    {"hits.truncate.ipv4", "24", "Bits kept of an IPv4 client.", .type = OPTION_INTEGER, .max = 32,
     IN(hits.truncate_ipv4)},
    {"hits.truncate.ipv6", "48", "Bits kept of an IPv6 client.", .type = OPTION_INTEGER, .max = 128,
     IN(hits.truncate_ipv6)},
    {"hits.key_file", NULL, "Key of pseudonyms.", .type = OPTION_PATH, LATER},
    {"hits.store.keep", NULL, "Age at which stored counts are removed.", .type = OPTION_DURATION_S,
     LATER},
    {"hits.store.recent", NULL, "Age at which stored hits are removed.", .type = OPTION_DURATION_S,
     LATER},
    {"hits.store.size", NULL, "Largest hit store.", .type = OPTION_SIZE, LATER},
    {"hits.outputs", "[]", "Where hit lines go.", .type = OPTION_MAPPING, .live = true,
     LIST(hits.outputs, hits.output_count)},
    {"hits.outputs[].type", NULL, "Kind of output: file is JSON lines.", .type = OPTION_WORD,
     .words = outputs, .built = true, .required = true},
    {"hits.outputs[].path", NULL, "The file.", .type = OPTION_PATH, .min = 1, .built = true,
     .required = true, FIELD(struct config_hit_output, path)},
    {"hits.outputs[].rotate", "100M", "Size at which a new file is begun; 0: never.",
     .type = OPTION_SIZE, .max = 1024 * G, .built = true, FIELD(struct config_hit_output, rotate)},
    {"hits.outputs[].keep", "10", "Old files kept.", .type = OPTION_INTEGER, .max = 1000,
     .built = true, FIELD(struct config_hit_output, keep)},
    {"hits.outputs[].to", NULL, "Where a syslog or dnstap output sends.", .type = OPTION_TEXT,
     LATER},
    {"hits.outputs[].client", NULL, "hits.client for this output alone.", .type = OPTION_WORD,
     LATER},

    {"http.listen", "[127.0.0.1@9353]", "Where /metrics, /healthz and /readyz are served.",
     .type = OPTION_ADDRESS_PORT, LIST(http.listen, http.listen_count)},
    {"http.token_file", NULL, "Token for the API over TCP.", .type = OPTION_PATH, LATER},
    {"http.dashboard", NULL, "Serve the dashboard.", .type = OPTION_BOOLEAN, LATER},

    {"chaos.identity", NULL, "Answer to id.server.", .type = OPTION_TEXT, LATER},
    {"chaos.version", NULL, "Answer to version.bind.", .type = OPTION_TEXT, LATER},
};
const size_t options_count = sizeof(options_table) / sizeof(options_table[0]);

const struct option *options_find(const char *name)
{
    for (size_t i = 0; i < options_count; i++) {
        if (strcmp(options_table[i].name, name) == 0) {
            return &options_table[i];
        }
    }
    return NULL;
}

/* Where the name of `option` goes on below `section`; NULL when it does not lie there. */
static const char *below(const struct option *option, const char *section)
{
    size_t size = strlen(section);
    if (size == 0) {
        return option->name;
    }
    bool is_under = strncmp(option->name, section, size) == 0 && option->name[size] == '.';
    return is_under ? option->name + size + 1 : NULL;
}

bool options_is_section(const char *name, bool *ret_built)
{
    bool found = false;
    bool built = false;
    for (size_t i = 0; i < options_count; i++) {
        if (below(&options_table[i], name) != NULL) {
            found = true;
            built |= options_table[i].built;
        }
    }
    if (found) {
        *ret_built = built;
    }
    return found;
}

#define WORD_SIZE_MAX 32u /* longer words are near to nothing */

/* Letters to insert, remove or replace until the words are equal; WORD_SIZE_MAX when one
 * is long. */
static unsigned distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    unsigned row[WORD_SIZE_MAX + 1];
    if (a_size > WORD_SIZE_MAX || b_size > WORD_SIZE_MAX) {
        return WORD_SIZE_MAX;
    }
    for (unsigned j = 0; j <= b_size; j++) {
        row[j] = j;
    }
    for (unsigned i = 1; i <= a_size; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b_size; j++) {
            unsigned replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            unsigned inserted = (row[j - 1] < row[j] ? row[j - 1] : row[j]) + 1;
            row[j] = replaced < inserted ? replaced : inserted;
        }
    }
    return row[b_size];
}

const char *options_nearest(const char *section, const char *key)
{
    static _Thread_local char nearest[WORD_SIZE_MAX + 1];
    size_t key_size = strlen(key);
    unsigned best = (unsigned)(key_size < 6 ? 1 : 2); /* short words are near to too much */
    bool found = false;
    for (size_t i = 0; i < options_count; i++) {
        const char *word = below(&options_table[i], section);
        if (word == NULL) {
            continue;
        }
        size_t size = strcspn(word, ".[");
        unsigned letters = distance(key, key_size, word, size);
        if (letters <= best && size < sizeof(nearest)) {
            best = letters - (letters > 0);
            found = true;
            memcpy(nearest, word, size);
            nearest[size] = '\0';
        }
    }
    return found ? nearest : NULL;
}

bool options_variable(const struct option *option, char ret_name[static OPTION_VARIABLE_SIZE_MAX])
{
    static const char prefix[] = "SINKHOLE_";
    size_t size = strlen(option->name);
    assert(sizeof(prefix) + size <= OPTION_VARIABLE_SIZE_MAX);

    if (strchr(option->name, '[') != NULL) {
        return false;
    }
    memcpy(ret_name, prefix, sizeof(prefix) - 1);
    for (size_t i = 0; i <= size; i++) {
        char letter = option->name[i];
        ret_name[sizeof(prefix) - 1 + i] = letter == '.'                    ? '_'
                                           : letter >= 'a' && letter <= 'z' ? (char)(letter - 32)
                                                                            : letter;
    }
    return true;
}

static const char *type_text(const struct option *option)
{
    static const char *const one[] = {
        [OPTION_BOOLEAN] = "boolean",     [OPTION_INTEGER] = "integer",
        [OPTION_SIZE] = "size",           [OPTION_DURATION_MS] = "duration",
        [OPTION_DURATION_S] = "duration", [OPTION_TEXT] = "text",
        [OPTION_NAME] = "name",           [OPTION_FEED] = "name",
        [OPTION_PATH] = "path",           [OPTION_WORD] = "word",
        [OPTION_WORDS] = "list of words", [OPTION_ADDRESS_PORT] = "ADDR@PORT",
        [OPTION_ADDRESS] = "address",     [OPTION_IPV4] = "IPv4 address",
        [OPTION_IPV6] = "IPv6 address",   [OPTION_PREFIX] = "prefix",
        [OPTION_SERVER] = "ADDR@PORT",    [OPTION_MAPPING] = "mapping",
    };
    static const char *const many[] = {
        [OPTION_TEXT] = "list of texts",          [OPTION_ADDRESS_PORT] = "list of ADDR@PORT",
        [OPTION_ADDRESS] = "list of addresses",   [OPTION_IPV4] = "list of IPv4 addresses",
        [OPTION_IPV6] = "list of IPv6 addresses", [OPTION_PREFIX] = "list of prefixes",
        [OPTION_SERVER] = "list of ADDR@PORT",    [OPTION_MAPPING] = "list of mappings",
    };
    return option->list ? many[option->type] : one[option->type];
}

bool config_option_text(size_t index, struct config_option_text *ret_text)
{
    static _Thread_local char bounds[128];
    if (index >= options_count) {
        return false;
    }
    const struct option *option = &options_table[index];
    value_bounds(option, bounds, sizeof(bounds));
    *ret_text = (struct config_option_text){
        .name = option->name,
        .type = type_text(option),
        .initial = option->initial != NULL ? option->initial : "",
        .bounds = bounds,
        .live = option->live,
        .built = option->built,
        .text = option->text,
    };
    return true;
}

static void write_text_row(FILE *file, const struct config_option_text *row)
{
    fprintf(file, "  %s (%s%s)\n      %s\n", row->name, row->type, row->live ? ", live" : "",
            row->text);
    if (row->initial[0] != '\0') {
        fprintf(file, "      default: %s\n", row->initial);
    }
    if (row->bounds[0] != '\0') {
        fprintf(file, "      takes: %s\n", row->bounds);
    }
}

/* In code spans a bar still ends a cell (GitHub Flavored Markdown, 4.10). */
static void write_code(FILE *file, const char *text)
{
    if (text[0] == '\0') {
        return;
    }
    fputc('`', file);
    for (; *text != '\0'; text++) {
        fprintf(file, *text == '|' ? "\\%c" : "%c", *text);
    }
    fputc('`', file);
}

static void write_markdown_row(FILE *file, const struct config_option_text *row)
{
    fprintf(file, "| `%s` | %s | ", row->name, row->type);
    write_code(file, row->initial);
    fputs(" | ", file);
    write_code(file, row->bounds);
    fprintf(file, " | %s | %s |\n", row->live ? "live" : "restart", row->text);
}

void options_write(FILE *file, enum option_page form)
{
    struct config_option_text row;
    if (form == OPTION_PAGE_MARKDOWN) {
        fputs("| option | type | default | takes | reload | |\n"
              "| --- | --- | --- | --- | --- | --- |\n",
              file);
    }
    for (size_t i = 0; config_option_text(i, &row); i++) {
        if (!row.built) {
            continue; /* help names what there is */
        }
        if (form == OPTION_PAGE_MARKDOWN) {
            write_markdown_row(file, &row);
        } else {
            write_text_row(file, &row);
        }
    }
}
