// SPDX-License-Identifier: Apache-2.0
/* Nodes that come or go: which partitions move, by placement over the demands last measured.
 *
 *   add:    STATE (active) --startup--> MOVING (one round) --> end
 *   drain:  STATE (draining) --> MOVING (rounds, until it owns none) --> LAST (off) --> end
 *                                  ^                                      |
 *                                  +--------------------------------------+  refused: a partition is on its way to it */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "control/operations_priv.h"
#include "prm/placement.h"

enum { PLAN_ARENA_MAX = 256 << 20 };

/* A partition without traffic counts for this much of a core, so that those spread, too. */
#define DEMAND_LEAST 1e-6

#define COMMIT_GUESS_NS (10 * 1000000LL)

/* --- what is known of lanes and partitions --- */

static int compare_keys(const struct partition_report *a, int32_t stage, uint32_t shard,
                        uint32_t group_lo)
{
    if (a->stage != stage) {
        return a->stage < stage ? -1 : 1;
    }
    if (a->shard != shard) {
        return a->shard < shard ? -1 : 1;
    }
    return a->group_lo < group_lo ? -1 : a->group_lo > group_lo;
}

const struct partition_report *report_of(const struct control *control, int32_t stage,
                                         uint32_t shard, uint32_t group_lo)
{
    for (int32_t i = 0; i < control->lane_count; i++) {
        const struct lane_view *view = &control->lanes[i];
        for (int32_t p = 0; p < view->report_count; p++) {
            const struct partition_report *report = &view->reports[p];
            if (compare_keys(report, stage, shard, group_lo) == 0) {
                return report;
            }
        }
    }
    return NULL;
}

double lane_demand(const struct control *control, int32_t lane)
{
    const struct lane_view *view = &control->lanes[lane];
    double demand = 0;
    for (int32_t p = 0; p < view->report_count; p++) {
        demand += view->reports[p].figures.demand;
    }
    return demand;
}

static bool may_own(const struct control *control, int32_t lane)
{
    int32_t node = lane / control->config->nodes.lanes;
    return node_runtime_node_state(control->runtime, node) == NODE_ACTIVE &&
           lane_status(node_runtime_lane(control->runtime, lane))->state == LANE_RUNNING;
}

int32_t lane_choose(const struct control *control, int32_t node, int32_t without)
{
    int32_t best = -1;
    double least = 0;
    for (int32_t i = 0; i < control->lane_count; i++) {
        bool asked = node < 0 || i / control->config->nodes.lanes == node;
        if (!asked || i == without || !may_own(control, i)) {
            continue;
        }
        double demand = lane_demand(control, i) + 1e-9 * (double)control->lanes[i].report_count;
        if (best < 0 || demand < least) {
            best = i;
            least = demand;
        }
    }
    return best;
}

int32_t node_partitions(const struct control *control, int32_t node)
{
    int32_t count = 0;
    for (int32_t s = 0; s < node_runtime_stage_count(control->runtime); s++) {
        const struct partition_map *map = node_runtime_map(control->runtime, s);
        for (int32_t i = 0; i < map->count; i++) {
            count += map->places[i].node == node;
        }
    }
    return count;
}

/* --- the plan --- */

struct node_planning {
    struct arena arena;
    struct placement_input in;
    const struct partition_place **places;
    const struct partition_report **reports; /* may be NULL */
    int32_t *stages;
    double *demand;
    int32_t *lane;
};

struct sorted_reports {
    const struct partition_report **all;
    int32_t count;
};

static int compare_reports(const void *a, const void *b)
{
    const struct partition_report *x = *(const struct partition_report *const *)a;
    const struct partition_report *y = *(const struct partition_report *const *)b;
    return compare_keys(x, y->stage, y->shard, y->group_lo);
}

