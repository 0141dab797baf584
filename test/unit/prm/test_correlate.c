// SPDX-License-Identifier: Apache-2.0
#include "prm/correlate.h"

#include <math.h>

#include "base/rng.h"
#include "test.h"

enum { N = 2000, LAGS = 60 };

static double x[N], y[N];

/* A load that remembers its past, with bursts. */
static double follow(double last, struct rng *rng)
{
    double burst = rng_chance(rng, 0.01) ? 8 * rng_exponential(rng) : 0;
    return 0.97 * last + rng_normal(rng) + burst;
}

TEST(correlate_reports_nothing_of_independent_pairs)
{
    struct arena arena;
    struct err_info info;
    struct rng rng;
    int reported = 0;
    arena_init(&arena, 1 << 20);
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        rng_init(&rng, seed);
        double a = 0, b = 0;
        for (int i = 0; i < N; i++) {
            a = follow(a, &rng);
            b = follow(b, &rng);
            x[i] = 100 + a;
            y[i] = 100 + b;
        }
        struct correlation c;
        EXPECT_INT(correlate(x, y, N, LAGS, 0.02, &arena, &c, &info), ERR_OK);
        reported += c.significant;
    }
    EXPECT_MSG(reported <= 40, "%d of 1000", reported);
    arena_release(&arena);
}

TEST(correlate_finds_a_planted_lag_either_way)
{
    struct arena arena;
    struct err_info info;
    struct rng rng;
    arena_init(&arena, 1 << 20);
    int found = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        rng_init(&rng, seed);
        int lag = (int)rng_range(&rng, 1, LAGS);
        double a = 0, b = 0;
        for (int i = 0; i < N; i++) {
            a = follow(a, &rng);
            b = follow(b, &rng);
            x[i] = a;
            y[i] = b + (i >= lag ? 0.5 * x[i - lag] : 0);
        }
        for (int i = 0; i < N; i += 97) {
            y[i] = (double)NAN;
        }
        struct correlation c, back;
        EXPECT_INT(correlate(x, y, N, LAGS, 0.02, &arena, &c, &info), ERR_OK);
        EXPECT_INT(correlate(y, x, N, LAGS, 0.02, &arena, &back, &info), ERR_OK);
        found += c.significant && c.lag == lag && back.significant && back.lag == -lag;
    }
    EXPECT_MSG(found >= 98, "%d of 100", found);
    arena_release(&arena);
}

TEST(correlate_refuses_what_does_not_vary)
{
    struct arena arena;
    struct err_info info;
    struct correlation c;
    arena_init(&arena, 1 << 20);
    for (int i = 0; i < N; i++) {
        x[i] = 5;
        y[i] = i % 7;
    }
    EXPECT_INT(correlate(x, y, N, LAGS, 0.02, &arena, &c, &info), ERR_INVALID);
    EXPECT_INT(correlate(y, x, N, LAGS, 0.02, &arena, &c, &info), ERR_INVALID);
    EXPECT_INT(correlate(y, y, 10, 2, 0.02, &arena, &c, &info), ERR_INVALID);
    EXPECT_INT(correlate(y, y, N, N, 0.02, &arena, &c, &info), ERR_INVALID);
    EXPECT_INT(arena.used_bytes, 0);
    arena_release(&arena);
}
