// SPDX-License-Identifier: Apache-2.0
/* Operations, carried out: the machine of operations.h. Changes are polled: they become final in node_runtime_step(), which
 * runs before operations_step() in the same step of the loop. */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "control/operations_priv.h"

enum {
    CHANGE_TRIES_MAX = 500,
    RECORDS_AT_ONCE = 64,
    RECORD_ARENA_MAX = 4 << 20,
    LOST_TEXT_MAX = 8192
};
#define CHANGE_RETRY_NS (2 * 1000000LL)

/* --- states --- */

/* The only place where a state changes. */
void operation_enter(struct control *control, struct operation *op, enum operation_state state)
{
    CHECK_MSG(operation_follows(op->state, state), "operation %" PRId64 ": %s to %s", op->id,
              operation_state_name(op->state), operation_state_name(state));
    op->state = state;
    control->snapshot_known = control->snapshot_known && !operation_final(op);
    if (op->id != 0) {
        event_add(control, "operation", op->subject, operation_state_name(state), op->id,
                  op->reason);
    }
}

static void count_layout(struct control *control, const struct operation *op)
{
    struct layout_row *row = &control->layouts[op->kind][op->outcome - OPERATION_DONE];
    double pause = (double)op->pause_ns / 1e9;
    row->operations++;
    row->partitions += op->partitions_done;
    row->moved_bytes += op->moved_bytes;
    row->restored += op->restored;
    row->pause_seconds += (double)op->pauses_ns / 1e9;
    row->pause_max_seconds = pause > row->pause_max_seconds ? pause : row->pause_max_seconds;
}

void operation_end(struct control *control, struct operation *op, enum operation_state outcome,
                   enum err err, const char *reason)
{
    op->outcome = outcome;
    op->err = err;
    op->ended_ms = wall_ms(control);
    if (reason != op->reason) {
        IGNORE_RESULT(snprintf(op->reason, sizeof(op->reason), "%s", reason)); /* fits */
    }
    op->run->record_wanted = true;
    operation_enter(control, op, OPERATION_ENDING);
}

static void free_text(struct config_text *text)
{
    if (text != NULL) {
        arena_release(&text->arena);
        mem_free(text);
    }
}

static void free_run(struct control *control, struct operation *op)
{
    struct operation **at = &control->running;
    struct operation_run *run = op->run;
    CHECK(run->change_count == 0 && run->job == NULL && !run->record_out);
    while (*at != NULL && *at != op) {
        at = &(*at)->run->next;
    }
    if (*at == op) {
        *at = run->next;
        control->running_count--;
    }
    free_text(run->text);
    mem_free(run->moves);
    mem_free(run);
    op->run = NULL;
}

/* --- answers --- */

/* What the order was answered with, if somebody waits. */
static void answer_order(struct operation *op, int status)
{
    struct job *job = op->run->job;
    op->run->job = NULL;
    if (job != NULL) {
        operation_answer(job, op, status);
    }
}

static enum err as_refusal(enum err err)
{
    /* The list of what would be lost, or a change that is too late: the caller's to decide, not a failure of the process. */
    return err == ERR_NEEDS_OPERATOR ? ERR_CONFLICT : err;
}

/* It was never an operation. */
/* All that would be lost, a line each: an error's text has room for the first only. */
static void list_lost(struct control *control, const struct operation *op,
                      struct control_request *request)
{
    char buf[LOST_TEXT_MAX];
    const struct config_text *text = op->run->text;
    const struct pipeline_plan *next = text->config->pipelines[op->run->spec.pipeline];
    struct stage_shape *shape = MEM_NEW(struct stage_shape);
    for (int32_t i = 0; i < node_runtime_stage_count(control->runtime); i++) {
        const struct stage_plan *plan = node_runtime_stage(control->runtime, i)->plan;
        if (str_equal(plan->pipeline, op->pipeline) && plan->index < next->stage_count) {
            stage_shape_of(plan, shape);
            if (stage_shape_compare(shape, next->stages[plan->index], buf, sizeof(buf)) > 0) {
                text_add(&request->text, str_of(buf));
            }
        }
    }
    mem_free(shape);
}

