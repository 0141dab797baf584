// SPDX-License-Identifier: Apache-2.0
#ifndef PIPELINE_TIME_TEXT_H
#define PIPELINE_TIME_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Times as text: RFC 3339 and a small strftime. Years 0000..9999, UTC, milliseconds; no time zones but offsets. */

#ifdef __cplusplus
extern "C" {
#endif

enum { TIME_TEXT_MAX = 32, TIME_FORMAT_MAX = 128 };

/* 0000-01-01T00:00:00.000Z .. 9999-12-31T23:59:59.999Z in ms since 1970: the times that have a text. */
#define TIME_TEXT_MIN_MS (-62167219200000LL)
#define TIME_TEXT_MAX_MS 253402300799999LL

/* "2026-11-24T23:05:00.5+01:00", also with a blank for the T and lower-case t and z; digits below the millisecond are
 * cut. A leap second (:60) is refused. */
bool time_parse_rfc3339(struct str text, int64_t *ret_ms);

/* What a time field of type text may hold: RFC 3339, or a whole number of ms since 1970 in decimal, without leading zeros, at
 * most 15 digits. */
bool time_parse_field(struct str text, int64_t *ret_ms);

/* "2026-11-24T23:05:00Z", with ".123" if there are milliseconds; returns the length, 0 if `ms` is outside the years. */
int32_t time_write_rfc3339(int64_t ms, char out[TIME_TEXT_MAX]);

/* Formats: %Y %m %d %H %M %S %L (milliseconds, three digits) %j (day of the year) %s (seconds since 1970) %z (writes
 * +0000; reads +hhmm, +hh:mm, Z) %% and plain characters. False: something else stands in it, or it is longer than
 * TIME_FORMAT_MAX. */
bool time_format_valid(struct str format);

/* Reads `text` by `format`; what the format does not name is 1970-01-01T00:00:00.000. All of the text must be used. */
bool time_parse_format(struct str text, struct str format, int64_t *ret_ms);

/* Writes by a valid format; returns the length, 0 if `ms` is outside the years or it does not fit `cap`. */
int32_t time_write_format(int64_t ms, struct str format, char *out, int32_t cap);

#ifdef __cplusplus
}
#endif

#endif
