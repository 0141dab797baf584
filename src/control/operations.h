// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_OPERATIONS_H
#define CONTROL_OPERATIONS_H

#include "base/arena.h"
#include "control/entity.h"
#include "control/request.h"
#include "node/change.h"

/* Operations: every change of the layout is one, from the order to what became of it.
 *
 *   MEASURING --> RECORDING --> CHANGING --> ENDING --> DONE | UNDONE | NEEDS_OPERATOR
 *       |             |             |           ^
 *       |             |             +-> UNDOING-+
 *       |             +-----------------------> |
 *       +--> CHECKED (a dry run)
 *
 *   from       to         when
 *   MEASURING  CHECKED    a dry run has its figures
 *   MEASURING  RECORDING  the figures are there and it is to be done
 *   RECORDING  CHANGING   its first record is durable (O1), its first change has begun
 *   RECORDING  ENDING     cancelled meanwhile, or the change was refused
 *   CHANGING   ENDING     its changes are final
 *   CHANGING   UNDOING    a drain that cannot end, or is cancelled: the node becomes active again
 *   UNDOING    ENDING     it is
 *   ENDING     final      its last record is durable, or cannot be made so (told in `reason`)
 *
 * An order that is refused while it is measured was never an operation: it has no number and leaves nothing.
 *
 * Invariants:
 *   O1  Nothing changes before the operation's first record is in the stream `sc.operations`; so after a crash it is
 *       known, and the partition map or the node's state says what became of it.
 *   O2  Two operations that are not final never concern the same key groups of a stage's shard, the same node or, if one is
 *       of a pipeline, that pipeline.
 *   O3  At most one operation has a given Idempotency-Key; asking again with it begins nothing.
 *   O4  Numbers grow, over restarts too.
 *
 * This file: what is remembered of them; pure. operations_run.c carries them out, operations_start.c reads them back. */

enum {
    OPERATIONS_KEPT_MAX = 1000,  /* the oldest final ones are forgotten first */
    OPERATIONS_ACTIVE_MAX = 256, /* not final */
    OPERATION_CHANGES_OUT = 16,  /* of one operation at once */
    OPERATION_RECORD_MAX = 8192  /* bytes of one, as JSON */
};
#define OPERATIONS_STREAM "sc.operations"

#define OPERATION_KINDS(X) \
    X(SPLIT, "split") \
    X(MERGE, "merge") \
    X(MIGRATE, "migrate") \
    X(NODE_ADD, "node_add") \
    X(NODE_DRAIN, "node_drain") \
    X(PIPELINE, "pipeline")

#define OPERATION_STATES(X) \
    X(MEASURING, "measuring") \
    X(RECORDING, "recording") \
    X(CHANGING, "changing") \
    X(UNDOING, "undoing") \
    X(ENDING, "ending") \
    X(CHECKED, "checked") \
    X(DONE, "done") \
    X(UNDONE, "undone") \
    X(NEEDS_OPERATOR, "needs_operator")

enum operation_kind {
#define X(name, text) OPERATION_##name,
    OPERATION_KINDS(X)
#undef X
        OPERATION_KIND_COUNT
};

enum operation_state {
#define X(name, text) OPERATION_##name,
    OPERATION_STATES(X)
#undef X
        OPERATION_STATE_COUNT
};

const char *operation_kind_name(enum operation_kind kind);
const char *operation_state_name(enum operation_state state);
bool operation_follows(enum operation_state from, enum operation_state to);

struct operation_run; /* operations_run.c: while it is carried out */

struct operation {
    int64_t id; /* 0: not yet */
    enum operation_kind kind;
    enum operation_state state;
    enum operation_state outcome; /* from ENDING on */
    bool dry_run, cancel_wanted;
    bool unfinished; /* read back without its last record: what became of it is looked up */
    char subject[CONTROL_PARTITION_MAX + 1];
    char target[CONTROL_PARTITION_MAX + 1];
    char who[33];
    char key[CONTROL_IDEMPOTENCY_MAX + 1];
    uint64_t request_hash;
    int64_t began_ms, ended_ms; /* since 1970; ended 0: not yet */
    /* what it concerns */
    int32_t stage;       /* -1: none, or not known any more */
    struct str pipeline; /* the configuration's; of PIPELINE and of partitions */
    uint32_t shard, group_lo, group_hi;
    uint32_t border;    /* 0: none, or not known yet */
    int32_t node, lane; /* -1: none */
    /* figures */
    int32_t partitions, partitions_done, steps, steps_done;
    double upper_share;
    int64_t gap_records, state_bytes, moved_bytes;
    int64_t expected_pause_ns, pause_ns, pauses_ns; /* longest, sum */
    int32_t restored;
    int64_t map_version;
    int64_t plan; /* of a dry run: the plan that does it; 0: none */
    double cost, cost_nothing;
    enum err err; /* OK also while it is under way */
    char reason[ERR_TEXT_MAX];
    struct operation_run *run; /* NULL: nothing of it is in flight */
};

bool operation_final(const struct operation *op);
bool operation_of_node(const struct operation *op);

/* The table. */
struct operations {
    int64_t last_id;
    int32_t count;
    struct operation *all[OPERATIONS_KEPT_MAX + OPERATIONS_ACTIVE_MAX]; /* heap; oldest first */
};

void operations_init(struct operations *ops);
void operations_release(struct operations *ops); /* none has a run any more */

/* Takes it over, heap from MEM_NEW. With id 0 it gets the next number. Forgets the oldest final one if there are too many. */
void operations_add(struct operations *ops, struct operation *op);
struct operation *operations_find(struct operations *ops, int64_t id);         /* or NULL */
struct operation *operations_find_key(struct operations *ops, struct str key); /* or NULL */
int32_t operations_active(const struct operations *ops);

/* One that is not final and stands in the way of `op` (O2), or NULL. */
struct operation *operations_conflict(const struct operations *ops, const struct operation *op);

/* As the API shows it; texts are the arena's or `op`'s. */
struct operation_row operation_row_of(const struct operation *op, struct arena *arena);

/* Its record, and back. Reading never trusts: what is no operation is refused as CORRUPT. */
struct str operation_write(const struct operation *op, struct arena *arena);
ATTR_NODISCARD enum err operation_read(struct str record, struct operation *ret_op,
                                       struct err_info *info);

/* "n1" -> 1, -1; "n1/0" -> 1, 0. False: it is neither. */
bool place_parse(struct str text, int32_t *ret_node, int32_t *ret_lane);
/* "lo-hi", 0 <= lo < hi <= 4096. */
bool range_parse(struct str text, uint32_t *ret_lo, uint32_t *ret_hi);

#endif