void operation_refuse(struct control *control, struct operation *op, enum err err,
                      const struct err_info *info)
{
    struct job *job = op->run->job;
    struct err_info lost;
    op->run->job = NULL;
    job->request->operation = op->run->in_the_way;
    if (err == ERR_NEEDS_OPERATOR && op->kind == OPERATION_PIPELINE) {
        list_lost(control, op, job->request);
        info = &lost;
        IGNORE_RESULT(
            err_set(&lost, ERR_CONFLICT,
                    "the new text cannot go on with all state of the present one, see "
                    "differences; nothing has changed; drop_state (--drop-state) drops it"));
    }
    job_fail(job, as_refusal(err), info);
    free_run(control, op);
    mem_free(op);
}

void operation_refuse_conflict(struct control *control, struct operation *op,
                               const struct operation *other)
{
    struct err_info info;
    enum err err =
        err_set(&info, ERR_CONFLICT,
                "operation %" PRId64 " (%s of %.100s) is under way there; wait for it or cancel it",
                other->id, operation_kind_name(other->kind), other->subject);
    op->run->in_the_way = other->id;
    operation_refuse(control, op, err, &info);
}

/* --- changes --- */

/* The operation whose change it is; NULL: none that has begun. */
static const struct operation *changed_by(const struct control *control, uint64_t change)
{
    for (const struct operation *op = control->running; op != NULL; op = op->run->next) {
        for (int32_t i = 0; i < op->run->change_count; i++) {
            if (op->run->changes[i]->id == change && op->id != 0) {
                return op;
            }
        }
    }
    return NULL;
}

enum err operation_change(struct control *control, struct operation *op,
                          const struct change_spec *spec, struct err_info *info)
{
    struct operation_run *run = op->run;
    uint64_t conflict = 0;
    struct change *change = NULL;
    CHECK(run->change_count < OPERATION_CHANGES_OUT);
    enum err err = change_start(control->runtime, spec, NULL, &change, &conflict, info);
    if (err == ERR_CONFLICT && conflict != 0) {
        /* What another operation only measures is over in a moment; what changes is that operation's. */
        const struct operation *other = changed_by(control, conflict);
        if (other == NULL) {
            return ERR_AGAIN;
        }
        run->in_the_way = other->id;
        return err_set(info, ERR_CONFLICT,
                       "operation %" PRId64
                       " (%s of %.100s) is under way there; wait for it or cancel it",
                       other->id, operation_kind_name(other->kind), other->subject);
    }
    if (err == ERR_OK) {
        run->changes[run->change_count++] = change;
        control->changes_begun = true;
    }
    return err;
}

void operation_add_figures(struct operation *op, const struct change *change)
{
    bool done = change->state == CHANGE_DONE || change->state == CHANGE_NEEDS_OPERATOR;
    op->moved_bytes += change->moved_bytes;
    op->restored += change->restored;
    op->pause_ns = change->pause_ns > op->pause_ns ? change->pause_ns : op->pause_ns;
    op->pauses_ns += change->pause_ns;
    op->map_version = change->map_version != 0 ? (int64_t)change->map_version : op->map_version;
    op->partitions_done += done ? change->partitions : 0;
    op->steps_done += op->kind == OPERATION_NODE_ADD || op->kind == OPERATION_NODE_DRAIN;
}

static void take_measured(struct operation *op, const struct change *change)
{
    op->border = change->border;
    op->upper_share = change->upper_share;
    op->state_bytes = change->state_bytes;
    op->gap_records = change->gap_records;
    op->expected_pause_ns = change->expected_pause_ns;
    op->partitions = change->partitions;
    op->steps = change->steps;
    if (op->kind == OPERATION_SPLIT) {
        op->run->spec.border = change->border;
        if (op->node >= 0) {
            IGNORE_RESULT(snprintf(op->target, sizeof(op->target), "at %u, upper half to n%d/%d",
                                   op->border, op->node, op->lane)); /* fits */
        } else {
            IGNORE_RESULT(snprintf(op->target, sizeof(op->target), "at %u", op->border));
        }
    }
}

