// SPDX-License-Identifier: Apache-2.0
/* From what is seen to a decision: the plan, the rules that may forbid it, the ledger's record, and what is to be done. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "prm/manager_priv.h"
#include "prm/planner_priv.h"

void manager_copy_text(char *to, ptrdiff_t size, struct str from)
{
    ptrdiff_t len = from.len < size - 1 ? from.len : size - 1;
    if (len > 0) {
        memcpy(to, from.ptr, (size_t)len);
    }
    to[len > 0 ? len : 0] = 0;
}

/* --- the record --- */

static int32_t count_nodes(const struct load_input *load)
{
    int32_t nodes = 0;
    for (int32_t l = 0; l < load->lane_count; l++) {
        nodes += load->lanes[l].open && (l == 0 || load->lanes[l - 1].node != load->lanes[l].node);
    }
    return nodes;
}

const struct load_part *manager_heaviest(const struct manager *m)
{
    int32_t best = -1;
    for (int32_t i = m->worst >= 0 ? m->planner->first[m->worst] : -1; i >= 0;
         i = m->planner->parts[i].next) {
        if (best < 0 || m->planner->parts[i].work > m->planner->parts[best].work) {
            best = i;
        }
    }
    return best < 0 ? NULL : &m->load.parts[best];
}

double manager_demand(const struct manager *m)
{
    double demand = 0;
    for (int32_t c = 0; c < m->load.pipeline_count; c++) {
        demand += m->pipes[c].demand;
    }
    return demand;
}

