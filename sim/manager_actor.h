// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_MANAGER_ACTOR_H
#define SIM_MANAGER_ACTOR_H

#include "control/control.h"
#include "sim/manager_check.h"
#include "sim/world.h"

/* What the manager lives with in part `manager`: a load that rises and falls (the CPU time that records cost lanes, drawn
 * anew again and again), settings drawn for it, and people who order splits, moves, nodes, shadows and modes, apply, cancel
 * and undo its plans, several at once. It keeps what was ordered and answered for the judge (manager_check.h). */

struct manager_actor;

struct manager_actor *manager_actor_new(uint64_t seed, struct world *world);
void manager_actor_free(struct manager_actor *actor);

/* Lines of the configuration, the same in all lives: `manager:`, and what stands in the pipeline. */
const char *manager_actor_section(const struct manager_actor *actor);
const char *manager_actor_pipeline(const struct manager_actor *actor);

/* The world's clock, on which a lane's CPU time is that of the drawn load. */
const struct clock *manager_actor_clock(const struct manager_actor *actor);

/* A process begins. Its step and waker are to be added to the world. */
void manager_actor_begin(struct manager_actor *actor, struct control *control);
int64_t manager_actor_step(void *ctx, int64_t now_ns);
struct waker *manager_actor_waker(struct manager_actor *actor);

/* Nothing is ordered any more but that the manager stops acting; quiet: it has, and nothing is under way. */
void manager_actor_pause(struct manager_actor *actor);
bool manager_actor_quiet(const struct manager_actor *actor);

/* The process is about to be gone. */
void manager_actor_end(struct manager_actor *actor);

/* What the judge needs to know. */
const struct manager_facts *manager_actor_facts(const struct manager_actor *actor);

struct manager_actor_tally {
    int32_t orders, answered, refused;
};
struct manager_actor_tally manager_actor_tally(const struct manager_actor *actor);

#endif
