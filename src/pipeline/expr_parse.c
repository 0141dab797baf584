// SPDX-License-Identifier: Apache-2.0
/* Reads the text of an expression by recursive descent and gives every node its type on the way up. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "pipeline/expr_priv.h"
#include "pipeline/hint.h"
#include "pipeline/json.h"
#include "pipeline/time_text.h"

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_QUOTED_NAME, TOKEN_NUMBER, TOKEN_TEXT, TOKEN_SIGN };

struct token {
    enum token_kind kind;
    int32_t at;
    struct str text; /* signs: the sign; texts: without quotes, '' not yet undoubled */
};

struct parser {
    struct arena *arena;
    const struct yaml_node *place;
    const struct schema *schema;
    struct err_info *info;
    struct str text;
    struct token token; /* the next one */
    int32_t token_end;
    int32_t node_count;
    int32_t depth;
    bool failed;
};

/* The place inside the expression as a place in the file: exact for plain and quoted one-line texts; for a block of
 * several lines the line is exact and the column counts from the block's left edge. */
static ATTR_COLD struct expr_node *fail(struct parser *p, int32_t at, const char *fmt, ...)
    ATTR_PRINTF(3, 4);
static ATTR_COLD struct expr_node *fail(struct parser *p, int32_t at, const char *fmt, ...)
{
    if (p->failed) {
        return NULL; /* the first error is the one to tell */
    }
    p->failed = true;
    int32_t lines = 0;
    int32_t line_start = 0;
    bool block = memchr(p->text.ptr, '\n', (size_t)p->text.len) != NULL;
    for (int32_t i = 0; i < at; i++) {
        if (p->text.ptr[i] == '\n') {
            lines++;
            line_start = i + 1;
        }
    }
    struct yaml_node here = *p->place;
    here.line += lines + (block ? 1 : 0);
    here.column = block ? at - line_start + 1 : here.column + at + (here.quoted ? 1 : 0);
    char message[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    IGNORE_RESULT(
        vsnprintf(message, sizeof(message), fmt, args)); /* cut at the size of any error */
    va_end(args);
    enum err err = yaml_fail(p->info, &here, "%s", message);
    CHECK(err != ERR_OK);
    return NULL;
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char char_at(const struct parser *p, int32_t i)
{
    return i < p->text.len ? p->text.ptr[i] : 0;
}

static int32_t end_of_name(const struct parser *p, int32_t i)
{
    while (is_name_start(char_at(p, i)) || is_digit(char_at(p, i)) ||
           (char_at(p, i) == '.' && is_name_start(char_at(p, i + 1)))) {
        i++;
    }
    return i;
}

/* Digits, a fraction, an exponent, a unit: "10", "1.5", "2e3", "10s". */
static int32_t end_of_number(const struct parser *p, int32_t i)
{
    while (is_digit(char_at(p, i))) {
        i++;
    }
    if (char_at(p, i) == '.' && is_digit(char_at(p, i + 1))) {
        i++;
        while (is_digit(char_at(p, i))) {
            i++;
        }
    }
    if (char_at(p, i) == 'e' || char_at(p, i) == 'E') {
        int32_t sign = char_at(p, i + 1) == '+' || char_at(p, i + 1) == '-' ? 1 : 0;
        if (is_digit(char_at(p, i + 1 + sign))) {
            i += 1 + sign;
            while (is_digit(char_at(p, i))) {
                i++;
            }
        }
    }
    return end_of_name(p, i);
}

/* The end of a text in quotes, where a doubled quote stands for one; -1: not closed. */
static int32_t end_of_quoted(const struct parser *p, int32_t i, char quote)
{
    for (i++; i < p->text.len; i++) {
        if (p->text.ptr[i] == quote) {
            if (char_at(p, i + 1) != quote) {
                return i + 1;
            }
            i++;
        }
    }
    return -1;
}

static int32_t end_of_sign(const struct parser *p, int32_t i)
{
    char c = char_at(p, i);
    char next = char_at(p, i + 1);
    bool two = (next == '=' && (c == '=' || c == '!' || c == '<' || c == '>')) ||
               (c == '<' && next == '>');
    return i + (two ? 2 : 1);
}

static void advance(struct parser *p)
{
    int32_t i = p->token_end;
    while (char_at(p, i) == ' ' || char_at(p, i) == '\t' || char_at(p, i) == '\n' ||
           char_at(p, i) == '\r') {
        i++;
    }
    char c = char_at(p, i);
    struct token token = {.at = i};
    int32_t end = i;
    if (i >= p->text.len) {
        token.kind = TOKEN_END;
    } else if (is_name_start(c)) {
        token.kind = TOKEN_NAME;
        end = end_of_name(p, i);
    } else if (is_digit(c)) {
        token.kind = TOKEN_NUMBER;
        end = end_of_number(p, i);
    } else if (c == '\'' || c == '"') {
        token.kind = c == '"' ? TOKEN_QUOTED_NAME : TOKEN_TEXT;
        end = end_of_quoted(p, i, c);
        if (end < 0) {
            IGNORE_RESULT(fail(p, i, "a text begins here and is not closed: add a %c", c));
            token.kind = TOKEN_END;
            end = (int32_t)p->text.len;
        }
    } else {
        token.kind = TOKEN_SIGN;
        end = end_of_sign(p, i);
    }
    int32_t inner = token.kind == TOKEN_TEXT || token.kind == TOKEN_QUOTED_NAME ? 1 : 0;
    token.text = (struct str){p->text.ptr + i + inner, end - i - 2 * inner};
    p->token = token;
    p->token_end = end;
}

static bool at_word(const struct parser *p, const char *word)
{
    return p->token.kind == TOKEN_NAME && str_is(p->token.text, word);
}

static bool at_sign(const struct parser *p, const char *sign)
{
    return p->token.kind == TOKEN_SIGN && str_is(p->token.text, sign);
}

static bool take_word(struct parser *p, const char *word)
{
    bool found = at_word(p, word);
    if (found) {
        advance(p);
    }
    return found;
}

static bool take_sign(struct parser *p, const char *sign)
{
    bool found = at_sign(p, sign);
    if (found) {
        advance(p);
    }
    return found;
}

static bool expect_sign(struct parser *p, const char *sign)
{
    if (take_sign(p, sign)) {
        return true;
    }
    if (p->token.kind == TOKEN_END) {
        IGNORE_RESULT(fail(p, p->token.at, "the expression ends here, a '%s' is missing", sign));
    } else {
        IGNORE_RESULT(fail(p, p->token.at, "'%.*s' stands where a '%s' belongs",
                           STR_ARG(p->token.text), sign));
    }
    return false;
}

static struct expr_node *node_new(struct parser *p, enum expr_op op, enum value_type type,
                                  int32_t at)
{
    if (p->node_count == EXPR_NODES_MAX) {
        return fail(p, at, "the expression has more than %d parts: split it over several columns",
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

static bool node_add(struct parser *p, struct expr_node *node, struct expr_node *arg)
{
    CHECK(node->arg_count < EXPR_ARGS_MAX);
    node->args[node->arg_count++] = arg;
    node->can_reject = node->can_reject || arg->can_reject || op_rejects(node->op);
    if (arg->depth + 1 > node->depth) {
        node->depth = arg->depth + 1;
    }
    if (node->depth > EXPR_DEPTH_MAX) {
        IGNORE_RESULT(
            fail(p, node->at, "the expression is nested more than %d deep", EXPR_DEPTH_MAX));
        return false;
    }
    return true;
}

static struct expr_node *node_of(struct parser *p, enum expr_op op, enum value_type type,
                                 int32_t at, struct expr_node *a, struct expr_node *b)
{
    struct expr_node *node = node_new(p, op, type, at);
    if (node == NULL || a == NULL || !node_add(p, node, a) ||
        (b != NULL && !node_add(p, node, b))) {
        return NULL;
    }
    return node;
}

static const char *type_name(enum value_type type)
{
    return type == EXPR_TYPE_NULL ? "null" : value_type_name(type);
}

/* `node` as `type`: itself, a null that takes the type, or an i64 made f64; NULL without an error if it does not go. */
static struct expr_node *fit(struct parser *p, struct expr_node *node, enum value_type type)
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
        return node_of(p, EXPR_CAST_I64_F64, VALUE_F64, node->at, node, NULL);
    }
    return NULL;
}

/* The one type that both can take: equal ones, f64 for numbers of two kinds, the other's for a null. */
static bool common_type(enum value_type a, enum value_type b, enum value_type *ret_type)
{
    bool numbers = (a == VALUE_I64 && b == VALUE_F64) || (a == VALUE_F64 && b == VALUE_I64);
    if (a != b && !numbers && a != EXPR_TYPE_NULL && b != EXPR_TYPE_NULL) {
        return false;
    }
    *ret_type = numbers ? VALUE_F64 : a == EXPR_TYPE_NULL ? b : a;
    return true;
}

static struct expr_node *parse_or(struct parser *p);

static struct expr_node *fit_bool(struct parser *p, struct expr_node *node, const char *what)
{
    struct expr_node *as_bool = node != NULL ? fit(p, node, VALUE_BOOL) : NULL;
    if (node != NULL && as_bool == NULL) {
        return fail(p, node->at, "%s wants a bool, this is %s", what, type_name(node->type));
    }
    return as_bool;
}

static struct expr_node *make_comparison(struct parser *p, int32_t which, int32_t at,
                                         struct expr_node *a, struct expr_node *b)
{
    enum value_type type;
    if (a->type == EXPR_TYPE_NULL || b->type == EXPR_TYPE_NULL) {
        return fail(p, at,
                    "a comparison with null is always null: write 'is null' or 'is not null'");
    }
    if (!common_type(a->type, b->type, &type)) {
        return fail(p, at, "%s and %s cannot be compared: cast one of them", type_name(a->type),
                    type_name(b->type));
    }
    if (type == VALUE_BOOL && which > 1) {
        return fail(p, at, "bools have no order: compare them with == or !=");
    }
    static const enum expr_op first[VALUE_TYPE_COUNT] = {[VALUE_BOOL] = EXPR_EQ_BOOL,
                                                         [VALUE_I64] = EXPR_EQ_I64,
                                                         [VALUE_TIME] = EXPR_EQ_I64,
                                                         [VALUE_F64] = EXPR_EQ_F64,
                                                         [VALUE_STR] = EXPR_EQ_STR};
    a = fit(p, a, type);
    b = fit(p, b, type);
    if (a == NULL || b == NULL) {
        return NULL;
    }
    return node_of(p, (enum expr_op)((int)first[type] + which), VALUE_BOOL, at, a, b);
}

/* Plus, minus: numbers; time and milliseconds; the difference of two times. */
static struct expr_node *make_time_sum(struct parser *p, bool minus, int32_t at,
                                       struct expr_node *a, struct expr_node *b)
{
    bool both = a->type == VALUE_TIME && b->type == VALUE_TIME;
    bool left = a->type == VALUE_TIME && b->type == VALUE_I64;
    bool right = a->type == VALUE_I64 && b->type == VALUE_TIME;
    if (left || (both && minus) || (right && !minus)) {
        return node_of(p, minus ? EXPR_SUB_I64 : EXPR_ADD_I64, both ? VALUE_I64 : VALUE_TIME, at, a,
                       b);
    }
    return fail(p, at,
                "%s %c %s makes no sense: a time takes milliseconds, as in event_time %c 10s",
                type_name(a->type), minus ? '-' : '+', type_name(b->type), minus ? '-' : '+');
}

static struct expr_node *make_arithmetic(struct parser *p, char sign, int32_t at,
                                         struct expr_node *a, struct expr_node *b)
{
    if ((a->type == VALUE_TIME || b->type == VALUE_TIME) && (sign == '+' || sign == '-')) {
        return make_time_sum(p, sign == '-', at, a, b);
    }
    enum value_type type;
    bool fits = common_type(a->type, b->type, &type);
    if (!fits || (type != VALUE_I64 && type != VALUE_F64)) {
        const char *hint = a->type == VALUE_STR && sign == '+' ? ": join texts with concat()" : "";
        return fail(p, at, "%s %c %s: arithmetic wants numbers%s", type_name(a->type), sign,
                    type_name(b->type), hint);
    }
    a = fit(p, a, type);
    b = fit(p, b, type);
    if (a == NULL || b == NULL) {
        return NULL;
    }
    static const char signs[] = "+-*/%";
    int32_t which = (int32_t)(strchr(signs, sign) - signs);
    enum expr_op first = type == VALUE_F64 ? EXPR_ADD_F64 : EXPR_ADD_I64;
    return node_of(p, (enum expr_op)((int)first + which), type, at, a, b);
}

static struct expr_node *make_const(struct parser *p, int32_t at, enum value_type type,
                                    union expr_value value)
{
    struct expr_node *node = node_new(p, EXPR_CONST, type, at);
    if (node != NULL) {
        node->value = value;
    }
    return node;
}

/* 'it''s' -> it's */
static struct str undouble(struct parser *p, struct str text, char quote)
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

static struct expr_node *number_too_large(struct parser *p, int32_t at)
{
    return fail(p, at, "the number is too large for int: write it with a point to make it a float");
}

/* `negative`: a minus stood right before it. */
static struct expr_node *parse_number(struct parser *p, bool negative)
{
    struct token token = p->token;
    struct str text = token.text;
    ptrdiff_t digits = 0;
    int64_t value = 0;
    bool over = false;
    while (digits < text.len && is_digit(text.ptr[digits])) {
        int64_t digit = text.ptr[digits++] - '0';
        over = over || __builtin_mul_overflow(value, (int64_t)10, &value) ||
               __builtin_sub_overflow(value, digit, &value); /* downwards: the range is larger */
    }
    struct str rest = {text.ptr + digits, text.len - digits};
    advance(p);
    int64_t ms = 1;
    if (rest.len > 0 && (rest.ptr[0] == '.' || rest.ptr[0] == 'e' || rest.ptr[0] == 'E')) {
        double real;
        if (!f64_read(text, &real)) {
            return fail(p, token.at, "'%.*s' is no number", STR_ARG(text));
        }
        return make_const(p, token.at, VALUE_F64,
                          (union expr_value){.real = negative ? -real : real});
    }
    if (rest.len > 0 && !unit_ms(rest, &ms)) {
        return fail(p, token.at, "'%.*s' is no number: units are ms, s, m, h, d", STR_ARG(text));
    }
    over = over || __builtin_mul_overflow(value, ms, &value) ||
           (!negative && __builtin_sub_overflow((int64_t)0, value, &value));
    if (over) {
        return number_too_large(p, token.at);
    }
    return make_const(p, token.at, VALUE_I64, (union expr_value){.integer = value});
}

static struct expr_node *parse_name(struct parser *p)
{
    struct token token = p->token;
    struct str name = token.kind == TOKEN_QUOTED_NAME ? undouble(p, token.text, '"') : token.text;
    advance(p);
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
        return fail(p, token.at, "there is no field '%.*s' here%s", STR_ARG(name), hint.text);
    }
    struct expr_node *node = node_new(p, EXPR_COLUMN, type, token.at);
    if (node != NULL) {
        node->column = column;
    }
    return node;
}

/* The type that the next token names: int or i64, float or f64, string or str, bool, time. */
static enum value_type type_of_word(const struct parser *p)
{
    for (int t = 0; t < VALUE_TYPE_COUNT; t++) {
        if (at_word(p, value_type_name((enum value_type)t))) {
            return (enum value_type)t;
        }
    }
    return at_word(p, "i64")   ? VALUE_I64
           : at_word(p, "f64") ? VALUE_F64
           : at_word(p, "str") ? VALUE_STR
                               : VALUE_TYPE_COUNT;
}

static struct expr_node *parse_cast(struct parser *p, int32_t at)
{
    struct expr_node *arg = parse_or(p);
    if (arg == NULL) {
        return NULL;
    }
    if (!take_word(p, "as")) {
        return fail(p, p->token.at, "cast wants 'as' and a type: cast(x as int)");
    }
    enum value_type to = type_of_word(p);
    if (to == VALUE_TYPE_COUNT) {
        return fail(p, p->token.at, "'%.*s' is no type: bool, int, float, string or time",
                    STR_ARG(p->token.text));
    }
    advance(p);
    if (!expect_sign(p, ")")) {
        return NULL;
    }
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
        return fail(p, at, "%s cannot be cast to %s", type_name(arg->type), type_name(to));
    }
    return node_of(p, ops[arg->type][to], to, at, arg, NULL);
}

/* The arguments of a call up to its closing parenthesis; the opening one has been taken. -1: failed. */
static int32_t parse_args(struct parser *p, struct expr_node *args[EXPR_ARGS_MAX])
{
    int32_t count = 0;
    if (take_sign(p, ")")) {
        return 0;
    }
    do {
        if (count == EXPR_ARGS_MAX) {
            IGNORE_RESULT(
                fail(p, p->token.at, "a function takes at most %d arguments", EXPR_ARGS_MAX));
            return -1;
        }
        args[count] = parse_or(p);
        if (args[count] == NULL) {
            return -1;
        }
        count++;
    } while (take_sign(p, ","));
    return expect_sign(p, ")") ? count : -1;
}

static struct expr_node *make_if(struct parser *p, int32_t at, struct expr_node *args[],
                                 int32_t count)
{
    if (count != 3) {
        return fail(p, at, "if takes three arguments: if(condition, then, else)");
    }
    struct expr_node *condition = fit_bool(p, args[0], "the condition of if");
    enum value_type type;
    if (condition == NULL) {
        return NULL;
    }
    if (!common_type(args[1]->type, args[2]->type, &type)) {
        return fail(p, at, "the branches of if have two types, %s and %s: cast one of them",
                    type_name(args[1]->type), type_name(args[2]->type));
    }
    if (type == EXPR_TYPE_NULL) {
        return fail(p, at,
                    "both branches of if are null: cast one of them, as in cast(null as int)");
    }
    struct expr_node *then = fit(p, args[1], type);
    struct expr_node *other = fit(p, args[2], type);
    struct expr_node *node =
        then == NULL || other == NULL ? NULL : node_of(p, EXPR_IF, type, at, condition, then);
    return node != NULL && node_add(p, node, other) ? node : NULL;
}

static struct expr_node *make_coalesce(struct parser *p, int32_t at, struct expr_node *args[],
                                       int32_t count)
{
    enum value_type type = EXPR_TYPE_NULL;
    for (int32_t i = 0; i < count; i++) {
        enum value_type before = type;
        if (!common_type(before, args[i]->type, &type)) {
            return fail(p, args[i]->at, "coalesce has arguments of two types, %s and %s",
                        type_name(before), type_name(args[i]->type));
        }
    }
    if (count < 2 || type == EXPR_TYPE_NULL) {
        return fail(p, at, "coalesce takes two or more arguments, one of them not null");
    }
    struct expr_node *node = fit(p, args[count - 1], type);
    for (int32_t i = count - 2; i >= 0 && node != NULL; i--) {
        struct expr_node *arg = fit(p, args[i], type);
        node = arg != NULL ? node_of(p, EXPR_COALESCE, type, at, arg, node) : NULL;
    }
    return node;
}

/* Functions with fixed types. `args`: a letter each (s str, i i64, f f64, b bool, t time; behind '?': may be left out);
 * "s*": two or more texts. */
struct function {
    const char *name;
    enum expr_op op;
    enum value_type type;
    const char *args;
};

static const struct function functions[] = {
    {"length", EXPR_LENGTH, VALUE_I64, "s"},
    {"lower", EXPR_LOWER, VALUE_STR, "s"},
    {"upper", EXPR_UPPER, VALUE_STR, "s"},
    {"contains", EXPR_CONTAINS, VALUE_BOOL, "ss"},
    {"starts_with", EXPR_STARTS_WITH, VALUE_BOOL, "ss"},
    {"ends_with", EXPR_ENDS_WITH, VALUE_BOOL, "ss"},
    {"substr", EXPR_SUBSTR, VALUE_STR, "si?i"},
    {"concat", EXPR_CONCAT, VALUE_STR, "s*"},
    {"bucket", EXPR_BUCKET, VALUE_TIME, "ti"},
    {"parse_time", EXPR_PARSE_TIME, VALUE_TIME, "s?s"},
    {"format_time", EXPR_FORMAT_TIME, VALUE_STR, "t?s"},
    {"floor", EXPR_FLOOR, VALUE_F64, "f"},
    {"ceil", EXPR_CEIL, VALUE_F64, "f"},
    {"round", EXPR_ROUND, VALUE_F64, "f"},
};

static enum value_type letter_type(char letter)
{
    switch (letter) {
    case 's':
        return VALUE_STR;
    case 'i':
        return VALUE_I64;
    case 'f':
        return VALUE_F64;
    default:
        return VALUE_TIME;
    }
}

/* The letter of argument `index`, 0 if there is none; counts the least number of arguments. */
static char letter_of(const char *args, int32_t index, int32_t *ret_least)
{
    int32_t count = 0;
    bool optional = false;
    char found = 0;
    *ret_least = 0;
    for (const char *c = args; *c != 0; c++) {
        if (*c == '?') {
            optional = true;
        } else if (*c == '*') {
            *ret_least = 2;
            return 's';
        } else {
            found = count == index ? *c : found;
            count++;
            *ret_least += optional ? 0 : 1;
        }
    }
    return found;
}

static struct expr_node *check_format(struct parser *p, struct expr_node *node)
{
    bool timed = node->op == EXPR_PARSE_TIME || node->op == EXPR_FORMAT_TIME;
    if (!timed || node->arg_count < 2) {
        return node;
    }
    struct expr_node *format = node->args[1];
    if (format->op != EXPR_CONST || format->null || !time_format_valid(format->value.text)) {
        return fail(
            p, format->at,
            "a time format is a constant text of %%Y %%m %%d %%H %%M %%S %%L %%j %%s %%z %%%% "
            "and plain characters");
    }
    return node;
}

static struct expr_node *make_call(struct parser *p, const struct function *function, int32_t at,
                                   struct expr_node *args[], int32_t count)
{
    struct expr_node *node = node_new(p, function->op, function->type, at);
    int32_t least = 0;
    for (int32_t i = 0; i < count && node != NULL; i++) {
        char letter = letter_of(function->args, i, &least);
        if (letter == 0) {
            return fail(p, args[i]->at, "%s takes %d arguments at most", function->name, i);
        }
        enum value_type want = letter_type(letter);
        struct expr_node *arg = fit(p, args[i], want);
        if (arg == NULL) {
            return fail(p, args[i]->at, "argument %d of %s is %s, it wants %s", i + 1,
                        function->name, type_name(args[i]->type), type_name(want));
        }
        if (!node_add(p, node, arg)) {
            return NULL;
        }
    }
    IGNORE_RESULT(letter_of(function->args, 0, &least)); /* only for the least number */
    if (node != NULL && count < least) {
        return fail(p, at, "%s takes at least %d arguments", function->name, least);
    }
    return node != NULL ? check_format(p, node) : NULL;
}

static struct expr_node *make_abs(struct parser *p, int32_t at, struct expr_node *args[],
                                  int32_t count)
{
    if (count != 1 || (args[0]->type != VALUE_I64 && args[0]->type != VALUE_F64)) {
        return fail(p, at, "abs takes one number");
    }
    bool real = args[0]->type == VALUE_F64;
    return node_of(p, real ? EXPR_ABS_F64 : EXPR_ABS_I64, args[0]->type, at, args[0], NULL);
}

static struct expr_node *parse_call(struct parser *p, struct token name)
{
    if (str_is(name.text, "cast")) {
        return parse_cast(p, name.at);
    }
    struct expr_node *args[EXPR_ARGS_MAX];
    int32_t count = parse_args(p, args);
    if (count < 0) {
        return NULL;
    }
    if (str_is(name.text, "if")) {
        return make_if(p, name.at, args, count);
    }
    if (str_is(name.text, "coalesce")) {
        return make_coalesce(p, name.at, args, count);
    }
    if (str_is(name.text, "abs")) {
        return make_abs(p, name.at, args, count);
    }
    struct str names[COUNT_OF(functions) + 4] = {STR("if"), STR("coalesce"), STR("abs"),
                                                 STR("cast")};
    for (ptrdiff_t i = 0; i < COUNT_OF(functions); i++) {
        if (str_is(name.text, functions[i].name)) {
            return make_call(p, &functions[i], name.at, args, count);
        }
        names[i + 4] = str_of(functions[i].name);
    }
    struct hint hint;
    hint_of_names(&hint, name.text, names, (int32_t)COUNT_OF(names));
    return fail(p, name.at, "there is no function '%.*s'%s", STR_ARG(name.text), hint.text);
}

static struct expr_node *parse_primary(struct parser *p)
{
    struct token token = p->token;
    if (token.kind == TOKEN_NUMBER) {
        return parse_number(p, false);
    }
    if (token.kind == TOKEN_TEXT) {
        advance(p);
        return make_const(p, token.at, VALUE_STR,
                          (union expr_value){.text = undouble(p, token.text, '\'')});
    }
    if (take_word(p, "true") || take_word(p, "false")) {
        return make_const(p, token.at, VALUE_BOOL,
                          (union expr_value){.flag = str_is(token.text, "true")});
    }
    if (take_word(p, "null")) {
        struct expr_node *node = node_new(p, EXPR_CONST, EXPR_TYPE_NULL, token.at);
        if (node != NULL) {
            node->null = true;
        }
        return node;
    }
    if (take_sign(p, "(")) {
        struct expr_node *node = parse_or(p);
        return node != NULL && expect_sign(p, ")") ? node : NULL;
    }
    if (token.kind == TOKEN_NAME && char_at(p, p->token_end) == '(') {
        advance(p);
        advance(p);
        return parse_call(p, token);
    }
    if (token.kind == TOKEN_NAME || token.kind == TOKEN_QUOTED_NAME) {
        return parse_name(p);
    }
    if (token.kind == TOKEN_END) {
        return fail(p, token.at, "the expression ends where a value belongs");
    }
    return fail(p, token.at, "'%.*s' stands where a value belongs", STR_ARG(token.text));
}

static struct expr_node *parse_unary(struct parser *p)
{
    struct token token = p->token;
    if (!take_sign(p, "-")) {
        return parse_primary(p);
    }
    if (p->token.kind == TOKEN_NUMBER) {
        return parse_number(p, true);
    }
    if (++p->depth > EXPR_DEPTH_MAX) {
        return fail(p, token.at, "the expression is nested more than %d deep", EXPR_DEPTH_MAX);
    }
    struct expr_node *arg = parse_unary(p);
    p->depth--;
    if (arg == NULL) {
        return NULL;
    }
    if (arg->type != VALUE_I64 && arg->type != VALUE_F64) {
        return fail(p, token.at, "minus wants a number, this is %s", type_name(arg->type));
    }
    bool real = arg->type == VALUE_F64;
    return node_of(p, real ? EXPR_NEG_F64 : EXPR_NEG_I64, arg->type, token.at, arg, NULL);
}

static struct expr_node *parse_product(struct parser *p)
{
    struct expr_node *left = parse_unary(p);
    while (left != NULL && (at_sign(p, "*") || at_sign(p, "/") || at_sign(p, "%"))) {
        struct token token = p->token;
        advance(p);
        struct expr_node *right = parse_unary(p);
        left = right != NULL ? make_arithmetic(p, token.text.ptr[0], token.at, left, right) : NULL;
    }
    return left;
}

static struct expr_node *parse_sum(struct parser *p)
{
    struct expr_node *left = parse_product(p);
    while (left != NULL && (at_sign(p, "+") || at_sign(p, "-"))) {
        struct token token = p->token;
        advance(p);
        struct expr_node *right = parse_product(p);
        left = right != NULL ? make_arithmetic(p, token.text.ptr[0], token.at, left, right) : NULL;
    }
    return left;
}

/* "in (a, b)": the same as (x == a or x == b). The left side is computed once: it is one node of the tree. */
static struct expr_node *parse_in(struct parser *p, int32_t at, struct expr_node *left)
{
    struct expr_node *args[EXPR_ARGS_MAX];
    int32_t count = expect_sign(p, "(") ? parse_args(p, args) : -1;
    if (count == 0) {
        return fail(p, at, "the list of 'in' is empty");
    }
    struct expr_node *all = NULL;
    for (int32_t i = 0; i < count; i++) {
        struct expr_node *one = make_comparison(p, 0, at, left, args[i]);
        if (one == NULL) {
            return NULL;
        }
        all = all == NULL ? one : node_of(p, EXPR_OR, VALUE_BOOL, at, all, one);
        if (all == NULL) {
            return NULL;
        }
    }
    return all;
}

static struct expr_node *negate(struct parser *p, int32_t at, struct expr_node *node)
{
    return node != NULL ? node_of(p, EXPR_NOT, VALUE_BOOL, at, node, NULL) : NULL;
}

static struct expr_node *parse_comparison(struct parser *p)
{
    struct expr_node *left = parse_sum(p);
    struct token token = p->token;
    if (left == NULL) {
        return NULL;
    }
    if (take_word(p, "is")) {
        bool not_null = take_word(p, "not");
        if (!take_word(p, "null")) {
            return fail(p, p->token.at, "'is' wants 'null' or 'not null'");
        }
        if (left->type == EXPR_TYPE_NULL) {
            left->type = VALUE_BOOL;
        }
        struct expr_node *node = node_of(p, EXPR_IS_NULL, VALUE_BOOL, token.at, left, NULL);
        return not_null ? negate(p, token.at, node) : node;
    }
    if (take_word(p, "in")) {
        return parse_in(p, token.at, left);
    }
    if (take_word(p, "not")) {
        if (!take_word(p, "in")) {
            return fail(p, p->token.at, "'not' behind a value wants 'in'");
        }
        return negate(p, token.at, parse_in(p, token.at, left));
    }
    static const struct {
        const char *sign;
        int32_t which;
    } signs[] = {{"==", 0}, {"=", 0},  {"!=", 1}, {"<>", 1},
                 {"<", 2},  {"<=", 3}, {">", 4},  {">=", 5}};
    for (ptrdiff_t i = 0; i < COUNT_OF(signs); i++) {
        if (take_sign(p, signs[i].sign)) {
            struct expr_node *right = parse_sum(p);
            return right != NULL ? make_comparison(p, signs[i].which, token.at, left, right) : NULL;
        }
    }
    return left;
}

static struct expr_node *parse_not(struct parser *p)
{
    struct token token = p->token;
    if (!take_word(p, "not")) {
        return parse_comparison(p);
    }
    if (++p->depth > EXPR_DEPTH_MAX) {
        return fail(p, token.at, "the expression is nested more than %d deep", EXPR_DEPTH_MAX);
    }
    struct expr_node *arg = fit_bool(p, parse_not(p), "not");
    p->depth--;
    return negate(p, token.at, arg);
}

static struct expr_node *parse_and(struct parser *p)
{
    struct expr_node *left = parse_not(p);
    while (left != NULL && at_word(p, "and")) {
        struct token token = p->token;
        advance(p);
        struct expr_node *a = fit_bool(p, left, "and");
        struct expr_node *b = a != NULL ? fit_bool(p, parse_not(p), "and") : NULL;
        left = b != NULL ? node_of(p, EXPR_AND, VALUE_BOOL, token.at, a, b) : NULL;
    }
    return left;
}

static struct expr_node *parse_or(struct parser *p)
{
    if (++p->depth > EXPR_DEPTH_MAX) {
        return fail(p, p->token.at, "the expression is nested more than %d deep", EXPR_DEPTH_MAX);
    }
    struct expr_node *left = parse_and(p);
    while (left != NULL && at_word(p, "or")) {
        struct token token = p->token;
        advance(p);
        struct expr_node *a = fit_bool(p, left, "or");
        struct expr_node *b = a != NULL ? fit_bool(p, parse_and(p), "or") : NULL;
        left = b != NULL ? node_of(p, EXPR_OR, VALUE_BOOL, token.at, a, b) : NULL;
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
    struct parser p = {
        .arena = arena, .place = place, .schema = schema, .info = info, .text = place->text};
    if (!utf8_valid(p.text)) {
        return yaml_fail(info, place, "the expression is not UTF-8");
    }
    advance(&p);
    struct expr_node *root = parse_or(&p);
    if (root != NULL && p.token.kind != TOKEN_END) {
        root = fail(&p, p.token.at, "'%.*s' stands behind the end of the expression",
                    STR_ARG(p.token.text));
    }
    if (root != NULL && root->type == EXPR_TYPE_NULL) {
        root = fail(&p, root->at, "a bare null has no type: cast it, as in cast(null as int)");
    }
    if (root == NULL || p.failed) {
        return ERR_INVALID;
    }
    *ret_root = root;
    return ERR_OK;
}
