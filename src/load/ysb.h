// SPDX-License-Identifier: Apache-2.0
#ifndef LOAD_YSB_H
#define LOAD_YSB_H

#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"

/* Yahoo's streaming benchmark: views, clicks and purchases of ads that belong to campaigns. Event n is a function of
 * (options, n) alone. All choices are uniform. One thread at a time. */

enum {
    YSB_UUID_BYTES = 36,
    YSB_USERS = 100,
    YSB_PAGES = 100,
    YSB_CAMPAIGNS_MAX = 10000000,
    YSB_ADS_PER_CAMPAIGN_MAX = 1000,
    YSB_JSON_BYTES_MAX = 288,
    YSB_BINARY_BYTES = 78
};

#define YSB_EVENT_MAX INT64_C(1000000000000)

struct ysb_options {
    uint64_t seed;
    int64_t base_ms;          /* event time of event 0, ms since 1970 */
    int64_t rate;             /* events a second of event time, 1..1e9 */
    int64_t campaigns;        /* 1..YSB_CAMPAIGNS_MAX */
    int64_t ads_per_campaign; /* 1..YSB_ADS_PER_CAMPAIGN_MAX */
    bool skew; /* event times lie up to 50 ms off, and one in 100,000 up to a minute back */
};

enum ysb_type { YSB_VIEW, YSB_CLICK, YSB_PURCHASE };

struct ysb_event {
    int64_t time_ms; /* event time, ms since 1970 */
    int64_t user, page;
    int64_t ad;      /* 0..campaigns x ads_per_campaign */
    int32_t ad_type; /* 0..4 */
    enum ysb_type event_type;
};

/* Checks the ranges above. INVALID. */
ATTR_NODISCARD enum err ysb_check(const struct ysb_options *options, struct err_info *info);

/* Event `n`, 0..YSB_EVENT_MAX. */
void ysb_event(const struct ysb_options *options, int64_t n, struct ysb_event *ret_event);

/* Ids as texts of YSB_UUID_BYTES, without a 0 behind them. Ad `ad` belongs to campaign ad / ads_per_campaign. */
void ysb_ad_id(const struct ysb_options *options, int64_t ad, char *out);
void ysb_campaign_id(const struct ysb_options *options, int64_t campaign, char *out);

/* The event as one JSON object of seven text fields, into out[YSB_JSON_BYTES_MAX]; returns its bytes. */
int32_t ysb_json(const struct ysb_options *options, const struct ysb_event *event, char *out);

/* The same in YSB_BINARY_BYTES bytes, little endian: 0 text[36] ad_id, 36 u8 event_type (0 view, 1 click, 2 purchase),
 * 37 u8 ad_type, 38 i64 event_time, 46 u64 user, 54 u64 page, 62 text[16] ip_address. */
void ysb_binary(const struct ysb_options *options, const struct ysb_event *event, char *out);

#endif
