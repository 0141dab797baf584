// SPDX-License-Identifier: Apache-2.0
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "test.h"

void golden_open(struct golden *golden, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/forecast/%s.json", test_data_dir(), name);
    json_error_t error;
    snprintf(golden->name, sizeof golden->name, "%s", name);
    golden->root = json_load_file(path, 0, &error);
    CHECK_MSG(golden->root != NULL, "%s: %s", path, error.text);
    arena_init(&golden->arena, (ptrdiff_t)1 << 30);
}

void golden_close(struct golden *golden)
{
    json_decref(golden->root);
    arena_release(&golden->arena);
}

json_t *golden_at(struct golden *golden, const char *path)
{
    json_t *at = golden->root;
    while (at != NULL && *path != 0) {
        char key[64];
        size_t len = strcspn(path, ".");
        CHECK(len < sizeof key);
        memcpy(key, path, len);
        key[len] = 0;
        at = json_object_get(at, key);
        path += len + (path[len] == '.');
    }
    return at;
}

double *golden_array(struct golden *golden, const char *path, int *ret_n)
{
    json_t *at = golden_at(golden, path);
    CHECK_MSG(at != NULL, "%s has no %s", golden->name, path);
    int n = json_is_array(at) ? (int)json_array_size(at) : 1;
    double *v = ARENA_NEW_ARRAY(&golden->arena, double, n > 0 ? n : 1);
    for (int i = 0; i < n; i++) {
        json_t *item = json_is_array(at) ? json_array_get(at, (size_t)i) : at;
        if (json_is_array(item)) { /* a matrix: flattened by row */
            int k = (int)json_array_size(item);
            if (i == 0) {
                v = ARENA_NEW_ARRAY(&golden->arena, double, (long)n *k);
            }
            for (int j = 0; j < k; j++) {
                v[(long)i * k + j] = json_number_value(json_array_get(item, (size_t)j));
            }
        } else {
            v[i] = json_is_number(item) ? json_number_value(item) : (double)NAN;
        }
    }
    *ret_n = n;
    return v;
}

double golden_number(struct golden *golden, const char *path, double missing)
{
    json_t *at = golden_at(golden, path);
    if (json_is_array(at) && json_array_size(at) == 1) {
        at = json_array_get(at, 0);
    }
    return json_is_number(at) ? json_number_value(at) : missing;
}

const char *golden_text(struct golden *golden, const char *path)
{
    const char *text = json_string_value(golden_at(golden, path));
    return text != NULL ? text : "";
}

double golden_distance(const double *a, const double *b, int n)
{
    double largest = 0, mean = 0;
    for (int i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]);
        largest = d > largest ? d : largest;
        largest = isfinite(d) ? largest : (double)INFINITY;
        mean += fabs(b[i]) / n;
    }
    return mean > 0 ? largest / mean : largest;
}

double golden_quantile_distance(const struct forecast *forecast, double q, const double *b, int n)
{
    double largest = 0, mean = 0;
    for (int i = 0; i < n; i++) {
        double d = fabs(forecast_quantile(forecast, i, q) - b[i]);
        largest = d > largest ? d : largest;
        largest = isfinite(d) ? largest : (double)INFINITY;
        mean += fabs(b[i]) / n;
    }
    return mean > 0 ? largest / mean : largest;
}
