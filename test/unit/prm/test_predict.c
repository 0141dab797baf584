// SPDX-License-Identifier: Apache-2.0
#include "prm/predict.h"

#include <math.h>

#include "base/rng.h"
#include "test.h"

enum { RUNS = 400, PAIRS = 60 };

static struct twin_looks named, hashed;

/* A stretch of as many rows of both, at a cost each. */
static void add_pair(struct twin_looks *twins, double rows, double cost_ns, double base_ns)
{
    struct twin_side own = {.rows = rows, .cpu_ns = rows * cost_ns};
    struct twin_side base = {.rows = rows, .cpu_ns = rows * base_ns};
    twin_add(twins, &own, &base);
}

/* Heavy keys cost 100 and hardly change (110), the others 900 and double; they are 0.8 of the partition's records and none of
 * the twins'. */
static void measure(struct rng *rng)
{
    twin_init(&named);
    twin_init(&hashed);
    for (int i = 0; i < PAIRS; i++) {
        double weather = 1 + 0.4 * rng_unit(rng);
        add_pair(&named, 500, 110 * weather * (1 + 0.03 * rng_normal(rng)),
                 100 * weather * (1 + 0.03 * rng_normal(rng)));
        add_pair(&hashed, 300, 1800 * weather * (1 + 0.03 * rng_normal(rng)),
                 900 * weather * (1 + 0.03 * rng_normal(rng)));
    }
}

TEST(ratio_weighs_strata_by_what_they_are_of_the_partition)
{
    struct rng rng;
    int held = 0, plain_held = 0;
    double weather = 1.2; /* mean of it */
    double truth = (0.8 * 110 + 0.2 * 1800) / (0.8 * 100 + 0.2 * 900);
    rng_init(&rng, test_seed());
    for (int r = 0; r < RUNS; r++) {
        measure(&rng);
        struct predict_stratum strata[] = {{&hashed, 0.2, 0.2}, {&named, 0.8, 0.8}};
        struct estimate e = predict_ratio(strata, 2, 0.95), plain = twin_ratio(&hashed, 0.95);
        held += e.low <= truth && truth <= e.high;
        plain_held += plain.low <= truth && truth <= plain.high;
        EXPECT(e.high / e.low < 1.1);
    }
    EXPECT_MSG(held >= RUNS * 90 / 100, "%d of %d", held, RUNS);
    EXPECT_INT(plain_held, 0);
    /* Another mixture then: half of the range without the heavy keys. */
    struct predict_stratum half[] = {{&hashed, 0.2, 1}, {&named, 0.8, 0}};
    struct estimate e = predict_ratio(half, 2, 0.95);
    EXPECT_NEAR(e.value * (0.8 * 100 + 0.2 * 900) * weather, 1800 * weather, 40);
}

TEST(ratio_is_not_known_before_all_strata_are_measured)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    measure(&rng);
    twin_init(&named);
    struct predict_stratum strata[] = {{&hashed, 0.2, 0.2}, {&named, 0.8, 0.8}};
    EXPECT(isnan(predict_ratio(strata, 2, 0.95).value));
    strata[1].share_now = strata[1].share_then = 0;
    strata[0].share_now = strata[0].share_then = 1;
    EXPECT_NEAR(predict_ratio(strata, 2, 0.95).value, 2, 0.05);
    twin_init(&hashed);
    for (int i = 0; i < LOOKS_BATCHES_MIN - 1; i++) {
        add_pair(&hashed, 100, 2, 1);
    }
    struct estimate few = predict_ratio(strata, 1, 0.95);
    EXPECT_NEAR(few.value, 2, 1e-9);
    EXPECT(isnan(few.low) && isnan(few.high));
}

TEST(product_is_as_wide_as_both_and_what_two_runs_differ_by)
{
    struct estimate cost = {100, 90, 100 / 0.9, 1000}, ratio = {2, 1.9, 4 / 1.9, 500};
    struct estimate e = predict_product(cost, ratio, 0, 0.95);
    EXPECT_NEAR(e.value, 200, 1e-9);
    double width = sqrt(log(1 / 0.9) * log(1 / 0.9) + log(2 / 1.9) * log(2 / 1.9));
    EXPECT_NEAR(log(e.high / e.value), width, 1e-9);
    EXPECT_NEAR(log(e.value / e.low), width, 1e-9);
    EXPECT_NEAR(e.n, 500, 0);
    struct estimate exact = {100, 100, 100, 1000}, one = {1, 1, 1, 1000};
    EXPECT_NEAR(predict_product(exact, one, 0.05, 0.95).high, 100 * exp(1.96 * 0.05), 0.01);
    struct estimate open = {2, (double)NAN, (double)NAN, 500};
    EXPECT(isnan(predict_product(cost, open, 0.05, 0.95).low));
}

TEST(a_figure_held_against_another_run_has_the_scatter_of_runs_in_its_interval)
{
    struct estimate exact = {.value = 100, .low = 100, .high = 100, .n = 9};
    struct estimate e = predict_scattered(exact, 0.1, 0.95);
    EXPECT_NEAR(e.value, 100, 1e-9);
    EXPECT_NEAR(e.high, 100 * exp(0.195996), 0.01);
    EXPECT_NEAR(e.low * e.high, 1e4, 1e-6); /* on the logarithm */
    struct estimate wide = predict_scattered(
        (struct estimate){.value = 100, .low = 50, .high = 200, .n = 9}, 0.1, 0.95);
    EXPECT(wide.low < 50 && wide.high > 200 && wide.high < 206);
}
