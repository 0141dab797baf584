// SPDX-License-Identifier: Apache-2.0
/* Samples: what is measured, what the forecasters make of it, which thresholds are passed. */
#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/hash.h"
#include "prm/manager_priv.h"
#include "prm/planner_priv.h"

/* Smoothing of what is told and of the slope, per sample. */
#define SMOOTH 0.2

/* Of what partitions take by themselves: memory a sample, pull towards nothing, most of the work it may be. */
#define FIT_FORGET 0.97
#define FIT_RIDGE  0.01
#define FIT_MOST   0.9

bool manager_trusts(const struct manager *m, int32_t pipeline)
{
    const struct pipe *pipe = &m->pipes[pipeline];
    return m->options.forecasts && pipe->near.path_count > 0 && pipe->rate > 0 &&
           outlook_error(pipe->near_outlook) < 1;
}

static void step_outlooks(struct pipe *pipe, double rate)
{
    outlook_step(pipe->near_outlook, rate, &pipe->near);
    outlook_step(pipe->far_outlook, rate, &pipe->far);
}

void manager_gap(struct manager *m, int64_t steps)
{
    steps = steps < MISSED_MAX ? steps : MISSED_MAX;
    for (int64_t i = 0; i < steps; i++) {
        for (int32_t c = 0; c < m->pipelines_max; c++) {
            step_outlooks(&m->pipes[c], NAN);
        }
    }
}

/* --- profiles --- */

static const struct kept_profile *profile_of(const struct manager *m, int64_t shard, uint32_t lo,
                                             uint32_t hi)
{
    for (int32_t i = 0; i < MANAGER_PROFILES_MAX; i++) {
        const struct kept_profile *p = &m->profiles[i];
        if (p->group_hi != 0 && p->shard == shard && p->group_lo == lo && p->group_hi == hi) {
            return p;
        }
    }
    return NULL;
}

bool manager_has_profile(const struct manager *m, const struct load_part *part)
{
    const struct kept_profile *p =
        profile_of(m, m->load.shards[part->shard].id, part->group_lo, part->group_hi);
    return p != NULL && m->now_ns - p->at_ns <= manager_ns(m->options.profile_age_s);
}

/* What shadows found, into the partitions they were of; figures that are always on stay. */
static void apply_profiles(struct manager *m)
{
    for (int32_t i = 0; i < m->load.part_count; i++) {
        struct load_part *part = &m->parts[i];
        if (part->shard < 0 || part->shard >= m->load.shard_count) {
            return; /* the planner refuses it */
        }
        const struct kept_profile *p =
            profile_of(m, m->load.shards[part->shard].id, part->group_lo, part->group_hi);
        if (p != NULL) {
            part->top_share = p->top_share > part->top_share ? p->top_share : part->top_share;
            part->cuts = p->cut_count > 0 ? p->cuts : part->cuts;
            part->cut_count = p->cut_count > 0 ? p->cut_count : part->cut_count;
        }
    }
}

static bool has_profiles(const struct manager *m)
{
    for (int32_t i = 0; i < MANAGER_PROFILES_MAX; i++) {
        if (m->profiles[i].group_hi != 0) {
            return true;
        }
    }
    return false;
}

/* --- rates --- */

static void learn_rates(struct manager *m)
{
    const struct planner *planner = m->planner;
    int32_t pipes = m->load.pipeline_count;
    double rates[LOAD_PIPELINES_MAX] = {0}, read[LOAD_PIPELINES_MAX] = {0};
    double work[LOAD_PIPELINES_MAX] = {0};
    for (int32_t i = 0; i < m->load.shard_count; i++) {
        rates[m->load.shards[i].pipeline] += m->load.shards[i].rate_per_s;
    }
    for (int32_t l = 0; l < m->load.lane_count; l++) {
        for (int32_t c = 0; c < pipes; c++) {
            read[c] += planner->cell_read[l * pipes + c];
            work[c] += planner->cell_work[l * pipes + c];
        }
    }
    for (int32_t c = 0; c < pipes; c++) {
        struct pipe *pipe = &m->pipes[c];
        double before = pipe->demand, all = read[c] + work[c];
        pipe->rate = rates[c];
        pipe->demand = all / m->load.lanes[0].capacity;
        if (rates[c] > 0) {
            pipe->cost_s = all / rates[c];
            pipe->read_ratio = all > 0 ? read[c] / all : 0;
        }
        double slope = (pipe->demand - before) * 60 / m->options.interval_s;
        pipe->slope_per_min += m->sampled_ns >= 0 ? SMOOTH * (slope - pipe->slope_per_min) : 0;
        step_outlooks(pipe, rates[c]);
    }
}

/* --- what partitions take by themselves --- */

