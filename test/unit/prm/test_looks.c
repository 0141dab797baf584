// SPDX-License-Identifier: Apache-2.0
#include "prm/looks.h"

#include <math.h>

#include "base/rng.h"
#include "test.h"

enum { COLUMNS = 4 };
static double memory[(LOOKS_BATCHES_MAX + 1) * COLUMNS];

TEST(looks_keep_all_sums_when_batches_are_joined)
{
    struct looks looks;
    double want[COLUMNS] = {0};
    looks_init(&looks, memory, COLUMNS);
    for (int i = 1; i <= 1000; i++) {
        double row[COLUMNS] = {i, 1, 2.0 * i, i % 7};
        looks_add(&looks, row);
        for (int c = 0; c < COLUMNS; c++) {
            want[c] += row[c];
            EXPECT_NEAR(looks_sum(&looks, c), want[c], 1e-9 * want[c]);
        }
        EXPECT(looks.count <= LOOKS_BATCHES_MAX);
        EXPECT_INT(looks.count * looks.per + looks.open, i);
    }
    EXPECT_INT(looks.total, 1000);
    EXPECT(looks.count >= LOOKS_BATCHES_MAX / 2);
    looks_clear(&looks);
    EXPECT_NEAR(looks_sum(&looks, 0), 0, 0);
    EXPECT_INT(looks.total, 0);
}

TEST(looks_tell_no_interval_of_few_batches)
{
    struct looks looks;
    looks_init(&looks, memory, 2);
    struct estimate e = looks_ratio(&looks, 1, 0, LOOKS_CONFIDENCE);
    EXPECT(isnan(e.value) && isnan(e.low) && isnan(e.high));
    for (int i = 0; i < LOOKS_BATCHES_MIN; i++) {
        looks_add(&looks, (double[]){10, 20.0 + i});
        e = looks_ratio(&looks, 1, 0, LOOKS_CONFIDENCE);
        EXPECT_NEAR(e.n, 10.0 * (i + 1), 1e-9);
        EXPECT_INT(isnan(e.low), i + 1 < LOOKS_BATCHES_MIN);
    }
    EXPECT(e.low < e.value && e.value < e.high);
}

/* Of equal x the jackknife of a mean is the textbook's interval: checked against it by hand. */
TEST(looks_interval_of_a_mean_is_the_textbooks)
{
    struct looks looks;
    const double y[10] = {12, 15, 11, 14, 16, 13, 12, 15, 14, 18};
    looks_init(&looks, memory, 2);
    for (int i = 0; i < 10; i++) {
        looks_add(&looks, (double[]){1, y[i]});
    }
    struct looks *l = &looks;
    struct estimate e = looks_ratio(l, 1, 0, 0.95);
    EXPECT_NEAR(e.value, 14, 1e-12);
    /* mean 14, s 2.1082, t(9) 2.2622: 14 +- 1.508; the product's interval is of the logarithm, so nearly that */
    EXPECT_NEAR(e.high - e.low, 3.016, 0.03);
    EXPECT_NEAR(sqrt(e.low * e.high), 14, 0.05);
}

/* Costs of neighbouring looks are alike (a burst lasts), rows vary: intervals must hold nonetheless. */
static bool holds_ratio(struct rng *rng, double memory_of_noise)
{
    struct looks looks;
    double noise = rng_normal(rng);
    double true_cost = 500;
    looks_init(&looks, memory, 2);
    for (int i = 0; i < 600; i++) {
        noise =
            memory_of_noise * noise + sqrt(1 - memory_of_noise * memory_of_noise) * rng_normal(rng);
        double rows = 1000 * (1 + 0.5 * rng_unit(rng));
        looks_add(&looks, (double[]){rows, rows * true_cost * (1 + 0.2 * noise)});
    }
    struct estimate e = looks_ratio(&looks, 1, 0, 0.95);
    return e.low <= true_cost && true_cost <= e.high;
}

TEST(looks_intervals_of_a_ratio_hold_in_95_of_100_runs)
{
    struct rng rng;
    rng_init(&rng, 17);
    for (int kind = 0; kind < 2; kind++) {
        int held = 0;
        for (int run = 0; run < 2000; run++) {
            held += holds_ratio(&rng, kind == 0 ? 0.0 : 0.8);
        }
        EXPECT_MSG(held >= 2000 * 92 / 100 && held <= 2000 * 98 / 100, "%d of 2000, kind %d", held,
                   kind);
    }
}

TEST(shares_hold_within_sampling_and_the_sketchs_error)
{
    struct rng rng;
    int held = 0;
    rng_init(&rng, 5);
    for (int run = 0; run < 1000; run++) {
        double n = 2000, error = (double)rng_below(&rng, 40), count = error;
        for (int i = 0; i < 2000; i++) {
            count += rng_chance(&rng, 0.02);
        }
        struct estimate e = share_estimate(count, error, n, 0.95);
        held += e.low <= 0.02 && 0.02 <= e.high;
        EXPECT(e.low <= e.value && e.value <= e.high);
    }
    EXPECT_MSG(held >= 940, "%d of 1000", held);
    struct estimate none = share_estimate(0, 0, 0, 0.95);
    EXPECT(isnan(none.value));
    struct estimate all = share_estimate(100, 0, 100, 0.95);
    EXPECT_NEAR(all.high, 1, 1e-12);
    EXPECT(all.low > 0.95);
}

TEST(quantile_bounds_hold)
{
    struct rng rng;
    rng_init(&rng, 9);
    const double qs[] = {0.5, 0.9, 0.99};
    for (int k = 0; k < 3; k++) {
        int held = 0;
        for (int run = 0; run < 1000; run++) {
            int n = 2000, below = 0;
            double low, high;
            for (int i = 0; i < n; i++) {
                below += rng_unit(&rng) < qs[k]; /* draws below the true quantile */
            }
            quantile_bounds(qs[k], n, 0.95, &low, &high);
            held += low <= (double)below / n && (double)below / n <= high;
        }
        EXPECT_MSG(held >= 930, "%d of 1000 at %g", held, qs[k]);
    }
}
