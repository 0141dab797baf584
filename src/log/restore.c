// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "log/embedded_priv.h"
#include "log/ranges.h"
#include "log/record_batch.h"

/* Restores. OPEN and CLOSE run in the committer (they pin: checkpoint files by reference, the changelog by `from`), NEXT
 * in the caller's thread.
 *
 * Why the changelog is read from the *lowest* `at` of the files: a file's batches cannot be filtered here, so a newer
 * block's entries may be overwritten by an older file that reached into its groups; the changelog from the older one on
 * repairs that, deletions included. */

/* The open restore of a handle, or NULL. */
static struct log_restore *restore_find(struct embedded *engine, const struct log_restore_op *op)
{
    uint64_t ticket = (uint64_t)(uintptr_t)op->handle;
    uint32_t slot = (uint32_t)ticket & (RESTORES_MAX - 1);
    if (ticket == 0 || atomic_load(&engine->tickets[slot]) != ticket) {
        return NULL;
    }
    return atomic_load(&engine->restores[slot]);
}

static void restore_register(struct embedded *engine, struct log_restore *restore)
{
    do {
        engine->next_ticket++;
    } while (engine->next_ticket == 0 ||
             atomic_load(&engine->tickets[engine->next_ticket & (RESTORES_MAX - 1)]) != 0);
    uint32_t slot = (uint32_t)engine->next_ticket & (RESTORES_MAX - 1);
    restore->ticket = engine->next_ticket;
    engine->restore_count++;
    atomic_store(&engine->restores[slot], restore);
    atomic_store(&engine->tickets[slot], restore->ticket);
}

enum err restore_open(struct embedded *engine, struct log_restore_op *op, struct err_info *info)
{
    struct shard *shard = catalog_shard(&engine->catalog, op->changelog.v);
    if (shard == NULL) {
        return err_set(info, ERR_NOT_FOUND, "no shard %u", op->changelog.v);
    }
    if ((shard->flags & STREAM_CHANGELOG) == 0 || op->group_lo >= op->group_hi ||
        op->group_hi > KEY_GROUP_COUNT || op->at < 0) {
        return err_set(info, ERR_INVALID, "a restore of key groups %u..%u at %lld of shard %u",
                       op->group_lo, op->group_hi, (long long)op->at, shard->id);
    }
    int64_t at = op->at == LOG_AT_LAST ? shard->next_offset : op->at;
    int64_t from = checkpoint_covers_lowest(shard, op->group_lo, op->group_hi);
    if (at > shard->next_offset ||
        at < checkpoint_covers_highest(shard, op->group_lo, op->group_hi) ||
        from < atomic_load(&shard->start_offset)) {
        return err_set(
            info, ERR_OFFSET_RANGE,
            "shard %u cannot be restored at %lld: it holds %lld..%lld, checkpoints reach "
            "up to %lld",
            shard->id, (long long)at, (long long)atomic_load(&shard->start_offset),
            (long long)shard->next_offset,
            (long long)checkpoint_covers_highest(shard, op->group_lo, op->group_hi));
    }
    if (engine->restore_count >= RESTORES_MAX) {
        return err_set(info, ERR_LIMIT, "%d restores are open", RESTORES_MAX);
    }
    struct log_restore *restore = MEM_NEW(struct log_restore);
    restore->engine = engine;
    restore->shard = shard;
    restore->checkpoints = MEM_NEW_ARRAY(struct checkpoint *, shard->cover_count);
    for (int32_t i = 0; i < shard->cover_count; i++) {
        const struct checkpoint_cover *cover = &shard->covers[i];
        int32_t n = restore->checkpoint_count;
        if (cover->lo < op->group_hi && op->group_lo < cover->hi &&
            (n == 0 || restore->checkpoints[n - 1] != cover->checkpoint)) {
            cover->checkpoint->refs++;
            restore->checkpoints[restore->checkpoint_count++] = cover->checkpoint;
        }
    }
    restore->file.fd = -1;
    restore->from = restore->next_offset = from;
    restore->at = at;
    if (from < at) { /* a partition that never had a record has nothing to read: a start has many */
        restore->reader = embedded_reader_new(&engine->log);
        embedded_reader_fill(restore->reader); /* the engine's, which may outlive who restores */
    }
    restore->next = shard->restores;
    shard->restores = restore;
    restore_register(engine, restore);
    op->handle = (struct log_restore *)(uintptr_t)restore->ticket;
    op->ret_at = at;
    return ERR_OK;
}

static void restore_free(struct embedded *engine, struct log_restore *restore)
{
    uint32_t slot = (uint32_t)restore->ticket & (RESTORES_MAX - 1);
    atomic_store(&engine->tickets[slot], 0);
    atomic_store(&engine->restores[slot], NULL);
    engine->restore_count--;
    struct log_restore **link = &restore->shard->restores;
    while (*link != restore) {
        CHECK(*link != NULL);
        link = &(*link)->next;
    }
    *link = restore->next;
    for (int32_t i = 0; i < restore->checkpoint_count; i++) {
        catalog_checkpoint_unref(&engine->catalog, restore->checkpoints[i]);
    }
    if (restore->file.fd >= 0) {
        fs_close(engine->fs, restore->file);
    }
    if (restore->reader != NULL) {
        embedded_reader_free(restore->reader);
    }
    mem_free(restore->checkpoints);
    mem_free(restore);
}

enum err restore_close(struct embedded *engine, const struct log_restore_op *op,
                       struct err_info *info)
{
    struct log_restore *restore = restore_find(engine, op);
    if (restore == NULL) {
        return err_set(info, ERR_NOT_FOUND, "the restore is closed");
    }
    restore_free(engine, restore);
    return ERR_OK;
}

