#include "geo/mmdb.h"

#include "geo/utf8.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <maxminddb.h>

#define COPY_CHUNK_SIZE 65536u
#define PATH_KEYS_MAX 3u /* keys that lead to a value, and the NULL behind them */

/* Looking for records that tell a database's layout, in trees that may be damaged: */
#define PROBE_NODES_MAX 65536u /* visited; a cycle ends there */
#define PROBE_RECORDS_MAX 256u /* looked at; some records of a good database lack the value */
#define PROBE_DEPTH_MAX 160u   /* 128 bits deep at most; deeper is damage, and not followed */

struct layout {
    enum mmdb_kind kind;
    const char *value[PATH_KEYS_MAX];
    const char *name[PATH_KEYS_MAX]; /* of an ASN's organization */
};

static const struct layout layouts[] = {
    {MMDB_COUNTRY, {"country", "iso_code"}, {NULL}},
    {MMDB_COUNTRY, {"country_code"}, {NULL}},
    {MMDB_COUNTRY, {"country"}, {NULL}},
    {MMDB_ASN, {"autonomous_system_number"}, {"autonomous_system_organization"}},
    {MMDB_ASN, {"asn"}, {"as_name"}},
};
#define LAYOUT_COUNT (sizeof layouts / sizeof layouts[0])

struct mmdb {
    MMDB_s database;
    const struct layout *layout;
};

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_ipv4(const uint8_t *address)
{
    return memcmp(address, mapped_prefix, sizeof mapped_prefix) == 0;
}

/* --- text --- */

static bool is_control(const uint8_t *at, size_t length)
{
    return at[0] < 0x20 || at[0] == 0x7F || (length == 2 && at[0] == 0xC2 && at[1] < 0xA0);
}

/* What goes into logs and pages: control characters become spaces, broken UTF-8 question marks. */
static void copy_clean(char ret_text[static MMDB_AS_NAME_SIZE_MAX], const char *text, size_t size)
{
    const uint8_t *at = (const uint8_t *)text;
    size_t used = 0;

    while (size > 0) {
        size_t length = utf8_sequence_size(at, size);
        size_t taken = length > 0 ? length : 1;
        char replacement = length == 0 ? '?' : is_control(at, length) ? ' ' : 0;
        size_t needed = replacement != 0 ? 1 : taken;
        if (used + needed >= MMDB_AS_NAME_SIZE_MAX) {
            break;
        }
        if (replacement != 0) {
            ret_text[used] = replacement;
        } else {
            memcpy(ret_text + used, at, taken);
        }
        used += needed;
        at += taken;
        size -= taken;
    }
    ret_text[used] = '\0';
}

static bool is_capital(char octet)
{
    return octet >= 'A' && octet <= 'Z';
}

/* XX and ZZ are words of ours: a database that uses them means that it does not know. */
static bool read_country(const MMDB_entry_data_s *data, char ret_country[static 3])
{
    if (!data->has_data || data->type != MMDB_DATA_TYPE_UTF8_STRING || data->data_size != 2) {
        return false;
    }
    char country[3] = {data->utf8_string[0], data->utf8_string[1], '\0'};
    for (unsigned i = 0; i < 2; i++) {
        if (country[i] >= 'a' && country[i] <= 'z') {
            country[i] = (char)(country[i] & ~0x20);
        }
        if (!is_capital(country[i])) {
            return false;
        }
    }
    if (strcmp(country, "XX") == 0 || strcmp(country, "ZZ") == 0) {
        return false;
    }
    memcpy(ret_country, country, sizeof country);
    return true;
}

/* "AS64496" or "64496", 1 to 2^32-1. */
static bool read_asn_text(const char *text, size_t size, uint32_t *ret_asn)
{
    if (size > 2 && (text[0] | 0x20) == 'a' && (text[1] | 0x20) == 's') {
        text += 2;
        size -= 2;
    }
    if (size == 0 || size > 10) {
        return false;
    }
    uint64_t asn = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        asn = asn * 10 + (uint64_t)(text[i] - '0');
    }
    if (asn == 0 || asn > UINT32_MAX) {
        return false;
    }
    *ret_asn = (uint32_t)asn;
    return true;
}

