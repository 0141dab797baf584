// SPDX-License-Identifier: Apache-2.0
/* Figures and health. Lanes are asked for a snapshot when somebody asks and the last one is not fresh any more. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/control_priv.h"

enum { REPORTS_FIRST = 64, CHECKS_MAX = 8, REPORTS_MAX = 1 << 20 };
#define NO_SPACE_SHOWN_NS (10 * 1000000000LL)

static struct str copy_text(struct control_request *request, struct str text)
{
    return (struct str){arena_dup(request->arena, text.ptr, text.len), text.len};
}

static double seconds(int64_t ns)
{
    return (double)ns / 1e9;
}

/* --- snapshots --- */

static void make_room(struct lane_view *view, int32_t cap)
{
    if (view->filling_cap < cap) {
        mem_free(view->filling);
        view->filling = MEM_NEW_ARRAY(struct partition_report, cap);
        view->filling_cap = cap;
    }
}

static void ask_lane(struct control *control, int32_t index)
{
    struct lane_view *view = &control->lanes[index];
    make_room(view, view->report_cap > REPORTS_FIRST ? view->report_cap : REPORTS_FIRST);
    view->control = control;
    view->out = true;
    view->command = (struct lane_command){.kind = LANE_SNAPSHOT, .reply = &control->lane_replies};
    view->command.u.snapshot =
        (struct lane_snapshot){.reports = view->filling, .cap = view->filling_cap};
    control->lanes_out++;
    lane_send(node_runtime_lane(control->runtime, index), &view->command);
}

/* What was filled is what is read from now on. */
static void take_filled(struct lane_view *view)
{
    const struct lane_snapshot *snapshot = &view->command.u.snapshot;
    struct partition_report *before = view->reports;
    int32_t cap = view->report_cap;
    view->reports = view->filling;
    view->report_cap = view->filling_cap;
    view->filling = before;
    view->filling_cap = cap;
    view->figures = snapshot->ret_lane;
    view->report_count =
        snapshot->ret_count < view->report_cap ? snapshot->ret_count : view->report_cap;
}

void figures_reply(struct control *control, struct lane_command *command)
{
    struct lane_view *view = CONTAINER_OF(command, struct lane_view, command);
    int32_t count = command->u.snapshot.ret_count;
    CHECK(view->out);
    view->out = false;
    control->lanes_out--;
    if (command->err != ERR_OK) {
        view->report_count = 0;
    } else if (count > view->filling_cap && count < REPORTS_MAX) {
        make_room(view, count * 2);
        ask_lane(control, (int32_t)(view - control->lanes));
    } else {
        take_filled(view);
    }
}

/* --- rows --- */

/* Not known before the first record, and without end behind the last. */
static double watermark_seconds(int64_t watermark_ms)
{
    bool known = watermark_ms != INT64_MIN && watermark_ms != INT64_MAX;
    return known ? (double)watermark_ms / 1e3 : (double)NAN;
}

static struct partition_row partition_of(struct control *control, struct control_request *request,
                                         const struct partition_report *report, int lane, int node)
{
    const struct stage *stage = node_runtime_stage(control->runtime, report->stage);
    const struct partition_figures *f = &report->figures;
    char id[PARTITION_ID_MAX];
    char node_text[16];
    struct str pipeline = stage->plan->pipeline;
    partition_id_text(id, pipeline, stage->plan->name, report->shard, report->group_lo,
                      report->group_hi);
    struct str id_text = copy_text(request, str_of(id));
    ptrdiff_t prefix = pipeline.len + stage->plan->name.len + 2;
    IGNORE_RESULT(snprintf(node_text, sizeof(node_text), "n%d", node)); /* fits */
    const char *problem = report->problem;
    if (problem[0] == 0 && report->stall != STALL_NONE) {
        problem = stall_reason_name(report->stall);
    }
    return (struct partition_row){
        .id = id_text,
        .pipeline = pipeline,
        .stage = stage->plan->name,
        .partition = {id_text.ptr + prefix, id_text.len - prefix},
        .node = copy_text(request, str_of(node_text)),
        .lane = lane,
        .epoch = (int64_t)report->epoch,
        .state = str_of(partition_state_name(report->state)),
        .records_in = f->records_in,
        .records_out = f->records_out,
        .records_in_per_second = f->own_rate,
        .lag_records = f->lag_records,
        .lag_seconds = seconds(f->lag_ns),
        .rejected = f->dead_letters,
        .late = f->late,
        .commits = f->commits,
        .records_read = f->records_read,
        .in_bytes = f->bytes_in,
        .out_bytes = f->bytes_out,
        .watermark_seconds = watermark_seconds(f->watermark_ms),
        .state_entries = f->state_entries,
        .state_bytes = f->state_bytes,
        .read_cost_seconds = seconds(f->read_cpu_ns),
        .work_cost_seconds = seconds(f->work_cpu_ns),
        .demand_ratio = f->demand,
        .problem = copy_text(request, str_of(problem)),
    };
}

