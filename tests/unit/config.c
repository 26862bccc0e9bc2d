/* What the configuration takes, what it refuses and where it says the mistake stands, and that the
 * documented example and the table of options can't drift apart. */
#include "resolver/config.h"

#include "blocklist/format.h"
#include "resolver/document.h"
#include "resolver/log.h"
#include "resolver/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Loads `text` as a file; the messages name it "f". */
static int load_text(const char *text, size_t size, struct config **ret_config,
                     char ret_error[static CONFIG_ERROR_SIZE_MAX])
{
    char path[64];
    char error[CONFIG_ERROR_SIZE_MAX] = "";
    int file = memfd_create("config", 0);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, size), (ssize_t)size);
    assert_int_equal(lseek(file, 0, SEEK_SET), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    int r = config_load(path, ret_config, error);
    close(file);
    size_t path_size = strlen(path);
    bool named = strncmp(error, path, path_size) == 0;
    snprintf(ret_error, CONFIG_ERROR_SIZE_MAX, "%s%s", named ? "f" : "",
             error + (named ? path_size : 0));
    return r;
}

static struct config *load(const char *text)
{
    struct config *config = NULL;
    char error[CONFIG_ERROR_SIZE_MAX];
    if (load_text(text, strlen(text), &config, error) != 0) {
        fail_msg("%s", error);
    }
    return config;
}

static void assert_refused(const char *text, const char *expected)
{
    struct config *config = (struct config *)-1;
    char error[CONFIG_ERROR_SIZE_MAX];
    int r = load_text(text, strlen(text), &config, error);
    if (r != -EINVAL || strcmp(error, expected) != 0) {
        fail_msg("%s\ngives %d: %s\nand not:  %s", text, r, error, expected);
    }
    assert_ptr_equal(config, (struct config *)-1);
}

