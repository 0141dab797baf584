// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_EXPR_TREE_H
#define PIPELINE_EXPR_TREE_H

#include "pipeline/expr_priv.h"

/* From the text of an expression to its typed tree: tokens (expr_token.c), grammar (expr_parse.c), nodes (expr_node.c),
 * calls (expr_call.c). Whatever returns a node returns NULL when it failed; the first error is in `info`. */

enum expr_token_kind {
    EXPR_TOKEN_END,
    EXPR_TOKEN_NAME,
    EXPR_TOKEN_QUOTED_NAME,
    EXPR_TOKEN_NUMBER,
    EXPR_TOKEN_TEXT,
    EXPR_TOKEN_SIGN
};

struct expr_token {
    enum expr_token_kind kind;
    int32_t at;
    struct str text; /* signs: the sign; texts: without quotes, '' not yet undoubled */
};

struct expr_parser {
    struct arena *arena;
    const struct yaml_node *place;
    const struct schema *schema;
    struct err_info *info;
    struct str text;
    struct expr_token token; /* the next one */
    int32_t token_end;
    int32_t node_count;
    int32_t depth;
    bool failed;
};

/* Tells what is wrong at byte `at` of the text; always NULL. */
ATTR_COLD struct expr_node *expr_fail(struct expr_parser *p, int32_t at, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

/* --- tokens --- */

static inline bool expr_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The character at byte `i`; 0 behind the end. */
char expr_char_at(const struct expr_parser *p, int32_t i);

/* Takes the next token into `p->token`. */
void expr_advance(struct expr_parser *p);

bool expr_at_word(const struct expr_parser *p, const char *word);
bool expr_at_sign(const struct expr_parser *p, const char *sign);

/* True: it stood there and has been taken. */
bool expr_take_word(struct expr_parser *p, const char *word);
bool expr_take_sign(struct expr_parser *p, const char *sign);

/* The same; fails if it does not stand there. */
bool expr_expect_sign(struct expr_parser *p, const char *sign);

/* --- nodes --- */

struct expr_node *expr_node_new(struct expr_parser *p, enum expr_op op, enum value_type type,
                                int32_t at);
bool expr_node_add(struct expr_parser *p, struct expr_node *node, struct expr_node *arg);

/* A node with one argument, or with two if `b` is not NULL. */
struct expr_node *expr_node_of(struct expr_parser *p, enum expr_op op, enum value_type type,
                               int32_t at, struct expr_node *a, struct expr_node *b);

const char *expr_type_name(enum value_type type);

/* `node` as `type`: itself, a null that takes the type, or an i64 made f64; NULL without an error if it does not go. */
struct expr_node *expr_fit(struct expr_parser *p, struct expr_node *node, enum value_type type);

/* `node`, which may be NULL, as a bool; `what` wants it. */
struct expr_node *expr_fit_bool(struct expr_parser *p, struct expr_node *node, const char *what);

/* The one type that both can take: equal ones, f64 for numbers of two kinds, the other's for a null. */
bool expr_common_type(enum value_type a, enum value_type b, enum value_type *ret_type);

struct expr_node *expr_make_const(struct expr_parser *p, int32_t at, enum value_type type,
                                  union expr_value value);

/* `which` counts from == in the order of enum expr_op. */
struct expr_node *expr_make_comparison(struct expr_parser *p, int32_t which, int32_t at,
                                       struct expr_node *a, struct expr_node *b);

/* `sign`: one of + - * / %. */
struct expr_node *expr_make_arithmetic(struct expr_parser *p, char sign, int32_t at,
                                       struct expr_node *a, struct expr_node *b);

/* `arg` as `to`, by the cast that there is between the two types. */
struct expr_node *expr_make_cast(struct expr_parser *p, int32_t at, struct expr_node *arg,
                                 enum value_type to);

/* The call of any function but `cast`. */
struct expr_node *expr_make_call(struct expr_parser *p, struct expr_token name,
                                 struct expr_node *args[], int32_t count);

#endif
