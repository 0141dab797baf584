// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_PLAN_RUN_H
#define CONTROL_PLAN_RUN_H

#include "control/ledger.h"

/* A plan being carried out: its steps, one after the other, each an operation that is ordered through control's own door
 * like anybody's, with an Idempotency-Key of the plan's number and the step's. So a plan that a crash has interrupted is
 * ordered again from its first step, and what was done is not done twice. Nodes come side by side: after one is ordered the
 * plan goes on with what does not need it.
 *
 *   RECORDING --> ORDERING --> WAITING --> ORDERING ... --> ENDED
 *       |            |            |
 *       |            +------------+--> UNDOING --> UNDO_WAITING --> UNDOING ... --> ENDED
 *       +--> ENDED
 *
 *   from          to            when
 *   RECORDING     ORDERING      the decision's record with these steps is durable (R1)
 *   RECORDING     ENDED         cancelled; the record was lost
 *   ORDERING      WAITING       the order is answered: an operation
 *   ORDERING      UNDOING       it was refused, a node did not come, or the plan is cancelled
 *   ORDERING      ENDED         no step is left, and all nodes are there
 *   WAITING       ORDERING      the operation is done, or a node is coming: the next step
 *   WAITING       UNDOING       it was undone, or needs an operator; or the plan is cancelled
 *   UNDOING       UNDO_WAITING  the step that is undone is an operation
 *   UNDOING       ENDED         all that was done is undone, or one cannot be: told in `reason`
 *   UNDO_WAITING  UNDOING       that operation has ended
 *
 * Invariants:
 *   R1  Nothing of a plan is ordered before the record that says it is durable.
 *   R2  At most one order of the plan is out; beside its operation only nodes are coming.
 *   R3  It ends with all steps done, or with those that were done undone, or says which could not be. */

#define PLAN_RUN_STATES(X) \
    X(RECORDING, "recording") \
    X(ORDERING, "ordering") \
    X(WAITING, "waiting") \
    X(UNDOING, "undoing") \
    X(UNDO_WAITING, "undo_waiting") \
    X(ENDED, "ended")

enum plan_run_state {
#define X(name, text) PLAN_RUN_##name,
    PLAN_RUN_STATES(X)
#undef X
        PLAN_RUN_STATE_COUNT
};

bool plan_run_follows(enum plan_run_state from, enum plan_run_state to);

struct plan_run {
    enum plan_run_state state;
    int64_t id;
    int64_t record; /* that must be durable */
    char who[33];
    struct plan_step *steps; /* heap */
    int32_t step_count, at;  /* at: the step that is ordered, or undone */
    int32_t undo_at;         /* of the steps that undo it */
    char setting[PLAN_SETTING_MAX + 1], setting_back[PLAN_SETTING_MAX + 1]; /* of its TUNE step */
    int64_t operation;                                                      /* under way; 0: none */
    int64_t *coming;  /* [step_count] heap; operations of nodes that are on their way; 0: none */
    bool node_missed; /* one of them will not come */
    bool cancel_wanted, done;
    double pause_s, moved_bytes;
    char reason[ERR_TEXT_MAX];
    /* the order */
    struct control_request request;
    struct arena arena;
    bool out;
};

struct plan_run *plan_run_new(const struct ledger_entry *entry, const char *who);
void plan_run_free(
    struct plan_run *run); /* no order of it is out, or nobody answers any more. NULL is fine */

/* Of a plan that a restart has interrupted, of whose steps the first `begun` have operations and `done` were done: it undoes what
 * was done of them, also what still comes to be done (operations in `coming`). */
void plan_run_back(struct plan_run *run, int32_t begun, int32_t done);

/* Goes on as far as it can; it is over when its state is ENDED. */
void plan_run_step(struct control *control, struct plan_run *run);

/* Whether the operation is one of its own that is under way. */
bool plan_run_owns(const struct plan_run *run, int64_t operation);

/* Its order has been answered. */
void plan_run_answered(struct plan_run *run);

/* What undoes a step, in `ret_steps`; returns how many, 0: nothing does. */
int32_t plan_step_undo(const struct plan_step *step, struct plan_step ret_steps[2]);

#endif
