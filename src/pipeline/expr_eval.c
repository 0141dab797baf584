// SPDX-License-Identifier: Apache-2.0
/* Runs a program column by column. Each instruction is one tight loop over the selected rows; what may reject is first
 * asked for the whole column at once ("any?"), and rows are looked at one by one only if the answer is yes. Rows that are
 * null compute garbage that nobody reads. */
#include <math.h>

#include "base/check.h"
#include "pipeline/expr_priv.h"

/* The nesting that counts here is that of the macros, which keep each loop without a branch per row. */
// NOLINTBEGIN(readability-function-size)

static ptrdiff_t type_size(enum value_type type)
{
    return type == VALUE_BOOL ? 1 : type == VALUE_STR ? (ptrdiff_t)sizeof(struct str) : 8;
}

#define FILL(T) \
    do { \
        T *to_ = data; \
        T one_ = *(const T *)reg->data; \
        for (int32_t k = 0; k < f->all_n; k++) { \
            to_[f->all_dense ? k : f->all_rows[k]] = one_; \
        } \
    } while (0)

void expr_reg_fill(struct expr_frame *f, int32_t reg_index)
{
    struct expr_reg *reg = &f->regs[reg_index];
    if (!reg->constant) {
        return;
    }
    enum value_type type = f->expr->bindings[reg_index].type;
    void *data = arena_new_raw(f->arena, f->row_count, type_size(type));
    if (type == VALUE_BOOL) {
        FILL(uint8_t);
    } else if (type == VALUE_STR) {
        FILL(struct str);
    } else {
        FILL(int64_t);
    }
    if (reg->null != NULL) {
        reg->null = arena_new_raw(f->arena, f->row_count, 1);
        memset(reg->null, 1, (size_t)f->row_count);
    }
    reg->data = data;
    reg->constant = false;
}

/* Null where either is. */
static uint8_t *null_either(struct expr_frame *f, const uint8_t *a, const uint8_t *b)
{
    if (a == NULL && b == NULL) {
        return NULL;
    }
    uint8_t *null = arena_new_raw(f->arena, f->row_count, 1);
    if (a != NULL && b != NULL) {
        EXPR_EACH(f, null[i] = a[i] | b[i];);
    } else {
        const uint8_t *one = a != NULL ? a : b;
        EXPR_EACH(f, null[i] = one[i];);
    }
    return null;
}

void *expr_result(struct expr_frame *f, const struct expr_instr *instr)
{
    struct expr_reg *dst = &f->regs[instr->dst];
    dst->null = NULL;
    for (int32_t i = 0; i < instr->arg_count; i++) {
        struct expr_reg *arg = &f->regs[instr->args[i]];
        if (arg->constant && arg->null != NULL) {
            expr_reg_fill(f, instr->args[i]);
        }
        dst->null = null_either(f, dst->null, arg->null);
    }
    dst->constant = false;
    dst->data =
        arena_new_raw(f->arena, f->row_count, type_size(f->expr->bindings[instr->dst].type));
    return dst->data;
}

#define ARG(f, instr, n) (&(f)->regs[(instr)->args[n]])

/* r[i] = E of x (argument 0) and y (argument 1), which may be a constant. */
#define BINARY(T, R, E) \
    do { \
        expr_reg_fill(f, in->args[0]); \
        const T *a_ = ARG(f, in, 0)->data; \
        const T *b_ = ARG(f, in, 1)->data; \
        R *r_ = expr_result(f, in); \
        if (ARG(f, in, 1)->constant) { \
            const T y = b_[0]; \
            EXPR_EACH(f, const T x = a_[i]; r_[i] = (R)(E);); \
        } else { \
            b_ = ARG(f, in, 1)->data; \
            EXPR_EACH(f, const T x = a_[i]; const T y = b_[i]; r_[i] = (R)(E);); \
        } \
    } while (0)

#define UNARY(T, R, E) \
    do { \
        expr_reg_fill(f, in->args[0]); \
        const T *a_ = ARG(f, in, 0)->data; \
        R *r_ = expr_result(f, in); \
        EXPR_EACH(f, const T x = a_[i]; r_[i] = (R)(E);); \
    } while (0)

