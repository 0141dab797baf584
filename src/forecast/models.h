// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_MODELS_H
#define FORECAST_MODELS_H

#include "forecast/forecast.h"
#include "forecast/holidays.h"

/* All models behind one call, and their median. The choice among them is online.h's. */

#define MODEL_LIST(X) \
    X(NAIVE, "naive") \
    X(SEASONAL, "snaive") \
    X(DRIFT, "drift") \
    X(TREND, "trend") \
    X(ETS, "ets") \
    X(THETA, "theta") \
    X(STL, "stl") \
    X(ARIMA, "arima") \
    X(FOURIER, "arima-fourier") \
    X(PROPHET, "prophet") \
    X(PROPHET_AR, "prophet-ar") \
    X(PROPHET_LOGISTIC, "prophet-logistic") \
    X(REGRESSION, "regression") \
    X(HOLT_WINTERS, "holt-winters") \
    X(CROSTON, "croston") \
    X(TSB, "tsb") \
    X(MEDIAN, "median")

enum model {
#define X(name, text) MODEL_##name,
    MODEL_LIST(X)
#undef X
        MODEL_COUNT
};

/* "naive", "arima-fourier", ... */
const char *model_name(enum model model);

/* A series to be forecast: y[n], NaN = missing; at least two finite values. */
struct series {
    const double *y;
    int n;
    int season;                      /* steps, 1 for none */
    double start_s;                  /* time of y[0], seconds since 1970 */
    double step_s;                   /* > 0 */
    const struct holidays *holidays; /* for Prophet's models; NULL: none; outlives what is fitted */
};

/* Most work of one model's fit in model_forecast, in units of struct effort: half a second and two milliseconds a value. What
 * iterates ends there, with what it has. */
enum { MODEL_WORK_BASE = 500000, MODEL_WORK_EACH = 2000 };

/* Forecast of h steps at the levels q[count], ascending in (0, 1), into out[h][count], ascending in each row, finite, and
 * not below 0 if no value of the series is.
 * Errors: INVALID (the model cannot be fitted to this series), LIMIT.
 * Memory: scratch from `arena`, given back. */
enum err model_forecast(enum model model, const struct series *series, int h, const double *q,
                        int count, struct arena *arena, double *out,
                        struct err_info *info) ATTR_NODISCARD;

/* Index of the level nearest the median among q[count], count >= 1. */
int model_middle(const double *q, int count);

/* Correlation of the changes over `gap` steps with those m steps before; 0 where there is none to tell of. y[n] may have NaN;
 * m, gap > 0. */
double model_likeness(const double *y, int n, int m, int gap);

/* Season in steps with the highest autocorrelation of the differenced series among `candidates`, 1 if none passes 0.2;
 * each must fit twice. */
int model_season(const double *y, int n, const int *candidates, int count);

#endif
