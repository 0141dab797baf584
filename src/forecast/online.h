// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_ONLINE_H
#define FORECAST_ONLINE_H

#include <stdbool.h>

#include "forecast/models.h"

/* The online forecaster of one series: samples in, one at a time; at any moment a forecast with quantiles that hold, and how
 * far off the last ones were. Pure like the rest: no clock, no thread, the same calls give the same numbers.
 *
 *     struct online *load = online_new(&spec, &arena, &info);
 *     online_load(load, days_before, n, &scratch);            the history, if there is one
 *     for each sample:
 *         online_sample(load, y, &scratch);                   microseconds
 *         online_refit(load, 2000, &scratch);                 a slice of the refit that is due, or nothing
 *         online_forecast(load, h, out, &report, &scratch);   whenever one is wanted
 *
 * How it works. Several models are kept fitted (forecast/fitted.h); each sample updates all of them without a refit. At some
 * points of the horizon (1, 2, 4, ... steps) every model's quantiles are remembered and, when their time has come, scored
 * by pinball loss against what was seen. From those scores the choice is made for each point by itself: the median over
 * different kinds of models, level by level, without members that do much worse; or one model alone where it has been better
 * than that by more than chance explains; or the naive model where nothing has beaten it, which the report says. Then each level is
 * moved by what matured errors ask for (quantile tracking: Angelopoulos, Candes, Tibshirani 2023), so that the share of
 * samples below it comes to be the level whatever the series does.
 *
 * Bad input. NaN, infinite and unbelievable (> 1e100) samples count as missing. A single outlier is left out of fits, never out of
 * the filters. A level shift (the difference to the season before stays away) raises `shifts`, moves the history before
 * it to the new level, so that the seasonal shape is kept, and makes a refit due. Below ONLINE_FEW samples the forecast is
 * the last value with the errors that repeating it has had. */

enum {
    ONLINE_FEW = 30, /* samples below which no model is fitted */
    ONLINE_HISTORY_MAX = 1 << 16,
    ONLINE_HORIZON_MAX = 4096,
    ONLINE_POINTS_MAX = 8, /* points of the horizon that are scored */
    ONLINE_LEVELS_MAX = 8, /* quantile levels */
};

#define ONLINE_VALUE_MAX 1e100 /* samples beyond it, up or down, count as missing */

struct online_spec {
    double start_s; /* time of the first sample, seconds since 1970 */
    double step_s;  /* between samples, > 0 */
    const struct holidays
        *holidays; /* taken off the samples, put back on the forecasts; outlives it; NULL: none */
    int season; /* steps of the season; 1: none; 0: found among a day and a week, again at each search */
    int horizon; /* most steps ahead, 1..ONLINE_HORIZON_MAX */
    int history; /* samples kept for fits, ONLINE_FEW..ONLINE_HISTORY_MAX; two weeks of 5 minutes: 4032 */
    int level_count;                 /* 1..ONLINE_LEVELS_MAX */
    double level[ONLINE_LEVELS_MAX]; /* ascending in (0, 1); the planning quantile among them */
    int refit_every;  /* samples between refits with the orders known; 0: never by time */
    int search_every; /* samples between full searches for orders and season; 0: never by time */
    int stagger; /* samples, 0..refit_every - 1: where in the interval; give each series another */
    double
        fit_work_max; /* most work of one fit (fitted_work, about microseconds): above it the search is left out, then
                            the history is shortened, then the last good model stays; 0: no limit */
};

/* Defaults for a step and horizon: history of two weeks within 288..4032 samples, levels 0.1, 0.5, 0.9, 0.95, refit every
 * quarter of a day and search every day (within 24..2016 samples), 200,000 of work a fit. */
struct online_spec online_defaults(double step_s, int horizon);

struct online;

/* In `arena`, which must outlive it; what models need beside is taken by itself and given back by online_release.
 * Memory: 8 x history + about 200 KiB.
 * Errors: INVALID, LIMIT (a value of the spec, named). */
enum err online_new(const struct online_spec *spec, struct arena *arena, struct online **ret,
                    struct err_info *info) ATTR_NODISCARD;

/* NULL is fine. */
void online_release(struct online *online);

/* The history at once: samples y[n], oldest first, of which the last spec.history count; then all fits and a rehearsal over
 * the last quarter, so that scores and levels have something to stand on. Only before the first sample.
 * Cost: as the fits; up to seconds. */
void online_load(struct online *online, const double *y, int n, struct arena *scratch);

/* One sample, NaN where it is missing. Cost: per model and sample below 5 us of update; scoring adds a forecast of each. */
void online_sample(struct online *online, double y, struct arena *scratch);

enum online_refit_state {
    ONLINE_REFIT_NONE, /* nothing is due */
    ONLINE_REFIT_MORE, /* some is left: call again, next sample or next idle moment */
    ONLINE_REFIT_DONE, /* the last one due was just made */
};

/* Carries out what is due of a refit, up to `work` (units of fitted_work, about microseconds), at least one fit if that
 * fits into spec.fit_work_max. A fit that fails, or whose forecast is not finite, leaves the last good model in place. */
enum online_refit_state online_refit(struct online *online, double work, struct arena *scratch);

enum online_basis {
    ONLINE_NOTHING,     /* fewer than two samples: the forecast is NaN */
    ONLINE_FEW_SAMPLES, /* repeating the last value, with the errors that has had */
    ONLINE_NAIVE,       /* nothing has beaten repeating the last value: stay reactive */
    ONLINE_ONE,         /* one model */
    ONLINE_MEDIAN,      /* median of several */
};

/* How things stand at one point of the horizon. */
struct online_point {
    int steps; /* ahead */
    enum online_basis basis;
    enum model model; /* which, for ONLINE_ONE */
    int members;      /* in the median */
    int matured;      /* forecasts whose time has come, rehearsal included */
    double error,
        error_naive; /* recent mean absolute error of the forecast's middle level and of the naive one */
    double bias;                     /* recent mean of truth less middle level */
    double loss, loss_naive;         /* recent mean pinball loss over the levels */
    double below[ONLINE_LEVELS_MAX]; /* recent share of samples at or below each level */
    double
        whole[ONLINE_LEVELS_MAX]; /* the same over all live forecasts, the rehearsal's left out */
};

struct online_report {
    int point_count;
    struct online_point point[ONLINE_POINTS_MAX]; /* ascending in steps */
    bool beats_naive;                             /* at one point at least */
    int season;                                   /* steps, 1: none */
    int samples, missing, outliers;               /* outliers: left out of the last fits */
    int shifts;                                   /* level shifts so far */
    int since_shift;                              /* samples; -1: none yet */
    bool alarm;                                   /* a shift is suspected, not confirmed yet */
    int fit_age; /* samples since the oldest model in use was fitted; -1: none is */
    int fits, fits_failed, fits_shortened; /* so far */
    double work;                           /* of all fits so far */
};

/* Forecast of steps 1..h (h <= spec.horizon) into out[h][level_count]: ascending in each row, finite (but NaN for
 * ONLINE_NOTHING), not below 0 if no sample in the history was. `ret_report` may be NULL.
 * Cost: below 1 ms for 36 steps. */
void online_forecast(const struct online *online, int h, double *out,
                     struct online_report *ret_report, struct arena *scratch);

/* The report alone. */
void online_look(const struct online *online, struct online_report *ret_report);

/* Name of a basis: "median", "naive", ... */
const char *online_basis_name(enum online_basis basis);

#endif
