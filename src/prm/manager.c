// SPDX-License-Identifier: Apache-2.0
/* Events, the state machine, shadows, people. Transitions:
 *
 *   from       to         where
 *   WATCHING   SHADOWING  cast: a threshold is passed or in sight, and there is time for a profile
 *   SHADOWING  WATCHING   on_profile, on_shadow_ended, or no time is left: planned with what is known
 *   WATCHING   CHANGING   manager_begin: a plan in mode act, or a person's APPLY (also from SHADOWING, VERDICT)
 *   CHANGING   VERDICT    on_operation_done
 *   CHANGING   WATCHING   on_operation_done: it failed
 *   VERDICT    WATCHING   manager_trial_end: the horizon is over, or another change cannot wait
 *   VERDICT    CHANGING   manager_trial_end: back */
#include "prm/manager.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/names.h"
#include "base/planted.h"
#include "prm/manager_priv.h"
#include "prm/planner_priv.h"

#define DAY_NS (86400 * INT64_C(1000000000))

/* How much of a measured pause goes into what the next one is expected to be. */
#define PAUSE_LEARN 0.5

/* A shadow that is not heard of for so much longer than it should live is given up. */
#define SHADOW_SLACK_S 120.0

const char *manager_mode_name(enum manager_mode mode)
{
    static const char *const names[] = {"observe", "recommend", "act"};
    return NAMES_AT(names, mode);
}

const char *manager_state_name(enum manager_state state)
{
    static const char *const names[] = {MANAGER_STATES(NAMES_TEXT)};
    return NAMES_AT(names, state);
}

int64_t manager_ns(double seconds)
{
    return seconds > 9e9 ? INT64_MAX / 2 : (int64_t)(seconds * 1e9);
}

/* --- making one --- */

static double window_of(const struct manager_options *o, double seconds)
{
    double most = OUTLOOK_STEPS_MAX * o->interval_s, least = 12 * o->interval_s;
    seconds = seconds < least ? least : seconds;
    return seconds < most ? seconds : most;
}

enum err manager_new(struct arena *arena, const struct manager_options *options, int32_t parts_max,
                     int32_t lanes_max, int32_t pipelines_max, struct manager **ret_manager,
                     struct err_info *info)
{
    struct manager *m = ARENA_NEW(arena, struct manager);
    const char *wrong = manager_options_wrong(options, arena);
    if (wrong != NULL) {
        return err_set(info, ERR_INVALID, "manager: %s", wrong);
    }
    enum err err =
        planner_new(arena, parts_max, parts_max, lanes_max, pipelines_max, &m->planner, info);
    if (err != ERR_OK) {
        return err;
    }
    m->options = *options;
    m->parts_max = parts_max;
    m->lanes_max = lanes_max;
    m->pipelines_max = pipelines_max;
    m->pipes = ARENA_NEW_ARRAY(arena, struct pipe, pipelines_max);
    m->parts = ARENA_NEW_ARRAY(arena, struct load_part, parts_max);
    m->above_ns = ARENA_NEW_ARRAY(arena, int64_t, lanes_max);
    m->demand = ARENA_NEW_ARRAY(arena, double, lanes_max);
    /* What is decided now must last until what the next decision brings is there. */
    double base = options->startup_s + options->interval_s;
    double lasts = base + options->startup_s + options->cooldown_s + options->interval_s;
    for (int32_t c = 0; c < pipelines_max; c++) {
        m->pipes[c].mode = MANAGER_RECOMMEND;
        m->pipes[c].near_outlook =
            outlook_new(arena, options->interval_s, window_of(options, lasts));
        m->pipes[c].far_outlook =
            outlook_new(arena, options->interval_s, window_of(options, base + options->shadow_s));
    }
    for (int32_t l = 0; l < lanes_max; l++) {
        m->above_ns[l] = -1;
    }
    for (int32_t i = 0; i < MANAGER_PLANS_MAX; i++) {
        m->held[i].steps = ARENA_NEW_ARRAY(arena, struct plan_step, PLAN_STEPS_MAX);
    }
    ptrdiff_t cells = (ptrdiff_t)lanes_max * pipelines_max;
    m->trial.before = ARENA_NEW_ARRAY(arena, double, cells);
    m->trial.after = ARENA_NEW_ARRAY(arena, double, cells);
    m->trial.open = ARENA_NEW_ARRAY(arena, bool, lanes_max);
    m->trial.rates = ARENA_NEW_ARRAY(arena, double, (ptrdiff_t)VERDICT_STEPS_MAX *pipelines_max);
    m->now_ns = INT64_MIN / 2;
    m->sampled_ns = m->spare_ns = m->idle_ns = -1;
    m->changed_ns = MANAGER_NEVER_NS;
    m->next_id = m->next_shadow = 1;
    m->pause_s = options->pause_s;
    *ret_manager = m;
    return ERR_OK;
}

