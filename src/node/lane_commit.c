// SPDX-License-Identifier: Apache-2.0
#include <assert.h>
#include <stdio.h>

#include "base/check.h"
#include "base/crashpoint.h"
#include "base/mem.h"
#include "base/planted.h"
#include "node/lane_priv.h"

/* Commits of a lane, and what follows them: floors, checkpoints.
 *
 *   filling --seal--> flying --OK--------------> acknowledged: positions, floors, checkpoint
 *                       |  ^
 *                       |  +--again, backed off-- the same bytes, the same sequence (N3)
 *                       +--FENCED, a claim------> that partition is closed, the others begin again (lane_reset)
 *                       +--FENCED, the owner----> the lane is fenced: all are closed
 *                       +--anything else--------> the lane has failed */

/* Of results and what their partitions' states will add at the seal. Far below what the log takes, so that a last step fits. */
enum { COMMIT_WITH_DELTAS_BYTES = 24 << 20 };

bool lane_commit_full(const struct lane *lane)
{
    return lane->filling->bytes >= lane->tuning.commit_bytes ||
           lane->filling->bytes + lane->delta_bytes >= COMMIT_WITH_DELTAS_BYTES;
}

static bool has_content(const struct lane *lane)
{
    return lane->dirty != NULL || lane->filling->claim_count > 0;
}

int64_t lane_commit_deadline(const struct lane *lane)
{
    if (lane->flying != NULL) {
        return lane->resend_ns;
    }
    return lane->commit_due_ns;
}

static void lane_broken(struct lane *lane, const struct err_info *info)
{
    lane->problem = *info;
    atomic_store_explicit(&lane->status.state, LANE_FAILED, memory_order_release);
    for (struct partition *part = lane->parts; part != NULL; part = part->next) {
        if (part->shadow == NULL && part->state != PARTITION_CLOSED &&
            part->state != PARTITION_FAILED && part->state != PARTITION_CLOSING) {
            lane_fail_partition(lane, part, info);
        }
        part->dirty = part->in_flight = part->claimed = part->movable = false;
        lane_count_delta(lane, part, 0);
    }
    lane->dirty = NULL;
    lane->commit_due_ns = CLOCK_NEVER;
    lane->flying = NULL;
    lane->resend_ns = CLOCK_NEVER;
    commit_reset(&lane->commits[0]);
    commit_reset(&lane->commits[1]);
}

/* --- checkpoints: one block of one partition at a time, dumped at a seal, when state is exactly that of the commit --- */

static bool checkpoint_wanted(struct lane *lane, struct partition *part)
{
    if (part->checkpoint_block < 0) {
        int64_t bound = lane->tuning.checkpoint_bytes;
        if (part->changelog_since < bound || part->changelog_since < lane->tuning.checkpoint_ratio *
                                                                         part->figures.state_bytes /
                                                                         100) {
            return false;
        }
        part->changelog_since = 0;
        part->checkpoint_block = (int32_t)(part->place.group_lo / LOG_BLOCK_GROUPS);
    }
    return true;
}

static void dump_block(struct lane *lane, struct partition *part)
{
    if (lane->dump_claim >= 0 || lane->checkpoint_op.in_flight || part->views[0].ahead.count > 0 ||
        part->views[1].ahead.count > 0 || !checkpoint_wanted(lane, part)) {
        return;
    }
    uint32_t lo = (uint32_t)part->checkpoint_block * LOG_BLOCK_GROUPS;
    uint32_t hi = lo + LOG_BLOCK_GROUPS;
    part->checkpoint_block = hi >= part->place.group_hi ? -1 : part->checkpoint_block + 1;
    lo = lo > part->place.group_lo ? lo : part->place.group_lo;
    hi = hi < part->place.group_hi ? hi : part->place.group_hi;
    enum err err = partition_dump(part, lo, hi, &lane->dump, NULL);
    if (err == ERR_OK) { /* else an entry is too large for a batch: the changelog keeps it */
        lane->dump_claim = part->claim_index;
        lane->dump_lo = lo;
        lane->dump_hi = hi;
    }
}

