#include "resolver/ctl/client.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_SIZE 65536u

static int fail_at(const char *path, int error, char ret_error[static CTL_ERROR_SIZE])
{
    struct stat status;

    switch (error) {
    case ENOENT:
        snprintf(ret_error, CTL_ERROR_SIZE,
                 "no control socket at %s: is sinkholed running? -s names another socket, -c the "
                 "daemon's configuration",
                 path);
        break;
    case ECONNREFUSED:
        snprintf(ret_error, CTL_ERROR_SIZE,
                 "nobody answers at %s: sinkholed has ended; start it again", path);
        break;
    case EACCES:
    case EPERM:
        if (stat(path, &status) == 0) {
            const struct group *group = getgrgid(status.st_gid);
            snprintf(
                ret_error, CTL_ERROR_SIZE,
                "no permission for the control socket %s: become a member of group %s, or root",
                path, group != NULL ? group->gr_name : "of the socket");
            break;
        }
        snprintf(ret_error, CTL_ERROR_SIZE, "no permission to reach the control socket %s", path);
        break;
    case ETIMEDOUT:
        snprintf(ret_error, CTL_ERROR_SIZE,
                 "no answer at %s within %d s: is sinkholed stopped or overloaded?", path,
                 CTL_SILENCE_MAX_MS / 1000);
        break;
    default:
        snprintf(ret_error, CTL_ERROR_SIZE, "control socket %s: %s", path, strerror(error));
    }
    return -error;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static int wait_for(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    int r;

    do {
        r = poll(&poll_fd, 1, CTL_SILENCE_MAX_MS);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

/* A daemon that has refused early may close before it has read all: then the answer is there. */
static int send_all(int fd, const char *octets, size_t size)
{
    while (size > 0) {
        int r = wait_for(fd, POLLOUT);
        if (r < 0) {
            return r;
        }
        ssize_t sent = send(fd, octets, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            return 0;
        }
        if (sent < 0 && errno != EINTR && errno != EAGAIN) {
            return -errno;
        }
        octets += sent > 0 ? sent : 0;
        size -= sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

/* Reads to the end of the stream; a reset after some octets is an end too. */
static int receive_all(int fd, char **ret_octets, size_t *ret_size)
{
    char *octets = NULL;
    size_t size = 0;
    size_t room = 0;
    int r = 0;

    for (;;) {
        if (room - size < READ_SIZE) {
            room = room == 0 ? 2 * (size_t)READ_SIZE : 2 * room;
            char *larger = room <= CTL_RESPONSE_SIZE_MAX ? realloc(octets, room) : NULL;
            if (larger == NULL) {
                r = room <= CTL_RESPONSE_SIZE_MAX ? -ENOMEM : -EFBIG;
                break;
            }
            octets = larger;
        }
        r = wait_for(fd, POLLIN);
        if (r < 0) {
            break;
        }
        ssize_t got = recv(fd, octets + size, room - size, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET && size > 0)) {
            *ret_octets = octets;
            *ret_size = size;
            return 0;
        }
        if (got < 0 && errno != EINTR) {
            r = -errno;
            break;
        }
        size += got > 0 ? (size_t)got : 0;
    }
    free(octets);
    return r;
}

int ctl_request(const char *socket_path, const char *method, const char *target, const char *type,
                const char *body, size_t body_size, struct ctl_response *ret_response,
                char ret_error[static CTL_ERROR_SIZE])
{
    char *head = NULL;
    char *octets = NULL;
    size_t size = 0;
    int head_size = asprintf(&head,
                             "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                             "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                             method, target, type != NULL ? type : "application/json", body_size);
    if (head_size < 0) {
        return fail_at(socket_path, ENOMEM, ret_error);
    }
    int fd = connect_to(socket_path);
    int r = fd < 0 ? fd : send_all(fd, head, (size_t)head_size);
    if (r == 0 && body_size > 0) {
        r = send_all(fd, body, body_size);
    }
    if (r == 0) {
        r = receive_all(fd, &octets, &size);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(head);
    if (r == 0) {
        r = ctl_response_parse(octets, size, ret_response);
        free(octets);
    }
    if (r == -EBADMSG) {
        snprintf(ret_error, CTL_ERROR_SIZE,
                 "the answer at %s is cut short or not HTTP: is this sinkholed's control socket?",
                 socket_path);
        return r;
    }
    return r < 0 ? fail_at(socket_path, -r, ret_error) : 0;
}

/* ---- the answer ---- */

struct text {
    const char *at;
    size_t size;
};

/* Cuts one line off; a bare LF ends one too (RFC 9112, 2.2). */
static bool take_line(struct text *text, struct text *ret_line)
{
    const char *end = memchr(text->at, '\n', text->size);

    if (end == NULL) {
        return false;
    }
    ret_line->at = text->at;
    ret_line->size = (size_t)(end - text->at);
    if (ret_line->size > 0 && ret_line->at[ret_line->size - 1] == '\r') {
        ret_line->size--;
    }
    text->size -= (size_t)(end + 1 - text->at);
    text->at = end + 1;
    return true;
}

/* Digits of `base` at the start, nothing else but blanks or a chunk's extension after them. */
static bool read_number(struct text text, unsigned base, size_t *ret_number)
{
    size_t number = 0;
    size_t at = 0;

    for (; at < text.size; at++) {
        char octet = text.at[at];
        unsigned digit = octet >= '0' && octet <= '9'   ? (unsigned)(octet - '0')
                         : octet >= 'a' && octet <= 'f' ? (unsigned)(octet - 'a') + 10
                         : octet >= 'A' && octet <= 'F' ? (unsigned)(octet - 'A') + 10
                                                        : base;
        if (digit >= base) {
            break;
        }
        number = number * base + digit;
        if (number > CTL_RESPONSE_SIZE_MAX) {
            return false;
        }
    }
    if (at == 0 || (at < text.size && memchr(" \t;", text.at[at], 3) == NULL)) {
        return false;
    }
    *ret_number = number;
    return true;
}

static bool header_is(struct text line, const char *name, struct text *ret_value)
{
    size_t size = strlen(name);

    if (line.size <= size || strncasecmp(line.at, name, size) != 0 || line.at[size] != ':') {
        return false;
    }
    size++;
    while (size < line.size && (line.at[size] == ' ' || line.at[size] == '\t')) {
        size++;
    }
    ret_value->at = line.at + size;
    ret_value->size = line.size - size;
    return true;
}

struct head {
    unsigned status;
    bool chunked;
    bool sized;
    size_t size;
};

static int read_head(struct text *text, struct head *ret_head)
{
    struct text line;
    struct text value;
    struct text all = {text->at, text->size < CTL_HEAD_SIZE_MAX ? text->size : CTL_HEAD_SIZE_MAX};
    struct text left = all;
    struct head head = {0};
    size_t status = 0;

    if (!take_line(&left, &line) || line.size < 12 || memcmp(line.at, "HTTP/1.", 7) != 0 ||
        line.at[8] != ' ' || !read_number((struct text){line.at + 9, line.size - 9}, 10, &status) ||
        status < 100 || status > 599) {
        return -EBADMSG;
    }
    head.status = (unsigned)status;
    for (;;) {
        if (!take_line(&left, &line)) {
            return -EBADMSG;
        }
        if (line.size == 0) {
            break;
        }
        if (header_is(line, "content-length", &value)) {
            if (head.sized || !read_number(value, 10, &head.size)) {
                return -EBADMSG;
            }
            head.sized = true;
        } else if (header_is(line, "transfer-encoding", &value)) {
            if (value.size != 7 || strncasecmp(value.at, "chunked", 7) != 0) {
                return -EBADMSG;
            }
            head.chunked = true;
        }
    }
    text->at += all.size - left.size;
    text->size -= all.size - left.size;
    *ret_head = head;
    return 0;
}

/* Copies the chunks' data to `body`, which has room for all of `text`. */
static int read_chunks(struct text text, char *body, size_t *ret_size)
{
    struct text line;
    size_t used = 0;

    for (;;) {
        size_t chunk;
        if (!take_line(&text, &line) || !read_number(line, 16, &chunk)) {
            return -EBADMSG;
        }
        if (chunk == 0) {
            *ret_size = used;
            return 0;
        }
        if (chunk > text.size) {
            return -EBADMSG;
        }
        memcpy(body + used, text.at, chunk);
        used += chunk;
        text.at += chunk;
        text.size -= chunk;
        if (!take_line(&text, &line) || line.size != 0) {
            return -EBADMSG;
        }
    }
}

int ctl_response_parse(const char *octets, size_t size, struct ctl_response *ret_response)
{
    struct text text = {octets, size};
    struct head head = {0};
    size_t body_size = 0;

    int r = read_head(&text, &head);
    while (r == 0 && head.status < 200) { /* an interim answer precedes the answer */
        r = read_head(&text, &head);
    }
    if (r < 0) {
        return r;
    }
    if (head.sized && !head.chunked && head.size > text.size) {
        return -EBADMSG;
    }
    char *body = malloc(text.size + 1);
    if (body == NULL) {
        return -ENOMEM;
    }
    if (head.chunked) {
        r = read_chunks(text, body, &body_size);
    } else {
        body_size = head.sized ? head.size : text.size;
        memcpy(body, text.at, body_size);
    }
    if (r < 0) {
        free(body);
        return r;
    }
    body[body_size] = '\0';
    *ret_response = (struct ctl_response){head.status, body, body_size};
    return 0;
}

void ctl_response_done(struct ctl_response *response)
{
    free(response->body);
    response->body = NULL;
}

char *ctl_url_encode(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size = strlen(text);
    char *encoded = malloc(3 * size + 1);
    size_t used = 0;

    if (encoded == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t octet = (uint8_t)text[i];
        bool plain = (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z') ||
                     (octet >= '0' && octet <= '9') || (octet < 0x80 && strchr("-._~", octet));
        if (plain) {
            encoded[used++] = (char)octet;
        } else {
            encoded[used++] = '%';
            encoded[used++] = digits[octet >> 4];
            encoded[used++] = digits[octet & 15];
        }
    }
    encoded[used] = '\0';
    return encoded;
}
