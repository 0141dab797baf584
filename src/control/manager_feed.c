// SPDX-License-Identifier: Apache-2.0
/* From the monitor to the forecaster: each interval's samples, and at the start what the view has of the past weeks. */
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/manager_priv.h"
#include "control/monitor.h"
#include "pipeline/time_text.h"

enum { PAST_ARENA_MAX = 64 << 20, PAST_AT_ONCE = 200, PAST_CORE_S = 8 * 86400 };

void feeds_init(struct control *control)
{
    struct manager_shell *shell = control->manager;
    int32_t cap = control->config->pipeline_count + FEED_PARTS_MAX;
    shell->pasts_sent = MEM_NEW_ARRAY(struct manager_past *, control->config->pipeline_count + 1);
    for (int i = 0; i < FEEDS; i++) {
        shell->feeds[i].msg.items = MEM_NEW_ARRAY(struct forecaster_item, cap);
        shell->feeds[i].msg.item_cap = cap;
    }
}

/* --- samples --- */

static void put_name(struct forecaster_item *item, struct str name)
{
    IGNORE_RESULT(snprintf(item->subject, sizeof(item->subject), "%.*s", STR_ARG(name))); /* fits */
}

static double cost_of_record(const struct measured *m)
{
    double cpu = m->read * m->read_cost_s + m->arrival * m->work_cost_s;
    return m->arrival > 0 ? cpu / m->arrival : (double)NAN;
}

/* The indices of the partitions with most demand, at most FEED_PARTS_MAX. */
static int32_t heaviest(const struct monitor *monitor, int32_t ret_index[FEED_PARTS_MAX])
{
    int32_t count = 0;
    for (int32_t i = 0; i < monitor->part_count; i++) {
        double demand = monitor->parts[i].m.demand;
        int32_t at = count;
        while (at > 0 && monitor->parts[ret_index[at - 1]].m.demand < demand) {
            at--;
        }
        if (at == FEED_PARTS_MAX) {
            continue;
        }
        int32_t end = count < FEED_PARTS_MAX ? count : FEED_PARTS_MAX - 1;
        memmove(&ret_index[at + 1], &ret_index[at], (size_t)(end - at) * sizeof(int32_t));
        ret_index[at] = i;
        count = end + 1;
    }
    return count;
}

void feed_samples(struct control *control)
{
    struct manager_shell *shell = control->manager;
    const struct monitor *monitor = control->monitor;
    struct feed *feed = NULL;
    int32_t index[FEED_PARTS_MAX];
    for (int i = 0; i < FEEDS && feed == NULL; i++) {
        feed = shell->feeds[i].out ? NULL : &shell->feeds[i];
    }
    if (control->forecaster == NULL || feed == NULL) {
        return; /* it is behind by many intervals: a gap */
    }
    struct forecaster_msg *msg = &feed->msg;
    msg->kind = FORECASTER_SAMPLES;
    msg->done = &control->forecaster_done;
    msg->time_ms = monitor->time_ms;
    msg->item_count = 0;
    for (int32_t p = 0; p < control->config->pipeline_count; p++) {
        struct forecaster_item *item = &msg->items[msg->item_count++];
        const struct measured *m = &monitor->pipelines[p];
        *item = (struct forecaster_item){.pipeline = true,
                                         .value = {m->demand, m->arrival, cost_of_record(m)},
                                         .lag_s = m->lag_s};
        put_name(item, control->config->pipelines[p]->name);
    }
    int32_t parts = heaviest(monitor, index);
    for (int32_t i = 0; i < parts; i++) {
        const struct monitored *part = &monitor->parts[index[i]];
        const struct stage_plan *plan = node_runtime_stage(control->runtime, part->stage)->plan;
        struct forecaster_item *item = &msg->items[msg->item_count++];
        *item = (struct forecaster_item){.value = {part->m.demand}};
        partition_id_text(item->subject, plan->pipeline, plan->name, part->shard, part->group_lo,
                          part->group_hi);
    }
    feed->out = true;
    mailbox_push(forecaster_mailbox(control->forecaster), &msg->msg);
}

/* --- the past: of each pipeline in turn, before its first samples --- */

