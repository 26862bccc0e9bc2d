/* What a recursor is told, from the configuration. */
#include "resolver/recursor_settings.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* The settings of one message, as text: "kind name: value" a line. */
struct told {
    char text[16384];
    struct channel_start start;
    unsigned starts;
};

static struct config *plain_config(void)
{
    struct config *config = calloc(1, sizeof(*config));
    assert_non_null(config);
    config->limits.pending = 20000;
    config->recursion.dnssec = true;
    config->recursion.ipv4 = true;
    config->recursion.qname_minimisation = true;
    config->recursion.rebinding_protection = true;
    config->recursion.sandbox = true;
    return config;
}

static struct told *tell(const struct config *config, unsigned index, unsigned count)
{
    static uint8_t message[CHANNEL_MESSAGE_SIZE_MAX];
    struct told *told = calloc(1, sizeof(*told));
    assert_non_null(told);
    int size = recursor_settings_write(config, index, count, message);
    assert_true(size > 0);
    size_t length = 0;
    for (int at = 0; at < size;) {
        struct channel_record record;
        int r = channel_read(message + at, (size_t)(size - at), &record);
        assert_true(r > 0);
        at += r;
        if (record.kind == CHANNEL_START) {
            told->start = record.start;
            told->starts++;
            assert_int_equal(at, size); /* it is the last one */
            continue;
        }
        assert_int_equal(record.kind, CHANNEL_SETTING);
        const struct channel_setting *setting = &record.setting;
        length += (size_t)snprintf(told->text + length, sizeof(told->text) - length,
                                   "%u %.*s: %.*s\n", setting->kind, (int)setting->name_size,
                                   setting->name, (int)setting->value_size, setting->value);
        assert_true(length < sizeof(told->text));
    }
    assert_int_equal(told->starts, 1);
    return told;
}

static void assert_told(const struct told *told, const char *line, bool expected)
{
    if ((strstr(told->text, line) != NULL) != expected) {
        fail_msg("\"%s\" was %s in:\n%s", line, expected ? "not" : "found", told->text);
    }
}

static void the_defaults_validate_with_the_built_in_anchors(void **state)
{
    (void)state;
    struct config *config = plain_config();
    struct told *told = tell(config, 0, 1);
    assert_told(told, "1 module-config: validator iterator\n", true);
    assert_told(told, "3 : . IN DS 20326 8 2 E06D44B8", true);
    assert_told(told, "3 : . IN DS 38696 8 2 683D2D0A", true);
    assert_told(told, "1 do-ip4: yes\n", true);
    assert_told(told, "1 do-ip6: no\n", true);
    assert_told(told, "1 qname-minimisation: yes\n", true);
    assert_told(told, "1 edns-buffer-size: 1232\n", true);
    assert_told(told, "1 do-not-query-localhost: yes\n", true);
    assert_told(told, "1 private-address: 192.168.0.0/16\n", true);
    assert_told(told, "1 private-address: 127.0.0.0/8\n", true);
    assert_told(told, "root-hints", false);
    assert_told(told, "outgoing-interface", false);
    assert_told(told, "5 ", false); /* no folder */
    assert_int_equal(told->start.parent, getpid());
    assert_int_equal(told->start.in_flight_max, 20000);
    assert_int_equal(told->start.sandbox, 1);
    assert_true(told->start.memory_max > 20000ull * 15000);
    free(told);
    free(config);
}

static void options_of_the_configuration_arrive(void **state)
{
    (void)state;
    struct config *config = plain_config();
    config->recursion.dnssec = false;
    config->recursion.qname_minimisation = false;
    config->recursion.ipv6 = true;
    config->recursion.sandbox = false;
    config->recursion.outgoing_count = 2;
    strcpy(config->recursion.outgoing[0], "192.0.2.53");
    strcpy(config->recursion.outgoing[1], "2001:db8::53");
    strcpy(config->recursion.root_hints, "/etc/hints");
    strcpy(config->recursion.trust_anchor, "/etc/anchor");
    struct told *told = tell(config, 0, 1);
    assert_told(told, "1 module-config: iterator\n", true);
    assert_told(told, "DS 20326", false);
    assert_told(told, "/etc/anchor", false); /* nothing is validated */
    assert_told(told, "1 root-hints: /etc/hints\n", true);
    assert_told(told, "1 outgoing-interface: 192.0.2.53\n", true);
    assert_told(told, "1 outgoing-interface: 2001:db8::53\n", true);
    assert_told(told, "1 qname-minimisation: no\n", true);
    assert_told(told, "1 do-ip6: yes\n", true);
    assert_int_equal(told->start.sandbox, 0);
    free(told);

    config->recursion.dnssec = true;
    told = tell(config, 0, 1);
    assert_told(told, "4 : /etc/anchor\n", true);
    assert_told(told, "DS 20326", false);
    free(told);
    free(config);
}

