// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

/* Benchmarks as paired slices (docs/benchmarks.md): in one thread, a slice of the engine's own code and a slice of a bare
 * loop that does only what cannot be left out, in turn; what is told is the ratio of their speeds. Only CPU time of the
 * thread counts, in most rows. A pair is dropped by rule, not by eye, when others used more than 5 % of its time.
 * Some rows are no ratio: pauses and latencies, as figures with their bounds. */

enum { BENCH_PAIRS_MAX = 400, BENCH_FIGURES_MAX = 32, BENCH_SECONDS_MAX = 3600 };

/* CPU time of the whole machine since some zero: what anybody used, and what was stolen by the host. */
struct machine_cpu {
    int64_t busy_ns;
    int64_t kernel_ns; /* of those, by the kernel's own threads */
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
    int32_t seconds; /* 1..BENCH_SECONDS_MAX: how long each stretch of a latency row takes */
};

/* A figure that is no ratio. */
struct bench_figure {
    const char *name, *unit;
    double value;
    double low, high; /* 95 % interval; the value where it has none */
    double bound;     /* it must not be above it; NAN: none */
};

/* A bound is held when the whole interval is, and missed when all of it is above. */
enum bench_verdict { BENCH_HELD, BENCH_MISSED, BENCH_UNDECIDED };

struct bench_pair {
    double engine_per_s, limit_per_s; /* records per CPU second; rows that say so: per second */
    double others_share,
        stolen_share; /* of the pair's time: what others on the machine used, what the host took */
    bool dirty;
};

struct bench_result {
    const char *name;
    const char *goal;           /* "G1a": docs/benchmarks.md names them; NULL: it measures none */
    const char *engine, *limit; /* what each side does */
    int32_t floor_percent;      /* the ratio's lower end must reach it; 0: none */
    bool wall;                  /* speeds are per second, not per CPU second */
    struct bench_figure figures[BENCH_FIGURES_MAX]; /* of rows that are no ratio */
    int32_t figure_count;
    int32_t pair_count, dirty_count;
    struct bench_pair pairs[BENCH_PAIRS_MAX];
    bool too_noisy; /* more than half of the pairs were dropped: no figures below */
    double engine_per_s, limit_per_s; /* medians */
    double ratio, ratio_low,
        ratio_high; /* median of the pairs' ratios, 95 % interval by bootstrap */
};

int32_t bench_row_count(void);
const char *bench_row_name(int32_t index);
const char *bench_row_goal(int32_t index); /* NULL: none */
const char *bench_row_what(int32_t index); /* what its engine side does */
bool bench_row_only_named(int32_t index);  /* takes minutes: left out where all are asked for */

/* Adds a figure; `bound` NAN: it has none. */
void bench_add_figure(struct bench_result *result, const char *name, const char *unit, double value,
                      double bound);

/* The same with its interval; low <= value <= high. */
void bench_add_interval(struct bench_result *result, const struct bench_figure *figure);

/* Of a figure with a bound. */
enum bench_verdict bench_verdict(const struct bench_figure *figure);

bool bench_is_row(const char *name);

/* Runs one row, which there is. Takes pairs x 0.2 s of CPU and the time to make its data; latency rows take their seconds. Errors:
 * those of the folder that rows with a log make below TMPDIR. */
ATTR_NODISCARD enum err bench_run(const char *name, const struct bench_options *options,
                                  struct bench_result *ret_result, struct err_info *info);

/* Median of ratios[count] and a 95 % interval of it by the percentile bootstrap (Efron 1979), 2000 resamples. */
void bench_interval(const double *ratios, int32_t count, uint64_t seed, double *ret_median,
                    double *ret_low, double *ret_high);

#endif
