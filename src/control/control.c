// SPDX-License-Identifier: Apache-2.0
/* The loop: requests in, jobs on, ops out and back, answers out. */
#include "control/control.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "control/control_priv.h"
#include "control/ledger.h"
#include "control/manager_shell.h"
#include "control/monitor.h"
#include "control/own_stream.h"
#include "control/shadows_priv.h"

enum { ROUNDS_MAX = 1000, SCRATCH_MAX = 256 << 20 };

/* --- jobs --- */

void job_list_push(struct job_list *list, struct job *job)
{
    job->next = NULL;
    if (list->first == NULL) {
        list->first = job;
    } else {
        list->last->next = job;
    }
    list->last = job;
}

struct job *job_list_pop(struct job_list *list)
{
    struct job *job = list->first;
    if (job != NULL) {
        list->first = job->next;
        job->next = NULL;
    }
    return job;
}

struct log_op *job_op(struct job *job, enum log_op_kind kind, job_fn then)
{
    CHECK(job->op_count == 0);
    job->one.op = (struct log_op){.kind = kind};
    job->then = then;
    return &job->one.op;
}

void job_submit(struct job *job, struct job_op *op)
{
    op->job = job;
    op->tries = 0;
    op->op.done = &job->control->completions;
    op->op.err = ERR_OK;
    job->op_count++;
    log_submit(job->control->log, &op->op);
}

void job_done(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    CHECK(job->op_count == 0 && request != NULL);
    *job = (struct job){.control = control, .next = control->free_jobs};
    control->free_jobs = job;
    mailbox_push(request->done, &request->msg);
}

static void finish(struct job *job)
{
    bool serving = control_serving(job->control);
    if (job->request->who.audit && serving) {
        audit_add(job);
    } else {
        job_done(job);
    }
}

void job_answer(struct job *job)
{
    job->request->err = ERR_OK;
    finish(job);
}

void job_fail(struct job *job, enum err err, const struct err_info *info)
{
    CHECK(err != ERR_OK);
    if (err == ERR_NO_SPACE) {
        job->control->no_space_ns = job->control->now_ns;
    }
    job->request->err = err;
    job->request->info = *info;
    job->request->info.code = err;
    finish(job);
}

void job_failf(struct job *job, enum err err, const char *fmt, ...)
{
    struct err_info info = {.code = err};
    va_list args;
    va_start(args, fmt);
    IGNORE_RESULT(vsnprintf(info.text, sizeof(info.text), fmt, args)); /* cut is the contract */
    va_end(args);
    job_fail(job, err, &info);
}

bool job_op_failed(struct job *job)
{
    if (job->one.op.err == ERR_OK) {
        return false;
    }
    if (job->one.op.info.text[0] == 0) {
        IGNORE_RESULT(err_set(&job->one.op.info, job->one.op.err, "%s",
                              err_text(job->one.op.err))); /* only the text is wanted */
    }
    job_fail(job, job->one.op.err, &job->one.op.info);
    return true;
}

bool name_reserved(struct str name)
{
    return str_starts_with(name, STR("sc."));
}

int64_t wall_ms(const struct control *control)
{
    return clock_wall_unix_ms(control->clock);
}

/* --- requests --- */

static void refuse_start(struct job *job)
{
    struct control *control = job->control;
    if (control->state == CONTROL_FAILED) {
        job_fail(job, ERR_UNAVAILABLE, &control->why);
    } else {
        job_failf(job, ERR_UNAVAILABLE, "starting; /readyz says when it is done");
    }
}

