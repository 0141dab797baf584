// SPDX-License-Identifier: Apache-2.0
/* From an order to an operation: which partition, node or pipeline is meant, and whether it may be. */
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/operations_priv.h"

/* --- partitions --- */

static int32_t find_stage(const struct control *control, struct str pipeline, struct str stage)
{
    for (int32_t i = 0; i < node_runtime_stage_count(control->runtime); i++) {
        const struct stage_plan *plan = node_runtime_stage(control->runtime, i)->plan;
        if (str_equal(plan->pipeline, pipeline) && str_equal(plan->name, stage)) {
            return i;
        }
    }
    return -1;
}

static const struct partition_place *find_place(const struct partition_map *map, uint32_t shard,
                                                uint32_t group)
{
    for (int32_t i = 0; i < map->count; i++) {
        const struct partition_place *place = &map->places[i];
        if (place->shard == shard && place->group_lo <= group && group < place->group_hi) {
            return place;
        }
    }
    return NULL;
}

static enum err runs(const struct control *control, struct err_info *info)
{
    enum runtime_state state = node_runtime_state(control->runtime);
    if (state != RUNTIME_RUNNING) {
        return err_set(info, ERR_UNAVAILABLE, "the pipelines are %s, not running",
                       runtime_state_name(state));
    }
    return ERR_OK;
}

enum err partition_named(const struct control *control, const struct control_args *args,
                         int32_t *ret_stage, struct partition_place *ret_place,
                         struct err_info *info)
{
    uint32_t lo = 0, hi = 0;
    enum err err = runs(control, info);
    if (err != ERR_OK) {
        return err;
    }
    if (!range_parse(str_of(args->range), &lo, &hi)) {
        return err_set(
            info, ERR_INVALID,
            "'%s' is no range of key groups; one is like 0-4096, the first and one past the "
            "last",
            args->range);
    }
    int32_t stage = find_stage(control, str_of(args->pipeline), str_of(args->stage));
    if (stage < 0) {
        return err_set(info, ERR_NOT_FOUND,
                       "there is no stage '%.60s' in a pipeline '%.60s'; GET /api/v1/partitions "
                       "lists what is there",
                       args->stage, args->pipeline);
    }
    int32_t shards = node_runtime_stage(control->runtime, stage)->shard_count;
    const struct partition_place *place =
        find_place(node_runtime_map(control->runtime, stage), (uint32_t)args->shard, lo);
    if (args->shard >= shards || place == NULL) {
        return err_set(info, ERR_NOT_FOUND, "there is no shard %lld; the stage's input has %d",
                       (long long)args->shard, shards);
    }
    if (place->group_lo != lo || place->group_hi != hi) {
        return err_set(info, ERR_NOT_FOUND,
                       "there is no partition %u-%u; the one that holds key group %u is %u-%u", lo,
                       hi, lo, place->group_lo, place->group_hi);
    }
    *ret_stage = stage;
    *ret_place = *place;
    return ERR_OK;
}

/* Where `args.to` is: a lane of its own choice if only a node is named. */
static enum err read_target(const struct control *control, const struct control_args *args,
                            int32_t own_lane, int32_t *ret_node, int32_t *ret_lane,
                            struct err_info *info)
{
    int32_t nodes = node_runtime_node_max(control->runtime);
    int32_t lanes = control->config->nodes.lanes;
    if (!place_parse(str_of(args->to), ret_node, ret_lane) || *ret_node >= nodes ||
        *ret_lane >= lanes) {
        return err_set(info, ERR_INVALID,
                       "'%s' is no place to go: there are nodes n0 to n%d, with lanes like n0/0 to "
                       "n0/%d",
                       args->to, nodes - 1, lanes - 1);
    }
    enum node_state state = node_runtime_node_state(control->runtime, *ret_node);
    if (state != NODE_ACTIVE) {
        return err_set(info, ERR_CONFLICT, "node n%d %s; choose an active one, or add it first",
                       *ret_node, state == NODE_OFF ? "is off" : "is being drained");
    }
    if (*ret_lane < 0) {
        int32_t lane = lane_choose(control, *ret_node, own_lane);
        *ret_lane = lane < 0 ? 0 : lane % lanes;
    }
    return ERR_OK;
}

