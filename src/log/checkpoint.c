// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"
#include "log/embedded_priv.h"
#include "log/record_batch.h"

/* A checkpoint file `log/checkpoints/<16 hex digits>`: the state of some key groups of a block, or of all.
 *
 *   offset size field            (little endian)
 *        0    4 magic            "SCK1"
 *        4    4 CRC32C of bytes 8..63
 *        8    4 changelog shard
 *       12    4 lowest group     16  4 end of groups
 *       20    4 zero
 *       24    8 at               changelog offset
 *       32    8 bytes that follow
 *       40   24 zero
 *       64      record batches v2, each covered by its own CRC
 *
 * Written to `tmp`, synced, renamed, folder synced; only then does the journal name it. A file that no CHECKPOINT entry
 * names is removed at the next start. */

void checkpoint_header_put(uint8_t header[CHECKPOINT_HEADER], uint32_t shard,
                           const struct log_checkpoint_op *op)
{
    memset(header, 0, CHECKPOINT_HEADER);
    wire_store_u32(header, 0x314b4353);
    wire_store_u32(header + 8, shard);
    wire_store_u32(header + 12, op->group_lo);
    wire_store_u32(header + 16, op->group_hi);
    wire_store_u64(header + 24, (uint64_t)op->at);
    wire_store_u64(header + 32, (uint64_t)op->len);
    wire_store_u32(header + 4, crc32c(0, header + 8, CHECKPOINT_HEADER - 8));
}

enum err checkpoint_check(struct embedded *engine, const struct log_checkpoint_op *op,
                          struct err_info *info)
{
    struct shard *shard = shard_get(&engine->shards, op->changelog.v);
    if (shard == NULL || shard_health(shard) == ERR_NOT_FOUND) {
        return err_set(info, ERR_NOT_FOUND, "no shard %u", op->changelog.v);
    }
    if ((shard->flags & STREAM_CHANGELOG) == 0) {
        return err_set(info, ERR_INVALID, "shard %u is of no changelog", shard->id);
    }
    if (op->group_lo >= op->group_hi || op->group_hi > KEY_GROUP_COUNT ||
        !log_checkpoint_range_valid(op)) {
        return err_set(info, ERR_INVALID, "key groups %u..%u are not of one block", op->group_lo,
                       op->group_hi);
    }
    int64_t end = atomic_load_explicit(&shard->end_offset, memory_order_acquire);
    if (op->at < 0 || op->at > end) {
        return err_set(info, ERR_OFFSET_RANGE,
                       "a checkpoint at %lld of a changelog that ends at %lld", (long long)op->at,
                       (long long)end);
    }
    if (op->len < 0 || (op->len > 0 && op->bytes == NULL)) {
        return err_set(info, ERR_INVALID, "a checkpoint of %td bytes", op->len);
    }
    const uint8_t *at = op->bytes;
    for (ptrdiff_t left = op->len; left > 0;) {
        struct record_batch_header header;
        ptrdiff_t total = 0;
        enum err err = record_batch_parse(at, left, &header, &total, info);
        if (err == ERR_OK) {
            err = record_batch_verify(at, total, info);
        }
        if (err != ERR_OK) {
            return err;
        }
        at += total;
        left -= total;
    }
    return ERR_OK;
}