/* --- actions --- */

struct manager_action *manager_say(struct manager *m, enum manager_action_kind kind)
{
    CHECK(m->actions->count < MANAGER_ACTIONS_MAX);
    struct manager_action *action = &m->actions->list[m->actions->count++];
    *action = (struct manager_action){.kind = kind};
    return action;
}

void manager_log(struct manager *m, struct held *held)
{
    for (int32_t i = 0; i < m->actions->count; i++) {
        const struct manager_action *said = &m->actions->list[i];
        if (said->kind == MANAGER_ACTION_LOG && said->decision == &held->decision) {
            return; /* it is told as it is at the step's end */
        }
    }
    struct manager_action *action = manager_say(m, MANAGER_ACTION_LOG);
    action->decision = &held->decision;
    action->steps = held->decision.step_count > 0 ? held->steps : NULL;
    action->step_count = held->decision.step_count;
}

void manager_set(struct manager *m, struct held *held, enum decision_state state)
{
    CHECK(decision_follows(held->decision.state, state));
    held->decision.state = state;
    held->decision.changed_ns = m->now_ns;
    manager_log(m, held);
}

static void set_reason(struct held *held, struct str reason)
{
    ptrdiff_t most = (ptrdiff_t)sizeof held->decision.reason - 1;
    ptrdiff_t len = reason.len < most ? reason.len : most;
    if (len > 0) {
        memcpy(held->decision.reason, reason.ptr, (size_t)len);
    }
    held->decision.reason[len > 0 ? len : 0] = 0;
}

void manager_expire(struct manager *m, struct held *held, const char *reason)
{
    set_reason(held, str_of(reason));
    manager_set(m, held, DECISION_STATE_EXPIRED);
    held->used = false;
}

/* expire_plans sees to it that there is one. */
struct held *manager_free_slot(struct manager *m)
{
    for (int32_t i = 0; i < MANAGER_PLANS_MAX; i++) {
        struct held *held = &m->held[i];
        bool told = false; /* what was freed in this step is still pointed to */
        for (int32_t k = 0; k < m->actions->count; k++) {
            told = told || m->actions->list[k].decision == &held->decision;
        }
        if (!held->used && !told) {
            return held;
        }
    }
    CHECK(false);
    return NULL;
}

static struct held *find_held(struct manager *m, int64_t id)
{
    for (int32_t i = 0; i < MANAGER_PLANS_MAX; i++) {
        if (m->held[i].used && m->held[i].decision.id == id) {
            return &m->held[i];
        }
    }
    return NULL;
}

void manager_remember_failed(struct manager *m, uint64_t signature, int64_t at_ns)
{
    m->failed[m->failed_next].signature = signature;
    m->failed[m->failed_next].until_ns = at_ns + manager_ns(m->options.failed_s);
    m->failed_next = (m->failed_next + 1) % MANAGER_FAILED_MAX;
}

int32_t manager_changes_today(struct manager *m)
{
    if (m->now_ns - m->day_ns >= DAY_NS) {
        m->day_ns = m->now_ns;
        m->changes_today = 0;
    }
    return m->changes_today;
}

static void count_change(struct manager *m)
{
    m->placed_demand = manager_demand(m);
    m->changes_today = manager_changes_today(m) + 1;
    m->changed_ns = m->now_ns;
}

/* The plan is logged; now it is to be carried out. */
void manager_begin(struct manager *m, struct held *held)
{
    struct manager_action *action = manager_say(m, MANAGER_ACTION_APPLY);
    action->decision = &held->decision;
    action->steps = held->steps;
    action->step_count = held->decision.step_count;
    action->tunings = m->plan_tunings;
    m->current = held;
    m->state = MANAGER_STATE_CHANGING;
    count_change(m);
    manager_end_shadow(m);
}

