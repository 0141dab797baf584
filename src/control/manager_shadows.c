// SPDX-License-Identifier: Apache-2.0
/* Shadows that the core asks for: cast, followed to their end, and told to it as a profile. To the core
 * it is the moment to plan: where the load may be cut, what the heaviest key has and what a record costs come from the primary's
 * own counts. Which operator limits, and by how much, goes to the tuner (control/tuner.h). */
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "control/manager_priv.h"
#include "control/shadows_priv.h"

bool shadows_can_be_cast(const struct control *control)
{
    for (int32_t p = 0; p < control->config->pipeline_count; p++) {
        if (control->config->pipelines[p]->shadowing.automatic) {
            return true;
        }
    }
    return false;
}

int64_t shadow_duration_wall_ns(const struct control *control, double seconds)
{
    double ns = seconds * 1e9 / control->config->manager.time_scale;
    double most = fmin(ns, (double)SHADOW_DURATION_NS_MAX);
    return (int64_t)fmax(most, (double)SHADOW_DURATION_NS_MIN);
}

static const struct partition_place *place_of(const struct control *control,
                                              const struct manager_action *action)
{
    int32_t stage = SHARD_STAGE(action->shard);
    if (stage < 0 || stage >= node_runtime_stage_count(control->runtime)) {
        return NULL;
    }
    const struct partition_map *map = node_runtime_map(control->runtime, stage);
    const struct partition_place *place =
        &map->places[partition_map_find(map, SHARD_INDEX(action->shard), action->group_lo)];
    return place->group_lo == action->group_lo && place->group_hi == action->group_hi ? place
                                                                                      : NULL;
}

/* A shadow of that partition that was cast by the watch's own thresholds, or by a person, tells as much as another would. */
static bool adopt(struct control *control, const struct manager_action *action)
{
    char id[PARTITION_ID_MAX];
    const struct stage_plan *plan =
        node_runtime_stage(control->runtime, SHARD_STAGE(action->shard))->plan;
    partition_id_text(id, plan->pipeline, plan->name, SHARD_INDEX(action->shard), action->group_lo,
                      action->group_hi);
    int64_t until_ns = control->now_ns + shadow_duration_wall_ns(control, action->duration_s);
    const struct shadow_entry *entry = shadows_find_cast(&control->shadows, id);
    if (entry == NULL) {
        entry = shadows_find_ending(&control->shadows, id, until_ns);
    }
    if (entry == NULL || entry->order.candidate) {
        return false;
    }
    control->manager->cast_shadow = entry->id;
    control->manager->cast_number = action->shadow;
    return true;
}

bool shadow_cast(struct control *control, const struct manager_action *action)
{
    struct manager_shell *shell = control->manager;
    struct err_info info;
    const struct partition_place *place = place_of(control, action);
    if (place == NULL || shell->cast_shadow != 0) {
        return false;
    }
    if (adopt(control, action)) {
        return true;
    }
    int32_t stage = SHARD_STAGE(action->shard);
    struct str pipeline = node_runtime_stage(control->runtime, stage)->plan->pipeline;
    const struct shadowing_spec *spec = &config_pipeline(control->config, pipeline)->shadowing;
    struct shadow_order order = {.cause = LIFE_CAUSE_MANAGER,
                                 .percent = spec->percent,
                                 .duration_ns =
                                     shadow_duration_wall_ns(control, action->duration_s),
                                 .adaptive = true};
    IGNORE_RESULT(
        snprintf(order.store, sizeof(order.store), "%.*s", STR_ARG(spec->store))); /* fits */
    if (shadows_cast(control, stage, place, &order, &shell->cast_shadow, &info) != ERR_OK) {
        shell->cast_shadow = 0;
        event_add(control, "shadow", "", "refused", 0, info.text);
        return false;
    }
    shell->cast_number = action->shadow;
    return true;
}

void shadow_end(struct control *control, const struct manager_action *action)
{
    struct manager_shell *shell = control->manager;
    struct shadow_entry *entry = shadows_find(&control->shadows, shell->cast_shadow);
    if (shell->cast_number != action->shadow || entry == NULL) {
        return;
    }
    if (entry->order.cause == LIFE_CAUSE_PERSON) {
        shell->cast_shadow = 0; /* it goes on for whom it was cast */
    } else {
        shadow_tell(control, entry, LIFE_EVENT_STOP);
    }
}

void shadow_follow(struct control *control)
{
    struct manager_shell *shell = control->manager;
    if (shell->cast_shadow == 0) {
        return;
    }
    struct shadow_entry *entry = shadows_find(&control->shadows, shell->cast_shadow);
    if (entry != NULL && entry->life.state != LIFE_ENDED) {
        return;
    }
    /* One for which the machine had no processor has lived its time and measured nothing: another is cast later. */
    bool answered = entry != NULL && (entry->life.outcome == LIFE_END_ANSWERED ||
                                      entry->life.outcome == LIFE_END_DURATION);
    struct manager_event event = {.kind = MANAGER_EVENT_SHADOW_ENDED,
                                  .shadow_ended = {shell->cast_number, !answered}};
    if (answered) {
        event = (struct manager_event){
            .kind = MANAGER_EVENT_PROFILE,
            .profile = {.shadow = shell->cast_number,
                        .complete = !entry->life.partial && entry->records > 0}};
    }
    shell->cast_shadow = 0;
    core_event(control, &event);
}
