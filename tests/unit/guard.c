/* Which names the guards keep from being denied, and which they let through. */
#include "blocklist/guard.h"

#include "blocklist/name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void keep_names_that_no_feed_may_deny(void **state)
{
    static const struct {
        const char *text;
        enum bl_guard expected;
    } rows[] = {
        {".", BL_GUARD_ROOT},
        {"com", BL_GUARD_SINGLE_LABEL},
        {"no-such-tld", BL_GUARD_SINGLE_LABEL},
        {"localhost", BL_GUARD_SINGLE_LABEL},
        {"xn--p1ai", BL_GUARD_SINGLE_LABEL},
        {"arpa", BL_GUARD_ARPA},
        {"in-addr.arpa", BL_GUARD_ARPA},
        {"1.in-addr.arpa", BL_GUARD_ARPA},
        {"4.3.2.1.in-addr.arpa", BL_GUARD_ARPA},
        {"ip6.arpa", BL_GUARD_ARPA},
        {"anything.arpa", BL_GUARD_ARPA},
        {"co.uk", BL_GUARD_PUBLIC_SUFFIX},
        {"com.au", BL_GUARD_PUBLIC_SUFFIX},
        {"xn--55qx5d.cn", BL_GUARD_PUBLIC_SUFFIX},
        {"kawasaki.jp", BL_GUARD_PUBLIC_SUFFIX},     /* above a wildcard rule */
        {"any.kawasaki.jp", BL_GUARD_PUBLIC_SUFFIX}, /* by the wildcard */
        {"any.ck", BL_GUARD_PUBLIC_SUFFIX},
        {"evil.com", BL_GUARD_PASS},
        {"www.evil.co.uk", BL_GUARD_PASS},
        {"city.kawasaki.jp", BL_GUARD_PASS}, /* an exception of the wildcard */
        {"www.ck", BL_GUARD_PASS},
        {"github.io", BL_GUARD_PASS},   /* public by the private section only */
        {"duckdns.org", BL_GUARD_PASS}, /* the same */
        {"evil.no-such-tld", BL_GUARD_PASS},
        {"notarpa", BL_GUARD_SINGLE_LABEL},
        {"evil.notarpa", BL_GUARD_PASS},
        {"arpa.evil.com", BL_GUARD_PASS},
        {"co\\.uk", BL_GUARD_SINGLE_LABEL}, /* one label that looks like two */
        {"a\\.co.uk", BL_GUARD_PASS},
        {"\\000.com", BL_GUARD_PASS},
    };
    const struct bl_guards *guards = *state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t name[BL_NAME_SIZE_MAX];
        int size = bl_name_from_text(rows[i].text, strlen(rows[i].text), name);
        assert_true(size > 0);
        enum bl_guard guard = bl_guard_check(guards, name, (size_t)size);
        if (guard != rows[i].expected) {
            fail_msg("%s: %s, not %s", rows[i].text, bl_guard_label(guard),
                     bl_guard_label(rows[i].expected));
        }
    }
}

static void have_a_text_and_a_label_each(void **state)
{
    (void)state;
    assert_string_equal(bl_guard_text(BL_GUARD_PASS), "");
    assert_string_equal(bl_guard_label(BL_GUARD_PASS), "pass");
    for (int i = BL_GUARD_PASS + 1; i < BL_GUARD_COUNT; i++) {
        assert_true(strlen(bl_guard_text((enum bl_guard)i)) > 0);
        const char *label = bl_guard_label((enum bl_guard)i);
        assert_int_equal(strspn(label, "abcdefghijklmnopqrstuvwxyz_"), strlen(label));
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(label, bl_guard_label((enum bl_guard)j));
        }
    }
}

static int set_up(void **state)
{
    struct bl_guards *guards;
    if (bl_guards_new(&guards) < 0) {
        return -1;
    }
    *state = guards;
    return 0;
}

static int tear_down(void **state)
{
    bl_guards_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keep_names_that_no_feed_may_deny),
        cmocka_unit_test(have_a_text_and_a_label_each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
