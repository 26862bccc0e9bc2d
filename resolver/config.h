/* config.h - the configuration: read, checked, and then never changed.
 *
 * Every option is declared once, in the table of resolver/options.c: its name, type, default, unit,
 * bounds, whether a reload takes it on (live) or a restart is needed, and its text. The struct is
 * filled from there, and so are --help's options, `sinkholectl config options` and the documented
 * example. An option that stands in the documentation but is not built yet is in the table too, and
 * is refused as "not in this version".
 *
 * A reload reads a whole new struct and publishes it, or keeps the old one. */
#ifndef RESOLVER_CONFIG_H
#define RESOLVER_CONFIG_H

#include "blocklist/list.h"
#include "resolver/limits.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define CONFIG_PATH_SIZE_MAX 1024u
#define CONFIG_TEXT_SIZE_MAX 256u
#define CONFIG_ERROR_SIZE_MAX 512u

/* An address with a port. */
struct config_address {
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } socket;
    socklen_t size;
    char text[64]; /* as written: ADDR@PORT */
};

struct config_prefix {
    uint8_t address[16]; /* IPv6, or IPv4 mapped; bits beyond `bits` are zero */
    uint8_t bits;        /* 0..128; of an IPv4 prefix: 96 + its own */
};

enum config_protocol { CONFIG_UDP = 1, CONFIG_TCP = 2 };

struct config_listen {
    struct config_address address;
    unsigned protocols; /* set of enum config_protocol */
};

enum config_others { CONFIG_OTHERS_REFUSE, CONFIG_OTHERS_DROP };

struct config_sinkhole {
    enum bl_action action; /* ADDRESS, NXDOMAIN, NODATA, REFUSED, DROP or LOG */
    uint32_t ipv4_count;
    uint32_t ipv6_count;
    uint8_t ipv4[SINKHOLE_ADDRESSES_MAX][4];
    uint8_t ipv6[SINKHOLE_ADDRESSES_MAX][16];
    uint32_t ttl_s;
    char text[CONFIG_TEXT_SIZE_MAX]; /* EDE extra text; {label} is replaced */
};

struct config_list_file {
    struct bl_feed feed; /* name, label, category, tier, action (ALLOW for kind: allow), priority */
    char path[CONFIG_PATH_SIZE_MAX];
    int format; /* enum bl_format of blocklist/format.h */
};

struct config_redis {
    bool set; /* the section is there */
    uint32_t server_count;
    struct config_address servers[REDIS_SERVERS_MAX]; /* or socket_path */
    char socket_path[108];                            /* servers: [unix:/path]; "" otherwise */
    char prefix[64];
    uint32_t database;
    char username[64];
    char password_file[CONFIG_PATH_SIZE_MAX];
};

struct config_recursion {
    uint32_t processes;                      /* 0: auto */
    char root_hints[CONFIG_PATH_SIZE_MAX];   /* "": built in */
    char trust_anchor[CONFIG_PATH_SIZE_MAX]; /* "": built in */
    bool dnssec;
    bool qname_minimisation;
    bool ipv4;
    bool ipv6;
    uint32_t outgoing_count;
    char outgoing[OUTGOING_MAX][48];
    bool query_localhost;
    bool rebinding_protection;
    uint32_t timeout_ms; /* the front's own deadline for an answer */
    bool sandbox;
};

struct config_hit_output {
    char path[CONFIG_PATH_SIZE_MAX];
    uint64_t rotate; /* octets */
    uint32_t keep;   /* old files */
};

enum config_client_form { CONFIG_CLIENT_FULL, CONFIG_CLIENT_TRUNCATED, CONFIG_CLIENT_NONE };

struct config {
    struct {
        char name[CONFIG_TEXT_SIZE_MAX]; /* filled from the host name when not set */
        char user[64];
        uint32_t workers; /* 0: auto */
        char state_dir[CONFIG_PATH_SIZE_MAX];
        char control[108];
    } node;
    struct {
        int level;  /* enum log_level of resolver/log.h */
        int format; /* enum log_format */
    } log;
    uint32_t listen_count;
    struct config_listen listen[LISTEN_MAX];
    struct {
        uint32_t allow_count;
        struct config_prefix allow[PREFIXES_MAX];
        enum config_others others;
    } access;
    struct {
        uint32_t udp_size;
        uint32_t tcp_clients; /* connections in all */
        uint32_t tcp_per_client;
        uint32_t tcp_idle_ms;
        uint32_t tcp_total_ms;
        uint32_t pending;            /* questions waiting for recursion, in all */
        uint32_t pending_per_client; /* per /32 or /56, at one worker */
    } limits;
    struct config_sinkhole sinkhole;
    uint32_t list_file_count;
    struct config_list_file list_files[LIST_FILES_MAX];
    struct config_redis redis;
    struct config_recursion recursion;
    struct {
        uint64_t size; /* octets */
        uint32_t min_ttl_s;
        uint32_t max_ttl_s;
        uint32_t negative_ttl_s;
    } cache;
    struct {
        char country[CONFIG_PATH_SIZE_MAX]; /* "": none */
        char asn[CONFIG_PATH_SIZE_MAX];
    } geo;
    struct {
        enum config_client_form client;
        uint32_t truncate_ipv4; /* prefix length kept */
        uint32_t truncate_ipv6;
        uint32_t output_count;
        struct config_hit_output outputs[HIT_OUTPUTS_MAX];
    } hits;
    struct {
        uint32_t listen_count;
        struct config_address listen[HTTP_LISTEN_MAX];
    } http;
};

/* Reads and checks `path`; NULL gives the defaults and the environment's overrides alone
 * (SINKHOLE_<SECTION>_<OPTION>). On success returns 0 and a struct to be freed with config_free().
 * Otherwise returns a negative errno and one message that names file, line and option, and says
 * what to do. Paths must be absolute; files that options name are not opened here. */
int config_load(const char *path, struct config **ret_config,
                char ret_error[static CONFIG_ERROR_SIZE_MAX]);
void config_free(struct config *config); /* NULL is fine */

/* Calls back for each option that differs: its full name, and whether a reload takes it on. */
void config_diff(const struct config *old, const struct config *new,
                 void (*call)(void *context, const char *option, bool live), void *context);

/* One declared option, for help and documents. `bounds` holds until the thread's next call. */
struct config_option_text {
    const char *name;    /* "limits.udp_size", "list.files[].path" */
    const char *type;    /* "size", "duration", "boolean", "list of addresses", ... */
    const char *initial; /* default, as it would be written */
    const char *bounds;  /* "512..4096", "full | truncated | none", "" */
    bool live;
    bool built; /* false: refused as not in this version */
    const char *text;
};
/* Returns false past the last one. */
bool config_option_text(size_t index, struct config_option_text *ret_text);

#endif
