// SPDX-License-Identifier: Apache-2.0
/* Calls that write records: from the request to a part of the next commit. */
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "control/control_priv.h"
#include "node/mark.h"

static void answer_appended(struct job *job, const struct dedupe_entry *entry, bool duplicate)
{
    struct control_request *request = job->request;
    struct appended_row *row = ARENA_NEW(request->arena, struct appended_row);
    const char *reason = job->ingest->reason;
    *row = (struct appended_row){
        .records = entry->records,
        .rejected = entry->rejected,
        .duplicate = duplicate,
        .shard = entry->shard,
        .offset = entry->offset,
        .reason = {arena_dup(request->arena, reason, (ptrdiff_t)strlen(reason)),
                   (ptrdiff_t)strlen(reason)},
    };
    if (duplicate) {
        job->control->process.ingest_duplicates++;
    }
    request->rows = (struct control_rows){.entity = &appended_entity, .rows = row, .count = 1};
    job_answer(job);
}

/* --- what is remembered --- */

static enum dedupe_verdict judge(struct job *job)
{
    const struct control_args *args = &job->request->args;
    struct ingest_job *ingest = job->ingest;
    struct control *control = job->control;
    struct str body = job->request->body;
    bool producer = args->producer_id >= 0;
    int n = producer ? snprintf(ingest->key, sizeof(ingest->key), "p/%lld/%s",
                                (long long)args->producer_id, args->stream)
                     : snprintf(ingest->key, sizeof(ingest->key), "k/%s/%s", args->stream,
                                args->idempotency_key);
    CHECK(n > 0 && n < (int)sizeof(ingest->key));
    ingest->key_len = n;
    ingest->remember = true;
    struct dedupe_entry *entry =
        dedupe_find(control->dedupe, (struct str){ingest->key, ingest->key_len});
    uint64_t hash = hash64(body.ptr, body.len);
    int64_t now_ms = wall_ms(control);
    ingest->after = (struct dedupe_entry){
        .epoch = producer ? (int16_t)args->producer_epoch : (int16_t)0,
        .next = producer ? args->producer_sequence + ingest->keys : 0,
        .body_hash = hash,
        .changed_ms = now_ms,
        .records = ingest->records,
        .rejected = ingest->rejected,
        .shard = FIELD_I64_UNKNOWN,
        .offset = FIELD_I64_UNKNOWN,
        .pending = true,
    };
    ingest->had_before = entry != NULL;
    if (entry != NULL) {
        ingest->before = *entry;
    }
    return producer ? dedupe_judge_producer(entry, args->producer_epoch, args->producer_sequence,
                                            ingest->keys)
                    : dedupe_judge_key(entry, hash, now_ms, IDEMPOTENCY_MS);
}

/* True: the call is to be carried out; else it is answered. */
static bool admit(struct job *job)
{
    struct ingest_job *ingest = job->ingest;
    const struct control_args *args = &job->request->args;
    if (args->producer_id < 0 && args->idempotency_key[0] == 0) {
        return true;
    }
    switch (judge(job)) {
    case DEDUPE_NEW:
        dedupe_put(job->control->dedupe, (struct str){ingest->key, ingest->key_len},
                   &ingest->after);
        return true;
    case DEDUPE_DONE:
        answer_appended(job, &ingest->before, true);
        return false;
    case DEDUPE_PENDING:
        job_failf(job, ERR_AGAIN, "an earlier try of this call is still being carried out");
        return false;
    case DEDUPE_GAP:
        job_failf(job, ERR_SEQUENCE, "producer %lld: sequence %lld comes, %lld is next",
                  (long long)args->producer_id, (long long)args->producer_sequence,
                  ingest->had_before ? (long long)ingest->before.next : 0LL);
        return false;
    case DEDUPE_STALE:
        job_failf(job, ERR_FENCED, "producer %lld: epoch %lld is over, %d is the present one",
                  (long long)args->producer_id, (long long)args->producer_epoch,
                  ingest->before.epoch);
        return false;
    case DEDUPE_OTHER_BODY:
        job_failf(job, ERR_CONFLICT, "Idempotency-Key was used for a call with another body");
        return false;
    }
    return false;
}

/* --- ingest --- */

static void ingest_stream_known(struct job *job)
{
    struct err_info info = {.code = ERR_OK};
    struct control *control = job->control;
    struct ingest_job *ingest = job->ingest;
    const struct control_args *args = &job->request->args;
    if (job_op_failed(job)) {
        return;
    }
    ingest->info = job->one.op.u.stream.ret_info;
    ingest->spec = config_stream(control->config, str_of(args->stream));
    if ((ingest->info.config.flags & STREAM_INTERNAL) != 0) {
        job_failf(job, ERR_DENIED, "'%.100s' is an internal stream", args->stream);
        return;
    }
    if (args->shard >= ingest->info.config.shard_count) {
        job_failf(job, ERR_INVALID, "shard %lld: the stream has %d shards", (long long)args->shard,
                  ingest->info.config.shard_count);
        return;
    }
    enum err err = ingest_parse(control, job->request, ingest, &info);
    control->process.ingest_rejected += ingest->rejected;
    if (err != ERR_OK) {
        job_fail(job, err, &info);
    } else if (admit(job)) {
        ingest_commit_add(job);
    }
}

static void know_stream(struct job *job, job_fn then)
{
    if (name_reserved(str_of(job->request->args.stream))) {
        job_failf(job, ERR_DENIED, "streams whose names begin with sc. are not written by clients");
        return;
    }
    job->ingest = ARENA_NEW(job->request->arena, struct ingest_job);
    struct log_op *op = job_op(job, LOG_OP_STREAM_GET, then);
    memcpy(op->u.stream.config.name, job->request->args.stream, sizeof(op->u.stream.config.name));
    job_submit(job, &job->one);
}

