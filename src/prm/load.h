// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_LOAD_H
#define PRM_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* The load model: what lanes are used for, and what a change of the layout would make of it.
 *
 *   utilisation of a lane = ( sum over shards read there of   shard rate x read cost
 *                           + sum over its partitions of      own rate x work cost ) / capacity
 *
 * A shard counts once on a lane, however many partitions read it there: the lane decodes it once. So a split that puts a
 * half on another lane halves the work and doubles the reading; that is what "a split does not divide reading" means.
 *
 * The own rate of a partition is its shard's rate x its share. Shares change slowly, rates fast: a forecast of the rate
 * scales everything that hangs on it. */

enum {
    LOAD_PARTS_MAX = 1 << 20,
    LOAD_SHARDS_MAX = 1 << 20,
    LOAD_LANES_MAX = 1 << 16,
    LOAD_PIPELINES_MAX = 64,
    LOAD_CUTS_MAX = 15,
    LOAD_NOWHERE = -1,
    LOAD_GROUPS = 4096,
};

/* Why work may be late though no layout is to blame: nothing is scaled for these. */
enum load_symptom {
    LOAD_SYMPTOM_ERRORS = 1, /* records are rejected, or partitions fail, far above what is usual */
    LOAD_SYMPTOM_SINK = 2,   /* commits or a dependency stall: lanes are blocked, not busy */
    LOAD_SYMPTOM_MEMORY = 4, /* state is at its limit */
};

struct load_pipeline {
    struct str name;
    double objective_s; /* > 0 */
    uint32_t symptoms;  /* of enum load_symptom */
};

/* A shard index of a stage: for a join the co-partitioned shards of both inputs together. */
struct load_shard {
    int64_t id;        /* the caller's, the same for as long as the process runs */
    int32_t pipeline;  /* index */
    double rate_per_s; /* records/s that arrive, own ones of any partition */
    double read_s;     /* CPU seconds to read one of them */
};

/* Where the load of a partition may be cut: `below` of its own records have a key group < `group`. */
struct load_cut {
    uint16_t group;
    float below; /* 0..1 */
};

struct load_part {
    struct str name;
    int32_t shard;               /* index */
    int32_t lane;                /* index, or LOAD_NOWHERE */
    uint32_t group_lo, group_hi; /* [lo, hi) */
    double share;                /* own records / its shard's records, 0..1 */
    double work_s;               /* CPU seconds per own record */
    double waiting;              /* own records that wait, >= 0 */
    double state_bytes;
    double top_share; /* of its records that its heaviest key has, 0..1; 0: not known */
    const struct load_cut
        *cuts;         /* [cut_count] ascending; none: load is taken to be even over key groups */
    int32_t cut_count; /* 0..LOAD_CUTS_MAX */
    bool
        held; /* may not be moved, split or merged now: an operation is under way, or it is not owned by anyone */
};

/* Lanes keep their index for as long as the process runs: also those of nodes that are off. */
struct load_lane {
    struct str name;
    int32_t node;    /* index; lanes of a node are neighbours */
    double capacity; /* cores, > 0 */
    bool open;       /* may own partitions now; closed lanes of nodes that are off may be added */
    bool draining;   /* of a node that is being drained: may neither get partitions nor be added */
};

/* All arrays are the caller's and must stay while the call runs. */
struct load_input {
    const struct load_pipeline *pipelines;
    const struct load_shard *shards;
    const struct load_part *parts;
    const struct load_lane *lanes;
    int32_t pipeline_count, shard_count, part_count, lane_count;
};

/* Lanes under the load as measured. Utilisation may exceed 1: it is demand. */
struct load {
    double *read, *work; /* [lane_count * pipeline_count], shares of the lane's capacity */
    double *waiting_s;   /* [lane_count] lane-seconds of work that waits */
    int32_t pipeline_count, lane_count;
};

/* What keeps a split from helping a partition. */
enum load_limit {
    LOAD_LIMIT_NONE, /* a split helps */
    LOAD_LIMIT_READING, /* reading the shard alone fills what a lane may carry: re-key into a stream with more shards */
    LOAD_LIMIT_KEY, /* its heaviest key alone does: combine equal keys before state is touched, or isolate it */
    LOAD_LIMIT_RANGE, /* it is one key group already, or held */
};

/* Errors: INVALID: names what is wrong with the input, or with one partition of an input that is else right. */
ATTR_NODISCARD enum err load_check(const struct load_input *input, struct err_info *info);
ATTR_NODISCARD enum err load_check_part(const struct load_input *input, int32_t part,
                                        struct err_info *info);

/* Checks the input (ranges, indices, finite numbers) and weighs the lanes.
 * Memory: the arena's. Errors, nothing written: INVALID (names what is wrong). Thread: any. Cost: O(parts + lanes x pipelines). */
ATTR_NODISCARD enum err load_weigh(const struct load_input *input, struct arena *arena,
                                   struct load *ret_load, struct err_info *info);

/* Utilisation of a lane: all pipelines. */
double load_utilisation(const struct load *load, int32_t lane);

/* CPU that a partition's reading and its own work ask for, in cores. */
double load_read_of(const struct load_input *input, const struct load_part *part);
double load_work_of(const struct load_input *input, const struct load_part *part);

/* Whether a split can bring a partition to `room` cores or less on its lane, and if not, why. */
enum load_limit load_limit_of(const struct load_input *input, const struct load_part *part,
                              double room);

/* One sentence for people, with the partition's figures. */
const char *load_limit_text(const struct load_input *input, const struct load_part *part,
                            enum load_limit limit, struct arena *arena);

/* The border at which the load below is nearest to `below` (0..1): a key group in (lo, hi), and the share that really lies
 * below it. 0: the partition cannot be cut. */
uint32_t load_border(const struct load_part *part, double below, double *ret_below);

#endif
