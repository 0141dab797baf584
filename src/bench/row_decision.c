// SPDX-License-Identifier: Apache-2.0
// The manager's decision at scale (G11): 100,000 partitions on 1,000 nodes.

#include <math.h>

#include "bench/bench.h"
#include "bench/decision.h"
#include "bench/rows.h"

static enum err decision_row_measure(const struct bench_options *options,
                                     struct bench_result *result, struct err_info *info)
{
    struct decision_figures f;
    struct arena arena;
    struct decision_options wanted = {
        .parts = 100000, .nodes = 1000, .rounds = 15, .seed = options->seed};
    arena_init(&arena, (ptrdiff_t)1 << 30);
    enum err err = decision_measure(&wanted, options->clock, &arena, &f, info);
    if (err == ERR_OK) {
        bench_add_figure(result, "decision in full: median", "ms", f.full_ms, 150);
        bench_add_figure(result, "decision in full: slowest", "ms", f.full_max_ms, NAN);
        bench_add_figure(result, "1 % changed: median", "ms", f.some_ms, 10);
        bench_add_figure(result, "1 % changed: slowest", "ms", f.some_max_ms, NAN);
        bench_add_figure(result, "busiest lane / mean: before", "times", f.max_before / f.mean,
                         NAN);
        bench_add_figure(result, "busiest lane / mean: after", "times", f.max_after / f.mean,
                         1.1 + 1e-9);
        bench_add_figure(result, "moves / fewest possible", "times",
                         f.least_moves > 0 ? (double)f.moves / f.least_moves : 1, 1.2);
    }
    arena_release(&arena);
    return err;
}

const struct bench_row bench_decision = {
    .name = "decision",
    .engine = "a decision for 100,000 partitions on 1,000 nodes, all and one in a hundred changed",
    .measure = decision_row_measure,
};
