// SPDX-License-Identifier: Apache-2.0
/* Steps that somebody gives, as a sketch: what a person wants is priced as what the planner finds is.
 *
 * Steps are carried out in order, so a later one may name what an earlier one has made. They are played on ranges of key
 * groups; where a range ends up on another lane than its partition is on, the sketch has a piece that moved. */
#include <math.h>

#include "base/check.h"
#include "prm/planner_priv.h"

/* A partition that a step has touched, or what has been cut of it. */
struct range {
    int32_t part;
    uint32_t lo, hi;
    int32_t lane;
};

struct given {
    struct sketch *sketch;
    struct range *ranges; /* [range_count], at most two more a step */
    int32_t range_count;
    struct err_info *info;
    int32_t step; /* the one that is played, for errors */
};

/* Share of the partition's load below a border: in straight lines between the cuts that were measured. */
static double share_below(const struct load_part *part, uint32_t group)
{
    double before = part->group_lo, share = 0;
    for (int32_t i = 0; i < part->cut_count; i++) {
        double at = part->cuts[i].group, below = part->cuts[i].below;
        if (group <= part->cuts[i].group) {
            return share + (below - share) * (group - before) / (at - before);
        }
        before = at;
        share = below;
    }
    return share + (1 - share) * (group - before) / (part->group_hi - before);
}

static double fraction_of(const struct given *g, const struct range *range)
{
    const struct load_part *part = &g->sketch->planner->in->parts[range->part];
    return share_below(part, range->hi) - share_below(part, range->lo);
}

/* The range that begins at `lo`, taken from the load if no step has touched its partition; NULL: there is none. */
static struct range *range_at(struct given *g, int64_t shard, uint32_t lo)
{
    const struct load_input *in = g->sketch->planner->in;
    for (int32_t i = 0; i < g->range_count; i++) {
        struct range *range = &g->ranges[i];
        if (in->shards[in->parts[range->part].shard].id == shard && range->lo == lo) {
            return range;
        }
    }
    for (int32_t i = 0; i < in->part_count; i++) {
        const struct load_part *part = &in->parts[i];
        if (part->group_lo == lo && in->shards[part->shard].id == shard &&
            part->lane != LOAD_NOWHERE) {
            struct range *range = &g->ranges[g->range_count++];
            *range = (struct range){.part = i, .lo = lo, .hi = part->group_hi, .lane = part->lane};
            return range;
        }
    }
    return NULL;
}

static enum err missing(const struct given *g, const struct plan_step *step, uint32_t lo,
                        uint32_t hi)
{
    return err_set(g->info, ERR_NOT_FOUND,
                   "step %d (%s): there is no partition %u-%u in what was last measured, after the "
                   "steps before it; ask again after the manager's next interval",
                   g->step + 1, plan_step_name(step->kind), lo, hi);
}

static double bytes_of(const struct given *g, const struct range *range)
{
    return g->sketch->planner->in->parts[range->part].state_bytes * fraction_of(g, range);
}

static enum err play_migrate(struct given *g, struct plan_step *step)
{
    struct range *range = range_at(g, step->shard, step->group_lo);
    if (range == NULL || range->hi != step->group_hi) {
        return missing(g, step, step->group_lo, step->group_hi);
    }
    step->from = range->lane;
    step->part = range->part;
    step->moved_bytes = step->to != range->lane ? bytes_of(g, range) : 0;
    range->lane = step->to;
    return ERR_OK;
}

static enum err play_split(struct given *g, struct plan_step *step)
{
    struct range *range = range_at(g, step->shard, step->group_lo);
    if (range == NULL || range->hi != step->group_hi || step->border <= range->lo ||
        step->border >= range->hi) {
        return missing(g, step, step->group_lo, step->group_hi);
    }
    struct range *upper = &g->ranges[g->range_count++];
    *upper = *range;
    upper->lo = range->hi = step->border;
    upper->lane = step->to;
    step->from = range->lane;
    step->part = range->part;
    step->moved_bytes = step->to != range->lane ? bytes_of(g, upper) : 0;
    return ERR_OK;
}

