// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_ETS_H
#define FORECAST_ETS_H

#include <stdbool.h>

#include "forecast/effort.h"
#include "forecast/forecast.h"

/* Exponential smoothing in state space form, error A or M, trend N, A or damped A, season N, A or M:
 *   q = l + phi b,  f = q | q + s | q s,  e = y - f | (y - f) / f
 *   l' = q + alpha (y - s - q | y / s - q),  b' = phi b + beta (the same difference),
 *   s' = s + gamma (y - q - s | y / q - s)
 * Simple, Holt's and Holt-Winters' smoothing are (A,N,N), (A,A,N), (A,A,A).
 * Source: Hyndman, Koehler, Ord, Snyder 2008; counting as R forecast 8.20. */

struct ets_form {
    char error;  /* 'A', 'M' */
    char trend;  /* 'N', 'A' */
    char season; /* 'N', 'A', 'M' */
    int damped;  /* only with trend 'A' */
};

enum { ETS_STATES_MAX = 2 + STATE_SEASON_MAX };

struct ets {
    struct ets_form form;
    int m;                           /* season in steps, 1 without */
    double alpha, beta, gamma, phi;  /* phi 1 if not damped, unused ones 0 */
    double level, slope;             /* after the last value */
    double season[STATE_SEASON_MAX]; /* by phase t % m */
    int seen;                        /* values taken in */
    double start[ETS_STATES_MAX];    /* l, b, then the season by phase, before the first value */
    double sigma2, loglik, aic, aicc, bic;
};

/* The model at given parameters; y[n] finite, n > 0.
 *   model   form, m, alpha, beta, gamma, phi and start set by the caller
 * Errors: INVALID (multiplicative parts with values that are not positive). */
enum err ets_at(const double *y, int n, struct ets *model, struct err_info *info) ATTR_NODISCARD;

/* What is fitted: y[n], all finite, with a season of m steps, 1 for none. */
struct ets_data {
    const double *y;
    int n, m;
    struct effort *effort; /* counts the fit's work and bounds it; NULL: neither */
};

/* Fits one form. m <= STATE_SEASON_MAX if there is a season.
 * Errors: INVALID (too few values, or not positive where multiplied), LIMIT (season too long). */
enum err ets_fit(const struct ets_data *data, const struct ets_form *form, struct arena *arena,
                 struct ets *ret, struct err_info *info) ATTR_NODISCARD;

/* Best form by AICc; m > STATE_SEASON_MAX or too short for two seasons: without season. Errors: as ets_fit. */
enum err ets_auto(const struct ets_data *data, struct arena *arena, struct ets *ret,
                  struct err_info *info) ATTR_NODISCARD;

/* Forecast of h steps. The mean of (M,*,M) is the true mean, up to 0.2 % off the recursion. */
void ets_forecast(const struct ets *model, int h, struct arena *arena, struct forecast *ret);

/* One more value; NaN leaves the forecast in its place. Returns the one-step error. O(1). */
double ets_update(struct ets *s, double y);

#endif
