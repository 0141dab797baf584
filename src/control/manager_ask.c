// SPDX-License-Identifier: Apache-2.0
/* Questions to the manager, and what people tell it: modes, plans, decisions. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "control/manager_priv.h"

/* --- the manager itself --- */

static uint64_t modes_etag(const struct control *control)
{
    const struct manager_shell *shell = control->manager;
    uint64_t hash = 1 + (uint64_t)shell->mode;
    for (int32_t p = 0; p < control->config->pipeline_count; p++) {
        hash = hash * 31 + 1 + (uint64_t)shell->modes[p];
    }
    return hash;
}

static struct manager_row manager_row_of(const struct control *control, int32_t pipeline)
{
    const struct manager_shell *shell = control->manager;
    const struct manager_spec *spec = &control->config->manager;
    bool all = pipeline < 0;
    struct manager_row row = {
        .scope = all ? STR("all") : control->config->pipelines[pipeline]->name,
        .mode = str_of(config_mode_names[all ? shell->mode : shell->modes[pipeline]]),
        .policy = spec->policy,
        .window_open = config_window_open(spec, monitor_time_ms(control)),
        .state = str_of(shell->state),
        .decisions = all ? shell->decisions : FIELD_I64_UNKNOWN,
        .plans_applied = all ? shell->plans_applied : FIELD_I64_UNKNOWN,
        .lane_seconds = all ? shell->lane_seconds : (double)NAN,
        .forecast_error_ratio = (double)NAN,
        .demand_lanes = (double)NAN,
    };
    if (!all && shell->core != NULL) {
        struct manager_view view = manager_view(shell->core, pipeline);
        row.forecast_error_ratio = view.error;
        row.demand_lanes = view.demand;
        if (view.blind) {
            row.state = STR("reactive: no forecast beats repeating the last value");
        }
    }
    return row;
}

static bool manager_ready(struct job *job)
{
    const struct control *control = job->control;
    if (control->manager->started &&
        control->manager->past_pipeline == control->config->pipeline_count) {
        return true;
    }
    job_failf(job, ERR_UNAVAILABLE, "the manager is still learning the past; ask again");
    return false;
}

struct control_rows manager_rows(struct control *control, struct arena *arena)
{
    int32_t count = 1 + control->config->pipeline_count;
    struct manager_row *rows = ARENA_NEW_ARRAY(arena, struct manager_row, count);
    for (int32_t i = 0; i < count; i++) {
        rows[i] = manager_row_of(control, i - 1);
    }
    return (struct control_rows){.entity = &manager_entity, .rows = rows, .count = count};
}

void manager_list_begin(struct job *job)
{
    if (manager_ready(job)) {
        job->request->rows = manager_rows(job->control, job->request->arena);
        job->request->etag = modes_etag(job->control);
        job_answer(job);
    }
}

void manager_mode_begin(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    const struct control_args *args = &request->args;
    int32_t pipeline = -1;
    if (!manager_ready(job)) {
        return;
    }
    for (int32_t p = 0; p < control->config->pipeline_count; p++) {
        pipeline = str_is(control->config->pipelines[p]->name, args->pipeline) ? p : pipeline;
    }
    if (args->pipeline[0] != 0 && pipeline < 0) {
        job_failf(job, ERR_NOT_FOUND,
                  "there is no pipeline '%.80s'; GET /api/v1/pipelines lists them", args->pipeline);
        return;
    }
    if (args->if_match[0] != 0 && !etag_matches(args->if_match, modes_etag(control))) {
        job_failf(job, ERR_PRECONDITION,
                  "the modes have changed since: they are not what If-Match says");
        return;
    }
    enum config_mode mode = (enum config_mode)args->mode;
    core_mode(control, pipeline, mode);
    modes_keep(control, pipeline, mode, request->who.name);
    event_add(control, "manager", args->pipeline, config_mode_names[mode], 0, request->who.name);
    IGNORE_RESULT(snprintf(request->subject, sizeof(request->subject), "%s %s",
                           args->pipeline[0] != 0 ? args->pipeline : "all",
                           config_mode_names[mode])); /* cut is fine */
    manager_list_begin(job);
}

/* --- decisions and plans --- */

static struct ledger_entry *named(struct job *job, const char *what)
{
    struct ledger *ledger = job->control->ledger;
    int64_t id = job->request->args.decision;
    struct ledger_entry *entry = ledger_find(ledger, id);
    if (entry == NULL && ledger->count == 0) {
        job_failf(job, ERR_NOT_FOUND, "%s %" PRId64 " is not known; there are none yet", what, id);
    } else if (entry == NULL) {
        job_failf(job, ERR_NOT_FOUND, "%s %" PRId64 " is not known; %" PRId64 " to %" PRId64 " are",
                  what, id, ledger->all[0]->decision.id, ledger->last_id);
    }
    return entry;
}