static bool read_asn(const MMDB_entry_data_s *data, uint32_t *ret_asn)
{
    if (!data->has_data) {
        return false;
    }
    uint64_t asn = 0;
    switch (data->type) {
    case MMDB_DATA_TYPE_UINT16:
        asn = data->uint16;
        break;
    case MMDB_DATA_TYPE_UINT32:
        asn = data->uint32;
        break;
    case MMDB_DATA_TYPE_UINT64:
        asn = data->uint64;
        break;
    case MMDB_DATA_TYPE_UTF8_STRING:
        return read_asn_text(data->utf8_string, data->data_size, ret_asn);
    default:
        return false;
    }
    if (asn == 0 || asn > UINT32_MAX) {
        return false;
    }
    *ret_asn = (uint32_t)asn;
    return true;
}

/* --- records --- */

/* 0, whether the value is there or not (has_data tells), or -EBADMSG. */
static int get_value(MMDB_entry_s *entry, const char *const *path, MMDB_entry_data_s *ret_data)
{
    int status = MMDB_aget_value(entry, ret_data, path);
    if (status == MMDB_SUCCESS) {
        return 0;
    }
    ret_data->has_data = false;
    return status == MMDB_LOOKUP_PATH_DOES_NOT_MATCH_DATA_ERROR ||
                   status == MMDB_INVALID_LOOKUP_PATH_ERROR
               ? 0
               : -EBADMSG;
}

/* Fills the value's part of *record, which the caller has set to "none". */
static int read_record(const struct layout *layout, MMDB_entry_s *entry, struct mmdb_record *record)
{
    MMDB_entry_data_s data;
    int r = get_value(entry, layout->value, &data);
    if (r < 0) {
        return r;
    }
    if (layout->kind == MMDB_COUNTRY) {
        (void)read_country(&data, record->country);
        return 0;
    }
    if (!read_asn(&data, &record->asn)) {
        return 0;
    }
    r = get_value(entry, layout->name, &data);
    if (r < 0) {
        return r;
    }
    if (data.has_data && data.type == MMDB_DATA_TYPE_UTF8_STRING) {
        copy_clean(record->as_name, data.utf8_string, data.data_size);
    }
    return 0;
}

static struct mmdb_record empty_record(void)
{
    return (struct mmdb_record){.country = "ZZ"};
}

static const struct layout *layout_of(enum mmdb_kind kind, MMDB_entry_s *entry)
{
    for (size_t i = 0; i < LAYOUT_COUNT; i++) {
        if (layouts[i].kind != kind) {
            continue;
        }
        struct mmdb_record record = empty_record();
        if (read_record(&layouts[i], entry, &record) == 0 &&
            (record.asn != 0 || strcmp(record.country, "ZZ") != 0)) {
            return &layouts[i];
        }
    }
    return NULL;
}

/* Walks the tree, left side first, until a record shows which layout the database has. NULL if the
 * first records have none of the kind's. */
static const struct layout *probe_layout(const MMDB_s *database, enum mmdb_kind kind)
{
    uint32_t stack[PROBE_DEPTH_MAX] = {0};
    size_t depth = 1;
    unsigned records = 0;

    for (unsigned nodes = 0; depth > 0 && nodes < PROBE_NODES_MAX; nodes++) {
        MMDB_search_node_s node;
        if (MMDB_read_node(database, stack[--depth], &node) != MMDB_SUCCESS) {
            continue;
        }
        MMDB_entry_s *entries[] = {&node.left_record_entry, &node.right_record_entry};
        const uint8_t types[] = {node.left_record_type, node.right_record_type};
        for (unsigned side = 0; side < 2; side++) {
            if (types[side] != MMDB_RECORD_TYPE_DATA) {
                continue;
            }
            const struct layout *layout = layout_of(kind, entries[side]);
            if (layout != NULL || ++records >= PROBE_RECORDS_MAX) {
                return layout;
            }
        }
        if (node.right_record_type == MMDB_RECORD_TYPE_SEARCH_NODE && depth < PROBE_DEPTH_MAX) {
            stack[depth++] = (uint32_t)node.right_record;
        }
        if (node.left_record_type == MMDB_RECORD_TYPE_SEARCH_NODE && depth < PROBE_DEPTH_MAX) {
            stack[depth++] = (uint32_t)node.left_record;
        }
    }
    return NULL;
}

/* --- opening --- */

static int fail(char *ret_error, int error, const char *path, const char *what)
{
    (void)snprintf(ret_error, MMDB_ERROR_SIZE, "%s: %s", path, what);
    return error;
}

