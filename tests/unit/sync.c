/* The list's thread without Redis: list files, the operator's changes, imported feeds, and that all
 * of it is there again after a restart. */
#include "resolver/sync.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sync_node.h"

static struct node node;

static int init(void **state)
{
    (void)state;
    node_init(&node);
    return 0;
}

static int done(void **state)
{
    (void)state;
    node_done(&node);
    return 0;
}

static void restart(void)
{
    node_stop(&node);
    node_start(&node);
}

/* The result of one name; fails if the call does. */
static const char *operate(enum sync_operation operation, const char *name, const char *more)
{
    static char result[200];
    char body[512];
    (void)snprintf(body, sizeof(body), "{\"names\": [\"%s\"]%s}", name, more);
    json_t *request = json_loads(body, 0, NULL);
    json_t *reply = NULL;
    assert_non_null(request);
    assert_int_equal(sync_operate(node.sync, operation, request, &reply), 0);
    const json_t *first = json_array_get(json_object_get(reply, "results"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "name")), name);
    const char *reason = json_string_value(json_object_get(first, "reason"));
    (void)snprintf(result, sizeof(result), "%s%s%s",
                   json_string_value(json_object_get(first, "result")),
                   reason[0] != '\0' ? ": " : "", reason);
    json_decref(request);
    json_decref(reply);
    return result;
}

static void has_what_the_files_list_before_it_starts(void **state)
{
    (void)state;
    node_write_file(&node, "deny.txt", "evil.example\n=exact.example\nnot a name\ncom\n");
    node_write_file(&node, "allow.txt", "com\ngood.example\n");
    node_add_file(&node, "bad", "deny.txt", BL_ACTION_NXDOMAIN);
    node_add_file(&node, "good", "allow.txt", BL_ACTION_ALLOW);
    node_add_file(&node, "gone", "missing.txt", BL_ACTION_DEFAULT);
    node_start(&node);
    struct bl_membership membership;
    assert_true(node_says(&node, "bad", "evil.example", &membership));
    assert_int_equal(membership.scope, BL_SCOPE_SUFFIX);
    assert_true(node_says(&node, "bad", "exact.example", &membership));
    assert_int_equal(membership.scope, BL_SCOPE_EXACT);
    assert_false(node_lists(&node, "bad", "com"));
    assert_true(node_lists(&node, "good", "com")); /* an exception can't deny */
    struct sync_status status = node_status(&node);
    assert_true(status.loaded);
    assert_false(status.redis);
    assert_int_equal(status.revision, 0);
    assert_int_equal(status.rejected, 2);
    assert_true(node_metric(&node, "sinkhole_blocklist_entries{feed=\"bad\"}") == 2);
    assert_true(node_metric(&node, "sinkhole_blocklist_entries{feed=\"operator\"}") == 0);
    assert_true(node_metric(&node, "sinkhole_blocklist_names") == 4);
    assert_true(
        node_metric(&node, "sinkhole_blocklist_rejected_total{reason=\"malformed_line\"}") == 1);
    assert_true(node_metric(&node, "sinkhole_blocklist_rejected_total{reason=\"single_label\"}") ==
                1);
    assert_true(node_metric(&node, "sinkhole_redis_up") == -1); /* no Redis, no such family */
}

static void reads_the_files_again_and_drops_feeds_that_are_gone(void **state)
{
    (void)state;
    char error[SYNC_TEXT_SIZE] = "";
    node_write_file(&node, "a.txt", "a.example\nb.example\n");
    node_write_file(&node, "z.txt", "z.example\n");
    node_add_file(&node, "a", "a.txt", BL_ACTION_DEFAULT);
    node_add_file(&node, "z", "z.txt", BL_ACTION_DEFAULT);
    node_start(&node);
    node_write_file(&node, "a.txt", "b.example\nc.example\n");
    node.config->list_file_count = 1;
    assert_int_equal(sync_reload(node.sync, node.config, error), 0);
    assert_false(node_lists(&node, "a", "a.example"));
    assert_true(node_lists(&node, "a", "b.example"));
    assert_true(node_lists(&node, "a", "c.example"));
    assert_false(node_lists(&node, "z", "z.example"));
    assert_true(node_metric(&node, "sinkhole_blocklist_entries{feed=\"z\"}") == -1);
}

