// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_FITTED_H
#define FORECAST_FITTED_H

#include <stdbool.h>

#include "forecast/arima.h"
#include "forecast/ets.h"
#include "forecast/holt_winters.h"
#include "forecast/intermittent.h"
#include "forecast/models.h"
#include "forecast/prophet.h"
#include "forecast/prophet_ar.h"
#include "forecast/short.h"
#include "forecast/stl.h"
#include "forecast/theta.h"

/* A model fitted once, that goes on value by value without a refit: what the online forecaster keeps for each member.
 *
 *   naive, seasonal, drift, trend   the last values and running sums of their errors
 *   ETS, Theta, STL + ETS           the smoothing recursions; the season of STL and Theta stays as fitted
 *   ARIMA, ARIMA + Fourier          one step of the Kalman filter, coefficients and sigma2 as fitted
 *   Prophet, logistic growth too    trend and season as fitted; the last residual fades with its lag-1 correlation
 *   Prophet with AR                 the same trend and season; the residual's filter goes on
 *   Holt-Winters                    its recursion, at the grid's parameters of the fit
 *   regression, Croston, TSB        learn from every value; they have no other fit
 *
 * A missing value (NaN) moves time on; the state then holds what was expected. */

enum { FITTED_TREND_WINDOW = 12, FITTED_PAIRS_MAX = 6, FITTED_HORIZON = 72 };

/* How to fit. All zero: the raw series, everything searched for. */
struct fit_how {
    bool log1p; /* fit log(1 + y); the series must not be negative */
    const struct fitted *
        like; /* take its order or form instead of searching, start from its coefficients; may be NULL */
    int models_max; /* most models of an order search; 0: the model's default */
    int horizon;    /* steps that the regression must reach; 0: FITTED_HORIZON */
    struct effort *
        effort; /* counts the work as it is done; what searches or iterates ends where it is once nothing is
                              left, so the most is passed by one step of it at worst; NULL: neither */
};

struct fitted {
    enum model model;
    bool log1p;
    int season, seen;                /* steps; values taken in since the series' first */
    double start_s, step_s;          /* of the series */
    const struct holidays *holidays; /* of the series; NULL: none */
    double least, most;              /* of the values seen */
    /* naive family: */
    double *recent;      /* [recent_count] last known value by position % recent_count */
    int recent_count;    /* 1, the season or the window */
    double sum, squares; /* of the errors of repeating */
    int pairs;
    bool gap; /* the last value was missing */
    /* the others, one of: */
    struct ets ets;
    struct theta theta;
    struct stl_ets stl;
    struct arima arima;
    struct prophet prophet;
    struct prophet_ar prophet_ar;
    struct short_model regression;
    struct holt_winters holt_winters;
    struct intermittent intermittent;
    double phase;      /* of the Fourier terms at the series' first value */
    int fourier_pairs; /* 0: none */
    double carry,
        last; /* Prophet: share of the last residual that stays a step later; that residual */
};

/* Fits. The result lives in `arena`, with the scratch of the fit: copy it out (fitted_copy) and rewind.
 * Errors: INVALID (the model cannot be fitted to this series; MODEL_MEDIAN never can), LIMIT. */
enum err fitted_fit(enum model model, const struct series *series, const struct fit_how *how,
                    struct arena *arena, struct fitted *ret, struct err_info *info) ATTR_NODISCARD;

/* The same model with all its memory in `arena`: some KiB, STATE_SEASON_MAX or the season long. */
void fitted_copy(const struct fitted *from, struct arena *arena, struct fitted *ret);

/* One more value, NaN where missing. Allocates nothing. Cost: below 5 us with seasons up to STATE_SEASON_MAX. */
void fitted_update(struct fitted *fit, double y);

/* Forecast of h steps behind the last value, into `ret` (memory from `arena`).
 * Errors: INVALID, LIMIT. */
enum err fitted_forecast(const struct fitted *fit, int h, struct arena *arena, struct forecast *ret,
                         struct err_info *info) ATTR_NODISCARD;

/* Quantile q of step i, never above three times the largest value seen where the scale is a logarithm. */
double fitted_quantile(const struct fitted *fit, const struct forecast *forecast, int i, double q);

/* Work that a fit will take, in units of struct effort (about a microsecond on one core of 2022): an estimate beforehand from
 * the model, n values, the season and `how`; on the safe side. */
double fitted_work(enum model model, int n, int season, const struct fit_how *how);

/* Logistic growth where nothing else is known: cap at three times the largest value; floor at 0, or as far below the least
 * as the largest is above it if that is negative. */
void series_limits(const double *y, int n, struct prophet_spec *spec);

/* Adds the holidays to a specification as its last regressors; returns their rows[rows][regressor_count] at the times, NULL
 * without holidays. In `arena`. */
double *fitted_holidays(const struct holidays *holidays, struct prophet_spec *spec,
                        const double *time_s, int rows, struct arena *arena);

/* Straight lines over the gaps of y[n], the nearest value at the ends, 0 if all is missing. In `arena`. */
double *series_without_gaps(const double *y, int n, struct arena *arena);

#endif