/* Copies `size` octets of `from` to `to`. -ENODATA if there are fewer. */
static int copy_octets(int from, int to, size_t size)
{
    static_assert(COPY_CHUNK_SIZE <= 65536, "a chunk lives on the stack");
    uint8_t chunk[COPY_CHUNK_SIZE];

    while (size > 0) {
        ssize_t got = read(from, chunk, size < sizeof chunk ? size : sizeof chunk);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? -errno : -ENODATA;
        }
        for (ssize_t done = 0; done < got;) {
            ssize_t put = write(to, chunk + done, (size_t)(got - done));
            if (put < 0 && errno != EINTR) {
                return -errno;
            }
            done += put > 0 ? put : 0;
        }
        size -= (size_t)got;
    }
    return 0;
}

/* A descriptor of memory that holds the file at `path`; libmaxminddb maps it in place of the file.
 * Returns it, or -errno with the message. */
static int read_into_memory(const char *path, char *ret_error)
{
    int memory = -1;
    int r = 0;
    struct stat status;

    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    if (file < 0) {
        r = -errno;
        return fail(ret_error, r, path,
                    errno == ENOENT ? "no such file; name a country or AS database in MMDB format"
                                    : strerror(errno));
    }
    if (fstat(file, &status) < 0) {
        r = fail(ret_error, -errno, path, strerror(errno));
    } else if (!S_ISREG(status.st_mode)) {
        r = fail(ret_error, -EINVAL, path, "not a file; name one in MMDB format");
    } else if (status.st_size == 0) {
        r = fail(ret_error, -ENODATA, path, "empty; put a whole MMDB file in its place");
    } else if (status.st_size > MMDB_FILE_SIZE_MAX) {
        r = fail(ret_error, -EFBIG, path, "larger than 512 MiB; use a country or AS database");
    }
    if (r == 0 && (memory = memfd_create("mmdb", MFD_CLOEXEC)) < 0) {
        r = fail(ret_error, -errno, path, strerror(errno));
    }
    if (r == 0 && (r = copy_octets(file, memory, (size_t)status.st_size)) < 0) {
        (void)fail(ret_error, r, path,
                   r == -ENODATA ? "changed while it was read; replace it by rename"
                                 : strerror(-r));
    }
    close(file);
    if (r < 0 && memory >= 0) {
        close(memory);
    }
    return r < 0 ? r : memory;
}

static int fail_open(char *ret_error, const char *path, int status)
{
    switch (status) {
    case MMDB_OUT_OF_MEMORY_ERROR:
        return fail(ret_error, -ENOMEM, path, "out of memory");
    case MMDB_FILE_OPEN_ERROR:
    case MMDB_IO_ERROR:
        return fail(ret_error, -EIO, path, "can't be mapped; is /proc mounted?");
    default:
        return fail(ret_error, -EBADMSG, path,
                    "not an MMDB file, or a damaged one; put a whole one in its place");
    }
}

int mmdb_open(const char *path, enum mmdb_kind kind, struct mmdb **ret_mmdb, char *ret_error)
{
    assert(path != NULL && path[0] != '\0');
    assert(ret_mmdb != NULL && ret_error != NULL);

    struct mmdb *mmdb = calloc(1, sizeof *mmdb);
    if (mmdb == NULL) {
        return fail(ret_error, -ENOMEM, path, "out of memory");
    }
    int memory = read_into_memory(path, ret_error);
    if (memory < 0) {
        free(mmdb);
        return memory;
    }
    char name[sizeof "/proc/self/fd/-2147483648"];
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", memory);
    int status = MMDB_open(name, MMDB_MODE_MMAP, &mmdb->database);
    close(memory); /* the mapping keeps the memory */
    if (status != MMDB_SUCCESS) {
        free(mmdb);
        return fail_open(ret_error, path, status);
    }

    mmdb->layout = probe_layout(&mmdb->database, kind);
    if (mmdb->layout == NULL) {
        mmdb_close(mmdb);
        return fail(ret_error, -EINVAL, path,
                    kind == MMDB_COUNTRY
                        ? "has no countries (neither country.iso_code nor country_code); name a "
                          "country database"
                        : "has no AS numbers (neither autonomous_system_number nor asn); name an "
                          "ASN database");
    }
    *ret_mmdb = mmdb;
    return 0;
}

