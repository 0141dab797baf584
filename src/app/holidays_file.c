// SPDX-License-Identifier: Apache-2.0
#include "app/holidays_file.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "pipeline/time_text.h"

enum { FIELDS_MAX = 5, SHOWN = 40 };

static_assert(HOLIDAY_WINDOW_MAX == 30, "what is wanted says so in words");

static const double PRIOR = 10;

static const char *const headers[] = {"ds,holiday", "ds,holiday,lower_window,upper_window",
                                      "ds,holiday,lower_window,upper_window,prior_scale"};
static const int header_fields[] = {2, 4, 5};

struct field {
    struct str text;
    int column; /* 1-based, of its first byte in the line */
};

/* The line's fields; more than FIELDS_MAX are counted, not kept. */
static int fields_of(struct str line, struct field field[FIELDS_MAX])
{
    struct str rest = line;
    int count = 0;
    while (rest.ptr != NULL) {
        int column = (int)(rest.ptr - line.ptr) + 1;
        struct str text = str_trim(str_cut(&rest, ','));
        if (count < FIELDS_MAX) {
            field[count] = (struct field){text, column};
        }
        count++;
    }
    return count;
}

static bool number_of(struct str text, double *ret_value)
{
    char buf[32], *end = NULL;
    if (text.len == 0 || text.len >= (ptrdiff_t)sizeof buf) {
        return false;
    }
    memcpy(buf, text.ptr, (size_t)text.len);
    buf[text.len] = 0;
    *ret_value = strtod(buf, &end);
    return *end == 0 && isfinite(*ret_value);
}

static bool days_of(struct str text, int *ret_days)
{
    double value;
    if (!number_of(text, &value) || fabs(value) > 1000 || fabs(value - round(value)) > 0) {
        return false;
    }
    *ret_days = (int)value;
    return true;
}

/* Reads field number `i` of a row into `ret`; false if it is not what it must be. */
static bool field_read(const struct field *field, int i, struct holiday *ret)
{
    int64_t ms;
    switch (i) {
    case 0:
        if (field->text.len != 10 || !time_parse_format(field->text, STR("%Y-%m-%d"), &ms)) {
            return false;
        }
        ret->day = ms >= 0 ? ms / 86400000 : -((86399999 - ms) / 86400000);
        return true;
    case 1:
        if (field->text.len < 1 || field->text.len > HOLIDAY_NAME_MAX) {
            return false;
        }
        memcpy(ret->name, field->text.ptr, (size_t)field->text.len);
        return true;
    case 2:
        return days_of(field->text, &ret->lower) && ret->lower <= 0 &&
               ret->lower >= -HOLIDAY_WINDOW_MAX;
    case 3:
        return days_of(field->text, &ret->upper) && ret->upper >= 0 &&
               ret->upper <= HOLIDAY_WINDOW_MAX;
    default:
        return number_of(field->text, &ret->prior) && ret->prior > 0;
    }
}

static enum err row_read(const char *file, int row, struct str line, int fields,
                         struct holiday *ret, struct err_info *info)
{
    static const char *const wanted[FIELDS_MAX] = {
        "a date, as 2026-12-25", "a name of 1 to 63 bytes", "a whole number of days from -30 to 0",
        "a whole number of days from 0 to 30", "a number above 0"};
    struct field field[FIELDS_MAX];
    int count = fields_of(line, field);
    *ret = (struct holiday){.prior = PRIOR};
    if (count != fields) {
        return err_set(info, ERR_PARSE, "%s:%d:1: %d fields where the header has %d", file, row,
                       count, fields);
    }
    for (int i = 0; i < fields; i++) {
        if (!field_read(&field[i], i, ret)) {
            struct str text = field[i].text;
            return err_set(info, ERR_PARSE, "%s:%d:%d: '%.*s' is not %s", file, row,
                           field[i].column, (int)(text.len < SHOWN ? text.len : SHOWN), text.ptr,
                           wanted[i]);
        }
    }
    return ERR_OK;
}

enum err holidays_parse(struct arena *arena, const char *file, struct str text,
                        struct holidays *ret_holidays, struct err_info *info)
{
    struct str rest = text, header = str_trim(str_cut(&rest, '\n'));
    int fields = 0, count = 0;
    for (int i = 0; i < COUNT_OF(headers); i++) {
        fields = str_is(header, headers[i]) ? header_fields[i] : fields;
    }
    if (fields == 0) {
        return err_set(info, ERR_PARSE, "%s:1:1: the first line must be '%s' or '%s'", file,
                       headers[0], headers[2]);
    }
    struct holiday *item = ARENA_NEW_ARRAY(arena, struct holiday, HOLIDAYS_MAX);
    for (int row = 2; rest.len > 0; row++) {
        struct str line = str_trim(str_cut(&rest, '\n'));
        if (line.len == 0 && str_trim(rest).len == 0) {
            break;
        }
        if (count == HOLIDAYS_MAX) {
            return err_set(info, ERR_LIMIT, "%s:%d:1: more than %d holidays", file, row,
                           HOLIDAYS_MAX);
        }
        enum err err = row_read(file, row, line, fields, &item[count++], info);
        if (err != ERR_OK) {
            return err;
        }
    }
    return holidays_prepare(item, count, arena, ret_holidays, info);
}