static void keeps_the_names_of_a_file_that_can_not_be_read(void **state)
{
    (void)state;
    char error[SYNC_TEXT_SIZE] = "";
    char path[128];
    node_write_file(&node, "a.txt", "a.example\n");
    node_add_file(&node, "a", "a.txt", BL_ACTION_DEFAULT);
    node_start(&node);
    (void)snprintf(path, sizeof(path), "%s/a.txt", node.folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(sync_reload(node.sync, node.config, error), -ENOENT);
    assert_non_null(strstr(error, "a.txt"));
    assert_true(node_lists(&node, "a", "a.example"));
}

static void holds_names_against_the_guards_when_exceptions_become_denials(void **state)
{
    (void)state;
    char error[SYNC_TEXT_SIZE] = "";
    node_write_file(&node, "a.txt", "com\na.example\n");
    node_add_file(&node, "a", "a.txt", BL_ACTION_ALLOW);
    node_start(&node);
    assert_true(node_lists(&node, "a", "com"));
    node.config->list_files[0].feed.action = BL_ACTION_DEFAULT;
    assert_int_equal(sync_reload(node.sync, node.config, error), 0);
    assert_false(node_lists(&node, "a", "com"));
    assert_true(node_lists(&node, "a", "a.example"));
}

static void the_operators_changes_hold_at_once_and_after_a_restart(void **state)
{
    (void)state;
    node_start(&node);
    assert_string_equal(operate(SYNC_BLOCK, "Evil.Example.",
                                ", \"category\": \"c2 \\\"x\\\"\","
                                "\"reason\": \"back\\\\slash\""),
                        "added");
    assert_string_equal(operate(SYNC_BLOCK, "exact.example", ", \"exact\": true"), "added");
    assert_string_equal(operate(SYNC_ALLOW, "good.example", ""), "added");
    assert_string_equal(operate(SYNC_BLOCK, "gone.example", ""), "added");
    assert_string_equal(operate(SYNC_UNBLOCK, "gone.example", ""), "removed");
    for (int i = 0; i < 2; i++) {
        struct bl_membership membership;
        assert_true(node_says(&node, "operator", "evil.example", &membership));
        assert_int_equal(membership.action, BL_ACTION_DEFAULT);
        assert_int_equal(membership.scope, BL_SCOPE_SUFFIX);
        assert_string_equal(bl_list_word_text(node.list, membership.category), "c2 \"x\"");
        assert_true(node_says(&node, "operator", "exact.example", &membership));
        assert_int_equal(membership.scope, BL_SCOPE_EXACT);
        assert_true(node_says(&node, "operator", "good.example", &membership));
        assert_int_equal(membership.action, BL_ACTION_ALLOW);
        assert_false(node_lists(&node, "operator", "gone.example"));
        restart();
    }
    assert_string_equal(operate(SYNC_BLOCK, "evil.example",
                                ", \"category\": \"c2 \\\"x\\\"\", \"reason\": \"back\\\\slash\""),
                        "unchanged");
}

static void tells_what_became_of_each_name(void **state)
{
    (void)state;
    node_start(&node);
    static const struct {
        enum sync_operation operation;
        const char *name;
        const char *result;
    } rows[] = {
        {SYNC_BLOCK, "a.example", "added"},
        {SYNC_BLOCK, "a.example", "unchanged"},
        {SYNC_ALLOW, "a.example", "changed"},
        {SYNC_UNBLOCK, "a.example", "not found"},
        {SYNC_UNALLOW, "a.example", "removed"},
        {SYNC_UNALLOW, "a.example", "not found"},
        {SYNC_BLOCK, "com", "refused: "},
        {SYNC_BLOCK, "co.uk", "refused: a public suffix"},
        {SYNC_BLOCK, "1.in-addr.arpa", "refused: "},
        {SYNC_BLOCK, ".", "refused: "},
        {SYNC_BLOCK, "no name", "refused: not a domain name"},
        {SYNC_BLOCK, "a..example", "refused: not a domain name"},
        {SYNC_ALLOW, "com", "added"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *result = operate(rows[i].operation, rows[i].name, "");
        if (strncmp(result, rows[i].result, strlen(rows[i].result)) != 0) {
            fail_msg("row %zu, %s: %s", i, rows[i].name, result);
        }
    }
    assert_int_equal(node_status(&node).rejected, 4);
}

static void refuses_requests_of_another_form(void **state)
{
    (void)state;
    node_start(&node);
    static const char *const bodies[] = {
        "{}",
        "{\"names\": []}",
        "{\"names\": \"a.example\"}",
        "{\"names\": [\"a.example\"], \"exact\": 1}",
        "{\"names\": [\"a.example\"], \"reason\": 1}",
        "{\"names\": [\"a.example\"], \"reason\": \"two\\nlines\"}",
        ("{\"names\": [\"a.example\"], \"category\": "
         "\"0123456789012345678901234567890123456789012345678901234567890123\"}"),
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        json_t *request = json_loads(bodies[i], 0, NULL);
        json_t *reply = NULL;
        assert_int_equal(sync_operate(node.sync, SYNC_BLOCK, request, &reply), -EINVAL);
        assert_non_null(json_string_value(json_object_get(reply, "error")));
        json_decref(request);
        json_decref(reply);
    }
    assert_false(node_lists(&node, "operator", "a.example"));
}

static void refuses_a_change_it_can_not_store(void **state)
{
    (void)state;
    node_write_file(&node, "state", "a file where the folder should be\n");
    node_start(&node);
    json_t *request = json_pack("{s:[s]}", "names", "a.example");
    json_t *reply = NULL;
    assert_int_equal(sync_operate(node.sync, SYNC_BLOCK, request, &reply), -ENOTDIR);
    assert_non_null(json_object_get(reply, "error"));
    assert_false(node_lists(&node, "operator", "a.example"));
    json_decref(request);
    json_decref(reply);
}

static void keeps_its_state_to_itself(void **state)
{
    (void)state;
    node_start(&node);
    (void)operate(SYNC_BLOCK, "a.example", "");
    struct stat info;
    char path[128];
    assert_int_equal(stat(node.config->node.state_dir, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    (void)snprintf(path, sizeof(path), "%s/state/operator.list", node.folder);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void passes_over_lines_of_operator_list_that_it_does_not_understand(void **state)
{
    (void)state;
    assert_int_equal(mkdir(node.config->node.state_dir, 0700), 0);
    node_write_file(&node, "state/operator.list",
                    "# by hand\n\ndeny a.example suffix\n  allow b.example exact category=x\n"
                    "deny\ndeny c.example\nforbid d.example suffix\ndeny e..example suffix\n"
                    "deny f.example suffix reason=\"no end\ndeny g.example suffix colour=red\n"
                    "deny com suffix\ndeny h.example exact reason=\"\\\"\\\\\"");
    node_start(&node);
    assert_true(node_lists(&node, "operator", "a.example"));
    assert_true(node_lists(&node, "operator", "b.example"));
    assert_true(node_lists(&node, "operator", "h.example"));
    assert_true(node_metric(&node, "sinkhole_blocklist_entries{feed=\"operator\"}") == 3);
    assert_int_equal(node_status(&node).rejected, 7);
}

static long long import(const char *name, const char *format, const char *text, int expected,
                        const char *count)
{
    json_t *reply = NULL;
    int r = sync_import(node.sync, name, format, text, strlen(text), &reply);
    if (r != expected) {
        fail_msg("%s: %d: %s", name, r, json_string_value(json_object_get(reply, "error")));
    }
    long long value = json_integer_value(json_object_get(reply, count));
    assert_true(r == 0 || json_object_get(reply, "error") != NULL);
    json_decref(reply);
    return value;
}

static void imports_a_feed_that_survives_a_restart(void **state)
{
    (void)state;
    node_start(&node);
    assert_int_equal(import("x", "auto", "a.example\nb.example\n", 0, "added"), 2);
    assert_int_equal(import("x", "auto", "b.example\nc.example\nbad name\n", 0, "added"), 1);
    assert_int_equal(import("x", "auto", "b.example\nc.example\nbad name\n", 0, "rejected"), 1);
    assert_int_equal(import("h", "hosts", "0.0.0.0 d.example\n", 0, "added"), 1);
    for (int i = 0; i < 2; i++) {
        assert_false(node_lists(&node, "x", "a.example"));
        assert_true(node_lists(&node, "x", "b.example"));
        assert_true(node_lists(&node, "x", "c.example"));
        assert_true(node_lists(&node, "h", "d.example"));
        restart();
    }
    char error[SYNC_TEXT_SIZE];
    assert_int_equal(sync_reload(node.sync, node.config, error), 0);
    assert_true(node_lists(&node, "x", "b.example"));
}

static void refuses_imports_that_would_hide_another_feed(void **state)
{
    (void)state;
    node_write_file(&node, "a.txt", "a.example\n");
    node_add_file(&node, "taken", "a.txt", BL_ACTION_DEFAULT);
    node_start(&node);
    (void)import("taken", "auto", "b.example\n", -EEXIST, "");
    (void)import("operator", "auto", "b.example\n", -EEXIST, "");
    (void)import("../up", "auto", "b.example\n", -EINVAL, "");
    (void)import("\xff\xfe", "auto", "b.example\n", -EINVAL, "");
    (void)import("x", "csv", "b.example\n", -EINVAL, "");
    assert_true(node_lists(&node, "taken", "a.example"));
    assert_false(node_lists(&node, "taken", "b.example"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, init, done)
    const struct CMUnitTest tests[] = {
        TEST(has_what_the_files_list_before_it_starts),
        TEST(reads_the_files_again_and_drops_feeds_that_are_gone),
        TEST(keeps_the_names_of_a_file_that_can_not_be_read),
        TEST(holds_names_against_the_guards_when_exceptions_become_denials),
        TEST(the_operators_changes_hold_at_once_and_after_a_restart),
        TEST(tells_what_became_of_each_name),
        TEST(refuses_requests_of_another_form),
        TEST(refuses_a_change_it_can_not_store),
        TEST(keeps_its_state_to_itself),
        TEST(passes_over_lines_of_operator_list_that_it_does_not_understand),
        TEST(imports_a_feed_that_survives_a_restart),
        TEST(refuses_imports_that_would_hide_another_feed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
