// SPDX-License-Identifier: Apache-2.0
#ifndef FUZZ_ROWS_H
#define FUZZ_ROWS_H

#include "base/arena.h"
#include "pipeline/chain.h"

/* Runs a chain over the lines of a text, in batches of `rows`, and gives everything that comes out as one text: value and
 * reason of each row, in order. Batch borders have no meaning, so the text is the same for every `rows`. */
struct str rows_through(struct arena *arena, const struct stage_plan *plan, struct str lines,
                        int32_t rows);

/* Checks that: what comes out in batches of one row is returned. */
struct str rows_checked(struct arena *arena, const struct stage_plan *plan, struct str lines);

/* The first stage of a configuration that reads stream "in" by the given chain. */
const struct stage_plan *rows_plan(struct arena *arena, const char *chain);

#endif
