// SPDX-License-Identifier: Apache-2.0
// Rows into windows, windows into results: tumbling and hopping. Sessions are in window_session.c, how hopping
// windows are kept where a key's panes are small in window_blocks.c.

#include "pipeline/window_run.h"

#include <immintrin.h>

#include "base/check.h"
#include "base/clock.h"
#include "pipeline/window.h"

/* Event times further from 1970 than this are refused: no sum of a time and a window's length can overflow. */
static const int64_t EVENT_TIME_MAX_MS = INT64_C(1) << 60;

/* --- rows --- */

/* Leaves the rows that can be worked on in batch->sel. */
static ATTR_COLD void drop_bad_rows(struct operator_instance *op, struct batch *batch)
{
    const uint8_t *rejects = op->piece->rejects;
    int32_t kept = 0;
    for (int32_t i = 0; i < batch->sel_count; i++) {
        int32_t row = batch->sel[i];
        int64_t time = batch->time_ms[row];
        if (rejects[row] != 0) {
            operator_reject(op->env, batch, row, expr_reject_text(rejects[row]));
        } else if (batch->key[row].len > STATE_KEY_MAX) {
            operator_reject(op->env, batch, row, "key is too long to keep state for");
        } else if (time > EVENT_TIME_MAX_MS || time < -EVENT_TIME_MAX_MS) {
            operator_reject(op->env, batch, row, "event time is out of range");
        } else {
            batch->sel[kept++] = row;
        }
    }
    batch->sel_count = kept;
}

/* What the selected rows of a batch have in common. */
struct rows_span {
    int64_t first_ms, last_ms; /* their event times are in between */
    ptrdiff_t lengths;         /* bits of any key's length: none is longer */
    ptrdiff_t common;          /* bits of every key's length: none is shorter */
};

static struct rows_span span_of(const struct batch *batch)
{
    struct rows_span span = {.first_ms = INT64_MAX, .last_ms = INT64_MIN, .common = -1};
    for (int32_t i = 0; i < batch->sel_count; i++) {
        int32_t row = batch->sel[i];
        int64_t time = batch->time_ms[row];
        span.lengths |= batch->key[row].len;
        span.common &= batch->key[row].len;
        span.first_ms = time < span.first_ms ? time : span.first_ms;
        span.last_ms = time > span.last_ms ? time : span.last_ms;
    }
    return span;
}

static ATTR_ALWAYS_INLINE __m128i load_16(const void *at)
{
    return _mm_loadu_si128(at);
}

/* What two neighbours have in common with those before them: their times beside each other, their keys one after the other. */
struct pair_span {
    __m128i first, last, any, all;
};

static ATTR_ALWAYS_INLINE void pair_span_add(struct pair_span *span, const int64_t *time,
                                             const struct str *key)
{
    __m128i times = load_16(time);
    span->first = _mm_blendv_epi8(span->first, times, _mm_cmpgt_epi64(span->first, times));
    span->last = _mm_blendv_epi8(span->last, times, _mm_cmpgt_epi64(times, span->last));
    span->any = _mm_or_si128(span->any, _mm_or_si128(load_16(&key[0]), load_16(&key[1])));
    span->all = _mm_and_si128(span->all, _mm_and_si128(load_16(&key[0]), load_16(&key[1])));
}

/* The same if all rows are selected: two pairs at a time, so that one need not wait for the other. */
static struct rows_span span_of_all(const struct batch *batch)
{
    const int64_t *time = batch->time_ms;
    const struct str *key = batch->key;
    struct pair_span even = {.first = _mm_set1_epi64x(INT64_MAX),
                             .last = _mm_set1_epi64x(INT64_MIN),
                             .any = _mm_setzero_si128(),
                             .all = _mm_set1_epi64x(-1)};
    struct pair_span odd = even;
    int32_t end = batch->count - 2; // where the last pair begins
    for (int32_t i = 0; i <= end; i += 4) {
        int32_t k = i + 2 <= end ? i + 2 : end; // at the end: with some of those before
        pair_span_add(&even, &time[i], &key[i]);
        pair_span_add(&odd, &time[k], &key[k]);
    }
    pair_span_add(&odd, &time[end], &key[end]);
    even.first = _mm_blendv_epi8(even.first, odd.first, _mm_cmpgt_epi64(even.first, odd.first));
    even.last = _mm_blendv_epi8(even.last, odd.last, _mm_cmpgt_epi64(odd.last, even.last));
    int64_t a = _mm_cvtsi128_si64(even.first);
    int64_t b = _mm_extract_epi64(even.first, 1);
    int64_t c = _mm_cvtsi128_si64(even.last);
    int64_t d = _mm_extract_epi64(even.last, 1);
    return (struct rows_span){
        .first_ms = a < b ? a : b,
        .last_ms = c > d ? c : d,
        .lengths = (ptrdiff_t)_mm_extract_epi64(_mm_or_si128(even.any, odd.any), 1),
        .common = (ptrdiff_t)_mm_extract_epi64(_mm_and_si128(even.all, odd.all), 1)};
}