/* --- shadows --- */

void manager_end_shadow(struct manager *m)
{
    if (m->shadow.id == 0) {
        return;
    }
    struct manager_action *action = manager_say(m, MANAGER_ACTION_END_SHADOW);
    action->shadow = m->shadow.id;
    action->shard = m->shadow.shard;
    action->group_lo = m->shadow.group_lo;
    action->group_hi = m->shadow.group_hi;
    m->shadow = (struct asked_shadow){.id = 0};
    m->state = m->state == MANAGER_STATE_SHADOWING ? MANAGER_STATE_WATCHING : m->state;
}

/* The heaviest partition of the worst lane, unless it is held or there is a young profile of it. */
static const struct load_part *worth_a_shadow(const struct manager *m)
{
    const struct load_part *part = manager_heaviest(m);
    return part != NULL && !part->held && !manager_has_profile(m, part) ? part : NULL;
}

/* Asks for a shadow if one would help and there is time for it. */
static bool cast(struct manager *m, const struct seen *seen)
{
    const struct manager_options *o = &m->options;
    const struct load_part *part = o->shadows ? worth_a_shadow(m) : NULL;
    double needs_s = o->startup_s + o->shadow_s + o->interval_s;
    bool late = isfinite(seen->passes_full_s) &&
                seen->passes_full_s < fmin(needs_s, o->startup_s + 3 * o->interval_s);
    if (part == NULL || late || m->draining || m->shadow.id != 0 ||
        m->pipes[seen->pipeline].mode == MANAGER_OBSERVE) {
        return false;
    }
    struct manager_action *action = manager_say(m, MANAGER_ACTION_CAST);
    m->shadow = (struct asked_shadow){.id = m->next_shadow++,
                                      .shard = m->load.shards[part->shard].id,
                                      .group_lo = part->group_lo,
                                      .group_hi = part->group_hi,
                                      .since_ns = m->now_ns};
    action->shadow = m->shadow.id;
    action->shard = m->shadow.shard;
    action->group_lo = part->group_lo;
    action->group_hi = part->group_hi;
    action->duration_s = o->shadow_s;
    action->by_forecast = !seen->sustained;
    action->reason = seen->sustained ? "utilisation is above the threshold"
                                     : "the forecast says that the threshold will be passed";
    m->state = MANAGER_STATE_SHADOWING;
    return true;
}

/* Whether they are of the shadow's partition, in order, and make sense. */
static bool cuts_right(const struct manager *m, const struct manager_profile *p)
{
    bool right = p->cut_count >= 0 && p->cut_count <= LOAD_CUTS_MAX && p->top_share >= 0 &&
                 p->top_share <= 1;
    for (int32_t i = 0; right && i < p->cut_count; i++) {
        right = p->cuts[i].below >= 0 && p->cuts[i].below <= 1 &&
                p->cuts[i].group > m->shadow.group_lo && p->cuts[i].group < m->shadow.group_hi &&
                (i == 0 || p->cuts[i].group > p->cuts[i - 1].group);
    }
    return right;
}

/* Where the profile of the shadow's partition goes: over an older one of it, else over the oldest. */
static struct kept_profile *profile_slot(struct manager *m)
{
    for (int32_t i = 0; i < MANAGER_PROFILES_MAX; i++) {
        struct kept_profile *p = &m->profiles[i];
        if (p->shard == m->shadow.shard && p->group_lo == m->shadow.group_lo &&
            p->group_hi == m->shadow.group_hi) {
            return p;
        }
    }
    struct kept_profile *p = &m->profiles[m->profile_next];
    m->profile_next = (m->profile_next + 1) % MANAGER_PROFILES_MAX;
    return p;
}

/* The shadow is over; without an answer none is cast of that partition for as long as it would have lived. */
static void learn_profile(struct manager *m, const struct manager_profile *profile)
{
    struct kept_profile *to = profile_slot(m);
    int64_t age_ns = manager_ns(m->options.profile_age_s);
    int64_t wait_ns = manager_ns(m->options.shadow_s);
    *to =
        (struct kept_profile){.shard = m->shadow.shard,
                              .group_lo = m->shadow.group_lo,
                              .group_hi = m->shadow.group_hi,
                              .at_ns = m->now_ns - age_ns + (wait_ns < age_ns ? wait_ns : age_ns)};
    if (profile != NULL) {
        to->at_ns = m->now_ns;
        to->top_share = profile->top_share;
        to->cut_count = profile->cut_count;
        memcpy(to->cuts, profile->cuts, sizeof to->cuts);
        manager_take_tunings(m, profile->tunings, profile->tuning_count);
    }
    m->profile_came = true; /* planned at the next sample, with what is known then */
}