static void submit_checkpoint(struct lane *lane)
{
    if (lane->dump_claim < 0) {
        return;
    }
    int32_t claim = lane->dump_claim;
    lane->dump_claim = -1;
    lane->checkpoint_op.op.u.checkpoint =
        (struct log_checkpoint_op){.changelog = lane->flying->claims[claim].changelog,
                                   .group_lo = lane->dump_lo,
                                   .group_hi = lane->dump_hi,
                                   .at = commit_end_of(lane->flying, claim),
                                   .bytes = lane->dump.bytes,
                                   .len = lane->dump.len};
    CRASHPOINT("commit.checkpoint");
    lane_submit(lane, &lane->checkpoint_op, LOG_OP_CHECKPOINT);
}

void lane_checkpoint_done(struct lane *lane)
{
    /* A checkpoint that failed is one that was not made: the changelog stays as long as it is, the next round tries
     * again. */
    (void)lane;
}

/* --- seal --- */

static void submit_commit(struct lane *lane)
{
    lane->resend_ns = CLOCK_NEVER;
    lane_submit(lane, &lane->commit_op, LOG_OP_COMMIT);
}

static enum err cut_all(struct lane *lane, struct err_info *info)
{
    struct partition *part = lane->dirty;
    lane->dirty = NULL;
    for (struct partition *next; part != NULL; part = next) {
        next = part->dirty_next;
        part->dirty = false;
        if (part->parked != NULL) {
            continue; /* P1a: the commit holds its last cut; the next one comes when the batch is through */
        }
        enum err err = partition_cut(part, lane->filling, info);
        if (err != ERR_OK) {
            return err;
        }
        lane_count_delta(lane, part, 0);
        dump_block(lane, part);
    }
    return ERR_OK;
}

static void seal(struct lane *lane)
{
    struct err_info info = {0};
    lane->dump_claim = -1;
    enum err err = cut_all(lane, &info);
    lane->commit_due_ns = CLOCK_NEVER;
    if (err == ERR_OK && lane->filling->claim_count == 0) {
        return;
    }
    struct log_commit_op *op = &lane->commit_op.op.u.commit;
    *op = (struct log_commit_op){.owner = lane->owner_op.op.u.owner.ret_id,
                                 .incarnation = lane->owner_op.op.u.owner.ret_incarnation,
                                 .sequence = lane->sequence + 1};
    err = err == ERR_OK ? commit_seal(lane->filling, op, &info) : err;
    if (err != ERR_OK) {
        info.code = err;
        lane_broken(lane, &info);
        return;
    }
    CRASHPOINT("commit.sealed");
    lane->sequence++;
    for (int32_t i = 0; i < lane->filling->claim_count; i++) {
        struct partition *part = lane->filling->parts[i].part;
        part->claimed = false;
        part->in_flight = true;
    }
    lane->flying = lane->filling;
    lane->filling = lane->filling == &lane->commits[0] ? &lane->commits[1] : &lane->commits[0];
    lane->flown_ns = lane->now_ns;
    lane->resend_backoff_ns = 0;
    lane->figures.commit_bytes += lane->flying->bytes;
    submit_commit(lane);
}

void lane_seal_if_due(struct lane *lane)
{
    if (lane->flying != NULL) {
        if (lane->resend_ns <= lane->now_ns) {
            submit_commit(lane);
        }
        return;
    }
    if (lane->reset_wanted) {
        if (!lane->checkpoint_op.in_flight) {
            lane_reset(lane);
        }
        return;
    }
    if (lane->owner == OWNER_KNOWN && has_content(lane) &&
        (lane->commit_due_ns <= lane->now_ns || lane_commit_full(lane))) {
        seal(lane);
    }
}

/* --- completion --- */

/* The first floor of a start tells all that the stage reads: the file may have given it another stream, and it has committed
 * by that now. */
