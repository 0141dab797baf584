// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_NODE_RUN_H
#define BENCH_NODE_RUN_H

#include "bench/engine.h"
#include "bench/feed.h"

/* A log that holds the input of one pipeline, and runs of that pipeline over all of it, each from the beginning: another
 * pipeline name each time, whose streams are removed afterwards. A run includes opening the pipeline and its last
 * commit. */

struct node_run {
    struct engine engine;
    const char *chain;  /* YAML of the one stage's chain, or else */
    const char *stages; /* YAML of all stages, from the stream `in` to the stream `out` */
    const char *commit; /* the pipeline's interval */
    int64_t records;    /* in the input */
    int32_t runs;       /* so far */
    int64_t cpu_ns;     /* of the process, in the last run */
    /* Called when a run has ended, before its results' stream is removed; NULL: nothing. */
    enum err (*after)(struct node_run *run, const char *stream, void *ctx, struct err_info *info);
    void *after_ctx;
    loop_step step_lane; /* instead of lane_step, which it calls: to watch it; NULL: none */
};

/* Opens an engine and appends the feed's batches, whose base offsets are changed, and an end marker. */
ATTR_NODISCARD enum err node_run_open(struct node_run *run, const struct engine_options *options,
                                      struct feed *feed, struct err_info *info);
void node_run_close(struct node_run *run);

/* One run. Records per second of CPU time of the calling thread, or of wall time if the engine has threads. */
ATTR_NODISCARD enum err node_run_slice(struct node_run *run, double *ret_per_s,
                                       struct err_info *info);

#endif
