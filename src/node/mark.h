// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_MARK_H
#define NODE_MARK_H

#include "log/record_batch.h"

/* Reserved record headers: how time travels in band. Clients may not write headers whose name begins with "sc.";
 * operators never see them.
 *
 *   sc.stamp   i64 BE ms: the record was behind its source shard's watermark, which was this (internal streams only)
 *   sc.bad     text: why the record's event time could not be read where it came from (queues of shadows only)
 *   sc.mark    the record is a marker, not data:
 *                offset size field
 *                     0    1 kind             1 watermark, 2 idle, 3 end
 *                     1    4 source shard     of the writing stage's input 0
 *                     5    2 group_lo         key groups of the writing partition
 *                     7    2 group_hi         0 stands for 4096
 *                     9    8 watermark_ms
 *              All big endian. On source streams only kind 3 has a meaning, and its other fields have none. */

#define MARK_HEADER         "sc.mark"
#define STAMP_HEADER        "sc.stamp"
#define BAD_TIME_HEADER     "sc.bad"
#define REASON_HEADER       "sc.reason"
#define SOURCE_HEADER       "sc.source"
#define RESERVED_HEADER_TOP "sc."

enum mark_kind { MARK_WATERMARK = 1, MARK_IDLE = 2, MARK_END = 3 };

struct mark {
    enum mark_kind kind;
    uint32_t source_shard;
    uint32_t group_lo, group_hi; /* [lo, hi) */
    int64_t watermark_ms;
};

enum {
    MARK_VALUE_BYTES = 17,
    MARK_HEADERS_MAX = 32, /* bytes of an encoded block with one mark */
    STAMP_HEADERS_MAX = 24 /* bytes of an encoded sc.stamp header */
};

/* The whole record of a marker; its header block is written into `buf`, which the record points to. */
struct record mark_record(const struct mark *mark, char buf[MARK_HEADERS_MAX]);

/* Reads the value of an sc.mark header. False if it is malformed. */
bool mark_decode(struct str value, struct mark *ret_mark);

/* Encodes an sc.stamp header into `buf`; returns its bytes. */
ptrdiff_t stamp_encode(int64_t stamp_ms, char buf[STAMP_HEADERS_MAX]);
bool stamp_decode(struct str value, int64_t *ret_stamp_ms);

/* One record batch with one end marker, for appending to each shard of a source stream that has ended. The bytes are the
 * builder's, until its next reset. */
ATTR_NODISCARD enum err mark_end_batch(struct record_builder *builder, void **ret_bytes,
                                       ptrdiff_t *ret_len, struct err_info *info);

#endif
