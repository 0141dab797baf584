// SPDX-License-Identifier: Apache-2.0
#ifndef FORECAST_ACCURACY_H
#define FORECAST_ACCURACY_H

/* How far forecasts were off. Source: Hyndman and Koehler 2006; R forecast::accuracy. */
struct accuracy {
    double me, rmse, mae; /* of truth - forecast */
    double mpe, mape;     /* in percent of the truth */
    double mase;          /* mae in units of the training series' mean seasonal step */
    double acf1;          /* autocorrelation of the errors at lag 1 */
    double theil_u;       /* relative to repeating the last value */
};

/* Measures of mean[h] against truth[h], h >= 2, all finite; train[n] with its season m, 1 <= m < n. */
struct accuracy accuracy_of(const double *train, int n, int m, const double *mean,
                            const double *truth, int h);

#endif
