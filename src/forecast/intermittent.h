// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_INTERMITTENT_H
#define FORECAST_INTERMITTENT_H

#include "forecast/forecast.h"

/* Series that are zero most of the time: smoothed size of the values that are not, and how often they come.
 *   Croston, SBA   size and gap between values are smoothed when a value comes; rate = size / gap, SBA x (1 - alpha / 2)
 *   TSB            the chance of a value is smoothed at every step, so the rate falls while nothing comes
 * Quantiles: zero with the chance of no value, else the sizes seen last, scaled to the smoothed size. The same at every
 * step ahead: nothing says when the next value comes.
 * Source: Croston 1972; Syntetos, Boylan 2005; Teunter, Syntetos, Babai 2011. Start as R forecast 8.20's croston: the
 * first value and the first gap. */

enum intermittent_kind { INTERMITTENT_CROSTON, INTERMITTENT_SBA, INTERMITTENT_TSB };

enum { INTERMITTENT_SIZES = 128 }; /* sizes kept for the quantiles */

struct intermittent {
    enum intermittent_kind kind;
    double alpha, beta;               /* smoothing of the size, and of gap or chance; (0, 1] */
    double size;                      /* smoothed size of a value */
    double gap;                       /* Croston, SBA: smoothed steps between values, >= 1 */
    double chance;                    /* TSB: smoothed chance of a value, 0..1 */
    int since;                        /* steps since the last value */
    int count;                        /* values seen */
    double sizes[INTERMITTENT_SIZES]; /* the last ones, by count % INTERMITTENT_SIZES */
};

/* An empty model; follow with updates. alpha, beta in (0, 1]. */
struct intermittent intermittent_start(enum intermittent_kind kind, double alpha, double beta);

/* One more value >= 0; NaN is no news: the step is left out. Returns the error of the forecast made before it (NaN before
 * the first value and for NaN). O(1). */
double intermittent_update(struct intermittent *model, double y);

/* Expected value per step; 0 before the first value. */
double intermittent_rate(const struct intermittent *model);

/* The smoothing with the least squared one-step errors on y[n] out of a grid (0.02 .. 0.5; Croston and SBA with
 * beta = alpha), run to the end.
 * Errors: INVALID (a value below 0, or none above). Cost: O(n) for each of the 8 or 64 pairs. */
enum err intermittent_fit(const double *y, int n, enum intermittent_kind kind,
                          struct intermittent *ret, struct err_info *info) ATTR_NODISCARD;

/* Forecast of h steps with its quantiles as knots; count >= 1. */
void intermittent_forecast(const struct intermittent *model, int h, struct arena *arena,
                           struct forecast *ret);

#endif
