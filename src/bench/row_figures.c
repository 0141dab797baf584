// SPDX-License-Identifier: Apache-2.0
// What the always-on figures cost: a pipeline over a log, with them and without them; CPU time of one thread that steps everything.
// Without them nothing reads the CPU clock per batch, counts per key group or samples heavy keys. Both sides are one pass: each
// pair of stretches has one with them and one without, in an order by lot, so that both have the same files, the same memory and the
// same state. A slice is some passes, of so many stretches that their differences say little.
// What is told is the CPU time of the lane's steps, as figures are taken nowhere else.

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench/node_run.h"
#include "bench/rows.h"
#include "node/lane.h"

enum {
    FIGURES_JSON_RECORDS = 1 << 20,
    FIGURES_COUNT_RECORDS = 1 << 22,
    FIGURES_KEYS = 100000,
    /* Records of a stretch: several reads of the log, or who reads would pay for the other. */
    FIGURES_JSON_STRETCH = 1 << 14,
    FIGURES_COUNT_STRETCH = 1 << 16,
    FIGURES_SLICE_MS = 2000 /* of CPU time, or some more: a slice is whole passes */
};

struct figures_side {
    int64_t cpu_ns, records;
};

struct figures_row {
    struct feed feed;
    struct node_run run;
    struct rng rng;
    struct figures_side sides[2]; /* without, with */
    bool with;
    bool second;     /* the stretch is the second one of a pair */
    int64_t read;    /* records of it so far */
    int64_t stretch; /* how many it is to have */
    bool passed;     /* one of the two has been told of the slice that there was last */
};

/* Whose lane steps in this thread: a step is given the lane alone. */
static _Thread_local struct figures_row *stepped;

static int64_t step_by_lot(void *ctx, int64_t now_ns)
{
    struct lane *lane = ctx;
    const struct clock *clock = &stepped->run.engine.clock;
    if (stepped->read >= stepped->stretch) {
        stepped->read = 0;
        stepped->second = !stepped->second;
        stepped->with = stepped->second ? !stepped->with : rng_below(&stepped->rng, 2) == 1;
    }
    if (stepped->with) {
        lane_figures_on(lane);
    } else {
        lane_figures_off(lane);
    }
    struct figures_side *side = &stepped->sides[stepped->with];
    const int64_t records = lane_records_read(lane);
    const int64_t begun_ns = clock_thread_cpu_ns(clock);
    const int64_t due_ns = lane_step(lane, now_ns);
    const int64_t read = lane_records_read(lane) - records;
    if (read > 0) { /* what only closes and commits, all at once at the end, is in neither */
        side->cpu_ns += clock_thread_cpu_ns(clock) - begun_ns;
        side->records += read;
        stepped->read += read;
    }
    return due_ns;
}

static void figures_close(void *self)
{
    struct figures_row *row = self;
    node_run_close(&row->run);
    feed_release(&row->feed);
    mem_free(row);
}

/* Told to whichever side is asked first: the slice; the other one is told of the same. */
static enum err pass(struct figures_row *row, struct err_info *info)
{
    double all_per_s;
    enum err err = ERR_OK;
    row->passed = !row->passed;
    if (!row->passed) {
        return ERR_OK;
    }
    memset(row->sides, 0, sizeof row->sides);
    stepped = row;
    while (err == ERR_OK &&
           row->sides[0].cpu_ns + row->sides[1].cpu_ns < FIGURES_SLICE_MS * INT64_C(1000000)) {
        err = node_run_slice(&row->run, &all_per_s, info);
    }
    return err;
}

static enum err tell_side(struct figures_row *row, const struct figures_side *side,
                          double *ret_per_s, struct err_info *info)
{
    enum err err = pass(row, info);
    if (err == ERR_OK) {
        *ret_per_s = (double)side->records * 1e9 / (double)side->cpu_ns;
    }
    return err;
}

static enum err with_figures(void *self, double *ret_per_s, struct err_info *info)
{
    struct figures_row *row = self;
    return tell_side(row, &row->sides[1], ret_per_s, info);
}

static enum err without_figures(void *self, double *ret_per_s, struct err_info *info)
{
    struct figures_row *row = self;
    return tell_side(row, &row->sides[0], ret_per_s, info);
}

static enum err open_run(struct figures_row *row, const char *chain, const char *commit,
                         void **ret_self, struct err_info *info)
{
    row->run = (struct node_run){.chain = chain, .commit = commit, .step_lane = step_by_lot};
    rng_init(&row->rng, 1);
    enum err err =
        node_run_open(&row->run, &(struct engine_options){.sync = LOG_UNSYNCED}, &row->feed, info);
    if (err != ERR_OK) {
        figures_close(row);
        return err;
    }
    *ret_self = row;
    return ERR_OK;
}

static enum err open_json(uint64_t seed, void **ret_self, struct err_info *info)
{
    struct figures_row *row = MEM_NEW(struct figures_row);
    row->stretch = FIGURES_JSON_STRETCH;
    feed_init(&row->feed, FIGURES_JSON_RECORDS);
    feed_add_clicks(&row->feed, seed, FIGURES_JSON_RECORDS);
    return open_run(row, FEED_CLICKS_CHAIN, "100ms", ret_self, info);
}

static enum err open_count(uint64_t seed, void **ret_self, struct err_info *info)
{
    struct figures_row *row = MEM_NEW(struct figures_row);
    struct rng rng;
    rng_init(&rng, seed);
    row->stretch = FIGURES_COUNT_STRETCH;
    feed_init(&row->feed, FIGURES_COUNT_RECORDS);
    for (int32_t i = 0; i < FIGURES_COUNT_RECORDS; i++) {
        uint64_t key = rng_below(&rng, FIGURES_KEYS);
        feed_add(&row->feed, (struct str){.ptr = (const char *)&key, .len = 8},
                 STR("value of 16 byte"), i / 1000);
    }
    feed_flush(&row->feed);
    return open_run(row, "[{window: {name: w, tumbling: 10s, out: {n: count}}}]", "1s", ret_self,
                    info);
}

#define FIGURES_ROW(of, opener) \
    { \
        .name = "figures-" of, .goal = "G15", \
        .engine = "from log to log with the always-on figures", .limit = "without them", \
        .floor_percent = 98, .open = (opener), .close = figures_close, \
        .engine_slice = with_figures, .limit_slice = without_figures \
    }

const struct bench_row bench_figures_json = FIGURES_ROW("json", open_json);
const struct bench_row bench_figures_count = FIGURES_ROW("count", open_count);
