// SPDX-License-Identifier: Apache-2.0
/* The functions that an expression can call: their names, arguments and types. */
#include "pipeline/expr_tree.h"
#include "pipeline/hint.h"
#include "pipeline/time_text.h"

static struct expr_node *make_if(struct expr_parser *p, int32_t at, struct expr_node *args[],
                                 int32_t count)
{
    if (count != 3) {
        return expr_fail(p, at, "if takes three arguments: if(condition, then, else)");
    }
    struct expr_node *condition = expr_fit_bool(p, args[0], "the condition of if");
    enum value_type type;
    if (condition == NULL) {
        return NULL;
    }
    if (!expr_common_type(args[1]->type, args[2]->type, &type)) {
        return expr_fail(p, at, "the branches of if have two types, %s and %s: cast one of them",
                         expr_type_name(args[1]->type), expr_type_name(args[2]->type));
    }
    if (type == EXPR_TYPE_NULL) {
        return expr_fail(p, at,
                         "both branches of if are null: cast one of them, as in cast(null as int)");
    }
    struct expr_node *then = expr_fit(p, args[1], type);
    struct expr_node *other = expr_fit(p, args[2], type);
    struct expr_node *node =
        then == NULL || other == NULL ? NULL : expr_node_of(p, EXPR_IF, type, at, condition, then);
    return node != NULL && expr_node_add(p, node, other) ? node : NULL;
}

static struct expr_node *make_coalesce(struct expr_parser *p, int32_t at, struct expr_node *args[],
                                       int32_t count)
{
    enum value_type type = EXPR_TYPE_NULL;
    for (int32_t i = 0; i < count; i++) {
        enum value_type before = type;
        if (!expr_common_type(before, args[i]->type, &type)) {
            return expr_fail(p, args[i]->at, "coalesce has arguments of two types, %s and %s",
                             expr_type_name(before), expr_type_name(args[i]->type));
        }
    }
    if (count < 2 || type == EXPR_TYPE_NULL) {
        return expr_fail(p, at, "coalesce takes two or more arguments, one of them not null");
    }
    struct expr_node *node = expr_fit(p, args[count - 1], type);
    for (int32_t i = count - 2; i >= 0 && node != NULL; i--) {
        struct expr_node *arg = expr_fit(p, args[i], type);
        node = arg != NULL ? expr_node_of(p, EXPR_COALESCE, type, at, arg, node) : NULL;
    }
    return node;
}

static struct expr_node *make_abs(struct expr_parser *p, int32_t at, struct expr_node *args[],
                                  int32_t count)
{
    if (count != 1 || (args[0]->type != VALUE_I64 && args[0]->type != VALUE_F64)) {
        return expr_fail(p, at, "abs takes one number");
    }
    bool real = args[0]->type == VALUE_F64;
    return expr_node_of(p, real ? EXPR_ABS_F64 : EXPR_ABS_I64, args[0]->type, at, args[0], NULL);
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

static struct expr_node *check_format(struct expr_parser *p, struct expr_node *node)
{
    bool timed = node->op == EXPR_PARSE_TIME || node->op == EXPR_FORMAT_TIME;
    if (!timed || node->arg_count < 2) {
        return node;
    }
    struct expr_node *format = node->args[1];
    if (format->op != EXPR_CONST || format->null || !time_format_valid(format->value.text)) {
        return expr_fail(
            p, format->at,
            "a time format is a constant text of %%Y %%m %%d %%H %%M %%S %%L %%j %%s %%z %%%% "
            "and plain characters");
    }
    return node;
}

static struct expr_node *make_listed(struct expr_parser *p, const struct function *function,
                                     int32_t at, struct expr_node *args[], int32_t count)
{
    struct expr_node *node = expr_node_new(p, function->op, function->type, at);
    int32_t least = 0;
    for (int32_t i = 0; i < count && node != NULL; i++) {
        char letter = letter_of(function->args, i, &least);
        if (letter == 0) {
            return expr_fail(p, args[i]->at, "%s takes %d arguments at most", function->name, i);
        }
        enum value_type want = letter_type(letter);
        struct expr_node *arg = expr_fit(p, args[i], want);
        if (arg == NULL) {
            return expr_fail(p, args[i]->at, "argument %d of %s is %s, it wants %s", i + 1,
                             function->name, expr_type_name(args[i]->type), expr_type_name(want));
        }
        if (!expr_node_add(p, node, arg)) {
            return NULL;
        }
    }
    IGNORE_RESULT(letter_of(function->args, 0, &least)); /* only for the least number */
    if (node != NULL && count < least) {
        return expr_fail(p, at, "%s takes at least %d arguments", function->name, least);
    }
    return node != NULL ? check_format(p, node) : NULL;
}

struct expr_node *expr_make_call(struct expr_parser *p, struct expr_token name,
                                 struct expr_node *args[], int32_t count)
{
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
            return make_listed(p, &functions[i], name.at, args, count);
        }
        names[i + 4] = str_of(functions[i].name);
    }
    struct hint hint;
    hint_of_names(&hint, name.text, names, (int32_t)COUNT_OF(names));
    return expr_fail(p, name.at, "there is no function '%.*s'%s", STR_ARG(name.text), hint.text);
}
