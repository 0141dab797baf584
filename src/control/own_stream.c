// SPDX-License-Identifier: Apache-2.0
#include "control/own_stream.h"

#include "base/check.h"
#include "base/mem.h"
#include "control/monitor.h"
#include "pipeline/json.h"

#define DAY_MS       (24LL * 3600 * 1000)
#define TRY_AGAIN_NS (1000 * 1000000LL)

static const struct {
    const char *name;
    int64_t kept_ms, kept_bytes;
} specs[OWN_STREAM_COUNT] = {
    [OWN_SAMPLES] = {"sc.samples", 28 * DAY_MS, 256LL << 20},
    [OWN_DECISIONS] = {"sc.decisions", 400 * DAY_MS, 64LL << 20},
    [OWN_SHADOWS] = {SHADOWS_STREAM, 400 * DAY_MS, 64LL << 20},
};

void own_streams_init(struct control *control)
{
    for (int i = 0; i < OWN_STREAM_COUNT; i++) {
        struct own_stream *stream = MEM_NEW(struct own_stream);
        *stream =
            (struct own_stream){.control = control,
                                .name = specs[i].name,
                                .kept_ms = specs[i].kept_ms,
                                .kept_bytes = specs[i].kept_bytes,
                                .view = control->history != NULL ? OWN_VIEW_CLOSED : OWN_VIEW_OFF};
        record_builder_init(&stream->builders[0], RECORD_CODEC_ZSTD);
        record_builder_init(&stream->builders[1], RECORD_CODEC_ZSTD);
        stream->reader = log_reader_new(control->log);
        control->own[i] = stream;
    }
}

void own_streams_release(struct control *control)
{
    for (int i = 0; i < OWN_STREAM_COUNT; i++) {
        struct own_stream *stream = control->own[i];
        record_builder_release(&stream->builders[0]);
        record_builder_release(&stream->builders[1]);
        log_reader_free(control->log, stream->reader);
        mem_free(stream->buf);
        mem_free(stream);
    }
}

/* --- start --- */

static void create_next(struct job *job);

static void created(struct job *job)
{
    struct own_stream *stream = job->control->own[job->index];
    if (start_failed(job)) {
        return;
    }
    stream->shard = job->one.op.u.stream.ret_info.first_shard;
    stream->ready = true;
    job->index++;
    create_next(job);
}

static void create_next(struct job *job)
{
    struct control *control = job->control;
    if (job->index >= OWN_STREAM_COUNT) {
        control->own_created(job);
        return;
    }
    const struct own_stream *stream = control->own[job->index];
    struct log_op *op = job_op(job, LOG_OP_STREAM_CREATE, created);
    op->u.stream.config = (struct stream_config){
        .shard_count = 1, .retention_ms = stream->kept_ms, .retention_bytes = stream->kept_bytes};
    memcpy(op->u.stream.config.name, stream->name, strlen(stream->name) + 1);
    job_submit(job, &job->one);
}

void own_streams_create(struct job *job, job_fn then)
{
    job->index = 0;
    job->control->own_created = then;
    create_next(job);
}

static void replay_next(struct own_stream *stream, struct job *job, int64_t offset);

static void replayed(struct job *job)
{
    struct own_stream *stream = job->control->own[job->index];
    if (start_failed(job)) {
        return;
    }
    if (start_take_records(job, stream->take)) {
        replay_next(stream, job, job->one.op.u.read.ret_next_offset);
    } else {
        stream->then(job);
    }
}

static void replay_next(struct own_stream *stream, struct job *job, int64_t offset)
{
    struct log_op *op = job_op(job, LOG_OP_READ, replayed);
    op->u.read = (struct log_read_op){.reader = stream->reader,
                                      .shard = stream->shard,
                                      .offset = offset,
                                      .buf = job->rows,
                                      .cap = LOG_BATCH_BYTES_MAX};
    job_submit(job, &job->one);
}

static void ends_known(struct job *job)
{
    struct own_stream *stream = job->control->own[job->index];
    const struct shard_info *shard = &job->one.op.u.shard.ret_info;
    if (start_failed(job)) {
        return;
    }
    if (shard->end_offset <= shard->start_offset) {
        stream->then(job);
        return;
    }
    replay_next(stream, job, shard->start_offset);
}

void own_stream_replay(struct own_stream *stream, struct job *job,
                       void (*take)(struct control *control, struct str value), job_fn then)
{
    stream->take = take;
    stream->then = then;
    for (job->index = 0; job->control->own[job->index] != stream; job->index++) {
        CHECK(job->index < OWN_STREAM_COUNT);
    }
    struct log_op *op = job_op(job, LOG_OP_SHARD_GET, ends_known);
    op->u.shard.shard = stream->shard;
    job_submit(job, &job->one);
}

/* --- appending --- */

int64_t own_stream_add(struct own_stream *stream, struct str value)
{
    struct record_builder *builder = &stream->builders[stream->filling];
    struct record record = {.timestamp_ms = wall_ms(stream->control), .value = value};
    if (builder->count == 0) {
        record_builder_reset(builder);
    }
    if (builder->len + value.len > OWN_WAITING_MAX ||
        record_builder_add(builder, &record) != ERR_OK) {
        stream->lost++;
        return 0;
    }
    return ++stream->added;
}

bool own_stream_is_durable(const struct own_stream *stream, int64_t number)
{
    return number > 0 && number <= stream->durable;
}

