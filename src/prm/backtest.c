// SPDX-License-Identifier: Apache-2.0
#include "prm/backtest.h"

#include <math.h>
#include <string.h>

#include "base/check.h"

enum { RUNS_MAX = 2048, DAY_S = 86400 };

/* Where a pause has made a difference, lateness is looked at so often: a pause is shorter than a second. */
#define PAUSE_PART_S 0.0078125

/* So far behind a start-up, as a share of it, a decision looks at least. What is ordered now is worth what it saves from then on, and a
 * shortage of half a lane in 32 takes two minutes to make records wait for an objective of 2 s: behind one interval alone it is never seen. */
#define BEHIND 0.1

struct tally {
    double cost, reserved_s, shadow_s, late_s, pause_late_s, lag_max_s;
    int64_t changes;
};

/* One policy with one setting, on its own copy of the world. */
struct run {
    struct policy policy;
    double work, work_smooth; /* backlog, and what it would be if changes had no pause */
    int serving, starting;
    int *arriving;         /* [startup_steps + 1] lanes by decision at which they come */
    int64_t head;          /* interval of the oldest waiting record */
    struct tally tally[2]; /* history, replay */
    int *lags;             /* [BACKTEST_LAG_BINS] seconds of lag in the replay, by interval */
    float *plot;
};

struct backtest {
    struct backtest_options o;
    double *rate, *mean,
        *sum; /* [ticks + 1] lanes at interval borders, [ticks] means, sums of work */
    int64_t ticks, at, warm, history;
    int startup_steps;
    double load_mean;
    struct outlook *outlook;
    struct outlook_view view, truth;
    double truth_peak, *truth_load;
    int run_count, kind_count;
    struct run *runs;
    enum policy_kind kinds[POLICY_COUNT];
    struct backtest_result results[POLICY_COUNT];
    float *plot_load;
};

/* The trace at interval borders, in lanes. */
static enum err read_load(struct backtest *b, struct arena *arena, struct err_info *info)
{
    const struct backtest_options *o = &b->o;
    int64_t each = llround(o->step_s / o->interval_s);
    double top = 0, *v = ARENA_NEW_ARRAY(arena, double, o->count);
    int64_t last = -1;
    for (int64_t i = 0; i < o->count; i++) {
        if (isnan(o->values[i])) {
            continue;
        }
        if (!(isfinite(o->values[i]) && o->values[i] >= 0)) {
            return err_set(info, ERR_INVALID, "value %lld of the load is %g: rates are 0 or more",
                           (long long)i + 1, o->values[i]);
        }
        v[i] = o->values[i];
        top = v[i] > top ? v[i] : top;
        for (int64_t k = last + 1; k < i; k++) {
            v[k] = last < 0 ? v[i]
                            : v[last] + (v[i] - v[last]) * (double)(k - last) / (double)(i - last);
        }
        last = i;
    }
    for (int64_t k = last + 1; k < o->count; k++) {
        v[k] = last < 0 ? 0 : v[last];
    }
    if (!(top > 0)) {
        return err_set(info, ERR_INVALID, "the load is nowhere above 0: nothing to replay");
    }
    double unit = 0.8 * o->lanes / top;
    b->rate = ARENA_NEW_ARRAY(arena, double, b->ticks + 1);
    b->mean = ARENA_NEW_ARRAY(arena, double, b->ticks);
    b->sum = ARENA_NEW_ARRAY(arena, double, b->ticks + 1);
    for (int64_t t = 0; t <= b->ticks; t++) {
        int64_t i = t / each < o->count - 1 ? t / each : o->count - 2;
        double part = (double)(t - i * each) / (double)each;
        b->rate[t] = unit * (v[i] + (v[i + 1] - v[i]) * part);
    }
    for (int64_t t = 0; t < b->ticks; t++) {
        b->mean[t] = (b->rate[t] + b->rate[t + 1]) / 2;
        b->sum[t + 1] = b->sum[t] + b->mean[t] * o->interval_s;
    }
    b->load_mean = b->sum[b->ticks] / ((double)b->ticks * o->interval_s);
    return ERR_OK;
}

static double window_s(const struct backtest_options *o)
{
    return o->startup_s + fmax(o->interval_s, BEHIND * o->startup_s);
}

