// SPDX-License-Identifier: Apache-2.0
#ifndef PRM_QUEUE_H
#define PRM_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

/* A pipeline as a fluid queue: work flows in at a rate, lanes drain it at one lane-second a second each. All rates are in
 * lanes (arrival rate x cost / capacity of a lane), all work in lane-seconds, all times in seconds. */

/* One step of constant capacity under a rate that moves in a straight line. */
struct queue_step {
    double rate_begin, rate_end; /* lanes, >= 0, finite */
    double capacity;             /* lanes, >= 0 */
    double seconds;              /* > 0 */
    double objective_s;          /* a second is late when its oldest waiting record is older; > 0 */
    double part_s;               /* queue_advance looks so often, > 0; 0: each second */
};

/* Advances the backlog `*work` (lane-seconds, >= 0) by one step, in parts of at most `part_s`.
 * Returns the late seconds of the step: the parts at whose end more work waits than arrived within the objective. */
double queue_advance(double *work, const struct queue_step *step);

/* One stretch in which the rate goes in a straight line from `rate_begin` to `rate_end` against a constant capacity; exact for
 * the backlog, and for lateness as if what gathers or drains did so evenly on each side of where the two cross. For plans,
 * which look at many paths; the executor advances by queue_advance. Returns late seconds. */
double queue_ramp(double *work, const struct queue_step *step);

/* Late seconds after a window, while what is left in it drains: until what waits is within the objective again at the
 * window's last rate, at most `seconds_max`. Without it a plan would see no use in lanes that come near the window's end. */
double queue_drain(double work, double rate, double capacity, double objective_s,
                   double seconds_max);

/* Prices: design's cost formula. All per unit, >= 0. */
struct prices {
    double node;   /* of a reserved lane-second */
    double late;   /* of a late second, per lane of the pipeline */
    double move;   /* of a byte moved */
    double change; /* of a change */
};

/* What an option uses up over its horizon. */
struct usage {
    double lane_seconds; /* reserved: shadows and standbys included */
    double late_seconds; /* expected */
    double moved_bytes;
    double changes;
};

/* The cost of `usage` for a pipeline of `lanes` (one number for all options), in units of prices. */
double cost_of(const struct prices *prices, const struct usage *usage, double lanes);

/* The planning quantile that the prices mean: late / (late + node). */
double cost_quantile(const struct prices *prices);

#endif
