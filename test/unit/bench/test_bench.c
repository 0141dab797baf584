// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "bench/bare_ysb.h"
#include "bench/bench.h"
#include "bench/events.h"
#include "bench/feed_run.h"
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

TEST(bench_bound_is_held_by_a_whole_interval_only)
{
    struct bench_figure figure = {.value = 0.5, .low = -0.2, .high = 0.9, .bound = 1};
    EXPECT_INT(bench_verdict(&figure), BENCH_HELD);
    figure.high = 1.1;
    EXPECT_INT(bench_verdict(&figure), BENCH_UNDECIDED);
    figure.low = 1.01;
    EXPECT_INT(bench_verdict(&figure), BENCH_MISSED);
    static struct bench_result result;
    result.figure_count = 0;
    bench_add_figure(&result, "without an interval", "ms", 2, 2);
    bench_add_figure(&result, "above", "ms", 2.1, 2);
    EXPECT_INT(bench_verdict(&result.figures[0]), BENCH_HELD);
    EXPECT_INT(bench_verdict(&result.figures[1]), BENCH_MISSED);
}

TEST(bench_knows_its_rows)
{
    for (int32_t i = 0; i < bench_row_count(); i++) {
        EXPECT(bench_is_row(bench_row_name(i)));
    }
    EXPECT(!bench_is_row("nonsense"));
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
    *ret_cpu = (struct machine_cpu){.busy_ns = foreign_ns += 1000000000000};
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

enum { EVENTS = 30000, RATE = 500 }; // a minute of event time

/* Results of one pass of a feed through a pipeline. */
static int64_t results_of(struct feed *feed, const char *stages, struct lookup_table *table)
{
    struct feed_run run;
    struct err_info info = {0};
    enum err err =
        feed_run_open(&run, &(struct feed_run_options){.stages = stages, .table = table}, &info);
    CHECK_MSG(err == ERR_OK, "%s", info.text);
    while (feed->at < feed->len) {
        feed_run_step(&run, feed);
    }
    feed_run_finish(&run);
    int64_t results = run.output_rows;
    feed_run_close(&run);
    return results;
}

TEST(nexmark_queries_and_their_bare_loops_find_as_many_results)
{
    struct nexmark_options options = {.seed = 3, .rate = RATE, .group = 1};
    for (int32_t i = 0; i < nexmark_query_count(); i++) {
        const struct nexmark_query *query = &nexmark_queries[i];
        struct feed feed;
        feed_init(&feed, 0);
        events_add_nexmark(&feed, &options, EVENTS, query->one_key);
        struct bare_nexmark *bare = bare_nexmark_new(query->bare, EVENTS, RATE);
        for (int64_t at = 0; at < feed.len;) {
            ptrdiff_t total;
            bare_nexmark_batch(bare, feed.bytes + at, feed.len - at, &total);
            at += total;
        }
        bare_nexmark_finish(bare);
        int64_t results = results_of(&feed, query->stages, NULL);
        EXPECT_MSG(results > 0 && results == bare_nexmark_results(bare), "%s: %lld, by hand %lld",
                   query->name, (long long)results, (long long)bare_nexmark_results(bare));
        bare_nexmark_free(bare);
        feed_release(&feed);
    }
}

TEST(ysb_and_its_bare_loops_find_as_many_results)
{
    struct ysb_options options = {
        .seed = 3, .rate = RATE, .campaigns = 100, .ads_per_campaign = 10};
    struct lookup_table *table = events_ads_table(&options);
    for (int form = YSB_JSON; form <= YSB_BINARY; form++) {
        struct feed feed;
        struct arena arena;
        arena_init(&arena, 1 << 20);
        feed_init(&feed, 0);
        events_add_ysb(&feed, &options, EVENTS, (enum ysb_form)form);
        struct bare_ysb *bare = bare_ysb_new(&options);
        for (int64_t at = 0; at < feed.len;) {
            ptrdiff_t total;
            if (form == YSB_JSON) {
                bare_ysb_json_batch(bare, feed.bytes + at, feed.len - at, &total);
            } else {
                bare_ysb_binary_batch(bare, feed.bytes + at, feed.len - at, &total);
            }
            at += total;
        }
        bare_ysb_finish(bare);
        const char *stages =
            ysb_stages(&arena, (enum ysb_form)form, "{file: ads, format: json, key: ad_id}");
        int64_t results = results_of(&feed, stages, table);
        EXPECT_INT(results, bare_ysb_results(bare));
        EXPECT(results > 0);
        bare_ysb_free(bare);
        feed_release(&feed);
        arena_release(&arena);
    }
    lookup_table_unref(table);
}