/* Works out what the aggregates read of each row, and drops the rows that cannot be worked on. The event times of those
 * that were selected are in [ret_first, ret_last]; op->key_bytes is that of all keys, if they are alike. */
static void prepare_rows(struct operator_instance *op, struct batch *batch, int64_t *ret_first,
                         int64_t *ret_last)
{
    const struct aggregate_list *list = &op->window->aggregates;
    uint8_t *rejects = op->piece->rejects;
    memset(rejects, 0, (size_t)batch->count);
    bool odd = aggregate_list_eval(list, batch, &op->input, rejects) != 0;
    bool all = batch->sel_count == batch->count && batch->count > 1;
    struct rows_span span = all ? span_of_all(batch) : span_of(batch);
    odd |= span.lengths > STATE_KEY_MAX || span.first_ms < -EVENT_TIME_MAX_MS ||
           span.last_ms > EVENT_TIME_MAX_MS;
    if (UNLIKELY(odd)) {
        drop_bad_rows(op, batch);
    }
    op->key_bytes = span.lengths == span.common ? (int32_t)span.lengths : 0;
    *ret_first = span.first_ms;
    *ret_last = span.last_ms;
}

static void add_to_cell(struct operator_instance *op, const struct batch *batch, int32_t row,
                        struct state_space *space, void *payload)
{
    struct cell cell = window_cell(op, space, batch->hash[row], payload, batch->arena);
    const char *reason = aggregate_list_add(&op->window->aggregates, &op->input, row, &cell);
    if (reason != NULL) {
        operator_reject(op->env, batch, row, reason);
    }
}

/* Finds the runs of rows that go to one cell; returns how many there are. */
static int32_t find_runs(struct window_piece *piece, const struct state_rows *rows)
{
    int32_t runs = 0;
    int32_t last = -1;
    for (int32_t i = 0; i < rows->count; i++) {
        int32_t row = rows->sel[i];
        bool same = last >= 0 && rows->hash[row] == rows->hash[last] &&
                    (rows->time == NULL || rows->time[row] == rows->time[last]) &&
                    str_equal(rows->key[row], rows->key[last]);
        if (!same) {
            piece->first[runs] = row;
            piece->length[runs++] = 0;
        }
        piece->length[runs - 1]++;
        last = row;
    }
    return runs;
}

int32_t window_upsert_groups(struct operator_instance *op, struct state_rows rows)
{
    struct window_piece *piece = op->piece;
    int32_t count = rows.count;
    int32_t groups = row_groups_find(&piece->groups, &rows, piece->first);
    bool grouped = groups >= 0;
    if (grouped) {
        rows.sel = piece->first;
        rows.count = groups;
    } else {
        memcpy(piece->first, rows.sel, (size_t)count * sizeof rows.sel[0]);
    }
    piece->grouped = grouped;
    state_upsert_many(op->spaces[WINDOW_CELLS], &rows, piece->payload, piece->created);
    return rows.count;
}

void window_spread_groups(struct operator_instance *op, int32_t count)
{
    struct window_piece *piece = op->piece;
    for (int32_t i = count - 1; piece->grouped && i >= 0;
         i--) { // a group's number is no larger than i
        piece->payload[i] = piece->payload[piece->groups.of[i]];
    }
}

int32_t window_upsert_rows(struct operator_instance *op, struct state_rows rows)
{
    int32_t found = window_upsert_groups(op, rows);
    window_spread_groups(op, rows.count);
    return found;
}

