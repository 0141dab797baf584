// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_OPERATORS_H
#define PIPELINE_OPERATORS_H

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

#endif
