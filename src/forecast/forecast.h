// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_FORECAST_H
#define FORECAST_FORECAST_H

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

/* The library's common words. Everything in this folder is pure: arguments in, results out; memory from the arena that
 * the caller hands in; no state between calls. A series is n values at equal steps, oldest first; NaN means missing. */

enum {
    SERIES_MAX = 1 << 20, /* most values of a series */
    HORIZON_MAX = 100000, /* most steps of a forecast */
    REGRESSORS_MAX = 64,  /* most regressors of a model */
    STATE_SEASON_MAX =
        24, /* longest season kept in a model's state; longer ones are Fourier terms or STL */
    QUANTILES_MAX = 32,
    FORECAST_KNOTS = 29,
};

#define FORECAST_KNOT_STEP 0.25

/* Forecast of h steps: normal with mean center[i] and standard deviation sd[i] on the scale of the model, brought back by
 * the inverse Box-Cox transform of `lambda` where `transformed`, then less `shift`. mean[i] is what the model names its
 * forecast. All of length h, in the arena of the call that made it. A law that is not normal has its quantiles in
 * `knots`. */
struct forecast {
    int h;
    double *mean;
    double *center;
    double *sd;
    int transformed;
    double lambda;
    double shift; /* 1: the scale is log(1 + y), with lambda 0 */
    /* NULL where normal; else [h][FORECAST_KNOTS] quantiles on the scale of the model at the normal scores -3.5, -3.25 ..
     * 3.5, ascending; straight lines of the score between and beyond them. */
    double *knots;
};

/* Normal score of knot k. */
static inline double forecast_knot_score(int k)
{
    return FORECAST_KNOT_STEP * (k - FORECAST_KNOTS / 2);
}

/* Prepares room for h steps. */
void forecast_init(struct forecast *forecast, int h, struct arena *arena);

/* Quantile q of step i (0-based), q in (0, 1). */
double forecast_quantile(const struct forecast *forecast, int i, double q);

/* Box-Cox transform: (sign(y)|y|^lambda - 1)/lambda, log y at lambda 0 (NaN for y <= 0 there), and its inverse.
 * Source: Bickel and Doksum 1981. */
double box_cox(double y, double lambda);
double box_cox_inverse(double w, double lambda);

/* Mean on the original scale of a value that is normal with `center` and `variance` on the transformed one, to second
 * order. */
double box_cox_mean(double center, double variance, double lambda);

/* Lambda in [-1, 2] that makes blocks of one season vary alike (Guerrero 1993); y[n] > 0, n >= 2 * max(2, m). */
double box_cox_guerrero(const double *y, int n, int m, struct arena *arena);

/* Lambda of -1, -0.95 .. 2 with the highest likelihood under a linear trend and seasonal means (m > 1); y[n] > 0. */
double box_cox_loglik(const double *y, int n, int m, struct arena *arena);

#endif
