// SPDX-License-Identifier: Apache-2.0
#include "node/view.h"

#include "base/check.h"
#include "base/hash.h"
#include "log/record_batch.h"

/* Rows looked at in one call at most, so that a view with few rows of its own still gives way. */
enum { SCAN_MAX = 8192, REJECTS_MAX = 1024, COMPACT_BYTES_MAX = 1 << 20 };

int32_t rows_from(const struct rows *rows, int64_t offset)
{
    int32_t lo = 0, hi = rows->count;
    int64_t dense = hi > 0 ? offset - rows->offset[0] : 0; /* its place if no offset is left out */
    if (dense >= 0 && dense < hi && rows->offset[dense] == offset) {
        return (int32_t)dense;
    }
    while (lo < hi) {
        int32_t mid = lo + (hi - lo) / 2;
        if (rows->offset[mid] < offset) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

void view_init(struct view *view, const struct view_options *options, struct position_map positions)
{
    position_map_clip(&positions, options->group_lo, options->group_hi);
    CHECK(positions.count >= 1);
    int32_t lowest = 0;
    for (int32_t i = 1; i < positions.count; i++) {
        if (positions.segments[i].position.next_offset <
            positions.segments[lowest].position.next_offset) {
            lowest = i;
        }
    }
    const struct position *from = &positions.segments[lowest].position;
    *view = (struct view){.options = *options, .coverage_changed = true};
    view->position = (struct position){.next_offset = from->next_offset, .time = from->time};
    coverage_copy(&view->position.coverage, &from->coverage);
    view->fresh = from->next_offset == 0;
    view->ahead = positions;
    view_begin_at(view, from->next_offset);
}

void view_release(struct view *view)
{
    position_release(&view->position);
    position_map_release(&view->ahead);
}

/* Once the cursor has passed every segment they are one: a tick that one of them had seen holds for all. */
static void view_passed(struct view *view)
{
    for (int32_t i = 0; i < view->ahead.count; i++) {
        if (view->ahead.segments[i].position.next_offset > view->position.next_offset) {
            return;
        }
    }
    struct shard_time *time = &view->position.time;
    for (int32_t i = 0; i < view->ahead.count; i++) {
        const struct position *other = &view->ahead.segments[i].position;
        time->max_ms = other->time.max_ms > time->max_ms ? other->time.max_ms : time->max_ms;
        time->watermark_ms = other->time.watermark_ms > time->watermark_ms
                                 ? other->time.watermark_ms
                                 : time->watermark_ms;
        coverage_join(&view->position.coverage, &other->coverage);
    }
    view->coverage_changed = true;
    position_map_release(&view->ahead);
}

void view_begin_at(struct view *view, int64_t offset)
{
    CHECK(offset >= view->position.next_offset);
    view->position.next_offset = offset;
    view_passed(view);
}

void view_positions(const struct view *view, struct position_map *to)
{
    position_map_put(to, view->options.group_lo, view->options.group_hi,
                     view->fresh ? POSITION_START : position_copy(&view->position));
    for (int32_t i = 0; i < view->ahead.count; i++) {
        const struct position_segment *segment = &view->ahead.segments[i];
        if (segment->position.next_offset > view->position.next_offset) {
            position_map_put(to, segment->group_lo, segment->group_hi,
                             position_copy(&segment->position));
        }
    }
}

void view_from_queue(struct view *view, int64_t offset)
{
    position_map_release(&view->ahead);
    coverage_release(&view->position.coverage);
    view->position.coverage = (struct coverage){0};
    view->position.next_offset = offset;
    view->fresh = true;
}

int64_t view_watermark(struct view *view, bool *ret_idle)
{
    struct shard_time *time = &view->position.time;
    if (view->options.internal && view->coverage_changed) {
        int64_t low =
            coverage_watermark(&view->position.coverage, view->options.source_shards, &time->idle);
        time->watermark_ms = low > time->watermark_ms ? low : time->watermark_ms;
        view->coverage_changed = false;
    }
    *ret_idle = time->idle;
    return time->watermark_ms;
}

bool view_tick(struct view *view)
{
    struct shard_time *time = &view->position.time;
    if (view->options.internal || time->watermark_ms == TIME_END) {
        return false;
    }
    if (time->max_ms == TIME_NONE) {
        bool changed = !time->idle;
        time->idle = true;
        return changed;
    }
    if (time->watermark_ms >= time->max_ms) {
        return false;
    }
    time->watermark_ms = time->max_ms;
    return true;
}

/* Whether a row of the range is in the sample. */
static bool view_samples(struct view *view, uint64_t hash, int64_t offset)
{
    enum stratum stratum = sampler_stratum(view->options.sampler, hash, offset);
    struct view_counts *counts = &view->counts;
    counts->seen++;
    counts->heavy += stratum == STRATUM_HEAVY;
    counts->hashed += stratum == STRATUM_HASHED;
    counts->left += stratum == STRATUM_LEFT;
    return stratum == STRATUM_HASHED || stratum == STRATUM_HEAVY;
}

/* Whether the row is the view's own and not already in its key group's past. */
static bool view_owns(struct view *view, uint64_t hash, int64_t offset)
{
    uint32_t group = key_group_of(hash);
    if (group < view->options.group_lo || group >= view->options.group_hi) {
        return false;
    }
    for (int32_t i = 0; i < view->ahead.count; i++) {
        const struct position_segment *segment = &view->ahead.segments[i];
        if (group < segment->group_hi) {
            if (offset < segment->position.next_offset) {
                return false;
            }
            break;
        }
    }
    return LIKELY(view->options.sampler == NULL) || view_samples(view, hash, offset);
}

/* A source row's time: its stamp, and the watermark behind it. */
static int64_t source_stamp(struct shard_time *time, int64_t out_of_order_ms, int64_t time_ms)
{
    int64_t stamp = time_ms < time->watermark_ms ? time->watermark_ms : STAMP_NONE;
    if (time_ms > time->max_ms) {
        time->max_ms = time_ms;
        int64_t low = time_ms - out_of_order_ms;
        time->watermark_ms = low > time->watermark_ms ? low : time->watermark_ms;
    }
    time->idle = false;
    return stamp;
}

static void take_mark(struct view *view, const struct mark *mark)
{
    if (view->options.internal) {
        coverage_mark(&view->position.coverage, mark);
        view->coverage_changed = true;
    } else if (mark->kind == MARK_END) {
        view->position.time.watermark_ms = TIME_END;
        view->position.time.idle = false;
    }
}

/* The rows that were chosen, as numbers in `rows`, and their stamps. */
struct choice {
    int32_t *rows;
    int64_t *stamps;
    int32_t count;
    int32_t stamped; /* of them */
    int64_t bytes;
    int32_t *rejects;
    int32_t reject_count;
};

/* A view of all rows, which all are data of a source shard: what view_choose() does then. */
static bool takes_all(const struct view *view, const struct rows *rows)
{
    const struct view_options *options = &view->options;
    return options->group_lo == 0 && options->group_hi == KEY_GROUP_COUNT &&
           options->sampler == NULL && !options->internal && view->ahead.count == 0 &&
           rows->kind == NULL;
}

static int32_t view_choose_all(struct view *view, const struct rows *rows, int32_t from,
                               int32_t rows_max, int64_t bytes_max, struct choice *choice)
{
    const int64_t out_of_order_ms = view->options.out_of_order_ms;
    struct shard_time time = view->position.time; /* apart from what is stored to */
    int32_t left = rows->count - from;
    left = left < SCAN_MAX ? left : SCAN_MAX;
    left = left < rows_max ? left : rows_max;
    int64_t bytes = 0;
    int32_t stamped = 0;
    int32_t count = 0;
    while (count < left && bytes < bytes_max) {
        const int32_t row = from + count;
        int64_t stamp = source_stamp(&time, out_of_order_ms, rows->time_ms[row]);
        choice->rows[count] = row;
        choice->stamps[count] = stamp;
        stamped += stamp != STAMP_NONE;
        bytes += rows->key[row].len + rows->value[row].len;
        count++;
    }
    view->position.time = time;
    choice->count = count;
    choice->stamped = stamped;
    choice->bytes = bytes;
    return from + count;
}

static int32_t view_choose(struct view *view, const struct rows *rows, int32_t from,
                           int32_t rows_max, int64_t bytes_max, struct choice *choice)
{
    const struct view_options *options = &view->options;
    int32_t end = rows->count - from > SCAN_MAX ? from + SCAN_MAX : rows->count;
    int32_t row = from;
    for (; row < end && choice->count < rows_max && choice->reject_count < REJECTS_MAX; row++) {
        enum row_kind kind = rows->kind == NULL ? ROW_DATA : (enum row_kind)rows->kind[row];
        if (UNLIKELY(kind == ROW_MARK)) {
            take_mark(view, &rows->marks[rows->time_ms[row]]);
            continue;
        }
        bool own = view_owns(view, rows->hash[row], rows->offset[row]);
        if (UNLIKELY(kind == ROW_BAD_TIME)) {
            choice->rejects[choice->reject_count] = row;
            choice->reject_count += own;
            continue;
        }
        int64_t stamp =
            options->internal
                ? rows->stamp_ms[row]
                : source_stamp(&view->position.time, options->out_of_order_ms, rows->time_ms[row]);
        if (!own) {
            continue;
        }
        choice->rows[choice->count] = row;
        choice->stamps[choice->count] = stamp;
        choice->stamped += stamp != STAMP_NONE;
        choice->count++;
        choice->bytes += rows->key[row].len + rows->value[row].len;
        if (choice->bytes >= bytes_max) {
            row++;
            break;
        }
    }
    return row;
}

/* A batch that points into `rows`: rows [base, base + span), of which the chosen ones are selected. */
static struct batch *batch_window(const struct rows *rows, const struct choice *choice,
                                  int32_t span, struct arena *arena)
{
    int32_t base = choice->rows[0];
    struct batch *batch = ARENA_NEW(arena, struct batch);
    *batch = (struct batch){
        .count = span,
        .sel_count = choice->count,
        .sel = choice->rows,
        .time_ms = rows->time_ms + base,
        .hash = rows->hash + base,
        .key = rows->key + base,
        .value = rows->value + base,
        .headers = rows->any_headers ? rows->headers + base : NULL,
        .header_count = rows->any_headers ? rows->header_count + base : NULL,
        .offset = rows->offset + base,
        .arena = arena,
    };
    if (choice->stamped > 0) {
        batch->stamp_ms = ARENA_NEW_ARRAY(arena, int64_t, span);
        for (int32_t i = 0; i < choice->count; i++) {
            batch->stamp_ms[choice->rows[i] - base] = choice->stamps[i];
        }
    }
    for (int32_t i = 0; i < choice->count; i++) {
        choice->rows[i] -= base;
    }
    return batch;
}

/* Copies of the chosen rows' keys and values, one behind the other, instead of where they were decoded. */
static void make_compact(struct batch *batch, struct arena *arena)
{
    ptrdiff_t bytes = RECORD_READ_PADDING;
    for (int32_t i = 0; i < batch->count; i++) {
        bytes += batch->key[i].len + batch->value[i].len;
    }
    if (bytes > COMPACT_BYTES_MAX) {
        return; /* few large ones: where they lie hardly matters */
    }
    char *to = arena_new_raw(arena, bytes, 1);
    memset(to + bytes - RECORD_READ_PADDING, 0, RECORD_READ_PADDING);
    for (int32_t i = 0; i < batch->count; i++) {
        struct str *parts[] = {&batch->key[i], &batch->value[i]};
        for (int k = 0; k < 2; k++) {
            if (parts[k]->len > 0) {
                memcpy(to, parts[k]->ptr, (size_t)parts[k]->len);
                parts[k]->ptr = to;
                to += parts[k]->len;
            }
        }
    }
}

/* A batch of copies of the chosen rows' parts: for views whose rows are few among the others'. Compact: of their bytes, too.
 * A primary reads its records one behind the other, as they were just decoded; of a sample each would be a miss of the
 * caches and be counted as the operator's that reads it first. */
static struct batch *batch_gather(const struct rows *rows, const struct choice *choice,
                                  bool compact, struct arena *arena)
{
    struct batch *batch = batch_new(arena, choice->count);
    if (rows->any_headers) {
        batch->headers = ARENA_NEW_ARRAY(arena, struct str, choice->count);
        batch->header_count = ARENA_NEW_ARRAY(arena, int32_t, choice->count);
    }
    batch->stamp_ms = choice->stamped > 0 ? choice->stamps : NULL;
    int64_t *offset = ARENA_NEW_ARRAY(arena, int64_t, choice->count);
    batch->offset = offset;
    for (int32_t i = 0; i < choice->count; i++) {
        int32_t row = choice->rows[i];
        offset[i] = rows->offset[row];
        batch->time_ms[i] = rows->time_ms[row];
        batch->hash[i] = rows->hash[row];
        batch->key[i] = rows->key[row];
        batch->value[i] = rows->value[row];
        if (rows->any_headers) {
            batch->headers[i] = rows->headers[row];
            batch->header_count[i] = rows->header_count[row];
        }
    }
    if (compact) {
        make_compact(batch, arena);
    }
    return batch;
}

void view_take(struct view *view, const struct rows *rows, int32_t rows_max, int64_t bytes_max,
               struct arena *arena, struct view_slice *ret_slice)
{
    CHECK(rows_max >= 1 && rows_max <= BATCH_ROWS_MAX);
    CHECK(view->position.next_offset >= rows->first_offset &&
          view->position.next_offset < rows->next_offset);
    int32_t from = rows_from(rows, view->position.next_offset);
    struct choice choice = {
        .rows = arena_new_raw(arena, rows_max, sizeof(int32_t)),
        .stamps = arena_new_raw(arena, rows_max, sizeof(int64_t)),
        .rejects =
            rows->kind != NULL ? arena_new_raw(arena, REJECTS_MAX + 1, sizeof(int32_t)) : NULL,
    };
    int32_t end = takes_all(view, rows)
                      ? view_choose_all(view, rows, from, rows_max, bytes_max, &choice)
                      : view_choose(view, rows, from, rows_max, bytes_max, &choice);
    struct view_slice slice = {.scanned = end - from,
                               .taken = choice.count,
                               .reject_count = choice.reject_count,
                               .rejects = choice.rejects,
                               .bytes = choice.bytes,
                               .stamped = choice.stamped};
    if (choice.count > 0) {
        int32_t span = choice.rows[choice.count - 1] - choice.rows[0] + 1;
        slice.batch = span <= BATCH_ROWS_MAX && span <= 2 * choice.count
                          ? batch_window(rows, &choice, span, arena)
                          : batch_gather(rows, &choice, view->options.sampler != NULL, arena);
    }
    view->position.next_offset = end < rows->count ? rows->offset[end] : rows->next_offset;
    view->fresh = false;
    if (view->ahead.count > 0) {
        view_passed(view);
    }
    *ret_slice = slice;
}
