/* Questions over UDP, as many as a server takes or at a fixed rate, and what became of them.
 *
 * With --window N at most N questions are in flight: the server is saturated and never flooded.
 * With --rate R questions go out on a schedule whether or not answers come, and latency counts from
 * the time a question was due, so a stalled server can't hide by making the load wait.
 *
 * Each socket numbers its questions 0..65535 round and round; the id is the index of its slot, so
 * an answer finds its question at once. A slot's sent_ns is 0 when it is free. All slots from
 * `oldest` up to `next` were sent; those before `oldest` are settled. The result is one line of
 * JSON. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH_MAX 64u
#define SOCKETS_MAX 64u
#define SLOTS 65536u /* every id */
#define IN_FLIGHT_MAX                                                                              \
    32768u /* of one socket: an id is not used again while late answers may come */
#define ANSWER_SIZE_MAX 4096u
#define QUESTION_SIZE_MAX 300u /* header, name, type, class, OPT */
#define LOST_AFTER_NS 2000000000ull
#define SECOND_NS 1000000000ull
#define BUCKET_BITS 5u /* latency is kept within 1/32 of itself */
#define BUCKETS (64u << BUCKET_BITS)
#define HEADER_SIZE 12u

struct names {
    uint8_t *octets;  /* questions from the name on, one after the other */
    uint32_t *starts; /* count + 1 of them */
    uint32_t count;
    double *weights; /* cumulative, for --zipf; else NULL */
};

struct options {
    const char *address;
    const char *names_path;
    const char *below; /* ask for a new name below this one each time */
    uint16_t port;
    uint16_t type;
    unsigned sockets;
    unsigned window;
    double rate; /* questions a second; 0: by window */
    double seconds;
    double zipf;
    bool dnssec;
};

struct flow {
    int door;
    uint32_t next;   /* counts up for ever; the slot is its low 16 bits */
    uint32_t oldest; /* next - oldest <= IN_FLIGHT_MAX */
    uint32_t in_flight;
    uint64_t sent_ns[SLOTS];
};

struct totals {
    uint64_t sent, answers, lost, strange, octets;
    uint64_t rcodes[16];
    uint64_t latency[BUCKETS];
};

static struct flow flows[SOCKETS_MAX];
static struct totals totals;
static uint64_t random_state = 0x9E3779B97F4A7C15ull;
static uint64_t unique;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* xorshift64*: the same questions in the same order at every run. */
static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1Dull;
}

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench-load: %s: %s\n", what, why);
    exit(1);
}

/* ---- names ---- */

/* Wire form of a plain name; returns its size, 0 if it is none. */
static size_t name_write(const char *text, uint8_t octets[static 255])
{
    size_t size = 0;
    while (*text != '\0' && strcmp(text, ".") != 0) {
        size_t label = strcspn(text, ".");
        if (label == 0 || label > 63 || size + label + 2 > 255) {
            return 0;
        }
        octets[size++] = (uint8_t)label;
        memcpy(octets + size, text, label);
        size += label;
        text += label + (text[label] == '.');
    }
    octets[size++] = 0;
    return size;
}

static void names_read(const char *path, double zipf, struct names *names)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fail(path, strerror(errno));
    }
    size_t room = 0;
    size_t used = 0;
    uint32_t starts_room = 0;
    char line[512];
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, " \t\r\n")] = '\0';
        if (used + 255 > room) {
            room = room * 2 + 65536;
            names->octets = realloc(names->octets, room);
        }
        if (names->count + 2 > starts_room) {
            starts_room = starts_room * 2 + 1024;
            names->starts = realloc(names->starts, starts_room * sizeof(*names->starts));
        }
        if (names->octets == NULL || names->starts == NULL || used > UINT32_MAX - 255) {
            fail(path, "too large");
        }
        size_t size = line[0] == '\0' ? 0 : name_write(line, names->octets + used);
        if (size > 0) {
            names->starts[names->count++] = (uint32_t)used;
            used += size;
            names->starts[names->count] = (uint32_t)used;
        }
    }
    fclose(file);
    if (names->count == 0) {
        fail(path, "no names in it");
    }
    if (zipf > 0) {
        names->weights = malloc(names->count * sizeof(*names->weights));
        double sum = 0;
        for (uint32_t index = 0; names->weights != NULL && index < names->count; index++) {
            sum += pow(index + 1.0, -zipf);
            names->weights[index] = sum;
        }
    }
}

