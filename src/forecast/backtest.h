// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_BACKTEST_H
#define FORECAST_BACKTEST_H

#include "forecast/online.h"

/* How far off each model would have been: from several origins in a series' past, each model is fitted to the `train` values
 * before the origin and its forecast of the next h is held against what came. */

enum { BACKTEST_ORIGINS_MAX = 1000, BACKTEST_AUTO = MODEL_COUNT, BACKTEST_MODELS };

struct backtest {
    int train;       /* values before an origin, >= ONLINE_FEW */
    int h;           /* 1..ONLINE_HORIZON_MAX */
    int origins;     /* 1..BACKTEST_ORIGINS_MAX, evenly from train to n - h */
    int auto_season; /* of the online forecaster: steps; 0: it finds its own before each origin */
    int level_count;
    double level[ONLINE_LEVELS_MAX];
    int keep;     /* model whose forecasts are handed out, or BACKTEST_AUTO */
    double *kept; /* [h][level_count] of the last origin tested; NULL: none is wanted */
};

/* One forecast. All but `there` are 0 where it is false. `scale`: mean absolute difference to a season before in the
 * training values (to the value before where there is no season or
 * that difference is 0; 1 where that is, too). */
struct backtest_row {
    bool there; /* the model could be fitted */
    int origin; /* values of the series up to it */
    double scale;
    double mase;                     /* mean absolute error of the middle level / scale */
    double loss[ONLINE_LEVELS_MAX];  /* mean pinball loss / scale */
    double below[ONLINE_LEVELS_MAX]; /* share of the truth at or below the level */
    double excess, idle;             /* mean of truth above, and below, the highest level / scale */
};

/* The origin number o (0-based) as a count of values before it. */
int backtest_origin(const struct backtest *spec, int n, int o);

/* All models, and the online forecaster (BACKTEST_AUTO), at one origin: rows[BACKTEST_MODELS]; `only` one of them, or all
 * for BACKTEST_MODELS.
 * Errors: INVALID, LIMIT (spec or series too short). */
// NOLINTNEXTLINE(readability-function-size): all seven are the call, none a pair
enum err backtest_at(const struct series *series, const struct backtest *spec, int origin, int only,
                     struct arena *arena, struct backtest_row *rows,
                     struct err_info *info) ATTR_NODISCARD;

#endif
