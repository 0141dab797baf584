// SPDX-License-Identifier: Apache-2.0
// Holidays are taken off the samples as they come in and put back on the forecasts, so that every member has them, whatever it
// is made of. A holiday's effect is what its past days had beside the same days of the weeks around.

#include <math.h>
#include <string.h>

#include "forecast/num.h"
#include "forecast/online_priv.h"

enum { DAY_S = 86400 };

/* A holiday is never taken for less than this share of a usual day, closed or not: the next one may not be, and what it had can
 * still be told from what is left of it. */
static const double SHARE_MIN = 0.05;

/* The samples in sight without any holiday's effect, and which holidays they lie on. */
struct days {
    const struct online *online;
    long first;
    int n, day, week;  /* samples; steps of a day and of a week */
    double *y;         /* [n] */
    const bool *marks; /* [n][columns] */
    const bool *any;   /* [n] */
};

double online_time(const struct online *online, long index)
{
    return online->spec.start_s + (double)index * online->spec.step_s;
}

/* Takes the effects off (sign -1) or puts them on (1). */
static double apply(const struct online *online, long index, double y, int sign)
{
    const struct holidays *holidays = online->spec.holidays;
    double row[HOLIDAY_COLUMNS_MAX];
    if (holidays == NULL || !online->holidays_known) {
        return y;
    }
    holidays_row(holidays, online_time(online, index), row);
    for (int j = 0; j < holidays->column_count; j++) {
        double effect = online->holiday[j];
        if (row[j] > 0 && online->holidays_scale) {
            y = sign > 0 ? y * effect : y / effect;
        } else if (row[j] > 0) {
            y += sign * effect;
        }
    }
    return y;
}

double online_less_holidays(const struct online *online, long index, double y)
{
    return apply(online, index, y, -1);
}

double online_with_holidays(const struct online *online, long index, double level)
{
    return apply(online, index, level, 1);
}

/* What sample i would be on a usual day: the mean of the same time a week before and after, or two weeks, or a day; NaN
 * where those are missing or holidays, too. */
static double usual(const struct days *d, int i)
{
    const int lags[] = {d->week, 2 * d->week, d->day};
    for (int k = 0; k < COUNT_OF(lags); k++) {
        double sum = 0;
        int count = 0;
        for (int side = -1; side <= 1; side += 2) {
            int at = i + side * lags[k];
            if (at >= 0 && at < d->n && !d->any[at] && isfinite(d->y[at])) {
                sum += d->y[at];
                count++;
            }
        }
        if (count > 0) {
            return sum / count;
        }
    }
    return NUM_NAN;
}

/* Sums over some samples of one kind of day. */
struct beside {
    double own, usual;
    int count, days;
    int64_t last_day;
};

static void add_sample(const struct days *d, int i, struct beside *sum)
{
    double own = d->y[i], expected = usual(d, i);
    if (!isfinite(own - expected)) {
        return;
    }
    int64_t day = (int64_t)floor(online_time(d->online, d->first + i) / DAY_S);
    sum->days += sum->count == 0 || day != sum->last_day;
    sum->last_day = day;
    sum->own += own;
    sum->usual += expected;
    sum->count++;
}

/* How far off the usual: the logarithm of the ratio, or the mean difference. NaN where it cannot be said. */
static double departure(const struct beside *sum, bool scale)
{
    if (sum->count == 0) {
        return NUM_NAN;
    }
    if (!scale) {
        return (sum->own - sum->usual) / sum->count;
    }
    return sum->usual > 0 ? log(fmax(sum->own / sum->usual, SHARE_MIN)) : NUM_NAN;
}

/* Mean square of how far off ordinary days are: what a departure of a holiday is held against. */
static double ordinary_variance(const struct days *d, bool scale)
{
    double squares = 0;
    int days = 0;
    for (int from = 0; from < d->n; from += d->day) {
        struct beside sum = {0};
        for (int i = from; i < from + d->day && i < d->n; i++) {
            if (!d->any[i]) {
                add_sample(d, i, &sum);
            }
        }
        double off = departure(&sum, scale);
        if (isfinite(off)) {
            squares += off * off;
            days++;
        }
    }
    return days > 0 ? squares / days : 0;
}

/* Effect of column j from its days, shrunk by what so few of them can tell (James and Stein 1961); the samples are then
 * without it. The effect that is there stays where none of its days can be seen. */
static void learn_column(struct online *online, const struct days *d, int j, double variance)
{
    int columns = online->spec.holidays->column_count;
    struct beside sum = {0};
    for (int i = 0; i < d->n; i++) {
        if (d->marks[(long)i * columns + j]) {
            add_sample(d, i, &sum);
        }
    }
    double off = departure(&sum, online->holidays_scale);
    if (isfinite(off)) {
        double error2 = variance / sum.days;
        off *= off * off > error2 ? 1 - error2 / (off * off) : 0;
        online->holiday[j] = online->holidays_scale ? exp(off) : off;
    }
    for (int i = 0; i < d->n; i++) {
        if (d->marks[(long)i * columns + j]) {
            d->y[i] = online->holidays_scale ? d->y[i] / online->holiday[j]
                                             : d->y[i] - online->holiday[j];
        }
    }
}

void online_learn_holidays(struct online *online, struct arena *scratch)
{
    const struct holidays *holidays = online->spec.holidays;
    if (holidays == NULL || holidays->column_count == 0) {
        return;
    }
    struct arena_mark mark = arena_mark(scratch);
    int columns = holidays->column_count;
    struct days d = {.online = online, .first = online_sight(online)};
    d.n = (int)(online->seen - d.first);
    d.day = (int)fmax(1, round(DAY_S / online->spec.step_s));
    d.week = (int)fmax(1, round(7 * DAY_S / online->spec.step_s));
    d.y = ARENA_NEW_ARRAY(scratch, double, d.n + 1);
    bool *marks = ARENA_NEW_ARRAY(scratch, bool, (long)d.n *columns + 1);
    bool *any = ARENA_NEW_ARRAY(scratch, bool, d.n + 1);
    for (int i = 0; i < d.n; i++) {
        double row[HOLIDAY_COLUMNS_MAX];
        holidays_row(holidays, online_time(online, d.first + i), row);
        for (int j = 0; j < columns; j++) {
            marks[(long)i * columns + j] = row[j] > 0;
            any[i] = any[i] || row[j] > 0;
        }
        d.y[i] = online_with_holidays(online, d.first + i, online_at(online, d.first + i));
    }
    d.marks = marks;
    d.any = any;
    bool scale = online->least >= 0;
    if (!online->holidays_known || scale != online->holidays_scale) {
        for (int j = 0; j < columns; j++) {
            online->holiday[j] = scale ? 1 : 0;
        }
    }
    online->holidays_scale = scale;
    double variance = ordinary_variance(&d, scale);
    for (int j = 0; j < columns; j++) {
        learn_column(online, &d, j, variance);
    }
    online->holidays_known = true;
    for (int i = 0; i < d.n; i++) {
        online->history[(d.first + i) % online->spec.history] = d.y[i];
    }
    arena_rewind(scratch, mark);
}
