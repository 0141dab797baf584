// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_PLACEMENT_H
#define PRM_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

/* Placement of partitions on lanes: at start, when nodes come and go, and when load has drifted apart. By measured demand
 * and capacity, with few moves; differences within the bands move nothing.
 *
 * Two steps. *Must*: partitions that are nowhere, or on a lane that may own none, go, heaviest first, each to the lane
 * that is least utilised just then. *May*: a lane is hot when its utilisation is above both bands. Of a hot lane the
 * smallest partition that alone brings it under the target goes to the least utilised lane, if that stays under the
 * target; if there is none, the largest that fits; until it is no longer above the target.
 *
 * Invariants of a plan:
 *   P1  every partition is on a lane that may own partitions; one that may not be moved is where it was.
 *   P2  a partition moves at most once; one that was on a lane that may own it moves only from a hot lane.
 *   P3  a move of the second step leaves its target at or below the target utilisation.
 *   P4  no lane is above the target utilisation that was at or below it after the first step.
 *   P5  without hot lanes and with nothing that must move, nothing moves.
 *
 * Cost: O(p log p + l log l) for p partitions on l lanes; partitions of lanes that are not hot are not sorted.
 * Source: first step, longest processing time first (Graham 1969); second step, greedy relief by best fit, whose number of
 * moves has a simple lower bound: of each hot lane at least as many as its heaviest need to exceed what is above the target
 * (test/unit/prm compares with it). */

struct placement_bands {
    double hot_ratio; /* of the mean utilisation, >= target_ratio: above it a lane may be hot */
    double
        hot_margin; /* and this much above the mean, >= 0, in utilisation: 0.05 is 5 % of a lane */
    double target_ratio; /* of the mean, >= 1: down to here a hot lane is relieved */
};

/* What the product uses: noise of 20 %, or of 5 % of a lane, moves nothing; a plan reaches 1.10. */
#define PLACEMENT_BANDS ((struct placement_bands){1.20, 0.05, 1.10})

/* Counts decide: for lanes that are to share, though there is hardly any load to measure. */
#define PLACEMENT_BANDS_TIGHT ((struct placement_bands){1.10, 0, 1.10})

struct placement_lane {
    double capacity; /* > 0, in the unit of demand */
    bool open;       /* may own partitions */
};

enum { PLACEMENT_NOWHERE = -1, PLACEMENT_COUNT_MAX = 1 << 24 };

struct placement_input {
    int32_t count;
    const double *demand; /* [count], >= 0, finite: capacity that it uses up */
    const int32_t *lane;  /* [count], index of a lane or PLACEMENT_NOWHERE */
    const bool *held;     /* [count], must stay where it is, closed lane or not; NULL: none is */
    int32_t lane_count;
    const struct placement_lane *lanes;
    struct placement_bands bands;
    int32_t moves_max; /* of the second step; < 0: no limit */
};

struct placement_move {
    int32_t part, from, to; /* from: PLACEMENT_NOWHERE if it was nowhere */
};

struct placement {
    int32_t *lane; /* [count] */
    struct placement_move *moves;
    int32_t move_count, must_count; /* the first `must_count` are of the first step */
    double mean;                    /* utilisation: all demand on open lanes / their capacity */
    double max_before,
        max_after;    /* largest of open lanes; before: of what was there, no step done */
    int32_t hot_left; /* hot lanes still above the target: no partition of theirs fits elsewhere */
};

/* Plans. Nothing is kept of the input; the plan is the arena's.
 * Errors, no plan: INVALID (a number out of its range; no lane may own partitions).
 * Thread: any. */
ATTR_NODISCARD enum err placement_plan(const struct placement_input *input, struct arena *arena,
                                       struct placement *ret_plan, struct err_info *info);

#endif
