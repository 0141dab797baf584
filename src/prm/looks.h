// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_LOOKS_H
#define PRM_LOOKS_H

#include <stdbool.h>
#include <stdint.h>

/* Figures with intervals from looks at counters, by batch means. A shadow is looked at again and again; each look adds what
 * its counters have gained since the last one, as one row of columns. Neighbouring looks are summed into at most
 * LOOKS_BATCHES_MAX batches (when all are full, pairs are joined), so that batches grow with the run and forget each
 * other, as single looks do not. A figure is a function of the columns' sums, most often a ratio of two of them; its
 * interval comes from the values it takes when each batch in turn is left out.
 *
 * Source: batch means, Conway 1963; joining pairs, Schmeiser 1982 (10 to 30 batches do); delete-one jackknife,
 * Quenouille 1956, Tukey 1958; ratios, Miller 1974. */

enum { LOOKS_BATCHES_MAX = 32, LOOKS_BATCHES_MIN = 8, LOOKS_COLUMNS_MAX = 512 };

struct looks {
    int32_t columns;
    int32_t count; /* whole batches */
    int32_t per;   /* looks in each: a power of two */
    int32_t open;  /* looks in the batch that still grows: sums[count] */
    int64_t total; /* looks ever */
    double *sums;  /* [LOOKS_BATCHES_MAX + 1][columns], the caller's */
};

/* A figure. low..high holds the true value in `confidence` of all cases; both NaN while there are too few batches. */
struct estimate {
    double value; /* NaN: not known at all */
    double low, high;
    double n; /* records or calls that it rests on */
};

#define LOOKS_CONFIDENCE 0.95

/* Numbers that `columns` columns need. */
int32_t looks_numbers(int32_t columns);

/*   memory    [looks_numbers(columns)], outlives it
 *   columns   1..LOOKS_COLUMNS_MAX */
void looks_init(struct looks *looks, double *memory, int32_t columns);

/* Forgets all looks: what comes is not like what was. */
void looks_clear(struct looks *looks);

/* Makes `to` what `from` is; both have as many columns, each its own memory. */
void looks_copy(struct looks *to, const struct looks *from);

/* One look: row[columns], finite. */
void looks_add(struct looks *looks, const double *row);

/* Sum of a column over all looks, those of the batch that still grows too. */
double looks_sum(const struct looks *looks, int32_t column);

/* A figure as a function of the columns' sums; NaN where it has no value. */
typedef double (*looks_fn)(const void *ctx, const double *sums);

/* The figure over whole batches. With `positive`, the interval is taken of its logarithm.
 * Cost: O(batches x columns), plus a call of `fn` a batch. */
struct estimate looks_estimate(const struct looks *looks, looks_fn fn, const void *ctx,
                               bool positive, double confidence);

/* sum(y) / sum(x); n is sum(x). */
struct estimate looks_ratio(const struct looks *looks, int32_t y, int32_t x, double confidence);

/* A share of `count` among `n` independent draws, whose count may be too high by `error`: Wilson's score interval, from that
 * of count - error up to that of count. Source: Wilson 1927. */
struct estimate share_estimate(double count, double error, double n, double confidence);

/* A quantile of `n` draws by order statistics: the shares of the sample between which it lies.
 * Source: Conover 1999 section 3.2, normal form. */
void quantile_bounds(double q, double n, double confidence, double *ret_low, double *ret_high);

#endif
