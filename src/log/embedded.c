// SPDX-License-Identifier: Apache-2.0
#include "log/embedded.h"

#include "base/check.h"
#include "base/mem.h"
#include "log/embedded_priv.h"
#include "log/record_batch.h"
#include "log/scan.h"

/* Batches of `len` bytes, each checked whole; in the caller's thread, so that the committer need not. */
static enum err check_batches(const void *bytes, ptrdiff_t len, int64_t *count,
                              struct err_info *info)
{
    const uint8_t *at = bytes;
    if (len <= 0 || bytes == NULL) {
        return err_set(info, ERR_INVALID, "a batch of %td bytes", len);
    }
    for (ptrdiff_t left = len; left > 0;) {
        struct record_batch_header header;
        ptrdiff_t total = 0;
        enum err err = record_batch_parse(at, left, &header, &total, info);
        if (err == ERR_LIMIT) {
            return err_set(info, ERR_CORRUPT, "the last batch is cut short: %td bytes are left",
                           left);
        }
        if (err == ERR_OK) {
            err = record_batch_check_new(at, total, &header, info);
        }
        if (err != ERR_OK) {
            return err;
        }
        at += total;
        left -= total;
        (*count)++;
    }
    return ERR_OK;
}

static enum err check_append(struct log_op *op)
{
    struct record_batch_header header;
    op->engine_word = 1;
    if (op->u.append.batch == NULL || op->u.append.bytes <= 0) {
        return err_set(&op->info, ERR_INVALID, "an append without a batch");
    }
    return record_batch_check_new(op->u.append.batch, op->u.append.bytes, &header, &op->info);
}

