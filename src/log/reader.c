// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "log/embedded_priv.h"
#include "log/record_batch.h"

/* Reading, in the caller's thread: loads the published end first, then finds its bytes in the files (shard.h, S3). A
 * reader that goes on where it stopped costs one pread; a jump costs the sparse index and at most a walk of one window. */

enum { SCAN_BYTES = 64 << 10 };

struct log_reader *embedded_reader_new(struct log *log)
{
    struct log_reader *reader = MEM_NEW(struct log_reader);
    reader->engine = CONTAINER_OF(log, struct embedded, log);
    reader->file.fd = -1;
    return reader;
}

static void reader_forget(struct log_reader *reader)
{
    if (reader->file.fd >= 0) {
        fs_close(reader->engine->fs, reader->file);
    }
    reader->file.fd = -1;
    reader->placed = false;
}

void embedded_reader_free(struct log_reader *reader)
{
    reader_forget(reader);
    mem_free(reader->scan);
    mem_free(reader);
}

void embedded_reader_fill(struct log_reader *reader)
{
    if (reader->scan == NULL) {
        reader->scan = mem_resize(NULL, SCAN_BYTES, 1);
    }
}

/* Opens the segment that holds `offset`. */
static enum err reader_open(struct log_reader *reader, struct shard *shard, int64_t offset,
                            struct err_info *info)
{
    reader_forget(reader);
    int32_t index = segment_find(&shard->segments, offset);
    if (index < 0) {
        return err_set(info, ERR_OFFSET_RANGE, "shard %u has no segment with offset %lld any more",
                       shard->id, (long long)offset);
    }
    int64_t base = segment_at(&shard->segments, index)->base_offset;
    char path[SHARD_PATH_MAX];
    segment_path(path, shard->id, base);
    enum err err = fs_open(reader->engine->fs, path, FS_O_READ, &reader->file, info);
    if (err == ERR_NOT_FOUND && atomic_load(&shard->start_offset) <= offset &&
        shard_health(shard) != ERR_NOT_FOUND) {
        shard_set_problem(shard, base, ERR_CORRUPT, "segment %s is missing", path);
        return err_set(info, ERR_CORRUPT, "segment %s is missing", path);
    }
    if (err == ERR_NOT_FOUND) {
        return err_set(info, ERR_OFFSET_RANGE, "offset %lld of shard %u was trimmed meanwhile",
                       (long long)offset, shard->id);
    }
    if (err == ERR_OK) {
        reader->shard = shard->id;
        reader->segment_base = base;
        reader->position = 0;
        reader->next_offset = base;
    }
    return err;
}

/* Whether the segment that begins at `base` has been let go of: it is then cut from its end (removal.h), also under whoever
 * reads it. */
static bool let_go(const struct shard *shard, int64_t base)
{
    int32_t first = atomic_load_explicit(&shard->segments.first, memory_order_acquire);
    int32_t count = atomic_load_explicit(&shard->segments.count, memory_order_acquire);
    return first < count && segment_at(&shard->segments, first)->base_offset > base;
}

static enum err corrupt(struct shard *shard, int64_t base, int64_t position, const char *what,
                        struct err_info *info)
{
    char path[SHARD_PATH_MAX];
    if (shard_health(shard) == ERR_NOT_FOUND) {
        return err_set(info, ERR_NOT_FOUND, "shard %u: %s", shard->id, shard->problem);
    }
    if (let_go(shard, base)) {
        return err_set(info, ERR_OFFSET_RANGE, "what was read of shard %u was trimmed meanwhile",
                       shard->id);
    }
    segment_path(path, shard->id, base);
    shard_set_problem(shard, base, ERR_CORRUPT, "segment %s is corrupt at byte %lld: %s", path,
                      (long long)position, what);
    return err_set(info, ERR_CORRUPT, "segment %s is corrupt at byte %lld: %s", path,
                   (long long)position, what);
}

