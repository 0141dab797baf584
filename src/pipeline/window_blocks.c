// SPDX-License-Identifier: Apache-2.0
// Hopping windows by blocks: for lists of aggregates that live in a few bytes, which is most of them.
//
// A block is what stands between two multiples of the window's size: all of its panes lie in one entry of a key, so that
// a row costs one look-up, and a window, which spans at most two blocks, costs its key two neighbours instead of a look-up
// for each pane. No timers: when the watermark passes an end, the key groups' entries of those two blocks are walked in
// order.
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
    rows.count = window_find_runs(piece, &rows);
    rows.sel = piece->first;
    state_upsert_many(op->spaces[WINDOW_CELLS], &rows, piece->payload, NULL);
    window_spread_payloads(piece, rows.count, count);
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
    int64_t block = state_min_time(op->spaces[WINDOW_CELLS]);
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

/* What one entry has for the window that ends at op->firing.end. */
struct part {
    struct state_due *due; /* NULL: the key has no such entry */
    uint64_t panes;        /* in the window */
};

/* Looks at an entry, and lets go of the panes that no later window holds. */
static struct part look(const struct operator_instance *op, struct state_due *due)
{
    const struct window_plan *window = op->window;
    struct block *block = due->payload;
    int64_t end = op->firing.end;
    int64_t start = end - window->size_ms;
    uint64_t in = panes_below((end - due->time) / window->pane_ms);
    if (start > due->time) {
        in &= ~panes_below((start - due->time) / window->pane_ms);
    }
    struct part part = {.due = due};
    if (((uint64_t)end ^ SIGN) > block->fired) {
        part.panes = block->panes & in;
    }
    return part;
}

/* The window was emitted for the entry's key, or has nothing of it. */
static void settle(const struct operator_instance *op, struct part part, bool emitted)
{
    if (part.due == NULL) {
        return;
    }
    const struct window_plan *window = op->window;
    struct block *block = part.due->payload;
    int64_t next_start = op->firing.end - window->size_ms + window->slide_ms;
    if (next_start > part.due->time) {
        block->panes &= ~panes_below((next_start - part.due->time) / window->pane_ms);
    }
    if (block->panes == 0) {
        part.due->verdict = STATE_REMOVE;
    } else if (emitted) {
        block_fired(block, (uint64_t)op->firing.end ^ SIGN);
        part.due->verdict = STATE_CHANGED;
    }
}

static void merge_panes(struct operator_instance *op, struct cell *merged, struct part part)
{
    for (uint64_t left = part.panes; left != 0; left &= left - 1) {
        struct cell cell = {.payload = block_cell(op, part.due->payload, __builtin_ctzll(left))};
        aggregate_list_merge(&op->window->aggregates, merged, &cell);
    }
}

/* Emits the window of a key that has entries `older` and `newer`, or one of them. */
static void fire_key(struct operator_instance *op, struct window_out *out, struct part older,
                     struct part newer)
{
    int panes = __builtin_popcountll(older.panes) + __builtin_popcountll(newer.panes);
    if (panes > 0) {
        struct str key = older.due != NULL ? older.due->key : newer.due->key;
        struct cell cell;
        if (panes == 1) { // the usual case of keys that come and go
            struct part only = older.panes != 0 ? older : newer;
            CHECK(only.due != NULL); // whose pane it is
            cell = (struct cell){
                .payload = block_cell(op, only.due->payload, __builtin_ctzll(only.panes))};
        } else {
            arena_reset(&op->scratch);
            cell = window_scratch_cell(op);
            merge_panes(op, &cell, older);
            merge_panes(op, &cell, newer);
        }
        int64_t end = op->firing.end;
        window_emit(out, key, hash64(key.ptr, key.len), end - op->window->size_ms, end, &cell);
    }
    settle(op, older, panes > 0);
    settle(op, newer, panes > 0);
}

/* Emits the windows of a key group: its entries in order of (block, key), of which there are two blocks at most that the
 * window spans. */
static void fire_group(struct operator_instance *op, struct window_out *out, struct state_due *due,
                       int32_t count)
{
    int64_t newer_start = window_floor(op->firing.end - op->window->pane_ms, op->window->size_ms);
    int32_t split = 0;
    while (split < count && due[split].time < newer_start) {
        split++;
    }
    int32_t a = 0;
    int32_t b = split;
    while (a < split || b < count) {
        struct part older = {0};
        struct part newer = {0};
        int order = a == split ? 1 : b == count ? -1 : str_compare(due[a].key, due[b].key);
        if (order <= 0) {
            older = look(op, &due[a++]);
        }
        if (order >= 0) {
            newer = look(op, &due[b++]);
        }
        fire_key(op, out, older, newer);
    }
}

/* Goes on with the end being emitted. False: there is no key group left. */
static bool fire_more(struct operator_instance *op, struct window_out *out)
{
    struct state_due *due;
    int32_t count = state_due_begin(op->spaces[WINDOW_CELLS], op->firing.end - op->window->pane_ms,
                                    &op->firing.group, &due);
    if (count == 0) {
        return false;
    }
    if (out->expected < count) {
        int64_t most = state_entry_count(op->env->state);
        most = most < BATCH_ROWS_MAX ? most : BATCH_ROWS_MAX;
        out->expected = count > (int32_t)most ? count : (int32_t)most;
    }
    fire_group(op, out, due, count);
    state_due_end(op->spaces[WINDOW_CELLS]);
    return true;
}

bool window_block_advance(struct operator_instance *op, struct window_out *out)
{
    struct window_firing *firing = &op->firing;
    for (;;) {
        if (!firing->going) {
            int64_t end = next_end(op);
            if (end > op->watermark_ms || end == INT64_MAX) {
                return false;
            }
            *firing =
                (struct window_firing){.going = true, .end = end, .fired_last = firing->fired_last};
            take_late(op, end);
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