/* Marks the rows where the condition BAD of x, y and the result r holds and no operand is null. */
#define MARK(T, BAD, WHY) \
    do { \
        const struct expr_reg *dst_ = &f->regs[in->dst]; \
        EXPR_EACH( \
            f, const T x = a_[i]; const T y = b_[i]; if ((BAD) && !expr_reg_is_null(dst_, i)) { \
                expr_reject(f, i, (WHY)); \
            } IGNORE_RESULT(x); \
            IGNORE_RESULT(y);); \
    } while (0)

#define OPERANDS(T) \
    expr_reg_fill(f, in->args[0]); \
    expr_reg_fill(f, in->args[in->arg_count - 1]); \
    const T *a_ = ARG(f, in, 0)->data; \
    const T *b_ = ARG(f, in, in->arg_count - 1)->data; \
    T *r_ = expr_result(f, in)

/* Two's complement results of the builtins stay defined on overflow. */
#define CHECKED_I64(BUILTIN) \
    do { \
        OPERANDS(int64_t); \
        int any_ = 0; \
        EXPR_EACH(f, int64_t r; any_ |= BUILTIN(a_[i], b_[i], &r); r_[i] = r;); \
        if (any_ != 0) { \
            int64_t z; \
            MARK(int64_t, BUILTIN(x, y, &z), EXPR_REJECT_OVERFLOW); \
        } \
    } while (0)

static bool division_overflows(int64_t x, int64_t y)
{
    return x == INT64_MIN && y == -1;
}

static void run_division_i64(struct expr_frame *f, const struct expr_instr *in)
{
    OPERANDS(int64_t);
    bool remainder = in->op == EXPR_MOD_I64;
    bool any = false;
    EXPR_EACH(f, int64_t y = b_[i]; bool bad = y == 0 || division_overflows(a_[i], y);
              any = any || bad; y = bad ? 1 : y; r_[i] = remainder ? a_[i] % y : a_[i] / y;);
    if (any) {
        MARK(int64_t, y == 0, EXPR_REJECT_ZERO_DIVISION);
        if (!remainder) { /* INT64_MIN % -1 is 0, as is anything % 1 */
            MARK(int64_t, division_overflows(x, y), EXPR_REJECT_OVERFLOW);
        }
    }
}

static bool is_finite(double x)
{
    return fabs(x) <= 1.7976931348623157e308;
}

static bool is_zero(double x)
{
    return !(x < 0) && !(x > 0);
}

/* Operands are finite (every column is), so a result that is not has overflown. */
#define CHECKED_F64(E) \
    do { \
        OPERANDS(double); \
        bool any_ = false; \
        EXPR_EACH(f, const double x = a_[i]; const double y = b_[i]; const double r = (E); \
                  any_ |= !is_finite(r); r_[i] = r;); \
        if (any_) { \
            MARK(double, !is_finite(E), EXPR_REJECT_OVERFLOW); \
        } \
    } while (0)

static void run_division_f64(struct expr_frame *f, const struct expr_instr *in)
{
    OPERANDS(double);
    bool remainder = in->op == EXPR_MOD_F64;
    bool any = false;
    EXPR_EACH(f, const double y = b_[i]; const double x = a_[i];
              const double r = remainder ? fmod(x, y) : x / y; any = any || !is_finite(r);
              r_[i] = r;);
    if (any) {
        MARK(double, is_zero(y), EXPR_REJECT_ZERO_DIVISION);
        if (!remainder) {
            MARK(double, !is_zero(y) && !is_finite(x / y), EXPR_REJECT_OVERFLOW);
        }
    }
}

/* Negation and absolute value: only the smallest number has none. */
static void run_sign_i64(struct expr_frame *f, const struct expr_instr *in)
{
    OPERANDS(int64_t);
    bool any = false;
    bool absolute = in->op == EXPR_ABS_I64;
    EXPR_EACH(f, const int64_t x = a_[i]; any |= x == INT64_MIN;
              r_[i] = absolute && x >= 0 ? x : (int64_t)(0 - (uint64_t)x););
    if (any) {
        MARK(int64_t, x == INT64_MIN, EXPR_REJECT_OVERFLOW);
    }
}

