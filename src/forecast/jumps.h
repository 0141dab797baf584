// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_JUMPS_H
#define FORECAST_JUMPS_H

#include <stdbool.h>

#include "forecast/forecast.h"

/* Law of normal noise plus changes of a slope to come: a Poisson number of them, each Laplace distributed and acting for a
 * uniform share of the time ahead. Its characteristic function is
 *   exp(count (atan(scale w) / (scale w) - 1) - (noise_sd w)^2 / 2),
 * inverted numerically (Gil-Pelaez 1951): exact where simulation has noise, heavy-tailed where few jumps are expected. */
struct jump_law {
    double noise_sd; /* >= 0 */
    double count;    /* expected number of changes, >= 0 */
    double scale;    /* Laplace scale of a change x time ahead, >= 0 */
};

/* Quantiles at the knots' normal scores in units of the law's standard deviation. Returns whether they differ from the
 * scores themselves; if not (excess kurtosis below 0.02) they are those. Deterministic. Cost: about 50 us where they do. */
bool jump_law_knots(const struct jump_law *law, double knots[FORECAST_KNOTS]);

#endif
