/* Who asks, waits, joins, cancels and is answered. */
#include "tests/unit/recurse_fixture.h"

static void equal_questions_are_asked_once_and_all_who_wait_are_answered(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    for (uint32_t slot = 0; slot < 3; slot++) {
        assert_int_equal(ask(fixture, "www.example.com", 1, slot), 0);
    }
    assert_int_equal(fixture->told_count, 0); /* never from inside */
    wait_asked(fixture, 1);
    assert_int_equal(fixture->asked[0].type, 1);
    assert_int_equal(fixture->asked[0].name_size, 17);
    assert_int_equal(ask(fixture, "www.example.com", 1, 3), 0); /* also once it is under way */
    send_answer(fixture, &fixture->asked[0], 2, "");
    wait_told(fixture, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(fixture->told[i].waiter.slot, i);
        assert_int_equal(fixture->told[i].waiter.generation, 100 + i);
        assert_int_equal(fixture->told[i].state, RECURSE_ANSWERED);
        assert_int_equal(fixture->told[i].security, RECURSE_SECURE);
        assert_int_equal(fixture->told[i].packet_size, 12 + 17 + 4);
    }
    assert_int_equal(fixture->batches, 1);
    assert_int_equal(metric(fixture, METRIC_RECURSION_ASKED), 1);
    assert_int_equal(metric(fixture, METRIC_RECURSION_MERGED), 3);
    assert_int_equal(ask(fixture, "www.example.com", 1, 4), 0); /* answered ones are not kept */
    wait_asked(fixture, 2);
    close_fixture(fixture);
}

static void another_type_class_or_name_is_another_question(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    static const uint8_t name[] = "\1a";
    static const uint8_t other[] = "\1b";
    const struct recurse_waiter waiter = {0};
    assert_int_equal(recurse_ask(fixture->recurse, name, sizeof(name), 1, 1, waiter), 0);
    assert_int_equal(recurse_ask(fixture->recurse, name, sizeof(name), 28, 1, waiter), 0);
    assert_int_equal(recurse_ask(fixture->recurse, name, sizeof(name), 1, 3, waiter), 0);
    assert_int_equal(recurse_ask(fixture->recurse, other, sizeof(other), 1, 1, waiter), 0);
    wait_asked(fixture, 4);
    assert_int_equal(metric(fixture, METRIC_RECURSION_MERGED), 0);
    close_fixture(fixture);
}

static void who_has_cancelled_is_not_called_and_the_question_runs_on(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    for (uint32_t slot = 0; slot < 4; slot++) {
        assert_int_equal(ask(fixture, "example.com", 1, slot), 0);
    }
    recurse_cancel(fixture->recurse, (struct recurse_waiter){.slot = 1, .generation = 101});
    recurse_cancel(fixture->recurse, (struct recurse_waiter){.slot = 1, .generation = 101});
    recurse_cancel(fixture->recurse, (struct recurse_waiter){.slot = 2, .generation = 5});
    recurse_cancel(fixture->recurse, (struct recurse_waiter){.slot = 999, .generation = 0});
    wait_asked(fixture, 1);
    send_answer(fixture, &fixture->asked[0], 0, "");
    wait_told(fixture, 3);
    assert_int_equal(fixture->told[0].waiter.slot, 0);
    assert_int_equal(fixture->told[1].waiter.slot, 2);
    assert_int_equal(fixture->told[2].waiter.slot, 3);
    recurse_cancel(fixture->recurse, fixture->told[0].waiter); /* answered: no-op */

    assert_int_equal(ask(fixture, "alone.example", 1, 7), 0);
    wait_asked(fixture, 2);
    recurse_cancel(fixture->recurse, (struct recurse_waiter){.slot = 7, .generation = 107});
    assert_int_equal(ask(fixture, "alone.example", 1, 8), 0); /* joins it */
    send_answer(fixture, &fixture->asked[1], 0, "");
    wait_told(fixture, 4);
    assert_int_equal(fixture->told[3].waiter.slot, 8);
    assert_int_equal(fixture->asked_count, 2);
    close_fixture(fixture);
}

static void what_validation_found_comes_with_the_answer(void **state)
{
    (void)state;
    static const struct {
        uint8_t sent;
        const char *text;
        enum recurse_security security;
        const char *why;
    } rows[] = {
        {0, "not to be told", RECURSE_INSECURE, ""},
        {1, "no signature\nof \x1b[31mx\xff", RECURSE_BOGUS, "no signature?of ?[31mx?"},
        {2, "", RECURSE_SECURE, ""},
    };
    struct fixture *fixture = open_connected();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(ask(fixture, "example.com", 1, 0), 0);
        wait_asked(fixture, i + 1);
        send_answer(fixture, &fixture->asked[i], rows[i].sent, rows[i].text);
        wait_told(fixture, i + 1);
        assert_int_equal(fixture->told[i].state, RECURSE_ANSWERED);
        assert_int_equal(fixture->told[i].security, rows[i].security);
        assert_string_equal(fixture->told[i].why, rows[i].why);
    }
    close_fixture(fixture);
}

