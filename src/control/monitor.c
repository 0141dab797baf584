// SPDX-License-Identifier: Apache-2.0
#include "control/monitor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/own_stream.h"
#include "pipeline/time_text.h"

#define SNAPSHOT_PATIENCE_NS (2000 * 1000000LL)

struct monitor *monitor_new(const struct control *control)
{
    struct monitor *monitor = MEM_NEW(struct monitor);
    const struct config *config = control->config;
    monitor->lanes = MEM_NEW_ARRAY(struct monitor_lane, control->lane_count);
    for (int32_t l = 0; l < control->lane_count; l++) {
        monitor->lanes[l].capacity = config->nodes.capacity;
    }
    monitor->nodes = MEM_NEW_ARRAY(struct measured, config->nodes.max);
    monitor->pipelines = MEM_NEW_ARRAY(struct measured, config->pipeline_count + 1);
    monitor->pipeline_on_lane =
        MEM_NEW_ARRAY(bool, (ptrdiff_t)(config->pipeline_count + 1) * control->lane_count);
    return monitor;
}

void monitor_free(struct monitor *monitor)
{
    if (monitor != NULL) {
        mem_free(monitor->parts);
        mem_free(monitor->before);
        mem_free(monitor->lanes);
        mem_free(monitor->nodes);
        mem_free(monitor->pipelines);
        mem_free(monitor->pipeline_of_stage);
        mem_free(monitor->pipeline_on_lane);
        mem_free(monitor);
    }
}

int64_t monitor_time_ms(const struct control *control)
{
    double scale = control->config->manager.time_scale;
    int64_t wall = wall_ms(control);
    if (scale <= 1) {
        return wall;
    }
    double passed_ms = (double)(control->now_ns - control->started_ns) / 1e6;
    return wall - (int64_t)passed_ms + (int64_t)(passed_ms * scale);
}

int32_t monitor_pipeline_of(const struct monitor *monitor, const struct monitored *part)
{
    return monitor->pipeline_of_stage[part->stage];
}

/* --- what was before --- */

static int compare_parts(const void *left, const void *right)
{
    const struct monitored *a = left, *b = right;
    if (a->stage != b->stage) {
        return a->stage < b->stage ? -1 : 1;
    }
    if (a->shard != b->shard) {
        return a->shard < b->shard ? -1 : 1;
    }
    return (a->group_lo > b->group_lo) - (a->group_lo < b->group_lo);
}