/* --- steps; each returns when it is to be stepped again, CLOCK_NEVER: when something has happened --- */

/* The same order came twice at once, and the first is an operation by now: it is the answer to both (O3). */
static bool is_twin(struct control *control, struct operation *op)
{
    struct operation *twin = operations_find_key(&control->operations, str_of(op->key));
    struct job *job = op->run->job;
    if (twin == NULL) {
        return false;
    }
    op->run->job = NULL;
    if (twin->request_hash == op->request_hash) {
        operation_answer(job, twin, operation_final(twin) ? 200 : 202);
    } else {
        operation_other_words(job, twin);
    }
    for (int32_t i = 0; i < op->run->change_count; i++) {
        change_release(op->run->changes[i]); /* it only measures */
    }
    op->run->change_count = 0;
    free_run(control, op);
    mem_free(op);
    return true;
}

static void record_begin(struct control *control, struct operation *op)
{
    struct operation *other = operations_conflict(&control->operations, op);
    if (is_twin(control, op)) {
        return;
    }
    if (other != NULL) {
        operation_refuse_conflict(control, op, other);
        return;
    }
    operations_add(&control->operations, op);
    op->run->record_wanted = true;
    op->run->tries = 0;
    operation_enter(control, op, OPERATION_RECORDING);
}

/* A dry run has its figures. */
static void checked(struct control *control, struct operation *op)
{
    operation_enter(control, op, OPERATION_CHECKED);
    op->ended_ms = wall_ms(control);
    operation_propose(control, op);
    answer_order(op, 200);
    free_run(control, op);
    mem_free(op);
}

/* Whatever is to be done now that the figures are there. */
static void measured(struct control *control, struct operation *op)
{
    if (op->dry_run) {
        checked(control, op);
    } else {
        record_begin(control, op);
    }
}

static int64_t measuring_step(struct control *control, struct operation *op)
{
    struct operation_run *run = op->run;
    struct err_info info;
    if (is_twin(control, op)) {
        return CLOCK_NEVER;
    }
    if (operation_of_node(op)) { /* its figures came with its plan */
        measured(control, op);
        return CLOCK_NEVER;
    }
    if (run->change_count == 0) {
        struct change_spec spec = run->spec;
        spec.flags |= CHANGE_DRY_RUN;
        enum err err = operation_change(control, op, &spec, &info);
        if (err == ERR_AGAIN && run->tries++ < CHANGE_TRIES_MAX) {
            return control->now_ns + CHANGE_RETRY_NS;
        }
        if (err != ERR_OK) {
            if (err == ERR_AGAIN) {
                err = err_set(&info, ERR_CONFLICT, "something else is measured there; ask again");
            }
            operation_refuse(control, op, err, &info);
        }
        return CLOCK_NEVER;
    }
    struct change *change = run->changes[0];
    if (!change_final(change)) {
        return CLOCK_NEVER;
    }
    take_measured(op, change);
    bool known = change->state == CHANGE_CHECKED;
    info = change->info;
    enum err err = change->err;
    run->change_count = 0;
    change_release(change);
    if (known) {
        measured(control, op);
    } else {
        operation_refuse(control, op, err == ERR_OK ? ERR_INTERNAL : err, &info);
    }
    return CLOCK_NEVER;
}