/* Five-minute rows as values at equal steps up to the five minutes before now; what is missing is NaN. */
static void place_rows(struct control *control, const struct control_rows *rows,
                       struct manager_past *past)
{
    const struct sample_row *row = rows->rows;
    const int64_t step_ms = (int64_t)(FORECASTER_COARSE_S * 1e3);
    int64_t last_bin = monitor_time_ms(control) / step_ms - 1;
    int32_t oldest = FORECASTER_HISTORY_MAX;
    for (int32_t i = 0; i < rows->count; i++) {
        int64_t time_ms = 0;
        bool known = time_parse_rfc3339(row[i].time, &time_ms);
        int64_t back = known ? last_bin - time_ms / step_ms : -1;
        if (back < 0 || back >= FORECASTER_HISTORY_MAX) {
            continue; /* a clock that was ahead, or too old */
        }
        int32_t at = FORECASTER_HISTORY_MAX - 1 - (int32_t)back;
        double arrival = row[i].arrival_per_second;
        double cpu =
            row[i].read_per_second * row[i].read_cost_seconds + arrival * row[i].work_cost_seconds;
        past->value[FORECAST_DEMAND][at] = row[i].demand_ratio;
        past->value[FORECAST_ARRIVAL][at] = arrival;
        past->value[FORECAST_COST][at] = arrival > 0 ? cpu / arrival : (double)NAN;
        oldest = at < oldest ? at : oldest;
    }
    past->first = oldest;
}

/* A replay's: rates alone. */
static void place_given(const struct control_past *given, struct manager_past *past)
{
    int32_t ratio = (int32_t)llround(FORECASTER_COARSE_S / given->step_s);
    int64_t bins = ratio > 0 ? given->count / ratio : 0;
    bins = bins < FORECASTER_HISTORY_MAX ? bins : FORECASTER_HISTORY_MAX;
    past->first = FORECASTER_HISTORY_MAX - (int32_t)bins;
    for (int64_t b = 0; b < bins; b++) {
        double sum = 0;
        for (int32_t i = 0; i < ratio; i++) {
            sum += given->rate_per_s[given->count - (bins - b) * ratio + i];
        }
        past->value[FORECAST_ARRIVAL][past->first + b] = sum / ratio;
    }
}

static void clear_past(struct manager_past *past)
{
    for (int s = 0; s < FORECAST_SERIES_COUNT; s++) {
        for (int32_t i = 0; i < FORECASTER_HISTORY_MAX; i++) {
            past->value[s][i] = (double)NAN;
        }
    }
    past->first = FORECASTER_HISTORY_MAX;
}

/* --- one value an interval, in straight lines between the means, for the core --- */

static void make_rates(const struct control *control, struct manager_past *past)
{
    double step_s = (double)control->config->manager.interval_ns * 1e-9;
    /* What a short outlook looks back on is a week, and its memory is of days. */
    int32_t count = FORECASTER_HISTORY_MAX - past->first,
            most = (int32_t)(PAST_CORE_S / FORECASTER_COARSE_S);
    count = count < most ? count : most;
    const double *mean = past->value[FORECAST_ARRIVAL] + FORECASTER_HISTORY_MAX - count;
    past->rate_count = (int64_t)(count * FORECASTER_COARSE_S / step_s);
    past->rates = ARENA_NEW_ARRAY(&past->arena, double, past->rate_count);
    for (int64_t i = 0; i < past->rate_count; i++) {
        /* A mean stands for the middle of its five minutes. */
        double at = ((double)i + 0.5) * step_s / FORECASTER_COARSE_S - 0.5;
        at = at < 0 ? 0 : at > count - 1 ? count - 1 : at;
        int32_t left = (int32_t)at < count - 1 ? (int32_t)at : count - 2;
        left = left < 0 ? 0 : left;
        double share = at - left;
        double right = left + 1 < count ? mean[left + 1] : mean[left];
        past->rates[i] =
            (mean[left] * (1 - share) + right * share) / control->config->manager.time_scale;
    }
}

static void past_free(struct manager_past *past)
{
    if (past != NULL) {
        arena_release(&past->arena);
        mem_free(past->msg.items);
        mem_free(past);
    }
}

