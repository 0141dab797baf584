// SPDX-License-Identifier: Apache-2.0
#ifndef APP_BACKTEST_PLOT_H
#define APP_BACKTEST_PLOT_H

#include "base/err.h"
#include "prm/backtest.h"

/* What was replayed as SVG: the load as an area, a line of serving lanes for each policy. `load` and each plot have
 * BACKTEST_PLOT values. Errors: IO (the file cannot be written). */
ATTR_NODISCARD enum err backtest_plot(const char *file, const float *load,
                                      const struct backtest_result *results, int count,
                                      struct err_info *info);

#endif
