/* Recursors that die, are replaced, or send what nobody asked for. */
#include "tests/unit/recurse_fixture.h"

static void what_was_in_flight_at_a_death_is_asked_once_more(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    static const char *const names[] = {"a.example", "b.example", "c.example"};
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(ask(fixture, names[i], 1, i), 0);
    }
    wait_asked(fixture, 3);
    send_answer(fixture, &fixture->asked[1], 0, ""); /* its last words count */
    die(fixture);
    wait_told(fixture, 1);
    while (recurse_broken(fixture->recurse, 0) == 0) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    assert_int_equal(recurse_broken(fixture->recurse, 0), fixture->token);
    assert_int_equal(ask(fixture, "d.example", 1, 3), 0); /* waits behind them */
    connect_recursor(fixture, 0);
    wait_asked(fixture, 6);
    assert_memory_equal(fixture->asked[3].name, "\1a", 2);
    assert_memory_equal(fixture->asked[4].name, "\1c", 2);
    assert_memory_equal(fixture->asked[5].name, "\1d", 2);
    for (size_t i = 3; i < 6; i++) {
        send_answer(fixture, &fixture->asked[i], 0, "");
    }
    wait_told(fixture, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(fixture->told[i].state, RECURSE_ANSWERED);
    }
    close_fixture(fixture);
}

static void what_was_in_flight_at_two_deaths_fails_for_a_minute(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    assert_int_equal(ask(fixture, "poison.example", 1, 0), 0);
    wait_asked(fixture, 1);
    die(fixture);
    connect_recursor(fixture, 0);
    wait_asked(fixture, 2);
    assert_int_equal(ask(fixture, "late.example", 1, 1), 0);
    wait_asked(fixture, 3);
    die(fixture);
    wait_told(fixture, 1);
    assert_int_equal(fixture->told[0].waiter.slot, 0);
    assert_int_equal(fixture->told[0].state, RECURSE_FAILED);
    connect_recursor(fixture, 0);
    wait_asked(fixture, 4); /* late.example has seen one death only */
    assert_memory_equal(fixture->asked[3].name, "\4late", 5);

    passed_ms += RECURSE_AGAIN_AFTER_MS - 1000;
    assert_int_equal(ask(fixture, "poison.example", 1, 2), 0);
    assert_int_equal(ask(fixture, "poison.example", 1, 3), 0);
    assert_int_equal(fixture->told_count, 1); /* not from inside */
    wait_told(fixture, 3);
    assert_int_equal(fixture->told[1].state, RECURSE_FAILED);
    assert_int_equal(fixture->told[2].state, RECURSE_FAILED);
    assert_int_equal(ask(fixture, "poison.example", 28, 4), 0); /* another type may be harmless */
    wait_asked(fixture, 5);
    passed_ms += 1001;
    assert_int_equal(ask(fixture, "poison.example", 1, 5), 0);
    wait_asked(fixture, 6);
    close_fixture(fixture);
}

static void a_new_channel_replaces_one_that_is_open(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    assert_int_equal(ask(fixture, "a.example", 1, 0), 0);
    assert_int_equal(ask(fixture, "b.example", 1, 1), 0);
    wait_asked(fixture, 2);
    int old = fixture->far;
    send_answer(fixture, &fixture->asked[0], 0, "");
    connect_recursor(fixture, 0); /* the answer is still read */
    wait_asked(fixture, 3);
    assert_memory_equal(fixture->asked[2].name, "\1b", 2);
    assert_int_equal(fixture->told_count, 1);
    uint8_t octet;
    assert_int_equal(recv(old, &octet, 1, 0), 0);
    close(old);
    close_fixture(fixture);
}

/* One wrong thing in a record or packet that would be right. */
struct wrong {
    const char *what;
    uint32_t id_added;
    uint32_t generation_added;
    size_t size; /* of the packet; 0: as it should be */
    size_t at;   /* an octet of the packet that is changed; 0: none */
    uint8_t octet;
    uint8_t rcode;
};

