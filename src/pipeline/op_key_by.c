// SPDX-License-Identifier: Apache-2.0
/* key_by: gives every row a new key and ends the stage; its rows go to the stage's internal stream, to the shard of the
 * new key. A null key is an absent one. */
#include "base/hash.h"
#include "base/mem.h"
#include "pipeline/config.h"
#include "pipeline/expr.h"
#include "pipeline/json.h"
#include "pipeline/number.h"
#include "pipeline/operators.h"

enum { KEY_TEXT_MAX = 32, KEY_BYTES_MAX = STATE_KEY_MAX };

struct key_by_plan {
    const struct expr *key;
    const struct contest *contest; /* NULL: all rows count */
};

struct operator_instance {
    struct operator_env *env;
    const struct key_by_plan *plan;
    struct contest_rows *rows; /* of a contest; made with the first batch */
};

static enum err key_by_compile(struct compile_context *ctx, struct operator_plan *plan)
{
    static const char *const known[] = {"name", "key", "shards", "codec", NULL};
    enum err err = yaml_only_keys(ctx->node, known, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    const struct yaml_node *key = yaml_get(ctx->node, "key");
    if (key == NULL) {
        return yaml_fail(ctx->info, ctx->node, "key_by has no 'key': say what the new key is");
    }
    const struct expr *expr = NULL;
    err = expr_compile(ctx->arena, key, ctx->in[0], &expr, ctx->info);
    if (err != ERR_OK) {
        return err;
    }
    plan->schema = *ctx->in[0];
    plan->value_intact = ctx->value_intact;
    plan->key_changed = true;
    plan->columns_read = expr_columns(expr);
    plan->column_from = operator_columns_kept(ctx->arena, ctx->in[0]);
    struct key_by_plan *key_by = ARENA_NEW(ctx->arena, struct key_by_plan);
    key_by->key = expr;
    plan->compiled = key_by;
    return ERR_OK;
}

int32_t key_by_set_contest(struct operator_plan *plan, const struct contest *contest)
{
    struct key_by_plan *key_by = plan->compiled;
    enum value_type type = expr_type(key_by->key);
    key_by->contest = contest;
    plan->columns_read |= UINT64_C(1) << contest->column;
    return type == VALUE_I64 || type == VALUE_TIME ? expr_plain_column(key_by->key) : -1;
}

static enum err key_by_open(const struct operator_plan *plan, struct operator_env *env,
                            struct operator_instance **ret_op, struct err_info *info)
{
    IGNORE_RESULT(info); /* cannot fail */
    struct operator_instance *op = MEM_NEW(struct operator_instance);
    op->env = env;
    op->plan = plan->compiled;
    *ret_op = op;
    return ERR_OK;
}

static void key_by_close(struct operator_instance *op)
{
    if (op != NULL) {
        mem_free(op->rows);
    }
    mem_free(op);
}

/* The text of one key; numbers and bools as JSON writes them. `out` has KEY_TEXT_MAX bytes. */
static struct str key_text(const struct column *column, int32_t row, char *out)
{
    switch (column->type) {
    case VALUE_STR:
        return COLUMN_STR(column)[row];
    case VALUE_BOOL:
        return COLUMN_BOOL(column)[row] != 0 ? STR("true") : STR("false");
    case VALUE_F64:
        return (struct str){out, f64_write(COLUMN_F64(column)[row], out)};
    case VALUE_I64:
    case VALUE_TIME:
    case VALUE_TYPE_COUNT:
        break;
    }
    return (struct str){out, i64_write(COLUMN_I64(column)[row], out)};
}

/* Whether two rows, neither of which is null, have one key, as far as is told by a look. */
static bool same_key(const struct column *column, int32_t a, int32_t b)
{
    return (column->type == VALUE_I64 || column->type == VALUE_TIME) &&
           COLUMN_I64(column)[a] == COLUMN_I64(column)[b] && !column_is_null(column, a) &&
           !column_is_null(column, b);
}

static void decide(struct operator_instance *op, struct batch *batch)
{
    if (op->rows == NULL) {
        op->rows = MEM_NEW(struct contest_rows);
    }
    contest_decide(op->plan->contest, op->rows, batch);
}

static enum err key_by_process(struct operator_instance *op, int input, struct batch *batch,
                               struct batch_list *next, struct err_info *info)
{
    IGNORE_RESULT(input); /* a stage that re-keys has rows of one kind */
    IGNORE_RESULT(info);  /* cannot fail */
    uint8_t *rejects = arena_new(batch->arena, batch->count, 1);
    struct column key;
    if (expr_eval(op->plan->key, batch, &key, rejects) > 0) {
        operator_reject_rows(op->env, batch, rejects);
    }
    char *texts = key.type == VALUE_STR || key.type == VALUE_BOOL
                      ? NULL
                      : arena_new_raw(batch->arena, batch->count, KEY_TEXT_MAX);
    int32_t kept = 0;
    struct str *keys = arena_new_raw(batch->arena, batch->count, sizeof(struct str));
    uint64_t *hashes = arena_new_raw(batch->arena, batch->count, sizeof(uint64_t));
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        if (kept > 0 && same_key(&key, row, batch->sel[kept - 1])) {
            keys[row] = keys[batch->sel[kept - 1]];
            hashes[row] = hashes[batch->sel[kept - 1]];
            batch->sel[kept++] = row;
            continue;
        }
        char *text = texts != NULL ? texts + (ptrdiff_t)row * KEY_TEXT_MAX : NULL;
        struct str bytes = column_is_null(&key, row) ? (struct str){0} : key_text(&key, row, text);
        if (bytes.len > KEY_BYTES_MAX) {
            operator_reject(op->env, batch, row, "the new key is longer than 32 KiB");
            continue;
        }
        keys[row] = bytes;
        hashes[row] = hash64(bytes.ptr, bytes.len);
        batch->sel[kept++] = row;
    }
    batch->sel_count = kept;
    batch->key = keys;
    batch->hash = hashes;
    if (op->plan->contest != NULL) {
        decide(op, batch);
    }
    if (kept > 0) {
        batch_list_add(next, batch);
    }
    return ERR_OK;
}

const struct operator_type operator_key_by = {
    .name = "key_by",
    .compile = key_by_compile,
    .open = key_by_open,
    .close = key_by_close,
    .process = key_by_process,
};
