// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "node/bytes.h"
#include "node/runtime_priv.h"

/* Partition maps: read, owners of before fenced, new layout written, partitions opened on their lanes.
 *
 *   for each stage: GET   then GET layout/nodes, and for each pipeline its text/   then for each owner of before: FENCE   then for each stage that changed: SET */

enum maps_part { MAPS_READ, MAPS_FENCE, MAPS_WRITE };

/* `rt->sub` counts parts; `rt->step` stages or owners within one. */

static void maps_next(struct node_runtime *rt);

/* --- nodes: u8 format (1), u16 nodes as configured, u16 count, then a u8 (enum node_state) each --- */

enum { NODES_FORMAT = 1 };

ptrdiff_t runtime_nodes_encode(const struct node_runtime *rt, int32_t node, enum node_state state,
                               uint8_t buf[NODES_RECORD_BYTES])
{
    uint8_t *at = put_u8(buf, NODES_FORMAT);
    at = put_u16(at, (uint16_t)rt->options.config->nodes.count);
    at = put_u16(at, (uint16_t)rt->node_max);
    for (int32_t i = 0; i < rt->node_max; i++) {
        at = put_u8(at, i == node ? (uint8_t)state : rt->node_states[i]);
    }
    return at - buf;
}

/* Takes what an earlier run of the same configured number left; nodes that are not in it are off. */
static void take_nodes(struct node_runtime *rt, struct str bytes)
{
    uint8_t format;
    uint16_t configured, count;
    int32_t active = 0;
    uint8_t states[NODES_MAX] = {0};
    if (!take_u8(&bytes, &format) || format != NODES_FORMAT || !take_u16(&bytes, &configured) ||
        configured != rt->options.config->nodes.count || !take_u16(&bytes, &count)) {
        return;
    }
    for (int32_t i = 0; i < rt->node_max && i < count; i++) {
        if (!take_u8(&bytes, &states[i]) || states[i] > NODE_DRAINING) {
            return;
        }
        active += states[i] == NODE_ACTIVE;
    }
    if (active > 0) {
        memcpy(rt->node_states, states, sizeof(states));
    }
}

/* --- layouts --- */

/* The lanes of nodes that are not off; nodes change fastest, so that few partitions spread over machines before they share
 * one's lanes. */
static struct map_lane *owning_lanes(struct node_runtime *rt, int32_t *ret_count)
{
    int32_t all = rt->node_max * rt->options.config->nodes.lanes;
    struct map_lane *lanes = ARENA_NEW_ARRAY(&rt->arena, struct map_lane, all);
    int32_t count = 0;
    for (int32_t at = 0; at < all; at++) {
        int32_t node = at % rt->node_max;
        if (rt->node_states[node] != NODE_OFF) {
            lanes[count++] = (struct map_lane){.node = (uint16_t)node,
                                               .lane = (uint16_t)(at / rt->node_max),
                                               .closed = rt->node_states[node] == NODE_DRAINING};
        }
    }
    *ret_count = count;
    return lanes;
}

/* As the last run left them, if the file says the same of them; else as the file wants them. */
static enum err stage_ranges(struct node_runtime *rt, struct runtime_stage *rs,
                             struct err_info *info)
{
    const struct nodes_spec *nodes = &rt->options.config->nodes;
    int32_t per_shard = rs->stage.plan->partitions_per_shard;
    bool kept = rs->old.version > 0 && rs->old.configured_partitions == per_shard;
    if (kept && partition_map_check(&rs->old, rs->stage.shard_count, info) != ERR_OK) {
        return ERR_CORRUPT;
    }
    if (!kept) {
        enum err err =
            partition_map_default(&rt->arena, rs->stage.shard_count, per_shard, &rs->map, info);
        if (err != ERR_OK) {
            return err;
        }
    } else {
        rs->map.count = rs->old.count;
        rs->map.places = ARENA_NEW_ARRAY(&rt->arena, struct partition_place, rs->old.count);
        memcpy(rs->map.places, rs->old.places,
               (size_t)rs->old.count * sizeof(struct partition_place));
    }
    rs->map.configured_partitions = (uint16_t)per_shard;
    rs->map.configured_nodes = (uint16_t)nodes->count;
    rs->map.configured_lanes = (uint16_t)nodes->lanes;
    return ERR_OK;
}