double manager_grown(const struct pipe *pipe, double ratio)
{
    return pipe->fixed + (1 - pipe->fixed) * ratio;
}

static void add_to_fit(struct pipe *pipe, double x, double y)
{
    pipe->fit_n += 1;
    pipe->fit_x += x;
    pipe->fit_y += y;
    pipe->fit_xx += x * x;
    pipe->fit_xy += x * y;
}

/* Least squares over partitions and the last samples; shrunk to nothing where all of them are alike. */
static void solve_fit(struct pipe *pipe, int32_t parts, double all)
{
    double n = pipe->fit_n, spread = n * pipe->fit_xx - pipe->fit_x * pipe->fit_x;
    pipe->part_cores = pipe->fixed = 0;
    if (!(spread > 0) || !(all > 0)) {
        return;
    }
    double slope = (n * pipe->fit_xy - pipe->fit_x * pipe->fit_y) / spread;
    double own = (pipe->fit_y - slope * pipe->fit_x) / n;
    own *= spread / (spread + FIT_RIDGE * n * pipe->fit_xx);
    own = fmin(own, FIT_MOST * all / parts);
    pipe->part_cores = own > 0 ? own : 0;
    pipe->fixed = pipe->part_cores * parts / all;
}

static void learn_fixed(struct manager *m)
{
    int32_t parts[LOAD_PIPELINES_MAX] = {0};
    double all[LOAD_PIPELINES_MAX] = {0};
    for (int32_t c = 0; c < m->load.pipeline_count; c++) {
        struct pipe *pipe = &m->pipes[c];
        pipe->fit_n *= FIT_FORGET;
        pipe->fit_x *= FIT_FORGET;
        pipe->fit_y *= FIT_FORGET;
        pipe->fit_xx *= FIT_FORGET;
        pipe->fit_xy *= FIT_FORGET;
    }
    for (int32_t i = 0; i < m->load.part_count; i++) {
        const struct load_part *part = &m->load.parts[i];
        const struct load_shard *shard = &m->load.shards[part->shard];
        double own = shard->rate_per_s * part->share;
        if (own > 0 && part->lane != LOAD_NOWHERE) {
            add_to_fit(&m->pipes[shard->pipeline], own, own * part->work_s);
            parts[shard->pipeline]++;
            all[shard->pipeline] += own * part->work_s;
        }
    }
    for (int32_t c = 0; c < m->load.pipeline_count; c++) {
        solve_fit(&m->pipes[c], parts[c], all[c]);
    }
}

static void learn_lags(struct manager *m, const double *lag_s)
{
    for (int32_t c = 0; c < m->load.pipeline_count; c++) {
        struct pipe *pipe = &m->pipes[c];
        double lag = isfinite(lag_s[c]) && lag_s[c] >= 0 ? lag_s[c] : 0;
        bool grows = lag > m->load.pipelines[c].objective_s && lag > pipe->lag_before_s;
        pipe->lag_grows = grows ? pipe->lag_grows + 1 : 0;
        pipe->lag_before_s = pipe->lag_s = lag;
    }
}

/* --- lanes --- */

static void learn_lanes(struct manager *m)
{
    const struct planner *planner = m->planner;
    int32_t pipes = m->load.pipeline_count;
    m->hottest = -1;
    for (int32_t l = 0; l < m->load.lane_count; l++) {
        double all = 0;
        for (int32_t c = 0; c < pipes; c++) {
            all += planner->cell_read[l * pipes + c] + planner->cell_work[l * pipes + c];
        }
        m->demand[l] = all / m->load.lanes[l].capacity;
        bool above = m->load.lanes[l].open && m->demand[l] > m->options.threshold;
        if (!above) {
            m->above_ns[l] = -1;
        } else if (m->above_ns[l] < 0) {
            m->above_ns[l] = m->now_ns;
        }
        bool hotter = m->hottest < 0 || m->demand[l] > m->demand[m->hottest];
        m->hottest = m->load.lanes[l].open && hotter ? l : m->hottest;
    }
}

/* Equal for equal layouts and settings. */
static uint64_t layout_of(const struct load_input *load, uint64_t tuned)
{
    uint64_t sum = tuned * UINT64_C(0x9E3779B97F4A7C15);
    for (int32_t i = 0; i < load->part_count; i++) {
        const struct load_part *part = &load->parts[i];
        uint64_t words[2] = {(uint64_t)load->shards[part->shard].id,
                             (uint64_t)part->group_lo << 45 | (uint64_t)part->group_hi << 32 |
                                 (uint32_t)part->lane};
        sum += hash64(words, (ptrdiff_t)sizeof words); /* in any order */
    }
    for (int32_t l = 0; l < load->lane_count; l++) {
        sum = load->lanes[l].open ? sum * 31 + (uint64_t)l + 1 : sum;
    }
    return sum;
}

