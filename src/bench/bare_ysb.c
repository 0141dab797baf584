// SPDX-License-Identifier: Apache-2.0
#include "bench/bare_ysb.h"

#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "bench/bare_walk.h"
#include "log/record_batch.h"

enum { WINDOW_MS = 10000, AT_TYPE = 36, AT_TIME = 38, PIECE = 1024 };

struct ad {
    char id[YSB_UUID_BYTES];
    int32_t campaign; /* + 1; 0: an empty cell */
};

struct bare_ysb {
    struct ad *ads; /* open table by hash of the id, at most half full */
    uint64_t mask;
    int32_t *views; /* of each campaign, in the present window */
    int64_t campaigns;
    int64_t window; /* -1: none yet */
    int64_t results;
    uint64_t sum;
    struct bare_json *json;
    struct str values[PIECE];
    struct bare_view view[PIECE];
};

/* The ad's cell, or the empty one where it belongs. */
static ATTR_ALWAYS_INLINE struct ad *find(const struct bare_ysb *bare, const char *id)
{
    uint64_t place = hash64(id, YSB_UUID_BYTES) & bare->mask;
    while (bare->ads[place].campaign != 0 && memcmp(bare->ads[place].id, id, YSB_UUID_BYTES) != 0) {
        place = (place + 1) & bare->mask;
    }
    return &bare->ads[place];
}

struct bare_ysb *bare_ysb_new(const struct ysb_options *options)
{
    struct bare_ysb *bare = MEM_NEW(struct bare_ysb);
    int64_t ads = options->campaigns * options->ads_per_campaign;
    uint64_t cells = 64;
    while (cells < (uint64_t)ads * 2) {
        cells *= 2;
    }
    bare->ads = MEM_NEW_ARRAY(struct ad, (ptrdiff_t)cells);
    bare->mask = cells - 1;
    bare->campaigns = options->campaigns;
    bare->views = MEM_NEW_ARRAY(int32_t, options->campaigns);
    bare->window = -1;
    bare->json = bare_json_new();
    for (int64_t i = 0; i < ads; i++) {
        char id[YSB_UUID_BYTES];
        ysb_ad_id(options, i, id);
        struct ad *ad = find(bare, id);
        memcpy(ad->id, id, sizeof id);
        ad->campaign = (int32_t)(i / options->ads_per_campaign) + 1;
    }
    return bare;
}

void bare_ysb_free(struct bare_ysb *bare)
{
    if (bare != NULL) {
        bare_json_free(bare->json);
        mem_free(bare->ads);
        mem_free(bare->views);
        mem_free(bare);
    }
}

static void close_window(struct bare_ysb *bare)
{
    for (int64_t i = 0; i < bare->campaigns; i++) {
        bare->results += bare->views[i] != 0;
        bare->sum += (uint64_t)(bare->views[i] * i);
    }
    memset(bare->views, 0, (size_t)bare->campaigns * sizeof *bare->views);
}

static ATTR_ALWAYS_INLINE void view(struct bare_ysb *bare, const char *ad_id, int64_t time_ms)
{
    int64_t window = time_ms / WINDOW_MS;
    if (UNLIKELY(window != bare->window)) {
        if (bare->window >= 0) {
            close_window(bare);
        }
        bare->window = window;
    }
    const struct ad *ad = find(bare, ad_id);
    if (LIKELY(ad->campaign != 0)) {
        bare->views[ad->campaign - 1]++;
    }
}

void bare_ysb_finish(struct bare_ysb *bare)
{
    if (bare->window >= 0) {
        close_window(bare);
    }
    bare->window = -1;
}

int64_t bare_ysb_results(const struct bare_ysb *bare)
{
    return bare->results;
}

/* The records of a batch that holds; `ret_count`: how many. */
static struct bare_walk open_batch(const char *bytes, int64_t len, ptrdiff_t *ret_total,
                                   int64_t *ret_count)
{
    struct record_batch_header header;
    CHECK(record_batch_parse(bytes, len, &header, ret_total, NULL) == ERR_OK);
    CHECK(record_batch_verify(bytes, *ret_total, NULL) == ERR_OK);
    *ret_count = header.record_count;
    return (struct bare_walk){.at = (const uint8_t *)bytes + RECORD_BATCH_HEADER,
                              .end = (const uint8_t *)bytes + *ret_total};
}

int64_t bare_ysb_binary_batch(struct bare_ysb *bare, const char *bytes, int64_t len,
                              ptrdiff_t *ret_total)
{
    int64_t count;
    struct bare_walk at = open_batch(bytes, len, ret_total, &count);
    while (at.at < at.end) {
        int64_t value_bytes;
        const char *value = bare_walk_next(&at, &value_bytes);
        if (value[AT_TYPE] == YSB_VIEW) {
            int64_t time_ms;
            memcpy(&time_ms, value + AT_TIME, sizeof time_ms);
            view(bare, value, time_ms);
        }
    }
    return count;
}

void bare_ysb_values(struct bare_ysb *bare, const struct str *values, int32_t count)
{
    for (int32_t first = 0; first < count; first += PIECE) {
        int32_t piece = count - first < PIECE ? count - first : PIECE;
        int32_t views = bare_json_views(bare->json, values + first, piece, bare->view);
        for (int32_t i = 0; i < views; i++) {
            view(bare, bare->view[i].ad_id, bare->view[i].time_ms);
        }
    }
}

int64_t bare_ysb_json_batch(struct bare_ysb *bare, const char *bytes, int64_t len,
                            ptrdiff_t *ret_total)
{
    int64_t count;
    struct bare_walk at = open_batch(bytes, len, ret_total, &count);
    while (at.at < at.end) {
        int32_t piece = 0;
        while (at.at < at.end && piece < PIECE) {
            int64_t value_bytes;
            const char *value = bare_walk_next(&at, &value_bytes);
            bare->values[piece++] = (struct str){.ptr = value, .len = value_bytes};
        }
        bare_ysb_values(bare, bare->values, piece);
    }
    return count;
}
