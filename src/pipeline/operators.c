// SPDX-License-Identifier: Apache-2.0
#include "pipeline/operators.h"

#include "base/attr.h"
#include "pipeline/expr.h"

/* The one list of operator types. */
static const struct operator_type *const types[] = {
    // clang-format off
    &operator_parse,
    &operator_filter,
    &operator_map,
    &operator_flat_map,
    &operator_encode,
    &operator_key_by,
    &operator_plugin,
    &operator_window,
    &operator_join,
    &operator_dedupe,
    &operator_lookup,
    // clang-format on
};

const struct operator_type *operator_type_find(struct str name)
{
    for (ptrdiff_t i = 0; i < COUNT_OF(types); i++) {
        if (str_is(name, types[i]->name)) {
            return types[i];
        }
    }
    return NULL;
}

int32_t operator_type_names(struct str *ret_names, int32_t cap)
{
    int32_t count = (int32_t)COUNT_OF(types);
    for (int32_t i = 0; i < count && i < cap; i++) {
        ret_names[i] = str_of(types[i]->name);
    }
    return count;
}

void operator_reject_rows(struct operator_env *env, struct batch *batch, const uint8_t *rejects)
{
    int32_t kept = 0;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        if (rejects[row] != EXPR_REJECT_NONE) {
            operator_reject(env, batch, row, expr_reject_text((enum expr_reject)rejects[row]));
        } else {
            batch->sel[kept++] = row;
        }
    }
    batch->sel_count = kept;
}

void operator_reject_reasons(struct operator_env *env, struct batch *batch,
                             const char *const *reasons)
{
    int32_t kept = 0;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        if (reasons[row] != NULL) {
            operator_reject(env, batch, row, reasons[row]);
        } else {
            batch->sel[kept++] = row;
        }
    }
    batch->sel_count = kept;
}

int16_t *operator_columns_kept(struct arena *arena, const struct schema *in)
{
    int16_t *from = ARENA_NEW_ARRAY(arena, int16_t, BATCH_COLUMNS_MAX);
    for (int32_t i = 0; i < BATCH_COLUMNS_MAX; i++) {
        from[i] = i < in->count ? (int16_t)i : -1;
    }
    return from;
}

enum err operator_schema_add(struct schema *schema, const struct yaml_node *node, struct str name,
                             enum value_type type, struct err_info *info)
{
    if (name.len == 0 || name.len > OPERATOR_FIELD_NAME_MAX) {
        return yaml_fail(info, node, "a field's name has 1 to %d bytes, this has %td",
                         OPERATOR_FIELD_NAME_MAX, name.len);
    }
    if (schema_find(schema, name) >= 0) {
        return yaml_fail(info, node, "there is a field '%.*s' already: take another name",
                         STR_ARG(name));
    }
    if (schema->count == BATCH_COLUMNS_MAX) {
        return yaml_fail(info, node, "a stage has at most %d fields: drop some in a map",
                         BATCH_COLUMNS_MAX);
    }
    schema->names[schema->count] = name;
    schema->types[schema->count] = type;
    schema->count++;
    return ERR_OK;
}
