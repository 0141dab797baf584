// SPDX-License-Identifier: Apache-2.0
/* What there is: nodes, one partition in detail, a pipeline's text. Changes of it: operations. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "control/control_priv.h"

static struct str copy_text(struct control_request *request, struct str text)
{
    return (struct str){arena_dup(request->arena, text.ptr, text.len), text.len};
}

/* --- nodes --- */

static const char *node_state_text(enum node_state state)
{
    switch (state) {
    case NODE_OFF:
        return "off";
    case NODE_ACTIVE:
        return "active";
    case NODE_DRAINING:
        return "draining";
    }
    return "unknown";
}

static void add_lane(struct node_row *row, const struct lane_view *view, int32_t lanes)
{
    row->utilisation_ratio += view->figures.utilisation / lanes;
    for (int32_t p = 0; p < view->report_count; p++) {
        const struct partition_report *report = &view->reports[p];
        row->partitions++;
        row->demand_ratio += report->figures.demand / lanes;
        row->state_bytes += report->figures.state_bytes;
    }
}

struct control_rows node_rows(struct control *control, struct control_request *request)
{
    int32_t count = node_runtime_node_max(control->runtime);
    int32_t lanes = control->config->nodes.lanes;
    double capacity = control->config->nodes.capacity;
    struct node_row *rows = ARENA_NEW_ARRAY(request->arena, struct node_row, count);
    for (int32_t n = 0; n < count; n++) {
        char name[16];
        int len = snprintf(name, sizeof(name), "n%d", n);
        rows[n] = (struct node_row){
            .node = copy_text(request, (struct str){name, len}),
            .state = str_of(node_state_text(node_runtime_node_state(control->runtime, n))),
            .lanes = lanes,
            .capacity_ratio = capacity * lanes};
        for (int32_t l = n * lanes; l < (n + 1) * lanes && l < control->lane_count; l++) {
            add_lane(&rows[n], &control->lanes[l], lanes);
        }
    }
    return (struct control_rows){.entity = &node_entity, .rows = rows, .count = count};
}

struct control_rows layout_rows(struct control *control, struct control_request *request)
{
    enum { OUTCOMES = 3 };
    struct layout_row *rows =
        ARENA_NEW_ARRAY(request->arena, struct layout_row, OPERATION_KIND_COUNT * OUTCOMES);
    for (int32_t i = 0; i < OPERATION_KIND_COUNT * OUTCOMES; i++) {
        rows[i] = control->layouts[i / OUTCOMES][i % OUTCOMES];
        rows[i].kind = str_of(operation_kind_name((enum operation_kind)(i / OUTCOMES)));
        rows[i].outcome =
            str_of(operation_state_name((enum operation_state)(OPERATION_DONE + i % OUTCOMES)));
    }
    return (struct control_rows){
        .entity = &layout_entity, .rows = rows, .count = OPERATION_KIND_COUNT * OUTCOMES};
}

/* --- one partition: its lane is asked for the detail --- */

struct detail_ask {
    struct lane_command command; /* first */
    struct job *job;
    struct partition_detail detail;
};

static void add_heavy(struct control_request *request, const struct partition_detail *detail)
{
    struct heavy_key_row *rows =
        ARENA_NEW_ARRAY(request->arena, struct heavy_key_row, detail->heavy_count);
    double all = detail->heavy_sampled > 0 ? (double)detail->heavy_sampled : 1;
    for (int32_t i = 0; i < detail->heavy_count; i++) {
        const struct heavy_entry *entry = &detail->heavy[i];
        char hash[20];
        int len = snprintf(hash, sizeof(hash), "%016" PRIx64, entry->hash);
        ptrdiff_t key_len =
            entry->key_len < HEAVY_KEY_BYTES ? entry->key_len : (ptrdiff_t)HEAVY_KEY_BYTES;
        rows[i] =
            (struct heavy_key_row){.key = copy_text(request, (struct str){entry->key, key_len}),
                                   .hash = copy_text(request, (struct str){hash, len}),
                                   .group = key_group_of(entry->hash),
                                   .share_ratio = (double)entry->count / all,
                                   .error_ratio = (double)entry->error / all};
    }
    request->figures[1] = (struct control_rows){
        .entity = &heavy_key_entity, .rows = rows, .count = detail->heavy_count};
}

