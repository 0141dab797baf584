// SPDX-License-Identifier: Apache-2.0
// Hopping windows by blocks: for lists of aggregates that live in a few bytes, which is most of them.
//
// A block is what stands between two multiples of the window's size: all of its panes lie in one entry of a key, so that
// a row costs one look-up, and a window, which spans at most two blocks, costs its key two neighbours instead of a look-up
// for each pane. No timers: when the watermark passes an end, the entries of those two blocks are walked over, those of the
// older one with what their keys have in the newer.
//
//   offset 0   u64 fired   the last end up to which the key's windows were emitted, sign flipped; 0: none
//          8   u64 panes   bit i: pane i has rows that a window still to come will hold
//         16   a cell for each pane
//
// Invariants: B1 a window of a key is emitted when its end is above `fired` of all entries of the key that it spans and
// one of them has a pane in it; `fired` of those is the end then, in the same commit. So what was emitted, and whether,
// follows from state alone, also when a commit is cut in the middle of an end. B2 ends are emitted in order, and all up to
// the watermark before the next row. B3 an entry goes with the last window that holds one of its panes.
//
// A row that is late for some of its windows only is kept apart, in a cell of each of the others (WINDOW_EXTRA). When such
// a window's turn comes, the cell becomes the key's first pane in it: every other window with that pane was emitted before.

#include "base/check.h"
#include "pipeline/window.h"

enum { BLOCK_PANES_MAX = 64, BLOCK_BYTES_MAX = 512 };

struct block {
    uint64_t fired;
    uint64_t panes;
};

static const uint64_t SIGN = UINT64_C(1) << 63;

static int64_t block_bytes(const struct window_plan *window, int64_t panes)
{
    return (int64_t)sizeof(struct block) + panes * window->aggregates.payload_bytes;
}

int32_t window_block_panes(const struct window_plan *window)
{
    int64_t panes = window->size_ms / window->pane_ms;
    bool small = panes <= BLOCK_PANES_MAX && block_bytes(window, panes) <= BLOCK_BYTES_MAX;
    // Early results are of windows to come, by their timers.
    return window->aggregates.plain && window->emit_ns == 0 && small ? (int32_t)panes : 0;
}

int32_t window_block_bytes(const struct window_plan *window)
{
    return (int32_t)block_bytes(window, window->block_panes);
}

static char *block_cell(const struct operator_instance *op, void *block, int64_t pane)
{
    return (char *)block + sizeof(struct block) + pane * op->payload_bytes;
}

/* Bits of a block's panes from number `first` on, and below it. */
static uint64_t panes_below(int64_t first)
{
    return first <= 0 ? 0 : first >= BLOCK_PANES_MAX ? ~UINT64_C(0) : (UINT64_C(1) << first) - 1;
}

/* The largest end of a window that is at or before the watermark, as `fired` has it. */
static uint64_t closed_end(const struct operator_instance *op)
{
    const struct window_plan *window = op->window;
    if (op->watermark_ms < INT64_MIN / 2) {
        return 0;
    }
    int64_t start = window_floor(op->watermark_ms - window->size_ms, window->slide_ms);
    return (uint64_t)(start + window->size_ms) ^ SIGN;
}

static void block_fired(struct block *block, uint64_t fired)
{
    block->fired = fired > block->fired ? fired : block->fired;
}

/* --- rows --- */

/* By row: block and pane, from the pane's start in piece->time. */
static void place_rows(struct operator_instance *op, int32_t count)
{
    const struct window_plan *window = op->window;
    struct window_piece *piece = op->piece;
    int64_t pane = INT64_MIN;
    int64_t start = 0;
    uint8_t index = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t row = piece->sel[i];
        if (piece->time[row] != pane) {
            pane = piece->time[row];
            start = window_floor(pane, window->size_ms);
            index = (uint8_t)((pane - start) / window->pane_ms);
        }
        piece->time[row] = start;
        piece->pane[row] = index;
    }
}

void window_block_add(struct operator_instance *op, const struct batch *batch, int32_t count)
{
    struct window_piece *piece = op->piece;
    place_rows(op, count);
    struct state_rows rows = {.sel = piece->sel,
                              .count = count,
                              .key_bytes = op->key_bytes,
                              .hash = batch->hash,
                              .key = batch->key,
                              .time = piece->time};
    IGNORE_RESULT(window_upsert_rows(op, rows)); // no timers to arm
    uint64_t closed = closed_end(op);
    for (int32_t i = 0; i < count; i++) {
        struct block *block = piece->payload[i];
        uint8_t pane = piece->pane[piece->sel[i]];
        block_fired(block, closed);
        block->panes |= UINT64_C(1) << pane;
        piece->payload[i] = block_cell(op, block, pane);
    }
    aggregate_list_add_plain(&op->window->aggregates, &op->input, piece->sel, count,
                             piece->payload);
}

