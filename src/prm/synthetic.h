// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_SYNTHETIC_H
#define PRM_SYNTHETIC_H

#include "base/rng.h"
#include "prm/plan.h"

/* A seeded cluster for measuring decisions at scale: nodes of one lane, partitions anywhere on them, demands log-normal
 * (sigma 0.8), mean utilisation about 0.75: some lanes are full, most are not. */

struct synthetic {
    struct load_input load;
    struct load_pipeline pipeline;
    struct load_shard *shards; /* one a partition */
    struct load_part *parts;
    struct load_lane *lanes;
    struct rng rng;
};

/*   parts   nodes..LOAD_PARTS_MAX      nodes   1..LOAD_LANES_MAX
 * Errors: INVALID. Memory: 250 bytes a partition. */
ATTR_NODISCARD enum err synthetic_new(struct arena *arena, int32_t parts, int32_t nodes,
                                      uint64_t seed, struct synthetic **ret_synthetic,
                                      struct err_info *info);

/* Changes the work of `count` partitions by up to a fifth and touches them in the planner. */
void synthetic_change(struct synthetic *synthetic, struct planner *planner, int32_t count);

/* Fewest moves with which any plan can bring all lanes to `target` cores: of each lane above it as many as its heaviest
 * partitions need to exceed what is above. */
int32_t synthetic_least_moves(const struct synthetic *synthetic, double target,
                              struct arena *arena);

/* Options for a decision there. */
struct plan_options synthetic_options(const struct synthetic *synthetic);

#endif