static enum err stage_layout(struct node_runtime *rt, struct runtime_stage *rs,
                             struct map_lane *lanes, int32_t lane_count, struct err_info *info)
{
    enum err err = stage_ranges(rt, rs, info);
    if (err != ERR_OK) {
        return err;
    }
    bool same_nodes = rs->old.configured_nodes == rs->map.configured_nodes &&
                      rs->old.configured_lanes == rs->map.configured_lanes;
    partition_map_place(&rs->map, lanes, lane_count, !same_nodes);
    IGNORE_RESULT(
        partition_map_follow(&rs->map, &rs->old)); /* its version tells whether it changed */
    struct partition_place *places = MEM_NEW_ARRAY(struct partition_place, rs->map.count);
    memcpy(places, rs->map.places, (size_t)rs->map.count * sizeof(places[0]));
    rs->map.places = places; /* the heap's from here on: changes replace it */
    rs->floors = ARENA_NEW_ARRAY(&rt->arena, struct floor_set *, rs->stage.shard_count);
    rs->slot_of = MEM_NEW_ARRAY(int32_t, rs->map.count);
    for (int32_t i = 0; i < rs->stage.shard_count; i++) {
        rs->floors[i] = floor_set_new(rs->stage.plan->input_count);
    }
    err = partition_map_check(&rs->map, rs->stage.shard_count, info);
    for (int32_t i = 0; err == ERR_OK && i < rs->map.count; i++) {
        rs->slot_of[i] = floor_set_take(rs->floors[places[i].shard]);
        CHECK(rs->slot_of[i] >= 0); /* at most one partition a key group */
    }
    atomic_fetch_add_explicit(&rt->partition_count, rs->map.count, memory_order_relaxed);
    return err;
}

void runtime_map_key(const struct node_runtime *rt, int32_t stage, char key[128])
{
    const struct stage_plan *plan = rt->stages[stage]->plan;
    if (!partition_map_key(key, plan->pipeline, plan->name)) {
        CHECK_MSG(false, "names of pipeline and stage are checked when they are loaded");
    }
}

static void control_get(struct node_runtime *rt)
{
    rt->op.u.control.value = rt->buf;
    rt->op.u.control.len = LOG_CONTROL_VALUE_MAX;
    runtime_submit(rt, LOG_OP_CONTROL_GET);
}

/* The record of a text that replaced a pipeline's; false: all have been read, or none are kept. */
static bool read_text(struct node_runtime *rt)
{
    int32_t at = rt->step - rt->stage_count - 1;
    if (rt->options.load == NULL || at >= rt->options.config->pipeline_count) {
        return false;
    }
    rt->op.u.control = (struct log_control_op){0};
    if (!runtime_text_key(rt->texts[at].pipeline, rt->op.u.control.key)) {
        CHECK_MSG(false, "names of pipelines are checked when they are loaded");
    }
    control_get(rt);
    return true;
}

/* True: a void record is being deleted. */
static enum err text_read(struct node_runtime *rt, bool *ret_deleting, struct err_info *info)
{
    struct log_control_op *got = &rt->op.u.control;
    bool is_void = false;
    enum err err = text_take_record(rt, &rt->texts[rt->step - rt->stage_count - 1],
                                    (struct str){rt->buf, got->ret_len}, &is_void, info);
    if (err == ERR_OK && is_void) {
        got->expected_version = got->ret_version;
        got->len = -1;
        runtime_submit(rt, LOG_OP_CONTROL_SET);
        *ret_deleting = true;
    }
    return err;
}

