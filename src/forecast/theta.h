// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_THETA_H
#define FORECAST_THETA_H

#include "forecast/forecast.h"

/* The Theta method as simple smoothing with half the slope of a line (Assimakopoulos, Nikolopoulos 2000; Hyndman, Billah
 * 2003), on the series with its season taken off by ratios where that is significant and possible.
 *   y[n]   finite, n >= 4;  m  season, 1 for none
 *   ret_parameters   NULL, or gets smoothing parameter, half slope, variance of the errors
 * Errors: INVALID (too few values). */
enum err theta_forecast(const double *y, int n, int m, int h, struct arena *arena,
                        struct forecast *ret, double ret_parameters[3],
                        struct err_info *info) ATTR_NODISCARD;

/* Ratios of each phase to a centred moving average, by phase, mean 1 (classical decomposition); y[n] > 0, n >= 2 m. */
void theta_season_ratios(const double *y, int n, int m, double *ratios);

#endif
