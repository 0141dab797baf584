// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_WINDOW_H
#define PIPELINE_WINDOW_H

#include "pipeline/aggregate.h"
#include "pipeline/operator.h"
#include "pipeline/row_groups.h"

/* The window operator's own parts. Windows are half-open [start, end) in event time; results carry end - 1 ms.
 *
 * Lateness: a row is late for a window when the window ended at or before the row's stamp (its source shard's watermark at
 * the time): a property of the input alone. As a safety net outside that promise (idle ticks), also when the window
 * ended at or before the chain's watermark.
 *
 * State, by kind (all cells are those of aggregate.h; spaces are named "<operator>/<what>"):
 *   tumbling  cells (key, start), timed: due when start + size <= watermark
 *   hopping   cells (key, pane start), a pane being the greatest common divisor of size and slide; timers (key, end);
 *             late cells (key, end) of rows that are late for some of their windows but not for all.
 *             H1 for each open window of a key with a cell in it there is a timer at its end or at an earlier end of the
 *             same key, which arms the next when it fires. H2 a pane's cell goes with the last window that holds it.
 *             Where that is small (window_blocks.c), instead: cells (key, block start), listed, a block being the panes
 *             between two multiples of size, with what all of them hold and up to which end the key's windows were
 *             emitted; late cells (key, end), timed.
 *   session   sessions (key): its open sessions as {start, last} in the tail; cells (key, start); timers (key, due).
 *             A session [start, last + gap) is the union of its rows' [t, t + gap) that overlap. Its result is due when
 *             the watermark has passed its end by one more gap: until then a row that is late by less than its own gap
 *             may still belong to it, and whether it does must not depend on which of them came first.
 *             N1 for each open session of a key there is a timer at or before its due time. */

enum window_kind { WINDOW_TUMBLING, WINDOW_HOPPING, WINDOW_SESSION };

enum { WINDOW_CELLS, WINDOW_TIMERS, WINDOW_EXTRA, WINDOW_SPACES }; /* extra: late cells, sessions */

enum {
    WINDOW_PIECE = 1024,            /* due entries taken at once */
    WINDOW_ROWS_PER_ADVANCE = 1024, /* results of one call, one key's more or less */
    SESSIONS_PER_KEY_MAX = 10000
};

struct window_plan {
    enum window_kind kind;
    int64_t size_ms;      /* tumbling, hopping */
    int64_t slide_ms;     /* hopping */
    int64_t pane_ms;      /* hopping */
    int32_t block_panes;  /* hopping by blocks: panes in one; else 0 */
    int64_t gap_ms;       /* session */
    int64_t emit_ns;      /* early results this often; 0: none */
    int32_t final_column; /* with early results: tells the last one; else -1 */
    struct aggregate_list aggregates;
};

/* Results on their way out, packed into batches. */
struct window_out {
    struct operator_instance *op;
    struct batch_list *next;
    struct batch *batch; /* being filled; NULL: none */
    int32_t expected;    /* rows still to come, at a guess */
    int64_t rows;        /* written in all */
    char *key_at;        /* where the next short key is copied to */
    ptrdiff_t key_room_bytes;
    bool final;
};

struct window_piece {
    struct state_entry entries[WINDOW_PIECE];
    int32_t sel[BATCH_ROWS_MAX];
    int64_t time[BATCH_ROWS_MAX];   /* by row: the cell's */
    int32_t first[BATCH_ROWS_MAX];  /* of each run or group of rows with one cell */
    int32_t length[BATCH_ROWS_MAX]; /* of the run */
    struct row_groups groups;
    bool grouped; /* the rows are, since the last look-up: groups.of tells which is whose */
    void *payload[BATCH_ROWS_MAX];
    uint8_t created[BATCH_ROWS_MAX];
    uint8_t rejects[BATCH_ROWS_MAX];
    uint8_t pane[BATCH_ROWS_MAX]; /* by row: the pane in its block */
};