static void an_rcode_without_a_packet_is_a_failure(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    assert_int_equal(ask(fixture, "example.com", 1, 0), 0);
    wait_asked(fixture, 1);
    send_record(fixture,
                &(struct channel_record){.kind = CHANNEL_ANSWER,
                                         .answer = {.id = fixture->asked[0].id,
                                                    .generation = fixture->asked[0].generation,
                                                    .rcode = 2}});
    wait_told(fixture, 1);
    assert_int_equal(fixture->told[0].state, RECURSE_FAILED);
    assert_int_equal(fixture->told[0].packet_size, 0);
    close_fixture(fixture);
}

static void questions_wait_for_a_recursor_that_is_away_up_to_a_bound(void **state)
{
    (void)state;
    struct fixture *fixture = open_with(QUESTIONS_MAX, 1);
    char text[32];
    uint32_t slot = 0;
    int r = 0;
    for (; r == 0; slot++) {
        snprintf(text, sizeof(text), "q%u.example", slot);
        r = ask(fixture, text, 1, slot);
    }
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(slot, QUESTIONS_MAX / 2 + 1);
    assert_int_equal(ask(fixture, "q0.example", 1, 99), 0); /* who joins needs no place */
    run_idle(fixture);
    assert_int_equal(metric(fixture, METRIC_RECURSION_ASKED), 0);
    connect_recursor(fixture, 0);
    wait_asked(fixture, QUESTIONS_MAX / 2);
    assert_int_equal(ask(fixture, text, 1, slot), 0);
    wait_asked(fixture, QUESTIONS_MAX / 2 + 1);
    close_fixture(fixture);
}

static void questions_and_waiters_have_their_limits(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    char text[32];
    for (uint32_t slot = 0; slot < QUESTIONS_MAX; slot++) {
        snprintf(text, sizeof(text), "q%u.example", slot);
        assert_int_equal(ask(fixture, text, 1, slot), 0);
    }
    assert_int_equal(ask(fixture, "more.example", 1, 1000), -ENOSPC);
    for (uint32_t slot = 0; slot < QUESTIONS_MAX; slot++) {
        assert_int_equal(ask(fixture, "q0.example", 1, 2000 + slot), 0);
    }
    assert_int_equal(ask(fixture, "q0.example", 1, 3000), -ENOSPC);
    recurse_cancel(fixture->recurse, (struct recurse_waiter){.slot = 2000, .generation = 2100});
    assert_int_equal(ask(fixture, "q0.example", 1, 3000), 0);
    wait_asked(fixture, QUESTIONS_MAX);
    for (size_t i = 0; i < QUESTIONS_MAX; i++) {
        send_answer(fixture, &fixture->asked[i], 0, "");
    }
    wait_told(fixture, 2 * QUESTIONS_MAX);
    assert_int_equal(ask(fixture, "more.example", 1, 1000), 0); /* everything came back */
    close_fixture(fixture);
}

static void no_waiter_is_left_over_when_only_waiters_are_short(void **state)
{
    (void)state;
    struct fixture *fixture = open_with(2, 1);
    connect_recursor(fixture, 0);
    for (uint32_t slot = 0; slot < 4; slot++) {
        assert_int_equal(ask(fixture, "a.example", 1, slot), 0);
    }
    assert_int_equal(ask(fixture, "b.example", 1, 4), -ENOSPC);
    recurse_cancel(fixture->recurse, (struct recurse_waiter){.slot = 0, .generation = 100});
    assert_int_equal(ask(fixture, "b.example", 1, 4), 0); /* its slot was given back */
    wait_asked(fixture, 2);
    close_fixture(fixture);
}

static void a_full_socket_delays_questions_and_loses_none(void **state)
{
    (void)state;
    enum { count = 8000 };
    struct fixture *fixture = open_with(count, 1);
    connect_recursor(fixture, 0);
    /* The largest names: more octets than the socket and what is kept for it can take. */
    uint8_t name[BL_NAME_SIZE_MAX];
    memset(name, 'x', sizeof(name));
    name[0] = name[64] = name[128] = 63;
    name[192] = 61;
    name[254] = 0;
    for (uint32_t i = 0; i < count; i++) {
        char digits[8];
        snprintf(digits, sizeof(digits), "%05u", i);
        memcpy(name + 1, digits, 5);
        assert_int_equal(recurse_ask(fixture->recurse, name, sizeof(name), 1, 1,
                                     (struct recurse_waiter){.slot = i}),
                         0);
    }
    run_idle(fixture);
    assert_true(fixture->recurse->peers[0].link->channel.blocked);
    assert_true(fixture->recurse->peers[0].queued.count > 0);
    wait_asked(fixture, count);
    for (uint32_t i = 0; i < count; i++) {
        char digits[8];
        snprintf(digits, sizeof(digits), "%05u", i);
        assert_memory_equal(fixture->asked[i].name + 1, digits, 5);
    }
    assert_int_equal(metric(fixture, METRIC_RECURSION_ASKED), count);
    close_fixture(fixture);
}

