// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_SHADOW_ACTOR_H
#define SIM_SHADOW_ACTOR_H

#include "base/rng.h"
#include "node/runtime.h"
#include "node/shadow.h"

/* Whoever casts shadows while records flow: opens drawn ones on every stage, twins that are compared, both transports and
 * feeds; pauses, resamples, measures and closes them; lets their lane be slow, or short of memory. Knows two things: what the
 * pipeline writes is judged as if there were none (I7: by pipeline_check.h, as ever), and what was closed is gone (I8). */

struct shadow_actor;

struct shadow_actor *shadow_actor_new(uint64_t seed);
void shadow_actor_free(struct shadow_actor *actor);

/* Bounds of the next process's shadow lane. */
double shadow_actor_budget(struct shadow_actor *actor);
int64_t shadow_actor_memory_bytes(struct shadow_actor *actor);

/* A process begins. Both steps are to be added to the world: the actor's own, and the lane's, which it holds up now and
 * then. */
void shadow_actor_begin(struct shadow_actor *actor, struct node_runtime *rt);
int64_t shadow_actor_step(void *ctx, int64_t now_ns);
struct waker *shadow_actor_waker(struct shadow_actor *actor);
int64_t shadow_actor_lane_step(void *ctx, int64_t now_ns);
struct waker *shadow_actor_lane_waker(struct shadow_actor *actor);

/* The process is about to be gone. */
void shadow_actor_end(struct shadow_actor *actor);

/* NULL: nothing is wrong. */
const char *shadow_actor_problem(const struct shadow_actor *actor);

struct shadow_tally {
    int32_t opened, refused, closed, measured, compared, resampled, paused, ended;
    int64_t results, records;
};
struct shadow_tally shadow_actor_tally(const struct shadow_actor *actor);

#endif
