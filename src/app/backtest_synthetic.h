// SPDX-License-Identifier: Apache-2.0
#ifndef APP_BACKTEST_SYNTHETIC_H
#define APP_BACKTEST_SYNTHETIC_H

#include "app/cli.h"
#include "base/err.h"

/* `backtest --synthetic PARTSxNODES`: how long a decision takes on such a cluster, and how good its plan is. */
ATTR_NODISCARD enum err backtest_synthetic(const struct cli *cli, struct err_info *info);

#endif
