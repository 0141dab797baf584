// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/mem.h"
#include "node/lane_priv.h"

enum { READ_GROWTH = 4 };

/* Input shards: one reader and one read in flight for each, whoever on this lane reads it; what was read is decoded into
 * the lane's cache and found there by all views near it. */

int64_t lane_shard_end(const struct lane_shard *shard)
{
    return shard->end_offset;
}

struct decode_shard *lane_shard_entries(struct lane_shard *shard)
{
    return &shard->entries;
}

const struct decode_rules *lane_shard_rules(const struct lane_shard *shard)
{
    return &shard->rules;
}

static struct lane_shard *shard_get(struct lane *lane, const struct stage_stream *stream,
                                    struct shard_id id, struct err_info *info)
{
    for (struct lane_shard *shard = lane->shards; shard != NULL; shard = shard->next) {
        if (shard->id.v == id.v) {
            shard->stream = stream; /* the one before may be gone: a queue's goes with its shadow */
            return shard;
        }
    }
    enum err err = lane->options.shadows ? ERR_OK : log_watch(lane->options.log, id, &lane->waker);
    if (err != ERR_OK) {
        IGNORE_RESULT(err_set(info, err, "shard %u of %s cannot be watched", id.v,
                              stream->info.config.name)); /* told by the NULL */
        return NULL;
    }
    struct lane_shard *shard = MEM_NEW(struct lane_shard);
    *shard = (struct lane_shard){
        .next = lane->shards,
        .id = id,
        .stream = stream,
        .rules = {.internal = stream->spec->internal, .time_field = stream->spec->time_field},
        .read_bytes = lane->tuning.read_bytes,
        .moved_ns = lane->now_ns,
        .tick_ns = CLOCK_NEVER,
        .want_high = -1,
    };
    shard->end_offset = log_end_offset(lane->options.log, id);
    shard->rate_end = shard->end_offset;
    shard->ages[shard->age_count++] =
        (struct shard_age){.end_offset = shard->end_offset, .seen_ns = lane->now_ns};
    lane->shards = shard;
    return shard;
}

/* A lane may watch a thousand shards: they are gone through when one is due, not in each step. */
static void shard_due(struct lane *lane, int64_t at_ns)
{
    lane->shards_due_ns = at_ns < lane->shards_due_ns ? at_ns : lane->shards_due_ns;
}

static void schedule_tick(struct lane *lane, struct lane_shard *shard)
{
    int64_t after = shard->stream->spec->idle_after_ns;
    if (after == CLOCK_NEVER || after <= 0 || shard->rules.internal) {
        shard->tick_ns = CLOCK_NEVER;
    } else {
        shard->tick_ns = lane->now_ns + after;
        shard_due(lane, shard->tick_ns);
    }
}

enum err lane_attach(struct lane *lane, struct partition *part, struct err_info *info)
{
    for (int32_t i = 0; i < part->stage->plan->input_count; i++) {
        const struct stage_stream *stream = part->stage->inputs[i];
        struct lane_shard *shard =
            shard_get(lane, stream, stage_shard(stream, part->place.shard), info);
        if (shard == NULL) {
            return ERR_LIMIT;
        }
        if (shard->reader_count == shard->reader_cap) {
            shard->reader_cap = shard->reader_cap == 0 ? 4 : 2 * shard->reader_cap;
            shard->readers =
                mem_resize(shard->readers, shard->reader_cap, (ptrdiff_t)sizeof(shard->readers[0]));
        }
        shard->readers[shard->reader_count].part = part;
        shard->readers[shard->reader_count++].input = i;
        part->shards[i] = shard;
        schedule_tick(lane, shard);
    }
    return ERR_OK;
}

void lane_detach(struct lane *lane, struct partition *part)
{
    (void)lane; /* its shards stay watched, as others are likely to come; but they do not tick */
    for (int32_t i = 0; i < part->stage->plan->input_count; i++) {
        struct lane_shard *shard = part->shards[i];
        for (int32_t k = 0; shard != NULL && k < shard->reader_count; k++) {
            if (shard->readers[k].part == part && shard->readers[k].input == i) {
                shard->readers[k] = shard->readers[--shard->reader_count];
                shard->tick_ns = shard->reader_count == 0 ? CLOCK_NEVER : shard->tick_ns;
                break;
            }
        }
        part->shards[i] = NULL;
    }
}

/* Each in turn is the first, and of any two each is before the other as often as behind it: who takes a batch first brings
 * it into the caches for the others, and twins are compared. */
static void wake_readers(struct lane *lane, struct lane_shard *shard)
{
    uint32_t count = (uint32_t)shard->reader_count;
    uint32_t wakes = lane->options.shadows ? shard->wake_count++ : 0;
    uint32_t stride = wakes % 2 == 0 ? 1 : count - 1; /* onwards, or backwards */
    for (uint32_t i = 0; i < count; i++) {
        lane_ready(lane, shard->readers[(wakes / 2 + i * stride) % count].part);
    }
}

