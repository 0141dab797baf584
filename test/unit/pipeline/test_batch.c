// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch.h"
#include "test.h"

TEST(batch_begins_with_all_rows_selected_and_no_columns)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct batch *batch = batch_new(&arena, 3);
    EXPECT_INT(batch->count, 3);
    EXPECT_INT(batch->sel_count, 3);
    for (int32_t i = 0; i < 3; i++) {
        EXPECT_INT(batch->sel[i], i);
    }
    EXPECT_INT(batch->column_count, 0);
    EXPECT(batch->stamp_ms == NULL && batch->headers == NULL && batch->header_count == NULL);
    arena_release(&arena);
}

TEST(batch_columns_are_null_only_where_said)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct batch *batch = batch_new(&arena, 2);
    int32_t a = batch_add_column(batch, VALUE_I64, true);
    int32_t b = batch_add_column(batch, VALUE_STR, false);
    EXPECT_INT(a, 0);
    EXPECT_INT(b, 1);
    EXPECT(!column_is_null(&batch->columns[a], 0));
    batch->columns[a].null[1] = 1;
    EXPECT(column_is_null(&batch->columns[a], 1));
    EXPECT(!column_is_null(&batch->columns[b], 1));
    COLUMN_STR(&batch->columns[b])[1] = STR("x");
    EXPECT_STR(COLUMN_STR(&batch->columns[b])[1], STR("x"));
    arena_release(&arena);
}

TEST(schema_finds_columns_by_whole_name)
{
    struct schema schema = {
        .count = 2, .names = {STR("price"), STR("prices")}, .types = {VALUE_I64, VALUE_F64}};
    EXPECT_INT(schema_find(&schema, STR("prices")), 1);
    EXPECT_INT(schema_find(&schema, STR("price")), 0);
    EXPECT_INT(schema_find(&schema, STR("pric")), -1);
    EXPECT(str_is(str_of(value_type_name(VALUE_TIME)), "time"));
}
