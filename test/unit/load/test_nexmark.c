// SPDX-License-Identifier: Apache-2.0
/* The rules of the Nexmark generator, each worked out here from the numbers of events alone. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "load/nexmark.h"
#include "test.h"

enum { EVENTS = 200000 };

static struct nexmark_options options_of(int64_t group)
{
    return (struct nexmark_options){
        .seed = test_seed(), .base_ms = 1436918400000, .rate = 10000, .group = group};
}

TEST(of_each_50_events_1_is_a_person_3_are_auctions_and_46_bids)
{
    struct nexmark_options options = options_of(1);
    int64_t persons = 0;
    int64_t auctions = 0;
    for (int64_t n = 0; n < EVENTS; n++) {
        struct nexmark_event e;
        nexmark_event(&options, n, &e);
        int64_t rest = n % 50;
        EXPECT_INT(e.kind, rest == 0 ? NEXMARK_PERSON : rest < 4 ? NEXMARK_AUCTION : NEXMARK_BID);
        if (e.kind == NEXMARK_PERSON) {
            EXPECT_INT(e.id, 1000 + persons++); /* ids are dense */
        } else if (e.kind == NEXMARK_AUCTION) {
            EXPECT_INT(e.id, 1000 + auctions++);
        }
        EXPECT_INT(e.time_ms, 1436918400000 + n / 10);
    }
}

TEST(references_go_to_the_last_ones_and_at_most_ten_ahead)
{
    struct nexmark_options options = options_of(1);
    int64_t persons = 0;
    int64_t auctions = 0;
    int64_t hot_sellers = 0;
    int64_t hot_bidders = 0;
    int64_t hot_auctions = 0;
    int64_t bids = 0;
    int64_t made = 0;
    for (int64_t n = 0; n < EVENTS; n++) {
        struct nexmark_event e;
        nexmark_event(&options, n, &e);
        persons += e.kind == NEXMARK_PERSON;
        auctions += e.kind == NEXMARK_AUCTION;
        int64_t last_person = persons - 1;
        int64_t last_auction = auctions > 0 ? auctions - 1 : 0;
        if (e.kind == NEXMARK_AUCTION) {
            made++;
            int64_t seller = e.seller - 1000;
            hot_sellers += seller == last_person / 100 * 100;
            EXPECT(seller == last_person / 100 * 100 ||
                   (seller > last_person - 1000 && seller <= last_person + 10));
            EXPECT(e.category >= 10 && e.category <= 14);
            EXPECT(e.reserve >= e.initial_bid + 100 && e.initial_bid >= 100);
            /* 1666 further events take 166 or 167 ms */
            EXPECT(e.expires_ms > e.time_ms && e.expires_ms <= e.time_ms + 2 * 167);
        } else if (e.kind == NEXMARK_BID) {
            bids++;
            int64_t auction = e.auction - 1000;
            int64_t bidder = e.bidder - 1000;
            hot_auctions += auction == last_auction / 100 * 100;
            hot_bidders += bidder == last_person / 100 * 100 + 1;
            EXPECT(auction == last_auction / 100 * 100 ||
                   (auction >= last_auction - 100 && auction <= last_auction + 10));
            EXPECT(bidder == last_person / 100 * 100 + 1 ||
                   (bidder > last_person - 1000 && bidder <= last_person + 10));
            EXPECT(e.price >= 100 && e.price <= 100000000);
        }
    }
    /* shares: 3/4, 3/4, 1/2 and a little of the others' draws; five standard deviations are below 0.02 */
    EXPECT_NEAR((double)hot_sellers / (double)made, 0.75, 0.02);
    EXPECT_NEAR((double)hot_bidders / (double)bids, 0.75, 0.02);
    EXPECT_NEAR((double)hot_auctions / (double)bids, 0.505, 0.02);
}

TEST(prices_are_log_uniform)
{
    struct nexmark_options options = options_of(1);
    int64_t decades[7] = {0};
    int64_t bids = 0;
    for (int64_t n = 0; n < EVENTS; n++) {
        struct nexmark_event e;
        nexmark_event(&options, n, &e);
        if (e.kind == NEXMARK_BID) {
            bids++;
            decades[(int)floor(log10((double)e.price / 100.0))]++;
        }
    }
    for (int i = 0; i < 6; i++) {
        EXPECT_NEAR((double)decades[i] / (double)bids, 1.0 / 6.0, 0.01);
    }
}

