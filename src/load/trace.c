// SPDX-License-Identifier: Apache-2.0
#include "load/trace.h"

#include <math.h>
#include <stdlib.h>

#include "base/check.h"

static bool digits(struct str text, ptrdiff_t at, ptrdiff_t count, int64_t *ret_value)
{
    if (at + count > text.len) {
        return false;
    }
    int64_t value = 0;
    for (ptrdiff_t i = at; i < at + count; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        value = value * 10 + (text.ptr[i] - '0');
    }
    *ret_value = value;
    return true;
}

static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* ".123456" or nothing, then "Z" or nothing, then the end. */
static bool time_tail(struct str tail, int64_t *ret_ms)
{
    int64_t ms = 0;
    if (tail.len > 0 && tail.ptr[0] == '.') {
        ptrdiff_t i = 1;
        for (int64_t unit = 100; i < tail.len && tail.ptr[i] >= '0' && tail.ptr[i] <= '9'; i++) {
            ms += unit * (tail.ptr[i] - '0');
            unit /= 10;
        }
        if (i == 1) {
            return false;
        }
        tail = (struct str){tail.ptr + i, tail.len - i};
    }
    *ret_ms = ms;
    return tail.len == 0 || str_is(tail, "Z");
}

bool trace_time_parse(struct str text, int64_t *ret_ms)
{
    static const int64_t days_in_month[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    int64_t hour = 0;
    int64_t minute = 0;
    int64_t second = 0;
    int64_t ms = 0;
    bool shaped = text.len >= 19 && digits(text, 0, 4, &year) && text.ptr[4] == '-' &&
                  digits(text, 5, 2, &month) && text.ptr[7] == '-' && digits(text, 8, 2, &day) &&
                  (text.ptr[10] == 'T' || text.ptr[10] == ' ') && digits(text, 11, 2, &hour) &&
                  text.ptr[13] == ':' && digits(text, 14, 2, &minute) && text.ptr[16] == ':' &&
                  digits(text, 17, 2, &second) &&
                  time_tail((struct str){text.ptr + 19, text.len - 19}, &ms);
    if (!shaped || month < 1 || month > 12 || day < 1 || day > days_in_month[month - 1] ||
        hour > 23 || minute > 59 || second > 59) {
        return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month == 2 && day == 29 && !leap) {
        return false;
    }
    int64_t days = days_since_1970(year, month, day);
    *ret_ms = ((days * 24 + hour) * 60 + minute) * 60000 + second * 1000 + ms;
    return true;
}

/* An empty text is NaN: not observed. */
static bool value_parse(struct str text, double *ret_value)
{
    char buf[64];
    if (text.len == 0) {
        *ret_value = NAN;
        return true;
    }
    if (text.len >= (ptrdiff_t)sizeof(buf)) {
        return false;
    }
    memcpy(buf, text.ptr, (size_t)text.len);
    buf[text.len] = 0;
    char *end = NULL;
    double value = strtod(buf, &end);
    *ret_value = value;
    return *end == 0 && isfinite(value);
}

struct trace_row {
    int64_t time_ms;
    double value;
};

/* A file in work: `least` is the least value that it may hold. */
struct trace_file {
    const char *name;
    double least;
};

static enum err row_parse(const struct trace_file *file, int32_t row, struct str line,
                          struct trace_row *ret_row, struct err_info *info)
{
    struct str rest = line;
    struct str time = str_trim(str_cut(&rest, ','));
    if (!trace_time_parse(time, &ret_row->time_ms)) {
        return err_set(info, ERR_PARSE,
                       "%s:%d:1: '%.*s' is no time stamp; write it as 2018-04-25T00:00:00Z",
                       file->name, row, (int)(time.len < 40 ? time.len : 40), time.ptr);
    }
    struct str value = str_trim(rest);
    if (rest.ptr == NULL) {
        return err_set(info, ERR_PARSE,
                       "%s:%d:%td: the row has no second column; write ',' behind the time, and "
                       "nothing after it where none was observed",
                       file->name, row, time.len + 2);
    }
    if (!value_parse(value, &ret_row->value) || ret_row->value < file->least) {
        return err_set(info, ERR_PARSE,
                       "%s:%d:%td: '%.*s' is no value; write a number%s, or nothing where none "
                       "was observed",
                       file->name, row, time.len + 2, (int)(value.len < 40 ? value.len : 40),
                       value.ptr, isfinite(file->least) ? " >= 0" : "");
    }
    return ERR_OK;
}

/* Checks that `time_ms` is where the grid wants point `index`; the second point makes the grid. */
static enum err grid_check(struct trace *trace, const char *file, int32_t row, int64_t time_ms,
                           struct err_info *info)
{
    if (trace->count == 0) {
        trace->start_ms = time_ms;
    } else if (trace->count == 1) {
        trace->step_ms = time_ms - trace->start_ms;
    }
    if (trace->count > 0 && time_ms <= trace->start_ms + (trace->count - 1) * trace->step_ms) {
        return err_set(info, ERR_PARSE,
                       "%s:%d:1: time does not increase; sort the rows, each time once", file, row);
    }
    if (time_ms != trace->start_ms + trace->count * trace->step_ms) {
        return err_set(
            info, ERR_PARSE,
            "%s:%d:1: the step is %lld ms, but this row is %lld ms after the first; keep "
            "rows without a value instead of leaving them out",
            file, row, (long long)trace->step_ms, (long long)(time_ms - trace->start_ms));
    }
    return ERR_OK;
}

static int32_t lines_in(struct str text)
{
    int64_t lines = 1;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        lines += text.ptr[i] == '\n';
    }
    return lines > TRACE_POINTS_MAX + 2 ? TRACE_POINTS_MAX + 2 : (int32_t)lines;
}