static enum err check_commit(struct log_op *op)
{
    const struct log_commit_op *commit = &op->u.commit;
    int64_t bytes = 0;
    op->engine_word = 0;
    if (commit->batch_count < 0 || commit->claim_count < 0 ||
        (commit->batch_count > 0 && commit->batches == NULL) ||
        (commit->claim_count > 0 && commit->claims == NULL)) {
        return err_set(&op->info, ERR_INVALID, "a commit of %d batches and %d claims",
                       commit->batch_count, commit->claim_count);
    }
    for (int32_t i = 0; i < commit->batch_count; i++) {
        bytes += commit->batches[i].len > 0 ? commit->batches[i].len : 0;
        if (bytes > LOG_COMMIT_BYTES_MAX) {
            return err_set(&op->info, ERR_LIMIT, "a commit of more than %d bytes",
                           LOG_COMMIT_BYTES_MAX);
        }
        enum err err = check_batches(commit->batches[i].bytes, commit->batches[i].len,
                                     &op->engine_word, &op->info);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* Completes `op` at once if it is wrong (or done), else hands it to the loop that does it. */
static void embedded_submit(struct log *log, struct log_op *op)
{
    struct embedded *engine = CONTAINER_OF(log, struct embedded, log);
    op->err = ERR_OK;
    op->info = (struct err_info){0};
    op->engine_next = NULL;
    struct mailbox *next = &engine->committer.ops;
    switch (op->kind) {
    case LOG_OP_READ:
        op->err = embedded_read(engine, &op->u.read, &op->info);
        next = NULL;
        break;
    case LOG_OP_RESTORE_NEXT:
        op->err = restore_next(engine, &op->u.restore, &op->info);
        next = NULL;
        break;
    case LOG_OP_CHECKPOINT:
        op->err = checkpoint_check(engine, &op->u.checkpoint, &op->info);
        if (op->err == ERR_OK) {
            syncer_send_checkpoint(engine->syncer, op);
            return;
        }
        break;
    case LOG_OP_APPEND:
        op->err = check_append(op);
        break;
    case LOG_OP_COMMIT:
        op->err = check_commit(op);
        break;
    case LOG_OP_STREAM_CREATE:
    case LOG_OP_STREAM_GET:
    case LOG_OP_STREAM_LIST:
    case LOG_OP_STREAM_ALTER:
    case LOG_OP_STREAM_DELETE:
    case LOG_OP_SHARD_GET:
    case LOG_OP_PRODUCER_INIT:
    case LOG_OP_OWNER_INIT:
    case LOG_OP_OWNER_FENCE:
    case LOG_OP_RANGE_FENCE:
    case LOG_OP_CONTROL_SET:
    case LOG_OP_CONTROL_GET:
    case LOG_OP_CONTROL_LIST:
    case LOG_OP_RESTORE_OPEN:
    case LOG_OP_RESTORE_CLOSE:
    case LOG_OP_FLOOR:
    case LOG_OP_TRIM:
    case LOG_OP_KIND_COUNT:
        break;
    }
    mailbox_push(op->err != ERR_OK || next == NULL ? op->done : next, &op->msg);
}

static int64_t embedded_end_offset(struct log *log, struct shard_id id)
{
    const struct shard *shard = shard_get(&CONTAINER_OF(log, struct embedded, log)->shards, id.v);
    return shard != NULL ? atomic_load_explicit(&shard->end_offset, memory_order_acquire) : 0;
}

static enum err embedded_watch(struct log *log, struct shard_id id, struct waker *waker)
{
    struct shard *shard = shard_get(&CONTAINER_OF(log, struct embedded, log)->shards, id.v);
    return shard != NULL ? shard_watch(shard, waker) : ERR_NOT_FOUND;
}

static void embedded_unwatch(struct log *log, struct shard_id id, struct waker *waker)
{
    struct shard *shard = shard_get(&CONTAINER_OF(log, struct embedded, log)->shards, id.v);
    if (shard != NULL) {
        shard_unwatch(shard, waker);
    }
}

static int embedded_loops(struct log *log, struct log_loop ret_loops[LOG_LOOPS_MAX])
{
    struct embedded *engine = CONTAINER_OF(log, struct embedded, log);
    ret_loops[0] = (struct log_loop){.name = "log-commit",
                                     .step = committer_step,
                                     .ctx = engine,
                                     .waker = &engine->committer.waker};
    ret_loops[1] = (struct log_loop){.name = "log-sync",
                                     .step = syncer_step,
                                     .ctx = engine->syncer,
                                     .waker = syncer_waker(engine->syncer)};
    return 2;
}

static void embedded_close(struct log *log)
{
    struct embedded *engine = CONTAINER_OF(log, struct embedded, log);
    restore_free_all(engine);
    syncer_free(engine->syncer);
    committer_release(engine);
    catalog_release(&engine->catalog);
    shard_table_release(&engine->shards);
    if (engine->lock.fd >= 0) {
        fs_close(engine->fs, engine->lock);
    }
    mem_free(engine);
}

static const struct log_vtable embedded_vtable = {
    .submit = embedded_submit,
    .end_offset = embedded_end_offset,
    .watch = embedded_watch,
    .unwatch = embedded_unwatch,
    .reader_new = embedded_reader_new,
    .reader_free = embedded_reader_free,
    .loops = embedded_loops,
    .close = embedded_close,
};

static void fill_defaults(struct log_embedded_options *options)
{
    if (options->journal_segment_bytes <= 0) {
        options->journal_segment_bytes = 64 << 20;
    }
    if (options->shard_segment_bytes <= 0) {
        options->shard_segment_bytes = 64 << 20;
    }
    if (options->producer_expiry_ms <= 0) {
        options->producer_expiry_ms = (int64_t)7 * 24 * 3600 * 1000;
    }
    if (options->group_bytes_max <= 0) {
        options->group_bytes_max = 4 << 20;
    }
    if (options->unsynced_interval_ns <= 0) {
        options->unsynced_interval_ns = 1000000000;
    }
    options->journal_segment_bytes = journal_align(options->journal_segment_bytes);
}

/* Folders, and the lock that keeps other processes out. */
static enum err take_folder(struct embedded *engine, struct err_info *info)
{
    static const char *const folders[] = {"log", "log/journal", "log/shards", "log/checkpoints"};
    const struct fs *fs = engine->fs;
    for (ptrdiff_t i = 0; i < COUNT_OF(folders); i++) {
        enum err err = fs_mkdir(fs, folders[i], info);
        if (err != ERR_OK) {
            return err;
        }
    }
    enum err err =
        fs_open(fs, "log/lock", FS_O_READ | FS_O_WRITE | FS_O_CREATE, &engine->lock, info);
    if (err != ERR_OK) {
        engine->lock.fd = -1;
        return err;
    }
    struct fs_op op = {.kind = FS_LOCK, .file = engine->lock};
    err = fs_run(fs, &op);
    if (err == ERR_BUSY) {
        return err_set(info, ERR_BUSY,
                       "another process has this data folder open (its log/lock is taken); stop it "
                       "or use another folder");
    }
    if (err != ERR_OK) {
        if (info != NULL) {
            *info = op.info;
        }
        return err;
    }
    /* A journal has its first file only when the folders' names have been made durable. */
    char *names = NULL;
    ptrdiff_t bytes = 0;
    err = list_folder(fs, "log/journal", &names, &bytes, info);
    mem_free(names);
    if (err == ERR_OK && bytes == 0) {
        err = fs_sync_dir(fs, "log", info);
        err = err == ERR_OK ? fs_sync_dir(fs, "", info) : err;
    }
    return err;
}

enum err log_embedded_open(const struct log_embedded_options *options, struct log **ret_log,
                           struct log_recovery_report *ret_report, struct err_info *info)
{
    struct embedded *engine = MEM_NEW(struct embedded);
    engine->log = (struct log){.vtable = &embedded_vtable,
                               .engine = "embedded",
                               .synced = options->sync == LOG_SYNC,
                               .moves = 1};
    engine->fs = options->fs;
    engine->clock = options->clock;
    engine->options = *options;
    engine->lock.fd = -1;
    fill_defaults(&engine->options);
    catalog_init(&engine->catalog, &engine->shards);
    committer_init(engine, clock_now_ns(engine->clock));
    engine->catalog.now_ns = engine->committer.now_ns;
    struct log_recovery_report report = {.torn_at_sequence = -1};
    uint64_t next_segment = 1;
    enum err err = take_folder(engine, info);
    if (err == ERR_OK) {
        err = recovery_run(engine, &report, &next_segment, info);
    }
    if (err != ERR_OK) {
        embedded_close(&engine->log);
        return err;
    }
    atomic_store(&engine->next_checkpoint, engine->catalog.next_checkpoint);
    engine->syncer = syncer_new(engine, next_segment);
    *ret_log = &engine->log;
    *ret_report = report;
    return ERR_OK;
}
