// SPDX-License-Identifier: Apache-2.0
/* dedupe: lets the first of equal records pass. Equal: the same record key, and the same values of the expressions in `by`.
 * With `within`, records are equal only if their event times are less than that apart; the memory of one that passed ends when the
 * watermark has passed its time by that much, at the latest by twice as much. Without, it never ends.
 *
 * State: seen (key [, values]) -> event time of the record that passed. With `within`, one such entry for each step of that length
 * on the line of time, timed by when it may be forgotten.
 *   D1 Two records of one step are less than a step apart, so at most one passes; those that another record may be too near to
 *      are in its own step and the two beside it.
 *   D2 A record behind its source's watermark looks at those entries only that no chain can have forgotten: what passes is the
 *      same wherever the chain's watermark stands. */
#include "base/check.h"
#include "base/mem.h"
#include "pipeline/expr.h"
#include "pipeline/operators.h"
#include "pipeline/row_codec.h"

enum { DEDUPE_BY_MAX = 16, DEDUPE_PIECE = 512, DEDUPE_PIECES_PER_ADVANCE = 16 };

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
    struct state_space *seen;
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
    const char *schema = within == NULL ? arena_printf(ctx->arena, "dedupe by %s", text)
                                        : arena_printf(ctx->arena, "dedupe within %lld by %s",
                                                       (long long)dedupe->within_ms, text);
    declare_space(ctx, plan, "seen", schema,
                  (struct state_space_options){.payload_bytes = (int32_t)sizeof(int64_t),
                                               .timed = within != NULL,
                                               .composite = composite});
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
    *ret_op = op;
    return ERR_OK;
}

static void dedupe_close(struct operator_instance *op)
{
    mem_free(op);
}

/* When what was seen in the step that holds `time` may be forgotten: the time of its entry. */
static int64_t forget_at(const struct dedupe_plan *plan, int64_t time)
{
    int64_t rest = time % plan->within_ms;
    return time - (rest < 0 ? rest + plan->within_ms : rest) + 2 * plan->within_ms;
}

/* Whether the row is the first of its kind; remembers it then.
 *   stamp   watermark that it was behind at its source, or STAMP_NONE */
static bool dedupe_first(struct operator_instance *op, uint64_t hash, struct str key, int64_t time,
                         int64_t stamp)
{
    int64_t within = op->plan->within_ms;
    if (within == INT64_MAX) {
        if (state_find(op->seen, hash, key, 0) != NULL) {
            return false;
        }
        *(int64_t *)state_upsert(op->seen, hash, key, 0, NULL) = time;
        return true;
    }
    int64_t own = forget_at(op->plan, time);
    const int64_t places[] = {own, own - within, own + within}; // D1
    for (int i = 0; i < COUNT_OF(places); i++) {
        int64_t due = places[i]; // D2
        const int64_t *found = due > stamp ? state_find(op->seen, hash, key, due) : NULL;
        if (found != NULL && time - *found < within && *found - time < within) {
            return false;
        }
    }
    if (own > stamp) { // else it would be forgotten at once
        *(int64_t *)state_upsert(op->seen, hash, key, own, NULL) = time;
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
        int64_t stamp = batch->stamp_ms != NULL ? batch->stamp_ms[row] : STAMP_NONE;
        bool first = fits && dedupe_first(op, hash, key, time, stamp);
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
    for (int i = 0; op->plan->within_ms != INT64_MAX && i < DEDUPE_PIECES_PER_ADVANCE; i++) {
        if (state_take_due(op->seen, watermark_ms, op->due, DEDUPE_PIECE) == 0) {
            return false;
        }
    }
    // A step of all keys may be long: the rest in the next call.
    return op->plan->within_ms != INT64_MAX;
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