/* Adds rows of one cell. */
static void add_run(struct operator_instance *op, const struct batch *batch, const int32_t *rows,
                    int32_t count, void *payload)
{
    const struct aggregate_list *list = &op->window->aggregates;
    struct cell cell =
        window_cell(op, op->spaces[WINDOW_CELLS], batch->hash[rows[0]], payload, batch->arena);
    for (int32_t i = aggregate_list_idle(list, &op->input, rows, count, &cell); i < count;
         i += 1 + aggregate_list_idle(list, &op->input, rows + i + 1, count - i - 1, &cell)) {
        const char *reason = aggregate_list_add(list, &op->input, rows[i], &cell);
        if (reason != NULL) {
            operator_reject(op->env, batch, rows[i], reason);
        }
    }
}

/* Adds rows to their cells. Returns how many look-ups that took: their rows, and whether these made their cells, are in the
 * piece. */
static int32_t add_rows(struct operator_instance *op, const struct batch *batch,
                        struct state_rows rows)
{
    struct window_piece *piece = op->piece;
    const struct aggregate_list *list = &op->window->aggregates;
    const int32_t *sel = rows.sel;
    if (list->plain) {
        int32_t found = window_upsert_rows(op, rows);
        aggregate_list_add_plain(list, &op->input, sel, rows.count, piece->payload);
        return found;
    }
    int32_t runs = find_runs(piece, &rows);
    rows.sel = piece->first;
    rows.count = runs;
    state_upsert_many(op->spaces[WINDOW_CELLS], &rows, piece->payload, piece->created);
    // Tails may move, payloads do not: nothing is upserted between here and the end.
    for (int32_t run = 0, at = 0; run < runs; at += piece->length[run], run++) {
        add_run(op, batch, sel + at, piece->length[run], piece->payload[run]);
    }
    return runs;
}

/* Rows of the batch, each of its own cell time; `time` NULL: the caller says of which one. */
static struct state_rows rows_of(const struct operator_instance *op, const struct batch *batch,
                                 const int32_t *sel, int32_t count, const int64_t *time)
{
    return (struct state_rows){.sel = sel,
                               .count = count,
                               .key_bytes = op->key_bytes,
                               .hash = batch->hash,
                               .key = batch->key,
                               .time = time};
}

/* Event times of the rows are in [first, last]: mostly in one window, and then there is nothing to tell apart by row. */
static void process_tumbling(struct operator_instance *op, const struct batch *batch, int64_t first,
                             int64_t last)
{
    struct window_piece *piece = op->piece;
    int64_t size = op->window->size_ms;
    if (batch->stamp_ms == NULL && first >= -EVENT_TIME_MAX_MS && last <= EVENT_TIME_MAX_MS) {
        int64_t only = window_floor(first, size);
        if (last < only + size && only + size > op->watermark_ms) {
            struct state_rows rows = rows_of(op, batch, batch->sel, batch->sel_count, NULL);
            rows.at = only;
            IGNORE_RESULT(add_rows(op, batch, rows)); // no timers: cells are found by their time
            return;
        }
    }
    int64_t start = INT64_MIN;
    int64_t end = INT64_MIN; // of the window that was computed last: rows mostly fall into it
    int32_t count = 0;
    for (int32_t i = 0; i < batch->sel_count; i++) {
        int32_t row = batch->sel[i];
        int64_t time = batch->time_ms[row];
        if (UNLIKELY(time < start || time >= end)) {
            start = window_floor(time, size);
            end = start + size;
        }
        if (UNLIKELY(window_late(op, batch, row, end))) {
            operator_late(op->env, batch, row);
            continue;
        }
        piece->time[row] = start;
        piece->sel[count++] = row;
    }
    IGNORE_RESULT(add_rows(op, batch, rows_of(op, batch, piece->sel, count, piece->time)));
}

/* A row that is late for some of its windows only: into a cell of each of the others. */
static void add_partly_late(struct operator_instance *op, const struct batch *batch, int32_t row,
                            int64_t first_end, int64_t last_end)
{
    const struct window_plan *window = op->window;
    struct state_space *space = op->spaces[WINDOW_EXTRA];
    for (int64_t end = first_end; end <= last_end; end += window->slide_ms) {
        if (window_late(op, batch, row, end)) {
            continue;
        }
        uint64_t hash = batch->hash[row];
        if (window->block_panes == 0) {
            state_upsert(op->spaces[WINDOW_TIMERS], hash, batch->key[row], end, NULL);
        }
        void *payload = state_upsert(space, hash, batch->key[row], end, NULL);
        add_to_cell(op, batch, row, space, payload);
    }
}