static void read_next(struct node_runtime *rt)
{
    if (rt->step < rt->stage_count) {
        rt->op.u.control = (struct log_control_op){0};
        runtime_map_key(rt, rt->step, rt->op.u.control.key);
        control_get(rt);
        return;
    }
    if (rt->step == rt->stage_count) {
        rt->op.u.control = (struct log_control_op){.key = NODES_KEY};
        control_get(rt);
        return;
    }
    if (read_text(rt)) {
        return;
    }
    int32_t lane_count;
    struct map_lane *lanes = owning_lanes(rt, &lane_count);
    struct err_info info = {0};
    for (int32_t i = 0; i < rt->stage_count; i++) {
        if (stage_layout(rt, &rt->stage_table[i], lanes, lane_count, &info) != ERR_OK) {
            runtime_fail(rt, &info);
            return;
        }
    }
    rt->sub = MAPS_FENCE;
    rt->step = 0;
    maps_next(rt);
}

static void read_done(struct node_runtime *rt)
{
    struct log_op *op = &rt->op;
    struct err_info info = op->info;
    enum err err = op->err;
    bool there = err == ERR_OK && op->u.control.ret_version > 0;
    if (there && rt->step == rt->stage_count) {
        rt->nodes_version = op->u.control.ret_version;
        take_nodes(rt, (struct str){rt->buf, op->u.control.ret_len});
    } else if (there && rt->step > rt->stage_count && op->kind == LOG_OP_CONTROL_GET) {
        bool deleting = false;
        err = text_read(rt, &deleting, &info);
        if (deleting) {
            return;
        }
    } else if (there && rt->step < rt->stage_count) {
        struct runtime_stage *rs = &rt->stage_table[rt->step];
        rs->control_version = op->u.control.ret_version;
        err = partition_map_decode(&rt->arena, (struct str){rt->buf, op->u.control.ret_len},
                                   &rs->old, &info);
    }
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        runtime_fail(rt, &info);
        return;
    }
    rt->step++;
    read_next(rt);
}

/* The `index`th owner (node, lane) that maps of before name; false: there are no more. */
static bool old_owner(const struct node_runtime *rt, int32_t index, uint16_t *ret_node,
                      uint16_t *ret_lane)
{
    /* Owners are few and maps are walked once each: numbers up to the largest, those that nobody had are harmless. */
    int32_t nodes = 0, lanes = 0;
    for (int32_t i = 0; i < rt->stage_count; i++) {
        const struct partition_map *old = &rt->stage_table[i].old;
        for (int32_t k = 0; k < old->count; k++) {
            nodes = old->places[k].node >= nodes ? old->places[k].node + 1 : nodes;
            lanes = old->places[k].lane >= lanes ? old->places[k].lane + 1 : lanes;
        }
    }
    if (lanes == 0 || index >= nodes * lanes) {
        return false;
    }
    *ret_node = (uint16_t)(index / lanes);
    *ret_lane = (uint16_t)(index % lanes);
    return true;
}

static void write_next(struct node_runtime *rt)
{
    while (rt->step < rt->stage_count &&
           rt->stage_table[rt->step].map.version == rt->stage_table[rt->step].old.version) {
        rt->step++;
    }
    if (rt->step == rt->stage_count) {
        runtime_enter(rt, RUNTIME_OPENING);
        return;
    }
    struct runtime_stage *rs = &rt->stage_table[rt->step];
    struct err_info info = {0};
    ptrdiff_t len = partition_map_bytes(&rs->map);
    if (len > LOG_CONTROL_VALUE_MAX) {
        IGNORE_RESULT(err_set(&info, ERR_LIMIT, "a map of %d partitions is too large",
                              rs->map.count)); /* told */
        runtime_fail(rt, &info);
        return;
    }
    partition_map_encode(&rs->map, rt->buf);
    rt->op.u.control = (struct log_control_op){
        .expected_version = rs->control_version, .value = rt->buf, .len = len};
    runtime_map_key(rt, rt->step, rt->op.u.control.key);
    runtime_submit(rt, LOG_OP_CONTROL_SET);
}

