// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_PROPHET_PRIV_H
#define FORECAST_PROPHET_PRIV_H

#include "forecast/prophet.h"

/* Features of one time into row[features]: Fourier terms of the seasons, then the regressors x. */
void prophet_features_at(const struct prophet *p, double time_s, const double *x, double *row);

/* Prior's sd and kind of each feature. */
void prophet_feature_kinds(const struct prophet *p, double *prior, int *multiplicative);

/* Scaled trend at t and its derivative by the (piecewise linear) exponent, 1 if growth is not logistic. */
double prophet_trend_at(const struct prophet *p, double t, double *ret_slope);

/* Log posterior of the model with the given residual sum of squares over n values. */
double prophet_log_posterior_at(const struct prophet *p, double squares, int n);

/* Noise variance of highest posterior. */
double prophet_best_variance(double squares, int n);

/* Fits logistic growth from a prepared model. */
void prophet_fit_logistic(struct prophet *model, const double *time_s, const double *y, int n,
                          const double *x, struct effort *effort, struct arena *arena);

#endif