static const job_fn begins[CONTROL_KIND_COUNT] = {
    [CONTROL_STREAM_LIST] = stream_list_begin,
    [CONTROL_STREAM_GET] = stream_get_begin,
    [CONTROL_STREAM_CREATE] = stream_create_begin,
    [CONTROL_STREAM_ALTER] = stream_alter_begin,
    [CONTROL_STREAM_DELETE] = stream_delete_begin,
    [CONTROL_SHARD_LIST] = shard_list_begin,
    [CONTROL_INGEST] = ingest_begin,
    [CONTROL_READ] = read_begin,
    [CONTROL_END] = end_begin,
    [CONTROL_PRODUCER_NEW] = producer_begin,
    [CONTROL_PARTITION_LIST] = figures_begin,
    [CONTROL_LANE_LIST] = figures_begin,
    [CONTROL_PIPELINE_LIST] = figures_begin,
    [CONTROL_PARTITION_GET] = figures_begin,
    [CONTROL_PARTITION_SPLIT] = figures_begin,
    [CONTROL_PARTITION_MERGE] = figures_begin,
    [CONTROL_PARTITION_MIGRATE] = figures_begin,
    [CONTROL_NODE_ADD] = figures_begin,
    [CONTROL_NODE_DRAIN] = figures_begin,
    [CONTROL_PIPELINE_REPLACE] = figures_begin,
    [CONTROL_PIPELINE_GET] = figures_begin,
    [CONTROL_PIPELINE_TEXT] = pipeline_text_begin,
    [CONTROL_NODE_LIST] = figures_begin,
    [CONTROL_OPERATION_LIST] = operation_list_begin,
    [CONTROL_OPERATION_GET] = operation_get_begin,
    [CONTROL_OPERATION_CANCEL] = operation_cancel_begin,
    [CONTROL_SAMPLE_LIST] = sample_list_begin,
    [CONTROL_FORECAST_LIST] = forecast_list_begin,
    [CONTROL_SHADOW_LIST] = shadow_list_begin,
    [CONTROL_SHADOW_GET] = shadow_get_begin,
    [CONTROL_SHADOW_START] = figures_begin,
    [CONTROL_SHADOW_STOP] = shadow_stop_begin,
    [CONTROL_SHADOW_PROFILE] = shadow_profile_begin,
    [CONTROL_SHADOW_COMPARE] = shadow_compare_begin,
    [CONTROL_CANDIDATE_LIST] = shadow_list_begin,
    [CONTROL_CANDIDATE_GET] = shadow_get_begin,
    [CONTROL_CANDIDATE_START] = figures_begin,
    [CONTROL_CANDIDATE_STOP] = shadow_stop_begin,
    [CONTROL_CANDIDATE_PROFILE] = shadow_profile_begin,
    [CONTROL_CANDIDATE_PROMOTE] = candidate_promote_begin,
    [CONTROL_CANDIDATE_TEXT] = candidate_text_begin,
    [CONTROL_SHADOWING_GET] = shadowing_get_begin,
    [CONTROL_SHADOWING_SET] = shadowing_set_begin,
    [CONTROL_MANAGER_GET] = manager_list_begin,
    [CONTROL_MANAGER_MODE] = manager_mode_begin,
    [CONTROL_DECISION_LIST] = decision_list_begin,
    [CONTROL_DECISION_GET] = decision_get_begin,
    [CONTROL_PLAN_LIST] = plan_list_begin,
    [CONTROL_PLAN_GET] = plan_get_begin,
    [CONTROL_PLAN_APPLY] = plan_apply_begin,
    [CONTROL_PLAN_CANCEL] = plan_cancel_begin,
    [CONTROL_PLAN_UNDO] = plan_undo_begin,
    [CONTROL_PLAN_JOIN] = plan_join_begin,
    [CONTROL_CORRELATION_LIST] = correlation_list_begin,
    [CONTROL_STORE_LIST] = store_list_begin,
    [CONTROL_EVENTS] = events_begin,
    [CONTROL_LIVE] = health_answer,
    [CONTROL_READY] = health_answer,
    [CONTROL_FIGURES] = figures_begin,
};

static void begin(struct control *control, struct control_request *request)
{
    struct job *job = control->free_jobs;
    CHECK((unsigned)request->kind < CONTROL_KIND_COUNT && job != NULL);
    control->free_jobs = job->next;
    *job = (struct job){.control = control, .request = request};
    bool needs_no_log = request->kind == CONTROL_LIVE || request->kind == CONTROL_READY ||
                        request->kind == CONTROL_FIGURES;
    if (control_serving(control) || needs_no_log) {
        begins[request->kind](job);
    } else {
        refuse_start(job);
    }
}

static bool take_requests(struct control *control)
{
    struct msg *next = NULL;
    struct msg *msg = mailbox_take_all(&control->requests);
    bool any = msg != NULL;
    for (; msg != NULL; msg = next) {
        struct control_request *request = CONTAINER_OF(msg, struct control_request, msg);
        next = msg->next;
        request->next = NULL;
        if (control->waiting_first == NULL) {
            control->waiting_first = request;
        } else {
            control->waiting_last->next = request;
        }
        control->waiting_last = request;
    }
    while (control->waiting_first != NULL && control->free_jobs != NULL) {
        struct control_request *request = control->waiting_first;
        control->waiting_first = request->next;
        begin(control, request);
    }
    return any;
}

/* --- completions --- */

