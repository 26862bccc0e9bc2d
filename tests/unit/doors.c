/* UDP and TCP over real sockets of the loopback, with a pipeline whose recursion is a script: this
 * file's recurse_ask() leaves every question pending. */
#include "resolver/tcp.h"
#include "resolver/udp.h"

#include "blocklist/rcu.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 10000u
#define IDLE_MS 100u
#define CONNECTIONS 64u

static const uint8_t question[] = "\0\1\1\0\0\1\0\0\0\0\0\0\4evil\7example\0\0\1\0\1";
#define QUESTION_SIZE (sizeof(question) - 1)

static struct bl_secret secret = {{9}};
static struct config *config;
static struct live live;
static live_pointer live_now;
static struct metrics metrics;
static struct query_parts parts;
static struct query_engine *engine;
static uv_loop_t loop;
static uv_timer_t wake; /* the loop never waits long, so that the test can look */
static struct udp *udp;
static struct tcp *tcp;
static struct tcp_census *census;
static struct client pending_client; /* of the question asked last */
static struct door door;             /* descriptors as they were made */

int recurse_ask(struct recurse *recurse, const uint8_t *name, size_t name_size, uint16_t type,
                uint16_t class, struct recurse_waiter waiter)
{
    (void)recurse, (void)name, (void)name_size, (void)type, (void)class, (void)waiter;
    return 0;
}

void recurse_cancel(struct recurse *recurse, struct recurse_waiter waiter)
{
    (void)recurse, (void)waiter;
}

static void take_pending(void *context, const struct client *client, const uint8_t *octets,
                         size_t size)
{
    (void)context, (void)octets, (void)size;
    pending_client = *client;
}

static bool ticking; /* TCP's timeouts are in force */

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
    if (ticking) {
        tcp_tick(tcp);
    }
}

static int open_doors(void **state)
{
    (void)state;
    bl_rcu_register();
    ticking = true;
    memset(&metrics, 0, sizeof(metrics));
    config = calloc(1, sizeof(*config));
    config->sinkhole = (struct config_sinkhole){
        .action = BL_ACTION_ADDRESS, .ipv4_count = 1, .ttl_s = 10, .text = ""};
    config->access.allow_count = 1; /* everybody */
    live = (struct live){.config = config,
                         .access = access_new(config->access.allow, config->access.allow_count)};
    atomic_store(&live_now, &live);
    parts = (struct query_parts){
        .list = bl_list_new(&secret),
        .secret = &secret,
        .cache = cache_new(512u << 20, &secret), /* takes the largest answer */
        .live = &live_now,
        .metrics = &metrics,
        .hits = hit_ring_new(64),
        .send = take_pending,
        .pending_max = 8,
        .pending_client_max = 4,
        .timeout_ms = 0, /* what is pending is given back at the next query_tick() */
        .udp_size = 1232,
    };
    engine = query_engine_new(&parts);
    census = tcp_census_new(CONNECTIONS, CONNECTIONS, &secret);
    uv_loop_init(&loop);
    uv_timer_init(&loop, &wake);
    struct config_listen listen = {.protocols = CONFIG_UDP | CONFIG_TCP};
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memcpy(&listen.address.socket, &local, sizeof(local));
    listen.address.size = sizeof(local);
    struct tcp_limits limits = {
        .clients_max = CONNECTIONS, .idle_ms = IDLE_MS, .total_ms = PATIENCE_MS};
    struct door taken;
    if (door_open(&listen, &taken) != 0) {
        return -1;
    }
    door = taken;
    return udp_start(&loop, &taken, 1, 1232, engine, &metrics, &udp) != 0 ||
           tcp_start(&loop, &taken, 1, &limits, census, engine, &metrics, &tcp) != 0 ||
           uv_timer_start(&wake, on_wake, 5, 5) != 0;
}

static int close_doors(void **state)
{
    (void)state;
    udp_stop(udp);
    tcp_stop(tcp);
    uv_close((uv_handle_t *)&wake, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    udp_free(udp);
    tcp_free(tcp);
    tcp_census_free(census);
    bl_rcu_unregister();
    query_engine_free(engine);
    cache_free(parts.cache);
    bl_list_free((struct bl_list *)(uintptr_t)parts.list);
    hit_ring_free(parts.hits);
    access_free(live.access);
    free(config);
    return 0;
}

static void list_the_name(void)
{
    struct bl_list *list = (struct bl_list *)(uintptr_t)parts.list;
    const struct bl_feed feed = {.name = "f", .tier = BL_TIER_FEED};
    int id = bl_list_feed_set(list, &feed);
    struct bl_membership membership = {.feed = (uint16_t)id, .scope = BL_SCOPE_SUFFIX};
    assert_int_equal(bl_list_add(list, question + DNS_HEADER_SIZE, 14, &membership), 1);
    bl_list_publish(list);
}

/* A client's socket, and where it is. */
static int client_socket(int type, struct sockaddr_in *ret_address)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = sizeof(*ret_address);
    *ret_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)ret_address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret_address, &size), 0);
    return fd;
}

static struct sockaddr_in address_of(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return address;
}