static void note_age(struct lane_shard *shard, int64_t now_ns)
{
    if (shard->age_count == SHARD_AGES) {
        for (int32_t i = 1; i < SHARD_AGES / 2; i++) {
            shard->ages[i] = shard->ages[2 * i];
        }
        shard->age_count = SHARD_AGES / 2;
    }
    shard->ages[shard->age_count++] =
        (struct shard_age){.end_offset = shard->end_offset, .seen_ns = now_ns};
}

int64_t lane_shard_lag_ns(const struct lane_shard *shard, int64_t committed, int64_t now_ns)
{
    if (committed >= shard->end_offset) {
        return 0;
    }
    for (int32_t i = 0; i < shard->age_count; i++) {
        if (shard->ages[i].end_offset > committed) {
            return now_ns - shard->ages[i].seen_ns;
        }
    }
    return 0;
}

void lane_look_at_shards(struct lane *lane)
{
    int64_t moves = log_moves(lane->options.log);
    if (moves != 0 && moves == lane->log_moves) {
        return;
    }
    lane->log_moves = moves;
    for (struct lane_shard *shard = lane->shards; shard != NULL; shard = shard->next) {
        int64_t end = log_end_offset(lane->options.log, shard->id);
        if (end == shard->end_offset) {
            continue;
        }
        shard->end_offset = end;
        shard->moved_ns = lane->now_ns;
        note_age(shard, lane->now_ns);
        /* Without readers its stream may be gone, too: a queue's goes with its shadow. */
        if (shard->reader_count > 0) {
            schedule_tick(lane, shard);
            wake_readers(lane, shard);
        }
    }
}

void lane_want(struct lane *lane, struct lane_shard *shard, int64_t offset)
{
    if (shard->reading != NULL || lane->now_ns < shard->retry_ns) {
        return; /* its completion, or the retry, makes all readers of the shard ready */
    }
    if (shard->want_high < 0) {
        shard->want_low = shard->want_high = offset;
        shard->next_wanting = lane->wanting;
        lane->wanting = shard;
        return;
    }
    shard->want_low = offset < shard->want_low ? offset : shard->want_low;
    shard->want_high = offset > shard->want_high ? offset : shard->want_high;
}

/* The lowest offset that a view of the shard still wants. */
static int64_t lowest_wanted(const struct lane_shard *shard)
{
    int64_t lowest = INT64_MAX;
    for (int32_t i = 0; i < shard->reader_count; i++) {
        const struct partition *part = shard->readers[i].part;
        if (part->state == PARTITION_RUNNING || part->state == PARTITION_STALLED) {
            int64_t at = part->views[shard->readers[i].input].position.next_offset;
            lowest = at < lowest ? at : lowest;
        }
    }
    return lowest;
}

static void submit_read(struct lane *lane, struct lane_shard *shard, int64_t offset)
{
    if (shard->read == NULL) {
        shard->read = MEM_NEW(struct lane_op);
        shard->read->role = LANE_OP_READ;
        shard->read->of = shard;
        shard->reader = log_reader_new(lane->options.log);
    }
    void *buf;
    decode_passed(&lane->cache, &shard->entries, lowest_wanted(shard));
    shard->reading = decode_begin(&lane->cache, shard->read_bytes, &buf);
    lane->reads_in_flight++;
    shard->retry_ns = 0;
    shard->read->op.u.read = (struct log_read_op){.reader = shard->reader,
                                                  .shard = shard->id,
                                                  .offset = offset,
                                                  .buf = buf,
                                                  .cap = shard->read_bytes};
    lane_submit(lane, shard->read, LOG_OP_READ);
}

void lane_submit_reads(struct lane *lane)
{
    while (lane->wanting != NULL) {
        struct lane_shard *shard = lane->wanting;
        lane->wanting = shard->next_wanting;
        /* Views that drifted apart read everything once for each of them. Those behind are served more often, so that
         * they come together again; those ahead never starve. */
        bool ahead = ++shard->read_count % 4 == 0;
        int64_t offset = ahead ? shard->want_high : shard->want_low;
        shard->want_high = -1;
        submit_read(lane, shard, offset);
    }
}

/* The log does not have `offset` any more: views that never committed begin where it now begins. */
static void reader_behind(struct lane *lane, struct lane_shard *shard, const struct log_op *op)
{
    for (int32_t i = shard->reader_count - 1; i >= 0; i--) {
        struct partition *part = shard->readers[i].part;
        if (part->state != PARTITION_RUNNING && part->state != PARTITION_STALLED) {
            continue;
        }
        struct view *view = &part->views[shard->readers[i].input];
        if (view->position.next_offset >= op->u.read.ret_start_offset) {
            continue;
        }
        if (view->fresh) {
            view_begin_at(view, op->u.read.ret_start_offset);
            continue;
        }
        if (part->shadow != NULL) {
            part->behind = part->held = true;
            continue;
        }
        struct err_info info;
        IGNORE_RESULT(
            err_set(&info, ERR_NEEDS_OPERATOR,
                    "offset %lld of %s was trimmed before it was read; the shard begins at %lld",
                    (long long)view->position.next_offset, shard->stream->info.config.name,
                    (long long)op->u.read.ret_start_offset)); /* told to the partition */
        lane_fail_partition(lane, part, &info);
    }
}

