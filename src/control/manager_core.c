// SPDX-License-Identifier: Apache-2.0
/* The core and its shell: what happened goes in as events, what it says is done. */
#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/planted.h"
#include "control/manager_priv.h"
#include "control/own_stream.h"

enum { CORE_ARENA_MAX = 1 << 30, SCRATCH_ARENA_MAX = 1 << 30, CORE_PARTS_MAX = 1 << 15 };
#define WEEK_S 604800

/* What a pause is expected to be until one was measured: the old owner's last commit and the new one's first. */
#define PAUSE_COMMITS 2.0

/* The load's clock, from the start of the process on. */
int64_t core_now_ns(const struct control *control)
{
    double passed = (double)(control->now_ns - control->started_ns);
    return (int64_t)(passed * control->config->manager.time_scale);
}

/* --- options --- */

static void put_windows(const struct control *control, struct manager_options *options)
{
    const struct manager_spec *spec = &control->config->manager;
    double unix_s = (double)monitor_time_ms(control) / 1e3 - (double)core_now_ns(control) * 1e-9;
    options->week_at_zero_s = fmod(unix_s + 3 * 86400.0, WEEK_S); /* 1970 began on a Thursday */
    options->window_count = 0;
    static_assert(CONFIG_WINDOWS_MAX * 7 * 2 <= MANAGER_WINDOWS_MAX,
                  "each of each day, in two pieces");
    for (int32_t i = 0; i < spec->window_count; i++) {
        const struct window_spec *w = &spec->windows[i];
        for (int32_t day = 0; day < 7; day++) {
            int32_t begin = day * 86400 + w->from_minute * 60;
            int32_t end = day * 86400 + w->until_minute * 60 +
                          (w->until_minute <= w->from_minute ? 86400 : 0);
            if ((w->days >> day & 1) == 0) {
                continue;
            }
            options->windows[options->window_count++] =
                (struct manager_window){begin, end < WEEK_S ? end : WEEK_S};
            if (end > WEEK_S) {
                options->windows[options->window_count++] =
                    (struct manager_window){0, end - WEEK_S};
            }
        }
    }
}

static struct manager_options options_of(const struct control *control)
{
    const struct config *config = control->config;
    const struct manager_spec *spec = &config->manager;
    struct manager_options o = manager_defaults();
    o.interval_s = (double)spec->interval_ns * 1e-9;
    o.startup_s = (double)config->nodes.startup_ns * 1e-9;
    o.threshold_now = spec->urgent;
    o.confirm_s = (double)spec->sustain_ns * 1e-9;
    o.cooldown_s = (double)spec->cooldown_ns * 1e-9;
    o.margin = spec->margin;
    o.target = spec->target;
    o.prices = (struct prices){.node = spec->price_node,
                               .late = spec->price_late,
                               .move = spec->price_move,
                               .change = spec->price_change};
    o.budget_day = spec->budget;
    o.nodes_min = 1;
    o.nodes_max = config->nodes.max;
    o.nodes_step = spec->step;
    o.lanes_per_node = config->nodes.lanes;
    for (int32_t p = 0; p < config->pipeline_count; p++) { /* the most careful pipeline's */
        const struct shadowing_spec *s = &config->pipelines[p]->shadowing;
        double sustain = (double)s->sustain_ns * 1e-9;
        o.threshold = p == 0 || s->threshold < o.threshold ? s->threshold : o.threshold;
        o.sustain_s = p == 0 || sustain < o.sustain_s ? sustain : o.sustain_s;
        o.shadow_s = p == 0 ? (double)s->duration_ns * 1e-9 : o.shadow_s;
        double commits = PAUSE_COMMITS * (double)config->pipelines[p]->commit_ns * 1e-9;
        o.pause_s = p == 0 || commits > o.pause_s ? commits : o.pause_s;
    }
    o.threshold = o.threshold < o.threshold_now ? o.threshold : o.threshold_now;
    o.pause_s *= spec->time_scale; /* pauses are of the wall, the core's time is the load's */
    o.shadows = str_is(spec->policy, "shadowcast") && shadows_can_be_cast(control);
    o.forecasts = !str_is(spec->policy, "reactive");
    put_windows(control, &o);
    return o;
}