static void appended(struct job *job)
{
    struct own_stream *stream = CONTAINER_OF(job, struct own_stream, append_job);
    stream->append_out = false;
    if (job->one.op.err == ERR_OK) {
        stream->durable = stream->sent;
        return;
    }
    if (job->one.op.err == ERR_NO_SPACE) {
        stream->control->no_space_ns = stream->control->now_ns;
    }
    stream->append_waits = true;
    stream->append_due_ns = stream->control->now_ns + TRY_AGAIN_NS;
}

static void append_batch(struct own_stream *stream)
{
    stream->append_job = (struct job){.control = stream->control};
    struct log_op *op = job_op(&stream->append_job, LOG_OP_APPEND, appended);
    op->u.append = (struct log_append_op){
        .shard = stream->shard, .batch = stream->batch, .bytes = stream->batch_len};
    stream->append_out = true;
    stream->append_waits = false;
    job_submit(&stream->append_job, &stream->append_job.one);
}

static int64_t append_step(struct own_stream *stream)
{
    if (stream->append_out) {
        return CLOCK_NEVER;
    }
    if (stream->append_waits) {
        if (stream->control->now_ns < stream->append_due_ns) {
            return stream->append_due_ns;
        }
        append_batch(stream);
        return CLOCK_NEVER;
    }
    struct record_builder *builder = &stream->builders[stream->filling];
    if (builder->count == 0) {
        return CLOCK_NEVER;
    }
    CHECK(record_builder_finish(builder, RECORD_PRODUCER_NONE, &stream->batch, &stream->batch_len,
                                NULL) == ERR_OK);
    stream->sent = stream->added;
    stream->filling = 1 - stream->filling;
    record_builder_reset(&stream->builders[stream->filling]);
    append_batch(stream);
    return CLOCK_NEVER;
}

/* --- the view --- */

static void send_view(struct own_stream *stream, enum history_kind kind, enum own_view_state state)
{
    stream->op.kind = kind;
    stream->op.done = &stream->control->history_done;
    stream->op.stream = stream->name;
    stream->view = state;
    mailbox_push(history_mailbox(stream->control->history), &stream->op.msg);
}

void own_stream_viewed(struct own_stream *stream)
{
    struct history_op *op = &stream->op;
    if (op->err != ERR_OK) {
        stream->view = OWN_VIEW_CLOSED;
        stream->view_due_ns = stream->control->now_ns + TRY_AGAIN_NS;
        return;
    }
    stream->next_offset = op->next_offset;
    stream->view = OWN_VIEW_IDLE;
}

static void read_done(struct job *job)
{
    struct own_stream *stream = CONTAINER_OF(job, struct own_stream, read_job);
    const struct log_read_op *read = &job->one.op.u.read;
    enum err err = job->one.op.err;
    if (err == ERR_OFFSET_RANGE && read->ret_start_offset > stream->next_offset) {
        stream->next_offset = read->ret_start_offset; /* trimmed meanwhile */
        stream->view = OWN_VIEW_IDLE;
        return;
    }
    if (err == ERR_OFFSET_RANGE) { /* another log below an old view: from its beginning */
        stream->next_offset = 0;
        stream->view = OWN_VIEW_IDLE;
        return;
    }
    if (err != ERR_OK) {
        stream->view = OWN_VIEW_CLOSED;
        stream->view_due_ns = stream->control->now_ns + TRY_AGAIN_NS;
        return;
    }
    stream->op.bytes = read->buf;
    stream->op.len = read->ret_bytes;
    stream->op.from_offset = stream->next_offset;
    stream->op.now_ms = monitor_time_ms(stream->control);
    stream->op.next_offset = read->ret_next_offset;
    send_view(stream, HISTORY_TAKE, OWN_VIEW_TAKING);
}

static int64_t view_step(struct own_stream *stream)
{
    struct control *control = stream->control;
    if (stream->view == OWN_VIEW_CLOSED) {
        if (control->now_ns < stream->view_due_ns) {
            return stream->view_due_ns;
        }
        send_view(stream, HISTORY_OPEN, OWN_VIEW_OPENING);
    }
    if (stream->view != OWN_VIEW_IDLE ||
        log_end_offset(control->log, stream->shard) == stream->next_offset) {
        return CLOCK_NEVER;
    }
    if (stream->buf == NULL) {
        stream->buf = mem_new(LOG_BATCH_BYTES_MAX + JSON_PADDING, 1);
    }
    stream->view = OWN_VIEW_READING;
    stream->read_job = (struct job){.control = control};
    struct log_op *op = job_op(&stream->read_job, LOG_OP_READ, read_done);
    op->u.read = (struct log_read_op){.reader = stream->reader,
                                      .shard = stream->shard,
                                      .offset = stream->next_offset,
                                      .buf = stream->buf,
                                      .cap = LOG_BATCH_BYTES_MAX};
    job_submit(&stream->read_job, &stream->read_job.one);
    return CLOCK_NEVER;
}

int64_t own_streams_step(struct control *control)
{
    int64_t next_ns = CLOCK_NEVER;
    if (!control_serving(control)) {
        return next_ns;
    }
    for (int i = 0; i < OWN_STREAM_COUNT; i++) {
        int64_t append_ns = append_step(control->own[i]);
        int64_t view_ns = view_step(control->own[i]);
        next_ns = append_ns < next_ns ? append_ns : next_ns;
        next_ns = view_ns < next_ns ? view_ns : next_ns;
    }
    return next_ns;
}
