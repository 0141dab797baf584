// SPDX-License-Identifier: Apache-2.0
#include "prm/lead.h"

#include <math.h>

#include "base/rng.h"
#include "test.h"

enum { N = 3000 };

static double x[N], y[N];

/* A load that remembers its past, with bursts. */
static double follow(double last, struct rng *rng)
{
    double burst = rng_chance(rng, 0.01) ? 8 * rng_exponential(rng) : 0;
    return 0.97 * last + rng_normal(rng) + burst;
}

static void make_pair(uint64_t seed, int lag, double share)
{
    struct rng rng;
    double a = 0, b = 0;
    rng_init(&rng, seed);
    for (int i = 0; i < N; i++) {
        a = follow(a, &rng);
        b = follow(b, &rng);
        x[i] = 100 + a;
        y[i] = 50 + (1 - share) * b + (i >= lag ? share * (x[i - lag] - 100) : 0);
    }
}

TEST(lead_forecasts_a_follower_better_than_nothing_and_its_high_holds)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    for (int lag = 1; lag <= 60; lag += 7) {
        struct lead *lead = lead_new(&arena, lag);
        static double high[N];
        int usable = 0, above = 0, due = 0;
        make_pair(11 + (uint64_t)lag, lag, 0.7);
        for (int i = 0; i < N; i++) {
            struct lead_forecast f = lead_step(lead, x[i], y[i], 0.95);
            high[i] = f.usable ? f.high : (double)NAN;
            usable += f.usable;
            if (i >= lag && isfinite(high[i - lag])) {
                due++;
                above += y[i] > high[i - lag];
            }
        }
        EXPECT_MSG(usable > N * 8 / 10, "lag %d: usable %d of %d", lag, usable, N);
        EXPECT_MSG(above < due * 10 / 100, "lag %d: %d of %d above the 95 %% quantile", lag, above,
                   due);
    }
    arena_release(&arena);
}

TEST(lead_is_no_regressor_where_it_does_not_help)
{
    struct arena arena;
    int used = 0;
    arena_init(&arena, 1 << 20);
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct lead *lead = lead_new(&arena, 12);
        struct lead_forecast f = {.usable = false};
        make_pair(seed, 12, 0); /* independent */
        for (int i = 0; i < N; i++) {
            f = lead_step(lead, x[i], y[i], 0.95);
        }
        used += f.usable;
        arena_reset(&arena);
    }
    EXPECT_MSG(used <= 5, "%d of 100", used);
    arena_release(&arena);
}

TEST(lead_passes_over_gaps)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct lead *lead = lead_new(&arena, 5);
    make_pair(3, 5, 0.9);
    for (int i = 0; i < 500; i++) {
        IGNORE_RESULT(lead_step(lead, x[i], y[i], 0.95).usable); /* it learns */
    }
    EXPECT(lead_step(lead, x[500], y[500], 0.95).usable);
    EXPECT(!lead_step(lead, NAN, y[501], 0.95).usable);
    EXPECT(!lead_step(lead, x[502], y[502], 0.95).usable); /* what the leader gained is not known */
    struct lead_forecast f = {.usable = false};
    for (int i = 503; i < 509; i++) {
        f = lead_step(lead, x[i], y[i], 0.95);
        EXPECT(isfinite(f.value) && isfinite(f.high));
    }
    EXPECT(f.usable);
    arena_release(&arena);
}
