// SPDX-License-Identifier: Apache-2.0
/* filter: keeps the rows for which a condition is true; false and null are dropped. Filters whose condition can reject no
 * row commute: whichever comes first, the same rows are left. */
#include "base/mem.h"
#include "pipeline/expr.h"
#include "pipeline/operators.h"

struct operator_instance {
    struct operator_env *env;
    const struct expr *where;
};

static enum err filter_compile(struct compile_context *ctx, struct operator_plan *plan)
{
    static const char *const known[] = {"name", "input", "where", NULL};
    enum err err = yaml_only_keys(ctx->node, known, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    const struct yaml_node *where = yaml_get(ctx->node, "where");
    if (where == NULL) {
        return yaml_fail(ctx->info, ctx->node, "filter has no 'where': say which records to keep");
    }
    const struct expr *expr = NULL;
    err = expr_compile(ctx->arena, where, ctx->in[0], &expr, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    if (expr_type(expr) != VALUE_BOOL) {
        return yaml_fail(ctx->info, where, "'where' is %s, a filter wants a bool: compare it",
                         value_type_name(expr_type(expr)));
    }
    plan->schema = *ctx->in[0];
    plan->value_intact = ctx->value_intact;
    plan->commutes = !expr_can_reject(expr);
    plan->columns_read = expr_columns(expr);
    plan->column_from = operator_columns_kept(ctx->arena, ctx->in[0]);
    plan->compiled = (void *)(uintptr_t)expr; /* read only */
    return ERR_OK;
}

static enum err filter_open(const struct operator_plan *plan, struct operator_env *env,
                            struct operator_instance **ret_op, struct err_info *info)
{
    IGNORE_RESULT(info); /* cannot fail */
    struct operator_instance *op = MEM_NEW(struct operator_instance);
    op->env = env;
    op->where = plan->compiled;
    *ret_op = op;
    return ERR_OK;
}

static void filter_close(struct operator_instance *op)
{
    mem_free(op);
}

static enum err filter_process(struct operator_instance *op, int input, struct batch *batch,
                               struct batch_list *next, struct err_info *info)
{
    IGNORE_RESULT(input); /* all rows are alike */
    IGNORE_RESULT(info);  /* cannot fail */
    uint8_t *rejects = expr_can_reject(op->where) ? arena_new(batch->arena, batch->count, 1) : NULL;
    struct column keep;
    if (expr_eval(op->where, batch, &keep, rejects) > 0) {
        operator_reject_rows(op->env, batch, rejects);
    }
    const uint8_t *flag = keep.data;
    int32_t kept = 0;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        batch->sel[kept] = row;
        kept += flag[row] != 0 && !column_is_null(&keep, row) ? 1 : 0;
    }
    batch->sel_count = kept;
    if (kept > 0) {
        batch_list_add(next, batch);
    }
    return ERR_OK;
}

const struct operator_type operator_filter = {
    .name = "filter",
    .compile = filter_compile,
    .open = filter_open,
    .close = filter_close,
    .process = filter_process,
};