/* A lane that would be fuller than the one it relieves, and over what it can do, is no place to go. */
static enum err check_room(const struct control *control, const struct operation *op, int32_t from,
                           int32_t to, double share, struct err_info *info)
{
    const struct partition_report *report = report_of(control, op->stage, op->shard, op->group_lo);
    double more = report != NULL ? report->figures.demand * share : 0;
    double after = lane_demand(control, to) + more;
    int32_t lanes = control->config->nodes.lanes;
    int32_t other = lane_choose(control, -1, from);
    if (from == to || after <= 1 || after <= lane_demand(control, from)) {
        return ERR_OK;
    }
    if (other < 0 || lane_demand(control, other) + more > 1) {
        return err_set(info, ERR_CONFLICT,
                       "lane n%d/%d is full: it would have a demand of %.2f; no other has room "
                       "either: add a node",
                       to / lanes, to % lanes, after);
    }
    return err_set(
        info, ERR_CONFLICT,
        "lane n%d/%d is full: it would have a demand of %.2f; n%d/%d has room: %.2f so far",
        to / lanes, to % lanes, after, other / lanes, other % lanes, lane_demand(control, other));
}

static void place_upper(struct operation *op, int32_t lane, int32_t lanes_per_node);

static enum err read_merge(const struct control *control, const struct control_args *args,
                           struct operation *op, struct err_info *info)
{
    struct str pipeline, stage;
    uint32_t shard, lo, hi;
    const struct partition_map *map = node_runtime_map(control->runtime, op->stage);
    if (!partition_id_parse(str_of(args->with), &pipeline, &stage, &shard, &lo, &hi)) {
        return err_set(info, ERR_INVALID,
                       "'with' is '%.80s', which is no partition's id; one is like %s", args->with,
                       op->subject);
    }
    bool same =
        str_is(pipeline, args->pipeline) && str_is(stage, args->stage) && shard == op->shard;
    bool near = same && (lo == op->group_hi || hi == op->group_lo);
    const struct partition_place *other = same ? find_place(map, op->shard, lo) : NULL;
    if (!near || other == NULL || other->group_lo != lo || other->group_hi != hi) {
        const struct partition_place *below =
            op->group_lo > 0 ? find_place(map, op->shard, op->group_lo - 1) : NULL;
        const struct partition_place *above = find_place(map, op->shard, op->group_hi);
        char allowed[80] = "it has no neighbour";
        if (below != NULL && above != NULL) {
            IGNORE_RESULT(snprintf(allowed, sizeof(allowed), "its neighbours are %u-%u and %u-%u",
                                   below->group_lo, below->group_hi, above->group_lo,
                                   above->group_hi)); /* fits */
        } else if (below != NULL || above != NULL) {
            const struct partition_place *one = below != NULL ? below : above;
            IGNORE_RESULT(snprintf(allowed, sizeof(allowed), "its neighbour is %u-%u",
                                   one->group_lo, one->group_hi)); /* fits */
        }
        return err_set(info, ERR_INVALID,
                       "%.90s is no neighbour of it within the stage and shard; %s", args->with,
                       allowed);
    }
    op->group_hi = hi > op->group_hi ? hi : op->group_hi;
    if (lo < op->group_lo) { /* the mechanism names the lower one */
        op->group_lo = lo;
        op->run->spec.group_lo = lo;
        op->run->spec.group_hi = hi;
    }
    IGNORE_RESULT(snprintf(op->target, sizeof(op->target), "%s", args->with)); /* fits */
    if (args->to[0] != 0) { /* where the whole goes */
        int32_t node = -1, lane = -1, lanes = control->config->nodes.lanes;
        enum err err = read_target(control, args, -1, &node, &lane, info);
        if (err != ERR_OK) {
            return err;
        }
        place_upper(op, node * lanes + lane, lanes);
    }
    return ERR_OK;
}

/* Where the part that is placed goes: the upper half of a split, the whole of a merge. */
static void place_upper(struct operation *op, int32_t lane, int32_t lanes_per_node)
{
    struct change_spec *spec = &op->run->spec;
    spec->flags |= CHANGE_PLACED;
    spec->node = (uint16_t)(lane / lanes_per_node);
    spec->lane = (uint16_t)(lane % lanes_per_node);
    op->node = spec->node;
    op->lane = spec->lane;
}