/* Arms the first open window of each pane that a row of this batch made the cell of; the other cells are under a timer
 * already (H1). */
static void arm_hopping(struct operator_instance *op, const struct batch *batch, int32_t runs)
{
    const struct window_plan *window = op->window;
    const struct window_piece *piece = op->piece;
    for (int32_t i = 0; i < runs; i++) {
        if (piece->created[i] == 0) {
            continue;
        }
        int32_t row = piece->first[i];
        int64_t end = window_floor(piece->time[row] - window->size_ms, window->slide_ms) +
                      window->slide_ms + window->size_ms;
        if (end <= op->watermark_ms) { // windows that are closed already
            end += window_floor(op->watermark_ms - end, window->slide_ms) + window->slide_ms;
        }
        state_upsert(op->spaces[WINDOW_TIMERS], batch->hash[row], batch->key[row], end, NULL);
    }
}

/* By blocks, if all rows are in one pane, as they mostly are, and late for none of its windows: nothing is to be told apart
 * by row then. Event times are in [first, last]. False: it is to be gone about row by row. */
static bool process_one_pane(struct operator_instance *op, const struct batch *batch, int64_t first,
                             int64_t last)
{
    const struct window_plan *window = op->window;
    if (window->block_panes == 0 || batch->stamp_ms != NULL || first < -EVENT_TIME_MAX_MS ||
        last > EVENT_TIME_MAX_MS) {
        return false;
    }
    int64_t pane = window_floor(first, window->pane_ms);
    int64_t last_end = window_floor(first, window->slide_ms) + window->size_ms;
    if (last >= pane + window->pane_ms || last_end <= op->watermark_ms) {
        return false;
    }
    window_block_add_pane(op, batch, pane);
    return true;
}

static void process_hopping(struct operator_instance *op, const struct batch *batch)
{
    const struct window_plan *window = op->window;
    struct window_piece *piece = op->piece;
    int32_t count = 0;
    int64_t pane = INT64_MIN;
    int64_t first_end = 0;
    int64_t last_end = 0;
    for (int32_t i = 0; i < batch->sel_count; i++) {
        int32_t row = batch->sel[i];
        int64_t time = batch->time_ms[row];
        if (pane == INT64_MIN || time < pane || time >= pane + window->pane_ms) {
            pane = window_floor(time, window->pane_ms);
            last_end = window_floor(time, window->slide_ms) + window->size_ms;
            first_end = window_floor(pane - window->size_ms, window->slide_ms) + window->slide_ms +
                        window->size_ms;
        }
        if (window_late(op, batch, row, last_end)) {
            operator_late(op->env, batch, row);
        } else if (batch->stamp_ms != NULL && first_end <= batch->stamp_ms[row]) {
            add_partly_late(op, batch, row, first_end, last_end);
        } else {
            piece->time[row] = pane;
            piece->sel[count++] = row;
        }
    }
    if (window->block_panes != 0) {
        window_block_add(op, batch, count);
        return;
    }
    struct state_rows rows = rows_of(op, batch, piece->sel, count, piece->time);
    arm_hopping(op, batch, add_rows(op, batch, rows));
}

static void process_session(struct operator_instance *op, const struct batch *batch)
{
    for (int32_t i = 0; i < batch->sel_count; i++) {
        int32_t row = batch->sel[i];
        if (window_late(op, batch, row, batch->time_ms[row] + op->window->gap_ms)) {
            operator_late(op->env, batch, row);
        } else {
            window_session_add(op, batch, row);
        }
    }
}

enum err window_process(struct operator_instance *op, int input ATTR_UNUSED, struct batch *batch,
                        struct batch_list *next ATTR_UNUSED, struct err_info *info ATTR_UNUSED)
{
    int64_t first;
    int64_t last;
    window_wake(op);
    prepare_rows(op, batch, &first, &last);
    switch (op->window->kind) {
    case WINDOW_TUMBLING:
        process_tumbling(op, batch, first, last);
        break;
    case WINDOW_HOPPING:
        if (!process_one_pane(op, batch, first, last)) {
            process_hopping(op, batch);
        }
        break;
    case WINDOW_SESSION:
        process_session(op, batch);
        break;
    }
    return ERR_OK;
}

