// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_SEGMENT_H
#define LOG_SEGMENT_H

#include "base/fs.h"
#include "log/shard.h"

/* A shard's segment: `<base offset>.seg` holds record batches v2 behind each other, dense from the base offset on;
 * `<base offset>.idx` is its sparse index: a slot for every 256 KiB window of the segment, about the first batch that
 * begins in the window.
 *
 *   slot k at k * 24   offset size field        (little endian)
 *                           0    8 base offset of the batch
 *                           8    8 its position in the segment
 *                          16    4 CRC32C of the 16 bytes before
 *                          20    4 zero
 *
 * An index is a hint: a slot that is missing, fails its CRC or does not point at a batch with that base offset is passed
 * over, and the search walks the segment from an earlier place. */

enum {
    SEGMENT_INDEX_SPACING = 256 << 10,
    SEGMENT_INDEX_SLOT = 24,
    SEGMENT_INDEX_SLOTS_MAX = 1 << 16
};

void segment_index_encode(uint8_t slot[SEGMENT_INDEX_SLOT], int64_t base_offset, int64_t position);
bool segment_index_decode(const uint8_t slot[SEGMENT_INDEX_SLOT], int64_t *ret_base_offset,
                          int64_t *ret_position);

/* Walks a segment from `position`, where a batch of base offset `expected` begins (or anything: `expected` < 0), and
 * checks every batch: place, CRC. Ends at `end_offset` (exclusive), at `bytes_max`, or at the first batch that is not
 * whole and good.
 *   ret_position, ret_offset   where the good part ends
 *   ret_whole                  whether it ends because the segment ends there or the bounds were reached
 * Errors: IO, NOT_FOUND. `index` (may be NULL) gets a slot for each window passed. */
struct segment_walk {
    const struct fs *fs;
    const char *path;
    int64_t position, expected;
    int64_t end_offset, bytes_max;
    struct wire_out *index;
};
ATTR_NODISCARD enum err segment_walk(const struct segment_walk *walk, int64_t *ret_position,
                                     int64_t *ret_offset, bool *ret_whole, struct err_info *info);

#endif
