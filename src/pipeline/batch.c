// SPDX-License-Identifier: Apache-2.0
// Making batches and looking columns up by name.

#include "pipeline/batch.h"

#include "base/attr.h"
#include "base/check.h"

/* Numbers of rows side by side: two registers full. */
enum { SELECT_STEP = 8 };
typedef int32_t row_numbers ATTR_VECTOR(2 * SELECT_STEP);

struct batch *batch_new(struct arena *arena, int32_t rows)
{
    CHECK(rows >= 0 && rows <= BATCH_ROWS_MAX);
    struct batch *batch = arena_new_raw(arena, 1, (ptrdiff_t)sizeof *batch);
    batch->count = rows;
    batch->sel_count = rows;
    batch->sel = arena_new_raw(arena, rows + SELECT_STEP, (ptrdiff_t)sizeof *batch->sel);
    batch->time_ms = arena_new_raw(arena, rows, (ptrdiff_t)sizeof *batch->time_ms);
    batch->stamp_ms = NULL;
    batch->hash = arena_new_raw(arena, rows, (ptrdiff_t)sizeof *batch->hash);
    batch->key = arena_new_raw(arena, rows, (ptrdiff_t)sizeof *batch->key);
    batch->value = arena_new_raw(arena, rows, (ptrdiff_t)sizeof *batch->value);
    batch->headers = NULL;
    batch->header_count = NULL;
    batch->offset = NULL;
    batch->shard = 0;
    batch->column_count = 0;
    batch->arena = arena;
    row_numbers low = {0, 1, 2, 3};
    row_numbers high = {4, 5, 6, 7};
    int32_t *sel = batch->sel;
    for (int32_t row = 0; row < rows; row += SELECT_STEP) {
        memcpy(sel + row, &low, sizeof low);
        memcpy(sel + row + SELECT_STEP / 2, &high, sizeof high);
        low += SELECT_STEP;
        high += SELECT_STEP;
    }
    return batch;
}

static ptrdiff_t value_size_bytes(enum value_type type)
{
    switch (type) {
    case VALUE_BOOL:
        return 1;
    case VALUE_I64:
    case VALUE_TIME:
        return (ptrdiff_t)sizeof(int64_t);
    case VALUE_F64:
        return (ptrdiff_t)sizeof(double);
    case VALUE_STR:
        return (ptrdiff_t)sizeof(struct str);
    case VALUE_TYPE_COUNT:
        break;
    }
    CHECK_MSG(false, "value type %d", (int)type);
    return 0;
}

int32_t batch_add_column(struct batch *batch, enum value_type type, bool with_null)
{
    CHECK(batch->column_count < BATCH_COLUMNS_MAX);
    int32_t index = batch->column_count++;
    struct column *column = &batch->columns[index];
    column->type = type;
    column->data = arena_new_raw(batch->arena, batch->count, value_size_bytes(type));
    column->null = with_null ? arena_new(batch->arena, batch->count, 1) : NULL;
    return index;
}

int32_t schema_find(const struct schema *schema, struct str name)
{
    for (int32_t i = 0; i < schema->count; i++) {
        if (str_equal(schema->names[i], name)) {
            return i;
        }
    }
    return -1;
}

const char *value_type_name(enum value_type type)
{
    switch (type) {
    case VALUE_BOOL:
        return "bool";
    case VALUE_I64:
        return "int";
    case VALUE_F64:
        return "float";
    case VALUE_STR:
        return "string";
    case VALUE_TIME:
        return "time";
    case VALUE_TYPE_COUNT:
        break;
    }
    return "?";
}