static void add_groups(struct control_request *request, const struct partition_detail *detail)
{
    struct key_group_row *rows =
        ARENA_NEW_ARRAY(request->arena, struct key_group_row, KEY_GROUP_COUNT);
    int32_t count = 0;
    for (int32_t g = 0; g < KEY_GROUP_COUNT; g++) {
        if (detail->group_counts[g] > 0) {
            rows[count++] = (struct key_group_row){.group = g, .records = detail->group_counts[g]};
        }
    }
    request->figures[2] =
        (struct control_rows){.entity = &key_group_entity, .rows = rows, .count = count};
    request->figures[3] = (struct control_rows){.entity = NULL};
}

static void answer_detail(struct control *control, struct detail_ask *ask)
{
    struct job *job = ask->job;
    struct control_request *request = job->request;
    if (ask->command.err != ERR_OK) {
        job_fail(job, ask->command.err, &ask->command.info);
        return;
    }
    struct partition_row *row = partition_row_of(control, request);
    if (row == NULL) { /* it was there when its lane was asked */
        job_failf(job, ERR_CONFLICT, "the partition is just changing its owner; ask again");
        return;
    }
    request->figures[0] =
        (struct control_rows){.entity = &partition_entity, .rows = row, .count = 1};
    request->etag = (uint64_t)row->epoch;
    add_heavy(request, &ask->detail);
    add_groups(request, &ask->detail);
    job_answer(job);
}

bool details_take(struct control *control)
{
    struct msg *next = NULL;
    struct msg *msg = mailbox_take_all(&control->details);
    bool any = msg != NULL;
    for (; msg != NULL; msg = next) {
        next = msg->next;
        answer_detail(control, CONTAINER_OF(msg, struct detail_ask, command.msg));
    }
    return any;
}

/* Figures are fresh. */
void partition_get(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    struct err_info info;
    struct partition_place place;
    int32_t stage = 0;
    enum err err = partition_named(control, &request->args, &stage, &place, &info);
    if (err != ERR_OK) {
        job_fail(job, err, &info);
        return;
    }
    struct detail_ask *ask = ARENA_NEW(request->arena, struct detail_ask);
    ask->job = job;
    ask->detail.group_counts = ARENA_NEW_ARRAY(request->arena, uint32_t, KEY_GROUP_COUNT);
    ask->command.kind = LANE_SNAPSHOT;
    ask->command.reply = &control->details;
    ask->command.u.snapshot = (struct lane_snapshot){.detail = &ask->detail,
                                                     .detail_stage = stage,
                                                     .detail_shard = place.shard,
                                                     .detail_group_lo = place.group_lo};
    int32_t lane = place.node * control->config->nodes.lanes + place.lane;
    lane_send(node_runtime_lane(control->runtime, lane), &ask->command);
}

/* --- a pipeline's text: that of the whole configuration that it came in --- */

const struct config *config_in_force(const struct control *control, struct str pipeline)
{
    enum runtime_state state = node_runtime_state(control->runtime);
    const struct config *config = NULL;
    if (state >= RUNTIME_OPENING && state < RUNTIME_FAILED) {
        config = node_runtime_pipeline_config(control->runtime, pipeline);
    }
    return config != NULL ? config : control->config;
}

uint64_t text_etag_of(struct str text)
{
    uint64_t hash = hash64(text.ptr, text.len);
    return hash != 0 ? hash : 1;
}

bool etag_matches(const char *wanted, uint64_t etag)
{
    char text[24];
    IGNORE_RESULT(snprintf(text, sizeof(text), "\"%016" PRIx64 "\"", etag)); /* fits */
    return strcmp(wanted, "*") == 0 || strcmp(wanted, text) == 0;
}

void pipeline_text_begin(struct job *job)
{
    struct control *control = job->control;
    struct err_info info;
    const struct pipeline_plan *plan = pipeline_named(control, job->request->args.pipeline, &info);
    if (plan == NULL) {
        job_fail(job, ERR_NOT_FOUND, &info);
        return;
    }
    struct str text = config_in_force(control, plan->name)->text;
    text_add(&job->request->text, text);
    job->request->etag = text_etag_of(text);
    job_answer(job);
}

/* Figures are fresh: `rows` are all pipelines; the one that is named stays. */
void pipeline_get(struct job *job, struct control_rows rows)
{
    struct control_request *request = job->request;
    const struct pipeline_row *all = rows.rows;
    for (int32_t i = 0; i < rows.count; i++) {
        if (str_is(all[i].name, request->args.pipeline)) {
            request->rows =
                (struct control_rows){.entity = &pipeline_entity, .rows = &all[i], .count = 1};
            request->etag = text_etag_of(config_in_force(job->control, all[i].name)->text);
            job_answer(job);
            return;
        }
    }
    job_failf(job, ERR_NOT_FOUND, "there is no pipeline '%.80s'; GET /api/v1/pipelines lists them",
              request->args.pipeline);
}
