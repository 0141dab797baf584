// SPDX-License-Identifier: Apache-2.0
// Exact sums of doubles. Compiled without any option that lets the compiler reorder additions.

#include "pipeline/exact_sum.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

static bool is_zero(double x)
{
    return fpclassify(x) == FP_ZERO;
}

/* Adds `x` to the parts of `from` and writes the new ones, one more at most. */
static int32_t grow(const double *from, int32_t count, double x, double *to)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < count; i++) {
        double y = from[i];
        if (fabs(x) < fabs(y)) {
            double swap = x;
            x = y;
            y = swap;
        }
        double high = x + y;
        double low = y - (high - x);
        if (!is_zero(low)) {
            to[kept++] = low;
        }
        x = high;
    }
    to[kept++] = x;
    return kept;
}

/* Packs the same sum into as few parts as there can be: each then carries a whole mantissa, and 2098 bits are at most 41
 * of them. Shewchuk's COMPRESS. */
static int32_t compress(double *parts, int32_t count)
{
    double packed[EXACT_SUM_PARTS_MAX + 1];
    int32_t bottom = count - 1;
    double q = parts[count - 1];
    for (int32_t i = count - 2; i >= 0; i--) {
        double high = q + parts[i];
        double low = parts[i] - (high - q);
        q = high;
        if (!is_zero(low)) {
            packed[bottom--] = q;
            q = low;
        }
    }
    packed[bottom] = q;
    int32_t top = 0;
    for (int32_t i = bottom + 1; i < count; i++) {
        double high = packed[i] + q;
        double low = q - (high - packed[i]);
        if (!is_zero(low)) {
            parts[top++] = low;
        }
        q = high;
    }
    parts[top++] = q;
    return top;
}

bool exact_sum_add(double *parts, int32_t *count, double x)
{
    double grown[EXACT_SUM_PARTS_MAX + 1];
    int32_t grown_count = grow(parts, *count, x, grown);
    if (!isfinite(grown[grown_count - 1])) {
        return false;
    }
    if (grown_count > EXACT_SUM_PARTS_MAX - 1) {
        grown_count = compress(grown, grown_count);
        CHECK(grown_count < EXACT_SUM_PARTS_MAX - 1);
    }
    memcpy(parts, grown, (size_t)grown_count * sizeof *parts);
    *count = grown_count;
    return true;
}

double exact_sum_round(const double *parts, int32_t count)
{
    if (count == 0) {
        return 0.0;
    }
    int32_t left = count - 1;
    double high = parts[left];
    double low = 0.0;
    while (left > 0) {
        double x = high;
        double y = parts[--left];
        high = x + y;
        low = y - (high - x);
        if (!is_zero(low)) {
            break;
        }
    }
    // Halfway cases: what stands below `low` decides whether the tie was one.
    if (left > 0 &&
        ((low < 0.0 && parts[left - 1] < 0.0) || (low > 0.0 && parts[left - 1] > 0.0))) {
        double twice = low * 2.0;
        double up = high + twice;
        if (is_zero(twice - (up - high))) {
            high = up;
        }
    }
    return high;
}