struct placed_report {
    const struct partition_report *report;
    int32_t lane; /* among the lanes of all nodes */
};

/* As people look for them: by stage in the order of the file, shard, range. */
static int compare_reports(const void *left, const void *right)
{
    const struct partition_report *a = ((const struct placed_report *)left)->report;
    const struct partition_report *b = ((const struct placed_report *)right)->report;
    if (a->stage != b->stage) {
        return a->stage < b->stage ? -1 : 1;
    }
    if (a->shard != b->shard) {
        return a->shard < b->shard ? -1 : 1;
    }
    return (a->group_lo > b->group_lo) - (a->group_lo < b->group_lo);
}

static struct control_rows partition_rows(struct control *control, struct control_request *request)
{
    int32_t count = 0;
    for (int32_t i = 0; i < control->lane_count; i++) {
        count += control->lanes[i].report_count;
    }
    struct placed_report *placed = ARENA_NEW_ARRAY(request->arena, struct placed_report, count);
    struct partition_row *rows = ARENA_NEW_ARRAY(request->arena, struct partition_row, count);
    int32_t lanes_per_node = control->config->nodes.lanes;
    count = 0;
    for (int32_t i = 0; i < control->lane_count; i++) {
        const struct lane_view *view = &control->lanes[i];
        for (int32_t p = 0; p < view->report_count; p++) {
            placed[count++] = (struct placed_report){&view->reports[p], i};
        }
    }
    qsort(placed, (size_t)count, sizeof(*placed), compare_reports);
    for (int32_t i = 0; i < count; i++) {
        rows[i] = partition_of(control, request, placed[i].report, placed[i].lane % lanes_per_node,
                               placed[i].lane / lanes_per_node);
    }
    return (struct control_rows){.entity = &partition_entity, .rows = rows, .count = count};
}

struct partition_row *partition_row_of(struct control *control, struct control_request *request)
{
    const struct control_args *args = &request->args;
    const char *id = arena_printf(request->arena, "%s/%s/%lld/%s", args->pipeline, args->stage,
                                  (long long)args->shard, args->range);
    struct control_rows rows = partition_rows(control, request);
    const struct partition_row *all = rows.rows;
    for (int32_t i = 0; i < rows.count; i++) {
        if (str_is(all[i].id, id)) {
            struct partition_row *row = ARENA_NEW(request->arena, struct partition_row);
            *row = all[i];
            return row;
        }
    }
    return NULL;
}

static const char *lane_state_text(struct lane *lane)
{
    switch ((enum lane_state)lane_status(lane)->state) {
    case LANE_RUNNING:
        return "running";
    case LANE_STOPPING:
        return "stopping";
    case LANE_STOPPED:
        return "stopped";
    case LANE_FENCED:
        return "fenced";
    case LANE_FAILED:
        return "failed";
    }
    return "unknown";
}

static struct control_rows lane_rows(struct control *control, struct control_request *request)
{
    struct lane_row *rows = ARENA_NEW_ARRAY(request->arena, struct lane_row, control->lane_count);
    int32_t lanes_per_node = control->config->nodes.lanes;
    for (int32_t i = 0; i < control->lane_count; i++) {
        const struct lane_view *view = &control->lanes[i];
        char node[16];
        int64_t records = 0;
        for (int32_t p = 0; p < view->report_count; p++) {
            records += view->reports[p].figures.records_in;
        }
        IGNORE_RESULT(snprintf(node, sizeof(node), "n%d", i / lanes_per_node)); /* fits */
        rows[i] = (struct lane_row){
            .node = copy_text(request, str_of(node)),
            .lane = i % lanes_per_node,
            .partitions = view->figures.partitions,
            .capacity_ratio = view->figures.capacity,
            .utilisation_ratio = view->figures.utilisation,
            .cpu_seconds = seconds(view->figures.cpu_ns),
            .throttled_seconds = seconds(view->figures.throttled_ns),
            .blocked_seconds = seconds(view->figures.blocked_ns),
            .commit_seconds = seconds(view->figures.commit_ns),
            .commits_again = view->figures.commit_again,
            .cache_hits = view->figures.cache_hits,
            .cache_misses = view->figures.cache_misses,
            .records_in = records,
            .commits = view->figures.commits,
            .state = str_of(lane_state_text(node_runtime_lane(control->runtime, i))),
        };
    }
    return (struct control_rows){
        .entity = &lane_entity, .rows = rows, .count = control->lane_count};
}

