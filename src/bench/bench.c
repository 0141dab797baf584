// SPDX-License-Identifier: Apache-2.0
// Paired slices, the rule that drops dirty pairs, and the interval.

#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/real/clock_real.h"
#include "base/rng.h"
#include "bench/rows.h"

enum { BOOTSTRAP_RESAMPLES = 2000 };

static const int64_t SLICE_NS = 100000000;
static const double DIRTY_SHARE = 0.05;

static const struct bench_row *const ROWS[] = {
    // clang-format off
    &bench_passthrough,
    &bench_json,
    &bench_count_1k,
    &bench_count_100k,
    &bench_count_10m,
    &bench_ysb_a,
    &bench_ysb_b,
    &bench_ysb_b_values,
    &bench_ysb_c,
    &bench_ysb_k,
    &bench_ysb_c_node,
    &bench_nexmark_q0,
    &bench_nexmark_q1,
    &bench_nexmark_q2,
    &bench_nexmark_q3,
    &bench_nexmark_q5,
    &bench_nexmark_q7,
    &bench_nexmark_q8,
    &bench_nexmark_q0_array,
    &bench_nexmark_q1_array,
    &bench_nexmark_q2_array,
    &bench_nexmark_q3_array,
    &bench_nexmark_q5_array,
    &bench_nexmark_q7_array,
    &bench_nexmark_q8_array,
    &bench_nexmark_q0_node,
    &bench_nexmark_q1_node,
    &bench_nexmark_q2_node,
    &bench_nexmark_q3_node,
    &bench_nexmark_q5_node,
    &bench_nexmark_q7_node,
    &bench_nexmark_q8_node,
    &bench_grow,
    &bench_recovery,
    &bench_count_1k_node,
    &bench_count_100k_node,
    &bench_count_10m_node,
    &bench_log_to_log,
    &bench_log_durable,
    &bench_figures_json,
    &bench_figures_count,
    &bench_latency_unsynced,
    &bench_latency_synced,
    &bench_mirror_view,
    &bench_mirror_queue,
    &bench_decision,
    &bench_fidelity,
    &bench_migrate_1m,
    &bench_migrate_10m,
    &bench_migrate_empty,
    // clang-format on
};

int32_t bench_row_count(void)
{
    return (int32_t)COUNT_OF(ROWS);
}

const char *bench_row_name(int32_t index)
{
    CHECK(index >= 0 && index < bench_row_count());
    return ROWS[index]->name;
}

const char *bench_row_goal(int32_t index)
{
    CHECK(index >= 0 && index < bench_row_count());
    return ROWS[index]->goal;
}

bool bench_row_only_named(int32_t index)
{
    CHECK(index >= 0 && index < bench_row_count());
    return ROWS[index]->only_named;
}

