// SPDX-License-Identifier: Apache-2.0
/* Makes the nodes of an expression's tree: each gets its type from its arguments, which are made to fit. */
#include "base/check.h"
#include "pipeline/expr_tree.h"

struct expr_node *expr_node_new(struct expr_parser *p, enum expr_op op, enum value_type type,
                                int32_t at)
{
    if (p->node_count == EXPR_NODES_MAX) {
        return expr_fail(p, at,
                         "the expression has more than %d parts: split it over several columns",
                         EXPR_NODES_MAX);
    }
    p->node_count++;
    struct expr_node *node = ARENA_NEW(p->arena, struct expr_node);
    node->op = op;
    node->type = type;
    node->at = at;
    node->depth = 1;
    return node;
}

static bool op_rejects(enum expr_op op)
{
    switch ((int)op) {
    case EXPR_ADD_I64:
    case EXPR_SUB_I64:
    case EXPR_MUL_I64:
    case EXPR_DIV_I64:
    case EXPR_MOD_I64:
    case EXPR_NEG_I64:
    case EXPR_ABS_I64:
    case EXPR_ADD_F64:
    case EXPR_SUB_F64:
    case EXPR_MUL_F64:
    case EXPR_DIV_F64:
    case EXPR_MOD_F64:
    case EXPR_CAST_F64_I64:
    case EXPR_CAST_STR_I64:
    case EXPR_CAST_STR_F64:
    case EXPR_CAST_STR_BOOL:
    case EXPR_LOWER:
    case EXPR_UPPER:
    case EXPR_CONCAT:
    case EXPR_BUCKET:
    case EXPR_PARSE_TIME:
    case EXPR_FORMAT_TIME:
        return true;
    default:
        return false;
    }
}

bool expr_node_add(struct expr_parser *p, struct expr_node *node, struct expr_node *arg)
{
    CHECK(node->arg_count < EXPR_ARGS_MAX);
    node->args[node->arg_count++] = arg;
    node->can_reject = node->can_reject || arg->can_reject || op_rejects(node->op);
    if (arg->depth + 1 > node->depth) {
        node->depth = arg->depth + 1;
    }
    if (node->depth > EXPR_DEPTH_MAX) {
        IGNORE_RESULT(
            expr_fail(p, node->at, "the expression is nested more than %d deep", EXPR_DEPTH_MAX));
        return false;
    }
    return true;
}

struct expr_node *expr_node_of(struct expr_parser *p, enum expr_op op, enum value_type type,
                               int32_t at, struct expr_node *a, struct expr_node *b)
{
    struct expr_node *node = expr_node_new(p, op, type, at);
    if (node == NULL || a == NULL || !expr_node_add(p, node, a) ||
        (b != NULL && !expr_node_add(p, node, b))) {
        return NULL;
    }
    return node;
}

const char *expr_type_name(enum value_type type)
{
    return type == EXPR_TYPE_NULL ? "null" : value_type_name(type);
}

struct expr_node *expr_fit(struct expr_parser *p, struct expr_node *node, enum value_type type)
{
    if (node->type == type) {
        return node;
    }
    if (node->type == EXPR_TYPE_NULL) {
        node->type = type;
        return node;
    }
    if (node->type == VALUE_I64 && type == VALUE_F64) {
        if (node->op == EXPR_CONST) {
            node->value.real = (double)node->value.integer;
            node->type = VALUE_F64;
            return node;
        }
        return expr_node_of(p, EXPR_CAST_I64_F64, VALUE_F64, node->at, node, NULL);
    }
    return NULL;
}

bool expr_common_type(enum value_type a, enum value_type b, enum value_type *ret_type)
{
    bool numbers = (a == VALUE_I64 && b == VALUE_F64) || (a == VALUE_F64 && b == VALUE_I64);
    if (a != b && !numbers && a != EXPR_TYPE_NULL && b != EXPR_TYPE_NULL) {
        return false;
    }
    *ret_type = numbers ? VALUE_F64 : a == EXPR_TYPE_NULL ? b : a;
    return true;
}

struct expr_node *expr_fit_bool(struct expr_parser *p, struct expr_node *node, const char *what)
{
    struct expr_node *as_bool = node != NULL ? expr_fit(p, node, VALUE_BOOL) : NULL;
    if (node != NULL && as_bool == NULL) {
        return expr_fail(p, node->at, "%s wants a bool, this is %s", what,
                         expr_type_name(node->type));
    }
    return as_bool;
}

struct expr_node *expr_make_const(struct expr_parser *p, int32_t at, enum value_type type,
                                  union expr_value value)
{
    struct expr_node *node = expr_node_new(p, EXPR_CONST, type, at);
    if (node != NULL) {
        node->value = value;
    }
    return node;
}

