// SPDX-License-Identifier: Apache-2.0
#ifndef APP_HOLIDAYS_FILE_H
#define APP_HOLIDAYS_FILE_H

#include "base/str.h"
#include "forecast/holidays.h"

/* Reads a calendar: CSV with the header `ds,holiday` or `ds,holiday,lower_window,upper_window` or with `,prior_scale` behind
 * that, as Prophet's data frame has them; ds is a date, 2026-12-25, whole days UTC. Windows left out are 0, priors 10.
 *   file   named in errors
 * Errors: PARSE (text "file:row:column: ..."), and holidays_prepare's. */
ATTR_NODISCARD enum err holidays_parse(struct arena *arena, const char *file, struct str text,
                                       struct holidays *ret_holidays, struct err_info *info);

#endif
