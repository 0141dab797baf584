// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/loop.h"
#include "base/rng.h"

/* The simulator's world: it calls the step functions that threads call in the real program, one at a time, in an order
 * drawn from a seed, on a clock that moves only here.
 *
 *   W1  A thing is stepped when it was woken, when its deadline has come, or for the first time; never while it is busy.
 *   W2  When nothing can be stepped, the clock jumps to the earliest deadline; nobody waits.
 *   W3  Same seed, same things, same answers: same run.
 *   W4  A run ends: after `steps_max` steps the world says so instead of going on (a livelock).
 *
 * A step keeps its thing busy for as long as its drawn CPU cost, so things run beside each other in time as threads do;
 * now and then one is held up much longer, as by a scheduler. */

struct world;

struct world_options {
    uint64_t seed;
    int64_t step_cost_ns;     /* mean CPU cost of a step; 0: 5 us */
    double stall_probability; /* of a step being followed by a hold-up of up to stall_max_ns */
    int64_t stall_max_ns;     /* 0: 20 ms */
};

/* How a run ended. */
enum world_end {
    WORLD_DONE,  /* the condition holds */
    WORLD_TIME,  /* `until_ns` has come */
    WORLD_QUIET, /* nothing is runnable and no deadline stands: it would sleep for ever */
    WORLD_STEPS  /* too many steps */
};

struct world *world_new(const struct world_options *options);
void world_free(struct world *world);

/* Adds what is to be stepped. It is stepped once soon, then by W1. Returns its number.
 *   name   for messages; kept, not copied
 *   waker  the thing's own */
int world_add(struct world *world, const char *name, loop_step step, void *ctx,
              struct waker *waker);

/* Takes a thing out (its process died). Numbers are not used again. From inside a step too. */
void world_remove(struct world *world, int thing);

/* Runs until `done(ctx)` holds (NULL: never; asked after each step), `until_ns`, quiet, or `steps_max` steps. */
enum world_end world_run(struct world *world, bool (*done)(void *ctx), void *ctx, int64_t until_ns,
                         int64_t steps_max);

/* The world's clock: now_ns is virtual; wall time is 2025-01-01 plus that plus what world_shift_wall added; CPU time is
 * that of the thing being stepped, a little more at each reading. */
const struct clock *world_clock(struct world *world);

int64_t world_now_ns(const struct world *world);

/* The wall clock jumps, either way. */
void world_shift_wall(struct world *world, int64_t ms);

/* Adds CPU time to the thing being stepped: what its work would have cost. */
void world_charge(struct world *world, int64_t cpu_ns);

/* Draws for whoever sets the scene. Steps get generators of their own. */
struct rng *world_rng(struct world *world);

/* The name of the thing that was stepped last, for messages. */
const char *world_last(const struct world *world);

#endif