static void loopback_is_no_private_address_where_servers_may_be_there(void **state)
{
    (void)state;
    struct config *config = plain_config();
    config->recursion.query_localhost = true;
    struct told *told = tell(config, 0, 1);
    assert_told(told, "1 do-not-query-localhost: no\n", true);
    assert_told(told, "private-address: 10.0.0.0/8\n", true);
    assert_told(told, "private-address: 127.0.0.0/8\n", false);
    assert_told(told, "private-address: ::1/128\n", false);
    free(told);
    config->recursion.rebinding_protection = false;
    told = tell(config, 0, 1);
    assert_told(told, "private-address", false);
    free(told);
    free(config);
}

static void each_recursor_has_a_folder_of_its_own_if_it_exists(void **state)
{
    (void)state;
    struct config *config = plain_config();
    strcpy(config->node.state_dir, "/tmp/sinkhole-settings-XXXXXX");
    assert_non_null(mkdtemp(config->node.state_dir));
    char folder[CONFIG_PATH_SIZE_MAX + 32];
    snprintf(folder, sizeof(folder), "%s/recursor-1", config->node.state_dir);
    assert_int_equal(mkdir(folder, 0700), 0);
    char line[sizeof(folder) + 32];
    snprintf(line, sizeof(line), "5 : %s\n", folder);
    struct told *told = tell(config, 1, 2);
    assert_told(told, line, true);
    free(told);
    told = tell(config, 0, 2);
    assert_told(told, "5 : ", false);
    free(told);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rmdir(config->node.state_dir), 0);
    free(config);
}

static void the_caches_are_divided_among_the_recursors(void **state)
{
    (void)state;
    struct config *config = plain_config();
    static const struct {
        unsigned count;
        const char *line;
    } rows[] = {
        {1, "1 rrset-cache-size: 268435456\n"},
        {4, "1 rrset-cache-size: 67108864\n"},
        {64, "1 rrset-cache-size: 16777216\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct told *told = tell(config, 0, rows[i].count);
        assert_told(told, rows[i].line, true);
        free(told);
    }
    free(config);
}

static void the_longest_configuration_fits_one_message(void **state)
{
    (void)state;
    struct config *config = plain_config();
    config->recursion.outgoing_count = OUTGOING_MAX;
    for (size_t i = 0; i < OUTGOING_MAX; i++) {
        memset(config->recursion.outgoing[i], 'f', sizeof(config->recursion.outgoing[i]) - 1);
    }
    memset(config->recursion.root_hints, 'h', sizeof(config->recursion.root_hints) - 1);
    memset(config->recursion.trust_anchor, 'a', sizeof(config->recursion.trust_anchor) - 1);
    struct told *told = tell(config, RECURSORS_MAX - 1, RECURSORS_MAX);
    assert_told(told, "root-hints: hhhh", true);
    free(told);
    free(config);
}

static void files_that_cannot_be_read_are_named(void **state)
{
    (void)state;
    struct config *config = plain_config();
    const char *path = "";
    assert_int_equal(recursor_settings_check(config, &path), 0);
    strcpy(config->recursion.trust_anchor, "/proc/self/exe");
    assert_int_equal(recursor_settings_check(config, &path), 0);
    assert_string_equal(path, "");
    strcpy(config->recursion.root_hints, "/nonexistent/hints");
    assert_int_equal(recursor_settings_check(config, &path), -ENOENT);
    assert_string_equal(path, "/nonexistent/hints");
    free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_validate_with_the_built_in_anchors),
        cmocka_unit_test(options_of_the_configuration_arrive),
        cmocka_unit_test(loopback_is_no_private_address_where_servers_may_be_there),
        cmocka_unit_test(each_recursor_has_a_folder_of_its_own_if_it_exists),
        cmocka_unit_test(the_caches_are_divided_among_the_recursors),
        cmocka_unit_test(the_longest_configuration_fits_one_message),
        cmocka_unit_test(files_that_cannot_be_read_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
