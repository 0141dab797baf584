// SPDX-License-Identifier: Apache-2.0
#include "bench/feed.h"

#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"

void feed_init(struct feed *feed, int64_t pass_ms)
{
    *feed = (struct feed){.pass_ms = pass_ms};
    record_builder_init(&feed->builder, RECORD_CODEC_NONE);
    record_reader_init(&feed->reader);
}

void feed_release(struct feed *feed)
{
    record_builder_release(&feed->builder);
    record_reader_release(&feed->reader);
    mem_free(feed->bytes);
}

void feed_flush(struct feed *feed)
{
    if (feed->builder.count == 0) {
        return;
    }
    void *bytes;
    ptrdiff_t len;
    CHECK(record_builder_finish(&feed->builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) ==
          ERR_OK);
    while (feed->len + len + RECORD_READ_PADDING > feed->cap) {
        feed->cap = feed->cap == 0 ? 1 << 20 : feed->cap * 2;
        feed->bytes = mem_resize(feed->bytes, feed->cap, 1);
    }
    memcpy(feed->bytes + feed->len, bytes, (size_t)len);
    feed->len += len;
    memset(feed->bytes + feed->len, 0, RECORD_READ_PADDING);
    record_builder_reset(&feed->builder);
}

void feed_add(struct feed *feed, struct str key, struct str value, int64_t time_ms)
{
    struct record record = {.timestamp_ms = time_ms, .key = key, .value = value};
    CHECK(record_builder_add(&feed->builder, &record) == ERR_OK);
    if (feed->builder.count == FEED_BATCH_RECORDS) {
        feed_flush(feed);
    }
}

void feed_add_clicks(struct feed *feed, uint64_t seed, int32_t count)
{
    static const char *const KINDS[] = {"view", "click", "purchase"};
    struct rng rng;
    rng_init(&rng, seed);
    for (int32_t i = 0; i < count; i++) {
        char text[512];
        char key[32];
        uint64_t user = rng_below(&rng, 100000);
        int key_len = snprintf(key, sizeof key, "user-%06llu", (unsigned long long)user);
        int len = snprintf(
            text, sizeof text,
            "{\"user\":\"%s\",\"page\":\"/products/%05llu/details\",\"kind\":\"%s\",\"ts\":%lld,"
            "\"duration\":%llu,\"agent\":\"Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0\","
            "\"session\":\"%016llx%04llx\"}",
            key, (unsigned long long)rng_below(&rng, 100000), KINDS[rng_below(&rng, 3)],
            1700000000000LL + i, (unsigned long long)rng_below(&rng, 100000),
            (unsigned long long)rng_u64(&rng), (unsigned long long)rng_below(&rng, 65536));
        feed_add(feed, (struct str){.ptr = key, .len = key_len},
                 (struct str){.ptr = text, .len = len}, i);
    }
    feed_flush(feed);
}

int64_t feed_largest_ms(const struct feed *feed)
{
    return feed->reader.header.max_timestamp_ms + feed->offset_ms;
}

void feed_begin(struct feed *feed)
{
    if (feed->at == feed->len) {
        feed->at = 0;
        feed->offset_ms += feed->pass_ms;
    }
    struct record_batch_header header;
    ptrdiff_t total;
    const char *bytes = feed->bytes + feed->at;
    CHECK(record_batch_parse(bytes, feed->len - feed->at, &header, &total, NULL) == ERR_OK);
    CHECK(record_batch_verify(bytes, total, NULL) == ERR_OK);
    CHECK(record_reader_begin(&feed->reader, bytes, total, NULL) == ERR_OK);
    feed->at += total;
}

/* To all that there is room for: a known number of them goes several at a time. */
static void add_offset(int64_t time_ms[BATCH_ROWS_MAX], int64_t offset_ms)
{
    for (int32_t i = 0; i < BATCH_ROWS_MAX; i++) {
        time_ms[i] = (int64_t)((uint64_t)time_ms[i] + (uint64_t)offset_ms);
    }
}

struct batch *feed_next(struct feed *feed, struct arena *arena)
{
    struct batch *batch = batch_new(arena, BATCH_ROWS_MAX);
    int64_t *offset = arena_new_raw(arena, BATCH_ROWS_MAX, (ptrdiff_t)sizeof *offset);
    struct record_arrays arrays = {
        .offset = offset, .timestamp_ms = batch->time_ms, .key = batch->key, .value = batch->value};
    int32_t count = record_reader_next_many(&feed->reader, &arrays, BATCH_ROWS_MAX);
    CHECK(count >= 0);
    if (count == 0) {
        return NULL;
    }
    batch->count = count;
    batch->sel_count = count;
    batch->offset = offset;
    hash64_many(batch->key, count, batch->hash);
    if (feed->offset_ms != 0) {
        add_offset(batch->time_ms, feed->offset_ms);
    }
    return batch;
}
