// SPDX-License-Identifier: Apache-2.0
/* Control's own commits: the records of many calls and what is remembered of them, in one atomic step.
 *
 * Calls gather while a commit is in flight; the next commit takes them all. If a commit of several calls fails, each is
 * tried alone: a full disk or a broken shard is told to the call that met it, and to no other. */
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "control/control_priv.h"

enum { ENTRY_SPACE = 16, ENTRY_HEAD_BYTES = 14 };

void ingest_commit_add(struct job *job)
{
    job_list_push(&job->control->pending, job);
}

/* --- entries of the changelog: as keyed state's, in key group 0 --- */

static enum err add_entry(struct record_builder *builder, int64_t now_ms, struct str key,
                          const struct dedupe_entry *entry)
{
    char head[ENTRY_HEAD_BYTES + DEDUPE_KEY_MAX] = {0, 0, 0, 0, 0, ENTRY_SPACE, (char)0x80};
    char value[DEDUPE_VALUE_BYTES];
    CHECK(key.len > 0 && key.len <= DEDUPE_KEY_MAX);
    memcpy(head + ENTRY_HEAD_BYTES, key.ptr, (size_t)key.len);
    dedupe_encode(entry, value);
    return record_builder_add(builder, &(struct record){.timestamp_ms = now_ms,
                                                        .key = {head, ENTRY_HEAD_BYTES + key.len},
                                                        .value = {value, DEDUPE_VALUE_BYTES}});
}

/* --- checkpoints --- */

static void checkpoint_done(struct job *job)
{
    struct control *control = job->control;
    mem_free(control->checkpoint_bytes);
    control->checkpoint_bytes = NULL;
    control->checkpoint_out = false;
    if (job->one.op.err == ERR_OK) {
        control->changelog_bytes = 0;
    } /* else: the changelog stays longer, and the next commit tries again */
}

/* What the last commit says of a key that a waiting call has changed already. */
static const struct ingest_job *waiting_for(const struct control *control, struct str key)
{
    for (const struct job *job = control->pending.first; job != NULL; job = job->next) {
        if (job->ingest->remember &&
            str_equal((struct str){job->ingest->key, job->ingest->key_len}, key)) {
            return job->ingest;
        }
    }
    return NULL;
}

static void append_batch(struct control *control, ptrdiff_t *len, ptrdiff_t *cap)
{
    void *bytes = NULL;
    ptrdiff_t batch_len = 0;
    if (control->entries.count == 0) {
        return;
    }
    CHECK(record_builder_finish(&control->entries, RECORD_PRODUCER_NONE, &bytes, &batch_len,
                                NULL) == ERR_OK);
    if (*len + batch_len > *cap) {
        *cap = (*len + batch_len) * 2;
        control->checkpoint_bytes = mem_resize(control->checkpoint_bytes, *cap, 1);
    }
    memcpy((char *)control->checkpoint_bytes + *len, bytes, (size_t)batch_len);
    *len += batch_len;
    record_builder_reset(&control->entries);
}

static void checkpoint(struct control *control)
{
    struct dedupe_cursor cursor = {.begun = false};
    struct dedupe_entry entry;
    struct str key;
    ptrdiff_t len = 0;
    ptrdiff_t cap = 0;
    int64_t now_ms = wall_ms(control);
    dedupe_expire(control->dedupe, now_ms - PRODUCER_EXPIRY_MS, INT32_MAX);
    record_builder_reset(&control->entries);
    while (dedupe_next(control->dedupe, &cursor, &key, &entry)) {
        if (entry.pending) {
            const struct ingest_job *waiting = waiting_for(control, key);
            if (waiting == NULL || !waiting->had_before) {
                continue;
            }
            entry = waiting->before;
        }
        if (add_entry(&control->entries, now_ms, key, &entry) == ERR_LIMIT) {
            append_batch(control, &len, &cap);
            CHECK(add_entry(&control->entries, now_ms, key, &entry) == ERR_OK);
        }
    }
    append_batch(control, &len, &cap);
    struct job *job = &control->checkpoint_job;
    *job = (struct job){.control = control};
    struct log_op *op = job_op(job, LOG_OP_CHECKPOINT, checkpoint_done);
    op->u.checkpoint =
        (struct log_checkpoint_op){.changelog = control->ingest_shard,
                                   .group_lo = 0,
                                   .group_hi = KEY_GROUP_COUNT, /* lets it be trimmed */
                                   .at = control->changelog_end,
                                   .bytes = control->checkpoint_bytes,
                                   .len = len};
    control->checkpoint_out = true;
    job_submit(job, &job->one);
}

/* --- commits --- */

