// SPDX-License-Identifier: Apache-2.0
#include "bench/bench.h"
#include "test.h"

TEST(bench_interval_holds_the_median_and_narrows_with_more_pairs)
{
    double ratios[101];
    for (int i = 0; i < 101; i++) {
        ratios[i] = 0.5 + (double)(i * 37 % 101) / 1000.0; // 0.5..0.6, in no order
    }
    double median;
    double low;
    double high;
    bench_interval(ratios, 101, 1, &median, &low, &high);
    EXPECT_NEAR(median, 0.55, 1e-12);
    EXPECT(low < median && median < high);
    double few_low;
    double few_high;
    bench_interval(ratios, 9, 1, &median, &few_low, &few_high);
    EXPECT(few_high - few_low > high - low);
}

TEST(bench_refuses_rows_it_does_not_have)
{
    struct bench_options options = {.pairs = 3};
    static struct bench_result result;
    struct err_info info;
    EXPECT_INT(bench_run("nonsense", &options, &result, &info), ERR_NOT_FOUND);
    EXPECT(bench_row_count() == 5);
}
