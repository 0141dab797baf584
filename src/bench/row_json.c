// SPDX-License-Identifier: Apache-2.0
// Filter and project JSON clicks of about 200 bytes: three of seven fields are used, a third of the records pass and are
// written as JSON again; against simdjson on demand, one record at a time, reading the same fields of the same bytes.

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench/feed.h"
#include "bench/rows.h"

enum { JSON_RECORDS = 64 << 10, JSON_LIMIT_STEP = 1024 };

struct json_row {
    struct feed feed;
    struct feed_chain run;
    struct bare_json *bare;
    struct str *values; /* views into the feed's batches */
    int64_t value_count;
    int64_t at;
    uint64_t sum;
};

static void json_close(void *self)
{
    struct json_row *row = self;
    feed_release(&row->feed);
    feed_chain_close(&row->run);
    bare_json_free(row->bare);
    mem_free(row->values);
    mem_free(row);
}

static int64_t json_engine(void *self)
{
    struct json_row *row = self;
    return feed_chain_step(&row->run, &row->feed);
}

static int64_t json_limit(void *self)
{
    struct json_row *row = self;
    if (row->at + JSON_LIMIT_STEP > row->value_count) {
        row->at = 0;
    }
    row->sum += bare_json_step(row->bare, row->values + row->at, JSON_LIMIT_STEP);
    row->at += JSON_LIMIT_STEP;
    return JSON_LIMIT_STEP;
}

static void add_clicks(struct json_row *row, uint64_t seed)
{
    static const char *const KINDS[] = {"view", "click", "purchase"};
    struct rng rng;
    rng_init(&rng, seed);
    for (int i = 0; i < JSON_RECORDS; i++) {
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
        feed_add(&row->feed, (struct str){.ptr = key, .len = key_len},
                 (struct str){.ptr = text, .len = len}, i);
    }
    feed_flush(&row->feed);
}

/* Views of all values, so that both sides read the same bytes. */
static void index_values(struct json_row *row)
{
    struct arena arena;
    arena_init(&arena, 64 << 20);
    row->values = MEM_NEW_ARRAY(struct str, JSON_RECORDS);
    do {
        feed_begin(&row->feed);
        struct batch *batch;
        while ((batch = feed_next(&row->feed, &arena)) != NULL) {
            for (int32_t i = 0; i < batch->count; i++) {
                row->values[row->value_count++] = batch->value[i];
            }
            arena_reset(&arena);
        }
    } while (row->feed.at != row->feed.len);
    arena_release(&arena);
}

static enum err json_open(uint64_t seed, void **ret_self, struct err_info *info)
{
    struct json_row *row = MEM_NEW(struct json_row);
    feed_init(&row->feed, JSON_RECORDS);
    enum err err = feed_chain_open(
        &row->run,
        "[{parse: {name: p, format: json, fields: {kind: string, user: string, ts: int}}}, "
        "{filter: {name: f, where: \"kind == 'view'\"}}, "
        "{map: {name: m, select: [user, ts]}}]",
        info);
    row->bare = bare_json_new();
    if (err != ERR_OK) {
        json_close(row);
        return err;
    }
    add_clicks(row, seed);
    index_values(row);
    *ret_self = row;
    return ERR_OK;
}

const struct bench_row bench_json = {
    .name = "json",
    .engine = "record batches: check, decode, parse 3 of 7 fields, filter, project, write JSON",
    .limit = "simdjson on demand, record by record: the same fields",
    .floor_percent = 70,
    .open = json_open,
    .close = json_close,
    .engine_step = json_engine,
    .limit_step = json_limit,
};