/* What is being emitted: tumbling, from key group `group` on (0: nothing is); hopping by blocks, the ends. */
struct window_firing {
    uint32_t group; /* tumbling */
    bool going;     /* by blocks: `end` is being emitted, up to where `walk` stands */
    int64_t end;
    struct state_walk walk; /* while going: over the blocks in order of time */
    int64_t
        fired_last; /* the last end that was emitted to the end; INT64_MIN: none since the start */
};

struct operator_instance {
    const struct operator_plan *plan;
    const struct window_plan *window;
    struct operator_env *env;
    struct state_space *spaces[WINDOW_SPACES];
    int64_t watermark_ms;
    int64_t tick_next_ns; /* of early results */
    uint64_t tick_cursor; /* in the middle of them */
    int32_t payload_bytes;
    int32_t key_bytes;    /* of each of this batch's keys; 0: they differ */
    struct arena scratch; /* merged cells */
    struct aggregate_input input;
    struct window_piece *piece; /* made with the first row */
    struct window_firing firing;
};

/* Makes what is needed to work on rows; a window that never sees one does without. */
void window_wake(struct operator_instance *op);

/* Start of the step of `step` ms that holds `time`. */
int64_t window_floor(int64_t time, int64_t step);

struct cell window_cell(const struct operator_instance *op, struct state_space *space,
                        uint64_t hash, void *payload, struct arena *arena);
/* A cell that was taken out of state. */
struct cell window_taken_cell(const struct state_entry *entry);
/* An empty one in scratch memory. */
struct cell window_scratch_cell(struct operator_instance *op);

/* A closing window's key's, for window_emit() and its cell; 0 where nobody behind needs it. */
uint64_t window_key_hash(const struct operator_instance *op, struct str key);

/* The rows one key's result makes. */
void window_emit(struct window_out *out, struct str key, uint64_t hash, int64_t start, int64_t end,
                 const struct cell *cell);
/* Results of one window whose cells have no tail: keys, and the payloads of their cells. */
struct window_results {
    int32_t count;
    struct str *key;
    void **payload;
};

/* The rows of all of them. */
void window_emit_many(struct window_out *out, const struct window_results *results, int64_t start,
                      int64_t end);
void window_out_finish(struct window_out *out);

/* Whether a window that ends at `end` is closed to row `row`. */
static inline bool window_late(const struct operator_instance *op, const struct batch *batch,
                               int32_t row, int64_t end)
{
    return (batch->stamp_ms != NULL && end <= batch->stamp_ms[row]) || end <= op->watermark_ms;
}

/* Finds or makes the cells of rows: into piece->payload, for each; two rows of one cell are looked up once where that is
 * usual. Returns of how many rows, piece->first, and then piece->created tells which of them made theirs. */
int32_t window_upsert_rows(struct operator_instance *op, struct state_rows rows);
/* The same in two steps: for each look-up one payload, then for each of the `count` rows. */
int32_t window_upsert_groups(struct operator_instance *op, struct state_rows rows);
void window_spread_groups(struct operator_instance *op, int32_t count);

/* In how many panes each block of a hopping window is, and the bytes of its entry; 0: it is not kept by blocks. */
int32_t window_block_panes(const struct window_plan *window);
int32_t window_block_bytes(const struct window_plan *window);
/* Adds rows sel[0..count) of the piece, whose panes begin at piece->time[row]. */
void window_block_add(struct operator_instance *op, const struct batch *batch, int32_t count);
/* Adds all selected rows of the batch, which are in the pane that begins at `pane`. */
void window_block_add_pane(struct operator_instance *op, const struct batch *batch, int64_t pane);
bool window_block_advance(struct operator_instance *op, struct window_out *out);

void window_session_add(struct operator_instance *op, const struct batch *batch, int32_t row);
bool window_session_advance(struct operator_instance *op, struct window_out *out);
void window_session_early(struct operator_instance *op, struct window_out *out);

#endif
