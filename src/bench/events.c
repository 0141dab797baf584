// SPDX-License-Identifier: Apache-2.0
#include "bench/events.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

/* --- Nexmark --- */

#define KIND "parse: {format: raw, fields: {kind: {type: u8, offset: 0}}}"
#define BID  "{filter: {where: kind == 2}}"

const struct nexmark_query nexmark_queries[] = {
    {.name = "q0",
     .bare = BARE_Q0,
     .stages = "      - name: s\n        from: in\n        to: out\n        chain:\n"
               "          - " KIND "\n"
               "          - " BID "\n"},
    {.name = "q1",
     .bare = BARE_Q1,
     .stages =
         "      - name: s\n        from: in\n        to: out\n        chain:\n"
         "          - parse: {format: raw, fields: {kind: {type: u8, offset: 0}, dateTime: {type: i64, "
         "offset: 8}, auction: {type: i64, offset: 16}, bidder: {type: i64, offset: 24}, price: "
         "{type: i64, offset: 32}}}\n"
         "          - " BID "\n"
         "          - map: {set: {price_thousandths: price * 908}}\n"
         "          - encode: {format: raw, fields: {kind: {type: u8, offset: 0}, dateTime: {type: "
         "i64, offset: 8}, auction: {type: i64, offset: 16}, bidder: {type: i64, offset: 24}, "
         "price_thousandths: {type: i64, offset: 32}}}\n"},
    {.name = "q2",
     .bare = BARE_Q2,
     .stages =
         "      - name: s\n        from: in\n        to: out\n        chain:\n"
         "          - parse: {format: raw, fields: {kind: {type: u8, offset: 0}, auction: {type: i64, "
         "offset: 16}, price: {type: i64, offset: 32}}}\n"
         "          - filter: {where: kind == 2 and auction % 123 == 0}\n"
         "          - map: {select: [auction, price]}\n"},
    {.name = "q3",
     .bare = BARE_Q3,
     .stages =
         "      - name: auctions\n        from: in\n        chain:\n"
         "          - " KIND "\n          - filter: {where: kind == 1}\n"
         "          - parse: {name: auction, format: raw, fields: {id: {type: i64, offset: 16}, seller: "
         "{type: i64, offset: 24}, category: {type: i64, offset: 32}}}\n"
         "          - filter: {name: category, where: category == 10}\n"
         "          - map: {select: [id, seller]}\n"
         "          - key_by: {key: seller, shards: 1}\n"
         "      - name: persons\n        from: in\n        chain:\n"
         "          - " KIND "\n          - filter: {where: kind == 0}\n"
         "          - parse: {name: person, format: raw, fields: {id: {type: i64, offset: 16}, name: "
         "{type: string, offset: 24, length: 24}, city: {type: string, offset: 48, length: 24}, state: "
         "{type: string, offset: 72, length: 8}}}\n"
         "          - filter: {name: state, where: \"state in ('OR', 'ID', 'CA')\"}\n"
         "          - map: {select: [id, name, city, state]}\n"
         "          - key_by: {key: id, shards: 1}\n"
         "      - name: both\n        from: [auctions, persons]\n        to: out\n        chain:\n"
         "          - join: {unbounded: true, as: [auction, person]}\n"
         "          - map: {set: {name: person.name, city: person.city, state: person.state, auction: "
         "auction.id}, select: [name, city, state, auction]}\n"},
    {.name = "q5",
     .bare = BARE_Q5,
     .stages =
         "      - name: count\n        from: in\n        chain:\n"
         "          - " KIND "\n"
         "          - " BID "\n"
         "          - window: {hopping: {size: 10s, slide: 2s}, out: {bids: count}}\n"
         "          - map: {set: {auction: cast(key as int)}}\n"
         "          - encode: {format: raw, fields: {window_end: {type: time, offset: 0}, auction: "
         "{type: i64, offset: 8}, bids: {type: i64, offset: 16}}}\n"
         "          - key_by: {key: window_end, shards: 1}\n"
         "      - name: hot\n        to: out\n        chain:\n"
         "          - window: {tumbling: 2s, out: {most: {top: {of: bids, ties: all, fields: "
         "[auction]}}}}\n"
         "          - map: {set: {bids: most}, select: [window_end, auction, bids]}\n"},
    {.name = "q7",
     .bare = BARE_Q7,
     .one_key = true,
     .stages =
         "      - name: highest\n        from: in\n        to: out\n        chain:\n"
         "          - parse: {format: raw, fields: {kind: {type: u8, offset: 0}, dateTime: {type: i64, "
         "offset: 8}, auction: {type: i64, offset: 16}, bidder: {type: i64, offset: 24}, price: "
         "{type: i64, offset: 32}}}\n"
         "          - " BID "\n"
         "          - window: {tumbling: 10s, out: {highest: {top: {of: price, ties: all, fields: "
         "[auction, bidder, dateTime]}}}}\n"
         "          - map: {set: {price: highest}, select: [auction, bidder, price, dateTime]}\n"},
    {.name = "q8",
     .bare = BARE_Q8,
     // A person's name is 24 bytes that an auction has other numbers in: three numbers for both.
     .stages =
         "      - name: new\n        from: in\n        to: out\n        chain:\n"
         "          - " KIND "\n          - filter: {where: kind < 2}\n"
         "          - parse: {name: who, format: raw, fields: {id: {type: i64, offset: 16}, name1: "
         "{type: i64, offset: 24}, name2: {type: i64, offset: 32}, name3: {type: i64, offset: 40}}}\n"
         "          - window: {tumbling: 10s, out: {auctions: {count: \"if(kind == 1, 1, null)\"}, id: "
         "{top: {of: \"if(kind == 0, id, null)\", fields: [name1, name2, name3]}}}}\n"
         "          - filter: {name: both, where: auctions > 0}\n"
         "          - encode: {format: raw, fields: {id: {type: i64, offset: 0}, name1: {type: i64, "
         "offset: 8}, name2: {type: i64, offset: 16}, name3: {type: i64, offset: 24}, window_start: "
         "{type: time, offset: 32}}}\n"},
};

