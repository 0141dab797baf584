// SPDX-License-Identifier: Apache-2.0
#include "control/plan_run.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/own_stream.h"
#include "control/shadows_priv.h"

enum { ORDER_ARENA_MAX = 4 << 20 };

bool plan_run_follows(enum plan_run_state from, enum plan_run_state to)
{
#define TO(state) (1u << PLAN_RUN_##state)
    static const uint32_t table[PLAN_RUN_STATE_COUNT] = {
        [PLAN_RUN_RECORDING] = TO(ORDERING) | TO(ENDED),
        [PLAN_RUN_ORDERING] = TO(WAITING) | TO(UNDOING) | TO(ENDED),
        [PLAN_RUN_WAITING] = TO(ORDERING) | TO(UNDOING),
        [PLAN_RUN_UNDOING] = TO(UNDO_WAITING) | TO(ENDED),
        [PLAN_RUN_UNDO_WAITING] = TO(UNDOING),
    };
#undef TO
    return (table[from] & 1u << to) != 0;
}

static void enter(struct plan_run *run, enum plan_run_state state)
{
    CHECK_MSG(plan_run_follows(run->state, state), "plan %lld: state %d to %d", (long long)run->id,
              (int)run->state, (int)state);
    run->state = state;
}

struct plan_run *plan_run_new(const struct ledger_entry *entry, const char *who)
{
    struct plan_run *run = MEM_NEW(struct plan_run);
    run->state = PLAN_RUN_RECORDING;
    run->id = entry->decision.id;
    run->record = entry->record;
    run->pause_s = (double)NAN;
    run->step_count = entry->decision.step_count;
    run->steps = MEM_NEW_ARRAY(struct plan_step, run->step_count);
    memcpy(run->steps, entry->steps, (size_t)run->step_count * sizeof(*run->steps));
    memcpy(run->setting, entry->decision.setting, sizeof(run->setting));
    memcpy(run->setting_back, entry->decision.setting_back, sizeof(run->setting_back));
    run->coming = MEM_NEW_ARRAY(int64_t, run->step_count);
    IGNORE_RESULT(snprintf(run->who, sizeof(run->who), "%s", who)); /* fits */
    arena_init(&run->arena, ORDER_ARENA_MAX);
    return run;
}

void plan_run_free(struct plan_run *run)
{
    if (run != NULL) {
        arena_release(&run->arena);
        mem_free(run->steps);
        mem_free(run->coming);
        mem_free(run);
    }
}

int32_t plan_step_undo(const struct plan_step *step, struct plan_step ret_steps[2])
{
    ret_steps[0] = *step;
    ret_steps[1] = *step;
    switch (step->kind) {
    case PLAN_STEP_SPLIT: /* the whole goes back where it was */
        ret_steps[0].kind = PLAN_STEP_MERGE;
        ret_steps[0].from = step->to;
        ret_steps[0].to = step->from;
        return 1;
    case PLAN_STEP_MERGE: /* the part that came goes back to where it was, the other stays */
        ret_steps[0].kind = PLAN_STEP_SPLIT;
        ret_steps[0].from = step->to;
        ret_steps[0].to = step->lower ? step->to : step->from;
        ret_steps[1].kind = PLAN_STEP_MIGRATE;
        ret_steps[1].group_hi = step->border;
        ret_steps[1].from = step->to;
        ret_steps[1].to = step->from;
        return step->lower && step->from != step->to ? 2 : 1;
    case PLAN_STEP_MIGRATE:
        ret_steps[0].from = step->to;
        ret_steps[0].to = step->from;
        return 1;
    case PLAN_STEP_NODE_ADD:
        ret_steps[0].kind = PLAN_STEP_NODE_DRAIN;
        return 1;
    case PLAN_STEP_NODE_DRAIN:
        ret_steps[0].kind = PLAN_STEP_NODE_ADD;
        return 1;
    case PLAN_STEP_TUNE: /* what sets it back stands beside what it sets */
        return 1;
    case PLAN_STEP_KIND_COUNT:
        break;
    }
    return 0;
}

/* --- orders --- */

static void put_partition(const struct control *control, const struct plan_step *step, uint32_t lo,
                          uint32_t hi, struct control_args *args)
{
    const struct stage_plan *plan =
        node_runtime_stage(control->runtime, SHARD_STAGE(step->shard))->plan;
    args->shard = SHARD_INDEX(step->shard);
    IGNORE_RESULT(snprintf(args->pipeline, sizeof(args->pipeline), "%.*s",
                           STR_ARG(plan->pipeline))); /* fits */
    IGNORE_RESULT(
        snprintf(args->stage, sizeof(args->stage), "%.*s", STR_ARG(plan->name))); /* fits */
    IGNORE_RESULT(snprintf(args->range, sizeof(args->range), "%u-%u", lo, hi));   /* fits */
}