static struct sorted_reports sort_reports(const struct control *control, struct arena *arena)
{
    struct sorted_reports sorted = {.count = 0};
    int32_t count = 0;
    for (int32_t i = 0; i < control->lane_count; i++) {
        count += control->lanes[i].report_count;
    }
    sorted.all = ARENA_NEW_ARRAY(arena, const struct partition_report *, count);
    for (int32_t i = 0; i < control->lane_count; i++) {
        for (int32_t p = 0; p < control->lanes[i].report_count; p++) {
            sorted.all[sorted.count++] = &control->lanes[i].reports[p];
        }
    }
    qsort(sorted.all, (size_t)sorted.count, sizeof(const struct partition_report *),
          compare_reports); // NOLINT(bugprone-sizeof-expression): pointers are sorted
    return sorted;
}

static const struct partition_report *find_report(const struct sorted_reports *sorted,
                                                  int32_t stage, uint32_t shard, uint32_t lo)
{
    int32_t from = 0, to = sorted->count;
    while (from < to) {
        int32_t mid = from + (to - from) / 2;
        int order = compare_keys(sorted->all[mid], stage, shard, lo);
        if (order == 0) {
            return sorted->all[mid];
        }
        from = order < 0 ? mid + 1 : from;
        to = order < 0 ? to : mid;
    }
    return NULL;
}

static void take_partitions(const struct control *control, struct node_planning *p)
{
    struct sorted_reports sorted = sort_reports(control, &p->arena);
    int32_t lanes = control->config->nodes.lanes;
    int32_t count = 0;
    for (int32_t s = 0; s < node_runtime_stage_count(control->runtime); s++) {
        count += node_runtime_map(control->runtime, s)->count;
    }
    p->places = ARENA_NEW_ARRAY(&p->arena, const struct partition_place *, count);
    p->reports = ARENA_NEW_ARRAY(&p->arena, const struct partition_report *, count);
    p->stages = ARENA_NEW_ARRAY(&p->arena, int32_t, count);
    p->demand = ARENA_NEW_ARRAY(&p->arena, double, count);
    p->lane = ARENA_NEW_ARRAY(&p->arena, int32_t, count);
    for (int32_t s = 0; s < node_runtime_stage_count(control->runtime); s++) {
        const struct partition_map *map = node_runtime_map(control->runtime, s);
        for (int32_t i = 0; i < map->count; i++) {
            const struct partition_place *place = &map->places[i];
            int32_t at = p->in.count++;
            const struct partition_report *report =
                find_report(&sorted, s, place->shard, place->group_lo);
            double measured =
                report != NULL ? report->figures.demand * control->config->nodes.capacity : 0;
            p->places[at] = place;
            p->reports[at] = report;
            p->stages[at] = s;
            p->demand[at] = measured + DEMAND_LEAST;
            p->lane[at] = place->node * lanes + place->lane;
        }
    }
    p->in.demand = p->demand;
    p->in.lane = p->lane;
}

static void take_lanes(const struct control *control, const struct operation *op,
                       struct node_planning *p)
{
    int32_t lanes = control->config->nodes.lanes;
    struct placement_lane *all =
        ARENA_NEW_ARRAY(&p->arena, struct placement_lane, control->lane_count);
    for (int32_t i = 0; i < control->lane_count; i++) {
        bool own = i / lanes == op->node;
        bool runs = lane_status(node_runtime_lane(control->runtime, i))->state == LANE_RUNNING;
        all[i] = (struct placement_lane){.capacity = control->config->nodes.capacity,
                                         .open = own ? op->kind == OPERATION_NODE_ADD && runs
                                                     : may_own(control, i)};
    }
    p->in.lanes = all;
    p->in.lane_count = control->lane_count;
}