static enum err parse(struct arena *arena, const struct trace_file *file, struct str text,
                      struct trace *ret_trace, struct err_info *info)
{
    struct str rest = text;
    struct str header = str_trim(str_cut(&rest, '\n'));
    if (!str_is(header, "timestamp,value")) {
        return err_set(info, ERR_PARSE, "%s:1:1: the first line must be 'timestamp,value'",
                       file->name);
    }
    int32_t cap = lines_in(text);
    struct trace trace = {.values = ARENA_NEW_ARRAY(arena, double, cap)};
    for (int32_t row = 2; rest.len > 0; row++) {
        struct str line = str_trim(str_cut(&rest, '\n'));
        struct trace_row parsed = {0};
        if (line.len == 0 && str_trim(rest).len == 0) {
            break;
        }
        enum err err = trace.count < TRACE_POINTS_MAX
                           ? row_parse(file, row, line, &parsed, info)
                           : err_set(info, ERR_LIMIT, "%s:%d:1: more than %d points", file->name,
                                     row, TRACE_POINTS_MAX);
        if (err == ERR_OK) {
            err = grid_check(&trace, file->name, row, parsed.time_ms, info);
        }
        if (err != ERR_OK) {
            return err;
        }
        trace.values[trace.count++] = parsed.value;
    }
    if (trace.count < 2) {
        return err_set(info, ERR_LIMIT, "%s: a trace needs two points at least", file->name);
    }
    *ret_trace = trace;
    return ERR_OK;
}

enum err trace_parse(struct arena *arena, const char *file, struct str text,
                     struct trace *ret_trace, struct err_info *info)
{
    const struct trace_file load = {file, 0};
    return parse(arena, &load, text, ret_trace, info);
}

enum err trace_parse_series(struct arena *arena, const char *file, struct str text,
                            struct trace *ret_trace, struct err_info *info)
{
    const struct trace_file series = {file, -INFINITY};
    return parse(arena, &series, text, ret_trace, info);
}