static void put_id(const struct control *control, const struct plan_step *step, uint32_t lo,
                   uint32_t hi, char buf[CONTROL_PARTITION_MAX + 1])
{
    static_assert(PARTITION_ID_MAX <= CONTROL_PARTITION_MAX + 1, "an id fits");
    const struct stage_plan *plan =
        node_runtime_stage(control->runtime, SHARD_STAGE(step->shard))->plan;
    partition_id_text(buf, plan->pipeline, plan->name, SHARD_INDEX(step->shard), lo, hi);
}

static void put_to(const struct control *control, int32_t lane, struct control_args *args)
{
    int32_t lanes = control->config->nodes.lanes;
    IGNORE_RESULT(
        snprintf(args->to, sizeof(args->to), "n%d/%d", lane / lanes, lane % lanes)); /* fits */
}

/* "pipeline/stage: settings": the text that is in force with them put in, as a whole configuration. */
static bool fill_setting(const struct control *control, const char *setting,
                         struct control_request *request, struct arena *arena)
{
    struct control_args *args = &request->args;
    struct str words = str_of(setting);
    struct str place = str_trim(str_cut(&words, ':'));
    struct str pipeline = str_cut(&place, '/');
    const struct config *config = control->config;
    bool known = false;
    for (int32_t p = 0; p < config->pipeline_count; p++) {
        known = known || str_equal(config->pipelines[p]->name, pipeline);
    }
    if (!known || place.ptr == NULL || words.ptr == NULL) {
        return false;
    }
    request->kind = CONTROL_PIPELINE_REPLACE;
    IGNORE_RESULT(
        snprintf(args->pipeline, sizeof(args->pipeline), "%.*s", STR_ARG(pipeline))); /* fits */
    struct candidate_place of = {config_in_force(control, pipeline)->text, pipeline, place};
    return candidate_text(arena, &of, arena_dup(arena, words.ptr, words.len), &request->body,
                          &request->info) == ERR_OK;
}

static bool fill_order(const struct control *control, const struct plan_run *run,
                       const struct plan_step *step, struct control_request *request,
                       struct arena *arena)
{
    struct control_args *args = &request->args;
    int32_t stage = SHARD_STAGE(step->shard);
    bool of_partition = step->kind == PLAN_STEP_SPLIT || step->kind == PLAN_STEP_MERGE ||
                        step->kind == PLAN_STEP_MIGRATE;
    if (of_partition && (stage < 0 || stage >= node_runtime_stage_count(control->runtime))) {
        return false;
    }
    switch (step->kind) {
    case PLAN_STEP_SPLIT:
        request->kind = CONTROL_PARTITION_SPLIT;
        put_partition(control, step, step->group_lo, step->group_hi, args);
        args->border = step->border;
        put_to(control, step->to, args);
        return true;
    case PLAN_STEP_MERGE:
        request->kind = CONTROL_PARTITION_MERGE;
        put_partition(control, step, step->group_lo, step->border, args);
        put_to(control, step->to, args);
        put_id(control, step, step->border, step->group_hi, args->with);
        return true;
    case PLAN_STEP_MIGRATE:
        request->kind = CONTROL_PARTITION_MIGRATE;
        put_partition(control, step, step->group_lo, step->group_hi, args);
        put_to(control, step->to, args);
        return true;
    case PLAN_STEP_NODE_ADD:
    case PLAN_STEP_NODE_DRAIN:
        request->kind = step->kind == PLAN_STEP_NODE_ADD ? CONTROL_NODE_ADD : CONTROL_NODE_DRAIN;
        args->bare = step->kind == PLAN_STEP_NODE_ADD;
        IGNORE_RESULT(snprintf(args->node, sizeof(args->node), "%s",
                               step_subject(control, step, arena))); /* fits */
        return true;
    case PLAN_STEP_TUNE:
        return fill_setting(control,
                            run->state == PLAN_RUN_UNDOING ? run->setting_back : run->setting,
                            request, arena);
    case PLAN_STEP_KIND_COUNT:
        break;
    }
    return false;
}

