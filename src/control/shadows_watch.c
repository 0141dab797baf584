// SPDX-License-Identifier: Apache-2.0
/* When a shadow is cast by itself, when one must yield, what all of a pipeline's may use. Triggers look at what the monitor
 * measured; guards look once a second while a shadow runs. */
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "control/manager_priv.h"
#include "control/monitor.h"
#include "control/shadows_priv.h"

enum { WATCHED_FIRST = 64 };
#define BUDGET_STEP 0.05 /* of a budget: smaller changes are not told */
#define GUARD_NS    1000000000LL
#define QUIET_NS    (600 * 1000000000LL) /* between two automatic shadows of a partition; the load's */

void shadows_watch_init(struct control *control)
{
    struct shadow_watch *watch = &control->watch;
    const struct config *config = control->config;
    watch->count = config->pipeline_count;
    watch->all = MEM_NEW_ARRAY(struct shadowing, watch->count > 0 ? watch->count : 1);
    for (int32_t i = 0; i < watch->count; i++) {
        const struct pipeline_plan *plan = config->pipelines[i];
        struct shadowing *shadowing = &watch->all[i];
        struct shadow_settings settings = shadow_settings_default();
        settings.percent = plan->shadowing.percent;
        settings.threshold = plan->shadowing.threshold;
        settings.sustain_ns = plan->shadowing.sustain_ns;
        settings.duration_ns = plan->shadowing.duration_ns;
        settings.automatic = plan->shadowing.automatic;
        settings.budget_share = plan->shadowing.budget_share;
        settings.budget_cores = plan->shadowing.budget_cores;
        *shadowing = (struct shadowing){.pipeline = plan->name, .settings = settings};
        IGNORE_RESULT(snprintf(shadowing->store, sizeof(shadowing->store), "%.*s",
                               STR_ARG(plan->shadowing.store))); /* checked by the configuration */
    }
}

void shadows_watch_free(struct control *control)
{
    mem_free(control->watch.all);
    mem_free(control->watch.parts);
}

struct shadowing *shadowing_of(struct control *control, struct str pipeline)
{
    for (int32_t i = 0; i < control->watch.count; i++) {
        if (str_equal(control->watch.all[i].pipeline, pipeline)) {
            return &control->watch.all[i];
        }
    }
    return NULL;
}

/* --- triggers --- */

static uint64_t watched_id(int32_t stage, uint32_t shard, uint32_t lo, uint32_t hi)
{
    uint32_t id[4] = {(uint32_t)stage, shard, lo, hi};
    return hash64(id, (ptrdiff_t)sizeof(id));
}

static struct watched *find_watched(struct shadow_watch *watch, uint64_t id)
{
    for (int32_t i = 0; i < watch->part_count; i++) {
        if (watch->parts[i].id == id) {
            return &watch->parts[i];
        }
    }
    if (watch->part_count == watch->part_cap) {
        int32_t cap = watch->part_cap > 0 ? 2 * watch->part_cap : WATCHED_FIRST;
        struct watched *parts = MEM_NEW_ARRAY(struct watched, cap);
        if (watch->part_count > 0) {
            memcpy(parts, watch->parts, sizeof(*parts) * (size_t)watch->part_count);
        }
        mem_free(watch->parts);
        watch->parts = parts;
        watch->part_cap = cap;
    }
    struct watched *watched = &watch->parts[watch->part_count++];
    *watched = (struct watched){.id = id};
    shadow_trigger_init(&watched->trigger);
    return watched;
}

static void forget_unseen(struct shadow_watch *watch)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < watch->part_count; i++) {
        if (watch->parts[i].seen) {
            watch->parts[kept] = watch->parts[i];
            watch->parts[kept++].seen = false;
        }
    }
    watch->part_count = kept;
}

/* Settings are of the load's time, as the manager's are; a shadow lives in the wall's. */
static int64_t duration_of(const struct control *control, const struct shadowing *shadowing)
{
    return shadow_duration_wall_ns(control, (double)shadowing->settings.duration_ns * 1e-9);
}

