#include "resolver/message.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define POINTER 0xc0u /* RFC 1035, 4.1.4 */
#define POINTER_OFFSET_MAX 0x3fffu
#define POINTERS_MAX BL_NAME_LABELS_MAX /* in one name: no encoder makes more */
#define OFFSETS_MAX 64u /* names remembered for compression: more gain little and cost a search */
#define COMPARED_MAX 65536u /* labels compared for it in one answer: half a millisecond */
#define SOA_NUMBERS_SIZE 20u
#define TTL_MAX 0x7fffffffu /* RFC 2181, 8: larger ones count as 0 */

/* The packet being read. The first failure sticks. */
struct reader {
    const uint8_t *packet;
    size_t size;
    size_t at;
    bool failed;
};

/* The message being written. Offsets count from a header and the question's name, as a client's
 * message will have them; the body begins at `start`. */
struct writer {
    const uint8_t *name; /* the question's, at offset DNS_HEADER_SIZE */
    size_t start;
    uint8_t *body;
    size_t size; /* of the body so far */
    size_t room;
    bool failed; /* out of room */
    uint32_t compared_left;
    uint16_t offset_count;
    uint16_t offsets[OFFSETS_MAX]; /* where names or their suffixes stand */
    uint8_t sizes[OFFSETS_MAX];    /* of those names, expanded */
};

struct record {
    uint8_t owner[BL_NAME_SIZE_MAX]; /* as spelled */
    size_t owner_size;
    uint16_t type;
    uint16_t class;
    uint32_t ttl;
    size_t data; /* offset in the packet */
    size_t data_end;
};