static void on_profile(struct manager *m, const struct manager_profile *profile)
{
    if (profile->shadow != m->shadow.id || m->shadow.id == 0) {
        return; /* of a shadow that is not the manager's, or was given back */
    }
    learn_profile(m, profile->complete && cuts_right(m, profile) ? profile : NULL);
    manager_end_shadow(m);
}

static void on_shadow_ended(struct manager *m, int64_t id)
{
    if (id != m->shadow.id || id == 0) {
        return;
    }
    learn_profile(m, NULL);
    m->shadow = (struct asked_shadow){.id = 0};
    m->state = m->state == MANAGER_STATE_SHADOWING ? MANAGER_STATE_WATCHING : m->state;
}

/* --- samples --- */

/* Recommended plans that can no longer be applied; and the oldest, so that there is always room for another. */
static void expire_plans(struct manager *m)
{
    int32_t used = 0, told = 0;
    struct held *oldest = NULL;
    for (int32_t i = 0; i < MANAGER_PLANS_MAX; i++) {
        struct held *held = &m->held[i];
        used += held->used;
        if (!held->used || held->decision.state != DECISION_STATE_RECOMMENDED) {
            continue;
        }
        oldest = oldest == NULL || held->decision.id < oldest->decision.id ? held : oldest;
        bool old = m->now_ns - held->decision.at_ns > manager_ns(m->options.plan_age_s);
        if (told < 2 && (held->layout != m->layout || old)) {
            manager_expire(m, held,
                           old ? "nobody applied it in time" : "the layout has changed since");
            told++;
        }
    }
    if (told == 0 && oldest != NULL && used > MANAGER_PLANS_MAX - 4) {
        manager_expire(m, oldest, "newer plans have been recommended");
    }
}

/* What asks for a decision in this sample; COUNT: nothing. */
static enum decision_cause cause_of(struct manager *m, const struct seen *seen)
{
    const struct manager_options *o = &m->options;
    if (seen->urgent) {
        return DECISION_URGENT;
    }
    bool sight = seen->passes_s > 0; /* 0: it is there, and will be sustained or not */
    bool time =
        !isfinite(seen->passes_full_s) || seen->passes_full_s > o->startup_s + 3 * o->interval_s;
    if (m->state == MANAGER_STATE_SHADOWING) {
        return time ? DECISION_CAUSE_COUNT : DECISION_FORECAST;
    }
    if (m->profile_came) {
        return DECISION_PROFILE;
    }
    if (seen->spare || seen->idle) {
        return DECISION_DROP;
    }
    if (seen->sustained || sight) {
        if (time && cast(m, seen)) {
            return DECISION_CAUSE_COUNT;
        }
        return seen->sustained ? DECISION_THRESHOLD : DECISION_FORECAST;
    }
    return DECISION_CAUSE_COUNT;
}

static void check_shadow(struct manager *m)
{
    double age = (double)(m->now_ns - m->shadow.since_ns) * 1e-9;
    if (m->shadow.id != 0 && age > m->options.shadow_s + SHADOW_SLACK_S) {
        learn_profile(m, NULL);
        manager_end_shadow(m);
    }
}

/* Whether a verdict has to do with what it has seen: more is coming, and the next change may be made. */
static bool cannot_wait(const struct manager *m, const struct seen *seen)
{
    bool cool = m->now_ns - m->changed_ns >= manager_ns(m->options.cooldown_s);
    return seen->urgent || (cool && (seen->sustained || isfinite(seen->passes_s)));
}

static void decide_if_asked(struct manager *m, const struct seen *seen)
{
    if (m->state == MANAGER_STATE_CHANGING || m->draining) {
        return;
    }
    if (m->state == MANAGER_STATE_VERDICT) {
        manager_trial_sample(m);
        if (m->now_ns < m->trial.until_ns && !cannot_wait(m, seen)) {
            return;
        }
        manager_trial_end(m, seen);
        if (m->state != MANAGER_STATE_WATCHING) {
            return;
        }
    }
    manager_trial_snapshot(m);
    enum decision_cause cause = cause_of(m, seen);
    if (cause != DECISION_CAUSE_COUNT) {
        m->profile_came = false;
        manager_decide(m, seen, cause);
    }
}

