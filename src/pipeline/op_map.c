// SPDX-License-Identifier: Apache-2.0
/* map: `set` adds or replaces columns, one after the other, each seeing those before it; then `select` keeps some in the
 * order given, or `drop` takes some out. */
#include "base/mem.h"
#include "pipeline/expr.h"
#include "pipeline/hint.h"
#include "pipeline/operators.h"

struct map_step {
    const struct expr *expr;
    int32_t column; /* where its result goes: an existing place, or the next new one */
};

struct map_plan {
    int32_t step_count;
    struct map_step steps[BATCH_COLUMNS_MAX];
    int32_t wide_count; /* columns after all steps */
    int32_t column_count;
    int32_t columns[BATCH_COLUMNS_MAX]; /* result column -> wide column */
};

struct operator_instance {
    struct operator_env *env;
    const struct map_plan *plan;
};

static enum err compile_set(struct compile_context *ctx, struct map_plan *map, struct schema *wide,
                            uint64_t *ret_read)
{
    const struct yaml_node *set = yaml_get(ctx->node, "set");
    if (set == NULL) {
        return ERR_OK;
    }
    if (set->kind != YAML_MAP || set->count > BATCH_COLUMNS_MAX) {
        return yaml_fail(ctx->info, set, "'set' is a map of at most %d fields: {name: expression}",
                         BATCH_COLUMNS_MAX);
    }
    for (int32_t i = 0; i < set->count; i++) {
        struct map_step *step = &map->steps[map->step_count++];
        enum err err = expr_compile(ctx->arena, set->items[i], wide, &step->expr, ctx->info);
        if (err != ERR_OK) {
            return err;
        }
        *ret_read |= expr_columns(step->expr);
        struct str name = set->keys[i]->text;
        step->column = schema_find(wide, name);
        if (step->column >= 0) {
            wide->types[step->column] = expr_type(step->expr);
            continue;
        }
        step->column = wide->count;
        err = operator_schema_add(wide, set->keys[i], name, expr_type(step->expr), ctx->info);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* The columns named by a list, as a set or, with `ret_order`, in its order. */
static enum err read_names(struct compile_context *ctx, const struct yaml_node *list,
                           const struct schema *wide, bool *ret_named, int32_t *ret_order)
{
    if (list->kind != YAML_LIST || list->count == 0 || list->count > BATCH_COLUMNS_MAX) {
        return yaml_fail(ctx->info, list, "a list of fields belongs here, such as [a, b]");
    }
    for (int32_t i = 0; i < list->count; i++) {
        struct str name;
        enum err err = yaml_text(list->items[i], &name, ctx->info);
        if (err != ERR_OK) {
            return err;
        }
        int32_t column = schema_find(wide, name);
        if (column < 0) {
            struct hint hint;
            hint_of_names(&hint, name, wide->names, wide->count);
            return yaml_fail(ctx->info, list->items[i], "there is no field '%.*s' here%s",
                             STR_ARG(name), hint.text);
        }
        if (ret_named[column]) {
            return yaml_fail(ctx->info, list->items[i], "'%.*s' stands in the list twice",
                             STR_ARG(name));
        }
        ret_named[column] = true;
        ret_order[i] = column;
    }
    return ERR_OK;
}

static enum err compile_choice(struct compile_context *ctx, struct map_plan *map,
                               const struct schema *wide)
{
    const struct yaml_node *select = yaml_get(ctx->node, "select");
    const struct yaml_node *drop = yaml_get(ctx->node, "drop");
    bool named[BATCH_COLUMNS_MAX] = {0};
    int32_t order[BATCH_COLUMNS_MAX];
    if (select != NULL && drop != NULL) {
        return yaml_fail(ctx->info, drop, "'select' and 'drop' exclude each other: keep one");
    }
    if (select != NULL || drop != NULL) {
        enum err err = read_names(ctx, select != NULL ? select : drop, wide, named, order);
        if (err != ERR_OK) {
            return err;
        }
    }
    if (select != NULL) {
        map->column_count = select->count;
        memcpy(map->columns, order, (size_t)select->count * sizeof(order[0]));
        return ERR_OK;
    }
    for (int32_t c = 0; c < wide->count; c++) {
        if (!named[c]) {
            map->columns[map->column_count++] = c;
        }
    }
    return ERR_OK;
}

static enum err map_compile(struct compile_context *ctx, struct operator_plan *plan)
{
    static const char *const known[] = {"name", "input", "set", "select", "drop", NULL};
    enum err err = yaml_only_keys(ctx->node, known, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    struct map_plan *map = ARENA_NEW(ctx->arena, struct map_plan);
    struct schema wide = *ctx->in[0];
    uint64_t read = 0;
    err = compile_set(ctx, map, &wide, &read);
    if (err == ERR_OK) {
        err = compile_choice(ctx, map, &wide);
    }
    if (err != ERR_OK) {
        return err;
    }
    bool sets[BATCH_COLUMNS_MAX] = {0};
    for (int32_t i = 0; i < map->step_count; i++) {
        sets[map->steps[i].column] = true;
    }
    map->wide_count = wide.count;
    int16_t *from = ARENA_NEW_ARRAY(ctx->arena, int16_t, BATCH_COLUMNS_MAX);
    for (int32_t c = 0; c < map->column_count; c++) {
        int32_t w = map->columns[c];
        from[c] = (int16_t)(w < ctx->in[0]->count && !sets[w] ? w : -1);
        plan->schema.names[c] = wide.names[w];
        plan->schema.types[c] = wide.types[w];
    }
    plan->schema.count = map->column_count;
    uint64_t of_input =
        ctx->in[0]->count == BATCH_COLUMNS_MAX ? UINT64_MAX : (1ULL << ctx->in[0]->count) - 1;
    plan->columns_read = read & of_input;
    plan->column_from = from;
    plan->value_intact = false;
    plan->compiled = map;
    return ERR_OK;
}

static enum err map_open(const struct operator_plan *plan, struct operator_env *env,
                         struct operator_instance **ret_op, struct err_info *info)
{
    IGNORE_RESULT(info); /* cannot fail */
    struct operator_instance *op = MEM_NEW(struct operator_instance);
    op->env = env;
    op->plan = plan->compiled;
    *ret_op = op;
    return ERR_OK;
}

static void map_close(struct operator_instance *op)
{
    mem_free(op);
}

static enum err map_process(struct operator_instance *op, int input, struct batch *batch,
                            struct batch_list *next, struct err_info *info)
{
    IGNORE_RESULT(input); /* all rows are alike */
    IGNORE_RESULT(info);  /* cannot fail */
    const struct map_plan *map = op->plan;
    uint8_t *rejects = arena_new(batch->arena, batch->count, 1);
    for (int32_t i = 0; i < map->step_count; i++) {
        const struct map_step *step = &map->steps[i];
        struct column result;
        if (expr_eval(step->expr, batch, &result, rejects) > 0) {
            operator_reject_rows(op->env, batch, rejects);
        }
        batch->columns[step->column] = result;
        if (step->column >= batch->column_count) {
            batch->column_count = step->column + 1;
        }
    }
    struct column wide[BATCH_COLUMNS_MAX];
    memcpy(wide, batch->columns, (size_t)map->wide_count * sizeof(wide[0]));
    for (int32_t c = 0; c < map->column_count; c++) {
        batch->columns[c] = wide[map->columns[c]];
    }
    batch->column_count = map->column_count;
    if (batch->sel_count > 0) {
        batch_list_add(next, batch);
    }
    return ERR_OK;
}

const struct operator_type operator_map = {
    .name = "map",
    .compile = map_compile,
    .open = map_open,
    .close = map_close,
    .process = map_process,
};
