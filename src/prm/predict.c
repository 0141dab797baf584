// SPDX-License-Identifier: Apache-2.0
#include "prm/predict.h"

#include <math.h>

#include "base/check.h"
#include "forecast/num.h"

static const struct estimate unknown = {.value = NUM_NAN, .low = NUM_NAN, .high = NUM_NAN, .n = 0};

/* Sums of twins' columns, those of one batch taken away: of whole batches, as their intervals are, and of the open one where
 * there is no whole one yet. */
static void add_up(const struct looks *looks, int32_t without, double sums[TWIN_COLUMNS])
{
    int32_t count = looks->count > 0 ? looks->count : 1;
    for (int32_t c = 0; c < TWIN_COLUMNS; c++) {
        sums[c] = 0;
        for (int32_t b = 0; b < count; b++) {
            sums[c] += b == without ? 0 : looks->sums[(ptrdiff_t)b * looks->columns + c];
        }
    }
}

/* Logarithm of the ratio with batch `without` of stratum `left` taken away; -1: with all. */
static double log_ratio(const struct predict_stratum *strata, int32_t count, int32_t left,
                        int32_t without)
{
    double top = 0, bottom = 0;
    for (int32_t s = 0; s < count; s++) {
        if (!(strata[s].share_now > 0) && !(strata[s].share_then > 0)) {
            continue;
        }
        double sums[TWIN_COLUMNS];
        add_up(&strata[s].twins->looks, s == left ? without : -1, sums);
        top += strata[s].share_then * twin_cost_of(sums);
        bottom += strata[s].share_now * twin_cost_of(sums + TWIN_BASELINE);
    }
    return top > 0 && bottom > 0 ? log(top / bottom) : NUM_NAN;
}

/* What the stratum's own noise adds to the variance; NaN: too few batches. */
static double variance_of(const struct predict_stratum *strata, int32_t count, int32_t s)
{
    int32_t n = strata[s].twins->looks.count;
    double sum = 0, squares = 0;
    if (!(strata[s].share_now > 0) && !(strata[s].share_then > 0)) {
        return 0;
    }
    if (n < LOOKS_BATCHES_MIN) {
        return NUM_NAN;
    }
    for (int32_t b = 0; b < n; b++) {
        double left = log_ratio(strata, count, s, b);
        sum += left;
        squares += left * left;
    }
    double variance = squares / n - (sum / n) * (sum / n);
    return (variance > 0 ? variance : 0) * (n - 1);
}

struct estimate predict_ratio(const struct predict_stratum *strata, int32_t count,
                              double confidence)
{
    CHECK(count >= 1 && count <= PREDICT_STRATA_MAX);
    double whole = log_ratio(strata, count, -1, -1);
    struct estimate ratio = unknown;
    double variance = 0;
    int32_t fewest = LOOKS_BATCHES_MAX;
    for (int32_t s = 0; s < count; s++) {
        if (strata[s].share_now > 0 || strata[s].share_then > 0) {
            int32_t batches = strata[s].twins->looks.count;
            variance += variance_of(strata, count, s);
            ratio.n += looks_sum(&strata[s].twins->looks, TWIN_ROWS);
            fewest = batches < fewest ? batches : fewest;
        }
    }
    if (!isfinite(whole)) {
        return unknown;
    }
    ratio.value = exp(whole);
    if (isfinite(variance)) {
        double half = num_t_quantile(0.5 + confidence / 2, fewest - 1) * sqrt(variance);
        ratio.low = exp(whole - half);
        ratio.high = exp(whole + half);
    }
    return ratio;
}

/* Half an interval's width on the logarithm, in standard errors of a normal; NaN: it has none. */
static double standard_error(struct estimate e, double z)
{
    return log(e.high / e.low) / (2 * z);
}

struct estimate predict_product(struct estimate a, struct estimate b, double scatter,
                                double confidence)
{
    double z = num_normal_quantile(0.5 + confidence / 2);
    double ea = standard_error(a, z), eb = standard_error(b, z);
    double half = z * sqrt(ea * ea + eb * eb + scatter * scatter);
    double value = a.value * b.value;
    return (struct estimate){.value = value,
                             .low = value * exp(-half),
                             .high = value * exp(half),
                             .n = a.n < b.n ? a.n : b.n};
}

struct estimate predict_scattered(struct estimate a, double scatter, double confidence)
{
    return predict_product(a, (struct estimate){1, 1, 1, a.n}, scatter, confidence);
}