/* The partition of before that shares most key groups with this one; NULL: none does. */
static const struct monitored *ancestor(const struct monitor *monitor, const struct monitored *part)
{
    const struct monitored *best = NULL;
    int32_t lo = 0, hi = monitor->before_count;
    struct monitored wanted = *part;
    uint32_t most = 0;
    wanted.group_lo = 0;
    while (lo < hi) { /* the first of its shard */
        int32_t mid = lo + (hi - lo) / 2;
        if (compare_parts(&monitor->before[mid], &wanted) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    for (; lo < monitor->before_count; lo++) {
        const struct monitored *old = &monitor->before[lo];
        if (old->stage != part->stage || old->shard != part->shard ||
            old->group_lo >= part->group_hi) {
            break;
        }
        uint32_t from = old->group_lo > part->group_lo ? old->group_lo : part->group_lo;
        uint32_t to = old->group_hi < part->group_hi ? old->group_hi : part->group_hi;
        if (to > from && to - from > most) {
            most = to - from;
            best = old;
        }
    }
    return best;
}

static bool same_range(const struct monitored *a, const struct monitored *b)
{
    return a->group_lo == b->group_lo && a->group_hi == b->group_hi;
}

/* --- partitions --- */

static struct monitor_counters counters_of(const struct control *control,
                                           const struct partition_report *report)
{
    const struct partition_figures *f = &report->figures;
    const struct stage *stage = node_runtime_stage(control->runtime, report->stage);
    struct monitor_counters c = {.records_read = f->records_read,
                                 .records_in = f->records_in,
                                 .dead_letters = f->dead_letters,
                                 .read_cpu_ns = f->read_cpu_ns,
                                 .work_cpu_ns = f->work_cpu_ns,
                                 .bytes = f->bytes_in + f->bytes_out + f->changelog_bytes};
    for (int32_t i = 0; i < stage->plan->input_count; i++) {
        c.ends += log_end_offset(control->log, stage_shard(stage->inputs[i], report->shard));
    }
    return c;
}

static double per(double amount, double of)
{
    return of > 0 ? amount / of : 0;
}

/* Costs and share: of the interval, of whom it came from, or since it was opened. */
static void take_costs(struct monitored *part, const struct monitored *old,
                       const struct partition_report *report)
{
    const struct partition_figures *f = &report->figures;
    struct monitor_counters was = {0};
    bool same = old != NULL && same_range(old, part) && old->epoch == part->epoch;
    if (same) {
        was = old->counters;
    }
    double read = (double)(part->counters.records_read - was.records_read);
    double own = (double)(part->counters.records_in - was.records_in);
    part->used_s = same ? (double)(part->counters.read_cpu_ns - was.read_cpu_ns +
                                   part->counters.work_cpu_ns - was.work_cpu_ns) *
                              1e-9
                        : 0;
    part->m.read_cost_s = old != NULL ? old->m.read_cost_s : f->read_cost_ns * 1e-9;
    part->m.work_cost_s = old != NULL ? old->m.work_cost_s : f->work_cost_ns * 1e-9;
    part->own_share = old != NULL ? old->own_share : per(own, read);
    if (old != NULL && !same_range(old, part)) {
        double wide = (double)(old->group_hi - old->group_lo);
        part->own_share = fmin(1, old->own_share * (part->group_hi - part->group_lo) / wide);
    }
    if (read > 0) {
        part->m.read_cost_s = (double)(part->counters.read_cpu_ns - was.read_cpu_ns) * 1e-9 / read;
        part->own_share = own / read;
    }
    if (own > 0) {
        part->m.work_cost_s = (double)(part->counters.work_cpu_ns - was.work_cpu_ns) * 1e-9 / own;
    }
}

static void take_rates(const struct control *control, struct monitored *part,
                       const struct monitored *old, double seconds)
{
    struct measured *m = &part->m;
    bool same = old != NULL && same_range(old, part) && old->epoch == part->epoch;
    m->read = old != NULL && seconds > 0
                  ? per((double)(part->counters.ends - old->counters.ends), seconds)
                  : 0;
    m->read = m->read > 0 ? m->read : 0; /* a stream made anew begins again */
    m->arrival = m->read * part->own_share;
    m->demand = (m->read * m->read_cost_s + m->arrival * m->work_cost_s) /
                control->monitor->lanes[part->lane].capacity;
    seconds = control->monitor->lanes[part->lane].seconds;
    if (same && seconds > 0) {
        m->service = (double)(part->counters.records_in - old->counters.records_in) / seconds;
        m->errors = (double)(part->counters.dead_letters - old->counters.dead_letters) / seconds;
        m->io = (double)(part->counters.bytes - old->counters.bytes) / seconds;
    }
    int64_t disk = control->config->manager.io_bytes;
    m->io_ratio = disk > 0 ? m->io / (double)disk : (double)NAN;
}

static void take_part(struct control *control, struct monitored *part,
                      const struct partition_report *report, double seconds)
{
    const struct stage *stage = node_runtime_stage(control->runtime, report->stage);
    const struct pipeline_plan *plan = atomic_load(&stage->pipeline->plan);
    const struct monitored *old = ancestor(control->monitor, part);
    part->epoch = report->epoch;
    part->running = report->state == PARTITION_RUNNING || report->state == PARTITION_STALLED;
    part->stalled_sink = report->stall == STALL_RETRY || report->stall == STALL_INTERNAL;
    part->stalled_memory = report->stall == STALL_MEMORY;
    part->counters = counters_of(control, report);
    part->m = (struct measured){
        .state_bytes = report->figures.state_bytes,
        .memory = per((double)report->figures.state_bytes, (double)plan->memory_bytes),
        .lag_records = report->figures.lag_records,
        .lag_s = (double)report->figures.lag_ns * 1e-9,
    };
    take_costs(part, old, report);
    take_rates(control, part, old, seconds);
}

static void take_parts(struct control *control, double seconds)
{
    struct monitor *monitor = control->monitor;
    struct monitored *parts = monitor->before;
    int32_t cap = monitor->before_cap, count = 0;
    for (int32_t l = 0; l < control->lane_count; l++) {
        count += control->lanes[l].report_count;
    }
    /* The older of the two arrays is filled anew. */
    monitor->before = monitor->parts;
    monitor->before_cap = monitor->part_cap;
    monitor->before_count = monitor->part_count;
    if (count > cap) {
        mem_free(parts);
        cap = count + count / 2;
        parts = MEM_NEW_ARRAY(struct monitored, cap);
    }
    count = 0;
    for (int32_t l = 0; l < control->lane_count; l++) {
        const struct lane_view *view = &control->lanes[l];
        for (int32_t p = 0; p < view->report_count; p++) {
            const struct partition_report *report = &view->reports[p];
            parts[count] = (struct monitored){.stage = report->stage,
                                              .shard = report->shard,
                                              .group_lo = report->group_lo,
                                              .group_hi = report->group_hi,
                                              .lane = l};
            take_part(control, &parts[count], report, seconds);
            count++;
        }
    }
    if (count > 1) {
        qsort(parts, (size_t)count, sizeof(*parts), compare_parts);
    }
    monitor->parts = parts;
    monitor->part_cap = cap;
    monitor->part_count = count;
}

/* --- lanes, nodes, pipelines --- */

/* What the lane used beyond its partitions' accounts; half of its capacity at most, and not known of a lane that has none. */
static void take_overhead(struct monitor_lane *lane, double used, double accounted, double capacity)
{
    if (accounted > 0) {
        double fresh = fmin(capacity / 2, fmax(0, used - accounted));
        lane->overhead += 0.2 * (fresh - lane->overhead);
    }
    lane->capacity = capacity - lane->overhead;
}

static void take_lanes(struct control *control)
{
    struct monitor *monitor = control->monitor;
    for (int32_t l = 0; l < control->lane_count; l++) {
        const struct lane_figures *f = &control->lanes[l].figures;
        struct monitor_lane *lane = &monitor->lanes[l];
        double capacity = control->config->nodes.capacity;
        double used = per((double)(f->cpu_ns - lane->cpu_ns) * 1e-9, lane->seconds);
        double accounted = 0;
        for (int32_t i = 0; i < monitor->part_count; i++) {
            accounted += monitor->parts[i].lane == l ? monitor->parts[i].used_s : 0;
        }
        take_overhead(lane, used, per(accounted, lane->seconds), capacity);
        lane->m = (struct measured){
            .utilisation = used / capacity,
            .blocked = per((double)(f->blocked_ns - lane->blocked_ns) * 1e-9, lane->seconds)};
        lane->wall_ns = f->wall_ns;
        lane->cpu_ns = f->cpu_ns;
        lane->blocked_ns = f->blocked_ns;
    }
    for (int32_t i = 0; i < monitor->part_count; i++) {
        struct monitored *part = &monitor->parts[i];
        struct monitor_lane *lane = &monitor->lanes[part->lane];
        lane->m.demand += part->m.demand;
        part->m.utilisation = lane->m.utilisation;
        part->m.blocked = part->stalled_sink || part->stalled_memory ? 1 : lane->m.blocked;
    }
}

/* Adds what adds up; costs are weighted means, made so by end_sum(). */
static void add_to(struct measured *sum, const struct measured *m)
{
    sum->demand += m->demand;
    sum->memory += m->memory;
    sum->state_bytes += m->state_bytes;
    sum->io += m->io;
    sum->lag_records += m->lag_records;
    sum->arrival += m->arrival;
    sum->service += m->service;
    sum->read += m->read;
    sum->read_cost_s += m->read_cost_s * m->read;
    sum->work_cost_s += m->work_cost_s * m->arrival;
    sum->errors += m->errors;
    sum->lag_s = m->lag_s > sum->lag_s ? m->lag_s : sum->lag_s;
}

static void end_sum(const struct control *control, struct measured *sum)
{
    int64_t disk = control->config->manager.io_bytes;
    sum->read_cost_s = per(sum->read_cost_s, sum->read);
    sum->work_cost_s = per(sum->work_cost_s, sum->arrival);
    sum->io_ratio = disk > 0 ? sum->io / (double)disk : (double)NAN;
}

static void take_nodes(struct control *control)
{
    struct monitor *monitor = control->monitor;
    int32_t per_node = control->config->nodes.lanes;
    for (int32_t n = 0; n < control->config->nodes.max; n++) {
        monitor->nodes[n] = (struct measured){0};
    }
    for (int32_t i = 0; i < monitor->part_count; i++) {
        add_to(&monitor->nodes[monitor->parts[i].lane / per_node], &monitor->parts[i].m);
    }
    for (int32_t l = 0; l < control->lane_count; l++) {
        struct measured *node = &monitor->nodes[l / per_node];
        node->utilisation += monitor->lanes[l].m.utilisation / per_node;
        node->blocked += monitor->lanes[l].m.blocked / per_node;
    }
    for (int32_t n = 0; n < control->config->nodes.max; n++) {
        monitor->nodes[n].demand /= per_node;
        end_sum(control, &monitor->nodes[n]);
    }
}

static void take_pipelines(struct control *control)
{
    struct monitor *monitor = control->monitor;
    int32_t pipelines = control->config->pipeline_count, lanes = control->lane_count;
    if (pipelines == 0) {
        return;
    }
    memset(monitor->pipelines, 0, (size_t)pipelines * sizeof(*monitor->pipelines));
    memset(monitor->pipeline_on_lane, 0, (size_t)pipelines * (size_t)lanes);
    for (int32_t i = 0; i < monitor->part_count; i++) {
        const struct monitored *part = &monitor->parts[i];
        int32_t pipeline = monitor_pipeline_of(monitor, part);
        add_to(&monitor->pipelines[pipeline], &part->m);
        monitor->pipeline_on_lane[pipeline * lanes + part->lane] = true;
    }
    for (int32_t p = 0; p < pipelines; p++) {
        int32_t count = 0;
        for (int32_t l = 0; l < lanes; l++) {
            if (monitor->pipeline_on_lane[p * lanes + l]) {
                monitor->pipelines[p].utilisation += monitor->lanes[l].m.utilisation;
                monitor->pipelines[p].blocked += monitor->lanes[l].m.blocked;
                count++;
            }
        }
        monitor->pipelines[p].utilisation = per(monitor->pipelines[p].utilisation, count);
        monitor->pipelines[p].blocked = per(monitor->pipelines[p].blocked, count);
        end_sum(control, &monitor->pipelines[p]);
    }
}

/* Which pipeline a stage is of: stages are known once the runtime runs, and stay. */
static void learn_stages(struct control *control)
{
    struct monitor *monitor = control->monitor;
    if (monitor->pipeline_of_stage != NULL) {
        return;
    }
    monitor->stage_count = node_runtime_stage_count(control->runtime);
    monitor->pipeline_of_stage = MEM_NEW_ARRAY(int32_t, monitor->stage_count);
    for (int32_t s = 0; s < monitor->stage_count; s++) {
        struct str name = node_runtime_stage(control->runtime, s)->plan->pipeline;
        for (int32_t p = 0; p < control->config->pipeline_count; p++) {
            if (str_equal(control->config->pipelines[p]->name, name)) {
                monitor->pipeline_of_stage[s] = p;
            }
        }
    }
}

/* --- rows --- */

static struct sample_row row_of(const struct measured *m, const char *kind, struct str subject,
                                struct str time)
{
    return (struct sample_row){.time = time,
                               .kind = str_of(kind),
                               .subject = subject,
                               .demand_ratio = m->demand,
                               .utilisation_ratio = m->utilisation,
                               .memory_ratio = m->memory,
                               .state_bytes = m->state_bytes,
                               .io_bytes_per_second = m->io,
                               .io_ratio = m->io_ratio,
                               .arrival_per_second = m->arrival,
                               .service_per_second = m->service,
                               .read_per_second = m->read,
                               .read_cost_seconds = m->read_cost_s,
                               .work_cost_seconds = m->work_cost_s,
                               .lag_records = m->lag_records,
                               .lag_seconds = m->lag_s,
                               .errors_per_second = m->errors,
                               .blocked_ratio = m->blocked};
}

static int compare_demand(const void *left, const void *right)
{
    const struct sample_row *a = left, *b = right;
    return (a->demand_ratio < b->demand_ratio) - (a->demand_ratio > b->demand_ratio);
}

static struct str part_name(struct control *control, const struct monitored *part)
{
    const struct stage *stage = node_runtime_stage(control->runtime, part->stage);
    char id[PARTITION_ID_MAX];
    partition_id_text(id, stage->plan->pipeline, stage->plan->name, part->shard, part->group_lo,
                      part->group_hi);
    ptrdiff_t len = (ptrdiff_t)strlen(id);
    return (struct str){arena_dup(&control->scratch, id, len), len};
}

static void add_record(struct control *control, const struct sample_row *rows, int32_t count)
{
    struct text text;
    text_init(&text, &control->scratch);
    text_json_table(&text, &sample_entity, rows, count);
    /* A sample that is lost is a gap, and counted there. */
    IGNORE_RESULT(own_stream_add(control->own[OWN_SAMPLES], text_str(&text)));
}

static void keep_samples(struct control *control)
{
    struct monitor *monitor = control->monitor;
    const struct config *config = control->config;
    int32_t all = monitor->part_count + config->nodes.max + config->pipeline_count, count = 0;
    struct sample_row *rows = ARENA_NEW_ARRAY(&control->scratch, struct sample_row, all);
    char text[TIME_TEXT_MAX];
    int32_t len = time_write_rfc3339(monitor->time_ms / 1000 * 1000, text);
    struct str time = {text, len};
    for (int32_t p = 0; p < config->pipeline_count; p++) {
        rows[count++] =
            row_of(&monitor->pipelines[p], "pipeline", config->pipelines[p]->name, time);
    }
    for (int32_t n = 0; n < config->nodes.max; n++) {
        if (node_runtime_node_state(control->runtime, n) != NODE_OFF) {
            const char *name = arena_printf(&control->scratch, "n%d", n);
            rows[count++] = row_of(&monitor->nodes[n], "node", str_of(name), time);
        }
    }
    int32_t first = count;
    for (int32_t i = 0; i < monitor->part_count; i++) {
        const struct monitored *part = &monitor->parts[i];
        rows[count++] = row_of(&part->m, "partition", part_name(control, part), time);
    }
    if (count - first > MONITOR_PARTS_KEPT) {
        qsort(rows + first, (size_t)(count - first), sizeof(*rows), compare_demand);
        count = first + MONITOR_PARTS_KEPT;
    }
    for (int32_t i = 0; i < count; i += MONITOR_ROWS_A_RECORD) {
        int32_t left = count - i;
        add_record(control, rows + i, left < MONITOR_ROWS_A_RECORD ? left : MONITOR_ROWS_A_RECORD);
    }
    arena_reset(&control->scratch);
}

/* --- the step --- */

static void take(struct control *control)
{
    struct monitor *monitor = control->monitor;
    bool first = monitor->taken_ns == 0;
    double seconds = first ? 0 : (double)(control->now_ns - monitor->taken_ns) * 1e-9;
    learn_stages(control);
    for (int32_t l = 0; l < control->lane_count; l++) { /* each as of its own answer */
        struct monitor_lane *lane = &monitor->lanes[l];
        lane->seconds = (double)(control->lanes[l].figures.wall_ns - lane->wall_ns) * 1e-9;
    }
    take_parts(control, seconds);
    take_lanes(control);
    take_nodes(control);
    take_pipelines(control);
    monitor->taken_ns = control->now_ns;
    monitor->time_ms = monitor_time_ms(control);
    monitor->interval_s = seconds * control->config->manager.time_scale;
    if (!first) {
        monitor->taken_count++;
        keep_samples(control);
    }
}

int64_t monitor_step(struct control *control, bool *ret_taken)
{
    struct monitor *monitor = control->monitor;
    const struct manager_spec *spec = &control->config->manager;
    int64_t every_ns = (int64_t)((double)spec->interval_ns / spec->time_scale);
    *ret_taken = false;
    if (!control_serving(control) || control->draining ||
        node_runtime_state(control->runtime) != RUNTIME_RUNNING) {
        return monitor->due_ns > control->now_ns ? monitor->due_ns : CLOCK_NEVER;
    }
    if (!monitor->asked) {
        if (control->now_ns < monitor->due_ns) {
            return monitor->due_ns;
        }
        monitor->asked = figures_ask(control);
        monitor->asked_ns = control->now_ns;
    }
    if (control->lanes_out > 0 && control->now_ns < monitor->asked_ns + SNAPSHOT_PATIENCE_NS) {
        return monitor->asked_ns + SNAPSHOT_PATIENCE_NS;
    }
    take(control);
    *ret_taken = monitor->taken_count > 0;
    monitor->asked = false;
    monitor->due_ns += every_ns;
    if (monitor->due_ns <= control->now_ns) { /* the first time, or late: no burst */
        monitor->due_ns = control->now_ns + every_ns;
    }
    return monitor->due_ns;
}
