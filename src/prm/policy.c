// SPDX-License-Identifier: Apache-2.0
#include "prm/policy.h"

#include <math.h>

#include "base/check.h"
#include "base/names.h"

enum { SHADOW_S = 600, PROFILE_AGE_S = 86400 };

#define MARGIN 0.02 /* of the price: what a change that is not urgent has to save */
#define SLACK  0.05 /* of the least cost on the history: settings within it are as good */

static int clamp_lanes(const struct policy_input *in, double lanes)
{
    return lanes < 1 ? 1 : (lanes > in->lanes_max ? in->lanes_max : (int)lanes);
}

static int need_of(const struct policy_input *in, double demand)
{
    return clamp_lanes(in, ceil(demand - 1e-9));
}

const char *policy_name(enum policy_kind kind)
{
    static const char *const names[] = {POLICY_LIST(NAMES_TEXT)};
    return NAMES_AT(names, kind);
}

const char *policy_help(enum policy_kind kind)
{
    static const char *const helps[] = {POLICY_LIST(NAMES_HELP)};
    return NAMES_AT(helps, kind);
}

void policy_init(struct policy *policy, enum policy_kind kind, const struct policy_params *params)
{
    *policy = (struct policy){.kind = kind,
                              .params = *params,
                              .changed_at_s = -1e18,
                              .below_since_s = -1,
                              .profile_at_s = -1e18,
                              .shadow_until_s = -1e18};
}

static bool is_late(const struct policy_input *in)
{
    return in->lag_s > in->objective_s;
}

/* Lanes that serve up to the view's lead `j` if there are to be `lanes`. */
static double serving_at(const struct policy_input *in, int j, int lanes)
{
    if (lanes < in->serving + in->starting) {
        return in->ready[j] < lanes ? in->ready[j] : lanes;
    }
    return in->view->lead_s[j] > in->startup_s ? lanes : in->ready[j];
}

/* Late seconds of one path under `lanes`. While records are late already, what is left of them at the window's end is
 * late until it has drained, for as long again at most: that they wait is known, and lanes that come near the window's
 * end are what drains them. What a path alone brings is not followed beyond it: paths at their worst would all end in a
 * backlog, and lanes be held against each. */
static double path_late(const struct policy_input *in, int path, int lanes)
{
    const struct outlook_view *view = in->view;
    double work = in->work, late = 0, at = 0, rate = in->demand;
    for (int j = 0; j < view->lead_count; j++) {
        double load = view->load[(long)j * view->stride + path], dt = view->lead_s[j] - at;
        struct queue_step step = {.rate_begin = rate,
                                  .rate_end = load,
                                  .capacity = serving_at(in, j, lanes),
                                  .seconds = dt,
                                  .objective_s = in->objective_s};
        at = view->lead_s[j];
        rate = load;
        if (work > 0 || step.rate_begin > step.capacity || load > step.capacity) {
            late += queue_ramp(&work, &step); /* else nothing waits and nothing will */
        }
    }
    return late + (is_late(in) ? queue_drain(work, rate, lanes, in->objective_s, at) : 0);
}

/* The price, or some price above `limit` as soon as it is known to be above. A lane counts from when it serves, whether it is
 * ordered now or has been: its start-up costs as much either way, now or when it is ordered again. If only lanes that start
 * already were priced for their start-up, each would be given back right after its order, and ordered again, for ever. */
static double price_below(const struct policy_input *in, int lanes, double risk, double limit)
{
    const struct outlook_view *view = in->view;
    CHECK(view != NULL && view->path_count > 0);
    double reserved = 0, at = 0;
    for (int j = 0; j < view->lead_count; j++) {
        reserved += serving_at(in, j, lanes) * (view->lead_s[j] - at);
        at = view->lead_s[j];
    }
    double least = lanes;
    for (int j = 0; j < view->lead_count; j++) {
        least = in->ready[j] < least ? in->ready[j] : least;
    }
    bool calm = !(in->work > 0) && in->demand <= least;
    int count = calm && view->peak_max <= least ? 0 : view->path_count;
    struct usage usage = {.lane_seconds = reserved};
    double price = cost_of(in->prices, &usage, in->lanes_max), late = 0;
    for (int k = 0; k < count && price <= limit; k++) {
        if (!calm || view->peak[k] > least) {
            late += path_late(in, k, lanes);
            usage.late_seconds = risk * late / view->path_count;
            price = cost_of(in->prices, &usage, in->lanes_max);
        }
    }
    return price;
}

