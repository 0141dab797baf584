// SPDX-License-Identifier: Apache-2.0
#include "load/nexmark.h"

#include <math.h>

#include "base/check.h"
#include "load/text_out.h"

enum {
    EVENTS_PER_EPOCH = 50,
    AUCTIONS_PER_EPOCH = 3,
    HOT_BATCH = 100,          /* who is hot changes each 100 ids */
    AUCTIONS_IN_FLIGHT = 100, /* bids go to the last so many */
    PERSONS_ACTIVE = 1000,    /* sellers and bidders are of the last so many */
    ID_LEAD = 10,             /* ids may run ahead of their creation by so many */
    GROUP_STRIDE = 953,       /* of the order within an out-of-order group */
    CATEGORIES = 5,
    CHANNELS = 10000,
    NAME_MAX = 20,
    DESCRIPTION_MAX = 100,
    PERSON_BYTES = 200, /* target sizes, counted as the reference does */
    AUCTION_BYTES = 500,
    BID_BYTES = 100,
    BID_BYTES_BEFORE = 32
};

/* Further events until an auction ends, on average: as many as AUCTIONS_IN_FLIGHT auctions take. */
static const int64_t AUCTION_EVENTS = AUCTIONS_IN_FLIGHT * EVENTS_PER_EPOCH / AUCTIONS_PER_EPOCH;

enum err nexmark_check(const struct nexmark_options *options, struct err_info *info)
{
    if (options->rate < 1 || options->rate > NEXMARK_RATE_MAX) {
        return err_set(info, ERR_INVALID,
                       "nexmark: the rate is 1 to %lld events a second, not %lld",
                       (long long)NEXMARK_RATE_MAX, (long long)options->rate);
    }
    if (options->group < 1 || options->group > NEXMARK_GROUP_MAX ||
        options->group % GROUP_STRIDE == 0) {
        return err_set(info, ERR_INVALID,
                       "nexmark: the out-of-order group is 1 to %d events and no multiple of %d",
                       NEXMARK_GROUP_MAX, GROUP_STRIDE);
    }
    return ERR_OK;
}

/* --- order and time --- */

static int64_t time_of(const struct nexmark_options *options, int64_t number)
{
    /* floor(floor(number x 1e6 / rate us) / 1000): whole ms */
    return options->base_ms + number * 1000 / options->rate;
}

static int64_t number_of(const struct nexmark_options *options, int64_t n)
{
    int64_t first = n / options->group * options->group;
    return first + GROUP_STRIDE * n % options->group;
}

int64_t nexmark_watermark_ms(const struct nexmark_options *options, int64_t n)
{
    return time_of(options, n / options->group * options->group);
}

/* --- ids --- */

static int64_t last_auction(int64_t epoch, int64_t rest)
{
    int64_t last = rest == 0                    ? AUCTIONS_PER_EPOCH * (epoch - 1) + 2
                   : rest <= AUCTIONS_PER_EPOCH ? AUCTIONS_PER_EPOCH * epoch + rest - 1
                                                : AUCTIONS_PER_EPOCH * epoch + 2;
    return last < 0 ? 0 : last;
}

static int64_t any_person(struct rng *rng, int64_t last_person)
{
    int64_t count = last_person + 1;
    int64_t active = count < PERSONS_ACTIVE ? count : PERSONS_ACTIVE;
    return count - active + (int64_t)rng_below(rng, (uint64_t)(active + ID_LEAD));
}

static int64_t any_auction(struct rng *rng, int64_t last)
{
    int64_t least = last > AUCTIONS_IN_FLIGHT ? last - AUCTIONS_IN_FLIGHT : 0;
    return least + (int64_t)rng_below(rng, (uint64_t)(last - least + 1 + ID_LEAD));
}

static int64_t draw_price(struct rng *rng)
{
    return llround(100.0 * pow(10.0, 6.0 * rng_unit(rng)));
}

