/* What the configuration takes: defaults, values, the environment, and what differs between two. */
#include "resolver/config.h"

#include "blocklist/format.h"
#include "resolver/log.h"
#include "config_text.h"

#include <arpa/inet.h>
#include <stdlib.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_an_empty_file_and_no_file_for_the_defaults),
        cmocka_unit_test(writes_each_value_into_its_field),
        cmocka_unit_test(reads_list_files_and_outputs),
        cmocka_unit_test(reads_redis_servers_and_a_socket),
        cmocka_unit_test(lets_the_environment_override_single_values),
        cmocka_unit_test(tells_what_differs_and_whether_a_reload_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
