// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

/* Benchmarks as paired slices (docs/benchmarks.md): in one thread, a slice of the engine's own code and a slice of a bare
 * loop that does only what cannot be left out, in turn; what is told is the ratio of their speeds. Only CPU time of the
 * thread counts. A pair is dropped by rule, not by eye, when others used more than 5 % of its time. */

enum { BENCH_PAIRS_MAX = 400, BENCH_ROWS_MAX = 16 };

/* CPU time of the whole machine since some zero: what anybody used, and what was stolen by the host. */
struct machine_cpu {
    int64_t busy_ns;
    int64_t steal_ns;
};

struct bench_options {
    int32_t pairs; /* 3..BENCH_PAIRS_MAX */
    const struct clock *clock;
    bool (*machine)(void *ctx,
                    struct machine_cpu *ret_cpu); /* false: cannot be told; no pair is dropped */
    void *machine_ctx;
    bool keep_noisy; /* count dirty pairs, too: for finding out, not for telling */
    uint64_t seed;   /* of the intervals' resampling and the rows' data */
};

struct bench_pair {
    double engine_per_s, limit_per_s; /* records per CPU second */
    bool dirty;
};

struct bench_result {
    const char *name;
    const char *engine, *limit; /* what each side does */
    int32_t floor_percent;      /* the ratio's lower end must reach it; 0: none */
    int32_t pair_count, dirty_count;
    struct bench_pair pairs[BENCH_PAIRS_MAX];
    bool too_noisy; /* more than half of the pairs were dropped: no figures below */
    double engine_per_s, limit_per_s; /* medians */
    double ratio, ratio_low,
        ratio_high; /* median of the pairs' ratios, 95 % interval by bootstrap */
};

int32_t bench_row_count(void);
const char *bench_row_name(int32_t index);

/* Runs one row. Takes pairs x 0.2 s of CPU and the time to make its data. Errors: NOT_FOUND. */
ATTR_NODISCARD enum err bench_run(const char *name, const struct bench_options *options,
                                  struct bench_result *ret_result, struct err_info *info);

/* Median of ratios[count] and a 95 % interval of it by the percentile bootstrap (Efron 1979), 2000 resamples. */
void bench_interval(const double *ratios, int32_t count, uint64_t seed, double *ret_median,
                    double *ret_low, double *ret_high);

#endif