static void run_cast_f64_i64(struct expr_frame *f, const struct expr_instr *in)
{
    expr_reg_fill(f, in->args[0]);
    const double *a = ARG(f, in, 0)->data;
    int64_t *r = expr_result(f, in);
    const struct expr_reg *dst = &f->regs[in->dst];
    /* 2^63 is a double, INT64_MAX is not */
    EXPR_EACH(
        f, const double x = a[i]; bool good = x >= -0x1p63 && x < 0x1p63;
        r[i] = good ? (int64_t)x : 0;
        if (!good && !expr_reg_is_null(dst, i)) { expr_reject(f, i, EXPR_REJECT_CAST); });
}

static void run_arithmetic(struct expr_frame *f, const struct expr_instr *in)
{
    switch ((int)in->op) {
    case EXPR_ADD_I64:
        CHECKED_I64(__builtin_add_overflow);
        break;
    case EXPR_SUB_I64:
        CHECKED_I64(__builtin_sub_overflow);
        break;
    case EXPR_MUL_I64:
        CHECKED_I64(__builtin_mul_overflow);
        break;
    case EXPR_DIV_I64:
    case EXPR_MOD_I64:
        run_division_i64(f, in);
        break;
    case EXPR_NEG_I64:
    case EXPR_ABS_I64:
        run_sign_i64(f, in);
        break;
    case EXPR_ADD_F64:
        CHECKED_F64(x + y);
        break;
    case EXPR_SUB_F64:
        CHECKED_F64(x - y);
        break;
    case EXPR_MUL_F64:
        CHECKED_F64((x) * (y));
        break;
    case EXPR_DIV_F64:
    case EXPR_MOD_F64:
        run_division_f64(f, in);
        break;
    case EXPR_NEG_F64:
        UNARY(double, double, -x);
        break;
    case EXPR_ABS_F64:
        UNARY(double, double, fabs(x));
        break;
    case EXPR_FLOOR:
        UNARY(double, double, floor(x));
        break;
    case EXPR_CEIL:
        UNARY(double, double, ceil(x));
        break;
    default:
        CHECK(in->op == EXPR_ROUND);
        UNARY(double, double, round(x)); /* halves away from zero */
    }
}

/* A text that is null in its column is never looked into: its view is whatever memory held. */
#define TEXT_COMPARISON(E) \
    do { \
        expr_reg_fill(f, in->args[0]); \
        bool one_ = ARG(f, in, 1)->constant && ARG(f, in, 1)->null == NULL; \
        if (!one_) { \
            expr_reg_fill(f, in->args[1]); \
        } \
        uint8_t *r_ = expr_result(f, in); \
        const struct expr_reg *dst_ = &f->regs[in->dst]; \
        const struct str *a_ = ARG(f, in, 0)->data; \
        const struct str *b_ = ARG(f, in, 1)->data; \
        const struct str constant_ = one_ ? b_[0] : (struct str){0}; \
        EXPR_EACH( \
            f, if (!expr_reg_is_null(dst_, i)) { \
                const struct str x = a_[i]; \
                const struct str y = one_ ? constant_ : b_[i]; \
                r_[i] = (uint8_t)(E); \
            }); \
    } while (0)

static void run_comparison_text(struct expr_frame *f, const struct expr_instr *in)
{
    switch ((int)in->op) {
    case EXPR_EQ_STR:
        TEXT_COMPARISON(str_equal(x, y));
        break;
    case EXPR_NE_STR:
        TEXT_COMPARISON(!str_equal(x, y));
        break;
    case EXPR_LT_STR:
        TEXT_COMPARISON(str_compare(x, y) < 0);
        break;
    case EXPR_LE_STR:
        TEXT_COMPARISON(str_compare(x, y) <= 0);
        break;
    case EXPR_GT_STR:
        TEXT_COMPARISON(str_compare(x, y) > 0);
        break;
    default:
        CHECK(in->op == EXPR_GE_STR);
        TEXT_COMPARISON(str_compare(x, y) >= 0);
    }
}

