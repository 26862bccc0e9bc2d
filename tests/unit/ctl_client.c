/* What ctl_response_parse() takes of an HTTP answer, what it refuses, and that no cut of one makes
 * it read too far or take half an answer for a whole one. */
#include "resolver/ctl/client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES(literal) (literal), sizeof(literal) - 1

static int parse(const char *octets, size_t size, struct ctl_response *response)
{
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, octets, size);
    int r = ctl_response_parse(copy, size, response);
    free(copy);
    return r;
}

static void reads_every_form_of_body(void **state)
{
    (void)state;
    static const struct {
        const char *octets;
        size_t size;
        unsigned status;
        const char *body;
    } rows[] = {
        {BYTES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), 200, "hello"},
        {BYTES("HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello, more than it said"), 200,
         "hello"},
        {BYTES("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), 404, ""},
        {BYTES("HTTP/1.1 200 OK\r\n\r\nto the end"), 200, "to the end"},
        {BYTES("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), 200, "ok"},
        {BYTES("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"), 200, "ok"},
        {BYTES("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}"),
         409, "{}"},
        {BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
               "5\r\nhello\r\nA;x=y\r\n, chunked!\r\n0\r\n\r\n"),
         200, "hello, chunked!"},
        {BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"), 200, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ctl_response response = {0};
        assert_int_equal(parse(rows[i].octets, rows[i].size, &response), 0);
        assert_int_equal(response.status, rows[i].status);
        assert_int_equal(response.body_size, strlen(rows[i].body));
        assert_string_equal(response.body, rows[i].body);
        ctl_response_done(&response);
    }
}

static void refuses_what_is_not_an_answer(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *octets;
        size_t size;
    } rows[] = {
        {"nothing", BYTES("")},
        {"another protocol", BYTES("-ERR unknown command\r\n\r\n")},
        {"a status of letters", BYTES("HTTP/1.1 2xx OK\r\n\r\n")},
        {"a status out of range", BYTES("HTTP/1.1 999 OK\r\n\r\n")},
        {"a head without end", BYTES("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")},
        {"a length of letters", BYTES("HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello")},
        {"a negative length", BYTES("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello")},
        {"a length beyond all bounds",
         BYTES("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhello")},
        {"two lengths",
         BYTES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\nhello")},
        {"another coding", BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello")},
        {"a chunk longer than what follows",
         BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhello\r\n0\r\n\r\n")},
        {"a chunk without its end",
         BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n")},
        {"a chunk without size",
         BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n")},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ctl_response response = {0};
        int r = parse(rows[i].octets, rows[i].size, &response);
        if (r != -EBADMSG || response.body != NULL) {
            fail_msg("%s: %d", rows[i].what, r);
        }
    }
}

static void refuses_every_cut_of_a_good_answer(void **state)
{
    (void)state;
    static const char sized[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "5\r\nhello\r\n0\r\n";
    struct ctl_response response = {0};

    for (size_t size = 0; size < sizeof(sized) - 1; size++) {
        assert_int_equal(parse(sized, size, &response), -EBADMSG);
    }
    for (size_t size = 0; size < sizeof(chunked) - 1; size++) {
        assert_int_equal(parse(chunked, size, &response), -EBADMSG);
    }
}

static void a_missing_socket_is_named(void **state)
{
    (void)state;
    struct ctl_response response = {0};
    char error[CTL_ERROR_SIZE] = "";

    assert_int_equal(
        ctl_request("/nonexistent/control.sock", "GET", "/", NULL, NULL, 0, &response, error),
        -ENOENT);
    assert_non_null(strstr(error, "/nonexistent/control.sock"));
    assert_non_null(strstr(error, "is sinkholed running?"));
}

static void values_of_a_query_are_percent_encoded(void **state)
{
    (void)state;
    char *encoded = ctl_url_encode("a b&c=d/\xc3\xb3.-_~Z9");
    assert_string_equal(encoded, "a%20b%26c%3Dd%2F%C3%B3.-_~Z9");
    free(encoded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_form_of_body),
        cmocka_unit_test(refuses_what_is_not_an_answer),
        cmocka_unit_test(refuses_every_cut_of_a_good_answer),
        cmocka_unit_test(a_missing_socket_is_named),
        cmocka_unit_test(values_of_a_query_are_percent_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