static void name_reads(const struct partition *part, struct log_floor_op *floor)
{
    static_assert(COUNT_OF(floor->reads) == FLOOR_INPUTS, "a place for each input");
    floor->read_count = part->floors->input_count;
    for (int32_t i = 0; i < floor->read_count; i++) {
        floor->reads[i] = stage_shard(part->stage->inputs[i], part->place.shard);
    }
}

static void submit_floor(struct lane *lane, const struct partition *part, int32_t input,
                         int64_t lowest)
{
    for (int i = 0; i < LANE_FLOOR_OPS; i++) {
        struct lane_op *op = &lane->floor_ops[i];
        if (op->in_flight) {
            continue;
        }
        op->op.u.floor = (struct log_floor_op){
            .shard = stage_shard(part->stage->inputs[input], part->place.shard),
            .reader = stage_shard(part->stage->changelog, part->place.shard).v,
            .offset = lowest,
        };
        if (atomic_load_explicit(&part->floors->submitted[input], memory_order_relaxed) == 0) {
            name_reads(part, &op->op.u.floor);
        }
        atomic_store_explicit(&part->floors->submitted[input], lowest, memory_order_relaxed);
        CRASHPOINT("commit.floor");
        lane_submit(lane, op, LOG_OP_FLOOR);
        return;
    }
}

static void report_floors(struct lane *lane, const struct partition *part)
{
    if (part->floors == NULL) {
        return;
    }
    for (int32_t i = 0; i < part->floors->input_count; i++) {
        floor_set_report(part->floors, part->floor_slot, i, part->committed[i]);
    }
    if (!floor_set_turn(part->floors, lane->now_ns, lane->tuning.floor_interval_ns)) {
        return;
    }
    for (int32_t i = 0; i < part->floors->input_count; i++) {
        int64_t lowest = floor_set_lowest(part->floors, i);
        if (lowest > atomic_load_explicit(&part->floors->submitted[i], memory_order_relaxed)) {
            submit_floor(lane, part, i, lowest);
        }
    }
}

/* How far the claim's partition has come, and whether it took longer than its pipeline's objective. */
static void take_claim(const struct lane *lane, const struct commit_claim *claim)
{
    struct partition *part = claim->part;
    int64_t passed = 0, age_ns = 0;
    for (int32_t k = 0; k < part->stage->plan->input_count; k++) {
        bool began = part->committed[k] >= 0 && part->shards[k] != NULL;
        if (began && claim->offset[k] > part->committed[k]) {
            int64_t age = lane_shard_lag_ns(part->shards[k], part->committed[k], lane->now_ns);
            age_ns = age > age_ns ? age : age_ns;
            passed += claim->offset[k] - part->committed[k];
        }
        part->committed[k] = claim->offset[k];
    }
    const struct pipeline_plan *plan =
        atomic_load_explicit(&part->stage->pipeline->plan, memory_order_acquire);
    part->figures.committed += passed;
    part->figures.committed_late += age_ns > plan->objective_ns ? passed : 0;
}

static void committed(struct lane *lane)
{
    struct commit *commit = lane->flying;
    CRASHPOINT("commit.acknowledged");
    for (int32_t i = 0; i < commit->claim_count; i++) {
        struct commit_claim *claim = &commit->parts[i];
        claim->part->in_flight = false;
        claim->part->figures.commits++;
        take_claim(lane, claim);
        lane_note_ended(lane, claim->part);
        report_floors(lane, claim->part);
    }
    submit_checkpoint(lane);
    int64_t took = lane->now_ns - lane->flown_ns;
    lane->figures.commits++;
    lane->figures.commit_ns =
        lane->figures.commit_ns == 0 ? took : (7 * lane->figures.commit_ns + took) / 8;
    lane->flying = NULL;
    commit_reset(commit);
}

