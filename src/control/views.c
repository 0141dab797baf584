// SPDX-License-Identifier: Apache-2.0
/* Questions that other loops answer: samples by the local view, forecasts by the forecaster. */
#include "control/forecaster.h"
#include "control/manager_shell.h"
#include "control/monitor.h"
#include "control/own_stream.h"

static const char *const sample_kinds[] = {"partition", "node", "pipeline"};

/* What a job asks of the view; in the request's arena. */
struct view_ask {
    struct history_op op; /* first */
    struct job *job;
};

void sample_list_begin(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    const struct control_args *args = &request->args;
    if (control->history == NULL) {
        job_failf(job, ERR_UNAVAILABLE, "this process keeps no local view of its samples");
        return;
    }
    struct view_ask *ask = ARENA_NEW(request->arena, struct view_ask);
    ask->job = job;
    ask->op.kind = HISTORY_ASK;
    ask->op.done = &control->history_done;
    ask->op.arena = request->arena;
    ask->op.query = (struct history_query){
        .entity = &sample_entity,
        .rolled = args->rolled,
        .since_ms =
            args->since_seconds > 0 ? monitor_time_ms(control) - args->since_seconds * 1000 : 0,
        .limit = args->limit};
    int count = 0;
    if (args->sample_kind >= 0) {
        ask->op.query.where[count].column = "kind";
        ask->op.query.where[count++].value = str_of(sample_kinds[args->sample_kind]);
    }
    if (args->subject[0] != 0) {
        ask->op.query.where[count].column = "subject";
        ask->op.query.where[count].value = str_of(args->subject);
    }
    mailbox_push(history_mailbox(control->history), &ask->op.msg);
}

static void answer_ask(struct view_ask *ask)
{
    struct job *job = ask->job;
    if (ask->op.err != ERR_OK) {
        job_fail(job, ask->op.err, &ask->op.info);
        return;
    }
    job->request->rows = ask->op.ret_rows;
    job_answer(job);
}

void forecast_list_begin(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    if (control->forecaster == NULL) {
        job_failf(job, ERR_UNAVAILABLE, "this process has no forecaster");
        return;
    }
    struct forecaster_msg *msg = ARENA_NEW(request->arena, struct forecaster_msg);
    msg->kind = request->kind == CONTROL_CORRELATION_LIST ? FORECASTER_CORRELATE : FORECASTER_ASK;
    msg->done = &control->forecaster_done;
    msg->request = request;
    msg->job = job;
    mailbox_push(forecaster_mailbox(control->forecaster), &msg->msg);
}

void correlation_list_begin(struct job *job)
{
    forecast_list_begin(job);
}

static void answer_forecast(struct job *job)
{
    const struct control_args *args = &job->request->args;
    if (args->subject[0] != 0 && job->request->rows.count == 0) {
        job_failf(job, ERR_NOT_FOUND,
                  "nothing is forecast of '%.100s' yet: pipelines and partitions are, by their "
                  "names, once they have a few samples",
                  args->subject);
        return;
    }
    job_answer(job);
}

bool views_take(struct control *control)
{
    struct msg *next = NULL;
    struct msg *msg = mailbox_take_all(&control->history_done);
    bool any = msg != NULL;
    for (; msg != NULL; msg = next) {
        struct history_op *op = CONTAINER_OF(msg, struct history_op, msg);
        next = msg->next;
        if (op->kind != HISTORY_ASK) {
            own_stream_viewed(CONTAINER_OF(op, struct own_stream, op));
        } else if (!manager_past(control, op)) {
            answer_ask(CONTAINER_OF(op, struct view_ask, op));
        }
    }
    msg = mailbox_take_all(&control->forecaster_done);
    any = any || msg != NULL;
    for (; msg != NULL; msg = next) {
        struct forecaster_msg *done = CONTAINER_OF(msg, struct forecaster_msg, msg);
        next = msg->next;
        if (done == &control->manager->leads.msg) {
            leads_take(control, &control->manager->leads);
        } else if (done->kind == FORECASTER_ASK || done->kind == FORECASTER_CORRELATE) {
            answer_forecast(done->job);
        } else {
            manager_forecast(control, done);
        }
    }
    return any;
}
