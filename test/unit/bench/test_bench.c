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
}

/* A clock that the tests turn, and a machine on which others work as much as they say. */
static int64_t turned_ns;
static int64_t foreign_ns;

static int64_t turned(void *ctx)
{
    (void)ctx;
    return turned_ns += 10000000;
}

static bool machine(void *ctx, struct machine_cpu *ret_cpu)
{
    (void)ctx;
    *ret_cpu = (struct machine_cpu){.busy_ns = foreign_ns += 1000000000};
    return true;
}

TEST(bench_drops_pairs_that_others_disturbed)
{
    struct clock clock = {.now_ns = turned, .thread_cpu_ns = turned};
    struct bench_options options = {.pairs = 3, .clock = &clock, .machine = machine, .seed = 1};
    static struct bench_result result;
    struct err_info info = {0};
    EXPECT_INT(bench_run("json", &options, &result, &info), ERR_OK);
    EXPECT(result.too_noisy);
    EXPECT_INT(result.dirty_count, 3);
    options.keep_noisy = true;
    EXPECT_INT(bench_run("json", &options, &result, &info), ERR_OK);
    EXPECT(!result.too_noisy && result.ratio > 0);
    EXPECT(result.ratio_low <= result.ratio && result.ratio <= result.ratio_high);
}

TEST(bench_runs_whole_slices_through_the_engine)
{
    struct clock clock = {.now_ns = turned, .thread_cpu_ns = turned};
    struct bench_options options = {
        .pairs = 3, .clock = &clock, .machine = machine, .keep_noisy = true, .seed = 1};
    static struct bench_result result;
    struct err_info info = {0};
    EXPECT_INT(bench_run("figures-json", &options, &result, &info), ERR_OK);
    EXPECT(result.ratio > 0.2 && result.ratio < 5);
    EXPECT_INT(result.pair_count, 3);
}
