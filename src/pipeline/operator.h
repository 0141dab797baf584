// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_OPERATOR_H
#define PIPELINE_OPERATOR_H

#include "base/yaml.h"
#include "pipeline/chain.h"

/* What an operator type is. The table of types (pipeline/operators.c) is the only place that lists them.
 *
 * Loading: compile() turns the operator's YAML into an immutable `struct operator_plan` whose output schema the next
 * operator compiles against. Running: open() makes an instance for one chain, process() takes a batch and appends what
 * it makes to `next`, advance() tells the watermark. Instances keep no state but through struct state (scratch that can
 * be rebuilt, such as caches, excepted). */

struct operator_plan;
struct operator_instance;

/* What compile() is given and fills in. */
struct compile_context {
    struct arena *arena;          /* of the plan */
    const struct yaml_node *node; /* the operator's settings, a map */
    struct str name;              /* unique in its stage */
    const struct schema
        *in[2];          /* schema(s) of the input(s); [1] NULL unless the stage has two inputs */
    bool first;          /* no operator before it: rows are bare records */
    bool value_intact;   /* the rows' `value` still is the record */
    int32_t input_count; /* of the stage; `in[1]` is set for the operator that joins them */
    struct stage_resources
        *resources;        /* lookup tables, streams: declared by name (pipeline/config.h) */
    struct err_info *info; /* errors as file:line:column: what, why, what to do */
};

enum operator_effects { EFFECTS_NONE, EFFECTS_DECLARED, EFFECTS_UNDECLARED };

struct knob {
    struct str name;
    int64_t min, max, value; /* value: as configured */
    int64_t usual;           /* what it is where nobody says anything */
};

/* What operators that make many rows of one may make of one batch, as it will be written, roughly. All of it goes into one commit;
 * a row that would bring it over is rejected whole. */
enum { EXPANDED_BYTES_MAX = 16 << 20, EXPANDED_COLUMN_BYTES = 24 };

enum { KNOBS_MAX = 8, OPERATOR_STATE_SPACES_MAX = 4, OPERATOR_FIELD_NAME_MAX = 64 };

struct operator_plan {
    const struct operator_type *type;
    struct str name;
    struct schema schema; /* of its output */
    bool
        value_intact; /* the rows' `value` still is the record: encode nothing at the stage's end */
    bool key_changed; /* key_by: the stage ends here */
    bool commutes;    /* a filter that may change places with its neighbours of the same kind */
    bool
        joins; /* takes both inputs of its stage; everything before works on one. Set by the loader */
    bool expands;  /* may make many rows of one; a chain has at most one such operator */
    int32_t input; /* which input's rows it takes; behind a join, and without one, 0 */
    /* Which columns are needed, so that `parse` reads only those. compile() may narrow columns_read (default: all bits)
     * and say in column_from which input column each output column is (-1: a new one; NULL: all are new). Afterwards
     * the loader sets columns_used: the output columns that somebody behind needs. */
    uint64_t columns_read;
    const int16_t *column_from;
    uint64_t columns_used;
    bool hash_used; /* somebody behind needs the hashes of its rows' keys; set by the loader */
    enum operator_effects effects;
    int knob_count;
    struct knob knobs[KNOBS_MAX];
    int space_count; /* state it keeps: names and schemas, for "the second day" */
    /* Event time that a window, a gap between records of one session, or a match reaches back over; 0: it keeps no state, or
     * state without such an end. */
    int64_t span_ms;
    /* How far behind the watermark the event times of rows may be that its timers make. For what is behind it the watermark is that
     * much less, else they came late there. */
    int64_t hold_ms;
    /* Windows of all keys close together whenever the watermark reaches hop_from_ms + n x hop_ms. 0: they close each in its
     * time (sessions), or there are none. */
    int64_t hop_ms, hop_from_ms;
    struct state_space_options spaces[OPERATOR_STATE_SPACES_MAX];
    void *compiled; /* the type's own, in the arena */
};

/* Batches on their way from one operator to the next. */
struct batch_list {
    struct batch **items;
    int32_t count, cap;
    struct arena *arena; /* of the run */
};
void batch_list_add(struct batch_list *list, struct batch *batch);

struct operator_env {
    struct state *state;
    struct lookup_table *const *lookup_tables;
    struct chain_out *out; /* for dead letters and late records; set for the time of each call */
    struct operator_stats *stats;
    const struct stage_plan *stage; /* for where rejected rows came from; NULL: not told */
    int32_t input;                  /* whose rows are being worked on */
};

struct operator_type {
    const char *name;
    bool joins;      /* in a stage with two inputs it takes both */
    bool reads_hash; /* of its input's keys */
    enum err (*compile)(struct compile_context *ctx, struct operator_plan *plan);
    enum err (*open)(const struct operator_plan *plan, struct operator_env *env,
                     struct operator_instance **ret_op, struct err_info *info);
    void (*close)(struct operator_instance *op);
    /* Takes `batch` of input `input`; appends results to `next` (the same batch, narrowed, if it makes no new rows).
     * AGAIN only before any effect. */
    enum err (*process)(struct operator_instance *op, int input, struct batch *batch,
                        struct batch_list *next, struct err_info *info);
    /* NULL: has no timers. True: more to emit for this watermark. */
    bool (*advance)(struct operator_instance *op, int64_t watermark_ms, struct batch_list *next);
    /* NULL: no early results. Returns the next time wanted. */
    int64_t (*tick)(struct operator_instance *op, int64_t now_ns, struct batch_list *next);
};

/* The type named `name`, or NULL. */
const struct operator_type *operator_type_find(struct str name);

/* Names of all types, up to `cap`; returns how many there are. */
int32_t operator_type_names(struct str *ret_names, int32_t cap);

/* Takes row `row` of `batch` out of the selection's future: writes it to the dead-letter output with `reason` and counts
 * it. The caller drops it from `sel`. */
void operator_reject(struct operator_env *env, const struct batch *batch, int32_t row,
                     const char *reason);

/* Rejects the selected rows that an expression rejected (expr_eval) and takes them out of `sel`. */
void operator_reject_rows(struct operator_env *env, struct batch *batch, const uint8_t *rejects);

/* The same with a reason for each row; NULL: the row stays. */
void operator_reject_reasons(struct operator_env *env, struct batch *batch,
                             const char *const *reasons);

/* Marks all columns of `in` as passed on unchanged: column_from[i] = i, for plans whose schema begins with them. */
int16_t *operator_columns_kept(struct arena *arena, const struct schema *in);

/* Adds a column to a schema under construction, or says at `node` why it cannot be. */
ATTR_NODISCARD enum err operator_schema_add(struct schema *schema, const struct yaml_node *node,
                                            struct str name, enum value_type type,
                                            struct err_info *info);

/* The same for a late record. */
void operator_late(struct operator_env *env, const struct batch *batch, int32_t row);

#endif
