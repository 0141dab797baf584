// SPDX-License-Identifier: Apache-2.0
#include "forecast/accuracy.h"

#include <math.h>

struct accuracy accuracy_of(const double *train, int n, int m, const double *mean,
                            const double *truth, int h)
{
    struct accuracy a = {0};
    double scale = 0, squares = 0, product = 0, miss = 0, change = 0;
    for (int i = m; i < n; i++) {
        scale += fabs(train[i] - train[i - m]) / (n - m);
    }
    for (int i = 0; i < h; i++) {
        double e = truth[i] - mean[i];
        a.me += e / h;
        a.rmse += e * e / h;
        a.mae += fabs(e) / h;
        a.mpe += 100 * e / truth[i] / h;
        a.mape += 100 * fabs(e / truth[i]) / h;
    }
    for (int i = 0; i < h; i++) {
        double e = truth[i] - mean[i] - a.me;
        squares += e * e;
        if (i > 0) {
            product += e * (truth[i - 1] - mean[i - 1] - a.me);
            miss += pow((mean[i] - truth[i]) / truth[i - 1], 2);
            change += pow(truth[i] / truth[i - 1] - 1, 2);
        }
    }
    a.rmse = sqrt(a.rmse);
    a.mase = a.mae / scale;
    a.acf1 = product / squares;
    a.theil_u = sqrt(miss / change);
    return a;
}