/* --- when the hottest lane will pass a threshold --- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double quantile_at(struct manager *m, const struct outlook_view *view, int lead, double q)
{
    struct arena_mark mark = arena_mark(m->scratch);
    double *values = ARENA_NEW_ARRAY(m->scratch, double, view->path_count);
    for (int k = 0; k < view->path_count; k++) {
        values[k] = view->load[(ptrdiff_t)lead * view->stride + k];
    }
    qsort(values, (size_t)view->path_count, sizeof *values, compare_doubles);
    int at = (int)(q * view->path_count);
    double value = values[at < view->path_count ? at : view->path_count - 1];
    arena_rewind(m->scratch, mark);
    return value;
}

/* By how much the load is expected to grow at most, at the planning quantile, of any pipeline; at least 1. */
static double expected_growth(struct manager *m)
{
    double growth = 1, q = cost_quantile(&m->options.prices);
    for (int32_t c = 0; c < m->load.pipeline_count; c++) {
        const struct pipe *pipe = &m->pipes[c];
        for (int j = 0; manager_trusts(m, c) && j < pipe->near.lead_count; j++) {
            growth =
                fmax(growth, manager_grown(pipe, quantile_at(m, &pipe->near, j, q) / pipe->rate));
        }
        double left_s = 0;
        if (manager_hours(m, c, &left_s)) {
            growth = fmax(growth, manager_grown(pipe, pipe->hours_high / pipe->rate));
        }
    }
    return growth;
}

bool manager_can_spare(struct manager *m, int32_t spared)
{
    double need = 0, open = 0;
    int32_t nodes = 0;
    for (int32_t l = 0; l < m->load.lane_count; l++) {
        const struct load_lane *lane = &m->load.lanes[l];
        need += m->demand[l] * lane->capacity;
        open += lane->open ? lane->capacity : 0;
        nodes += lane->open && (l == 0 || m->load.lanes[l - 1].node != lane->node);
    }
    double per_node = nodes > 0 ? open / nodes : 0;
    return nodes - spared >= (m->options.nodes_min > 1 ? m->options.nodes_min : 1) &&
           need * expected_growth(m) <= m->options.target * (open - spared * per_node);
}

/* Of a lane's demand, what one pipeline asks of it. */
static double demand_of(const struct manager *m, int32_t lane, int32_t pipeline)
{
    int32_t cell = lane * m->load.pipeline_count + pipeline;
    return (m->planner->cell_work[cell] + m->planner->cell_read[cell]) /
           m->load.lanes[lane].capacity;
}

/* Seconds until a lane is at `limit` if the pipeline grows as forecast and the others on it stay as they are, between leads in a
 * straight line; NaN: not in the far view. */
static double passes_after(struct manager *m, int32_t lane, int32_t pipeline, double limit)
{
    const struct pipe *pipe = &m->pipes[pipeline];
    double now = m->demand[lane], own = demand_of(m, lane, pipeline), others = now - own;
    if (now >= limit) {
        return 0;
    }
    double q = cost_quantile(&m->options.prices), before = now, at = 0;
    if (manager_trusts(m, pipeline)) {
        for (int j = 0; j < pipe->far.lead_count && pipe->far.path_count > 0; j++) {
            double grown = manager_grown(pipe, quantile_at(m, &pipe->far, j, q) / pipe->rate);
            double then = others + own * grown;
            if (then >= limit) {
                return at + (pipe->far.lead_s[j] - at) * (limit - before) / (then - before);
            }
            before = then;
            at = pipe->far.lead_s[j];
        }
    }
    double left_s = 0;
    bool hours = manager_hours(m, pipeline, &left_s);
    bool passes =
        hours && others + own * manager_grown(pipe, pipe->hours_high / pipe->rate) >= limit;
    return passes ? left_s : (double)NAN;
}

/* The open lane that a pipeline loads most; -1: none. */
static int32_t lane_most_loaded_by(const struct manager *m, int32_t pipeline)
{
    int32_t most = -1;
    for (int32_t l = 0; l < m->load.lane_count; l++) {
        if (m->load.lanes[l].open && demand_of(m, l, pipeline) > 0 &&
            (most < 0 || demand_of(m, l, pipeline) > demand_of(m, most, pipeline))) {
            most = l;
        }
    }
    return most;
}

/* When the hottest lane passes a threshold; or, while that one is calm, the lane of a pipeline whose forecast says that it passes
 * sooner: a follower that is small today is seen beside a large leader. */
