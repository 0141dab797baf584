// SPDX-License-Identifier: Apache-2.0
#ifndef APP_FORECAST_BACKTEST_H
#define APP_FORECAST_BACKTEST_H

#include "app/cli.h"
#include "forecast/models.h"

/* `shadowcast forecast file --backtest`: prints how far off each model would have been. Table and JSON have a row a model,
 * CSV a row a model and origin. Progress on a terminal's stderr.
 * Errors: INVALID, LIMIT (--origins, --train, or the series is too short for them). */
ATTR_NODISCARD enum err forecast_backtest(const struct cli *cli, const struct series *series, int h,
                                          const double *level, int level_count, struct arena *arena,
                                          struct err_info *info);

/* `shadowcast forecast file --online`: a fifth of the series (a week of 5 minutes at most) is history, the rest comes
 * sample by sample; prints errors and shares below each level by steps ahead. Errors: INVALID, LIMIT. */
ATTR_NODISCARD enum err forecast_online(const struct cli *cli, const struct series *series, int h,
                                        const double *level, int level_count, struct arena *arena,
                                        struct err_info *info);

#endif
