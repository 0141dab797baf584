// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_FEED_RUN_H
#define BENCH_FEED_RUN_H

#include "bench/feed.h"
#include "pipeline/chain.h"
#include "pipeline/config.h"

/* A pipeline that a feed is run through: its stages' chains in one thread, one partition each, changes of state not tracked.
 * What a stage re-keys is written into record batches and read from them again, as between real stages, but in memory; the
 * stage behind takes it, with the watermark, each FEED_HANDOVER_STEPS batches of input. */

enum { FEED_STAGES_MAX = 4, FEED_HANDOVER_STEPS = 16 };

struct feed_run_options {
    const char *stages;         /* YAML: the list of stages; `in` is the feed, `out` the results */
    struct lookup_table *table; /* of every lookup; NULL: there is none. The caller's */
    bool
        restarts; /* the feed's passes are one input each: at their ends all windows close, state begins anew */
    /* Takes results, valid during the call; NULL: they are only counted. */
    void (*take)(void *ctx, const struct output *output);
    void *take_ctx;
};

struct feed_stage {
    const struct stage_plan *plan;
    struct state *state;
    struct chain *chain;
    struct arena outputs;
    struct chain_out *out;
    struct lookup_table *tables[LOOKUP_TABLES_MAX];
    struct feed internal; /* its output, if it re-keys */
    int64_t watermark_ms; /* of its output */
};

struct feed_run {
    struct feed_run_options options;
    struct arena config_arena, rows;
    const struct config *config;
    struct feed_stage stages[FEED_STAGES_MAX];
    int32_t stage_count;
    int32_t steps;
    int64_t largest_ms;
    int64_t output_rows; /* results so far */
};

/* Errors: of the configuration. On failure, too, feed_run_close() gives back what there is. */
ATTR_NODISCARD enum err feed_run_open(struct feed_run *run, const struct feed_run_options *options,
                                      struct err_info *info);

/* One stage of this chain, results discarded. */
ATTR_NODISCARD enum err feed_run_open_chain(struct feed_run *run, const char *chain_yaml,
                                            struct err_info *info);
void feed_run_close(struct feed_run *run); /* a struct of zeros is fine */

/* Runs the feed's next record batch through the pipeline and tells it the watermark. Returns the records read. */
int64_t feed_run_step(struct feed_run *run, struct feed *feed);

/* The input has ended: everything comes out. */
void feed_run_finish(struct feed_run *run);

/* State and chains anew, as after opening. */
void feed_run_restart(struct feed_run *run);

#endif
