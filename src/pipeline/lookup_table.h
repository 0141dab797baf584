// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_LOOKUP_TABLE_H
#define PIPELINE_LOOKUP_TABLE_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Tables that `lookup` operators read: key -> row, a JSON object. A builder collects rows, from a file's text or from the
 * records of a table stream; a table is an immutable snapshot of it. Whoever fills it (node) makes a new snapshot when
 * there is something new and puts it in the place of the old one between two batches; a table lives until its last
 * reference is given back, so lanes may share one.
 * Builder: one thread. Table: any number of readers. */

enum {
    LOOKUP_ROWS_MAX = 16 << 20,
    LOOKUP_KEY_MAX = 32 << 10,
    LOOKUP_ROW_MAX = 1 << 20,
    LOOKUP_TEXT_MAX = 1 << 30, /* of a file */
    LOOKUP_PADDING = 64        /* readable bytes behind each row of a table */
};

struct lookup_builder;
struct lookup_table;

struct lookup_builder *lookup_builder_new(void);
void lookup_builder_free(struct lookup_builder *builder);

/* Sets the row of `key`, in the place of an earlier one; value.ptr NULL removes it (the tombstone of a table stream).
 * Copies both. Errors: LIMIT, and nothing has changed. */
ATTR_NODISCARD enum err lookup_builder_put(struct lookup_builder *builder, struct str key,
                                           struct str value, struct err_info *info);

/* Adds the rows of a file: "json", one object a line, or "csv", whose first line names the fields; its rows become
 * objects whose values are all strings (the operator reads them as its fields want). Blank lines are skipped.
 *   file       named in errors
 *   key_field  the field whose value (a string, or an integer as decimal text) is the row's key
 * Errors: PARSE ("file:line: what"), LIMIT. Rows before the bad one stay. */
ATTR_NODISCARD enum err lookup_builder_add_text(struct lookup_builder *builder, struct str file,
                                                struct str format, struct str key_field,
                                                struct str text, struct err_info *info);

int64_t lookup_builder_count(const struct lookup_builder *builder);

/* A snapshot, with one reference. Cost: O(rows). */
struct lookup_table *lookup_table_new(const struct lookup_builder *builder);
struct lookup_table *lookup_table_ref(struct lookup_table *table);
void lookup_table_unref(struct lookup_table *table);

/* The row of `key`; ptr NULL: none. LOOKUP_PADDING bytes behind it are readable. */
struct str lookup_table_find(const struct lookup_table *table, uint64_t hash, struct str key);

int64_t lookup_table_count(const struct lookup_table *table);

#endif
