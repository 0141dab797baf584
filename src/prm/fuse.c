// SPDX-License-Identifier: Apache-2.0
/* Neighbours that are fused where they are: what each partition takes by itself is paid once instead of twice. Only those of one
 * lane, so that nothing changes lanes, and only while both together stay below half of what a lane is filled to at the planning
 * quantile, so that they need not be cut again when the load comes back. */
#include <math.h>
#include <stdlib.h>

#include "prm/planner_priv.h"

/* Of a lane's target, what a fused partition may fill. */
#define FUSED_MOST 0.5

struct neighbour {
    int32_t lane, part;
    uint32_t shard, lo;
};

static int by_place(const void *a, const void *b)
{
    const struct neighbour *x = a, *y = b;
    if (x->lane != y->lane) {
        return x->lane < y->lane ? -1 : 1;
    }
    if (x->shard != y->shard) {
        return x->shard < y->shard ? -1 : 1;
    }
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* Partitions of usable lanes in order; those that are held are left out, so that nothing is a neighbour across them. */
static int32_t in_order(const struct sketch *s, struct neighbour *list)
{
    const struct planner *p = s->planner;
    int32_t count = 0;
    for (int32_t l = 0; l < p->in->lane_count; l++) {
        for (int32_t i = s->usable[l] ? p->first[l] : -1; i >= 0; i = p->parts[i].next) {
            if (p->parts[i].held == 0) {
                list[count++] = (struct neighbour){l, i, p->parts[i].shard, p->parts[i].lo};
            }
        }
    }
    qsort(list, (size_t)count, sizeof *list, by_place);
    return count;
}

static double whole(const struct sketch *s, int32_t part)
{
    int32_t pipe = (int32_t)s->planner->parts[part].pipe;
    return sketch_piece(s, part, 1) * s->growth[pipe];
}

static void add_step(struct sketch *s, const struct neighbour *n, uint32_t lo)
{
    const struct load_input *in = s->planner->in;
    const struct weighed *upper = &s->planner->parts[n->part];
    double own = fmin(s->input->growth[upper->pipe].part_cores, upper->work);
    s->steps[s->step_count++] = (struct plan_step){.kind = PLAN_STEP_MERGE,
                                                   .shard = in->shards[n->shard].id,
                                                   .group_lo = lo,
                                                   .group_hi = upper->hi,
                                                   .border = upper->lo,
                                                   .from = n->lane,
                                                   .to = n->lane,
                                                   .node = -1,
                                                   .part = n->part,
                                                   .moved_bytes = in->parts[n->part].state_bytes};
    s->freed_lanes += own / in->lanes[n->lane].capacity;
    s->merges++;
}

void sketch_fuse(struct sketch *s, int32_t merges_max)
{
    const struct planner *p = s->planner;
    struct arena_mark mark = arena_mark(s->arena);
    struct neighbour *list = ARENA_NEW_ARRAY(s->arena, struct neighbour, p->in->part_count);
    int32_t count = in_order(s, list);
    uint32_t lo = 0, hi = 0; /* of the partition that has been fused so far, and its work */
    double work = 0;
    for (int32_t i = 0; i < count && s->merges < merges_max; i++) {
        const struct neighbour *n = &list[i];
        double room = FUSED_MOST * s->target * p->in->lanes[n->lane].capacity;
        double own = whole(s, n->part);
        bool beside = i > 0 && n->lane == n[-1].lane && n->shard == n[-1].shard && n->lo == hi;
        if (beside && work + own <= room) {
            add_step(s, n, lo);
            work += own;
        } else {
            lo = n->lo;
            work = own;
        }
        hi = p->parts[n->part].hi;
    }
    arena_rewind(s->arena, mark);
}
