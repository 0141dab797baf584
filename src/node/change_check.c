// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/mem.h"
#include "node/change_priv.h"

/* What a change may be, against the layout as it is now. Nothing is begun here. */

static enum err check_stage(const struct node_runtime *rt, const struct change_spec *spec,
                            struct err_info *info)
{
    if (spec->stage < 0 || spec->stage >= rt->stage_count) {
        return err_set(info, ERR_INVALID, "there is no stage %d; there are %d", spec->stage,
                       rt->stage_count);
    }
    int32_t shards = rt->stages[spec->stage]->shard_count;
    if (spec->shard >= (uint32_t)shards) {
        return err_set(info, ERR_INVALID, "there is no shard %u; the stage's input has %d",
                       spec->shard, shards);
    }
    if (spec->group_lo >= spec->group_hi || spec->group_hi > KEY_GROUP_COUNT) {
        return err_set(info, ERR_INVALID,
                       "key groups %u-%u are no range; it is first to one past the last of 0-%d",
                       spec->group_lo, spec->group_hi, KEY_GROUP_COUNT);
    }
    return ERR_OK;
}

/* The partition named; *ret_at is its index. */
static enum err check_partition(const struct node_runtime *rt, const struct change_spec *spec,
                                int32_t *ret_at, struct err_info *info)
{
    enum err err = check_stage(rt, spec, info);
    if (err != ERR_OK) {
        return err;
    }
    const struct partition_map *map = &rt->stage_table[spec->stage].map;
    int32_t at = partition_map_find(map, spec->shard, spec->group_lo);
    const struct partition_place *place = &map->places[at];
    if (place->shard != spec->shard || place->group_lo != spec->group_lo ||
        place->group_hi != spec->group_hi) {
        return err_set(info, ERR_INVALID,
                       "shard %u has no partition %u-%u; the one that holds group %u is %u-%u",
                       spec->shard, spec->group_lo, spec->group_hi, spec->group_lo, place->group_lo,
                       place->group_hi);
    }
    *ret_at = at;
    return ERR_OK;
}

static enum err check_target(const struct node_runtime *rt, uint16_t node, uint16_t lane,
                             struct err_info *info)
{
    int32_t lanes = rt->options.config->nodes.lanes;
    if (node >= rt->node_max || lane >= lanes) {
        return err_set(info, ERR_INVALID,
                       "there is no lane %u of node %u; nodes are 0-%d with lanes 0-%d", lane, node,
                       rt->node_max - 1, lanes - 1);
    }
    if (rt->node_states[node] != NODE_ACTIVE) {
        return err_set(info, ERR_UNAVAILABLE, "node %u %s; choose an active one, or add it first",
                       node, rt->node_states[node] == NODE_OFF ? "is off" : "is being drained");
    }
    const struct lane *to = rt->lanes[node * lanes + lane];
    if (atomic_load_explicit(&lane_status(to)->state, memory_order_acquire) != LANE_RUNNING) {
        return err_set(info, ERR_UNAVAILABLE, "lane %u of node %u does not run: %.150s", lane, node,
                       lane_problem(to)->text);
    }
    return ERR_OK;
}

static bool overlaps(const struct change_piece *piece, const struct change *change)
{
    for (int32_t i = 0; i < change->close_count; i++) {
        const struct change_piece *own = &change->closes[i];
        if (piece->stage == own->stage && piece->place.shard == own->place.shard &&
            piece->place.group_lo < own->place.group_hi &&
            own->place.group_lo < piece->place.group_hi) {
            return true;
        }
    }
    return false;
}

/* X2 */
static enum err check_conflicts(const struct node_runtime *rt, const struct change *change,
                                uint64_t *ret_conflict, struct err_info *info)
{
    for (const struct change *other = rt->changes.first; other != NULL; other = other->next) {
        bool clash =
            change->spec.kind == other->spec.kind &&
            ((change->spec.kind == CHANGE_NODE && change->spec.node == other->spec.node) ||
             (change->spec.kind == CHANGE_PIPELINE && change->first_stage == other->first_stage));
        for (int32_t i = 0; i < other->close_count && !clash; i++) {
            clash = overlaps(&other->closes[i], change);
        }
        if (clash) {
            *ret_conflict = other->id;
            return err_set(info, ERR_CONFLICT,
                           "change %llu (%s) is under way there; wait for it or cancel it",
                           (unsigned long long)other->id, change_kind_name(other->spec.kind));
        }
    }
    return ERR_OK;
}

