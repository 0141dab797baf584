// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_AGGREGATE_H
#define PIPELINE_AGGREGATE_H

#include "pipeline/expr.h"
#include "pipeline/operator.h"

/* What a window computes: a list of aggregates over one *cell*, the memory of one (key, window). A cell has a fixed payload,
 * in which each aggregate has its place, and a tail of sections for those that hold more. Every aggregate is a function
 * of the multiset of its values: order and grouping of rows and merges do not matter (limits excepted). Rows whose value
 * is null are left out of an aggregate, as in SQL. */

enum aggregate_kind {
    AGGREGATE_COUNT, /* rows, or rows with a value */
    AGGREGATE_SUM, /* i64 (128 bits inside; a result out of range rejects it), f64 (exact, rounded once) */
    AGGREGATE_AVG, /* f64 */
    AGGREGATE_MIN, /* of i64, f64, time */
    AGGREGATE_MAX,
    AGGREGATE_DISTINCT, /* of any; exact but for collisions of a 64-bit hash */
    AGGREGATE_QUANTILE, /* f64; buckets of a 64th of an octave: within 0.8 % */
    AGGREGATE_TOP       /* a row for each of the n largest; at most one in a window */
};

enum {
    AGGREGATES_MAX = 32,
    TOP_N_MAX = 1000,
    TOP_FIELDS_MAX = 16,
    DISTINCT_VALUES_MAX = 100000,    /* in one cell; a row over it is rejected */
    CELL_TAIL_BYTES_MAX = 3 << 20,   /* a row that finds a cell with more is rejected */
    CELL_MERGED_BYTES_MAX = 16 << 20 /* a window whose panes together hold more has no result */
};

struct aggregate {
    enum aggregate_kind kind;
    struct str name;
    const struct expr *of; /* NULL: count of rows */
    struct str of_text;
    enum value_type of_type;
    enum value_type out_type;
    int32_t out_column; /* first of its columns in the output */
    int32_t offset;     /* in the payload */
    int32_t section;    /* in the tail; -1: none */
    double q;           /* quantile, 0..1 */
    int32_t n;          /* top */
    bool ties_all;      /* top: all that equal the n-th; else ties go by the fields */
    int32_t field_count;
    const struct expr *fields[TOP_FIELDS_MAX];
    enum value_type field_types[TOP_FIELDS_MAX];
};

struct aggregate_list {
    int32_t count;
    struct aggregate items[AGGREGATES_MAX];
    int32_t payload_bytes;
    int32_t section_count;
    int32_t top;  /* index, or -1 */
    bool plain;   /* all aggregates live in the payload alone and cannot reject */
    bool certain; /* and each cell makes one row, whose values can all be represented */
};

/* A cell, in state or in scratch memory. */
struct cell {
    char *payload;
    char *tail;
    ptrdiff_t tail_len;
    ptrdiff_t tail_cap;        /* of a tail in scratch */
    struct state_space *space; /* NULL: scratch, its tail from `arena` */
    uint64_t hash;
    struct arena *arena;
};

/* Columns of a batch that the aggregates want, evaluated. */
struct aggregate_input {
    struct column of[AGGREGATES_MAX];
    struct column fields[TOP_FIELDS_MAX];
};

/* Reads `out:` and adds its columns to `schema`. */
ATTR_NODISCARD enum err aggregate_list_compile(struct compile_context *ctx,
                                               const struct yaml_node *out,
                                               struct aggregate_list *list, struct schema *schema,
                                               uint64_t *ret_columns_read);

/* Text that tells cells of one meaning from those of another: part of the state's schema. */
void aggregate_list_describe(const struct aggregate_list *list, char *text, ptrdiff_t cap);

/* Evaluates the expressions for the selected rows; rejects as expr_eval. Returns how many were rejected. */
int32_t aggregate_list_eval(const struct aggregate_list *list, const struct batch *batch,
                            struct aggregate_input *input, uint8_t *rejects);

/* Adds rows sel[i] to the cells with payload[i], for a list that is plain: column by column. */
void aggregate_list_add_plain(const struct aggregate_list *list,
                              const struct aggregate_input *input, const int32_t *sel,
                              int32_t count, void *const *payload);

/* Adds one row to one cell. NULL, or why it is rejected: then nothing has changed. */
const char *aggregate_list_add(const struct aggregate_list *list,
                               const struct aggregate_input *input, int32_t row, struct cell *cell);

/* How many of the rows sel[0..count), from the first on, would change nothing in the cell and be rejected by nothing: a
 * quick look, 0 if it finds none. */
int32_t aggregate_list_idle(const struct aggregate_list *list, const struct aggregate_input *input,
                            const int32_t *sel, int32_t count, const struct cell *cell);

/* Adds all that `from` holds to `into`. */
void aggregate_list_merge(const struct aggregate_list *list, struct cell *into,
                          const struct cell *from);

/* How many output rows a cell makes: 1, or as many as its `top` holds. */
int32_t aggregate_list_row_count(const struct aggregate_list *list, const struct cell *cell);

/* Writes the cell's rows first..first+count as rows at..at+count of `batch`. Returns NULL, or why the result cannot be
 * represented. */
const char *aggregate_list_emit(const struct aggregate_list *list, const struct cell *cell,
                                int32_t first, int32_t count, struct batch *batch, int32_t at);

/* The same for many cells of a list that is certain, known by their payloads: rows at..at+count, a column at a time. */
void aggregate_list_emit_certain(const struct aggregate_list *list, void *const *payload,
                                 int32_t count, struct batch *batch, int32_t at);

/* --- for the aggregates' own files --- */

char *cell_section(const struct aggregate_list *list, const struct cell *cell, int32_t section,
                   ptrdiff_t *ret_len);

/* Resizes a section (len a multiple of 8): kept bytes stay, new ones are zero. Other sections move. */
char *cell_section_resize(const struct aggregate_list *list, struct cell *cell, int32_t section,
                          ptrdiff_t len);

/* Order-preserving map of doubles to integers. */
int64_t f64_sortable(double value);
double f64_unsortable(int64_t sortable);

/* aggregate_sets.c: distinct and quantile */
const char *distinct_refusal(const struct aggregate *item, const struct cell *cell);
void distinct_add(const struct aggregate_list *list, const struct aggregate *item,
                  struct cell *cell, uint64_t hash);
void distinct_merge(const struct aggregate_list *list, const struct aggregate *item,
                    struct cell *into, const struct cell *from);
void quantile_add(const struct aggregate_list *list, const struct aggregate *item,
                  struct cell *cell, double value);
void quantile_merge(const struct aggregate_list *list, const struct aggregate *item,
                    struct cell *into, const struct cell *from);
bool quantile_read(const struct aggregate_list *list, const struct aggregate *item,
                   const struct cell *cell, double *ret_value);

/* aggregate_top.c */
void top_add(const struct aggregate_list *list, const struct aggregate *item,
             const struct aggregate_input *input, int32_t row, int64_t sortable, struct cell *cell);
int32_t top_idle(const struct aggregate *item, const struct column *of, const int32_t *sel,
                 int32_t count, const struct cell *cell);
void top_merge(const struct aggregate_list *list, const struct aggregate *item, struct cell *into,
               const struct cell *from);
int32_t top_count(const struct aggregate *item, const struct cell *cell);
void top_emit(const struct aggregate_list *list, const struct aggregate *item,
              const struct cell *cell, int32_t first, int32_t count, struct batch *batch,
              int32_t at);

#endif