static void a_waiter_may_ask_again_from_its_call(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    assert_int_equal(ask(fixture, "again", 1, 0), 0);
    assert_int_equal(ask(fixture, "again", 1, 1), 0);
    wait_asked(fixture, 1);
    fixture->ask_again = true;
    send_answer(fixture, &fixture->asked[0], 0, "");
    wait_told(fixture, 2);
    wait_asked(fixture, 2); /* a new question, and not joined to the one that was just answered */
    assert_int_not_equal(fixture->asked[1].generation + fixture->asked[1].id * 1000,
                         fixture->asked[0].generation + fixture->asked[0].id * 1000);
    send_answer(fixture, &fixture->asked[1], 0, "");
    wait_told(fixture, 3);
    assert_int_equal(fixture->told[2].waiter.slot, 0);
    close_fixture(fixture);
}

static void a_question_without_an_answer_is_given_up_after_a_minute(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    assert_int_equal(ask(fixture, "slow.example", 1, 0), 0);
    wait_asked(fixture, 1);
    passed_ms += RECURSE_GIVE_UP_MS - 5000;
    assert_int_equal(ask(fixture, "young.example", 1, 1), 0);
    wait_asked(fixture, 2);
    on_look(&fixture->recurse->look);
    assert_int_equal(fixture->told_count, 0);
    passed_ms += 5000;
    on_look(&fixture->recurse->look);
    assert_int_equal(fixture->told_count, 1);
    assert_int_equal(fixture->told[0].waiter.slot, 0);
    assert_int_equal(fixture->told[0].state, RECURSE_FAILED);
    send_answer(fixture, &fixture->asked[0], 0, ""); /* too late */
    wait_rejected(fixture, 1);
    close_fixture(fixture);
}

static void names_of_one_registrable_domain_share_a_recursor(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *domain; /* "": the whole name */
    } rows[] = {
        {"example.com", "example.com"},
        {"www.example.com", "example.com"},
        {"a.b.c.d.example.com", "example.com"},
        {"x.example.co.uk", "example.co.uk"},
        {"_25._tcp.mail.example.org", "example.org"},
        {"4.3.2.1.in-addr.arpa", "1.in-addr.arpa"},
        {"com", ""},
        {".", ""},
        {"co.uk", ""},
        {"a\\000b.example.com", ""},
        {"a\\.b.example.com", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t name[BL_NAME_SIZE_MAX];
        uint8_t domain[BL_NAME_SIZE_MAX];
        int size = bl_name_from_text(rows[i].name, strlen(rows[i].name), name);
        assert_true(size > 0);
        size_t at = recurse_registrable_at(name, (size_t)size);
        if (rows[i].domain[0] == '\0') {
            assert_int_equal(at, 0);
            continue;
        }
        int domain_size = bl_name_from_text(rows[i].domain, strlen(rows[i].domain), domain);
        assert_int_equal(at, size - domain_size);
        assert_memory_equal(name + at, domain, (size_t)domain_size);
    }
}

static void domains_are_spread_over_the_recursors(void **state)
{
    (void)state;
    struct fixture *fixture = open_with(QUESTIONS_MAX, 4);
    unsigned counts[4] = {0};
    for (int i = 0; i < 1000; i++) {
        char text[32];
        uint8_t name[BL_NAME_SIZE_MAX];
        snprintf(text, sizeof(text), "www.domain%d.com", i);
        int size = bl_name_from_text(text, strlen(text), name);
        unsigned owner = recurse_owner(fixture->recurse, name, (size_t)size);
        assert_true(owner < 4);
        counts[owner]++;
        assert_int_equal(recurse_owner(fixture->recurse, name + 4, (size_t)size - 4), owner);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_in_range(counts[i], 150, 350);
    }
    close_fixture(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_questions_are_asked_once_and_all_who_wait_are_answered),
        cmocka_unit_test(another_type_class_or_name_is_another_question),
        cmocka_unit_test(who_has_cancelled_is_not_called_and_the_question_runs_on),
        cmocka_unit_test(what_validation_found_comes_with_the_answer),
        cmocka_unit_test(an_rcode_without_a_packet_is_a_failure),
        cmocka_unit_test(questions_wait_for_a_recursor_that_is_away_up_to_a_bound),
        cmocka_unit_test(questions_and_waiters_have_their_limits),
        cmocka_unit_test(no_waiter_is_left_over_when_only_waiters_are_short),
        cmocka_unit_test(a_full_socket_delays_questions_and_loses_none),
        cmocka_unit_test(a_waiter_may_ask_again_from_its_call),
        cmocka_unit_test(a_question_without_an_answer_is_given_up_after_a_minute),
        cmocka_unit_test(names_of_one_registrable_domain_share_a_recursor),
        cmocka_unit_test(domains_are_spread_over_the_recursors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
