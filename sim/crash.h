// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_CRASH_H
#define SIM_CRASH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/rng.h"
#include "sim/disk.h"

/* Crashes at crash points (base/crashpoint.h): the power is cut, or the process killed, in the middle of a step. What the
 * step still does after that falls on a disk that is dead for it; whoever runs the world must end the life when `struck`
 * says so, before anybody else is stepped. */

struct sim_crash {
    struct rng rng;
    struct disk *disk;
    const char *name;    /* where; NULL: nowhere */
    int64_t passes_left; /* at which pass */
    bool power;          /* else a kill */
    bool struck;
};

/* Counts and strikes from now on, until sim_crash_release; one at a time in the process. */
void sim_crash_init(struct sim_crash *crash, struct disk *disk, uint64_t seed);
void sim_crash_release(struct sim_crash *crash);

/* Draws, perhaps, a point at which the next crash comes. */
void sim_crash_draw(struct sim_crash *crash);

/* No crash from now on. True if one struck since the draw. */
bool sim_crash_hold(struct sim_crash *crash);

/* How often each crash point's name was passed by the process so far: all of them to `all`, those never reached to
 * `missed`; either may be NULL. Returns how many names there are. */
int32_t sim_crash_tell(FILE *all, FILE *missed, int32_t *ret_missed);

#endif
