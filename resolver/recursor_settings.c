#include "resolver/recursor_settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1024u * 1024u)
#define RRSET_CACHE_TOTAL_MIB 256u /* divided among the recursors: delegations, keys, addresses */
#define RRSET_CACHE_MIN_MIB 16u
#define KEY_CACHE_MIB 8u
#define NEG_CACHE_MIB 4u
#define OUTGOING_RANGE 4096u /* upstream questions over UDP at once */
#define OUTGOING_TCP 128u
#define DESCRIPTORS_SPARE 512u  /* sockets of workers, TCP upstream, the loop's own */
#define IN_FLIGHT_SIZE 32768u   /* one costs 15 kB, measured; twice that leaves room */
#define ADDRESS_SPACE_MIB 1024u /* programs, stacks, what malloc keeps */

/* The root's key signing keys: tags 20326 (2017) and 38696 (2024), as IANA publishes them. */
static const char *const root_anchors[] = {
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

struct option {
    const char *name;
    const char *value;
};

/* Known to every libunbound that this program builds with. */
static const struct option fixed_options[] = {
    {"harden-glue", "yes"},
    {"harden-dnssec-stripped", "yes"},
    {"harden-below-nxdomain", "yes"},
    {"harden-referral-path", "no"}, /* costs questions and is not in RFC 5452 */
    {"aggressive-nsec", "yes"},     /* RFC 8198 */
    {"use-caps-for-id", "no"},      /* breaks servers that do not keep case */
    {"edns-buffer-size", "1232"},   /* DNS flag day 2020: no fragments */
    {"minimal-responses", "yes"},
    {"unwanted-reply-threshold", "0"},
    {"serve-expired", "no"}, /* the front does these two */
    {"prefetch", "no"},
    {"infra-cache-numhosts", "20000"},
    {"msg-cache-slabs", "1"}, /* one thread */
    {"rrset-cache-slabs", "1"},
    {"key-cache-slabs", "1"},
    {"infra-cache-slabs", "1"},
};

/* Known to some; by trial, since distributions port them back. */
static const struct option optional_options[] = {
    {"prefetch-key", "yes"},
    {"qname-minimisation-strict", "no"},
    {"harden-short-bufsize", "yes"},
    {"harden-large-queries", "yes"},
    {"harden-unknown-additional", "yes"},
    {"max-global-quota",
     "200"}, /* upstream questions for one: bounds what a zone can make us ask */
    {"iter-scrub-ns", "20"},
    {"iter-scrub-cname", "11"},
    {"iter-scrub-promiscuous", "yes"},
};

/* Not to be the answer for a public name (DNS rebinding): private, link-local, "this network". */
static const char *const private_prefixes[] = {
    "0.0.0.0/8",      "10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.168.0.0/16", "fc00::/7",   "fe80::/10",
};
/* Loopback as well, except where upstream servers are allowed to be there: their addresses come
 * from the same answers. The mapped forms of all IPv4 stand beside it: no public name
 * needs them. */
static const char *const loopback_prefixes[] = {"127.0.0.0/8", "::1/128", "::ffff:0:0/96"};

struct message {
    uint8_t *octets;
    size_t size;
    int error; /* sticky */
};

static void put(struct message *message, const struct channel_record *record)
{
    if (message->error < 0) {
        return;
    }
    int size = channel_write(record, message->octets + message->size,
                             CHANNEL_MESSAGE_SIZE_MAX - message->size);
    if (size < 0) {
        message->error = size;
    } else {
        message->size += (size_t)size;
    }
}

static void put_setting(struct message *message, enum channel_setting_kind kind, const char *name,
                        const char *value)
{
    const struct channel_record record = {
        .kind = CHANNEL_SETTING,
        .setting = {.kind = (uint8_t)kind,
                    .name = name,
                    .name_size = strnlen(name, CHANNEL_TEXT_SIZE_MAX),
                    .value = value,
                    .value_size = strnlen(value, CHANNEL_VALUE_SIZE_MAX)},
    };
    put(message, &record);
}

static void put_option(struct message *message, const char *name, const char *value)
{
    put_setting(message, CHANNEL_OPTION, name, value);
}

static void put_flag(struct message *message, const char *name, bool value)
{
    put_option(message, name, value ? "yes" : "no");
}

static void put_number(struct message *message, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    put_option(message, name, text);
}

/* As wide as the recursor's descriptors allow: it inherits this process's hard limit. */
static uint32_t outgoing_range(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY ||
        limit.rlim_max >= OUTGOING_RANGE + DESCRIPTORS_SPARE) {
        return OUTGOING_RANGE;
    }
    return limit.rlim_max > 2 * DESCRIPTORS_SPARE ? (uint32_t)limit.rlim_max - DESCRIPTORS_SPARE
                                                  : (uint32_t)limit.rlim_max / 2;
}

static uint32_t rrset_cache_mib(unsigned count)
{
    uint32_t share = RRSET_CACHE_TOTAL_MIB / (count > 0 ? count : 1);
    return share > RRSET_CACHE_MIN_MIB ? share : RRSET_CACHE_MIN_MIB;
}