/* Casts one of its own accord; a refusal is an event, not a failure. */
static void cast(struct control *control, struct shadowing *shadowing, int32_t stage,
                 const struct partition_place *place, enum life_cause cause)
{
    struct err_info info;
    struct shadow_order order = {.cause = cause,
                                 .percent = shadowing->settings.percent,
                                 .duration_ns = duration_of(control, shadowing),
                                 .adaptive = true};
    memcpy(order.store, shadowing->store, sizeof(shadowing->store));
    struct shadow_entry *entry = shadow_entry_new(control, NULL);
    enum err err = shadow_order_cast(control, stage, place, &order, entry, &info);
    if (err == ERR_OK) {
        shadow_begin(control, entry);
        return;
    }
    event_add(control, "shadow", entry->partition, "refused", 0, info.text);
    shadow_run_free(entry);
    mem_free(entry);
}

enum err shadows_cast(struct control *control, int32_t stage, const struct partition_place *place,
                      const struct shadow_order *order, int64_t *ret_id, struct err_info *info)
{
    struct shadow_entry *entry = shadow_entry_new(control, NULL);
    enum err err = shadow_order_cast(control, stage, place, order, entry, info);
    if (err != ERR_OK) {
        shadow_run_free(entry);
        mem_free(entry);
        return err;
    }
    shadow_begin(control, entry);
    *ret_id = entry->id;
    return ERR_OK;
}

static const struct partition_place *place_of(const struct control *control,
                                              const struct monitored *part)
{
    const struct partition_map *map = node_runtime_map(control->runtime, part->stage);
    const struct partition_place *place =
        &map->places[partition_map_find(map, part->shard, part->group_lo)];
    return place->group_lo == part->group_lo && place->group_hi == part->group_hi ? place : NULL;
}

static void look_at_part(struct control *control, const struct monitored *part)
{
    struct shadowing *shadowing =
        shadowing_of(control, node_runtime_stage(control->runtime, part->stage)->plan->pipeline);
    struct watched *watched = find_watched(
        &control->watch, watched_id(part->stage, part->shard, part->group_lo, part->group_hi));
    const struct partition_place *place = place_of(control, part);
    enum life_cause cause = LIFE_CAUSE_PERSON;
    struct shadow_load load = {.lane = control->monitor->lanes[part->lane].m.utilisation,
                               .demand = part->m.demand,
                               .memory = part->m.memory,
                               .io = part->m.io_ratio,
                               .forecast = (double)NAN}; /* on forecasts the core casts itself */
    watched->seen = true;
    if (shadowing == NULL || place == NULL || !part->running ||
        !shadow_trigger_look(&watched->trigger, &shadowing->settings, &load, core_now_ns(control),
                             &cause)) {
        return;
    }
    shadow_trigger_rest(&watched->trigger, core_now_ns(control),
                        shadowing->settings.duration_ns + QUIET_NS);
    char id[PARTITION_ID_MAX];
    const struct stage_plan *plan = node_runtime_stage(control->runtime, part->stage)->plan;
    partition_id_text(id, plan->pipeline, plan->name, part->shard, part->group_lo, part->group_hi);
    int64_t until_ns = control->now_ns + duration_of(control, shadowing);
    if (shadows_find_cast(&control->shadows, id) == NULL && /* else that one answers as well */
        shadows_find_ending(&control->shadows, id, until_ns) == NULL) {
        cast(control, shadowing, part->stage, place, cause);
    }
}

/* --- guards --- */

static void add_use(struct control *control, const struct monitored *part)
{
    struct shadowing *shadowing =
        shadowing_of(control, node_runtime_stage(control->runtime, part->stage)->plan->pipeline);
    if (shadowing != NULL) {
        shadowing->cores +=
            part->m.service * part->m.work_cost_s + part->m.read * part->m.read_cost_s;
    }
}

/* What its partitions say now, summed up. */
struct live_sums {
    int64_t oldest_ns, state_bytes, committed, late;
};

static struct live_sums live_sums_of(const struct control *control, struct str pipeline)
{
    struct live_sums sums = {0};
    for (int32_t l = 0; l < control->lane_count; l++) {
        const struct lane_view *view = &control->lanes[l];
        for (int32_t p = 0; p < view->report_count; p++) {
            const struct partition_report *report = &view->reports[p];
            const struct stage *stage = node_runtime_stage(control->runtime, report->stage);
            if (!str_equal(stage->plan->pipeline, pipeline)) {
                continue;
            }
            const struct partition_figures *f = &report->figures;
            sums.oldest_ns = f->lag_ns > sums.oldest_ns ? f->lag_ns : sums.oldest_ns;
            sums.state_bytes += f->state_bytes;
            sums.committed += f->committed;
            sums.late += f->committed_late;
        }
    }
    return sums;
}