/* Ranges of one shard stay apart here: to the price they are one when they are on one lane. */
static enum err play_merge(struct given *g, struct plan_step *step)
{
    const struct range *found = range_at(g, step->shard, step->border);
    int32_t upper = found != NULL ? (int32_t)(found - g->ranges) : -1;
    struct range *lower = range_at(g, step->shard, step->group_lo);
    if (lower == NULL || upper < 0 || lower->hi != step->border ||
        g->ranges[upper].hi != step->group_hi) {
        return missing(g, step, step->group_lo, step->group_hi);
    }
    struct range *both[2] = {lower, &g->ranges[upper]};
    step->lower = both[0]->lane != step->to;
    step->part = both[step->lower ? 0 : 1]->part;
    step->from = both[step->lower ? 0 : 1]->lane;
    if (step->lower && both[1]->lane != step->to) {
        return err_set(g->info, ERR_INVALID,
                       "step %d (merge): one of the two has to be where the whole goes",
                       g->step + 1);
    }
    step->moved_bytes = 0;
    for (int i = 0; i < 2; i++) {
        step->moved_bytes += both[i]->lane != step->to ? bytes_of(g, both[i]) : 0;
        both[i]->lane = step->to;
    }
    return ERR_OK;
}

static enum err play_node(struct given *g, const struct plan_step *step)
{
    struct sketch *s = g->sketch;
    const struct load_input *in = s->planner->in;
    bool add = step->kind == PLAN_STEP_NODE_ADD, there = false;
    for (int32_t l = 0; l < in->lane_count; l++) {
        if (in->lanes[l].node == step->node) {
            there = true;
            s->usable[l] = add;
            s->added[l] = add && !in->lanes[l].open;
        }
    }
    return there ? ERR_OK
                 : err_set(g->info, ERR_NOT_FOUND, "step %d (%s): there is no node %d", g->step + 1,
                           plan_step_name(step->kind), step->node);
}

static enum err play(struct given *g, struct plan_step *step)
{
    int32_t lanes = g->sketch->planner->in->lane_count;
    bool moves = step->kind == PLAN_STEP_SPLIT || step->kind == PLAN_STEP_MERGE ||
                 step->kind == PLAN_STEP_MIGRATE;
    if (moves && (step->to < 0 || step->to >= lanes || !g->sketch->usable[step->to])) {
        return err_set(g->info, ERR_CONFLICT,
                       "step %d (%s): the lane it goes to is not open after the steps before it",
                       g->step + 1, plan_step_name(step->kind));
    }
    switch (step->kind) {
    case PLAN_STEP_SPLIT:
        g->sketch->splits++;
        return play_split(g, step);
    case PLAN_STEP_MERGE:
        g->sketch->merges++;
        return play_merge(g, step);
    case PLAN_STEP_MIGRATE:
        return play_migrate(g, step);
    case PLAN_STEP_NODE_ADD:
    case PLAN_STEP_NODE_DRAIN:
        return play_node(g, step);
    case PLAN_STEP_TUNE: /* its ratio is the sketch's already */
        return ERR_OK;
    case PLAN_STEP_KIND_COUNT:
        break;
    }
    return err_set(g->info, ERR_INVALID, "step %d is of no kind", g->step + 1);
}

static enum err add_pieces(struct given *g)
{
    struct sketch *s = g->sketch;
    for (int32_t i = 0; i < g->range_count; i++) {
        const struct range *range = &g->ranges[i];
        int32_t from = s->planner->in->parts[range->part].lane;
        if (range->lane == from) {
            continue;
        }
        if (s->piece_count == s->piece_max) {
            return err_set(g->info, ERR_LIMIT, "more than %d partitions would move", s->piece_max);
        }
        s->pieces[s->piece_count] = (struct piece){.part = range->part,
                                                   .lo = range->lo,
                                                   .hi = range->hi,
                                                   .fraction = fraction_of(g, range),
                                                   .from = from,
                                                   .to = range->lane,
                                                   .next = s->came[range->lane]};
        s->came[range->lane] = s->piece_count++;
        s->moves++;
    }
    return ERR_OK;
}

enum err sketch_take(struct sketch *s, struct plan_step *steps, int32_t count,
                     struct err_info *info)
{
    struct given g = {.sketch = s, .info = info};
    g.ranges = ARENA_NEW_ARRAY(s->arena, struct range, 3 * (ptrdiff_t)count + 1);
    s->steps = steps;
    s->step_count = count;
    enum err err = ERR_OK;
    for (; g.step < count && err == ERR_OK; g.step++) {
        err = play(&g, &steps[g.step]);
    }
    return err == ERR_OK ? add_pieces(&g) : err;
}