static void run_comparison(struct expr_frame *f, const struct expr_instr *in)
{
    switch ((int)in->op) {
    case EXPR_EQ_I64:
        BINARY(int64_t, uint8_t, x == y);
        break;
    case EXPR_NE_I64:
        BINARY(int64_t, uint8_t, x != y);
        break;
    case EXPR_LT_I64:
        BINARY(int64_t, uint8_t, x < y);
        break;
    case EXPR_LE_I64:
        BINARY(int64_t, uint8_t, x <= y);
        break;
    case EXPR_GT_I64:
        BINARY(int64_t, uint8_t, x > y);
        break;
    case EXPR_GE_I64:
        BINARY(int64_t, uint8_t, x >= y);
        break;
    case EXPR_EQ_F64:
        BINARY(double, uint8_t, x <= y && x >= y);
        break;
    case EXPR_NE_F64:
        BINARY(double, uint8_t, x<y || x> y);
        break;
    case EXPR_LT_F64:
        BINARY(double, uint8_t, x < y);
        break;
    case EXPR_LE_F64:
        BINARY(double, uint8_t, x <= y);
        break;
    case EXPR_GT_F64:
        BINARY(double, uint8_t, x > y);
        break;
    case EXPR_GE_F64:
        BINARY(double, uint8_t, x >= y);
        break;
    case EXPR_EQ_BOOL:
        BINARY(uint8_t, uint8_t, x == y);
        break;
    case EXPR_NE_BOOL:
        BINARY(uint8_t, uint8_t, x != y);
        break;
    default:
        run_comparison_text(f, in);
    }
}

/* `and` is false where one side is false, null where none is and one is null; `or` mirrors it. The right side was not
 * computed where the left decides, so its garbage must not get through: hence the order of the tests. */
static void run_logic(struct expr_frame *f, const struct expr_instr *in)
{
    expr_reg_fill(f, in->args[0]);
    expr_reg_fill(f, in->args[1]);
    const struct expr_reg *a = ARG(f, in, 0);
    const struct expr_reg *b = ARG(f, in, 1);
    const uint8_t *x = a->data;
    const uint8_t *y = b->data;
    uint8_t *r = expr_result(f, in);
    uint8_t *null = f->regs[in->dst].null;
    const uint8_t decides = in->op == EXPR_OR ? 1 : 0;
    if (null == NULL) {
        if (decides != 0) {
            EXPR_EACH(f, r[i] = (x[i] | y[i]) & 1;);
        } else {
            EXPR_EACH(f, r[i] = x[i] & y[i];);
        }
        return;
    }
    EXPR_EACH(
        f, bool x_null = expr_reg_is_null(a, i); bool decided = !x_null && x[i] == decides;
        if (!decided) { decided = !expr_reg_is_null(b, i) && y[i] == decides; } r[i] =
            decided ? decides : 1 - decides;
        null[i] = decided ? 0 : null[i];);
}

static void run_is_null(struct expr_frame *f, const struct expr_instr *in)
{
    expr_reg_fill(f, in->args[0]);
    const struct expr_reg *a = ARG(f, in, 0);
    uint8_t *r = expr_result(f, in);
    f->regs[in->dst].null = NULL;
    if (a->null == NULL) {
        EXPR_EACH(f, r[i] = 0;);
    } else {
        EXPR_EACH(f, r[i] = a->null[i];);
    }
}

