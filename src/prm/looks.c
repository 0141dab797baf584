// SPDX-License-Identifier: Apache-2.0
#include "prm/looks.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "forecast/num.h"

int32_t looks_numbers(int32_t columns)
{
    return (LOOKS_BATCHES_MAX + 1) * columns;
}

// NOLINTNEXTLINE(readability-non-const-parameter): it is kept and written
void looks_init(struct looks *looks, double *memory, int32_t columns)
{
    CHECK(columns >= 1 && columns <= LOOKS_COLUMNS_MAX);
    *looks = (struct looks){.columns = columns, .sums = memory};
    looks_clear(looks);
}

void looks_clear(struct looks *looks)
{
    looks->count = looks->open = 0;
    looks->per = 1;
    looks->total = 0;
    memset(looks->sums, 0, sizeof(double) * (size_t)looks_numbers(looks->columns));
}

void looks_copy(struct looks *to, const struct looks *from)
{
    double *sums = to->sums;
    CHECK(to->columns == from->columns);
    memcpy(sums, from->sums, sizeof(double) * (size_t)looks_numbers(to->columns));
    *to = *from;
    to->sums = sums;
}

static double *batch(const struct looks *looks, int32_t index)
{
    return &looks->sums[(ptrdiff_t)index * looks->columns];
}

/* All are full: each two become one. */
static void join_pairs(struct looks *looks)
{
    for (int32_t b = 0; b < LOOKS_BATCHES_MAX / 2; b++) {
        const double *first = batch(looks, 2 * b), *second = batch(looks, 2 * b + 1);
        double *to = batch(looks, b);
        for (int32_t c = 0; c < looks->columns; c++) {
            to[c] = first[c] + second[c];
        }
    }
    looks->count = LOOKS_BATCHES_MAX / 2;
    looks->per *= 2;
    memset(batch(looks, looks->count), 0, sizeof(double) * (size_t)looks->columns);
}

void looks_add(struct looks *looks, const double *row)
{
    if (looks->open == 0 && looks->count == LOOKS_BATCHES_MAX) {
        join_pairs(looks);
    }
    double *to = batch(looks, looks->count);
    for (int32_t c = 0; c < looks->columns; c++) {
        CHECK(isfinite(row[c]));
        to[c] += row[c];
    }
    looks->total++;
    looks->open++;
    if (looks->open == looks->per) {
        looks->open = 0;
        looks->count++;
        memset(batch(looks, looks->count), 0, sizeof(double) * (size_t)looks->columns);
    }
}

static void add_up(const struct looks *looks, int32_t without, double *sums)
{
    memset(sums, 0, sizeof(double) * (size_t)looks->columns);
    for (int32_t b = 0; b < looks->count; b++) {
        const double *from = batch(looks, b);
        for (int32_t c = 0; c < looks->columns && b != without; c++) {
            sums[c] += from[c];
        }
    }
}

double looks_sum(const struct looks *looks, int32_t column)
{
    double sum = 0;
    for (int32_t b = 0; b <= looks->count; b++) {
        sum += batch(looks, b)[column];
    }
    return sum;
}

static const struct estimate unknown = {.value = NUM_NAN, .low = NUM_NAN, .high = NUM_NAN, .n = 0};

struct estimate looks_estimate(const struct looks *looks, looks_fn fn, const void *ctx,
                               bool positive, double confidence)
{
    double sums[LOOKS_COLUMNS_MAX];
    double pseudo[LOOKS_BATCHES_MAX];
    struct estimate estimate = unknown;
    int32_t n = looks->count;
    add_up(looks, -1, sums);
    estimate.value = n > 0 ? fn(ctx, sums) : NUM_NAN;
    if (n < LOOKS_BATCHES_MIN || !isfinite(estimate.value) || (positive && !(estimate.value > 0))) {
        return estimate;
    }
    double whole = positive ? log(estimate.value) : estimate.value;
    double mean = 0, square = 0;
    for (int32_t b = 0; b < n; b++) {
        add_up(looks, b, sums);
        double left = fn(ctx, sums);
        left = positive ? log(left) : left;
        if (!isfinite(left)) { /* it rests on one batch alone */
            return estimate;
        }
        pseudo[b] = n * whole - (n - 1) * left;
        mean += pseudo[b] / n;
    }
    for (int32_t b = 0; b < n; b++) {
        square += (pseudo[b] - mean) * (pseudo[b] - mean) / (n - 1);
    }
    double half = num_t_quantile(0.5 + confidence / 2, n - 1) * sqrt(square / n);
    estimate.low = positive ? exp(whole - half) : whole - half;
    estimate.high = positive ? exp(whole + half) : whole + half;
    return estimate;
}

struct ratio_columns {
    int32_t y, x;
};

static double ratio_of(const void *ctx, const double *sums)
{
    const struct ratio_columns *of = ctx;
    return sums[of->x] > 0 ? sums[of->y] / sums[of->x] : NUM_NAN;
}

struct estimate looks_ratio(const struct looks *looks, int32_t y, int32_t x, double confidence)
{
    struct ratio_columns of = {y, x};
    double sum = looks_sum(looks, y);
    struct estimate estimate = looks_estimate(looks, ratio_of, &of, sum > 0, confidence);
    estimate.n = looks_sum(looks, x);
    return estimate;
}

/* One end of Wilson's interval: sign -1 or 1. */
static double wilson(double share, double n, double z, double sign)
{
    double middle = share + z * z / (2 * n);
    double half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n));
    double end = (middle + sign * half) / (1 + z * z / n);
    end = end < 0 ? 0 : end;
    return end > 1 ? 1 : end;
}

struct estimate share_estimate(double count, double error, double n, double confidence)
{
    if (!(n > 0)) {
        return unknown;
    }
    double z = num_normal_quantile(0.5 + confidence / 2);
    double share = count / n < 1 ? count / n : 1;
    double least = (count - error) / n;
    least = least < 0 ? 0 : least < 1 ? least : 1;
    return (struct estimate){
        .value = share, .low = wilson(least, n, z, -1), .high = wilson(share, n, z, 1), .n = n};
}

void quantile_bounds(double q, double n, double confidence, double *ret_low, double *ret_high)
{
    *ret_low = 0;
    *ret_high = 1;
    if (n >= 1) {
        double half = num_normal_quantile(0.5 + confidence / 2) * sqrt(q * (1 - q) / n);
        *ret_low = q - half > 0 ? q - half : 0;
        *ret_high = q + half + 1 / n < 1 ? q + half + 1 / n : 1;
    }
}
