// SPDX-License-Identifier: Apache-2.0
/* dedupe: lets the first of equal records pass. Equal: the same record key, and the same values of the expressions in `by`.
 * With `within`, records are equal only if their event times are less than that apart from the last one that passed; the
 * memory of it ends when the watermark has passed that time. Without, it never ends.
 *
 * State: seen (key [, values]) -> event time of the last record that passed; timers, the same keys by the time at which
 * they may be forgotten. D1 with `within`, each key in seen has a timer at or before that time. */
#include "base/check.h"
#include "base/mem.h"
#include "pipeline/expr.h"
#include "pipeline/operators.h"
#include "pipeline/row_codec.h"

enum { DEDUPE_BY_MAX = 16, DEDUPE_PIECE = 512, DEDUPE_TIMER_STEPS = 16 };

static const int64_t DEDUPE_WITHIN_MAX_NS = INT64_C(3660) * 24 * 3600 * 1000000000;
static const int64_t DEDUPE_TIME_MAX_MS = INT64_C(1) << 60;

struct dedupe_plan {
    int32_t by_count; /* 0: by the record key alone */
    const struct expr *by[DEDUPE_BY_MAX];
    int64_t within_ms; /* INT64_MAX: for ever */
};

struct operator_instance {
    const struct dedupe_plan *plan;
    struct operator_env *env;
    struct state_space *seen, *timers;
    struct state_entry due[DEDUPE_PIECE];
};

static enum err compile_by(struct compile_context *ctx, const struct yaml_node *by,
                           struct dedupe_plan *dedupe, uint64_t *columns_read,
                           const char **ret_text)
{
    *columns_read = 0;
    *ret_text = "key";
    if (by == NULL || (by->kind == YAML_SCALAR && str_is(by->text, "key"))) {
        return ERR_OK;
    }
    bool list = by->kind == YAML_LIST;
    int32_t count = list ? by->count : 1;
    if (by->kind == YAML_MAP || count == 0 || count > DEDUPE_BY_MAX) {
        return yaml_fail(ctx->info, by, "'by' is key, an expression or a list of 1 to %d of them",
                         DEDUPE_BY_MAX);
    }
    for (int32_t i = 0; i < count; i++) {
        const struct yaml_node *node = list ? by->items[i] : by;
        enum err err = expr_compile(ctx->arena, node, ctx->in[0], &dedupe->by[i], ctx->info);
        if (err != ERR_OK) {
            return err;
        }
        *columns_read |= expr_columns(dedupe->by[i]);
        *ret_text = arena_printf(ctx->arena, "%s, %.*s", *ret_text, STR_ARG(node->text));
    }
    dedupe->by_count = count;
    return ERR_OK;
}

static void declare_space(struct compile_context *ctx, struct operator_plan *plan, const char *what,
                          const char *schema, struct state_space_options options)
{
    options.name = str_of(arena_printf(ctx->arena, "%.*s/%s", STR_ARG(ctx->name), what));
    options.schema = str_of(schema);
    plan->spaces[plan->space_count++] = options;
}

static enum err dedupe_compile(struct compile_context *ctx, struct operator_plan *plan)
{
    static const char *const known[] = {"name", "input", "by", "within", NULL};
    struct dedupe_plan *dedupe = ARENA_NEW(ctx->arena, struct dedupe_plan);
    const char *text = NULL;
    enum err err = yaml_only_keys(ctx->node, known, ctx->info);
    if (err == ERR_OK) {
        err = compile_by(ctx, yaml_get(ctx->node, "by"), dedupe, &plan->columns_read, &text);
    }
    const struct yaml_node *within = yaml_get(ctx->node, "within");
    dedupe->within_ms = INT64_MAX;
    int64_t within_ns = 0;
    if (err == ERR_OK && within != NULL) {
        err = yaml_duration_ns(within, 1000000, DEDUPE_WITHIN_MAX_NS, &within_ns, ctx->info);
        dedupe->within_ms = within_ns / 1000000;
    }
    if (err != ERR_OK) {
        return err;
    }
    bool composite = dedupe->by_count != 0;
    const char *schema = arena_printf(ctx->arena, "dedupe by %s", text);
    declare_space(ctx, plan, "seen", schema,
                  (struct state_space_options){.payload_bytes = (int32_t)sizeof(int64_t),
                                               .composite = composite});
    if (within != NULL) {
        declare_space(ctx, plan, "timers", schema,
                      (struct state_space_options){.timed = true, .composite = composite});
    }
    plan->schema = *ctx->in[0];
    plan->value_intact = ctx->value_intact;
    plan->column_from = operator_columns_kept(ctx->arena, ctx->in[0]);
    plan->span_ms = within != NULL ? dedupe->within_ms : 0;
    plan->compiled = dedupe;
    return ERR_OK;
}

static enum err dedupe_open(const struct operator_plan *plan, struct operator_env *env,
                            struct operator_instance **ret_op, struct err_info *info)
{
    IGNORE_RESULT(info); /* cannot fail */
    struct operator_instance *op = MEM_NEW(struct operator_instance);
    op->plan = plan->compiled;
    op->env = env;
    op->seen = state_space_open(env->state, &plan->spaces[0]);
    if (plan->space_count > 1) {
        op->timers = state_space_open(env->state, &plan->spaces[1]);
    }
    *ret_op = op;
    return ERR_OK;
}

