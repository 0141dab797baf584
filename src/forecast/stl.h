// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_STL_H
#define FORECAST_STL_H

#include "forecast/ets.h"

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

/* STL + ETS: the last season of each repeated, the rest by ETS without season. */
struct stl_ets {
    int count;
    int m[STL_SEASONS_MAX];
    double *
        shape[STL_SEASONS_MAX]; /* each [m], by steps behind the fit % m; in the arena of the fit */
    int seen;                   /* values taken in since the fit */
    struct ets rest;
};

/* How the rest is fitted. */
struct stl_how {
    const struct ets_form *like; /* with this form; NULL: with the best by AICc */
    struct effort *effort;       /* counts the work and bounds it; NULL: neither */
};

/* Fits. Errors: as mstl_split and ets_auto. */
enum err stl_fit(const double *y, int n, const int *m, int count, const struct stl_how *how,
                 struct arena *arena, struct stl_ets *ret, struct err_info *info) ATTR_NODISCARD;

/* Forecast of h steps. */
void stl_predict(const struct stl_ets *model, int h, struct arena *arena, struct forecast *ret);

/* One more value; NaN leaves the rest where it is expected. O(1). */
void stl_update(struct stl_ets *model, double y);

/* Fit and forecast in one. Errors: as stl_fit. */
enum err stl_forecast(const double *y, int n, const int *m, int count, int h, struct arena *arena,
                      struct forecast *ret, struct err_info *info) ATTR_NODISCARD;

#endif