void ingest_begin(struct job *job)
{
    const struct control_args *args = &job->request->args;
    bool some = args->producer_id >= 0 || args->producer_epoch >= 0 || args->producer_sequence >= 0;
    bool all = args->producer_id >= 0 && args->producer_epoch >= 0 && args->producer_sequence >= 0;
    if (some && !all) {
        job_failf(job, ERR_INVALID,
                  "X-Producer-Id, X-Producer-Epoch and X-Producer-Sequence go together");
    } else if (some && args->idempotency_key[0] != 0) {
        job_failf(job, ERR_INVALID, "a producer needs no Idempotency-Key: send one or the other");
    } else if (args->key_field[0] != 0 && (args->format == INGEST_LINES || args->has_record_key)) {
        job_failf(job, ERR_INVALID, "key_field goes with JSON and without X-Record-Key");
    } else {
        know_stream(job, ingest_stream_known);
    }
}

/* --- end of a stream --- */

static void end_stream_known(struct job *job)
{
    struct err_info info = {.code = ERR_OK};
    struct ingest_job *ingest = job->ingest;
    struct record_builder *builder = &job->control->builders[0];
    void *bytes = NULL;
    ptrdiff_t len = 0;
    if (job_op_failed(job)) {
        return;
    }
    ingest->info = job->one.op.u.stream.ret_info;
    int32_t shards = ingest->info.config.shard_count;
    if ((ingest->info.config.flags & STREAM_INTERNAL) != 0) {
        job_failf(job, ERR_DENIED, "'%.100s' is an internal stream", job->request->args.stream);
        return;
    }
    record_builder_reset(builder);
    builder->codec = RECORD_CODEC_NONE;
    enum err err = mark_end_batch(builder, &bytes, &len, &info);
    if (err != ERR_OK) {
        job_fail(job, err, &info);
        return;
    }
    ingest->batches = ARENA_NEW_ARRAY(job->request->arena, struct log_batch, shards);
    for (int32_t i = 0; i < shards; i++) {
        ingest->batches[i] = (struct log_batch){.shard = {ingest->info.first_shard.v + (uint32_t)i},
                                                .bytes = arena_dup(job->request->arena, bytes, len),
                                                .len = len};
    }
    ingest->batch_count = shards;
    ingest->bytes = len * shards;
    record_builder_reset(builder);
    ingest_commit_add(job);
}

void end_begin(struct job *job)
{
    know_stream(job, end_stream_known);
}

/* --- producers --- */

static void producer_made(struct job *job)
{
    if (job_op_failed(job)) {
        return;
    }
    struct producer_row *row = ARENA_NEW(job->request->arena, struct producer_row);
    row->id = job->one.op.u.producer.ret_id;
    row->epoch = job->one.op.u.producer.ret_epoch;
    job->request->rows = (struct control_rows){.entity = &producer_entity, .rows = row, .count = 1};
    job_answer(job);
}

void producer_begin(struct job *job)
{
    job_op(job, LOG_OP_PRODUCER_INIT, producer_made);
    job_submit(job, &job->one);
}

/* --- the end of a call, from the commit --- */

static bool is_of_call(const struct dedupe_entry *entry, const struct ingest_job *ingest)
{
    return entry->next == ingest->after.next && entry->epoch == ingest->after.epoch;
}

static void now_stored(struct dedupe_entry *entry, const struct dedupe_entry *answer)
{
    entry->pending = false;
    entry->shard = answer->shard;
    entry->offset = answer->offset;
}

/* A call that waits and was built upon this one: what it puts back if it fails is stored now. */
static void tell_follower(struct control *control, const struct ingest_job *ingest,
                          const struct dedupe_entry *answer)
{
    struct str key = {ingest->key, ingest->key_len};
    for (struct job *job = control->pending.first; job != NULL; job = job->next) {
        struct ingest_job *other = job->ingest;
        if (other->remember && other->had_before && is_of_call(&other->before, ingest) &&
            str_equal((struct str){other->key, other->key_len}, key)) {
            now_stored(&other->before, answer);
            return;
        }
    }
}

void ingest_committed(struct job *job)
{
    struct ingest_job *ingest = job->ingest;
    struct control *control = job->control;
    struct dedupe_entry answer = {.records = ingest->records,
                                  .rejected = ingest->rejected,
                                  .shard = FIELD_I64_UNKNOWN,
                                  .offset = FIELD_I64_UNKNOWN};
    if (ingest->batch_count == 1) {
        answer.shard = ingest->batches[0].shard.v - ingest->info.first_shard.v;
        answer.offset = ingest->batches[0].ret_base_offset;
    }
    struct dedupe_entry *entry =
        ingest->remember ? dedupe_find(control->dedupe, (struct str){ingest->key, ingest->key_len})
                         : NULL;
    if (entry != NULL && is_of_call(entry, ingest)) {
        now_stored(entry, &answer);
    } else if (ingest->remember) {
        tell_follower(control, ingest, &answer);
    }
    control->process.records_ingested += ingest->records;
    answer_appended(job, &answer, false);
}

void ingest_forget(struct job *job)
{
    struct ingest_job *ingest = job->ingest;
    struct str key = {ingest->key, ingest->key_len};
    if (!ingest->remember) {
        return;
    }
    if (ingest->had_before) {
        dedupe_put(job->control->dedupe, key, &ingest->before);
    } else {
        dedupe_remove(job->control->dedupe, key);
    }
    ingest->remember = false;
}
