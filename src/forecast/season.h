// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_SEASON_H
#define FORECAST_SEASON_H

#include "base/arena.h"

/* Seasons of a series, found from its values alone: peaks of the autocorrelation (by fast Fourier transform) are proposals;
 * one stands if the means by phase of the series, less its moving average, explain part of it, and if those of the first
 * and of the second half of the cycles agree. What it explains is taken off and the rest is searched again, so a week is
 * found behind a day. A walk, noise or a trend has none. */

enum { SEASONS_FOUND_MAX = 4 };

struct season_found {
    int steps; /* length, 2..n / 3 */
    double
        strength; /* 0..1: share of the variance about the moving average that the phases explain, adjusted for their count */
};

/* The seasons of y[n], NaN = missing, ascending by length, each three times or more within the n values; at most `most` (1..
 * SEASONS_FOUND_MAX) into `ret`. Returns their number, 0 for less than 8 values.
 * Memory: scratch of about 80 bytes a value, given back. Cost: O(n log n). Deterministic. */
int season_find(const double *y, int n, int most, struct arena *arena, struct season_found *ret);

#endif
