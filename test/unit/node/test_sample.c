// SPDX-License-Identifier: Apache-2.0
#include "base/rng.h"
#include "node/shadow_sample.h"
#include "test.h"

/* Samples: strata by what the sketch knows, shares of records. */

enum { SAMPLED = 100000 };

static struct heavy_entry entry(uint64_t hash, double share, double error)
{
    return (struct heavy_entry){
        .hash = hash, .count = (uint64_t)(share * SAMPLED), .error = (uint64_t)(error * SAMPLED)};
}

TEST(sample_takes_heavy_keys_while_they_fill_half_and_leaves_out_larger_ones)
{
    struct heavy_entry top[] = {entry(11, 0.50, 0.001), entry(12, 0.03, 0.001),
                                entry(13, 0.015, 0.001), entry(14, 0.01, 0.001),
                                entry(15, 0.01, 0.0095)};
    struct shadow_sample sample;
    struct shadow_strata strata;
    shadow_sample_choose(top, 5, SAMPLED, 10, &sample, &strata);
    EXPECT_INT(sample.left_count, 1);
    EXPECT(sample.left[0] == 11);
    EXPECT_INT(sample.heavy_count, 2); /* 3 + 1.5 %; the next would be over 5 % */
    EXPECT(sample.heavy[0] == 12 && sample.heavy[1] == 13);
    EXPECT(strata.left > 0.499 && strata.left < 0.501 && strata.left_error < 0.0011);
    /* The rest of the 10 % by hash, of the 45.5 % that are neither. */
    double below = (0.10 - 0.045) / 0.455 * SAMPLE_BUCKETS;
    EXPECT(sample.below > below * 0.999 && sample.below < below * 1.001);
    EXPECT(strata.heavy + strata.hashed > 0.0999 && strata.heavy + strata.hashed < 0.1001);
}

TEST(sample_of_everything_and_of_what_is_not_known)
{
    struct heavy_entry top[] = {entry(11, 0.9, 0)};
    struct shadow_sample sample;
    struct shadow_strata strata;
    shadow_sample_choose(top, 1, SAMPLED, 100, &sample, &strata);
    EXPECT(sample.below == SAMPLE_BUCKETS && sample.heavy_count == 0 && sample.left_count == 0);
    shadow_sample_choose(NULL, 0, 0, 25, &sample, &strata);
    EXPECT_INT(sample.below, SAMPLE_BUCKETS / 4);
    EXPECT(strata.hashed > 0.2499 && strata.hashed < 0.2501);
}

TEST(sampler_reaches_the_share_it_was_asked_for)
{
    struct rng rng;
    rng_init(&rng, test_seed());
    struct shadow_sample sample = {.by = SHADOW_BY_KEY, .below = SAMPLE_BUCKETS / 10};
    for (int i = 0; i < SHADOW_HEAVY_MAX; i++) {
        /* all in one slot of the table, so that it has to look further */
        sample.heavy[sample.heavy_count++] = (rng_u64(&rng) << 8) | 7;
        sample.left[sample.left_count++] = (rng_u64(&rng) << 8) | 7;
    }
    struct sampler sampler;
    sampler_init(&sampler, &sample);
    int hashed = 0;
    for (int i = 0; i < 100000; i++) {
        hashed += sampler_stratum(&sampler, rng_u64(&rng), i) == STRATUM_HASHED;
    }
    EXPECT(hashed > 9500 && hashed < 10500);
    for (int i = 0; i < SHADOW_HEAVY_MAX; i++) {
        EXPECT_INT(sampler_stratum(&sampler, sample.heavy[i], 0), STRATUM_HEAVY);
        EXPECT_INT(sampler_stratum(&sampler, sample.left[i], 0), STRATUM_LEFT);
        EXPECT(sampler_keeps_key(&sampler, sample.heavy[i]));
        EXPECT(!sampler_keeps_key(&sampler, sample.left[i]));
    }
}

/* Whole groups, spread evenly over the range, whatever it is; of few groups each is thinned. */
TEST(sample_by_groups_takes_whole_groups_spread_evenly)
{
    static const uint32_t widths[] = {4096, 2048, 1000, 600, 64, 1};
    for (ptrdiff_t w = 0; w < COUNT_OF(widths); w++) {
        uint32_t lo = 4096 - widths[w] < 333 ? 4096 - widths[w] : 333;
        struct shadow_sample sample = {.by = SHADOW_BY_KEY, .below = SAMPLE_BUCKETS / 10};
        struct sampler sampler;
        int taken = 0, groups = 0;
        shadow_sample_by_groups(lo, lo + widths[w], &sample);
        sampler_init(&sampler, &sample);
        for (uint32_t g = lo; g < lo + widths[w]; g++) {
            int of_group = 0;
            for (uint64_t b = 0; b < 1000; b++) {
                uint64_t hash = (uint64_t)g << 52 | (b * SAMPLE_BUCKETS / 1000) << 32;
                of_group += sampler_stratum(&sampler, hash, 0) == STRATUM_HASHED;
            }
            groups += of_group > 0;
            taken += of_group;
            EXPECT(widths[w] < 640 || of_group == 0 || of_group > 990);
        }
        double share = (double)taken / 1000 / widths[w];
        EXPECT_MSG(share > 0.09 && share < 0.11, "%g of %u groups", share, widths[w]);
        EXPECT(groups <= (int)widths[w] && (groups >= 60 || groups == (int)widths[w]));
    }
}

TEST(sampler_by_record_goes_by_offset_alone)
{
    struct shadow_sample sample;
    shadow_sample_records(20, &sample);
    struct sampler sampler;
    sampler_init(&sampler, &sample);
    int taken = 0;
    for (int64_t offset = 0; offset < 100000; offset++) {
        taken += sampler_stratum(&sampler, 0, offset) == STRATUM_HASHED;
        EXPECT(sampler_stratum(&sampler, 0, offset) ==
               sampler_stratum(&sampler, ~UINT64_C(0), offset));
    }
    EXPECT(taken > 19300 && taken < 20700);
    EXPECT(!sampler_keeps_key(&sampler, 0));
}
