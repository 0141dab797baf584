// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_STL_H
#define FORECAST_STL_H

#include "forecast/forecast.h"

/* Seasonal and trend decomposition by loess (Cleveland and others 1990), windows as R's stl() sets them, and its
 * repetition over several seasons (mstl of R forecast 8.20). y = season + trend + rest. */

enum { STL_PERIODIC = 0, STL_SEASONS_MAX = 4 };

struct stl {
    int n;
    double *season;  /* [n] */
    double *trend;   /* [n] */
    double *rest;    /* [n] */
    double *weights; /* [n] robustness weights, 1 if not robust */
};

/* One season of m >= 2 steps; y[n] finite, n >= 2 m. season_window: STL_PERIODIC or an odd number >= 3.
 * robust 1: 15 rounds of weights against outliers. Errors: INVALID (lengths). */
enum err stl_split(const double *y, int n, int m, int season_window, int robust,
                   struct arena *arena, struct stl *ret, struct err_info *info) ATTR_NODISCARD;

struct mstl {
    int n, count;
    int m[STL_SEASONS_MAX];
    double *season[STL_SEASONS_MAX]; /* each [n] */
    double *trend, *rest;            /* [n] */
};

/* Seasons m[count], ascending, each >= 2; those with 2 m > n are left out. Two sweeps. Errors: INVALID (none left). */
enum err mstl_split(const double *y, int n, const int *m, int count, struct arena *arena,
                    struct mstl *ret, struct err_info *info) ATTR_NODISCARD;

/* Strength of the season, 0..1: 1 - Var(rest) / Var(season + rest) (Wang, Smith, Hyndman 2006); 0 if it cannot be. */
double stl_strength(const double *y, int n, int m, struct arena *arena);

/* STL + ETS: the last season of each repeated, the rest by ETS without season. h steps.
 * Errors: as mstl_split. */
enum err stl_forecast(const double *y, int n, const int *m, int count, int h, struct arena *arena,
                      struct forecast *ret, struct err_info *info) ATTR_NODISCARD;

#endif
