// SPDX-License-Identifier: Apache-2.0
#ifndef LOAD_NEXMARK_H
#define LOAD_NEXMARK_H

#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"

/* Nexmark's mixed stream of an auction house: of every 50 events 1 person, 3 auctions, 46 bids. Event n is a function of
 * (options, n) alone, so a range of events can be made anywhere, in pieces, again.
 *
 * Departures from the reference generator (docs/nexmark.md): its random numbers differ from run to run, ours come from
 * the seed; it adds the first person's id twice to a bid's bidder, we add it once. One thread at a time. */

enum {
    NEXMARK_PERSON_FIRST = 1000, /* id */
    NEXMARK_AUCTION_FIRST = 1000,
    NEXMARK_CATEGORY_FIRST = 10,
    NEXMARK_GROUP_MAX = 100000,
    NEXMARK_JSON_MAX = 1536, /* bytes of an event's JSON */
    NEXMARK_TEXT_MAX = 640   /* bytes of one text field */
};

/* Rates above make no sense in whole milliseconds; event numbers stay far from the end of 64 bits. */
#define NEXMARK_RATE_MAX  INT64_C(1000000000)
#define NEXMARK_EVENT_MAX INT64_C(1000000000000)

enum nexmark_kind { NEXMARK_PERSON, NEXMARK_AUCTION, NEXMARK_BID };

struct nexmark_options {
    uint64_t seed;
    int64_t base_ms; /* event time of event 0, ms since 1970 */
    int64_t rate;    /* events a second of event time, 1..NEXMARK_RATE_MAX */
    int64_t
        group; /* events of so many change places; 1: in order. 1..NEXMARK_GROUP_MAX, no multiple of 953 */
};

/* Numbers of an event; its texts come from nexmark_json, out of `rng`. */
struct nexmark_event {
    enum nexmark_kind kind;
    int64_t number;  /* n' : the event's place in the order of event times */
    int64_t time_ms; /* event time, ms since 1970 */
    int64_t id;      /* of the person or auction */
    /* auction */
    int64_t seller, category, initial_bid, reserve, expires_ms;
    /* bid */
    int64_t auction, bidder;
    int64_t price;
    struct rng rng;
};

/* Checks the ranges above. INVALID. */
ATTR_NODISCARD enum err nexmark_check(const struct nexmark_options *options, struct err_info *info);

/* Event `n`, 0..NEXMARK_EVENT_MAX, in the order in which events come. */
void nexmark_event(const struct nexmark_options *options, int64_t n,
                   struct nexmark_event *ret_event);

/* The time that no event from `n` on is before. */
int64_t nexmark_watermark_ms(const struct nexmark_options *options, int64_t n);

/* The event as one JSON object, into out[NEXMARK_JSON_MAX]; returns its bytes. Draws from event->rng. */
int32_t nexmark_json(struct nexmark_event *event, char *out);

/* The fields that queries use, at fixed offsets, little endian; returns the bytes written (NEXMARK_BINARY_MAX at most).
 *   all      0 u8 kind (0 person, 1 auction, 2 bid)   8 i64 dateTime
 *   person  16 i64 id  24 text[24] name  48 text[24] city  72 text[8] state                 80 bytes
 *   auction 16 i64 id  24 i64 seller  32 i64 category  40 i64 initialBid  48 i64 reserve
 *           56 i64 expires                                                                  64 bytes
 *   bid     16 i64 auction  24 i64 bidder  32 i64 price                                     40 bytes
 * Draws from event->rng. */
enum { NEXMARK_BINARY_MAX = 80, NEXMARK_BINARY_BID = 40 };
int32_t nexmark_binary(struct nexmark_event *event, char *out);

/* What the queries group by: a bid's auction, an auction's seller, a person's id. */
int64_t nexmark_group_key(const struct nexmark_event *event);

#endif