static void look_at_guard(struct control *control, struct shadowing *shadowing)
{
    const struct pipeline_plan *plan =
        config_pipeline(config_in_force(control, shadowing->pipeline), shadowing->pipeline);
    struct live_sums sums = live_sums_of(control, shadowing->pipeline);
    struct live_look look = {.age_ns = sums.oldest_ns,
                             .bound_ns = plan->objective_ns,
                             .memory = (double)sums.state_bytes / (double)plan->memory_bytes};
    /* Counters that fell are of partitions that were opened again: such a look says nothing of records. */
    bool risen = sums.committed >= shadowing->committed && sums.late >= shadowing->committed_late;
    if (shadowing->counted && risen) {
        look.records = sums.committed - shadowing->committed;
        look.late = sums.late - shadowing->committed_late;
        look.late = look.late < look.records ? look.late : look.records;
    }
    shadowing->committed = sums.committed;
    shadowing->committed_late = sums.late;
    shadowing->counted = true;
    shadow_guard_look(&shadowing->guard, &look);
}

static void look_at_parts(struct control *control)
{
    const struct monitor *monitor = control->monitor;
    for (int32_t i = 0; i < control->watch.count; i++) {
        control->watch.all[i].cores = 0;
    }
    for (int32_t i = 0; i < monitor->part_count; i++) {
        add_use(control, &monitor->parts[i]);
    }
    for (int32_t i = 0; i < monitor->part_count; i++) {
        look_at_part(control, &monitor->parts[i]);
    }
    forget_unseen(&control->watch);
}

/* --- budgets --- */

static int32_t first_stage_of(const struct control *control, struct str pipeline)
{
    int32_t count = node_runtime_stage_count(control->runtime);
    for (int32_t i = 0; i < count; i++) {
        if (str_equal(node_runtime_stage(control->runtime, i)->plan->pipeline, pipeline)) {
            return i;
        }
    }
    return count;
}

/* Tells the shadow lane a budget if it differs from what was told by so much that it matters. One at a time. */
static void tell_budget(struct control *control, double cores, int32_t stage, double *told)
{
    double most = cores < 1 ? cores : 1; /* one thread */
    if (!(most > 0) || control->shadow_limits_out || fabs(most - *told) < BUDGET_STEP * most) {
        return;
    }
    *told = most;
    control->shadow_limits =
        (struct shadow_command){.kind = SHADOW_LIMITS, .reply = &control->shadow_replies};
    control->shadow_limits.u.limits = (struct shadow_limits){.budget = most, .stage = stage};
    control->shadow_limits_out = true;
    shadow_lane_send(node_runtime_shadow_lane(control->runtime), &control->shadow_limits);
}

void shadows_set_budgets(struct control *control)
{
    double all = 0;
    for (int32_t i = 0; i < control->watch.count; i++) {
        struct shadowing *shadowing = &control->watch.all[i];
        char pipeline[CONTROL_NAME_MAX + 1];
        IGNORE_RESULT(snprintf(pipeline, sizeof(pipeline), "%.*s", STR_ARG(shadowing->pipeline)));
        if (shadows_active(&control->shadows, pipeline) > 0) {
            double cores = shadow_budget_cores(&shadowing->settings, shadowing->cores);
            tell_budget(control, cores, first_stage_of(control, shadowing->pipeline),
                        &shadowing->told_cores);
            all += cores;
        }
    }
    tell_budget(control, all, -1, &control->shadow_budget);
}

int64_t shadows_watch(struct control *control)
{
    struct shadow_watch *watch = &control->watch;
    bool able = node_runtime_shadow_lane(control->runtime) != NULL;
    if (able && control->monitor->taken_ns != watch->taken_ns &&
        control->monitor->taken_count > 0) {
        watch->taken_ns = control->monitor->taken_ns;
        look_at_parts(control);
    }
    if (shadows_active(&control->shadows, NULL) == 0) {
        return CLOCK_NEVER;
    }
    if (watch->asked && control->lanes_out == 0) {
        watch->asked = false;
        for (int32_t i = 0; i < watch->count; i++) {
            look_at_guard(control, &watch->all[i]);
        }
    }
    if (control->now_ns >= watch->look_ns) {
        watch->look_ns = control->now_ns + GUARD_NS;
        watch->asked = figures_ask(control);
    }
    return watch->look_ns;
}
