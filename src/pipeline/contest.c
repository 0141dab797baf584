// SPDX-License-Identifier: Apache-2.0
#include "pipeline/contest.h"

#include <string.h>

#include "pipeline/window.h"

/* Beyond that the window rejects rows, each for itself. */
static const int64_t TIME_MAX_MS = INT64_C(1) << 59;

/* Start of each row's step of time, by row. False: one is out of range. */
static bool find_steps(const struct batch *batch, int64_t grain_ms, int64_t *ret_start)
{
    int64_t start = 0;
    int64_t end = 0; // of the step that was computed last: rows mostly fall into it
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        int64_t time = batch->time_ms[row];
        if (time < start || time >= end) {
            if (time < -TIME_MAX_MS || time > TIME_MAX_MS) {
                return false;
            }
            start = window_floor(time, grain_ms);
            end = start + grain_ms;
        }
        ret_start[row] = start;
    }
    return true;
}

/* Whether all rows have one key, which then is one piece of memory, and one step: as when a stage re-keys by window. */
static bool all_one(const struct batch *batch, const int64_t *start)
{
    const struct str *key = batch->key;
    int32_t first = batch->sel[0];
    uintptr_t differs = 0;
    for (int32_t k = 1; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        differs |= ((uintptr_t)key[row].ptr ^ (uintptr_t)key[first].ptr) |
                   (uintptr_t)(key[row].len ^ key[first].len) |
                   (uintptr_t)(start[row] ^ start[first]);
    }
    return differs == 0;
}

static int32_t find_groups(struct contest_rows *rows, const struct batch *batch,
                           const int64_t *start)
{
    struct state_rows all = {.sel = batch->sel,
                             .count = batch->sel_count,
                             .hash = batch->hash,
                             .key = batch->key,
                             .time = start};
    if (!all_one(batch, start)) {
        return row_groups_find(&rows->groups, &all, rows->first);
    }
    memset(rows->groups.of, 0, (size_t)batch->sel_count * sizeof rows->groups.of[0]);
    return 1;
}

/* By what the larger of two is better. */
static int64_t standing(const struct contest *contest, const int64_t *values, int32_t row)
{
    return contest->least ? ~values[row] : values[row];
}

void contest_decide(const struct contest *contest, struct contest_rows *rows, struct batch *batch)
{
    if (batch->stamp_ms != NULL || batch->sel_count < 2) {
        return;
    }
    int64_t *start = arena_new_raw(batch->arena, batch->count, (ptrdiff_t)sizeof *start);
    if (!find_steps(batch, contest->grain_ms, start)) {
        return;
    }
    int32_t groups = find_groups(rows, batch, start);
    if (groups < 0) {
        return;
    }
    const struct column *column = &batch->columns[contest->column];
    const int64_t *values = COLUMN_I64(column);
    for (int32_t g = 0; g < groups; g++) {
        rows->best[g] = INT64_MIN;
    }
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        int64_t *best = &rows->best[rows->groups.of[k]];
        if (!column_is_null(column, row) && standing(contest, values, row) > *best) {
            *best = standing(contest, values, row);
        }
    }
    int32_t kept = 0;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        bool best = standing(contest, values, row) == rows->best[rows->groups.of[k]];
        if (best || column_is_null(column, row)) {
            batch->sel[kept++] = row;
        }
    }
    batch->sel_count = kept;
}

void contest_decide_one(const struct contest *contest, const struct column *key,
                        struct batch *batch)
{
    if (batch->stamp_ms != NULL || batch->sel_count < 2 || key->null != NULL) {
        return;
    }
    const struct column *column = &batch->columns[contest->column];
    const int64_t *values = COLUMN_I64(column);
    const int64_t *keys = COLUMN_I64(key);
    int64_t one = keys[batch->sel[0]];
    int64_t differs = 0;
    int64_t first_ms = INT64_MAX;
    int64_t last_ms = INT64_MIN;
    int64_t best = INT64_MIN;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        int64_t time = batch->time_ms[row];
        int64_t value = column_is_null(column, row) ? INT64_MIN : standing(contest, values, row);
        differs |= keys[row] ^ one;
        first_ms = time < first_ms ? time : first_ms;
        last_ms = time > last_ms ? time : last_ms;
        best = value > best ? value : best;
    }
    if (differs != 0 || first_ms < -TIME_MAX_MS || last_ms > TIME_MAX_MS ||
        last_ms >= window_floor(first_ms, contest->grain_ms) + contest->grain_ms) {
        return;
    }
    int32_t kept = 0;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        batch->sel[kept] = row;
        kept += column_is_null(column, row) || standing(contest, values, row) == best;
    }
    batch->sel_count = kept;
}
