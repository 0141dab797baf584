// SPDX-License-Identifier: Apache-2.0
/* Reads the text of an expression by recursive descent; the nodes get their types on the way up (expr_node.c). */
#include "pipeline/expr_tree.h"
#include "pipeline/hint.h"
#include "pipeline/json.h"

static struct expr_node *parse_or(struct expr_parser *p);

/* 'it''s' -> it's */
static struct str undouble(struct expr_parser *p, struct str text, char quote)
{
    char *out = arena_dup(p->arena, text.ptr, text.len);
    ptrdiff_t len = 0;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        out[len++] = text.ptr[i];
        i += text.ptr[i] == quote ? 1 : 0;
    }
    return (struct str){out, len};
}

static bool unit_ms(struct str unit, int64_t *ret_ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    for (ptrdiff_t i = 0; i < COUNT_OF(units); i++) {
        if (str_is(unit, units[i].name)) {
            *ret_ms = units[i].ms;
            return true;
        }
    }
    return false;
}

static struct expr_node *number_too_large(struct expr_parser *p, int32_t at)
{
    return expr_fail(p, at,
                     "the number is too large for int: write it with a point to make it a float");
}

/* `negative`: a minus stood right before it. */
static struct expr_node *parse_number(struct expr_parser *p, bool negative)
{
    struct expr_token token = p->token;
    struct str text = token.text;
    ptrdiff_t digits = 0;
    int64_t value = 0;
    bool over = false;
    while (digits < text.len && expr_is_digit(text.ptr[digits])) {
        int64_t digit = text.ptr[digits++] - '0';
        over = over || __builtin_mul_overflow(value, (int64_t)10, &value) ||
               __builtin_sub_overflow(value, digit, &value); /* downwards: the range is larger */
    }
    struct str rest = {text.ptr + digits, text.len - digits};
    expr_advance(p);
    int64_t ms = 1;
    if (rest.len > 0 && (rest.ptr[0] == '.' || rest.ptr[0] == 'e' || rest.ptr[0] == 'E')) {
        double real;
        if (!f64_read(text, &real)) {
            return expr_fail(p, token.at, "'%.*s' is no number", STR_ARG(text));
        }
        return expr_make_const(p, token.at, VALUE_F64,
                               (union expr_value){.real = negative ? -real : real});
    }
    if (rest.len > 0 && !unit_ms(rest, &ms)) {
        return expr_fail(p, token.at, "'%.*s' is no number: units are ms, s, m, h, d",
                         STR_ARG(text));
    }
    over = over || __builtin_mul_overflow(value, ms, &value) ||
           (!negative && __builtin_sub_overflow((int64_t)0, value, &value));
    if (over) {
        return number_too_large(p, token.at);
    }
    return expr_make_const(p, token.at, VALUE_I64, (union expr_value){.integer = value});
}

static struct expr_node *parse_name(struct expr_parser *p)
{
    struct expr_token token = p->token;
    struct str name =
        token.kind == EXPR_TOKEN_QUOTED_NAME ? undouble(p, token.text, '"') : token.text;
    expr_advance(p);
    static const struct {
        const char *name;
        int32_t column;
        enum value_type type;
    } record[] = {{"key", EXPR_RECORD_KEY, VALUE_STR},
                  {"value", EXPR_RECORD_VALUE, VALUE_STR},
                  {"event_time", EXPR_RECORD_TIME, VALUE_TIME}};
    int32_t column = schema_find(p->schema, name);
    enum value_type type = column >= 0 ? p->schema->types[column] : VALUE_STR;
    for (ptrdiff_t i = 0; column < 0 && i < COUNT_OF(record); i++) {
        if (str_is(name, record[i].name)) {
            column = record[i].column;
            type = record[i].type;
        }
    }
    if (column < 0) {
        struct hint hint;
        hint_of_names(&hint, name, p->schema->names, p->schema->count);
        return expr_fail(p, token.at, "there is no field '%.*s' here%s", STR_ARG(name), hint.text);
    }
    struct expr_node *node = expr_node_new(p, EXPR_COLUMN, type, token.at);
    if (node != NULL) {
        node->column = column;
    }
    return node;
}

