// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_OPERATORS_H
#define PIPELINE_OPERATORS_H

#include "pipeline/contest.h"
#include "pipeline/operator.h"

/* The operator types there are; operators.c lists them in its table. Private to pipeline. */
extern const struct operator_type operator_parse;
extern const struct operator_type operator_filter;
extern const struct operator_type operator_map;
extern const struct operator_type operator_flat_map;
extern const struct operator_type operator_encode;
extern const struct operator_type operator_key_by;
extern const struct operator_type operator_plugin;
extern const struct operator_type operator_window;
extern const struct operator_type operator_join;
extern const struct operator_type operator_dedupe;
extern const struct operator_type operator_lookup;

/* Whether an operator is a window that keeps nothing but the rows with a column's extreme; then ret_contest names the
 * column of its input. */
bool window_contest_of(const struct operator_plan *plan, struct contest *ret_contest);

/* Tells a key_by what becomes of its rows. `contest` names a column of its own input, and stays. Returns the column of
 * integers or times that it makes keys of as they are, or -1. */
int32_t key_by_set_contest(struct operator_plan *plan, const struct contest *contest);

/* Tells the operator before it the same, if that is an encode: what is not written there need not be made either. */
void encode_set_contest(struct operator_plan *plan, const struct contest *contest,
                        int32_t key_column);

#endif
