// SPDX-License-Identifier: Apache-2.0
#include "log/segment.h"

#include "base/attr.h"
#include "base/hash.h"
#include "base/mem.h"
#include "log/record_batch.h"
#include "log/wire.h"

void segment_index_encode(uint8_t slot[SEGMENT_INDEX_SLOT], int64_t base_offset, int64_t position)
{
    wire_store_u64(slot, (uint64_t)base_offset);
    wire_store_u64(slot + 8, (uint64_t)position);
    wire_store_u32(slot + 16, crc32c(0, slot, 16));
    wire_store_u32(slot + 20, 0);
}

bool segment_index_decode(const uint8_t slot[SEGMENT_INDEX_SLOT], int64_t *ret_base_offset,
                          int64_t *ret_position)
{
    if (wire_load_u32(slot + 16) != crc32c(0, slot, 16) || wire_load_u32(slot + 20) != 0) {
        return false;
    }
    *ret_base_offset = (int64_t)wire_load_u64(slot);
    *ret_position = (int64_t)wire_load_u64(slot + 8);
    return *ret_base_offset >= 0 && *ret_position >= 0;
}

static void index_put(struct wire_out *index, int64_t base_offset, int64_t position)
{
    int64_t window = position / SEGMENT_INDEX_SPACING;
    ptrdiff_t need = (ptrdiff_t)(window + 1) * SEGMENT_INDEX_SLOT;
    if (index == NULL || window >= SEGMENT_INDEX_SLOTS_MAX || index->len >= need) {
        return; /* a batch before it stands in this window */
    }
    ptrdiff_t old = index->len;
    uint8_t *at = wire_grow(index, need - old);
    memset(at, 0, (size_t)(need - old));
    segment_index_encode(index->bytes + need - SEGMENT_INDEX_SLOT, base_offset, position);
}

/* Checks the batches of buf[got]; returns how many bytes were good and moves *offset. *ret_stop: the walk ends here. */
static ptrdiff_t walk_buffer(const struct segment_walk *walk, const uint8_t *buf, ptrdiff_t got,
                             int64_t position, int64_t *offset, bool *ret_stop)
{
    ptrdiff_t used = 0;
    while (got - used >= RECORD_BATCH_HEADER) {
        struct record_batch_header header;
        ptrdiff_t total = 0;
        enum err err = record_batch_parse(buf + used, got - used, &header, &total, NULL);
        if (err == ERR_LIMIT) {
            return used;
        }
        if (err != ERR_OK || (*offset >= 0 && header.base_offset != *offset) ||
            record_batch_verify(buf + used, total, NULL) != ERR_OK) {
            *ret_stop = true;
            return used;
        }
        index_put(walk->index, header.base_offset, position + used);
        used += total;
        *offset = header.base_offset + header.last_offset_delta + 1;
        if (*offset >= walk->end_offset) {
            *ret_stop = true;
            return used;
        }
    }
    return used;
}

enum err segment_walk(const struct segment_walk *walk, int64_t *ret_position, int64_t *ret_offset,
                      bool *ret_whole, struct err_info *info)
{
    struct fs_file file = {-1};
    enum err err = fs_open(walk->fs, walk->path, FS_O_READ, &file, info);
    if (err != ERR_OK) {
        return err;
    }
    const ptrdiff_t cap = LOG_BATCH_BYTES_MAX + (1 << 20);
    uint8_t *buf = mem_resize(NULL, cap, 1);
    int64_t position = walk->position, offset = walk->expected;
    bool stop = walk->end_offset <= offset, at_end = false;
    while (!stop && !at_end && position < walk->bytes_max) {
        ptrdiff_t want =
            walk->bytes_max - position < cap ? (ptrdiff_t)(walk->bytes_max - position) : cap;
        ptrdiff_t got = 0;
        err = fs_read(walk->fs, file, buf, want, position, &got, info);
        if (err != ERR_OK) {
            break;
        }
        ptrdiff_t used = walk_buffer(walk, buf, got, position, &offset, &stop);
        at_end = got == 0;
        stop = stop || (used == 0 && got > 0); /* a batch that does not end */
        position += used;
    }
    mem_free(buf);
    fs_close(walk->fs, file);
    if (err == ERR_OK) {
        *ret_position = position;
        *ret_offset = offset;
        *ret_whole = at_end || position >= walk->bytes_max || offset >= walk->end_offset;
    }
    return err;
}
