// SPDX-License-Identifier: Apache-2.0
#ifndef CONTROL_ROW_READ_H
#define CONTROL_ROW_READ_H

#include "control/request.h"

/* Rows back from what text_json_table() wrote, by the field tables. Fields that are not there any more are passed over, those
 * that are missing are as not known. Never trusts: another type than the field's is as not known.
 *   arena     the rows and their texts live in it
 * Errors: CORRUPT (no such JSON, an entity that is not known, more than ROWS_READ_MAX rows). */
enum { ROWS_READ_MAX = 20000 };

ATTR_NODISCARD enum err rows_read(struct str value, struct arena *arena,
                                  struct control_rows *ret_rows);

#endif
