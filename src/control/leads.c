// SPDX-License-Identifier: Apache-2.0
#include "control/leads.h"

#include <math.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/manager_priv.h"
#include "control/monitor.h"

enum { ANSWER_ARENA_MAX = 16 << 20, PAIR_ARENA_MAX = 1 << 20 };

void leads_init(struct leads *leads, int32_t pipelines)
{
    leads->rates = MEM_NEW_ARRAY(double, (ptrdiff_t)(pipelines + 1) * LEADS_PAST);
    arena_init(&leads->arena, ANSWER_ARENA_MAX);
    for (int i = 0; i < LEADS_MAX; i++) {
        arena_init(&leads->pairs[i].arena, PAIR_ARENA_MAX);
    }
}

void leads_release(struct leads *leads)
{
    for (int i = 0; i < LEADS_MAX; i++) {
        arena_release(&leads->pairs[i].arena);
    }
    arena_release(&leads->arena);
    mem_free(leads->rates);
}

static double *rate_at(struct leads *leads, int32_t pipeline, int64_t sample)
{
    return &leads->rates[(ptrdiff_t)pipeline * LEADS_PAST + sample % LEADS_PAST];
}

static double quantile_of(const struct control *control)
{
    return cost_quantile(&control->manager->options.prices);
}

/* --- pairs --- */

/* "name arrival" of a pipeline; -1: another series, or a pipeline that is not there. */
static int32_t pipeline_of(const struct control *control, struct str series)
{
    struct str rest = series;
    struct str name = str_cut(&rest, ' ');
    return str_is(rest, "arrival") ? config_pipeline_index(control->config, name) : -1;
}

static struct lead_pair *slot(struct leads *leads, int32_t leader, int32_t follower)
{
    struct lead_pair *unused = NULL;
    for (int i = 0; i < LEADS_MAX; i++) {
        struct lead_pair *pair = &leads->pairs[i];
        if (pair->lead != NULL && pair->leader == leader && pair->follower == follower) {
            return pair;
        }
        unused = pair->lead == NULL && unused == NULL ? pair : unused;
    }
    return unused;
}

/* It learns at once from what is known of both. */
static void begin_pair(struct control *control, struct leads *leads, struct lead_pair *pair,
                       int32_t lag)
{
    int64_t first = leads->samples > LEADS_PAST ? leads->samples - LEADS_PAST : 0;
    arena_reset(&pair->arena);
    pair->lead = lead_new(&pair->arena, lag);
    for (int64_t s = first; s < leads->samples; s++) {
        pair->last = lead_step(pair->lead, *rate_at(leads, pair->leader, s),
                               *rate_at(leads, pair->follower, s), quantile_of(control));
    }
}

void leads_take(struct control *control, struct leads *leads)
{
    const struct correlation_row *rows = leads->request.rows.rows;
    double step_s = control->monitor->interval_s;
    leads->out = false;
    for (int32_t i = 0; i < leads->request.rows.count; i++) {
        int32_t leader = pipeline_of(control, rows[i].leader);
        int32_t follower = pipeline_of(control, rows[i].follower);
        int32_t lag = (int32_t)lround(rows[i].lag_seconds / step_s);
        struct lead_pair *pair = leader >= 0 && follower >= 0 && lag >= 1 && lag <= LEAD_LAG_MAX
                                     ? slot(leads, leader, follower)
                                     : NULL;
        if (pair != NULL && (pair->lead == NULL || pair->lead->lag != lag)) {
            pair->leader = leader;
            pair->follower = follower;
            begin_pair(control, leads, pair, lag);
        }
    }
}

/* --- samples --- */

static void ask(struct control *control, struct leads *leads)
{
    arena_reset(&leads->arena);
    leads->request =
        (struct control_request){.kind = CONTROL_CORRELATION_LIST, .arena = &leads->arena};
    leads->msg = (struct forecaster_msg){.kind = FORECASTER_CORRELATE,
                                         .done = &control->forecaster_done,
                                         .request = &leads->request};
    leads->out = true;
    mailbox_push(forecaster_mailbox(control->forecaster), &leads->msg.msg);
}

/* Of a follower with several leaders the best one counts; one that does not count any more is taken back. */
static void tell(struct control *control, const struct leads *leads, struct lead_pair *pair)
{
    const struct manager_shell *shell = control->manager;
    double own = shell->core != NULL ? manager_view(shell->core, pair->follower).error : 1;
    bool best = pair->last.usable && !(own <= pair->last.error);
    for (int i = 0; i < LEADS_MAX; i++) {
        const struct lead_pair *other = &leads->pairs[i];
        best =
            best && !(other->lead != NULL && other != pair && other->follower == pair->follower &&
                      other->last.usable && other->last.error < pair->last.error);
    }
    if (!best && !pair->told) {
        return;
    }
    pair->told = best;
    core_event(control,
               &(struct manager_event){
                   .kind = MANAGER_EVENT_FORECAST,
                   .forecast = {.pipeline = pair->follower,
                                .usable = best,
                                .horizon_s = pair->last.top_steps * control->monitor->interval_s,
                                .high_per_s = best ? fmax(0, pair->last.top) : 0,
                                .error = best ? pair->last.error : 1}});
}

void leads_sample(struct control *control, struct leads *leads)
{
    const struct monitor *monitor = control->monitor;
    double scale = control->config->manager.time_scale;
    for (int32_t p = 0; p < control->config->pipeline_count; p++) {
        *rate_at(leads, p, leads->samples) = monitor->pipelines[p].arrival / scale;
    }
    for (int i = 0; i < LEADS_MAX; i++) {
        struct lead_pair *pair = &leads->pairs[i];
        if (pair->lead != NULL) {
            pair->last =
                lead_step(pair->lead, *rate_at(leads, pair->leader, leads->samples),
                          *rate_at(leads, pair->follower, leads->samples), quantile_of(control));
        }
    }
    leads->samples++;
    for (int i = 0; i < LEADS_MAX; i++) {
        if (leads->pairs[i].lead != NULL) {
            tell(control, leads, &leads->pairs[i]);
        }
    }
    bool due = leads->samples % LEADS_EVERY == 0 && control->config->pipeline_count > 1;
    if (due && !leads->out && control->forecaster != NULL) {
        ask(control, leads);
    }
}