static void keep_moves(struct operation *op, const struct node_planning *p,
                       const struct placement *plan, int32_t lanes)
{
    struct operation_run *run = op->run;
    mem_free(run->moves);
    run->moves = MEM_NEW_ARRAY(struct change_spec, plan->move_count + 1);
    run->move_count = 0;
    run->move_next = 0;
    run->moves_missed = 0;
    for (int32_t m = 0; m < plan->move_count; m++) {
        const struct placement_move *move = &plan->moves[m];
        const struct partition_place *place = p->places[move->part];
        bool concerned = move->from / lanes == op->node || move->to / lanes == op->node;
        if (concerned) { /* what else is uneven is not this operation's business */
            run->moves[run->move_count++] =
                (struct change_spec){.kind = CHANGE_MIGRATE,
                                     .stage = p->stages[move->part],
                                     .shard = place->shard,
                                     .group_lo = place->group_lo,
                                     .group_hi = place->group_hi,
                                     .node = (uint16_t)(move->to / lanes),
                                     .lane = (uint16_t)(move->to % lanes)};
        }
    }
}

/* How long a commit of the lane takes; one that has made none says nothing. */
static int64_t commit_ns(const struct control *control, int32_t lane)
{
    int64_t ns = control->lanes[lane].figures.commit_ns;
    return ns > 0 ? ns : COMMIT_GUESS_NS;
}

/* Figures of the whole, as expected. */
static void sum_up(const struct control *control, struct operation *op,
                   const struct node_planning *p, const struct placement *plan)
{
    int32_t lanes = control->config->nodes.lanes;
    op->partitions = 0;
    op->state_bytes = 0;
    for (int32_t m = 0; m < plan->move_count; m++) {
        const struct placement_move *move = &plan->moves[m];
        if (move->from / lanes != op->node && move->to / lanes != op->node) {
            continue;
        }
        const struct partition_report *report = p->reports[move->part];
        int64_t from_ns = commit_ns(control, move->from);
        int64_t to_ns = commit_ns(control, move->to);
        op->partitions++;
        op->state_bytes += report != NULL ? report->figures.state_bytes : 0;
        op->expected_pause_ns = from_ns > op->expected_pause_ns ? from_ns : op->expected_pause_ns;
        op->expected_pause_ns = to_ns > op->expected_pause_ns ? to_ns : op->expected_pause_ns;
    }
    op->steps = 2 + op->partitions;
}

enum err node_plan(struct control *control, struct operation *op, bool keep, struct err_info *info)
{
    struct node_planning p = {.in = {.moves_max = -1, .bands = PLACEMENT_BANDS_TIGHT}};
    struct placement plan;
    arena_init(&p.arena, PLAN_ARENA_MAX);
    take_partitions(control, &p);
    take_lanes(control, op, &p);
    if (op->kind == OPERATION_NODE_DRAIN) {
        p.in.moves_max = 0; /* what must go goes, all else stays */
    }
    enum err err = placement_plan(&p.in, &p.arena, &plan, info);
    if (err == ERR_OK && !keep && op->kind == OPERATION_NODE_DRAIN && plan.mean > 1) {
        err =
            err_set(info, ERR_CONFLICT,
                    "the other lanes are full: without n%d they would have a demand of %.2f; add a "
                    "node first",
                    op->node, plan.mean);
    }
    if (err == ERR_OK && keep) {
        keep_moves(op, &p, &plan, control->config->nodes.lanes);
    } else if (err == ERR_OK) {
        sum_up(control, op, &p, &plan);
    }
    arena_release(&p.arena);
    return err;
}

/* --- the steps --- */

/* Takes final changes back; true: none is out any more. */
static bool take_back(struct control *control, struct operation *op)
{
    struct operation_run *run = op->run;
    for (int32_t i = 0; i < run->change_count;) {
        struct change *change = run->changes[i];
        if (!change_final(change)) {
            i++;
            continue;
        }
        operation_add_figures(op, change);
        events_add_delta(control, op, change);
        if (change->state == CHANGE_NEEDS_OPERATOR) {
            op->err = change->err;
            IGNORE_RESULT(snprintf(op->reason, sizeof(op->reason), "%s", change->info.text));
        } else if (change->state != CHANGE_DONE) {
            run->moves_missed++;
            run->missed = change->info;
        }
        change_release(change);
        run->changes[i] = run->changes[--run->change_count];
    }
    return run->change_count == 0;
}