static void on_samples(struct manager *m, const struct manager_event *event)
{
    double interval = m->options.interval_s;
    if (m->sampled_ns >= 0) {
        int64_t steps = llround((double)(m->now_ns - m->sampled_ns) * 1e-9 / interval);
        if (steps < 1) {
            return; /* another of the same interval, or a clock that went back */
        }
        manager_gap(m, steps - 1);
        for (int32_t l = 0; steps > 3 && l < m->lanes_max; l++) {
            m->above_ns[l] = -1; /* nobody knows what was in between */
        }
        m->spare_ns = steps > 3 ? -1 : m->spare_ns;
        m->idle_ns = steps > 3 ? -1 : m->idle_ns;
    }
    struct seen seen;
    m->draining = event->samples.draining;
    check_shadow(m);
    if (manager_watch(m, event->samples.load, event->samples.lag_s, &seen)) {
        expire_plans(m);
        decide_if_asked(m, &seen);
    }
    m->sampled_ns = m->now_ns;
}

static void on_history(struct manager *m, const struct manager_event *event)
{
    int32_t c = event->history.pipeline;
    if (c < 0 || c >= m->pipelines_max || m->sampled_ns >= 0) {
        return; /* only what lies before the first sample */
    }
    struct pipe *pipe = &m->pipes[c];
    for (int64_t i = 0; i < event->history.count; i++) {
        outlook_step(pipe->near_outlook, event->history.rate_per_s[i], &pipe->near);
        outlook_step(pipe->far_outlook, event->history.rate_per_s[i], &pipe->far);
    }
}

static void on_forecast(struct manager *m, const struct manager_event *event)
{
    int32_t c = event->forecast.pipeline;
    if (c < 0 || c >= m->pipelines_max) {
        return;
    }
    struct pipe *pipe = &m->pipes[c];
    pipe->hours_usable = event->forecast.usable && isfinite(event->forecast.high_per_s) &&
                         event->forecast.high_per_s >= 0 && event->forecast.horizon_s > 0 &&
                         isfinite(event->forecast.horizon_s) && event->forecast.error >= 0;
    pipe->hours_high = event->forecast.high_per_s;
    pipe->hours_error = event->forecast.error;
    pipe->hours_horizon_s = event->forecast.horizon_s;
    pipe->hours_at_ns = m->now_ns;
}

/* --- operations and people --- */

static void on_applying(struct manager *m, int64_t id)
{
    if (m->current != NULL && m->current->decision.id == id &&
        m->current->decision.state == DECISION_STATE_APPROVED) {
        manager_set(m, m->current, DECISION_STATE_APPLYING);
    }
}

/* Settings that are promoted are no longer on offer; plans that were made with them are of another layout. */
static void forget_tunings(struct manager *m, const struct held *held)
{
    if (held->decision.setting[0] == 0) {
        return;
    }
    m->tuned++;
    planner_forget(m->planner);
    for (int32_t i = 0; i < m->tuning_count;) {
        if (strcmp(m->tunings[i].text, held->decision.setting) == 0) {
            m->tunings[i] = m->tunings[--m->tuning_count];
        } else {
            i++;
        }
    }
}

static void on_operation_done(struct manager *m, const struct manager_event *event)
{
    struct held *held = m->current;
    if (held == NULL || held->decision.id != event->operation_done.decision ||
        m->state != MANAGER_STATE_CHANGING) {
        return;
    }
    m->changed_ns = m->now_ns;
    if (!event->operation_done.done) {
        set_reason(held, event->operation_done.reason);
        manager_set(m, held, DECISION_STATE_FAILED);
        manager_remember_failed(m, held->signature, m->now_ns);
        held->used = false;
        m->current = NULL;
        m->state = MANAGER_STATE_WATCHING;
        return;
    }
    double pause = event->operation_done.pause_s;
    m->trial.pause_s = m->pause_s; /* as it was expected */
    held->decision.outcome.pause_s = isfinite(pause) && pause >= 0 ? pause : 0;
    if (isfinite(pause) && pause >= 0) {
        m->pause_s += PAUSE_LEARN * (pause - m->pause_s);
    }
    manager_set(m, held, DECISION_STATE_DONE);
    forget_tunings(m, held);
    m->state = MANAGER_STATE_VERDICT;
    m->trial.done_ns = m->now_ns;
    double horizon = fmax(m->options.startup_s + 6 * m->options.interval_s, m->options.cooldown_s);
    horizon = fmin(horizon, (VERDICT_STEPS_MAX - 1) * m->options.interval_s);
    m->trial.until_ns = m->now_ns + manager_ns(horizon);
}