/* Runs the loop until the client can read something: octets, or the end. */
static ssize_t receive(int fd, uint8_t *octets, size_t size)
{
    uint64_t end_ns = uv_hrtime() + PATIENCE_MS * 1000000ull;
    ssize_t got;
    while ((got = recv(fd, octets, size, 0)) < 0 && uv_hrtime() < end_ns) {
        assert_int_equal(errno, EAGAIN);
        uv_run(&loop, UV_RUN_ONCE);
    }
    return got;
}

static void an_error_on_its_socket_does_not_make_udp_deaf(void **state)
{
    (void)state;
    list_the_name();
    struct sockaddr_in peer;
    int client = client_socket(SOCK_DGRAM, &peer);
    close(client);
    /* A connected socket is told that its peer's port is closed. */
    assert_int_equal(connect(door.udp, (struct sockaddr *)&peer, sizeof(peer)), 0);
    assert_int_equal(send(door.udp, "", 1, 0), 1);
    for (unsigned i = 0; i < 3; i++) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    struct sockaddr_in server = address_of(door.udp);
    client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(client, (struct sockaddr *)&peer, sizeof(peer)), 0);
    uint8_t answer[1232];
    assert_int_equal(
        sendto(client, question, QUESTION_SIZE, 0, (struct sockaddr *)&server, sizeof(server)),
        QUESTION_SIZE);
    assert_true(receive(client, answer, sizeof(answer)) > (ssize_t)QUESTION_SIZE);
    close(client);
}

static void a_pending_question_without_an_answer_leaves_its_connection_idle(void **state)
{
    (void)state;
    struct sockaddr_in peer;
    struct sockaddr_in server = address_of(door.tcp);
    int client = client_socket(SOCK_STREAM, &peer);
    (void)connect(client, (struct sockaddr *)&server, sizeof(server));
    uint8_t message[2 + QUESTION_SIZE] = {0, QUESTION_SIZE};
    memcpy(message + 2, question, QUESTION_SIZE);
    assert_int_equal(send(client, message, sizeof(message), 0), sizeof(message));
    while (atomic_load(&metrics.values[METRIC_CACHE_MISSES]) == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    bl_rcu_online();
    query_tick(engine); /* the script's only way to learn who asked */
    tcp_send(tcp, &pending_client, NULL, 0);
    bl_rcu_offline();
    uint8_t answer[512];
    assert_int_equal(receive(client, answer, sizeof(answer)), 0); /* closed, and nothing sent */
    assert_int_equal(atomic_load(&metrics.values[METRIC_TCP_CLOSED_IDLE]), 1);
    close(client);
}

/* The largest answer for the question, in the cache. */
static void keep_large_answer(void)
{
    static uint8_t body[65000];
    static const uint16_t no_ttls[1];
    const struct message message = {.ttl_s = 1000,
                                    .body = body,
                                    .body_size = sizeof(body),
                                    .ttls = no_ttls,
                                    .chain = body,
                                    .answer_end = sizeof(body),
                                    .counts = {1},
                                    .ede_text = ""};
    struct cache_key key = {
        .name = question + DNS_HEADER_SIZE, .name_size = 14, .type = DNS_A, .class = DNS_IN};
    key.hash = cache_hash(parts.cache, &key);
    bl_rcu_online();
    assert_true(cache_put(parts.cache, &key, &message, 1000, 0, uv_hrtime() / 1000000));
    bl_rcu_offline();
}

static void clients_that_do_not_read_take_a_bounded_memory_together(void **state)
{
    (void)state;
    enum { EACH = 32 }; /* answers, whose size one connection may let wait */
    struct sockaddr_in server = address_of(door.tcp);
    uint8_t messages[EACH][2 + QUESTION_SIZE];
    int clients[CONNECTIONS];
    int small = 4096;
    ticking = false;
    keep_large_answer();
    setsockopt(door.tcp, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)); /* connections inherit it */
    for (unsigned i = 0; i < EACH; i++) {
        messages[i][0] = 0;
        messages[i][1] = QUESTION_SIZE;
        memcpy(messages[i] + 2, question, QUESTION_SIZE);
    }
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct sockaddr_in peer;
        clients[i] = client_socket(SOCK_STREAM, &peer);
        setsockopt(clients[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        (void)connect(clients[i], (struct sockaddr *)&server, sizeof(server));
        assert_int_equal(send(clients[i], messages, sizeof(messages), 0), sizeof(messages));
        uint64_t closed = atomic_load(&metrics.values[METRIC_TCP_CLOSED_SLOW]);
        uint64_t answered = atomic_load(&metrics.values[METRIC_ANSWERS_CACHED]) + EACH;
        while (atomic_load(&metrics.values[METRIC_ANSWERS_CACHED]) < answered &&
               atomic_load(&metrics.values[METRIC_TCP_CLOSED_SLOW]) == closed) {
            uv_run(&loop, UV_RUN_ONCE);
        }
    }
    /* 64 times 2 MB would wait; about half of it may. */
    assert_in_range(atomic_load(&metrics.values[METRIC_TCP_CLOSED_SLOW]), CONNECTIONS / 4,
                    3 * CONNECTIONS / 4);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        close(clients[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_error_on_its_socket_does_not_make_udp_deaf, open_doors,
                                        close_doors),
        cmocka_unit_test_setup_teardown(
            a_pending_question_without_an_answer_leaves_its_connection_idle, open_doors,
            close_doors),
        cmocka_unit_test_setup_teardown(clients_that_do_not_read_take_a_bounded_memory_together,
                                        open_doors, close_doors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
