// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "base/check.h"
#include "base/crashpoint.h"
#include "base/mem.h"
#include "node/handover.h"
#include "node/lane_priv.h"
#include "node/shadow_part.h"

/* Coming and going of partitions. A primary's key-group range is fenced below its epoch first, so that nothing an older
 * owner still has on the way can land behind what the restore reads; then its changelog is read back, or what its owners
 * of before handed over is put in. A shadow only reads. */

/* --- owner --- */

static void ask_owner(struct lane *lane)
{
    struct log_owner_op *owner = &lane->owner_op.op.u.owner;
    *owner = (struct log_owner_op){0};
    IGNORE_RESULT(snprintf(owner->name, sizeof(owner->name), "%u.%u", lane->options.node,
                           lane->options.lane)); /* two numbers fit */
    lane->owner = OWNER_ASKING;
    lane_submit(lane, &lane->owner_op, LOG_OP_OWNER_INIT);
}

static void lane_failed(struct lane *lane, const struct err_info *info)
{
    lane->problem = *info;
    atomic_store_explicit(&lane->status.state, LANE_FAILED, memory_order_release);
}

void lane_owner_done(struct lane *lane)
{
    const struct log_op *op = &lane->owner_op.op;
    if (op->err == ERR_OK) {
        lane->owner = OWNER_KNOWN;
        lane->sequence = 0;
    } else if (err_may_retry(op->err)) {
        lane->owner = OWNER_NONE;
        lane->owner_retry_ns = lane->now_ns + lane->tuning.retry_backoff_ns;
    } else {
        lane->owner = OWNER_NONE;
        lane_failed(lane, &op->info);
    }
}

/* --- opening --- */

struct partition *lane_find(struct lane *lane, int32_t stage, uint32_t shard, uint32_t group_lo)
{
    for (struct partition *part = lane->parts; part != NULL; part = part->next) {
        if (part->stage->index == stage && part->place.shard == shard &&
            part->place.group_lo == group_lo) {
            return part;
        }
    }
    return NULL;
}

static void add_partition(struct lane *lane, struct partition *part)
{
    struct err_info info = {0};
    part->lookup_tables = lane_tables(lane, part->stage->index);
    part->next = lane->parts;
    lane->parts = part;
    lane->state_count[PARTITION_OPENING]++;
    if (lane_attach(lane, part, &info) != ERR_OK) {
        lane_fail_partition(lane, part, &info);
        return;
    }
    queue_push(&lane->to_open, part);
}

void lane_open_partition(struct lane *lane, struct lane_command *command)
{
    const struct lane_open *open = &command->u.open;
    struct err_info info = {0};
    CHECK(open->stage >= 0 && open->stage < lane->options.stage_count && !lane->options.shadows);
    if (atomic_load_explicit(&lane->status.state, memory_order_relaxed) != LANE_RUNNING) {
        lane_answer(lane, command, err_set(&info, ERR_CLOSED, "the lane is stopping or has failed"),
                    &info);
        return;
    }
    DCHECK(lane_find(lane, open->stage, open->place.shard, open->place.group_lo) ==
           NULL); /* the map has each once */
    struct partition *part = partition_new(lane->options.stages[open->stage], &open->place);
    part->floors = open->floors;
    part->floor_slot = open->floor_slot;
    part->opening = command;
    add_partition(lane, part);
}

void lane_add_shadow(struct lane *lane, struct partition *part)
{
    CHECK(lane->options.shadows && part->shadow != NULL);
    part->cut_each = false;
    add_partition(lane, part);
}

static void start_restore(struct opening *opening)
{
    struct partition *part = opening->part;
    opening->state = OPENING_RESTORING;
    restore_start(&opening->restore, stage_shard(part->stage->changelog, part->place.shard),
                  part->place.group_lo, part->place.group_hi, part->restore_at);
}

static void opening_free(struct opening *opening)
{
    opening->state = OPENING_FREE;
    opening->running = false;
    opening->part = NULL;
}

