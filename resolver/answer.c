#include "resolver/answer.h"

#include <assert.h>
#include <string.h>

#define OPT_SIZE 11u
#define EDE_HEADER_SIZE 6u /* option code, length, info code (RFC 8914, 2) */
#define EDE_OPTION 15u
#define EDE_TEXT_SIZE_MAX 200u
#define UDP_SIZE_SAID 1232u /* what we can take: fits any path unfragmented (DNS flag day 2020) */
#define SOA_TIMER_S 3600u   /* refresh, retry, expire: nobody transfers a sinkhole's zone */
#define ANY_TTL_S 3600u

struct builder {
    uint8_t *out;
    size_t size;
    size_t limit;
};

static void put_u8(struct builder *builder, uint8_t value)
{
    builder->out[builder->size++] = value;
}

static void put_u16(struct builder *builder, uint16_t value)
{
    put_u8(builder, (uint8_t)(value >> 8));
    put_u8(builder, (uint8_t)value);
}

static void put_u32(struct builder *builder, uint32_t value)
{
    put_u16(builder, (uint16_t)(value >> 16));
    put_u16(builder, (uint16_t)value);
}

static void put_octets(struct builder *builder, const void *octets, size_t size)
{
    memcpy(builder->out + builder->size, octets, size);
    builder->size += size;
}

/* Header and question: at most 12 + 255 + 4 octets, which any limit holds. */
static struct builder begin(const struct question *question, unsigned rcode, bool authentic,
                            uint8_t *out, size_t limit)
{
    assert(limit >= ANSWER_SIZE_MIN);
    struct builder builder = {.out = out, .limit = limit};
    put_u16(&builder, question->id);
    put_u16(&builder,
            (uint16_t)(DNS_FLAG_QR | DNS_FLAG_RA | (authentic ? DNS_FLAG_AD : 0) |
                       (question->flags & (DNS_FLAG_RD | DNS_FLAG_CD)) | (rcode & DNS_RCODE_MASK)));
    put_u16(&builder, 1);
    put_u16(&builder, 0);
    put_u16(&builder, 0);
    put_u16(&builder, 0);
    put_octets(&builder, question->spelled, question->name_size);
    put_u16(&builder, question->type);
    put_u16(&builder, question->class);
    return builder;
}

