// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_PREDICT_H
#define PRM_PREDICT_H

#include "prm/profile.h"

/* What a change would make of the primary's cost: its own cost now, by its own timing, times a ratio of twins. The twins saw the
 * same sample, so what a sample does to a cost falls out of their ratio; but not what it does to the mixture. A key that has
 * many records costs far less a record than one that has few (a window of it is opened and closed once for all of them), and a
 * sample has other shares of either than the primary. So the ratio is made up of strata, each with its own twins, weighted by
 * what share of the primary's records each has:
 *
 *     ratio = sum(share then x cost of the subject) / sum(share now x cost of the baseline)
 *
 * Source: ratio of stratified means, Cochran 1977 section 6.11 (combined estimator); intervals by delete-one jackknife within
 * each stratum, whose variances add up. */

enum { PREDICT_STRATA_MAX = 4 };

struct predict_stratum {
    const struct twin_looks *twins; /* subject against baseline, records of this stratum alone */
    double share_now,
        share_then; /* of the partition's records, 0..1; either sums up to 1 over the strata */
};

/* The ratio of the whole. NaN if a stratum with a share has not been measured; without an interval while one has too few
 * batches. Pure; O(strata x batches). */
struct estimate predict_ratio(const struct predict_stratum *strata, int32_t count,
                              double confidence);

/* The product of two figures that know nothing of each other, both > 0; a part of `scatter` (0.05: 5 %), as a standard error,
 * is common to neither: what two runs of the same differ by. Intervals on the logarithm, both at `confidence`. */
struct estimate predict_product(struct estimate a, struct estimate b, double scatter,
                                double confidence);

/* A figure that another run will be held against: its interval with that part added. */
struct estimate predict_scattered(struct estimate a, double scatter, double confidence);

/* Between two runs of one pipeline on one machine, one after the other, costs differ by about this much whatever is measured in
 * either (docs/benchmarks.md, fidelity): no interval that comes from one run alone can be narrower. */
#define PREDICT_SCATTER 0.12

#endif
