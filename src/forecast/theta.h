// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_THETA_H
#define FORECAST_THETA_H

#include "forecast/ets.h"

/* The Theta method as simple smoothing with half the slope of a line (Assimakopoulos, Nikolopoulos 2000; Hyndman, Billah
 * 2003), on the series with its season taken off by ratios where that is significant and possible. */
struct theta {
    int m;           /* season taken off, 1 for none */
    int seen;        /* values taken in */
    double *ratio;   /* [m] by phase; in the arena of the fit */
    struct ets ets;  /* simple smoothing of what is left */
    double half;     /* half the slope, stays as fitted */
    double fit_term; /* (1 - (1 - alpha)^n) / alpha of the fit: the line's part in the level */
};

/* Fits; n >= 4. Errors: INVALID (too few values). */
enum err theta_fit(const struct ets_data *data, struct arena *arena, struct theta *ret,
                   struct err_info *info) ATTR_NODISCARD;

/* Forecast of h steps. */
void theta_predict(const struct theta *model, int h, struct arena *arena, struct forecast *ret);

/* One more value; NaN leaves the level. O(1). */
void theta_update(struct theta *model, double y);

/* Fit and forecast in one.
 *   ret_parameters   NULL, or gets smoothing parameter, half slope, variance of the errors
 * Errors: as theta_fit. */
enum err theta_forecast(const double *y, int n, int m, int h, struct arena *arena,
                        struct forecast *ret, double ret_parameters[3],
                        struct err_info *info) ATTR_NODISCARD;

/* Ratios of each phase to a centred moving average, by phase, mean 1 (classical decomposition); y[n] > 0, n >= 2 m. */
void theta_season_ratios(const double *y, int n, int m, double *ratios);

#endif