static uint64_t entry_etag(const struct ledger_entry *entry)
{
    return (uint64_t)entry->decision.id * 16 + (uint64_t)entry->decision.state + 1;
}

void decision_list_begin(struct job *job)
{
    struct control_request *request = job->request;
    const struct ledger *ledger = job->control->ledger;
    int64_t limit = request->args.limit < ledger->count ? request->args.limit : ledger->count;
    struct decision_row *rows = ARENA_NEW_ARRAY(request->arena, struct decision_row, limit);
    for (int64_t i = 0; i < limit; i++) {
        rows[i] = decision_row_of(ledger->all[ledger->count - 1 - i], request->arena);
    }
    request->rows =
        (struct control_rows){.entity = &decision_entity, .rows = rows, .count = (int32_t)limit};
    job_answer(job);
}

static void answer_detail(struct job *job, const struct ledger_entry *entry,
                          const struct entity *entity, void *row)
{
    struct control_request *request = job->request;
    request->figures[0] = (struct control_rows){.entity = entity, .rows = row, .count = 1};
    request->figures[1] = option_rows_of(entry, request->arena);
    request->figures[2] = step_rows_of(job->control, entry, request->arena);
    request->figures[3] = (struct control_rows){.entity = NULL};
    request->etag = entry_etag(entry);
    job_answer(job);
}

void decision_get_begin(struct job *job)
{
    struct ledger_entry *entry = named(job, "decision");
    if (entry != NULL) {
        struct decision_row *row = ARENA_NEW(job->request->arena, struct decision_row);
        *row = decision_row_of(entry, job->request->arena);
        answer_detail(job, entry, &decision_entity, row);
    }
}

static struct plan_row plan_row_now(const struct control *control, const struct ledger_entry *entry,
                                    struct arena *arena)
{
    const struct plan_run *run = control->manager->run;
    struct plan_row row = plan_row_of(entry, arena);
    if (run != NULL && run->id == entry->decision.id && run->operation != 0) {
        row.operation = run->operation;
    }
    return row;
}

static bool is_plan(const struct ledger_entry *entry)
{
    return entry->decision.step_count > 0;
}

void plan_list_begin(struct job *job)
{
    struct control_request *request = job->request;
    const struct ledger *ledger = job->control->ledger;
    struct plan_row *rows = ARENA_NEW_ARRAY(request->arena, struct plan_row, request->args.limit);
    int32_t count = 0;
    for (int32_t i = ledger->count - 1; i >= 0 && count < request->args.limit; i--) {
        const struct ledger_entry *entry = ledger->all[i];
        bool wanted = !request->args.active || !decision_is_final(entry->decision.state);
        if (is_plan(entry) && wanted) {
            rows[count++] = plan_row_now(job->control, entry, request->arena);
        }
    }
    request->rows = (struct control_rows){.entity = &plan_entity, .rows = rows, .count = count};
    job_answer(job);
}

static struct ledger_entry *named_plan(struct job *job)
{
    struct ledger_entry *entry = named(job, "plan");
    if (entry != NULL && !is_plan(entry)) {
        job_failf(job, ERR_NOT_FOUND,
                  "decision %" PRId64 " was to change nothing: there is no such plan",
                  entry->decision.id);
        return NULL;
    }
    return entry;
}

void plan_get_begin(struct job *job)
{
    struct ledger_entry *entry = named_plan(job);
    if (entry != NULL) {
        struct plan_row *row = ARENA_NEW(job->request->arena, struct plan_row);
        *row = plan_row_now(job->control, entry, job->request->arena);
        answer_detail(job, entry, &plan_entity, row);
    }
}

void plan_answer(struct job *job, int64_t id, int status)
{
    struct control_request *request = job->request;
    struct ledger_entry *entry = ledger_find(job->control->ledger, id);
    struct plan_row *row = ARENA_NEW(request->arena, struct plan_row);
    *row = plan_row_now(job->control, entry, request->arena);
    request->rows = (struct control_rows){.entity = &plan_entity, .rows = row, .count = 1};
    request->status = status;
    request->etag = entry_etag(entry);
    job_answer(job);
}

/* The plan that an order is about, if its ETag is what the caller has seen. */
static struct ledger_entry *ordered_plan(struct job *job, const char *verb)
{
    struct control_request *request = job->request;
    struct ledger_entry *entry = named_plan(job);
    if (entry == NULL) {
        return NULL;
    }
    IGNORE_RESULT(snprintf(request->subject, sizeof(request->subject), "%s plan %" PRId64, verb,
                           entry->decision.id)); /* fits */
    if (request->args.if_match[0] != 0 &&
        !etag_matches(request->args.if_match, entry_etag(entry))) {
        job_failf(job, ERR_PRECONDITION, "the plan is %s by now: it is not what If-Match says",
                  decision_state_name(entry->decision.state));
        return NULL;
    }
    return entry;
}