/* Takes a better place from the index, if it has one that holds. */
static void reader_use_index(struct log_reader *reader, int64_t offset)
{
    const struct fs *fs = reader->engine->fs;
    char path[SHARD_PATH_MAX];
    segment_index_path(path, reader->shard, reader->segment_base);
    struct fs_file file = {-1};
    if (fs_open(fs, path, FS_O_READ, &file, NULL) != ERR_OK) {
        return;
    }
    int64_t best_offset = -1, best_position = 0;
    ptrdiff_t got = SCAN_BYTES / SEGMENT_INDEX_SLOT * SEGMENT_INDEX_SLOT;
    const ptrdiff_t piece = got;
    for (int64_t at = 0; got == piece; at += piece) {
        if (fs_read(fs, file, reader->scan, piece, at, &got, NULL) != ERR_OK) {
            break;
        }
        for (ptrdiff_t i = 0; got - i >= SEGMENT_INDEX_SLOT; i += SEGMENT_INDEX_SLOT) {
            int64_t base = 0, position = 0;
            if (segment_index_decode(reader->scan + i, &base, &position) && base <= offset &&
                base > best_offset) {
                best_offset = base;
                best_position = position;
            }
        }
    }
    fs_close(fs, file);
    struct record_batch_header header;
    ptrdiff_t total = 0;
    if (best_offset > reader->next_offset &&
        fs_read(fs, reader->file, reader->scan, RECORD_BATCH_HEADER, best_position, &got, NULL) ==
            ERR_OK) {
        enum err err = record_batch_parse(reader->scan, got, &header, &total, NULL);
        if ((err == ERR_OK || (err == ERR_LIMIT && got == RECORD_BATCH_HEADER)) &&
            header.base_offset == best_offset) {
            reader->position = best_position;
            reader->next_offset = best_offset;
        }
    }
}

/* Whole length and end of the batch whose header stands at `bytes`; its body need not be there. */
static enum err peek(const uint8_t *bytes, ptrdiff_t len, struct record_batch_header *ret_header,
                     ptrdiff_t *ret_total)
{
    if (len < RECORD_BATCH_HEADER) {
        return ERR_LIMIT;
    }
    *ret_header = (struct record_batch_header){0};
    enum err err = record_batch_parse(bytes, len, ret_header, ret_total, NULL);
    return err == ERR_LIMIT ? ERR_AGAIN : err;
}

/* Walks headers to the batch that holds `offset`. */
static enum err reader_seek(struct log_reader *reader, struct shard *shard, int64_t offset,
                            struct err_info *info)
{
    enum err err = reader_open(reader, shard, offset, info);
    if (err != ERR_OK) {
        return err;
    }
    embedded_reader_fill(reader);
    if (offset > reader->next_offset) {
        reader_use_index(reader, offset);
    }
    ptrdiff_t got = 0, used = 0;
    bool eof = false;
    while (reader->next_offset < offset) {
        struct record_batch_header header;
        ptrdiff_t total = 0;
        err = used > got ? ERR_LIMIT : peek(reader->scan + used, got - used, &header, &total);
        if (err == ERR_LIMIT && !eof) { /* the header is not in the buffer: read on from it */
            err = fs_read(reader->engine->fs, reader->file, reader->scan, SCAN_BYTES,
                          reader->position, &got, info);
            if (err != ERR_OK) {
                return err;
            }
            used = 0;
            eof = got < RECORD_BATCH_HEADER;
            continue;
        }
        if ((err != ERR_OK && err != ERR_AGAIN) || header.base_offset != reader->next_offset) {
            return corrupt(shard, reader->segment_base, reader->position,
                           "no batch header where one is expected", info);
        }
        int64_t end = header.base_offset + header.last_offset_delta + 1;
        total = header.batch_length + 12;
        if (end > offset) {
            break;
        }
        reader->next_offset = end;
        reader->position += total;
        used += total;
    }
    reader->placed = true;
    return ERR_OK;
}

