// SPDX-License-Identifier: Apache-2.0
/* Orders, and questions about what became of them. */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "control/operations_priv.h"

/* --- answers --- */

void operation_answer(struct job *job, const struct operation *op, int status)
{
    struct control_request *request = job->request;
    struct operation_row *row = ARENA_NEW(request->arena, struct operation_row);
    struct operation *copy = ARENA_NEW(request->arena, struct operation);
    *copy = *op; /* its texts are the row's */
    *row = operation_row_of(copy, request->arena);
    request->rows = (struct control_rows){.entity = &operation_entity, .rows = row, .count = 1};
    request->status = status;
    request->operation = op->id;
    job_answer(job);
}

void operation_other_words(struct job *job, const struct operation *first)
{
    job->request->operation = first->id;
    job_failf(job, ERR_CONFLICT,
              "this Idempotency-Key stands for operation %" PRId64
              ", which was asked for in other words; use a new one",
              first->id);
}

/* --- orders --- */

static enum operation_kind kind_of(enum control_kind kind)
{
    switch ((int)kind) {
    case CONTROL_PARTITION_SPLIT:
        return OPERATION_SPLIT;
    case CONTROL_PARTITION_MERGE:
        return OPERATION_MERGE;
    case CONTROL_PARTITION_MIGRATE:
        return OPERATION_MIGRATE;
    case CONTROL_NODE_ADD:
        return OPERATION_NODE_ADD;
    case CONTROL_NODE_DRAIN:
        return OPERATION_NODE_DRAIN;
    default:
        CHECK(kind == CONTROL_PIPELINE_REPLACE);
        return OPERATION_PIPELINE;
    }
}

static uint64_t hash_of(const struct control_request *request)
{
    const struct control_args *a = &request->args;
    struct text text;
    text_init(&text, request->arena);
    text_printf(&text, "%d|%s|%s|%lld|%s|%s|%s|%s|%lld|%d|%d|%d|", (int)request->kind, a->pipeline,
                a->stage, (long long)a->shard, a->range, a->with, a->to, a->node,
                (long long)a->border, a->apply, a->drop_state, a->bare);
    if (request->kind == CONTROL_PIPELINE_REPLACE) {
        text_add(&text, request->body);
    }
    struct str all = text_str(&text);
    return hash64(all.ptr, all.len);
}

/* The order was given before, under this key: true, answered. */
static bool answer_again(struct job *job, uint64_t hash)
{
    struct control *control = job->control;
    struct operation *first =
        operations_find_key(&control->operations, str_of(job->request->args.idempotency_key));
    if (first == NULL) {
        return false;
    }
    if (first->request_hash != hash) {
        operation_other_words(job, first);
        return true;
    }
    operation_answer(job, first, operation_final(first) ? 200 : 202);
    return true;
}

static struct operation *operation_new(struct control *control, struct job *job, uint64_t hash)
{
    const struct control_request *request = job->request;
    struct operation *op = MEM_NEW(struct operation);
    op->kind = kind_of(request->kind);
    op->state = OPERATION_MEASURING;
    op->dry_run = !request->args.apply;
    op->request_hash = hash;
    op->began_ms = wall_ms(control);
    op->stage = op->node = op->lane = -1;
    memcpy(op->who, request->who.name, sizeof(op->who));
    if (!op->dry_run) {
        memcpy(op->key, request->args.idempotency_key, sizeof(op->key));
    }
    op->run = MEM_NEW(struct operation_run);
    op->run->job = job;
    op->run->bare = request->args.bare;
    return op;
}

