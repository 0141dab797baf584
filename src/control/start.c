// SPDX-License-Identifier: Apache-2.0
/* The start, one op after the other: own streams, owner, what ingest remembered, the end of the audit chain, operations.
 *
 *   created(sc.ingest) -> created(sc.audit) -> streams left over -> owner -> restore open -> next ... -> close -> audit shard -> audit tail
 *   -> operations (operations_start.c)
 */
#include <assert.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "control/control_priv.h"
#include "log/record_walk.h"

enum { ENTRY_HEAD_BYTES = 14 };
#define AUDIT_KEPT_MS (90LL * 24 * 3600 * 1000)

bool start_failed(struct job *job)
{
    if (job->one.op.err == ERR_OK) {
        return false;
    }
    control_fail(job->control, &job->one.op.info);
    return true;
}

bool start_take_records(struct job *job, void (*take)(struct control *control, struct str value))
{
    struct control *control = job->control;
    const struct log_read_op *read = &job->one.op.u.read;
    struct record record;
    enum err err;
    struct record_walk walk = record_walk_of(&control->record_reader, read->buf, read->ret_bytes);
    while ((err = record_walk_next(&walk, &record, NULL)) != ERR_NOT_FOUND) {
        if (err == ERR_OK) {
            take(control, record.value);
        }
    }
    return read->ret_next_offset < read->ret_end_offset && read->ret_bytes > 0;
}

void start_serve(struct control *control)
{
    mem_free(control->start_job.rows);
    control->start_job.rows = NULL;
    control->state = CONTROL_SERVING;
}

/* --- the audit chain goes on from its last record --- */

static void take_audit(struct control *control, struct str value)
{
    control->audit_chain = crc32c(0, value.ptr, value.len);
}

static void take_audit_tail(struct job *job)
{
    if (start_failed(job)) {
        return;
    }
    IGNORE_RESULT(start_take_records(job, take_audit)); /* the last batch: there is no more */
    operations_restore(job);
}

static void read_audit_tail(struct job *job)
{
    struct control *control = job->control;
    const struct shard_info *shard = &job->one.op.u.shard.ret_info;
    if (start_failed(job)) {
        return;
    }
    if (shard->end_offset <= shard->start_offset) {
        operations_restore(job);
        return;
    }
    int64_t offset = shard->end_offset - 1;
    struct log_op *op = job_op(job, LOG_OP_READ, take_audit_tail);
    op->u.read = (struct log_read_op){.reader = control->slots[0].reader,
                                      .shard = control->audit_shard,
                                      .offset = offset,
                                      .buf = job->rows,
                                      .cap = LOG_BATCH_BYTES_MAX};
    job_submit(job, &job->one);
}

static void look_at_audit(struct job *job)
{
    if (start_failed(job)) {
        return;
    }
    struct log_op *op = job_op(job, LOG_OP_SHARD_GET, read_audit_tail);
    op->u.shard.shard = job->control->audit_shard;
    job_submit(job, &job->one);
}

/* --- what ingest remembered --- */