static enum err check_options(const struct backtest_options *o, struct err_info *info)
{
    double each = o->step_s / o->interval_s;
    if (!(o->interval_s > 0) || !(each >= 1) || fabs(each - round(each)) > 1e-9 || o->count < 2 ||
        o->count > BACKTEST_POINTS_MAX) {
        return err_set(
            info, ERR_INVALID,
            "a step of %g s is no multiple of the decision interval of %g s, or not 2 to %d points",
            o->step_s, o->interval_s, BACKTEST_POINTS_MAX);
    }
    if ((double)(o->count - 1) * each > BACKTEST_POINTS_MAX) {
        return err_set(info, ERR_LIMIT, "the load covers %.0f intervals of %g s; at most %d",
                       (double)(o->count - 1) * each, o->interval_s, BACKTEST_POINTS_MAX);
    }
    if ((double)(o->count - 1) * o->step_s < 2 * DAY_S - o->step_s) {
        return err_set(
            info, ERR_INVALID,
            "the load covers %.1f hours; a backtest wants two days: one to learn from, one to replay",
            (double)(o->count - 1) * o->step_s / 3600);
    }
    if (o->lanes < 1 || o->lanes > BACKTEST_LANES_MAX || !(o->objective_s > 0) ||
        !(o->startup_s >= 0 && o->startup_s <= 3600) ||
        window_s(o) / o->interval_s > OUTLOOK_STEPS_MAX) {
        return err_set(
            info, ERR_INVALID,
            "lanes 1 to %d, objective above 0, start-up 0 s to 1 h and at most %d decision intervals",
            BACKTEST_LANES_MAX, OUTLOOK_STEPS_MAX - 1);
    }
    return ERR_OK;
}

static void init_run(struct backtest *b, struct arena *arena, enum policy_kind kind, int index)
{
    struct policy_params params = policy_grid(kind, index);
    struct run *r = &b->runs[b->run_count++];
    policy_init(&r->policy, kind, &params);
    r->arriving = ARENA_NEW_ARRAY(arena, int, b->startup_steps + 1);
    r->lags = ARENA_NEW_ARRAY(arena, int, BACKTEST_LAG_BINS);
    r->plot = ARENA_NEW_ARRAY(arena, float, BACKTEST_PLOT);
    double first = ceil(b->rate[0] / 0.8);
    r->serving = first < 1 ? 1 : (first > b->o.lanes ? b->o.lanes : (int)first);
    r->serving = kind == POLICY_STATIC_PEAK ? b->o.lanes : r->serving;
}

enum err backtest_new(struct arena *arena, const struct backtest_options *options,
                      const enum policy_kind *kinds, int kind_count, struct backtest **ret_backtest,
                      struct err_info *info)
{
    enum err err = check_options(options, info);
    if (err != ERR_OK) {
        return err;
    }
    CHECK(kind_count >= 1 && kind_count <= POLICY_COUNT);
    struct backtest *b = ARENA_NEW(arena, struct backtest);
    b->o = *options;
    b->ticks = (options->count - 1) * llround(options->step_s / options->interval_s);
    b->history = b->ticks / 2;
    b->warm = b->history / 4;
    b->startup_steps = (int)ceil(options->startup_s / options->interval_s - 1e-9);
    err = read_load(b, arena, info);
    if (err != ERR_OK) {
        return err;
    }
    b->outlook = outlook_new(arena, options->interval_s, window_s(options));
    b->truth_load = ARENA_NEW_ARRAY(arena, double, OUTLOOK_LEADS_MAX);
    b->runs = ARENA_NEW_ARRAY(arena, struct run, RUNS_MAX);
    b->plot_load = ARENA_NEW_ARRAY(arena, float, BACKTEST_PLOT);
    b->kind_count = kind_count;
    for (int k = 0; k < kind_count; k++) {
        b->kinds[k] = kinds[k];
        for (int i = 0; i < policy_grid_count(kinds[k]); i++) {
            init_run(b, arena, kinds[k], i);
        }
    }
    *ret_backtest = b;
    return ERR_OK;
}

static double rate_max(const struct backtest *b, int64_t from, int64_t to)
{
    double most = 0;
    for (int64_t t = from; t <= to && t <= b->ticks; t++) {
        most = b->rate[t] > most ? b->rate[t] : most;
    }
    return most;
}

/* The true future in the form of a forecast: one path, each lead the highest rate since the lead before. */
static void write_truth(struct backtest *b)
{
    b->truth = b->view;
    b->truth.path_count = 1;
    b->truth.stride = 1;
    b->truth.load = b->truth_load;
    b->truth.peak = &b->truth_peak;
    int64_t from = b->at;
    b->truth_peak = 0;
    for (int j = 0; j < b->truth.lead_count; j++) {
        int64_t to = b->at + llround(b->truth.lead_s[j] / b->o.interval_s);
        b->truth_load[j] = rate_max(b, from, to);
        b->truth_peak = b->truth_load[j] > b->truth_peak ? b->truth_load[j] : b->truth_peak;
        from = to;
    }
    b->truth.peak_max = b->truth_peak;
}