static void fill_inputs(struct manager *m, const struct seen *seen, struct decision_inputs *in)
{
    const struct pipe *pipe = &m->pipes[seen->pipeline];
    const struct load_part *part = manager_heaviest(m);
    manager_copy_text(in->pipeline, DECISION_NAME_MAX + 1, m->load.pipelines[seen->pipeline].name);
    if (part != NULL) {
        manager_copy_text(in->partition, DECISION_NAME_MAX + 1, part->name);
    }
    if (m->worst >= 0) {
        manager_copy_text(in->lane, DECISION_NAME_MAX + 1, m->load.lanes[m->worst].name);
        in->utilisation = m->demand[m->worst];
    }
    in->rate_per_s = pipe->rate;
    in->cost_s = pipe->cost_s;
    in->read_ratio = pipe->read_ratio;
    in->lag_s = pipe->lag_s;
    in->slope_per_min = pipe->slope_per_min;
    in->nodes = count_nodes(&m->load);
    in->partitions = m->load.part_count;
    in->symptoms = m->load.pipelines[seen->pipeline].symptoms;
    in->demand = manager_demand(m);
    for (int32_t l = 0; l < m->load.lane_count; l++) {
        in->lanes += m->load.lanes[l].open;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double sorted_at(const double *values, int count, double q)
{
    int at = (int)(q * count);
    return values[at < count ? at : count - 1];
}

static void fill_forecast(struct manager *m, const struct seen *seen, double demand,
                          struct decision_forecast *f)
{
    const struct pipe *pipe = &m->pipes[seen->pipeline];
    const struct outlook_view *view = &pipe->near;
    double others = demand - pipe->demand; /* of the other pipelines: as it is */
    f->quantile = cost_quantile(&m->options.prices);
    f->passes_s = seen->passes_s;
    f->demand = f->demand_high = demand;
    f->error = outlook_error(pipe->near_outlook);
    f->there = manager_trusts(m, seen->pipeline);
    double left_s = 0;
    if (manager_hours(m, seen->pipeline, &left_s) &&
        (!f->there || pipe->hours_error < f->error)) { /* somebody else's is the better one */
        f->there = true;
        f->horizon_s = left_s;
        f->demand = f->demand_high =
            others + pipe->demand * manager_grown(pipe, pipe->hours_high / pipe->rate);
        f->error = pipe->hours_error;
        return;
    }
    if (!f->there) {
        return;
    }
    struct arena_mark mark = arena_mark(m->scratch);
    double *values = ARENA_NEW_ARRAY(m->scratch, double, view->path_count);
    int last = view->lead_count - 1, n = view->path_count;
    for (int k = 0; k < n; k++) {
        values[k] = view->load[(ptrdiff_t)last * view->stride + k];
    }
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    f->horizon_s = view->lead_s[last];
    f->demand = others + pipe->demand * manager_grown(pipe, sorted_at(values, n, 0.5) / pipe->rate);
    memcpy(values, view->peak, (size_t)n * sizeof *values);
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    f->demand_high =
        others + pipe->demand * manager_grown(pipe, sorted_at(values, n, f->quantile) / pipe->rate);
    arena_rewind(m->scratch, mark);
}

void manager_fill(struct manager *m, const struct seen *seen, enum decision_cause cause,
                  struct decision *d)
{
    *d = (struct decision){.id = m->next_id++,
                           .at_ns = m->now_ns,
                           .changed_ns = m->now_ns,
                           .cause = cause,
                           .state = DECISION_STATE_OBSERVED};
    manager_copy_text(d->who, DECISION_WHO_MAX + 1, STR("manager"));
    fill_inputs(m, seen, &d->inputs);
    fill_forecast(m, seen, d->inputs.demand, &d->forecast);
}

static void put_option(struct decision *d, int32_t at, const struct plan_option *o)
{
    struct decision_option *to = &d->options[at];
    *to = (struct decision_option){.kind = o->kind,
                                   .verdict = o->verdict,
                                   .cost = o->cost,
                                   .lane_seconds = o->usage.lane_seconds,
                                   .late_seconds = o->usage.late_seconds,
                                   .moved_bytes = o->usage.moved_bytes,
                                   .changes = o->usage.changes,
                                   .max_after = o->max_after,
                                   .freed_lanes = o->freed_lanes};
    memcpy(to->text, o->text, sizeof to->text);
}

/* Options as the record keeps them: if there are more than fit, the chosen one is among them. */
void manager_fill_options(struct decision *d, const struct plan *plan)
{
    int32_t count =
        plan->option_count < DECISION_OPTIONS_MAX ? plan->option_count : DECISION_OPTIONS_MAX;
    for (int32_t i = 0; i < count; i++) {
        put_option(d, i, &plan->options[i]);
    }
    d->option_count = count;
    d->chosen = plan->chosen;
    if (plan->chosen >= count) {
        d->chosen = count - 1;
        put_option(d, d->chosen, &plan->options[plan->chosen]);
    }
    d->limit = plan->limit;
    manager_copy_text(d->answer, (ptrdiff_t)sizeof d->answer, str_of(plan->limit_text));
}

/* --- rules --- */

bool manager_window_open(const struct manager *m)
{
    const struct manager_options *o = &m->options;
    double second = fmod(o->week_at_zero_s + (double)m->now_ns * 1e-9, 604800);
    for (int32_t i = 0; i < o->window_count; i++) {
        if (second >= o->windows[i].begin_s && second < o->windows[i].end_s) {
            return true;
        }
    }
    return o->window_count == 0;
}

/* For so long partitions are not placed again for a load that is no more than it was, unless records wait: what is measured of
 * lanes that are nearly full moves up and down, and each time another one would be the busiest. */
#define SETTLE_S    900.0
#define SETTLE_MORE 0.05

static bool is_settled(const struct manager *m, const struct plan_option *o,
                       const struct seen *seen)
{
    bool moves = o->kind == PLAN_MIGRATE || o->kind == PLAN_SPLIT;
    return moves && !seen->late && manager_demand(m) <= m->placed_demand * (1 + SETTLE_MORE);
}

/* CHOSEN if the plan may be carried out now. */
static enum plan_verdict forbidden(struct manager *m, const struct plan_option *o,
                                   const struct seen *seen, enum decision_cause cause)
{
    const struct manager_options *opt = &m->options;
    if (m->draining) {
        return PLAN_VERDICT_DRAINING;
    }
    if (o->nodes < 0 && cause != DECISION_DROP) {
        return PLAN_VERDICT_UNCONFIRMED;
    }
    double since_s = (double)(m->now_ns - m->changed_ns) * 1e-9;
    bool ever = m->changed_ns != MANAGER_NEVER_NS;
    if (ever && since_s < opt->interval_s) {
        return PLAN_VERDICT_COOLING;
    }
    if (ever && since_s < SETTLE_S && is_settled(m, o, seen)) {
        return PLAN_VERDICT_SETTLED;
    }
    if (cause == DECISION_URGENT) {
        return PLAN_VERDICT_CHOSEN;
    }
    if (ever && since_s < opt->cooldown_s) {
        return PLAN_VERDICT_COOLING;
    }
    if (opt->budget_day > 0 && manager_changes_today(m) >= opt->budget_day) {
        return PLAN_VERDICT_BUDGET;
    }
    return manager_window_open(m) ? PLAN_VERDICT_CHOSEN : PLAN_VERDICT_CLOSED;
}

/* By the shard's id, which holds over layouts: -1: it is not there, or the step is of none. */
static int32_t pipeline_of(const struct manager *m, const struct plan_step *step)
{
    for (int32_t i = 0; step->shard >= 0 && i < m->load.shard_count; i++) {
        if (m->load.shards[i].id == step->shard) {
            return m->load.shards[i].pipeline;
        }
    }
    return -1;
}

enum manager_mode manager_mode_of(const struct manager *m, const struct plan_step *steps,
                                  int32_t count, int32_t pipeline)
{
    enum manager_mode mode = MANAGER_ACT;
    bool any = false;
    for (int32_t i = 0; i < count; i++) {
        bool all = steps[i].kind == PLAN_STEP_NODE_DRAIN;
        int32_t own = pipeline_of(m, &steps[i]);
        for (int32_t c = 0; c < m->load.pipeline_count; c++) {
            bool concerned = all || own == c;
            mode = concerned && m->pipes[c].mode < mode ? m->pipes[c].mode : mode;
            any = any || concerned;
        }
    }
    return any ? mode : m->pipes[pipeline].mode;
}

/* --- the plan --- */

static struct plan_options options_of(const struct manager *m, enum decision_cause cause)
{
    const struct manager_options *o = &m->options;
    return (struct plan_options){.prices = o->prices,
                                 .risk = o->risk,
                                 .margin = o->margin,
                                 .startup_s = o->startup_s,
                                 .pause_s = m->pause_s,
                                 .full =
                                     o->threshold_now, /* changes are to come before it is passed */
                                 .target = o->target,
                                 .horizon_s = fmax(2 * o->startup_s, 12 * o->interval_s),
                                 .nodes_min = o->nodes_min,
                                 .nodes_max = o->nodes_max,
                                 .nodes_step = o->nodes_step,
                                 .moves_max = o->moves_max,
                                 .splits_max = o->splits_max,
                                 .may_grow = true,
                                 .may_shrink = cause == DECISION_DROP,
                                 .may_split = true};
}

void manager_planning(const struct manager *m, enum decision_cause cause, struct planning *ret)
{
    int32_t failed_count = 0;
    for (int32_t c = 0; c < m->load.pipeline_count; c++) {
        const struct pipe *pipe = &m->pipes[c];
        ret->growth[c] = (struct plan_growth){.view = manager_planned(m, c),
                                              .now = pipe->rate,
                                              .fixed = pipe->fixed,
                                              .part_cores = pipe->part_cores};
    }
    for (int32_t i = 0; i < MANAGER_FAILED_MAX; i++) {
        if (m->failed[i].until_ns > m->now_ns && m->failed[i].signature != 0) {
            ret->failed[failed_count++] = m->failed[i].signature;
        }
    }
    ret->input = (struct plan_input){.load = &m->load,
                                     .growth = ret->growth,
                                     .failed = ret->failed,
                                     .failed_count = failed_count};
    ret->options = options_of(m, cause);
}

static bool plan(struct manager *m, enum decision_cause cause, struct plan *ret_plan)
{
    struct planning p;
    struct err_info info;
    manager_planning(m, cause, &p);
    for (int32_t i = 0; i < m->tuning_count; i++) {
        m->plan_tunings[i] = m->tunings[i].plan;
        m->plan_tunings[i].text = str_of(m->tunings[i].text);
        m->plan_tunings[i].back = str_of(m->tunings[i].back);
    }
    p.input.tunings = m->plan_tunings;
    p.input.tuning_count = m->tuning_count;
    return planner_decide(m->planner, &p.input, &p.options, m->scratch, ret_plan, &info) == ERR_OK;
}

/* --- what follows --- */

/* A decision that changes nothing is told when it says something new, and now and then again. */
static void say_nothing(struct manager *m, struct held *held)
{
    const struct decision *d = &held->decision;
    uint64_t said = (uint64_t)d->cause * 1000003 + (uint64_t)d->limit * 101 + d->inputs.symptoms;
    for (int32_t i = 0; i < d->option_count; i++) {
        said = said * 31 + (uint64_t)d->options[i].verdict * 7 + (uint64_t)d->options[i].kind;
    }
    if (said == m->said && m->now_ns - m->said_ns < manager_ns(REPEAT_S)) {
        m->next_id--; /* it was never told */
        return;
    }
    m->said = said;
    m->said_ns = m->now_ns;
    manager_log(m, held);
}

/* Whether the plan, or any on this layout within the cool-down, is offered already. */
static bool is_recommended(const struct manager *m, uint64_t signature)
{
    for (int32_t i = 0; i < MANAGER_PLANS_MAX; i++) {
        const struct held *held = &m->held[i];
        bool offered = held->used && held->decision.state == DECISION_STATE_RECOMMENDED &&
                       held->decision.cause != DECISION_PERSON && held->layout == m->layout;
        int64_t age_ns = m->now_ns - held->decision.at_ns;
        if (offered &&
            (held->signature == signature || age_ns < manager_ns(m->options.cooldown_s))) {
            return true;
        }
    }
    return false;
}

/* The chosen option becomes a plan that is kept. */
static void offer(struct manager *m, struct decision *d, const struct plan_option *o,
                  enum manager_mode mode)
{
    if (mode == MANAGER_RECOMMEND && is_recommended(m, o->signature)) {
        m->next_id--;
        return;
    }
    struct held *held = manager_free_slot(m);
    struct plan_step *steps = held->steps;
    if (o->step_count > 0) {
        memcpy(steps, o->steps, (size_t)o->step_count * sizeof *steps);
    }
    *held = (struct held){.used = true,
                          .decision = *d,
                          .steps = steps,
                          .signature = o->signature,
                          .layout = m->layout};
    held->decision.step_count = o->step_count;
    held->decision.signature = o->signature;
    if (o->tuning >= 0) {
        const struct tuning *tuning = &m->tunings[o->tuning];
        memcpy(held->decision.setting, tuning->text, sizeof tuning->text);
        memcpy(held->decision.setting_back, tuning->back, sizeof tuning->back);
    }
    if (mode == MANAGER_RECOMMEND) {
        held->decision.state = DECISION_STATE_RECOMMENDED;
        manager_log(m, held);
        return;
    }
    held->decision.state = DECISION_STATE_APPROVED;
    manager_log(m, held);
    manager_trial_snapshot(m);
    manager_begin(m, held);
}

void manager_decide(struct manager *m, const struct seen *seen, enum decision_cause cause)
{
    struct plan made;
    double left_s = 0;
    bool blind = !manager_trusts(m, seen->pipeline) && !manager_hours(m, seen->pipeline, &left_s);
    if (blind && cause != DECISION_URGENT && cause != DECISION_DROP) {
        cause = DECISION_BLIND;
    }
    manager_fill(m, seen, cause, &m->log.decision);
    struct decision *d = &m->log.decision;
    if (d->inputs.symptoms != 0) {
        say_nothing(m, &m->log);
        return;
    }
    if (!plan(m, cause, &made)) {
        m->next_id--;
        return;
    }
    struct plan_option *o = &made.options[made.chosen];
    enum plan_verdict verdict =
        made.chosen > 0 ? forbidden(m, o, seen, cause) : PLAN_VERDICT_CHOSEN;
    enum manager_mode mode = manager_mode_of(m, o->steps, o->step_count, seen->pipeline);
    if (verdict != PLAN_VERDICT_CHOSEN) {
        o->verdict = verdict;
        made.options[0].verdict = PLAN_VERDICT_CHOSEN;
        made.chosen = 0;
    }
    manager_fill_options(d, &made);
    if (made.chosen == 0 || mode == MANAGER_OBSERVE) {
        say_nothing(m, &m->log);
        return;
    }
    offer(m, d, o, mode);
}