static enum err take_entries(struct control *control, const char *bytes, ptrdiff_t len,
                             struct err_info *info)
{
    struct record_walk walk = record_walk_of(&control->record_reader, bytes, len);
    struct record record;
    enum err err;
    while ((err = record_walk_next(&walk, &record, info)) == ERR_OK) {
        struct dedupe_entry entry;
        struct str key = {record.key.ptr + ENTRY_HEAD_BYTES, record.key.len - ENTRY_HEAD_BYTES};
        if (key.len <= 0 || key.len > DEDUPE_KEY_MAX ||
            dedupe_decode(record.value, &entry) != ERR_OK) {
            return err_set(info, ERR_CORRUPT, INGEST_STREAM ": an entry of %td bytes is none",
                           record.value.len);
        }
        dedupe_put(control->dedupe, key, &entry);
        control->changelog_bytes += record.key.len + record.value.len;
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static void restore_next(struct job *job)
{
    struct control *control = job->control;
    struct log_restore_op *restore = &job->one.op.u.restore;
    struct err_info info;
    if (start_failed(job)) {
        return;
    }
    if (take_entries(control, restore->buf, restore->ret_bytes, &info) != ERR_OK) {
        control_fail(control, &info);
        return;
    }
    struct log_restore *handle = restore->handle;
    if (restore->ret_more) {
        job->then = restore_next;
        job_submit(job, &job->one);
        return;
    }
    dedupe_expire(control->dedupe, wall_ms(control) - PRODUCER_EXPIRY_MS, INT32_MAX);
    struct log_op *op = job_op(job, LOG_OP_RESTORE_CLOSE, look_at_audit);
    op->u.restore.handle = handle;
    job_submit(job, &job->one);
}

static void restore_opened(struct job *job)
{
    if (start_failed(job)) {
        return;
    }
    struct log_restore *handle = job->one.op.u.restore.handle;
    struct log_op *op = job_op(job, LOG_OP_RESTORE_NEXT, restore_next);
    op->u.restore =
        (struct log_restore_op){.handle = handle, .buf = job->rows, .cap = LOG_BATCH_BYTES_MAX};
    job_submit(job, &job->one);
}

static void owner_ready(struct job *job)
{
    struct control *control = job->control;
    if (start_failed(job)) {
        return;
    }
    control->owner = job->one.op.u.owner.ret_id;
    control->incarnation = job->one.op.u.owner.ret_incarnation;
    struct log_op *op = job_op(job, LOG_OP_RESTORE_OPEN, restore_opened);
    op->u.restore = (struct log_restore_op){.changelog = control->ingest_shard,
                                            .group_lo = 0,
                                            .group_hi = LOG_BLOCK_GROUPS,
                                            .at = LOG_AT_LAST};
    job_submit(job, &job->one);
}

/* Changelogs of stages that are no more: they hold back what those had not read, and nobody else would tell. */
static void note_left_over(struct control *control, const struct log_list_op *list)
{
    size_t used = 0;
    for (int32_t i = 0; i < list->ret_count; i++) {
        const struct stream_config *config = &list->infos[i].config;
        if ((config->flags & STREAM_CHANGELOG) != 0 && stream_is_left_over(control, config) &&
            used < sizeof(control->left_over)) {
            int len = snprintf(control->left_over + used, sizeof(control->left_over) - used, "%s%s",
                               used > 0 ? ", " : "", config->name); /* may be cut */
            used += (size_t)len;
        }
    }
}

static void streams_listed(struct job *job)
{
    if (start_failed(job)) {
        return;
    }
    note_left_over(job->control, &job->one.op.u.list);
    struct log_op *op = job_op(job, LOG_OP_OWNER_INIT, owner_ready);
    memcpy(op->u.owner.name, "control", sizeof("control"));
    job_submit(job, &job->one);
}

static void audit_created(struct job *job)
{
    struct control *control = job->control;
    if (start_failed(job)) {
        return;
    }
    control->audit_shard = job->one.op.u.stream.ret_info.first_shard;
    static_assert(LOG_STREAMS_MAX * sizeof(struct stream_info) <= LOG_BATCH_BYTES_MAX,
                  "all streams fit the job's rows");
    struct log_op *op = job_op(job, LOG_OP_STREAM_LIST, streams_listed);
    op->u.list.infos = job->rows;
    op->u.list.cap = LOG_STREAMS_MAX;
    job_submit(job, &job->one);
}

static void ingest_created(struct job *job)
{
    struct control *control = job->control;
    if (start_failed(job)) {
        return;
    }
    control->ingest_shard = job->one.op.u.stream.ret_info.first_shard;
    struct log_op *op = job_op(job, LOG_OP_STREAM_CREATE, audit_created);
    op->u.stream.config = (struct stream_config){.name = AUDIT_STREAM,
                                                 .shard_count = 1,
                                                 .retention_ms = AUDIT_KEPT_MS,
                                                 .retention_bytes = -1};
    job_submit(job, &job->one);
}

void start_begin(struct control *control)
{
    struct job *job = &control->start_job;
    *job = (struct job){.control = control};
    job->rows = mem_new(LOG_BATCH_BYTES_MAX + JSON_PADDING, 1);
    struct log_op *op = job_op(job, LOG_OP_STREAM_CREATE, ingest_created);
    op->u.stream.config = (struct stream_config){.name = INGEST_STREAM,
                                                 .flags = STREAM_INTERNAL | STREAM_CHANGELOG,
                                                 .shard_count = 1,
                                                 .retention_ms = -1,
                                                 .retention_bytes = -1};
    job_submit(job, &job->one);
}