/* The type that the next token names: int or i64, float or f64, string or str, bool, time. */
static enum value_type type_of_word(const struct expr_parser *p)
{
    for (int t = 0; t < VALUE_TYPE_COUNT; t++) {
        if (expr_at_word(p, value_type_name((enum value_type)t))) {
            return (enum value_type)t;
        }
    }
    return expr_at_word(p, "i64")   ? VALUE_I64
           : expr_at_word(p, "f64") ? VALUE_F64
           : expr_at_word(p, "str") ? VALUE_STR
                                    : VALUE_TYPE_COUNT;
}

static struct expr_node *parse_cast(struct expr_parser *p, int32_t at)
{
    struct expr_node *arg = parse_or(p);
    if (arg == NULL) {
        return NULL;
    }
    if (!expr_take_word(p, "as")) {
        return expr_fail(p, p->token.at, "cast wants 'as' and a type: cast(x as int)");
    }
    enum value_type to = type_of_word(p);
    if (to == VALUE_TYPE_COUNT) {
        return expr_fail(p, p->token.at, "'%.*s' is no type: bool, int, float, string or time",
                         STR_ARG(p->token.text));
    }
    expr_advance(p);
    return expr_expect_sign(p, ")") ? expr_make_cast(p, at, arg, to) : NULL;
}

/* The arguments of a call up to its closing parenthesis; the opening one has been taken. -1: failed. */
static int32_t parse_args(struct expr_parser *p, struct expr_node *args[EXPR_ARGS_MAX])
{
    int32_t count = 0;
    if (expr_take_sign(p, ")")) {
        return 0;
    }
    do {
        if (count == EXPR_ARGS_MAX) {
            IGNORE_RESULT(
                expr_fail(p, p->token.at, "a function takes at most %d arguments", EXPR_ARGS_MAX));
            return -1;
        }
        args[count] = parse_or(p);
        if (args[count] == NULL) {
            return -1;
        }
        count++;
    } while (expr_take_sign(p, ","));
    return expr_expect_sign(p, ")") ? count : -1;
}

static struct expr_node *parse_call(struct expr_parser *p, struct expr_token name)
{
    if (str_is(name.text, "cast")) {
        return parse_cast(p, name.at);
    }
    struct expr_node *args[EXPR_ARGS_MAX];
    int32_t count = parse_args(p, args);
    return count >= 0 ? expr_make_call(p, name, args, count) : NULL;
}

static struct expr_node *parse_primary(struct expr_parser *p)
{
    struct expr_token token = p->token;
    if (token.kind == EXPR_TOKEN_NUMBER) {
        return parse_number(p, false);
    }
    if (token.kind == EXPR_TOKEN_TEXT) {
        expr_advance(p);
        return expr_make_const(p, token.at, VALUE_STR,
                               (union expr_value){.text = undouble(p, token.text, '\'')});
    }
    if (expr_take_word(p, "true") || expr_take_word(p, "false")) {
        return expr_make_const(p, token.at, VALUE_BOOL,
                               (union expr_value){.flag = str_is(token.text, "true")});
    }
    if (expr_take_word(p, "null")) {
        struct expr_node *node = expr_node_new(p, EXPR_CONST, EXPR_TYPE_NULL, token.at);
        if (node != NULL) {
            node->null = true;
        }
        return node;
    }
    if (expr_take_sign(p, "(")) {
        struct expr_node *node = parse_or(p);
        return node != NULL && expr_expect_sign(p, ")") ? node : NULL;
    }
    if (token.kind == EXPR_TOKEN_NAME && expr_char_at(p, p->token_end) == '(') {
        expr_advance(p);
        expr_advance(p);
        return parse_call(p, token);
    }
    if (token.kind == EXPR_TOKEN_NAME || token.kind == EXPR_TOKEN_QUOTED_NAME) {
        return parse_name(p);
    }
    if (token.kind == EXPR_TOKEN_END) {
        return expr_fail(p, token.at, "the expression ends where a value belongs");
    }
    return expr_fail(p, token.at, "'%.*s' stands where a value belongs", STR_ARG(token.text));
}