static void opening_failed(struct lane *lane, struct opening *opening, enum err err,
                           const struct err_info *info)
{
    struct partition *part = opening->part;
    if (err_may_retry(err)) {
        int64_t most = INT64_C(5000000000);
        opening->backoff_ns =
            opening->backoff_ns == 0 ? lane->tuning.again_backoff_ns : 2 * opening->backoff_ns;
        opening->backoff_ns = opening->backoff_ns < most ? opening->backoff_ns : most;
        opening->retry_ns = lane->now_ns + opening->backoff_ns;
        opening->state = OPENING_WAITING;
        lane_clear_partition(lane, part);
        return;
    }
    struct err_info told = *info;
    told.code = err;
    lane_fail_partition(lane, part, &told);
    opening_free(opening);
}

/* It runs: whoever asked is told. */
static void partition_opened(struct lane *lane, struct partition *part)
{
    lane_count(lane, part);
    if (part->opening != NULL) {
        part->opening->u.open.ret_ns = lane->now_ns;
        lane_answer(lane, part->opening, ERR_OK, NULL);
        part->opening = NULL;
    }
    if (part->shadow == NULL && partition_has_news(part)) {
        lane_dirty(lane, part);
    }
    if (part->tick_ns < lane->tick_ns) {
        lane->tick_ns = part->tick_ns;
    }
    lane_ready(lane, part);
}

static void opening_ready(struct lane *lane, struct opening *opening)
{
    struct partition *part = opening->part;
    struct err_info info = {0};
    part->restore_at = opening->restore.at;
    enum err err = partition_begin(part, lane->now_ns, &info);
    if (err != ERR_OK) {
        opening_failed(lane, opening, err, &info);
        return;
    }
    opening_free(opening);
    partition_opened(lane, part);
}

static void fence(struct lane *lane, struct opening *opening, const struct partition *part)
{
    opening->state = OPENING_FENCING;
    opening->op.op.u.fence =
        (struct log_fence_op){.changelog = stage_shard(part->stage->changelog, part->place.shard),
                              .group_lo = part->place.group_lo,
                              .group_hi = part->place.group_hi,
                              .epoch = part->place.epoch};
    lane_submit(lane, &opening->op, LOG_OP_RANGE_FENCE);
}

/* From what its owners of before left. They have stopped and all they did is committed, so nothing has to be waited for: the
 * fence, which keeps out who does not know that he is dead, is on its way. */
static void open_handed_over(struct lane *lane, struct opening *opening)
{
    struct partition *part = opening->part;
    struct handover *hand = part->opening->u.open.hand;
    struct err_info info = {0};
    enum err err = partition_adopt(part, hand, &info);
    err = err == ERR_OK ? partition_begin(part, lane->now_ns, &info) : err;
    if (err != ERR_OK) {
        opening_failed(lane, opening, err, &info);
        return;
    }
    part->opening->u.open.hand = NULL;
    handover_free(hand);
    CRASHPOINT("lane.open.attached");
    opening->running = true;
    fence(lane, opening, part);
    partition_opened(lane, part);
}

static void start_opening(struct lane *lane, struct opening *opening)
{
    if (opening->running) { /* its fence once more */
        opening->state = OPENING_FENCING;
        lane_submit(lane, &opening->op, LOG_OP_RANGE_FENCE);
        return;
    }
    struct partition *part = opening->part;
    opening->op.op.done = &lane->done;
    lane->buffers_held = true;
    if (part->shadow != NULL) {
        opening->op.in_flight = true;
        start_restore(opening);
        return;
    }
    if (part->opening != NULL && part->opening->u.open.hand != NULL) {
        open_handed_over(lane, opening);
        return;
    }
    fence(lane, opening, part);
}

static bool owner_needed(struct lane *lane, const struct partition *part)
{
    if (part->shadow != NULL || lane->owner == OWNER_KNOWN) {
        return false;
    }
    if (lane->owner == OWNER_NONE && lane->now_ns >= lane->owner_retry_ns) {
        ask_owner(lane);
    }
    return true;
}

/* All of them only while something waits for one. */
static int32_t openings_to_see(const struct lane *lane)
{
    return lane->to_open.first != NULL ? lane->tuning.opens : lane->openings_used;
}