void restore_free_all(struct embedded *engine)
{
    for (int32_t i = 0; i < RESTORES_MAX; i++) {
        struct log_restore *restore = atomic_load(&engine->restores[i]);
        if (restore != NULL) {
            restore_free(engine, restore);
        }
    }
}

static enum err checkpoint_open(struct log_restore *restore, const struct checkpoint *checkpoint,
                                struct err_info *info)
{
    char path[SHARD_PATH_MAX];
    checkpoint_path(path, checkpoint->number);
    const struct fs *fs = restore->engine->fs;
    uint8_t header[CHECKPOINT_HEADER];
    ptrdiff_t got = 0;
    enum err err = fs_open(fs, path, FS_O_READ, &restore->file, info);
    if (err == ERR_OK) {
        err = fs_read(fs, restore->file, header, CHECKPOINT_HEADER, 0, &got, info);
    }
    if (err == ERR_NOT_FOUND ||
        (err == ERR_OK &&
         (got != CHECKPOINT_HEADER || wire_load_u32(header) != 0x314b4353 ||
          wire_load_u32(header + 4) != crc32c(0, header + 8, CHECKPOINT_HEADER - 8) ||
          wire_load_u32(header + 8) != restore->shard->id ||
          (int64_t)wire_load_u64(header + 32) != checkpoint->bytes))) {
        return err_set(info, ERR_CORRUPT, "checkpoint %s is missing or has a bad header", path);
    }
    restore->position = CHECKPOINT_HEADER;
    return err;
}

/* Whole batches of the present checkpoint file. */
static enum err checkpoint_next(struct log_restore *restore, struct log_restore_op *op,
                                struct err_info *info)
{
    const struct checkpoint *checkpoint = restore->checkpoints[restore->checkpoint_index];
    enum err err = restore->file.fd < 0 ? checkpoint_open(restore, checkpoint, info) : ERR_OK;
    if (err != ERR_OK) {
        return err;
    }
    int64_t left = CHECKPOINT_HEADER + checkpoint->bytes - restore->position;
    ptrdiff_t want = left < op->cap ? (ptrdiff_t)left : op->cap, got = 0, used = 0;
    err = fs_read(restore->engine->fs, restore->file, op->buf, want, restore->position, &got, info);
    while (err == ERR_OK && got - used >= RECORD_BATCH_HEADER) {
        struct record_batch_header header;
        ptrdiff_t total = 0;
        uint8_t *at = (uint8_t *)op->buf + used;
        err = record_batch_parse(at, got - used, &header, &total, NULL);
        if (err == ERR_LIMIT) {
            err = ERR_OK;
            break;
        }
        if (err != ERR_OK || record_batch_verify(at, total, NULL) != ERR_OK) {
            err = ERR_CORRUPT;
            break;
        }
        used += total;
    }
    if (err == ERR_CORRUPT || (err == ERR_OK && left > 0 && used == 0)) {
        return err_set(info, ERR_CORRUPT, "checkpoint %lld of shard %u is corrupt at byte %lld",
                       (long long)checkpoint->number, restore->shard->id,
                       (long long)restore->position + used);
    }
    if (err != ERR_OK) {
        return err;
    }
    restore->position += used;
    op->ret_bytes = used;
    if (used == left) {
        fs_close(restore->engine->fs, restore->file);
        restore->file.fd = -1;
        restore->checkpoint_index++;
    }
    return ERR_OK;
}

/* Cuts buf to the batches below `at`. */
static ptrdiff_t below(const uint8_t *buf, ptrdiff_t len, int64_t at)
{
    ptrdiff_t used = 0;
    while (used < len) {
        struct record_batch_header header;
        ptrdiff_t total = 0;
        if (record_batch_parse(buf + used, len - used, &header, &total, NULL) != ERR_OK ||
            header.base_offset >= at) {
            break;
        }
        used += total;
    }
    return used;
}

enum err restore_next(struct embedded *engine, struct log_restore_op *op, struct err_info *info)
{
    struct log_restore *restore = restore_find(engine, op);
    if (restore == NULL) {
        return err_set(info, ERR_NOT_FOUND, "the restore is closed");
    }
    if (op->buf == NULL || op->cap < LOG_BATCH_BYTES_MAX) {
        return err_set(info, ERR_INVALID, "a restore needs a buffer of %d bytes",
                       LOG_BATCH_BYTES_MAX);
    }
    op->ret_bytes = 0;
    op->ret_more = true;
    while (restore->checkpoint_index < restore->checkpoint_count) {
        enum err err = checkpoint_next(restore, op, info);
        if (err != ERR_OK || op->ret_bytes > 0) {
            return err;
        }
    }
    if (restore->next_offset >= restore->at) {
        op->ret_more = false;
        return ERR_OK;
    }
    struct log_read_op read = {.reader = restore->reader,
                               .shard = {restore->shard->id},
                               .offset = restore->next_offset,
                               .buf = op->buf,
                               .cap = op->cap};
    enum err err = embedded_read(restore->engine, &read, info);
    if (err != ERR_OK) {
        return err;
    }
    if (read.ret_bytes == 0) {
        return err_set(info, ERR_AGAIN, "shard %u is not yet readable up to %lld",
                       restore->shard->id, (long long)restore->at);
    }
    restore->next_offset = read.ret_next_offset;
    op->ret_bytes = restore->next_offset > restore->at ? below(op->buf, read.ret_bytes, restore->at)
                                                       : read.ret_bytes;
    op->ret_more = restore->next_offset < restore->at;
    return ERR_OK;
}