/* --- events and actions --- */

static void note(struct manager_shell *shell, const char *text)
{
    IGNORE_RESULT(snprintf(shell->state, sizeof(shell->state), "%s", text)); /* cut is fine */
}

static void log_decision(struct control *control, const struct manager_action *action)
{
    struct manager_shell *shell = control->manager;
    const struct decision *decision = action->decision;
    struct ledger_entry *entry =
        ledger_put(control->ledger, decision, action->steps, action->step_count, wall_ms(control));
    if (entry == NULL) {
        return;
    }
    shell->decisions += decision->state == DECISION_STATE_OBSERVED ||
                        decision->state == DECISION_STATE_RECOMMENDED ||
                        decision->state == DECISION_STATE_APPROVED;
    struct arena *arena = &control->scratch;
    event_add(control, "decision", decision->inputs.pipeline, decision_state_name(decision->state),
              0, decision_sentence(decision, arena));
    arena_reset(arena);
    ledger_write(control, entry);
}

static void end_waiting(struct control *control, int64_t decision, const char *refused)
{
    struct manager_shell *shell = control->manager;
    struct job *job = shell->apply_job;
    if (job == NULL || shell->apply_id != decision) {
        return;
    }
    shell->apply_job = NULL;
    if (refused != NULL) {
        job_failf(job, ERR_CONFLICT, "plan %lld: %s", (long long)decision, refused);
    } else {
        plan_answer(job, decision, 202);
    }
}

static void apply(struct control *control, const struct manager_action *action)
{
    struct manager_shell *shell = control->manager;
    int64_t id = action->decision->id;
    struct ledger_entry *entry = ledger_find(control->ledger, id);
    CHECK_MSG(entry != NULL && shell->run == NULL,
              "plan %lld is not in the ledger, or another runs", (long long)id); /* M2 */
    shell->run = plan_run_new(entry, action->decision->who);
    /* What a person asked for is that person's. */
    shell->plans_applied += str_is(str_of(action->decision->who), "manager");
    pend_event(shell, &(struct manager_event){.kind = MANAGER_EVENT_APPLYING, .applying = {id}});
    end_waiting(control, id, NULL);
}

static void carry_out(struct control *control, const struct manager_action *action)
{
    struct manager_shell *shell = control->manager;
    switch (action->kind) {
    case MANAGER_ACTION_LOG:
        log_decision(control, action);
        if (action->decision->state == DECISION_STATE_RECOMMENDED) {
            shell->proposed = action->decision->id;
        }
        break;
    case MANAGER_ACTION_APPLY:
        apply(control, action);
        break;
    case MANAGER_ACTION_REFUSE:
        IGNORE_RESULT(snprintf(shell->refused, sizeof(shell->refused), "%s",
                               action->reason != NULL ? action->reason : "")); /* cut is fine */
        end_waiting(control, action->decision != NULL ? action->decision->id : shell->apply_id,
                    action->reason != NULL ? action->reason : "it cannot be applied");
        break;
    case MANAGER_ACTION_CAST:
        if (!shadow_cast(control, action)) {
            pend_event(shell, &(struct manager_event){.kind = MANAGER_EVENT_SHADOW_ENDED,
                                                      .shadow_ended = {action->shadow, true}});
        }
        break;
    case MANAGER_ACTION_END_SHADOW:
        shadow_end(control, action);
        break;
    case MANAGER_ACTION_KIND_COUNT:
        break;
    }
}

void pend_event(struct manager_shell *shell, const struct manager_event *event)
{
    CHECK(shell->pending_count < EVENTS_PENDING);
    shell->pending[shell->pending_count++] = *event;
}

