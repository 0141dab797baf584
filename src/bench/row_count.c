// SPDX-License-Identifier: Apache-2.0
// Keyed tumbling count of binary records: record batches in memory, results discarded, deltas off; against a loop that
// only counts the same keys in an open table. Windows of 10 s at a million records a second of event time (10 M keys: one
// window, since a million records do not fill it). Where windows close, a slice of the engine is one window with its closing:
// slices that have none beside slices that have one would say nothing of either.
//
// The rows named -node are the same beside the same loop, but from log to log through lanes and commits: each second, and at
// the end, what changed in the state is committed. They have no floor. `grow` tells the longest pause while a state grows.

#include <math.h>
#include <stdio.h>

#include "base/attr.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/real/clock_real.h"
#include "base/rng.h"
#include "bench/bench.h"
#include "bench/feed_run.h"
#include "bench/node_run.h"
#include "bench/rows.h"

enum { LIMIT_STEP = 1024, RECORDS_PER_MS = 1000, GROW_KEYS = 10000000 };

#define GROW_PAUSE_MAX_MS 5.0

struct cell {
    uint64_t key; /* + 1; 0: empty */
    uint64_t count;
};

struct count_row {
    struct feed feed;
    struct feed_run run;
    uint64_t *keys;
    int64_t key_count; /* entries of `keys` */
    int64_t at;
    struct cell *cells;
    uint64_t mask;
    bool prefetch;
    bool through_node;
    char chain[128];
    struct node_run node;
};

static void count_close(void *self)
{
    struct count_row *row = self;
    feed_release(&row->feed);
    if (row->through_node) {
        node_run_close(&row->node);
    } else {
        feed_run_close(&row->run);
    }
    mem_free(row->keys);
    mem_free(row->cells);
    mem_free(row);
}

static int64_t count_engine(void *self)
{
    struct count_row *row = self;
    return feed_run_step(&row->run, &row->feed);
}