static bool order(struct control *control, struct plan_run *run, const struct plan_step *step,
                  const char *suffix)
{
    struct control_request *request = &run->request;
    *request = (struct control_request){.done = &control->plan_done, .arena = &run->arena};
    arena_reset(&run->arena);
    control_args_init(&request->args);
    text_init(&request->text, &run->arena);
    request->args.apply = true;
    request->args.planned = true;
    request->who = (struct control_who){.audit = true, .action = "manager plan"};
    memcpy(request->who.name, run->who, sizeof(run->who));
    IGNORE_RESULT(snprintf(request->who.role, sizeof(request->who.role), "operator")); /* fits */
    IGNORE_RESULT(snprintf(request->args.idempotency_key, sizeof(request->args.idempotency_key),
                           "plan-%lld-%d%s", (long long)run->id, run->at, suffix)); /* fits */
    if (!fill_order(control, run, step, request, &run->arena)) {
        return false;
    }
    run->out = true;
    mailbox_push(control_mailbox(control), &request->msg);
    return true;
}

bool plan_run_owns(const struct plan_run *run, int64_t operation)
{
    bool owns = run->operation == operation;
    for (int32_t i = 0; i < run->step_count; i++) {
        owns = owns || run->coming[i] == operation;
    }
    return owns;
}

void plan_run_answered(struct plan_run *run)
{
    run->out = false;
}

/* --- steps --- */

static void add_figures(struct plan_run *run, const struct operation *op)
{
    double pause = (double)op->pause_ns * 1e-9;
    run->pause_s = run->pause_s > pause ? run->pause_s : pause;
    run->moved_bytes += (double)op->moved_bytes;
}

static void note_failure(struct plan_run *run, const char *what)
{
    if (run->reason[0] == 0) {
        IGNORE_RESULT(snprintf(run->reason, sizeof(run->reason), "step %d: %.200s", run->at + 1,
                               what)); /* fits */
    }
}

static void begin_undo(struct plan_run *run)
{
    enter(run, PLAN_RUN_UNDOING);
    run->at--; /* the last that was done */
    run->operation = 0;
}

/* Takes back the nodes that have come, or will not; true: none is on its way that the step (NULL: any) needs. */
static bool take_coming(struct control *control, struct plan_run *run, const struct plan_step *step)
{
    bool none = true;
    for (int32_t i = 0; i < run->step_count; i++) {
        struct operation *op =
            run->coming[i] != 0 ? operations_find(&control->operations, run->coming[i]) : NULL;
        if (run->coming[i] == 0) {
            continue;
        }
        if (op != NULL && !operation_final(op)) {
            bool moves = step != NULL && step->kind != PLAN_STEP_NODE_DRAIN;
            bool other = moves && (step->to < 0 ||
                                   step->to / control->config->nodes.lanes != run->steps[i].node);
            none = none && other;
            continue;
        }
        if (op != NULL && op->state == OPERATION_DONE) {
            add_figures(run, op);
        } else {
            run->node_missed = true;
            note_failure(run, op == NULL           ? "its operation is not known any more"
                              : op->reason[0] != 0 ? op->reason
                                                   : operation_state_name(op->state));
        }
        run->coming[i] = 0;
    }
    return none;
}

static void ordering_step(struct control *control, struct plan_run *run)
{
    const struct plan_step *step = run->at < run->step_count ? &run->steps[run->at] : NULL;
    bool there = take_coming(control, run, step);
    if (run->cancel_wanted || run->node_missed) {
        note_failure(run, "cancelled");
        begin_undo(run);
    } else if (!there) {
        return;
    } else if (step == NULL) {
        run->done = true;
        enter(run, PLAN_RUN_ENDED);
    } else if (order(control, run, &run->steps[run->at], "")) {
        enter(run, PLAN_RUN_WAITING);
    } else {
        note_failure(run, "such a step cannot be carried out here");
        begin_undo(run);
    }
}

/* The operation of the order that was answered; NULL: refused, told. */
static struct operation *ordered(struct control *control, struct plan_run *run)
{
    if (run->operation == 0 && run->request.err == ERR_OK) {
        run->operation = run->request.operation;
    }
    struct operation *op = operations_find(&control->operations, run->operation);
    if (op == NULL) {
        note_failure(run, run->request.err != ERR_OK ? run->request.info.text
                                                     : "its operation is not known any more");
    }
    return op;
}

static void waiting_step(struct control *control, struct plan_run *run)
{
    struct operation *op = ordered(control, run);
    if (op == NULL) {
        begin_undo(run);
        return;
    }
    bool comes = run->steps[run->at].kind == PLAN_STEP_NODE_ADD && !run->cancel_wanted;
    if (!operation_final(op) && !comes) {
        op->cancel_wanted = op->cancel_wanted || run->cancel_wanted;
        return;
    }
    if (!operation_final(op)) {
        run->coming[run->at++] = op->id;
        run->operation = 0;
        enter(run, PLAN_RUN_ORDERING);
        return;
    }
    if (op->state != OPERATION_DONE) {
        note_failure(run, op->reason[0] != 0 ? op->reason : operation_state_name(op->state));
        begin_undo(run);
        return;
    }
    add_figures(run, op);
    run->operation = 0;
    run->at++;
    enter(run, PLAN_RUN_ORDERING);
}

