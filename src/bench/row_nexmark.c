// SPDX-License-Identifier: Apache-2.0
// Nexmark's q0 to q3, q5, q7, q8 over binary events, a person, three auctions and 46 bids in 50; 10,000 events a second of
// event time. Beside each the same query written by hand, over the same record batches; the rows named -array have it over
// a plain array of the events, which no log is read for. Rows named -node go from log to log through lanes, with commits of
// 1 s and what changed in the state, and have no floor.
//
// The input's passes are one input each: at their ends all windows close and nothing is remembered, on both sides.

#include "base/check.h"
#include "base/mem.h"
#include "bench/events.h"
#include "bench/feed_run.h"
#include "bench/node_run.h"
#include "bench/rows.h"

enum { NEXMARK_RECORDS = 1 << 20, NEXMARK_RATE = 10000, NEXMARK_STEP = 1024 };

enum nexmark_beside { BESIDE_BATCHES, BESIDE_ARRAY, THROUGH_NODE };

struct nexmark_row {
    const struct nexmark_query *query;
    enum nexmark_beside beside;
    struct feed feed;
    struct feed_run run;
    struct node_run node;
    struct bare_nexmark *bare;
    int64_t bare_at;
    struct bare_event *events;
    int64_t event_count, event_at;
};

static void nexmark_close(void *self)
{
    struct nexmark_row *row = self;
    if (row->beside == THROUGH_NODE) {
        node_run_close(&row->node);
    } else {
        feed_run_close(&row->run);
    }
    feed_release(&row->feed);
    bare_nexmark_free(row->bare);
    mem_free(row->events);
    mem_free(row);
}

static int64_t nexmark_engine(void *self)
{
    struct nexmark_row *row = self;
    return feed_run_step(&row->run, &row->feed);
}

static enum err nexmark_node(void *self, double *ret_per_s, struct err_info *info)
{
    struct nexmark_row *row = self;
    return node_run_slice(&row->node, ret_per_s, info);
}

static int64_t nexmark_limit(void *self)
{
    struct nexmark_row *row = self;
    const struct feed *feed = &row->feed;
    if (row->bare_at == feed->len) {
        bare_nexmark_finish(row->bare);
        row->bare_at = 0;
    }
    ptrdiff_t total;
    int64_t records =
        bare_nexmark_batch(row->bare, feed->bytes + row->bare_at, feed->len - row->bare_at, &total);
    row->bare_at += total;
    return records;
}

static int64_t nexmark_array(void *self)
{
    struct nexmark_row *row = self;
    if (row->event_at == row->event_count) {
        bare_nexmark_finish(row->bare);
        row->event_at = 0;
    }
    int64_t left = row->event_count - row->event_at;
    int32_t count = left < NEXMARK_STEP ? (int32_t)left : NEXMARK_STEP;
    bare_nexmark_events(row->bare, row->events + row->event_at, count);
    row->event_at += count;
    return count;
}

static void index_events(struct nexmark_row *row)
{
    struct arena arena;
    arena_init(&arena, 64 << 20);
    row->events = MEM_NEW_ARRAY(struct bare_event, NEXMARK_RECORDS);
    while (row->feed.at < row->feed.len) {
        struct batch *batch;
        feed_begin(&row->feed);
        while ((batch = feed_next(&row->feed, &arena)) != NULL) {
            for (int32_t i = 0; i < batch->count; i++) {
                row->events[row->event_count++] = bare_event_of(batch->value[i].ptr);
            }
            arena_reset(&arena);
        }
    }
    row->feed.at = 0;
    arena_release(&arena);
}

/* A pass of both sides: both must find as many results. */
static enum err compare_results(struct nexmark_row *row, struct err_info *info)
{
    while (row->feed.at < row->feed.len) {
        feed_run_step(&row->run, &row->feed);
    }
    feed_run_finish(&row->run);
    int64_t results = row->run.output_rows;
    feed_run_restart(&row->run);
    row->feed.at = 0;
    while (row->bare_at < row->feed.len) {
        nexmark_limit(row);
    }
    bare_nexmark_finish(row->bare);
    row->bare_at = 0;
    int64_t wanted = bare_nexmark_results(row->bare);
    return results == wanted ? ERR_OK
                             : err_set(info, ERR_INTERNAL, "%s: %lld results, by hand %lld",
                                       row->query->name, (long long)results, (long long)wanted);
}

