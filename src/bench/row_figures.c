// SPDX-License-Identifier: Apache-2.0
// What the always-on figures cost: the same pipeline over the same log, with them and without them; CPU time of one thread
// that steps everything. Without them nothing reads the CPU clock per batch, counts per key group or samples heavy keys.

#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "bench/node_run.h"
#include "bench/rows.h"

enum { FIGURES_JSON_RECORDS = 1 << 20, FIGURES_COUNT_RECORDS = 1 << 22, FIGURES_KEYS = 100000 };

struct figures_row {
    struct feed feed;
    struct node_run run;
};

static void figures_close(void *self)
{
    struct figures_row *row = self;
    node_run_close(&row->run);
    feed_release(&row->feed);
    mem_free(row);
}

static enum err with_figures(void *self, double *ret_per_s, struct err_info *info)
{
    struct figures_row *row = self;
    row->run.engine.options.tuning.figures_off = false;
    return node_run_slice(&row->run, ret_per_s, info);
}

static enum err without_figures(void *self, double *ret_per_s, struct err_info *info)
{
    struct figures_row *row = self;
    row->run.engine.options.tuning.figures_off = true;
    return node_run_slice(&row->run, ret_per_s, info);
}

static enum err open_run(struct figures_row *row, const char *chain, void **ret_self,
                         struct err_info *info)
{
    row->run = (struct node_run){.chain = chain, .commit = "1s"};
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
    feed_init(&row->feed, FIGURES_JSON_RECORDS);
    feed_add_clicks(&row->feed, seed, FIGURES_JSON_RECORDS);
    return open_run(row, FEED_CLICKS_CHAIN, ret_self, info);
}

static enum err open_count(uint64_t seed, void **ret_self, struct err_info *info)
{
    struct figures_row *row = MEM_NEW(struct figures_row);
    struct rng rng;
    rng_init(&rng, seed);
    feed_init(&row->feed, FIGURES_COUNT_RECORDS);
    for (int32_t i = 0; i < FIGURES_COUNT_RECORDS; i++) {
        uint64_t key = rng_below(&rng, FIGURES_KEYS);
        feed_add(&row->feed, (struct str){.ptr = (const char *)&key, .len = 8},
                 STR("value of 16 byte"), i / 1000);
    }
    feed_flush(&row->feed);
    return open_run(row, "[{window: {name: w, tumbling: 10s, out: {n: count}}}]", ret_self, info);
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