TEST(groups_change_the_order_and_nothing_else)
{
    enum { GROUP = 1000 };
    struct nexmark_options sorted = options_of(1);
    struct nexmark_options mixed = options_of(GROUP);
    static bool seen[EVENTS];
    memset(seen, 0, sizeof seen);
    int64_t moved = 0;
    for (int64_t n = 0; n < EVENTS; n++) {
        struct nexmark_event a;
        struct nexmark_event b;
        nexmark_event(&mixed, n, &a);
        EXPECT_INT(a.number, n / GROUP * GROUP + n * 953 % GROUP);
        EXPECT(!seen[a.number]);
        seen[a.number] = true;
        moved += a.number != n;
        EXPECT(a.time_ms >= nexmark_watermark_ms(&mixed, n));
        nexmark_event(&sorted, a.number, &b);
        char x[NEXMARK_JSON_MAX];
        char y[NEXMARK_JSON_MAX];
        int32_t len = nexmark_json(&a, x);
        EXPECT(nexmark_json(&b, y) == len && memcmp(x, y, (size_t)len) == 0);
    }
    EXPECT(moved > EVENTS / 2);
}

TEST(json_is_what_the_event_says_and_has_the_target_size)
{
    struct nexmark_options options = options_of(1);
    int64_t bytes = 0;
    enum { SOME = 20000 };
    for (int64_t n = 0; n < SOME; n++) {
        struct nexmark_event e;
        char out[NEXMARK_JSON_MAX];
        nexmark_event(&options, n, &e);
        int32_t len = nexmark_json(&e, out);
        bytes += len;
        json_t *row = json_loadb(out, (size_t)len, JSON_REJECT_DUPLICATES, NULL);
        CHECK_MSG(row != NULL, "%.*s", len, out);
        EXPECT_INT(json_integer_value(json_object_get(row, "dateTime")), e.time_ms);
        const char *kind = json_string_value(json_object_get(row, "kind"));
        size_t extra = strlen(json_string_value(json_object_get(row, "extra")));
        if (e.kind == NEXMARK_BID) {
            EXPECT(strcmp(kind, "bid") == 0);
            EXPECT_INT(json_integer_value(json_object_get(row, "auction")), e.auction);
            EXPECT_INT(json_integer_value(json_object_get(row, "bidder")), e.bidder);
            EXPECT_INT(json_integer_value(json_object_get(row, "price")), e.price);
            EXPECT(extra >= 54 && extra < 82); /* 68 - 14 and 28 more at random */
        } else if (e.kind == NEXMARK_AUCTION) {
            EXPECT(strcmp(kind, "auction") == 0);
            EXPECT_INT(json_integer_value(json_object_get(row, "seller")), e.seller);
            EXPECT_INT(json_integer_value(json_object_get(row, "expires")), e.expires_ms);
        } else {
            EXPECT(strcmp(kind, "person") == 0);
            EXPECT_INT(json_integer_value(json_object_get(row, "id")), e.id);
            EXPECT_INT(strlen(json_string_value(json_object_get(row, "state"))), 2);
            EXPECT_INT(strlen(json_string_value(json_object_get(row, "creditCard"))), 19);
        }
        json_decref(row);
    }
    EXPECT_NEAR((double)bytes / SOME, 271.0, 40.0); /* the reference's mean, as JSON */
}

TEST(binary_has_the_fields_at_their_offsets)
{
    struct nexmark_options options = options_of(1);
    for (int64_t n = 0; n < 1000; n++) {
        struct nexmark_event e;
        char out[NEXMARK_BINARY_MAX];
        nexmark_event(&options, n, &e);
        struct nexmark_event again = e;
        char text[NEXMARK_JSON_MAX];
        int32_t text_len = nexmark_json(&again, text);
        int32_t len = nexmark_binary(&e, out);
        int64_t words[10] = {0};
        memcpy(words, out, (size_t)len);
        EXPECT_INT(out[0], e.kind);
        EXPECT_INT(words[1], e.time_ms);
        if (e.kind == NEXMARK_BID) {
            EXPECT_INT(len, 40);
            EXPECT(words[2] == e.auction && words[3] == e.bidder && words[4] == e.price);
        } else if (e.kind == NEXMARK_AUCTION) {
            EXPECT_INT(len, 64);
            EXPECT(words[2] == e.id && words[3] == e.seller && words[4] == e.category);
            EXPECT(words[5] == e.initial_bid && words[6] == e.reserve && words[7] == e.expires_ms);
        } else {
            EXPECT_INT(len, 80);
            json_t *row = json_loadb(text, (size_t)text_len, 0, NULL);
            EXPECT(strcmp(out + 24, json_string_value(json_object_get(row, "name"))) == 0);
            EXPECT(strcmp(out + 48, json_string_value(json_object_get(row, "city"))) == 0);
            EXPECT(strcmp(out + 72, json_string_value(json_object_get(row, "state"))) == 0);
            json_decref(row);
        }
    }
}

TEST(nexmark_ranges_are_checked)
{
    struct err_info info;
    struct nexmark_options options = options_of(953);
    EXPECT_INT(nexmark_check(&options, &info), ERR_INVALID);
    options.group = 0;
    EXPECT_INT(nexmark_check(&options, &info), ERR_INVALID);
    options.group = 1;
    options.rate = 0;
    EXPECT_INT(nexmark_check(&options, &info), ERR_INVALID);
    options.rate = 1;
    EXPECT_INT(nexmark_check(&options, &info), ERR_OK);
}
