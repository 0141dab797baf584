// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_LAYOUT_ACTOR_H
#define SIM_LAYOUT_ACTOR_H

#include "base/rng.h"
#include "node/change.h"
#include "node/runtime.h"

/* Whoever changes the layout while records flow: starts drawn changes of every kind, several at once, cancels some, and
 * knows what the layout may be after a crash: what was done is there, what was undone is not, and of what was being written
 * either (X1 of node/change.h, I11). */

struct layout_actor;

struct layout_actor *layout_actor_new(uint64_t seed);
void layout_actor_free(struct layout_actor *actor);

/* A process begins with a runtime, `same_numbers`: configured as the one before. Its step and waker are to be added to the
 * world. texts[text_count]: configurations whose first pipeline may take the place of the one that runs; they outlive the
 * runtime and mean the same. */
void layout_actor_begin(struct layout_actor *actor, struct node_runtime *rt, bool same_numbers,
                        const struct config *const *texts, int text_count);
int64_t layout_actor_step(void *ctx, int64_t now_ns);
struct waker *layout_actor_waker(struct layout_actor *actor);

/* No more changes are started. */
void layout_actor_pause(struct layout_actor *actor);

/* The process is about to be gone: remembers what may be found by the next. */
void layout_actor_end(struct layout_actor *actor);

/* A crash point was passed at which the process is to end now. */
bool layout_actor_crash(const struct layout_actor *actor);

/* NULL: nothing is wrong. */
const char *layout_actor_problem(const struct layout_actor *actor);

struct layout_tally {
    int32_t started[CHANGE_KIND_COUNT];
    int32_t done, undone, refused, open_at_crash, crash_points;
};
struct layout_tally layout_actor_tally(const struct layout_actor *actor);

#endif