void window_block_add_pane(struct operator_instance *op, const struct batch *batch, int64_t pane)
{
    const struct window_plan *window = op->window;
    void **payload = op->piece->payload;
    int32_t count = batch->sel_count;
    int64_t start = window_floor(pane, window->size_ms);
    int64_t index = (pane - start) / window->pane_ms;
    struct state_rows rows = {.sel = batch->sel,
                              .count = count,
                              .key_bytes = op->key_bytes,
                              .hash = batch->hash,
                              .key = batch->key,
                              .at = start};
    int32_t found = window_upsert_groups(op, rows); // no timers to arm
    uint64_t closed = closed_end(op);
    for (int32_t i = 0; i < found; i++) {
        struct block *block = payload[i];
        block_fired(block, closed);
        block->panes |= UINT64_C(1) << index;
        payload[i] = block_cell(op, block, index);
    }
    window_spread_groups(op, count);
    aggregate_list_add_plain(&window->aggregates, &op->input, batch->sel, count, payload);
}

/* --- closing --- */

/* The cells of rows that are late for all windows before the one that ends at `end` become panes. */
static void take_late(struct operator_instance *op, int64_t end)
{
    const struct window_plan *window = op->window;
    int64_t first = end - window->size_ms;
    int64_t start = window_floor(first, window->size_ms);
    int64_t pane = (first - start) / window->pane_ms;
    int32_t count;
    while ((count = state_take_due(op->spaces[WINDOW_EXTRA], end, op->piece->entries,
                                   WINDOW_PIECE)) > 0) {
        for (int32_t i = 0; i < count; i++) {
            const struct state_entry *entry = &op->piece->entries[i];
            struct block *block =
                state_upsert(op->spaces[WINDOW_CELLS], entry->hash, entry->key, start, NULL);
            struct cell into = {.payload = block_cell(op, block, pane)};
            struct cell from = window_taken_cell(entry);
            aggregate_list_merge(&window->aggregates, &into, &from);
            block->panes |= UINT64_C(1) << pane;
            block_fired(block, (uint64_t)(end - window->slide_ms) ^ SIGN);
        }
    }
}

/* The next end that something is open for; INT64_MAX: nothing is. */
static int64_t next_end(struct operator_instance *op)
{
    const struct window_plan *window = op->window;
    int64_t block = state_listed_from(op->spaces[WINDOW_CELLS], INT64_MIN);
    int64_t end = state_min_time(op->spaces[WINDOW_EXTRA]);
    if (block == INT64_MAX) {
        return end;
    }
    int64_t first = window_floor(block - window->size_ms, window->slide_ms) + window->slide_ms +
                    window->size_ms;
    if (op->firing.fired_last != INT64_MIN && first <= op->firing.fired_last) {
        first = op->firing.fired_last + window->slide_ms;
    }
    return first < end ? first : end;
}

/* What is to be done with a block's entries for the window that ends at op->firing.end: the panes that are in it, and those
 * that a later window holds. */
struct share {
    uint64_t in, later;
};

static struct share share_of(const struct operator_instance *op, int64_t block)
{
    const struct window_plan *window = op->window;
    int64_t start = op->firing.end - window->size_ms;
    int64_t next_start = start + window->slide_ms;
    return (struct share){
        .in = panes_below((op->firing.end - block) / window->pane_ms) &
              ~panes_below((start - block) / window->pane_ms),
        .later = ~panes_below((next_start - block) / window->pane_ms),
    };
}

/* An entry's panes that are in the window, unless the window was emitted before. */
static uint64_t panes_in(const struct operator_instance *op, struct share share,
                         const struct state_due *due)
{
    const struct block *block = due->payload;
    return ((uint64_t)op->firing.end ^ SIGN) > block->fired ? block->panes & share.in : 0;
}

/* The window was emitted for the entry's key, or has nothing of it. */
static void settle(const struct operator_instance *op, struct share share, struct state_due *due,
                   bool emitted)
{
    struct block *block = due->payload;
    block->panes &= share.later;
    if (block->panes == 0) {
        due->verdict = STATE_REMOVE;
    } else if (emitted) {
        block_fired(block, (uint64_t)op->firing.end ^ SIGN);
        due->verdict = STATE_CHANGED;
    }
}

static void merge_panes(struct operator_instance *op, struct cell *merged,
                        const struct state_due *due, uint64_t panes)
{
    for (uint64_t left = panes; left != 0; left &= left - 1) {
        struct cell cell = {.payload = block_cell(op, due->payload, __builtin_ctzll(left))};
        aggregate_list_merge(&op->window->aggregates, merged, &cell);
    }
}

/* Room for as many results. */
static struct window_results results_new(struct operator_instance *op, int32_t count)
{
    arena_reset(&op->scratch);
    return (struct window_results){
        .key = arena_new_raw(&op->scratch, count, (ptrdiff_t)sizeof(struct str)),
        .payload = arena_new_raw(&op->scratch, count, (ptrdiff_t)sizeof(void *))};
}

