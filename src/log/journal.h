// SPDX-License-Identifier: Apache-2.0
#ifndef LOG_JOURNAL_H
#define LOG_JOURNAL_H

#include "base/fs.h"
#include "log/wire.h"

/* The journal: numbered segments `log/journal/<16 hex digits>.j`, zeroed and synced before their first use, never used
 * again. A segment is a row of frames, each on a 512-byte border, numbered over all segments without gaps:
 *
 *   offset size field            (little endian)
 *        0    4 magic            "SCJ1"
 *        4    4 header CRC       CRC32C of bytes 8..79
 *        8    8 store            number drawn when the folder was made: a frame of another store is no frame
 *       16    8 frame number
 *       24    8 segment number
 *       32    4 kind             1 snapshot, 2 group
 *       36    4 flags            1: written in the unsynced mode; 2 (then only, of a snapshot): the segment before may
 *                                not be durable
 *       40    8 time             trusted wall time, ms (committer.h)
 *       48    4 entries bytes
 *       52    4 entries CRC      CRC32C
 *       56    8 data bytes
 *       64    4 entry count
 *       68    4 zero sectors     512-byte sectors of the frame that are all zero as written
 *       72    8 segment bytes    of a snapshot: what its file was made with (0: not told); of a group zero
 *       80      entries (catalog.h), then data: the record batches that BATCH entries name, in their order; zeros up to
 *               the trailer, the last 8 bytes before a border: the frame number's complement, so never zero
 *
 * A batch is covered by its own CRC, which its BATCH entry repeats, together with base offset and length; so bytes are
 * summed once on their way in. The first frame of a segment is a snapshot of the whole catalog.
 *
 * Frame n + 1 is written only when n is synced, so at most the last frame can be torn, by whole sectors. Verdict on a bad
 * frame (design: the log): torn if no valid frame with a higher number follows anywhere and a sector of it that was
 * written non-zero is still zero, or its trailer is (a process that was killed leaves a beginning); everything else is
 * corruption. So is a file that is shorter than it was made: no crash makes one shorter.
 *
 * In the unsynced mode a segment may be begun before the one before it is durable. Its snapshot says so (flag 2) until it is,
 * and until then counts only behind the last frame of the one before. */

enum {
    JOURNAL_SECTOR = 512,
    JOURNAL_HEADER = 80,
    JOURNAL_TRAILER = 8,
    JOURNAL_PATH_MAX = 48,
    JOURNAL_SNAPSHOT = 1,
    JOURNAL_GROUP = 2,
    JOURNAL_FLAG_UNSYNCED = 1,
    JOURNAL_FLAG_OPEN = 2
};

#define JOURNAL_FRAME_MAX ((int64_t)1 << 30)

struct frame_header {
    uint64_t store, number, segment;
    uint32_t kind, flags;
    int64_t time_ms;
    uint32_t entries_bytes, entries_crc;
    int64_t data_bytes;
    uint32_t entry_count, zero_sectors;
    int64_t segment_bytes;
};

static inline int64_t journal_align(int64_t bytes)
{
    return (bytes + JOURNAL_SECTOR - 1) / JOURNAL_SECTOR * JOURNAL_SECTOR;
}

/* Whole frame on disk. */
static inline int64_t frame_total(const struct frame_header *header)
{
    return journal_align(JOURNAL_HEADER + (int64_t)header->entries_bytes + header->data_bytes +
                         JOURNAL_TRAILER);
}

void journal_path(char path[JOURNAL_PATH_MAX], uint64_t segment);

/* Sectors of bytes[len] that are all zero; len is a multiple of the sector. */
uint32_t journal_zero_sectors(const uint8_t *bytes, int64_t len);

/* Fills in the header of a frame that stands in bytes[total] (entries and data in place, zeros behind them): computes
 * entries_crc, zero_sectors and the header's CRC. */
void frame_seal(uint8_t *bytes, struct frame_header *header);

/* Takes JOURNAL_FLAG_OPEN from the frame that begins in `sector`. */
void frame_close(uint8_t sector[JOURNAL_SECTOR]);

/* CORRUPT if the header at bytes[JOURNAL_HEADER] is none. */
ATTR_NODISCARD enum err frame_parse(const uint8_t *bytes, struct frame_header *ret_header);

/* What stands at one place of a segment. */
enum frame_verdict {
    FRAME_GOOD,
    FRAME_END,   /* zero, or the end of the file */
    FRAME_SHORT, /* not written whole: sectors or the trailer that were not zero are */
    FRAME_HEADLESS, /* no header, no trailer in its sector: short if nothing stands behind the sector */
    FRAME_BAD       /* anything else */
};

/* Reads frames of one segment. */
struct frame_reader {
    const struct fs *fs;
    struct fs_file file;
    int64_t size;   /* of the file */
    uint64_t store; /* 0: not yet known, taken from the first good frame */
    uint8_t *buf;   /* the last frame read */
    int64_t cap;
};

ATTR_NODISCARD enum err frame_reader_open(struct frame_reader *reader, const struct fs *fs,
                                          uint64_t segment, struct err_info *info);
void frame_reader_close(struct frame_reader *reader); /* keeps buf */
void frame_reader_release(struct frame_reader *reader);

/* The frame at `offset`, wholly checked; ret_header only for GOOD. Its bytes are in reader->buf. */
ATTR_NODISCARD enum err frame_read(struct frame_reader *reader, int64_t offset,
                                   enum frame_verdict *ret_verdict, struct frame_header *ret_header,
                                   struct err_info *info);

/* Looks behind `offset` on all sector borders.
 *   ret_zero      nothing but zeros up to the end
 *   ret_number    highest number of a valid frame, or 0 */
ATTR_NODISCARD enum err frame_search(struct frame_reader *reader, int64_t offset, bool *ret_zero,
                                     uint64_t *ret_number, struct err_info *info);

#endif