static struct expr_node *parse_unary(struct expr_parser *p)
{
    struct expr_token token = p->token;
    if (!expr_take_sign(p, "-")) {
        return parse_primary(p);
    }
    if (p->token.kind == EXPR_TOKEN_NUMBER) {
        return parse_number(p, true);
    }
    if (++p->depth > EXPR_DEPTH_MAX) {
        return expr_fail(p, token.at, "the expression is nested more than %d deep", EXPR_DEPTH_MAX);
    }
    struct expr_node *arg = parse_unary(p);
    p->depth--;
    if (arg == NULL) {
        return NULL;
    }
    if (arg->type != VALUE_I64 && arg->type != VALUE_F64) {
        return expr_fail(p, token.at, "minus wants a number, this is %s",
                         expr_type_name(arg->type));
    }
    bool real = arg->type == VALUE_F64;
    return expr_node_of(p, real ? EXPR_NEG_F64 : EXPR_NEG_I64, arg->type, token.at, arg, NULL);
}

static struct expr_node *parse_product(struct expr_parser *p)
{
    struct expr_node *left = parse_unary(p);
    while (left != NULL && (expr_at_sign(p, "*") || expr_at_sign(p, "/") || expr_at_sign(p, "%"))) {
        struct expr_token token = p->token;
        expr_advance(p);
        struct expr_node *right = parse_unary(p);
        left = right != NULL ? expr_make_arithmetic(p, token.text.ptr[0], token.at, left, right)
                             : NULL;
    }
    return left;
}

static struct expr_node *parse_sum(struct expr_parser *p)
{
    struct expr_node *left = parse_product(p);
    while (left != NULL && (expr_at_sign(p, "+") || expr_at_sign(p, "-"))) {
        struct expr_token token = p->token;
        expr_advance(p);
        struct expr_node *right = parse_product(p);
        left = right != NULL ? expr_make_arithmetic(p, token.text.ptr[0], token.at, left, right)
                             : NULL;
    }
    return left;
}

/* "in (a, b)": the same as (x == a or x == b). The left side is computed once: it is one node of the tree. */
static struct expr_node *parse_in(struct expr_parser *p, int32_t at, struct expr_node *left)
{
    struct expr_node *args[EXPR_ARGS_MAX];
    int32_t count = expr_expect_sign(p, "(") ? parse_args(p, args) : -1;
    if (count == 0) {
        return expr_fail(p, at, "the list of 'in' is empty");
    }
    struct expr_node *all = NULL;
    for (int32_t i = 0; i < count; i++) {
        struct expr_node *one = expr_make_comparison(p, 0, at, left, args[i]);
        if (one == NULL) {
            return NULL;
        }
        all = all == NULL ? one : expr_node_of(p, EXPR_OR, VALUE_BOOL, at, all, one);
        if (all == NULL) {
            return NULL;
        }
    }
    return all;
}

static struct expr_node *negate(struct expr_parser *p, int32_t at, struct expr_node *node)
{
    return node != NULL ? expr_node_of(p, EXPR_NOT, VALUE_BOOL, at, node, NULL) : NULL;
}

static struct expr_node *parse_comparison(struct expr_parser *p)
{
    struct expr_node *left = parse_sum(p);
    struct expr_token token = p->token;
    if (left == NULL) {
        return NULL;
    }
    if (expr_take_word(p, "is")) {
        bool not_null = expr_take_word(p, "not");
        if (!expr_take_word(p, "null")) {
            return expr_fail(p, p->token.at, "'is' wants 'null' or 'not null'");
        }
        if (left->type == EXPR_TYPE_NULL) {
            left->type = VALUE_BOOL;
        }
        struct expr_node *node = expr_node_of(p, EXPR_IS_NULL, VALUE_BOOL, token.at, left, NULL);
        return not_null ? negate(p, token.at, node) : node;
    }
    if (expr_take_word(p, "in")) {
        return parse_in(p, token.at, left);
    }
    if (expr_take_word(p, "not")) {
        if (!expr_take_word(p, "in")) {
            return expr_fail(p, p->token.at, "'not' behind a value wants 'in'");
        }
        return negate(p, token.at, parse_in(p, token.at, left));
    }
    static const struct {
        const char *sign;
        int32_t which;
    } signs[] = {{"==", 0}, {"=", 0},  {"!=", 1}, {"<>", 1},
                 {"<", 2},  {"<=", 3}, {">", 4},  {">=", 5}};
    for (ptrdiff_t i = 0; i < COUNT_OF(signs); i++) {
        if (expr_take_sign(p, signs[i].sign)) {
            struct expr_node *right = parse_sum(p);
            return right != NULL ? expr_make_comparison(p, signs[i].which, token.at, left, right)
                                 : NULL;
        }
    }
    return left;
}

