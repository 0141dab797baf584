// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_FITTED_PRIV_H
#define FORECAST_FITTED_PRIV_H

#include "forecast/fitted.h"

/* Times of `rows` steps from step `from`, in `arena`. */
double *fitted_times(const struct fitted *fit, int from, int rows, struct arena *arena);

/* What the holidays are at those times, rows[rows][columns] in `arena`; NULL without holidays. */
double *fitted_holiday_rows(const struct fitted *fit, const double *time_s, int rows,
                            struct arena *arena);

/* The same at one time, in `row`. */
const double *fitted_holiday_row(const struct fitted *fit, double time_s,
                                 double row[HOLIDAY_COLUMNS_MAX]);

/* The models that learn from every value, and Prophet with AR: fit, update, forecast, as in fitted.h. */
bool fitted_is_more(enum model model);
enum err fitted_more_fit(struct fitted *fit, const double *y, int n, const struct fit_how *how,
                         struct arena *arena, struct err_info *info) ATTR_NODISCARD;
void fitted_more_copy(const struct fitted *from, struct arena *arena, struct fitted *ret);
void fitted_more_update(struct fitted *fit, double y);
enum err fitted_more_forecast(const struct fitted *fit, int h, struct arena *arena,
                              struct forecast *ret, struct err_info *info) ATTR_NODISCARD;

#endif