static enum err open_engine(struct nexmark_row *row, struct err_info *info)
{
    if (row->beside == THROUGH_NODE) {
        row->node = (struct node_run){.stages = row->query->stages, .commit = "1s"};
        return node_run_open(&row->node, &(struct engine_options){.sync = LOG_UNSYNCED}, &row->feed,
                             info);
    }
    enum err err = feed_run_open(
        &row->run, &(struct feed_run_options){.stages = row->query->stages, .restarts = true},
        info);
    return err == ERR_OK ? compare_results(row, info) : err;
}

static enum err nexmark_open(const char *name, enum nexmark_beside beside, uint64_t seed,
                             void **ret_self, struct err_info *info)
{
    struct nexmark_row *row = MEM_NEW(struct nexmark_row);
    struct nexmark_options options = {.seed = seed, .rate = NEXMARK_RATE, .group = 1};
    row->query = nexmark_query_find(name);
    row->beside = beside;
    CHECK(row->query != NULL);
    feed_init(&row->feed, 0);
    events_add_nexmark(&row->feed, &options, NEXMARK_RECORDS, row->query->one_key);
    row->bare = bare_nexmark_new(row->query->bare, NEXMARK_RECORDS, NEXMARK_RATE);
    if (beside == BESIDE_ARRAY) {
        index_events(row);
    }
    enum err err = open_engine(row, info);
    if (err != ERR_OK) {
        nexmark_close(row);
        return err;
    }
    *ret_self = row;
    return ERR_OK;
}

#define NEXMARK_OPEN(opener, name, beside) \
    static enum err opener(uint64_t seed, void **ret_self, struct err_info *info) \
    { \
        return nexmark_open((name), (beside), seed, ret_self, info); \
    }

#define NEXMARK_ROWS(q, percent) \
    NEXMARK_OPEN(open_##q, #q, BESIDE_BATCHES) \
    NEXMARK_OPEN(open_##q##_array, #q, BESIDE_ARRAY) \
    NEXMARK_OPEN(open_##q##_node, #q, THROUGH_NODE) \
    const struct bench_row bench_nexmark_##q = { \
        .name = "nexmark-" #q, \
        .goal = "G5", \
        .engine = "Nexmark " #q ", record batches of binary events in memory", \
        .limit = "the query by hand: check and walk the same record batches", \
        .floor_percent = (percent), \
        .open = open_##q, \
        .close = nexmark_close, \
        .engine_step = nexmark_engine, \
        .limit_step = nexmark_limit, \
    }; \
    const struct bench_row bench_nexmark_##q##_array = { \
        .name = "nexmark-" #q "-array", \
        .engine = "the same", \
        .limit = "the query by hand over a plain array of the events", \
        .open = open_##q##_array, \
        .close = nexmark_close, \
        .engine_step = nexmark_engine, \
        .limit_step = nexmark_array, \
    }; \
    const struct bench_row bench_nexmark_##q##_node = { \
        .name = "nexmark-" #q "-node", \
        .engine = \
            "the same from log to log: lanes, commits of 1 s with what changed in the state", \
        .limit = "the query by hand: check and walk the same record batches", \
        .open = open_##q##_node, \
        .close = nexmark_close, \
        .engine_slice = nexmark_node, \
        .limit_step = nexmark_limit, \
    };

NEXMARK_ROWS(q0, 20)
NEXMARK_ROWS(q1, 20)
NEXMARK_ROWS(q2, 20)
NEXMARK_ROWS(q3, 25)
NEXMARK_ROWS(q5, 30)
NEXMARK_ROWS(q7, 20)
NEXMARK_ROWS(q8, 25)
