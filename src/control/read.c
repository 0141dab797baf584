// SPDX-License-Identifier: Apache-2.0
/* Reading records of a shard as text. At most READ_SLOTS reads run at once, each with its own cursor and buffer; a read
 * that asks to wait for a first record sleeps until its shard's end moves or its time is over. */
#include "base/check.h"
#include "base/mem.h"
#include "control/control_priv.h"
#include "log/record_walk.h"
#include "node/mark.h"

enum { READ_FIRST_BYTES = 256 << 10 };

/* --- one record as text --- */

static void add_value(struct control *control, struct text *text, struct str value)
{
    static const struct json_shape whole = {.count = 1};
    const char *reason = NULL;
    int32_t row = 0;
    struct arena_mark mark = arena_mark(&control->scratch);
    bool object = value.len > 0 && value.ptr[0] == '{' &&
                  memchr(value.ptr, '\n', (size_t)value.len) == NULL &&
                  json_read_rows(control->json, &whole, true, &value, &row, 1, NULL,
                                 &control->scratch, &reason) == 0;
    arena_rewind(&control->scratch, mark);
    if (object) {
        text_add(text, STR(",\"value\":"));
        text_add(text, value);
    } else if (text_utf8_valid(value)) {
        text_add(text, STR(",\"value\":"));
        text_json_str(text, value);
    } else {
        text_add(text, STR(",\"value_base64\":"));
        text_json_base64(text, value);
    }
}

static void add_key(struct text *text, struct str key)
{
    if (key.ptr == NULL) {
        text_add(text, STR(",\"key\":null"));
    } else if (text_utf8_valid(key)) {
        text_add(text, STR(",\"key\":"));
        text_json_str(text, key);
    } else {
        text_add(text, STR(",\"key_base64\":"));
        text_json_base64(text, key);
    }
}

static void add_headers(struct text *text, struct str headers)
{
    struct str name;
    struct str value;
    bool any = false;
    while (record_header_next(&headers, &name, &value)) {
        if (!str_is(name, STAMP_HEADER)) {
            text_add(text, any ? STR(",") : STR(",\"headers\":{"));
            text_json_str(text, name);
            text_add(text, STR(":"));
            text_json_str(text, value);
            any = true;
        }
    }
    text_add(text, any ? STR("}") : STR(""));
}

static bool is_marker(const struct record *record)
{
    struct str rest = record->headers;
    struct str name;
    struct str value;
    while (record->header_count > 0 && record_header_next(&rest, &name, &value)) {
        if (str_is(name, MARK_HEADER)) {
            return true;
        }
    }
    return false;
}

static void add_record(struct control *control, struct control_request *request,
                       const struct record *record)
{
    struct text *text = &request->text;
    if (request->args.format == READ_RAW) {
        text_add(text, record->value);
        text_add(text, STR("\n"));
        return;
    }
    text_printf(text, "{\"offset\":%lld,\"timestamp_ms\":%lld", (long long)record->offset,
                (long long)record->timestamp_ms);
    add_key(text, record->key);
    add_value(control, text, record->value);
    add_headers(text, record->headers);
    text_add(text, STR("}\n"));
}

/* --- a read: count is the number of records written, request->next_offset where it stands --- */

static void read_on(struct job *job, ptrdiff_t cap);

static void give_slot_back(struct job *job)
{
    job->slot->taken = false;
    job->slot = NULL;
}

static void read_answer(struct job *job)
{
    give_slot_back(job);
    job->control->process.reads++;
    if (job->request->text.cut) {
        job_failf(job, ERR_LIMIT, "the records are too large for one answer");
    } else {
        job_answer(job);
    }
}

/* Records of what was read; false if it is corrupt. */
static bool take_batches(struct job *job, const struct log_read_op *read, struct err_info *info)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    struct record_walk walk = record_walk_of(&control->record_reader, read->buf, read->ret_bytes);
    struct record record;
    enum err err;
    while ((err = record_walk_next(&walk, &record, info)) == ERR_OK) {
        if (record.offset < request->next_offset) {
            continue;
        }
        if (job->count >= request->args.limit || request->text.len >= CONTROL_READ_TEXT_MAX) {
            return true;
        }
        request->next_offset = record.offset + 1;
        if (!is_marker(&record)) {
            add_record(control, request, &record);
            job->count++;
        }
    }
    if (err != ERR_NOT_FOUND) {
        return false;
    }
    request->next_offset =
        read->ret_next_offset > request->next_offset ? read->ret_next_offset : request->next_offset;
    return true;
}

static void sleep_for_more(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    struct shard_id shard = {job->infos->first_shard.v + (uint32_t)request->args.shard};
    give_slot_back(job);
    if (request->deadline_ns == 0) {
        request->deadline_ns = control->now_ns + request->args.wait_seconds * 1000000000LL;
    }
    if (log_watch(control->log, shard, control->waker) != ERR_OK) {
        job_failf(job, ERR_BUSY, "too many readers wait for this shard");
        return;
    }
    control->process.requests_waiting++;
    job_list_push(&control->sleepers, job);
}

