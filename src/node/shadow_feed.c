// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "node/shadow_priv.h"

/* The queue transport: a scratch stream of one shard for each input carries the sample from the filling half (a view on the
 * primary's shards) to the reading half (the chain). It is written as internal streams are: event time as the record's
 * timestamp, late stamps and watermarks in band, so that what the chain sees is the same as through a view.
 *
 * The streams belong to the lane's slot, not to the shadow, and are used again by the slot's next one: shard numbers of a
 * log are never reused, shadows come and go. Each generation begins where its streams end.
 *
 *   appending: gathered --step--> in flight --OK--> gathered from anew
 *                                    |  ^
 *                                    +--+ AGAIN: the same bytes
 *
 * Invariants: Q1 one append of an input is in flight at a time. Q2 at most QUEUE_RECORDS_MAX records lie between the two
 * halves, at most QUEUE_BYTES_MAX wait to be appended. */

enum { QUEUE_RETENTION_BYTES = 64 << 20, NAME_ROOM = 64, QUEUE_APPEND_NS = 100000000 };

static struct queue_stream *stream_of(struct shadow_queue *feed, int32_t input)
{
    return &feed->streams[input];
}

static void name_stream(const struct shadow *shadow, int32_t input, char *buf, ptrdiff_t cap)
{
    IGNORE_RESULT(snprintf(buf, (size_t)cap, "sc.shadow.%u.%d.%d", shadow->lane->number,
                           shadow->slot, input)); /* three numbers fit */
}

void shadow_feed_init(struct shadow_queue *feed, struct shadow *shadow)
{
    *feed = (struct shadow_queue){.shadow = shadow,
                                  .streams = shadow->lane->queues[shadow->slot],
                                  .count = shadow->stage->plan->input_count};
    for (int32_t i = 0; i < feed->count; i++) {
        struct feed_queue *queue = &feed->queues[i];
        queue->feed = feed;
        record_builder_init(&queue->builder, RECORD_CODEC_NONE);
        queue->spec = (struct stream_spec){.shard_count = 1,
                                           .idle_after_ns = CLOCK_NEVER,
                                           .max_future_ms = INT64_MAX,
                                           .retention_ms = -1,
                                           .retention_bytes = QUEUE_RETENTION_BYTES,
                                           .internal = true};
        queue->op.done = &shadow->lane->log_done;
    }
}

void shadow_feed_release(struct shadow_queue *feed)
{
    for (int32_t i = 0; i < feed->count; i++) {
        CHECK(!feed->queues[i].in_flight);
        record_builder_release(&feed->queues[i].builder);
    }
}

static void submit(struct shadow_queue *feed, struct feed_queue *queue, enum log_op_kind kind)
{
    CHECK(!queue->in_flight); /* Q1 */
    queue->in_flight = true;
    queue->op.kind = kind;
    queue->op.err = ERR_OK;
    log_submit(feed->shadow->lane->log, &queue->op);
}

static void create(struct shadow_queue *feed, int32_t input)
{
    struct feed_queue *queue = &feed->queues[input];
    struct stream_config *config = &queue->op.u.stream.config;
    queue->op.u.stream =
        (struct log_stream_op){.config = {.flags = STREAM_INTERNAL | STREAM_SCRATCH,
                                          .shard_count = 1,
                                          .retention_ms = -1,
                                          .retention_bytes = QUEUE_RETENTION_BYTES}};
    name_stream(feed->shadow, input, config->name, NAME_ROOM);
    submit(feed, queue, LOG_OP_STREAM_CREATE);
}

bool shadow_feed_streams(struct shadow_queue *feed)
{
    bool all = true;
    for (int32_t i = 0; i < feed->count; i++) {
        if (!stream_of(feed, i)->known) {
            all = false;
            if (!feed->queues[i].in_flight && feed->err == ERR_OK) {
                create(feed, i);
            }
        }
    }
    return all;
}

