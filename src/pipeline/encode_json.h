// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_ENCODE_JSON_H
#define PIPELINE_ENCODE_JSON_H

#include "pipeline/batch.h"

/* Writes the selected rows of `batch` as JSON objects: fields in the schema's order, i64 and time (ms since 1970) as
 * integers, f64 as the shortest text that reads back the same (not finite: null), str escaped (bytes that are no UTF-8 become
 * U+FFFD), null as null. The texts live in `arena`, each with JSON_PADDING readable bytes behind it.
 *   ret_value  [sel_count], in the order of the selection */
void encode_json_rows(const struct batch *batch, const struct schema *schema, struct arena *arena,
                      struct str *ret_value);

#endif