static void records_that_fit_no_question_are_dropped_and_counted(void **state)
{
    (void)state;
    static const struct wrong rows[] = {
        {.what = "a free slot", .id_added = 1},
        {.what = "a slot that does not exist", .id_added = QUESTIONS_MAX},
        {.what = "a slot far away", .id_added = 0xfffffff0},
        {.what = "an old generation", .generation_added = 0xffffffff},
        {.what = "a coming generation", .generation_added = 1},
        {.what = "a question, not an answer", .at = 2, .octet = 0x01},
        {.what = "no question", .at = 5, .octet = 0},
        {.what = "257 questions", .at = 4, .octet = 1},
        {.what = "another name", .at = 14, .octet = 'x'},
        {.what = "a shorter name", .at = 12, .octet = 0},
        {.what = "a pointer to itself", .at = 12, .octet = 0xc0},
        {.what = "a label over the end", .at = 16, .octet = 63},
        {.what = "another type", .at = 26, .octet = 28},
        {.what = "another class", .at = 28, .octet = 3},
        {.what = "a header alone", .size = 12},
        {.what = "less than a header", .size = 11},
        {.what = "one octet", .size = 1},
        {.what = "a question cut in its class", .size = 28},
        {.what = "an rcode with a packet", .rcode = 2},
    };
    struct fixture *fixture = open_connected();
    assert_int_equal(ask(fixture, "www.example", 1, 0), 0);
    wait_asked(fixture, 1);
    const struct asked *asked = &fixture->asked[0];
    uint64_t rejected = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct wrong *row = &rows[i];
        uint8_t packet[512];
        size_t size = make_packet(asked, packet);
        assert_int_equal(size, 29);
        if (row->at > 0) {
            packet[row->at] = row->octet;
        }
        const struct channel_record record = {
            .kind = CHANNEL_ANSWER,
            .answer = {.id = asked->id + row->id_added,
                       .generation = asked->generation + row->generation_added,
                       .rcode = row->rcode,
                       .packet = packet,
                       .packet_size = row->size > 0 ? row->size : size}};
        send_record(fixture, &record);
        wait_rejected(fixture, ++rejected);
        if (fixture->told_count > 0) {
            fail_msg("%s was taken for an answer", row->what);
        }
    }
    send_answer(fixture, asked, 0, "");
    wait_told(fixture, 1);
    send_answer(fixture, asked, 0, ""); /* a second time */
    wait_rejected(fixture, ++rejected);
    assert_int_equal(fixture->batches, 1); /* nothing was begun for what was dropped */
    close_fixture(fixture);
}

static void rubbish_on_the_channel_is_dropped_and_counted(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    assert_int_equal(ask(fixture, "www.example", 1, 0), 0);
    wait_asked(fixture, 1);
    static uint8_t long_message[CHANNEL_MESSAGE_SIZE_MAX + 1];
    static const struct {
        const void *octets;
        size_t size;
    } messages[] = {
        {"", 1},
        {"\xff\xff\xff\xff\2", 5},
        {"\0\0\0\0", 4},
        {"GET / HTTP/1.0", 14},
        {long_message, 1000},
        {long_message, sizeof(long_message)},
    };
    uint64_t rejected = 0;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        assert_true(send(fixture->far, messages[i].octets, messages[i].size, 0) > 0);
        wait_rejected(fixture, ++rejected);
    }
    static const uint8_t name[] = "\1a";
    const struct channel_record wrong_kinds[] = {
        {.kind = CHANNEL_PING, .ping = 1},
        {.kind = CHANNEL_STOP},
        {.kind = CHANNEL_QUESTION, .question = {.name = name, .name_size = sizeof(name)}},
        {.kind = CHANNEL_NOTE, .note = {.text = "x", .text_size = 1}},
    };
    for (size_t i = 0; i < sizeof(wrong_kinds) / sizeof(wrong_kinds[0]); i++) {
        send_record(fixture, &wrong_kinds[i]);
        wait_rejected(fixture, ++rejected);
    }
    assert_int_equal(fixture->told_count, 0);
    send_answer(fixture, &fixture->asked[0], 0, "");
    wait_told(fixture, 1);
    close_fixture(fixture);
}

/* A name that belongs to recursor `owner` of two. */
static void find_name_of(struct fixture *fixture, unsigned owner, char ret_text[static 32])
{
    for (int i = 0;; i++) {
        snprintf(ret_text, 32, "name%d.example", i);
        uint8_t name[BL_NAME_SIZE_MAX];
        int size = bl_name_from_text(ret_text, strlen(ret_text), name);
        assert_true(i < 1000);
        if (recurse_owner(fixture->recurse, name, (size_t)size) == owner) {
            return;
        }
    }
}