/* r = pick[i] ? a : b, with their nulls. */
static void run_select(struct expr_frame *f, const struct expr_instr *in, const uint8_t *pick,
                       int32_t a_reg, int32_t b_reg)
{
    expr_reg_fill(f, a_reg);
    expr_reg_fill(f, b_reg);
    const struct expr_reg *a = &f->regs[a_reg];
    const struct expr_reg *b = &f->regs[b_reg];
    struct expr_reg *dst = &f->regs[in->dst];
    enum value_type type = f->expr->bindings[in->dst].type;
    void *data = arena_new_raw(f->arena, f->row_count, type_size(type));
    uint8_t *null = NULL;
    if (a->null != NULL || b->null != NULL) {
        null = arena_new_raw(f->arena, f->row_count, 1);
        EXPR_EACH(f, null[i] = pick[i] != 0 ? expr_reg_is_null(a, i) : expr_reg_is_null(b, i););
    }
    if (type == VALUE_BOOL) {
        const uint8_t *x = a->data;
        const uint8_t *y = b->data;
        EXPR_EACH(f, ((uint8_t *)data)[i] = pick[i] != 0 ? x[i] : y[i];);
    } else if (type == VALUE_STR) {
        const struct str *x = a->data;
        const struct str *y = b->data;
        EXPR_EACH(f, ((struct str *)data)[i] = pick[i] != 0 ? x[i] : y[i];);
    } else {
        const int64_t *x = a->data;
        const int64_t *y = b->data;
        EXPR_EACH(f, ((int64_t *)data)[i] = pick[i] != 0 ? x[i] : y[i];);
    }
    *dst = (struct expr_reg){.data = data, .null = null};
}

static void run_if(struct expr_frame *f, const struct expr_instr *in)
{
    expr_reg_fill(f, in->args[0]);
    const struct expr_reg *c = ARG(f, in, 0);
    const uint8_t *flag = c->data;
    uint8_t *pick = arena_new_raw(f->arena, f->row_count, 1);
    EXPR_EACH(f, pick[i] = !expr_reg_is_null(c, i) && flag[i] != 0;);
    run_select(f, in, pick, in->args[1], in->args[2]);
}

static void run_coalesce(struct expr_frame *f, const struct expr_instr *in)
{
    expr_reg_fill(f, in->args[0]);
    const struct expr_reg *a = ARG(f, in, 0);
    uint8_t *pick = arena_new_raw(f->arena, f->row_count, 1);
    EXPR_EACH(f, pick[i] = !expr_reg_is_null(a, i););
    run_select(f, in, pick, in->args[0], in->args[1]);
}

struct selection {
    const int32_t *rows;
    int32_t n;
    bool dense;
};

/* Narrows the selection to the rows that `op` leaves of the condition in its register. */
static void run_push(struct expr_frame *f, const struct expr_instr *in)
{
    expr_reg_fill(f, in->args[0]);
    const struct expr_reg *c = ARG(f, in, 0);
    const uint8_t *flag = c->data;
    int32_t *rows = arena_new_raw(f->arena, f->n > 0 ? f->n : 1, (ptrdiff_t)sizeof(int32_t));
    int32_t n = 0;
    for (int32_t k = 0; k < f->n; k++) {
        int32_t i = f->dense ? k : f->rows[k];
        bool null = expr_reg_is_null(c, i);
        bool keep = null;
        if (in->op == EXPR_PUSH_NOT_FALSE) {
            keep = null || flag[i] != 0;
        } else if (in->op == EXPR_PUSH_NOT_TRUE) {
            keep = null || flag[i] == 0;
        } else if (in->op == EXPR_PUSH_TRUE) {
            keep = !null && flag[i] != 0;
        }
        rows[n] = i;
        n += keep ? 1 : 0;
    }
    f->rows = rows;
    f->n = n;
    f->dense = false;
}

static void run_instr(struct expr_frame *f, const struct expr_instr *in)
{
    switch ((int)in->op) {
    case EXPR_NOT:
        UNARY(uint8_t, uint8_t, x == 0);
        break;
    case EXPR_AND:
    case EXPR_OR:
        run_logic(f, in);
        break;
    case EXPR_IS_NULL:
        run_is_null(f, in);
        break;
    case EXPR_IF:
        run_if(f, in);
        break;
    case EXPR_COALESCE:
        run_coalesce(f, in);
        break;
    case EXPR_CAST_I64_F64:
        UNARY(int64_t, double, x);
        break;
    case EXPR_CAST_F64_I64:
        run_cast_f64_i64(f, in);
        break;
    case EXPR_CAST_BOOL_I64:
        UNARY(uint8_t, int64_t, x);
        break;
    case EXPR_CAST_I64_TIME:
        UNARY(int64_t, int64_t, x);
        break;
    default:
        if (in->op < EXPR_EQ_I64) {
            run_arithmetic(f, in);
        } else if (in->op < EXPR_NOT) {
            run_comparison(f, in);
        } else {
            expr_run_text(f, in);
        }
    }
}

