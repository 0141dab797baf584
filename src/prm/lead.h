// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_LEAD_H
#define PRM_LEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

/* A leader as a regressor: what a series that moves first says about the one that follows it `lag` steps later.
 *
 *   forecast of the follower, `lag` steps ahead = its value now + slope x (what the leader has gained over the last `lag` steps)
 *
 * The slope is a regression through the origin that forgets. Each forecast is compared with what came, beside "stays as it is":
 * the leader counts only while that backtest says that it helps. Pure. */

enum { LEAD_LAG_MAX = 120, LEAD_RESIDUALS = 256 };
#define LEAD_TOP_NEAR 0.1 /* of the way up from now */

struct lead {
    int32_t lag;               /* steps */
    double *leader, *follower; /* [2 * lag + 1] rings */
    double *made;              /* [lag] forecasts that are not due yet */
    double *
        residual; /* [LEAD_RESIDUALS] what came less what was forecast, each lag / 8 + 1st: neighbours are alike */
    int64_t seen;              /* values since the start, or the last gap */
    int64_t judged;            /* residuals there have been */
    double xy, xx;             /* forgetting sums */
    double error, error_naive; /* mean absolute, forgetting */
};

struct lead_forecast {
    bool usable;        /* it errs less than "stays as it is", by a margin, over enough forecasts */
    double error;       /* backtest error / that of "stays as it is"; NaN: not known yet */
    double value, high; /* of the follower in `lag` steps: expected, and at the quantile */
    double
        top; /* highest at the quantile of the next `lag` steps, by what was forecast of each of them */
    int32_t top_steps; /* when it is first reached, but for LEAD_TOP_NEAR; 1..lag */
};

/*   lag   1..LEAD_LAG_MAX
 * Memory: the arena's, about 6 numbers a step of lag and 2 KiB. */
struct lead *lead_new(struct arena *arena, int32_t lag);

/* The next values of both, at equal steps; NaN: missing, nothing is learned across it.
 *   quantile   (0, 1) of `high` */
struct lead_forecast lead_step(struct lead *lead, double leader, double follower, double quantile);

#endif