/* The node's change was refused, or undone. One that drains would stay so if the operation ended: its end is asked for again,
 * after another look at what it owns (a partition may be on its way to it), and so is the way back. */
static int64_t node_state_refused(struct control *control, struct operation *op, enum err err,
                                  const struct err_info *info)
{
    struct operation_run *run = op->run;
    bool undoing = op->state == OPERATION_UNDOING;
    bool drains = undoing || run->phase == NODE_PHASE_LAST;
    run->refused++;
    if (!drains || (undoing && run->refused >= NODE_ROUNDS_MAX)) {
        operation_end(control, op, OPERATION_UNDONE, err, info->text);
        return CLOCK_NEVER;
    }
    if (!undoing) {
        run->phase = NODE_PHASE_MOVING;
        run->missed = *info;
    }
    return control->now_ns + NODE_ROUND_NS;
}

static int64_t enter_node_state(struct control *control, struct operation *op,
                                enum node_state state)
{
    struct err_info info;
    struct change_spec spec = {
        .kind = CHANGE_NODE, .node = (uint16_t)op->node, .node_state = state};
    enum err err = operation_change(control, op, &spec, &info);
    if (err == ERR_AGAIN) {
        return control->now_ns + NODE_ROUND_NS;
    }
    return err == ERR_OK ? CLOCK_NEVER : node_state_refused(control, op, err, &info);
}

static int64_t begin_moves(struct control *control, struct operation *op)
{
    struct operation_run *run = op->run;
    struct err_info info;
    while (run->move_next < run->move_count && run->change_count < OPERATION_CHANGES_OUT &&
           !op->cancel_wanted) {
        enum err err = operation_change(control, op, &run->moves[run->move_next], &info);
        if (err !=
            ERR_OK) { /* it is in another operation, or has changed since: the next round sees */
            run->moves_missed++;
            run->missed = info;
        }
        run->move_next++;
    }
    return CLOCK_NEVER;
}

static void end_add(struct control *control, struct operation *op)
{
    const struct operation_run *run = op->run;
    char reason[ERR_TEXT_MAX] = "";
    if (op->cancel_wanted) {
        IGNORE_RESULT(snprintf(reason, sizeof(reason),
                               "cancelled: the node is there, %d of %d partitions have moved to it",
                               op->partitions_done, op->partitions)); /* fits */
    } else if (run->moves_missed > 0) {
        IGNORE_RESULT(snprintf(reason, sizeof(reason), "%d moves were not made, as: %.180s",
                               run->moves_missed, run->missed.text)); /* cut is fine */
    }
    operation_end(control, op, OPERATION_DONE, ERR_OK, reason);
}

static int64_t undo_drain(struct control *control, struct operation *op)
{
    op->run->refused = 0;
    operation_enter(control, op, OPERATION_UNDOING);
    return enter_node_state(control, op, NODE_ACTIVE);
}

/* A round of moves has ended. */
static int64_t next_round(struct control *control, struct operation *op)
{
    struct operation_run *run = op->run;
    bool drain = op->kind == OPERATION_NODE_DRAIN;
    struct err_info info = {.text = ""};
    if (op->err != ERR_OK && !drain) {
        operation_end(control, op, OPERATION_NEEDS_OPERATOR, op->err, op->reason);
        return CLOCK_NEVER;
    }
    if (!drain) {
        end_add(control, op);
        return CLOCK_NEVER;
    }
    bool given_up = run->refused >= NODE_ROUNDS_MAX || (run->refused > 0 && op->cancel_wanted);
    if (node_partitions(control, op->node) == 0 && !given_up) {
        run->phase = NODE_PHASE_LAST;
        return enter_node_state(control, op, NODE_OFF);
    }
    if (given_up || op->cancel_wanted || op->err != ERR_OK || run->tries >= NODE_ROUNDS_MAX) {
        return undo_drain(control, op);
    }
    run->tries++;
    enum err err = node_plan(control, op, true, &info);
    if (err != ERR_OK) {
        run->missed = info;
        return undo_drain(control, op);
    }
    int64_t next_ns = begin_moves(control, op);
    return run->change_count > 0 ? next_ns : control->now_ns + NODE_ROUND_NS;
}