static void arrive(struct backtest *b, struct run *r)
{
    int *come = &r->arriving[b->at % (b->startup_steps + 1)];
    r->serving += *come;
    r->starting -= *come;
    *come = 0;
}

/* Lanes towards `wanted`: new ones are ordered; those not yet there are given back first, the latest first. */
static void change_to(struct backtest *b, struct run *r, int wanted)
{
    int more = wanted - r->serving - r->starting;
    if (more > 0 && b->startup_steps == 0) {
        r->serving += more;
    } else if (more > 0) {
        r->arriving[(b->at + b->startup_steps) % (b->startup_steps + 1)] += more;
        r->starting += more;
    }
    for (int64_t s = b->at + b->startup_steps; more < 0 && s > b->at; s--) {
        int *come = &r->arriving[s % (b->startup_steps + 1)];
        int less = *come < -more ? *come : -more;
        *come -= less;
        r->starting -= less;
        more += less;
    }
    if (more < 0) {
        r->serving += more;
    }
}

static double lag_of(struct backtest *b, struct run *r, int64_t end)
{
    if (!(r->work > 1e-9)) {
        r->head = end;
        return 0;
    }
    double done = b->sum[end] - r->work;
    while (r->head < end && b->sum[r->head + 1] <= done) {
        r->head++;
    }
    double arrived = b->sum[r->head + 1 <= end ? r->head + 1 : end] - b->sum[r->head];
    double part = arrived > 0 ? (done - b->sum[r->head]) / arrived : 0;
    return ((double)(end - r->head) - (part > 0 ? part : 0)) * b->o.interval_s;
}

static void decide(struct backtest *b, struct run *r, struct policy_input *in)
{
    enum policy_kind kind = r->policy.kind;
    in->work = r->work;
    in->lag_s = r->work > 0 ? lag_of(b, r, b->at) : 0;
    in->serving = r->serving;
    in->starting = r->starting;
    in->view = kind == POLICY_PERFECT ? &b->truth : &b->view;
    int ready = r->serving;
    int64_t step = 1;
    bool looks = kind == POLICY_SHADOWCAST || kind == POLICY_PREDICTIVE || kind == POLICY_PERFECT;
    for (int j = 0; looks && j < b->view.lead_count; j++) {
        /* Lanes serve in an interval if they come at its begin or before. */
        for (; step < llround(b->view.lead_s[j] / b->o.interval_s) && step <= b->startup_steps;
             step++) {
            ready += r->arriving[(b->at + step) % (b->startup_steps + 1)];
        }
        in->ready[j] = ready;
    }
    int total = r->serving + r->starting, wanted = policy_step(&r->policy, in);
    struct tally *tally = &r->tally[b->at >= b->history];
    if (wanted != total) {
        change_to(b, r, wanted);
        tally->changes++;
    }
}

/* The interval that follows a decision. */
static void pass(struct backtest *b, struct run *r, int served)
{
    struct tally *tally = &r->tally[b->at >= b->history];
    double dt = b->o.interval_s;
    struct queue_step step = {.rate_begin = b->rate[b->at],
                              .rate_end = b->rate[b->at + 1],
                              .capacity = r->serving,
                              .seconds = dt,
                              .objective_s = b->o.objective_s};
    if (r->serving != served) {
        double most = r->serving > served ? r->serving : served;
        double share = fabs((double)(r->serving - served)) / most;
        r->work += share * BACKTEST_PAUSE_S * step.rate_begin;
    }
    if (fabs(r->work - r->work_smooth) > 1e-9) {
        step.part_s =
            PAUSE_PART_S; /* a pause makes what is late anyway late a little earlier or longer: by how much */
    }
    double late = queue_advance(&r->work, &step);
    double smooth = queue_advance(&r->work_smooth, &step);
    double shadow = policy_shadow_lanes(&r->policy, (double)b->at * dt, b->mean[b->at]) * dt;
    int starting = r->policy.kind == POLICY_ORACLE ? 0 : r->starting;
    double reserved = (r->serving + starting) * dt + shadow;
    tally->late_s += late;
    tally->pause_late_s += late > smooth ? late - smooth : 0;
    tally->reserved_s += reserved;
    tally->shadow_s += shadow;
    struct usage usage = {.lane_seconds = reserved, .late_seconds = late};
    if (b->at >= b->warm) {
        tally->cost += cost_of(&b->o.prices, &usage, b->o.lanes);
    }
    if (b->at >= b->history) {
        double lag = lag_of(b, r, b->at + 1);
        tally->lag_max_s = lag > tally->lag_max_s ? lag : tally->lag_max_s;
        int bin = lag < BACKTEST_LAG_BINS - 1 ? (int)ceil(lag) : BACKTEST_LAG_BINS - 1;
        r->lags[bin]++;
        int64_t place = (b->at - b->history) * BACKTEST_PLOT / (b->ticks - b->history);
        r->plot[place] = (float)r->serving > r->plot[place] ? (float)r->serving : r->plot[place];
    }
}

