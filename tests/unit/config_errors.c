/* What the configuration refuses, and where it says the mistake stands. */
#include "resolver/config.h"

#include "resolver/document.h"
#include "config_text.h"

#include <stdlib.h>

#define FILES "list:\n  files:\n    - {feed: a, path: /a"

static const struct {
    const char *text;
    const char *error;
} mistakes[] = {
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
    {"sinkhole: {ipv4: 0.0.0.0}", "f:1:18: sinkhole.ipv4 must be a list: [A, B], or [] for none"},
    {"listen: []", "f:1:9: listen is empty; write at least one"},
    {"listen: [127.0.0.1@53]", "f:1:10: listen: each item must be a mapping: {NAME: VALUE, ...}"},
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
    {"limits: {udp_size: }", "f:1:20: limits.udp_size: \"\" is not a number; write digits only"},
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
    {"access: {allow: [10.0.0.1/8]}", "f:1:18: access.allow: \"10.0.0.1/8\" has bits set beyond "
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
    {"cache: {persist: false}", "f:1:9: option cache.persist is not in this version; remove it"},
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
    {"cache: {min_ttl: 1h, max_ttl: 1m}", "f:1:8: cache.min_ttl is above cache.max_ttl; lower it"},
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
    {"a: [", "f:2:1: YAML syntax: did not find expected node content while parsing a flow node"},
    {"node: &x {}", "f:1:7: anchors (&), aliases (*) and tags (!) are not read here; quote the "
                    "value if it starts with such a character, or write it out"},
    {"node: *x", "f:1:7: anchors (&), aliases (*) and tags (!) are not read here; quote the "
                 "value if it starts with such a character, or write it out"},
    {"node: !!str x", "f:1:7: anchors (&), aliases (*) and tags (!) are not read here; quote "
                      "the value if it starts with such a character, or write it out"},
    {"node: {}\n---\nlog: {}\n", "f:2:1: a second document (---) starts here; one file holds one"},
    {"[a]: b", "f:1:1: an option's name must be a word, not a list or a mapping"},
    {"a: [[[[[[[[[[]]]]]]]]]]", "f:1:11: nested deeper than 8 levels; no option is"},
    {"node: {name: \"a\\0b\"}", "f:1:14: a value holds a NUL character; remove it"},
    {"node:\n  name: a\xff", "f:2:10: not a text of UTF-8 (invalid leading UTF-8 octet)"},
};

static void says_where_a_mistake_stands_and_what_to_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        assert_refused(mistakes[i].text, mistakes[i].error);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_where_a_mistake_stands_and_what_to_do),
        cmocka_unit_test(bounds_what_it_reads),
        cmocka_unit_test(names_a_file_it_cannot_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