static void draw_auction(const struct nexmark_options *options, struct nexmark_event *event,
                         int64_t last_person)
{
    struct rng *rng = &event->rng;
    event->initial_bid = draw_price(rng);
    event->reserve = event->initial_bid + draw_price(rng);
    int64_t horizon_ms = time_of(options, event->number + AUCTION_EVENTS) - event->time_ms;
    int64_t span = 2 * horizon_ms > 1 ? 2 * horizon_ms : 1;
    event->expires_ms = event->time_ms + 1 + (int64_t)rng_below(rng, (uint64_t)span);
    int64_t seller =
        rng_below(rng, 4) > 0 ? last_person / HOT_BATCH * HOT_BATCH : any_person(rng, last_person);
    event->seller = seller + NEXMARK_PERSON_FIRST;
    event->category = NEXMARK_CATEGORY_FIRST + (int64_t)rng_below(rng, CATEGORIES);
}

static void draw_bid(struct nexmark_event *event, int64_t last_person, int64_t last)
{
    struct rng *rng = &event->rng;
    int64_t auction = rng_below(rng, 2) > 0 ? last / HOT_BATCH * HOT_BATCH : any_auction(rng, last);
    int64_t bidder = rng_below(rng, 4) > 0 ? last_person / HOT_BATCH * HOT_BATCH + 1
                                           : any_person(rng, last_person);
    event->auction = auction + NEXMARK_AUCTION_FIRST;
    event->bidder = bidder + NEXMARK_PERSON_FIRST;
    event->price = draw_price(rng);
}

void nexmark_event(const struct nexmark_options *options, int64_t n,
                   struct nexmark_event *ret_event)
{
    DCHECK(n >= 0 && n <= NEXMARK_EVENT_MAX);
    int64_t number = number_of(options, n);
    int64_t epoch = number / EVENTS_PER_EPOCH;
    int64_t rest = number % EVENTS_PER_EPOCH;
    int64_t last = last_auction(epoch, rest);
    *ret_event = (struct nexmark_event){.number = number, .time_ms = time_of(options, number)};
    rng_init(&ret_event->rng, options->seed + (uint64_t)number * UINT64_C(0x9e3779b97f4a7c15));
    if (rest == 0) {
        ret_event->kind = NEXMARK_PERSON;
        ret_event->id = epoch + NEXMARK_PERSON_FIRST;
    } else if (rest <= AUCTIONS_PER_EPOCH) {
        ret_event->kind = NEXMARK_AUCTION;
        ret_event->id = last + NEXMARK_AUCTION_FIRST;
        draw_auction(options, ret_event, epoch);
    } else {
        ret_event->kind = NEXMARK_BID;
        draw_bid(ret_event, epoch, last);
    }
}

int64_t nexmark_group_key(const struct nexmark_event *event)
{
    return event->kind == NEXMARK_PERSON    ? event->id
           : event->kind == NEXMARK_AUCTION ? event->seller
                                            : event->auction;
}

/* --- texts --- */

/* Small letters and, one in thirteen, blanks; 3 to max - 1 of them, trimmed. */
static int32_t draw_text(struct rng *rng, int32_t max, char *out)
{
    int32_t count = 3 + (int32_t)rng_below(rng, (uint64_t)(max - 3));
    int32_t len = 0;
    for (int32_t i = 0; i < count; i++) {
        char c = rng_below(rng, 13) == 0 ? ' ' : (char)('a' + rng_below(rng, 26));
        out[len] = c;
        len += c != ' ' || len > 0 ? 1 : 0;
    }
    while (len > 0 && out[len - 1] == ' ') {
        len--;
    }
    return len;
}

/* Random letters that bring the event to its target size, give or take a fifth of what is missing. */
static int32_t draw_extra(struct rng *rng, int32_t so_far, int32_t target, char *out)
{
    int32_t wanted = target - so_far;
    if (wanted <= 0) {
        return 0;
    }
    int32_t delta = (int32_t)lround(0.2 * wanted);
    int32_t len = wanted - delta;
    len += delta > 0 ? (int32_t)rng_below(rng, 2 * (uint64_t)delta) : 0;
    uint64_t bits = 0;
    for (int32_t i = 0; i < len; i++) {
        bits = i % 8 == 0 ? rng_u64(rng) : bits >> 8; /* eight letters a draw */
        out[i] = (char)('a' + (((bits & 0xff) * 26) >> 8));
    }
    return len;
}

static void put_text(struct text_out *out, const char *text)
{
    text_put(out, text, strlen(text));
}

struct person_texts {
    char name[40], email[40], card[40], city[20], state[4];
};

