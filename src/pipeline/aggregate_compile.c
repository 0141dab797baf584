// SPDX-License-Identifier: Apache-2.0
// `out:` of a window: names, kinds and expressions of its aggregates.

#include <stdio.h>
#include <string.h>

#include "pipeline/aggregate.h"
#include "pipeline/aggregate_cells.h"

static enum err add_column(struct compile_context *ctx, const struct yaml_node *place,
                           struct schema *schema, struct str name, enum value_type type)
{
    if (name.len == 0) {
        return yaml_fail(ctx->info, place, "an output column needs a name");
    }
    if (schema_find(schema, name) >= 0) {
        return yaml_fail(ctx->info, place, "column '%.*s' comes twice, rename one", STR_ARG(name));
    }
    if (schema->count == BATCH_COLUMNS_MAX) {
        return yaml_fail(ctx->info, place, "more than %d columns", BATCH_COLUMNS_MAX);
    }
    schema->names[schema->count] = name;
    schema->types[schema->count++] = type;
    return ERR_OK;
}

static enum err compile_expr(struct compile_context *ctx, const struct yaml_node *node,
                             const struct expr **ret_expr, enum value_type *ret_type,
                             uint64_t *columns_read)
{
    enum err err = expr_compile(ctx->arena, node, ctx->in[0], ret_expr, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    *ret_type = expr_type(*ret_expr);
    *columns_read |= expr_columns(*ret_expr);
    return ERR_OK;
}

/* Gives the aggregate its place in the cell. */
static void place_in_cell(struct aggregate_list *list, struct aggregate *item)
{
    size_t bytes = sizeof(int64_t);
    bool section = false;
    switch (item->kind) {
    case AGGREGATE_COUNT:
        break;
    case AGGREGATE_SUM:
    case AGGREGATE_AVG:
        section = item->of_type == VALUE_F64;
        bytes = section ? sizeof(struct cell_sum_f64) : sizeof(struct cell_sum_i64);
        break;
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
        bytes = sizeof(struct cell_extreme);
        break;
    case AGGREGATE_DISTINCT:
    case AGGREGATE_QUANTILE:
        section = true;
        break;
    case AGGREGATE_TOP:
        section = true;
        bytes = 2 * sizeof(int64_t);
        break;
    }
    item->offset = list->payload_bytes;
    list->payload_bytes += (int32_t)bytes;
    item->section = section ? list->section_count++ : -1;
}

static bool is_number(enum value_type type)
{
    return type == VALUE_I64 || type == VALUE_F64;
}

/* Types: what may go in, what comes out. */
static enum err check_types(struct compile_context *ctx, const struct yaml_node *place,
                            struct aggregate *item)
{
    bool fits = true;
    const char *wanted = "int or float";
    item->out_type = item->of_type;
    switch (item->kind) {
    case AGGREGATE_COUNT:
    case AGGREGATE_DISTINCT:
        item->out_type = VALUE_I64;
        break;
    case AGGREGATE_SUM:
        fits = is_number(item->of_type);
        break;
    case AGGREGATE_AVG:
    case AGGREGATE_QUANTILE:
        fits = is_number(item->of_type);
        item->out_type = VALUE_F64;
        break;
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
    case AGGREGATE_TOP:
        fits = is_number(item->of_type) || item->of_type == VALUE_TIME;
        wanted = "int, float or time";
        break;
    }
    if (!fits) {
        return yaml_fail(ctx->info, place, "'%.*s' is of %s, it must be of type %s",
                         STR_ARG(item->name), value_type_name(item->of_type), wanted);
    }
    return ERR_OK;
}

static enum err compile_quantile(struct compile_context *ctx, const struct yaml_node *node,
                                 struct aggregate *item, const struct yaml_node **ret_of)
{
    static const char *const KEYS[] = {"of", "q", NULL};
    enum err err = yaml_only_keys(node, KEYS, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    *ret_of = yaml_get(node, "of");
    const struct yaml_node *q = yaml_get(node, "q");
    if (*ret_of == NULL || q == NULL) {
        return yaml_fail(ctx->info, node, "quantile needs 'of' and 'q', as {of: latency, q: 0.99}");
    }
    return yaml_ratio(q, 0.0, 1.0, &item->q, ctx->info);
}

static enum err compile_ties(struct compile_context *ctx, const struct yaml_node *ties,
                             struct aggregate *item)
{
    struct str text = STR("key");
    if (ties != NULL) {
        enum err err = yaml_text(ties, &text, ctx->info);
        if (err != ERR_OK) {
            return err;
        }
    }
    item->ties_all = str_is(text, "all");
    if (!item->ties_all && !str_is(text, "key")) {
        return yaml_fail(ctx->info, ties, "ties is '%.*s', it must be key or all", STR_ARG(text));
    }
    return ERR_OK;
}

static enum err compile_top_fields(struct compile_context *ctx, const struct yaml_node *fields,
                                   struct aggregate *item, uint64_t *columns_read)
{
    if (fields == NULL) {
        return ERR_OK;
    }
    if (fields->kind != YAML_LIST || fields->count > TOP_FIELDS_MAX) {
        return yaml_fail(ctx->info, fields, "fields must be a list of at most %d columns",
                         TOP_FIELDS_MAX);
    }
    item->field_count = fields->count;
    for (int32_t i = 0; i < fields->count; i++) {
        enum err err = compile_expr(ctx, fields->items[i], &item->fields[i], &item->field_types[i],
                                    columns_read);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err compile_top(struct compile_context *ctx, const struct yaml_node *node,
                            struct aggregate *item, const struct yaml_node **ret_of,
                            uint64_t *columns_read)
{
    static const char *const KEYS[] = {"of", "n", "ties", "fields", NULL};
    enum err err = yaml_only_keys(node, KEYS, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    *ret_of = yaml_get(node, "of");
    if (*ret_of == NULL) {
        return yaml_fail(ctx->info, node, "top needs 'of', as {of: price, n: 1, ties: all}");
    }
    int64_t n = 1;
    const struct yaml_node *count = yaml_get(node, "n");
    if (count != NULL && (err = yaml_i64(count, 1, TOP_N_MAX, &n, ctx->info)) != ERR_OK) {
        return err;
    }
    item->n = (int32_t)n;
    err = compile_ties(ctx, yaml_get(node, "ties"), item);
    return err != ERR_OK ? err
                         : compile_top_fields(ctx, yaml_get(node, "fields"), item, columns_read);
}

static const struct {
    const char *name;
    enum aggregate_kind kind;
} KINDS[] = {
    {"count", AGGREGATE_COUNT},       {"sum", AGGREGATE_SUM}, {"avg", AGGREGATE_AVG},
    {"min", AGGREGATE_MIN},           {"max", AGGREGATE_MAX}, {"distinct", AGGREGATE_DISTINCT},
    {"quantile", AGGREGATE_QUANTILE}, {"top", AGGREGATE_TOP},
};

/* `count`, or {kind: settings}. */
static enum err compile_kind(struct compile_context *ctx, const struct yaml_node *node,
                             struct aggregate *item, const struct yaml_node **ret_settings)
{
    *ret_settings = NULL;
    if (node->kind == YAML_SCALAR && str_is(node->text, "count")) {
        item->kind = AGGREGATE_COUNT;
        return ERR_OK;
    }
    if (node->kind == YAML_MAP && node->count == 1) {
        for (ptrdiff_t i = 0; i < COUNT_OF(KINDS); i++) {
            if (str_is(node->keys[0]->text, KINDS[i].name)) {
                item->kind = KINDS[i].kind;
                *ret_settings = node->items[0];
                return ERR_OK;
            }
        }
    }
    return yaml_fail(
        ctx->info, node,
        "no aggregate: write count, or one of {sum: x}, {count: x}, {avg: x}, {min: x}, "
        "{max: x}, {distinct: x}, {quantile: ...}, {top: ...}");
}

static enum err compile_item(struct compile_context *ctx, const struct yaml_node *name,
                             const struct yaml_node *node, struct aggregate_list *list,
                             struct schema *schema, uint64_t *columns_read)
{
    struct aggregate *item = &list->items[list->count];
    *item = (struct aggregate){.name = name->text, .of_type = VALUE_I64};
    const struct yaml_node *settings;
    enum err err = compile_kind(ctx, node, item, &settings);
    if (err != ERR_OK) {
        return err;
    }
    const struct yaml_node *of = settings;
    if (item->kind == AGGREGATE_QUANTILE) {
        err = compile_quantile(ctx, settings, item, &of);
    } else if (item->kind == AGGREGATE_TOP) {
        if (list->top >= 0) {
            return yaml_fail(ctx->info, node, "a window can have one top, this is the second");
        }
        list->top = list->count;
        err = compile_top(ctx, settings, item, &of, columns_read);
    }
    if (err == ERR_OK && of != NULL) {
        item->of_text = of->text;
        err = compile_expr(ctx, of, &item->of, &item->of_type, columns_read);
    }
    if (err == ERR_OK) {
        err = check_types(ctx, node, item);
    }
    if (err != ERR_OK) {
        return err;
    }
    place_in_cell(list, item);
    item->out_column = schema->count;
    list->count++;
    err = add_column(ctx, name, schema, item->name, item->out_type);
    if (item->kind != AGGREGATE_TOP || err != ERR_OK) {
        return err;
    }
    const char *rank = arena_printf(ctx->arena, "%.*s_rank", STR_ARG(item->name));
    err = add_column(ctx, name, schema, str_of(rank), VALUE_I64);
    const struct yaml_node *fields = yaml_get(settings, "fields");
    for (int32_t i = 0; err == ERR_OK && i < item->field_count; i++) {
        err =
            add_column(ctx, fields->items[i], schema, fields->items[i]->text, item->field_types[i]);
    }
    return err;
}

enum err aggregate_list_compile(struct compile_context *ctx, const struct yaml_node *out,
                                struct aggregate_list *list, struct schema *schema,
                                uint64_t *ret_columns_read)
{
    *ret_columns_read = 0;
    memset(list, 0, sizeof *list);
    list->top = -1;
    if (out == NULL || out->kind != YAML_MAP || out->count == 0 || out->count > AGGREGATES_MAX) {
        return yaml_fail(ctx->info, out != NULL ? out : ctx->node,
                         "a window needs 'out', a map of 1 to %d aggregates, as {n: count}",
                         AGGREGATES_MAX);
    }
    for (int32_t i = 0; i < out->count; i++) {
        enum err err =
            compile_item(ctx, out->keys[i], out->items[i], list, schema, ret_columns_read);
        if (err != ERR_OK) {
            return err;
        }
    }
    list->plain = list->section_count == 0;
    list->certain = list->plain;
    for (int32_t i = 0; i < list->count; i++) {
        enum aggregate_kind kind = list->items[i].kind;
        list->certain = list->certain &&
                        (kind == AGGREGATE_COUNT || kind == AGGREGATE_MIN || kind == AGGREGATE_MAX);
    }
    return ERR_OK;
}

void aggregate_list_describe(const struct aggregate_list *list, char *text, ptrdiff_t cap)
{
    ptrdiff_t len = 0;
    for (int32_t i = 0; i < list->count && len < cap; i++) {
        const struct aggregate *item = &list->items[i];
        const char *kind = "";
        for (ptrdiff_t k = 0; k < COUNT_OF(KINDS); k++) {
            kind = KINDS[k].kind == item->kind ? KINDS[k].name : kind;
        }
        len += snprintf(text + len, (size_t)(cap - len), "; %s %s '%.*s' %d%s", kind,
                        item->of != NULL ? value_type_name(item->of_type) : "rows",
                        STR_ARG(item->of_text), item->n, item->ties_all ? " all" : "");
        for (int32_t f = 0; f < item->field_count && len < cap; f++) {
            len += snprintf(text + len, (size_t)(cap - len), " %s",
                            value_type_name(item->field_types[f]));
        }
    }
}

int32_t aggregate_list_eval(const struct aggregate_list *list, const struct batch *batch,
                            struct aggregate_input *input, uint8_t *rejects)
{
    int32_t rejected = 0;
    for (int32_t i = 0; i < list->count; i++) {
        const struct aggregate *item = &list->items[i];
        if (item->of != NULL) {
            rejected += expr_eval(item->of, batch, &input->of[i], rejects);
        }
        for (int32_t f = 0; f < item->field_count; f++) {
            rejected += expr_eval(item->fields[f], batch, &input->fields[f], rejects);
        }
    }
    return rejected;
}
