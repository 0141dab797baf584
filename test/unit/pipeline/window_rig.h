// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_UNIT_PIPELINE_WINDOW_RIG_H
#define TEST_UNIT_PIPELINE_WINDOW_RIG_H

#include "base/rng.h"
#include "pipeline/operator.h"

/* Runs one stateful operator as partitions would: rows of several source shards with their stamps, batches cut at random,
 * key groups split into ranges that each have their own state, states replaced at random by what their deltas built. */

enum { RIG_KEYS_MAX = 64, RIG_SHARDS_MAX = 4, RIG_PARTS_MAX = 8 };

/* A row of the columns {a: int, x: float, s: str, t: time}. */
struct rig_row {
    int32_t key; /* -1: absent */
    int32_t input;
    int64_t time;
    int64_t stamp;
    int64_t a;
    double x;
    int32_t s; /* index of a text; -1: null */
    int64_t t;
    bool a_null, x_null;
};

struct rig_input {
    int32_t count;
    struct rig_row *rows; /* in the order in which they are read */
    int64_t *watermark;   /* [count] of the chain after the row */
    const char *key_texts[RIG_KEYS_MAX];
};

/* Compiles the operator from its settings; all lives in `arena`. Fails the process with the message on an error. */
const struct operator_plan *rig_compile(struct arena *arena, const struct operator_type *type,
                                        const char *yaml, int32_t input_count);

/* Draws rows: keys, times that go forward with jumps and disorder, watermarks and stamps as source shards give them. */
void rig_draw(struct arena *arena, struct rng *rng, int32_t count, int64_t disorder_ms,
              int64_t step_ms, struct rig_input *ret_input);

struct rig_result {
    int32_t count, cap;
    char **lines; /* of all result rows as text, sorted */
    int64_t rejected, late;
};

/* Runs all rows over `parts` key-group ranges and gives the results, sorted. `restarts`: chance of a restart per batch. */
void rig_run(const struct operator_plan *plan, const struct rig_input *input, int32_t parts,
             double restarts, struct rng *rng, struct rig_result *ret_result);
void rig_result_release(struct rig_result *result);

/* Formats one row of results as rig_run does: column values separated by blanks, nulls as "-". */
void rig_format(const struct operator_plan *plan, const struct batch *batch, int32_t row, char *out,
                ptrdiff_t cap);

void rig_lines_sort(char **lines, int32_t count);

extern const char *const RIG_TEXTS[8];

#endif