static void one_interval(struct backtest *b)
{
    double dt = b->o.interval_s, seen = b->at > 0 ? b->mean[b->at - 1] : b->rate[0];
    outlook_step(b->outlook, seen, &b->view);
    write_truth(b);
    int64_t ahead = b->at + b->startup_steps;
    struct policy_input in = {.now_s = (double)b->at * dt,
                              .demand = seen,
                              .objective_s = b->o.objective_s,
                              .interval_s = dt,
                              .startup_s = b->o.startup_s,
                              .lanes_max = b->o.lanes,
                              .prices = &b->o.prices,
                              .history = b->mean,
                              .history_count = b->at,
                              .mean = b->load_mean};
    in.need = ceil(rate_max(b, ahead < b->ticks ? ahead : b->ticks, ahead + 1) - 1e-9);
    double now_need = ceil(rate_max(b, b->at, b->at + 1) - 1e-9);
    for (int i = 0; i < b->run_count; i++) {
        struct run *r = &b->runs[i];
        int served = r->serving;
        if (r->policy.kind == POLICY_ORACLE) {
            r->tally[b->at >= b->history].changes += served != (int)now_need;
            r->serving = now_need < 1 ? 1 : (int)now_need;
        } else {
            arrive(b, r);
            decide(b, r, &in);
        }
        pass(b, r, served);
    }
    if (b->at >= b->history) {
        int64_t place = (b->at - b->history) * BACKTEST_PLOT / (b->ticks - b->history);
        float load = (float)b->rate[b->at];
        b->plot_load[place] = load > b->plot_load[place] ? load : b->plot_load[place];
    }
    b->at++;
}

bool backtest_step(struct backtest *b, int64_t steps)
{
    for (int64_t i = 0; i < steps && b->at < b->ticks; i++) {
        one_interval(b);
    }
    return b->at == b->ticks;
}

double backtest_progress(const struct backtest *b)
{
    return (double)b->at / (double)b->ticks;
}

static double lag_quantile(const struct run *r, double q)
{
    int64_t all = 0, seen = 0;
    for (int i = 0; i < BACKTEST_LAG_BINS; i++) {
        all += r->lags[i];
    }
    for (int i = 0; i < BACKTEST_LAG_BINS; i++) {
        seen += r->lags[i];
        if ((double)seen >= q * (double)all) {
            return i;
        }
    }
    return 0;
}

/* The run of a policy whose setting the history has chosen. */
static const struct run *chosen_run(const struct backtest *b, enum policy_kind kind)
{
    double least = HUGE_VAL;
    for (int i = 0; i < b->run_count; i++) {
        const struct run *r = &b->runs[i];
        least = r->policy.kind == kind ? fmin(r->tally[0].cost, least) : least;
    }
    const struct run *chosen = NULL;
    for (int i = 0; i < b->run_count && chosen == NULL; i++) {
        const struct run *r = &b->runs[i];
        bool good = r->tally[0].cost <= least * (1 + policy_grid_slack(kind));
        chosen = r->policy.kind == kind && good ? r : NULL;
    }
    CHECK(chosen != NULL);
    return chosen;
}

const struct backtest_result *backtest_results(struct backtest *b)
{
    CHECK(b->at == b->ticks);
    for (int k = 0; k < b->kind_count; k++) {
        const struct run *best = chosen_run(b, b->kinds[k]);
        const struct tally *t = &best->tally[1];
        b->results[k] = (struct backtest_result){.kind = b->kinds[k],
                                                 .params = best->policy.params,
                                                 .cost = t->cost,
                                                 .lane_hours = t->reserved_s / 3600,
                                                 .shadow_hours = t->shadow_s / 3600,
                                                 .late_s = t->late_s,
                                                 .pause_late_s = t->pause_late_s,
                                                 .lag_p99_s = lag_quantile(best, 0.99),
                                                 .lag_max_s = t->lag_max_s,
                                                 .changes = t->changes,
                                                 .days = (double)(b->ticks - b->history) *
                                                         b->o.interval_s / DAY_S,
                                                 .plot = best->plot};
    }
    return b->results;
}

const float *backtest_plot_load(const struct backtest *b)
{
    return b->plot_load;
}
