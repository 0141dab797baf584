// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "base/check.h"
#include "pipeline/expr.h"

/* Any text as an expression over columns of every type: refused with its place, or it computes. Each row's result and verdict
 * are the same whether it is computed alone or among others. The last bytes, behind a 0, are drawn on for the rows. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS = 8, COLUMNS = 5, TEXT_ROW = 3 };

static const struct schema schema = {
    .count = COLUMNS,
    .names = {{"a", 1}, {"x", 1}, {"p", 1}, {"s", 1}, {"u", 1}},
    .types = {VALUE_I64, VALUE_F64, VALUE_BOOL, VALUE_STR, VALUE_TIME},
};

static int64_t number_at(const uint8_t *data, size_t size, int32_t row)
{
    static const int64_t special[] = {0, 1, -1, INT64_MAX, INT64_MIN, 1000000007, 1436918400000};
    uint8_t b = size > 0 ? data[(size_t)row % size] : (uint8_t)row;
    return b < COUNT_OF(special) ? special[b] : (int64_t)b * (row % 2 == 0 ? 1 : -1000003);
}

static struct batch *make_rows(struct arena *arena, const uint8_t *data, size_t size)
{
    struct batch *batch = batch_new(arena, ROWS);
    for (int32_t c = 0; c < COLUMNS; c++) {
        IGNORE_RESULT(batch_add_column(batch, schema.types[c], true));
    }
    for (int32_t i = 0; i < ROWS; i++) {
        int64_t n = number_at(data, size, i);
        size_t from = size > 0 ? (size_t)(n < 0 ? -(n + 1) : n) % size : 0;
        struct str text = {arena_dup(arena, data + from, (ptrdiff_t)(size - from)),
                           (ptrdiff_t)(size - from)};
        COLUMN_I64(&batch->columns[0])[i] = n;
        COLUMN_F64(&batch->columns[1])[i] = n == INT64_MAX ? (double)INFINITY : (double)n / 3;
        COLUMN_BOOL(&batch->columns[2])[i] = (uint8_t)(n & 1);
        COLUMN_STR(&batch->columns[TEXT_ROW])[i] = text;
        COLUMN_I64(&batch->columns[4])[i] = n >> 10;
        for (int32_t c = 0; c < COLUMNS; c++) {
            batch->columns[c].null[i] = (uint8_t)(i > 0 && (n >> c) % 5 == 0);
        }
        batch->key[i] = text;
        batch->value[i] = text;
        batch->time_ms[i] = n >> 12;
    }
    return batch;
}

static bool same(const struct column *a, const struct column *b, int32_t row)
{
    if (column_is_null(a, row) || column_is_null(b, row)) {
        return column_is_null(a, row) == column_is_null(b, row);
    }
    switch (a->type) {
    case VALUE_BOOL:
        return COLUMN_BOOL(a)[row] == COLUMN_BOOL(b)[row] && COLUMN_BOOL(a)[row] <= 1;
    case VALUE_F64:
        return memcmp(&COLUMN_F64(a)[row], &COLUMN_F64(b)[row], sizeof(double)) == 0;
    case VALUE_STR:
        return str_equal(COLUMN_STR(a)[row], COLUMN_STR(b)[row]);
    case VALUE_I64:
    case VALUE_TIME:
    case VALUE_TYPE_COUNT:
        break;
    }
    return COLUMN_I64(a)[row] == COLUMN_I64(b)[row];
}

static void check_rows(const struct expr *expr, struct batch *batch)
{
    struct column all;
    uint8_t rejects[ROWS] = {0};
    int32_t bad = expr_eval(expr, batch, &all, rejects);
    CHECK(all.type == expr_type(expr) && (bad == 0 || expr_can_reject(expr)));
    for (int32_t i = 0; i < ROWS; i++) {
        struct column one;
        uint8_t verdict[ROWS] = {0};
        batch->sel_count = 1;
        batch->sel[0] = i;
        CHECK(expr_eval(expr, batch, &one, verdict) == (rejects[i] != 0));
        CHECK(verdict[i] == rejects[i] && rejects[i] < EXPR_REJECT_COUNT);
        CHECK(rejects[i] != 0 || same(&all, &one, i));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct err_info info = {0};
    const struct expr *expr = NULL;
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t len = zero != NULL ? (size_t)(zero - data) : size;
    arena_init(&arena, 256 << 20);
    struct yaml_node place = {.kind = YAML_SCALAR,
                              .quoted = true,
                              .line = 1,
                              .column = 1,
                              .file = "f",
                              .text = {arena_dup(&arena, data, (ptrdiff_t)len), (ptrdiff_t)len}};
    enum err err = expr_compile(&arena, &place, &schema, &expr, &info);
    if (err == ERR_OK) {
        CHECK((expr_columns(expr) >> COLUMNS) == 0);
        check_rows(expr, make_rows(&arena, data + len, size - len));
    } else {
        CHECK(err == ERR_INVALID && strncmp(info.text, "f:", 2) == 0);
    }
    arena_release(&arena);
    return 0;
}
