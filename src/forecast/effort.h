// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_EFFORT_H
#define FORECAST_EFFORT_H

#include <stdbool.h>
#include <stddef.h>

/* The work of a fit, counted where it is done: each evaluation of an objective and each factor of a matrix adds what it
 * multiplied, and what iterates ends where it is once nothing is left. The same input so ends at the same place on every
 * machine, which a clock could not promise. A unit is EFFORT_UNIT multiplications: about a microsecond on one core of 2022. */

#define EFFORT_UNIT 1000.0

struct effort {
    double used; /* units so far */
    double most; /* bound in units; 0: none */
};

/* Counts so many multiplications; NULL counts nothing. */
static inline void effort_spend(struct effort *effort, double multiplications)
{
    if (effort != NULL) {
        effort->used += multiplications / EFFORT_UNIT;
    }
}

/* Whether an iteration may go on. */
static inline bool effort_left(const struct effort *effort)
{
    return effort == NULL || !(effort->most > 0) || effort->used < effort->most;
}

#endif