static void fenced(struct lane *lane, int32_t claim)
{
    const struct log_op *op = &lane->commit_op.op;
    struct commit *commit = lane->flying;
    lane->flying = NULL;
    if (claim < 0 || claim >= commit->claim_count) {
        lane_broken(lane, &op->info);
        atomic_store_explicit(&lane->status.state, LANE_FENCED, memory_order_release);
        return;
    }
    struct partition *part = commit->parts[claim].part;
    commit_reset(commit);
    lane->dump_claim = -1;
    lane->reset_wanted = true;
    IGNORE_RESULT(snprintf(part->problem, sizeof(part->problem), "fenced: %.200s",
                           op->info.text)); /* may be cut */
    if (part->state == PARTITION_RUNNING || part->state == PARTITION_STALLED) {
        lane_set_state(lane, part, PARTITION_CLOSED);
    }
}

void lane_commit_done(struct lane *lane)
{
    const struct log_op *op = &lane->commit_op.op;
    if (op->err == ERR_OK) {
        committed(lane);
    } else if (op->err == ERR_FENCED) {
        fenced(lane, op->u.commit.ret_fenced_claim);
    } else if (err_may_retry(op->err)) {
        lane->commit_op.op.u.commit.sequence +=
            PLANTED(AGAIN_AS_NEW) && lane->sequence == lane->commit_op.op.u.commit.sequence;
        int64_t most = INT64_C(1000000000);
        lane->resend_backoff_ns = lane->resend_backoff_ns == 0 ? lane->tuning.again_backoff_ns
                                                               : 2 * lane->resend_backoff_ns;
        lane->resend_backoff_ns = lane->resend_backoff_ns < most ? lane->resend_backoff_ns : most;
        lane->resend_ns = lane->now_ns + lane->resend_backoff_ns;
        lane->figures.commit_again++;
    } else {
        struct err_info info = op->info;
        info.code = op->err;
        lane_broken(lane, &info);
    }
}

/* --- sizes of internal streams that stages of this lane write --- */

enum { SIZE_POLL_NS = 200000000 };

static bool size_bounded(const struct lane *lane, int32_t stage)
{
    const struct stage *s = lane->options.stages[stage];
    return s->plan->key_by && s->output != NULL && s->plan->internal_bytes_max > 0;
}

static void poll_size(struct lane *lane)
{
    const struct stage *stage = lane->options.stages[lane->size_stage];
    lane->size_op.op.u.shard =
        (struct log_shard_op){.shard = stage_shard(stage->output, (uint32_t)lane->size_shard)};
    lane_submit(lane, &lane->size_op, LOG_OP_SHARD_GET);
}

int64_t lane_poll_sizes(struct lane *lane)
{
    if (lane->options.shadows || lane->size_op.in_flight ||
        lane->state_count[PARTITION_RUNNING] + lane->state_count[PARTITION_STALLED] == 0) {
        return CLOCK_NEVER;
    }
    if (lane->now_ns < lane->size_ns) {
        return lane->size_ns;
    }
    for (int32_t i = 0; i < lane->options.stage_count; i++) {
        lane->size_stage = (lane->size_stage + 1) % lane->options.stage_count;
        if (size_bounded(lane, lane->size_stage)) {
            lane->size_shard = 0;
            lane->size_largest = 0;
            poll_size(lane);
            return CLOCK_NEVER;
        }
    }
    lane->size_ns = CLOCK_NEVER; /* none is bounded */
    return CLOCK_NEVER;
}

void lane_size_done(struct lane *lane)
{
    const struct log_op *op = &lane->size_op.op;
    const struct stage *stage = lane->options.stages[lane->size_stage];
    if (op->err == ERR_OK && op->u.shard.ret_info.size_bytes > lane->size_largest) {
        lane->size_largest = op->u.shard.ret_info.size_bytes;
    }
    if (++lane->size_shard < stage->output->info.config.shard_count) {
        poll_size(lane);
        return;
    }
    atomic_store_explicit(&stage->output->largest_shard_bytes, lane->size_largest,
                          memory_order_relaxed);
    lane->size_ns = lane->now_ns + SIZE_POLL_NS;
}
