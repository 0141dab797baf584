// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_ROW_CODEC_H
#define PIPELINE_ROW_CODEC_H

#include "pipeline/batch.h"

/* Rows of columns as bytes, for operators that keep rows or go by columns' values. Per column: u8 null, and if it is not:
 * bool 1 byte, numbers and times 8 bytes (native order: state never leaves the machine type it was written on), strings
 * u32 length and the bytes. Equal values give equal bytes (-0 is written as 0). */

ptrdiff_t row_bytes(const struct column *columns, int32_t count, int32_t row);

/* Writes row_bytes() bytes; returns their end. */
char *row_encode(char *out, const struct column *columns, int32_t count, int32_t row);

/* Reads into row `row` of columns that have null maps; strings are copied to `arena`. False if `bytes` does not hold
 * exactly these columns. */
bool row_decode(struct str bytes, struct column *columns, int32_t count, int32_t row,
                struct arena *arena);

#endif
