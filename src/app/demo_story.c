// SPDX-License-Identifier: Apache-2.0
#include "app/demo_story.h"

#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "bench/row_loop.h"

enum {
    STORY_S = 3000,
    STORY_LEAD_S = 180,
    STORY_NODES = 6,
    STORY_SHARDS = 3,
    STORY_PARTITIONS = 2,
    STORY_STARTUP_S = 60
};
static const double capacity = 0.08;

static void show_progress(void *ctx, double share, const char *text)
{
    (void)ctx;
    IGNORE_RESULT(fprintf(stderr, "\r%-12s %3.0f %%   %s", text, 100 * share,
                          share >= 0.99 ? "\n" : "")); /* may be lost */
}

static void print_outcome(const char *policy, const struct replay_result *r)
{
    printf("%-12s %8.0f %10.1f %11.2f %8lld %7lld %11lld %10lld\n", policy, r->late_s, r->p99_ms,
           r->lane_hours, (long long)r->changes, (long long)r->splits, (long long)r->migrations,
           (long long)r->missing);
}

static void print_decisions(const struct replay_result *r)
{
    int32_t changes = 0;
    printf("\nWhat the manager decided (its ledger, as `decision list` shows it):\n");
    for (int32_t i = 0; i < r->sentence_count; i++) {
        if (r->changed[i]) {
            printf("  - %s\n", r->sentences[i]);
            changes++;
        }
    }
    if (changes == 0) {
        printf("  nothing: no change was worth its price\n");
    }
    printf("%lld shadows were cast, %lld of them answered", (long long)r->shadows,
           (long long)r->shadows_answered);
    if (r->limits[0] != 0) {
        printf(": operator '%s' limits, with %.0f %% of the chain's CPU", r->limits,
               100 * r->limits_share);
    }
    printf(". work : read is %.1f : 1.\n", r->read_ratio > 0 ? 1 / r->read_ratio - 1 : 0);
    if (isfinite(r->demand_at_change)) {
        printf(
            "Its first change was decided when the busiest lane was at %.0f %% of what it can do.\n",
            100 * r->demand_at_change);
    }
    printf("%lld decisions, %lld plans measured afterwards, %lld of them saved what a later second "
           "costs.\n",
           (long long)r->decisions, (long long)r->plans, (long long)r->came_true);
}

/* What was measured beside what is told: the order of the policies is worth nothing if only one of them was disturbed. */
static void print_disturbance(const char *policy, const struct replay_result *r,
                              const struct replay_options *options, double yardstick_us)
{
    const char *spoilt = machine_spoilt(&r->machine, replay_objective_ms(options), yardstick_us);
    if (spoilt != NULL) {
        printf(
            "The run of %s was disturbed (%s): once more on a quieter machine, before anything is "
            "concluded.\n",
            policy, spoilt);
    }
}

enum err demo_story(const struct trace *trace, double scale, bool terminal, struct err_info *info)
{
    struct replay_options options = {.trace = trace,
                                     .from_s = replay_find_rise(trace, STORY_S),
                                     .length_s = STORY_S,
                                     .lead_s = STORY_LEAD_S,
                                     .scale = scale,
                                     .nodes = STORY_NODES,
                                     .capacity = capacity,
                                     .startup_ns = STORY_STARTUP_S * INT64_C(1000000000),
                                     .shards = STORY_SHARDS,
                                     .partitions = STORY_PARTITIONS,
                                     .seed = 1,
                                     .progress = terminal ? show_progress : NULL};
    struct replay_result *manager = MEM_NEW(struct replay_result);
    struct replay_result *reactive = MEM_NEW(struct replay_result);
    struct replay_calibration calibration = {.record_cost_s = 0};
    enum err err = replay_calibrate(&options, &calibration, info);
    options.record_cost_s = calibration.record_cost_s;
    if (err == ERR_OK) {
        printf(
            "\nThe 50 minutes of the trace in which the load rises most, again: %d nodes at the peak, %g %% "
            "of a core each,\na node takes %d s to come, the objective is a second. time_scale %g; a "
            "record costs %.1f us of CPU.\n",
            STORY_NODES, 100 * capacity, STORY_STARTUP_S, scale, options.record_cost_s * 1e6);
        IGNORE_RESULT(fflush(stdout)); /* main() judges stdout at the end */
        options.policy = "shadowcast";
        err = replay_run(&options, manager, info);
    }
    options.policy = "reactive";
    err = err == ERR_OK ? replay_run(&options, reactive, info) : err;
    if (err == ERR_OK) {
        print_decisions(manager);
        printf(
            "\npolicy         late s  p99 ms(*)  lane-hours  changes  splits  migrations  not seen\n");
        print_outcome("shadowcast", manager);
        print_outcome("reactive", reactive);
        printf(
            "(*) of the wall; the objective is %.0f ms of it. A thread that sleeps 1 ms was late by "
            "up to %.1f and %.1f ms (99 %%)\nin the two runs: where that is near the objective, the "
            "machine was too busy to tell them apart.\n",
            fmax(10, 1000 / scale), manager->machine.hiccup_ms, reactive->machine.hiccup_ms);
        print_disturbance("shadowcast", manager, &options, calibration.yardstick_us);
        print_disturbance("reactive", reactive, &options, calibration.yardstick_us);
    }
    mem_free(manager);
    mem_free(reactive);
    return err;
}