static void give(struct control *control, const struct manager_event *event)
{
    struct manager_shell *shell = control->manager;
    struct manager_actions *actions = &shell->actions;
    manager_step(shell->core, event, core_now_ns(control), &shell->scratch, actions);
    for (int32_t i = 0; i < actions->count; i++) {
        carry_out(control, &actions->list[i]);
    }
    arena_reset(&shell->scratch);
}

void core_event(struct control *control, const struct manager_event *event)
{
    struct manager_shell *shell = control->manager;
    if (shell->core == NULL) {
        return;
    }
    give(control, event);
    while (shell->pending_count > 0) {
        struct manager_event next = shell->pending[0];
        shell->pending_count--;
        memmove(&shell->pending[0], &shell->pending[1],
                (size_t)shell->pending_count * sizeof(next));
        give(control, &next);
    }
}

int64_t manager_propose_plan(struct control *control, struct plan_step *steps, int32_t count,
                             const struct plan_tuning *tuning, const char *who,
                             const char **ret_refused)
{
    struct manager_shell *shell = control->manager;
    shell->proposed = 0;
    shell->refused[0] = 0;
    core_event(control, &(struct manager_event){.kind = MANAGER_EVENT_PROPOSE,
                                                .propose = {steps, count, tuning, str_of(who)}});
    *ret_refused = shell->core == NULL      ? "there is no manager"
                   : shell->refused[0] != 0 ? shell->refused
                                            : "the manager does not price it";
    return shell->proposed;
}

/* --- the past, modes, start --- */

void core_past(struct control *control, int32_t pipeline, const double *rates, int64_t count)
{
    struct manager_shell *shell = control->manager;
    if (shell->core != NULL && count > 0) {
        core_event(control,
                   &(struct manager_event){
                       .kind = MANAGER_EVENT_HISTORY,
                       .history = {.pipeline = pipeline, .rate_per_s = rates, .count = count}});
    }
}

void core_mode(struct control *control, int32_t pipeline, enum config_mode mode)
{
    static const enum manager_mode modes[] = {[CONFIG_OBSERVE] = MANAGER_OBSERVE,
                                              [CONFIG_RECOMMEND] = MANAGER_RECOMMEND,
                                              [CONFIG_ACT] = MANAGER_ACT};
    struct manager_shell *shell = control->manager;
    for (int32_t p = 0; p < control->config->pipeline_count; p++) {
        if (p == pipeline || pipeline < 0) {
            shell->modes[p] = mode;
            core_event(control, &(struct manager_event){.kind = MANAGER_EVENT_MODE,
                                                        .mode = {p, modes[mode]}});
        }
    }
    shell->mode = pipeline < 0 ? mode : shell->mode;
}

static struct operation *operation_of_step(struct control *control, int64_t decision, int32_t step)
{
    char key[CONTROL_IDEMPOTENCY_MAX + 1];
    IGNORE_RESULT(snprintf(key, sizeof(key), "plan-%lld-%d", (long long)decision, step)); /* fits */
    return operations_find_key(&control->operations, str_of(key));
}

/* How many steps of a plan have been done, up to the last of them: their operations are known by their keys. */
static int32_t steps_done(struct control *control, const struct ledger_entry *entry)
{
    int32_t done = 0;
    for (int32_t i = 0; i < entry->decision.step_count; i++) {
        const struct operation *op = operation_of_step(control, entry->decision.id, i);
        done = op != NULL && op->state == OPERATION_DONE ? i + 1 : done;
    }
    return done;
}

/* A plan that was under way: what had been done of it is undone, and only then it is told as failed, or another restart would
 * leave it half. */