/* Where the upper half of a split goes, if nobody says: to the least demanded lane, if that is a gain. */
static void place_split(const struct control *control, struct operation *op, int32_t own)
{
    const struct partition_report *report = report_of(control, op->stage, op->shard, op->group_lo);
    double half = report != NULL ? report->figures.demand / 2 : 0;
    int32_t best = lane_choose(control, -1, own);
    if (best >= 0 && lane_demand(control, best) + half < lane_demand(control, own)) {
        place_upper(op, best, control->config->nodes.lanes);
    }
}

static enum err read_split(const struct control *control, const struct control_args *args,
                           struct operation *op, int32_t own, struct err_info *info)
{
    struct change_spec *spec = &op->run->spec;
    if (args->border != 0 && (args->border <= op->group_lo || args->border >= op->group_hi)) {
        return err_set(
            info, ERR_INVALID,
            "border %lld is not inside %u-%u; the first group of the upper half may be %u "
            "to %u",
            (long long)args->border, op->group_lo, op->group_hi, op->group_lo + 1,
            op->group_hi - 1);
    }
    spec->border = (uint32_t)args->border;
    op->border = spec->border;
    if (args->to[0] == 0) {
        place_split(control, op, own);
        return ERR_OK;
    }
    int32_t lanes = control->config->nodes.lanes;
    enum err err = read_target(control, args, own, &op->node, &op->lane, info);
    if (err == ERR_OK) {
        place_upper(op, op->node * lanes + op->lane, lanes);
        err = args->planned ? ERR_OK
                            : check_room(control, op, own, op->node * lanes + op->lane, 0.5, info);
    }
    return err;
}

static enum err read_migrate(const struct control *control, const struct control_args *args,
                             struct operation *op, int32_t own, struct err_info *info)
{
    int32_t lanes = control->config->nodes.lanes;
    enum err err = read_target(control, args, own, &op->node, &op->lane, info);
    if (err != ERR_OK) {
        return err;
    }
    op->run->spec.node = (uint16_t)op->node;
    op->run->spec.lane = (uint16_t)op->lane;
    IGNORE_RESULT(snprintf(op->target, sizeof(op->target), "n%d/%d", op->node, op->lane));
    return args->planned ? ERR_OK
                         : check_room(control, op, own, op->node * lanes + op->lane, 1, info);
}

static enum err read_partition(const struct control *control, const struct control_request *request,
                               struct operation *op, struct err_info *info)
{
    const struct control_args *args = &request->args;
    struct partition_place place = {.shard = 0};
    enum err err = partition_named(control, args, &op->stage, &place, info);
    if (err != ERR_OK) {
        return err;
    }
    const struct stage_plan *plan = node_runtime_stage(control->runtime, op->stage)->plan;
    partition_id_text(op->subject, plan->pipeline, plan->name, place.shard, place.group_lo,
                      place.group_hi);
    if (args->if_match[0] != 0 && !etag_matches(args->if_match, place.epoch)) {
        return err_set(info, ERR_PRECONDITION,
                       "%.120s has the epoch %llu now, not what If-Match says; look at it again",
                       op->subject, (unsigned long long)place.epoch);
    }
    op->pipeline = plan->pipeline;
    op->shard = place.shard;
    op->group_lo = place.group_lo;
    op->group_hi = place.group_hi;
    op->run->spec = (struct change_spec){.stage = op->stage,
                                         .shard = place.shard,
                                         .group_lo = place.group_lo,
                                         .group_hi = place.group_hi};
    int32_t own = place.node * control->config->nodes.lanes + place.lane;
    if (op->kind == OPERATION_SPLIT) {
        op->run->spec.kind = CHANGE_SPLIT;
        return read_split(control, args, op, own, info);
    }
    if (op->kind == OPERATION_MERGE) {
        op->run->spec.kind = CHANGE_MERGE;
        return read_merge(control, args, op, info);
    }
    op->run->spec.kind = CHANGE_MIGRATE;
    return read_migrate(control, args, op, own, info);
}

/* --- nodes --- */