static void a_recursor_cannot_answer_for_another(void **state)
{
    (void)state;
    struct fixture *fixture = open_with(QUESTIONS_MAX, 2);
    connect_recursor(fixture, 0);
    int first = fixture->far;
    connect_recursor(fixture, 1);
    int second = fixture->far;
    char text[32];
    find_name_of(fixture, 0, text);
    assert_int_equal(ask(fixture, text, 1, 0), 0);
    fixture->far = first;
    wait_asked(fixture, 1);
    fixture->far = second;
    send_answer(fixture, &fixture->asked[0], 0, "");
    wait_rejected(fixture, 1);
    assert_int_equal(fixture->told_count, 0);
    close(second); /* nor does its death concern the question */
    while (recurse_broken(fixture->recurse, 1) == 0) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    fixture->far = first;
    send_answer(fixture, &fixture->asked[0], 0, "");
    wait_told(fixture, 1);
    assert_int_equal(fixture->asked_count, 1);
    close_fixture(fixture);
}

static void connect_from_outside(void *context)
{
    struct fixture *fixture = context;
    for (int i = 0; i < 50; i++) {
        int pair[2];
        assert_int_equal(channel_pair(pair), 0);
        recurse_connect(fixture->recurse, 0, pair[0], (uint64_t)i + 1);
        close(pair[1]);
        (void)recurse_broken(fixture->recurse, 0);
    }
}

static void channels_may_come_from_another_thread_while_questions_are_asked(void **state)
{
    (void)state;
    struct fixture *fixture = open_with(QUESTIONS_MAX, 1);
    assert_int_equal(ask(fixture, "a.example", 1, 0), 0);
    uv_thread_t thread;
    assert_int_equal(uv_thread_create(&thread, connect_from_outside, fixture), 0);
    uint64_t end = uv_hrtime() + PATIENCE_MS * 1000000ull;
    while (recurse_broken(fixture->recurse, 0) != 50) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
        assert_true(uv_hrtime() < end);
    }
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_true(fixture->told_count <= 1);
    fixture->told_count = 0;
    connect_recursor(fixture, 0);
    assert_int_equal(ask(fixture, "b.example", 1, 1), 0);
    size_t before = fixture->asked_count;
    while (fixture->asked_count == before) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
        read_far(fixture);
        assert_true(uv_hrtime() < end);
    }
    close_fixture(fixture);
}

static void stopping_closes_the_channel_with_questions_in_flight(void **state)
{
    (void)state;
    struct fixture *fixture = open_connected();
    assert_int_equal(ask(fixture, "a.example", 1, 0), 0);
    wait_asked(fixture, 1);
    recurse_stop(fixture->recurse);
    read_far(fixture);
    assert_true(fixture->far_gone);
    int pair[2];
    assert_int_equal(channel_pair(pair), 0);
    recurse_connect(fixture->recurse, 0, pair[0], 77); /* too late: closed again */
    uint8_t octet;
    assert_int_equal(recv(pair[1], &octet, 1, 0), 0);
    close(pair[1]);
    assert_int_equal(fixture->told_count, 0);
    close_fixture(fixture);
}

static void a_failure_is_forgotten_when_its_time_is_over(void **state)
{
    (void)state;
    struct recurse_table table;
    assert_int_equal(recurse_table_init(&table, 16, &secret), 0);
    assert_false(recurse_table_remembers(&table, 5, 0));
    recurse_table_remember(&table, 5, 100);
    assert_true(recurse_table_remembers(&table, 5, 99));
    assert_false(recurse_table_remembers(&table, 5, 100));
    assert_false(recurse_table_remembers(&table, 5 + 16, 50)); /* the same place, another hash */
    recurse_table_remember(&table, 5 + 16, 200);
    assert_false(recurse_table_remembers(&table, 5, 50));
    recurse_table_done(&table);
    recurse_table_done(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_in_flight_at_a_death_is_asked_once_more),
        cmocka_unit_test(what_was_in_flight_at_two_deaths_fails_for_a_minute),
        cmocka_unit_test(a_new_channel_replaces_one_that_is_open),
        cmocka_unit_test(records_that_fit_no_question_are_dropped_and_counted),
        cmocka_unit_test(rubbish_on_the_channel_is_dropped_and_counted),
        cmocka_unit_test(a_recursor_cannot_answer_for_another),
        cmocka_unit_test(channels_may_come_from_another_thread_while_questions_are_asked),
        cmocka_unit_test(stopping_closes_the_channel_with_questions_in_flight),
        cmocka_unit_test(a_failure_is_forgotten_when_its_time_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
