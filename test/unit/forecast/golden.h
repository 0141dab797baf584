// SPDX-License-Identifier: Apache-2.0
#ifndef TEST_FORECAST_GOLDEN_H
#define TEST_FORECAST_GOLDEN_H

#include <jansson.h>

#include "base/arena.h"
#include "forecast/forecast.h"

/* Reads testdata/forecast: one file is one case made by a reference program. */

struct golden {
    char name[80];
    json_t *root;
    struct arena arena; /* for the test's own use */
};

/* Opens NAME.json; a missing file fails a CHECK. */
void golden_open(struct golden *golden, const char *name);
void golden_close(struct golden *golden);

/* Array at a path such as "forecast.mean"; null is NaN; a single number is an array of one. Its length in `ret_n`. */
double *golden_array(struct golden *golden, const char *path, int *ret_n);

/* Number at a path; `missing` if it is not there or null. */
double golden_number(struct golden *golden, const char *path, double missing);
const char *golden_text(struct golden *golden, const char *path);
json_t *golden_at(struct golden *golden, const char *path);

/* Largest |a - b| over mean |b|, NaN counted as infinite. */
double golden_distance(const double *a, const double *b, int n);

/* The same for quantile q of a forecast against an array. */
double golden_quantile_distance(const struct forecast *forecast, double q, const double *b, int n);

#endif
