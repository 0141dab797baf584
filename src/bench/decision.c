// SPDX-License-Identifier: Apache-2.0
#include "bench/decision.h"

#include <stdlib.h>

#include "base/check.h"

struct run {
    struct synthetic *cluster;
    struct planner *planner;
    struct plan_growth growth;
    struct plan_input input;
    struct plan_options options;
};

static enum err prepare(const struct decision_options *options, struct arena *arena,
                        struct run *run, struct err_info *info)
{
    enum err err =
        synthetic_new(arena, options->parts, options->nodes, options->seed, &run->cluster, info);
    if (err == ERR_OK) {
        err = planner_new(arena, options->parts, options->parts, options->nodes, 1, &run->planner,
                          info);
    }
    if (err == ERR_OK) {
        run->growth = (struct plan_growth){.now = 1};
        run->input = (struct plan_input){.load = &run->cluster->load, .growth = &run->growth};
        run->options = synthetic_options(run->cluster);
    }
    return err;
}

static const struct plan_option *moving(const struct plan *plan)
{
    for (int32_t i = 0; i < plan->option_count; i++) {
        if (plan->options[i].kind == PLAN_MIGRATE) {
            return &plan->options[i];
        }
    }
    return &plan->options[0];
}

static int32_t count_hot(const struct run *run, double above, struct arena *arena,
                         struct err_info *info)
{
    struct load load;
    int32_t hot = 0;
    if (load_weigh(&run->cluster->load, arena, &load, info) != ERR_OK) {
        return 0;
    }
    for (int32_t l = 0; l < load.lane_count; l++) {
        hot += load_utilisation(&load, l) > above;
    }
    return hot;
}

static void tell_plan(const struct run *run, const struct plan *plan, struct arena *arena,
                      struct decision_figures *f, struct err_info *info)
{
    const struct plan_option *o = moving(plan);
    f->max_before = o->max_before;
    f->max_after = o->max_after;
    f->mean = o->mean_after;
    f->moves = o->moves;
    double target = o->max_after > 1.1 * o->mean_after ? o->max_after : 1.1 * o->mean_after;
    f->least_moves = synthetic_least_moves(run->cluster, target, arena);
    f->hot = count_hot(run, 1.1 * o->mean_after, arena, info);
    f->chosen = arena_printf(arena, "%s", plan->options[plan->chosen].text);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void summarise(double *ms, int32_t count, double *ret_median, double *ret_max)
{
    qsort(ms, (size_t)count, sizeof *ms, compare);
    *ret_median = ms[count / 2];
    *ret_max = ms[count - 1];
}

/* One decision, timed; the plan is the scratch arena's. */
static enum err decide(struct run *run, bool full, const struct clock *clock, struct arena *scratch,
                       double *ret_ms, struct plan *ret_plan, struct err_info *info)
{
    int64_t begun = clock_thread_cpu_ns(clock);
    enum err err = full ? planner_load(run->planner, &run->cluster->load, info) : ERR_OK;
    if (err == ERR_OK) {
        err = planner_decide(run->planner, &run->input, &run->options, scratch, ret_plan, info);
    }
    *ret_ms = (double)(clock_thread_cpu_ns(clock) - begun) * 1e-6;
    return err;
}

enum err decision_measure(const struct decision_options *options, const struct clock *clock,
                          struct arena *arena, struct decision_figures *ret_figures,
                          struct err_info *info)
{
    struct run run;
    struct decision_figures f = {.full_ms = 0};
    double full[DECISION_ROUNDS_MAX], some[DECISION_ROUNDS_MAX];
    struct arena scratch;
    CHECK(options->rounds >= 1 && options->rounds <= DECISION_ROUNDS_MAX);
    enum err err = prepare(options, arena, &run, info);
    arena_init(&scratch, (ptrdiff_t)1 << 30);
    for (int32_t i = 0; i < options->rounds && err == ERR_OK; i++) {
        struct plan plan;
        err = decide(&run, true, clock, &scratch, &full[i], &plan, info);
        if (err == ERR_OK && i == 0) {
            tell_plan(&run, &plan, arena, &f, info);
        }
        arena_reset(&scratch);
        if (err == ERR_OK) {
            synthetic_change(run.cluster, run.planner, (options->parts + 99) / 100);
            err = decide(&run, false, clock, &scratch, &some[i], &plan, info);
        }
        arena_reset(&scratch);
    }
    arena_release(&scratch);
    if (err == ERR_OK) {
        summarise(full, options->rounds, &f.full_ms, &f.full_max_ms);
        summarise(some, options->rounds, &f.some_ms, &f.some_max_ms);
        *ret_figures = f;
    }
    return err;
}
