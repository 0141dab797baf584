// SPDX-License-Identifier: Apache-2.0
/* Events: the last ones are kept, each has a number; who asks names the last one he has seen and gets what came after it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "control/control_priv.h"
#include "control/operations_priv.h"
#include "pipeline/time_text.h"

enum { EVENTS_AT_ONCE = 256, EVENT_WAIT_SECONDS = 15 };

// NOLINTNEXTLINE(readability-function-size): the columns of an event
void event_add(struct control *control, const char *kind, const char *subject, const char *state,
               int64_t operation, const char *detail)
{
    struct event *event = &control->events[control->event_count++ % EVENTS_KEPT];
    *event = (struct event){
        .kind = kind, .state = state, .operation = operation, .time_ms = wall_ms(control)};
    IGNORE_RESULT(snprintf(event->subject, sizeof(event->subject), "%s", subject)); /* fits */
    IGNORE_RESULT(snprintf(event->detail, sizeof(event->detail), "%s", detail));    /* fits */
}

static void add_place(struct control *control, const char *state, int32_t stage,
                      const struct partition_place *place, const struct operation *op)
{
    char id[PARTITION_ID_MAX], detail[64] = "";
    const struct stage_plan *plan = node_runtime_stage(control->runtime, stage)->plan;
    partition_id_text(id, plan->pipeline, plan->name, place->shard, place->group_lo,
                      place->group_hi);
    if (strcmp(state, "gone") != 0) {
        IGNORE_RESULT(snprintf(detail, sizeof(detail), "n%d/%d, epoch %" PRIu64, place->node,
                               place->lane, place->epoch)); /* fits */
    }
    event_add(control, "partition", id, state, op->id, detail);
}

void events_add_delta(struct control *control, const struct operation *op,
                      const struct change *change)
{
    struct partition_place place;
    int32_t stage;
    for (int32_t i = 0; change_gone(change, i, &stage, &place); i++) {
        add_place(control, "gone", stage, &place, op);
    }
    for (int32_t i = 0; change_come(change, i, &stage, &place); i++) {
        add_place(control, "owned", stage, &place, op);
    }
}

static void write_event(const struct control *control, struct text *text, const struct event *event,
                        int64_t number)
{
    char time[TIME_TEXT_MAX];
    char id[CONTROL_EVENT_ID_MAX + 1];
    int32_t len = time_write_rfc3339(event->time_ms, time);
    IGNORE_RESULT(snprintf(id, sizeof(id), "%u-%" PRId64, control->incarnation, number)); /* fits */
    struct event_row row = {.id = str_of(id),
                            .time = {time, len},
                            .kind = str_of(event->kind),
                            .subject = str_of(event->subject),
                            .state = str_of(event->state),
                            .operation =
                                event->operation == 0 ? FIELD_I64_UNKNOWN : event->operation,
                            .detail = str_of(event->detail)};
    text_printf(text, "id: %s\nevent: %s\ndata: ", id, event->kind);
    text_json_row(text, &event_entity, &row);
    text_add(text, STR("\n\n"));
}

/* What the asker has not seen: the number of the first such event. `*ret_gap`: of events that are gone, how many at least. */
static int64_t first_unseen(const struct control *control, const char *last_id, int64_t *ret_gap)
{
    char *end = NULL;
    int64_t oldest = control->event_count > EVENTS_KEPT ? control->event_count - EVENTS_KEPT : 0;
    *ret_gap = 0;
    if (last_id[0] == 0) {
        return control->event_count; /* from now on */
    }
    unsigned long long incarnation = strtoull(last_id, &end, 10);
    long long number = *end == '-' ? strtoll(end + 1, NULL, 10) : -2;
    if (incarnation != control->incarnation || number < -1 || number >= control->event_count) {
        *ret_gap = 1; /* of another run of the process: what it saw last is not known here */
        return oldest;
    }
    *ret_gap = number + 1 < oldest ? oldest - number - 1 : 0;
    return number + 1 < oldest ? oldest : number + 1;
}

/* Writes what there is; false: there is nothing. */
static bool write_frames(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    int64_t gap = 0;
    int64_t at = first_unseen(control, request->args.last_event_id, &gap);
    int64_t end =
        at + EVENTS_AT_ONCE < control->event_count ? at + EVENTS_AT_ONCE : control->event_count;
    bool first = request->args.last_event_id[0] == 0;
    if (gap > 0) {
        struct event lost = {
            .kind = "gap", .state = "missed", .time_ms = wall_ms(control), .operation = 0};
        IGNORE_RESULT(snprintf(lost.detail, sizeof(lost.detail),
                               "events were missed; look at what is there now")); /* fits */
        write_event(control, &request->text, &lost, at - 1);
    }
    for (int64_t i = at; i < end; i++) {
        write_event(control, &request->text, &control->events[i % EVENTS_KEPT], i);
    }
    IGNORE_RESULT(snprintf(request->args.last_event_id, sizeof(request->args.last_event_id),
                           "%u-%" PRId64, control->incarnation, end - 1)); /* fits */
    if (first) {
        text_add(&request->text, STR(": from now on\n\n"));
    }
    return gap > 0 || end > at || first;
}

void events_begin(struct job *job)
{
    if (job->control->draining || write_frames(job)) {
        job_answer(job);
        return;
    }
    job->request->deadline_ns = job->control->now_ns + EVENT_WAIT_SECONDS * 1000000000LL;
    job_list_push(&job->control->event_waiters, job);
}

static void watch_runtime(struct control *control)
{
    enum runtime_state state = node_runtime_state(control->runtime);
    int32_t failed = node_runtime_failed_partitions(control->runtime);
    if (state != control->event_runtime) {
        control->event_runtime = state;
        event_add(control, "runtime", "", runtime_state_name(state), 0,
                  state == RUNTIME_FAILED ? node_runtime_problem(control->runtime)->text : "");
    }
    if (failed != control->event_failed) {
        char detail[ERR_TEXT_MAX];
        IGNORE_RESULT(snprintf(detail, sizeof(detail), "%d partitions need an operator%s%.180s",
                               failed, failed > 0 ? ": " : "",
                               failed > 0 ? node_runtime_problem(control->runtime)->text
                                          : "")); /* cut is fine */
        control->event_failed = failed;
        event_add(control, "runtime", "", failed > 0 ? "partitions_failed" : "partitions_well", 0,
                  detail);
    }
    if (node_runtime_rows_left_out(control->runtime) != control->event_left_out) {
        control->event_left_out = node_runtime_rows_left_out(control->runtime);
        event_add(control, "runtime", "", "rows_left_out", 0,
                  node_runtime_left_out(control->runtime));
    }
}

int64_t events_step(struct control *control)
{
    int64_t next_ns = CLOCK_NEVER;
    struct job_list waiting = control->event_waiters;
    struct job *job = NULL;
    watch_runtime(control);
    control->event_waiters = (struct job_list){NULL, NULL};
    while ((job = job_list_pop(&waiting)) != NULL) {
        bool over = control->draining || control->now_ns >= job->request->deadline_ns;
        bool any = write_frames(job);
        if (any || over) {
            text_add(&job->request->text, any ? STR("") : STR(": nothing new\n\n"));
            job_answer(job);
        } else {
            next_ns = job->request->deadline_ns < next_ns ? job->request->deadline_ns : next_ns;
            job_list_push(&control->event_waiters, job);
        }
    }
    return next_ns;
}
