// SPDX-License-Identifier: Apache-2.0
// Filter and project JSON clicks of about 200 bytes: three of seven fields are used, a third of the records pass and are
// written as JSON again; against simdjson on demand, one record at a time, reading the same fields of the same bytes.

#include "base/check.h"
#include "base/mem.h"
#include "bench/feed_run.h"
#include "bench/rows.h"

enum { JSON_RECORDS = 64 << 10, JSON_LIMIT_STEP = 1024 };

struct json_row {
    struct feed feed;
    struct feed_run run;
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
    feed_run_close(&row->run);
    bare_json_free(row->bare);
    mem_free(row->values);
    mem_free(row);
}

static int64_t json_engine(void *self)
{
    struct json_row *row = self;
    return feed_run_step(&row->run, &row->feed);
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
    enum err err = feed_run_open_chain(&row->run, FEED_CLICKS_CHAIN, info);
    row->bare = bare_json_new();
    if (err != ERR_OK) {
        json_close(row);
        return err;
    }
    feed_add_clicks(&row->feed, seed, JSON_RECORDS);
    index_values(row);
    *ret_self = row;
    return ERR_OK;
}

const struct bench_row bench_json = {
    .name = "json",
    .goal = "G2",
    .engine = "record batches: check, decode, parse 3 of 7 fields, filter, project, write JSON",
    .limit = "simdjson on demand, record by record: the same fields",
    .floor_percent = 70,
    .open = json_open,
    .close = json_close,
    .engine_step = json_engine,
    .limit_step = json_limit,
};