/* Counts the good batches of buf[got] below `end`. */
static enum err take_batches(struct log_reader *reader, struct shard *shard, const uint8_t *buf,
                             ptrdiff_t got, int64_t end, ptrdiff_t *ret_used, struct err_info *info)
{
    ptrdiff_t used = 0;
    while (got - used >= RECORD_BATCH_HEADER && reader->next_offset < end) {
        struct record_batch_header header;
        ptrdiff_t total = 0;
        enum err err = record_batch_parse(buf + used, got - used, &header, &total, NULL);
        if (err == ERR_LIMIT) {
            break;
        }
        if (err == ERR_OK && header.base_offset != reader->next_offset) {
            err = ERR_CORRUPT;
        }
        if (err == ERR_OK) {
            err = record_batch_verify(buf + used, total, NULL);
        }
        if (err != ERR_OK) {
            if (used > 0) {
                break; /* the good ones first; the next read tells */
            }
            reader_forget(reader);
            return corrupt(shard, reader->segment_base, reader->position,
                           "a batch fails its checksum or its place", info);
        }
        used += total;
        reader->position += total;
        reader->next_offset = header.base_offset + header.last_offset_delta + 1;
    }
    *ret_used = used;
    return ERR_OK;
}

/* Nothing whole could be taken from what was read: the segment's end, a small buffer, or damage. */
static enum err step_over(struct log_reader *reader, struct shard *shard, ptrdiff_t got,
                          ptrdiff_t cap, struct err_info *info)
{
    /* The next segment begins with the next offset: one without a byte would be its own next one. */
    if (got == 0) {
        int64_t old_base = reader->segment_base, position = reader->position;
        int64_t next = reader->next_offset;
        enum err err = reader_open(reader, shard, next, info);
        if (err == ERR_OK && (reader->segment_base != next || next == old_base)) {
            reader_forget(reader);
            return corrupt(shard, old_base, position, "the segment ends too early", info);
        }
        reader->placed = err == ERR_OK;
        return err;
    }
    if (got < cap) {
        int64_t base = reader->segment_base;
        reader_forget(reader);
        return corrupt(shard, base, reader->position, "the segment ends within a batch", info);
    }
    return err_set(info, ERR_LIMIT, "a buffer of %td bytes holds no whole batch at offset %lld",
                   cap, (long long)reader->next_offset);
}

enum err embedded_read(struct embedded *engine, struct log_read_op *op, struct err_info *info)
{
    struct shard *shard = shard_get(&engine->shards, op->shard.v);
    struct log_reader *reader = op->reader;
    op->ret_bytes = 0;
    if (shard == NULL) {
        return err_set(info, ERR_NOT_FOUND, "no shard %u", op->shard.v);
    }
    if (reader != NULL && op->buf != NULL && op->cap >= 0 && op->cap < RECORD_BATCH_HEADER) {
        return err_set(info, ERR_LIMIT, "a buffer of %td bytes holds no batch", op->cap);
    }
    if (reader == NULL || op->buf == NULL || op->cap < 0) {
        return err_set(info, ERR_INVALID, "a read needs a reader and a buffer");
    }
    /* A shard with damage is read as far as it is sound: each batch is checked on its way out, and what is bad is refused
     * there, every time. */
    if (shard_health(shard) == ERR_NOT_FOUND) {
        return err_set(info, ERR_NOT_FOUND, "shard %u: %s", shard->id, shard->problem);
    }
    int64_t end = atomic_load_explicit(&shard->end_offset, memory_order_acquire);
    int64_t start = atomic_load_explicit(&shard->start_offset, memory_order_acquire);
    op->ret_end_offset = end;
    op->ret_start_offset = start;
    op->ret_next_offset = op->offset;
    if (op->offset < start || op->offset > end) {
        return err_set(info, ERR_OFFSET_RANGE, "offset %lld is outside %lld..%lld of shard %u",
                       (long long)op->offset, (long long)start, (long long)end, shard->id);
    }
    if (op->offset == end) {
        return ERR_OK;
    }
    enum err err = ERR_OK;
    if (!reader->placed || reader->shard != shard->id || reader->next_offset != op->offset) {
        err = reader_seek(reader, shard, op->offset, info);
    }
    while (err == ERR_OK) {
        ptrdiff_t got = 0, used = 0;
        err = fs_read(engine->fs, reader->file, op->buf, op->cap, reader->position, &got, info);
        if (err != ERR_OK) {
            break;
        }
        err = take_batches(reader, shard, op->buf, got, end, &used, info);
        if (err == ERR_OK && used > 0) {
            op->ret_bytes = used;
            op->ret_next_offset = reader->next_offset;
            return ERR_OK;
        }
        if (err == ERR_OK) {
            err = step_over(reader, shard, got, op->cap, info);
        }
    }
    return err;
}
