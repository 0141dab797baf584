// SPDX-License-Identifier: Apache-2.0
/* What people bring: steps of their own, which become a plan like any other, priced, kept and applied by its number; and
 * settings that trials have found to be better, which the next plan may use. */
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "prm/manager_priv.h"

/* --- settings --- */

static bool fits(const struct manager *m, const struct plan_tuning *tuning)
{
    return tuning->text.len > 0 && tuning->text.len <= PLAN_SETTING_MAX &&
           tuning->back.len <= PLAN_SETTING_MAX && tuning->work_ratio > 0 &&
           tuning->work_ratio <= 1 && tuning->pipeline >= 0 && tuning->pipeline < m->pipelines_max;
}

void manager_take_tunings(struct manager *m, const struct plan_tuning *list, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        bool known = false;
        for (int32_t k = 0; k < m->tuning_count; k++) {
            known = known || m->tunings[k].plan.signature == list[i].signature;
        }
        if (fits(m, &list[i]) && !known && m->tuning_count < PLAN_TUNINGS_MAX) {
            struct tuning *to = &m->tunings[m->tuning_count++];
            to->plan = list[i];
            manager_copy_text(to->text, (ptrdiff_t)sizeof to->text, list[i].text);
            manager_copy_text(to->back, (ptrdiff_t)sizeof to->back, list[i].back);
        }
    }
}

/* --- steps --- */

static bool is_proposed(const struct held *held)
{
    return held->used && held->decision.cause == DECISION_PERSON &&
           held->decision.state == DECISION_STATE_RECOMMENDED;
}

/* The same asked for again replaces what was asked for; else the oldest makes room, so that people never push out what the
 * manager recommends. */
static void make_room(struct manager *m, uint64_t signature)
{
    struct held *oldest = NULL;
    int32_t count = 0;
    for (int32_t i = 0; i < MANAGER_PLANS_MAX; i++) {
        struct held *held = &m->held[i];
        if (is_proposed(held) && held->signature == signature) {
            manager_expire(m, held, "the same was asked for again");
        } else if (is_proposed(held)) {
            bool older = oldest == NULL || held->decision.id < oldest->decision.id;
            oldest = older ? held : oldest;
            count++;
        }
    }
    if (count >= MANAGER_PROPOSED_MAX) {
        manager_expire(m, oldest, "others have been asked for since");
    }
}

static void refuse(struct manager *m, const char *reason)
{
    manager_copy_text(m->refusal, (ptrdiff_t)sizeof m->refusal, str_of(reason));
    manager_say(m, MANAGER_ACTION_REFUSE)->reason = m->refusal;
}

/* Which pipeline the steps are about: of the first partition, or of the setting; else the one that is worst off. */
static int32_t pipeline_of(const struct manager *m, const struct plan_option *option,
                           const struct plan_tuning *tuning)
{
    if (tuning != NULL) {
        return tuning->pipeline;
    }
    for (int32_t i = 0; i < option->step_count; i++) {
        if (option->steps[i].part >= 0) {
            return m->load.shards[m->load.parts[option->steps[i].part].shard].pipeline;
        }
    }
    int32_t most = 0;
    for (int32_t c = 1; c < m->load.pipeline_count; c++) {
        most = m->pipes[c].demand > m->pipes[most].demand ? c : most;
    }
    return most;
}

static void keep(struct manager *m, const struct manager_event *event, const struct plan *plan)
{
    const struct plan_option *option = &plan->options[plan->chosen];
    const struct plan_tuning *tuning = event->propose.tuning;
    struct seen seen = {
        .pipeline = pipeline_of(m, option, tuning), .passes_s = NAN, .passes_full_s = NAN};
    struct held *held = manager_free_slot(m);
    struct plan_step *steps = held->steps;
    struct decision *d = &held->decision;
    memcpy(steps, option->steps, (size_t)option->step_count * sizeof *steps);
    *held = (struct held){
        .used = true, .steps = steps, .signature = option->signature, .layout = m->layout};
    manager_fill(m, &seen, DECISION_PERSON, d);
    manager_fill_options(d, plan);
    manager_copy_text(d->who, (ptrdiff_t)sizeof d->who, event->propose.who);
    d->step_count = option->step_count;
    d->signature = option->signature;
    d->state = DECISION_STATE_RECOMMENDED;
    if (tuning != NULL) {
        manager_copy_text(d->setting, (ptrdiff_t)sizeof d->setting, tuning->text);
        manager_copy_text(d->setting_back, (ptrdiff_t)sizeof d->setting_back, tuning->back);
    }
    manager_log(m, held);
}

void manager_propose(struct manager *m, const struct manager_event *event)
{
    struct plan_given given = {event->propose.steps, event->propose.step_count};
    const struct plan_tuning *tuning = event->propose.tuning;
    struct planning p;
    struct plan plan;
    struct err_info info;
    if (!m->loaded) {
        refuse(m, "nothing has been measured yet: ask again after the manager's next interval");
        return;
    }
    if (tuning != NULL && !fits(m, tuning)) {
        refuse(m, "its setting is too long, or was not measured to be cheaper");
        return;
    }
    manager_planning(m, DECISION_PERSON, &p);
    p.input.tunings = tuning;
    p.input.tuning_count = tuning != NULL;
    p.options.moves_max = PLAN_STEPS_MAX / 2; /* no bound but the plan's own: a person may */
    if (planner_price(m->planner, &p.input, &p.options, &given, m->scratch, &plan, &info) !=
        ERR_OK) {
        refuse(m, info.text);
        return;
    }
    make_room(m, plan.options[plan.chosen].signature);
    keep(m, event, &plan);
}
