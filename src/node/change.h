// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_CHANGE_H
#define NODE_CHANGE_H

#include "node/lane.h"

/* One change of the layout while records flow: split, merge, migrate, a node's state, another text of a pipeline.
 *
 * All of them are the one act (open a view from a checkpoint into a sink) in the same steps: the map changes by
 * compare-and-set while the owners of before go on, then those stop at a commit, and the new owners go on from there. So
 * nothing but that commit lies in the pause. Within a process a key group's state is a moved table, nothing is copied or
 * read again; a partition that cannot be handed over so (it failed, or waits for a dependency) is restored from its last
 * commit instead. Other partitions of a lane go on all the while.
 *
 *   MEASURING --> MAPPING --> CLOSING --> OPENING --> DONE
 *       |            |                       |
 *       |            v                       +------> NEEDS_OPERATOR
 *       +---------> UNDONE                     (a dry run: MEASURING --> CHECKED)
 *
 *   from       to          when
 *   MEASURING  CHECKED     figures are there, a dry run
 *   MEASURING  MAPPING     figures are there: the border of a split is known, the gap of a merge is small enough
 *   MEASURING  UNDONE      cancelled; gap too large
 *   MAPPING    CLOSING     the record is written: from here on the change is done, whatever crashes (X1)
 *   MAPPING    UNDONE      cancelled before it was submitted, or the write was refused
 *   MAPPING    DONE        a change that opens nothing, or the runtime stops: the next start opens it
 *   CLOSING    OPENING     all owners of before have stopped at a commit, or are gone
 *   CLOSING    DONE        the runtime stops
 *   OPENING    DONE        all new owners run
 *   OPENING    NEEDS_OPERATOR  one cannot open: the map stands, the partition's problem says why
 *
 * Another text (the second day of a pipeline that runs): stages whose chain, or whose input's, differs finish to their
 * last commit and open again; others go on. It may change chains and settings of the pipeline, not its stages, streams,
 * lookup tables or partitions: that takes a restart. Its record is read at the next start, and void when the file has
 * been edited since.
 *
 * Invariants:
 *   X1  One control record is the only commit point: the stage's map, the nodes' states, the pipeline's text. A crash
 *       before it leaves the old layout, after it the new one.
 *   X2  A partition is in one change at a time.
 *   X3  No new owner opens before the map says so and the old ones have answered. Until then those go on: what they
 *       commit by the epoch of before is what the new ones begin with.
 *   X4  In a final state nothing of the change is in flight.
 *   X5  State tables are in exactly one place: a partition, or the change.
 *
 * Crash points: change.measured, change.map.before, change.map.after, change.closed, change.opened, and the lanes'
 * lane.close.before, lane.close.after, lane.open.fenced, lane.open.attached.
 *
 * Thread: all functions are the runtime's (control's) loop's. */

struct node_runtime;
struct change_piece;

enum change_kind {
    CHANGE_SPLIT,    /* one partition into two, at any key-group border */
    CHANGE_MERGE,    /* two neighbours of one shard into one */
    CHANGE_MIGRATE,  /* one partition to another lane */
    CHANGE_NODE,     /* a node's state: added, draining, off */
    CHANGE_PIPELINE, /* another text of the chains of one pipeline */
    CHANGE_KIND_COUNT
};

enum change_state {
    CHANGE_MEASURING,
    CHANGE_MAPPING,
    CHANGE_CLOSING,
    CHANGE_OPENING,
    CHANGE_CHECKED, /* from here on: final */
    CHANGE_DONE,
    CHANGE_UNDONE, /* the layout is as before; `err` says why: CANCELLED, or what went wrong */
    CHANGE_NEEDS_OPERATOR,
    CHANGE_STATE_COUNT
};

const char *change_kind_name(enum change_kind kind);
const char *change_state_name(enum change_state state);

/* Whether the table above has the transition. */
bool change_follows(enum change_state from, enum change_state to);

enum change_flags {
    CHANGE_DRY_RUN = 1,   /* ends as CHECKED, with what would happen */
    CHANGE_PLACED = 2,    /* SPLIT: the upper half goes to (node, lane); MERGE: the whole does */
    CHANGE_DROP_STATE = 4 /* PIPELINE: state that the new chains cannot continue is dropped */
};

/* A node's lanes are there from the start, up to `nodes.max`; its state says whether they may own partitions. */
enum node_state {
    NODE_OFF,     /* owns nothing, nothing may come */
    NODE_ACTIVE,  /* may own partitions */
    NODE_DRAINING /* nothing may come; what is there goes by migration */
};

