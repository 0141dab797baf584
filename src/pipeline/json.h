// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_JSON_H
#define PIPELINE_JSON_H

#include <stdbool.h>
#include <stdint.h>

/* The headers of C as well: their functions are C's. */
#ifdef __cplusplus
extern "C" {
#endif

#include "base/arena.h"
#include "base/str.h"
#include "pipeline/batch.h"

/* JSON of records: a thin shim round simdjson's on-demand parser (json.cpp). One record at a time, in place: a record has
 * JSON_PADDING readable bytes behind it, whatever they hold, and no verdict depends on them. No exceptions, no threads.
 *
 * What is checked of a record: it is UTF-8, its strings are closed, it begins and ends as an object, and the fields of the
 * shape have their types. It is read until all fields of the shape have been seen: up to there braces, commas, colons and
 * keys are in order; what comes behind is looked at only if `strict`, or if a field is missing. Values outside the shape
 * are not checked. Of a key that comes twice, the first counts. */

enum {
    JSON_PADDING = 64,
    JSON_SHAPE_NODES_MAX = 256,
    JSON_PATH_MAX = 8,        /* keys in the path of a field */
    JSON_RECORD_MAX = 8 << 20 /* bytes; longer ones are bad */
};

/* One object key that matters: a field, or an object on the way to some. Node 0 is the record. */
struct json_shape_node {
    struct str key;
    int32_t child_first, child_count; /* children stand together; 0: a field */
    int32_t column;                   /* of a field */
    enum value_type type;             /* of a field */
    bool raw_json;          /* a str field that takes the text of any JSON value as it stands */
    const char *wrong_type; /* the reason of the reject */
};

struct json_shape {
    int32_t count;
    struct json_shape_node nodes[JSON_SHAPE_NODES_MAX];
};

struct
    json_reader; /* parser and its buffers, and the order of keys seen last; one thread at a time */

struct json_reader *json_reader_new(void);
void json_reader_free(struct json_reader *reader);

/* A reader remembers where the keys of one shape stood, so it serves one shape: another wants another reader.
 * Reads the records value[sel[0..count)] and fills rows of `columns`: each column of the shape has a null map,
 * set to 1 by the caller; what is there is set to 0.
 *   strict      checks the whole record
 *   arena       for strings that had to be unescaped
 *   ret_reason  [row] NULL, or why the record is bad (static text or the shape's); written for all rows of sel
 * Returns how many are bad. */
int32_t json_read_rows(struct json_reader *reader, const struct json_shape *shape, bool strict,
                       const struct str *value, const int32_t *sel, int32_t count,
                       struct column *columns, struct arena *arena, const char **ret_reason);

/* Reads one top-level field as a time: an integer (ms since 1970) or RFC 3339 text. NULL, or why it cannot be read. */
const char *json_read_time(struct json_reader *reader, struct str record, struct str field,
                           int64_t *ret_ms);

/* The elements of the JSON array `text` (padded) as views of their text, up to `cap`; returns how many there are, or -1
 * with a reason. Elements are checked only as far as finding their ends needs. */
int32_t json_array_split(struct json_reader *reader, struct str text, struct str *ret_elements,
                         int32_t cap, const char **ret_reason);

/* Reads one scalar JSON text (padded) into row `row` of `column`, as a field of `type` would be; null sets the null
 * map. False if it has another type. */
bool json_read_scalar(struct json_reader *reader, struct str text, struct column *column,
                      int32_t row, struct arena *arena);

bool utf8_valid(struct str text);

/* Shortest decimal text that reads back as `value` (finite); returns its length, < 32, no 0 behind it. */
int32_t f64_write(double value, char out[32]);

/* Reads all of `text` as a decimal number, exactly rounded. False if it is none or is out of range. */
bool f64_read(struct str text, double *ret_value);

#ifdef __cplusplus
}
#endif

#endif
