#include "resolver/hits.h"

#include <string.h>

/* What tells hits apart, mixed. Equal marks are compared in full. */
static uint32_t mark_of(const struct client *client, const struct question *question,
                        const struct policy_rule *rule)
{
    uint64_t halves[2];
    memcpy(halves, client->address, sizeof(halves));
    uint64_t mark = halves[0] ^ halves[1] * 0x9e3779b97f4a7c15ull;
    mark ^= (uint64_t)question->type << 48 ^ (uintptr_t)rule->membership ^ question->name_size;
    mark *= 0xd6e8feb86659fd93ull;
    return (uint32_t)(mark >> 32);
}

static bool is_equal(const struct hit *hit, const struct client *client,
                     const struct question *question, const char *feed, const char *action,
                     const uint8_t *chain)
{
    size_t chain_size = chain == NULL ? 0 : bl_name_size(chain);
    return hit->type == question->type && hit->feed == feed && hit->action == action &&
           hit->transport == client->transport && hit->verified == client->verified &&
           hit->name_size == question->name_size && hit->chain_size == chain_size &&
           memcmp(hit->client, client->address, 16) == 0 &&
           memcmp(hit->name, question->name, question->name_size) == 0 &&
           (chain_size == 0 || memcmp(hit->chain, chain, chain_size) == 0);
}

void hits_add(struct hits *hits, const struct bl_list *list, const struct client *client,
              const struct question *question, const struct policy_rule *rule, const uint8_t *chain,
              int64_t now_s)
{
    const char *feed = rule->feed->name;
    const char *action = bl_action_text(rule->action);
    uint32_t mark = mark_of(client, question, rule);

    for (uint32_t i = 0; i < hits->count; i++) {
        if (hits->marks[i] == mark &&
            is_equal(&hits->rows[i], client, question, feed, action, chain)) {
            hits->rows[i].count++;
            return;
        }
    }
    if (hits->count == HITS_MAX) {
        hits_flush(hits);
    }

    struct hit *hit = &hits->rows[hits->count];
    hits->marks[hits->count++] = mark;
    uint16_t category = rule->membership->category;
    hit->time_s = now_s;
    hit->count = 1;
    hit->feed = feed;
    hit->category = category != 0 ? bl_list_word_text(list, category) : rule->feed->category;
    hit->family = bl_list_word_text(list, rule->membership->family);
    hit->action = action;
    hit->tier = bl_tier_text(rule->feed->tier);
    memcpy(hit->client, client->address, 16);
    hit->type = question->type;
    hit->transport = client->transport;
    hit->verified = client->verified;
    hit->entry_offset = rule->offset;
    hit->name_size = question->name_size;
    memcpy(hit->name, question->name, question->name_size);
    hit->chain_size = 0;
    if (chain != NULL) {
        hit->chain_size = (uint8_t)bl_name_size(chain);
        memcpy(hit->chain, chain, hit->chain_size);
    }
}

void hits_flush(struct hits *hits)
{
    for (uint32_t i = 0; i < hits->count; i++) {
        (void)hit_ring_push(hits->ring, &hits->rows[i]); /* a full ring counts its own drops */
    }
    hits->count = 0;
}
