// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_STL_PRIV_H
#define FORECAST_STL_PRIV_H

#include "forecast/stl.h"

enum { STL_ROBUST_ROUNDS = 15 };

/* stl_split with the ranks (0-based, from below) of the two absolute residuals whose mean is each round's median; NULL: not
 * robust. Only a test asks for others than the middle ones: docs/forecasting.md tells why. */
enum err stl_split_ranked(const double *y, int n, int m, int season_window, int (*ranks)[2],
                          struct arena *arena, struct stl *ret,
                          struct err_info *info) ATTR_NODISCARD;

#endif