double policy_price(const struct policy_input *in, int lanes, double risk)
{
    return price_below(in, lanes, risk, 1e300);
}

/* The cheapest number of lanes from `from` up (step 1, at most `last`) or down (step -1, at least `last`); `*price` is that of
 * `from`, and then of what is found. Each lane more saves less. Not so while records are late: it may take several to drain them at
 * all. */
static int descend(const struct policy_input *in, int from, int last, double risk, double *price)
{
    int step = last > from ? 1 : -1, best = from;
    for (int n = from + step; (last - n) * step >= 0; n += step) {
        double p = price_below(in, n, risk, *price);
        if (p >= *price && !is_late(in)) {
            break;
        }
        best = p < *price ? n : best;
        *price = fmin(p, *price);
    }
    return best;
}

/* Lanes that would be ordered again at once if all but `least` were given back: what is given back comes again only after a
 * start-up. So what the far end of the window wants is kept, though nothing wants it before. */
static int ordered_again(const struct policy_input *in, int least, double risk)
{
    struct policy_input left = *in;
    left.serving = least;
    left.starting = 0;
    for (int j = 0; j < in->view->lead_count; j++) {
        left.ready[j] = fmin(in->ready[j], least);
    }
    double price = policy_price(&left, least, risk);
    return descend(&left, least, in->serving + in->starting, risk, &price);
}

/* The cheapest number of lanes that is not below the measured need, from what is there. */
static int cheapest(struct policy *policy, const struct policy_input *in, int need)
{
    int total = in->serving + in->starting;
    double risk = policy->params.risk, price = policy_price(in, total, risk);
    policy->price_now = price;
    int wanted = total < in->lanes_max ? descend(in, total, in->lanes_max, risk, &price) : total;
    if (wanted == total && need < total) {
        wanted = descend(in, total, need, risk, &price);
        int kept = wanted < total ? ordered_again(in, wanted, risk) : wanted;
        price = kept != wanted ? policy_price(in, kept, risk) : price;
        wanted = kept;
    }
    policy->price_best = price;
    /* A change must be worth the margin, up or down: what is nearly as cheap would be another choice at each decision. */
    return price < policy->price_now * (1 - policy->params.margin) ? wanted : total;
}

/* Way down: only what the whole of the last down_s agreed to, and not right after a change. */
static int confirm_down(struct policy *policy, const struct policy_input *in, int wanted)
{
    int total = in->serving + in->starting;
    if (wanted >= total) {
        policy->below_since_s = -1;
        return wanted;
    }
    if (policy->below_since_s < 0) {
        policy->below_since_s = in->now_s;
        policy->below_most = wanted;
    }
    policy->below_most = wanted > policy->below_most ? wanted : policy->below_most;
    if (in->now_s - policy->below_since_s < policy->params.down_s) {
        policy->reason = POLICY_UNCONFIRMED;
        return total;
    }
    if (in->now_s - policy->changed_at_s < policy->params.cooldown_s) {
        policy->reason = POLICY_COOLING;
        return total;
    }
    int most = policy->below_most;
    policy->below_since_s = -1;
    policy->reason = POLICY_FALLS;
    return most;
}

/* Shadows: one is cast when a rise is expected and the last profile is old. It never holds up an urgent change. */
static void cast_shadow(struct policy *policy, const struct policy_input *in, int wanted)
{
    bool rise = wanted > in->serving + in->starting;
    if (policy->kind == POLICY_SHADOWCAST && rise &&
        in->now_s - policy->profile_at_s > PROFILE_AGE_S) {
        policy->shadow_until_s = in->now_s + SHADOW_S;
        policy->profile_at_s = in->now_s;
    }
}

