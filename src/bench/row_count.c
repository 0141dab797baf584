// SPDX-License-Identifier: Apache-2.0
// Keyed tumbling count of binary records: record batches in memory, results discarded, deltas off; against a loop that
// only counts the same keys in an open table. Windows of 10 s at a million records a second of event time (10 M keys: one
// window, since a million records do not fill it).

#include <stdio.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench/feed.h"
#include "bench/rows.h"

enum { LIMIT_STEP = 1024 };

struct cell {
    uint64_t key; /* + 1; 0: empty */
    uint64_t count;
};

struct count_row {
    struct feed feed;
    struct feed_chain run;
    uint64_t *keys;
    int64_t key_count; /* entries of `keys` */
    int64_t at;
    struct cell *cells;
    uint64_t mask;
    bool prefetch;
};

static void count_close(void *self)
{
    struct count_row *row = self;
    feed_release(&row->feed);
    feed_chain_close(&row->run);
    mem_free(row->keys);
    mem_free(row->cells);
    mem_free(row);
}

static int64_t count_engine(void *self)
{
    struct count_row *row = self;
    return feed_chain_step(&row->run, &row->feed);
}

static uint64_t spread(uint64_t key)
{
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdu;
    return key ^ (key >> 33);
}

static int64_t count_limit(void *self)
{
    struct count_row *row = self;
    if (row->at + LIMIT_STEP > row->key_count) {
        row->at = 0;
    }
    const uint64_t *keys = row->keys + row->at;
    row->at += LIMIT_STEP;
    struct cell *cells = row->cells;
    for (int i = 0; row->prefetch && i < LIMIT_STEP; i++) {
        PREFETCH(&cells[spread(keys[i]) & row->mask]);
    }
    for (int i = 0; i < LIMIT_STEP; i++) {
        uint64_t place = spread(keys[i]) & row->mask;
        while (cells[place].key != keys[i] && cells[place].key != 0) {
            place = (place + 1) & row->mask;
        }
        cells[place].key = keys[i];
        cells[place].count++;
    }
    return LIMIT_STEP;
}

static enum err count_open(uint64_t seed, int64_t keys, int64_t records, const char *window,
                           int64_t records_per_ms, void **ret_self, struct err_info *info)
{
    struct count_row *row = MEM_NEW(struct count_row);
    feed_init(&row->feed, records / records_per_ms);
    char chain[128];
    IGNORE_RESULT(snprintf(chain, sizeof chain,
                           "[{window: {name: w, tumbling: %s, out: {n: count}}}]",
                           window)); // fits
    enum err err = feed_chain_open(&row->run, chain, info);
    if (err != ERR_OK) {
        count_close(row);
        return err;
    }
    struct rng rng;
    rng_init(&rng, seed);
    row->keys = MEM_NEW_ARRAY(uint64_t, records);
    row->key_count = records;
    for (int64_t i = 0; i < records; i++) {
        // The first ones name each key once, so that the state is full from the first pass on.
        uint64_t key = 1 + (i < keys ? (uint64_t)i : rng_below(&rng, (uint64_t)keys));
        row->keys[i] = key;
    }
    for (int64_t i = records - 1; i > 0; i--) { // in no order
        int64_t k = (int64_t)rng_below(&rng, (uint64_t)i + 1);
        uint64_t swap = row->keys[i];
        row->keys[i] = row->keys[k];
        row->keys[k] = swap;
    }
    for (int64_t i = 0; i < records; i++) {
        feed_add(&row->feed, (struct str){.ptr = (const char *)&row->keys[i], .len = 8},
                 STR("value of 16 byte"), i / records_per_ms);
    }
    feed_flush(&row->feed);
    uint64_t cells = 1;
    while (cells < (uint64_t)keys * 2) {
        cells *= 2;
    }
    row->cells = MEM_NEW_ARRAY(struct cell, (ptrdiff_t)cells);
    row->mask = cells - 1;
    row->prefetch = keys > 1000000;
    for (int64_t done = 0; done < records;) { // both sides know all keys before the first slice
        done += count_engine(row);
    }
    for (int64_t done = 0; done < records; done += LIMIT_STEP) {
        count_limit(row);
    }
    *ret_self = row;
    return ERR_OK;
}

static enum err open_1k(uint64_t seed, void **ret_self, struct err_info *info)
{
    return count_open(seed, 1000, 1 << 18, "10s", 1000, ret_self, info);
}

static enum err open_100k(uint64_t seed, void **ret_self, struct err_info *info)
{
    return count_open(seed, 100000, 1 << 18, "10s", 1000, ret_self, info);
}

static enum err open_10m(uint64_t seed, void **ret_self, struct err_info *info)
{
    return count_open(seed, 10000000, 1 << 24, "1d", 1000, ret_self, info);
}

#define COUNT_ROW(keys, opener, percent) \
    { \
        .name = "count-" keys, \
        .engine = "record batches: check, decode, hash, count per key and window", \
        .limit = "open table of integer keys: count", .floor_percent = (percent), \
        .open = (opener), .close = count_close, .engine_step = count_engine, \
        .limit_step = count_limit \
    }

const struct bench_row bench_count_1k = COUNT_ROW("1k", open_1k, 35);
const struct bench_row bench_count_100k = COUNT_ROW("100k", open_100k, 35);
const struct bench_row bench_count_10m = COUNT_ROW("10m", open_10m, 50);
