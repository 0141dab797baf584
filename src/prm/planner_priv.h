// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_PLANNER_PRIV_H
#define PRM_PLANNER_PRIV_H

#include "prm/plan.h"

/* What the planner's own files share: the load as it is kept between decisions, and the sketch of a changed layout.
 *
 *   planner.c   the load, its lists, what was touched; the forecast step of partitions
 *   relieve.c   sketches: which partitions leave which lane, which are cut
 *   given.c     sketches of steps that somebody gives
 *   price.c     a sketch on the forecast's paths
 *   plan.c      which sketches there are, and the choice
 *
 * Demands are in cores; a lane's are divided by its capacity only where lanes are compared. */

/* How the own load of a partition drifts against the others': Holt's damped trend on its demand, believed only while it
 * errs less than "stays as it is". And what a record of its shard costs in it, smoothed: rates change fast and are counted
 * exactly, shares and costs change slowly and are measured with noise, for which nothing is to move. */
struct drift {
    double cost; /* CPU seconds */
    float level, trend;
    float error, error_naive; /* mean absolute, forgetting */
    float before;             /* last demand */
    bool far;                 /* the last cost was far off what is believed */
};

/* A partition as the planner's walks see it: two in a cache line. */
struct weighed {
    double work;   /* cores, measured */
    double high;   /* cores, the larger of measured and drifting */
    float waiting; /* CPU seconds that wait */
    int32_t next;  /* on its lane; -1: last */
    uint32_t shard : 20, pipe : 6;
    uint32_t lo : 13, hi : 13, held : 1;
};

struct planner {
    int32_t parts_max, shards_max, lanes_max, pipelines_max;
    const struct load_input *in; /* NULL: nothing loaded yet */
    struct load_input input;     /* the caller's arrays */
    struct weighed *parts;       /* [parts] */
    struct drift *drift;
    uint64_t *who; /* shard id and range that `drift` is of */
    struct drift
        *old_drift; /* [parts_max] of the load before, when partitions have other places in it */
    uint64_t *old_who;
    int32_t drift_count; /* of the load before */
    /* [lanes] */
    int32_t *first; /* -1: none */
    double *lane_waiting;
    bool *dirty;
    bool *marked;     /* [parts] is in `touched` */
    int32_t *touched; /* [parts] */
    int32_t touched_count;
    /* [lanes * pipelines] cores */
    double *cell_read, *cell_work, *cell_high;
    double *shard_read; /* [shards] cores, as in cell_read */
    int32_t *of_shard;  /* [shards] its partitions: of one that is alone nobody else reads */
    /* scratch, as told between uses */
    int32_t *count;                 /* [shards] 0 */
    double *left_once, *left_after; /* [parts] 1: share that is still on its lane, in a sketch */
};

/* A partition, or a piece of one that the sketch has cut. */
struct piece {
    int32_t part;
    uint32_t lo, hi;
    double fraction;  /* of the partition's own load */
    int32_t from, to; /* lanes: where the partition was, where the piece is now */
    int32_t next;     /* in the list of what came to the lane; -1: last */
};

/* A layout that might be. */
struct sketch {
    struct planner *planner;
    struct arena *arena;
    const struct plan_input *input;
    const struct plan_options *options;
    const double *growth; /* [pipelines] at the planning quantile */
    const double *ratio;  /* [pipelines] of work cost, by a tuning; 1: as it is */
    bool *usable;         /* [lanes] may get partitions */
    bool *added;          /* [lanes] of nodes that come after the start-up */
    double *load;         /* [lanes] cores at the planning quantile, as sketched */
    int32_t *came;        /* [lanes] first of `pieces` that came; -1: none */
    struct piece *pieces; /* [piece_count] */
    int32_t piece_count, piece_max;
    struct plan_step *steps;
    int32_t step_count, moves, splits, merges;
    double freed_lanes; /* by fusing: what partitions take by themselves */
    int32_t *heap;      /* usable lanes, least utilised first */
    int32_t heap_count;
    double target; /* cores per capacity */
    int32_t hot_left;
    bool even; /* lanes are relieved down to near the mean, not only to the target */
};

/* planner.c: sums that touched partitions made stale. */
enum err planner_settle(struct planner *planner, struct err_info *info);

/* relieve.c. The caller has set planner, arena, input, options, growth, ratio and even, all else 0. `nodes` > 0: lanes
 * of so many closed nodes are added; < 0: so many of the least loaded are drained. False: there are not so many. */
bool sketch_begin(struct sketch *sketch, int32_t nodes);
/* Own work of a piece of a partition, cores, without growth: what each partition takes by itself it takes whole. */
double sketch_piece(const struct sketch *sketch, int32_t part, double fraction);
void sketch_relieve(struct sketch *sketch, int32_t splits_max);

/* fuse.c, after sketch_begin(sketch, 0): neighbours of one lane become one, at most so many times. */
void sketch_fuse(struct sketch *sketch, int32_t merges_max);

/* given.c, after sketch_begin(sketch, 0): plays the steps, fills in what they do not say. Errors: NOT_FOUND, CONFLICT, LIMIT,
 * INVALID. */
ATTR_NODISCARD enum err sketch_take(struct sketch *sketch, struct plan_step *steps, int32_t count,
                                    struct err_info *info);

/* price.c: fills usage, cost, max_before, max_after, mean_after of the option. */
void price_sketch(const struct sketch *sketch, struct plan_option *option);

/* Reading of a shard, cores; growth and tuning apart. */
double planner_read(const struct planner *planner, int32_t shard);

/* How far the demand of a lane may be off by chance, cores: one standard deviation, from how much that of its partitions moves
 * between samples. */
double planner_noise(const struct planner *planner, int32_t lane);

/* What partitions cost is no longer what it was (a setting has changed): the next load is believed at once. */
void planner_forget(struct planner *planner);

#endif