static const char *pipeline_state(const struct control *control, const struct pipeline_row *row,
                                  int64_t failed, int64_t running)
{
    if (failed > 0) {
        return "failed";
    }
    if (node_runtime_state(control->runtime) != RUNTIME_RUNNING) {
        return runtime_state_name(node_runtime_state(control->runtime));
    }
    if (node_runtime_ended(control->runtime)) {
        return "ended";
    }
    return running == row->partitions ? "running" : "stalled";
}

static struct control_rows pipeline_rows(struct control *control, struct control_request *request)
{
    int32_t count = control->config->pipeline_count;
    struct pipeline_row *rows = ARENA_NEW_ARRAY(request->arena, struct pipeline_row, count);
    struct control_rows partitions = partition_rows(control, request);
    const struct partition_row *parts = partitions.rows;
    for (int32_t i = 0; i < count; i++) {
        struct str name = control->config->pipelines[i]->name;
        const struct pipeline_plan *plan = config_pipeline(config_in_force(control, name), name);
        int64_t failed = 0;
        int64_t running = 0;
        rows[i] = (struct pipeline_row){.name = plan->name,
                                        .stages = plan->stage_count,
                                        .objective_seconds = seconds(plan->objective_ns),
                                        .memory_bytes = plan->memory_bytes};
        for (int32_t p = 0; p < partitions.count; p++) {
            if (str_equal(parts[p].pipeline, plan->name)) {
                rows[i].partitions++;
                rows[i].state_bytes += parts[p].state_bytes;
                rows[i].lag_records += parts[p].lag_records;
                failed += str_is(parts[p].state, partition_state_name(PARTITION_FAILED));
                running += str_is(parts[p].state, partition_state_name(PARTITION_RUNNING));
            }
        }
        rows[i].state = str_of(pipeline_state(control, &rows[i], failed, running));
    }
    return (struct control_rows){.entity = &pipeline_entity, .rows = rows, .count = count};
}

/* --- answers --- */

static void answer_figures(struct control *control, struct control_request *request)
{
    struct process_row *process = ARENA_NEW(request->arena, struct process_row);
    *process = control->process;
    process->uptime_seconds = seconds(control->now_ns - control->started_ns);
    request->figures[0] =
        (struct control_rows){.entity = &process_entity, .rows = process, .count = 1};
    request->figures[1] = pipeline_rows(control, request);
    request->figures[2] = partition_rows(control, request);
    request->figures[3] = lane_rows(control, request);
    request->figures[4] = node_rows(control, request);
    request->figures[5] = layout_rows(control, request);
    request->figures[6] = shadowing_rows(control, request);
    request->figures[7] = manager_rows(control, request->arena);
    request->figures[8] = store_rows(control, request);
    request->figures[9] = (struct control_rows){.entity = NULL};
}

/* An order, or a question that says itself when it is answered. */
static bool goes_on(struct job *job)
{
    switch ((int)job->request->kind) {
    case CONTROL_PARTITION_GET:
        partition_get(job);
        return true;
    case CONTROL_PIPELINE_GET:
        pipeline_get(job, pipeline_rows(job->control, job->request));
        return true;
    case CONTROL_PARTITION_SPLIT:
    case CONTROL_PARTITION_MERGE:
    case CONTROL_PARTITION_MIGRATE:
    case CONTROL_NODE_ADD:
    case CONTROL_NODE_DRAIN:
    case CONTROL_PIPELINE_REPLACE:
        operation_begin(job);
        return true;
    case CONTROL_SHADOW_START:
    case CONTROL_CANDIDATE_START:
        shadow_start_begin(job);
        return true;
    default:
        return false;
    }
}

