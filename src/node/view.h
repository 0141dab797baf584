// SPDX-License-Identifier: Apache-2.0
#ifndef NODE_VIEW_H
#define NODE_VIEW_H

#include "base/arena.h"
#include "node/position.h"
#include "node/shadow_sample.h"
#include "pipeline/batch.h"

/* A view: a cursor over one shard for a range of key groups, all keys or a sample of them. Pure: decoded rows in,
 * the rows that are its own, their stamps and the shard's watermark out.
 *
 * Invariants:
 *   V1  The watermark is computed over all rows from the start on, not only the view's own.
 *   V2  A row is taken once: rows below the position of their key group are looked at (V1) and passed over.
 *   V3  Where batches and slices end changes nothing but when things happen. */

enum row_kind { ROW_DATA, ROW_MARK, ROW_BAD_TIME };

/* Rows of one shard as decoded, shared read-only by the views near them. */
struct rows {
    int64_t first_offset, next_offset; /* what they stand for: [first, next), gaps included */
    int32_t count;
    int64_t *offset;
    int64_t *time_ms;  /* event time; of a ROW_MARK: index into marks; of a ROW_BAD_TIME: nothing */
    int64_t *stamp_ms; /* from sc.stamp (internal shards), else STAMP_NONE */
    uint64_t *hash;
    struct str *key, *value;
    struct str *headers; /* without reserved ones */
    int32_t *header_count;
    uint8_t *kind;         /* enum row_kind; NULL: all are data */
    const char **bad_text; /* of ROW_BAD_TIME rows: why; NULL if there are none */
    bool any_headers, any_stamps;
    struct mark *marks;
    int32_t mark_count;
};

/* First row at or behind `offset`. */
int32_t rows_from(const struct rows *rows, int64_t offset);

struct view_options {
    uint32_t group_lo, group_hi;
    const struct sampler *sampler; /* outlives the view; NULL: all records */
    bool internal;                 /* time comes from markers and stamps */
    int64_t out_of_order_ms;       /* of a source shard */
    int32_t source_shards;         /* of an internal shard: shards of the writing stage's input 0 */
};

/* What a view with a sampler has met of its range, since it began. */
struct view_counts {
    int64_t seen;                /* rows of the range that were not in its past */
    int64_t heavy, hashed, left; /* of them, by stratum; heavy and hashed are its own */
};

struct view {
    struct view_options options;
    struct view_counts counts;
    bool fresh;               /* never committed: may begin where the shard now begins */
    bool coverage_changed;    /* since the watermark was last computed from it */
    struct position position; /* of the cursor */
    struct position_map
        ahead; /* key groups that stand ahead of the cursor; empty when all were passed */
};

/* Starts at the lowest of `positions` (clipped to the range; moved in). */
void view_init(struct view *view, const struct view_options *options,
               struct position_map positions);
void view_release(struct view *view);

/* What one call takes: a batch of the view's own rows. */
struct view_slice {
    struct batch *batch;    /* NULL: none of the rows is its own */
    int64_t scanned;        /* rows looked at */
    int32_t taken;          /* own rows in the batch, as it was made */
    int64_t bytes;          /* keys and values of its own */
    int64_t stamped;        /* own rows behind the watermark */
    int32_t reject_count;   /* own rows without a readable time */
    const int32_t *rejects; /* their numbers in `rows` */
    int32_t input;          /* of the stage; the caller's */
};

/* Goes on from the cursor, which `rows` must hold: takes up to `rows_max` (<= BATCH_ROWS_MAX) of its own rows or about
 * `bytes_max` bytes. The batch points into `rows` where it can, else into `arena`. Moves the cursor. */
void view_take(struct view *view, const struct rows *rows, int32_t rows_max, int64_t bytes_max,
               struct arena *arena, struct view_slice *ret_slice);

/* The view goes on in a queue that carries what another view of the same position takes: from `offset` on, with the time it
 * has; what lies ahead is the other one's to pass over. */
void view_from_queue(struct view *view, int64_t offset);

/* Moves the cursor of a fresh view to where the shard begins. */
void view_begin_at(struct view *view, int64_t offset);

/* What view_init() would have to be given to go on where this view stands: the cursor's position, and behind it those of key
 * groups that stand ahead. A cursor that has read nothing has none, so that it may begin where the shard then begins; groups may
 * stand ahead of it all the same, when they came by a merge with a partition that had read. `to`: empty; the caller's. */
void view_positions(const struct view *view, struct position_map *to);

/* The shard's watermark as of the cursor. With ret_idle: it holds nobody back. */
int64_t view_watermark(struct view *view, bool *ret_idle);

/* No new record for idle_after: the watermark rises to the largest event time, or the shard is idle. True if that
 * changed something. */
bool view_tick(struct view *view);

#endif
