// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_BACKTEST_H
#define PRM_BACKTEST_H

#include "base/arena.h"
#include "base/err.h"
#include "prm/policy.h"

/* Replays a recorded load against policies: one executor, one queue, one cost for all. The load goes in straight lines
 * between its points and is scaled so that its highest point loads `lanes` lanes to 80 %. The first part (history) only
 * chooses each policy's settings from its grid, by cost; results are of the rest. Settings of Shadowcast's that concern
 * risk are chosen the same way: the manager backtests itself, nobody tunes it.
 *
 * A lane is reserved from its order on (ORACLE's from when it serves: it is a bound, not a policy). A change stops the
 * moved share for BACKTEST_PAUSE_S. Pure; memory from the arena. */

/* What a key waits at a change: the bound of G9a, which `bench migrate-1m` holds or misses by 3 ms (docs/benchmarks.md). */
#define BACKTEST_PAUSE_S 0.02

enum { BACKTEST_POINTS_MAX = 4 << 20, BACKTEST_LANES_MAX = 1024, BACKTEST_LAG_BINS = 4096 };

struct backtest_options {
    const double *values; /* [count] >= 0; NaN: not observed, a straight line stands in */
    int64_t count;
    double step_s;      /* between values, a multiple of interval_s */
    int lanes;          /* at the load's peak, 1..BACKTEST_LANES_MAX */
    double startup_s;   /* 0..600 */
    double interval_s;  /* between decisions */
    double objective_s; /* > 0 */
    struct prices prices;
};

struct backtest_result {
    enum policy_kind kind;
    struct policy_params params; /* chosen on the history */
    double cost;                 /* first line of the cost formula, in lane-seconds x p_node */
    double lane_hours;           /* reserved, shadows included */
    double shadow_hours;         /* of these, shadows' */
    double late_s;
    double pause_late_s; /* late only because of changes' pauses */
    double lag_p99_s;
    double lag_max_s;
    int64_t changes;
    double days; /* replayed */
    float *plot; /* [plot_count] lanes, evenly spaced over what was replayed */
};

enum { BACKTEST_PLOT = 1200 };

struct backtest; /* a replay under way: stepped, so that its caller can show progress */

/* Policies wanted: kinds[kind_count], each once.
 * Errors: INVALID (a length, step, rate or lane count out of range; no load at all), LIMIT. */
ATTR_NODISCARD enum err backtest_new(struct arena *arena, const struct backtest_options *options,
                                     const enum policy_kind *kinds, int kind_count,
                                     struct backtest **ret_backtest, struct err_info *info);

/* Runs up to `steps` decisions; true when all is done. */
bool backtest_step(struct backtest *backtest, int64_t steps);

double backtest_progress(const struct backtest *backtest); /* 0..1 */

/* After the end: results in the order of `kinds`; the load as plotted. */
const struct backtest_result *backtest_results(struct backtest *backtest);
const float *backtest_plot_load(const struct backtest *backtest);

#endif
