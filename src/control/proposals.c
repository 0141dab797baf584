// SPDX-License-Identifier: Apache-2.0
/* What a person asks for, as a plan: the steps of a dry run that has its figures go to the core, which prices them and keeps
 * them under a number, to be shown, applied, undone like any plan of its own. */
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/ledger.h"
#include "control/manager_shell.h"
#include "control/operations_priv.h"

static struct plan_step step_of(enum plan_step_kind kind, const struct change_spec *spec)
{
    return (struct plan_step){.kind = kind,
                              .shard = SHARD_NUMBER(spec->stage, spec->shard),
                              .group_lo = spec->group_lo,
                              .group_hi = spec->group_hi,
                              .from = -1,
                              .to = -1,
                              .node = -1,
                              .part = -1};
}

static int32_t lane_of(const struct control *control, const struct change_spec *spec)
{
    return (int32_t)spec->node * control->config->nodes.lanes + (int32_t)spec->lane;
}

/* The lane of the partition that begins at `lo`. */
static int32_t lane_at(const struct control *control, const struct operation *op, uint32_t lo)
{
    const struct partition_map *map = node_runtime_map(control->runtime, op->stage);
    const struct partition_place *place = &map->places[partition_map_find(map, op->shard, lo)];
    return (int32_t)place->node * control->config->nodes.lanes + (int32_t)place->lane;
}

/* A merge whose whole goes where neither part is has a move before it: so each step is undone by its opposite. */
static int32_t merge_steps(const struct control *control, const struct operation *op,
                           struct plan_step *steps)
{
    const struct change_spec *spec = &op->run->spec;
    bool placed = (spec->flags & CHANGE_PLACED) != 0;
    int32_t lower = lane_at(control, op, spec->group_lo);
    int32_t upper = lane_at(control, op, spec->group_hi);
    int32_t to = placed ? lane_of(control, spec) : lower, count = 0;
    if (to != lower && to != upper) {
        steps[count] = step_of(PLAN_STEP_MIGRATE, spec);
        steps[count++].to = to;
    }
    steps[count] = step_of(PLAN_STEP_MERGE, spec);
    steps[count].border = spec->group_hi;
    steps[count].group_hi = op->group_hi;
    steps[count++].to = to;
    return count;
}

static int32_t partition_steps(const struct control *control, const struct operation *op,
                               struct plan_step *steps)
{
    const struct change_spec *spec = &op->run->spec;
    if (op->kind == OPERATION_MERGE) {
        return merge_steps(control, op, steps);
    }
    bool split = op->kind == OPERATION_SPLIT;
    bool placed = !split || (spec->flags & CHANGE_PLACED) != 0;
    steps[0] = step_of(split ? PLAN_STEP_SPLIT : PLAN_STEP_MIGRATE, spec);
    steps[0].border = split ? op->border : 0;
    steps[0].to = placed ? lane_of(control, spec) : lane_at(control, op, op->group_lo);
    return 1;
}

/* Each partition that moves is a step of its own, and so can be undone. */
static int32_t node_steps(const struct operation *op, const struct control *control,
                          struct plan_step *steps)
{
    const struct operation_run *run = op->run;
    bool add = op->kind == OPERATION_NODE_ADD;
    struct plan_step node = {.kind = add ? PLAN_STEP_NODE_ADD : PLAN_STEP_NODE_DRAIN,
                             .shard = -1,
                             .from = -1,
                             .to = -1,
                             .node = op->node,
                             .part = -1};
    int32_t count = 0;
    if (add) {
        steps[count++] = node;
    }
    for (int32_t i = 0; i < run->move_count; i++) {
        steps[count] = step_of(PLAN_STEP_MIGRATE, &run->moves[i]);
        steps[count++].to = lane_of(control, &run->moves[i]);
    }
    if (!add) {
        steps[count++] = node;
    }
    return count;
}

static void no_price(struct operation *op, const char *why)
{
    IGNORE_RESULT(
        snprintf(op->reason, sizeof(op->reason), "no plan with a price: %.200s", why)); /* cut */
}

static void take_price(struct control *control, struct operation *op, int64_t plan)
{
    const struct ledger_entry *entry = ledger_find(control->ledger, plan);
    if (entry != NULL && entry->decision.option_count == 2) {
        op->plan = plan;
        op->cost = entry->decision.options[1].cost;
        op->cost_nothing = entry->decision.options[0].cost;
    }
}

void operation_propose(struct control *control, struct operation *op)
{
    struct err_info info;
    const char *refused = "";
    if (op->kind == OPERATION_PIPELINE) {
        return; /* a text is not of the load model */
    }
    if (operation_of_node(op) && node_plan(control, op, true, &info) != ERR_OK) {
        no_price(op, info.text);
        return;
    }
    int32_t room = 3 + op->run->move_count;
    if (room > PLAN_STEPS_MAX / 2) {
        no_price(op, "so many moves are carried out by the operation itself only");
        return;
    }
    struct plan_step *steps = MEM_NEW_ARRAY(struct plan_step, room);
    int32_t count = operation_of_node(op) ? node_steps(op, control, steps)
                                          : partition_steps(control, op, steps);
    int64_t plan = manager_propose_plan(control, steps, count, NULL, op->who, &refused);
    if (plan == 0) {
        no_price(op, refused);
    } else {
        take_price(control, op, plan);
    }
    mem_free(steps);
}
