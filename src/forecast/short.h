// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_SHORT_H
#define FORECAST_SHORT_H

#include "forecast/forecast.h"

/* Regression for short horizons, learned online: for each number of steps ahead its own least squares of
 *   y(t+h) - y(t)
 * on the last slopes y(t) - y(t-3), y(t) - y(t-12), and, for a day and a week, on what the series did then,
 * y(t+h-lag) - y(t-lag), and on how far now is from then, y(t-lag) - y(t); lag = whole days (weeks) >= h.
 * Old rows fade by `memory`; a ridge of 20 rows' weight pulls to "no change" while there are few. What is not known (too
 * early, missing) counts as no change. Quantiles are normal with the weighted variance of the residuals. */

enum {
    SHORT_STEPS_MAX = 1024,
    SHORT_LAG_MAX = 1 << 18, /* longest day or week in steps */
    SHORT_FEATURES = 6,
    SHORT_SUMS = SHORT_FEATURES * (SHORT_FEATURES + 1) / 2 + SHORT_FEATURES + 2,
};

struct short_spec {
    int steps;     /* furthest horizon, 1..SHORT_STEPS_MAX */
    int day, week; /* in steps, 0 = none; else > 1, <= SHORT_LAG_MAX */
    double memory; /* steps after which a row weighs 1/e; >= 50 */
};

/* A model in progress; memory in the arena of short_start. */
struct short_model {
    struct short_spec spec;
    int seen;     /* values taken in */
    int mask;     /* length of `past` - 1 */
    double *past; /* [mask + 1] ring of the last values */
    double *sums; /* [steps][SHORT_SUMS] products of features and target, weight, all faded */
};

/* Errors: LIMIT (steps, day or week out of range). Memory: 8 (2 (day or week + steps) + 29 steps) bytes or so. */
enum err short_start(const struct short_spec *spec, struct arena *arena, struct short_model *ret,
                     struct err_info *info) ATTR_NODISCARD;

/* The same model with its memory in `arena`. */
void short_copy(const struct short_model *from, struct arena *arena, struct short_model *ret);

/* One more value, NaN = missing. Allocates nothing. Cost: O(steps), about 40 ns a step. */
void short_update(struct short_model *model, double y);

/* Forecast of h <= spec.steps steps from the last value. Errors: INVALID (no value yet known, or h too far). */
enum err short_forecast(const struct short_model *model, int h, struct arena *arena,
                        struct forecast *ret, struct err_info *info) ATTR_NODISCARD;

#endif