static struct change_piece *pieces_new(struct change *change, int32_t count)
{
    struct change_piece *pieces = MEM_NEW_ARRAY(struct change_piece, count);
    for (int32_t i = 0; i < count; i++) {
        pieces[i].change = change;
        pieces[i].stage = change->spec.stage;
        pieces[i].slot = -1;
    }
    return pieces;
}

static void close_places(struct node_runtime *rt, struct change *change, int32_t at, int32_t count)
{
    const struct runtime_stage *rs = &rt->stage_table[change->spec.stage];
    change->closes = pieces_new(change, count);
    change->close_count = count;
    for (int32_t i = 0; i < count; i++) {
        change->closes[i].place = rs->map.places[at + i];
        change->closes[i].slot = rs->slot_of[at + i];
    }
}

static void open_like(struct change *change, int32_t count)
{
    change->opens = pieces_new(change, count);
    change->open_count = count;
    for (int32_t i = 0; i < count; i++) {
        change->opens[i].place = change->closes[0].place;
    }
}

static void put_target(struct change_piece *piece, const struct change_spec *spec)
{
    piece->place.node = spec->node;
    piece->place.lane = spec->lane;
}

void change_set_border(struct change *change, uint32_t border)
{
    change->border = border;
    change->opens[0].place.group_hi = border;
    change->opens[1].place.group_lo = border;
}

static enum err check_split(struct node_runtime *rt, struct change *change, int32_t at,
                            struct err_info *info)
{
    const struct change_spec *spec = &change->spec;
    if (spec->group_hi - spec->group_lo < 2) {
        return err_set(info, ERR_INVALID,
                       "partition %u-%u is one key group, which cannot be split; re-key into a "
                       "stream with more shards",
                       spec->group_lo, spec->group_hi);
    }
    if (spec->border != 0 && (spec->border <= spec->group_lo || spec->border >= spec->group_hi)) {
        return err_set(info, ERR_INVALID,
                       "border %u is not inside %u-%u; the first group of the upper half is %u-%u",
                       spec->border, spec->group_lo, spec->group_hi, spec->group_lo + 1,
                       spec->group_hi - 1);
    }
    if (rt->stage_table[spec->stage].map.count >= MAP_PARTITIONS_MAX) {
        return err_set(info, ERR_LIMIT, "the stage has %d partitions, the most there may be",
                       MAP_PARTITIONS_MAX);
    }
    close_places(rt, change, at, 1);
    open_like(change, 2);
    if ((spec->flags & CHANGE_PLACED) != 0) {
        put_target(&change->opens[1], spec);
    }
    return ERR_OK;
}

static enum err check_merge(struct node_runtime *rt, struct change *change, int32_t at,
                            struct err_info *info)
{
    const struct change_spec *spec = &change->spec;
    const struct partition_map *map = &rt->stage_table[spec->stage].map;
    if (at + 1 >= map->count || map->places[at + 1].shard != spec->shard) {
        return err_set(info, ERR_INVALID,
                       "partition %u-%u is the last of shard %u: name the lower of two neighbours "
                       "of one shard",
                       spec->group_lo, spec->group_hi, spec->shard);
    }
    close_places(rt, change, at, 2);
    open_like(change, 1);
    change->opens[0].place.group_hi = map->places[at + 1].group_hi;
    if ((spec->flags & CHANGE_PLACED) != 0) {
        put_target(&change->opens[0], spec);
    }
    return ERR_OK;
}