/* Its record is durable. */
static int64_t recording_step(struct control *control, struct operation *op)
{
    struct operation_run *run = op->run;
    struct err_info info;
    if (run->record_wanted || run->record_out) {
        return CLOCK_NEVER;
    }
    if (op->err != ERR_OK) { /* the record could not be written */
        operation_end(control, op, OPERATION_UNDONE, op->err, op->reason);
        return CLOCK_NEVER;
    }
    if (op->cancel_wanted) {
        operation_end(control, op, OPERATION_UNDONE, ERR_CANCELLED, "cancelled before it began");
        return CLOCK_NEVER;
    }
    if (operation_of_node(op)) {
        run->tries = 0;
        operation_enter(control, op, OPERATION_CHANGING);
        answer_order(op, 202);
        return control->now_ns;
    }
    enum err err = operation_change(control, op, &run->spec, &info);
    if (err == ERR_AGAIN && run->tries++ < CHANGE_TRIES_MAX) {
        return control->now_ns + CHANGE_RETRY_NS;
    }
    if (err != ERR_OK) {
        if (err == ERR_AGAIN) {
            err = err_set(&info, ERR_CONFLICT, "something else is measured there; ask again");
        }
        operation_end(control, op, OPERATION_UNDONE, as_refusal(err), info.text);
        return CLOCK_NEVER;
    }
    operation_enter(control, op, OPERATION_CHANGING);
    if (run->text != NULL) { /* the runtime's stages may point into it from now on */
        run->text->next = control->texts;
        control->texts = run->text;
        control->text_count++;
        run->text = NULL;
    }
    answer_order(op, 202);
    return CLOCK_NEVER;
}

static int64_t changing_step(struct control *control, struct operation *op)
{
    struct operation_run *run = op->run;
    if (operation_of_node(op)) {
        return node_step(control, op);
    }
    struct change *change = run->changes[0];
    op->steps_done = change->steps_done;
    op->steps = change->steps;
    if (!change_final(change)) {
        return CLOCK_NEVER;
    }
    struct err_info info = change->info;
    enum err err = change->err;
    enum change_state state = change->state;
    operation_add_figures(op, change);
    events_add_delta(control, op, change);
    run->change_count = 0;
    change_release(change);
    operation_end(control, op,
                  state == CHANGE_DONE             ? OPERATION_DONE
                  : state == CHANGE_NEEDS_OPERATOR ? OPERATION_NEEDS_OPERATOR
                                                   : OPERATION_UNDONE,
                  state == CHANGE_DONE ? ERR_OK
                  : err == ERR_OK      ? ERR_INTERNAL
                                       : err,
                  state == CHANGE_DONE ? "" : info.text);
    return CLOCK_NEVER;
}

/* It ended before it was answered: nothing of it had begun. */
static void answer_undone(struct operation *op)
{
    struct job *job = op->run->job;
    struct err_info info = {.code = op->err};
    memcpy(info.text, op->reason, sizeof(info.text));
    op->run->job = NULL;
    job->request->operation = op->run->in_the_way != 0 ? op->run->in_the_way : op->id;
    job_fail(job, op->err, &info);
}

static int64_t ending_step(struct control *control, struct operation *op)
{
    if (op->run->record_wanted || op->run->record_out) {
        return CLOCK_NEVER;
    }
    operation_enter(control, op, op->outcome);
    op->unfinished = false;
    count_layout(control, op);
    if (op->run->job != NULL && op->outcome == OPERATION_UNDONE) {
        answer_undone(op);
    }
    answer_order(op, 200);
    free_run(control, op);
    return CLOCK_NEVER;
}

static int64_t step(struct control *control, struct operation *op)
{
    switch (op->state) {
    case OPERATION_MEASURING:
        return measuring_step(control, op);
    case OPERATION_RECORDING:
        return recording_step(control, op);
    case OPERATION_CHANGING:
    case OPERATION_UNDOING:
        return changing_step(control, op);
    case OPERATION_ENDING:
        return ending_step(control, op);
    case OPERATION_CHECKED:
    case OPERATION_DONE:
    case OPERATION_UNDONE:
    case OPERATION_NEEDS_OPERATOR:
    case OPERATION_STATE_COUNT:
        break;
    }
    CHECK_MSG(false, "operation %" PRId64 " runs as %s", op->id, operation_state_name(op->state));
    return CLOCK_NEVER;
}

/* --- records: those that wait go together, one append in flight --- */

static void records_written(struct job *job)
{
    struct control *control = job->control;
    enum err err = job->one.op.err;
    control->records_out = false;
    for (struct operation *op = control->running; op != NULL; op = op->run->next) {
        if (!op->run->record_out) {
            continue;
        }
        op->run->record_out = false;
        if (err != ERR_OK && op->state == OPERATION_RECORDING) {
            op->err = err;
            IGNORE_RESULT(snprintf(op->reason, sizeof(op->reason),
                                   "it could not be recorded: %.200s",
                                   job->one.op.info.text)); /* fits */
        }
    }
}