void shadow_feed_begin(struct shadow_queue *feed)
{
    struct shadow *shadow = feed->shadow;
    feed->stage = *shadow->stage;
    for (int32_t i = 0; i < feed->count; i++) {
        struct feed_queue *queue = &feed->queues[i];
        const struct stream_info *info = &stream_of(feed, i)->info;
        CHECK(!queue->in_flight);
        record_builder_reset(&queue->builder);
        queue->spec.name = str_of(stream_of(feed, i)->info.config.name);
        queue->stream.spec = &queue->spec;
        queue->stream.info = *info;
        /* So that stage_shard() of the partition's shard number finds the stream's only shard. */
        queue->stream.info.first_shard.v -= shadow->spec.shard;
        queue->shard = info->first_shard;
        queue->begin = queue->appended = log_end_offset(shadow->lane->log, info->first_shard);
        queue->marked_ms = TIME_NONE;
        queue->marked_idle = false;
        feed->stage.inputs[i] = &queue->stream;
    }
}

int64_t shadow_queue_begin(const struct shadow *shadow, int32_t input)
{
    return shadow->feed->queues[input].begin;
}

/* --- filling --- */

/* Headers with the late stamp, or why the time cannot be read, in front. */
static struct str put_front(struct arena *arena, struct str front, struct str headers)
{
    char *block = arena_new_raw(arena, front.len + headers.len, 1);
    memcpy(block, front.ptr, (size_t)front.len);
    if (headers.len > 0) {
        memcpy(block + front.len, headers.ptr, (size_t)headers.len);
    }
    return (struct str){block, front.len + headers.len};
}

static void add(struct shadow_queue *feed, struct feed_queue *queue, const struct record *record)
{
    if (feed->err == ERR_OK && record_builder_add(&queue->builder, record) != ERR_OK) {
        feed->err =
            err_set(&feed->problem, ERR_LIMIT, "a record of %td bytes does not fit its queue",
                    record->key.len + record->value.len);
    }
}

static void add_row(struct shadow_queue *feed, struct feed_queue *queue, const struct batch *batch,
                    int32_t row)
{
    struct record record = {
        .timestamp_ms = batch->time_ms[row], .key = batch->key[row], .value = batch->value[row]};
    if (batch->headers != NULL) {
        record.headers = batch->headers[row];
        record.header_count = batch->header_count[row];
    }
    if (batch->stamp_ms != NULL && batch->stamp_ms[row] != STAMP_NONE) {
        char stamp[STAMP_HEADERS_MAX];
        struct str front = {stamp, stamp_encode(batch->stamp_ms[row], stamp)};
        record.headers = put_front(batch->arena, front, record.headers);
        record.header_count++;
    }
    add(feed, queue, &record);
}

static void add_reject(struct shadow_queue *feed, struct feed_queue *queue, const struct rows *rows,
                       int32_t row)
{
    char front[256];
    struct arena *arena = &feed->shadow->scratch;
    ptrdiff_t len =
        record_header_put(front, sizeof(front), STR(BAD_TIME_HEADER), str_of(rows->bad_text[row]));
    CHECK(len > 0); /* reasons are short texts of ours */
    struct record record = {
        .key = rows->key[row],
        .value = rows->value[row],
        .headers = put_front(arena, (struct str){front, len}, rows->headers[row]),
        .header_count = rows->header_count[row] + 1,
    };
    add(feed, queue, &record);
    arena_reset(arena);
}

void shadow_feed_take(struct shadow_queue *feed, const struct rows *rows,
                      const struct view_slice *slice)
{
    struct feed_queue *queue = &feed->queues[slice->input];
    for (int32_t i = 0; slice->batch != NULL && i < slice->batch->sel_count; i++) {
        add_row(feed, queue, slice->batch, slice->batch->sel[i]);
    }
    for (int32_t i = 0; i < slice->reject_count; i++) {
        add_reject(feed, queue, rows, slice->rejects[i]);
    }
}

/* How far the reading half has come. */
static int64_t read_up_to(const struct shadow_queue *feed, int32_t input)
{
    const struct partition *part = feed->shadow->part;
    bool runs = part != NULL && part->state != PARTITION_OPENING;
    return runs ? part->views[input].position.next_offset : feed->queues[input].begin;
}

