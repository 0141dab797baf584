// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_EXPR_H
#define PIPELINE_EXPR_H

#include "base/arena.h"
#include "base/err.h"
#include "base/yaml.h"
#include "pipeline/batch.h"

/* Typed expressions over the columns of a batch (docs/expressions.md). Checked and compiled when the configuration is
 * loaded, then run column by column: no allocation per record, no branch per row where types allow it.
 *
 * Names are the schema's columns, then `key` (str), `value` (str) and `event_time` (time) of the record. Every value may
 * be null. What cannot be computed (overflow, division by zero, a text that is no number) rejects the row; a part of an
 * expression that is not reached for a row (the other branch of `if`, the right of a decided `and`) cannot reject it. */

enum {
    EXPR_TEXT_MAX = 4096,     /* bytes of an expression */
    EXPR_NODES_MAX = 512,     /* of its tree */
    EXPR_DEPTH_MAX = 64,      /* of its tree */
    EXPR_STR_MAX = 64 << 10,  /* bytes of a string that a function makes; longer ones reject */
    EXPR_REGISTERS_MAX = 1024 /* a consequence of the limits above */
};

struct expr; /* immutable; many threads may evaluate one */

/* Why a row was rejected; 0: it was not. */
enum expr_reject {
    EXPR_REJECT_NONE,
    EXPR_REJECT_OVERFLOW,
    EXPR_REJECT_ZERO_DIVISION,
    EXPR_REJECT_CAST,
    EXPR_REJECT_TIME_TEXT,
    EXPR_REJECT_TIME_RANGE,
    EXPR_REJECT_TOO_LONG,
    EXPR_REJECT_COUNT
};

/* "arithmetic overflow" and so on. */
const char *expr_reject_text(enum expr_reject reject);

/* Parses, checks and compiles `place->text` against `schema`; the result lives in `arena`.
 * Errors: INVALID; `info` names file:line:column inside the expression. */
ATTR_NODISCARD enum err expr_compile(struct arena *arena, const struct yaml_node *place,
                                     const struct schema *schema, const struct expr **ret_expr,
                                     struct err_info *info);

enum value_type expr_type(const struct expr *expr);

/* Bit c: column c of the schema is read. */
uint64_t expr_columns(const struct expr *expr);

/* The column of the schema that it is, or -1: it is more than a column. */
int32_t expr_plain_column(const struct expr *expr);

/* False: it can reject no row, whatever the row holds. */
bool expr_can_reject(const struct expr *expr);

/* Computes the expression for the rows sel[0..sel_count) of `batch`.
 *   ret_column  its data are defined for those rows only and live as long as batch->arena, or are a column of the batch
 *   rejects     [count of the batch]; entries of selected rows are set to a reason if the row is rejected and left alone
 *               otherwise; may be NULL if the expression cannot reject
 * Returns how many rows were newly rejected. */
int32_t expr_eval(const struct expr *expr, const struct batch *batch, struct column *ret_column,
                  uint8_t *rejects);

#endif