static void look_ahead(struct manager *m, struct seen *seen)
{
    const struct manager_options *o = &m->options;
    int32_t lane = m->hottest;
    m->worst = lane;
    if (lane < 0) {
        return;
    }
    seen->passes_s = passes_after(m, lane, seen->pipeline, o->threshold);
    for (int32_t c = 0; c < m->load.pipeline_count && !seen->sustained && !seen->urgent; c++) {
        int32_t own = lane_most_loaded_by(m, c);
        double passes = own >= 0 ? passes_after(m, own, c, o->threshold) : (double)NAN;
        if (isfinite(passes) && !(seen->passes_s <= passes)) {
            seen->passes_s = passes;
            seen->pipeline = c;
            lane = own;
        }
    }
    m->worst = lane;
    seen->passes_full_s = passes_after(m, lane, seen->pipeline, o->threshold_now);
}

/* Whether fusing all partitions of each shard would free enough to beat the margin, were it possible. */
static bool fusing_pays(const struct manager *m)
{
    double freed = 0, lanes = 0;
    for (int32_t i = 0; i < m->load.part_count; i++) {
        const struct load_part *part = &m->load.parts[i];
        bool first = part->group_lo == 0; /* of its shard: it stays */
        double own = m->pipes[m->load.shards[part->shard].pipeline].part_cores;
        freed += first || part->lane < 0 ? 0 : own / m->load.lanes[part->lane].capacity;
    }
    for (int32_t l = 0; l < m->load.lane_count; l++) {
        lanes += m->load.lanes[l].open;
    }
    return freed > m->options.margin * lanes;
}

static int32_t worst_pipeline(const struct manager *m)
{
    int32_t worst = 0, pipes = m->load.pipeline_count;
    double most = -1;
    for (int32_t c = 0; m->hottest >= 0 && c < pipes; c++) {
        int32_t cell = m->hottest * pipes + c;
        double load = m->planner->cell_work[cell] + m->planner->cell_read[cell];
        load += m->pipes[c].lag_grows > 0 ? 1e6 : 0; /* who is late is worse off than who is busy */
        worst = load > most ? c : worst;
        most = load > most ? load : most;
    }
    return worst;
}

static void look(struct manager *m, struct seen *seen)
{
    const struct manager_options *o = &m->options;
    *seen = (struct seen){.pipeline = worst_pipeline(m), .passes_s = NAN, .passes_full_s = NAN};
    double hot = m->hottest >= 0 ? m->demand[m->hottest] : 0;
    bool any = false, grows = false;
    for (int32_t l = 0; l < m->load.lane_count; l++) {
        any =
            any || (m->above_ns[l] >= 0 && m->now_ns - m->above_ns[l] >= manager_ns(o->sustain_s));
    }
    for (int32_t c = 0; c < m->load.pipeline_count; c++) {
        grows = grows || m->pipes[c].lag_grows >= 2;
    }
    seen->sustained = any;
    m->full_samples = hot >= o->threshold_now ? m->full_samples + 1 : 0;
    seen->late = grows;
    seen->urgent = m->full_samples >= 2 || grows; /* one sample may be a slip */
    look_ahead(m, seen);
    bool spare = manager_can_spare(m, 1) && !seen->urgent;
    m->spare_ns = !spare ? -1 : (m->spare_ns < 0 ? m->now_ns : m->spare_ns);
    seen->spare = spare && m->now_ns - m->spare_ns >= manager_ns(o->confirm_s);
    bool idle = hot > 0 && hot * expected_growth(m) <= 0.5 * o->target && !seen->urgent;
    m->idle_ns = !idle ? -1 : (m->idle_ns < 0 ? m->now_ns : m->idle_ns);
    seen->idle = idle && m->now_ns - m->idle_ns >= manager_ns(o->confirm_s) && fusing_pays(m);
}

bool manager_watch(struct manager *m, const struct load_input *load, const double *lag_s,
                   struct seen *ret_seen)
{
    struct err_info info;
    m->loaded = false;
    if (load == NULL || load->part_count > m->parts_max || load->lane_count > m->lanes_max ||
        load->lane_count < 1 || load->pipeline_count > m->pipelines_max) {
        manager_gap(m, 1);
        return false;
    }
    m->load = *load;
    if (has_profiles(m)) {
        for (int32_t i = 0; i < load->part_count; i++) {
            m->parts[i] = load->parts[i];
        }
        m->load.parts = m->parts;
        apply_profiles(m);
    }
    if (planner_load(m->planner, &m->load, &info) != ERR_OK) {
        manager_gap(m, 1);
        return false;
    }
    m->loaded = true;
    m->pipeline_count = load->pipeline_count;
    learn_rates(m);
    learn_fixed(m);
    learn_lags(m, lag_s);
    learn_lanes(m);
    m->layout = layout_of(&m->load, m->tuned);
    look(m, ret_seen);
    return true;
}