static void take_back(struct control *control, struct ledger_entry *entry)
{
    struct manager_shell *shell = control->manager;
    int32_t begun = 0;
    shell->run = plan_run_new(entry, "manager");
    for (int32_t i = 0; i < entry->decision.step_count; i++) {
        const struct operation *op = operation_of_step(control, entry->decision.id, i);
        if (op != NULL && !operation_final(op)) {
            shell->run->coming[i] = op->id; /* it is stopped first */
        }
        begun = op != NULL ? i + 1 : begun;
    }
    plan_run_back(shell->run, begun, steps_done(control, entry));
    shell->run_orphan = true;
}

/* A time of the wall by the load's clock: before the start, it is below 0. */
static int64_t then_ns(const struct control *control, int64_t then_ms)
{
    double ago_ns = (double)(wall_ms(control) - then_ms) * 1e6;
    return core_now_ns(control) - (int64_t)(ago_ns * control->config->manager.time_scale);
}

/* Decisions of before: the core goes on from them. */
static void recall(struct control *control)
{
    struct manager_shell *shell = control->manager;
    struct ledger *ledger = control->ledger;
    struct decision *d = MEM_NEW(struct decision);
    for (int32_t i = 0; i < ledger->count; i++) {
        struct ledger_entry *entry = ledger->all[i];
        bool ran = (entry->decision.state == DECISION_STATE_APPLYING ||
                    entry->decision.state == DECISION_STATE_APPROVED) &&
                   shell->run == NULL;
        *d = entry->decision;
        d->changed_ns = then_ns(control, entry->changed_ms);
        d->at_ns = then_ns(control, entry->time_ms);
        if (d->parent != 0 && d->state == DECISION_STATE_DONE) {
            d->state = DECISION_STATE_MEASURED; /* undone by a person: nothing is to be measured */
        }
        if (d->state == DECISION_STATE_EXPIRED && steps_done(control, entry) > 0) {
            d->state =
                DECISION_STATE_MEASURED; /* it was done, and a restart came before its verdict */
        }
        d->state = ran ? DECISION_STATE_FAILED : d->state; /* as it will be */
        if (ran) {                                         /* of the restart, not of the change */
            d->signature = entry->decision.signature = 0;
        }
        core_event(control, &(struct manager_event){.kind = MANAGER_EVENT_RECALL, .recall = d});
        if (ran && !PLANTED(PLAN_LEFT_HALF)) {
            take_back(control, entry);
        }
    }
    mem_free(d);
}

void core_start(struct control *control)
{
    struct manager_shell *shell = control->manager;
    struct err_info info = {.text = ""};
    const struct config *config = control->config;
    if (shell->started) {
        return;
    }
    shell->started = true;
    arena_init(&shell->arena, CORE_ARENA_MAX);
    arena_init(&shell->scratch, SCRATCH_ARENA_MAX);
    shell->modes = MEM_NEW_ARRAY(enum config_mode, config->pipeline_count + 1);
    shell->options = options_of(control);
    enum err err =
        config->pipeline_count == 0
            ? err_set(&info, ERR_NOT_FOUND, "there is no pipeline")
            : manager_new(&shell->arena, &shell->options, CORE_PARTS_MAX, control->lane_count,
                          config->pipeline_count, &shell->core, &info);
    if (err != ERR_OK) {
        shell->core = NULL;
        note(shell, info.text);
        return;
    }
    shell->mode = config->manager.mode;
    for (int32_t p = 0; p < config->pipeline_count; p++) {
        core_mode(control, p, config->pipelines[p]->mode);
    }
    modes_recall(control);
    recall(control);
}

/* --- each interval --- */

static bool others_change(const struct control *control)
{
    const struct manager_shell *shell = control->manager;
    if (PLANTED(CHANGE_AMID_OTHERS)) {
        return false;
    }
    if (shell->run_orphan) {
        return true;
    }
    for (int32_t i = 0; i < control->operations.count; i++) {
        const struct operation *op = control->operations.all[i];
        bool own = shell->run != NULL && plan_run_owns(shell->run, op->id);
        if (!operation_final(op) && !own) {
            return true;
        }
    }
    return false;
}

