// SPDX-License-Identifier: Apache-2.0
#include "base/rng.h"

#include "test.h"

TEST(rng_repeats_from_its_seed)
{
    struct rng a, b;
    rng_init(&a, 7);
    rng_init(&b, 7);
    for (int i = 0; i < 1000; i++) {
        EXPECT(rng_u64(&a) == rng_u64(&b));
    }
    struct rng child = rng_fork(&a);
    EXPECT(rng_u64(&child) != rng_u64(&b));
}

TEST(rng_below_is_uniform)
{
    struct rng rng;
    rng_init(&rng, 1);
    int counts[6] = {0};
    for (int i = 0; i < 60000; i++) {
        counts[rng_below(&rng, 6)]++;
    }
    for (int i = 0; i < 6; i++) {
        EXPECT(counts[i] > 9500 && counts[i] < 10500);
    }
}

TEST(rng_range_takes_its_ends_and_the_full_range)
{
    struct rng rng;
    rng_init(&rng, 2);
    int low = 0, high = 0;
    for (int i = 0; i < 1000; i++) {
        int64_t v = rng_range(&rng, -1, 1);
        EXPECT(v >= -1 && v <= 1);
        low += v == -1;
        high += v == 1;
    }
    EXPECT(low > 200 && high > 200);
    EXPECT_INT(rng_range(&rng, 5, 5), 5);
    rng_range(&rng, INT64_MIN, INT64_MAX);
}

TEST(rng_normal_and_exponential_have_their_moments)
{
    struct rng rng;
    rng_init(&rng, 3);
    double sum = 0, square = 0, expo = 0;
    enum { N = 100000 };
    for (int i = 0; i < N; i++) {
        double x = rng_normal(&rng);
        sum += x;
        square += x * x;
        expo += rng_exponential(&rng);
    }
    EXPECT_NEAR(sum / N, 0.0, 0.02);
    EXPECT_NEAR(square / N, 1.0, 0.03);
    EXPECT_NEAR(expo / N, 1.0, 0.02);
}
