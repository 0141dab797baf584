// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_FORECAST_H
#define BENCH_FORECAST_H

#include "base/clock.h"
#include "base/err.h"

/* Speed of the forecaster on one series, one thread, CPU time of the thread. tools/bench_forecast runs the same tasks with R,
 * Prophet and statsmodels beside it and tells the ratios. */

enum { FORECAST_REPEATS_MAX = 100 };

struct forecast_timing {
    const char *name; /* of the task; its reference has the same in tools/bench_forecast.R */
    int n;            /* values fitted */
    double best_s, median_s, worst_s; /* of one fit, forecast, step */
    double bound_s;                   /* what the median is held against; 0: nothing */
};

int forecast_task_count(void);
const char *forecast_task_name(int task);

/* Times one task on the last n of y[count] (positive values; fitted on their logarithms, as the references are).
 * Errors: INVALID (n > count, or what the model says). */
ATTR_NODISCARD enum err forecast_time(int task, const double *y, int count, int n, double start_s,
                                      double step_s, int repeats, const struct clock *clock,
                                      struct forecast_timing *ret_timing, struct err_info *info);

#endif
