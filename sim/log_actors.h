// SPDX-License-Identifier: Apache-2.0
#ifndef SIM_LOG_ACTORS_H
#define SIM_LOG_ACTORS_H

#include "sim/log_sim.h"

/* Between log_actors.c (steps, writers) and log_readers.c (readers, restores and the rest). */

enum verdict {
    VERDICT_OK,
    VERDICT_LATER, /* the op is submitted again, unchanged */
    VERDICT_STOP,  /* the log has died, as it may after a fault */
    VERDICT_OTHER  /* the actor judges op.err */
};

/* Judges a completion; an error that has no cause fails the model (and is VERDICT_STOP). */
enum verdict actor_verdict(struct actor *actor, int64_t now_ns);

/* Clears the op for another use; submits it. */
struct log_op *actor_op(struct actor *actor, enum log_op_kind kind);
void actor_submit(struct actor *actor);

/* Fails the model: this completion should not have been. */
void actor_fail(struct actor *actor, const char *what);

bool actor_chance(struct actor *actor, double p);
int64_t actor_draw(struct actor *actor, int64_t lo, int64_t hi);

void reader_begin(struct actor *actor);
void reader_done(struct actor *actor, int64_t now_ns);
void restorer_begin(struct actor *actor);
void restorer_done(struct actor *actor, int64_t now_ns);
void trimmer_begin(struct actor *actor);
void trimmer_done(struct actor *actor, int64_t now_ns);
void control_begin(struct actor *actor);
void control_done(struct actor *actor, int64_t now_ns);

#endif
