// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_BATCH_H
#define PIPELINE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

/* The columnar batch: what operators take and give. Rows are records; each has the record's own parts and, after a
 * `parse` or a stage border, typed columns. Operators narrow the selection instead of moving rows. Batch borders have no
 * meaning: no result may depend on where they fall. All memory belongs to `arena` or to whoever filled the batch, and
 * lives until the chain has been run on it. */

enum { BATCH_ROWS_MAX = 1024, BATCH_COLUMNS_MAX = 64 };

enum value_type {
    VALUE_BOOL, /* uint8_t 0 or 1 */
    VALUE_I64,
    VALUE_F64,
    VALUE_STR,  /* struct str; bytes are UTF-8 if they came from JSON */
    VALUE_TIME, /* int64_t, ms since 1970 */
    VALUE_TYPE_COUNT
};

struct column {
    enum value_type type;
    void *data;    /* [count] of the type's C type; undefined where null and where not selected */
    uint8_t *null; /* [count] 0 or 1; NULL: none is null */
};

/* No late stamp: the record was not behind its source shard's watermark. */
#define STAMP_NONE INT64_MIN

struct batch {
    int32_t count; /* rows, 0..BATCH_ROWS_MAX */
    int32_t sel_count;
    int32_t *sel;     /* rows still alive, ascending; capacity count */
    int64_t *time_ms; /* event time */
    int64_t *
        stamp_ms; /* watermark that the record was behind at its source, or STAMP_NONE; NULL: all none */
    uint64_t *hash;        /* hash64 of the key (of the empty string if absent) */
    struct str *key;       /* ptr NULL: absent */
    struct str *value;     /* the record's value as it came; 64 readable bytes behind it */
    struct str *headers;   /* encoded block without reserved headers; NULL: no row has any */
    int32_t *header_count; /* with headers */
    const int64_t *offset; /* in the input shard; NULL: made by an operator, or unknown */
    int32_t shard;         /* of the input, with `offset` */
    int32_t column_count;
    struct column
        columns[BATCH_COLUMNS_MAX]; /* as the schema at this place of the chain names them */
    struct arena *arena;
};

/* An empty batch with room for `rows` rows and their record parts (no columns, no headers), all rows selected. */
struct batch *batch_new(struct arena *arena, int32_t rows);

/* Adds a column of `type` with uninitialised data; with_null: a zeroed null map. Returns its index; CHECKs the limit. */
int32_t batch_add_column(struct batch *batch, enum value_type type, bool with_null);

#define COLUMN_I64(col)  ((int64_t *)(col)->data)
#define COLUMN_F64(col)  ((double *)(col)->data)
#define COLUMN_BOOL(col) ((uint8_t *)(col)->data)
#define COLUMN_STR(col)  ((struct str *)(col)->data)

static inline bool column_is_null(const struct column *col, int32_t row)
{
    return col->null != NULL && col->null[row] != 0;
}

/* Names and types of a batch's columns at one place of a chain; fixed when the pipeline is loaded. */
struct schema {
    int32_t count;
    struct str names[BATCH_COLUMNS_MAX];
    enum value_type types[BATCH_COLUMNS_MAX];
};

/* Index of the column named `name`, or -1. */
int32_t schema_find(const struct schema *schema, struct str name);

const char *value_type_name(enum value_type type);

#endif
