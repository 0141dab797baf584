// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_COMMITTER_PRIV_H
#define LOG_COMMITTER_PRIV_H

#include "log/embedded_priv.h"

/* What the committer's files share; states and invariants are at the top of committer.c. All in its thread. */

/* ---- committer.c */
void committer_fail(struct committer *c, enum err err, const struct err_info *info); /* C3 */

/* Completes the group's ops; its writes with `err` (then c->failure) unless they have an error of their own. */
void committer_complete(struct committer *c, enum err err);

/* The group is not begun: writes are told `err`, the others look. */
void committer_refuse(struct embedded *engine, enum err err, const struct err_info *info);

/* Hands files that nothing refers to any more to the syncer, as far as that is durable. */
void committer_send_garbage(struct embedded *engine);

/* ---- committer_unsynced.c */
void unsynced_init(struct committer *c);
void unsynced_release(struct embedded *engine);

/* Whether a group is acknowledged before it is synced. */
bool unsynced_is(const struct embedded *engine);

/* c->frame is written, its number counted. */
void unsynced_frame_written(struct embedded *engine);

/* Sends the sync that is due, if none is out. In IDLE. */
void unsynced_send(struct embedded *engine);
void unsynced_on_sync(struct embedded *engine); /* it came back */

/* Whether the segment in use may be left; false: a sync's reply will wake us. */
bool unsynced_may_leave(const struct embedded *engine);

/* Segment `number`, which was in use, is left for c->next, which begins with the snapshot in c->frame. */
void unsynced_leave(struct committer *c, uint64_t number);

/* Keeps the catalog's garbage until it is durable that it is; false: it is. */
bool unsynced_hold_garbage(struct embedded *engine);

/* ---- committer_frame.c */

/* Makes the group's frame in c->frame: the entries, then its batches, shard by shard, so that a shard's are one write. */
void committer_assemble(struct embedded *engine);

/* Submits a write of c->frame at `offset`, or a sync, of the journal. */
void committer_submit_journal(struct embedded *engine, enum fs_kind kind, int64_t offset);

/* ---- committer_shards.c */
void committer_write_shards(struct embedded *engine); /* begins, or begins again: -> SHARDS */
void committer_issue_writes(
    struct embedded *engine); /* submits what is left, as far as there are places */
void committer_writes_settled(
    struct embedded *engine); /* nothing is in flight: -> IDLE or STALLED */

/* ---- committer_roll.c */

/* Has the next segment made, as this one fills. */
void committer_look_ahead(struct embedded *engine);

/* The group, which needs `need` bytes, does not fit the segment. False: has to wait. */
bool committer_roll(struct embedded *engine, int64_t need);
void committer_on_segment(struct embedded *engine); /* the request came back */
void committer_snapshot_written(struct committer *c);

#endif