const char *bench_row_what(int32_t index)
{
    CHECK(index >= 0 && index < bench_row_count());
    return ROWS[index]->engine;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Sorts `values`. */
static double median(double *values, int32_t count)
{
    qsort(values, (size_t)count, sizeof *values, compare_doubles);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

void bench_interval(const double *ratios, int32_t count, uint64_t seed, double *ret_median,
                    double *ret_low, double *ret_high)
{
    CHECK(count > 0 && count <= BENCH_PAIRS_MAX);
    static double medians[BOOTSTRAP_RESAMPLES];
    double sample[BENCH_PAIRS_MAX];
    struct rng rng;
    rng_init(&rng, seed);
    memcpy(sample, ratios, (size_t)count * sizeof *sample);
    *ret_median = median(sample, count);
    for (int r = 0; r < BOOTSTRAP_RESAMPLES; r++) {
        for (int32_t i = 0; i < count; i++) {
            sample[i] = ratios[rng_below(&rng, (uint64_t)count)];
        }
        medians[r] = median(sample, count);
    }
    qsort(medians, BOOTSTRAP_RESAMPLES, sizeof *medians, compare_doubles);
    *ret_low = medians[BOOTSTRAP_RESAMPLES / 40];
    *ret_high = medians[BOOTSTRAP_RESAMPLES - 1 - BOOTSTRAP_RESAMPLES / 40];
}

/* Runs one side for a slice; records per CPU second. */
static double run_slice(const struct clock *clock, int64_t (*step)(void *self), void *self)
{
    int64_t start = clock_thread_cpu_ns(clock);
    int64_t records = 0;
    int64_t used = 0;
    while (used < SLICE_NS) {
        // The thread clock costs as much as some records: not each step.
        for (int i = 0; i < 16; i++) {
            records += step(self);
        }
        used = clock_thread_cpu_ns(clock) - start;
    }
    return (double)records * 1e9 / (double)used;
}

static enum err run_side(const struct bench_row *row, void *self,
                         const struct bench_options *options, bool engine, struct bench_pair *pair,
                         struct err_info *info)
{
    double *ret_per_s = engine ? &pair->engine_per_s : &pair->limit_per_s;
    enum err (*slice)(void *, double *, struct err_info *) =
        engine ? row->engine_slice : row->limit_slice;
    if (slice != NULL) {
        return slice(self, ret_per_s, info);
    }
    *ret_per_s = run_slice(options->clock, engine ? row->engine_step : row->limit_step, self);
    return ERR_OK;
}

/* This process' threads are its own, not foreign: some rows have several. */
static enum err run_pair(const struct bench_row *row, void *self,
                         const struct bench_options *options, bool engine_first,
                         struct bench_pair *ret_pair, struct err_info *info)
{
    struct machine_cpu before = {0};
    struct machine_cpu after = {0};
    struct bench_pair pair = {0};
    int64_t own = clock_real_process_cpu_ns();
    int64_t wall = clock_now_ns(options->clock);
    bool known = options->machine(options->machine_ctx, &before);
    enum err err = run_side(row, self, options, engine_first, &pair, info);
    err = err == ERR_OK ? run_side(row, self, options, !engine_first, &pair, info) : err;
    known = options->machine(options->machine_ctx, &after) && known;
    own = clock_real_process_cpu_ns() - own;
    wall = clock_now_ns(options->clock) - wall;
    int64_t foreign = after.busy_ns - before.busy_ns - own;
    foreign -= row->on_disk ? after.kernel_ns - before.kernel_ns : 0;
    int64_t stolen = after.steal_ns - before.steal_ns;
    foreign = foreign > 0 ? foreign : 0;
    pair.others_share = known ? (double)foreign / (double)wall : 0;
    pair.stolen_share = known ? (double)stolen / (double)wall : 0;
    pair.dirty = pair.others_share + pair.stolen_share > DIRTY_SHARE;
    if (err == ERR_OK) {
        *ret_pair = pair;
    }
    return err;
}

static void summarise(struct bench_result *result, const struct bench_options *options)
{
    double ratios[BENCH_PAIRS_MAX];
    double engine[BENCH_PAIRS_MAX];
    double limit[BENCH_PAIRS_MAX];
    int32_t count = 0;
    for (int32_t i = 0; i < result->pair_count; i++) {
        const struct bench_pair *pair = &result->pairs[i];
        if (pair->dirty && !options->keep_noisy) {
            continue;
        }
        engine[count] = pair->engine_per_s;
        limit[count] = pair->limit_per_s;
        ratios[count++] = pair->engine_per_s / pair->limit_per_s;
    }
    result->too_noisy = count * 2 < result->pair_count;
    if (result->too_noisy) {
        return;
    }
    result->engine_per_s = median(engine, count);
    result->limit_per_s = median(limit, count);
    bench_interval(ratios, count, options->seed, &result->ratio, &result->ratio_low,
                   &result->ratio_high);
}

void bench_add_figure(struct bench_result *result, const char *name, const char *unit, double value,
                      double bound)
{
    bench_add_interval(result, &(struct bench_figure){.name = name,
                                                      .unit = unit,
                                                      .value = value,
                                                      .low = value,
                                                      .high = value,
                                                      .bound = bound});
}

void bench_add_interval(struct bench_result *result, const struct bench_figure *figure)
{
    CHECK(result->figure_count < BENCH_FIGURES_MAX);
    result->figures[result->figure_count++] = *figure;
}

enum bench_verdict bench_verdict(const struct bench_figure *figure)
{
    if (figure->high <= figure->bound) {
        return BENCH_HELD;
    }
    return figure->low <= figure->bound ? BENCH_UNDECIDED : BENCH_MISSED;
}

static enum err run_pairs(const struct bench_row *row, void *self,
                          const struct bench_options *options, struct bench_result *result,
                          struct err_info *info)
{
    struct bench_pair warm;
    enum err err = run_pair(row, self, options, true, &warm, info); // warms both sides
    for (int32_t i = 0; i < options->pairs && err == ERR_OK; i++) {
        err = run_pair(row, self, options, i % 2 == 0, &result->pairs[i], info);
        result->dirty_count += result->pairs[i].dirty;
    }
    result->pair_count = options->pairs;
    return err;
}

static const struct bench_row *find_row(const char *name)
{
    for (int32_t i = 0; i < bench_row_count(); i++) {
        if (strcmp(ROWS[i]->name, name) == 0) {
            return ROWS[i];
        }
    }
    return NULL;
}

bool bench_is_row(const char *name)
{
    return find_row(name) != NULL;
}

enum err bench_run(const char *name, const struct bench_options *options,
                   struct bench_result *ret_result, struct err_info *info)
{
    CHECK(options->pairs >= 3 && options->pairs <= BENCH_PAIRS_MAX);
    const struct bench_row *row = find_row(name);
    CHECK(row != NULL);
    memset(ret_result, 0, sizeof *ret_result);
    ret_result->name = row->name;
    ret_result->goal = row->goal;
    ret_result->engine = row->engine;
    ret_result->limit = row->limit;
    ret_result->floor_percent = row->floor_percent;
    ret_result->wall = row->wall;
    if (row->measure != NULL) {
        return row->measure(options, ret_result, info);
    }
    void *self;
    enum err err = row->open(options->seed, &self, info);
    if (err != ERR_OK) {
        return err;
    }
    err = run_pairs(row, self, options, ret_result, info);
    row->close(self);
    if (err == ERR_OK) {
        summarise(ret_result, options);
    }
    return err;
}