static enum err check_migrate(struct node_runtime *rt, struct change *change, int32_t at,
                              struct err_info *info)
{
    const struct change_spec *spec = &change->spec;
    const struct partition_place *place = &rt->stage_table[spec->stage].map.places[at];
    if (place->node == spec->node && place->lane == spec->lane) {
        return err_set(info, ERR_INVALID, "it is on lane %u of node %u already", spec->lane,
                       spec->node);
    }
    close_places(rt, change, at, 1);
    open_like(change, 1);
    put_target(&change->opens[0], spec);
    return ERR_OK;
}

/* Partitions that `node` owns, or that are on their way to it. */
static int64_t owned_by(const struct node_runtime *rt, uint16_t node)
{
    int64_t owned = 0;
    for (int32_t i = 0; i < rt->stage_count; i++) {
        const struct partition_map *map = &rt->stage_table[i].map;
        for (int32_t k = 0; k < map->count; k++) {
            owned += map->places[k].node == node;
        }
    }
    for (const struct change *change = rt->changes.first; change != NULL; change = change->next) {
        for (int32_t i = 0; i < change->open_count; i++) {
            owned += change->opens[i].place.node == node;
        }
    }
    return owned;
}

/* Whether it is active and will be when the changes under way are done. */
static bool stays_active(const struct node_runtime *rt, int32_t node)
{
    bool stays = rt->node_states[node] == NODE_ACTIVE;
    for (const struct change *change = rt->changes.first; change != NULL; change = change->next) {
        stays = stays && !(change->spec.kind == CHANGE_NODE && change->spec.node == node &&
                           change->spec.node_state != NODE_ACTIVE);
    }
    return stays;
}

static enum err check_node(const struct node_runtime *rt, const struct change_spec *spec,
                           struct err_info *info)
{
    if (spec->node >= rt->node_max || (uint32_t)spec->node_state > NODE_DRAINING) {
        return err_set(info, ERR_INVALID, "there is no node %u; nodes are 0-%d (nodes.max)",
                       spec->node, rt->node_max - 1);
    }
    int32_t others = 0;
    for (int32_t i = 0; i < rt->node_max; i++) {
        others += i != spec->node && stays_active(rt, i);
    }
    if (spec->node_state != NODE_ACTIVE && others == 0) {
        return err_set(info, ERR_CONFLICT,
                       "node %u is the last active one; add another before it is drained",
                       spec->node);
    }
    if (spec->node_state == NODE_OFF && rt->node_states[spec->node] == NODE_ACTIVE) {
        return err_set(info, ERR_CONFLICT, "node %u is active; drain it first", spec->node);
    }
    int64_t owned = spec->node_state == NODE_OFF ? owned_by(rt, spec->node) : 0;
    if (owned > 0) {
        return err_set(info, ERR_CONFLICT,
                       "node %u has %lld partitions; drain it and migrate them first", spec->node,
                       (long long)owned);
    }
    return ERR_OK;
}

static int32_t count_losses(const struct stage_plan *old, const struct stage_plan *next, char *text,
                            ptrdiff_t cap)
{
    struct stage_shape *shape = MEM_NEW(struct stage_shape);
    stage_shape_of(old, shape);
    int32_t lost = stage_shape_compare(shape, next, text, cap);
    mem_free(shape);
    return lost;
}

static int32_t losses_of(struct node_runtime *rt, const struct pipeline_plan *next,
                         const bool affected[STAGES_MAX], int32_t first, char *text, ptrdiff_t cap)
{
    int32_t lost = 0;
    ptrdiff_t used = 0;
    text[0] = 0;
    for (int32_t i = 0; i < next->stage_count; i++) {
        if (affected[i] && used < cap - 1) {
            const struct stage *stage = rt->stages[first + i];
            lost += count_losses(stage->plan, next->stages[i], text + used, cap - used);
            used += (ptrdiff_t)strlen(text + used);
        }
    }
    return lost;
}

