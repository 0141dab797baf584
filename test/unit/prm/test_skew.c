// SPDX-License-Identifier: Apache-2.0
#include "prm/skew.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "test.h"

enum { GROUPS = 256 };
static uint32_t groups[GROUPS];
static struct heavy_entry heavy[2];

static struct skew_input input_of(void)
{
    return (struct skew_input){.groups = groups,
                               .group_lo = 1000,
                               .group_hi = 1000 + GROUPS,
                               .heavy = heavy,
                               .heavy_sampled = 1,
                               .read_share = 0.1};
}

TEST(skew_finds_the_border_that_brute_force_finds)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    for (int run = 0; run < 500; run++) {
        struct skew_input input = input_of();
        struct skew skew;
        double all = 0, best = 1e18;
        for (int g = 0; g < GROUPS; g++) {
            groups[g] = (uint32_t)(100 * pow(rng_unit(&rng), -0.8));
            all += groups[g];
        }
        for (int b = 1; b < GROUPS; b++) {
            double low = 0;
            for (int g = 0; g < b; g++) {
                low += groups[g];
            }
            double worst = low > all - low ? low : all - low;
            best = worst < best ? worst : best;
        }
        skew_of(&input, &skew);
        EXPECT_NEAR(skew.heavier_share, best / all, 1e-12);
        EXPECT(skew.border > 1000 && skew.border < 1000 + GROUPS);
        EXPECT_NEAR(skew.records, all, 1e-9);
        EXPECT_NEAR(skew.after_share, 0.1 + 0.9 * best / all, 1e-12);
    }
}

static void even(uint32_t each)
{
    for (int g = 0; g < GROUPS; g++) {
        groups[g] = each;
    }
}

TEST(skew_of_even_load_says_that_a_split_helps)
{
    struct skew_input input = input_of();
    struct skew skew;
    even(100);
    skew_of(&input, &skew);
    EXPECT_INT(skew.verdict, SPLIT_HELPS);
    EXPECT_INT(skew.border, 1000 + GROUPS / 2);
    EXPECT_NEAR(skew.heavier_share, 0.5, 1e-12);
    EXPECT_NEAR(skew.peak_ratio, 1, 1e-12);
}

/* Half of the records have one key; its share lies within what is told, and no split is proposed. */
TEST(skew_names_a_key_that_no_split_cures)
{
    struct rng rng;
    int held = 0;
    rng_init(&rng, 3);
    for (int run = 0; run < 200; run++) {
        struct heavy *sketch = heavy_new(64);
        struct skew_input input = input_of();
        struct skew skew;
        int hot_group = (int)rng_below(&rng, GROUPS);
        memset(groups, 0, sizeof(groups));
        for (int i = 0; i < 64000; i++) {
            bool hot = rng_chance(&rng, 0.5);
            int group = hot ? hot_group : (int)rng_below(&rng, GROUPS);
            groups[group]++;
            if (i % 32 == 0) {
                uint64_t key = hot ? 7 : 1000 + rng_below(&rng, 5000);
                heavy_add(sketch, key, hot ? STR("hot") : STR("other"), 1);
            }
        }
        input.heavy_count = heavy_top(sketch, heavy, 2);
        input.heavy_sampled = (double)heavy_total(sketch);
        skew_of(&input, &skew);
        EXPECT_INT(skew.verdict, SPLIT_ONE_KEY);
        EXPECT_INT(heavy[skew.top].hash, 7);
        held += skew.top_share.low <= 0.5 && 0.5 <= skew.top_share.high;
        EXPECT_NEAR(skew.top_share.value, 0.5, 0.06);
        EXPECT_INT(skew.peak_group, 1000 + hot_group);
        heavy_free(sketch);
    }
    EXPECT_MSG(held >= 186, "%d of 200", held);
}

TEST(skew_knows_what_a_split_does_not_divide)
{
    struct skew_input input = input_of();
    struct skew skew;
    even(100);
    input.read_share = 0.7;
    skew_of(&input, &skew);
    EXPECT_INT(skew.verdict, SPLIT_READING);
    EXPECT_NEAR(skew.after_share, 0.85, 1e-12);
    input.read_share = (double)NAN;
    skew_of(&input, &skew);
    EXPECT_INT(skew.verdict, SPLIT_HELPS);
    even(0);
    groups[10] = 100000;
    groups[20] = 10;
    skew_of(&input, &skew);
    EXPECT_INT(skew.verdict, SPLIT_ONE_GROUP);
    input.group_hi = input.group_lo + 1;
    skew_of(&input, &skew);
    EXPECT_INT(skew.verdict, SPLIT_NARROW);
    EXPECT_INT(skew.border, 0);
    input.group_hi = input.group_lo + GROUPS;
    even(1);
    skew_of(&input, &skew);
    EXPECT_INT(skew.verdict, SPLIT_UNKNOWN);
}