int32_t nexmark_query_count(void)
{
    return (int32_t)COUNT_OF(nexmark_queries);
}

const struct nexmark_query *nexmark_query_find(const char *name)
{
    for (int32_t i = 0; i < nexmark_query_count(); i++) {
        if (strcmp(nexmark_queries[i].name, name) == 0) {
            return &nexmark_queries[i];
        }
    }
    return NULL;
}

void events_add_nexmark(struct feed *feed, const struct nexmark_options *options, int64_t count,
                        bool one_key)
{
    for (int64_t n = 0; n < count; n++) {
        struct nexmark_event event;
        char value[NEXMARK_BINARY_MAX];
        char key[24];
        nexmark_event(options, n, &event);
        int64_t time_ms = event.time_ms;
        int64_t group = nexmark_group_key(&event);
        int32_t bytes = nexmark_binary(&event, value);
        int len = snprintf(key, sizeof key, "%lld", (long long)(one_key ? 0 : group));
        feed_add(feed, (struct str){.ptr = key, .len = len},
                 (struct str){.ptr = value, .len = bytes}, time_ms);
    }
    feed_flush(feed);
}

/* --- Yahoo's --- */

const char *ysb_stages(struct arena *arena, enum ysb_form form, const char *table)
{
    const char *parse =
        form == YSB_JSON
            ? "          - parse: {fields: {ad_id: string, event_type: string}}\n"
              "          - filter: {where: event_type == 'view'}\n"
            : "          - parse: {format: raw, fields: {event_type: {type: u8, offset: 36}}}\n"
              "          - filter: {where: event_type == 0}\n"
              "          - parse: {name: ad, format: raw, fields: {ad_id: {type: string, offset: 0, length: "
              "36}}}\n";
    return arena_printf(
        arena,
        "      - name: views\n        from: in\n        chain:\n%s"
        "          - lookup: {table: %s, on: ad_id, fields: {campaign_id: string}, missing: drop}\n"
        "          - encode: {format: raw, fields: {campaign_id: {type: string, offset: 0, length: "
        "36}}}\n"
        "          - key_by: {key: campaign_id, shards: 1, codec: none}\n"
        "      - name: count\n        to: out\n        chain:\n"
        "          - window: {tumbling: 10s, out: {views: count}}\n"
        "          - map: {set: {campaign_id: key}, select: [campaign_id, window_start, views]}\n",
        parse, table);
}

void events_add_ysb(struct feed *feed, const struct ysb_options *options, int64_t count,
                    enum ysb_form form)
{
    for (int64_t n = 0; n < count; n++) {
        struct ysb_event event;
        char value[YSB_JSON_BYTES_MAX];
        int32_t bytes = YSB_BINARY_BYTES;
        ysb_event(options, n, &event);
        if (form == YSB_JSON) {
            bytes = ysb_json(options, &event, value);
        } else {
            ysb_binary(options, &event, value);
        }
        uint64_t key = (uint64_t)event.user;
        feed_add(feed, (struct str){.ptr = (const char *)&key, .len = (ptrdiff_t)sizeof key},
                 (struct str){.ptr = value, .len = bytes}, event.time_ms);
    }
    feed_flush(feed);
}

struct str events_ads(struct arena *arena, const struct ysb_options *options)
{
    enum { ROW_BYTES = 128 };
    int64_t ads = options->campaigns * options->ads_per_campaign;
    char *text = arena_new_raw(arena, ads * ROW_BYTES, 1);
    ptrdiff_t len = 0;
    for (int64_t i = 0; i < ads; i++) {
        char ad[YSB_UUID_BYTES];
        char campaign[YSB_UUID_BYTES];
        ysb_ad_id(options, i, ad);
        ysb_campaign_id(options, i / options->ads_per_campaign, campaign);
        int bytes = snprintf(text + len, ROW_BYTES,
                             "{\"ad_id\":\"%.36s\",\"campaign_id\":\"%.36s\"}\n", ad, campaign);
        CHECK(bytes < ROW_BYTES);
        len += bytes;
    }
    return (struct str){.ptr = text, .len = len};
}

struct lookup_table *events_ads_table(const struct ysb_options *options)
{
    struct arena arena;
    arena_init(&arena, 1 << 30);
    struct lookup_builder *builder = lookup_builder_new();
    struct str text = events_ads(&arena, options);
    CHECK(lookup_builder_add_text(builder, STR("ads"), STR("json"), STR("ad_id"), text, NULL) ==
          ERR_OK);
    struct lookup_table *table = lookup_table_new(builder);
    lookup_builder_free(builder);
    arena_release(&arena);
    return table;
}
