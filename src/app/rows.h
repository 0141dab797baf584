// SPDX-License-Identifier: Apache-2.0
#ifndef APP_ROWS_H
#define APP_ROWS_H

#include "app/cli.h"
#include "base/str.h"
#include "control/entity.h"

/* Prints what the API answered: as it came (-o json), or as columns of the entity's field table (-o table, csv). Tables
 * have the fields that the entity shows, CSV has all; what is not known is '-' or empty.
 *   answer   a list {"items": [...]} or one row
 * Errors: PARSE (no such JSON). */
ATTR_NODISCARD enum err rows_print(const struct cli *cli, const struct entity *entity,
                                   struct str answer, struct err_info *info);

/* The table alone, to any file. */
ATTR_NODISCARD enum err rows_print_table(FILE *to, const struct entity *entity, struct str answer,
                                         struct err_info *info);

#endif