static char *source_path(const char *name)
{
    static char path[1024];
    const char *root = getenv("SOURCE_ROOT");
    assert_non_null(root);
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static struct document *read_document(const char *name)
{
    static char text[DOCUMENT_SIZE_MAX];
    FILE *file = fopen(source_path(name), "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof(text), file);
    fclose(file);
    struct document *document;
    struct document_problem problem;
    assert_int_equal(document_parse(text, size, &document, &problem), 0);
    return document;
}

static void assert_defaults(const struct config *config)
{
    assert_int_equal(config->node.workers, 0);
    assert_string_equal(config->node.user, "");
    assert_string_equal(config->node.state_dir, "/var/lib/sinkhole");
    assert_string_equal(config->node.control, "/run/sinkhole/control.sock");
    assert_true(config->node.name[0] != '\0');
    assert_int_equal(config->log.level, LOG_LEVEL_INFO);
    assert_int_equal(config->log.format, LOG_FORMAT_LOGFMT);
    assert_int_equal(config->listen_count, 2);
    assert_string_equal(config->listen[0].address.text, "127.0.0.1@5300");
    assert_int_equal(config->listen[0].protocols, CONFIG_UDP | CONFIG_TCP);
    assert_string_equal(config->listen[1].address.text, "::1@5300");
    assert_int_equal(config->listen[1].address.socket.ipv6.sin6_port, htons(5300));
    assert_int_equal(config->access.allow_count, 8);
    assert_int_equal(config->access.allow[0].bits, 104);
    assert_memory_equal(config->access.allow[0].address, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\0",
                        16);
    assert_int_equal(config->access.allow[7].bits, 10);
    assert_int_equal(config->access.others, CONFIG_OTHERS_REFUSE);
    assert_int_equal(config->limits.udp_size, 1232);
    assert_int_equal(config->limits.tcp_idle_ms, 10000);
    assert_int_equal(config->limits.tcp_total_ms, 300000);
    assert_int_equal(config->limits.pending, 20000);
    assert_int_equal(config->sinkhole.action, BL_ACTION_ADDRESS);
    assert_int_equal(config->sinkhole.ipv4_count, 1);
    assert_int_equal(config->sinkhole.ipv6_count, 1);
    assert_int_equal(config->sinkhole.ttl_s, 10);
    assert_string_equal(config->sinkhole.text, "Blocked by {label}");
    assert_int_equal(config->list_file_count, 0);
    assert_false(config->redis.set);
    assert_string_equal(config->redis.prefix, "{sh}");
    assert_true(config->recursion.dnssec);
    assert_false(config->recursion.query_localhost);
    assert_int_equal(config->recursion.timeout_ms, 5000);
    assert_int_equal(config->cache.size, 256 << 20);
    assert_int_equal(config->cache.max_ttl_s, 86400);
    assert_int_equal(config->cache.negative_ttl_s, 3600);
    assert_string_equal(config->geo.country, "");
    assert_int_equal(config->hits.client, CONFIG_CLIENT_TRUNCATED);
    assert_int_equal(config->hits.truncate_ipv4, 24);
    assert_int_equal(config->hits.truncate_ipv6, 48);
    assert_int_equal(config->hits.output_count, 0);
    assert_int_equal(config->http.listen_count, 1);
    assert_string_equal(config->http.listen[0].text, "127.0.0.1@9353");
}

static void takes_an_empty_file_and_no_file_for_the_defaults(void **state)
{
    (void)state;
    static const char *const texts[] = {"",   "# nothing\n",      "---\n",
                                        "{}", "limits:\nlist:\n", "node: {}\n"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct config *config = load(texts[i]);
        assert_defaults(config);
        config_free(config);
    }
    struct config *config;
    char error[CONFIG_ERROR_SIZE_MAX];
    assert_int_equal(config_load(NULL, &config, error), 0);
    assert_defaults(config);
    config_free(config);
    config_free(NULL);
}

static void writes_each_value_into_its_field(void **state)
{
    (void)state;
    struct config *config = load("node: {name: n-1, user: u, workers: 3, state_dir: /s}\n"
                                 "log: {level: debug, format: json}\n"
                                 "listen:\n"
                                 "  - address: '2001:db8::1@53'\n"
                                 "    protocols: [tcp]\n"
                                 "access: {allow: [192.0.2.7, '2001:db8::/32'], others: drop}\n"
                                 "limits: {tcp_idle: 1500ms, tcp_total: 2h, tcp_clients: 7}\n"
                                 "sinkhole: {action: nxdomain, ipv4: [192.0.2.1, 192.0.2.2],\n"
                                 "           ipv6: [], ttl: 0s, text: \"\"}\n"
                                 "recursion: {processes: 2, outgoing: ['::1', 127.0.0.1],\n"
                                 "            query_localhost: true, timeout: 100ms}\n"
                                 "cache: {size: 9M, max_ttl: 2d}\n"
                                 "hits: {client: none, truncate: {ipv4: 0}}\n"
                                 "http: {listen: []}\n");
    assert_string_equal(config->node.name, "n-1");
    assert_string_equal(config->node.user, "u");
    assert_int_equal(config->node.workers, 3);
    assert_string_equal(config->node.state_dir, "/s");
    assert_int_equal(config->log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(config->log.format, LOG_FORMAT_JSON);
    assert_int_equal(config->listen_count, 1);
    assert_int_equal(config->listen[0].protocols, CONFIG_TCP);
    assert_int_equal(config->listen[0].address.socket.any.sa_family, AF_INET6);
    assert_int_equal(config->listen[1].protocols, 0);
    assert_int_equal(config->access.allow_count, 2);
    assert_int_equal(config->access.allow[0].bits, 128);
    assert_int_equal(config->access.allow[1].bits, 32);
    assert_int_equal(config->access.others, CONFIG_OTHERS_DROP);
    assert_int_equal(config->limits.tcp_idle_ms, 1500);
    assert_int_equal(config->limits.tcp_total_ms, 7200000);
    assert_int_equal(config->limits.tcp_clients, 7);
    assert_int_equal(config->sinkhole.action, BL_ACTION_NXDOMAIN);
    assert_int_equal(config->sinkhole.ipv4_count, 2);
    assert_memory_equal(config->sinkhole.ipv4[1], "\xc0\0\2\2", 4);
    assert_int_equal(config->sinkhole.ipv6_count, 0);
    assert_int_equal(config->sinkhole.ttl_s, 0);
    assert_string_equal(config->sinkhole.text, "");
    assert_int_equal(config->recursion.processes, 2);
    assert_int_equal(config->recursion.outgoing_count, 2);
    assert_string_equal(config->recursion.outgoing[0], "::1");
    assert_true(config->recursion.query_localhost);
    assert_int_equal(config->recursion.timeout_ms, 100);
    assert_int_equal(config->cache.size, 9 << 20);
    assert_int_equal(config->cache.max_ttl_s, 172800);
    assert_int_equal(config->hits.client, CONFIG_CLIENT_NONE);
    assert_int_equal(config->hits.truncate_ipv4, 0);
    assert_int_equal(config->hits.truncate_ipv6, 48);
    assert_int_equal(config->http.listen_count, 0);
    config_free(config);
}

static void reads_list_files_and_outputs(void **state)
{
    (void)state;
    struct config *config =
        load("list:\n"
             "  files:\n"
             "    - {feed: a.b-c_1, path: /a}\n"
             "    - {action: drop, kind: deny, feed: b, path: /b, tier: legal, priority: -5,\n"
             "       format: hosts, category: phishing, label: Büro}\n"
             "    - {feed: c, path: /c, kind: allow, tier: operator}\n"
             "hits:\n"
             "  outputs: [{type: file, path: /x, rotate: 0, keep: 0}, {path: /y, type: file}]\n");
    const struct config_list_file *files = config->list_files;
    assert_int_equal(config->list_file_count, 3);
    assert_string_equal(files[0].feed.name, "a.b-c_1");
    assert_int_equal(files[0].feed.action, BL_ACTION_DEFAULT);
    assert_int_equal(files[0].feed.tier, BL_TIER_FEED);
    assert_int_equal(files[0].feed.priority, 100);
    assert_int_equal(files[0].format, BL_FORMAT_AUTO);
    assert_int_equal(files[1].feed.action, BL_ACTION_DROP);
    assert_int_equal(files[1].feed.tier, BL_TIER_LEGAL);
    assert_int_equal(files[1].feed.priority, -5);
    assert_int_equal(files[1].format, BL_FORMAT_HOSTS);
    assert_string_equal(files[1].feed.category, "phishing");
    assert_string_equal(files[1].feed.label, "Büro");
    assert_int_equal(files[2].feed.action, BL_ACTION_ALLOW);
    assert_int_equal(files[2].feed.tier, BL_TIER_OPERATOR);
    assert_int_equal(config->hits.output_count, 2);
    assert_int_equal(config->hits.outputs[0].rotate, 0);
    assert_int_equal(config->hits.outputs[0].keep, 0);
    assert_int_equal(config->hits.outputs[1].rotate, 100 << 20);
    assert_int_equal(config->hits.outputs[1].keep, 10);
    config_free(config);
}

static void reads_redis_servers_and_a_socket(void **state)
{
    (void)state;
    struct config *config = load("redis: {servers: [127.0.0.1@6379, '::1@6379'], database: 3}");
    assert_true(config->redis.set);
    assert_int_equal(config->redis.server_count, 2);
    assert_string_equal(config->redis.servers[1].text, "::1@6379");
    assert_string_equal(config->redis.socket_path, "");
    assert_int_equal(config->redis.database, 3);
    config_free(config);

    config = load("redis: {servers: ['unix:/run/redis.sock'], prefix: \"{t}\", username: n}");
    assert_true(config->redis.set);
    assert_int_equal(config->redis.server_count, 1);
    assert_string_equal(config->redis.socket_path, "/run/redis.sock");
    assert_string_equal(config->redis.prefix, "{t}");
    assert_string_equal(config->redis.username, "n");
    config_free(config);
}

#define FILES "list:\n  files:\n    - {feed: a, path: /a"

static void says_where_a_mistake_stands_and_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *error;
    } rows[] = {
        /* names */
        {"limits:\n  tpc_clients: 3\n",
         "f:2:3: unknown option limits.tpc_clients; did you mean tcp_clients?"},
        {"nodes: {name: x}", "f:1:1: unknown option nodes; did you mean node?"},
        {"bananas: 1", "f:1:1: unknown option bananas; see sinkholed --help for all there are"},
        {"limits.udp_size: 1232",
         "f:1:1: unknown option limits.udp_size; see sinkholed --help for all there are"},
        {FILES ", pth: /b}", "f:3:27: unknown option list.files[].pth; did you mean path?"},
        {"log: {level: info, level: debug}",
         "f:1:20: option level stands here a second time (first in line 1)"},
        {"node: {}\nnode: {}\n", "f:2:1: option node stands here a second time (first in line 1)"},
        /* forms */
        {"- a", "f:1:1: the file must hold options, each as NAME: VALUE"},
        {"limits: [1]", "f:1:9: limits must hold options, each as NAME: VALUE"},
        {"limits: {udp_size: [1]}", "f:1:20: limits.udp_size must be a single value"},
        {"sinkhole: {ipv4: 0.0.0.0}",
         "f:1:18: sinkhole.ipv4 must be a list: [A, B], or [] for none"},
        {"listen: []", "f:1:9: listen is empty; write at least one"},
        {"listen: [127.0.0.1@53]",
         "f:1:10: listen: each item must be a mapping: {NAME: VALUE, ...}"},
        {"listen: [{protocols: [udp]}]", "f:1:10: listen: address is missing here"},
        {"listen: [{address: 127.0.0.1@53, protocols: udp}]",
         "f:1:45: listen[].protocols must be a list of one or more of: udp | tcp"},
        {"listen: [{address: 127.0.0.1@53, protocols: [udp, {}]}]",
         "f:1:51: listen[].protocols: each item must be a word"},
        {"sinkhole: {ipv4: [[]]}", "f:1:19: sinkhole.ipv4 must be a single value in each place"},
        /* values */
        {"log: {level: loud}", "f:1:14: log.level: \"loud\" is not known here; write one of: error "
                               "| warning | info | debug"},
        {"node: {workers: 0}",
         "f:1:17: node.workers: \"0\" is out of range; it must be within 1..256 | auto"},
        {"node: {workers: many}",
         "f:1:17: node.workers: \"many\" is not a number; write digits only, or auto"},
        {"limits: {udp_size: 0x200}",
         "f:1:20: limits.udp_size: \"0x200\" is not a number; write digits only"},
        {"limits: {udp_size: -1}",
         "f:1:20: limits.udp_size: \"-1\" is not a number; write digits only"},
        {"limits: {udp_size: 4097}",
         "f:1:20: limits.udp_size: \"4097\" is out of range; it must be within 512..4096"},
        {"limits: {udp_size: 99999999999999999999}",
         "f:1:20: limits.udp_size: \"99999999999999999999\" is not a number; write digits only"},
        {"limits: {udp_size: }",
         "f:1:20: limits.udp_size: \"\" is not a number; write digits only"},
        {"limits: {tcp_idle: 10}", "f:1:20: limits.tcp_idle: \"10\" is not a duration; write a "
                                   "number with ms, s, m, h or d: 10s"},
        {"limits: {tcp_idle: 99999999999999d}", "f:1:20: limits.tcp_idle: \"99999999999999d\" is "
                                                "out of range; it must be within 100ms..1h"},
        {"sinkhole: {ttl: 1500ms}",
         "f:1:17: sinkhole.ttl: \"1500ms\" is not a number of whole seconds"},
        {"sinkhole: {ttl: 2d}",
         "f:1:17: sinkhole.ttl: \"2d\" is out of range; it must be within 0s..1d"},
        {"cache: {size: 256MB}", "f:1:15: cache.size: \"256MB\" is not a size; write octets, or a "
                                 "number with K, M or G: 256M"},
        {"cache: {size: 1K}",
         "f:1:15: cache.size: \"1K\" is out of range; it must be within 8M..1024G"},
        {"recursion: {ipv4: yes}", "f:1:19: recursion.ipv4: \"yes\" is neither true nor false"},
        {"node: {state_dir: var}",
         "f:1:19: node.state_dir: \"var\" must be an absolute path: write it from / on"},
        {"node: {state_dir: \"\"}",
         "f:1:19: node.state_dir: it is empty; write a value, or leave the option out"},
        {"node: {name: \"a b\"}", "f:1:14: node.name: \"a b\" may hold only letters, digits, dots, "
                                  "dashes and underscores"},
        {"sinkhole: {text: \"\\e[31m\"}",
         "f:1:18: sinkhole.text: a control character stands in it; remove it"},
        {"sinkhole: {ipv4: ['::']}", "f:1:19: sinkhole.ipv4: \"::\" is not an IPv4 address"},
        {"sinkhole: {ipv6: [1.2.3]}", "f:1:19: sinkhole.ipv6: \"1.2.3\" is not an IPv6 address"},
        {"recursion: {outgoing: [x]}",
         "f:1:24: recursion.outgoing: \"x\" is not an IPv4 or IPv6 address"},
        {"access: {allow: [10.0.0.1/8]}",
         "f:1:18: access.allow: \"10.0.0.1/8\" has bits set beyond "
         "/8; clear them, or write more"},
        {"access: {allow: [10.0.0.0/33]}",
         "f:1:18: access.allow: \"10.0.0.0/33\": the bits after / must be within 0..32"},
        {"access: {allow: [10.0/8]}", "f:1:18: access.allow: \"10.0/8\" is not a prefix; write "
                                      "ADDR/BITS, such as 10.0.0.0/8"},
        {"http: {listen: [127.0.0.1]}",
         "f:1:17: http.listen: \"127.0.0.1\" is not an address with a port; write ADDR@PORT, such "
         "as 127.0.0.1@5300 or \"::1@5300\""},
        {"http: {listen: [127.0.0.1@0]}",
         "f:1:17: http.listen: \"127.0.0.1@0\": the port must be within 1..65535; write ADDR@PORT, "
         "such as 127.0.0.1@5300 or \"::1@5300\""},
        {"http: {listen: [host@80]}",
         "f:1:17: http.listen: \"host\" is neither an IPv4 nor an IPv6 address; write ADDR@PORT, "
         "such as 127.0.0.1@5300 or \"::1@5300\""},
        /* what is known and not built */
        {"listen: [{address: 127.0.0.1@853, protocols: [tls]}]",
         "f:1:47: listen[].protocols: tls is not in this version"},
        {"hits: {client: pseudonym}", "f:1:16: hits.client: pseudonym is not in this version"},
        {"hits: {outputs: [{type: syslog, path: /x}]}",
         "f:1:25: hits.outputs[].type: syslog is not in this version"},
        {"cache: {persist: false}",
         "f:1:9: option cache.persist is not in this version; remove it"},
        {"chaos: {}", "f:1:1: option chaos is not in this version; remove it"},
        {"sinkhole: {action: allow}", "f:1:20: sinkhole.action: \"allow\" is not known here; write "
                                      "one of: address | nxdomain | nodata | refused | drop | log"},
        /* feeds */
        {FILES "}\n    - {feed: a, path: /b}",
         "f:4:7: list.files: a feed a stands here already; give each its own name"},
        {FILES ", kind: allow, action: drop}",
         "f:3:48: list.files: kind allow has no action; remove one of them"},
        {"list: {files: [{path: /a}]}", "f:1:16: list.files: feed is missing here"},
        {"list: {files: [{feed: operator, path: /a}]}",
         "f:1:23: list.files[].feed: the feed operator is sinkholectl's own; choose another name"},
        {"list: {files: [{feed: Bad, path: /a}]}", "f:1:23: list.files[].feed: \"Bad\" is no name "
                                                   "for a feed; use small letters, digits, dots, "
                                                   "dashes and underscores, no dot or dash first"},
        /* what no single value shows */
        {"listen: [{address: 127.0.0.1@53}, {address: 127.0.0.1@53, protocols: [tcp]}]",
         "f:1:35: listen: 127.0.0.1@53 stands here a second time; remove one"},
        {"http: {listen: [127.0.0.1@1, 127.0.0.1@1]}",
         "f:1:30: http.listen: 127.0.0.1@1 stands here a second time; remove one"},
        {"sinkhole: {ipv4: [], ipv6: []}",
         "f:1:11: sinkhole.action is address, but sinkhole.ipv4 and sinkhole.ipv6 are empty; give "
         "an address, or use nodata"},
        {"recursion: {ipv4: false, ipv6: false}",
         "f:1:12: recursion.ipv4 and recursion.ipv6 are both false; servers are then out of reach"},
        {"cache: {min_ttl: 1h, max_ttl: 1m}",
         "f:1:8: cache.min_ttl is above cache.max_ttl; lower it"},
        {"redis:\n", "f:1:7: redis.servers is missing; name one, or leave the section redis out"},
        {"redis: {servers: []}", "f:1:18: redis.servers is empty; write at least one"},
        {"redis: {servers: ['unix:/r', 127.0.0.1@6379]}",
         "f:1:30: redis.servers: a unix: socket stands alone; remove the others"},
        {"redis: {servers: ['unix:r']}",
         "f:1:19: redis.servers: \"r\" must be an absolute path: write it from / on"},
        {"hits: {outputs: [{type: file, path: /x}, {type: file, path: /x}]}",
         "f:1:42: hits.outputs: /x is written already; each needs its own file"},
        /* YAML */
        {"limits:\n\t- x", "f:2:1: YAML syntax: found character that cannot start any token while "
                           "scanning for the next token"},
        {"a: [",
         "f:2:1: YAML syntax: did not find expected node content while parsing a flow node"},
        {"node: &x {}", "f:1:7: anchors (&), aliases (*) and tags (!) are not read here; quote the "
                        "value if it starts with such a character, or write it out"},
        {"node: *x", "f:1:7: anchors (&), aliases (*) and tags (!) are not read here; quote the "
                     "value if it starts with such a character, or write it out"},
        {"node: !!str x", "f:1:7: anchors (&), aliases (*) and tags (!) are not read here; quote "
                          "the value if it starts with such a character, or write it out"},
        {"node: {}\n---\nlog: {}\n",
         "f:2:1: a second document (---) starts here; one file holds one"},
        {"[a]: b", "f:1:1: an option's name must be a word, not a list or a mapping"},
        {"a: [[[[[[[[[[]]]]]]]]]]", "f:1:11: nested deeper than 8 levels; no option is"},
        {"node: {name: \"a\\0b\"}", "f:1:14: a value holds a NUL character; remove it"},
        {"node:\n  name: a\xff", "f:2:10: not a text of UTF-8 (invalid leading UTF-8 octet)"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_refused(rows[i].text, rows[i].error);
    }
}

static void bounds_what_it_reads(void **state)
{
    (void)state;
    struct config *config;
    char error[CONFIG_ERROR_SIZE_MAX];
    size_t size = DOCUMENT_SIZE_MAX + 1;
    char *text = malloc(size);
    assert_non_null(text);

    memset(text, '#', size);
    assert_int_equal(load_text(text, size, &config, error), -EINVAL);
    assert_string_equal(error, "f:1:1: larger than 1048576 octets; put names into list files");
    assert_int_equal(load_text(text, size - 1, &config, error), 0);
    config_free(config);

    size_t at = (size_t)sprintf(text, "sinkhole: {ipv4: [");
    for (int i = 0; i < 9; i++) {
        at += (size_t)sprintf(text + at, "192.0.2.%d,", i);
    }
    strcpy(text + at, "]}");
    assert_refused(text, "f:1:99: sinkhole.ipv4 has more than 8 items");

    at = (size_t)sprintf(text, "a: [");
    memset(text + at, ',', 2);
    for (unsigned i = 0; i < DOCUMENT_NODES_MAX; i++) {
        memcpy(text + at + 2 * i, "x,", 2);
    }
    strcpy(text + at + 2 * DOCUMENT_NODES_MAX, "]");
    assert_int_equal(load_text(text, strlen(text), &config, error), -EINVAL);
    assert_non_null(strstr(error, "more than 32768 values; put names into list files"));
    free(text);
}

static void names_a_file_it_cannot_read(void **state)
{
    (void)state;
    struct config *config = (struct config *)-1;
    char error[CONFIG_ERROR_SIZE_MAX];
    assert_int_equal(config_load("/nowhere/f.yaml", &config, error), -ENOENT);
    assert_string_equal(error, "/nowhere/f.yaml: No such file or directory");
    assert_int_equal(config_load("/", &config, error), -EISDIR);
    assert_string_equal(error, "/: Is a directory");
    assert_ptr_equal(config, (struct config *)-1);

    char path[2048];
    memset(path, 'd', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    assert_true(config_load(path, &config, error) < 0);
    assert_non_null(strstr(error, "ddd: "));
}

static void lets_the_environment_override_single_values(void **state)
{
    (void)state;
    setenv("SINKHOLE_NODE_STATE_DIR", "/env", 1);
    setenv("SINKHOLE_HITS_TRUNCATE_IPV4", "32", 1);
    setenv("SINKHOLE_RECURSION_TIMEOUT", "2s", 1);
    setenv("SINKHOLE_TEST_ANYTHING", "x", 1);
    setenv("SINKHOLE_HOME", "x", 1);
    struct config *config = load("node: {state_dir: /file}\n");
    assert_string_equal(config->node.state_dir, "/env");
    assert_int_equal(config->hits.truncate_ipv4, 32);
    assert_int_equal(config->recursion.timeout_ms, 2000);
    config_free(config);

    static const struct {
        const char *name;
        const char *value;
        const char *error;
    } rows[] = {
        {"SINKHOLE_NODE_NAM", "x",
         "SINKHOLE_NODE_NAM: no option has this variable; see sinkholed "
         "--help, or unset it"},
        {"SINKHOLE_NODE_WORKERS", "x",
         "SINKHOLE_NODE_WORKERS: node.workers: \"x\" is not a number; write digits only, or auto"},
        {"SINKHOLE_CACHE_STALE", "1d",
         "SINKHOLE_CACHE_STALE: option cache.stale is not in this version; unset the variable"},
        {"SINKHOLE_HTTP_LISTEN", "127.0.0.1@1",
         "SINKHOLE_HTTP_LISTEN: option http.listen is a list; "
         "write it in the configuration file"},
        {"SINKHOLE_SINKHOLE_TEXT", "\xff",
         "SINKHOLE_SINKHOLE_TEXT: sinkhole.text: it is not UTF-8"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        setenv(rows[i].name, rows[i].value, 1);
        assert_refused("", rows[i].error);
        unsetenv(rows[i].name);
    }
    unsetenv("SINKHOLE_NODE_STATE_DIR");
    unsetenv("SINKHOLE_HITS_TRUNCATE_IPV4");
    unsetenv("SINKHOLE_RECURSION_TIMEOUT");
    unsetenv("SINKHOLE_HOME");
}

struct differences {
    char text[512];
};

static void note_difference(void *context, const char *option, bool live)
{
    struct differences *differences = context;
    size_t size = strlen(differences->text);
    snprintf(differences->text + size, sizeof(differences->text) - size, "%s%s;", option,
             live ? " live" : "");
}

static void tells_what_differs_and_whether_a_reload_takes_it(void **state)
{
    (void)state;
    static const struct {
        const char *old;
        const char *new;
        const char *expected;
    } rows[] = {
        {"", "", ""},
        {"", "limits: {udp_size: 1232}", ""},
        {"", "limits: {udp_size: 1400}", "limits.udp_size;"},
        {"log: {level: info}", "log: {level: debug, format: json}",
         "log.level live;log.format live;"},
        {"access: {allow: [10.0.0.0/8]}", "access: {allow: [10.0.0.0/9]}", "access.allow live;"},
        {"sinkhole: {ipv4: [0.0.0.0]}", "sinkhole: {ipv4: []}", "sinkhole.ipv4 live;"},
        {"list: {files: [{feed: a, path: /a}]}", "list: {files: [{feed: a, path: /b}]}",
         "list.files live;"},
        {"list: {files: [{feed: a, path: /aaaa}]}",
         "list: {files: [{feed: a, path: /aaaa, kind: deny, priority: 100}]}", ""},
        {"", "redis: {servers: [127.0.0.1@6379]}", "redis.servers;"},
        {"redis: {servers: ['unix:/a']}", "redis: {servers: ['unix:/b']}", "redis.servers;"},
        {"listen: [{address: 127.0.0.1@53}]", "listen: [{address: 127.0.0.1@53, protocols: [udp]}]",
         "listen;"},
        {"", "hits: {client: full, outputs: [{type: file, path: /x}]}",
         "hits.client;hits.outputs live;"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct differences differences = {""};
        struct config *old = load(rows[i].old);
        struct config *new = load(rows[i].new);
        config_diff(old, new, note_difference, &differences);
        assert_string_equal(differences.text, rows[i].expected);
        config_free(old);
        config_free(new);
    }
}

/* Calls back with the full name of every option that stands in a document. */
static void walk_options(const char *path, const struct document_node *node,
                         void (*call)(const char *name, const struct option *option))
{
    if (node->kind == DOCUMENT_LIST) {
        char inner[128];
        snprintf(inner, sizeof(inner), "%s[]", path);
        for (const struct document_node *item = node->first; item != NULL; item = item->next) {
            if (item->kind == DOCUMENT_MAPPING) {
                walk_options(inner, item, call);
            }
        }
        return;
    }
    for (const struct document_node *key = node->first; key != NULL; key = key->next->next) {
        char name[128];
        bool built;
        snprintf(name, sizeof(name), "%s%s%s", path, path[0] != '\0' ? "." : "", key->text);
        const struct option *option = options_find(name);
        if (option != NULL || !options_is_section(name, &built)) {
            call(name, option);
        }
        bool has_rows = option == NULL || (option->type == OPTION_MAPPING && option->built);
        if (has_rows && key->next->kind != DOCUMENT_SCALAR) {
            walk_options(name, key->next, call);
        }
    }
}

static unsigned options_seen;
static char options_listed[8192];

static void note_option(const char *name, const struct option *option)
{
    if (option == NULL) {
        fail_msg("%s is not in the table", name);
    }
    options_seen++;
    strcat(strcat(options_listed, name), "\n");
}

static bool was_listed(const char *name)
{
    char line[160];
    snprintf(line, sizeof(line), "\n%s\n", name);
    return strstr(options_listed, line) != NULL;
}

static void list_options_of(const char *name)
{
    struct document *document = read_document(name);
    options_seen = 0;
    strcpy(options_listed, "\n");
    walk_options("", document_root(document), note_option);
    document_free(document);
}

static void knows_every_option_of_the_whole_form(void **state)
{
    (void)state;
    list_options_of("tests/data/config/whole.yaml");
    assert_true(options_seen > 80);
    for (size_t i = 0; i < options_count; i++) {
        if (!options[i].built && !was_listed(options[i].name)) {
            fail_msg("%s is neither built nor of the whole form", options[i].name);
        }
    }
}

static void documents_every_option_it_has_and_no_other(void **state)
{
    (void)state;
    struct config *config;
    char error[CONFIG_ERROR_SIZE_MAX];
    if (config_load(source_path("deploy/sinkholed.yaml"), &config, error) != 0) {
        fail_msg("%s", error);
    }
    config_free(config);

    list_options_of("deploy/sinkholed.yaml");
    for (size_t i = 0; i < options_count; i++) {
        if (was_listed(options[i].name) != options[i].built) {
            fail_msg("%s: %s", options[i].name,
                     options[i].built ? "built, but not in the example" : "not built");
        }
    }
}

/* YAML in which the option stands with some value. */
static void write_alone(const struct option *option, char *text, size_t size)
{
    char name[128];
    static const struct {
        const char *prefix;
        const char *item;
    } items[] = {
        {"listen[].", "listen: [{address: 127.0.0.1@53, %s: x}]"},
        {"hits.outputs[].", "hits: {outputs: [{type: file, path: /x, %s: x}]}"},
    };
    for (size_t i = 0; i < COUNT(items); i++) {
        if (strncmp(option->name, items[i].prefix, strlen(items[i].prefix)) == 0) {
            const char *key = option->name + strlen(items[i].prefix);
            const char *hole = strstr(items[i].item, "%s");
            snprintf(text, size, "%.*s%s%s", (int)(hole - items[i].item), items[i].item, key,
                     hole + 2);
            return;
        }
    }
    strcpy(name, option->name);
    text[0] = '\0';
    unsigned depth = 0;
    for (char *word = strtok(name, "."); word != NULL; word = strtok(NULL, "."), depth++) {
        snprintf(text + strlen(text), size - strlen(text), "%s%s: ", depth > 0 ? "{" : "", word);
    }
    strcat(text, "x");
    memset(name, '}', depth - 1);
    strncat(text, name, depth - 1);
}

static void refuses_every_option_that_is_not_built(void **state)
{
    (void)state;
    unsigned refused = 0;
    for (size_t i = 0; i < options_count; i++) {
        if (options[i].built) {
            continue;
        }
        char text[256];
        char error[CONFIG_ERROR_SIZE_MAX];
        struct config *config;
        write_alone(&options[i], text, sizeof(text));
        assert_int_equal(load_text(text, strlen(text), &config, error), -EINVAL);
        if (strstr(error, " is not in this version; remove it") == NULL) {
            fail_msg("%s: %s", text, error);
        }
        refused++;
    }
    assert_true(refused > 20);
}

static void describes_every_option(void **state)
{
    (void)state;
    struct config_option_text row;
    size_t count = 0;
    char *names[256];
    for (; config_option_text(count, &row); count++) {
        char variable[OPTION_VARIABLE_SIZE_MAX] = "";
        assert_true(count < COUNT(names));
        assert_non_null(row.type);
        assert_true(row.type[0] != '\0' && row.name[0] != '\0');
        size_t size = strlen(row.text);
        assert_true(size > 5 && row.text[size - 1] == '.');
        bool is_bounded = strcmp(row.type, "integer") == 0 || strcmp(row.type, "size") == 0 ||
                          strcmp(row.type, "duration") == 0 || strcmp(row.type, "word") == 0;
        if (is_bounded && row.built) {
            assert_true(row.bounds[0] != '\0');
        }
        /* A variable's name means one option. */
        options_variable(&options[count], variable);
        names[count] = strdup(variable);
        for (size_t i = 0; i < count; i++) {
            assert_true(variable[0] == '\0' || strcmp(names[i], variable) != 0);
        }
    }
    for (size_t i = 0; i < count; i++) {
        free(names[i]);
    }
    assert_int_equal(count, options_count);

    assert_true(config_option_text((size_t)(options_find("limits.udp_size") - options), &row));
    assert_string_equal(row.type, "integer");
    assert_string_equal(row.initial, "1232");
    assert_string_equal(row.bounds, "512..4096");
    assert_false(row.live);
}

static void prints_the_options_it_has(void **state)
{
    (void)state;
    for (int page = OPTION_PAGE_TEXT; page <= OPTION_PAGE_MARKDOWN; page++) {
        char *text = NULL;
        size_t size = 0;
        FILE *file = open_memstream(&text, &size);
        assert_non_null(file);
        options_write(file, (enum option_page)page);
        fclose(file);
        for (size_t i = 0; i < options_count; i++) {
            char name[128];
            snprintf(name, sizeof(name), page == OPTION_PAGE_TEXT ? "  %s (" : "| `%s` |",
                     options[i].name);
            assert_int_equal(strstr(text, name) != NULL, options[i].built);
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_an_empty_file_and_no_file_for_the_defaults),
        cmocka_unit_test(writes_each_value_into_its_field),
        cmocka_unit_test(reads_list_files_and_outputs),
        cmocka_unit_test(reads_redis_servers_and_a_socket),
        cmocka_unit_test(says_where_a_mistake_stands_and_what_to_do),
        cmocka_unit_test(bounds_what_it_reads),
        cmocka_unit_test(names_a_file_it_cannot_read),
        cmocka_unit_test(lets_the_environment_override_single_values),
        cmocka_unit_test(tells_what_differs_and_whether_a_reload_takes_it),
        cmocka_unit_test(knows_every_option_of_the_whole_form),
        cmocka_unit_test(documents_every_option_it_has_and_no_other),
        cmocka_unit_test(refuses_every_option_that_is_not_built),
        cmocka_unit_test(describes_every_option),
        cmocka_unit_test(prints_the_options_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
