// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_HOLIDAYS_H
#define FORECAST_HOLIDAYS_H

#include "forecast/forecast.h"

/* Days that are not like others, by name: each name has an effect of its own on the day itself and on each day of the window
 * around it, alike whenever it comes. As Prophet has them: one column of 0 and 1 for each (name, offset), whole days UTC. */

enum {
    HOLIDAY_NAME_MAX = 63,
    HOLIDAYS_MAX = 4096,
    HOLIDAY_COLUMNS_MAX = 40,
    HOLIDAY_WINDOW_MAX = 30
};

struct holiday {
    char name[HOLIDAY_NAME_MAX + 1];
    int64_t day;      /* days since 1970 */
    int lower, upper; /* window in days: lower <= 0 <= upper, -30..30 */
    double prior;     /* sd of the effect's prior, > 0, the same for all of a name */
};

/* Calendar in use; memory in the arena of holidays_prepare. */
struct holidays {
    int column_count;
    double prior[HOLIDAY_COLUMNS_MAX];
    int mark_count;
    struct holiday_mark *mark; /* [mark_count] ascending by day */
};

struct holiday_mark {
    int64_t day;
    int column;
};

/* From item[count] in any order.
 * Errors: INVALID (a window or prior out of range, two priors of one name), LIMIT (more than HOLIDAY_COLUMNS_MAX columns). */
enum err holidays_prepare(const struct holiday *item, int count, struct arena *arena,
                          struct holidays *ret, struct err_info *info) ATTR_NODISCARD;

/* row[column_count] of 0 and 1 for a time in seconds since 1970. Cost: O(log marks + columns). */
void holidays_row(const struct holidays *holidays, double time_s, double *row);

#endif