static void on_apply(struct manager *m, const struct manager_event *event)
{
    struct held *held = find_held(m, event->apply.decision);
    const char *wrong = NULL;
    if (held == NULL || held->decision.state != DECISION_STATE_RECOMMENDED) {
        wrong = "there is no such plan: it was never recommended, is applied, or has expired";
    } else if (m->state == MANAGER_STATE_CHANGING || m->draining) {
        wrong = "a change is under way";
    } else if (held->layout != m->layout) {
        wrong = "the layout has changed since the plan was made";
    } else if (m->now_ns - held->decision.at_ns > manager_ns(m->options.plan_age_s)) {
        wrong = "the plan is too old: load has moved on";
    }
    if (wrong != NULL) {
        manager_say(m, MANAGER_ACTION_REFUSE)->reason = wrong;
        return;
    }
    if (m->state == MANAGER_STATE_VERDICT) {
        manager_expire(m, m->current, "another change was applied before it could be measured");
        manager_trial_carry(m);
        m->state = MANAGER_STATE_WATCHING;
    }
    ptrdiff_t len =
        event->apply.who.len < DECISION_WHO_MAX ? event->apply.who.len : DECISION_WHO_MAX;
    if (len > 0) {
        memcpy(held->decision.who, event->apply.who.ptr, (size_t)len);
        held->decision.who[len] = 0;
    }
    manager_set(m, held, DECISION_STATE_APPROVED);
    manager_begin(m, held);
}

static void on_mode(struct manager *m, int32_t pipeline, enum manager_mode mode)
{
    for (int32_t c = 0; c < m->pipelines_max; c++) {
        if (pipeline < 0 || c == pipeline) {
            m->pipes[c].mode = mode;
        }
    }
    if (mode == MANAGER_OBSERVE && m->shadow.id != 0) {
        manager_end_shadow(m);
    }
}

/* After a restart, or of a way back that a person takes: numbers go on, the cool-down, the day's budget and the memory of
 * failures hold; what was under way is told as it ended. */
static void on_recall(struct manager *m, const struct decision *decision)
{
    m->next_id = decision->id >= m->next_id ? decision->id + 1 : m->next_id;
    bool changed = !PLANTED(COOLDOWN_FORGOTTEN) && decision->state != DECISION_STATE_OBSERVED &&
                   decision->state != DECISION_STATE_RECOMMENDED &&
                   decision->state != DECISION_STATE_EXPIRED;
    m->changed_ns =
        changed && decision->changed_ns > m->changed_ns ? decision->changed_ns : m->changed_ns;
    if (changed && decision->at_ns > m->now_ns - DAY_NS) {
        m->day_ns = m->changes_today == 0 ? decision->at_ns : m->day_ns;
        m->changes_today++;
    }
    bool measured =
        decision->state == DECISION_STATE_MEASURED || decision->state == DECISION_STATE_ROLLED_BACK;
    bool failed =
        decision->state == DECISION_STATE_FAILED || (measured && decision->outcome.layout_failed);
    if (failed && decision->signature != 0) {
        manager_remember_failed(m, decision->signature, decision->changed_ns);
    }
    if (m->state == MANAGER_STATE_VERDICT && decision->parent == m->current->decision.id) {
        manager_expire(m, m->current, "undone before it could be measured");
        m->current = NULL;
        m->state = MANAGER_STATE_WATCHING;
    }
    if (decision_is_final(decision->state)) {
        return;
    }
    struct held *held = &m->log;
    held->decision = *decision;
    held->decision.step_count = 0;
    bool ran =
        decision->state == DECISION_STATE_APPROVED || decision->state == DECISION_STATE_APPLYING;
    set_reason(held, ran ? STR("the process was restarted meanwhile; its operations tell what was "
                               "done")
                         : STR("the process was restarted meanwhile"));
    manager_set(m, held, ran ? DECISION_STATE_FAILED : DECISION_STATE_EXPIRED);
    held->decision.step_count = decision->step_count;
}

