// SPDX-License-Identifier: Apache-2.0
// Aggregates over cells: adding rows, merging cells, writing results. Their configuration is in aggregate_compile.c.

#include "pipeline/aggregate.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "pipeline/aggregate_cells.h"
#include "pipeline/exact_sum.h"

/* --- sections: u32 length of each, padded to 8, then one after the other --- */

static ptrdiff_t sections_head_bytes(const struct aggregate_list *list)
{
    return ((ptrdiff_t)list->section_count * 4 + 7) & ~(ptrdiff_t)7;
}

static uint32_t section_len(const struct cell *cell, int32_t section)
{
    uint32_t len;
    memcpy(&len, cell->tail + (ptrdiff_t)section * 4, sizeof len);
    return len;
}

char *cell_section(const struct aggregate_list *list, const struct cell *cell, int32_t section,
                   ptrdiff_t *ret_len)
{
    *ret_len = 0;
    if (cell->tail_len == 0) {
        return cell->payload; // of no bytes, but not NULL
    }
    ptrdiff_t at = sections_head_bytes(list);
    for (int32_t i = 0; i < section; i++) {
        at += section_len(cell, i);
    }
    *ret_len = section_len(cell, section);
    return cell->tail + at;
}

static void cell_tail_resize(struct cell *cell, ptrdiff_t len)
{
    if (cell->space != NULL) {
        cell->tail = state_tail_resize(cell->space, cell->hash, cell->payload, len);
        CHECK(cell->tail != NULL);     // CELL_TAIL_BYTES_MAX leaves room for one row
    } else if (len > cell->tail_cap) { // with room for more: entries are merged in one by one
        char *tail = arena_new_raw(cell->arena, 2 * len, 1);
        if (cell->tail_len != 0) {
            memcpy(tail, cell->tail, (size_t)cell->tail_len);
        }
        cell->tail = tail;
        cell->tail_cap = 2 * len;
    }
    cell->tail_len = len;
}

char *cell_section_resize(const struct aggregate_list *list, struct cell *cell, int32_t section,
                          ptrdiff_t len)
{
    ptrdiff_t old_len = 0, at = sections_head_bytes(list);
    if (cell->tail_len == 0) { // all at once: it would be moved when it grows
        cell_tail_resize(cell, at + len);
        memset(cell->tail, 0, (size_t)(at + len));
        old_len = len;
    } else {
        at = cell_section(list, cell, section, &old_len) - cell->tail;
    }
    ptrdiff_t old_total = cell->tail_len;
    ptrdiff_t behind = old_total - at - old_len;
    if (len > old_len) {
        cell_tail_resize(cell, old_total + len - old_len);
        memmove(cell->tail + at + len, cell->tail + at + old_len, (size_t)behind);
        memset(cell->tail + at + old_len, 0, (size_t)(len - old_len));
    } else if (len < old_len) {
        memmove(cell->tail + at + len, cell->tail + at + old_len, (size_t)behind);
        cell_tail_resize(cell, old_total + len - old_len);
    }
    uint32_t new_len = (uint32_t)len;
    memcpy(cell->tail + (ptrdiff_t)section * 4, &new_len, sizeof new_len);
    return cell->tail + at;
}

/* --- numbers --- */

int64_t f64_sortable(double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits < 0 ? (int64_t)(~(uint64_t)bits ^ (UINT64_C(1) << 63)) : bits;
}