struct expr_node *expr_make_comparison(struct expr_parser *p, int32_t which, int32_t at,
                                       struct expr_node *a, struct expr_node *b)
{
    enum value_type type;
    if (a->type == EXPR_TYPE_NULL || b->type == EXPR_TYPE_NULL) {
        return expr_fail(p, at,
                         "a comparison with null is always null: write 'is null' or 'is not null'");
    }
    if (!expr_common_type(a->type, b->type, &type)) {
        return expr_fail(p, at, "%s and %s cannot be compared: cast one of them",
                         expr_type_name(a->type), expr_type_name(b->type));
    }
    if (type == VALUE_BOOL && which > 1) {
        return expr_fail(p, at, "bools have no order: compare them with == or !=");
    }
    static const enum expr_op first[VALUE_TYPE_COUNT] = {[VALUE_BOOL] = EXPR_EQ_BOOL,
                                                         [VALUE_I64] = EXPR_EQ_I64,
                                                         [VALUE_TIME] = EXPR_EQ_I64,
                                                         [VALUE_F64] = EXPR_EQ_F64,
                                                         [VALUE_STR] = EXPR_EQ_STR};
    a = expr_fit(p, a, type);
    b = expr_fit(p, b, type);
    if (a == NULL || b == NULL) {
        return NULL;
    }
    return expr_node_of(p, (enum expr_op)((int)first[type] + which), VALUE_BOOL, at, a, b);
}

/* Plus, minus: numbers; time and milliseconds; the difference of two times. */
static struct expr_node *make_time_sum(struct expr_parser *p, bool minus, int32_t at,
                                       struct expr_node *a, struct expr_node *b)
{
    bool both = a->type == VALUE_TIME && b->type == VALUE_TIME;
    bool left = a->type == VALUE_TIME && b->type == VALUE_I64;
    bool right = a->type == VALUE_I64 && b->type == VALUE_TIME;
    if (left || (both && minus) || (right && !minus)) {
        return expr_node_of(p, minus ? EXPR_SUB_I64 : EXPR_ADD_I64, both ? VALUE_I64 : VALUE_TIME,
                            at, a, b);
    }
    return expr_fail(
        p, at, "%s %c %s makes no sense: a time takes milliseconds, as in event_time %c 10s",
        expr_type_name(a->type), minus ? '-' : '+', expr_type_name(b->type), minus ? '-' : '+');
}

struct expr_node *expr_make_arithmetic(struct expr_parser *p, char sign, int32_t at,
                                       struct expr_node *a, struct expr_node *b)
{
    if ((a->type == VALUE_TIME || b->type == VALUE_TIME) && (sign == '+' || sign == '-')) {
        return make_time_sum(p, sign == '-', at, a, b);
    }
    enum value_type type;
    bool fits = expr_common_type(a->type, b->type, &type);
    if (!fits || (type != VALUE_I64 && type != VALUE_F64)) {
        const char *hint = a->type == VALUE_STR && sign == '+' ? ": join texts with concat()" : "";
        return expr_fail(p, at, "%s %c %s: arithmetic wants numbers%s", expr_type_name(a->type),
                         sign, expr_type_name(b->type), hint);
    }
    a = expr_fit(p, a, type);
    b = expr_fit(p, b, type);
    if (a == NULL || b == NULL) {
        return NULL;
    }
    static const char signs[] = "+-*/%";
    int32_t which = (int32_t)(strchr(signs, sign) - signs);
    enum expr_op first = type == VALUE_F64 ? EXPR_ADD_F64 : EXPR_ADD_I64;
    return expr_node_of(p, (enum expr_op)((int)first + which), type, at, a, b);
}

struct expr_node *expr_make_cast(struct expr_parser *p, int32_t at, struct expr_node *arg,
                                 enum value_type to)
{
    static const enum expr_op ops[VALUE_TYPE_COUNT][VALUE_TYPE_COUNT] = {
        [VALUE_BOOL] = {[VALUE_I64] = EXPR_CAST_BOOL_I64, [VALUE_STR] = EXPR_CAST_BOOL_STR},
        [VALUE_I64] = {[VALUE_F64] = EXPR_CAST_I64_F64,
                       [VALUE_STR] = EXPR_CAST_I64_STR,
                       [VALUE_TIME] = EXPR_CAST_I64_TIME},
        [VALUE_F64] = {[VALUE_I64] = EXPR_CAST_F64_I64, [VALUE_STR] = EXPR_CAST_F64_STR},
        [VALUE_STR] = {[VALUE_I64] = EXPR_CAST_STR_I64,
                       [VALUE_F64] = EXPR_CAST_STR_F64,
                       [VALUE_BOOL] = EXPR_CAST_STR_BOOL,
                       [VALUE_TIME] = EXPR_PARSE_TIME},
        [VALUE_TIME] = {[VALUE_I64] = EXPR_CAST_I64_TIME, [VALUE_STR] = EXPR_FORMAT_TIME},
    };
    if (arg->type == to || arg->type == EXPR_TYPE_NULL) {
        arg->type = to;
        return arg;
    }
    if (ops[arg->type][to] == EXPR_CONST) {
        return expr_fail(p, at, "%s cannot be cast to %s", expr_type_name(arg->type),
                         expr_type_name(to));
    }
    return expr_node_of(p, ops[arg->type][to], to, at, arg, NULL);
}