static struct expr_node *parse_not(struct expr_parser *p)
{
    struct expr_token token = p->token;
    if (!expr_take_word(p, "not")) {
        return parse_comparison(p);
    }
    if (++p->depth > EXPR_DEPTH_MAX) {
        return expr_fail(p, token.at, "the expression is nested more than %d deep", EXPR_DEPTH_MAX);
    }
    struct expr_node *arg = expr_fit_bool(p, parse_not(p), "not");
    p->depth--;
    return negate(p, token.at, arg);
}

static struct expr_node *parse_and(struct expr_parser *p)
{
    struct expr_node *left = parse_not(p);
    while (left != NULL && expr_at_word(p, "and")) {
        struct expr_token token = p->token;
        expr_advance(p);
        struct expr_node *a = expr_fit_bool(p, left, "and");
        struct expr_node *b = a != NULL ? expr_fit_bool(p, parse_not(p), "and") : NULL;
        left = b != NULL ? expr_node_of(p, EXPR_AND, VALUE_BOOL, token.at, a, b) : NULL;
    }
    return left;
}

static struct expr_node *parse_or(struct expr_parser *p)
{
    if (++p->depth > EXPR_DEPTH_MAX) {
        return expr_fail(p, p->token.at, "the expression is nested more than %d deep",
                         EXPR_DEPTH_MAX);
    }
    struct expr_node *left = parse_and(p);
    while (left != NULL && expr_at_word(p, "or")) {
        struct expr_token token = p->token;
        expr_advance(p);
        struct expr_node *a = expr_fit_bool(p, left, "or");
        struct expr_node *b = a != NULL ? expr_fit_bool(p, parse_and(p), "or") : NULL;
        left = b != NULL ? expr_node_of(p, EXPR_OR, VALUE_BOOL, token.at, a, b) : NULL;
    }
    p->depth--;
    return left;
}

enum err expr_parse(struct arena *arena, const struct yaml_node *place, const struct schema *schema,
                    struct expr_node **ret_root, struct err_info *info)
{
    if (place->kind != YAML_SCALAR || place->text.len == 0) {
        return yaml_fail(info, place, "an expression (a text such as \"amount > 10\") is missing");
    }
    if (place->text.len > EXPR_TEXT_MAX) {
        return yaml_fail(info, place, "the expression has %td bytes, more than %d: split it",
                         place->text.len, EXPR_TEXT_MAX);
    }
    struct expr_parser p = {
        .arena = arena, .place = place, .schema = schema, .info = info, .text = place->text};
    if (!utf8_valid(p.text)) {
        return yaml_fail(info, place, "the expression is not UTF-8");
    }
    expr_advance(&p);
    struct expr_node *root = parse_or(&p);
    if (root != NULL && p.token.kind != EXPR_TOKEN_END) {
        root = expr_fail(&p, p.token.at, "'%.*s' stands behind the end of the expression",
                         STR_ARG(p.token.text));
    }
    if (root != NULL && root->type == EXPR_TYPE_NULL) {
        root = expr_fail(&p, root->at, "a bare null has no type: cast it, as in cast(null as int)");
    }
    if (root == NULL || p.failed) {
        return ERR_INVALID;
    }
    *ret_root = root;
    return ERR_OK;
}