/* All partitions of the stages that change stop and open as they are. */
static void close_stages(struct node_runtime *rt, struct change *change, int32_t stage_count)
{
    int32_t count = 0, at = 0;
    for (int32_t i = 0; i < stage_count; i++) {
        count += change->affected[i] ? rt->stage_table[change->first_stage + i].map.count : 0;
    }
    change->closes = pieces_new(change, count);
    change->opens = pieces_new(change, count);
    change->close_count = change->open_count = count;
    for (int32_t i = 0; i < stage_count; i++) {
        const struct runtime_stage *rs = &rt->stage_table[change->first_stage + i];
        for (int32_t k = 0; change->affected[i] && k < rs->map.count; k++, at++) {
            change->closes[at].stage = change->opens[at].stage = change->first_stage + i;
            change->closes[at].place = change->opens[at].place = rs->map.places[k];
            change->closes[at].slot = change->opens[at].slot = rs->slot_of[k];
        }
    }
}

static enum err check_text(struct node_runtime *rt, struct change *change, struct err_info *info)
{
    const struct change_spec *spec = &change->spec;
    if (spec->config == NULL || spec->pipeline < 0 ||
        spec->pipeline >= spec->config->pipeline_count) {
        return err_set(info, ERR_INVALID, "the new text has no pipeline %d", spec->pipeline);
    }
    const struct pipeline_plan *next = spec->config->pipelines[spec->pipeline];
    enum err err = text_compare(rt, next, change->affected, &change->first_stage, info);
    if (err != ERR_OK) {
        return err;
    }
    if (spec->config->text.len + 9 > LOG_CONTROL_VALUE_MAX) {
        return err_set(info, ERR_LIMIT, "the new text has %td bytes, more than %d",
                       spec->config->text.len, LOG_CONTROL_VALUE_MAX - 9);
    }
    char text[ERR_TEXT_MAX - 100];
    int32_t lost = losses_of(rt, next, change->affected, change->first_stage, text, sizeof(text));
    if (lost > 0 && (spec->flags & CHANGE_DROP_STATE) == 0) {
        return err_set(info, ERR_NEEDS_OPERATOR,
                       "state of the present chains cannot go on (%d differences), ask for it to "
                       "be dropped: %s",
                       lost, text);
    }
    close_stages(rt, change, next->stage_count);
    return ERR_OK;
}

static enum err check_kind(struct node_runtime *rt, struct change *change, struct err_info *info)
{
    const struct change_spec *spec = &change->spec;
    int32_t at = 0;
    if (spec->kind == CHANGE_NODE) {
        return check_node(rt, spec, info);
    }
    if (spec->kind == CHANGE_PIPELINE) {
        return check_text(rt, change, info);
    }
    enum err err = check_partition(rt, spec, &at, info);
    bool placed = spec->kind == CHANGE_MIGRATE || (spec->flags & CHANGE_PLACED) != 0;
    if (err == ERR_OK && placed) {
        err = check_target(rt, spec->node, spec->lane, info);
    }
    if (err != ERR_OK) {
        return err;
    }
    switch (spec->kind) {
    case CHANGE_SPLIT:
        return check_split(rt, change, at, info);
    case CHANGE_MERGE:
        return check_merge(rt, change, at, info);
    case CHANGE_MIGRATE:
        return check_migrate(rt, change, at, info);
    case CHANGE_NODE:
    case CHANGE_PIPELINE:
    case CHANGE_KIND_COUNT:
        break;
    }
    return err_set(info, ERR_INVALID, "a change of kind %d", (int)spec->kind);
}

enum err change_check(struct node_runtime *rt, struct change *change, uint64_t *ret_conflict,
                      struct err_info *info)
{
    if (node_runtime_state(rt) != RUNTIME_RUNNING) {
        return err_set(info, ERR_UNAVAILABLE, "the pipelines are %s, not running",
                       runtime_state_name(node_runtime_state(rt)));
    }
    if (rt->changes.count >= CHANGES_ACTIVE_MAX) {
        return err_set(info, ERR_UNAVAILABLE, "%d changes are under way; wait for some of them",
                       CHANGES_ACTIVE_MAX);
    }
    enum err err = check_kind(rt, change, info);
    return err == ERR_OK ? check_conflicts(rt, change, ret_conflict, info) : err;
}
