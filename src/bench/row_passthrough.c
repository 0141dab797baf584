// SPDX-License-Identifier: Apache-2.0
// Records of 200 bytes from memory to memory: decoded, through an empty chain, encoded into new record batches; against a
// loop that checks each batch's CRC, copies its records and frames the copy.

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench/feed_run.h"
#include "bench/rows.h"

enum { PASS_RECORDS = 256 << 10, PASS_VALUE_BYTES = 180 };

struct pass_row {
    struct feed feed;
    struct feed limit_feed; /* its own place in the same bytes */
    struct feed_run run;
    struct record_builder builder;
    char *copy;
    uint64_t sum;
};

static void pass_close(void *self)
{
    struct pass_row *row = self;
    row->limit_feed.bytes = NULL;
    feed_release(&row->feed);
    feed_release(&row->limit_feed);
    feed_run_close(&row->run);
    record_builder_release(&row->builder);
    mem_free(row->copy);
    mem_free(row);
}

static void encode_output(void *ctx, const struct output *output)
{
    struct pass_row *row = ctx;
    record_builder_reset(&row->builder);
    for (int32_t i = 0; i < output->count; i++) {
        struct record record = {
            .timestamp_ms = output->time_ms[i], .key = output->key[i], .value = output->value[i]};
        CHECK(record_builder_add(&row->builder, &record) == ERR_OK);
    }
    void *bytes;
    ptrdiff_t len;
    CHECK(record_builder_finish(&row->builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
    row->sum += (uint64_t)len;
}

static int64_t pass_engine(void *self)
{
    struct pass_row *row = self;
    return feed_run_step(&row->run, &row->feed);
}

static int64_t pass_limit(void *self)
{
    struct pass_row *row = self;
    struct feed *feed = &row->limit_feed;
    feed->at = feed->at == feed->len ? 0 : feed->at;
    struct record_batch_header header;
    ptrdiff_t total;
    const char *bytes = feed->bytes + feed->at;
    CHECK(record_batch_parse(bytes, feed->len - feed->at, &header, &total, NULL) == ERR_OK);
    CHECK(record_batch_verify(bytes, total, NULL) == ERR_OK);
    memcpy(row->copy, bytes, (size_t)total);
    row->sum += crc32c(0, row->copy, total);
    feed->at += total;
    return header.record_count;
}

static enum err pass_open(uint64_t seed, void **ret_self, struct err_info *info)
{
    struct pass_row *row = MEM_NEW(struct pass_row);
    feed_init(&row->feed, PASS_RECORDS);
    feed_init(&row->limit_feed, PASS_RECORDS);
    record_builder_init(&row->builder, RECORD_CODEC_NONE);
    enum err err = feed_run_open_chain(&row->run, "[]", info);
    row->run.options.take = encode_output;
    row->run.options.take_ctx = row;
    if (err != ERR_OK) {
        pass_close(row);
        return err;
    }
    struct rng rng;
    rng_init(&rng, seed);
    for (int i = 0; i < PASS_RECORDS; i++) {
        uint64_t key = rng_below(&rng, 100000);
        char value[PASS_VALUE_BYTES];
        memset(value, (int)rng_below(&rng, 256), sizeof value);
        feed_add(&row->feed, (struct str){.ptr = (const char *)&key, .len = 8},
                 (struct str){.ptr = value, .len = (ptrdiff_t)sizeof value}, i);
    }
    feed_flush(&row->feed);
    row->limit_feed.bytes = row->feed.bytes;
    row->limit_feed.len = row->feed.len;
    row->copy = mem_new(row->feed.len, 1);
    *ret_self = row;
    return ERR_OK;
}

const struct bench_row bench_passthrough = {
    .name = "passthrough",
    .engine = "record batches of 200 B records: check, decode, hash, encode, frame",
    .limit = "check, copy, frame whole batches",
    .open = pass_open,
    .close = pass_close,
    .engine_step = pass_engine,
    .limit_step = pass_limit,
};