/* A quarter of the other: the front caches whole answers. */
static uint32_t message_cache_mib(unsigned count)
{
    return rrset_cache_mib(count) / 4;
}

static void put_sizes(struct message *message, unsigned count)
{
    put_number(message, "rrset-cache-size", (uint64_t)rrset_cache_mib(count) * MIB);
    put_number(message, "msg-cache-size", (uint64_t)message_cache_mib(count) * MIB);
    put_number(message, "key-cache-size", (uint64_t)KEY_CACHE_MIB * MIB);
    put_number(message, "neg-cache-size", (uint64_t)NEG_CACHE_MIB * MIB);
    put_number(message, "outgoing-range", outgoing_range());
    put_number(message, "num-queries-per-thread", outgoing_range());
    put_number(message, "outgoing-num-tcp", OUTGOING_TCP);
}

static void put_dnssec(struct message *message, const struct config_recursion *recursion)
{
    put_option(message, "module-config", recursion->dnssec ? "validator iterator" : "iterator");
    if (!recursion->dnssec) {
        return;
    }
    if (recursion->trust_anchor[0] != '\0') {
        put_setting(message, CHANNEL_ANCHOR_FILE, "", recursion->trust_anchor);
        return;
    }
    for (size_t i = 0; i < sizeof(root_anchors) / sizeof(root_anchors[0]); i++) {
        put_setting(message, CHANNEL_ANCHOR, "", root_anchors[i]);
    }
}

static void put_list(struct message *message, const char *name, const char *const *values,
                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        put_option(message, name, values[i]);
    }
}

static void put_recursion(struct message *message, const struct config_recursion *recursion)
{
    put_flag(message, "do-ip4", recursion->ipv4);
    put_flag(message, "do-ip6", recursion->ipv6);
    put_flag(message, "qname-minimisation", recursion->qname_minimisation);
    put_flag(message, "do-not-query-localhost", !recursion->query_localhost);
    if (recursion->root_hints[0] != '\0') {
        put_option(message, "root-hints", recursion->root_hints);
    }
    for (uint32_t i = 0; i < recursion->outgoing_count; i++) {
        put_option(message, "outgoing-interface", recursion->outgoing[i]);
    }
    if (recursion->rebinding_protection) {
        put_list(message, "private-address", private_prefixes,
                 sizeof(private_prefixes) / sizeof(private_prefixes[0]));
        if (!recursion->query_localhost) {
            put_list(message, "private-address", loopback_prefixes,
                     sizeof(loopback_prefixes) / sizeof(loopback_prefixes[0]));
        }
    }
}

static void put_folder(struct message *message, const char *state_dir, unsigned index)
{
    char path[CONFIG_PATH_SIZE_MAX + 32];
    int length = snprintf(path, sizeof(path), "%s/recursor-%u", state_dir, index);
    struct stat status;
    if (state_dir[0] != '\0' && length > 0 && length <= (int)CHANNEL_VALUE_SIZE_MAX &&
        stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        put_setting(message, CHANNEL_FOLDER, "", path);
    }
}

int recursor_settings_write(const struct config *config, unsigned index, unsigned count,
                            uint8_t ret_message[static CHANNEL_MESSAGE_SIZE_MAX])
{
    struct message message = {.octets = ret_message};
    for (size_t i = 0; i < sizeof(fixed_options) / sizeof(fixed_options[0]); i++) {
        put_option(&message, fixed_options[i].name, fixed_options[i].value);
    }
    for (size_t i = 0; i < sizeof(optional_options) / sizeof(optional_options[0]); i++) {
        put_setting(&message, CHANNEL_OPTION_OPTIONAL, optional_options[i].name,
                    optional_options[i].value);
    }
    put_sizes(&message, count);
    put_dnssec(&message, &config->recursion);
    put_recursion(&message, &config->recursion);
    put_folder(&message, config->node.state_dir, index);
    uint64_t caches_mib =
        rrset_cache_mib(count) + message_cache_mib(count) + KEY_CACHE_MIB + NEG_CACHE_MIB;
    const struct channel_record start = {
        .kind = CHANNEL_START,
        .start = {.parent = (int32_t)getpid(),
                  .in_flight_max = config->limits.pending,
                  .memory_max = (ADDRESS_SPACE_MIB + 2 * caches_mib) * MIB +
                                (uint64_t)config->limits.pending * IN_FLIGHT_SIZE,
                  .sandbox = config->recursion.sandbox},
    };
    put(&message, &start);
    return message.error < 0 ? message.error : (int)message.size;
}

int recursor_settings_check(const struct config *config, const char **ret_path)
{
    const char *const paths[] = {config->recursion.root_hints, config->recursion.trust_anchor};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (paths[i][0] != '\0' && access(paths[i], R_OK) != 0) {
            *ret_path = paths[i];
            return -errno;
        }
    }
    return 0;
}
