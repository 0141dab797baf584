// SPDX-License-Identifier: Apache-2.0
#include "prm/synthetic.h"

#include <math.h>
#include <stdlib.h>

enum err synthetic_new(struct arena *arena, int32_t parts, int32_t nodes, uint64_t seed,
                       struct synthetic **ret_synthetic, struct err_info *info)
{
    if (nodes < 1 || nodes > LOAD_LANES_MAX || parts < nodes || parts > LOAD_PARTS_MAX) {
        return err_set(info, ERR_INVALID,
                       "a cluster of %d partitions on %d nodes: 1 to %d nodes, as many partitions "
                       "at least, %d at most",
                       parts, nodes, LOAD_LANES_MAX, LOAD_PARTS_MAX);
    }
    struct synthetic *s = ARENA_NEW(arena, struct synthetic);
    double mean = 0.73 * nodes / parts; /* cores of work a partition */
    rng_init(&s->rng, seed);
    s->pipeline = (struct load_pipeline){.name = STR("synthetic"), .objective_s = 2};
    s->shards = ARENA_NEW_ARRAY(arena, struct load_shard, parts);
    s->parts = ARENA_NEW_ARRAY(arena, struct load_part, parts);
    s->lanes = ARENA_NEW_ARRAY(arena, struct load_lane, nodes);
    for (int32_t l = 0; l < nodes; l++) {
        s->lanes[l] =
            (struct load_lane){.name = STR("a lane"), .node = l, .capacity = 1, .open = true};
    }
    for (int32_t i = 0; i < parts; i++) {
        double work = mean * exp(0.8 * rng_normal(&s->rng) - 0.32);
        s->shards[i] =
            (struct load_shard){.id = i, .rate_per_s = 1000, .read_s = 0.02 * mean / 1000};
        s->parts[i] = (struct load_part){.name = STR("a partition"),
                                         .shard = i,
                                         .lane = (int32_t)rng_below(&s->rng, (uint64_t)nodes),
                                         .group_hi = LOAD_GROUPS,
                                         .share = 1,
                                         .work_s = work / 1000,
                                         .state_bytes = 1e6};
    }
    s->load = (struct load_input){.pipelines = &s->pipeline,
                                  .shards = s->shards,
                                  .parts = s->parts,
                                  .lanes = s->lanes,
                                  .pipeline_count = 1,
                                  .shard_count = parts,
                                  .part_count = parts,
                                  .lane_count = nodes};
    *ret_synthetic = s;
    return ERR_OK;
}

void synthetic_change(struct synthetic *s, struct planner *planner, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        int32_t at = (int32_t)rng_below(&s->rng, (uint64_t)s->load.part_count);
        s->parts[at].work_s *= 0.9 + 0.2 * rng_unit(&s->rng);
        planner_touch(planner, at);
    }
}

struct by_lane {
    double demand;
    int32_t lane;
};

static int compare(const void *a, const void *b)
{
    const struct by_lane *x = a;
    const struct by_lane *y = b;
    if (x->lane != y->lane) {
        return x->lane < y->lane ? -1 : 1;
    }
    return x->demand > y->demand ? -1 : x->demand < y->demand;
}

int32_t synthetic_least_moves(const struct synthetic *s, double target, struct arena *arena)
{
    struct arena_mark mark = arena_mark(arena);
    int32_t n = s->load.part_count, moves = 0;
    struct by_lane *all = ARENA_NEW_ARRAY(arena, struct by_lane, n);
    for (int32_t i = 0; i < n; i++) {
        const struct load_part *part = &s->parts[i];
        all[i] = (struct by_lane){load_work_of(&s->load, part) + load_read_of(&s->load, part),
                                  part->lane};
    }
    qsort(all, (size_t)n, sizeof *all, compare);
    for (int32_t from = 0, to = 0; from < n; from = to) {
        double sum = 0;
        for (to = from; to < n && all[to].lane == all[from].lane; to++) {
            sum += all[to].demand;
        }
        for (int32_t i = from; i < to && sum > target; i++) {
            sum -= all[i].demand;
            moves++;
        }
    }
    arena_rewind(arena, mark);
    return moves;
}

struct plan_options synthetic_options(const struct synthetic *s)
{
    return (struct plan_options){.prices = {.node = 1, .late = 19, .change = 0.1},
                                 .risk = 1,
                                 .margin = 0.01,
                                 .startup_s = 60,
                                 .pause_s = 0.1,
                                 .full = 0.85,
                                 .target = 0.8,
                                 .horizon_s = 300,
                                 .nodes_min = 1,
                                 .nodes_max = s->load.lane_count,
                                 .nodes_step = 8,
                                 .moves_max = PLAN_STEPS_MAX / 2,
                                 .splits_max = 64,
                                 .may_grow = true,
                                 .may_split = true};
}