enum {
    CHANGES_ACTIVE_MAX = 4096,     /* in one runtime */
    CHANGE_GAP_RECORDS_MAX = 50000 /* between the positions of two partitions to be merged */
};

struct change_spec {
    enum change_kind kind;
    uint32_t flags; /* enum change_flags */
    int32_t stage;  /* SPLIT, MERGE, MIGRATE: index of node_runtime_stage() */
    uint32_t shard;
    uint32_t group_lo, group_hi; /* the partition, as the map has it; MERGE: the lower one */
    uint32_t border;            /* SPLIT: first group of the upper half; 0: where the load halves */
    uint16_t node, lane;        /* MIGRATE: where to; CHANGE_PLACED; NODE: which */
    enum node_state node_state; /* NODE */
    const struct config *config; /* PIPELINE: has the new text; outlives the runtime */
    int32_t pipeline;            /* index in `config` */
};

struct change {
    struct msg msg; /* first: pushed to `done` in a final state */
    uint64_t id;    /* of this runtime: 1, 2, ... */
    struct change_spec spec;
    enum change_state state;

    /* Measured before anything stops; with a dry run all there is. */
    uint32_t border; /* SPLIT: where it is cut */
    double
        upper_share; /* SPLIT: share of the records that the upper half has had; 0.5 if none yet */
    int64_t state_bytes;       /* of the partitions concerned */
    int64_t gap_records;       /* MERGE: between the two */
    int64_t expected_pause_ns; /* from the present time of a commit */
    int32_t partitions;        /* that stop and go on */

    int32_t steps_done, steps; /* progress */
    bool cancel_wanted;
    int64_t began_ns, ended_ns; /* monotonic; ended: 0 as long as it is not */

    /* Results. */
    int64_t moved_bytes;  /* state that changed its owner */
    int32_t restored;     /* partitions that had to be restored instead of handed over */
    int64_t stopped_ns;   /* monotonic: when the first owner stopped; 0: none did */
    int64_t running_ns;   /* when the last new one began */
    int64_t pause_ns;     /* between the two */
    uint64_t map_version; /* that has the change; 0: none */
    enum err err;         /* UNDONE, NEEDS_OPERATOR */
    struct err_info info;

    /* Private. */
    struct node_runtime *rt;
    struct mailbox *done;
    struct change *next, *mapping_next;
    struct change_piece *closes, *opens;
    bool affected[STAGES_MAX];    /* PIPELINE: stages whose chains change */
    bool same_spaces[STAGES_MAX]; /* PIPELINE: whose state goes on as it is */
    int32_t first_stage;          /* PIPELINE: of the runtime */
    int32_t close_count, open_count, waiting_for;
    bool map_submitted, released;
};

/* Checks `spec` against the present layout and begins. A final state is reached by node_runtime_step() alone.
 *   done        where the change is pushed when it is final; NULL: look at its state
 *   ret_change  the caller's until change_release()
 * Errors, nothing begun: INVALID (no such partition, border outside its range, strangers, a lane that is not there; the text
 * says what is allowed), CONFLICT (a partition is in another change: ret_conflict, its id), UNAVAILABLE (the target
 * drains, is off or has failed; the runtime does not run), LIMIT, UNSUPPORTED (a text that changes more than chains),
 * NEEDS_OPERATOR (a text that loses state: the list, nothing stopped). */
ATTR_NODISCARD enum err change_start(struct node_runtime *rt, const struct change_spec *spec,
                                     struct mailbox *done, struct change **ret_change,
                                     uint64_t *ret_conflict, struct err_info *info);

/* Asks it to stop and undo. CONFLICT: it is past its commit point, or final. */
ATTR_NODISCARD enum err change_cancel(struct change *change, struct err_info *info);

/* Final or not: it goes on if it is not, and is freed when it is. */
void change_release(struct change *change);

bool change_final(const struct change *change);

/* What the change did to the map of its stage, once it is final and has a `map_version`: its index and the `index`th
 * partition that is gone, or that is new or has a new owner. False: there are no more. */
bool change_gone(const struct change *change, int32_t index, int32_t *ret_stage,
                 struct partition_place *ret_place);
bool change_come(const struct change *change, int32_t index, int32_t *ret_stage,
                 struct partition_place *ret_place);

/* Changes that are not final yet. */
int32_t node_runtime_changing(const struct node_runtime *rt);

/* Nodes 0 .. nodes.max - 1, each with nodes.lanes lanes. */
int32_t node_runtime_node_max(const struct node_runtime *rt);
enum node_state node_runtime_node_state(const struct node_runtime *rt, int32_t node);

#endif
