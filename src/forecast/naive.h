// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_NAIVE_H
#define FORECAST_NAIVE_H

#include "forecast/forecast.h"

/* The simplest forecasts, with normal intervals from their own one-step errors. Missing values are left out of the
 * errors; the last value known is the one repeated. All: y[n], n >= 2 with at least two finite values; h steps into
 * `ret` (memory from `arena`).
 * Errors: INVALID (too few values).
 * Source: R forecast 8.20 naive, snaive, rwf, meanf. */

/* The last value. */
enum err naive_last(const double *y, int n, int h, struct arena *arena, struct forecast *ret,
                    struct err_info *info) ATTR_NODISCARD;

/* The value one season of m >= 1 steps before; n > m. */
enum err naive_seasonal(const double *y, int n, int m, int h, struct arena *arena,
                        struct forecast *ret, struct err_info *info) ATTR_NODISCARD;

/* The last value and the mean step. */
enum err naive_drift(const double *y, int n, int h, struct arena *arena, struct forecast *ret,
                     struct err_info *info) ATTR_NODISCARD;

/* The mean of all; sd is scaled so that normal quantiles at `level` give the t interval: quantiles of the mean
 * forecast are exact at the two ends of the central interval `level` (0.8 for 10 % and 90 %) alone. */
enum err naive_mean(const double *y, int n, int h, double level, struct arena *arena,
                    struct forecast *ret, struct err_info *info) ATTR_NODISCARD;

/* Straight line through the last `window` values (2..n), from its end; the slope of the last minutes. */
enum err naive_trend(const double *y, int n, int window, int h, struct arena *arena,
                     struct forecast *ret, struct err_info *info) ATTR_NODISCARD;

#endif