static bool runs_or_ran(enum decision_state state)
{
    return state == DECISION_STATE_APPROVED || state == DECISION_STATE_APPLYING ||
           state == DECISION_STATE_DONE || state == DECISION_STATE_MEASURED;
}

void plan_apply_begin(struct job *job)
{
    struct control *control = job->control;
    struct manager_shell *shell = control->manager;
    struct ledger_entry *entry = ordered_plan(job, "apply");
    if (entry == NULL) {
        return;
    }
    int64_t id = entry->decision.id;
    if (runs_or_ran(entry->decision.state)) { /* asked again: begins nothing */
        plan_answer(job, id, decision_is_final(entry->decision.state) ? 200 : 202);
        return;
    }
    if (entry->decision.state != DECISION_STATE_RECOMMENDED) {
        job_failf(job, ERR_CONFLICT,
                  "plan %" PRId64 " is %s%s%s; only a recommended one is applied", id,
                  decision_state_name(entry->decision.state),
                  entry->decision.reason[0] != 0 ? ": " : "", entry->decision.reason);
        return;
    }
    if (shell->core == NULL || shell->run != NULL) {
        job_failf(job, ERR_CONFLICT, "plan %" PRId64 " is being carried out; one at a time",
                  shell->run != NULL ? shell->run->id : 0);
        return;
    }
    shell->apply_job = job;
    shell->apply_id = id;
    core_event(control, &(struct manager_event){.kind = MANAGER_EVENT_APPLY,
                                                .apply = {id, str_of(job->request->who.name)}});
    if (shell->apply_job == job) {
        shell->apply_job = NULL;
        job_failf(job, ERR_CONFLICT, "plan %" PRId64 " is not held by the manager any more", id);
    }
}

void plan_cancel_begin(struct job *job)
{
    struct manager_shell *shell = job->control->manager;
    struct ledger_entry *entry = ordered_plan(job, "cancel");
    if (entry == NULL) {
        return;
    }
    if (shell->run == NULL || shell->run->id != entry->decision.id) {
        job_failf(job, ERR_CONFLICT, "plan %" PRId64 " is %s: nothing of it is under way",
                  entry->decision.id, decision_state_name(entry->decision.state));
        return;
    }
    shell->run->cancel_wanted = true;
    plan_answer(job, entry->decision.id, 202);
}

/* The steps backwards, each undone; the caller's to free. NULL: one cannot be, told. */
static struct plan_step *undo_steps(struct job *job, const struct ledger_entry *entry,
                                    int32_t *ret_count)
{
    int32_t count = entry->decision.step_count, made = 0;
    struct plan_step *steps = MEM_NEW_ARRAY(struct plan_step, 2 * count);
    for (int32_t i = 0; i < count; i++) {
        struct plan_step back[2];
        int32_t n = plan_step_undo(&entry->steps[count - 1 - i], back);
        if (n == 0) {
            job_failf(job, ERR_UNSUPPORTED, "step %d of plan %" PRId64 " cannot be undone",
                      count - i, entry->decision.id);
            mem_free(steps);
            return NULL;
        }
        for (int32_t k = 0; k < n; k++) {
            steps[made] = back[k];
            steps[made++].part = -1;
        }
    }
    *ret_count = made;
    return steps;
}

/* A plan that a later one stands upon is not undone: its partitions are others by now. */
static const struct ledger_entry *later_plan(const struct ledger *ledger, int64_t id)
{
    for (int32_t i = ledger->count - 1; i >= 0 && ledger->all[i]->decision.id > id; i--) {
        if (is_plan(ledger->all[i]) && runs_or_ran(ledger->all[i]->decision.state)) {
            return ledger->all[i];
        }
    }
    return NULL;
}