void mmdb_close(struct mmdb *mmdb)
{
    if (mmdb == NULL) {
        return;
    }
    MMDB_close(&mmdb->database);
    free(mmdb);
}

int64_t mmdb_build_s(const struct mmdb *mmdb)
{
    uint64_t build_s = mmdb->database.metadata.build_epoch;
    return build_s > INT64_MAX ? 0 : (int64_t)build_s;
}

/* --- look-up --- */

int mmdb_find(const struct mmdb *mmdb, const uint8_t address[static MMDB_ADDRESS_SIZE],
              struct mmdb_record *ret_record)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
    const struct sockaddr *socket_address = (const struct sockaddr *)&ipv6;
    if (is_ipv4(address)) {
        memcpy(&ipv4.sin_addr, address + sizeof mapped_prefix, sizeof ipv4.sin_addr);
        socket_address = (const struct sockaddr *)&ipv4;
    } else {
        memcpy(&ipv6.sin6_addr, address, sizeof ipv6.sin6_addr);
    }

    struct mmdb_record record = empty_record();
    int status = MMDB_SUCCESS;
    MMDB_lookup_result_s result = MMDB_lookup_sockaddr(&mmdb->database, socket_address, &status);
    if (status == MMDB_IPV6_LOOKUP_IN_IPV4_DATABASE_ERROR) {
        *ret_record = record; /* of all IPv6 it says the same: nothing */
        return 0;
    }
    if (status != MMDB_SUCCESS) {
        return -EBADMSG;
    }
    record.prefix_bits = result.netmask + (mmdb->database.metadata.ip_version == 4 ? 96u : 0u);
    if (result.found_entry) {
        int r = read_record(mmdb->layout, &result.entry, &record);
        if (r < 0) {
            return r;
        }
    }
    *ret_record = record;
    return 0;
}

struct prefix {
    uint8_t octets[MMDB_ADDRESS_SIZE];
    uint8_t bits;
};
#define IPV4(a, b, c, d)                                                                           \
    {                                                                                              \
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d                                       \
    }

static const struct prefix local_prefixes[] = {
    {IPV4(0, 0, 0, 0), 96 + 8},        /* this network: RFC 791 */
    {IPV4(10, 0, 0, 0), 96 + 8},       /* private: RFC 1918 */
    {IPV4(100, 64, 0, 0), 96 + 10},    /* shared by carriers: RFC 6598 */
    {IPV4(127, 0, 0, 0), 96 + 8},      /* loopback: RFC 1122 */
    {IPV4(169, 254, 0, 0), 96 + 16},   /* link-local: RFC 3927 */
    {IPV4(172, 16, 0, 0), 96 + 12},    /* private */
    {IPV4(192, 0, 0, 0), 96 + 24},     /* protocol assignments: RFC 6890 */
    {IPV4(192, 168, 0, 0), 96 + 16},   /* private */
    {IPV4(198, 18, 0, 0), 96 + 15},    /* benchmarks: RFC 2544 */
    {IPV4(224, 0, 0, 0), 96 + 4},      /* multicast: RFC 5771 */
    {IPV4(240, 0, 0, 0), 96 + 4},      /* reserved and broadcast: RFC 1112, 919 */
    {{0}, 127},                        /* unspecified and loopback: RFC 4291 */
    {{0, 0x64, 0xff, 0x9b, 0, 1}, 48}, /* local translation: RFC 8215 */
    {{0xfc}, 7},                       /* unique local: RFC 4193 */
    {{0xfe, 0x80}, 10},                /* link-local: RFC 4291 */
    {{0xfe, 0xc0}, 10},                /* site-local, deprecated: RFC 3879 */
    {{0xff}, 8},                       /* multicast: RFC 4291 */
};

static bool is_under(const uint8_t *address, const struct prefix *prefix)
{
    unsigned whole = prefix->bits / 8u;
    if (memcmp(address, prefix->octets, whole) != 0) {
        return false;
    }
    unsigned rest = prefix->bits % 8u;
    unsigned mask = (0xFF00u >> rest) & 0xFFu;
    return rest == 0 || ((address[whole] ^ prefix->octets[whole]) & mask) == 0;
}

bool mmdb_is_local(const uint8_t address[static MMDB_ADDRESS_SIZE])
{
    for (size_t i = 0; i < sizeof local_prefixes / sizeof local_prefixes[0]; i++) {
        if (is_under(address, &local_prefixes[i])) {
            return true;
        }
    }
    return false;
}