/* Those that wait and build upon the entry of a failed call fail with it. */
static void fail_followers(struct control *control, struct job *failed, enum err err,
                           const struct err_info *info)
{
    struct job_list rest = {NULL, NULL};
    struct job_list followers = {NULL, NULL};
    struct job *job = NULL;
    while ((job = job_list_pop(&control->pending)) != NULL) {
        bool follows =
            failed->ingest->remember && job->ingest->remember &&
            job->ingest->key_len == failed->ingest->key_len &&
            memcmp(job->ingest->key, failed->ingest->key, (size_t)job->ingest->key_len) == 0;
        job_list_push(follows ? &followers : &rest, job);
    }
    control->pending = rest;
    while ((job = job_list_pop(&followers)) != NULL) {
        job->ingest->remember = false;
        job_fail(job, err, info);
    }
}

static void commit_failed(struct control *control, enum err err, const struct err_info *info)
{
    struct job_list jobs = control->committing;
    control->committing = (struct job_list){NULL, NULL};
    if (jobs.first->next != NULL) {
        for (struct job *job = jobs.first; job != NULL; job = job->next) {
            job->ingest->alone = true;
        }
        jobs.last->next = control->pending.first;
        control->pending.last = control->pending.first != NULL ? control->pending.last : jobs.last;
        control->pending.first = jobs.first;
        return;
    }
    struct job *job = job_list_pop(&jobs);
    fail_followers(control, job, err, info);
    ingest_forget(job);
    job_fail(job, err, info);
    if (err == ERR_FENCED) {
        control_fail(control, info); /* another process writes as control: this one is over */
    }
}

static void committed(struct job *commit_job)
{
    struct control *control = commit_job->control;
    struct log_op *op = &commit_job->one.op;
    struct job *job = NULL;
    int32_t at = 0;
    control->commit_out = false;
    if (op->err != ERR_OK) {
        commit_failed(control, op->err, &op->info);
        return;
    }
    control->commit_sequence++;
    control->process.ingest_commits++;
    struct job_list jobs = control->committing;
    control->committing = (struct job_list){NULL, NULL};
    while ((job = job_list_pop(&jobs)) != NULL) {
        for (int32_t i = 0; i < job->ingest->batch_count; i++) {
            job->ingest->batches[i].ret_base_offset = control->commit_batches[at++].ret_base_offset;
        }
        ingest_committed(job);
    }
    if (at < op->u.commit.batch_count) {
        control->changelog_end = control->commit_batches[at].ret_end_offset;
        control->changelog_bytes += control->commit_batches[at].len;
        if (control->changelog_bytes > CHECKPOINT_BYTES && !control->checkpoint_out) {
            checkpoint(control);
        }
    }
}

/* Takes as many waiting calls as one commit may hold; returns their batches' count. */
static int32_t gather(struct control *control)
{
    int32_t batches = 0;
    int64_t bytes = 0;
    for (int32_t taken = 0; taken < COMMIT_JOBS_MAX && control->pending.first != NULL; taken++) {
        struct ingest_job *ingest = control->pending.first->ingest;
        bool room = batches + ingest->batch_count < COMMIT_BATCHES_MAX &&
                    bytes + ingest->bytes <= COMMIT_BYTES_MAX;
        if (taken > 0 && (!room || ingest->alone)) {
            break;
        }
        CHECK(batches + ingest->batch_count < COMMIT_BATCHES_MAX);
        memcpy(&control->commit_batches[batches], ingest->batches,
               (size_t)ingest->batch_count * sizeof(struct log_batch));
        batches += ingest->batch_count;
        bytes += ingest->bytes;
        job_list_push(&control->committing, job_list_pop(&control->pending));
        if (ingest->alone) {
            break;
        }
    }
    return batches;
}

void ingest_commit_step(struct control *control)
{
    if (control->commit_out || control->pending.first == NULL) {
        return;
    }
    int32_t batches = gather(control);
    int64_t now_ms = wall_ms(control);
    record_builder_reset(&control->entries);
    for (const struct job *job = control->committing.first; job != NULL; job = job->next) {
        if (job->ingest->remember) {
            CHECK(add_entry(&control->entries, now_ms,
                            (struct str){job->ingest->key, job->ingest->key_len},
                            &job->ingest->after) == ERR_OK);
        }
    }
    if (control->entries.count > 0) {
        struct log_batch *batch = &control->commit_batches[batches++];
        *batch = (struct log_batch){.shard = control->ingest_shard};
        CHECK(record_builder_finish(&control->entries, RECORD_PRODUCER_NONE, &batch->bytes,
                                    &batch->len, NULL) == ERR_OK);
    }
    struct job *job = &control->commit_job;
    *job = (struct job){.control = control};
    struct log_op *op = job_op(job, LOG_OP_COMMIT, committed);
    op->u.commit = (struct log_commit_op){.owner = control->owner,
                                          .incarnation = control->incarnation,
                                          .sequence = control->commit_sequence + 1,
                                          .batches = control->commit_batches,
                                          .batch_count = batches};
    control->commit_out = true;
    job_submit(job, &job->one);
}