static enum err read_node(const struct control *control, const struct control_request *request,
                          struct operation *op, struct err_info *info)
{
    int32_t lane = -1;
    int32_t max = node_runtime_node_max(control->runtime);
    enum err err = runs(control, info);
    if (err != ERR_OK) {
        return err;
    }
    if (!place_parse(str_of(request->args.node), &op->node, &lane) || lane >= 0 ||
        op->node >= max) {
        return err_set(info, ERR_NOT_FOUND,
                       "there is no node '%s'; there are n0 to n%d (nodes.max)", request->args.node,
                       max - 1);
    }
    IGNORE_RESULT(snprintf(op->subject, sizeof(op->subject), "n%d", op->node)); /* fits */
    enum node_state state = node_runtime_node_state(control->runtime, op->node);
    bool add = op->kind == OPERATION_NODE_ADD;
    if (state == (add ? NODE_ACTIVE : NODE_OFF)) {
        return err_set(info, ERR_CONFLICT, "node n%d is %s already", op->node,
                       add ? "active" : "off");
    }
    /* One that drains, and that no operation has, was left so by one that failed: either order takes it up. */
    if (state == NODE_DRAINING && operations_conflict(&control->operations, op) != NULL) {
        return err_set(info, ERR_CONFLICT, "node n%d is being drained%s", op->node,
                       add ? "" : " already");
    }
    int32_t others = 0;
    for (int32_t i = 0; i < max; i++) {
        others += i != op->node && node_runtime_node_state(control->runtime, i) == NODE_ACTIVE;
    }
    if (op->kind == OPERATION_NODE_DRAIN && others == 0) {
        return err_set(info, ERR_CONFLICT,
                       "node n%d is the last active one; add another before it is drained",
                       op->node);
    }
    return ERR_OK;
}

/* --- pipelines --- */

const struct pipeline_plan *pipeline_named(const struct control *control, const char *name,
                                           struct err_info *info)
{
    const struct pipeline_plan *plan = config_pipeline(control->config, str_of(name));
    if (plan == NULL) {
        IGNORE_RESULT(err_set(info, ERR_NOT_FOUND,
                              "there is no pipeline '%.80s'; GET /api/v1/pipelines lists them",
                              name)); /* told by NULL */
    }
    return plan;
}

static enum err read_pipeline(const struct control *control, const struct control_request *request,
                              struct operation *op, struct err_info *info)
{
    const struct control_args *args = &request->args;
    const struct pipeline_plan *plan = pipeline_named(control, args->pipeline, info);
    enum err err = runs(control, info);
    if (plan == NULL || err != ERR_OK) {
        return plan == NULL ? ERR_NOT_FOUND : err;
    }
    op->pipeline = plan->name;
    IGNORE_RESULT(snprintf(op->subject, sizeof(op->subject), "%s", args->pipeline)); /* fits */
    if (args->if_match[0] != 0 &&
        !etag_matches(args->if_match, text_etag_of(config_in_force(control, plan->name)->text))) {
        return err_set(info, ERR_PRECONDITION,
                       "the text has changed since: it is not what If-Match says; read it again");
    }
    struct config_text *text = MEM_NEW(struct config_text);
    op->run->text = text;
    arena_init(&text->arena, CONFIG_TEXT_ARENA_MAX);
    err = config_load(&text->arena, "body", request->body, &text->config, info);
    if (err != ERR_OK) {
        return err;
    }
    int32_t index = config_pipeline_index(text->config, plan->name);
    if (index < 0) {
        return err_set(info, ERR_INVALID, "the text has no pipeline '%.80s'", args->pipeline);
    }
    IGNORE_RESULT(snprintf(op->target, sizeof(op->target), "%016" PRIx64,
                           text_etag_of(text->config->text))); /* fits */
    op->run->spec = (struct change_spec){.kind = CHANGE_PIPELINE,
                                         .flags = args->drop_state ? CHANGE_DROP_STATE : 0,
                                         .config = text->config,
                                         .pipeline = index};
    return ERR_OK;
}

enum err order_read(struct control *control, struct control_request *request, struct operation *op,
                    struct err_info *info)
{
    switch (op->kind) {
    case OPERATION_SPLIT:
    case OPERATION_MERGE:
    case OPERATION_MIGRATE:
        return read_partition(control, request, op, info);
    case OPERATION_NODE_ADD:
    case OPERATION_NODE_DRAIN: {
        enum err err = read_node(control, request, op, info);
        return err == ERR_OK ? node_plan(control, op, false, info) : err;
    }
    case OPERATION_PIPELINE:
        return read_pipeline(control, request, op, info);
    case OPERATION_KIND_COUNT:
        break;
    }
    return err_set(info, ERR_INTERNAL, "an operation of kind %d", (int)op->kind);
}