static void *record_column(const struct batch *batch, int32_t column)
{
    return column == EXPR_RECORD_KEY     ? (void *)batch->key
           : column == EXPR_RECORD_VALUE ? (void *)batch->value
                                         : (void *)batch->time_ms;
}

/* An absent key or value is a view without a pointer. */
static uint8_t *record_null(const struct batch *batch, int32_t column)
{
    if (column == EXPR_RECORD_TIME) {
        return NULL;
    }
    const struct str *texts = column == EXPR_RECORD_KEY ? batch->key : batch->value;
    uint8_t *null = NULL;
    for (int32_t k = 0; k < batch->sel_count; k++) {
        int32_t i = batch->sel[k];
        if (texts[i].ptr == NULL && null == NULL) {
            null = arena_new(batch->arena, batch->count, 1);
        }
        if (texts[i].ptr == NULL) {
            null[i] = 1;
        }
    }
    return null;
}

static void bind(struct expr_frame *f, const struct batch *batch)
{
    static uint8_t one_null = 1; /* the null map of a constant null; never written */
    for (int32_t r = 0; r < f->expr->register_count; r++) {
        const struct expr_binding *binding = &f->expr->bindings[r];
        struct expr_reg *reg = &f->regs[r];
        if (binding->column == -1) {
            /* The value is read only; all members of the union begin where it does. */
            *reg = (struct expr_reg){.data = (void *)(uintptr_t)&binding->value,
                                     .null = binding->null ? &one_null : NULL,
                                     .constant = true};
        } else if (binding->column >= BATCH_COLUMNS_MAX) {
            *reg = (struct expr_reg){.data = record_column(batch, binding->column),
                                     .null = record_null(batch, binding->column)};
        } else if (binding->column >= 0) {
            CHECK(binding->column < batch->column_count);
            const struct column *column = &batch->columns[binding->column];
            DCHECK(column->type == binding->type);
            *reg = (struct expr_reg){.data = column->data, .null = column->null};
        }
    }
}

static bool selects_all(const struct batch *batch)
{
    return batch->sel_count > 0 && batch->sel[0] == 0 &&
           batch->sel[batch->sel_count - 1] == batch->sel_count - 1;
}

// NOLINTBEGIN(readability-non-const-parameter): rejects are written through the frame
int32_t expr_eval(const struct expr *expr, const struct batch *batch, struct column *ret_column,
                  uint8_t *rejects)
{
    CHECK(rejects != NULL || !expr->can_reject);
    struct expr_frame f = {
        .arena = batch->arena,
        .row_count = batch->count > 0 ? batch->count : 1,
        .rows = batch->sel,
        .n = batch->sel_count,
        .dense = selects_all(batch),
        .all_rows = batch->sel,
        .all_n = batch->sel_count,
        .all_dense = selects_all(batch),
        .expr = expr,
        .rejects = rejects,
        .regs = ARENA_NEW_ARRAY(batch->arena, struct expr_reg, expr->register_count),
    };
    struct selection *stack = ARENA_NEW_ARRAY(batch->arena, struct selection,
                                              expr->push_depth > 0 ? expr->push_depth : 1);
    int32_t depth = 0;
    bind(&f, batch);
    for (int32_t i = 0; i < expr->instr_count; i++) {
        const struct expr_instr *instr = &expr->instrs[i];
        if (instr->op == EXPR_POP) {
            depth--;
            f.rows = stack[depth].rows;
            f.n = stack[depth].n;
            f.dense = stack[depth].dense;
        } else if (instr->op >= EXPR_PUSH_NOT_FALSE) {
            stack[depth++] = (struct selection){f.rows, f.n, f.dense};
            run_push(&f, instr);
        } else {
            run_instr(&f, instr);
        }
    }
    expr_reg_fill(&f, expr->result);
    struct expr_reg *result = &f.regs[expr->result];
    *ret_column = (struct column){.type = expr->type, .data = result->data, .null = result->null};
    return f.rejected;
}

// NOLINTEND(readability-non-const-parameter)
// NOLINTEND(readability-function-size)
