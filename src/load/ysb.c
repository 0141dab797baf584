// SPDX-License-Identifier: Apache-2.0
#include "load/ysb.h"

#include "base/check.h"
#include "load/text_out.h"

enum { AD_TYPES = 5, EVENT_TYPES = 3, SKEW_MS = 50, LATE_ONE_IN = 100000, LATE_MS = 60000 };

enum id_kind { ID_USER, ID_PAGE, ID_AD, ID_CAMPAIGN };

static const int64_t RATE_MAX = 1000000000;

enum err ysb_check(const struct ysb_options *options, struct err_info *info)
{
    if (options->rate < 1 || options->rate > RATE_MAX) {
        return err_set(info, ERR_INVALID, "ysb: the rate is 1 to %lld events a second, not %lld",
                       (long long)RATE_MAX, (long long)options->rate);
    }
    if (options->campaigns < 1 || options->campaigns > YSB_CAMPAIGNS_MAX) {
        return err_set(info, ERR_INVALID, "ysb: 1 to %d campaigns, not %lld", YSB_CAMPAIGNS_MAX,
                       (long long)options->campaigns);
    }
    if (options->ads_per_campaign < 1 || options->ads_per_campaign > YSB_ADS_PER_CAMPAIGN_MAX) {
        return err_set(info, ERR_INVALID, "ysb: 1 to %d ads of a campaign, not %lld",
                       YSB_ADS_PER_CAMPAIGN_MAX, (long long)options->ads_per_campaign);
    }
    return ERR_OK;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Version 4 of RFC 9562, its random bits from (seed, kind, number). */
static void put_uuid(const struct ysb_options *options, enum id_kind kind, int64_t number,
                     struct text_out *out)
{
    uint64_t high = mix(options->seed ^ mix((uint64_t)number * 4 + (uint64_t)kind + 1));
    uint64_t low = mix(high ^ (uint64_t)number);
    text_put_hex(out, high >> 32, 8);
    TEXT_PUT(out, "-");
    text_put_hex(out, high >> 16, 4);
    TEXT_PUT(out, "-4");
    text_put_hex(out, high, 3);
    TEXT_PUT(out, "-");
    text_put_hex(out, 8 | (low >> 60 & 3), 1);
    text_put_hex(out, low >> 48, 3);
    TEXT_PUT(out, "-");
    text_put_hex(out, low, 12);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the text is written through it */
void ysb_ad_id(const struct ysb_options *options, int64_t ad, char *out)
{
    struct text_out text = {out};
    put_uuid(options, ID_AD, ad, &text);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the text is written through it */
void ysb_campaign_id(const struct ysb_options *options, int64_t campaign, char *out)
{
    struct text_out text = {out};
    put_uuid(options, ID_CAMPAIGN, campaign, &text);
}

void ysb_event(const struct ysb_options *options, int64_t n, struct ysb_event *ret_event)
{
    struct rng rng;
    DCHECK(n >= 0 && n <= YSB_EVENT_MAX);
    rng_init(&rng, options->seed + (uint64_t)n * UINT64_C(0x9e3779b97f4a7c15));
    *ret_event = (struct ysb_event){
        .time_ms = options->base_ms + n * 1000 / options->rate,
        .user = (int64_t)rng_below(&rng, YSB_USERS),
        .page = (int64_t)rng_below(&rng, YSB_PAGES),
        .ad = (int64_t)rng_below(&rng, (uint64_t)(options->campaigns * options->ads_per_campaign)),
        .ad_type = (int32_t)rng_below(&rng, AD_TYPES),
        .event_type = (enum ysb_type)rng_below(&rng, EVENT_TYPES)};
    if (options->skew) {
        ret_event->time_ms += rng_range(&rng, -SKEW_MS, SKEW_MS - 1);
        if (rng_below(&rng, LATE_ONE_IN) == 0) {
            ret_event->time_ms -= (int64_t)rng_below(&rng, LATE_MS);
        }
    }
}

int32_t ysb_json(const struct ysb_options *options, const struct ysb_event *event, char *out)
{
    static const char *const ad_types[AD_TYPES] = {"banner", "modal", "sponsored-search", "mail",
                                                   "mobile"};
    static const char *const event_types[EVENT_TYPES] = {"view", "click", "purchase"};
    const char *ad_type = ad_types[event->ad_type];
    const char *event_type = event_types[event->event_type];
    struct text_out text = {out};
    TEXT_PUT(&text, "{\"user_id\": \"");
    put_uuid(options, ID_USER, event->user, &text);
    TEXT_PUT(&text, "\", \"page_id\": \"");
    put_uuid(options, ID_PAGE, event->page, &text);
    TEXT_PUT(&text, "\", \"ad_id\": \"");
    put_uuid(options, ID_AD, event->ad, &text);
    TEXT_PUT(&text, "\", \"ad_type\": \"");
    text_put(&text, ad_type, strlen(ad_type));
    TEXT_PUT(&text, "\", \"event_type\": \"");
    text_put(&text, event_type, strlen(event_type));
    TEXT_PUT(&text, "\", \"event_time\": \"");
    text_put_i64(&text, event->time_ms);
    TEXT_PUT(&text, "\", \"ip_address\": \"1.2.3.4\"}");
    CHECK(text.at - out <= YSB_JSON_BYTES_MAX);
    return (int32_t)(text.at - out);
}

void ysb_binary(const struct ysb_options *options, const struct ysb_event *event, char *out)
{
    memset(out, 0, YSB_BINARY_BYTES);
    ysb_ad_id(options, event->ad, out);
    out[36] = (char)event->event_type;
    out[37] = (char)event->ad_type;
    memcpy(out + 38, &event->time_ms, sizeof(int64_t));
    memcpy(out + 46, &event->user, sizeof(int64_t));
    memcpy(out + 54, &event->page, sizeof(int64_t));
    // NOLINTNEXTLINE(bugprone-not-null-terminated-result): a field of 7 bytes, no text with an end
    memcpy(out + 62, "1.2.3.4", 7);
}