double f64_unsortable(int64_t sortable)
{
    int64_t bits = sortable < 0 ? (int64_t)(~((uint64_t)sortable ^ (UINT64_C(1) << 63))) : sortable;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void wide_add(struct cell_sum_i64 *sum, uint64_t low, int64_t high)
{
    sum->low += low;
    uint64_t carry = sum->low < low;
    sum->high = (int64_t)((uint64_t)sum->high + (uint64_t)high + carry);
}

static bool wide_fits(const struct cell_sum_i64 *sum)
{
    return sum->high == ((int64_t)sum->low < 0 ? -1 : 0);
}

static double wide_to_f64(const struct cell_sum_i64 *sum)
{
    if (wide_fits(sum)) {
        return (double)(int64_t)sum->low;
    }
    double parts[EXACT_SUM_PARTS_MAX];
    int32_t count = 0;
    // Exact in pieces of 32 bits, rounded once.
    double scale = 1.0;
    uint32_t words[3] = {(uint32_t)sum->low, (uint32_t)(sum->low >> 32), (uint32_t)sum->high};
    for (int i = 0; i < 3; i++) {
        CHECK(exact_sum_add(parts, &count, (double)words[i] * scale));
        scale *= 4294967296.0;
    }
    CHECK(exact_sum_add(parts, &count, (double)(int32_t)(sum->high >> 32) * scale));
    return exact_sum_round(parts, count);
}

/* The parts of an exact sum, wherever they are: the first in the payload, others in the section. */
static int32_t parts_load(const struct aggregate_list *list, const struct aggregate *item,
                          const struct cell *cell, double *parts)
{
    const struct cell_sum_f64 *sum = (void *)(cell->payload + item->offset);
    int32_t inside = sum->part_count < CELL_SUM_PARTS ? sum->part_count : CELL_SUM_PARTS;
    memcpy(parts, sum->parts, (size_t)inside * sizeof *parts);
    if (sum->part_count > CELL_SUM_PARTS) {
        ptrdiff_t len;
        const char *section = cell_section(list, cell, item->section, &len);
        memcpy(parts + inside, section, (size_t)(sum->part_count - inside) * sizeof *parts);
    }
    return sum->part_count;
}

static void parts_store(const struct aggregate_list *list, const struct aggregate *item,
                        struct cell *cell, const double *parts, int32_t count)
{
    struct cell_sum_f64 *sum = (void *)(cell->payload + item->offset);
    int32_t inside = count < CELL_SUM_PARTS ? count : CELL_SUM_PARTS;
    memcpy(sum->parts, parts, (size_t)inside * sizeof *parts);
    if (count > CELL_SUM_PARTS || sum->part_count > CELL_SUM_PARTS) {
        ptrdiff_t len = (ptrdiff_t)(count - inside) * (ptrdiff_t)sizeof *parts;
        char *section = cell_section_resize(list, cell, item->section, len);
        memcpy(section, parts + inside, (size_t)len);
    }
    sum->part_count = count;
}

static bool sum_f64_add(const struct aggregate_list *list, const struct aggregate *item,
                        struct cell *cell, double value)
{
    double parts[EXACT_SUM_PARTS_MAX];
    int32_t count = parts_load(list, item, cell, parts);
    if (!exact_sum_add(parts, &count, value)) {
        return false;
    }
    parts_store(list, item, cell, parts, count);
    return true;
}

static int64_t sortable_at(const struct column *column, int32_t row)
{
    return column->type == VALUE_F64 ? f64_sortable(COLUMN_F64(column)[row])
                                     : COLUMN_I64(column)[row];
}

/* --- adding rows --- */

static uint64_t value_hash(const struct column *column, int32_t row)
{
    switch (column->type) {
    case VALUE_STR: {
        struct str text = COLUMN_STR(column)[row];
        return hash64(text.ptr, text.len);
    }
    case VALUE_BOOL:
        return hash64(&COLUMN_BOOL(column)[row], 1);
    case VALUE_F64: {
        double value = COLUMN_F64(column)[row] + 0.0; // -0 is 0
        return hash64(&value, (ptrdiff_t)sizeof value);
    }
    case VALUE_I64:
    case VALUE_TIME:
        return hash64(&COLUMN_I64(column)[row], (ptrdiff_t)sizeof(int64_t));
    case VALUE_TYPE_COUNT:
        break;
    }
    CHECK(false);
    return 0;
}

static void extreme_add(const struct aggregate *item, struct cell_extreme *extreme,
                        int64_t sortable)
{
    if (extreme->count == 0 || (item->kind == AGGREGATE_MIN ? sortable < extreme->sortable
                                                            : sortable > extreme->sortable)) {
        extreme->sortable = sortable;
    }
    extreme->count++;
}

void aggregate_list_add_plain(const struct aggregate_list *list,
                              const struct aggregate_input *input, const int32_t *sel,
                              int32_t count, void *const *payload)
{
    for (int32_t a = 0; a < list->count; a++) {
        const struct aggregate *item = &list->items[a];
        const struct column *of = &input->of[a];
        ptrdiff_t offset = item->offset;
        if (item->of == NULL) {
            for (int32_t i = 0; i < count; i++) {
                ++*(int64_t *)(void *)((char *)payload[i] + offset);
            }
            continue;
        }
        for (int32_t i = 0; i < count; i++) {
            char *place = (char *)payload[i] + offset;
            if (column_is_null(of, sel[i])) {
                continue;
            }
            if (item->kind == AGGREGATE_COUNT) {
                ++*(int64_t *)(void *)place;
            } else if (item->kind == AGGREGATE_MIN || item->kind == AGGREGATE_MAX) {
                extreme_add(item, (void *)place, sortable_at(of, sel[i]));
            } else {
                struct cell_sum_i64 *sum = (void *)place;
                int64_t value = COLUMN_I64(of)[sel[i]];
                wide_add(sum, (uint64_t)value, value < 0 ? -1 : 0);
                sum->count++;
            }
        }
    }
}

/* Aggregates that can refuse a value; the others are added only when these have taken theirs. */
static bool can_refuse(const struct aggregate *item)
{
    return item->kind == AGGREGATE_DISTINCT ||
           ((item->kind == AGGREGATE_SUM || item->kind == AGGREGATE_AVG) &&
            item->of_type == VALUE_F64);
}

/* Whether the value would be taken; changes nothing. */
static const char *aggregate_refusal(const struct aggregate_list *list,
                                     const struct aggregate *item, const struct column *of,
                                     int32_t row, const struct cell *cell)
{
    if (item->kind == AGGREGATE_DISTINCT) {
        return distinct_refusal(item, cell);
    }
    double parts[EXACT_SUM_PARTS_MAX];
    int32_t count = parts_load(list, item, cell, parts);
    double value = COLUMN_F64(of)[row];
    return isfinite(value) && exact_sum_add(parts, &count, value)
               ? NULL
               : "sum: out of the range of floats";
}

static void aggregate_add(const struct aggregate_list *list, const struct aggregate *item,
                          const struct aggregate_input *input, int32_t row, struct cell *cell)
{
    const struct column *of = &input->of[item - list->items];
    char *place = cell->payload + item->offset;
    switch (item->kind) {
    case AGGREGATE_COUNT:
        ++*(int64_t *)(void *)place;
        return;
    case AGGREGATE_SUM:
    case AGGREGATE_AVG:
        if (item->of_type == VALUE_F64) {
            CHECK(sum_f64_add(list, item, cell, COLUMN_F64(of)[row]));
            ++((struct cell_sum_f64 *)(void *)(cell->payload + item->offset))->count;
        } else {
            struct cell_sum_i64 *sum = (void *)place;
            int64_t value = COLUMN_I64(of)[row];
            wide_add(sum, (uint64_t)value, value < 0 ? -1 : 0);
            sum->count++;
        }
        return;
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
        extreme_add(item, (void *)place, sortable_at(of, row));
        return;
    case AGGREGATE_DISTINCT:
        distinct_add(list, item, cell, value_hash(of, row));
        return;
    case AGGREGATE_QUANTILE:
        quantile_add(list, item, cell,
                     item->of_type == VALUE_F64 ? COLUMN_F64(of)[row]
                                                : (double)COLUMN_I64(of)[row]);
        return;
    case AGGREGATE_TOP:
        top_add(list, item, input, row, sortable_at(of, row), cell);
        return;
    }
}

const char *aggregate_list_add(const struct aggregate_list *list,
                               const struct aggregate_input *input, int32_t row, struct cell *cell)
{
    if (cell->tail_len > CELL_TAIL_BYTES_MAX) {
        return "the window holds too many values of one key";
    }
    for (int32_t a = 0; a < list->count; a++) {
        const struct aggregate *item = &list->items[a];
        if (can_refuse(item) && !column_is_null(&input->of[a], row)) {
            const char *reason = aggregate_refusal(list, item, &input->of[a], row, cell);
            if (reason != NULL) {
                return reason;
            }
        }
    }
    for (int32_t a = 0; a < list->count; a++) {
        const struct aggregate *item = &list->items[a];
        if (item->of == NULL || !column_is_null(&input->of[a], row)) {
            aggregate_add(list, item, input, row, cell);
        }
    }
    return NULL;
}

int32_t aggregate_list_idle(const struct aggregate_list *list, const struct aggregate_input *input,
                            const int32_t *sel, int32_t count, const struct cell *cell)
{
    bool alone = list->count == 1 && list->top == 0 && cell->tail_len <= CELL_TAIL_BYTES_MAX;
    return alone ? top_idle(&list->items[0], &input->of[0], sel, count, cell) : 0;
}

/* --- merging --- */

static void sum_f64_merge(const struct aggregate_list *list, const struct aggregate *item,
                          struct cell *into, const struct cell *from)
{
    double parts[EXACT_SUM_PARTS_MAX];
    int32_t count = parts_load(list, item, from, parts);
    for (int32_t i = 0; i < count; i++) {
        // Out of range: only the sum of cells that each were in range; it stays at the last that was.
        IGNORE_RESULT(sum_f64_add(list, item, into, parts[i]));
    }
    const struct cell_sum_f64 *source = (void *)(from->payload + item->offset);
    ((struct cell_sum_f64 *)(void *)(into->payload + item->offset))->count += source->count;
}

static void aggregate_merge(const struct aggregate_list *list, const struct aggregate *item,
                            struct cell *into, const struct cell *from)
{
    char *place = into->payload + item->offset;
    const char *source = from->payload + item->offset;
    switch (item->kind) {
    case AGGREGATE_COUNT: {
        int64_t more;
        memcpy(&more, source, sizeof more);
        *(int64_t *)(void *)place += more;
        return;
    }
    case AGGREGATE_SUM:
    case AGGREGATE_AVG:
        if (item->of_type == VALUE_F64) {
            sum_f64_merge(list, item, into, from);
        } else {
            struct cell_sum_i64 more;
            memcpy(&more, source, sizeof more);
            struct cell_sum_i64 *sum = (void *)place;
            wide_add(sum, more.low, more.high);
            sum->count += more.count;
        }
        return;
    case AGGREGATE_MIN:
    case AGGREGATE_MAX: {
        struct cell_extreme more;
        memcpy(&more, source, sizeof more);
        if (more.count != 0) {
            struct cell_extreme *extreme = (void *)place;
            extreme_add(item, extreme, more.sortable);
            extreme->count += more.count - 1;
        }
        return;
    }
    case AGGREGATE_DISTINCT:
        distinct_merge(list, item, into, from);
        return;
    case AGGREGATE_QUANTILE:
        quantile_merge(list, item, into, from);
        return;
    case AGGREGATE_TOP:
        top_merge(list, item, into, from);
        return;
    }
}

void aggregate_list_merge(const struct aggregate_list *list, struct cell *into,
                          const struct cell *from)
{
    for (int32_t a = 0; a < list->count; a++) {
        aggregate_merge(list, &list->items[a], into, from);
    }
}

/* --- results --- */

int32_t aggregate_list_row_count(const struct aggregate_list *list, const struct cell *cell)
{
    return list->top >= 0 ? top_count(&list->items[list->top], cell) : 1;
}

static const char *sum_emit(const struct aggregate_list *list, const struct aggregate *item,
                            const struct cell *cell, struct column *column, int32_t row)
{
    int64_t count;
    double sum = 0.0;
    if (item->of_type == VALUE_F64) {
        double parts[EXACT_SUM_PARTS_MAX];
        int32_t part_count = parts_load(list, item, cell, parts);
        count = ((const struct cell_sum_f64 *)(const void *)(cell->payload + item->offset))->count;
        sum = exact_sum_round(parts, part_count);
    } else {
        const struct cell_sum_i64 *wide = (const void *)(cell->payload + item->offset);
        count = wide->count;
        sum = wide_to_f64(wide);
        if (item->kind == AGGREGATE_SUM && count != 0) {
            if (!wide_fits(wide)) {
                return "sum: integer overflow";
            }
            COLUMN_I64(column)[row] = (int64_t)wide->low;
        }
    }
    column->null[row] = count == 0;
    if (item->out_type == VALUE_F64) {
        COLUMN_F64(column)
        [row] = item->kind == AGGREGATE_AVG && count != 0 ? sum / (double)count : sum;
    }
    return NULL;
}

static void extreme_emit(const struct aggregate *item, const struct cell *cell,
                         struct column *column, int32_t row)
{
    const struct cell_extreme *extreme = (const void *)(cell->payload + item->offset);
    column->null[row] = extreme->count == 0;
    if (item->out_type == VALUE_F64) {
        COLUMN_F64(column)[row] = f64_unsortable(extreme->sortable);
    } else {
        COLUMN_I64(column)[row] = extreme->sortable;
    }
}

static const char *aggregate_emit(const struct aggregate_list *list, const struct aggregate *item,
                                  const struct cell *cell, struct batch *batch, int32_t row)
{
    struct column *column = &batch->columns[item->out_column];
    switch (item->kind) {
    case AGGREGATE_COUNT:
    case AGGREGATE_DISTINCT:
        memcpy(&COLUMN_I64(column)[row], cell->payload + item->offset, sizeof(int64_t));
        return NULL;
    case AGGREGATE_SUM:
    case AGGREGATE_AVG:
        return sum_emit(list, item, cell, column, row);
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
        extreme_emit(item, cell, column, row);
        return NULL;
    case AGGREGATE_QUANTILE:
        column->null[row] = !quantile_read(list, item, cell, &COLUMN_F64(column)[row]);
        return NULL;
    case AGGREGATE_TOP:
        break; // writes all its rows itself
    }
    return NULL;
}

const char *aggregate_list_emit(const struct aggregate_list *list, const struct cell *cell,
                                int32_t first, int32_t count, struct batch *batch, int32_t at)
{
    const char *reason = NULL;
    for (int32_t a = 0; a < list->count; a++) {
        const struct aggregate *item = &list->items[a];
        if (item->kind == AGGREGATE_TOP) {
            top_emit(list, item, cell, first, count, batch, at);
            continue;
        }
        for (int32_t i = 0; i < count; i++) {
            const char *bad = aggregate_emit(list, item, cell, batch, at + i);
            reason = reason != NULL ? reason : bad;
        }
    }
    return reason;
}

void aggregate_list_emit_certain(const struct aggregate_list *list, void *const *payload,
                                 int32_t count, struct batch *batch, int32_t at)
{
    for (int32_t a = 0; a < list->count; a++) {
        const struct aggregate *item = &list->items[a];
        struct column *column = &batch->columns[item->out_column];
        int64_t *counts = COLUMN_I64(column) + at;
        for (int32_t i = 0; i < count && item->kind == AGGREGATE_COUNT; i++) {
            memcpy(&counts[i], (const char *)payload[i] + item->offset, sizeof counts[i]);
        }
        for (int32_t i = 0; i < count && item->kind != AGGREGATE_COUNT; i++) {
            const struct cell cell = {.payload = payload[i]};
            extreme_emit(item, &cell, column, at + i);
        }
    }
}