double policy_shadow_lanes(const struct policy *policy, double now_s, double demand)
{
    if (!(now_s < policy->shadow_until_s)) {
        return 0;
    }
    return 0.05 * demand > 0.1 ? 0.05 * demand : 0.1;
}

static int step_model(struct policy *policy, const struct policy_input *in)
{
    int total = in->serving + in->starting;
    if (!(isfinite(in->demand) && in->demand >= 0)) {
        policy->reason = POLICY_BLIND;
        return total; /* nothing moves for a gap */
    }
    int need = need_of(in, in->demand);
    if (in->view == NULL || in->view->path_count == 0) {
        need = need_of(in, in->demand / 0.8);
        policy->reason = POLICY_BLIND;
        return need >= total ? need : confirm_down(policy, in, need);
    }
    policy->reason = POLICY_STAYS;
    int wanted = cheapest(policy, in, need);
    if (wanted > total) {
        policy->reason = POLICY_RISES;
    }
    if (need > total || is_late(in)) {
        wanted = need > wanted ? need : wanted;
        policy->reason = POLICY_URGENT;
    }
    cast_shadow(policy, in, wanted);
    /* Down only to what is measured to be enough, whatever the forecast says. */
    wanted = wanted < need ? need : wanted;
    return confirm_down(policy, in, wanted);
}

static double recent_mean(const struct policy_input *in, double seconds)
{
    int64_t n = llround(seconds / in->interval_s), i;
    double sum = 0;
    n = n < 1 ? 1 : (n > in->history_count ? in->history_count : n);
    for (i = 1; i <= n; i++) {
        sum += in->history[in->history_count - i];
    }
    return n > 0 ? sum / (double)n : 0;
}

static int step_trend(struct policy *policy, const struct policy_input *in)
{
    int64_t back = llround(policy->params.slope_s / in->interval_s);
    back = back < in->history_count - 1 ? back : in->history_count - 1;
    double slope = 0;
    if (back > 0) {
        slope = (in->demand - in->history[in->history_count - 1 - back]) /
                ((double)back * in->interval_s);
    }
    double ahead = in->demand + slope * (in->startup_s + 2 * in->interval_s);
    double demand = ahead > in->demand ? ahead : in->demand;
    return confirm_down(policy, in, need_of(in, demand / policy->params.target));
}

static int step_reactive(struct policy *policy, const struct policy_input *in)
{
    int total = in->serving + in->starting;
    double demand = recent_mean(in, policy->params.up_s) + in->work / 60;
    double utilisation = demand / total;
    if (utilisation > policy->params.target) {
        policy->below_since_s = -1;
        return need_of(in, demand / policy->params.target);
    }
    /* Down when one lane fewer would still be below the threshold. */
    return confirm_down(policy, in, need_of(in, demand / policy->params.target));
}

static int step_ds2(struct policy *policy, const struct policy_input *in)
{
    int total = in->serving + in->starting;
    int wanted = need_of(in, recent_mean(in, policy->params.up_s) / policy->params.target);
    policy->votes = wanted == policy->vote ? policy->votes + 1 : 1;
    policy->vote = wanted;
    bool cooling = in->now_s - policy->changed_at_s < policy->params.cooldown_s;
    return policy->votes >= 2 && !cooling ? wanted : total;
}

/* Daily budget and step limit; what is urgent passes the budget. */
static int within_limits(struct policy *policy, const struct policy_input *in, int wanted)
{
    int total = in->serving + in->starting;
    if (in->now_s - policy->day_at_s >= 86400) {
        policy->day_at_s = in->now_s;
        policy->changes_today = 0;
    }
    int budget = policy->params.budget_day, step = policy->params.step_max;
    if (wanted != total && budget > 0 && policy->changes_today >= budget &&
        policy->reason != POLICY_URGENT) {
        policy->reason = POLICY_BUDGET;
        return total;
    }
    if (step > 0 && wanted > total + step) {
        wanted = total + step;
    }
    if (step > 0 && wanted < total - step) {
        wanted = total - step;
    }
    return wanted;
}

