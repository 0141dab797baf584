// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_OPERATIONS_PRIV_H
#define CONTROL_OPERATIONS_PRIV_H

#include "control/control_priv.h"

/* Inside operations. operations_order.c: from an order to an operation; operations_ask.c:
 * orders and questions, answered; operations_run.c: the machine; operations_nodes.c:
 * what nodes that come or go move; operations_start.c: what a restart finds. */

/* A configuration that came by the API; kept, as the runtime's stages point into it. */
struct config_text {
    struct arena arena;
    const struct config *config;
    struct config_text *next;
};

enum node_phase { NODE_PHASE_STATE, NODE_PHASE_MOVING, NODE_PHASE_LAST };

struct operation_run {
    struct job *job; /* waits to be answered; NULL: none does */
    struct operation *next;
    struct change_spec spec;  /* of a partition or pipeline */
    struct config_text *text; /* of a pipeline; the run's until its change has begun for good */
    struct change *changes[OPERATION_CHANGES_OUT];
    int32_t change_count;
    bool record_wanted, record_out;
    int64_t in_the_way; /* operation that refused its change; 0: none */
    int32_t tries;
    int64_t due_ns; /* of the next try */
    /* nodes */
    enum node_phase phase;
    bool bare;                 /* a node that is added: others say what goes there */
    struct change_spec *moves; /* heap */
    int32_t move_count, move_next;
    int32_t moves_missed; /* of this round: in another operation, or undone */
    int32_t refused;      /* changes of the node's state; anew for the way back */
    struct err_info missed;
};

/* operations_order.c: fills `op` and its run from a request. Errors: those of the order. */
ATTR_NODISCARD enum err order_read(struct control *control, struct control_request *request,
                                   struct operation *op, struct err_info *info);

/* operations_nodes.c */
enum { NODE_ROUNDS_MAX = 600 };
#define NODE_ROUND_NS (50 * 1000000LL)
/* What a node's coming or going would move: figures of `op`, and the moves if `keep`. */
ATTR_NODISCARD enum err node_plan(struct control *control, struct operation *op, bool keep,
                                  struct err_info *info);
/* One step of a node's operation in CHANGING or UNDOING; returns when it is to be stepped again. */
int64_t node_step(struct control *control, struct operation *op);
int32_t node_partitions(const struct control *control, int32_t node); /* by the maps */
double lane_demand(const struct control *control, int32_t lane);
/* The lane with the least demand among those that may own partitions; node < 0: of all. -1: there is none. */
int32_t lane_choose(const struct control *control, int32_t node, int32_t without);
const struct partition_report *report_of(const struct control *control, int32_t stage,
                                         uint32_t shard, uint32_t group_lo);

/* A dry run that has its figures becomes a plan, priced: `op->plan`; or `op->reason` says why it has no price. */
void operation_propose(struct control *control, struct operation *op);

/* operations_run.c */
void operation_enter(struct control *control, struct operation *op, enum operation_state state);
void operation_end(struct control *control, struct operation *op, enum operation_state outcome,
                   enum err err, const char *reason);
/* Begins a change of the operation's. CONFLICT with what only measures is not told: AGAIN. */
ATTR_NODISCARD enum err operation_change(struct control *control, struct operation *op,
                                         const struct change_spec *spec, struct err_info *info);
void operation_add_figures(struct operation *op, const struct change *change);
/* Among those that are stepped. */
void operation_run_begin(struct control *control, struct operation *op);
void operation_resume(struct control *control, struct operation *op);

/* Answers the order, frees the operation: it was never one. */
void operation_refuse(struct control *control, struct operation *op, enum err err,
                      const struct err_info *info);
void operation_refuse_conflict(struct control *control, struct operation *op,
                               const struct operation *other);

/* operations_ask.c */
void operation_answer(struct job *job, const struct operation *op, int status);
void operation_other_words(struct job *job, const struct operation *first); /* of its key */

/* operations_start.c */
void operations_resolve(struct control *control);

#endif