int64_t lane_advance_openings(struct lane *lane)
{
    int64_t next = CLOCK_NEVER;
    int32_t used = 0;
    for (int32_t i = 0; i < openings_to_see(lane); i++) {
        struct opening *opening = &lane->openings[i];
        if (opening->state == OPENING_WAITING && lane->now_ns >= opening->retry_ns) {
            start_opening(lane, opening);
        }
        if (opening->state == OPENING_WAITING) {
            next = opening->retry_ns < next ? opening->retry_ns : next;
        }
        used = opening->state != OPENING_FREE ? i + 1 : used;
        if (opening->state != OPENING_FREE || lane->to_open.first == NULL || lane->reset_wanted ||
            atomic_load_explicit(&lane->status.state, memory_order_relaxed) != LANE_RUNNING) {
            continue;
        }
        if (owner_needed(lane, lane->to_open.first)) {
            lane->openings_used = used > lane->openings_used ? used : lane->openings_used;
            return lane->owner == OWNER_NONE && lane->owner_retry_ns < next ? lane->owner_retry_ns
                                                                            : next;
        }
        opening->part = queue_pop(&lane->to_open);
        opening->backoff_ns = 0;
        start_opening(lane, opening);
        used = i + 1;
    }
    lane->openings_used = used;
    return next;
}

bool lane_opening_busy(const struct lane *lane)
{
    for (int32_t i = 0; i < lane->openings_used; i++) {
        if (lane->openings[i].state != OPENING_FREE) {
            return true;
        }
    }
    return lane->owner == OWNER_ASKING;
}

void lane_release_openings(struct lane *lane)
{
    lane->buffers_held &= lane->state_count[PARTITION_OPENING] > 0;
    for (int32_t i = 0; lane->state_count[PARTITION_OPENING] == 0 && i < lane->tuning.opens; i++) {
        struct opening *slot = &lane->openings[i];
        if (slot->state != OPENING_FREE) {
            lane->buffers_held = true; /* of a shadow that was dropped: its op is still out */
        } else if (slot->restore.buf != NULL) {
            restore_release(&slot->restore);
            restore_init(&slot->restore, lane->options.log, &slot->op.op);
        }
    }
}

static void apply_entries(struct opening *opening)
{
    struct restore *restore = &opening->restore;
    struct restore_entry entries[STATE_APPLY_MAX];
    int32_t count;
    struct err_info info = {0};
    enum err err;
    while ((err = restore_entries(restore, entries, STATE_APPLY_MAX, &count, &info)) == ERR_OK) {
        err = partition_restore(opening->part, entries, count, &info);
        if (err != ERR_OK) {
            break;
        }
    }
    if (err == ERR_NOT_FOUND) {
        restore_more(restore);
        return;
    }
    info.code = err;
    restore_fail(restore, &info);
}

/* The partition failed with its lane while it was being opened. */
static bool given_up(struct lane *lane, struct opening *opening)
{
    if (opening->part->state == PARTITION_OPENING) {
        return false;
    }
    lane_clear_partition(lane, opening->part);
    opening_free(opening);
    return true;
}

/* Of a partition that runs already. What cannot be fenced for good cannot be committed either: that will tell. */
static void running_fenced(struct lane *lane, struct opening *opening)
{
    CRASHPOINT("lane.open.fenced");
    if (!err_may_retry(opening->op.op.err)) {
        opening_free(opening);
        return;
    }
    opening->retry_ns = lane->now_ns + lane->tuning.again_backoff_ns;
    opening->state = OPENING_WAITING;
}