/* --- closing --- */

/* The windows of one key group, which are removed. */
static void close_group(struct operator_instance *op, struct window_out *out, struct state_due *due,
                        int32_t count)
{
    if (out->expected < count) {
        int64_t most = state_entry_count(op->env->state);
        most = most < WINDOW_ROWS_PER_ADVANCE ? most : WINDOW_ROWS_PER_ADVANCE;
        out->expected = count > (int32_t)most ? count : (int32_t)most;
    }
    for (int32_t i = 0; i < count; i++) {
        uint64_t hash = window_key_hash(op, due[i].key);
        struct cell cell = window_cell(op, op->spaces[WINDOW_CELLS], hash, due[i].payload, NULL);
        window_emit(out, due[i].key, hash, due[i].time, due[i].time + op->window->size_ms, &cell);
        due[i].verdict = STATE_REMOVE;
    }
}

static bool advance_tumbling(struct operator_instance *op, struct window_out *out)
{
    int64_t size = op->window->size_ms;
    if (op->watermark_ms < INT64_MIN + size) {
        return false;
    }
    int64_t until = op->watermark_ms == INT64_MAX ? INT64_MAX : op->watermark_ms - size;
    struct state_space *cells = op->spaces[WINDOW_CELLS];
    uint32_t *group = &op->firing.group;
    for (;;) {
        // From the first group on: rows may have come meanwhile to groups that were done.
        if (*group == 0) {
            int64_t first = state_min_time(cells);
            if (first > until || first == INT64_MAX) {
                return false;
            }
        }
        struct state_due *due;
        int32_t count = state_due_begin(cells, until, group, &due);
        if (count == 0) {
            *group = 0;
            continue;
        }
        close_group(op, out, due, count);
        state_due_end(cells);
        if (out->rows >= WINDOW_ROWS_PER_ADVANCE) {
            return true;
        }
    }
}

/* Adds a pane, or late rows, to the content of a window, unless that is too much already. */
static void gather_cell(struct operator_instance *op, struct state_space *space, uint64_t hash,
                        const void *payload, struct cell *merged)
{
    if (merged->tail_len <= CELL_MERGED_BYTES_MAX) {
        struct cell cell = window_cell(op, space, hash, (void *)(uintptr_t)payload, NULL);
        aggregate_list_merge(&op->window->aggregates, merged, &cell);
    }
}

/* The content of one key's window that ends at `end`, merged from its panes and late rows: over CELL_MERGED_BYTES_MAX if
 * there is more in it. Returns false if it is empty.
 *   ret_more   a later window holds one of the panes */
static bool gather_hopping(struct operator_instance *op, const struct state_entry *timer,
                           int64_t end, struct cell *merged, bool *ret_more)
{
    const struct window_plan *window = op->window;
    struct state_space *cells = op->spaces[WINDOW_CELLS];
    bool found = false;
    int64_t start = end - window->size_ms;
    *ret_more = false;
    for (int64_t pane = start; pane < end; pane += window->pane_ms) {
        const void *payload = state_find(cells, timer->hash, timer->key, pane);
        if (payload == NULL) {
            continue;
        }
        gather_cell(op, cells, timer->hash, payload, merged);
        found = true;
        *ret_more = *ret_more || pane >= start + window->slide_ms;
    }
    struct state_space *late = op->spaces[WINDOW_EXTRA];
    const void *payload = state_find(late, timer->hash, timer->key, end);
    if (payload != NULL) {
        gather_cell(op, late, timer->hash, payload, merged);
        found = true;
    }
    return found;
}

