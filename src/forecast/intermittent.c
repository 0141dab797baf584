// SPDX-License-Identifier: Apache-2.0
#include "forecast/intermittent.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "forecast/num.h"

struct intermittent intermittent_start(enum intermittent_kind kind, double alpha, double beta)
{
    CHECK(alpha > 0 && alpha <= 1 && beta > 0 && beta <= 1);
    return (struct intermittent){.kind = kind, .alpha = alpha, .beta = beta};
}

double intermittent_rate(const struct intermittent *model)
{
    if (model->count == 0) {
        return 0;
    }
    if (model->kind == INTERMITTENT_TSB) {
        return model->chance * model->size;
    }
    double rate = model->size / model->gap;
    return model->kind == INTERMITTENT_SBA ? rate * (1 - model->beta / 2) : rate;
}

double intermittent_update(struct intermittent *model, double y)
{
    if (!isfinite(y)) {
        return NUM_NAN;
    }
    double error = model->count > 0 ? y - intermittent_rate(model) : NUM_NAN;
    model->since++;
    if (model->count > 0) {
        model->chance += model->beta * ((y > 0) - model->chance);
    }
    if (!(y > 0)) {
        return error;
    }
    if (model->count == 0) {
        model->size = y;
        model->gap = model->since;
        model->chance = 1.0 / model->since;
    } else {
        model->size += model->alpha * (y - model->size);
        model->gap += model->beta * (model->since - model->gap);
    }
    model->sizes[model->count % INTERMITTENT_SIZES] = y;
    model->count++;
    model->since = 0;
    return error;
}

enum err intermittent_fit(const double *y, int n, enum intermittent_kind kind,
                          struct intermittent *ret, struct err_info *info)
{
    static const double grid[8] = {0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5};
    double best = NUM_INFINITY, largest = 0;
    for (int i = 0; i < n; i++) {
        if (y[i] < 0) {
            return err_set(info, ERR_INVALID, "value %d is below 0: not a series of counts", i + 1);
        }
        largest = y[i] > largest ? y[i] : largest;
    }
    if (!(largest > 0)) {
        return err_set(info, ERR_INVALID, "no value is above 0");
    }
    for (int i = 0; i < 64; i++) {
        if (kind != INTERMITTENT_TSB && i / 8 != i % 8) {
            continue;
        }
        struct intermittent trial = intermittent_start(kind, grid[i / 8], grid[i % 8]);
        double squares = 0;
        for (int t = 0; t < n; t++) {
            double e = intermittent_update(&trial, y[t]) / largest;
            squares += isfinite(e) ? e * e : 0;
        }
        if (squares < best) {
            best = squares;
            *ret = trial;
        }
    }
    return ERR_OK;
}

void intermittent_forecast(const struct intermittent *model, int h, struct arena *arena,
                           struct forecast *ret)
{
    CHECK(model->count > 0);
    int count = model->count < INTERMITTENT_SIZES ? model->count : INTERMITTENT_SIZES;
    double sizes[INTERMITTENT_SIZES], mean = 0, square = 0, knots[FORECAST_KNOTS];
    memcpy(sizes, model->sizes, sizeof sizes);
    for (int i = 0; i < count; i++) {
        mean += sizes[i] / count;
    }
    for (int i = 0; i < count; i++) {
        sizes[i] *= model->size / mean;
        square += sizes[i] / count * sizes[i];
    }
    double rate = intermittent_rate(model);
    double chance = fmin(1, rate / model->size);
    num_sort(sizes, count);
    for (int k = 0; k < FORECAST_KNOTS; k++) {
        double p = 0.5 * erfc(-forecast_knot_score(k) / sqrt(2));
        double above = chance > 0 ? (p - (1 - chance)) / chance : -1;
        knots[k] = above > 0 ? num_quantile(sizes, count, above) : 0;
    }
    forecast_init(ret, h, arena);
    ret->knots = ARENA_NEW_ARRAY(arena, double, (long)h *FORECAST_KNOTS);
    for (int i = 0; i < h; i++) {
        ret->mean[i] = ret->center[i] = rate;
        ret->sd[i] = sqrt(fmax(0, chance * square - rate * rate));
        memcpy(ret->knots + (long)i * FORECAST_KNOTS, knots, sizeof knots);
    }
}
