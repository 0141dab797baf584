// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_PROPHET_AR_H
#define FORECAST_PROPHET_AR_H

#include "forecast/arima.h"
#include "forecast/prophet.h"

/* Prophet with an autoregressive residual: what its trend and seasons leave is an AR(1..3) by exact likelihood, the order by
 * AICc, carried as a filter's state. Near steps follow the last residuals, far ones are Prophet's. Times must be equal
 * steps apart (a gap is a NaN, not a missing row): the residual's step is the series'. */
struct prophet_ar {
    struct prophet model;
    struct arima rest; /* of y - Prophet, in the units of the series */
};

/* Fits; arguments as prophet_fit. The state of `rest` lives in `arena`.
 * Errors: as prophet_fit; INVALID (fewer than 6 values). */
enum err prophet_ar_fit(const double *time_s, const double *y, int n, const double *x,
                        const struct prophet_spec *spec, struct arena *arena,
                        struct prophet_ar *ret, struct err_info *info) ATTR_NODISCARD;

/* The next value (NaN: missing) at time_s with its regressors; Prophet's part stays, the residual's state moves. Returns the
 * standardised error, NaN if missing. Allocates nothing. */
double prophet_ar_update(struct prophet_ar *model, double time_s, double y, const double *x);

/* Forecast at the h steps behind the last value taken in. Errors: as arima_forecast. */
enum err prophet_ar_forecast(const struct prophet_ar *model, const double *time_s, int h,
                             const double *x, struct arena *arena, struct forecast *ret,
                             struct err_info *info) ATTR_NODISCARD;

#endif
