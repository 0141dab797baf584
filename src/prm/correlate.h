// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_CORRELATE_H
#define PRM_CORRELATE_H

#include "base/arena.h"
#include "base/err.h"

/* Which of two series leads the other: lagged cross-correlation that chance alone would hardly give. */

enum { CORRELATE_MIN = 64, CORRELATE_MAX = 1 << 20, CORRELATE_ORDER = 12 };

struct correlation {
    int lag;          /* steps by which `x` leads `y`; negative: y leads */
    double r;         /* correlation of the whitened series there, -1..1 */
    double threshold; /* |r| that independent series pass at no lag in 1 - alpha of all cases */
    bool significant;
};

/* Correlation of two series at all lags of -lag_max..lag_max steps, the strongest told.
 *   x, y        [n] at equal steps, NaN = missing; n in CORRELATE_MIN..CORRELATE_MAX
 *   lag_max     1 .. n / 4
 *   alpha       chance of a false report per pair, (0, 1), all lags together (Bonferroni)
 * Both are differenced and passed through the autoregression that whitens x, values beyond four deviations cut: of a white
 * x the correlation with any independent y varies by 1 / n, however y depends on its own past.
 * Memory: scratch from `arena`, given back. Errors: INVALID (lengths; a series that does not vary).
 * Source: prewhitening, Box and Jenkins 1976 chapter 11; variance, Bartlett 1935. */
ATTR_NODISCARD enum err correlate(const double *x, const double *y, int n, int lag_max,
                                  double alpha, struct arena *arena,
                                  struct correlation *ret_correlation, struct err_info *info);

#endif