static void dedupe_close(struct operator_instance *op)
{
    mem_free(op);
}

/* When what was seen at `time` may be forgotten: rounded up, so that many keys share a time. */
static int64_t forget_at(const struct dedupe_plan *plan, int64_t time)
{
    int64_t step = plan->within_ms / DEDUPE_TIMER_STEPS + 1;
    int64_t due = time + plan->within_ms;
    int64_t rest = due % step;
    return due - rest + (rest > 0 ? step : 0);
}

/* Whether the row is the first of its kind; remembers it then. */
static bool dedupe_first(struct operator_instance *op, uint64_t hash, struct str key, int64_t time)
{
    int64_t within = op->plan->within_ms;
    const int64_t *found = state_find(op->seen, hash, key, 0);
    if (found != NULL && within == INT64_MAX) {
        return false;
    }
    if (found != NULL && time - *found < within && *found - time < within) {
        return false;
    }
    bool older = found != NULL && time < *found;
    if (!older) {
        *(int64_t *)state_upsert(op->seen, hash, key, 0, NULL) = time;
    }
    if (found == NULL && op->timers != NULL) {
        state_upsert(op->timers, hash, key, forget_at(op->plan, time), NULL);
    }
    return true;
}

/* The row's state key; NULL if it is too long. */
static bool dedupe_key(const struct operator_instance *op, const struct batch *batch, int32_t row,
                       const struct column *by, struct str *ret_key, uint64_t *ret_hash)
{
    *ret_key = batch->key[row];
    *ret_hash = batch->hash[row];
    if (op->plan->by_count == 0) {
        return ret_key->len <= STATE_KEY_MAX;
    }
    ptrdiff_t len = row_bytes(by, op->plan->by_count, row);
    if (ret_key->len + len + 2 > STATE_KEY_MAX) {
        return false;
    }
    char *more = arena_new_raw(batch->arena, 2 * len + ret_key->len + 2, 1);
    row_encode(more, by, op->plan->by_count, row);
    *ret_key = state_composite_key(more + len, *ret_hash, *ret_key,
                                   (struct str){.ptr = more, .len = len}, ret_hash);
    return true;
}

static enum err dedupe_process(struct operator_instance *op, int input, struct batch *batch,
                               struct batch_list *next, struct err_info *info)
{
    IGNORE_RESULT(input); /* all rows are alike */
    IGNORE_RESULT(info);  /* cannot fail */
    struct column by[DEDUPE_BY_MAX];
    uint8_t *rejects = arena_new(batch->arena, batch->count, 1);
    int32_t rejected = 0;
    for (int32_t i = 0; i < op->plan->by_count; i++) {
        rejected += expr_eval(op->plan->by[i], batch, &by[i], rejects);
    }
    if (rejected > 0) {
        operator_reject_rows(op->env, batch, rejects);
    }
    int32_t kept = 0;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t row = batch->sel[k];
        int64_t time = batch->time_ms[row];
        if (time > DEDUPE_TIME_MAX_MS || time < -DEDUPE_TIME_MAX_MS) {
            operator_reject(op->env, batch, row, "event time is out of range");
            continue;
        }
        struct arena_mark mark = arena_mark(batch->arena);
        struct str key;
        uint64_t hash;
        bool fits = dedupe_key(op, batch, row, by, &key, &hash);
        bool first = fits && dedupe_first(op, hash, key, time);
        arena_rewind(batch->arena, mark); // before a reject may write into the same arena
        if (!fits) {
            operator_reject(op->env, batch, row, "key is too long to keep state for");
        } else if (first) {
            batch->sel[kept++] = row;
        }
    }
    batch->sel_count = kept;
    if (kept > 0) {
        batch_list_add(next, batch);
    }
    return ERR_OK;
}

static bool dedupe_advance(struct operator_instance *op, int64_t watermark_ms,
                           struct batch_list *next)
{
    IGNORE_RESULT(next); /* forgetting makes no rows */
    int32_t count;
    while (op->timers != NULL &&
           (count = state_take_due(op->timers, watermark_ms, op->due, DEDUPE_PIECE)) > 0) {
        for (int32_t i = 0; i < count; i++) {
            const struct state_entry *timer = &op->due[i];
            const int64_t *seen = state_find(op->seen, timer->hash, timer->key, 0);
            CHECK(seen != NULL); // D1
            int64_t due = forget_at(op->plan, *seen);
            if (due <= watermark_ms) {
                state_delete(op->seen, timer->hash, timer->key, 0);
            } else {
                state_upsert(op->timers, timer->hash, timer->key, due, NULL);
            }
        }
    }
    return false;
}

const struct operator_type operator_dedupe = {
    .name = "dedupe",
    .reads_hash = true,
    .compile = dedupe_compile,
    .open = dedupe_open,
    .close = dedupe_close,
    .process = dedupe_process,
    .advance = dedupe_advance,
};