/* NULL: none waits. The first records of operations come in the order of their ids: a start takes an id that is lower than one
 * it has for one whose first record was trimmed. */
static struct operation *first_unwritten(const struct control *control)
{
    struct operation *first = NULL;
    for (struct operation *op = control->running; op != NULL; op = op->run->next) {
        if (op->run->record_wanted && (first == NULL || op->id < first->id)) {
            first = op;
        }
    }
    return first;
}

static void write_records(struct control *control)
{
    struct record_builder *builder = &control->operation_builder;
    struct arena arena;
    void *bytes = NULL;
    ptrdiff_t len = 0;
    int32_t count = 0;
    arena_init(&arena, RECORD_ARENA_MAX);
    record_builder_reset(builder);
    for (struct operation *op = first_unwritten(control); op != NULL && count < RECORDS_AT_ONCE;
         op = first_unwritten(control)) {
        struct str value = operation_write(op, &arena);
        CHECK(value.len <= OPERATION_RECORD_MAX);
        CHECK(record_builder_add(builder, &(struct record){.timestamp_ms = wall_ms(control),
                                                           .value = value}) == ERR_OK);
        op->run->record_wanted = false;
        op->run->record_out = true;
        count++;
    }
    arena_release(&arena);
    if (count == 0) {
        return;
    }
    CHECK(record_builder_finish(builder, RECORD_PRODUCER_NONE, &bytes, &len, NULL) == ERR_OK);
    control->records_out = true;
    struct job *job = &control->record_job;
    *job = (struct job){.control = control};
    struct log_op *op = job_op(job, LOG_OP_APPEND, records_written);
    op->u.append =
        (struct log_append_op){.shard = control->operations_shard, .batch = bytes, .bytes = len};
    job_submit(job, &job->one);
}

int64_t operations_step(struct control *control)
{
    int64_t next_ns = CLOCK_NEVER;
    struct operation *next = NULL;
    if (!control_serving(control)) {
        return CLOCK_NEVER;
    }
    control->changes_begun = false;
    operations_resolve(control);
    for (struct operation *op = control->running; op != NULL; op = next) {
        struct operation_run *run = op->run;
        next = run->next;
        if (run->due_ns <= control->now_ns || op->cancel_wanted) {
            int64_t due_ns = step(control, op);
            if (due_ns != CLOCK_NEVER) { /* else it may be gone */
                run->due_ns = due_ns;
                next_ns = due_ns < next_ns ? due_ns : next_ns;
            }
        } else {
            next_ns = run->due_ns < next_ns ? run->due_ns : next_ns;
        }
    }
    if (!control->records_out) {
        write_records(control);
    }
    /* A change that was begun is stepped by the runtime: soon. */
    return control->changes_begun ? control->now_ns : next_ns;
}

void operation_run_begin(struct control *control, struct operation *op)
{
    op->run->next = control->running;
    control->running = op;
    control->running_count++;
}

void operation_resume(struct control *control, struct operation *op)
{
    CHECK(op->run == NULL);
    op->run = MEM_NEW(struct operation_run);
    operation_run_begin(control, op);
}

/* --- end --- */

void operations_free(struct control *control)
{
    while (control->running != NULL) {
        struct operation *op = control->running;
        for (int32_t i = 0; i < op->run->change_count; i++) {
            change_release(op->run->changes[i]);
        }
        bool listed = op->id != 0;
        op->run->change_count = 0;
        op->run->job = NULL;
        op->run->record_out = false;
        free_run(control, op);
        if (!listed) {
            mem_free(op);
        }
    }
    operations_release(&control->operations);
    record_builder_release(&control->operation_builder);
}

void texts_free(struct control *control)
{
    while (control->texts != NULL) {
        struct config_text *text = control->texts;
        control->texts = text->next;
        free_text(text);
    }
}