bool shadow_feed_room(const struct shadow_queue *feed)
{
    for (int32_t i = 0; i < feed->count; i++) {
        const struct feed_queue *queue = &feed->queues[i];
        if (queue->in_flight || queue->builder.len >= QUEUE_BYTES_MAX ||
            queue->appended - read_up_to(feed, i) >= QUEUE_RECORDS_MAX) { /* Q2 */
            return false;
        }
    }
    return feed->err == ERR_OK;
}

/* What has risen since the last mark. */
static void add_mark(struct shadow_queue *feed, int32_t input)
{
    struct feed_queue *queue = &feed->queues[input];
    bool idle = false;
    int64_t low = view_watermark(&feed->shadow->filler->views[input], &idle);
    idle = idle && low == TIME_NONE;
    if (low <= queue->marked_ms && (!idle || queue->marked_idle)) {
        return;
    }
    struct mark mark = {.kind = low == TIME_END ? MARK_END
                                : idle          ? MARK_IDLE
                                                : MARK_WATERMARK,
                        .group_hi = KEY_GROUP_COUNT,
                        .watermark_ms = low};
    char buf[MARK_HEADERS_MAX];
    struct record record = mark_record(&mark, buf);
    add(feed, queue, &record);
    queue->marked_ms = low;
    queue->marked_idle = idle;
}

static void append(struct shadow_queue *feed, struct feed_queue *queue)
{
    void *bytes = NULL;
    ptrdiff_t len = 0;
    if (queue->in_flight || queue->builder.count == 0 || feed->err != ERR_OK) {
        return;
    }
    enum err err =
        record_builder_finish(&queue->builder, RECORD_PRODUCER_NONE, &bytes, &len, &feed->problem);
    if (err != ERR_OK) {
        feed->err = err;
        return;
    }
    queue->op.u.append =
        (struct log_append_op){.shard = queue->shard, .batch = bytes, .bytes = len};
    submit(feed, queue, LOG_OP_APPEND);
}

void shadow_feed_step(struct shadow_queue *feed)
{
    struct partition *filler = feed->shadow->filler;
    bool runs = filler != NULL && filler->state == PARTITION_RUNNING;
    for (int32_t i = 0; i < feed->count && runs; i++) {
        struct feed_queue *queue = &feed->queues[i];
        int64_t now_ns = feed->shadow->lane->now_ns;
        /* Each append is a turn of the committer that live commits wait for: few and large ones. */
        bool full = queue->builder.len >= QUEUE_BYTES_MAX / 2;
        bool due = full || now_ns - queue->appended_ns >= QUEUE_APPEND_NS;
        /* While an append flies its bytes are the builder's: nothing is added. */
        if (!queue->in_flight && due) {
            queue->appended_ns = now_ns;
            add_mark(feed, i);
            append(feed, queue);
        }
    }
}

void shadow_feed_done(struct feed_queue *queue)
{
    struct shadow_queue *feed = queue->feed;
    struct log_op *op = &queue->op;
    queue->in_flight = false;
    if (err_may_retry(op->err)) {
        submit(feed, queue, op->kind); /* the same bytes; engines answer AGAIN seldom and late */
        return;
    }
    if (op->err != ERR_OK && !(op->kind == LOG_OP_STREAM_CREATE && op->err == ERR_EXISTS)) {
        feed->err = op->err;
        feed->problem = op->info;
        return;
    }
    if (op->kind == LOG_OP_APPEND) {
        queue->appended = op->u.append.ret_base_offset + queue->builder.count;
        record_builder_reset(&queue->builder);
        return;
    }
    if (op->err == ERR_EXISTS) { /* of an earlier program, kept otherwise */
        submit(feed, queue, LOG_OP_STREAM_GET);
        return;
    }
    struct queue_stream *stream = &feed->streams[queue - feed->queues];
    stream->info = op->u.stream.ret_info;
    stream->known = true;
}

bool shadow_feed_still(const struct shadow_queue *feed)
{
    for (int32_t i = 0; i < feed->count; i++) {
        if (feed->queues[i].in_flight) {
            return false;
        }
    }
    return true;
}