static void set_count(struct builder *builder, unsigned section, uint16_t value)
{
    uint8_t *at = builder->out + 6 + 2 * section;
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* The OPT record, if the client sent one. The caller kept OPT_SIZE octets of room; the extended
 * error's text, then the error itself, goes where there is no room for it. */
static size_t finish(struct builder *builder, const struct question *question, unsigned rcode,
                     int ede, const char *text, size_t text_size)
{
    if (!question->edns) {
        return builder->size;
    }
    size_t room = builder->limit - builder->size - OPT_SIZE;
    text_size = text_size > EDE_TEXT_SIZE_MAX ? EDE_TEXT_SIZE_MAX : text_size;
    if (ede < 0 || room < EDE_HEADER_SIZE) {
        ede = ANSWER_EDE_NONE;
    } else if (room < EDE_HEADER_SIZE + text_size) {
        text_size = 0;
    }

    const uint8_t *counted = builder->out + 10; /* what additional records there are already */
    set_count(builder, 2, (uint16_t)((counted[0] << 8 | counted[1]) + 1));
    put_u8(builder, 0); /* the root */
    put_u16(builder, DNS_OPT);
    put_u16(builder, UDP_SIZE_SAID);
    put_u8(builder, (uint8_t)(rcode >> 4));
    put_u8(builder, 0); /* EDNS version */
    put_u16(builder, question->dnssec_ok ? 0x8000 : 0);
    put_u16(builder, (uint16_t)(ede < 0 ? 0 : EDE_HEADER_SIZE + text_size));
    if (ede >= 0) {
        put_u16(builder, EDE_OPTION);
        put_u16(builder, (uint16_t)(2 + text_size));
        put_u16(builder, (uint16_t)ede);
        put_octets(builder, text, text_size);
    }
    return builder->size;
}

size_t answer_error(const struct question *question, enum dns_rcode rcode, enum answer_ede ede,
                    const char *text, uint8_t *out, size_t limit)
{
    struct builder builder = begin(question, rcode, false, out, limit);
    return finish(&builder, question, rcode, ede, text, strlen(text));
}

size_t answer_unreadable(const struct question *question, enum dns_rcode rcode, uint8_t *out)
{
    struct builder builder = {.out = out, .limit = DNS_HEADER_SIZE};
    put_u16(&builder, question->id);
    put_u16(&builder,
            (uint16_t)(DNS_FLAG_QR | (question->flags & (DNS_OPCODE_MASK | DNS_FLAG_RD)) | rcode));
    put_u32(&builder, 0);
    put_u32(&builder, 0);
    return builder.size;
}

static void put_pointer(struct builder *builder, size_t offset)
{
    put_u16(builder, (uint16_t)(0xc000u | (DNS_HEADER_SIZE + offset)));
}

static void put_record_head(struct builder *builder, size_t owner_offset, uint16_t type,
                            uint32_t ttl, uint16_t size)
{
    put_pointer(builder, owner_offset);
    put_u16(builder, type);
    put_u16(builder, DNS_IN);
    put_u32(builder, ttl);
    put_u16(builder, size);
}

/* Returns how many address records the question's type gets. */
static uint16_t put_addresses(struct builder *builder, const struct question *question,
                              const struct config_sinkhole *sinkhole)
{
    bool any = question->type == DNS_ANY;
    uint16_t count = 0;
    for (uint32_t i = 0; (any || question->type == DNS_A) && i < sinkhole->ipv4_count; i++) {
        put_record_head(builder, 0, DNS_A, sinkhole->ttl_s, 4);
        put_octets(builder, sinkhole->ipv4[i], 4);
        count++;
    }
    for (uint32_t i = 0; (any || question->type == DNS_AAAA) && i < sinkhole->ipv6_count; i++) {
        put_record_head(builder, 0, DNS_AAAA, sinkhole->ttl_s, 16);
        put_octets(builder, sinkhole->ipv6[i], 16);
        count++;
    }
    return count;
}

/* A negative answer is cached by what its SOA says (RFC 2308, 5): the sinkhole's own TTL. */
static void put_soa(struct builder *builder, size_t owner_offset, uint32_t ttl)
{
    static const uint8_t names[] = "\11localhost\0\6nobody\7invalid"; /* MNAME, RNAME */
    put_record_head(builder, owner_offset, DNS_SOA, ttl, sizeof(names) + 20);
    put_octets(builder, names, sizeof(names));
    put_u32(builder, 1); /* serial */
    put_u32(builder, SOA_TIMER_S);
    put_u32(builder, SOA_TIMER_S);
    put_u32(builder, SOA_TIMER_S);
    put_u32(builder, ttl);
}

/* The configured text with the feed's public label for "{label}"; cut to what an option takes. */
static size_t make_text(const char *template, const char *label, char text[EDE_TEXT_SIZE_MAX])
{
    static const char mark[] = "{label}";
    const char *at = strstr(template, mark);
    size_t before = at == NULL ? strlen(template) : (size_t)(at - template);
    const char *parts[] = {template, at == NULL ? "" : label,
                           at == NULL ? "" : at + sizeof(mark) - 1};
    size_t sizes[] = {before, strlen(parts[1]), strlen(parts[2])};
    size_t size = 0;

    if (at != NULL && sizes[1] == 0) {
        return 0; /* a sentence without its object says nothing that the code does not */
    }
    for (unsigned i = 0; i < 3; i++) {
        size_t room = EDE_TEXT_SIZE_MAX - size;
        size_t part = sizes[i] < room ? sizes[i] : room;
        memcpy(text + size, parts[i], part);
        size += part;
    }
    return size;
}

static_assert(DNS_HEADER_SIZE + BL_NAME_SIZE_MAX + 4 + SINKHOLE_ADDRESSES_MAX * 28 + OPT_SIZE <=
                  ANSWER_SIZE_MIN,
              "the addresses of one family fit the smallest answer");

size_t answer_listed(const struct question *question, const struct config_sinkhole *sinkhole,
                     enum bl_action action, uint8_t offset, const char *label, bool censored,
                     uint8_t *out, size_t limit)
{
    unsigned rcode = action == BL_ACTION_NXDOMAIN  ? DNS_NXDOMAIN
                     : action == BL_ACTION_REFUSED ? DNS_REFUSED
                                                   : DNS_NOERROR;
    struct builder builder = begin(question, rcode, false, out, limit);
    uint16_t addresses = 0;
    struct config_sinkhole fewer;

    /* ANY asks for both families at once, which the smallest answer may not hold: IPv4 then. */
    if (question->type == DNS_ANY && limit < ANSWER_SIZE_MIN + SINKHOLE_ADDRESSES_MAX * 16) {
        fewer = *sinkhole;
        fewer.ipv6_count = 0;
        sinkhole = sinkhole->ipv4_count > 0 ? &fewer : sinkhole;
    }
    if (action == BL_ACTION_ADDRESS) {
        addresses = put_addresses(&builder, question, sinkhole);
        set_count(&builder, 0, addresses);
    }
    if (addresses == 0 && action != BL_ACTION_REFUSED) {
        put_soa(&builder, offset, sinkhole->ttl_s);
        set_count(&builder, 1, 1);
    }
    char text[EDE_TEXT_SIZE_MAX];
    size_t text_size = question->edns ? make_text(sinkhole->text, label, text) : 0;
    return finish(&builder, question, rcode, censored ? ANSWER_EDE_CENSORED : ANSWER_EDE_BLOCKED,
                  text, text_size);
}

size_t answer_any(const struct question *question, uint8_t *out, size_t limit)
{
    static const uint8_t data[] = {7, 'R', 'F', 'C', '8', '4', '8', '2', 0}; /* CPU and OS */
    struct builder builder = begin(question, DNS_NOERROR, false, out, limit);
    put_record_head(&builder, 0, DNS_HINFO, ANY_TTL_S, sizeof(data));
    put_octets(&builder, data, sizeof(data));
    set_count(&builder, 0, 1);
    return finish(&builder, question, DNS_NOERROR, ANSWER_EDE_NONE, "", 0);
}

/* How much of the body fits `room`: all, or less by what RFC 2181, 9 lets go without TC: the
 * authority section of a positive answer to a client without DO (there it is a courtesy). Returns 0
 * when what is needed does not fit. */
static size_t fit(const struct question *question, const struct message *message, size_t room,
                  unsigned *ret_sections)
{
    if (message->body_size <= room) {
        *ret_sections = MESSAGE_SECTIONS;
        return message->body_size;
    }
    if (message->answer_end <= room && !message->negative && !question->dnssec_ok) {
        *ret_sections = 1;
        return message->answer_end;
    }
    *ret_sections = 0;
    return 0;
}

static void lower_ttls(uint8_t *body, const struct message *message, size_t size, uint32_t age_s)
{
    for (uint16_t i = 0; i < message->ttl_count && message->ttls[i] < size; i++) {
        uint8_t *at = body + message->ttls[i];
        uint32_t ttl = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        ttl = ttl > age_s ? ttl - age_s : 0;
        at[0] = (uint8_t)(ttl >> 24);
        at[1] = (uint8_t)(ttl >> 16);
        at[2] = (uint8_t)(ttl >> 8);
        at[3] = (uint8_t)ttl;
    }
}

size_t answer_message(const struct question *question, const struct message *message,
                      uint32_t age_s, uint8_t *out, size_t limit, bool *ret_truncated)
{
    /* RFC 6840, 5.7: AD for those who show that they understand it. */
    bool authentic =
        message->secure && (question->dnssec_ok || (question->flags & DNS_FLAG_AD) != 0);
    struct builder builder = begin(question, message->rcode, authentic, out, limit);
    size_t room = limit - builder.size - (question->edns ? OPT_SIZE : 0);
    unsigned sections;
    size_t size = fit(question, message, room, &sections);

    *ret_truncated = sections == 0;
    if (sections == 0) {
        out[2] |= DNS_FLAG_TC >> 8;
    }
    memcpy(out + builder.size, message->body, size);
    if (age_s > 0) {
        lower_ttls(out + builder.size, message, size, age_s);
    }
    builder.size += size;
    for (unsigned section = 0; section < sections; section++) {
        set_count(&builder, section, message->counts[section]);
    }
    return finish(&builder, question, message->rcode,
                  message->has_ede ? message->ede_code : ANSWER_EDE_NONE, message->ede_text,
                  message->ede_size);
}