/* From behind the closing of one window to behind that of the next. */
static enum err count_window(void *self, double *ret_per_s, struct err_info *info ATTR_UNUSED)
{
    struct count_row *row = self;
    struct clock clock = clock_real();
    int64_t records = 0;
    int64_t results = row->run.output_rows;
    int64_t begun_ns = clock_thread_cpu_ns(&clock);
    while (row->run.output_rows == results) {
        records += count_engine(row);
    }
    *ret_per_s = (double)records * 1e9 / (double)(clock_thread_cpu_ns(&clock) - begun_ns);
    return ERR_OK;
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

struct count_spec {
    int64_t keys, records;
    const char *window;
    bool through_node;
};

static void fill(struct count_row *row, const struct count_spec *spec, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    row->keys = MEM_NEW_ARRAY(uint64_t, spec->records);
    row->key_count = spec->records;
    for (int64_t i = 0; i < spec->records; i++) {
        // The first ones name each key once, so that the state is full from the first pass on.
        uint64_t key = 1 + (i < spec->keys ? (uint64_t)i : rng_below(&rng, (uint64_t)spec->keys));
        row->keys[i] = key;
    }
    for (int64_t i = spec->records - 1; i > 0; i--) { // in no order
        int64_t k = (int64_t)rng_below(&rng, (uint64_t)i + 1);
        uint64_t swap = row->keys[i];
        row->keys[i] = row->keys[k];
        row->keys[k] = swap;
    }
    for (int64_t i = 0; i < spec->records; i++) {
        feed_add(&row->feed, (struct str){.ptr = (const char *)&row->keys[i], .len = 8},
                 STR("value of 16 byte"), i / RECORDS_PER_MS);
    }
    feed_flush(&row->feed);
}

static enum err open_engine(struct count_row *row, const struct count_spec *spec,
                            struct err_info *info)
{
    if (!spec->through_node) {
        enum err err = feed_run_open_chain(&row->run, row->chain, info);
        for (int64_t done = 0; err == ERR_OK && done < spec->records;) {
            done += count_engine(row); // both sides know all keys before the first slice
        }
        return err;
    }
    row->node = (struct node_run){.chain = row->chain, .commit = "1s"};
    enum err err =
        node_run_open(&row->node, &(struct engine_options){.sync = LOG_UNSYNCED}, &row->feed, info);
    mem_free(row->feed.bytes); // the log has them now
    row->feed.bytes = NULL;
    return err;
}

static enum err count_open(const struct count_spec *spec, uint64_t seed, void **ret_self,
                           struct err_info *info)
{
    struct count_row *row = MEM_NEW(struct count_row);
    row->through_node = spec->through_node;
    feed_init(&row->feed, spec->records / RECORDS_PER_MS);
    fill(row, spec, seed);
    IGNORE_RESULT(snprintf(row->chain, sizeof row->chain,
                           "[{window: {name: w, tumbling: %s, out: {n: count}}}]",
                           spec->window)); // fits
    enum err err = open_engine(row, spec, info);
    if (err != ERR_OK) {
        count_close(row);
        return err;
    }
    uint64_t cells = 1;
    while (cells < (uint64_t)spec->keys * 2) {
        cells *= 2;
    }
    row->cells = MEM_NEW_ARRAY(struct cell, (ptrdiff_t)cells);
    row->mask = cells - 1;
    row->prefetch = spec->keys > 1000000;
    for (int64_t done = 0; done < spec->records; done += LIMIT_STEP) {
        count_limit(row);
    }
    *ret_self = row;
    return ERR_OK;
}

static enum err count_node_slice(void *self, double *ret_per_s, struct err_info *info)
{
    struct count_row *row = self;
    return node_run_slice(&row->node, ret_per_s, info);
}

#define COUNT_OPEN(opener, key_count, record_count, span, node) \
    static enum err opener(uint64_t seed, void **ret_self, struct err_info *info) \
    { \
        return count_open(&(struct count_spec){.keys = (key_count), \
                                               .records = (record_count), \
                                               .window = (span), \
                                               .through_node = (node)}, \
                          seed, ret_self, info); \
    }

COUNT_OPEN(open_1k, 1000, 1 << 18, "10s", false)
COUNT_OPEN(open_100k, 100000, 1 << 18, "10s", false)
COUNT_OPEN(open_10m, 10000000, 1 << 24, "1d", false)
COUNT_OPEN(open_1k_node, 1000, 1 << 23, "10s", true)
COUNT_OPEN(open_100k_node, 100000, 1 << 23, "10s", true)
COUNT_OPEN(open_10m_node, 10000000, 1 << 24, "1d", true)

/* `side`: how the engine's is run. */
#define COUNT_ROW(keys, opener, percent, side) \
    { \
        .name = "count-" keys, .goal = "G3", \
        .engine = "record batches: check, decode, hash, count per key and window", \
        .limit = "open table of integer keys: count", .floor_percent = (percent), \
        .open = (opener), .close = count_close, side, .limit_step = count_limit \
    }

const struct bench_row bench_count_1k = COUNT_ROW("1k", open_1k, 35, .engine_slice = count_window);
const struct bench_row bench_count_100k =
    COUNT_ROW("100k", open_100k, 35, .engine_slice = count_window);
const struct bench_row bench_count_10m =
    COUNT_ROW("10m", open_10m, 50, .engine_step = count_engine);

#define COUNT_NODE_ROW(keys, opener) \
    { \
        .name = "count-" keys "-node", \
        .engine = \
            "the same from log to log: lanes, commits of 1 s with what changed in the state", \
        .limit = "open table of integer keys: count", .open = (opener), .close = count_close, \
        .engine_slice = count_node_slice, .limit_step = count_limit \
    }

const struct bench_row bench_count_1k_node = COUNT_NODE_ROW("1k", open_1k_node);
const struct bench_row bench_count_100k_node = COUNT_NODE_ROW("100k", open_100k_node);
const struct bench_row bench_count_10m_node = COUNT_NODE_ROW("10m", open_10m_node);

/* One window takes ten million new keys, a batch of 1024 at a time: what is told is the longest batch. CPU time, since
 * what others took from this thread is no pause of ours. */
static enum err grow_measure(const struct bench_options *options, struct bench_result *result,
                             struct err_info *info)
{
    struct count_row row = {.feed = {.bytes = NULL}};
    struct count_spec spec = {.keys = GROW_KEYS, .records = GROW_KEYS, .window = "1d"};
    feed_init(&row.feed, GROW_KEYS / RECORDS_PER_MS);
    fill(&row, &spec, options->seed);
    enum err err =
        feed_run_open_chain(&row.run, "[{window: {name: w, tumbling: 1d, out: {n: count}}}]", info);
    int64_t longest_ns = 0;
    int64_t sum_ns = 0;
    int64_t steps = 0;
    for (int64_t done = 0; err == ERR_OK && done < GROW_KEYS;) {
        int64_t begun_ns = clock_thread_cpu_ns(options->clock);
        done += feed_run_step(&row.run, &row.feed);
        int64_t ns = clock_thread_cpu_ns(options->clock) - begun_ns;
        longest_ns = ns > longest_ns ? ns : longest_ns;
        sum_ns += ns;
        steps++;
    }
    if (err == ERR_OK) {
        bench_add_figure(result, "longest batch of 1024 new keys", "ms", (double)longest_ns / 1e6,
                         GROW_PAUSE_MAX_MS);
        bench_add_figure(result, "mean batch", "ms", (double)sum_ns / 1e6 / (double)steps, NAN);
        bench_add_figure(result, "state, 10 M keys", "bytes/key",
                         (double)state_bytes_used(row.run.stages[0].state) / GROW_KEYS, NAN);
    }
    feed_release(&row.feed);
    feed_run_close(&row.run);
    mem_free(row.keys);
    return err;
}

const struct bench_row bench_grow = {
    .name = "grow",
    .goal = "G3'",
    .engine = "count per key in one window while it grows to 10 M keys, a batch at a time",
    .measure = grow_measure,
};