/* Nodes on their way are not waited for to serve, only to be there or not. */
static bool stop_coming(struct control *control, struct plan_run *run)
{
    for (int32_t i = 0; i < run->step_count; i++) {
        struct operation *op =
            run->coming[i] != 0 ? operations_find(&control->operations, run->coming[i]) : NULL;
        if (op != NULL && !operation_final(op)) {
            op->cancel_wanted = true;
        }
    }
    return take_coming(control, run, NULL);
}

/* Whether the step was done: its operation is known by its key, unless it is long past. */
static bool was_done(struct control *control, const struct plan_run *run, int32_t at)
{
    char key[CONTROL_IDEMPOTENCY_MAX + 1];
    IGNORE_RESULT(snprintf(key, sizeof(key), "plan-%lld-%d", (long long)run->id, at)); /* fits */
    const struct operation *op = operations_find_key(&control->operations, str_of(key));
    return op == NULL || op->state == OPERATION_DONE;
}

static void undoing_step(struct control *control, struct plan_run *run)
{
    struct plan_step back[2];
    if (!stop_coming(control, run)) {
        return;
    }
    while (run->at >= 0 && !was_done(control, run, run->at)) {
        run->at--;
    }
    if (run->at < 0) {
        enter(run, PLAN_RUN_ENDED);
        return;
    }
    if (run->undo_at < plan_step_undo(&run->steps[run->at], back) &&
        order(control, run, &back[run->undo_at], run->undo_at == 0 ? "-undo" : "-undo-2")) {
        enter(run, PLAN_RUN_UNDO_WAITING);
        return;
    }
    note_failure(run, "cannot be undone");
    enter(run, PLAN_RUN_ENDED);
}

static void undo_waiting_step(struct control *control, struct plan_run *run)
{
    struct operation *op = ordered(control, run);
    if (op != NULL && !operation_final(op)) {
        return;
    }
    bool undone = op != NULL && op->state == OPERATION_DONE;
    run->operation = 0;
    enter(run, PLAN_RUN_UNDOING);
    if (!undone) {
        char before[ERR_TEXT_MAX];
        memcpy(before, run->reason, sizeof(before));
        IGNORE_RESULT(snprintf(run->reason, sizeof(run->reason),
                               "%.160s; steps 1 to %d could not be undone", before,
                               run->at + 1)); /* fits */
        enter(run, PLAN_RUN_ENDED);
        return;
    }
    struct plan_step back[2];
    if (++run->undo_at >= plan_step_undo(&run->steps[run->at], back)) {
        run->undo_at = 0;
        run->at--;
    }
}

void plan_run_back(struct plan_run *run, int32_t begun, int32_t done)
{
    CHECK(run->state == PLAN_RUN_RECORDING && begun <= run->step_count);
    run->state = PLAN_RUN_ORDERING; /* its record is durable: it was read back */
    run->at = begun;
    run->cancel_wanted = true;
    IGNORE_RESULT(snprintf(run->reason, sizeof(run->reason),
                           "the process was restarted meanwhile; %d of %d steps were done", done,
                           run->step_count)); /* fits */
}

static void recording_step(struct control *control, struct plan_run *run)
{
    if (run->cancel_wanted || run->record == 0) {
        note_failure(run, run->cancel_wanted ? "cancelled" : "its record could not be kept");
        enter(run, PLAN_RUN_ENDED);
    } else if (own_stream_is_durable(control->own[OWN_DECISIONS], run->record)) {
        enter(run, PLAN_RUN_ORDERING);
    }
}

void plan_run_step(struct control *control, struct plan_run *run)
{
    enum plan_run_state before = PLAN_RUN_ENDED;
    while (!run->out && run->state != before && run->state != PLAN_RUN_ENDED) {
        before = run->state;
        switch (run->state) {
        case PLAN_RUN_RECORDING:
            recording_step(control, run);
            break;
        case PLAN_RUN_ORDERING:
            ordering_step(control, run);
            break;
        case PLAN_RUN_WAITING:
            waiting_step(control, run);
            break;
        case PLAN_RUN_UNDOING:
            undoing_step(control, run);
            break;
        case PLAN_RUN_UNDO_WAITING:
            undo_waiting_step(control, run);
            break;
        case PLAN_RUN_ENDED:
        case PLAN_RUN_STATE_COUNT:
            break;
        }
    }
}