static void complete(struct control *control, struct job_op *op)
{
    struct job *job = op->job;
    bool again = op->op.err == ERR_AGAIN;
    if (again && (op->tries < AGAIN_TRIES_MAX || op->op.kind == LOG_OP_COMMIT)) {
        op->tries++;
        op->due_ns = control->now_ns + AGAIN_PAUSE_NS; /* J2 */
        op->next = control->again;
        control->again = op;
        return;
    }
    CHECK(job->op_count > 0);
    job->op_count--;
    if (job->op_count == 0) {
        job->then(job);
    }
}

static bool take_completions(struct control *control)
{
    struct msg *next = NULL;
    struct msg *msg = mailbox_take_all(&control->completions);
    bool any = msg != NULL;
    for (; msg != NULL; msg = next) {
        next = msg->next;
        complete(control, CONTAINER_OF(msg, struct job_op, op.msg));
    }
    msg = mailbox_take_all(&control->lane_replies);
    any = any || msg != NULL;
    for (; msg != NULL; msg = next) {
        next = msg->next;
        figures_reply(control, CONTAINER_OF(msg, struct lane_command, msg));
    }
    any = views_take(control) || any;
    return details_take(control) || any;
}

/* Submits again what is due; returns when the next one is. */
static int64_t try_again(struct control *control)
{
    int64_t next_ns = CLOCK_NEVER;
    struct job_op *op = control->again;
    control->again = NULL;
    while (op != NULL) {
        struct job_op *next = op->next;
        if (op->due_ns <= control->now_ns) {
            op->op.err = ERR_OK;
            log_submit(control->log, &op->op);
        } else {
            next_ns = op->due_ns < next_ns ? op->due_ns : next_ns;
            op->next = control->again;
            control->again = op;
        }
        op = next;
    }
    return next_ns;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t control_step(void *ctx, int64_t now_ns)
{
    struct control *control = ctx;
    int64_t next_ns = CLOCK_NEVER;
    bool more = true;
    control->now_ns = now_ns;
    if (control->start_job.control == NULL) {
        control->started_ns = now_ns;
        start_begin(control);
    }
    next_ns = node_runtime_step(control->runtime, now_ns);
    for (int round = 0; more && round < ROUNDS_MAX; round++) {
        next_ns = earlier(next_ns, try_again(control));
        more = take_requests(control);
        more = take_completions(control) || more;
        ingest_commit_step(control);
        audit_step(control);
    }
    next_ns = earlier(next_ns, read_step(control));
    next_ns = earlier(next_ns, figures_step(control));
    next_ns = earlier(next_ns, manager_run(control));
    next_ns = earlier(next_ns, shadows_step(control));
    next_ns = earlier(next_ns, shadows_answer(control));
    next_ns = earlier(next_ns, stores_step(control));
    next_ns = earlier(next_ns, operations_step(control));
    next_ns = earlier(next_ns, own_streams_step(control));
    next_ns = earlier(next_ns, operations_answer(control));
    next_ns = earlier(next_ns, events_step(control));
    audit_step(control); /* of orders that were answered just now */
    return more ? now_ns : next_ns;
}

/* --- life --- */

static void init_mailboxes(struct control *control)
{
    struct mailbox *all[] = {
        &control->requests,     &control->completions,     &control->lane_replies,
        &control->details,      &control->shadow_replies,  &control->shadow_details,
        &control->history_done, &control->forecaster_done, &control->plan_done};
    for (int i = 0; i < COUNT_OF(all); i++) {
        mailbox_init(all[i], control->waker);
    }
}

enum err control_new(const struct control_options *options, struct control **ret_control,
                     struct err_info *info)
{
    struct node_runtime *runtime = NULL;
    enum err err = node_runtime_new(
        &(struct node_runtime_options){.config = options->config,
                                       .log = options->log,
                                       .clock = options->clock,
                                       .fs = options->fs,
                                       .flags = options->runtime_flags,
                                       .load = config_load,
                                       .tuning = options->tuning,
                                       .shadow_budget = options->shadow_budget,
                                       .shadow_memory_bytes = options->shadow_memory_bytes},
        &runtime, info);
    if (err != ERR_OK) {
        return err;
    }
    struct control *control = MEM_NEW(struct control);
    control->log = options->log;
    control->clock = options->clock;
    control->config = options->config;
    control->runtime = runtime;
    control->waker = node_runtime_waker(runtime);
    init_mailboxes(control);
    rng_init(&control->rng, options->seed);
    control->stores = options->stores;
    control->store_count = options->store_count;
    control->past = options->past;
    control->rival_params = options->rival_params;
    control->history = options->history;
    control->forecaster = options->forecaster;
    control->pool = MEM_NEW_ARRAY(struct job, JOBS_MAX);
    for (int i = JOBS_MAX - 1; i >= 0; i--) {
        control->pool[i] = (struct job){.control = control, .next = control->free_jobs};
        control->free_jobs = &control->pool[i];
    }
    for (int i = 0; i < READ_SLOTS; i++) {
        control->slots[i].reader = log_reader_new(control->log);
    }
    record_reader_init(&control->record_reader);
    control->json = json_reader_new();
    arena_init(&control->scratch, SCRATCH_MAX);
    control->commit_batches = MEM_NEW_ARRAY(struct log_batch, COMMIT_BATCHES_MAX);
    control->dedupe = dedupe_new(DEDUPE_ENTRIES_MAX);
    control->builders = MEM_NEW_ARRAY(struct record_builder, LOG_SHARDS_PER_STREAM_MAX);
    for (int i = 0; i < LOG_SHARDS_PER_STREAM_MAX; i++) {
        record_builder_init(&control->builders[i], RECORD_CODEC_NONE);
    }
    record_builder_init(&control->entries, RECORD_CODEC_NONE);
    record_builder_init(&control->audit_builder, RECORD_CODEC_NONE);
    record_builder_init(&control->operation_builder, RECORD_CODEC_NONE);
    operations_init(&control->operations);
    control->events = MEM_NEW_ARRAY(struct event, EVENTS_KEPT);
    control->lane_count = node_runtime_lane_count(runtime);
    control->lanes = MEM_NEW_ARRAY(struct lane_view, control->lane_count);
    own_streams_init(control);
    shadows_init(&control->shadows);
    shadows_watch_init(control);
    stores_init(control);
    control->monitor = monitor_new(control);
    control->ledger = MEM_NEW(struct ledger);
    ledger_init(control->ledger);
    manager_shell_new(control);
    *ret_control = control;
    return ERR_OK;
}

void control_free(struct control *control)
{
    if (control == NULL) {
        return;
    }
    for (int i = 0; i < READ_SLOTS; i++) {
        log_reader_free(control->log, control->slots[i].reader);
        mem_free(control->slots[i].buf);
    }
    for (int i = 0; i < LOG_SHARDS_PER_STREAM_MAX; i++) {
        record_builder_release(&control->builders[i]);
    }
    for (int32_t i = 0; i < control->lane_count; i++) {
        mem_free(control->lanes[i].reports);
        mem_free(control->lanes[i].filling);
    }
    record_builder_release(&control->entries);
    record_builder_release(&control->audit_builder);
    record_reader_release(&control->record_reader);
    json_reader_free(control->json);
    json_reader_free(control->key_json);
    arena_release(&control->scratch);
    dedupe_free(control->dedupe);
    stores_free(control);
    operations_free(control);            /* gives back changes of the runtime */
    node_runtime_free(control->runtime); /* its lanes may hold commands of those below */
    manager_shell_free(control);
    ledger_release(control->ledger);
    mem_free(control->ledger);
    monitor_free(control->monitor);
    own_streams_release(control);
    shadows_free(control); /* its shadows ran by candidates' texts */
    texts_free(control);
    mem_free(control->events);
    mem_free(control->checkpoint_bytes);
    mem_free(control->builders);
    mem_free(control->commit_batches);
    mem_free(control->lanes);
    mem_free(control->pool);
    mem_free(control->start_job.rows); /* stopped before it had started */
    mem_free(control);
}

struct waker *control_waker(struct control *control)
{
    return control->waker;
}

struct mailbox *control_mailbox(struct control *control)
{
    return &control->requests;
}

struct node_runtime *control_runtime(struct control *control)
{
    return control->runtime;
}

bool control_serving(const struct control *control)
{
    return control->state == CONTROL_SERVING;
}

const char *control_left_over(const struct control *control)
{
    return control_serving(control) ? control->left_over : "";
}

bool control_failed(const struct control *control, struct err_info *ret_why)
{
    if (control->state != CONTROL_FAILED) {
        return false;
    }
    *ret_why = control->why; /* written once, before the state */
    return true;
}

void control_fail(struct control *control, const struct err_info *why)
{
    if (control->state != CONTROL_FAILED) {
        control->why = *why;
        control->state = CONTROL_FAILED;
    }
}

void control_drain(struct control *control)
{
    control->draining = true;
    waker_wake(control->waker);
}
