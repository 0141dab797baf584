// SPDX-License-Identifier: Apache-2.0
#include "control/entity.h"

#include <math.h>

#include "base/attr.h"
#include "base/check.h"

#define FIELD_ROW(type_, name_, metric_, shown_, help_) \
    {.name = #name_, \
     .type = FIELD_##type_, \
     .metric = METRIC_##metric_, \
     .shown = SHOWN_##shown_, \
     .offset = offsetof(ROW, name_), \
     .help = (help_)},

#define ROW struct stream_row
static const struct field stream_fields[] = {STREAM_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct shard_row
static const struct field shard_fields[] = {SHARD_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct partition_row
static const struct field partition_fields[] = {PARTITION_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct lane_row
static const struct field lane_fields[] = {LANE_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct pipeline_row
static const struct field pipeline_fields[] = {PIPELINE_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct check_row
static const struct field check_fields[] = {CHECK_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct producer_row
static const struct field producer_fields[] = {PRODUCER_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct appended_row
static const struct field appended_fields[] = {APPENDED_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct process_row
static const struct field process_fields[] = {PROCESS_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct node_row
static const struct field node_fields[] = {NODE_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct operation_row
static const struct field operation_fields[] = {OPERATION_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct event_row
static const struct field event_fields[] = {EVENT_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct layout_row
static const struct field layout_fields[] = {LAYOUT_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct heavy_key_row
static const struct field heavy_key_fields[] = {HEAVY_KEY_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct key_group_row
static const struct field key_group_fields[] = {KEY_GROUP_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct sample_row
static const struct field sample_fields[] = {SAMPLE_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct forecast_row
static const struct field forecast_fields[] = {FORECAST_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct manager_row
static const struct field manager_fields[] = {MANAGER_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct decision_row
static const struct field decision_fields[] = {DECISION_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct plan_row
static const struct field plan_fields[] = {PLAN_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct option_row
static const struct field option_fields[] = {OPTION_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct step_row
static const struct field step_fields[] = {STEP_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct correlation_row
static const struct field correlation_fields[] = {CORRELATION_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct shadow_row
static const struct field shadow_fields[] = {SHADOW_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct shadowing_row
static const struct field shadowing_fields[] = {SHADOWING_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct store_row
static const struct field store_fields[] = {STORE_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct operator_row
static const struct field operator_fields[] = {OPERATOR_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct figure_row
static const struct field figure_fields[] = {FIGURE_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct answer_row
static const struct field answer_fields[] = {ANSWER_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct percent_step_row
static const struct field percent_step_fields[] = {PERCENT_STEP_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct example_row
static const struct field example_fields[] = {EXAMPLE_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct mode_row
static const struct field mode_fields[] = {MODE_COLUMNS(FIELD_ROW)};
#undef ROW
#define ROW struct difference_row
static const struct field difference_fields[] = {DIFFERENCE_COLUMNS(FIELD_ROW)};
#undef ROW

#define ENTITY_TABLE(name_, FIELDS, help_) \
    const struct entity name_##_entity = {.name = #name_, \
                                          .help = (help_), \
                                          .row_bytes = sizeof(struct name_##_row), \
                                          .field_count = (int)COUNT_OF(name_##_fields), \
                                          .fields = name_##_fields};
ENTITY_LIST(ENTITY_TABLE)

const struct entity *const entities[] = {
#define ENTITY_POINTER(name_, FIELDS, help_) &name_##_entity,
    ENTITY_LIST(ENTITY_POINTER)
#undef ENTITY_POINTER
        NULL,
};

/* The member itself. Rows are structs of the entity's own type, so the cast is what the table says. */
static const void *member(const struct field *field, const void *row)
{
    return (const char *)row + field->offset;
}

struct str field_text(const struct field *field, const void *row)
{
    CHECK(field->type == FIELD_TEXT);
    return *(const struct str *)member(field, row);
}

int64_t field_i64(const struct field *field, const void *row)
{
    CHECK(field->type == FIELD_I64 || field->type == FIELD_BOOL);
    return field->type == FIELD_BOOL ? *(const bool *)member(field, row)
                                     : *(const int64_t *)member(field, row);
}

double field_f64(const struct field *field, const void *row)
{
    return field->type == FIELD_F64 ? *(const double *)member(field, row)
                                    : (double)field_i64(field, row);
}

bool field_known(const struct field *field, const void *row)
{
    switch (field->type) {
    case FIELD_TEXT:
        return field_text(field, row).ptr != NULL;
    case FIELD_I64:
        return field_i64(field, row) != FIELD_I64_UNKNOWN;
    case FIELD_F64:
        return !isnan(field_f64(field, row));
    case FIELD_BOOL:
        return true;
    }
    return false;
}
