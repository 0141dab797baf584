// SPDX-License-Identifier: Apache-2.0
/* What came of a change: the same queue on the arrivals that came, for the layout that was and the one that is, at measured
 * costs. A forecast that did not come true counts against the forecast; a layout has failed only if its own prediction has:
 * its load for what came, or its pause. */
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "prm/manager_priv.h"
#include "prm/planner_priv.h"

static int32_t cells_of(const struct manager *m)
{
    return m->load.lane_count * m->load.pipeline_count;
}

/* The layout that is, and what the forecast says, should a change begin now. */
void manager_trial_snapshot(struct manager *m)
{
    struct trial *t = &m->trial;
    for (int32_t i = 0; i < cells_of(m); i++) {
        double rate = m->pipes[i % m->load.pipeline_count].rate;
        double all = m->planner->cell_read[i] + m->planner->cell_work[i];
        t->before[i] = rate > 0 ? all / rate : 0;
        t->after[i] = 0;
    }
    for (int32_t l = 0; l < m->load.lane_count; l++) {
        t->open[l] = m->load.lanes[l].open;
    }
    for (int32_t c = 0; c < m->load.pipeline_count; c++) {
        const struct outlook_view *view = &m->pipes[c].near;
        double most = m->pipes[c].rate, least = most;
        for (int k = 0; k < view->path_count; k++) {
            most = fmax(most, view->peak[k]);
            least = fmin(least, view->load[(ptrdiff_t)(view->lead_count - 1) * view->stride + k]);
        }
        t->rate[c] = m->pipes[c].rate;
        t->rate_high[c] = most;
        t->rate_low[c] = least;
    }
    t->max_sum = 0;
    t->count = 0;
}

void manager_trial_carry(struct manager *m)
{
    struct trial *t = &m->trial;
    for (int32_t i = 0; i < cells_of(m) && t->count > 0; i++) {
        t->before[i] = t->after[i] / t->count;
        t->after[i] = 0;
    }
    for (int32_t c = 0; c < m->load.pipeline_count && t->count > 0; c++) {
        t->rate[c] = m->pipes[c].rate;
    }
    t->max_sum = 0;
    t->count = 0;
}

/* A sample after the change. */
void manager_trial_sample(struct manager *m)
{
    struct trial *t = &m->trial;
    if (t->count == VERDICT_STEPS_MAX) {
        return;
    }
    for (int32_t c = 0; c < m->load.pipeline_count; c++) {
        t->rates[t->count * m->pipelines_max + c] = m->pipes[c].rate;
    }
    for (int32_t i = 0; i < cells_of(m); i++) {
        double rate = m->pipes[i % m->load.pipeline_count].rate;
        double all = m->planner->cell_read[i] + m->planner->cell_work[i];
        t->after[i] += rate > 0 ? all / rate : 0;
    }
    t->max_sum += m->hottest >= 0 ? m->demand[m->hottest] : 0;
    t->count++;
}

/* The least of the pipelines that are on the lane; INFINITY: none is. */
static double objective_on(const struct manager *m, const double *cells, int32_t lane)
{
    int32_t pipes = m->load.pipeline_count;
    double least = INFINITY;
    for (int32_t c = 0; c < pipes; c++) {
        double objective_s = m->load.pipelines[c].objective_s;
        least = cells[lane * pipes + c] > 0 && objective_s < least ? objective_s : least;
    }
    return least;
}

/* Late seconds of a lane whose cells are cores a record/s, on what came. */
static double late_on(const struct manager *m, const double *cells, double scale, int32_t lane)
{
    const struct trial *t = &m->trial;
    int32_t pipes = m->load.pipeline_count;
    double work = 0, late = 0, before = 0, objective_s = objective_on(m, cells, lane);
    for (int32_t s = 0; s < t->count && isfinite(objective_s); s++) {
        double rate = 0;
        for (int32_t c = 0; c < pipes; c++) {
            rate += cells[lane * pipes + c] * scale * t->rates[s * m->pipelines_max + c];
        }
        struct queue_step step = {.rate_begin = s > 0 ? before : rate,
                                  .rate_end = rate,
                                  .capacity =
                                      m->load.lanes[lane].capacity * m->options.threshold_now,
                                  .seconds = m->options.interval_s,
                                  .objective_s = objective_s};
        late += queue_ramp(&work, &step);
        before = rate;
    }
    return late;
}