static void maps_next(struct node_runtime *rt)
{
    if (rt->sub == MAPS_READ) {
        read_next(rt);
        return;
    }
    uint16_t node, lane;
    if (rt->sub == MAPS_FENCE && old_owner(rt, rt->step, &node, &lane)) {
        rt->op.u.owner = (struct log_owner_op){0};
        IGNORE_RESULT(snprintf(rt->op.u.owner.name, sizeof(rt->op.u.owner.name), "%u.%u", node,
                               lane)); /* fits */
        runtime_submit(rt, LOG_OP_OWNER_FENCE);
        return;
    }
    rt->sub = MAPS_WRITE;
    rt->step = 0;
    write_next(rt);
}

void maps_begin(struct node_runtime *rt)
{
    rt->sub = MAPS_READ;
    rt->step = 0;
    maps_next(rt);
}

void maps_done(struct node_runtime *rt)
{
    const struct log_op *op = &rt->op;
    switch ((enum maps_part)rt->sub) {
    case MAPS_READ:
        read_done(rt);
        return;
    case MAPS_FENCE:
        if (op->err != ERR_OK && op->err != ERR_NOT_FOUND) {
            runtime_fail(rt, &op->info);
            return;
        }
        rt->step++;
        maps_next(rt);
        return;
    case MAPS_WRITE:
        if (op->err != ERR_OK) {
            runtime_fail(rt, &op->info);
            return;
        }
        rt->stage_table[rt->step].control_version = op->u.control.ret_version;
        rt->step++;
        write_next(rt);
        return;
    }
}

/* --- opening --- */

/* Gives the next partition to its lane; false: all have been given out. */
static bool open_next(struct node_runtime *rt, struct runtime_open *open)
{
    while (rt->open_stage < rt->stage_count &&
           rt->open_place == rt->stage_table[rt->open_stage].map.count) {
        rt->open_stage++;
        rt->open_place = 0;
    }
    if (rt->open_stage == rt->stage_count) {
        return false;
    }
    struct runtime_stage *rs = &rt->stage_table[rt->open_stage];
    int32_t at = rt->open_place++;
    const struct partition_place *place = &rs->map.places[at];
    open->busy = true;
    open->command = (struct lane_command){
        .kind = LANE_OPEN,
        .reply = &rt->replies,
        .u.open = {.stage = rt->open_stage,
                   .place = *place,
                   .floors = rs->floors[place->shard],
                   .floor_slot = rs->slot_of[at]},
    };
    int32_t lane = place->node * rt->options.config->nodes.lanes + place->lane;
    CHECK(lane < rt->lane_count);
    lane_send(rt->lanes[lane], &open->command);
    return true;
}

void opening_begin(struct node_runtime *rt)
{
    rt->open_count = RUNTIME_OPENS_PER_LANE * rt->lane_count;
    rt->opens = MEM_NEW_ARRAY(struct runtime_open, rt->open_count);
    if (atomic_load_explicit(&rt->partition_count, memory_order_relaxed) == 0) {
        runtime_enter(rt, RUNTIME_RUNNING);
        return;
    }
    for (int32_t i = 0; i < rt->open_count && open_next(rt, &rt->opens[i]); i++) {
    }
}

void opening_reply(struct node_runtime *rt, struct lane_command *command)
{
    struct runtime_open *open = CONTAINER_OF(command, struct runtime_open, command);
    open->busy = false;
    if (command->err != ERR_OK && rt->problem.text[0] == '\0') {
        char id[PARTITION_ID_MAX];
        const struct stage_plan *plan = rt->stages[command->u.open.stage]->plan;
        const struct partition_place *place = &command->u.open.place;
        partition_id_text(id, plan->pipeline, plan->name, place->shard, place->group_lo,
                          place->group_hi);
        IGNORE_RESULT(err_set(&rt->problem, command->err, "partition %s: %s", id,
                              command->info.text)); /* kept */
    }
    rt->answered++;
    if (node_runtime_state(rt) == RUNTIME_OPENING && !open_next(rt, open) &&
        rt->answered == atomic_load_explicit(&rt->partition_count, memory_order_relaxed)) {
        runtime_enter(rt, RUNTIME_RUNNING);
    }
}