static void read_back(struct job *job)
{
    struct control *control = job->control;
    struct control_request *request = job->request;
    const struct log_read_op *read = &job->one.op.u.read;
    struct err_info info = {.code = ERR_OK};
    enum err err = job->one.op.err;
    request->end_offset = read->ret_end_offset;
    request->start_offset = read->ret_start_offset;
    if (err == ERR_LIMIT && read->cap < LOG_BATCH_BYTES_MAX) {
        read_on(job, LOG_BATCH_BYTES_MAX); /* one batch is larger than the usual buffer */
        return;
    }
    if (err != ERR_OK) {
        give_slot_back(job);
        if (err ==
            ERR_OFFSET_RANGE) { /* the log counts shards over all streams, readers in theirs */
            job_failf(job, err, "offset %lld is outside %lld..%lld of shard %lld",
                      (long long)request->next_offset, (long long)request->start_offset,
                      (long long)request->end_offset, (long long)request->args.shard);
        } else {
            IGNORE_RESULT(job_op_failed(job)); /* it did */
        }
        return;
    }
    int64_t before = request->next_offset;
    if (!take_batches(job, read, &info)) {
        give_slot_back(job);
        job_fail(job, ERR_CORRUPT, &info);
        return;
    }
    bool at_end = request->next_offset >= request->end_offset;
    bool full = job->count >= request->args.limit || request->text.len >= CONTROL_READ_TEXT_MAX;
    bool may_wait = request->args.wait_seconds > 0 && !control->draining &&
                    (request->deadline_ns == 0 || control->now_ns < request->deadline_ns);
    if (!at_end && !full && request->next_offset > before) {
        read_on(job, READ_FIRST_BYTES);
    } else if (job->count == 0 && at_end && may_wait) {
        sleep_for_more(job);
    } else {
        read_answer(job);
    }
}

static void read_on(struct job *job, ptrdiff_t cap)
{
    struct control_request *request = job->request;
    struct read_slot *slot = job->slot;
    if (slot->buf == NULL) {
        slot->buf = mem_new(LOG_BATCH_BYTES_MAX + JSON_PADDING, 1);
    }
    struct log_op *op = job_op(job, LOG_OP_READ, read_back);
    op->u.read =
        (struct log_read_op){.reader = slot->reader,
                             .shard = {job->infos->first_shard.v + (uint32_t)request->args.shard},
                             .offset = request->next_offset,
                             .buf = slot->buf,
                             .cap = cap};
    job_submit(job, &job->one);
}

/* Gives free slots to those that want one. */
static void hand_out_slots(struct control *control)
{
    for (int i = 0; i < READ_SLOTS && control->want_slot.first != NULL; i++) {
        if (!control->slots[i].taken) {
            struct job *job = job_list_pop(&control->want_slot);
            job->slot = &control->slots[i];
            job->slot->taken = true;
            read_on(job, READ_FIRST_BYTES);
        }
    }
}

static void want_slot(struct job *job)
{
    job_list_push(&job->control->want_slot, job);
    hand_out_slots(job->control);
}

static void shard_known(struct job *job)
{
    struct control_request *request = job->request;
    const struct shard_info *shard = &job->one.op.u.shard.ret_info;
    if (job_op_failed(job)) {
        return;
    }
    request->next_offset = request->args.offset == -1 ? shard->end_offset : shard->start_offset;
    want_slot(job);
}

static void read_stream_known(struct job *job)
{
    struct control_request *request = job->request;
    if (job_op_failed(job)) {
        return;
    }
    job->infos = ARENA_NEW(request->arena, struct stream_info);
    *job->infos = job->one.op.u.stream.ret_info;
    if (request->args.shard >= job->infos->config.shard_count) {
        job_failf(job, ERR_INVALID, "shard %lld: the stream has %d shards",
                  (long long)request->args.shard, job->infos->config.shard_count);
        return;
    }
    if (request->args.offset >= 0) {
        request->next_offset = request->args.offset;
        want_slot(job);
        return;
    }
    struct log_op *op = job_op(job, LOG_OP_SHARD_GET, shard_known);
    op->u.shard.shard.v = job->infos->first_shard.v + (uint32_t)request->args.shard;
    job_submit(job, &job->one);
}

void read_begin(struct job *job)
{
    struct control_request *request = job->request;
    request->args.shard = request->args.shard < 0 ? 0 : request->args.shard;
    request->deadline_ns = 0;
    if (name_reserved(str_of(request->args.stream)) && !request->who.admin) {
        job_failf(job, ERR_DENIED, "internal streams are read by admins only");
        return;
    }
    struct log_op *op = job_op(job, LOG_OP_STREAM_GET, read_stream_known);
    memcpy(op->u.stream.config.name, request->args.stream, sizeof(op->u.stream.config.name));
    job_submit(job, &job->one);
}

int64_t read_step(struct control *control)
{
    int64_t next_ns = CLOCK_NEVER;
    struct job_list sleepers = control->sleepers;
    struct job *job = NULL;
    control->sleepers = (struct job_list){NULL, NULL};
    while ((job = job_list_pop(&sleepers)) != NULL) {
        const struct control_request *request = job->request;
        struct shard_id shard = {job->infos->first_shard.v + (uint32_t)request->args.shard};
        bool moved = log_end_offset(control->log, shard) > request->next_offset;
        bool over = control->now_ns >= request->deadline_ns || control->draining;
        if (moved || over) {
            log_unwatch(control->log, shard, control->waker);
            control->process.requests_waiting--;
            job_list_push(&control->want_slot, job);
        } else {
            job_list_push(&control->sleepers, job);
            next_ns = request->deadline_ns < next_ns ? request->deadline_ns : next_ns;
        }
    }
    hand_out_slots(control);
    return next_ns;
}