static double latest_on(const struct manager *m, const double *cells, double scale)
{
    double latest = 0;
    for (int32_t l = 0; l < m->load.lane_count; l++) {
        latest = fmax(latest, late_on(m, cells, scale, l));
    }
    return latest;
}

static bool has_setting(const struct held *held)
{
    for (int32_t i = 0; i < held->decision.step_count; i++) {
        if (held->steps[i].kind == PLAN_STEP_TUNE) {
            return true;
        }
    }
    return false;
}

/* Work a record, measured now / then: the old layout would have it, too, unless a setting is what has changed. */
static double cost_ratio(const struct manager *m, const struct held *held)
{
    const struct trial *t = &m->trial;
    double then = 0, now = 0;
    if (has_setting(held)) {
        return 1;
    }
    for (int32_t i = 0; i < cells_of(m); i++) {
        then += t->before[i];
        now += t->after[i] / t->count;
    }
    return then > 0 ? now / then : 1;
}

static double mean_rate(const struct manager *m, int32_t pipeline)
{
    const struct trial *t = &m->trial;
    double came = 0;
    for (int32_t s = 0; s < t->count; s++) {
        came += t->rates[s * m->pipelines_max + pipeline] / t->count;
    }
    return came;
}

/* What a setting has freed of the lanes, for the arrivals that came; `after` holds means. */
static double freed_by(const struct manager *m, const struct held *held)
{
    const struct trial *t = &m->trial;
    double freed = 0;
    for (int32_t i = 0; has_setting(held) && i < cells_of(m); i++) {
        double saved = t->before[i] - t->after[i];
        freed += saved * mean_rate(m, i % m->load.pipeline_count) /
                 m->load.lanes[i / m->load.pipeline_count].capacity;
    }
    return freed;
}

static void measure(struct manager *m, struct held *held, struct decision_outcome *o)
{
    struct trial *t = &m->trial;
    const struct decision *d = &held->decision;
    const struct decision_option *chosen = &d->options[d->chosen];
    double open_then = 0, open_now = 0, seconds = t->count * m->options.interval_s;
    for (int32_t l = 0; l < m->load.lane_count; l++) {
        open_then += t->open[l];
        open_now += m->load.lanes[l].open;
    }
    double ratio = cost_ratio(m, held);
    for (int32_t i = 0; i < cells_of(m); i++) {
        t->after[i] /= t->count;
    }
    o->freed_lanes = freed_by(m, held);
    struct usage was = {.lane_seconds = open_then * seconds,
                        .late_seconds = latest_on(m, t->before, ratio)};
    struct usage is = {.lane_seconds = (open_now - o->freed_lanes) * seconds,
                       .late_seconds = latest_on(m, t->after, 1),
                       .moved_bytes = chosen->moved_bytes,
                       .changes = chosen->changes};
    o->cost_old = cost_of(&m->options.prices, &was, open_then);
    o->cost_new = cost_of(&m->options.prices, &is, open_then);
    o->benefit = o->cost_old - o->cost_new;
    o->predicted = d->options[0].cost - chosen->cost;
    double came = 0, then = 0, low = 0, high = 0;
    for (int32_t c = 0; c < m->load.pipeline_count; c++) {
        came += mean_rate(m, c);
        then += t->rate[c];
        low += t->rate_low[c];
        high += t->rate_high[c];
    }
    double median =
        then > 0 && d->inputs.demand > 0 ? then * d->forecast.demand / d->inputs.demand : then;
    o->arrivals_ratio = median > 0 ? came / median : 1;
    o->forecast_failed = d->forecast.there && (came > high || came < low);
    double predicted = then > 0 ? chosen->max_after * came / then : 0;
    o->freed_predicted = then > 0 ? chosen->freed_lanes * came / then : 0;
    double max = t->max_sum / t->count;
    o->work_ratio = predicted > 0 ? max / predicted : 1;
    bool heavier = o->work_ratio > m->options.work_factor && max - predicted > 0.1;
    bool paused = o->pause_s > m->options.pause_factor * fmax(t->pause_s, 1e-3);
    o->layout_failed = heavier || paused;
}