static void begin_undo(struct job *job, const struct ledger_entry *entry,
                       const struct plan_step *steps, int32_t count)
{
    struct control *control = job->control;
    struct manager_shell *shell = control->manager;
    struct decision *d = MEM_NEW(struct decision);
    *d = entry->decision;
    memcpy(d->setting, entry->decision.setting_back, sizeof(d->setting));
    memcpy(d->setting_back, entry->decision.setting, sizeof(d->setting_back));
    d->id = control->ledger->last_id + 1;
    d->parent = entry->decision.id;
    d->cause = DECISION_PERSON;
    d->state = DECISION_STATE_APPLYING;
    d->at_ns = d->changed_ns = core_now_ns(control);
    d->outcome = (struct decision_outcome){0};
    d->option_count = 2;
    d->chosen = 1;
    d->options[0] = (struct decision_option){.kind = PLAN_NOTHING, .verdict = PLAN_VERDICT_DEARER};
    d->options[1] =
        (struct decision_option){.kind = PLAN_ROLL_BACK, .verdict = PLAN_VERDICT_CHOSEN};
    IGNORE_RESULT(snprintf(d->options[0].text, sizeof(d->options[0].text), "leave it")); /* fits */
    IGNORE_RESULT(snprintf(d->options[1].text, sizeof(d->options[1].text), "undo plan %" PRId64,
                           entry->decision.id));                                   /* fits */
    IGNORE_RESULT(snprintf(d->who, sizeof(d->who), "%s", job->request->who.name)); /* fits */
    d->reason[0] = 0;
    struct ledger_entry *made = ledger_put(control->ledger, d, steps, count, wall_ms(control));
    made->decision.step_count = count;
    ledger_write(control, made);
    shell->run = plan_run_new(made, d->who);
    shell->run_orphan = true;           /* the core does not hold it: */
    d->state = DECISION_STATE_MEASURED; /* its number and that something changes is all it learns */
    core_event(control, &(struct manager_event){.kind = MANAGER_EVENT_RECALL, .recall = d});
    plan_answer(job, d->id, 202);
    mem_free(d);
}

void plan_undo_begin(struct job *job)
{
    struct control *control = job->control;
    struct ledger_entry *entry = ordered_plan(job, "undo");
    if (entry == NULL) {
        return;
    }
    const struct ledger_entry *later = later_plan(control->ledger, entry->decision.id);
    enum decision_state state = entry->decision.state;
    if (state != DECISION_STATE_DONE && state != DECISION_STATE_MEASURED) {
        job_failf(job, ERR_CONFLICT, "plan %" PRId64 " is %s: only one that is done is undone",
                  entry->decision.id, decision_state_name(state));
    } else if (control->manager->run != NULL) {
        job_failf(job, ERR_CONFLICT, "plan %" PRId64 " is being carried out; one at a time",
                  control->manager->run->id);
    } else if (later != NULL) {
        job_failf(job, ERR_CONFLICT, "plan %" PRId64 " stands upon plan %" PRId64 ": undo it first",
                  later->decision.id, entry->decision.id);
    } else {
        int32_t count = 0;
        struct plan_step *steps = undo_steps(job, entry, &count);
        if (steps != NULL) {
            begin_undo(job, entry, steps, count);
            mem_free(steps);
        }
    }
}

/* --- several orders, one plan --- */

/* Both are offered on the layout that is there; a setting is priced by what its trial has measured, which no record has. */
static bool can_be_joined(struct job *job, const struct ledger_entry *entry)
{
    if (entry->decision.state != DECISION_STATE_RECOMMENDED) {
        job_failf(job, ERR_CONFLICT, "plan %" PRId64 " is %s; only recommended ones are joined",
                  entry->decision.id, decision_state_name(entry->decision.state));
        return false;
    }
    if (entry->decision.setting[0] != 0) {
        job_failf(job, ERR_CONFLICT, "plan %" PRId64 " has a setting: it is applied by itself",
                  entry->decision.id);
        return false;
    }
    return true;
}

static void join(struct job *job, const struct ledger_entry *first,
                 const struct ledger_entry *second)
{
    const struct ledger_entry *both[2] = {first, second};
    const char *refused = "";
    int32_t count = first->decision.step_count + second->decision.step_count, made = 0;
    if (count > PLAN_STEPS_MAX / 2) {
        job_failf(job, ERR_LIMIT, "a plan of %d steps; at most %d", count, PLAN_STEPS_MAX / 2);
        return;
    }
    struct plan_step *steps = MEM_NEW_ARRAY(struct plan_step, count);
    for (int p = 0; p < 2; p++) {
        for (int32_t i = 0; i < both[p]->decision.step_count; i++) {
            steps[made] = both[p]->steps[i];
            steps[made++].part = -1;
        }
    }
    int64_t plan =
        manager_propose_plan(job->control, steps, count, NULL, job->request->who.name, &refused);
    mem_free(steps);
    if (plan == 0) {
        job_failf(job, ERR_CONFLICT, "they cannot be one plan: %.180s", refused);
        return;
    }
    plan_answer(job, plan, 200);
}

void plan_join_begin(struct job *job)
{
    const struct ledger_entry *first = ordered_plan(job, "join");
    if (first == NULL) {
        return;
    }
    int64_t other = job->request->args.other;
    const struct ledger_entry *second = ledger_find(job->control->ledger, other);
    if (second == NULL || !is_plan(second) || second == first) {
        job_failf(job, ERR_NOT_FOUND, "%" PRId64 " is no other plan; GET /api/v1/plans lists them",
                  other);
    } else if (can_be_joined(job, first) && can_be_joined(job, second)) {
        join(job, first, second);
    }
}