static const char *pick(struct rng *rng, const char *const *list, uint64_t count)
{
    return list[rng_below(rng, count)];
}

static void draw_person(struct rng *rng, struct person_texts *ret_texts)
{
    static const char *const first[] = {"Peter", "Paul",  "Luke",  "John",   "Saul",  "Vicky",
                                        "Kate",  "Julie", "Sarah", "Deiter", "Walter"};
    static const char *const family[] = {"Shultz", "Abrams", "Spencer", "White", "Bartels",
                                         "Walton", "Smith",  "Jones",   "Noris"};
    static const char *const cities[] = {"Phoenix",  "Los Angeles", "San Francisco", "Boise",
                                         "Portland", "Bend",        "Redmond",       "Seattle",
                                         "Kent",     "Cheyenne"};
    static const char *const states[] = {"AZ", "CA", "ID", "OR", "WA", "WY"};
    struct text_out out = {ret_texts->name};
    put_text(&out, pick(rng, first, COUNT_OF(first)));
    TEXT_PUT(&out, " ");
    put_text(&out, pick(rng, family, COUNT_OF(family)));
    *out.at = 0;
    out.at = ret_texts->email;
    out.at += draw_text(rng, 7, out.at);
    TEXT_PUT(&out, "@");
    out.at += draw_text(rng, 5, out.at);
    TEXT_PUT(&out, ".com");
    *out.at = 0;
    out.at = ret_texts->card;
    for (int i = 0; i < 4; i++) {
        text_put(&out, " ", i > 0 ? 1 : 0);
        text_put_u64(&out, rng_below(rng, 10000), 4);
    }
    *out.at = 0;
    out.at = ret_texts->city;
    put_text(&out, pick(rng, cities, COUNT_OF(cities)));
    *out.at = 0;
    out.at = ret_texts->state;
    put_text(&out, pick(rng, states, COUNT_OF(states)));
    *out.at = 0;
}

/* --- JSON --- */

static void put_tail(struct text_out *out, const struct nexmark_event *event, const char *extra,
                     int32_t extra_len)
{
    TEXT_PUT(out, ",\"dateTime\":");
    text_put_i64(out, event->time_ms);
    TEXT_PUT(out, ",\"extra\":\"");
    text_put(out, extra, (size_t)extra_len);
    TEXT_PUT(out, "\"}");
}

static void put_member(struct text_out *out, const char *before, const char *text)
{
    put_text(out, before);
    put_text(out, text);
}

static void put_number(struct text_out *out, const char *before, int64_t value)
{
    put_text(out, before);
    text_put_i64(out, value);
}

static void person_json(struct nexmark_event *event, struct text_out *out)
{
    struct person_texts texts;
    char extra[NEXMARK_TEXT_MAX];
    draw_person(&event->rng, &texts);
    size_t so_far = sizeof(int64_t) + strlen(texts.name) + strlen(texts.email) +
                    strlen(texts.card) + strlen(texts.city) + strlen(texts.state);
    int32_t len = draw_extra(&event->rng, (int32_t)so_far, PERSON_BYTES, extra);
    put_number(out, "{\"kind\":\"person\",\"id\":", event->id);
    put_member(out, ",\"name\":\"", texts.name);
    put_member(out, "\",\"emailAddress\":\"", texts.email);
    put_member(out, "\",\"creditCard\":\"", texts.card);
    put_member(out, "\",\"city\":\"", texts.city);
    put_member(out, "\",\"state\":\"", texts.state);
    TEXT_PUT(out, "\"");
    put_tail(out, event, extra, len);
}

static void auction_json(struct nexmark_event *event, struct text_out *out)
{
    char name[NEXMARK_TEXT_MAX];
    char description[NEXMARK_TEXT_MAX];
    char extra[NEXMARK_TEXT_MAX];
    int32_t name_len = draw_text(&event->rng, NAME_MAX, name);
    int32_t description_len = draw_text(&event->rng, DESCRIPTION_MAX, description);
    int32_t so_far = name_len + description_len + 6 * (int32_t)sizeof(int64_t);
    int32_t len = draw_extra(&event->rng, so_far, AUCTION_BYTES, extra);
    put_number(out, "{\"kind\":\"auction\",\"id\":", event->id);
    TEXT_PUT(out, ",\"itemName\":\"");
    text_put(out, name, (size_t)name_len);
    TEXT_PUT(out, "\",\"description\":\"");
    text_put(out, description, (size_t)description_len);
    put_number(out, "\",\"initialBid\":", event->initial_bid);
    put_number(out, ",\"reserve\":", event->reserve);
    put_number(out, ",\"expires\":", event->expires_ms);
    put_number(out, ",\"seller\":", event->seller);
    put_number(out, ",\"category\":", event->category);
    put_tail(out, event, extra, len);
}