static int64_t moving_step(struct control *control, struct operation *op)
{
    struct operation_run *run = op->run;
    bool none = take_back(control, op);
    if (run->move_next < run->move_count && !op->cancel_wanted && op->err == ERR_OK) {
        return begin_moves(control, op);
    }
    return none ? next_round(control, op) : CLOCK_NEVER;
}

/* The node's state has changed, or not. */
static int64_t state_step(struct control *control, struct operation *op)
{
    struct operation_run *run = op->run;
    bool done = op->run->changes[0]->state == CHANGE_DONE;
    enum err err = run->changes[0]->err;
    struct err_info info = run->changes[0]->info;
    change_release(run->changes[0]);
    run->change_count = 0;
    op->steps_done++;
    if (!done) {
        return node_state_refused(control, op, err == ERR_OK ? ERR_INTERNAL : err, &info);
    }
    event_add(control, "node", op->subject,
              op->state == OPERATION_UNDOING   ? "active"
              : run->phase == NODE_PHASE_LAST  ? "off"
              : op->kind == OPERATION_NODE_ADD ? "active"
                                               : "draining",
              op->id, "");
    if (op->state == OPERATION_UNDOING) {
        char reason[ERR_TEXT_MAX];
        IGNORE_RESULT(snprintf(
            reason, sizeof(reason), "%s: %d partitions had moved and stay where they are; %.120s",
            op->cancel_wanted ? "cancelled" : "given up", op->partitions_done,
            op->err != ERR_OK ? op->reason : run->missed.text)); /* cut is fine */
        operation_end(control, op, op->err != ERR_OK ? OPERATION_NEEDS_OPERATOR : OPERATION_UNDONE,
                      op->err != ERR_OK   ? op->err
                      : op->cancel_wanted ? ERR_CANCELLED
                                          : ERR_TIMEOUT,
                      reason);
        return CLOCK_NEVER;
    }
    if (run->phase == NODE_PHASE_LAST) {
        operation_end(control, op, OPERATION_DONE, ERR_OK, "");
        return CLOCK_NEVER;
    }
    run->phase = NODE_PHASE_MOVING;
    bool add = op->kind == OPERATION_NODE_ADD;
    int64_t startup_ns = add ? control->config->nodes.startup_ns : 0;
    startup_ns = (int64_t)((double)startup_ns / control->config->manager.time_scale);
    if (add && !op->run->bare) {
        enum err planned = node_plan(control, op, true, &run->missed);
        run->moves_missed += planned != ERR_OK;
    }
    return control->now_ns + startup_ns;
}

int64_t node_step(struct control *control, struct operation *op)
{
    struct operation_run *run = op->run;
    bool state_change = op->state == OPERATION_UNDOING || run->phase != NODE_PHASE_MOVING;
    if (!state_change) {
        return moving_step(control, op);
    }
    if (run->change_count > 0) {
        return change_final(run->changes[0]) ? state_step(control, op) : CLOCK_NEVER;
    }
    if (control->now_ns < run->due_ns) { /* a cancelled one is stepped before: tries are to last */
        return run->due_ns;
    }
    return enter_node_state(control, op,
                            op->state == OPERATION_UNDOING   ? NODE_ACTIVE
                            : run->phase == NODE_PHASE_LAST  ? NODE_OFF
                            : op->kind == OPERATION_NODE_ADD ? NODE_ACTIVE
                                                             : NODE_DRAINING);
}