static void answer(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    if (goes_on(job)) {
        return;
    }
    if (request->kind == CONTROL_PARTITION_LIST) {
        request->rows = partition_rows(control, request);
    } else if (request->kind == CONTROL_LANE_LIST) {
        request->rows = lane_rows(control, request);
    } else if (request->kind == CONTROL_PIPELINE_LIST) {
        request->rows = pipeline_rows(control, request);
    } else if (request->kind == CONTROL_NODE_LIST) {
        request->rows = node_rows(control, request);
    } else {
        answer_figures(control, request);
    }
    job_answer(job);
}

/* Stages are known to the runtime from its second state on; before that no partition is reported. */
static bool may_ask(const struct control *control)
{
    enum runtime_state state = node_runtime_state(control->runtime);
    return state == RUNTIME_OPENING || state == RUNTIME_RUNNING;
}

bool figures_ask(struct control *control)
{
    if (!may_ask(control)) {
        return false;
    }
    if (control->lanes_out == 0) {
        control->snapshot_known = true;
        control->snapshot_ns = control->now_ns;
        for (int32_t i = 0; i < control->lane_count; i++) {
            ask_lane(control, i);
        }
    }
    return true;
}

void figures_begin(struct job *job)
{
    struct control *control = job->control;
    bool fresh =
        control->snapshot_known && control->now_ns - control->snapshot_ns < SNAPSHOT_FRESH_NS;
    if (control->lanes_out == 0 && (fresh || !may_ask(control))) {
        answer(job);
        return;
    }
    IGNORE_RESULT(figures_ask(control)); /* it may: looked at above */
    job->request->deadline_ns = control->now_ns + SNAPSHOT_WAIT_NS;
    job_list_push(&control->want_snapshot, job);
}

int64_t figures_step(struct control *control)
{
    int64_t next_ns = CLOCK_NEVER;
    struct job_list waiting = control->want_snapshot;
    struct job *job = NULL;
    control->want_snapshot = (struct job_list){NULL, NULL};
    while ((job = job_list_pop(&waiting)) != NULL) {
        if (control->lanes_out == 0 || control->now_ns >= job->request->deadline_ns) {
            answer(job); /* a lane that does not answer is shown as it was last seen */
        } else {
            next_ns = job->request->deadline_ns < next_ns ? job->request->deadline_ns : next_ns;
            job_list_push(&control->want_snapshot, job);
        }
    }
    return next_ns;
}

/* `reason` is copied: it may be of a text that changes. */
static void add_check(struct control_request *request, struct check_row *all, const char *name,
                      bool ok, const char *reason)
{
    struct control_rows *rows = &request->rows;
    CHECK(rows->count < CHECKS_MAX);
    all[rows->count++] = (struct check_row){
        .check = str_of(name), .ok = ok, .reason = copy_text(request, str_of(reason))};
}

void health_answer(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    struct check_row *all = ARENA_NEW_ARRAY(request->arena, struct check_row, CHECKS_MAX);
    struct control_rows *rows = &request->rows;
    enum runtime_state state = node_runtime_state(control->runtime);
    bool failed = control->state == CONTROL_FAILED;
    *rows = (struct control_rows){.entity = &check_entity, .rows = all};
    add_check(request, all, "control",
              !failed && (request->kind == CONTROL_LIVE || control_serving(control)),
              failed                     ? control->why.text
              : control_serving(control) ? "serving"
                                         : "starting");
    const struct err_info *problem = node_runtime_problem(control->runtime);
    bool broken = state == RUNTIME_FAILED;
    add_check(request, all, "runtime",
              request->kind == CONTROL_LIVE ? !broken : state == RUNTIME_RUNNING,
              broken ? problem->text : runtime_state_name(state));
    if (request->kind == CONTROL_READY) {
        int32_t lost = node_runtime_failed_partitions(control->runtime);
        add_check(request, all, "partitions", lost == 0,
                  lost == 0 ? "none needs an operator" : problem->text);
        bool full =
            control->no_space_ns != 0 && control->now_ns - control->no_space_ns < NO_SPACE_SHOWN_NS;
        add_check(request, all, "log", !full,
                  full ? "no space left: writes are refused" : "writable");
    }
    bool ok = true;
    for (int32_t i = 0; i < rows->count; i++) {
        ok = ok && all[i].ok;
    }
    request->err = ok ? ERR_OK : ERR_UNAVAILABLE;
    job_done(job);
}