void core_samples(struct control *control)
{
    struct manager_shell *shell = control->manager;
    struct manager_event event = {.kind = MANAGER_EVENT_SAMPLES};
    if (shell->core == NULL) {
        return;
    }
    manager_load_take(&shell->load, control->monitor->taken_count);
    manager_load_build(control, &shell->load);
    event.samples.load = shell->load.input.part_count <= CORE_PARTS_MAX ? &shell->load.input : NULL;
    memcpy(event.samples.lag_s, shell->load.lag_s, sizeof(event.samples.lag_s));
    event.samples.draining = others_change(control);
    core_event(control, &event);
    note(shell, shell->load.input.part_count > CORE_PARTS_MAX
                    ? "more partitions than it can plan for"
                    : manager_state_name(manager_view(shell->core, 0).state));
}

/* A plan that the core does not hold: of before a restart, or a person's way back. */
static void end_orphan(struct control *control, struct ledger_entry *entry)
{
    struct manager_shell *shell = control->manager;
    struct plan_run *run = shell->run;
    shell->run = NULL;
    shell->run_orphan = false;
    bool open = entry != NULL && (entry->decision.state == DECISION_STATE_APPLYING ||
                                  entry->decision.state == DECISION_STATE_APPROVED);
    if (open) {
        entry->decision.state = run->done ? DECISION_STATE_DONE : DECISION_STATE_FAILED;
        entry->changed_ms = wall_ms(control);
        IGNORE_RESULT(snprintf(entry->decision.reason, sizeof(entry->decision.reason), "%s",
                               run->reason)); /* fits */
        ledger_write(control, entry);
    }
    struct ledger_entry *parent =
        entry != NULL && run->done ? ledger_find(control->ledger, entry->decision.parent) : NULL;
    if (parent != NULL && decision_follows(parent->decision.state, DECISION_STATE_ROLLED_BACK)) {
        parent->decision.state = DECISION_STATE_ROLLED_BACK;
        parent->changed_ms = wall_ms(control);
        ledger_write(control, parent);
    }
    event_add(control, "plan", "", run->done ? "done" : "undone", 0, run->reason);
    plan_run_free(run);
}

void core_step(struct control *control)
{
    struct manager_shell *shell = control->manager;
    struct plan_run *run = shell->run;
    for (struct msg *msg = mailbox_take_all(&control->plan_done); msg != NULL; msg = msg->next) {
        CHECK(run != NULL && msg == &run->request.msg);
        plan_run_answered(run);
    }
    if (run == NULL || node_runtime_state(control->runtime) != RUNTIME_RUNNING) {
        return;
    }
    struct ledger_entry *entry = ledger_find(control->ledger, run->id);
    plan_run_step(control, run);
    if (entry != NULL) {
        entry->steps_done = run->at > 0 ? run->at : 0;
    }
    if (run->state == PLAN_RUN_ENDED && shell->run_orphan) {
        end_orphan(control, entry);
    } else if (run->state == PLAN_RUN_ENDED) {
        struct manager_event event = {.kind = MANAGER_EVENT_OPERATION_DONE,
                                      .operation_done = {.decision = run->id,
                                                         .done = run->done,
                                                         .pause_s = run->pause_s,
                                                         .moved_bytes = run->moved_bytes,
                                                         .reason = str_of(run->reason)}};
        double scale = control->config->manager.time_scale;
        event.operation_done.pause_s *= scale;
        shell->run = NULL;
        core_event(control, &event);
        plan_run_free(run);
    }
}

void core_free(struct control *control)
{
    struct manager_shell *shell = control->manager;
    plan_run_free(shell->run);
    if (shell->started) {
        arena_release(&shell->arena);
        arena_release(&shell->scratch);
    }
    mem_free(shell->modes);
}