static uint32_t names_pick(const struct names *names)
{
    if (names->weights == NULL) {
        return (uint32_t)(random_next() % names->count);
    }
    double wanted = (double)(random_next() >> 11) * 0x1p-53 * names->weights[names->count - 1];
    uint32_t low = 0;
    uint32_t high = names->count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (names->weights[middle] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- questions ---- */

static size_t question_write(const struct options *options, const struct names *names, uint16_t id,
                             uint8_t packet[static QUESTION_SIZE_MAX])
{
    static const uint8_t rest[10] = {1, 0, 0, 1, 0, 0, 0, 0, 0, 1}; /* RD; one question, one OPT */
    packet[0] = (uint8_t)(id >> 8);
    packet[1] = (uint8_t)id;
    memcpy(packet + 2, rest, sizeof(rest));
    size_t size = HEADER_SIZE;
    if (options->below != NULL) {
        int label = snprintf((char *)packet + size + 1, 20, "n%" PRIx64, unique++);
        packet[size] = (uint8_t)label;
        size += 1 + (size_t)label;
        size += name_write(options->below, packet + size);
    } else {
        uint32_t index = names_pick(names);
        size_t name_size = names->starts[index + 1] - names->starts[index];
        memcpy(packet + size, names->octets + names->starts[index], name_size);
        size += name_size;
    }
    const uint8_t tail[15] = {(uint8_t)(options->type >> 8),
                              (uint8_t)options->type,
                              0,
                              1,
                              0,
                              0,
                              41,
                              1232 >> 8,
                              1232 & 255,
                              0,
                              0,
                              options->dnssec ? 0x80 : 0,
                              0,
                              0,
                              0};
    memcpy(packet + size, tail, sizeof(tail));
    return size + sizeof(tail);
}

/* Sends up to `count` questions, at most a batch. due_ns is when they were due (0: now). */
static unsigned flow_send(struct flow *flow, const struct options *options,
                          const struct names *names, unsigned count, uint64_t due_ns)
{
    static uint8_t packets[BATCH_MAX][QUESTION_SIZE_MAX];
    static struct iovec parts[BATCH_MAX];
    static struct mmsghdr messages[BATCH_MAX];
    count = count < BATCH_MAX ? count : BATCH_MAX;
    uint32_t room = IN_FLIGHT_MAX - (flow->next - flow->oldest);
    count = count < room ? count : room;
    for (unsigned index = 0; index < count; index++) {
        uint16_t id = (uint16_t)(flow->next + index);
        parts[index].iov_base = packets[index];
        parts[index].iov_len = question_write(options, names, id, packets[index]);
        messages[index].msg_hdr = (struct msghdr){.msg_iov = &parts[index], .msg_iovlen = 1};
    }
    int sent = count > 0 ? sendmmsg(flow->door, messages, count, MSG_DONTWAIT) : 0;
    if (sent <= 0) {
        return 0;
    }
    uint64_t when_ns = due_ns != 0 ? due_ns : now_ns();
    for (int index = 0; index < sent; index++) {
        flow->sent_ns[flow->next++ % SLOTS] = when_ns;
    }
    flow->in_flight += (uint32_t)sent;
    totals.sent += (uint64_t)sent;
    return (unsigned)sent;
}

/* ---- answers ---- */

static void latency_add(uint64_t ns)
{
    ns |= 1u << BUCKET_BITS;
    unsigned top = 63u - (unsigned)__builtin_clzll(ns);
    unsigned shift = top - BUCKET_BITS;
    totals.latency[(shift << BUCKET_BITS) + (unsigned)(ns >> shift)]++;
}

static double latency_at(double part)
{
    double wanted = part * (double)totals.answers;
    double seen = 0;
    for (unsigned index = 0; index < BUCKETS; index++) {
        seen += (double)totals.latency[index];
        if (seen >= wanted && totals.latency[index] > 0) {
            unsigned shift = index >> BUCKET_BITS;
            shift = shift > 0 ? shift - 1 : 0;
            return ldexp((double)(index - (shift << BUCKET_BITS)), (int)shift) / 1000.0;
        }
    }
    return 0;
}

static void answer_take(struct flow *flow, const uint8_t *packet, size_t size, uint64_t at_ns)
{
    if (size < HEADER_SIZE || (packet[2] & 0x80) == 0) {
        totals.strange++;
        return;
    }
    uint64_t *sent_ns = &flow->sent_ns[(unsigned)packet[0] << 8 | packet[1]];
    if (*sent_ns == 0) {
        totals.strange++; /* too late, or twice */
        return;
    }
    latency_add(at_ns > *sent_ns ? at_ns - *sent_ns : 0);
    *sent_ns = 0;
    flow->in_flight--;
    totals.answers++;
    totals.octets += size;
    totals.rcodes[packet[3] & 15]++;
}

static void flow_receive(struct flow *flow)
{
    static uint8_t packets[BATCH_MAX][ANSWER_SIZE_MAX];
    static struct iovec parts[BATCH_MAX];
    static struct mmsghdr messages[BATCH_MAX];
    int taken = (int)BATCH_MAX;
    while (taken == (int)BATCH_MAX) {
        for (unsigned index = 0; index < BATCH_MAX; index++) {
            parts[index] = (struct iovec){packets[index], ANSWER_SIZE_MAX};
            messages[index].msg_hdr = (struct msghdr){.msg_iov = &parts[index], .msg_iovlen = 1};
        }
        taken = recvmmsg(flow->door, messages, BATCH_MAX, MSG_DONTWAIT, NULL);
        uint64_t at_ns = now_ns();
        for (int index = 0; index < taken; index++) {
            answer_take(flow, packets[index], messages[index].msg_len, at_ns);
        }
    }
}

/* Gives up what waits too long, and moves `oldest` past what is settled. */
static void flow_settle(struct flow *flow, uint64_t at_ns, uint64_t patience_ns)
{
    while (flow->oldest != flow->next) {
        uint64_t *sent_ns = &flow->sent_ns[flow->oldest % SLOTS];
        if (*sent_ns != 0) {
            if (at_ns < *sent_ns + patience_ns) {
                return;
            }
            *sent_ns = 0;
            flow->in_flight--;
            totals.lost++;
        }
        flow->oldest++;
    }
}

/* ---- the run ---- */

static void flow_open(struct flow *flow, const struct options *options)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(options->port)};
    const struct sockaddr *where = (const struct sockaddr *)&ipv4;
    socklen_t where_size = sizeof(ipv4);
    if (inet_pton(AF_INET6, options->address, &ipv6.sin6_addr) == 1) {
        where = (const struct sockaddr *)&ipv6;
        where_size = sizeof(ipv6);
    } else if (inet_pton(AF_INET, options->address, &ipv4.sin_addr) != 1) {
        fail(options->address, "not an address");
    }
    int size = 4 << 20;
    flow->door = socket(where->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(flow->door, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (flow->door < 0 || connect(flow->door, where, where_size) != 0) {
        fail(options->address, strerror(errno));
    }
}

static uint32_t in_flight(unsigned sockets)
{
    uint32_t sum = 0;
    for (unsigned index = 0; index < sockets; index++) {
        sum += flows[index].in_flight;
    }
    return sum;
}

/* Waits until an answer can be read, or `ns` have passed. */
static void wait_answers(unsigned sockets, uint64_t ns)
{
    struct pollfd doors[SOCKETS_MAX];
    for (unsigned index = 0; index < sockets; index++) {
        doors[index] = (struct pollfd){.fd = flows[index].door, .events = POLLIN};
    }
    struct timespec most = {.tv_sec = (time_t)(ns / SECOND_NS), .tv_nsec = (long)(ns % SECOND_NS)};
    ppoll(doors, sockets, &most, NULL);
}

static void send_by_rate(const struct options *options, const struct names *names,
                         uint64_t start_ns, uint64_t at_ns)
{
    uint64_t due = (uint64_t)((double)(at_ns - start_ns) / (double)SECOND_NS * options->rate);
    while (totals.sent < due) {
        uint64_t count = due - totals.sent;
        uint64_t when_ns =
            start_ns + (uint64_t)((double)totals.sent / options->rate * (double)SECOND_NS);
        struct flow *flow = &flows[(totals.sent / BATCH_MAX) % options->sockets];
        if (flow_send(flow, options, names, count > 8 ? 8 : (unsigned)count, when_ns) == 0) {
            return;
        }
    }
}

static double run(const struct options *options, const struct names *names)
{
    uint64_t start_ns = now_ns();
    uint64_t end_ns = start_ns + (uint64_t)(options->seconds * (double)SECOND_NS);
    unsigned share = options->window / options->sockets;
    for (uint64_t at_ns = start_ns; at_ns < end_ns; at_ns = now_ns()) {
        if (options->rate > 0) {
            send_by_rate(options, names, start_ns, at_ns);
        }
        for (unsigned index = 0; index < options->sockets; index++) {
            struct flow *flow = &flows[index];
            flow_receive(flow);
            flow_settle(flow, at_ns, LOST_AFTER_NS);
            while (options->rate <= 0 && flow->in_flight < share &&
                   flow_send(flow, options, names, share - flow->in_flight, 0) > 0) {
            }
        }
        wait_answers(options->sockets, options->rate > 0 ? 50000u : 1000000u);
    }
    double seconds = (double)(now_ns() - start_ns) / (double)SECOND_NS;
    uint64_t last_ns = now_ns() + LOST_AFTER_NS;
    while (in_flight(options->sockets) > 0 && now_ns() < last_ns) {
        wait_answers(options->sockets, 1000000u);
        for (unsigned index = 0; index < options->sockets; index++) {
            flow_receive(&flows[index]);
        }
    }
    for (unsigned index = 0; index < options->sockets; index++) {
        flow_settle(&flows[index], UINT64_MAX, 0);
    }
    return seconds;
}

static void report(double seconds)
{
    printf("{\"seconds\": %.3f, \"sent\": %" PRIu64 ", \"answers\": %" PRIu64 ", \"lost\": %" PRIu64
           ", \"strange\": %" PRIu64 ", \"rate\": %.0f, \"octets\": %.1f, \"rcodes\": {",
           seconds, totals.sent, totals.answers, totals.lost, totals.strange,
           (double)totals.answers / seconds,
           totals.answers > 0 ? (double)totals.octets / (double)totals.answers : 0.0);
    const char *comma = "";
    for (unsigned rcode = 0; rcode < 16; rcode++) {
        if (totals.rcodes[rcode] > 0) {
            printf("%s\"%u\": %" PRIu64, comma, rcode, totals.rcodes[rcode]);
            comma = ", ";
        }
    }
    printf("}, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n", latency_at(0.5),
           latency_at(0.99), latency_at(0.999));
}

static void usage(FILE *file)
{
    fputs("usage: bench-load (--names FILE [--zipf S] | --below NAME) [options]\n"
          "  --address A  --port P    the server (127.0.0.1, 5300)\n"
          "  --seconds S              how long (5)\n"
          "  --window N | --rate R    in flight at most (256), or questions a second\n"
          "  --sockets N              source ports (8, at most 64)\n"
          "  --type N                 query type as a number (1)\n"
          "  --dnssec                 set DO\n"
          "  --names FILE             a name a line; --zipf S: the first most often, by rank^-S\n"
          "  --below NAME             a name never asked before, below this one, each time\n",
          file);
}

static void options_read(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {{"address", required_argument, NULL, 'a'},
                                          {"port", required_argument, NULL, 'p'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"window", required_argument, NULL, 'w'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"sockets", required_argument, NULL, 'c'},
                                          {"type", required_argument, NULL, 't'},
                                          {"dnssec", no_argument, NULL, 'd'},
                                          {"names", required_argument, NULL, 'n'},
                                          {"zipf", required_argument, NULL, 'z'},
                                          {"below", required_argument, NULL, 'b'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'a':
            options->address = optarg;
            break;
        case 'p':
            options->port = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 's':
            options->seconds = strtod(optarg, NULL);
            break;
        case 'w':
            options->window = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'r':
            options->rate = strtod(optarg, NULL);
            break;
        case 'c':
            options->sockets = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            options->type = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            options->dnssec = true;
            break;
        case 'n':
            options->names_path = optarg;
            break;
        case 'z':
            options->zipf = strtod(optarg, NULL);
            break;
        case 'b':
            options->below = optarg;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
    uint8_t name[255];
    size_t below_size = options->below != NULL ? name_write(options->below, name) : 0;
    if ((options->names_path == NULL) == (options->below == NULL) || options->port == 0 ||
        options->sockets == 0 || options->sockets > SOCKETS_MAX || options->seconds <= 0 ||
        options->window < options->sockets || options->window / options->sockets > IN_FLIGHT_MAX ||
        (options->below != NULL && (below_size == 0 || below_size > 200))) {
        usage(stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct options options = {
        .address = "127.0.0.1", .port = 5300, .type = 1, .sockets = 8, .window = 256, .seconds = 5};
    options_read(argc, argv, &options);
    struct names names = {0};
    if (options.names_path != NULL) {
        names_read(options.names_path, options.zipf, &names);
    }
    for (unsigned index = 0; index < options.sockets; index++) {
        flow_open(&flows[index], &options);
    }
    unique = now_ns(); /* another run asks for other names */
    report(run(&options, &names));
    free(names.octets);
    free(names.starts);
    free(names.weights);
    return totals.answers == 0;
}