static void fail_readers(struct lane *lane, struct lane_shard *shard, const struct log_op *op)
{
    for (int32_t i = shard->reader_count - 1; i >= 0; i--) {
        struct partition *part = shard->readers[i].part;
        if ((part->state == PARTITION_RUNNING || part->state == PARTITION_STALLED) &&
            part->views[shard->readers[i].input].position.next_offset >= op->u.read.offset) {
            lane_fail_partition(lane, part, &op->info);
        }
    }
}

void lane_read_done(struct lane *lane, struct lane_shard *shard)
{
    struct log_op *op = &shard->read->op;
    struct decoded *entry = shard->reading;
    shard->reading = NULL;
    lane->reads_in_flight--;
    if (op->err == ERR_OK && op->u.read.ret_next_offset > op->u.read.offset) {
        if (decode_put(&lane->cache, &shard->entries, entry, op->u.read.ret_bytes,
                       op->u.read.offset, op->u.read.ret_next_offset, &op->info) != ERR_OK) {
            fail_readers(lane, shard, op);
            shard->read_bytes = lane->tuning.read_bytes;
        } else {
            shard->read_bytes = decode_next_read_bytes(entry, lane->tuning.read_bytes);
        }
    } else {
        decode_drop(&lane->cache, entry);
        if (op->err == ERR_LIMIT && shard->read_bytes < LOG_BATCH_BYTES_MAX) {
            /* a batch that is larger than a usual read: not at once as much as one may have */
            shard->read_bytes = shard->read_bytes < LOG_BATCH_BYTES_MAX / READ_GROWTH
                                    ? shard->read_bytes * READ_GROWTH
                                    : LOG_BATCH_BYTES_MAX;
        } else if (op->err == ERR_OFFSET_RANGE) {
            reader_behind(lane, shard, op);
        } else if (op->err == ERR_OK || err_may_retry(op->err)) {
            shard->retry_ns = lane->now_ns + lane->tuning.again_backoff_ns;
            shard_due(lane, shard->retry_ns);
        } else {
            fail_readers(lane, shard, op);
        }
    }
    wake_readers(lane, shard);
}

/* Silence as it is seen by each reader of a shard: those that have not come to its end are asked again later. */
static void tick_shard(struct lane *lane, struct lane_shard *shard)
{
    bool all = true;
    for (int32_t i = 0; i < shard->reader_count; i++) {
        struct partition *part = shard->readers[i].part;
        int32_t input = shard->readers[i].input;
        if (part->state != PARTITION_RUNNING || part->parked != NULL ||
            part->views[input].position.next_offset < shard->end_offset) {
            all = false;
            continue;
        }
        if (partition_idle(part, input)) {
            if (part->shadow == NULL) {
                lane_dirty(lane, part);
            }
            lane_ready(lane, part);
        }
    }
    shard->tick_ns = all ? CLOCK_NEVER : lane->now_ns + shard->stream->spec->idle_after_ns / 4 + 1;
}

int64_t lane_idle_ticks(struct lane *lane)
{
    if (lane->now_ns < lane->shards_due_ns) {
        return lane->shards_due_ns;
    }
    int64_t next = CLOCK_NEVER;
    for (struct lane_shard *shard = lane->shards; shard != NULL; shard = shard->next) {
        if (shard->tick_ns <= lane->now_ns) {
            tick_shard(lane, shard);
        }
        next = shard->tick_ns < next ? shard->tick_ns : next;
        if (shard->retry_ns > 0 && shard->retry_ns <= lane->now_ns) {
            shard->retry_ns = 0;
            wake_readers(lane, shard);
        }
        next = shard->retry_ns > 0 && shard->retry_ns < next ? shard->retry_ns : next;
    }
    lane->shards_due_ns = next;
    return next;
}

void lane_shards_free(struct lane *lane)
{
    lane->wanting = NULL;
    for (struct lane_shard *shard = lane->shards; shard != NULL;) {
        struct lane_shard *next = shard->next;
        if (!lane->options.shadows) {
            log_unwatch(lane->options.log, shard->id, &lane->waker);
        }
        decode_forget(&lane->cache, &shard->entries);
        if (shard->reading != NULL) {
            decode_drop(&lane->cache, shard->reading);
        }
        if (shard->reader != NULL) {
            log_reader_free(lane->options.log, shard->reader);
        }
        mem_free(shard->read);
        mem_free(shard->readers);
        mem_free(shard);
        shard = next;
    }
    lane->shards = NULL;
}
