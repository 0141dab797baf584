// SPDX-License-Identifier: Apache-2.0
#ifndef APP_FORECAST_PLOT_H
#define APP_FORECAST_PLOT_H

#include "base/err.h"
#include "forecast/models.h"

/* Forecasts as fan charts: what was seen, a band between each pair of levels q and 1 - q, a line for the middle level, dashed
 * lines for levels without a partner. */

enum { FORECAST_PANELS_MAX = 12 };

struct fan {
    const struct series *series; /* values before the forecast; more may stand behind them */
    int h, count;
    const double *q;   /* [count] levels */
    const double *out; /* [h][count] as model_forecast writes it */
    int known;         /* values of the series that are seen: n, or more where the truth is there */
    const char *caption; /* above the panel; "" for none */
};

/* One forecast and the values before it. Errors: IO (the file cannot be written). */
ATTR_NODISCARD enum err forecast_plot(const char *file, const char *title, const struct fan *fan,
                                      struct err_info *info);

/* Several, a panel each, in rows of three; count 1..FORECAST_PANELS_MAX. Errors: IO. */
ATTR_NODISCARD enum err forecast_plot_panels(const char *file, const char *title,
                                             const struct fan *fans, int count,
                                             struct err_info *info);

#endif
