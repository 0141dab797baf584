// SPDX-License-Identifier: Apache-2.0
#ifndef APP_FORECAST_PLOT_H
#define APP_FORECAST_PLOT_H

#include "base/err.h"
#include "forecast/models.h"

/* A forecast as a fan chart: the series' last values, then bands between the outermost pairs of levels and a line for the
 * middle one. out[h][count] as model_forecast writes it. Errors: IO (the file cannot be written). */
ATTR_NODISCARD enum err forecast_plot(const char *file, const struct series *series, int h,
                                      const double *q, int count, const double *out,
                                      struct err_info *info);

#endif