static void on_options(struct manager *m, const struct manager_options *options)
{
    if (manager_options_wrong(options, m->scratch) != NULL ||
        fabs(options->interval_s - m->options.interval_s) > 0 ||
        fabs(options->startup_s - m->options.startup_s) > 0) {
        manager_say(m, MANAGER_ACTION_REFUSE)->reason =
            "an option is out of its range, or the interval or start-up, which the forecasters are "
            "made for, would change";
        return;
    }
    m->options = *options;
}

void manager_step(struct manager *m, const struct manager_event *event, int64_t now_ns,
                  struct arena *scratch, struct manager_actions *ret_actions)
{
    struct arena_mark mark = arena_mark(scratch);
    ret_actions->count = 0;
    m->actions = ret_actions;
    m->scratch = scratch;
    m->now_ns = now_ns > m->now_ns ? now_ns : m->now_ns;
    switch (event->kind) {
    case MANAGER_EVENT_SAMPLES:
        on_samples(m, event);
        break;
    case MANAGER_EVENT_HISTORY:
        on_history(m, event);
        break;
    case MANAGER_EVENT_FORECAST:
        on_forecast(m, event);
        break;
    case MANAGER_EVENT_PROFILE:
        on_profile(m, &event->profile);
        break;
    case MANAGER_EVENT_SHADOW_ENDED:
        on_shadow_ended(m, event->shadow_ended.shadow);
        break;
    case MANAGER_EVENT_APPLYING:
        on_applying(m, event->applying.decision);
        break;
    case MANAGER_EVENT_OPERATION_DONE:
        on_operation_done(m, event);
        break;
    case MANAGER_EVENT_MODE:
        on_mode(m, event->mode.pipeline, event->mode.mode);
        break;
    case MANAGER_EVENT_OPTIONS:
        on_options(m, event->options);
        break;
    case MANAGER_EVENT_APPLY:
        on_apply(m, event);
        break;
    case MANAGER_EVENT_PROPOSE:
        manager_propose(m, event);
        break;
    case MANAGER_EVENT_TUNINGS:
        manager_take_tunings(m, event->tunings.list, event->tunings.count);
        m->profile_came = true;
        break;
    case MANAGER_EVENT_RECALL:
        on_recall(m, event->recall);
        break;
    case MANAGER_EVENT_TICK:
    case MANAGER_EVENT_KIND_COUNT:
        break;
    }
    m->actions = NULL;
    m->scratch = NULL;
    arena_rewind(scratch, mark);
}

/* --- faces --- */

struct manager_view manager_view(const struct manager *m, int32_t pipeline)
{
    CHECK(pipeline >= 0 && pipeline < m->pipelines_max);
    const struct pipe *pipe = &m->pipes[pipeline];
    return (struct manager_view){.state = m->state,
                                 .mode = pipe->mode,
                                 .near = pipe->near.path_count > 0 ? &pipe->near : NULL,
                                 .far = pipe->far.path_count > 0 ? &pipe->far : NULL,
                                 .error = outlook_error(pipe->near_outlook),
                                 .rate_per_s = pipe->rate,
                                 .cost_s = pipe->cost_s,
                                 .demand = pipe->demand,
                                 .slope_per_min = pipe->slope_per_min,
                                 .blind = !manager_trusts(m, pipeline)};
}

const struct decision *manager_decision(const struct manager *m, int64_t id)
{
    for (int32_t i = 0; i < MANAGER_PLANS_MAX; i++) {
        if (m->held[i].used && m->held[i].decision.id == id) {
            return &m->held[i].decision;
        }
    }
    return NULL;
}

const struct plan_step *manager_steps(const struct manager *m, int64_t id, int32_t *ret_count)
{
    for (int32_t i = 0; i < MANAGER_PLANS_MAX; i++) {
        if (m->held[i].used && m->held[i].decision.id == id) {
            *ret_count = m->held[i].decision.step_count;
            return m->held[i].steps;
        }
    }
    return NULL;
}
