// SPDX-License-Identifier: Apache-2.0
#include "forecast/holidays.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A column in the making: what it stands for. */
struct column {
    const char *name;
    int offset;
};

static enum err check(const struct holiday *item, int count, struct err_info *info)
{
    for (int i = 0; i < count; i++) {
        const struct holiday *h = &item[i];
        if (h->lower > 0 || h->lower < -HOLIDAY_WINDOW_MAX || h->upper < 0 ||
            h->upper > HOLIDAY_WINDOW_MAX) {
            return err_set(info, ERR_INVALID, "'%s': a window of %d to %d days; -%d..0 to 0..%d",
                           h->name, h->lower, h->upper, HOLIDAY_WINDOW_MAX, HOLIDAY_WINDOW_MAX);
        }
        if (!(h->prior > 0) || !isfinite(h->prior)) {
            return err_set(info, ERR_INVALID, "'%s': a prior of %g; it must be above 0", h->name,
                           h->prior);
        }
    }
    return ERR_OK;
}

/* Column of a name and offset, made if it is new; -1: there is no room. */
static int column_of(struct column *column, struct holidays *ret, const struct holiday *h,
                     int offset)
{
    for (int j = 0; j < ret->column_count; j++) {
        if (column[j].offset == offset && strcmp(column[j].name, h->name) == 0) {
            return j;
        }
    }
    if (ret->column_count == HOLIDAY_COLUMNS_MAX) {
        return -1;
    }
    column[ret->column_count] = (struct column){h->name, offset};
    ret->prior[ret->column_count] = h->prior;
    return ret->column_count++;
}

static int by_day(const void *a, const void *b)
{
    const struct holiday_mark *x = a, *y = b;
    if (x->day != y->day) {
        return x->day < y->day ? -1 : 1;
    }
    return x->column - y->column;
}

enum err holidays_prepare(const struct holiday *item, int count, struct arena *arena,
                          struct holidays *ret, struct err_info *info)
{
    struct column *column = ARENA_NEW_ARRAY(arena, struct column, HOLIDAY_COLUMNS_MAX);
    *ret = (struct holidays){0};
    enum err err = count >= 0 && count <= HOLIDAYS_MAX
                       ? check(item, count, info)
                       : err_set(info, ERR_LIMIT, "%d holidays; most are %d", count, HOLIDAYS_MAX);
    if (err != ERR_OK) {
        return err;
    }
    long marks = 0;
    for (int i = 0; i < count; i++) {
        marks += item[i].upper - item[i].lower + 1;
    }
    ret->mark = ARENA_NEW_ARRAY(arena, struct holiday_mark, marks + 1);
    for (int i = 0; i < count; i++) {
        for (int offset = item[i].lower; offset <= item[i].upper; offset++) {
            int j = column_of(column, ret, &item[i], offset);
            if (j < 0) {
                return err_set(info, ERR_LIMIT,
                               "more than %d effects of holidays (names x days of their windows)",
                               HOLIDAY_COLUMNS_MAX);
            }
            if (fabs(ret->prior[j] - item[i].prior) > 1e-12 * item[i].prior) {
                return err_set(info, ERR_INVALID, "'%s' has two priors, %g and %g", item[i].name,
                               ret->prior[j], item[i].prior);
            }
            ret->mark[ret->mark_count++] = (struct holiday_mark){item[i].day + offset, j};
        }
    }
    qsort(ret->mark, (size_t)ret->mark_count, sizeof(struct holiday_mark), by_day);
    return ERR_OK;
}

void holidays_row(const struct holidays *holidays, double time_s, double *row)
{
    int64_t day = (int64_t)floor(time_s / 86400);
    int low = 0, high = holidays->mark_count;
    for (int j = 0; j < holidays->column_count; j++) {
        row[j] = 0;
    }
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (holidays->mark[middle].day < day) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < holidays->mark_count && holidays->mark[low].day == day; low++) {
        row[holidays->mark[low].column] = 1;
    }
}
