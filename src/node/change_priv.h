// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_CHANGE_PRIV_H
#define NODE_CHANGE_PRIV_H

#include "node/change.h"
#include "node/handover.h"
#include "node/runtime_priv.h"

/* Inside layout changes. change.c: names and table; change_check.c: what is allowed; change_steps.c: the machine;
 * change_map.c: the write that is its commit point. */

/* One partition that stops or opens. */
struct change_piece {
    struct lane_command command; /* first */
    struct change *change;
    int32_t stage;
    struct partition_place place;
    int32_t slot;          /* of its floors; an opening one's is taken when the map is written */
    struct handover *hand; /* what it left; NULL: it is restored */
    struct partition_report report; /* measured; state_bytes and offsets 0 if it is not open */
    uint32_t *group_counts;         /* heap [4096]; NULL: not wanted */
    int64_t commit_ns;
};

/* change_check.c: checks `spec` and fills in kind, partitions to close and to open. */
ATTR_NODISCARD enum err change_check(struct node_runtime *rt, struct change *change,
                                     uint64_t *ret_conflict, struct err_info *info);
/* A split's halves are known only when the border is. */
void change_set_border(struct change *change, uint32_t border);

/* change_steps.c */
void change_enter(struct change *change, enum change_state state);
void change_finish(struct change *change, enum change_state state);
/* The record is written: its owners of before are to stop. */
void change_close_all(struct change *change);
/* Before the record is written: UNDONE, and why. */
void change_undo(struct change *change, enum err err, const struct err_info *info);
void change_cancelled(struct change *change);
bool change_stopping(const struct node_runtime *rt);

/* change_text.c: whether the state of a stage goes on under the new chain just as it is. Before text_put_in_force. */
bool text_keeps_state(const struct change *change, int32_t stage);
void text_encode(const struct change *change, uint8_t *buf);
ptrdiff_t text_bytes(const struct change *change);
void text_written(struct change *change, int64_t version);
/* All that ran by the text of before has stopped. */
void text_take_force(struct change *change);
int64_t text_version(const struct change *change);

/* change_map.c */
void change_map_push(struct change *change);
/* The floors of the partitions that are gone hold nothing back any more. */
void change_give_slots(const struct change *change);
int64_t change_map_step(struct node_runtime *rt);

#endif