void lane_opening_done(struct lane *lane, struct opening *opening)
{
    struct log_op *op = &opening->op.op;
    if (opening->state == OPENING_FENCING) {
        if (opening->running) {
            running_fenced(lane, opening);
            return;
        }
        if (given_up(lane, opening)) {
            return;
        }
        if (op->err != ERR_OK) {
            opening_failed(lane, opening, op->err, &op->info);
            return;
        }
        CRASHPOINT("lane.open.fenced");
        opening->op.in_flight = true;
        start_restore(opening);
        return;
    }
    CHECK(opening->state == OPENING_RESTORING);
    struct restore *restore = &opening->restore;
    restore_completed(restore);
    opening->op.in_flight = restore->state != RESTORE_ENTRIES && restore->state != RESTORE_DONE;
    if (restore->state == RESTORE_ENTRIES) {
        opening->op.in_flight = true; /* either way something is submitted */
        apply_entries(opening);
    } else if (restore->state == RESTORE_DONE && given_up(lane, opening)) {
        return;
    } else if (restore->state == RESTORE_DONE && restore->err != ERR_OK) {
        opening_failed(lane, opening, restore->err, &restore->info);
    } else if (restore->state == RESTORE_DONE) {
        opening_ready(lane, opening);
    }
}

void lane_refuse_queued(struct lane *lane)
{
    struct err_info info = {0};
    IGNORE_RESULT(err_set(&info, ERR_CLOSED, "the lane is stopping")); /* told */
    for (struct partition *part; (part = queue_pop(&lane->to_open)) != NULL;) {
        if (part->opening != NULL) {
            lane_answer(lane, part->opening, ERR_CLOSED, &info);
            part->opening = NULL;
        }
    }
}

void lane_refuse_closings(struct lane *lane)
{
    struct err_info info = {0};
    IGNORE_RESULT(err_set(&info, ERR_CLOSED, "the lane has stopped")); /* told */
    for (struct partition *part = lane->parts; part != NULL; part = part->next) {
        if (part->closing != NULL) { /* it was not open yet */
            lane->closings--;
            lane_answer(lane, part->closing, ERR_CLOSED, &info);
            part->closing = NULL;
        }
    }
}

/* --- closing --- */

static void remove_partition(struct lane *lane, struct partition *part)
{
    CRASHPOINT("lane.close.after");
    struct partition **at = &lane->parts;
    while (*at != part) {
        at = &(*at)->next;
    }
    *at = part->next;
    if (lane->to_open.first != NULL) {
        queue_remove(&lane->to_open, part); /* the lane failed before its turn came */
    }
    struct lane_command *closing = part->closing;
    if (closing != NULL && part->movable && closing->u.open.want_hand) {
        closing->u.open.hand = partition_export(part);
    }
    if (part->shadow != NULL) {
        shadow_part_gone(part->shadow, part);
    }
    lane_clear_partition(lane, part);
    lane_detach(lane, part);
    lane->state_count[part->counted]--;
    lane->ended -= part->counted_ended;
    partition_free(part);
    atomic_store_explicit(&lane->status.ended, lane->ended, memory_order_release);
    if (closing != NULL) {
        lane->closings--;
        lane_answer(lane, closing, ERR_OK, NULL);
    }
}

/* It does nothing more: what is not committed yet is in the commit that is next. */
static void stop_working(struct lane *lane, struct partition *part)
{
    part->movable = partition_may_move(part);
    part->closing->u.open.ret_ns = lane->now_ns;
    if (part->ready) { /* its turn may be far off, when the lane is at its capacity */
        queue_remove(&lane->ready, part);
        part->ready = false;
    }
    lane_set_state(lane, part, PARTITION_CLOSING);
    CRASHPOINT("lane.close.before");
}

/* A merge's other half stands farther on, and nothing keeps this one from coming there too. */
static bool is_behind(const struct partition *part)
{
    const struct lane_open *close = &part->closing->u.open;
    return part->state == PARTITION_RUNNING &&
           (part->views[0].position.next_offset < close->until[0] ||
            part->views[1].position.next_offset < close->until[1]);
}

/* Whether it is the moment to stop. While a commit is in flight nothing of the next can leave, so it works on until that one
 * is sealed: then all it ever did is on its way, and its successor waits for one commit, not for two. */
static bool should_stop(const struct lane *lane, const struct partition *part)
{
    if (part->closing == NULL || part->state == PARTITION_CLOSING ||
        part->state == PARTITION_OPENING || is_behind(part)) {
        return false;
    }
    return part->state != PARTITION_RUNNING || lane->flying == NULL ||
           (!part->dirty && !part->claimed);
}