static void fire_hopping(struct operator_instance *op, const struct state_entry *timer,
                         struct window_out *out)
{
    const struct window_plan *window = op->window;
    int64_t end = timer->time;
    int64_t start = end - window->size_ms;
    arena_reset(&op->scratch);
    struct cell merged = window_scratch_cell(op);
    bool more;
    if (gather_hopping(op, timer, end, &merged, &more)) {
        window_emit(out, timer->key, timer->hash, start, end, &merged);
    }
    for (int64_t pane = start; pane < start + window->slide_ms; pane += window->pane_ms) {
        state_delete(op->spaces[WINDOW_CELLS], timer->hash, timer->key, pane);
    }
    state_delete(op->spaces[WINDOW_EXTRA], timer->hash, timer->key, end);
    if (more) {
        state_upsert(op->spaces[WINDOW_TIMERS], timer->hash, timer->key, end + window->slide_ms,
                     NULL);
    }
}

static bool advance_hopping(struct operator_instance *op, struct window_out *out)
{
    for (;;) {
        // One end at a time: a window that fires may arm the next of its key, which comes before other timers of it.
        int64_t end = state_min_time(op->spaces[WINDOW_TIMERS]);
        if (end > op->watermark_ms || end == INT64_MAX) {
            return false;
        }
        int32_t count =
            state_take_due(op->spaces[WINDOW_TIMERS], end, op->piece->entries, WINDOW_PIECE);
        out->expected = count;
        for (int32_t i = 0; i < count; i++) {
            fire_hopping(op, &op->piece->entries[i], out);
        }
        if (out->rows >= WINDOW_ROWS_PER_ADVANCE) {
            return true;
        }
    }
}

bool window_advance(struct operator_instance *op, int64_t watermark_ms, struct batch_list *next)
{
    if (watermark_ms > op->watermark_ms) {
        op->watermark_ms = watermark_ms;
    }
    window_wake(op);
    struct window_out out = {.op = op, .next = next, .final = true};
    bool more = false;
    switch (op->window->kind) {
    case WINDOW_TUMBLING:
        more = advance_tumbling(op, &out);
        break;
    case WINDOW_HOPPING:
        more = op->window->block_panes != 0 ? window_block_advance(op, &out)
                                            : advance_hopping(op, &out);
        break;
    case WINDOW_SESSION:
        more = window_session_advance(op, &out);
        break;
    }
    window_out_finish(&out);
    return more;
}

/* --- early results --- */

static void early_tumbling(struct operator_instance *op, struct window_out *out)
{
    struct state_space *space = op->spaces[WINDOW_CELLS];
    struct state_entry entry;
    while (out->rows < WINDOW_ROWS_PER_ADVANCE && state_next(space, &op->tick_cursor, &entry)) {
        struct cell cell = window_taken_cell(&entry);
        window_emit(out, entry.key, entry.hash, entry.time, entry.time + op->window->size_ms,
                    &cell);
    }
}

/* Of each key, the windows it has timers for: the next to close. */
static void early_hopping(struct operator_instance *op, struct window_out *out)
{
    struct state_entry timer;
    while (out->rows < WINDOW_ROWS_PER_ADVANCE &&
           state_next(op->spaces[WINDOW_TIMERS], &op->tick_cursor, &timer)) {
        arena_reset(&op->scratch);
        struct cell merged = window_scratch_cell(op);
        bool more;
        if (gather_hopping(op, &timer, timer.time, &merged, &more)) {
            window_emit(out, timer.key, timer.hash, timer.time - op->window->size_ms, timer.time,
                        &merged);
        }
    }
}

int64_t window_tick(struct operator_instance *op, int64_t now_ns, struct batch_list *next)
{
    const struct window_plan *window = op->window;
    if (window->emit_ns == 0) {
        return CLOCK_NEVER;
    }
    if (op->tick_next_ns == 0) {
        op->tick_next_ns = now_ns + window->emit_ns;
    }
    if (now_ns < op->tick_next_ns) {
        return op->tick_next_ns;
    }
    struct window_out out = {.op = op, .next = next, .expected = BATCH_ROWS_MAX};
    switch (window->kind) {
    case WINDOW_TUMBLING:
        early_tumbling(op, &out);
        break;
    case WINDOW_HOPPING:
        early_hopping(op, &out);
        break;
    case WINDOW_SESSION:
        window_session_early(op, &out);
        break;
    }
    window_out_finish(&out);
    if (out.rows < WINDOW_ROWS_PER_ADVANCE) {
        op->tick_cursor = 0;
        op->tick_next_ns = now_ns + window->emit_ns;
    }
    return op->tick_next_ns;
}