static uint16_t read_u16(struct reader *reader)
{
    if (reader->failed || reader->size - reader->at < 2) {
        reader->failed = true;
        return 0;
    }
    const uint8_t *at = reader->packet + reader->at;
    reader->at += 2;
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t read_u32(struct reader *reader)
{
    uint32_t high = read_u16(reader);
    return high << 16 | read_u16(reader);
}

/* Reads a name that may be compressed. Each pointer must point before the place it stands at and
 * before any earlier pointer's target, so the loop ends; and there are few, so that thousands of
 * names do not each walk the same thousands of pointers. Returns the size of the expanded name. */
static size_t read_name(struct reader *reader, uint8_t name[static BL_NAME_SIZE_MAX])
{
    size_t at = reader->at;
    size_t lowest = at;
    size_t after = 0; /* where the name ends in the record, once a pointer was followed */
    size_t size = 0;
    unsigned pointers = 0;

    while (!reader->failed) {
        if (at >= reader->size) {
            break;
        }
        uint8_t label_size = reader->packet[at++];
        if (label_size >= POINTER) {
            if (at >= reader->size) {
                break;
            }
            size_t target = (size_t)(label_size & ~POINTER) << 8 | reader->packet[at++];
            after = after == 0 ? at : after;
            if (target >= lowest || ++pointers > POINTERS_MAX) {
                break;
            }
            lowest = at = target;
            continue;
        }
        if (label_size > BL_LABEL_SIZE_MAX || size + 1 + label_size > BL_NAME_SIZE_MAX ||
            reader->size - at < label_size) {
            break;
        }
        name[size++] = label_size;
        if (label_size == 0) {
            reader->at = after == 0 ? at : after;
            return size;
        }
        memcpy(name + size, reader->packet + at, label_size);
        size += label_size;
        at += label_size;
    }
    reader->failed = true;
    name[0] = 0;
    return 1;
}

static void read_record(struct reader *reader, struct record *record)
{
    record->owner_size = read_name(reader, record->owner);
    record->type = read_u16(reader);
    record->class = read_u16(reader);
    record->ttl = read_u32(reader);
    size_t size = read_u16(reader);
    if (reader->failed || reader->size - reader->at < size) {
        reader->failed = true;
        return;
    }
    record->ttl = record->ttl > TTL_MAX ? 0 : record->ttl;
    record->data = reader->at;
    record->data_end = reader->at + size;
    reader->at += size;
}

static void write_octets(struct writer *writer, const uint8_t *octets, size_t size)
{
    if (writer->failed || writer->room - writer->size < size) {
        writer->failed = true;
        return;
    }
    memcpy(writer->body + writer->size, octets, size);
    writer->size += size;
}

static void write_u16(struct writer *writer, uint16_t value)
{
    write_octets(writer, (uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static void write_u32(struct writer *writer, uint32_t value)
{
    write_u16(writer, (uint16_t)(value >> 16));
    write_u16(writer, (uint16_t)value);
}

/* The octet at an offset of the message being written, in the question's name or the body. */
static uint8_t written(const struct writer *writer, size_t offset)
{
    return offset < writer->start ? writer->name[offset - DNS_HEADER_SIZE]
                                  : writer->body[offset - writer->start];
}

/* Whether the name that stands at `offset` is `name`; false also when enough was compared. What was
 * written is well-formed, and its pointers point backwards. */
static bool stands_at(struct writer *writer, size_t offset, const uint8_t *name)
{
    for (;;) {
        uint8_t label_size = written(writer, offset);
        if (label_size >= POINTER) {
            offset = (size_t)(label_size & ~POINTER) << 8 | written(writer, offset + 1);
            continue;
        }
        if (label_size != *name || writer->compared_left == 0) {
            return false;
        }
        writer->compared_left--;
        if (label_size == 0) {
            return true;
        }
        for (uint8_t i = 1; i <= label_size; i++) {
            if (bl_name_lowered(written(writer, offset + i)) != bl_name_lowered(name[i])) {
                return false;
            }
        }
        offset += 1u + label_size;
        name += 1u + label_size;
    }
}

/* Where `name` stands already; 0 if nowhere that is remembered. An answer may be made of thousands
 * of long names that differ in their last label only: hence sizes first, and the limit. */
static uint16_t find_written(struct writer *writer, const uint8_t *name, size_t size)
{
    for (uint16_t i = 0; i < writer->offset_count; i++) {
        if (writer->sizes[i] == size && stands_at(writer, writer->offsets[i], name)) {
            return writer->offsets[i];
        }
    }
    return 0;
}

static void remember(struct writer *writer, size_t offset, size_t size)
{
    if (writer->offset_count < OFFSETS_MAX && offset <= POINTER_OFFSET_MAX) {
        writer->sizes[writer->offset_count] = (uint8_t)size;
        writer->offsets[writer->offset_count++] = (uint16_t)offset;
    }
}

/* Suffixes are remembered only when the whole name is out: until then they have no end to
 * compare. */
static void write_name(struct writer *writer, const uint8_t *name, size_t size)
{
    size_t start = writer->start + writer->size;
    size_t at = 0;

    while (name[at] != 0) {
        uint16_t offset = find_written(writer, name + at, size - at);
        if (offset != 0) {
            write_u16(writer, (uint16_t)(POINTER << 8 | offset));
            break;
        }
        write_octets(writer, name + at, 1u + name[at]);
        at += 1u + name[at];
    }
    if (name[at] == 0) {
        write_octets(writer, name + at, 1);
    }
    for (size_t fresh = 0; fresh < at && !writer->failed; fresh += 1u + name[fresh]) {
        remember(writer, start + fresh, size - fresh);
    }
}

/* How many names begin a type's data, and how many octets stand before them. Only the types of
 * RFC 1035 may be compressed (RFC 3597, 4); the data of all others is copied as it is. */
static unsigned names_in_data(uint16_t type, size_t *ret_before)
{
    *ret_before = type == DNS_MX ? 2 : 0;
    switch (type) {
    case DNS_NS:
    case 3: /* MD */
    case 4: /* MF */
    case DNS_CNAME:
    case 7: /* MB */
    case 8: /* MG */
    case 9: /* MR */
    case DNS_PTR:
    case DNS_MX:
        return 1;
    case DNS_SOA:
    case DNS_MINFO:
        return 2;
    default:
        return 0;
    }
}

/* Writes a record's data with its size before it. The data must be used up exactly. */
static void write_data(struct writer *writer, struct reader *reader, const struct record *record)
{
    size_t before;
    unsigned names = names_in_data(record->type, &before);
    size_t size_at = writer->size;
    write_u16(writer, 0);

    struct reader data = {.packet = reader->packet, .size = record->data_end, .at = record->data};
    if (record->data_end - record->data < before) {
        reader->failed = true;
        return;
    }
    write_octets(writer, data.packet + data.at, before);
    data.at += before;
    for (unsigned i = 0; i < names; i++) {
        uint8_t name[BL_NAME_SIZE_MAX];
        size_t size = read_name(&data, name);
        write_name(writer, name, size);
    }
    size_t rest = data.size - data.at;
    if (data.failed || (names > 0 && rest != (record->type == DNS_SOA ? SOA_NUMBERS_SIZE : 0))) {
        reader->failed = true;
        return;
    }
    write_octets(writer, data.packet + data.at, rest);
    if (!writer->failed) {
        size_t size = writer->size - size_at - 2;
        writer->body[size_at] = (uint8_t)(size >> 8);
        writer->body[size_at + 1] = (uint8_t)size;
    }
}

/* What reading one answer carries from record to record. */
struct reading {
    struct reader reader;
    struct writer writer;
    const struct message_ttls *bounds;
    struct message_scratch *scratch;
    uint16_t type; /* asked for */
    bool dnssec;
    bool chain_too_long;
    bool has_data; /* the answer section holds the type asked for */
    bool has_soa;
    struct message message;
};

static bool is_wanted(const struct reading *reading, const struct record *record, unsigned section)
{
    if (section >= MESSAGE_SECTIONS) {
        return false;
    }
    switch (record->type) {
    case DNS_OPT:
        return false;
    case DNS_RRSIG:
    case DNS_NSEC:
    case DNS_NSEC3:
        return reading->dnssec || record->type == reading->type;
    case DNS_DS:
        return reading->dnssec || section == 0;
    default:
        return true;
    }
}

/* RFC 2308, 5: a negative answer holds for the lesser of the SOA's TTL and its MINIMUM field. */
static uint32_t negative_ttl(const struct reading *reading, const struct record *record)
{
    const uint8_t *minimum = reading->reader.packet + record->data_end - 4;
    uint32_t ttl = (uint32_t)minimum[0] << 24 | (uint32_t)minimum[1] << 16 |
                   (uint32_t)minimum[2] << 8 | minimum[3];
    ttl = record->ttl < ttl ? record->ttl : ttl;
    return ttl < reading->bounds->negative_s ? ttl : reading->bounds->negative_s;
}

static uint32_t bounded_ttl(const struct reading *reading, const struct record *record,
                            unsigned section)
{
    uint32_t ttl = record->ttl;
    if (section == 1 && record->type == DNS_SOA && !reading->has_data &&
        record->data_end - record->data >= SOA_NUMBERS_SIZE) {
        ttl = negative_ttl(reading, record);
    }
    ttl = ttl < reading->bounds->min_s ? reading->bounds->min_s : ttl;
    return ttl > reading->bounds->max_s ? reading->bounds->max_s : ttl;
}

static void add_link(struct reading *reading, const struct record *record)
{
    struct message *message = &reading->message;
    if (message->chain_count == CHAIN_NAMES_MAX) {
        reading->chain_too_long = true;
        return;
    }
    struct reader data = {
        .packet = reading->reader.packet, .size = record->data_end, .at = record->data};
    uint8_t *target = reading->scratch->chain + message->chain_size;
    size_t size = read_name(&data, target);
    if (data.failed) {
        reading->reader.failed = true;
        return;
    }
    for (size_t i = 0; i < size; i++) {
        target[i] = bl_name_lowered(target[i]); /* a label's size is at most 63, below 'A' */
    }
    message->chain_count++;
    message->chain_size = (uint16_t)(message->chain_size + size);
}

static void take_record(struct reading *reading, const struct record *record, unsigned section)
{
    struct message *message = &reading->message;
    if (section == 0) {
        reading->has_data |= record->type == reading->type;
        if (record->type == DNS_CNAME && reading->type != DNS_CNAME) {
            add_link(reading, record);
        }
    }
    reading->has_soa |= section == 1 && record->type == DNS_SOA;
    if (message->ttl_count == MESSAGE_RECORDS_MAX) {
        reading->writer.failed = true;
        return;
    }
    uint32_t ttl = bounded_ttl(reading, record, section);
    message->ttl_s = ttl < message->ttl_s ? ttl : message->ttl_s;
    message->counts[section]++;

    write_name(&reading->writer, record->owner, record->owner_size);
    write_u16(&reading->writer, record->type);
    write_u16(&reading->writer, record->class);
    reading->scratch->ttls[message->ttl_count++] = (uint16_t)reading->writer.size;
    write_u32(&reading->writer, ttl);
    write_data(&reading->writer, &reading->reader, record);
}

/* The header and the question, which must be the one that was asked. */
static void read_head(struct reading *reading, const uint8_t *name, uint16_t counts[static 3])
{
    struct reader *reader = &reading->reader;
    (void)read_u16(reader); /* the id is libunbound's */
    uint16_t flags = read_u16(reader);
    uint16_t questions = read_u16(reader);
    for (unsigned section = 0; section < 3; section++) {
        counts[section] = read_u16(reader);
    }
    uint8_t asked[BL_NAME_SIZE_MAX];
    (void)read_name(reader, asked);
    uint16_t type = read_u16(reader);
    (void)read_u16(reader); /* class: IN is all that is asked */
    if (reader->failed || (flags & DNS_FLAG_QR) == 0 || questions != 1 || type != reading->type ||
        !bl_name_equal(asked, name)) {
        reader->failed = true;
    }
    reading->message.rcode = flags & DNS_RCODE_MASK;
}

int message_read(const uint8_t *packet, size_t size, const uint8_t *name, size_t name_size,
                 uint16_t type, bool dnssec, const struct message_ttls *ttls,
                 struct message_scratch *scratch, struct message *ret_message)
{
    assert(name_size <= BL_NAME_SIZE_MAX && size <= MESSAGE_SIZE_MAX);

    size_t start = DNS_HEADER_SIZE + name_size + 4;
    struct reading reading = {
        .reader = {.packet = packet, .size = size},
        .writer = {.name = name,
                   .start = start,
                   .body = scratch->body,
                   .room = MESSAGE_SIZE_MAX - start,
                   .compared_left = COMPARED_MAX},
        .bounds = ttls,
        .scratch = scratch,
        .type = type,
        .dnssec = dnssec,
        .message = {.ttl_s = ttls->max_s},
    };
    for (size_t at = 0; name[at] != 0; at += 1u + name[at]) {
        remember(&reading.writer, DNS_HEADER_SIZE + at, name_size - at);
    }

    uint16_t counts[3];
    uint16_t ends[3];
    read_head(&reading, name, counts);
    for (unsigned section = 0; section < 3; section++) {
        for (uint16_t i = 0; i < counts[section] && !reading.reader.failed; i++) {
            struct record record;
            read_record(&reading.reader, &record);
            if (!reading.reader.failed && !reading.writer.failed &&
                is_wanted(&reading, &record, section)) {
                take_record(&reading, &record, section);
            }
        }
        ends[section] = (uint16_t)reading.writer.size;
    }
    if (reading.reader.failed) {
        return -EBADMSG;
    }
    if (reading.chain_too_long) {
        return -ELOOP;
    }
    if (reading.writer.failed) {
        return -EMSGSIZE;
    }

    struct message *message = &reading.message;
    message->answer_end = ends[0];
    message->body_size = ends[1];
    message->negative =
        message->rcode == DNS_NXDOMAIN || (message->rcode == DNS_NOERROR && !reading.has_data);
    if (message->negative ? !reading.has_soa : message->ttl_count == 0) {
        message->ttl_s = 0; /* RFC 2308, 5: without a SOA nothing says how long */
    }
    message->body = scratch->body;
    message->ttls = scratch->ttls;
    message->chain = scratch->chain;
    message->ede_text = "";
    *ret_message = *message;
    return 0;
}