/* Adds the window of a key, made of panes of one entry, and of another unless that is NULL. */
static void add_panes(struct operator_instance *op, struct window_results *results,
                      const struct state_due *due, uint64_t panes, const struct state_due *other,
                      uint64_t other_panes)
{
    bool one = (panes & (panes - 1)) == 0; // the usual case of keys that come and go
    struct cell cell = {.arena = &op->scratch};
    if (other_panes == 0 && one) {
        cell.payload = block_cell(op, due->payload, __builtin_ctzll(panes));
    } else {
        cell.payload = window_scratch_cell(op).payload;
        merge_panes(op, &cell, due, panes);
        if (other_panes != 0) {
            merge_panes(op, &cell, other, other_panes);
        }
    }
    results->key[results->count] = due->key;
    results->payload[results->count++] = cell.payload;
}

/* Keys that have nothing in the block behind this one, or none that is in the window. */
static void fire_alone(struct operator_instance *op, struct window_results *results,
                       struct state_due *due, int32_t count)
{
    struct share share = share_of(op, op->firing.walk.time);
    for (int32_t i = 0; i < count; i++) {
        uint64_t panes = panes_in(op, share, &due[i]);
        if (panes != 0) {
            add_panes(op, results, &due[i], panes, NULL, 0);
        }
        settle(op, share, &due[i], panes != 0);
    }
}

/* Keys whose windows also hold what they have in the newer block. */
static void fire_pairs(struct operator_instance *op, struct window_results *results,
                       struct state_due *due, struct state_due *newer, int32_t count)
{
    struct share share = share_of(op, op->firing.walk.time);
    struct share newer_share = share_of(op, op->firing.walk.beside);
    for (int32_t i = 0; i < count; i++) {
        uint64_t panes = panes_in(op, share, &due[i]);
        bool pair = newer[i].payload != NULL;
        uint64_t newer_panes = pair ? panes_in(op, newer_share, &newer[i]) : 0;
        if (panes != 0) {
            add_panes(op, results, &due[i], panes, &newer[i], newer_panes);
        } else if (newer_panes != 0) {
            add_panes(op, results, &newer[i], newer_panes, NULL, 0);
        }
        bool emitted = (panes | newer_panes) != 0;
        settle(op, share, &due[i], emitted);
        if (pair) {
            settle(op, newer_share, &newer[i], emitted);
        }
    }
}

/* A walk over the first block from `from` on; beside the older one that the window spans the newer, if anybody is in it. */
static struct state_walk block_walk(const struct operator_instance *op, int64_t from)
{
    const struct window_plan *window = op->window;
    struct state_space *space = op->spaces[WINDOW_CELLS];
    int64_t end = op->firing.end;
    int64_t older = window_floor(end - window->size_ms, window->size_ms);
    int64_t newer = window_floor(end - window->pane_ms, window->size_ms);
    struct state_walk walk = {.time = state_listed_from(space, from), .beside = STATE_NO_TIME};
    if (walk.time == older && newer != older && state_listed_from(space, newer) == newer) {
        walk.beside = newer;
    }
    return walk;
}

/* Goes on with the end being emitted. False: there is no block left. */
static bool fire_more(struct operator_instance *op, struct window_out *out)
{
    struct state_space *space = op->spaces[WINDOW_CELLS];
    struct state_walk *walk = &op->firing.walk;
    struct state_due *due;
    struct state_due *newer;
    int32_t count = 0;
    while (walk->time < op->firing.end &&
           (count = state_walk_next(space, walk, &due, &newer)) == 0) {
        *walk = block_walk(op, walk->time + 1);
    }
    if (count == 0) {
        return false;
    }
    struct window_results results = results_new(op, count);
    if (newer != NULL) {
        fire_pairs(op, &results, due, newer, count);
    } else {
        fire_alone(op, &results, due, count);
    }
    window_emit_many(out, &results, op->firing.end - op->window->size_ms, op->firing.end);
    state_walk_settle(space);
    return true;
}

bool window_block_advance(struct operator_instance *op, struct window_out *out)
{
    struct window_firing *firing = &op->firing;
    int64_t most = state_entry_count(op->env->state);
    out->expected = most < BATCH_ROWS_MAX ? (int32_t)most : BATCH_ROWS_MAX;
    for (;;) {
        if (!firing->going) {
            int64_t end = next_end(op);
            if (end > op->watermark_ms || end == INT64_MAX) {
                return false;
            }
            take_late(op, end);
            *firing =
                (struct window_firing){.going = true, .end = end, .fired_last = firing->fired_last};
            firing->walk = block_walk(op, INT64_MIN);
        }
        while (fire_more(op, out)) {
            if (out->rows >= WINDOW_ROWS_PER_ADVANCE) {
                return true;
            }
        }
        firing->going = false;
        firing->fired_last = firing->end;
    }
}
