// SPDX-License-Identifier: Apache-2.0
#ifndef APP_BACKTEST_PLOT_H
#define APP_BACKTEST_PLOT_H

#include "base/err.h"
#include "prm/backtest.h"

/* What was replayed as SVG: lines of the load and of the serving lanes of each policy over the time up to `end_ms` (since
 * 1970). `load` and each plot have BACKTEST_PLOT values. Errors: IO (the file cannot be written). */
ATTR_NODISCARD enum err backtest_plot(const char *file, int64_t end_ms, const float *load,
                                      const struct backtest_result *results, int count,
                                      struct err_info *info);

#endif
