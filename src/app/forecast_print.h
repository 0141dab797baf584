// SPDX-License-Identifier: Apache-2.0
#ifndef APP_FORECAST_PRINT_H
#define APP_FORECAST_PRINT_H

#include "forecast/online.h"

/* What `shadowcast forecast file` prints. */

struct forecast_result {
    const struct series *series;
    int64_t end_ms, step_ms; /* time of the last value since 1970; between values */
    const char *model;
    int h, count;
    const double *q, *out; /* [count] levels; [h][count] */
    const struct online_report
        *report; /* of the automatic choice; NULL for a model that was named */
};

/* The forecast to standard output: "table", "csv" or "json". */
void forecast_print(const struct forecast_result *result, const char *format);

/* What the automatic choice rests on, to standard error: which models, and how far off they were. */
void forecast_tell(const struct forecast_result *result);

/* JSON of one point of the horizon without its braces: what is chosen there and how far off it has been. */
void forecast_print_point(const struct online_point *point);

#endif