int policy_step(struct policy *policy, const struct policy_input *in)
{
    CHECK(in->lanes_max >= 1 && in->serving >= 0 && in->starting >= 0);
    int wanted = 1;
    switch (policy->kind) {
    case POLICY_SHADOWCAST:
    case POLICY_PREDICTIVE:
    case POLICY_PERFECT:
        wanted = step_model(policy, in);
        break;
    case POLICY_TREND:
        wanted = step_trend(policy, in);
        break;
    case POLICY_REACTIVE:
        wanted = step_reactive(policy, in);
        break;
    case POLICY_DS2:
        wanted = step_ds2(policy, in);
        break;
    case POLICY_STATIC_PEAK:
        wanted = in->lanes_max;
        break;
    case POLICY_STATIC_MEAN:
        wanted = clamp_lanes(in, ceil(in->mean / 0.8 - 1e-9));
        break;
    case POLICY_ORACLE:
        wanted = clamp_lanes(in, in->need);
        break;
    case POLICY_COUNT:
        CHECK(false);
    }
    wanted = clamp_lanes(in, within_limits(policy, in, wanted));
    if (wanted != in->serving + in->starting) {
        policy->changed_at_s = in->now_s;
        policy->changes_today++;
    }
    return wanted;
}

static int pick(int *index, int count)
{
    int at = *index % count;
    *index /= count;
    return at;
}

int policy_grid_count(enum policy_kind kind)
{
    static const int counts[POLICY_COUNT] = {
        [POLICY_SHADOWCAST] = 4 * 2,   [POLICY_PREDICTIVE] = 4 * 2, [POLICY_TREND] = 7 * 4 * 5,
        [POLICY_REACTIVE] = 8 * 3 * 5, [POLICY_DS2] = 8 * 3 * 4,    [POLICY_STATIC_PEAK] = 1,
        [POLICY_STATIC_MEAN] = 1,      [POLICY_PERFECT] = 1,        [POLICY_ORACLE] = 1};
    return counts[kind];
}

double policy_grid_slack(enum policy_kind kind)
{
    return kind == POLICY_SHADOWCAST || kind == POLICY_PREDICTIVE ? SLACK : 0;
}

struct policy_params policy_grid(enum policy_kind kind, int index)
{
    static const double targets[] = {1, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3};
    static const double ups[] = {10, 60, 300}, downs[] = {0, 60, 300, 900, 3600};
    static const double slopes[] = {60, 180, 300, 600}, cools[] = {0, 60, 300, 900};
    static const double risks[] = {1.5, 0.5, 5, 15}, waits[] = {120, 600};
    struct policy_params p = {.target = 1, .slope_s = 60, .up_s = 10, .risk = 1, .margin = MARGIN};
    switch (kind) {
    case POLICY_SHADOWCAST:
    case POLICY_PREDICTIVE:
        p.down_s = waits[pick(&index, 2)];
        p.risk = risks[pick(&index, 4)];
        break;
    case POLICY_TREND:
        p.target = targets[pick(&index, 7)];
        p.slope_s = slopes[pick(&index, 4)];
        p.down_s = downs[pick(&index, 5)];
        break;
    case POLICY_REACTIVE:
        p.target = targets[pick(&index, 8)];
        p.up_s = ups[pick(&index, 3)];
        p.down_s = downs[pick(&index, 5)];
        break;
    case POLICY_DS2:
        p.target = targets[pick(&index, 8)];
        p.up_s = ups[pick(&index, 3)];
        p.cooldown_s = cools[pick(&index, 4)];
        break;
    case POLICY_STATIC_PEAK:
    case POLICY_STATIC_MEAN:
    case POLICY_PERFECT:
    case POLICY_ORACLE:
    case POLICY_COUNT:
        break;
    }
    return p;
}
