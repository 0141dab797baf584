// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_PROPHET_H
#define FORECAST_PROPHET_H

#include "forecast/effort.h"
#include "forecast/forecast.h"

/* Prophet's model (Taylor, Letham 2018) at its exact maximum a posteriori:
 *   y / scale = g(t) (1 + X_m b_m) + X_a b_a + noise,
 *   g = k t + m + sum_j d_j max(t - s_j, 0); g = m where growth is flat;
 *   g = cap / (1 + exp(-z)), z = k (t - m) + sum_j d_j max(t - s_j, 0) where it is logistic,
 *   priors: k, m ~ N(0, 5), d ~ Laplace(0, tau), b ~ N(0, prior), noise sd ~ half normal 0.5.
 * With the noise fixed the additive problem is a lasso with ridge on its normal equations, solved by an active set;
 * multiplicative terms alternate with the trend; logistic growth is linearised step by step. Changes of trend to come are
 * as many and as large as those of the past on average. */

/* Variance of the priors of k and m. */
#define PROPHET_TREND_VARIANCE 25.0

enum {
    PROPHET_SEASONS_MAX = 6,
    PROPHET_CHANGES_MAX = 50,
    PROPHET_FEATURES_MAX = 64,
    PROPHET_UNKNOWNS_MAX = 2 + PROPHET_CHANGES_MAX + PROPHET_FEATURES_MAX,
};

struct prophet_season {
    double period_days; /* > 0 */
    int order;          /* pairs of Fourier terms, on days since 1970 */
    double prior;       /* sd of the coefficients */
    int multiplicative;
};

struct prophet_spec {
    int flat; /* 1: growth is flat */
    int logistic; /* 1: growth saturates at `cap` and at `floor`, in the units of the series; not with flat */
    double cap, floor;   /* cap > floor; 0 and 0 without logistic growth */
    int changes;         /* changepoints wanted; 25 */
    double change_range; /* share of the history that carries them; 0.8 */
    double change_prior; /* tau; 0.05 */
    struct prophet_season season[PROPHET_SEASONS_MAX];
    int season_count;
    /* Regressors (standardised by the caller) and holidays as columns of 0 and 1, behind the seasons: */
    int regressor_count;
    double regressor_prior[PROPHET_FEATURES_MAX];
    int regressor_multiplicative[PROPHET_FEATURES_MAX];
    struct effort
        *effort; /* counts the fit's work and bounds it, NULL: neither; not kept in the model */
};

struct prophet {
    struct prophet_spec spec;
    double start_s, span_s, y_scale; /* t = (time - start) / span, y = scaled * y_scale */
    int changes, features;
    double change_at[PROPHET_CHANGES_MAX]; /* s_j on the t axis */
    double k, m, sigma;
    double delta[PROPHET_CHANGES_MAX];
    double beta[PROPHET_FEATURES_MAX];
    double log_posterior;
};

/* Prophet's defaults for a series of n values at a step of step_s seconds: yearly, weekly, daily as the span allows. */
struct prophet_spec prophet_defaults(double span_s, double step_s);

/* Fits.
 *   time_s[n]   seconds since 1970, ascending
 *   y[n]        NaN = left out; at least two values
 *   x[n][regressor_count] or NULL
 * Errors: INVALID (too few values, cap not above floor), LIMIT (too many seasons or features). */
enum err prophet_fit(const double *time_s, const double *y, int n, const double *x,
                     const struct prophet_spec *spec, struct arena *arena, struct prophet *ret,
                     struct err_info *info) ATTR_NODISCARD;

/* Scales, changepoints and feature counts alone; coefficients zero. Errors: as prophet_fit. */
enum err prophet_prepare(const double *time_s, const double *y, int n,
                         const struct prophet_spec *spec, struct arena *arena, struct prophet *ret,
                         struct err_info *info) ATTR_NODISCARD;

/* Log posterior of the model's coefficients on the data, without constants. */
double prophet_log_posterior(const struct prophet *model, const double *time_s, const double *y,
                             int n, const double *x);

/* Its value at one time, in the units of the series, with the regressors x there. */
double prophet_value(const struct prophet *model, double time_s, const double *x);

/* Forecast at h times, with the law of noise and of changes of trend to come (forecast/jumps.h). */
void prophet_forecast(const struct prophet *model, const double *time_s, int h, const double *x,
                      struct arena *arena, struct forecast *ret);

#endif
