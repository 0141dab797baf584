// SPDX-License-Identifier: Apache-2.0
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "load/ysb.h"
#include "test.h"

enum { EVENTS = 200000 };

static struct ysb_options options_of(bool skew)
{
    return (struct ysb_options){.seed = test_seed(),
                                .base_ms = 1436918400000,
                                .rate = 20000,
                                .campaigns = 100,
                                .ads_per_campaign = 10,
                                .skew = skew};
}

TEST(ysb_choices_are_uniform_and_times_regular)
{
    struct ysb_options options = options_of(false);
    static int64_t ads[1000];
    memset(ads, 0, sizeof ads);
    int64_t views = 0;
    for (int64_t n = 0; n < EVENTS; n++) {
        struct ysb_event e;
        ysb_event(&options, n, &e);
        EXPECT_INT(e.time_ms, 1436918400000 + n / 20);
        EXPECT(e.ad >= 0 && e.ad < 1000 && e.user >= 0 && e.user < 100 && e.page < 100);
        ads[e.ad]++;
        views += e.event_type == YSB_VIEW;
    }
    EXPECT_NEAR((double)views / EVENTS, 1.0 / 3.0, 0.01);
    double chi = 0;
    for (int i = 0; i < 1000; i++) {
        double off = (double)ads[i] - EVENTS / 1000.0;
        chi += off * off / (EVENTS / 1000.0);
    }
    EXPECT_NEAR(chi, 999.0, 6 * 45.0); /* chi square of 999 degrees: its deviation is 44.7 */
}

TEST(ysb_skew_moves_times_as_told)
{
    struct ysb_options options = options_of(true);
    struct ysb_options sorted = options_of(false);
    int64_t late = 0;
    int64_t least = 0;
    int64_t most = 0;
    enum { MANY = 1000000 };
    for (int64_t n = 0; n < MANY; n++) {
        struct ysb_event a;
        struct ysb_event b;
        ysb_event(&options, n, &a);
        ysb_event(&sorted, n, &b);
        int64_t off = a.time_ms - b.time_ms;
        EXPECT(off > -60050 && off < 50 && a.ad == b.ad);
        late += off < -50;
        least = off >= -50 && off < least ? off : least;
        most = off > most ? off : most;
    }
    EXPECT(least == -50 && most == 49);
    EXPECT_MSG(late >= 1 && late <= 30, "%lld of a million", (long long)late); /* 10 expected */
}

TEST(ysb_json_has_seven_texts_in_order_and_ids_are_their_own)
{
    struct ysb_options options = options_of(false);
    int64_t bytes = 0;
    for (int64_t n = 0; n < 2000; n++) {
        static const char *const keys[] = {"user_id",    "page_id",    "ad_id",     "ad_type",
                                           "event_type", "event_time", "ip_address"};
        struct ysb_event e;
        char out[YSB_JSON_BYTES_MAX];
        char ad[YSB_UUID_BYTES];
        ysb_event(&options, n, &e);
        ysb_ad_id(&options, e.ad, ad);
        int32_t len = ysb_json(&options, &e, out);
        bytes += len + 1;
        json_t *row = json_loadb(out, (size_t)len, JSON_REJECT_DUPLICATES, NULL);
        CHECK_MSG(row != NULL, "%.*s", len, out);
        size_t at = 0;
        const char *key;
        json_t *value;
        json_object_foreach(row, key, value)
        {
            EXPECT(at < 7 && strcmp(key, keys[at]) == 0 && json_is_string(value));
            at++;
        }
        EXPECT_INT(at, 7);
        EXPECT(strncmp(json_string_value(json_object_get(row, "ad_id")), ad, 36) == 0);
        char binary[YSB_BINARY_BYTES];
        ysb_binary(&options, &e, binary);
        EXPECT(memcmp(binary, ad, 36) == 0 && binary[36] == (char)e.event_type);
        EXPECT(memcmp(binary + 38, &e.time_ms, 8) == 0);
        json_decref(row);
    }
    EXPECT_NEAR((double)bytes / 2000, 254.0, 6.0);
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, YSB_UUID_BYTES);
}

TEST(ysb_ids_differ)
{
    struct ysb_options options = options_of(false);
    enum { IDS = 20000 };
    static char ids[IDS][YSB_UUID_BYTES];
    for (int i = 0; i < IDS / 2; i++) {
        ysb_ad_id(&options, i, ids[2 * i]);
        ysb_campaign_id(&options, i, ids[2 * i + 1]);
    }
    qsort(ids, IDS, YSB_UUID_BYTES, compare_ids);
    for (int i = 1; i < IDS; i++) {
        EXPECT(compare_ids(ids[i - 1], ids[i]) != 0);
    }
}

TEST(ysb_ranges_are_checked)
{
    struct err_info info;
    struct ysb_options options = options_of(false);
    EXPECT_INT(ysb_check(&options, &info), ERR_OK);
    options.campaigns = 0;
    EXPECT_INT(ysb_check(&options, &info), ERR_INVALID);
    options = options_of(false);
    options.rate = 0;
    EXPECT_INT(ysb_check(&options, &info), ERR_INVALID);
    options = options_of(false);
    options.ads_per_campaign = 1001;
    EXPECT_INT(ysb_check(&options, &info), ERR_INVALID);
}