void lane_close_partition(struct lane *lane, struct lane_command *command)
{
    struct partition *part = lane_find(lane, command->u.open.stage, command->u.open.place.shard,
                                       command->u.open.place.group_lo);
    struct err_info info = {0};
    if (part == NULL) {
        lane_answer(lane, command, err_set(&info, ERR_NOT_FOUND, "it is not open on this lane"),
                    &info);
        return;
    }
    CHECK(part->closing == NULL);
    part->closing = command;
    lane->closings++;
    command->u.open.ret_ns = 0;
    command->u.open.hand = NULL;
    if (should_stop(lane, part)) {
        stop_working(lane, part);
    }
    if (part->dirty || part->claimed) {
        lane->commit_due_ns = lane->now_ns;
    }
}

/* The slot that opens it, or NULL. */
static struct opening *slot_of(struct lane *lane, const struct partition *part)
{
    for (int32_t i = 0; i < lane->openings_used; i++) {
        if (lane->openings[i].state != OPENING_FREE && lane->openings[i].part == part) {
            return &lane->openings[i];
        }
    }
    return NULL;
}

void lane_drop_shadow(struct lane *lane, struct partition *part)
{
    CHECK(part->shadow != NULL);
    if (part->ready) {
        queue_remove(&lane->ready, part);
        part->ready = false;
    }
    queue_remove(&lane->to_open, part);
    struct opening *slot = slot_of(lane, part);
    if (slot != NULL && slot->state == OPENING_WAITING) {
        opening_free(slot);
    }
    /* A slot that restores it gives it up when its op is back: until then it stays. */
    lane_set_state(lane, part, PARTITION_CLOSING);
}

/* All it did is committed, or thrown away with its lane's commit. */
static bool may_go(const struct partition *part)
{
    return part->state == PARTITION_CLOSING && !part->ready && !part->dirty && !part->claimed &&
           !part->in_flight;
}

/* Whether a slot still has an op out that is for it: the slot gives it up when that is back. One that waits to try again does so
 * at once, and what is left of one whose partition runs is a fence that needs nothing of it. */
static bool opens_still(struct lane *lane, const struct partition *part)
{
    struct opening *slot = slot_of(lane, part);
    if (slot == NULL || slot->running) {
        return false;
    }
    if (slot->state == OPENING_WAITING) {
        opening_free(slot);
        return false;
    }
    return true;
}

void lane_close_ready(struct lane *lane)
{
    if (lane->closings == 0 && lane->state_count[PARTITION_CLOSING] == 0) {
        return;
    }
    for (struct partition *part = lane->parts; part != NULL;) {
        struct partition *next = part->next;
        if (should_stop(lane, part)) {
            stop_working(lane, part);
        }
        if (may_go(part) && !opens_still(lane, part)) {
            remove_partition(lane, part);
        }
        part = next;
    }
}

/* --- reset: what the commit being filled holds cannot be committed; all begin again at their last commits --- */

void lane_reset(struct lane *lane)
{
    CHECK(lane->flying == NULL);
    lane->reset_wanted = false;
    for (struct partition *part; (part = queue_pop(&lane->ready)) != NULL;) {
        part->ready = false;
    }
    for (struct partition *part = lane->parts; part != NULL; part = part->next) {
        part->in_flight = part->dirty = false;
        if (part->state == PARTITION_OPENING) {
            continue;
        }
        lane_clear_partition(lane, part);
        if (part->state == PARTITION_RUNNING || part->state == PARTITION_STALLED) {
            lane_set_state(lane, part, PARTITION_OPENING);
            queue_push(&lane->to_open, part);
        }
    }
    lane->dirty = NULL;
    commit_reset(lane->filling);
    lane->commit_due_ns = CLOCK_NEVER;
    lane->dump_claim = -1;
    lane->owner = OWNER_NONE; /* a new incarnation, so that sequences begin anew */
    lane->owner_retry_ns = lane->now_ns;
}
