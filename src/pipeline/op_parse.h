// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_OP_PARSE_H
#define PIPELINE_OP_PARSE_H

#include "pipeline/json.h"
#include "pipeline/operators.h"

/* parse: record value -> typed columns. What the formats share; private to op_parse*.c and config. */

enum parse_format { PARSE_JSON, PARSE_CSV, PARSE_RAW };

enum raw_type {
    RAW_I8,
    RAW_I16,
    RAW_I32,
    RAW_I64,
    RAW_U8,
    RAW_U16,
    RAW_U32,
    RAW_U64,
    RAW_F32,
    RAW_F64,
    RAW_BOOL,
    RAW_STR,
    RAW_TIME,
    RAW_TYPE_COUNT
};

enum { CSV_COLUMNS_MAX = 1024, RAW_OFFSET_MAX = 1 << 20 };

struct parse_field {
    struct str name;
    enum value_type type;
    const char *reason; /* of a record where it has another type */
    /* json */
    bool raw_json;
    int32_t path_count;
    struct str path[JSON_PATH_MAX];
    /* csv */
    int32_t csv_column; /* 0.. */
    /* raw */
    enum raw_type raw_type;
    int32_t raw_offset, raw_bytes;
    bool raw_big_endian;
};

struct parse_plan {
    enum parse_format format;
    bool strict;
    bool
        trusted; /* the records were written by a stage before: without used fields nothing is read */
    char delimiter;
    int32_t column_first; /* index of the first new column */
    int32_t field_count;
    struct parse_field fields[BATCH_COLUMNS_MAX];
};

/* One record into row `row` of the columns of the used fields (bit i of `used`: field i). NULL, or why it is bad. */
const char *parse_csv_row(const struct parse_plan *plan, uint64_t used, struct str value,
                          struct column *columns, int32_t row, struct arena *arena);

/* The selected rows into the columns of the used fields, which need no null maps: nothing is null in a raw record. Returns how
 * many are bad; if any are, `reasons` of all rows is written: NULL, or why the row is bad. */
int32_t parse_raw_rows(const struct parse_plan *plan, uint64_t used, const struct batch *batch,
                       struct column *columns, const char **reasons);

/* Builds the tree of the used fields' paths. INVALID: a path leads through another field. */
ATTR_NODISCARD enum err parse_json_shape(const struct parse_plan *plan, uint64_t used,
                                         struct arena *arena, struct json_shape *ret_shape,
                                         int32_t *ret_bad_field);

/* `fields:` of JSON objects into an empty plan, with places in errors. */
ATTR_NODISCARD enum err parse_read_fields(struct compile_context *ctx,
                                          const struct yaml_node *fields, struct parse_plan *plan);

/* The name of a type. */
ATTR_NODISCARD enum err parse_read_type(struct compile_context *ctx, const struct yaml_node *node,
                                        enum value_type *ret_type);

/* How to read what an encode wrote; NULL: `plan` is no encode. */
const struct parse_plan *encode_plan_of(const struct operator_plan *plan);

/* A parse that reads the columns `schema` back from the objects that encode_json wrote: what stands between two stages. */
struct parse_plan *parse_plan_of_schema(struct arena *arena, const struct schema *schema);

#endif
