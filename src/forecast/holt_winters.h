// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_HOLT_WINTERS_H
#define FORECAST_HOLT_WINTERS_H

#include "forecast/forecast.h"

/* Additive Holt-Winters smoothing with a season of any length, the smoothing parameters out of a grid of 27: all of them pass
 * the series at once, so a fit costs about one sweep. For very many series, and for seasons longer than ETS takes.
 *   e = y - l - b - s,  l' = l + b + alpha e,  b' = b + alpha beta e,  s' = s + gamma (1 - alpha) e
 * Start: the first season's mean, the step between the first two seasons' means, the first season less its mean and that slope.
 * The first season is in the start and not in the errors that choose.
 * Source: Winters 1960; error form as Hyndman, Koehler, Ord, Snyder 2008. */

enum { HOLT_WINTERS_GRID = 27, HOLT_WINTERS_SEASON_MAX = 1 << 14 };

struct holt_winters {
    int m;                     /* season in steps */
    double alpha, beta, gamma; /* those chosen */
    double level, slope;       /* after the last value */
    double *season;            /* [m] by phase seen % m */
    int seen;                  /* values taken in */
    double sigma2;             /* of the one-step errors */
};

/* Fits y[n], all finite, with a season of m steps.
 * Errors: LIMIT (m not in 2..HOLT_WINTERS_SEASON_MAX), INVALID (n < 2 m + 3).
 * Memory: `season` in `arena`, scratch given back. Cost: about 20 ns a value. */
enum err holt_winters_fit(const double *y, int n, int m, struct arena *arena,
                          struct holt_winters *ret, struct err_info *info) ATTR_NODISCARD;

/* One more value; NaN leaves the forecast in its place. Returns the one-step error, 0 for NaN. O(1). */
double holt_winters_update(struct holt_winters *model, double y);

/* Forecast of h steps behind the last value. */
void holt_winters_forecast(const struct holt_winters *model, int h, struct arena *arena,
                           struct forecast *ret);

#endif
