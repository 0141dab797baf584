// SPDX-License-Identifier: Apache-2.0
#ifndef LOAD_TRACE_H
#define LOAD_TRACE_H

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* A recorded load: CSV with the header `timestamp,value`, a row a grid point, time stamps ISO 8601 in UTC, constant step;
 * an empty value means that nothing was observed there. */

enum { TRACE_POINTS_MAX = 4 << 20 };

struct trace {
    int32_t count;    /* >= 2 */
    int64_t start_ms; /* since 1970, of the first point */
    int64_t step_ms;  /* > 0, the same between all points */
    double *values;   /* [count] finite, >= 0 of a load; NaN: not observed */
};

/* Reads a trace; values live in `arena`.
 *   file   named in errors
 * Errors: PARSE, LIMIT (fewer than 2 or more than TRACE_POINTS_MAX points); text "file:row:column: ...". */
ATTR_NODISCARD enum err trace_parse(struct arena *arena, const char *file, struct str text,
                                    struct trace *ret_trace, struct err_info *info);

/* The same for a series that is no load: values may be negative. */
ATTR_NODISCARD enum err trace_parse_series(struct arena *arena, const char *file, struct str text,
                                           struct trace *ret_trace, struct err_info *info);

/* "2018-04-25T00:00:00Z" (also with a blank for the T, without Z, with fractions of a second) to ms since 1970. False if it
 * is none. Proleptic Gregorian calendar; source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
bool trace_time_parse(struct str text, int64_t *ret_ms);

#endif
