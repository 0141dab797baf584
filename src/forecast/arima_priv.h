// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_ARIMA_PRIV_H
#define FORECAST_ARIMA_PRIV_H

#include "forecast/arima.h"

/* Product of the non-seasonal and the seasonal factor: full[0..count + m * seasonal_count), where the polynomials are
 * 1 + sign * sum c_j B^j. Returns the length. */
int arima_expand(const double *c, int count, const double *seasonal, int seasonal_count, int m,
                 int sign, double *full);

/* Coefficients of an AR block from unbounded parameters, by partial autocorrelations tanh(u). */
void arima_from_partial(const double *u, int count, double *coef);

/* The other way; false if the block is not stationary (then u is clipped inside). */
bool arima_to_partial(const double *coef, int count, double *u);

/* Difference polynomial (1-B)^d (1-B^m)^D = 1 - sum delta_i B^i; returns its length. */
int arima_delta(const struct arima_order *order, double *delta);

/* First column of the stationary covariance of the ARMA state, c[r]; `room` of arima_stationary_room doubles.
 * False where there is no stationary solution. */
bool arima_stationary(const double *phi, int p, const double *theta, int q, int r, double *c,
                      double *room);
long arima_stationary_room(int p, int q, int r);

/* Empty model with room for its state; orders checked before. */
void arima_init(struct arima *model, const struct arima_data *data, const struct arima_order *order,
                struct arena *arena);

/* Takes coef over into the polynomials and sets the state to its start; false if not stationary. */
bool arima_start(struct arima *model, const double *coef, struct arena *arena);

/* Value of the regression part at step t (0-based) with the caller's regressors x[k]. */
double arima_regression(const struct arima *model, int t, const double *x);

/* Filters the data, sets likelihood and the criteria. */
void arima_filter(struct arima *model, const struct arima_data *data);

/* One step of the filter for n columns at once is in arima_fast.c. */

/* The differenced problem of a fit: columns of w[rows][cols], column 0 the series, others the regressors. */
struct arima_fast {
    const struct arima_order *order;
    int rows, cols;
    const double *w;
    double *coef;          /* [ARIMA_COEF_MAX] room */
    double *room;          /* arima_fast_room doubles */
    double *b;             /* [cols - 1] regression coefficients of the last evaluation */
    struct effort *effort; /* of the data */
};

long arima_fast_room(const struct arima_order *order, int rows, int cols);

/* 0.5 (log(ssq / rows) + sum log F / rows), with the regressors' coefficients profiled out into fast->b; coef as in
 * struct arima. INFINITY where it is not defined. */
double arima_fast_objective(struct arima_fast *fast, const double *coef);

/* e(t) -= c x(t - lag), rows from..rows, from >= lag. */
void arima_subtract_lagged(double *e, const double *x, int from, int rows, int lag, double c);

/* e(t) -= sum of c[i] e(t - lag[i]) in place, rows from..rows; lags descending, from >= the first. */
void arima_recurse(double *e, int from, int rows, const double *c, const int *lag, int count);

/* The differenced columns of a fit, room included for the longest order of the search; false if the regressors depend on
 * each other. `b_count` regression coefficients, mean and drift included. Memory in `arena`. */
bool arima_rows(const struct arima_data *data, const struct arima_order *order, int b_count,
                struct arena *arena, struct arima_fast *ret);

/* Least squares of the errors of x[rows] (differenced) from coef, or from zero if that is nearer; coef in the order of
 * struct arima, stationary and invertible afterwards. `room` of 5 * rows doubles. */
void arima_screen(const struct arima_order *order, const double *x, int rows, double *coef,
                  double *room, struct effort *effort);

/* Gauss and Newton's Hessian [k][k] of 0.5 log(sum of squared errors) by the coefficients at coef, which is that of the
 * likelihood up to O(1/n). `room` as in arima_screen. */
void arima_curvature(const struct arima_order *order, const double *x, int rows, const double *coef,
                     double *room, struct effort *effort, double *hessian);

/* 0.5 log(conditional sum of squares / its count), regressors' coefficients zero. */
double arima_css_objective(struct arima_fast *fast, const double *coef);

#endif