/* Channel k and the url that goes with it, always the same. */
static void put_channel(struct text_out *out, struct rng *rng)
{
    static const char *const hot[] = {"Google", "Facebook", "Baidu", "Apple"};
    uint64_t bits = rng_below(rng, 2 * CHANNELS);
    bool is_hot = bits >= CHANNELS;
    uint64_t k = is_hot ? bits % COUNT_OF(hot) : bits;
    struct rng fixed;
    rng_init(&fixed, is_hot ? UINT64_MAX - k : k);
    char path[3][8];
    for (int i = 0; i < 3; i++) {
        path[i][draw_text(&fixed, 7, path[i])] = 0;
        for (char *c = path[i]; *c != 0; c++) {
            *c = *c == ' ' ? '_' : *c;
        }
    }
    if (is_hot) {
        put_text(out, hot[k]);
    } else {
        TEXT_PUT(out, "channel-");
        text_put_u64(out, k, 1);
    }
    put_member(out, "\",\"url\":\"https://www.nexmark.com/", path[0]);
    put_member(out, "/", path[1]);
    put_member(out, "/", path[2]);
    TEXT_PUT(out, "/item.htm?query=1");
    if (!is_hot && rng_below(&fixed, 10) > 0) {
        TEXT_PUT(out, "&channel_id=");
        text_put_u64(out, rng_u64(&fixed) >> 33, 1);
    }
}

static void bid_json(struct nexmark_event *event, struct text_out *out)
{
    char extra[NEXMARK_TEXT_MAX];
    put_number(out, "{\"kind\":\"bid\",\"auction\":", event->auction);
    put_number(out, ",\"bidder\":", event->bidder);
    put_number(out, ",\"price\":", event->price);
    TEXT_PUT(out, ",\"channel\":\"");
    put_channel(out, &event->rng);
    TEXT_PUT(out, "\"");
    int32_t len = draw_extra(&event->rng, BID_BYTES_BEFORE, BID_BYTES, extra);
    put_tail(out, event, extra, len);
}

int32_t nexmark_json(struct nexmark_event *event, char *out)
{
    struct text_out text = {out};
    switch (event->kind) {
    case NEXMARK_PERSON:
        person_json(event, &text);
        break;
    case NEXMARK_AUCTION:
        auction_json(event, &text);
        break;
    case NEXMARK_BID:
        bid_json(event, &text);
        break;
    }
    CHECK(text.at - out <= NEXMARK_JSON_MAX);
    return (int32_t)(text.at - out);
}

/* --- binary --- */

static void put_le64(char *out, int64_t value)
{
    memcpy(out, &value, sizeof value);
}

int32_t nexmark_binary(struct nexmark_event *event, char *out)
{
    memset(out, 0, NEXMARK_BINARY_MAX);
    out[0] = (char)event->kind;
    put_le64(out + 8, event->time_ms);
    if (event->kind == NEXMARK_BID) {
        put_le64(out + 16, event->auction);
        put_le64(out + 24, event->bidder);
        put_le64(out + 32, event->price);
        return NEXMARK_BINARY_BID;
    }
    put_le64(out + 16, event->id);
    if (event->kind == NEXMARK_AUCTION) {
        put_le64(out + 24, event->seller);
        put_le64(out + 32, event->category);
        put_le64(out + 40, event->initial_bid);
        put_le64(out + 48, event->reserve);
        put_le64(out + 56, event->expires_ms);
        return 64;
    }
    struct person_texts texts;
    draw_person(&event->rng, &texts);
    memcpy(out + 24, texts.name, strlen(texts.name));
    memcpy(out + 48, texts.city, strlen(texts.city));
    memcpy(out + 72, texts.state, strlen(texts.state));
    return NEXMARK_BINARY_MAX;
}
