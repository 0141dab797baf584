// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_EXACT_SUM_H
#define PIPELINE_EXACT_SUM_H

#include <stdbool.h>
#include <stdint.h>

/* Sums of doubles without rounding: the sum is kept as parts that do not overlap, so that it is the same in whatever order
 * and grouping its terms came, and is rounded once, to nearest even, when it is read.
 * Source: Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997; the same result as Python's math.fsum. */

enum { EXACT_SUM_PARTS_MAX = 64 };

/* Adds finite `x` to parts[0..*count), ascending by size, room for EXACT_SUM_PARTS_MAX. False if the sum would leave the
 * range of doubles: nothing is changed. */
bool exact_sum_add(double *parts, int32_t *count, double x);

/* The sum, rounded; 0 without parts. */
double exact_sum_round(const double *parts, int32_t count);

#endif