/* Figures are fresh. */
void operation_begin(struct job *job)
{
    struct control *control = job->control;
    struct err_info info;
    uint64_t hash = hash_of(job->request);
    if (job->request->args.apply && answer_again(job, hash)) {
        return;
    }
    if (control->running_count >= OPERATIONS_ACTIVE_MAX) {
        job_failf(job, ERR_BUSY, "%d operations are under way; wait for some of them",
                  OPERATIONS_ACTIVE_MAX);
        return;
    }
    struct operation *op = operation_new(control, job, hash);
    operation_run_begin(control, op);
    enum err err = order_read(control, job->request, op, &info);
    memcpy(job->request->subject, op->subject, sizeof(job->request->subject));
    if (err != ERR_OK) {
        operation_refuse(control, op, err, &info);
        return;
    }
    struct operation *other = operations_conflict(&control->operations, op);
    if (other != NULL) {
        operation_refuse_conflict(control, op, other);
        return;
    }
    if (op->kind == OPERATION_PIPELINE && control->text_count >= CONFIG_TEXTS_MAX) {
        IGNORE_RESULT(err_set(&info, ERR_LIMIT,
                              "texts were replaced %d times; a restart makes room for more",
                              CONFIG_TEXTS_MAX)); /* told below */
        operation_refuse(control, op, ERR_LIMIT, &info);
        return;
    }
}

/* --- questions --- */

void operation_list_begin(struct job *job)
{
    struct control_request *request = job->request;
    const struct operations *ops = &job->control->operations;
    struct operation_row *rows =
        ARENA_NEW_ARRAY(request->arena, struct operation_row, request->args.limit);
    int32_t count = 0;
    for (int32_t i = ops->count - 1; i >= 0 && count < request->args.limit; i--) {
        if (!request->args.active || !operation_final(ops->all[i])) {
            struct operation *copy = ARENA_NEW(request->arena, struct operation);
            *copy = *ops->all[i];
            rows[count++] = operation_row_of(copy, request->arena);
        }
    }
    request->rows =
        (struct control_rows){.entity = &operation_entity, .rows = rows, .count = count};
    job_answer(job);
}

static struct operation *named(struct job *job)
{
    struct operations *ops = &job->control->operations;
    struct operation *op = operations_find(ops, job->request->args.operation);
    if (op == NULL) {
        job_failf(
            job, ERR_NOT_FOUND,
            ops->count == 0 ? "operation %" PRId64 " is not known; there are none yet"
                            : "operation %" PRId64 " is not known; %" PRId64 " to %" PRId64 " are",
            job->request->args.operation, ops->count == 0 ? 0 : ops->all[0]->id, ops->last_id);
    }
    return op;
}

void operation_get_begin(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    struct operation *op = named(job);
    if (op == NULL) {
        return;
    }
    if (operation_final(op) || request->args.wait_seconds == 0) {
        operation_answer(job, op, 0);
        return;
    }
    request->deadline_ns = control->now_ns + request->args.wait_seconds * 1000000000LL;
    job_list_push(&control->operation_waiters, job);
}

int64_t operations_answer(struct control *control)
{
    int64_t next_ns = CLOCK_NEVER;
    struct job_list waiting = control->operation_waiters;
    struct job *job = NULL;
    control->operation_waiters = (struct job_list){NULL, NULL};
    while ((job = job_list_pop(&waiting)) != NULL) {
        const struct control_request *request = job->request;
        struct operation *op = operations_find(&control->operations, request->args.operation);
        if (op == NULL || operation_final(op) || control->now_ns >= request->deadline_ns ||
            control->draining) {
            op = named(job);
            if (op != NULL) {
                operation_answer(job, op, 0);
            }
        } else {
            next_ns = request->deadline_ns < next_ns ? request->deadline_ns : next_ns;
            job_list_push(&control->operation_waiters, job);
        }
    }
    return next_ns;
}

void operation_cancel_begin(struct job *job)
{
    struct operation *op = named(job);
    struct err_info info;
    if (op == NULL) {
        return;
    }
    memcpy(job->request->subject, op->subject, sizeof(job->request->subject));
    job->request->operation = op->id;
    if (operation_final(op) || op->state == OPERATION_ENDING) {
        job_failf(job, ERR_CONFLICT, "operation %" PRId64 " has ended as %s: nothing to cancel",
                  op->id,
                  operation_state_name(op->state == OPERATION_ENDING ? op->outcome : op->state));
        return;
    }
    for (int32_t i = 0; op->run != NULL && i < op->run->change_count; i++) {
        enum err err = change_cancel(op->run->changes[i], &info);
        if (err != ERR_OK && !operation_of_node(op)) {
            job_fail(job, err, &info);
            return;
        }
    }
    op->cancel_wanted = true;
    operation_answer(job, op, 202);
}