/* The steps backwards. False: they cannot be undone by a plan (a setting, or nothing). */
static bool reverse(const struct held *held, struct plan_step *steps, int32_t *ret_count)
{
    int32_t count = 0;
    for (int32_t i = held->decision.step_count - 1; i >= 0; i--) {
        struct plan_step step = held->steps[i];
        int32_t lane = step.from;
        step.part = -1; /* it was an index of the layout before */
        step.from = step.to;
        step.to = lane;
        switch (held->steps[i].kind) {
        case PLAN_STEP_SPLIT:
            step.kind = PLAN_STEP_MERGE;
            break;
        case PLAN_STEP_MERGE:
            step.kind = PLAN_STEP_SPLIT;
            step.to = step.lower ? step.from : step.to; /* the upper part was there already */
            break;
        case PLAN_STEP_NODE_ADD:
            step.kind = PLAN_STEP_NODE_DRAIN;
            break;
        case PLAN_STEP_NODE_DRAIN:
            step.kind = PLAN_STEP_NODE_ADD;
            break;
        case PLAN_STEP_MIGRATE:
        case PLAN_STEP_TUNE: /* the shell sets what was set before */
        case PLAN_STEP_KIND_COUNT:
            break;
        }
        steps[count++] = step;
        if (held->steps[i].kind == PLAN_STEP_MERGE && step.lower && count < PLAN_STEPS_MAX) {
            step.kind = PLAN_STEP_MIGRATE; /* what came was the lower part */
            step.group_hi = step.border;
            step.to = lane;
            steps[count++] = step;
        }
    }
    *ret_count = count;
    return count > 0;
}

static void roll_back(struct manager *m, const struct seen *seen, struct held *held)
{
    int64_t parent = held->decision.id;
    struct plan_step *steps = ARENA_NEW_ARRAY(m->scratch, struct plan_step, PLAN_STEPS_MAX);
    int32_t count = 0;
    double old = held->decision.outcome.cost_old, now = held->decision.outcome.cost_new;
    int32_t nodes = 0;
    for (int32_t i = 0; i < held->decision.step_count; i++) {
        nodes += held->steps[i].kind == PLAN_STEP_NODE_ADD;
    }
    bool spare = nodes == 0 || manager_can_spare(m, nodes); /* M6 */
    if (!spare || !reverse(held, steps, &count)) {
        return;
    }
    struct held *back = manager_free_slot(m);
    struct plan_step *kept = back->steps;
    *back = (struct held){.used = true, .steps = kept, .layout = m->layout};
    memcpy(kept, steps, (size_t)count * sizeof *steps);
    struct decision *d = &back->decision;
    manager_fill(m, seen, DECISION_VERDICT, d);
    d->parent = parent;
    d->step_count = count;
    memcpy(d->setting, held->decision.setting_back, sizeof d->setting);
    memcpy(d->setting_back, held->decision.setting, sizeof d->setting_back);
    d->option_count = 2;
    d->chosen = 1;
    d->options[0] = (struct decision_option){
        .kind = PLAN_NOTHING, .verdict = PLAN_VERDICT_DEARER, .cost = now, .text = "nothing"};
    d->options[1] = (struct decision_option){.kind = PLAN_ROLL_BACK,
                                             .verdict = PLAN_VERDICT_CHOSEN,
                                             .cost = old,
                                             .changes = count,
                                             .max_after = held->decision.inputs.utilisation,
                                             .text = "back to the layout before"};
    bool acts = manager_mode_of(m, kept, count, seen->pipeline) == MANAGER_ACT;
    d->state = acts ? DECISION_STATE_APPROVED : DECISION_STATE_RECOMMENDED;
    manager_log(m, back);
    if (acts) {
        manager_set(m, held, DECISION_STATE_ROLLED_BACK);
        manager_trial_snapshot(m);
        manager_begin(m, back);
    }
}

void manager_trial_end(struct manager *m, const struct seen *seen)
{
    struct held *held = m->current;
    CHECK(held != NULL && m->trial.count > 0);
    struct decision_outcome *o = &held->decision.outcome;
    m->current = NULL;
    m->state = MANAGER_STATE_WATCHING;
    measure(m, held, o);
    manager_set(m, held, DECISION_STATE_MEASURED);
    bool back = o->layout_failed && held->decision.parent == 0 &&
                o->cost_old < o->cost_new * (1 - m->options.margin);
    if (o->layout_failed) {
        manager_remember_failed(m, held->signature, m->now_ns);
    }
    if (back && !m->draining) {
        roll_back(m, seen, held);
    }
    held->used = false;
}