static void send_past(struct control *control, struct manager_past *past)
{
    struct manager_shell *shell = control->manager;
    struct forecaster_msg *msg = &past->msg;
    if (control->forecaster == NULL || past->first == FORECASTER_HISTORY_MAX) {
        past_free(past);
        return;
    }
    *msg->items = (struct forecaster_item){.pipeline = true};
    put_name(msg->items, control->config->pipelines[past->pipeline]->name);
    for (int s = 0; s < FORECAST_SERIES_COUNT; s++) {
        bool any = s == FORECAST_ARRIVAL || control->past == NULL;
        msg->history[s] = any ? past->value[s] + past->first : NULL;
    }
    msg->history_count = FORECASTER_HISTORY_MAX - past->first;
    msg->kind = FORECASTER_HISTORY;
    msg->done = &control->forecaster_done;
    msg->time_ms = monitor_time_ms(control);
    msg->item_count = 1;
    shell->pasts_sent[past->pipeline] = past;
    mailbox_push(forecaster_mailbox(control->forecaster), &msg->msg);
}

static struct manager_past *past_new(const struct control *control, int32_t pipeline)
{
    struct manager_past *past = MEM_NEW(struct manager_past);
    past->pipeline = pipeline;
    past->msg.items = MEM_NEW(struct forecaster_item);
    arena_init(&past->arena, PAST_ARENA_MAX);
    clear_past(past);
    if (control->past != NULL) {
        place_given(control->past, past);
    }
    past->known = control->past != NULL || control->history == NULL;
    if (past->known) {
        make_rates(control, past);
    }
    return past;
}

static void ask_past(struct control *control, struct manager_past *past)
{
    past->op = (struct history_op){
        .kind = HISTORY_ASK,
        .done = &control->history_done,
        .arena = &past->arena,
        .query = {.entity = &sample_entity, .rolled = true, .limit = FORECASTER_HISTORY_MAX}};
    past->op.query.where[0].column = "kind";
    past->op.query.where[0].value = STR("pipeline");
    past->op.query.where[1].column = "subject";
    past->op.query.where[1].value = control->config->pipelines[past->pipeline]->name;
    mailbox_push(history_mailbox(control->history), &past->op.msg);
}

bool manager_past(struct control *control, struct history_op *op)
{
    struct manager_past *past = control->manager->past;
    if (past == NULL || op != &past->op) {
        return false;
    }
    if (op->err == ERR_OK) { /* else it is as if there were none: the log's view comes again */
        place_rows(control, &op->ret_rows, past);
    }
    past->known = true;
    make_rates(control, past);
    return true;
}

void manager_forecast(struct control *control, struct forecaster_msg *msg)
{
    if (msg->kind == FORECASTER_HISTORY) {
        struct manager_past *past = CONTAINER_OF(msg, struct manager_past, msg);
        control->manager->pasts_sent[past->pipeline] = NULL;
        past_free(past);
        return;
    }
    CONTAINER_OF(msg, struct feed, msg)->out = false;
}

/* Some hundred values at a time: the core learns from each. */
enum past_state past_step(struct control *control)
{
    struct manager_shell *shell = control->manager;
    if (shell->past_pipeline == control->config->pipeline_count) {
        return PAST_TOLD;
    }
    if (shell->past == NULL) {
        shell->past = past_new(control, shell->past_pipeline);
        if (!shell->past->known) {
            ask_past(control, shell->past);
        }
    }
    struct manager_past *past = shell->past;
    if (!past->known) {
        return PAST_ASKED;
    }
    int64_t left = past->rate_count - past->rate_next;
    int64_t count = left < PAST_AT_ONCE ? left : PAST_AT_ONCE;
    core_past(control, past->pipeline, past->rates + past->rate_next, count);
    past->rate_next += count;
    if (past->rate_next == past->rate_count) {
        shell->past = NULL;
        shell->past_pipeline++;
        send_past(control, past);
    }
    return PAST_MORE;
}

void feeds_free(struct control *control)
{
    struct manager_shell *shell = control->manager;
    for (int i = 0; i < FEEDS; i++) {
        mem_free(shell->feeds[i].msg.items);
    }
    for (int32_t p = 0; p < control->config->pipeline_count; p++) {
        past_free(shell->pasts_sent[p]);
    }
    mem_free(shell->pasts_sent);
    past_free(shell->past);
}
